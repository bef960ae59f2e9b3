//! Passes by hand on the CPU.

use super::average::approach;
use super::update::{AVERAGE_KEPT, Descended, Update, Weights};
use crate::net::threads;
use crate::net::{Layout, Matrix, NetSpec, PixelPasses, Prepared, QPasses};
use crate::optim::{OptimConfig, Optimizer, clip_factor, sum_of_squares};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use std::borrow::Cow;

/// Parameters that a thread copies at once.
const COPIED: usize = 1 << 18;

pub(super) struct NativeEngine {
    passes: Passes,
    online: Matrix,
    target: Matrix,
    average: Option<Matrix>,
    grads: Matrix,
    optimizer: Optimizer,
}

enum Passes {
    Small(QPasses),
    /// With the prepared weights of each of [`Weights`].
    Pixels(Box<(PixelPasses, [Prepared; 3])>),
}

impl NativeEngine {
    /// An engine for `spec`; `None` where no passes cover it.
    pub(super) fn of(spec: &NetSpec, optimizer: OptimConfig, params: &[f32]) -> Option<Self> {
        let passes = Passes::of(&spec.layout())?;
        let mut online = Matrix::zeros(1, params.len());
        online.as_mut_slice().copy_from_slice(&passes.reordered(params, true));
        let (target, grads) = (online.clone(), Matrix::zeros(1, params.len()));
        let optimizer = Optimizer::new(optimizer, params.len());
        Some(Self { passes, target, average: None, grads, online, optimizer })
    }

    /// Whether the passes share their work among threads.
    pub(super) fn gains_from_threads(&self) -> bool {
        matches!(self.passes, Passes::Pixels(_))
    }

    /// Q-values, without anything kept for [`NativeEngine::descend`].
    pub(super) fn q(&mut self, weights: Weights, obs: &[u8]) -> &[f32] {
        let params = match weights {
            Weights::Online => &self.online,
            Weights::Target => &self.target,
            Weights::Average => self.average.as_ref().expect(AVERAGE_KEPT),
        };
        self.passes.forward(weights, params, obs, false)
    }

    /// Online Q-values, with all that [`NativeEngine::descend`] needs kept.
    pub(super) fn forward(&mut self, obs: &[u8]) -> &[f32] {
        self.passes.forward(Weights::Online, &self.online, obs, true)
    }

    /// `obs` are those of the latest [`NativeEngine::forward`].
    pub(super) fn descend(&mut self, obs: &[u8], d_q: &[f32], how: &Update) -> Descended {
        let grad_norm = match &mut self.passes {
            Passes::Pixels(both) if how.max_grad_norm == 0.0 => {
                let (passes, prepared) = &mut **both;
                let (params, step) = (self.online.as_mut_slice(), self.optimizer.begin(1.0, how.lr));
                let prepared = &prepared[Weights::Online as usize];
                passes.backward(params, prepared, (obs, d_q), self.grads.as_mut_slice(), Some(step))
            }
            passes => {
                let grad_norm = passes.backward(&mut self.online, obs, d_q, &mut self.grads);
                let factor = clip_factor(grad_norm, how.max_norm());
                self.optimizer.step_scaled(self.online.as_mut_slice(), self.grads.as_slice(), factor, how.lr);
                grad_norm
            }
        };
        self.passes.expire(Weights::Online);
        Descended { grad_norm, recon: None }
    }

    pub(super) fn sync_target(&mut self) {
        let online = self.online.as_slice();
        let chunks = self.target.as_mut_slice().chunks_mut(COPIED).zip(online.chunks(COPIED));
        threads::for_each(chunks, |(target, online)| target.copy_from_slice(online));
        self.passes.expire(Weights::Target);
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
            Weights::Online => Some(&self.online),
            Weights::Target => Some(&self.target),
            Weights::Average => self.average.as_ref(),
        }
    }

    /// The parameters in the order of the layout.
    ///
    /// # Panics
    /// When they are an average and none is kept.
    pub(super) fn values(&self, weights: Weights) -> Vec<f32> {
        self.passes.reordered(self.params(weights).expect(AVERAGE_KEPT).as_slice(), false).into_owned()
    }

    pub(super) fn save(&self) -> Snapshot<'_> {
        let moments = match &self.passes {
            Passes::Small(_) => self.optimizer.save(),
            Passes::Pixels(passes) => self.optimizer.save_with(|moments| passes.0.reordered(moments, false)),
        };
        let weights = Weights::ALL.into_iter();
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
        for weights in Weights::ALL {
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
            Weights::Online => Some(&mut self.online),
            Weights::Target => Some(&mut self.target),
            Weights::Average => self.average.as_mut(),
        };
        let Some(params) = params.map(Matrix::as_mut_slice) else { return Ok(()) };
        from.read(weights.name(), params)?;
        let ordered = self.passes.reordered(params, true).into_owned();
        params.copy_from_slice(&ordered);
        self.passes.expire(weights);
        Ok(())
    }
}

impl Passes {
    fn of(layout: &Layout) -> Option<Self> {
        let small = QPasses::of(layout).map(Self::Small);
        small.or_else(|| PixelPasses::of(layout).map(|passes| Self::Pixels(Box::new((passes, Default::default())))))
    }

    /// Parameters in the order of the passes, or back in that of the layout.
    fn reordered<'a>(&self, params: &'a [f32], into_passes: bool) -> Cow<'a, [f32]> {
        match self {
            Self::Small(_) => params.into(),
            Self::Pixels(passes) => passes.0.reordered(params, into_passes).into(),
        }
    }

    fn forward(&mut self, weights: Weights, params: &Matrix, obs: &[u8], keep: bool) -> &[f32] {
        match self {
            Self::Small(passes) => passes.forward(params, obs),
            Self::Pixels(both) => {
                let (passes, prepared) = &mut **both;
                passes.forward(params.as_slice(), &mut prepared[weights as usize], obs, keep)
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
