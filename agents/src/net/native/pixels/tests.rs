use super::*;
use crate::net::tensor::to_vec;
use crate::net::tests::torch;
use crate::net::{NetParts, NetSpec};
use crate::optim::{OptimConfig, Optimizer, Rule};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use tch::{Kind, Tensor};

fn spec(frame_stack: usize, hidden: &[usize], layer_norm: bool) -> NetSpec {
    let obs_space = ObsSpace::Pixels { shape: [84, 84] };
    NetSpec { obs_space, frame_stack, hidden: hidden.to_vec(), layer_norm, n_actions: 3, parts: NetParts::default() }
}

/// Parameters of `layout` with biases, scales and shifts off their first values, so that none can be forgotten.
fn params(spec: &NetSpec, rng: &mut Pcg32) -> Vec<f32> {
    let params = spec.layout().first_params(spec.init(), rng);
    let shaken: Vec<f32> = params.iter().map(|p| p + rng.gen_range(-0.05..0.05)).collect();
    // Gaps between parameters stay 0.
    let layout = spec.layout();
    let mut params = vec![0.0; layout.len()];
    for place in layout.placed().filter_map(|(_, places)| places).flatten() {
        params[place.clone()].copy_from_slice(&shaken[place.clone()]);
    }
    params
}

/// Stacks of frames that are mostly 0 and change little, and every third of noise.
fn observations(spec: &NetSpec, batch: usize, rng: &mut Pcg32) -> Vec<u8> {
    let frame = 84 * 84;
    let mut obs = vec![0; batch * spec.obs_bytes()];
    for (b, obs) in obs.chunks_exact_mut(spec.obs_bytes()).enumerate() {
        let picture: Vec<u8> = (0..frame).map(|i| if i / 84 % 7 < 3 { (i / 9 % 200) as u8 } else { 0 }).collect();
        for obs in obs.chunks_exact_mut(frame) {
            obs.copy_from_slice(&picture);
            for _ in 0..20 {
                obs[rng.gen_range(0..frame)] = rng.r#gen();
            }
            if b % 3 == 2 {
                rng.fill(obs);
            }
        }
    }
    obs
}

fn assert_close(what: &str, ours: &[f32], theirs: &[f32], bound: f32) {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let difference = ours.iter().zip(theirs).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(difference <= bound * largest, "{what}: {difference} apart, {} of the largest", difference / largest);
}

struct Case {
    params: Vec<f32>,
    obs: Vec<u8>,
    d_q: Vec<f32>,
}

fn case(spec: &NetSpec, batch: usize, seed: u64) -> Case {
    let rng = &mut Pcg32::seed_from_u64(seed);
    let (params, obs) = (params(spec, rng), observations(spec, batch, rng));
    let d_q = (0..batch * spec.n_actions).map(|_| rng.gen_range(-1.0..1.0)).collect();
    Case { params, obs, d_q }
}

/// Q-values and gradient, in the order of the layout.
fn by_hand(spec: &NetSpec, isa: Isa, case: &Case) -> (Vec<f32>, Vec<f32>) {
    let layout = spec.layout();
    let mut passes = PixelPasses::with(&layout, isa).expect("a pixel network");
    let mut prepared = Prepared::default();
    let mut params = passes.reordered(&case.params, true);
    let inferred = passes.forward(&params, &mut prepared, &case.obs, false).to_vec();
    let q = passes.forward(&params, &mut prepared, &case.obs, true).to_vec();
    assert_eq!(q, inferred, "what is kept changes nothing");
    let mut grads = vec![0.0; layout.len()];
    passes.backward(&mut params, &prepared, (&case.obs, &case.d_q), &mut grads, None);
    (q, passes.reordered(&grads, false))
}

