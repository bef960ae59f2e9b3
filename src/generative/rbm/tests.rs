use super::measure::ais_warning;
use super::*;
use crate::generative::data::dataset::{Dataset, Split};
use crate::generative::data::movies as table;
use crate::generative::model::ImageBatch;
use crate::generative::model::seeded;
use crate::generative::settings::Optimizer;
use carom_envs::Seeds;
use rand::SeedableRng;
use safetensors::SafeTensors;

fn data(dataset: &Dataset) -> Data {
    Data::new(dataset, Device::Cpu)
}

fn rbm(config: &RbmConfig, data: &Data) -> Rbm {
    let task = ModelTask { data, total_steps: 1000, optimizer: Optimizer::Adam, device: Device::Cpu };
    Rbm::new(config, &task, &mut Pcg32::seed_from_u64(1)).unwrap()
}

/// Makes update `step` on all of `data`, seeded as in the fit loop.
fn update(rbm: &mut Rbm, data: &Data, step: u64, lr: f64) {
    tch::manual_seed(step as i64);
    let batch = ImageBatch { x: data.train.all(), labels: None, step, lr };
    rbm.fit_batch(&batch).unwrap();
}

fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).to_kind(Kind::Float)
}

/// Weights and biases of some size.
fn random_energy(visible: Visible, n_visible: i64, n_hidden: i64) -> Energy {
    tch::manual_seed(5);
    let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    Energy {
        visible,
        weight: normal(&[n_visible, n_hidden]) * 0.7,
        visible_bias: normal(&[n_visible]) * 0.5,
        hidden_bias: normal(&[n_hidden]) * 0.5,
    }
}

fn mean_log_likelihood(energy: &Energy, v: &Tensor) -> f64 {
    let all = energy.log_unnormalised(v);
    all.iter().sum::<f64>() / all.len() as f64 - energy.log_z()
}

#[test]
fn free_energy_and_partition_function_by_hand() {
    let _torch = seeded(0);
    let mut energy = Energy {
        visible: Visible::Bernoulli,
        weight: tensor(&[1.0, -2.0]).view([2, 1]),
        visible_bias: tensor(&[0.5, 0.25]),
        hidden_bias: tensor(&[-1.0]),
    };
    let v = tensor(&[1.0, 1.0, 0.0, 1.0]).view([2, 2]);
    // b·v + ln(1 + exp(c + v·W)) of (1, 1) and (0, 1).
    let expected = [0.75 + (-2.0_f64).exp().ln_1p(), 0.25 + (-3.0_f64).exp().ln_1p()];
    for (found, expected) in energy.log_unnormalised(&v).into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
    }
    // (1 + e^-1) for (0, 0), and so on.
    let z = (1.0 + (-1.0_f64).exp())
        + 0.5_f64.exp() * (1.0 + 0_f64.exp())
        + 0.25_f64.exp() * (1.0 + (-3.0_f64).exp())
        + 0.75_f64.exp() * (1.0 + (-2.0_f64).exp());
    assert!((energy.log_z() - z.ln()).abs() < 1e-6);

    energy.visible = Visible::Gaussian;
    // −½ |v|² besides; Z = 2π Σ_h exp(c h + ½ |b + W h|²).
    let found = energy.log_unnormalised(&v)[0];
    assert!((found - (expected[0] - 1.0)).abs() < 1e-6, "{found}");
    let z = (0.5 * (0.25 + 0.0625_f64)).exp() + (-1.0 + 0.5 * (2.25 + 3.0625_f64)).exp();
    assert!((energy.log_z() - (std::f64::consts::TAU * z).ln()).abs() < 1e-6);
}

#[test]
fn either_side_can_be_enumerated() {
    let _torch = seeded(0);
    let energy = random_energy(Visible::Bernoulli, 13, 4);
    let mirror = Energy {
        visible: Visible::Bernoulli,
        weight: energy.weight.tr().contiguous(),
        visible_bias: energy.hidden_bias.copy(),
        hidden_bias: energy.visible_bias.copy(),
    };
    assert!((energy.log_z() - mirror.log_z()).abs() < 1e-9, "{} and {}", energy.log_z(), mirror.log_z());
}

