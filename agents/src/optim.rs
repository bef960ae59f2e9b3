//! Adam, RMSProp and RAdam over a flat parameter vector.
//!
//! Written here because torch's Rust binding has no fused step and cannot save its optimisers' state, which exact
//! resume needs. One pass over the vector on the CPU; the same formulas in tensor operations for accelerators. Both
//! agree with PyTorch's numbers.

use crate::net::lanes::LANES;
use crate::net::tensor::{assert_apart, read_tensor, slice, slice_mut, to_vec};
use crate::net::threads;
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use multiversion::multiversion;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tch::{Device, Tensor};

/// Which rule turns a gradient into a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Kingma & Ba 2015, algorithm 1.
    Adam,
    /// Tieleman & Hinton 2012: the gradient over the root of its running mean square.
    RmsProp,
    /// RMSProp with the running variance (Graves 2013). ε is added to the root, as PyTorch and MinAtar's DQN have it;
    /// Mnih et al. 2015 had it under the root.
    #[serde(rename = "rmsprop-centered")]
    RmsPropCentered,
    /// Liu et al. 2020, algorithm 2: Adam with a rectified adaptive rate.
    RAdam,
}

/// A rule and its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimConfig {
    /// The rule.
    pub rule: Rule,
    /// Decay of the running mean of the gradient (Adam, RAdam).
    pub beta1: f64,
    /// Decay of the running mean square (RMSProp's α).
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
}

impl OptimConfig {
    /// The usual constants of `rule`: β 0.9 and 0.999, ε 1e-8; RMSProp α 0.95 and ε 0.01, as Mnih et al. 2015.
    pub fn of(rule: Rule) -> Self {
        match rule {
            Rule::Adam | Rule::RAdam => Self { rule, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            Rule::RmsProp | Rule::RmsPropCentered => Self { rule, beta1: 0.0, beta2: 0.95, epsilon: 0.01 },
        }
    }
}

/// An optimiser's constants and running moments.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimConfig,
    n_steps: u64,
    /// Running mean of the gradient.
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

/// An optimiser of parameters that are a tensor, on any device.
#[derive(Debug)]
pub struct TensorOptimizer(Place);

/// Where the parameters are.
#[derive(Debug)]
enum Place {
    /// One pass over the CPU's memory instead of a dozen operations.
    Cpu(Optimizer),
    Accelerator(Operations),
}

impl TensorOptimizer {
    /// An optimiser of parameters like `params` that has taken no step.
    pub fn new(config: OptimConfig, params: &Tensor) -> Self {
        Self(match params.device() {
            Device::Cpu => Place::Cpu(Optimizer::new(config, params.numel())),
            _ => Place::Accelerator(Operations::new(config, params)),
        })
    }

    /// Moves `params` one step against `grads`. Call it where autograd does not watch.
    ///
    /// # Panics
    /// When the lengths differ from the optimiser's, or `params` and `grads` share memory.
    pub fn step(&mut self, params: &mut Tensor, grads: &Tensor, lr: f64) {
        match &mut self.0 {
            Place::Cpu(optimizer) => {
                let grads = grads.contiguous();
                assert_apart(params, &[&grads]);
                // SAFETY: the two share no memory, and nothing but the optimiser's arithmetic runs before both slices
                // end.
                let (params, grads) = unsafe { (slice_mut(params), slice(&grads)) };
                optimizer.step(params, grads, lr);
            }
            Place::Accelerator(operations) => operations.step(params, grads, lr),
        }
    }

    /// Its moments and step count: the same arrays wherever the parameters are.
    pub fn save(&self) -> Snapshot<'_> {
        match &self.0 {
            Place::Cpu(optimizer) => optimizer.save(),
            Place::Accelerator(Operations { n_steps, mean, mean_sq, .. }) => Snapshot::default()
                .owned_array("mean", &to_vec(mean))
                .owned_array("mean_sq", &to_vec(mean_sq))
                .value("n_steps", n_steps),
        }
    }

    /// Restores the state that either optimiser saved.
    ///
    /// # Errors
    /// When it belongs to another number of parameters.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        match &mut self.0 {
            Place::Cpu(optimizer) => optimizer.load(from),
            Place::Accelerator(Operations { n_steps, mean, mean_sq, .. }) => {
                *n_steps = from.count("n_steps")?;
                read_tensor(from, "mean", mean)?;
                read_tensor(from, "mean_sq", mean_sq)
            }
        }
    }
}

/// The rules in tensor operations.
#[derive(Debug)]
struct Operations {
    config: OptimConfig,
    n_steps: u64,
    mean: Tensor,
    mean_sq: Tensor,
}

impl Operations {
    fn new(config: OptimConfig, params: &Tensor) -> Self {
        Self { config, n_steps: 0, mean: params.zeros_like(), mean_sq: params.zeros_like() }
    }

