//! Both engines learn alike, the average of the weights, and losses that are not finite.

use super::*;
use crate::losses::Loss;
use crate::net::NetParts;
use crate::optim::Rule;
use crate::ranks::threads::{assert_one_update, on_ranks};
use carom_envs::ObsSpace;
use rand::{Rng, SeedableRng};

/// Twenty updates on eight transitions; the accelerator's engine is run on the CPU.
fn losses(engine: impl FnOnce(&NetSpec, OptimConfig, &[f32]) -> Engine, rule: Rule) -> (Vec<f64>, Vec<f32>) {
    let obs_space = ObsSpace::Planes { shape: [10, 10, 4] };
    let spec = NetSpec { layer_norm: true, ..NetSpec::new(obs_space, 1, &[32], 3) };
    let mut rng = Pcg32::seed_from_u64(5);
    let params = spec.layout().first_params(spec.init(), &mut rng);
    let engine = engine(&spec, OptimConfig::of(rule), &params);
    let mut network = QNetwork::with(engine, None, None);
    let obs: Vec<u8> = (0..8 * 400).map(|_| u8::from(rng.gen_bool(0.1))).collect();
    let (actions, targets) = ([0, 1, 2, 0, 1, 2, 0, 1], [1.0, -1.0, 0.5, 0.0, 2.0, -0.5, 1.5, 0.25]);
    let how = Update { loss: Loss::Squared, lr: 1e-2, max_grad_norm: 1.0 };
    let losses = (0..60).map(|_| {
        network.fit(&obs, &actions, &targets, &how).expect("finite losses");
        network.stats()[0].1
    });
    (losses.collect(), network.q(Weights::Online, &obs).to_vec())
}

#[test]
fn both_engines_overfit_eight_transitions_alike() {
    for rule in [Rule::Adam, Rule::RAdam, Rule::RmsProp, Rule::RmsPropCentered] {
        let native = losses(
            |spec, optim, params| {
                Engine::Native(Box::new(NativeEngine::of(spec, optim, params).expect("a small network")))
            },
            rule,
        );
        let autograd = losses(
            |spec, optim, params| {
                Engine::Autograd(Box::new(AutogradEngine::new(spec, None, optim, Device::Cpu, params)))
            },
            rule,
        );
        assert!((native.0[4] - autograd.0[4]).abs() < 1e-3, "{rule:?}: {} and {}", native.0[4], autograd.0[4]);
        assert!(native.0[59] < 0.1 * native.0[0], "{rule:?} overfits: {:?}", native.0);
        assert!(autograd.0[59] < 0.1 * autograd.0[0], "{rule:?} overfits: {:?}", autograd.0);
    }
}

/// How far an update on shard `rank` of the `n` of a batch of eight transitions moves the parameters, and statistics.
fn after_update(pixels: bool, native: bool, loss: Loss, ranks: Option<SharedRanks>, shard: (usize, usize)) -> Vec<f32> {
    // Its first step is the gradient's. That of Adam is as long for gradients that are nothing but rounding.
    let (network, obs) = network_by(Rule::RAdam, pixels, native);
    let (before, mut network) = (values(&network), network.sharded(ranks));
    let (actions, rewards) = ([0, 1, 2, 0, 1, 2, 0, 1], [1.0, -1.0, 0.5, 0.0, 2.0, -0.5, 1.5, 0.25]);
    let next = network.q(Weights::Target, &obs).chunks_exact(3);
    let targets: Vec<f32> = next.zip(rewards).map(|(q, reward)| reward + 0.9 * q[argmax(q)]).collect();
    let (rank, n) = shard;
    let of = |row: usize| rank * 8 / n * row..(rank + 1) * 8 / n * row;
    let how = Update { loss, lr: 1.0, max_grad_norm: 0.5 };
    network.fit(&obs[of(obs.len() / 8)], &actions[of(1)], &targets[of(1)], &how).expect("finite losses");
    let moves = values(&network).into_iter().zip(before).map(|(after, before)| after - before);
    let stats = network.stats();
    moves.chain(stats.iter().map(|(_, value)| *value as f32)).collect()
}

fn values(network: &QNetwork) -> Vec<f32> {
    match &network.engine {
        Engine::Native(engine) => engine.values(Weights::Online),
        Engine::Autograd(engine) => engine.values(Weights::Online),
    }
}