#[test]
fn annealing_agrees_with_enumeration_from_both_ends() {
    let _torch = seeded(0);
    for visible in [Visible::Bernoulli, Visible::Gaussian] {
        let energy = random_energy(visible, 12, 6);
        let (base, exact, mut noise) = (tensor(&[0.1; 12]), energy.log_z(), Uniforms::new(8));
        let betas = ais::temperatures(300);
        let up = ais::upwards(&energy, &base, &betas, 400, &mut noise, None);
        let mut h = Tensor::zeros([400, 6], (Kind::Float, Device::Cpu));
        let (_, samples) = energy.walk(&mut h, 300, &mut noise);
        let down = ais::downwards(&energy, &base, &betas, samples, &mut noise, None);
        for found in [up, down] {
            assert!(found.se > 0.0 && found.se < 0.1, "{visible:?}: {found:?}");
            assert!((found.value - exact).abs() < 4.0 * found.se, "{visible:?}: {found:?}, exactly {exact}");
        }
    }
}

#[test]
fn temperatures_rise_from_the_base_to_the_model() {
    let _torch = seeded(0);
    for n in [3, 100, 14_500] {
        let betas = ais::temperatures(n);
        assert_eq!((betas.len() as u64, betas[0], betas[n as usize]), (n + 1, 0.0, 1.0));
        assert!(betas.is_sorted_by(|a, b| a < b));
    }
    let betas = ais::temperatures(14_500);
    assert!((betas[500] - 0.5).abs() < 1e-12 && (betas[4500] - 0.9).abs() < 1e-12);
}

/// Parameters one after the other, in the form that is centred at `mu` and `lambda`:
/// E = −(v − μ)·b − (h − λ)·c − (v − μ)ᵀ W (h − λ).
fn centred(energy: &Energy, mu: &Tensor, lambda: &Tensor) -> Vec<f64> {
    let b = &energy.visible_bias + energy.weight.mv(lambda);
    let c = &energy.hidden_bias + energy.weight.tr().mv(mu);
    to_vec(&Tensor::cat(&[energy.weight.flatten(0, -1), b, c], 0)).into_iter().map(f64::from).collect()
}

/// The reverse of [`centred`].
fn uncentred(params: &[f64], mu: &Tensor, lambda: &Tensor) -> Energy {
    let (n_visible, n_hidden) = (mu.size()[0], lambda.size()[0]);
    let n_weights = (n_visible * n_hidden) as usize;
    let weight = tensor(&params[..n_weights]).view([n_visible, n_hidden]);
    let b = tensor(&params[n_weights..n_weights + n_visible as usize]);
    let c = tensor(&params[n_weights + n_visible as usize..]);
    let (visible_bias, hidden_bias) = (b - weight.mv(lambda), c - weight.tr().mv(mu));
    Energy { visible: Visible::Bernoulli, weight, visible_bias, hidden_bias }
}

#[test]
fn centred_parameters_give_the_same_energy() {
    let _torch = seeded(0);
    let energy = random_energy(Visible::Bernoulli, 3, 2);
    let (mu, lambda) = (tensor(&[0.2, 0.9, 0.4]), tensor(&[0.3, 0.6]));
    let params = centred(&energy, &mu, &lambda);
    let back = uncentred(&params, &mu, &lambda);
    let value = |t: &Tensor| f64::try_from(t).unwrap();
    let mut differences = vec![];
    for code in 0..32 {
        let bits: Vec<f64> = (0..5).map(|bit| f64::from(code >> bit & 1)).collect();
        let (v, h) = (tensor(&bits[..3]), tensor(&bits[3..]));
        let of = |energy: &Energy| {
            -value(&energy.visible_bias.dot(&v))
                - value(&energy.hidden_bias.dot(&h))
                - value(&energy.weight.mv(&h).dot(&v))
        };
        assert!((of(&energy) - of(&back)).abs() < 1e-5);
        let (v, h) = (&v - &mu, &h - &lambda);
        let (b, c) = (tensor(&params[6..9]), tensor(&params[9..]));
        let centred = -value(&b.dot(&v)) - value(&c.dot(&h)) - value(&energy.weight.mv(&h).dot(&v));
        differences.push(centred - of(&energy));
    }
    // The same distribution: energies that differ by a constant.
    assert!(differences.iter().all(|difference| (difference - differences[0]).abs() < 1e-5), "{differences:?}");
}

