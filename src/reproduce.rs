//! Baselines: presets whose scores are known, how their runs are scored, and the published scores beside theirs.

pub(crate) mod baselines;

use crate::config::training::TrainConfig;
use crate::plot;
use crate::run::checkpoint::Which;
use crate::statistics::mean;
use crate::train::evaluation::Evaluation;
use crate::train::policy::Policy;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// A preset whose scores are known.
pub(crate) struct Baseline {
    /// Name of the preset.
    pub preset: &'static str,
    /// Time of a run on one core of the machine that the scores are of.
    pub time: &'static str,
    /// Its scores, by one measure or several.
    pub scores: &'static [Known],
}

/// Scores by one measure.
pub(crate) struct Known {
    /// How a run is scored.
    pub measure: Measure,
    /// Scores of this suite's seeds from 0 on, when they were last measured.
    pub ours: &'static [f64],
    /// Scores of others, and bounds.
    pub quoted: &'static [Quoted],
}

/// A score that is quoted.
#[derive(Serialize)]
pub(crate) struct Quoted {
    /// The score.
    pub score: f64,
    /// Whose it is, and where it stands.
    pub source: &'static str,
}

/// How a run is scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Measure {
    /// Expected return of the greedy policy by the transition table.
    Exact,
    /// Mean return of the last training episodes, exploration included.
    Training {
        /// Number of episodes.
        episodes: usize,
    },
    /// Mean return of games that are played after training.
    Games {
        /// Number of games.
        episodes: u64,
        /// Probability of a random action.
        epsilon: f64,
    },
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => write!(f, "expected return by the transition table"),
            Self::Training { episodes } => write!(f, "training return, mean of the last {episodes} episodes"),
            Self::Games { episodes, epsilon: 0.0 } => write!(f, "greedy return, mean of {episodes} games"),
            Self::Games { episodes, epsilon } => write!(f, "return with epsilon {epsilon}, mean of {episodes} games"),
        }
    }
}

impl Measure {
    /// Scores the finished run of `config` in `dir`.
    ///
    /// # Errors
    /// When its files cannot be read, it ended no episode, or the environment has no transition table.
    pub(crate) fn score(self, config: &TrainConfig, dir: &Path) -> Result<f64> {
        let (episodes, epsilon) = match self {
            Self::Training { episodes } => {
                let returns = plot::episode_returns(dir)?;
                ensure!(!returns.is_empty(), "{} ended no episode", dir.display());
                return Ok(mean(&returns[returns.len().saturating_sub(episodes)..]));
            }
            Self::Games { episodes, epsilon } => (episodes, epsilon),
            Self::Exact => (1, 0.0),
        };
        let evaluation = Evaluation { episodes, epsilon, ..Evaluation::of_run(config) };
        let mut policy = Policy::of(config.clone(), dir, Which::Newest)?;
        let scores = evaluation.run(&mut policy.player, &policy.transform)?;
        match self {
            Self::Exact => scores.return_exact.with_context(|| format!("{} has no exact return", config.env.id())),
            _ => Ok(scores.return_mean),
        }
    }
}
