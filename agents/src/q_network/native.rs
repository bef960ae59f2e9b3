//! Passes by hand on the CPU.

use super::average::approach;
use super::update::{AVERAGE_KEPT, Descended, Gradient, Input, NonFinite, Update, Weights};
use crate::net::{Duel, Layout, Matrix, NetSpec, PixelPasses, Prepared, QPasses, perturb, product, threads};
use crate::optim::{OptimConfig, Optimizer, clip_factor, sum_of_squares};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use std::borrow::Cow;

/// Reason why a network has no products of bf16.
pub(super) const NO_PRODUCTS: &str = "only the network of 84x84 pixels in plain Rust has products of bf16";

/// Parameters that a thread copies at once.
const COPIED: usize = 1 << 18;

pub(super) struct NativeEngine {
    passes: Passes,
    online: Matrix,
    target: Matrix,
    average: Option<Matrix>,
    /// Noise of the online parameters and of the target's, where they are noisy.
    noise: Option<[Perturbed; 2]>,
    grads: Matrix,
    optimizer: Optimizer,
    streams: Option<Streams>,
}

/// Parameters with noise.
struct Perturbed {
    epsilon: Vec<f32>,
    params: Matrix,
    /// Whether the parameters or the noise have changed since `params` was made.
    is_stale: bool,
}

/// The sum at the end of a dueling network.
struct Streams {
    duel: Duel,
    outputs: Vec<f32>,
    gradient: Vec<f32>,
}

enum Passes {
    Small(QPasses),
    /// With the prepared weights of each of [`Weights`].
    Pixels(Box<(PixelPasses, [Prepared; 4])>),
}

impl NativeEngine {
    /// An engine for `spec`; `None` where no passes cover it. `params` are those of its layout, with a spread of each
    /// behind them if the network is noisy.
    pub(super) fn of(spec: &NetSpec, optimizer: OptimConfig, params: &[f32]) -> Option<Self> {
        let (layout, duel) = spec.layout().without_duel();
        let passes = Passes::of(&layout)?;
        let mut online = Matrix::zeros(1, params.len());
        online.as_mut_slice().copy_from_slice(&passes.reordered(params, true));
        let (target, grads) = (online.clone(), Matrix::zeros(1, params.len()));
        let perturbed =
            || Perturbed { epsilon: vec![0.0; layout.len()], params: Matrix::zeros(1, layout.len()), is_stale: true };
        let noise = (params.len() > layout.len()).then(|| [perturbed(), perturbed()]);
        let optimizer = Optimizer::new(optimizer, params.len());
        let streams = duel.map(|duel| Streams { duel, outputs: vec![], gradient: vec![] });
        Some(Self { passes, online, target, average: None, noise, grads, optimizer, streams })
    }

    /// Sets the noise of the online parameters or of the target's, in the order of the layout.
    pub(super) fn set_noise(&mut self, weights: Weights, epsilon: &[f32]) {
        if let Some([of_online, of_target]) = &mut self.noise {
            let noise = if weights == Weights::Target { of_target } else { of_online };
            noise.epsilon.copy_from_slice(&self.passes.reordered(epsilon, true));
            noise.is_stale = true;
        }
        self.passes.expire(weights);
    }

    /// Whether the passes share their work among threads.
    pub(super) fn gains_from_threads(&self) -> bool {
        matches!(self.passes, Passes::Pixels(_))
    }