#[test]
fn an_update_follows_the_exact_gradient_of_the_log_likelihood() {
    let _torch = seeded(0);
    let (lr, difference) = (0.1, 1e-2);
    let seen = tensor(&[1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]).view([4, 3]);
    for centring in [false, true] {
        let first = || random_energy(Visible::Bernoulli, 3, 2);
        let rule = Rule { gibbs_steps: 30, persistent: true, momentum: 0.0, weight_decay: 0.0, centring };
        let mean = seen.mean_dim(0, false, Kind::Float);
        // Enough chains and steps to represent the model. They are split over updates, since in single precision the
        // share of one chain in 100,000 is lost when it is added to a weight of 1.
        let updates: Vec<(Energy, Learner)> = (0..50)
            .map(|seed| {
                let mut energy = first();
                let mut learner =
                    Learner::new(rule.clone(), &energy, Tensor::zeros([2000, 2], (Kind::Float, Device::Cpu)), &mean);
                learner.update(&mut energy, &seen, lr, &mut Uniforms::new(seed));
                (energy, learner)
            })
            .collect();
        let mean_of = |part: fn(&Energy) -> &Tensor| {
            updates.iter().map(|(energy, _)| part(energy)).sum::<Tensor>() / updates.len() as f64
        };

        // The centres of the update, and the gradient in the centred parameters by differences of the exact likelihood.
        let [mu, lambda] = updates[0].1.offsets();
        let mut params = centred(&first(), mu, lambda);
        let likelihood = |params: &[f64]| mean_log_likelihood(&uncentred(params, mu, lambda), &seen);
        let gradient: Vec<f64> = (0..params.len())
            .map(|i| {
                let moved = |by: f64| {
                    let mut params = params.clone();
                    params[i] += by;
                    likelihood(&params)
                };
                (moved(difference) - moved(-difference)) / (2.0 * difference)
            })
            .collect();
        for (param, gradient) in params.iter_mut().zip(gradient) {
            *param += lr * gradient;
        }
        let expected = uncentred(&params, mu, lambda);
        let pairs = [
            (mean_of(|energy| &energy.weight), &expected.weight),
            (mean_of(|energy| &energy.visible_bias), &expected.visible_bias),
            (mean_of(|energy| &energy.hidden_bias), &expected.hidden_bias),
        ];
        for (found, expected) in pairs {
            // Standard errors of the chains' means are at most 0.5 / √100,000; here with the rate and some room.
            let error = f64::try_from((&found - expected).abs().max()).unwrap();
            assert!(error < 1e-3, "centring {centring}: {error} off in {found} for {expected}");
        }
    }
}

#[test]
fn contrastive_divergence_raises_the_exact_log_likelihood() {
    let _torch = seeded(0);
    let data = data(&table::dataset());
    for persistent in [false, true] {
        for centring in [false, true] {
            let config = RbmConfig { latent_dim: 2, persistent, centring, momentum: 0.5, ..RbmConfig::default() };
            let mut rbm = rbm(&config, &data);
            let likelihood = |rbm: &Rbm| rbm.evaluate(&data, Effort::Curve, None).get("test/log_likelihood").unwrap();
            let before = likelihood(&rbm);
            (0..500).for_each(|step| update(&mut rbm, &data, step, 0.1));
            let after = likelihood(&rbm);
            assert!(before < -2.4 && after > -1.75, "{config:?}: from {before} to {after}");
        }
    }
}

#[test]
fn the_six_films_are_fitted_close_to_their_bound() {
    // The settings of preset movies-rbm.
    const UPDATES: u64 = 5000;
    let _torch = seeded(0);
    let config = RbmConfig { latent_dim: 2, ..RbmConfig::default() };
    let data = data(&table::dataset());
    let task = ModelTask { data: &data, total_steps: UPDATES, optimizer: Optimizer::Adam, device: Device::Cpu };
    let mut rbm = Rbm::new(&config, &task, &mut Seeds::new(0).stream("init")).unwrap();
    for step in 0..UPDATES {
        update(&mut rbm, &data, step, 0.1 * Schedule::Cosine.factor(step as f64 / UPDATES as f64));
    }
    let measures = rbm.evaluate(&data, Effort::Curve, None);
    let (found, bound) = (measures.get("test/log_likelihood"), measures.get("test/log_likelihood_bound"));
    // Rows of 2, 1, 2 and 1 of 6 people.
    let entropy = 4.0 / 6.0 * 3_f64.ln() + 2.0 / 6.0 * 6_f64.ln();
    assert!((bound.unwrap() + entropy).abs() < 1e-9, "{bound:?}");
    assert!(found.unwrap() > -1.40 && found < bound, "{found:?}");
    let text = rbm.report(&data).unwrap();
    assert!(text.contains("recommended, with its probability: LOTR 3"), "{text}");
}

