//! Steps on the CPU: one pass over parameters, gradient and moments.

use super::rule::{OptimConfig, Rule, adam_rate, second_moment_correction};
use crate::net::threads;
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use multiversion::multiversion;
use std::ops::Range;

/// An optimiser's constants and running moments.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimConfig,
    n_steps: u64,
    /// Running mean of the gradient; Adadelta's running mean of its squared steps.
    mean: Vec<f32>,
    /// Running mean of the squared gradient.
    mean_sq: Vec<f32>,
}

impl Optimizer {
    /// An optimiser of `n_params` parameters that has taken no step.
    pub fn new(config: OptimConfig, n_params: usize) -> Self {
        Self { config, n_steps: 0, mean: vec![0.0; n_params], mean_sq: vec![0.0; n_params] }
    }

    /// Moves `params` one step against `grads`.
    ///
    /// # Panics
    /// When the lengths differ from the optimiser's.
    pub fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f64) {
        self.assert_lengths(params, grads);
        self.begin(1.0, lr).take(params, grads);
    }

    /// Moves `params` one step against `factor` times `grads`, on several threads where the parameters are many and
    /// torch runs nothing beside it.
    ///
    /// # Panics
    /// When the lengths differ from the optimiser's.
    pub(crate) fn step_scaled(&mut self, params: &mut [f32], grads: &[f32], factor: f32, lr: f64) {
        self.assert_lengths(params, grads);
        let part = self.begin(factor, lr);
        threads::for_each(
            part.chunks(SHARE).zip(params.chunks_mut(SHARE).zip(grads.chunks(SHARE))),
            |(part, values)| {
                part.take(values.0, values.1);
            },
        );
    }

    fn assert_lengths(&self, params: &[f32], grads: &[f32]) {
        let lens = (self.mean.len(), self.mean.len());
        assert_eq!((params.len(), grads.len()), lens, "lengths of parameters and gradients");
    }

    /// Begins a step against `factor` times the gradient, which the parts of the parameters take one by one.
    pub(crate) fn begin(&mut self, factor: f32, lr: f64) -> Part<'_> {
        self.n_steps += 1;
        let step = Step::of(self.config, self.n_steps, lr);
        Part { step, factor, mean: &mut self.mean, mean_sq: &mut self.mean_sq }
    }

    /// Its moments and step count.
    pub fn save(&self) -> Snapshot<'_> {
        Snapshot::default().array("mean", &self.mean).array("mean_sq", &self.mean_sq).value("n_steps", &self.n_steps)
    }

    /// Moments in another order of the parameters, and the step count.
    pub(crate) fn save_with(&self, reordered: impl Fn(&[f32]) -> Vec<f32>) -> Snapshot<'_> {
        Snapshot::default()
            .owned_array("mean", &reordered(&self.mean))
            .owned_array("mean_sq", &reordered(&self.mean_sq))
            .value("n_steps", &self.n_steps)
    }

    /// Brings the moments into another order of the parameters.
    pub(crate) fn reorder(&mut self, reordered: impl Fn(&[f32]) -> Vec<f32>) {
        self.mean = reordered(&self.mean);
        self.mean_sq = reordered(&self.mean_sq);
    }

    /// Restores the state that [`Optimizer::save`] wrote.
    ///
    /// # Errors
    /// When it belongs to another number of parameters.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.n_steps = from.count("n_steps")?;
        from.read("mean", &mut self.mean)?;
        from.read("mean_sq", &mut self.mean_sq)
    }
}

/// A step that some of the parameters have not taken yet, with their moments.
pub(crate) struct Part<'a> {
    step: Step,
    factor: f32,
    mean: &'a mut [f32],
    mean_sq: &'a mut [f32],
}

