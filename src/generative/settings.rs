//! Settings that models share, and the task that a model is made for.

use super::images::Data;
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
}

impl Descent {
    /// A single pass in large batches, for models whose updates do nothing.
    pub(crate) const SINGLE_PASS: Self = Self { epochs: 1, batch_size: 4096, lr: 1.0, lr_schedule: Schedule::Constant };
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