#[test]
fn chains_draw_states_from_their_probabilities_and_leave_the_images_as_they_are() {
    let _torch = seeded(0);
    let data = data(&gray());
    let rbm = rbm(&RbmConfig { latent_dim: 3, ..RbmConfig::default() }, &data);
    let x = data.test.all();
    let before = x.copy();
    let steps = rbm.chains(&x, 2).unwrap();
    assert_eq!((steps.len(), &x), (2, &before));
    for GibbsStep { hidden_means, hidden, visible_means, visible } in &steps {
        assert_eq!((hidden.size(), visible.size()), (vec![x.size()[0], 3], x.size()));
        for (means, states) in [(hidden_means, hidden), (visible_means, visible)] {
            let is_state = |&state: &f32| state == 0.0 || state == 1.0;
            assert!(to_vec(states).iter().all(is_state));
            assert!(to_vec(means).iter().all(|mean| (0.0..=1.0).contains(mean)));
        }
    }
    assert_eq!(to_vec(&rbm.encode(&steps[0].visible)), to_vec(&steps[1].hidden_means), "a step starts where one ended");
}

/// Gray images, bright on one side.
fn gray() -> Dataset {
    let pixels = |offset: u8| {
        (0..8 * 12).map(|i: u8| if (i / 6 + offset).is_multiple_of(2) { 200 + i % 6 } else { 30 }).collect()
    };
    let split = |offset| Split::new([1, 3, 4], pixels(offset), vec![]);
    Dataset { name: "gray".to_owned(), shape: [1, 3, 4], max: 255, n_classes: 0, train: split(0), test: split(1) }
}

#[test]
fn few_ones_are_learned_from_as_dense_products_would() {
    let _torch = seeded(0);
    let seen = Tensor::rand([9, 40], (Kind::Float, Device::Cpu)).lt(0.1).to_kind(Kind::Float);
    for (centring, persistent, momentum) in [(true, true, 0.0), (true, false, 0.5), (false, false, 0.0)] {
        let rule = Rule { gibbs_steps: 2, persistent, momentum, weight_decay: 1e-3, centring };
        let updated = |dense: bool| {
            let mut energy = random_energy(Visible::Bernoulli, 40, 8);
            energy.visible_bias -= 3.0;
            let chains = Tensor::zeros([5, 8], (Kind::Float, Device::Cpu));
            let learner = Learner::new(rule.clone(), &energy, chains, &seen.mean_dim(0, false, Kind::Float));
            let (mut learner, mut noise) = (if dense { learner.dense() } else { learner }, Uniforms::new(3));
            (0..3).for_each(|_| _ = learner.update(&mut energy, &seen, 0.1, &mut noise));
            assert_eq!(learner.sums_ones(), !dense, "the case tests what it says");
            to_vec(&Tensor::cat(&[energy.weight.flatten(0, -1), energy.visible_bias, energy.hidden_bias], 0))
        };
        for (ours, theirs) in updated(false).into_iter().zip(updated(true)) {
            assert!((ours - theirs).abs() < 1e-5, "{rule:?}: {ours} for {theirs}");
        }
    }
}

#[test]
fn an_update_is_that_of_plain_contrastive_divergence() {
    let _torch = seeded(0);
    for (visible_bias, persistent, centring) in
        [(-3.0, true, true), (-3.0, false, true), (0.0, true, false), (0.0, false, false), (0.0, false, true)]
    {
        // With a low bias states are mostly 0, and products sum over their 1s.
        let seen = Tensor::rand([9, 40], (Kind::Float, Device::Cpu)).lt(0.5 + visible_bias / 8.0).to_kind(Kind::Float);
        let first = || {
            let mut energy = random_energy(Visible::Bernoulli, 40, 8);
            energy.visible_bias += visible_bias;
            energy
        };
        let (mut fast, mut plain) = (first(), first());
        let chains = Tensor::zeros([5, 8], (Kind::Float, Device::Cpu));
        let rule = Rule { gibbs_steps: 3, persistent, momentum: 0.0, weight_decay: 0.0, centring };
        let mean = seen.mean_dim(0, false, Kind::Float);
        let mut learner = Learner::new(rule, &fast, chains.copy(), &mean);
        learner.update(&mut fast, &seen, 0.1, &mut Uniforms::new(3));
        let [mu, lambda] = learner.offsets();
        let chains = persistent.then_some(&chains);
        learn::plain_update(&mut plain, &seen, chains, [mu, lambda], 3, 0.1, &mut Uniforms::new(3));
        let pairs = [
            (&fast.weight, &plain.weight),
            (&fast.visible_bias, &plain.visible_bias),
            (&fast.hidden_bias, &plain.hidden_bias),
        ];
        for (ours, theirs) in pairs {
            let error = (ours - theirs).abs().max().double_value(&[]);
            assert!(error < 1e-5, "persistent {persistent}, centring {centring}: off by {error}");
        }
    }
}

