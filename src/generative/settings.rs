//! Settings that all models share, and what a model is made for.

use super::images::Data;
use anyhow::{Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::Device;

/// Settings of a model by key (without the `model.` prefix), e.g. `latent_dim`.
pub type Settings = Map<String, Value>;

/// How a model is fitted where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Passes over the training split.
    pub epochs: u64,
    /// Images of an update.
    pub batch_size: u64,
    /// Learning rate.
    pub lr: f64,
}

/// The settings of a model: a struct that names its keys, types and defaults.
pub trait ModelConfig: Default + Serialize + DeserializeOwned {
    /// How the model is fitted where nothing else is said.
    const RECIPE: Recipe;

    /// How the learning rate changes along the fit where nothing else is said.
    const LR_SCHEDULE: Schedule = Schedule::Constant;

    /// Refuses values outside their ranges, which types do not say.
    ///
    /// # Errors
    /// On the first such value.
    fn check(&self) -> Result<()>;
}

/// Units of a layer, at most.
pub const WIDEST: i64 = carom_agents::WIDEST as i64;

/// Refuses widths of layers, given as the setting `key`, that no layer can have.
///
/// # Errors
/// On the first of them.
pub fn check_widths(key: &str, widths: &[i64]) -> Result<()> {
    match widths.iter().find(|width| !(1..=WIDEST).contains(width)) {
        Some(width) => bail!("model.{key} is {width}: expected a number in 1..={WIDEST}"),
        None => Ok(()),
    }
}

/// What a model is made for.
#[derive(Debug)]
pub struct ModelTask<'a> {
    /// What it is to be fitted to.
    pub data: &'a Data,
    /// Updates of the whole fit, where a schedule spans it.
    pub total_steps: u64,
    /// Where tensors live.
    pub device: Device,
}

/// How the learning rate changes along a fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// Half a cosine, from `lr` down to 0 (Loshchilov & Hutter 2017, without restarts).
    Cosine,
}

impl Schedule {
    /// The factor on the learning rate when share `done` in 0..1 of the fit is done.
    pub fn factor(self, done: f64) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => f64::midpoint(1.0, (std::f64::consts::PI * done).cos()),
        }
    }
}
