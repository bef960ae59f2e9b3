//! Autograd on any device.

use super::update::{AVERAGE_KEPT, Descended, Gradient, Input, NonFinite, Update, Weights};
use crate::net::tensor::{read_tensor, to_vec};
use crate::net::{Layout, NetSpec};
use crate::optim::{OptimConfig, TensorOptimizer, clip_factor};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use crate::trunk::SharedTrunk;
use tch::{Device, Kind, Tensor};

pub(super) struct AutogradEngine {
    stem: Option<Stem>,
    /// The whole network, or the head behind the stem.
    layout: Layout,
    obs_bytes: i64,
    online: Tensor,
    target: Tensor,
    average: Option<Tensor>,
    /// ε of the online parameters and of the target's, where they are noisy.
    epsilons: Option<[Tensor; 2]>,
    optimizer: TensorOptimizer,
    q: Vec<f32>,
    latest: Option<Latest>,
}

/// A trunk before the head.
pub(super) struct Stem {
    pub(super) trunk: SharedTrunk,
    pub(super) frame_bytes: i64,
}

/// The latest forward pass of the online parameters.
struct Latest {
    obs: Tensor,
    /// Q-values that autograd leads back from.
    q: Tensor,
}

impl AutogradEngine {
    /// The first parameters are the trunk's own and `head`. If the network is noisy, `head` is the means and, behind
    /// them, the spreads.
    pub(super) fn new(
        spec: &NetSpec,
        stem: Option<Stem>,
        optimizer: OptimConfig,
        device: Device,
        head: &[f32],
    ) -> Self {
        let mut params = stem.as_ref().map(|stem| stem.trunk.params()).unwrap_or_default();
        params.extend(head);
        let (layout, obs_bytes) = match &stem {
            None => (spec.layout(), spec.obs_bytes() as i64),
            // Features are numbers already.
            Some(stem) => (Layout::aligned(spec.operations().split_off(1)), spec.frame_stack as i64 * stem.frame_bytes),
        };
        let target = Tensor::from_slice(&params).to_device(device);
        let online = target.copy().set_requires_grad(true);
        let optimizer = TensorOptimizer::new(optimizer, &target);
        let epsilon = || Tensor::zeros([layout.len() as i64], (Kind::Float, device));
        let epsilons = (head.len() > layout.len()).then(|| [epsilon(), epsilon()]);
        Self { stem, layout, obs_bytes, online, target, average: None, epsilons, optimizer, q: vec![], latest: None }
    }

    fn params(&self, weights: Weights) -> &Tensor {
        match weights {
            Weights::Online | Weights::Mean => &self.online,
            Weights::Target => &self.target,
            Weights::Average => self.average.as_ref().expect(AVERAGE_KEPT),
        }
    }

    /// Sets the noise of the online parameters or of the target's, as long as the network behind a trunk.
    pub(super) fn set_noise(&mut self, weights: Weights, epsilon: &[f32]) {
        let epsilon = Tensor::from_slice(epsilon).to_device(self.online.device());
        if let Some(epsilons) = &mut self.epsilons {
            epsilons[usize::from(weights == Weights::Target)] = epsilon;
        }
    }

    /// `obs`, `[B * obs_bytes]`, as `u8 [B, obs_bytes]` where the parameters live.
    fn tensor(&self, obs: &[u8]) -> Tensor {
        Tensor::from_slice(obs).view([-1, self.obs_bytes]).to_device(self.online.device())
    }

    /// Parameters of the trunk, if there is one, and of the head, with their noise: parts of one split, whose gradient
    /// is one concatenation.
    fn parts(&self, weights: Weights) -> [Tensor; 2] {
        let (params, head) = (self.params(weights), self.layout.len() as i64);
        let epsilon = match (&self.epsilons, weights) {
            (None, _) => {
                let parts = params.split_with_sizes([params.size()[0] - head, head], 0);
                return parts.try_into().expect("two parts");
            }
            (Some([online, _]), Weights::Online) => Some(online),
            (Some([_, target]), Weights::Target) => Some(target),
            (Some(_), Weights::Average | Weights::Mean) => None,
        };
        let parts = params.split_with_sizes([params.size()[0] - 2 * head, head, head], 0);
        let [trunk, mean, sigma] = parts.try_into().expect("three parts");
        [trunk, epsilon.map_or(mean.shallow_clone(), |epsilon| mean + sigma * epsilon)]
    }