#[test]
fn shapes_agree_and_everything_is_measured() {
    let _torch = seeded(0);
    let data = data(&gray());
    for visible in [Visible::Bernoulli, Visible::Gaussian] {
        let config = RbmConfig { latent_dim: 5, visible, n_chains: 3, sample_steps: 2, ..RbmConfig::default() };
        let config = RbmConfig { ais_temperatures: 50, ais_chains: 7, ..config };
        let mut rbm = rbm(&config, &data);
        (0..5).for_each(|step| update(&mut rbm, &data, step, 0.01));
        let code = rbm.encode(&data.test.spaced(4).all());
        assert_eq!(code.size(), [4, 5]);
        assert_eq!(rbm.decode(&code).unwrap().size(), [4, 1, 3, 4]);
        let samples = rbm.sample(4).unwrap();
        assert_eq!(samples.size(), [4, 1, 3, 4]);
        assert!(f64::try_from(samples.min()).unwrap() >= 0.0 && f64::try_from(samples.max()).unwrap() <= 1.0);
        assert_eq!(rbm.receptive_fields(&rbm.strongest_units(3)).size(), [3, 1, 3, 4]);
        let measures = rbm.evaluate(&data, Effort::Full, None);
        for name in ["test/log_likelihood", "test/ais", "test/ais_se", "test/reverse_ais", "test/free_energy_gap"] {
            assert!(measures.get(name).is_some_and(f64::is_finite), "{visible:?}: {name} in {measures:?}");
        }
        let exact = measures.get("test/log_likelihood").unwrap();
        let ais = measures.get("test/ais").unwrap();
        assert!((exact - ais).abs() < 0.2, "{visible:?}: {ais}, exactly {exact}");
    }
}

/// Binary images of 8×8 around eight patterns, of which a pixel in twenty is flipped.
fn patterns() -> Dataset {
    let mut rng = Pcg32::seed_from_u64(2);
    let kinds: Vec<[bool; 64]> = (0..8).map(|_| std::array::from_fn(|_| rng.gen_bool(0.3))).collect();
    let mut split = |n: usize| {
        let pixels = (0..n * 64).map(|i| u8::from(kinds[i / 64 % 8][i % 64] != rng.gen_bool(0.05))).collect();
        Split::new([1, 8, 8], pixels, vec![])
    };
    let (train, test) = (split(400), split(200));
    Dataset { name: "patterns".to_owned(), shape: [1, 8, 8], max: 1, n_classes: 0, train, test }
}

#[test]
fn estimates_agree_with_the_exact_likelihood_of_sixteen_units_or_warn() {
    const UPDATES: u64 = 1500;
    let _torch = seeded(0);
    let data = data(&patterns());
    for persistent in [false, true] {
        let config = RbmConfig { latent_dim: 16, persistent, ..RbmConfig::default() };
        let mut rbm = rbm(&RbmConfig { ais_temperatures: 2000, ais_chains: 200, ..config }, &data);
        (0..UPDATES).for_each(|step| update(&mut rbm, &data, step, 0.1));
        let curve = {
            tch::manual_seed(9);
            rbm.evaluate(&data, Effort::Curve, None)
        };
        tch::manual_seed(9);
        let measures = rbm.evaluate(&data, Effort::Full, None);
        let get = |name: &str| measures.get(name).unwrap_or_else(|| panic!("{name} of {measures:?}"));
        // The same figure has the same name, in the fit and in full measures.
        assert_eq!(curve.get("test/ais_short"), Some(get("test/ais_short")));
        assert!(curve.get("test/ais").is_none());
        let exact = get("test/log_likelihood");
        for name in ["test/ais", "test/reverse_ais"] {
            let (found, se) = (get(name), get(&format!("{name}_se")));
            assert!(se < 0.3, "persistent {persistent}: {measures:?}");
            assert!((found - exact).abs() < 4.0 * se + 0.05, "persistent {persistent}, {name}: {measures:?}");
        }
        assert!(measures.facts.iter().all(|(name, _)| *name != "ais_warning"), "{measures:?}");
    }
}

