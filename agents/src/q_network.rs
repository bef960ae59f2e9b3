//! A trainable Q-network: parameters, a target copy where wanted, gradients and an optimiser, on the CPU or an
//! accelerator.

mod autograd;
mod average;
mod native;
mod update;

pub use update::{NonFinite, Update, Weights};

use crate::agent::Stat;
use crate::losses::{argmax, mean_loss};
use crate::net::NetSpec;
use crate::optim::OptimConfig;
use crate::snapshot::{Loaded, MAX_COUNT, Snapshot, SnapshotError};
use crate::trunk::SharedTrunk;
use autograd::{AutogradEngine, Stem};
use average::Average;
use carom_envs::ObsSpace;
use native::NativeEngine;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use tch::Device;
use update::Descended;

/// A Q-network with everything that training it needs.
pub struct QNetwork {
    engine: Engine,
    average: Option<Average>,
    sums: Sums,
    d_q: Vec<f32>,
}

/// Who computes: plain Rust around matrix products for small networks on the CPU, else autograd. Both save the same
/// arrays, so that a run trained on one device is read on another.
enum Engine {
    Native(Box<NativeEngine>),
    Autograd(Box<AutogradEngine>),
}

/// Sums over the updates since statistics were last asked for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Sums {
    n_updates: u64,
    loss: f64,
    q: f64,
    grad_norm: f64,
    #[serde(default)]
    recon: Option<f64>,
}

impl QNetwork {
    /// A network of `spec` on `device`, with first parameters drawn from `rng`; the target starts as a copy.
    ///
    /// With a `trunk`, it is of the features of each frame, as if they were what `spec` observes: concatenated, oldest
    /// frame first. The flat parameters are the trunk's, then the head's; copies to the target hold both.
    pub fn new(
        mut spec: NetSpec,
        trunk: Option<SharedTrunk>,
        optimizer: OptimConfig,
        device: Device,
        rng: &mut Pcg32,
    ) -> Self {
        let stem = trunk.map(|trunk| {
            let frame_bytes = spec.obs_space.n_bytes() as i64;
            spec.obs_space = ObsSpace::Vector { len: trunk.n_features() };
            Stem { trunk, frame_bytes }
        });
        let params = spec.layout().first_params(spec.init(), rng);
        let native = match (device, &stem) {
            (Device::Cpu, None) => NativeEngine::of(&spec, optimizer, &params),
            _ => None,
        };
        let engine = match native {
            Some(engine) => Engine::Native(Box::new(engine)),
            None => Engine::Autograd(Box::new(AutogradEngine::new(&spec, stem, optimizer, device, &params))),
        };
        Self { engine, average: None, sums: Sums::default(), d_q: vec![] }
    }

    /// Makes the network keep an exponential average of its online parameters, of which an update leaves `decay`, and
    /// act greedily by it. With a `decay` of 0 none is kept.
    ///
    /// # Panics
    /// When `decay` is not in `0.0..1.0`.
    #[must_use]
    pub fn averaged(mut self, decay: f64) -> Self {
        assert!((0.0..1.0).contains(&decay), "decay is {decay}");
        if decay > 0.0 {
            self.engine.keep_average();
            self.average = Some(Average::new(decay));
        }
        self
    }

    /// Q-values `[B, n_actions]` of `obs`, `[B * obs_bytes]`.
    ///
    /// # Panics
    /// When they are asked of an average and none is kept.
    pub fn q(&mut self, weights: Weights, obs: &[u8]) -> &[f32] {
        match &mut self.engine {
            Engine::Native(engine) => engine.q(weights, obs),
            Engine::Autograd(engine) => engine.q(weights, obs),
        }
    }

    /// Online and target Q-values, each `[B, n_actions]`, of `obs`, `[B * obs_bytes]`, which goes to the device once.
    pub fn both_q(&mut self, obs: &[u8]) -> [Vec<f32>; 2] {
        match &mut self.engine {
            Engine::Native(engine) => [Weights::Online, Weights::Target].map(|weights| engine.q(weights, obs).to_vec()),
            Engine::Autograd(engine) => engine.both_q(obs),
        }
    }

    /// Parameters of the greedy policy: the average where one is kept.
    fn policy(&self) -> Weights {
        if self.average.is_some() { Weights::Average } else { Weights::Online }
    }