#[test]
fn a_batch_in_shards_makes_the_update_of_the_whole_in_both_engines() {
    for (pixels, native) in [(false, true), (false, false), (true, true), (true, false)] {
        for loss in [Loss::Squared, Loss::Huber] {
            assert_one_update(|ranks, rank, n| after_update(pixels, native, loss, ranks, (rank, n)));
        }
    }
}

#[test]
fn all_ranks_have_the_error_of_one_of_them() {
    on_ranks(2, |ranks, rank| {
        let (network, obs) = network(false, true);
        let (before, mut network) = (values(&network), network.sharded(ranks));
        let targets = [if rank == 1 { f32::NAN } else { 0.0 }; 8];
        let how = Update { loss: Loss::Huber, lr: 0.1, max_grad_norm: 0.0 };
        assert!(network.fit(&obs, &[0; 8], &targets, &how).is_err());
        assert_eq!(values(&network), before);
    });
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing() {
    let spec = NetSpec::new(ObsSpace::Discrete { n: 2 }, 1, &[], 2);
    let rng = &mut Pcg32::seed_from_u64(0);
    let mut network = QNetwork::new(spec, None, OptimConfig::of(Rule::Adam), Device::Cpu, rng);
    let obs = 1_u32.to_le_bytes();
    let before = network.q(Weights::Online, &obs).to_vec();
    let how = Update { loss: Loss::Huber, lr: 0.1, max_grad_norm: 0.0 };
    assert!(network.fit(&obs, &[0], &[f32::NAN], &how).is_err());
    assert_eq!(network.q(Weights::Online, &obs), before);
    assert_eq!(network.both_q(&obs), [before.clone(), before]);
    assert!(network.stats().is_empty());
}

#[test]
fn a_feature_that_is_not_a_number_is_an_error_in_both_engines() {
    let with_taus = NetParts { taus: Some(4), ..NetParts::default() };
    for (layer_norm, parts) in [(false, NetParts::default()), (true, NetParts::default()), (false, with_taus)] {
        let spec = NetSpec { layer_norm, parts, ..NetSpec::new(ObsSpace::Vector { len: 4 }, 1, &[32], 3) };
        for native in [true, false] {
            let mut network = network_of(&spec, Rule::Adam, native, &mut Pcg32::seed_from_u64(9));
            let before = values(&network);
            let mut features = [0.5_f32; 8 * 4];
            features[13] = f32::NAN;
            let obs = features.map(f32::to_le_bytes).concat();
            let how = Update { loss: Loss::Squared, lr: 0.1, max_grad_norm: 0.0 };
            let error = network.fit_by(obs.as_slice().into(), &how, squares).expect_err("not a number");
            assert!(error.what == "train/loss" && error.value.is_nan(), "{error:?} of {spec:?}, by hand: {native}");
            assert_eq!(values(&network), before);
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_an_error_before_the_step() {
    let cases = [(false, true, 1), (false, false, 1), (true, true, 1), (false, true, 2), (false, false, 2)];
    for ((pixels, native, n_ranks), max_grad_norm) in cases.into_iter().flat_map(|case| [(case, 1.0), (case, 0.0)]) {
        on_ranks(n_ranks, |ranks, _| {
            let (network, obs) = network(pixels, native);
            let (before, mut network) = (values(&network), network.sharded(ranks));
            let how = Update { loss: Loss::Squared, lr: 0.1, max_grad_norm };
            let fitted = network.fit_by(obs.as_slice().into(), &how, |_, d_outputs| {
                d_outputs.fill(f32::NAN);
                Fitted { loss: 1.0, value: 0.0 }
            });
            assert_eq!(fitted.expect_err("not a number").what, "train/grad_norm");
            // Pixels without a limit take the step during the backward pass.
            assert!(values(&network) == before || pixels && max_grad_norm == 0.0);
        });
    }
}

#[test]
fn a_policy_that_is_loaded_replaces_the_parameters_with_noise_too() {
    for (pixels, native) in [(false, true), (true, true), (false, false)] {
        let parts = NetParts { sigma: Some(0.5), ..NetParts::default() };
        let spec = NetSpec { parts, ..NetSpec::new(obs_space(pixels), 1, &[32], 3) };
        let [mut trained, mut other] = [1, 2].map(|seed| {
            let mut network = network_of(&spec, Rule::Adam, native, &mut Pcg32::seed_from_u64(seed));
            network.draw_noise(false, &mut Pcg32::seed_from_u64(3));
            network
        });
        let obs = vec![1; 2 * spec.obs_bytes()];
        let q = trained.q(Weights::Online, &obs).to_vec();
        assert_ne!(other.q(Weights::Online, &obs), q);
        let snapshot = trained.save_policy();
        let bytes = safetensors::serialize(snapshot.tensors(), None).expect("named arrays");
        let arrays = safetensors::SafeTensors::deserialize(&bytes).expect("arrays just written");
        other.load_policy(&Loaded::new(&arrays, snapshot.state())).expect("the same network");
        assert_eq!(other.q(Weights::Online, &obs), q);
    }
}

/// A network of planes or, with `pixels`, of the screen, and eight observations of it.
fn network(pixels: bool, native: bool) -> (QNetwork, Vec<u8>) {
    network_by(Rule::Adam, pixels, native)
}

fn network_by(rule: Rule, pixels: bool, native: bool) -> (QNetwork, Vec<u8>) {
    let spec = NetSpec { layer_norm: true, ..NetSpec::new(obs_space(pixels), 1, &[32], 3) };
    let mut rng = Pcg32::seed_from_u64(5);
    let network = network_of(&spec, rule, native, &mut rng).averaged(0.9);
    let obs = (0..8 * spec.obs_bytes()).map(|_| u8::from(rng.gen_bool(0.1))).collect();
    (network, obs)
}

fn obs_space(pixels: bool) -> ObsSpace {
    match pixels {
        true => ObsSpace::Pixels { shape: [84, 84] },
        false => ObsSpace::Planes { shape: [10, 10, 4] },
    }
}

/// A network of `spec`, whose first parameters are drawn from `rng`.
fn network_of(spec: &NetSpec, rule: Rule, native: bool, rng: &mut Pcg32) -> QNetwork {
    let layout = spec.layout();
    let mut params = layout.first_params(spec.init(), rng);
    let noise = spec.parts.sigma.map(|sigma| Noise::new(&layout, sigma));
    params.extend(noise.iter().flat_map(Noise::first_sigmas));
    let optimizer = OptimConfig::of(rule);
    let engine = match native {
        true => Engine::Native(Box::new(NativeEngine::of(spec, optimizer, &params).expect("passes by hand"))),
        false => Engine::Autograd(Box::new(AutogradEngine::new(spec, None, optimizer, Device::Cpu, &params))),
    };
    QNetwork::with(engine, None, noise)
}

fn fit(network: &mut QNetwork, obs: &[u8], n_updates: usize) {
    let (actions, targets) = ([0, 1, 2, 0, 1, 2, 0, 1], [1.0, -1.0, 0.5, 0.0, 2.0, -0.5, 1.5, 0.25]);
    let how = Update { loss: Loss::Squared, lr: 1e-2, max_grad_norm: 1.0 };
    (0..n_updates).for_each(|_| network.fit(obs, &actions, &targets, &how).expect("finite losses"));
}

fn array(snapshot: &Snapshot, name: &str) -> Vec<f32> {
    let bytes = safetensors::serialize(snapshot.tensors(), None).expect("named arrays");
    let arrays = safetensors::SafeTensors::deserialize(&bytes).expect("arrays just written");
    let (floats, _) = arrays.tensor(name).expect("an array").data().as_chunks();
    floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn the_average_is_that_of_every_eighth_update_in_both_engines() {
    for (pixels, native) in [(false, true), (true, true), (false, false)] {
        let (mut network, obs) = network(pixels, native);
        fit(&mut network, &obs, 1);
        let first = array(&network.save(), "online");
        assert_eq!(array(&network.save(), "average"), first);
        fit(&mut network, &obs, 8);
        let second = array(&network.save(), "online");
        let beta = 0.9_f64.powi(8);
        let rate = (1.0 - beta) / (1.0 - beta * beta);
        let average = array(&network.save(), "average");
        for ((average, first), second) in average.iter().zip(&first).zip(&second) {
            let expected = f64::from(*first) + rate * f64::from(second - first);
            assert!((f64::from(*average) - expected).abs() < 1e-6, "{average} is not {expected}");
        }
        fit(&mut network, &obs, 7);
        assert_eq!(array(&network.save(), "average"), average);
    }
}

#[test]
fn a_policy_is_the_average_alone_and_acts_as_before() {
    for (pixels, native) in [(false, true), (true, true), (false, false)] {
        let (mut trained, obs) = network(pixels, native);
        fit(&mut trained, &obs, 30);
        let q = trained.q(Weights::Average, &obs).to_vec();
        assert_ne!(q, trained.q(Weights::Online, &obs));
        let (mut greedy, mut restored) = ([0; 8], [0; 8]);
        trained.greedy(&obs, &mut greedy);
        let expected: Vec<usize> = q.chunks_exact(3).map(argmax).collect();
        assert_eq!(greedy[..], expected);
        for snapshot in [trained.save_policy(), trained.save()] {
            let bytes = safetensors::serialize(snapshot.tensors(), None).expect("named arrays");
            let arrays = safetensors::SafeTensors::deserialize(&bytes).expect("arrays just written");
            let (mut other, _) = network(pixels, native);
            other.load_policy(&Loaded::new(&arrays, snapshot.state())).expect("the same network");
            assert_eq!(other.q(Weights::Average, &obs), q);
            other.greedy(&obs, &mut restored);
            assert_eq!(restored, greedy);
        }
        assert_eq!(trained.save_policy().tensors().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), ["average"]);
    }
}

/// Every part that changes a network, alone and with the others.
fn all_parts() -> Vec<NetParts> {
    let none = NetParts::default;
    vec![
        NetParts { dueling: true, ..none() },
        NetParts { atoms: 5, ..none() },
        NetParts { taus: Some(4), ..none() },
        NetParts { sigma: Some(0.5), ..none() },
        NetParts { dueling: true, atoms: 5, sigma: Some(0.5), ..none() },
        NetParts { dueling: true, taus: Some(4), sigma: Some(0.5), ..none() },
    ]
}

/// Half the sum of the squares of the outputs' distances to 1.
fn squares(outputs: &[f32], d_outputs: &mut [f32]) -> Fitted {
    let loss: f32 = outputs.iter().map(|x| 0.5 * (x - 1.0).powi(2)).sum();
    d_outputs.iter_mut().zip(outputs).for_each(|(d, x)| *d = x - 1.0);
    Fitted { loss: loss.into(), value: 0.0 }
}

/// Outputs of all parameters along some updates by [`squares`], for observations with a `share` of ones.
fn outputs_along(parts: NetParts, pixels: bool, share: f64, native: bool) -> Vec<Vec<f32>> {
    let spec = NetSpec { layer_norm: true, parts, ..NetSpec::new(obs_space(pixels), 1, &[32], 3) };
    let mut rng = Pcg32::seed_from_u64(7);
    let mut network = network_of(&spec, Rule::Adam, native, &mut rng).averaged(0.9);
    let obs: Vec<u8> = (0..8 * spec.obs_bytes()).map(|_| u8::from(rng.gen_bool(share))).collect();
    let taus: Vec<f32> = (0..8 * parts.taus.map_or(0, |n| n - 1)).map(|_| rng.r#gen()).collect();
    let mut seen = vec![];
    for step in 0..10 {
        network.draw_noise(true, &mut rng);
        let how = Update { loss: Loss::Squared, lr: 1e-3, max_grad_norm: if step % 2 == 0 { 1.0 } else { 0.0 } };
        let input = Input { obs: &obs, taus: &taus };
        network.fit_by(input, &how, squares).expect("a finite loss");
        network.step_target(0.1);
        for weights in [Weights::Online, Weights::Target, Weights::Average, Weights::Mean] {
            seen.push(network.outputs(weights, input).to_vec());
            seen.push(network.q(weights, &obs).to_vec());
        }
    }
    seen
}

#[test]
fn both_engines_agree_with_each_part() {
    for parts in all_parts() {
        // Of few ones the features are mostly zeros, for which planes have other products.
        for (pixels, share) in [(false, 0.1), (false, 0.005), (true, 0.1)] {
            if pixels && parts.taus.is_some() {
                continue; // Fractions join in front of the dense layers, where the pixel network has no passes by hand.
            }
            let [native, autograd] = [true, false].map(|native| outputs_along(parts, pixels, share, native));
            for (step, (native, autograd)) in native.iter().zip(&autograd).enumerate() {
                assert_eq!(native.len(), autograd.len());
                for (a, b) in native.iter().zip(autograd) {
                    assert!((a - b).abs() < 2e-3 * b.abs().max(1.0), "{parts:?}, {step}: {a} by hand, {b} by autograd");
                }
            }
        }
    }
}

/// A linear encoder of planes.
#[derive(Debug)]
struct Projection;

const N_FEATURES: i64 = 8;

impl crate::trunk::Trunk for Projection {
    fn params(&self) -> Vec<f32> {
        (0..400 * N_FEATURES).map(|i| (i as f32 * 0.37).sin() * 0.1).collect()
    }

    fn n_features(&self) -> usize {
        N_FEATURES as usize
    }

    fn features(&self, params: &tch::Tensor, frames: &tch::Tensor) -> tch::Tensor {
        frames.to_kind(tch::Kind::Float).matmul(&params.view([400, N_FEATURES]))
    }

    fn loss(&self, _params: &tch::Tensor, _frames: &tch::Tensor) -> Option<(tch::Tensor, f64)> {
        None
    }
}

#[test]
fn each_part_learns_behind_an_encoder_that_learns() {
    for parts in all_parts() {
        let obs_space = ObsSpace::Planes { shape: [10, 10, 4] };
        let spec = NetSpec { parts, ..NetSpec::new(obs_space, 2, &[32], 3) };
        let mut rng = Pcg32::seed_from_u64(7);
        let optimizer = OptimConfig::of(Rule::Adam);
        let trunk = std::sync::Arc::new(Projection);
        let mut network = QNetwork::new(spec, Some(trunk), optimizer, Device::Cpu, &mut rng);
        let obs: Vec<u8> = (0..8 * 800).map(|_| u8::from(rng.gen_bool(0.1))).collect();
        let how = Update { loss: Loss::Squared, lr: 3e-3, max_grad_norm: 0.0 };
        let mut losses = vec![];
        for _ in 0..60 {
            network.draw_noise(true, &mut rng);
            let fitted = network.fit_by(obs.as_slice().into(), &how, |outputs, d_outputs| {
                let n = outputs.len() as f32;
                d_outputs.iter_mut().zip(outputs).for_each(|(d, x)| *d = (x - 1.0) / n);
                let loss: f32 = outputs.iter().map(|x| 0.5 * (x - 1.0).powi(2)).sum();
                Fitted { loss: (loss / n).into(), value: 0.0 }
            });
            fitted.expect("a finite loss");
            losses.push(network.stats()[0].1);
        }
        let late = losses[50..].iter().sum::<f64>() / 10.0;
        assert!(late < 0.3 * losses[0], "{parts:?}: {} to {late}", losses[0]);
        let online = array(&network.save(), "online");
        assert_ne!(online[..400 * N_FEATURES as usize], crate::trunk::Trunk::params(&Projection)[..], "{parts:?}");
    }
}

#[test]
fn noise_moves_online_and_target_and_leaves_the_mean_and_the_average() {
    for native in [true, false] {
        let parts = NetParts { sigma: Some(0.5), ..NetParts::default() };
        let seen = outputs_along(parts, false, 0.1, native);
        let last = &seen[seen.len() - 8..];
        assert_ne!(last[0], last[6], "online and mean");
        // Both have moved by less in one update than by the noise.
        assert_ne!(seen[0], seen[2], "online and target");
        let distance =
            |i: usize, j: usize| seen[i].iter().zip(&seen[j]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(distance(4, 6) < 0.1 * distance(0, 6), "average and mean, online and mean");
    }
}

#[test]
fn a_soft_target_moves_its_share_of_the_way() {
    for native in [true, false] {
        let (mut network, obs) = network(false, native);
        let before = array(&network.save(), "target");
        fit(&mut network, &obs, 3);
        let online = array(&network.save(), "online");
        network.step_target(0.25);
        for ((now, before), online) in array(&network.save(), "target").iter().zip(&before).zip(&online) {
            assert!((now - (0.75 * before + 0.25 * online)).abs() < 1e-6);
        }
        network.step_target(1.0);
        assert_eq!(array(&network.save(), "target"), online);
    }
}