    fn step(&mut self, params: &mut Tensor, grads: &Tensor, lr: f64) {
        self.n_steps += 1;
        let OptimConfig { rule, beta1, beta2, epsilon } = self.config;
        let mean_decay = if rule == Rule::RmsPropCentered { beta2 } else { beta1 };
        self.mean = &self.mean * mean_decay + grads * (1.0 - mean_decay);
        self.mean_sq = &self.mean_sq * beta2 + grads * grads * (1.0 - beta2);
        let step = match rule {
            Rule::RmsProp => grads / (self.mean_sq.sqrt() + epsilon) * lr,
            Rule::RmsPropCentered => {
                let variance = (&self.mean_sq - &self.mean * &self.mean).clamp_min(0.0);
                grads / (variance.sqrt() + epsilon) * lr
            }
            Rule::Adam | Rule::RAdam => {
                let (rate, adaptive) = adam_rate(self.config, self.n_steps, lr);
                let root = second_moment_correction(beta2, self.n_steps);
                let epsilon = if rule == Rule::RAdam { epsilon * root } else { epsilon };
                match adaptive {
                    true => &self.mean / (self.mean_sq.sqrt() * root + epsilon) * rate,
                    false => &self.mean * rate,
                }
            }
        };
        *params -= step;
    }
}

/// One over the root of the second moment's bias correction after `t` steps.
fn second_moment_correction(beta2: f64, t: u64) -> f64 {
    1.0 / (1.0 - beta2.powf(t as f64)).sqrt()
}