    /// The greedy actions for a batch of observations, ties broken by the lowest index. By the average of the
    /// parameters where one is kept.
    pub fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        let q = self.q(self.policy(), obs);
        let rows = q.chunks_exact(q.len() / actions.len());
        for (action, q) in actions.iter_mut().zip(rows) {
            *action = argmax(q);
        }
    }

    /// Moves the online parameters one step towards `targets` of the `actions` taken in `obs`.
    ///
    /// # Errors
    /// When the loss is not finite; the parameters are left as they were.
    pub fn fit(&mut self, obs: &[u8], actions: &[u8], targets: &[f32], how: &Update) -> Result<(), NonFinite> {
        let q = self.engine.forward(obs);
        let loss = mean_loss(how.loss, q, actions, targets, resized(&mut self.d_q, q.len()));
        let taken = mean_taken(q, actions);
        let loss = NonFinite::check("train/loss", loss.into())?;
        let descended = self.engine.descend(obs, &self.d_q, how)?;
        if let Some(rate) = self.average.as_mut().and_then(Average::advance) {
            self.engine.step_average(rate);
        }
        self.sums.add(loss, taken, &descended);
        Ok(())
    }

    /// Means over the updates since the last call.
    pub fn stats(&mut self) -> Vec<Stat> {
        let Sums { n_updates, loss, q, grad_norm, recon } = std::mem::take(&mut self.sums);
        if n_updates == 0 {
            return vec![];
        }
        let mean = |sum: f64| sum / n_updates as f64;
        let stats = [("train/loss", mean(loss)), ("train/q_mean", mean(q)), ("train/grad_norm", mean(grad_norm))];
        stats.into_iter().chain(recon.map(|recon| ("train/recon", mean(recon)))).collect()
    }

    /// Whether it is faster on several threads than on one, with the same numbers on any.
    pub fn gains_from_threads(&self) -> bool {
        matches!(&self.engine, Engine::Native(engine) if engine.gains_from_threads())
    }

    /// Copies the online parameters to the target.
    pub fn sync_target(&mut self) {
        match &mut self.engine {
            Engine::Native(engine) => engine.sync_target(),
            Engine::Autograd(engine) => engine.sync_target(),
        }
    }

    /// Parameters, target, average, optimiser and statistics.
    pub fn save(&self) -> Snapshot<'_> {
        let snapshot = match &self.engine {
            Engine::Native(engine) => engine.save(),
            Engine::Autograd(engine) => engine.save(),
        };
        let snapshot = snapshot.value("sums", &self.sums);
        match &self.average {
            Some(average) => snapshot.value("n_averaged", &average.n_updates),
            None => snapshot,
        }
    }

    /// Restores the state that [`QNetwork::save`] wrote.
    ///
    /// # Errors
    /// When it was saved from another network.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.sums = from.value_where("sums", |sums: &Sums| sums.n_updates <= MAX_COUNT)?;
        if let Some(average) = &mut self.average {
            average.n_updates = from.count("n_averaged")?;
        }
        match &mut self.engine {
            Engine::Native(engine) => engine.load(from),
            Engine::Autograd(engine) => engine.load(from),
        }
    }

    /// The parameters of the greedy policy.
    pub fn save_policy(&self) -> Snapshot<'_> {
        match &self.engine {
            Engine::Native(engine) => engine.save_weights(Snapshot::default(), self.policy()),
            Engine::Autograd(engine) => engine.save_weights(Snapshot::default(), self.policy()),
        }
    }

    /// Restores the parameters of the greedy policy from what [`QNetwork::save`] or [`QNetwork::save_policy`] wrote.
    ///
    /// # Errors
    /// When it was saved from another network.
    pub fn load_policy(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        let weights = self.policy();
        match &mut self.engine {
            Engine::Native(engine) => engine.load_weights(from, weights),
            Engine::Autograd(engine) => engine.load_weights(from, weights),
        }
    }
}

impl Engine {
    /// Begins an average at the online parameters.
    fn keep_average(&mut self) {
        match self {
            Engine::Native(engine) => engine.keep_average(),
            Engine::Autograd(engine) => engine.keep_average(),
        }
    }

