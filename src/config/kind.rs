//! The configuration that a run directory holds: of a training or of a fit.

use super::fit::{FitConfig, FitLayer};
use super::training::{Layer, RunConfig};
use crate::run::CONFIG;
use anyhow::{Result, bail, ensure};
use fs_err as fs;
use std::path::Path;

/// What a run is of.
pub enum Config {
    /// An agent in an environment.
    Training(RunConfig),
    /// A generative model on data.
    Fit(FitConfig),
}

/// The configuration of the run in `dir`.
///
/// # Errors
/// When `dir` is not a run, or its configuration is not valid.
pub fn config(dir: &Path) -> Result<Config> {
    ensure!(dir.exists(), "there is no run {}", dir.display());
    let path = dir.join(CONFIG);
    ensure!(path.exists(), "{} is not a run: it has no {CONFIG}", dir.display());
    let text = fs::read_to_string(&path)?;
    let is_fit = text.lines().any(|line| line.starts_with("model = "));
    Ok(match is_fit {
        true => Config::Fit(FitConfig::resolve(&[FitLayer::from_file(&path)?])?),
        false => Config::Training(RunConfig::resolve(&[Layer::from_file(&path)?])?),
    })
}

/// The configuration of the training run in `dir`.
///
/// # Errors
/// As [`config`], and when it is the run of a fitted model, which cannot do what is `wanted`.
pub fn training_config(dir: &Path, wanted: &str) -> Result<RunConfig> {
    match config(dir)? {
        Config::Training(config) => Ok(config),
        Config::Fit(config) => {
            bail!("{} is a fitted {}, not an agent: it cannot {wanted}", dir.display(), config.model)
        }
    }
}

/// The configuration of the fit in `dir`.
///
/// # Errors
/// As [`config`], and when it is the run of an agent, which cannot do what is `wanted`.
pub fn fit_config(dir: &Path, wanted: &str) -> Result<FitConfig> {
    match config(dir)? {
        Config::Fit(config) => Ok(config),
        Config::Training(config) => {
            bail!("{} is an agent ({}), not a fitted model: it cannot {wanted}", dir.display(), config.agent)
        }
    }
}