/// The bias-corrected learning rate of step `t`, and whether the step is divided by the root of the second moment:
/// RAdam's first steps are not (its variance is intractable while ρ_t ≤ 5).
pub fn adam_rate(config: OptimConfig, t: u64, lr: f64) -> (f64, bool) {
    let (beta2, t) = (config.beta2, t as f64);
    let rate = lr / (1.0 - config.beta1.powf(t));
    if config.rule != Rule::RAdam {
        return (rate, true);
    }
    let rho_inf = 2.0 / (1.0 - beta2) - 1.0;
    let rho = rho_inf - 2.0 * t * beta2.powf(t) / (1.0 - beta2.powf(t));
    if rho <= 5.0 {
        return (rate, false);
    }
    let rectification = ((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)).sqrt();
    (rate * rectification, true)
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
const SHARE: usize = 1 << 15;

/// A rule with the constants of one step.
#[derive(Clone, Copy)]
enum Step {
    RmsProp {
        lr: f32,
        alpha: f32,
        epsilon: f32,
    },
    RmsPropCentered {
        lr: f32,
        alpha: f32,
        epsilon: f32,
    },
    Adam(AdamStep),
    /// Adam's step without its denominator.
    Momentum(AdamStep),
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
        let OptimConfig { rule, beta1, beta2, epsilon } = config;
        match rule {
            Rule::RmsProp => Self::RmsProp { lr: lr as f32, alpha: beta2 as f32, epsilon: epsilon as f32 },
            Rule::RmsPropCentered => {
                Self::RmsPropCentered { lr: lr as f32, alpha: beta2 as f32, epsilon: epsilon as f32 }
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
            Self::RmsProp { lr, alpha, epsilon } => rms_prop(params, grads, factor, mean_sq, lr, alpha, epsilon),
            Self::RmsPropCentered { lr, alpha, epsilon } => {
                rms_prop_centered(params, grads, factor, mean, mean_sq, lr, alpha, epsilon);
            }
            Self::Adam(constants) => adam(params, grads, factor, mean, mean_sq, constants),
            Self::Momentum(constants) => momentum(params, grads, factor, mean, mean_sq, constants),
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

/// `p -= lr g / (√E[g²] + ε)`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn rms_prop(params: &mut [f32], grads: &[f32], factor: f32, mean_sq: &mut [f32], lr: f32, alpha: f32, epsilon: f32) {
    for ((p, g), v) in params.iter_mut().zip(grads).zip(mean_sq) {
        let g = g * factor;
        *v = flush(alpha * *v + (1.0 - alpha) * g * g, SMALLEST_MEAN_SQ);
        *p -= lr * g / (v.sqrt() + epsilon);
    }
}

/// `p -= lr g / (√(E[g²] - E[g]²) + ε)`; the variance is held at 0 where rounding makes it negative.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
#[allow(clippy::too_many_arguments, reason = "a kernel's arrays and constants")]
fn rms_prop_centered(
    params: &mut [f32],
    grads: &[f32],
    factor: f32,
    mean: &mut [f32],
    mean_sq: &mut [f32],
    lr: f32,
    alpha: f32,
    epsilon: f32,
) {
    for (((p, g), m), v) in params.iter_mut().zip(grads).zip(mean).zip(mean_sq) {
        let g = g * factor;
        *m = flush(alpha * *m + (1.0 - alpha) * g, SMALLEST_MEAN);
        *v = flush(alpha * *v + (1.0 - alpha) * g * g, SMALLEST_MEAN_SQ);
        *p -= lr * g / ((*v - *m * *m).max(0.0).sqrt() + epsilon);
    }
}

/// Factor that scales a gradient down to a Euclidean norm of `max_norm` where its `norm` is larger.
pub fn clip_factor(norm: f32, max_norm: f32) -> f32 {
    if norm > max_norm { max_norm / norm } else { 1.0 }
}

/// Sum of squares, in lanes.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub fn sum_of_squares(values: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    let rest: f32 = rest.iter().map(|v| v * v).sum();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += v * v;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::torch;
    use serde_json::Value;

    const PYTORCH: &str = include_str!("../tests/golden/optimizers.json");

    fn config(case: &Value) -> OptimConfig {
        let number = |key: &str| case[key].as_f64();
        let rule = match (case["optimizer"].as_str(), case["centered"].as_bool()) {
            (Some("Adam"), _) => Rule::Adam,
            (Some("RAdam"), _) => Rule::RAdam,
            (Some("RMSprop"), Some(true)) => Rule::RmsPropCentered,
            (Some("RMSprop"), Some(false)) => Rule::RmsProp,
            other => panic!("unknown optimiser {other:?}"),
        };
        let decays = case["betas"].as_array().map(|b| (b[0].as_f64().unwrap(), b[1].as_f64().unwrap()));
        let (beta1, beta2) = decays.unwrap_or_else(|| (0.0, number("alpha").unwrap()));
        OptimConfig { rule, beta1, beta2, epsilon: number("eps").unwrap() }
    }

    #[test]
    fn a_hundred_steps_agree_with_pytorch() {
        let golden: Value = serde_json::from_str(PYTORCH).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let mut params: Vec<f32> = (0..17).map(|i| (0.05 * (f64::from(i) - 8.0)) as f32).collect();
            let mut optimizer = Optimizer::new(config(case), params.len());
            let (mut tensor, mut by_operations) = (Tensor::from_slice(&params), Tensor::from_slice(&params));
            let mut tensor_optimizer = TensorOptimizer::new(config(case), &tensor);
            let mut operations = Operations::new(config(case), &tensor);
            let scale = case["scale"].as_f64().unwrap() as f32;
            for t in 1..=100 {
                let gradient =
                    |(i, p): (usize, &f32)| (scale * (i as f64 + 0.1 * f64::from(t)).sin() as f32) * (1.0 + p);
                let grads: Vec<f32> = params.iter().enumerate().map(gradient).collect();
                let lr = case["lr"].as_f64().unwrap();
                optimizer.step(&mut params, &grads, lr);
                let grads = Tensor::from_slice(&grads);
                tensor_optimizer.step(&mut tensor, &grads, lr);
                operations.step(&mut by_operations, &grads, lr);
                let Some(expected) = case["params"][t.to_string()].as_array() else { continue };
                let all = params.iter().zip(to_vec(&tensor)).zip(to_vec(&by_operations));
                for (((ours, tensors), operations), theirs) in all.zip(expected) {
                    for ours in [*ours, tensors, operations] {
                        let difference = (f64::from(ours) - theirs.as_f64().unwrap()).abs();
                        assert!(difference <= 1e-6, "{} differs by {difference:e} after {t} steps", case["name"]);
                    }
                }
            }
        }
    }

    #[test]
    fn clipping_shortens_long_gradients_only() {
        let norm = sum_of_squares(&[3.0, 4.0]).sqrt();
        assert_eq!(norm, 5.0);
        assert_eq!(clip_factor(norm, 10.0), 1.0);
        assert_eq!(clip_factor(norm, 1.0), 0.2);
    }

    #[test]
    fn a_factor_scales_the_gradient() {
        for rule in [Rule::Adam, Rule::RAdam, Rule::RmsProp, Rule::RmsPropCentered] {
            let (grads, scaled) = ([1.0, -2.0, 0.5], [0.25, -0.5, 0.125]);
            let (mut by_factor, mut by_hand) = ([0.5; 3], [0.5; 3]);
            Optimizer::new(OptimConfig::of(rule), 3).step_scaled(&mut by_factor, &grads, 0.25, 0.1);
            Optimizer::new(OptimConfig::of(rule), 3).step(&mut by_hand, &scaled, 0.1);
            assert_eq!(by_factor, by_hand, "{rule:?}");
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let torch = torch();
        let grads: Vec<f32> = (0..3 * SHARE + 5).map(|i| (i as f32).sin()).collect();
        let results = [1, 2, 3].map(|n_threads| {
            torch.set_threads(n_threads);
            let mut params = vec![1.0; grads.len()];
            let mut optimizer = Optimizer::new(OptimConfig::of(Rule::Adam), grads.len());
            (0..3).for_each(|_| optimizer.step_scaled(&mut params, &grads, 0.5, 0.01));
            params
        });
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
