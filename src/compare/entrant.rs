//! The entrants of a comparison: runs that differ in their seeds.

use crate::config::training::TrainConfig;
use std::path::PathBuf;

/// The metric that is compared: the mean return of the last 100 training episodes.
pub(crate) const METRIC: &str = "train/return";

/// Runs of one side of a comparison in one environment. They differ in their seeds.
pub(crate) struct Entrant {
    /// Name of what is compared: an encoder as typed, an agent, a preset, or values of settings.
    pub name: String,
    /// Settings and directory of each run.
    pub runs: Vec<(TrainConfig, PathBuf)>,
}

/// One side of a comparison in one environment.
pub(crate) trait Side {
    /// Returns the name of what is compared.
    fn name(&self) -> &str;
    /// Returns the settings of its first run.
    fn config(&self) -> &TrainConfig;

    /// Returns the id of the environment.
    fn env(&self) -> &str {
        self.config().env.id()
    }
}

impl Side for Entrant {
    fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> &TrainConfig {
        &self.runs[0].0
    }
}

impl<T: Side + ?Sized> Side for &T {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn config(&self) -> &TrainConfig {
        (**self).config()
    }
}