impl<'a> Part<'a> {
    /// The part of the parameters in `range`.
    pub(crate) fn of(&mut self, range: Range<usize>) -> Part<'_> {
        let (mean, mean_sq) = (&mut self.mean[range.clone()], &mut self.mean_sq[range]);
        Part { step: self.step, factor: self.factor, mean, mean_sq }
    }

    /// Parts of `len` parameters, the last of which may have fewer.
    pub(crate) fn chunks(self, len: usize) -> impl Iterator<Item = Part<'a>> {
        let Self { step, factor, mean, mean_sq } = self;
        let moments = mean.chunks_mut(len).zip(mean_sq.chunks_mut(len));
        moments.map(move |(mean, mean_sq)| Part { step, factor, mean, mean_sq })
    }

    /// Takes the step.
    pub(crate) fn take(self, params: &mut [f32], grads: &[f32]) {
        self.step.take(params, grads, self.factor, self.mean, self.mean_sq);
    }
}

/// Moments below these are set to 0. Where a unit is dead its moments decay for ever, and arithmetic on the subnormal
/// numbers they end as is a hundred times slower (a DQN's step slowed from 0.5 to 2.5 ms after some thousand updates).
const SMALLEST_MEAN: f32 = 1e-18;
const SMALLEST_MEAN_SQ: f32 = 1e-30;

#[inline(always)]
fn flush(moment: f32, smallest: f32) -> f32 {
    if moment.abs() < smallest { 0.0 } else { moment }
}

/// Parameters that a thread takes at once: their gradients and moments fit a core's second cache.
pub(super) const SHARE: usize = 1 << 15;

/// A rule with the constants of one step.
#[derive(Clone, Copy)]
enum Step {
    RmsProp(RmsPropStep),
    RmsPropCentered(RmsPropStep),
    Adam(AdamStep),
    /// Adam's step without its denominator.
    Momentum(AdamStep),
    Adadelta(AdadeltaStep),
}

#[derive(Clone, Copy)]
struct AdadeltaStep {
    lr: f32,
    rho: f32,
    epsilon: f32,
}

#[derive(Clone, Copy)]
struct RmsPropStep {
    lr: f32,
    alpha: f32,
    /// ε under the root, or 0.
    under: f32,
    /// ε beside the root, or 0.
    beside: f32,
}

#[derive(Clone, Copy)]
struct AdamStep {
    beta1: f32,
    beta2: f32,
    rate: f32,
    /// One over the root of the second moment's bias correction.
    root: f32,
    epsilon: f32,
}

impl Step {
    /// Step number `t`.
    fn of(config: OptimConfig, t: u64, lr: f64) -> Self {
        let OptimConfig { rule, beta1, beta2, .. } = config;
        let epsilon = config.f32_epsilon();
        let [under, beside] = config.rms_prop_epsilons().map(|epsilon| epsilon as f32);
        let rms_prop = RmsPropStep { lr: lr as f32, alpha: beta2 as f32, under, beside };
        match rule {
            Rule::RmsProp => Self::RmsProp(rms_prop),
            Rule::RmsPropCentered => Self::RmsPropCentered(rms_prop),
            Rule::Adadelta => {
                Self::Adadelta(AdadeltaStep { lr: lr as f32, rho: beta2 as f32, epsilon: epsilon as f32 })
            }
            Rule::Adam | Rule::RAdam => {
                let (rate, adaptive) = adam_rate(config, t, lr);
                let root = second_moment_correction(beta2, t);
                // PyTorch's RAdam adds ε before the bias correction, its Adam after it.
                let epsilon = if rule == Rule::RAdam { epsilon * root } else { epsilon };
                let constants = AdamStep {
                    beta1: beta1 as f32,
                    beta2: beta2 as f32,
                    rate: rate as f32,
                    root: root as f32,
                    epsilon: epsilon as f32,
                };
                if adaptive { Self::Adam(constants) } else { Self::Momentum(constants) }
            }
        }
    }

