//! What the runs of one side of a comparison reached in one environment.

use super::entrant::{Entrant, METRIC, Side};
use crate::config::training::TrainConfig;
use crate::dotted::affects_learning;
use crate::encoder::ObsTransform;
use crate::plot::{self, Run};
use anyhow::Result;
use std::collections::BTreeSet;
use std::path::Path;

/// Results of runs that differ in their seeds.
#[derive(Debug)]
pub(crate) struct Results {
    /// Name of what is compared.
    pub name: String,
    pub runs: Vec<RunResults>,
}

/// Results of one run.
#[derive(Debug)]
pub(crate) struct RunResults {
    /// Settings of the run. Of results in a file, those of its environment, its steps and its seed; `run` has all.
    pub config: TrainConfig,
    /// The points of [`METRIC`], and what a figure tells of the run.
    pub run: Run,
    /// Steps, and the seconds up to them.
    pub time: Option<(f64, f64)>,
    pub encoder: Encoding,
}

/// An encoder's part in a run. The default is that of a run without one.
#[derive(Debug, Default)]
pub(crate) struct Encoding {
    /// Environment steps spent on the frames that it was fitted to.
    pub n_env_steps: u64,
    pub code_size: Option<usize>,
    /// SHA-256 of its weights.
    pub sha256: Option<String>,
}

impl Results {
    /// Reads the results of finished runs.
    ///
    /// # Errors
    /// When a file of a run cannot be read.
    pub(crate) fn read(entrant: &Entrant) -> Result<Self> {
        let runs = entrant.runs.iter().map(|(config, dir)| RunResults::read(config, dir));
        Ok(Self { name: entrant.name.clone(), runs: runs.collect::<Result<_>>()? })
    }

    /// Returns the settings in which the runs differ, but for their seeds.
    pub(super) fn differing(&self) -> BTreeSet<String> {
        let steps = |run: &RunResults| ("steps".to_owned(), run.config.run.steps.to_string());
        differing(self.runs.iter().map(|run| owned(run.settings()).chain([steps(run)]).collect()))
    }
}

/// Returns the keys that not all of `settings` give one value.
pub(super) fn differing(mut settings: impl Iterator<Item = BTreeSet<(String, String)>>) -> BTreeSet<String> {
    let Some(first) = settings.next() else { return BTreeSet::new() };
    settings.flat_map(|other| &first ^ &other).map(|(key, _)| key).collect()
}

/// Returns copies of `settings`.
pub(super) fn owned<'a>(
    settings: impl Iterator<Item = (&'a String, &'a String)>,
) -> impl Iterator<Item = (String, String)> {
    settings.map(|(key, value)| (key.clone(), value.clone()))
}

impl Side for Results {
    fn name(&self) -> &str {
        &self.name
    }

    fn config(&self) -> &TrainConfig {
        &self.runs[0].config
    }
}

impl RunResults {
    /// Returns the settings that tell it from others, but for its environment, its steps and its seed.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&String, &String)> {
        self.run.settings.iter().filter(|(key, _)| !["env", "steps"].contains(&key.as_str()) && affects_learning(key))
    }

    fn read(config: &TrainConfig, dir: &Path) -> Result<Self> {
        let transform = ObsTransform::open(&config.clone().for_reading(None)?, dir)?;
        Ok(Self {
            config: config.clone(),
            run: Run::read(dir, METRIC)?,
            time: plot::points(dir, "wall_s")?.last().copied().filter(|&(_, wall_s)| wall_s > 0.0),
            encoder: Encoding {
                n_env_steps: transform.n_env_steps(),
                code_size: transform.n_features(),
                sha256: transform.sha256(),
            },
        })
    }
}