    /// Moves the average the share `rate` of the way to the online parameters.
    fn step_average(&mut self, rate: f32) {
        match self {
            Engine::Native(engine) => engine.step_average(rate),
            Engine::Autograd(engine) => engine.step_average(rate),
        }
    }

    /// Online Q-values of `obs`, with all that [`Engine::descend`] needs kept.
    fn forward(&mut self, obs: &[u8]) -> &[f32] {
        match self {
            Engine::Native(engine) => engine.forward(obs),
            Engine::Autograd(engine) => engine.forward(obs),
        }
    }

    /// One step down the gradient of the online parameters, given the observations of the latest forward pass and the
    /// gradient of its Q-values.
    fn descend(&mut self, obs: &[u8], d_q: &[f32], how: &Update) -> Result<Descended, NonFinite> {
        match self {
            Engine::Native(engine) => Ok(engine.descend(obs, d_q, how)),
            Engine::Autograd(engine) => engine.descend(d_q, how),
        }
    }
}

impl Sums {
    fn add(&mut self, loss: f64, q: f64, descended: &Descended) {
        self.n_updates += 1;
        self.loss += loss;
        self.q += q;
        self.grad_norm += f64::from(descended.grad_norm);
        if let Some(recon) = descended.recon {
            *self.recon.get_or_insert(0.0) += recon;
        }
    }
}

fn resized(values: &mut Vec<f32>, len: usize) -> &mut [f32] {
    values.resize(len, 0.0);
    values
}

/// Mean Q-value of the `actions` in the rows of `q`, `[B, n_actions]`.
fn mean_taken(q: &[f32], actions: &[u8]) -> f64 {
    let n_actions = q.len() / actions.len();
    let taken: f32 = actions.iter().enumerate().map(|(b, a)| q[b * n_actions + usize::from(*a)]).sum();
    f64::from(taken) / actions.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::Loss;
    use crate::optim::Rule;
    use carom_envs::ObsSpace;
    use rand::{Rng, SeedableRng};

    /// Twenty updates on eight transitions; the accelerator's engine is run on the CPU.
    fn losses(engine: impl FnOnce(&NetSpec, OptimConfig, &[f32]) -> Engine, rule: Rule) -> (Vec<f64>, Vec<f32>) {
        let obs_space = ObsSpace::Planes { shape: [10, 10, 4] };
        let spec = NetSpec { obs_space, frame_stack: 1, hidden: vec![32], layer_norm: true, n_actions: 3 };
        let mut rng = Pcg32::seed_from_u64(5);
        let params = spec.layout().first_params(spec.init(), &mut rng);
        let engine = engine(&spec, OptimConfig::of(rule), &params);
        let mut network = QNetwork { engine, average: None, sums: Sums::default(), d_q: vec![] };
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

    #[test]
    fn a_loss_that_is_not_finite_changes_nothing() {
        let spec = NetSpec {
            obs_space: ObsSpace::Discrete { n: 2 },
            frame_stack: 1,
            hidden: vec![],
            layer_norm: false,
            n_actions: 2,
        };
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

    /// A network of planes or, with `pixels`, of the screen, and eight observations of it.
    fn network(pixels: bool, native: bool) -> (QNetwork, Vec<u8>) {
        let obs_space = match pixels {
            true => ObsSpace::Pixels { shape: [84, 84] },
            false => ObsSpace::Planes { shape: [10, 10, 4] },
        };
        let spec = NetSpec { obs_space, frame_stack: 1, hidden: vec![32], layer_norm: true, n_actions: 3 };
        let mut rng = Pcg32::seed_from_u64(5);
        let params = spec.layout().first_params(spec.init(), &mut rng);
        let optimizer = OptimConfig::of(Rule::Adam);
        let engine = match native {
            true => Engine::Native(Box::new(NativeEngine::of(&spec, optimizer, &params).expect("a small network"))),
            false => Engine::Autograd(Box::new(AutogradEngine::new(&spec, None, optimizer, Device::Cpu, &params))),
        };
        let obs = (0..8 * spec.obs_bytes()).map(|_| u8::from(rng.gen_bool(0.1))).collect();
        (QNetwork { engine, average: None, sums: Sums::default(), d_q: vec![] }.averaged(0.9), obs)
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
            assert_eq!(
                trained.save_policy().tensors().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(),
                ["average"]
            );
        }
    }
}