    /// Takes the step of some of the parameters.
    fn take(self, params: &mut [f32], grads: &[f32], factor: f32, mean: &mut [f32], mean_sq: &mut [f32]) {
        match self {
            Self::RmsProp(constants) => rms_prop(params, grads, factor, mean_sq, constants),
            Self::RmsPropCentered(constants) => rms_prop_centered(params, grads, factor, mean, mean_sq, constants),
            Self::Adam(constants) => adam(params, grads, factor, mean, mean_sq, constants),
            Self::Momentum(constants) => momentum(params, grads, factor, mean, mean_sq, constants),
            Self::Adadelta(constants) => adadelta(params, grads, factor, mean, mean_sq, constants),
        }
    }
}

/// `p -= rate m / (root √v + ε)`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn adam(params: &mut [f32], grads: &[f32], factor: f32, mean: &mut [f32], mean_sq: &mut [f32], c: AdamStep) {
    for (((p, g), m), v) in params.iter_mut().zip(grads).zip(mean).zip(mean_sq) {
        let g = g * factor;
        *m = flush(c.beta1 * *m + (1.0 - c.beta1) * g, SMALLEST_MEAN);
        *v = flush(c.beta2 * *v + (1.0 - c.beta2) * g * g, SMALLEST_MEAN_SQ);
        *p -= c.rate * *m / (c.root * v.sqrt() + c.epsilon);
    }
}

/// `p -= rate m`, with both moments kept.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn momentum(params: &mut [f32], grads: &[f32], factor: f32, mean: &mut [f32], mean_sq: &mut [f32], c: AdamStep) {
    for (((p, g), m), v) in params.iter_mut().zip(grads).zip(mean).zip(mean_sq) {
        let g = g * factor;
        *m = flush(c.beta1 * *m + (1.0 - c.beta1) * g, SMALLEST_MEAN);
        *v = flush(c.beta2 * *v + (1.0 - c.beta2) * g * g, SMALLEST_MEAN_SQ);
        *p -= c.rate * *m;
    }
}

/// `p -= lr Δ` with `Δ = g √(E[Δ²] + ε) / √(E[g²] + ε)`, where `E[Δ²]` is that of the steps before.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn adadelta(
    params: &mut [f32],
    grads: &[f32],
    factor: f32,
    steps_sq: &mut [f32],
    mean_sq: &mut [f32],
    c: AdadeltaStep,
) {
    for (((p, g), d), v) in params.iter_mut().zip(grads).zip(steps_sq).zip(mean_sq) {
        let g = g * factor;
        *v = flush(c.rho * *v + (1.0 - c.rho) * g * g, SMALLEST_MEAN_SQ);
        let step = g * (*d + c.epsilon).sqrt() / (*v + c.epsilon).sqrt();
        *d = flush(c.rho * *d + (1.0 - c.rho) * step * step, SMALLEST_MEAN_SQ);
        *p -= c.lr * step;
    }
}

/// `p -= lr g / (√(E[g²] + under) + beside)`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn rms_prop(params: &mut [f32], grads: &[f32], factor: f32, mean_sq: &mut [f32], c: RmsPropStep) {
    for ((p, g), v) in params.iter_mut().zip(grads).zip(mean_sq) {
        let g = g * factor;
        *v = flush(c.alpha * *v + (1.0 - c.alpha) * g * g, SMALLEST_MEAN_SQ);
        *p -= c.lr * g / ((*v + c.under).sqrt() + c.beside);
    }
}

/// `p -= lr g / (√(E[g²] - E[g]² + under) + beside)`; the variance is held at 0 where rounding makes it negative.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn rms_prop_centered(
    params: &mut [f32],
    grads: &[f32],
    factor: f32,
    mean: &mut [f32],
    mean_sq: &mut [f32],
    c: RmsPropStep,
) {
    for (((p, g), m), v) in params.iter_mut().zip(grads).zip(mean).zip(mean_sq) {
        let g = g * factor;
        *m = flush(c.alpha * *m + (1.0 - c.alpha) * g, SMALLEST_MEAN);
        *v = flush(c.alpha * *v + (1.0 - c.alpha) * g * g, SMALLEST_MEAN_SQ);
        *p -= c.lr * g / (((*v - *m * *m).max(0.0) + c.under).sqrt() + c.beside);
    }
}
