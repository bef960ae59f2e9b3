//! Reads the configuration of a run directory, of a training run or of a fit.

use super::fit::{FIT, FitConfig};
use super::layers::Layer;
use super::training::{TRAINING, TrainConfig};
use crate::files;
use crate::run::CONFIG;
use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use std::path::Path;

/// The configuration of a run.
#[derive(Debug)]
pub(crate) enum Config {
    /// An agent is trained in an environment.
    Training(TrainConfig),
    /// A generative model is fitted to data.
    Fit(FitConfig),
}

impl Config {
    /// Returns the text of a configuration file with these settings.
    pub(crate) fn to_toml(&self) -> String {
        match self {
            Self::Training(config) => config.to_toml(),
            Self::Fit(config) => config.to_toml(),
        }
    }
}

/// Reads the configuration of the run in `dir`.
///
/// # Errors
/// When `dir` is not a run, or its configuration is not valid.
pub(crate) fn config(dir: &Path) -> Result<Config> {
    let name = files::shown(dir).display();
    ensure!(dir.exists(), "there is no run {name}");
    let path = dir.join(CONFIG);
    ensure!(path.exists(), "{name} is not a run: it has no {CONFIG}");
    let text = fs::read_to_string(&path)?;
    let source = path.display().to_string();
    let table: toml::Table = toml::from_str(&text).with_context(|| format!("{source} is not TOML"))?;
    match table.get("kind").and_then(toml::Value::as_str) {
        Some(kind) if kind == TRAINING.kind => Ok(Config::Training(TrainConfig::resolve(&[Layer::from_toml(
            &text, &source, &TRAINING,
        )?
        .heard(&TRAINING)])?)),
        Some(kind) if kind == FIT.kind => {
            Ok(Config::Fit(FitConfig::resolve(&[Layer::from_toml(&text, &source, &FIT)?.heard(&FIT)])?))
        }
        Some(kind) => bail!("{source}: kind is \"{kind}\": expected \"{}\" or \"{}\"", TRAINING.kind, FIT.kind),
        None => bail!(
            "{source} has no `kind`: an older version of Carom wrote it, which this one cannot read; begin the run anew"
        ),
    }
}

/// Reads the configuration of the training run in `dir`.
///
/// # Errors
/// When `dir` is not a valid run, or is the run of a fit. `wanted` says in the error what a fitted model cannot do.
pub(crate) fn training_config(dir: &Path, wanted: &str) -> Result<TrainConfig> {
    match config(dir)? {
        Config::Training(config) => Ok(config),
        Config::Fit(config) => {
            bail!("{} is a fitted {}, not an agent: it cannot {wanted}", dir.display(), config.model.name())
        }
    }
}

/// Reads the configuration of the fit in `dir`.
///
/// # Errors
/// When `dir` is not a valid run, or is a training run. `wanted` says in the error what an agent cannot do.
pub(crate) fn fit_config(dir: &Path, wanted: &str) -> Result<FitConfig> {
    match config(dir)? {
        Config::Fit(config) => Ok(config),
        Config::Training(config) => {
            bail!("{} is an agent ({}), not a fitted model: it cannot {wanted}", dir.display(), config.agent.name())
        }
    }
}