    /// Computes products of bf16 from now on.
    ///
    /// # Errors
    /// When the network or this processor has none, or is slower by them.
    pub(super) fn round_to_bf16(&mut self) -> Result<(), &'static str> {
        match &mut self.passes {
            Passes::Pixels(both) => both.0.round_to_bf16(),
            Passes::Small(_) => Err(NO_PRODUCTS),
        }
    }

    /// Outputs, without anything kept for [`NativeEngine::descend`].
    pub(super) fn outputs(&mut self, weights: Weights, input: Input) -> &[f32] {
        self.pass(weights, input, false)
    }

    /// Online outputs, with all that [`NativeEngine::descend`] needs kept.
    pub(super) fn forward(&mut self, input: Input) -> &[f32] {
        self.pass(Weights::Online, input, true)
    }

    fn pass(&mut self, weights: Weights, input: Input, keep: bool) -> &[f32] {
        // Without noise the means are the parameters themselves, which are prepared once.
        let weights = if self.noise.is_none() && weights == Weights::Mean { Weights::Online } else { weights };
        self.perturb(weights);
        let params = match (&self.noise, weights) {
            (Some([online, _]), Weights::Online) => &online.params,
            (Some([_, target]), Weights::Target) => &target.params,
            (_, Weights::Online | Weights::Mean) => &self.online,
            (_, Weights::Target) => &self.target,
            (_, Weights::Average) => self.average.as_ref().expect(AVERAGE_KEPT),
        };
        let outputs = self.passes.forward(weights, params, input, keep);
        match &mut self.streams {
            Some(streams) => {
                streams.duel.join(outputs, &mut streams.outputs);
                &streams.outputs
            }
            None => outputs,
        }
    }

    /// Adds the noise to these parameters, where they are noisy and have changed.
    fn perturb(&mut self, weights: Weights) {
        let Some([of_online, of_target]) = &mut self.noise else { return };
        let (noise, trained) = match weights {
            Weights::Online => (of_online, &self.online),
            Weights::Target => (of_target, &self.target),
            Weights::Average | Weights::Mean => return,
        };
        if noise.is_stale {
            let (mean, sigma) = trained.as_slice().split_at(noise.epsilon.len());
            perturb(mean, sigma, &noise.epsilon, noise.params.as_mut_slice());
            noise.is_stale = false;
        }
    }

    /// To be called when these parameters have changed.
    fn expire(&mut self, weights: Weights) {
        // The means are the online parameters.
        let weights = if weights == Weights::Mean { Weights::Online } else { weights };
        self.passes.expire(weights);
        match (&mut self.noise, weights) {
            (Some([noise, _]), Weights::Online) => {
                noise.is_stale = true;
                self.passes.expire(Weights::Mean);
            }
            (Some([_, noise]), Weights::Target) => noise.is_stale = true,
            _ => {}
        }
    }

    /// One step down a gradient of the outputs of the latest [`NativeEngine::forward`].
    ///
    /// # Errors
    /// When the gradient's norm is not finite. Parameters that take their step during the backward pass have taken it.
    pub(super) fn descend(&mut self, gradient: &Gradient, how: &Update) -> Result<Descended, NonFinite> {
        let grad_norm = match (&mut self.passes, &self.noise) {
            (Passes::Pixels(both), None) if how.max_grad_norm == 0.0 => {
                let (passes, prepared) = &mut **both;
                let (params, step) = (self.online.as_mut_slice(), self.optimizer.begin(1.0, how.lr));
                let prepared = &prepared[Weights::Online as usize];
                let input = (gradient.obs, before_sum(&mut self.streams, gradient.d_outputs));
                passes.backward(params, prepared, input, self.grads.as_mut_slice(), Some(step))
            }
            _ => {
                let grad_norm = NonFinite::check_norm(self.backward(gradient))?;
                let factor = clip_factor(grad_norm, how.max_norm());
                self.optimizer.step_scaled(self.online.as_mut_slice(), self.grads.as_slice(), factor, how.lr);
                grad_norm
            }
        };
        self.expire(Weights::Online);
        Ok(Descended { grad_norm: NonFinite::check_norm(grad_norm)?, recon: None })
    }

    /// Appends the gradient of the online parameters to `grads`.
    pub(super) fn append_gradient(&mut self, gradient: &Gradient, grads: &mut Vec<f32>) {
        self.backward(gradient);
        grads.extend_from_slice(self.grads.as_slice());
    }

    /// One step down `scale` times `grads`. Returns the Euclidean norm of that gradient before it is clipped.
    ///
    /// # Errors
    /// When the norm is not finite; the parameters are left as they were.
    pub(super) fn follow(&mut self, grads: &[f32], scale: f32, how: &Update) -> Result<f32, NonFinite> {
        let grad_norm = NonFinite::check_norm(sum_of_squares(grads).sqrt() * scale)?;
        let factor = clip_factor(grad_norm, how.max_norm()) * scale;
        self.optimizer.step_scaled(self.online.as_mut_slice(), grads, factor, how.lr);
        self.expire(Weights::Online);
        Ok(grad_norm)
    }

    /// Writes the gradient of the online parameters to `grads`, and returns its Euclidean norm.
    fn backward(&mut self, gradient: &Gradient) -> f32 {
        let d_q = before_sum(&mut self.streams, gradient.d_outputs);
        match &mut self.noise {
            Some([noise, _]) => {
                self.passes.backward(&mut noise.params, gradient.obs, d_q, &mut self.grads);
                let (of_mean, of_sigma) = self.grads.as_mut_slice().split_at_mut(noise.epsilon.len());
                product(of_mean, &noise.epsilon, of_sigma);
                sum_of_squares(self.grads.as_slice()).sqrt()
            }
            None => self.passes.backward(&mut self.online, gradient.obs, d_q, &mut self.grads),
        }
    }

    /// Moves the target the share `rate` of the way to the online parameters.
    pub(super) fn step_target(&mut self, rate: f32) {
        let online = self.online.as_slice();
        let chunks = self.target.as_mut_slice().chunks_mut(COPIED).zip(online.chunks(COPIED));
        threads::for_each(chunks, |(target, online)| match rate == 1.0 {
            true => target.copy_from_slice(online),
            false => approach(target, online, rate),
        });
        self.expire(Weights::Target);
    }

    pub(super) fn keep_average(&mut self) {
        self.average = Some(self.online.clone());
        self.passes.expire(Weights::Average);
    }

    /// Moves the average the share `rate` of the way to the online parameters.
    pub(super) fn step_average(&mut self, rate: f32) {
        let average = self.average.as_mut().expect(AVERAGE_KEPT).as_mut_slice();
        let chunks = average.chunks_mut(COPIED).zip(self.online.as_slice().chunks(COPIED));
        threads::for_each(chunks, |(average, online)| approach(average, online, rate));
        self.passes.expire(Weights::Average);
    }

    /// The parameters, if they are kept.
    fn params(&self, weights: Weights) -> Option<&Matrix> {
        match weights {
            Weights::Online | Weights::Mean => Some(&self.online),
            Weights::Target => Some(&self.target),
            Weights::Average => self.average.as_ref(),
        }
    }

    /// The parameters in the order of the layout.
    ///
    /// # Panics
    /// When they are an average and none is kept.
    pub(super) fn values(&self, weights: Weights) -> Vec<f32> {
        let mut params =
            self.passes.reordered(self.params(weights).expect(AVERAGE_KEPT).as_slice(), false).into_owned();
        if let Some([noise, _]) = &self.noise {
            params.truncate(noise.epsilon.len()); // Of noisy parameters the means.
        }
        params
    }

    pub(super) fn save(&self) -> Snapshot<'_> {
        let moments = match &self.passes {
            Passes::Small(_) => self.optimizer.save(),
            Passes::Pixels(passes) => self.optimizer.save_with(|moments| passes.0.reordered(moments, false)),
        };
        let weights = Weights::SAVED.into_iter();
        weights.fold(Snapshot::default(), |to, weights| self.save_weights(to, weights)).nest("optimizer", moments)
    }

    /// Adds nothing for an average that is not kept.
    pub(super) fn save_weights<'a>(&'a self, to: Snapshot<'a>, weights: Weights) -> Snapshot<'a> {
        let Some(params) = self.params(weights) else { return to };
        match self.passes.reordered(params.as_slice(), false) {
            Cow::Borrowed(params) => to.array(weights.name(), params),
            Cow::Owned(params) => to.owned_array(weights.name(), &params),
        }
    }

    pub(super) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        for weights in Weights::SAVED {
            self.load_weights(from, weights)?;
        }
        self.optimizer.load(&from.nested("optimizer")?)?;
        if let Passes::Pixels(passes) = &self.passes {
            self.optimizer.reorder(|moments| passes.0.reordered(moments, true));
        }
        Ok(())
    }

    /// Does nothing for an average that is not kept.
    pub(super) fn load_weights(&mut self, from: &Loaded, weights: Weights) -> Result<(), SnapshotError> {
        let params = match weights {
            Weights::Online | Weights::Mean => Some(&mut self.online),
            Weights::Target => Some(&mut self.target),
            Weights::Average => self.average.as_mut(),
        };
        let Some(params) = params.map(Matrix::as_mut_slice) else { return Ok(()) };
        from.read(weights.name(), params)?;
        let ordered = self.passes.reordered(params, true).into_owned();
        params.copy_from_slice(&ordered);
        self.expire(weights);
        Ok(())
    }
}

