//! A trainable Q-network: parameters, a target copy where wanted, gradients and an optimiser, on the CPU or an accelerator.

use crate::agent::{LearnError, Stat};
use crate::losses::{Loss, argmax, mean_loss};
use crate::net::native::Network;
use crate::net::tensor::{read_tensor, to_vec};
use crate::net::{Layout, Matrix, NetSpec, autograd};
use crate::optim::{OptimConfig, Optimizer, TensorOptimizer, clip_norm};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use crate::trunk::SharedTrunk;
use carom_envs::ObsSpace;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Which parameters a forward pass uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those being trained.
    Online,
    /// The copy made by the latest [`QNetwork::sync_target`].
    Target,
}

/// A Q-network with everything that training it needs.
pub struct QNetwork {
    engine: Engine,
    fitted: Fitted,
    q: Vec<f32>,
    d_q: Vec<f32>,
}

/// Who computes: plain Rust around matrix products for small networks on the CPU, else autograd. Both save the same arrays, so
/// that a run trained on one device is read on another.
enum Engine {
    Native(Box<NativeEngine>),
    Autograd(Box<AutogradEngine>),
}

/// How [`QNetwork::fit`] makes its step.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// Penalty of the TD error.
    pub loss: Loss,
    /// Learning rate.
    pub lr: f64,
    /// Longest gradient, by its Euclidean norm; 0 for no limit.
    pub max_grad_norm: f64,
}

/// A loss that is not finite.
#[derive(Clone, Copy, Debug)]
pub struct NonFinite {
    /// Its name in `metrics.csv`.
    pub what: &'static str,
    /// Its value.
    pub value: f64,
}

impl NonFinite {
    /// The error of an agent that saw it at environment step `step`.
    pub fn at(self, step: u64) -> LearnError {
        LearnError::NonFinite { what: self.what, value: self.value, step }
    }
}

/// Sums over the updates since statistics were last asked for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Fitted {
    n_updates: u64,
    loss: f64,
    q: f64,
    grad_norm: f64,
    /// The trunk's own loss, without its weight, where it has one.
    #[serde(default)]
    recon: Option<f64>,
}