#[test]
fn estimates_that_contradict_each_other_are_warned_of() {
    let log_z = |value: f64, n_effective: f64| ais::LogZ { value, se: 0.1, n_effective };
    let (good, many) = (log_z(100.0, 50.0), 100);
    assert_eq!(ais_warning(good, log_z(100.3, 50.0), many), None, "the order of a sandwich");
    assert_eq!(ais_warning(good, log_z(99.7, 50.0), many), None, "within three standard errors of .14");
    let warned = |up, down, n| ais_warning(up, down, n).expect("a warning");
    assert!(warned(good, log_z(98.0, 50.0), many).contains("exceeds the forward one by 2.00 nats"));
    assert!(warned(log_z(100.0, 2.0), good, many).contains("worth 2.0"));
    assert!(warned(good, good, 3).contains("brought 3 states"));
}

#[test]
fn gaussian_units_keep_the_scale_of_what_they_were_fitted_to() {
    let _torch = seeded(0);
    let dark = |mut dataset: Dataset| {
        dataset.train.pixels.iter_mut().for_each(|pixel| *pixel /= 4);
        dataset
    };
    let config = RbmConfig { latent_dim: 5, visible: Visible::Gaussian, ..RbmConfig::default() };
    let (fitted_to, other) = (data(&gray()), data(&dark(gray())));
    let mut fitted = rbm(&config, &fitted_to);
    (0..5).for_each(|step| update(&mut fitted, &fitted_to, step, 0.01));
    let saved = fitted.save();
    let bytes = safetensors::serialize(saved.tensors(), None).unwrap();
    let mut loaded = rbm(&config, &other);
    loaded.load(&Loaded::new(&SafeTensors::deserialize(&bytes).unwrap(), saved.state())).unwrap();
    let x = fitted_to.test.all();
    let shown = |rbm: &Rbm| to_vec(&rbm.decode(&rbm.encode(&x)).unwrap());
    assert_eq!(shown(&loaded), shown(&fitted));
}

#[test]
fn going_on_from_a_checkpoint_is_never_having_stopped() {
    let _torch = seeded(0);
    let data = data(&gray());
    for persistent in [false, true] {
        let config = RbmConfig { latent_dim: 5, persistent, n_chains: 4, momentum: 0.5, ..RbmConfig::default() };
        let mut whole = rbm(&config, &data);
        (0..5).for_each(|step| update(&mut whole, &data, step, 0.1));
        let (bytes, state) = {
            let saved = whole.save();
            (safetensors::serialize(saved.tensors(), None).unwrap(), saved.state().clone())
        };
        let mut resumed = rbm(&RbmConfig { init_std: 0.5, ..config }, &data);
        resumed.load(&Loaded::new(&SafeTensors::deserialize(&bytes).unwrap(), &state)).unwrap();
        for rbm in [&mut whole, &mut resumed] {
            (5..9).for_each(|step| update(rbm, &data, step, 0.1));
        }
        let drawn = |rbm: &Rbm| {
            tch::manual_seed(3);
            to_vec(&rbm.sample(6).unwrap())
        };
        assert_eq!(to_vec(&whole.energy.weight), to_vec(&resumed.energy.weight));
        assert_eq!(drawn(&whole), drawn(&resumed));
        assert_eq!(whole.stats(), resumed.stats());
    }
}

#[test]
fn a_fit_that_diverges_names_its_loss() {
    let _torch = seeded(0);
    let data = data(&table::dataset());
    let mut rbm = rbm(&RbmConfig { latent_dim: 2, ..RbmConfig::default() }, &data);
    let batch = ImageBatch { x: data.train.spaced(6).all() * f64::NAN, labels: None, step: 7, lr: 0.1 };
    let before = to_vec(&rbm.energy.visible_bias);
    let config = RbmConfig { binarisation: Binarisation::Probabilities, ..rbm.config.clone() };
    rbm.config = config;
    let error = rbm.fit_batch(&batch).unwrap_err().to_string();
    assert!(error.contains("fit/contrast") && error.contains("step 7"), "{error}");
    assert_eq!(before, to_vec(&rbm.energy.visible_bias));
}