    fn output(&self, weights: Weights, obs: &Tensor, taus: Option<&Tensor>) -> Tensor {
        let Some(Stem { trunk, frame_bytes }) = &self.stem else {
            return match &self.epsilons {
                None => self.layout.forward_at(self.params(weights), obs, taus),
                Some(_) => self.layout.forward_at(&self.parts(weights)[1], obs, taus),
            };
        };
        let [of_trunk, of_head] = self.parts(weights);
        let features = trunk.features(&of_trunk, &obs.view([-1, *frame_bytes]));
        self.layout.forward_at(&of_head, &features.view([obs.size()[0], -1]), taus)
    }

    /// `taus` as `[B, K]` where the parameters live, if there are any.
    fn taus(&self, Input { obs, taus }: Input) -> Option<Tensor> {
        let batch = obs.len() as i64 / self.obs_bytes;
        (!taus.is_empty()).then(|| Tensor::from_slice(taus).view([batch, -1]).to_device(self.online.device()))
    }

    /// The trunk's own loss on the newest frame of each observation, and its weight.
    fn trunk_loss(&self, obs: &Tensor) -> Option<(Tensor, f64)> {
        let Stem { trunk, frame_bytes } = self.stem.as_ref()?;
        let [of_trunk, _] = self.parts(Weights::Online);
        trunk.loss(&of_trunk, &obs.narrow(1, obs.size()[1] - frame_bytes, *frame_bytes))
    }

    pub(super) fn outputs(&mut self, weights: Weights, input: Input) -> &[f32] {
        let taus = self.taus(input);
        self.q = to_vec(&tch::no_grad(|| self.output(weights, &self.tensor(input.obs), taus.as_ref())));
        &self.q
    }

    pub(super) fn both_q(&self, obs: &[u8]) -> [Vec<f32>; 2] {
        let obs = self.tensor(obs);
        [Weights::Online, Weights::Target].map(|weights| to_vec(&tch::no_grad(|| self.output(weights, &obs, None))))
    }

    /// Online outputs, watched by autograd.
    pub(super) fn forward(&mut self, input: Input) -> &[f32] {
        let (obs, taus) = (self.tensor(input.obs), self.taus(input));
        let q = self.output(Weights::Online, &obs, taus.as_ref());
        self.q = to_vec(&q);
        self.latest = Some(Latest { obs, q });
        &self.q
    }

    /// Follows the gradient of the loss whose derivative by the latest Q-values is known, plus the trunk's own loss.
    ///
    /// # Errors
    /// When the trunk's loss or the gradient's norm is not finite; the parameters are left as they were.
    pub(super) fn descend(&mut self, gradient: &Gradient, how: &Update) -> Result<Descended, NonFinite> {
        let (loss, recon) = self.whole_loss(gradient);
        let recon = recon.map(|recon| NonFinite::check("train/recon", recon)).transpose()?;
        let grads = self.backward(&loss);
        Ok(Descended { grad_norm: self.step(grads, how)?, recon })
    }

    /// Appends the gradient of the online parameters to `grads`. Returns the trunk's own loss, without its weight.
    pub(super) fn append_gradient(&mut self, gradient: &Gradient, grads: &mut Vec<f32>) -> Option<f64> {
        let (loss, recon) = self.whole_loss(gradient);
        grads.extend(to_vec(&self.backward(&loss)));
        recon
    }

    /// One step down `scale` times `grads`. Returns the Euclidean norm of that gradient before it is clipped.
    ///
    /// # Errors
    /// When the norm is not finite; the parameters are left as they were.
    pub(super) fn follow(&mut self, grads: &[f32], scale: f32, how: &Update) -> Result<f32, NonFinite> {
        self.step(Tensor::from_slice(grads).to_device(self.online.device()) * f64::from(scale), how)
    }

