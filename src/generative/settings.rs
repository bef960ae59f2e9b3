//! Settings that models share, and the task that a model is made for.

use super::images::Data;
use carom_agents::optim::{OptimConfig, Rule};
use carom_envs::settings::Range;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use tch::Device;

/// Bounds the units of a layer.
const MAX_WIDTH: i64 = carom_agents::settings::MAX_LAYER_WIDTH as i64;

/// Numbers of units that a layer can have.
pub(crate) const WIDTHS: RangeInclusive<i64> = 1..=MAX_WIDTH;

/// Numbers of units of an optional layer; 0 for none.
pub(crate) const WIDTHS_OR_NONE: RangeInclusive<i64> = 0..=MAX_WIDTH;

/// Numbers from 0 to below 1, such as decays and shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BelowOne;

impl Range<f64> for BelowOne {
    fn holds(&self, value: &f64) -> bool {
        (0.0..1.0).contains(value)
    }

    fn in_words(&self) -> String {
        "a number from 0 to below 1".to_owned()
    }
}

/// The task that a model is made for.
#[derive(Debug)]
pub(crate) struct ModelTask<'a> {
    /// Data that the model is to be fitted to.
    pub data: &'a Data,
    /// Updates of the whole fit, for schedules that span it.
    pub total_steps: u64,
    /// Optimiser of the model's networks.
    pub optimizer: Optimizer,
    /// Device of all tensors.
    pub device: Device,
}

/// How a model is fitted by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Recipe {
    /// By updates along a gradient.
    Descent(Descent),
    /// In closed form when it is made, or not at all. Learning rate, schedule and epochs have no effect.
    AtOnce,
}

/// A fit by updates along a gradient. The fields have the keys of a fit's settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Descent {
    /// Passes over the training split.
    pub epochs: u64,
    /// Images of an update.
    pub batch_size: u64,
    /// Learning rate.
    pub lr: f64,
    /// How the learning rate changes along the fit.
    pub lr_schedule: Schedule,
    /// Rule that turns the gradient into a step, if one is chosen in place of the model's own.
    pub optimizer: Option<Optimizer>,
}

impl Descent {
    /// Returns the optimiser of the model's networks.
    pub(crate) fn rule(&self) -> Optimizer {
        self.optimizer.unwrap_or_default()
    }

    /// A single pass in large batches, for models whose updates do nothing.
    pub(crate) const SINGLE_PASS: Self =
        Self { epochs: 1, batch_size: 4096, lr: 1.0, lr_schedule: Schedule::Constant, optimizer: None };
}

/// Rule that turns the gradient of a fit into a step, with constants and learning rate of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub(crate) enum Optimizer {
    /// Kingma & Ba 2015, with their constants: β 0.9 and 0.999, ε 1e-8, learning rate .001.
    #[default]
    Adam,
    /// Zeiler 2012, with the constants of Keras 2: ρ 0.95, ε 1e-7, learning rate 1. Later versions of Keras have a
    /// rate of .001, with which it hardly moves.
    Adadelta,
    /// Tieleman & Hinton 2012, with the constants of Keras 2: ρ 0.9, ε 1e-7 beside the root, learning rate .001.
    RmsProp,
}

impl Optimizer {
    /// Returns rule and constants.
    pub(crate) fn config(self) -> OptimConfig {
        const KERAS_EPSILON: f64 = 1e-7;
        match self {
            Optimizer::Adam => OptimConfig::of(Rule::Adam),
            Optimizer::Adadelta => OptimConfig { epsilon: KERAS_EPSILON, ..OptimConfig::of(Rule::Adadelta) },
            Optimizer::RmsProp => OptimConfig { beta2: 0.9, epsilon: KERAS_EPSILON, ..OptimConfig::of(Rule::RmsProp) },
        }
    }

    /// Returns the usual learning rate.
    pub(crate) fn lr(self) -> f64 {
        match self {
            Optimizer::Adam | Optimizer::RmsProp => 1e-3,
            Optimizer::Adadelta => 1.0,
        }
    }
}

/// How the learning rate changes along a fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Schedule {
    /// It is constant.
    #[default]
    Constant,
    /// Half a cosine, from `lr` down to 0 (Loshchilov & Hutter 2017, without restarts).
    Cosine,
}

impl Schedule {
    /// Returns the factor on the learning rate after the share `done`, 0 to 1, of the fit: 1, or (1 + cos(π `done`)) /
    /// 2.
    pub(crate) fn factor(self, done: f64) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => f64::midpoint(1.0, (std::f64::consts::PI * done).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_agents::optim::TensorOptimizer;
    use tch::Tensor;

    /// Returns where two steps along gradients of 1 and 2 lead from 0.
    fn after_two_steps(optimizer: Optimizer) -> f64 {
        let mut at = Tensor::from_slice(&[0.0_f32]);
        let mut steps = TensorOptimizer::new(optimizer.config(), &at);
        for gradient in [1.0_f32, 2.0] {
            steps.step(&mut at, &Tensor::from_slice(&[gradient]), optimizer.lr());
        }
        at.double_value(&[0])
    }

    #[test]
    fn the_first_steps_are_those_of_keras() {
        // E[g²] is .05, then .2475. The first step is √ε / √.05 and makes E[Δ²] 1e-7, as large as ε.
        let (first, second) = ((1e-7_f64 / 0.05).sqrt(), 2.0 * (2e-7_f64 / 0.2475).sqrt());
        let adadelta = after_two_steps(Optimizer::Adadelta);
        assert!((adadelta + first + second).abs() < 1e-8, "{adadelta} instead of {}", -first - second);
        // E[g²] is .1, then .49.
        let rms_prop = after_two_steps(Optimizer::RmsProp);
        let expected = -1e-3 * (1.0 / 0.1_f64.sqrt() + 2.0 / 0.49_f64.sqrt());
        assert!((rms_prop - expected).abs() < 1e-7, "{rms_prop} instead of {expected}");
        // The mean is .29 / .19 and the mean square .004999 / .001999, both with their bias corrected.
        let adam = after_two_steps(Optimizer::Adam);
        let expected = -1e-3 * (1.0 + 0.29 / 0.19 / (0.004_999_f64 / 0.001_999).sqrt());
        assert!((adam - expected).abs() < 1e-7, "{adam} instead of {expected}");
    }
}