/// Q-values and gradient by autograd in double precision, so that all of a difference is ours.
fn by_autograd(spec: &NetSpec, case: &Case) -> (Vec<f32>, Vec<f32>) {
    let layout = spec.layout();
    let flat = Tensor::from_slice(&case.params).to_kind(Kind::Double).set_requires_grad(true);
    let parts = layout.split(&flat);
    let mut pairs = parts.chunks_exact(2);
    let obs = Tensor::from_slice(&case.obs).view([-1, spec.obs_bytes() as i64]);
    let pixels = layout.operations()[0].apply(&obs, &[]).to_kind(Kind::Double);
    let q = layout.placed().skip(1).fold(pixels, |x, (operation, places)| {
        operation.apply(&x, places.and_then(|_| pairs.next()).unwrap_or_default())
    });
    (&q * Tensor::from_slice(&case.d_q).view_as(&q)).sum(Kind::Double).backward();
    [q, flat.grad()].map(|numbers| to_vec(&numbers.to_kind(Kind::Float))).into()
}

#[test]
fn passes_agree_with_autograd() {
    let _torch = torch();
    let specs = [
        (spec(4, &[512], false), [32, 5]),
        (spec(4, &[512], true), [128, 1]),
        (spec(1, &[100, 70], false), [5, 1]),
        (spec(1, &[96, 64], true), [32, 17]),
        (spec(2, &[], true), [3, 2]),
    ];
    for (spec, batches) in specs {
        for batch in batches {
            let case = case(&spec, batch, 3);
            let (layout, (expected_q, expected_grads)) = (spec.layout(), by_autograd(&spec, &case));
            for isa in Isa::all() {
                let (q, grads) = by_hand(&spec, isa, &case);
                let what = format!("{batch} of {spec:?} on {isa:?}");
                assert_close(&format!("q of {what}"), &q, &expected_q, 1e-5);
                for (operation, places) in layout.placed() {
                    for place in places.into_iter().flatten() {
                        let what = format!("gradient of {operation:?} of {what}");
                        assert_close(&what, &grads[place.clone()], &expected_grads[place.clone()], 1e-5);
                    }
                }
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let torch = torch();
    for (spec, batch) in [(spec(4, &[128], true), 20), (spec(4, &[512], false), 3)] {
        let case = case(&spec, batch, 5);
        for isa in Isa::all().into_iter().take(1).chain(Isa::bf16()) {
            let results = [1, 2, 3].map(|n_threads| {
                torch.set_threads(n_threads);
                by_hand(&spec, isa, &case)
            });
            assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{spec:?} on {isa:?}");
        }
    }
}

#[test]
fn a_step_taken_on_the_way_back_is_the_optimisers() {
    let _torch = torch();
    let spec = spec(1, &[96], true);
    let case = case(&spec, 4, 11);
    let mut passes = PixelPasses::of(&spec.layout()).expect("a pixel network");
    let (mut prepared, mut grads) = (Prepared::default(), vec![0.0; case.params.len()]);
    let config = OptimConfig::of(Rule::Adam);
    let [mut at_once, mut after] = [(); 2].map(|()| Optimizer::new(config, case.params.len()));
    let (mut params, mut expected) = (case.params.clone(), case.params.clone());
    for _ in 0..3 {
        prepared.expire();
        passes.forward(&params, &mut prepared, &case.obs, true);
        let step = at_once.begin(1.0, 1e-3);
        let norm = passes.backward(&mut params, &prepared, (&case.obs, &case.d_q), &mut grads, Some(step));
        after.step(&mut expected, &grads, 1e-3);
        assert_eq!(params, expected);
        let by_hand = grads.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt() as f32;
        assert!((norm / by_hand - 1.0).abs() < 1e-5, "{norm} instead of {by_hand}");
    }
    assert_ne!(params, case.params);
}

#[test]
fn instructions_of_one_rounding_agree_to_the_bit() {
    let _torch = torch();
    let spec = spec(2, &[64], true);
    let case = case(&spec, 9, 7);
    let sets: Vec<_> = Isa::all().into_iter().filter(|isa| !matches!(isa, Isa::Plain)).collect();
    let results: Vec<_> = sets.into_iter().map(|isa| by_hand(&spec, isa, &case)).collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn layouts_that_the_passes_do_not_compute_are_refused() {
    let relu = Operation::relu;
    let operations = spec(1, &[64], true).operations();
    let covers = |operations: Vec<Operation>| PixelPasses::of(&Layout::aligned(operations)).is_some();
    assert!(covers(operations.clone()));
    for (i, operation) in operations.iter().enumerate() {
        // Behind each convolution, in front of the features, behind the hidden layer.
        if *operation == relu() {
            let [mut without, mut before_norm, mut twice] = [(); 3].map(|()| operations.clone());
            without.remove(i);
            before_norm.swap(i - 1, i);
            twice.insert(i, relu());
            assert!(!covers(without) && !covers(before_norm) && !covers(twice), "the rectifier at {i}");
        }
    }
    for (inputs, outputs, hidden) in [(FEATURES / 2, 64, 64), (FEATURES, 64, 32)] {
        let dense = |inputs: usize, outputs: usize| Operation::Dense { inputs: inputs as i64, outputs: outputs as i64 };
        let mut wrong = spec(1, &[64], false).operations();
        let n = wrong.len();
        (wrong[n - 3], wrong[n - 1]) = (dense(inputs, outputs), dense(hidden, 3));
        assert!(!covers(wrong), "{inputs} to {outputs}, {hidden} to 3");
    }
}

#[test]
#[should_panic(expected = "a kept pass")]
fn inference_ends_a_pass_that_was_kept() {
    let _torch = torch();
    let spec = spec(1, &[16], false);
    let mut case = case(&spec, 1, 3);
    let mut passes = PixelPasses::of(&spec.layout()).expect("a pixel network");
    let (mut prepared, mut grads) = (Prepared::default(), vec![0.0; case.params.len()]);
    for keep in [true, false] {
        passes.forward(&case.params, &mut prepared, &case.obs, keep);
    }
    passes.backward(&mut case.params, &prepared, (&case.obs, &case.d_q), &mut grads, None);
}

#[test]
fn no_observations_have_no_values() {
    let _torch = torch();
    let spec = spec(1, &[16], false);
    let mut passes = PixelPasses::of(&spec.layout()).expect("a pixel network");
    let params = vec![0.0; spec.layout().len()];
    assert!(passes.forward(&params, &mut Prepared::default(), &[], true).is_empty());
}

#[test]
fn orders_of_the_parameters_are_inverse() {
    let spec = spec(1, &[100, 70], false);
    let passes = PixelPasses::of(&spec.layout()).expect("a pixel network");
    let params: Vec<f32> = (0..spec.layout().len()).map(|i| i as f32).collect();
    let reordered = passes.reordered(&params, true);
    assert_ne!(reordered, params);
    assert_eq!(passes.reordered(&reordered, false), params);
}

/// Euclidean norm of the difference, over that of `theirs`.
fn distance(ours: &[f32], theirs: &[f32]) -> f32 {
    let norm = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|v| v * v).sum::<f32>().sqrt();
    norm(&mut ours.iter().zip(theirs).map(|(a, b)| a - b)) / norm(&mut theirs.iter().copied())
}

#[test]
fn bf16_agrees_with_f32() {
    let _torch = torch();
    let isa = match Isa::bf16() {
        Ok(isa) => isa,
        Err(why) => return println!("skipped: {why}"),
    };
    // A rectifier that opens for one and not for the other changes a gradient by more than rounding does. A norm, which
    // puts values near 0, has more of these.
    for (spec, batch, bound) in [(spec(4, &[512], false), 32, 0.08), (spec(4, &[512], true), 128, 0.16)] {
        let (case, layout) = (case(&spec, batch, 3), spec.layout());
        let (expected_q, expected_grads) = by_hand(&spec, Isa::all()[0], &case);
        let (q, grads) = by_hand(&spec, isa, &case);
        let apart = distance(&q, &expected_q);
        assert!(apart > 0.0 && apart < 0.01, "q of {spec:?}: {apart} apart");
        for (operation, places) in layout.placed() {
            for place in places.into_iter().flatten() {
                let apart = distance(&grads[place.clone()], &expected_grads[place.clone()]);
                assert!(apart < bound, "gradient of {operation:?} of {spec:?}: {apart} apart");
            }
        }
    }
}