impl QNetwork {
    /// A network of `spec` on `device`, with first parameters drawn from `rng`; the target starts as a copy.
    ///
    /// With a `trunk`, it is of the features of each frame, as if they were what `spec` observes: concatenated, oldest frame
    /// first. The flat parameters are the trunk's, then the head's; copies to the target hold both.
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
            Stem { frame_bytes, trunk }
        });
        if let (None, ObsSpace::Vector { len }) = (&stem, &spec.obs_space) {
            // A stack of vectors is a longer one, which the passes by hand take.
            spec.obs_space = ObsSpace::Vector { len: spec.frame_stack * len };
            spec.frame_stack = 1;
        }
        let params = Layout::new(&spec).init(rng);
        let engine = match (device, stem) {
            (Device::Cpu, None) if Network::covers(&spec) => {
                Engine::Native(Box::new(NativeEngine::new(spec, optimizer, &params)))
            }
            (device, stem) => Engine::Autograd(Box::new(AutogradEngine::new(spec, stem, optimizer, device, &params))),
        };
        Self { engine, fitted: Fitted::default(), q: vec![], d_q: vec![] }
    }

    /// Q-values `[B, n_actions]` of `obs`, `[B * obs_bytes]`.
    pub fn q(&mut self, weights: Weights, obs: &[u8]) -> &[f32] {
        match &mut self.engine {
            Engine::Native(engine) => engine.q(weights, obs),
            Engine::Autograd(engine) => {
                engine.q(weights, obs, &mut self.q);
                &self.q
            }
        }
    }

    /// The greedy actions for a batch of observations, ties broken by the lowest index.
    pub fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        let q = self.q(Weights::Online, obs);
        let rows = q.chunks_exact(q.len() / actions.len());
        for (action, q) in actions.iter_mut().zip(rows) {
            *action = argmax(q);
        }
    }

    /// Moves the online parameters one step towards `targets` of the `actions` taken in `obs`.
    ///
    /// # Errors
    /// When the loss is not finite; the parameters are left as they were.
    pub fn fit(&mut self, obs: &[u8], actions: &[u8], targets: &[f32], how: &Fit) -> Result<(), NonFinite> {
        let Self { engine, fitted, d_q, .. } = self;
        let mut loss_of = |q: &[f32], d_q: &mut Vec<f32>| {
            d_q.resize(q.len(), 0.0);
            let loss = mean_loss(how.loss, q, actions, targets, d_q);
            if !loss.is_finite() {
                return Err(NonFinite { what: "train/loss", value: loss.into() });
            }
            let n_actions = q.len() / actions.len();
            let taken: f32 = actions.iter().enumerate().map(|(b, a)| q[b * n_actions + usize::from(*a)]).sum();
            fitted.n_updates += 1;
            fitted.loss += f64::from(loss);
            fitted.q += f64::from(taken) / actions.len() as f64;
            Ok(())
        };
        let (grad_norm, recon) = match engine {
            Engine::Native(engine) => {
                loss_of(engine.q(Weights::Online, obs), d_q)?;
                (engine.descend(d_q, how), None)
            }
            Engine::Autograd(engine) => engine.descend(obs, how, |q| loss_of(q, d_q).map(|()| &d_q[..]))?,
        };
        self.fitted.grad_norm += f64::from(grad_norm);
        if let Some(recon) = recon {
            *self.fitted.recon.get_or_insert(0.0) += recon;
        }
        Ok(())
    }

    /// Means over the updates since the last call.
    pub fn stats(&mut self) -> Vec<Stat> {
        let Fitted { n_updates, loss, q, grad_norm, recon } = std::mem::take(&mut self.fitted);
        if n_updates == 0 {
            return vec![];
        }
        let mean = |sum: f64| sum / n_updates as f64;
        let stats = [("train/loss", mean(loss)), ("train/q_mean", mean(q)), ("train/grad_norm", mean(grad_norm))];
        stats.into_iter().chain(recon.map(|recon| ("train/recon", mean(recon)))).collect()
    }

    /// Copies the online parameters to the target.
    pub fn sync_target(&mut self) {
        match &mut self.engine {
            Engine::Native(engine) => engine.target.as_mut_slice().copy_from_slice(engine.online.as_slice()),
            Engine::Autograd(engine) => engine.sync_target(),
        }
    }

    /// Parameters, target, optimiser and statistics.
    pub fn save(&self) -> Snapshot<'_> {
        let snapshot = Snapshot::default().value("fitted", &self.fitted);
        match &self.engine {
            Engine::Native(engine) => snapshot
                .array("online", engine.online.as_slice())
                .array("target", engine.target.as_slice())
                .nest("optimizer", engine.optimizer.save()),
            Engine::Autograd(engine) => snapshot
                .owned_array("online", &to_vec(&engine.online))
                .owned_array("target", &to_vec(&engine.target))
                .nest("optimizer", engine.optimizer.save()),
        }
    }

    /// Takes up what [`QNetwork::save`] gave.
    ///
    /// # Errors
    /// When it was saved from another network.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.fitted = from.value("fitted")?;
        let optimizer = from.nested("optimizer")?;
        match &mut self.engine {
            Engine::Native(engine) => {
                from.read("online", engine.online.as_mut_slice())?;
                from.read("target", engine.target.as_mut_slice())?;
                engine.optimizer.load(&optimizer)
            }
            Engine::Autograd(engine) => {
                read_tensor(from, "online", &mut engine.online)?;
                read_tensor(from, "target", &mut engine.target)?;
                engine.optimizer.load(&optimizer)
            }
        }
    }
}

/// Passes by hand on the CPU.
struct NativeEngine {
    network: Network,
    online: Matrix,
    target: Matrix,
    grads: Matrix,
    optimizer: Optimizer,
}

