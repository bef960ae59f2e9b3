//! A trainable Q-network: parameters, a target copy where wanted, gradients and an optimiser, on the CPU or an accelerator.

use crate::losses::{Loss, mean_loss};
use crate::net::native::Network;
use crate::net::{Matrix, NetSpec};
use crate::optim::{OptimConfig, Optimizer, clip_norm};
use crate::{LearnError, Loaded, Snapshot, SnapshotError, Stat};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

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
    network: Network,
    online: Matrix,
    target: Matrix,
    grads: Matrix,
    optimizer: Optimizer,
    fitted: Fitted,
    d_q: Vec<f32>,
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
pub struct NonFinite(pub f32);

impl NonFinite {
    /// The error of an agent that saw it at environment step `step`.
    pub fn at(self, step: u64) -> LearnError {
        LearnError::NonFinite { what: "train/loss", value: self.0.into(), step }
    }
}

/// Sums over the updates since statistics were last asked for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Fitted {
    n_updates: u64,
    loss: f64,
    q: f64,
    grad_norm: f64,
}

impl QNetwork {
    /// A network of `spec` with first parameters drawn from `rng`; the target starts as a copy.
    pub fn new(spec: NetSpec, optimizer: OptimConfig, rng: &mut Pcg32) -> Self {
        let network = Network::new(spec);
        let params = network.layout().init(rng);
        let mut online = Matrix::zeros(1, params.len());
        online.as_mut_slice().copy_from_slice(&params);
        let optimizer = Optimizer::new(optimizer, params.len());
        Self {
            target: online.clone(),
            grads: Matrix::zeros(1, params.len()),
            network,
            online,
            optimizer,
            fitted: Fitted::default(),
            d_q: vec![],
        }
    }

    /// Q-values `[B, n_actions]` of `obs`, `[B * obs_bytes]`.
    pub fn q(&mut self, weights: Weights, obs: &[u8]) -> &[f32] {
        let params = match weights {
            Weights::Online => &self.online,
            Weights::Target => &self.target,
        };
        self.network.forward(params, obs)
    }

    /// Moves the online parameters one step towards `targets` of the `actions` taken in `obs`.
    ///
    /// # Errors
    /// When the loss is not finite; the parameters are left as they were.
    pub fn fit(&mut self, obs: &[u8], actions: &[u8], targets: &[f32], how: &Fit) -> Result<(), NonFinite> {
        let q = self.network.forward(&self.online, obs);
        self.d_q.resize(q.len(), 0.0);
        let loss = mean_loss(how.loss, q, actions, targets, &mut self.d_q);
        if !loss.is_finite() {
            return Err(NonFinite(loss));
        }
        let n_actions = q.len() / actions.len();
        let taken: f32 = actions.iter().enumerate().map(|(b, a)| q[b * n_actions + usize::from(*a)]).sum();
        self.network.backward(&self.online, &self.d_q, &mut self.grads);
        let max_norm = if how.max_grad_norm > 0.0 { how.max_grad_norm as f32 } else { f32::INFINITY };
        let grad_norm = clip_norm(self.grads.as_mut_slice(), max_norm);
        self.optimizer.step(self.online.as_mut_slice(), self.grads.as_slice(), how.lr);
        self.fitted.n_updates += 1;
        self.fitted.loss += f64::from(loss);
        self.fitted.q += f64::from(taken) / actions.len() as f64;
        self.fitted.grad_norm += f64::from(grad_norm);
        Ok(())
    }

    /// Means over the updates since the last call.
    pub fn stats(&mut self) -> Vec<Stat> {
        let Fitted { n_updates, loss, q, grad_norm } = std::mem::take(&mut self.fitted);
        if n_updates == 0 {
            return vec![];
        }
        let mean = |sum: f64| sum / n_updates as f64;
        vec![("train/loss", mean(loss)), ("train/q_mean", mean(q)), ("train/grad_norm", mean(grad_norm))]
    }

    /// Copies the online parameters to the target.
    pub fn sync_target(&mut self) {
        self.target.as_mut_slice().copy_from_slice(self.online.as_slice());
    }

    /// Parameters, target, optimiser and statistics.
    pub fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .value("fitted", &self.fitted)
            .array("online", self.online.as_slice())
            .array("target", self.target.as_slice())
            .nest("optimizer", self.optimizer.save())
    }

    /// Takes up what [`QNetwork::save`] gave.
    ///
    /// # Errors
    /// When it was saved from another network.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.fitted = from.value("fitted")?;
        from.read("online", self.online.as_mut_slice())?;
        from.read("target", self.target.as_mut_slice())?;
        self.optimizer.load(&from.nested("optimizer")?)
    }
}
