//! A trainable Q-network: parameters, a target copy where wanted, gradients and an optimiser, on the CPU or an
//! accelerator.

mod autograd;
mod average;
mod native;
mod shards;
mod update;

pub use update::{Fitted, Input, NonFinite, Update, Weights};

use crate::agent::{NoBf16, Stat};
use crate::losses::{argmax, mean_loss};
use crate::net::{Layout, NetSpec, Noise};
use crate::optim::OptimConfig;
use crate::ranks::SharedRanks;
use crate::snapshot::{Loaded, MAX_COUNT, Snapshot, SnapshotError};
use crate::trunk::SharedTrunk;
use autograd::{AutogradEngine, Stem};
use average::Average;
use carom_envs::ObsSpace;
use native::NativeEngine;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use shards::{Shards, Summed};
use tch::Device;
use update::{Descended, Gradient};

/// A Q-network with everything that training it needs.
pub struct QNetwork {
    engine: Engine,
    average: Option<Average>,
    /// Its operations; `None` where a trunk comes first.
    layout: Option<Layout>,
    noise: Option<Noise>,
    epsilon: Vec<f32>,
    /// The ranks that a batch is spread over, if there are several.
    shards: Option<Shards>,
    sums: Sums,
    d_q: Vec<f32>,
}

/// Who computes: on the CPU passes by hand for small networks and for that of 84x84 pixels, else autograd. Both save
/// the same arrays, so that a run trained on one device is read on another.
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
        let layout = spec.layout();
        let mut params = layout.first_params(spec.init(), rng);
        let noise = spec.parts.sigma.map(|sigma| Noise::new(&layout, sigma));
        params.extend(noise.iter().flat_map(Noise::first_sigmas));
        let layout = stem.is_none().then_some(layout);
        let native = match (device, &stem) {
            (Device::Cpu, None) => NativeEngine::of(&spec, optimizer, &params),
            _ => None,
        };
        let engine = match native {
            Some(engine) => Engine::Native(Box::new(engine)),
            None => Engine::Autograd(Box::new(AutogradEngine::new(&spec, stem, optimizer, device, &params))),
        };
        Self::with(engine, layout, noise)
    }

    fn with(engine: Engine, layout: Option<Layout>, noise: Option<Noise>) -> Self {
        let (epsilon, sums, d_q) = (vec![], Sums::default(), vec![]);
        Self { engine, layout, noise, average: None, epsilon, shards: None, sums, d_q }
    }

    /// Makes each batch a shard of a larger one, of which each of `ranks` has as large a shard. Their networks begin
    /// with the same parameters, and all of them make the update of the whole batch.
    #[must_use]
    pub fn sharded(mut self, ranks: Option<SharedRanks>) -> Self {
        self.shards = ranks.map(Shards::new);
        self
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

    /// Outputs of `input`: Q-values `[B, n_actions]`, or `[B, n_actions, atoms]`, or `[B, K, n_actions]` of quantile
    /// fractions.
    ///
    /// # Panics
    /// When they are asked of an average and none is kept.
    pub fn outputs(&mut self, weights: Weights, input: Input) -> &[f32] {
        match &mut self.engine {
            Engine::Native(engine) => engine.outputs(weights, input),
            Engine::Autograd(engine) => engine.outputs(weights, input),
        }
    }

    /// Outputs of `obs`, `[B * obs_bytes]`.
    ///
    /// # Panics
    /// When they are asked of an average and none is kept.
    pub fn q(&mut self, weights: Weights, obs: &[u8]) -> &[f32] {
        self.outputs(weights, obs.into())
    }

    /// Online and target outputs of `obs`, `[B * obs_bytes]`, which goes to the device once.
    pub fn both_q(&mut self, obs: &[u8]) -> [Vec<f32>; 2] {
        match &mut self.engine {
            Engine::Native(engine) => {
                [Weights::Online, Weights::Target].map(|weights| engine.outputs(weights, obs.into()).to_vec())
            }
            Engine::Autograd(engine) => engine.both_q(obs),
        }
    }

    /// Draws new noise of the online parameters and, with `of_target`, of the target's. Does nothing to a network
    /// without noise.
    pub fn draw_noise(&mut self, of_target: bool, rng: &mut Pcg32) {
        let Some(noise) = &mut self.noise else { return };
        let drawn = [Weights::Online, Weights::Target].into_iter().take(1 + usize::from(of_target));
        for weights in drawn {
            noise.draw(rng, &mut self.epsilon);
            match &mut self.engine {
                Engine::Native(engine) => engine.set_noise(weights, &self.epsilon),
                Engine::Autograd(engine) => engine.set_noise(weights, &self.epsilon),
            }
        }
    }

    /// Parameters of the greedy policy: the average where one is kept, else those being trained, without noise.
    fn policy(&self) -> Weights {
        match (&self.average, &self.noise) {
            (Some(_), _) => Weights::Average,
            (None, Some(_)) => Weights::Mean,
            (None, None) => Weights::Online,
        }
    }

    /// The greedy actions for a batch of observations, ties broken by the lowest index, of a network with one output
    /// for each action. By the average of the parameters where one is kept.
    pub fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        let q = self.acting_q(obs);
        let rows = q.chunks_exact(q.len() / actions.len());
        for (action, q) in actions.iter_mut().zip(rows) {
            *action = argmax(q);
        }
    }

    /// Moves the online parameters one step towards `targets` of the `actions` taken in `obs`.
    ///
    /// # Errors
    /// When the loss or the norm of its gradient is not finite.
    pub fn fit(&mut self, obs: &[u8], actions: &[u8], targets: &[f32], how: &Update) -> Result<(), NonFinite> {
        self.fit_by(obs.into(), how, |q, d_q| {
            let loss = mean_loss(how.loss, q, actions, targets, d_q);
            Fitted { loss: loss.into(), value: mean_taken(q, actions) }
        })
    }

    /// Moves the online parameters one step down the gradient of a loss of their outputs of `input`. `loss` overwrites
    /// its second argument with the gradient of the first.
    ///
    /// # Errors
    /// When the loss or the norm of its gradient is not finite. The parameters are left as they were, but for one case:
    /// without a limit of the norm, passes by hand over pixels take the step before they know the norm.
    pub fn fit_by(
        &mut self,
        input: Input,
        how: &Update,
        loss: impl FnOnce(&[f32], &mut [f32]) -> Fitted,
    ) -> Result<(), NonFinite> {
        let outputs = self.engine.forward(input);
        let fitted = loss(outputs, resized(&mut self.d_q, outputs.len()));
        let gradient = Gradient { obs: input.obs, d_outputs: &self.d_q, fitted };
        let (fitted, descended) = if let Some(shards) = &mut self.shards {
            // All ranks take part in the sum, whatever the loss of their shard.
            self.engine.descend_together(&gradient, how, shards)?
        } else {
            NonFinite::check("train/loss", fitted.loss)?;
            (fitted, self.engine.descend(&gradient, how)?)
        };
        if let Some(rate) = self.average.as_mut().and_then(Average::advance) {
            self.engine.step_average(rate);
        }
        self.sums.add(fitted, &descended);
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

    /// Its operations and the parameters that act greedily; `None` where a trunk comes first. Noise is left out, and a
    /// sum of streams is taken in by the last layer.
    pub fn acting(&self) -> Option<(Layout, Vec<f32>)> {
        let params = match &self.engine {
            Engine::Native(engine) => engine.values(self.policy()),
            Engine::Autograd(engine) => engine.values(self.policy()),
        };
        self.layout.clone().map(|layout| layout.with_duel_folded(params))
    }

    /// Says in what the network first differs from `other`; `None` where the parameters of one fit the other.
    pub fn difference(&self, other: &QNetwork) -> Option<String> {
        let (Some(own), Some(others)) = (&self.layout, &other.layout) else {
            return Some("an encoder that is trained with it is the first part of one of them".to_owned());
        };
        let (own, others) = (own.operations(), others.operations());
        if let Some(i) = own.iter().zip(others).position(|(own, other)| !own.is_like(other)) {
            return Some(format!("operation {} is {:?} here and {:?} there", i + 1, own[i], others[i]));
        }
        if own.len() != others.len() {
            return Some(format!("it has {} operations here and {} there", own.len(), others.len()));
        }
        let noisy = |network: &QNetwork| if network.noise.is_some() { "noisy" } else { "not noisy" };
        (noisy(self) != noisy(other)).then(|| format!("its layers are {} here and {} there", noisy(self), noisy(other)))
    }

    /// Replaces the online parameters by those that another network's [`QNetwork::save`] wrote. Target and average
    /// become copies of them; the optimiser is left as it is.
    ///
    /// # Errors
    /// When they are missing, or of another length.
    pub fn begin_at(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        match &mut self.engine {
            Engine::Native(engine) => engine.load_weights(from, Weights::Online)?,
            Engine::Autograd(engine) => engine.load_weights(from, Weights::Online)?,
        }
        self.step_target(1.0);
        if self.average.is_some() {
            self.engine.keep_average();
        }
        Ok(())
    }

    /// Outputs of the parameters that act greedily.
    pub fn acting_q(&mut self, obs: &[u8]) -> &[f32] {
        self.q(self.policy(), obs)
    }

    /// Whether it is faster on several threads than on one, with the same numbers on any.
    pub fn gains_from_threads(&self) -> bool {
        matches!(&self.engine, Engine::Native(engine) if engine.gains_from_threads())
    }

    /// Computes products of matrices of factors rounded to bf16 from now on. Sums, parameters and all else stay f32.
    ///
    /// # Errors
    /// When the network or this processor has no such products, or is slower by them.
    pub fn round_to_bf16(&mut self) -> Result<(), NoBf16> {
        match &mut self.engine {
            Engine::Native(engine) => engine.round_to_bf16().map_err(NoBf16),
            Engine::Autograd(_) => Err(NoBf16(native::NO_PRODUCTS)),
        }
    }

    /// Moves the target the share `rate` of the way to the online parameters; with 1 it is a copy.
    pub fn step_target(&mut self, rate: f32) {
        match &mut self.engine {
            Engine::Native(engine) => engine.step_target(rate),
            Engine::Autograd(engine) => engine.step_target(rate),
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

    /// Online outputs of `input`, with all that [`Engine::descend`] needs kept.
    fn forward(&mut self, input: Input) -> &[f32] {
        match self {
            Engine::Native(engine) => engine.forward(input),
            Engine::Autograd(engine) => engine.forward(input),
        }
    }

    /// One step down the gradient of the online parameters.
    fn descend(&mut self, gradient: &Gradient, how: &Update) -> Result<Descended, NonFinite> {
        match self {
            Engine::Native(engine) => engine.descend(gradient, how),
            Engine::Autograd(engine) => engine.descend(gradient, how),
        }
    }

    /// One step down the mean of the gradients of all `shards`. Returns the means of the facts too.
    fn descend_together(
        &mut self,
        gradient: &Gradient,
        how: &Update,
        shards: &mut Shards,
    ) -> Result<(Fitted, Descended), NonFinite> {
        let append = |grads: &mut Vec<f32>| match self {
            Engine::Native(engine) => {
                engine.append_gradient(gradient, grads);
                None
            }
            Engine::Autograd(engine) => engine.append_gradient(gradient, grads),
        };
        let Summed { grads, share, fitted, recon } = shards.sum(append, gradient.fitted)?;
        let grad_norm = match self {
            Engine::Native(engine) => engine.follow(grads, share, how)?,
            Engine::Autograd(engine) => engine.follow(grads, share, how)?,
        };
        Ok((fitted, Descended { grad_norm, recon }))
    }
}

impl Sums {
    fn add(&mut self, fitted: Fitted, descended: &Descended) {
        self.n_updates += 1;
        self.loss += fitted.loss;
        self.q += fitted.value;
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
mod tests;