impl NativeEngine {
    fn new(spec: NetSpec, optimizer: OptimConfig, params: &[f32]) -> Self {
        let mut online = Matrix::zeros(1, params.len());
        online.as_mut_slice().copy_from_slice(params);
        Self {
            network: Network::new(spec),
            target: online.clone(),
            grads: Matrix::zeros(1, params.len()),
            online,
            optimizer: Optimizer::new(optimizer, params.len()),
        }
    }

    fn q(&mut self, weights: Weights, obs: &[u8]) -> &[f32] {
        let params = match weights {
            Weights::Online => &self.online,
            Weights::Target => &self.target,
        };
        self.network.forward(params, obs)
    }

    /// One step down the gradient, given that of the latest online Q-values; returns the gradient's norm.
    fn descend(&mut self, d_q: &[f32], how: &Fit) -> f32 {
        self.network.backward(&self.online, d_q, &mut self.grads);
        let norm = clip_norm(self.grads.as_mut_slice(), how.max_norm());
        self.optimizer.step(self.online.as_mut_slice(), self.grads.as_slice(), how.lr);
        norm
    }
}

/// Autograd on any device.
struct AutogradEngine {
    stem: Option<Stem>,
    /// Of the head, where there is a stem.
    spec: NetSpec,
    layout: Layout,
    online: Tensor,
    target: Tensor,
    optimizer: TensorOptimizer,
}

/// A trunk before the head.
struct Stem {
    trunk: SharedTrunk,
    frame_bytes: i64,
}

impl AutogradEngine {
    /// The first parameters are the trunk's own and `head`.
    fn new(spec: NetSpec, stem: Option<Stem>, optimizer: OptimConfig, device: Device, head: &[f32]) -> Self {
        let mut params = stem.as_ref().map(|stem| stem.trunk.params()).unwrap_or_default();
        params.extend(head);
        let target = Tensor::from_slice(&params).to_device(device);
        let online = target.copy().set_requires_grad(true);
        let (layout, optimizer) = (Layout::new(&spec), TensorOptimizer::new(optimizer, &target));
        Self { stem, spec, layout, online, target, optimizer }
    }

    fn params(&self, weights: Weights) -> &Tensor {
        match weights {
            Weights::Online => &self.online,
            Weights::Target => &self.target,
        }
    }

    /// `obs`, `[B * obs_bytes]`, as `u8 [B, obs_bytes]` where the parameters live.
    fn tensor(&self, obs: &[u8]) -> Tensor {
        let obs_bytes = match &self.stem {
            Some(stem) => self.spec.frame_stack as i64 * stem.frame_bytes,
            None => self.spec.obs_bytes() as i64,
        };
        Tensor::from_slice(obs).view([-1, obs_bytes]).to_device(self.online.device())
    }

    /// Parameters of the trunk and of the head: two parts of one split, whose gradient is one concatenation.
    fn parts(&self, weights: Weights) -> [Tensor; 2] {
        let (params, head) = (self.params(weights), self.layout.len as i64);
        let parts = params.split_with_sizes([params.size()[0] - head, head], 0);
        parts.try_into().expect("two parts")
    }

    fn forward(&self, weights: Weights, obs: &Tensor) -> Tensor {
        let Some(Stem { trunk, frame_bytes }) = &self.stem else {
            return autograd::forward(&self.spec, &self.layout, self.params(weights), obs);
        };
        let [of_trunk, of_head] = self.parts(weights);
        let features = trunk.features(&of_trunk, &obs.view([-1, *frame_bytes]));
        autograd::forward_from(features.view([obs.size()[0], -1]), &self.layout, &of_head)
    }

    /// The trunk's own loss on the newest frame of each observation, and its weight.
    fn trunk_loss(&self, obs: &Tensor) -> Option<(Tensor, f64)> {
        let Stem { trunk, frame_bytes } = self.stem.as_ref()?;
        let [of_trunk, _] = self.parts(Weights::Online);
        trunk.loss(&of_trunk, &obs.narrow(1, obs.size()[1] - frame_bytes, *frame_bytes))
    }

    fn q(&self, weights: Weights, obs: &[u8], out: &mut Vec<f32>) {
        *out = to_vec(&tch::no_grad(|| self.forward(weights, &self.tensor(obs))));
    }