/// The gradient of what a dueling network adds up at its end, given that of its outputs.
fn before_sum<'a>(streams: &'a mut Option<Streams>, d_outputs: &'a [f32]) -> &'a [f32] {
    match streams {
        Some(streams) => {
            streams.duel.join_backward(d_outputs, &mut streams.gradient);
            &streams.gradient
        }
        None => d_outputs,
    }
}

impl Passes {
    fn of(layout: &Layout) -> Option<Self> {
        let small = QPasses::of(layout).map(Self::Small);
        small.or_else(|| PixelPasses::of(layout).map(|passes| Self::Pixels(Box::new((passes, Default::default())))))
    }

    /// Parameters in the order of the passes, or back in that of the layout. So also spreads behind their means.
    fn reordered<'a>(&self, params: &'a [f32], into_passes: bool) -> Cow<'a, [f32]> {
        match self {
            Self::Small(_) => params.into(),
            Self::Pixels(passes) => passes.0.reordered(params, into_passes).into(),
        }
    }

    fn forward(&mut self, weights: Weights, params: &Matrix, input: Input, keep: bool) -> &[f32] {
        match self {
            Self::Small(passes) => passes.forward(params, input.obs, input.taus, keep),
            Self::Pixels(both) => {
                let (passes, prepared) = &mut **both;
                passes.forward(params.as_slice(), &mut prepared[weights as usize], input.obs, keep)
            }
        }
    }

    /// Overwrites `grads` and returns their Euclidean norm.
    fn backward(&mut self, params: &mut Matrix, obs: &[u8], d_q: &[f32], grads: &mut Matrix) -> f32 {
        match self {
            Self::Small(passes) => {
                passes.backward(params, d_q, grads);
                sum_of_squares(grads.as_slice()).sqrt()
            }
            Self::Pixels(both) => {
                let (passes, prepared) = &mut **both;
                let prepared = &prepared[Weights::Online as usize];
                passes.backward(params.as_mut_slice(), prepared, (obs, d_q), grads.as_mut_slice(), None)
            }
        }
    }

    /// To be called when these parameters have changed.
    fn expire(&mut self, weights: Weights) {
        if let Self::Pixels(both) = self {
            both.1[weights as usize].expire();
        }
    }
}