    /// The loss whose derivative by the latest Q-values is known, plus the trunk's own loss. Returns the latter too,
    /// without its weight.
    fn whole_loss(&mut self, gradient: &Gradient) -> (Tensor, Option<f64>) {
        let Latest { obs, q } = self.latest.take().expect("a forward pass to go back over");
        let d_q = Tensor::from_slice(gradient.d_outputs).to_device(q.device()).view_as(&q);
        // Its gradient by the Q-values is d_q.
        let loss = (&q * d_q).sum(Kind::Float);
        match self.trunk_loss(&obs) {
            Some((own, weight)) => {
                let recon = own.double_value(&[]);
                (loss + own * weight, Some(recon))
            }
            None => (loss, None),
        }
    }

    fn backward(&self, loss: &Tensor) -> Tensor {
        // Straight from the graph: a gradient that the tensor keeps would be cleared and added to, two more passes over
        // it.
        let [grads] = Tensor::run_backward(&[loss], &[&self.online], false, false).try_into().expect("one gradient");
        grads
    }

    /// One step down `grads`, clipped. Returns their Euclidean norm before, if it is finite.
    fn step(&mut self, grads: Tensor, how: &Update) -> Result<f32, NonFinite> {
        let grad_norm = NonFinite::check_norm(grads.norm().double_value(&[]) as f32)?;
        let factor = clip_factor(grad_norm, how.max_norm());
        let grads = if factor == 1.0 { grads } else { grads * f64::from(factor) };
        tch::no_grad(|| self.optimizer.step(&mut self.online, &grads, how.lr));
        Ok(grad_norm)
    }

    /// Moves the target the share `rate` of the way to the online parameters.
    pub(super) fn step_target(&mut self, rate: f32) {
        tch::no_grad(|| match rate == 1.0 {
            true => self.target.copy_(&self.online),
            false => _ = self.target.lerp_(&self.online, f64::from(rate)),
        });
    }

    pub(super) fn keep_average(&mut self) {
        self.average = Some(self.online.detach().copy());
    }

    /// Moves the average the share `rate` of the way to the online parameters.
    pub(super) fn step_average(&mut self, rate: f32) {
        let average = self.average.as_mut().expect(AVERAGE_KEPT);
        tch::no_grad(|| _ = average.lerp_(&self.online, f64::from(rate)));
    }

    /// The parameters that are kept under this name.
    ///
    /// # Panics
    /// When it is an average and none is kept.
    pub(super) fn values(&self, weights: Weights) -> Vec<f32> {
        let params = to_vec(self.params(weights));
        match &self.epsilons {
            // Of noisy parameters the means.
            Some(_) => params[..params.len() - self.layout.len()].to_vec(),
            None => params,
        }
    }

    pub(super) fn save(&self) -> Snapshot<'_> {
        let weights = Weights::SAVED.into_iter();
        let snapshot = weights.fold(Snapshot::default(), |to, weights| self.save_weights(to, weights));
        snapshot.nest("optimizer", self.optimizer.save())
    }

    /// Adds nothing for an average that is not kept.
    pub(super) fn save_weights<'a>(&'a self, to: Snapshot<'a>, weights: Weights) -> Snapshot<'a> {
        match weights {
            Weights::Average if self.average.is_none() => to,
            _ => to.owned_array(weights.name(), &to_vec(self.params(weights))),
        }
    }

    pub(super) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        for weights in Weights::SAVED {
            self.load_weights(from, weights)?;
        }
        self.optimizer.load(&from.nested("optimizer")?)
    }

    /// Does nothing for an average that is not kept.
    pub(super) fn load_weights(&mut self, from: &Loaded, weights: Weights) -> Result<(), SnapshotError> {
        let params = match weights {
            Weights::Online | Weights::Mean => Some(&mut self.online),
            Weights::Target => Some(&mut self.target),
            Weights::Average => self.average.as_mut(),
        };
        params.map_or(Ok(()), |params| read_tensor(from, weights.name(), params))
    }
}