    /// One step down the gradient of the loss whose derivative by the Q-values `d_q_of` gives, plus the trunk's own loss;
    /// returns the gradient's norm and the latter.
    fn descend<'a>(
        &mut self,
        obs: &[u8],
        how: &Fit,
        d_q_of: impl FnOnce(&[f32]) -> Result<&'a [f32], NonFinite>,
    ) -> Result<(f32, Option<f64>), NonFinite> {
        let obs = self.tensor(obs);
        let q = self.forward(Weights::Online, &obs);
        let d_q =
            Tensor::from_slice(d_q_of(&to_vec(&q))?).view_as(&q.detach().to_device(Device::Cpu)).to_device(q.device());
        let (mut loss, mut recon) = ((&q * d_q).sum(Kind::Float), None);
        if let Some((own, weight)) = self.trunk_loss(&obs) {
            let value = own.double_value(&[]);
            if !value.is_finite() {
                return Err(NonFinite { what: "train/recon", value });
            }
            (loss, recon) = (loss + own * weight, Some(value));
        }
        // Straight from the graph: a gradient that the tensor keeps would be cleared and added to, two more passes over it.
        let [grads] = Tensor::run_backward(&[loss], &[&self.online], false, false).try_into().expect("one gradient");
        let norm = grads.norm().double_value(&[]) as f32;
        let grads = if norm > how.max_norm() { grads * f64::from(how.max_norm() / norm) } else { grads };
        tch::no_grad(|| self.optimizer.step(&mut self.online, &grads, how.lr));
        Ok((norm, recon))
    }

    fn sync_target(&mut self) {
        tch::no_grad(|| self.target.copy_(&self.online));
    }
}

impl Fit {
    fn max_norm(&self) -> f32 {
        if self.max_grad_norm > 0.0 { self.max_grad_norm as f32 } else { f32::INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Rule;
    use carom_envs::ObsSpace;
    use rand::{Rng, SeedableRng};

    /// Twenty updates on eight transitions; the accelerator's engine is run on the CPU.
    fn losses(engine: impl FnOnce(NetSpec, OptimConfig, &[f32]) -> Engine, rule: Rule) -> (Vec<f64>, Vec<f32>) {
        let obs_space = ObsSpace::Planes { shape: [10, 10, 4] };
        let spec = NetSpec { obs_space, frame_stack: 1, hidden: vec![32], layer_norm: true, n_actions: 3 };
        let mut rng = Pcg32::seed_from_u64(5);
        let params = Layout::new(&spec).init(&mut rng);
        let engine = engine(spec, OptimConfig::of(rule), &params);
        let mut network = QNetwork { engine, fitted: Fitted::default(), q: vec![], d_q: vec![] };
        let obs: Vec<u8> = (0..8 * 400).map(|_| u8::from(rng.gen_bool(0.1))).collect();
        let (actions, targets) = ([0, 1, 2, 0, 1, 2, 0, 1], [1.0, -1.0, 0.5, 0.0, 2.0, -0.5, 1.5, 0.25]);
        let how = Fit { loss: Loss::Squared, lr: 1e-2, max_grad_norm: 1.0 };
        let losses = (0..60).map(|_| {
            network.fit(&obs, &actions, &targets, &how).expect("finite losses");
            network.stats()[0].1
        });
        (losses.collect(), network.q(Weights::Online, &obs).to_vec())
    }

    #[test]
    fn both_engines_overfit_eight_transitions_alike() {
        for rule in [Rule::Adam, Rule::RAdam, Rule::RmsProp, Rule::RmsPropCentered] {
            let native =
                losses(|spec, optim, params| Engine::Native(Box::new(NativeEngine::new(spec, optim, params))), rule);
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
        let how = Fit { loss: Loss::Huber, lr: 0.1, max_grad_norm: 0.0 };
        assert!(network.fit(&obs, &[0], &[f32::NAN], &how).is_err());
        assert_eq!(network.q(Weights::Online, &obs), before);
    }
}
