//! State of a training run: environments, agent and progress.

use crate::config::training::TrainConfig;
use crate::device;
use crate::encoder::ObsTransform;
use crate::run::Run;
use crate::run::checkpoint::{self, Checkpoint, is_time};
use anyhow::{Context, Result, ensure};
use carom_agents::{Player, Snapshot, Task};
use carom_envs::{Episode, Seeds, VecEnv};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::Path;

/// Number of episodes that `train/return` and `train/length` are means over.
pub(crate) const N_RECENT: usize = 100;

/// Environments, agent and progress of a training run.
pub(crate) struct Session {
    /// All settings.
    pub config: TrainConfig,
    /// Transform of the environments' observations into the agent's.
    pub transform: ObsTransform,
    /// Environments for training.
    pub envs: VecEnv,
    /// The agent.
    pub player: Player,
    /// Training progress.
    pub progress: Progress,
    /// Step at which the run stops before its end, as by a signal; `None` for one that is made to the end.
    pub pause_at: Option<u64>,
}

/// Training progress.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Environment steps, summed over the environments; sweeps of planners.
    pub step: u64,
    /// Seconds spent, over all processes that worked on the run.
    pub wall_s: f64,
    /// Whether a planner has converged.
    pub converged: bool,
    /// Best mean return of an evaluation.
    #[serde(default)]
    pub best: Option<f64>,
    /// Codes that a table was indexed by.
    #[serde(default)]
    pub codes: Option<Codes>,
    /// Return and length of the last [`N_RECENT`] episodes.
    recent: VecDeque<(f64, u64)>,
}

/// The set of codes that an agent has visited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Codes {
    /// A bit for each possible code.
    words: Vec<u64>,
    /// Number of possible codes.
    pub n_possible: usize,
    /// Number of visited codes.
    pub n_visited: usize,
}

impl Session {
    /// Starts a run, with observations made by `transform`.
    ///
    /// # Errors
    /// When the agent cannot play the environment, a setting is out of range, or the device is missing.
    pub(crate) fn new(config: TrainConfig, transform: ObsTransform) -> Result<Self> {
        let device = device::open(config.run.device)?;
        device::set_threads(config.run.threads.unwrap_or(1));
        let seeds = Seeds::new(config.run.seed);
        let rngs = seeds.streams("env", config.run.n_envs);
        let envs = transform.envs(&config.env, rngs)?;
        let task = Task::of(&envs, config.env.id(), config.run.steps).with_device(device).with_trunk(transform.trunk());
        let mut player = config.agent.make(&task, &seeds)?;
        if config.run.threads.is_none() && player.agent().is_some_and(|agent| agent.gains_from_threads()) {
            device::set_threads(device::usual_threads());
        }
        let codes = transform.n_codes().map(Codes::new);
        let progress = Progress { codes, ..Progress::default() };
        Ok(Self { config, transform, envs, player, progress, pause_at: None })
    }

    /// Saves a checkpoint in `run`, unless this step has one.
    ///
    /// # Errors
    /// When it cannot be written. The previous checkpoint stays valid.
    pub(crate) fn save(&mut self, run: &mut Run) -> Result<()> {
        let step = self.progress.step;
        if run.is_saved(step) {
            return Ok(());
        }
        let state = TrainState { progress: self.progress.clone(), envs: Some(self.envs.save()) };
        let has_replay = self.config.run.checkpoint_replay;
        let learned = match self.player.agent() {
            Some(agent) if has_replay => agent.save(),
            Some(agent) => agent.save_without_replay(),
            None => Snapshot::default(),
        };
        run.save(step, state, &learned)
    }

    /// Returns whether the run has reached the step at which it is to stop before its end.
    pub(crate) fn is_at_pause(&self) -> bool {
        self.pause_at.is_some_and(|step| self.progress.step >= step)
    }

    /// Saves the policy as the best of the run, if `score` is above those of all evaluations before.
    ///
    /// # Errors
    /// When it cannot be written. The previous best stays.
    pub(crate) fn keep_if_best(&mut self, score: f64, run: &mut Run) -> Result<()> {
        if self.progress.best.is_some_and(|best| score <= best) {
            return Ok(());
        }
        self.progress.best = Some(score);
        let state = TrainState { progress: self.progress.clone(), envs: None };
        let policy = self.player.agent().map(|agent| agent.save_policy()).unwrap_or_default();
        run.save_best(self.progress.step, state, &policy)
    }

    /// Opens the run of `config` in `dir` and restores its newest checkpoint. Returns the checkpoint too.
    ///
    /// # Errors
    /// When there is no valid checkpoint, it belongs to other settings, or the run cannot be started.
    pub(crate) fn open(config: TrainConfig, dir: &Path) -> Result<(Self, Checkpoint<TrainState>)> {
        let checkpoint = checkpoint::newest(dir)?;
        Ok((Self::at(config, dir, &checkpoint)?, checkpoint))
    }

    /// Opens the run of `config` in `dir` and restores `checkpoint`.
    ///
    /// # Errors
    /// When the checkpoint belongs to other settings, or the run cannot be started.
    pub(crate) fn at(config: TrainConfig, dir: &Path, checkpoint: &Checkpoint<TrainState>) -> Result<Self> {
        let transform = ObsTransform::open(&config, dir)?;
        let mut session = Self::new(config, transform)?;
        session.load(checkpoint)?;
        Ok(session)
    }

    /// Restores the agent, the environments and the progress that a checkpoint holds.
    ///
    /// # Errors
    /// When it belongs to another agent, environment or other settings.
    pub(crate) fn load(&mut self, from: &Checkpoint<TrainState>) -> Result<()> {
        if let Some(agent) = self.player.agent() {
            from.load(|learned| Ok(agent.load(learned)?))?;
        }
        let at = || format!("in the checkpoint of step {}", from.state.step);
        let envs = from.state.loop_state.envs.as_ref().context("it holds no environments").with_context(at)?;
        self.envs.restore(envs).with_context(at)?;
        self.progress = from.state.loop_state.progress.clone();
        let n_codes = self.transform.n_codes();
        let is_possible = self.progress.step == from.state.step
            && is_time(self.progress.wall_s)
            && self.progress.recent.len() <= N_RECENT
            && self.progress.codes.as_ref().is_none_or(|codes| {
                Some(codes.n_possible) == n_codes && codes.words.len() == codes.n_possible.div_ceil(64)
            });
        ensure!(is_possible, "the progress in the checkpoint of step {} is out of range", from.state.step);
        Ok(())
    }
}

/// Training progress and environment state, as saved in a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrainState {
    /// Training progress.
    pub progress: Progress,
    /// The environments with their random streams and running episodes. The best policy is saved without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envs: Option<Value>,
}

impl Codes {
    /// Makes an empty set for `n_possible` codes.
    fn new(n_possible: usize) -> Self {
        Self { words: vec![0; n_possible.div_ceil(64)], n_possible, n_visited: 0 }
    }

    /// Adds the codes in `obs`, which are discrete observations.
    pub(crate) fn visit(&mut self, obs: &[u8]) {
        for bytes in obs.as_chunks().0 {
            let code = u32::from_le_bytes(*bytes);
            let (word, bit) = (&mut self.words[code as usize / 64], 1 << (code % 64));
            self.n_visited += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }
}

impl Progress {
    /// Adds one step in each of `n_envs` environments and the episodes that it ended.
    pub(crate) fn advance(&mut self, n_envs: usize, episodes: &[Episode]) {
        self.step += n_envs as u64;
        for episode in episodes {
            if self.recent.len() == N_RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back((episode.episode_return, episode.length));
        }
    }

    /// Returns whether a run of `steps` steps is finished.
    pub(crate) fn is_finished(&self, steps: u64) -> bool {
        self.step >= steps || self.converged
    }

    /// Returns the number of episodes in the means.
    pub(crate) fn n_recent(&self) -> usize {
        self.recent.len()
    }

    /// Returns mean return and length of the last [`N_RECENT`] episodes, or `None` before the first has ended.
    pub(crate) fn recent_means(&self) -> Option<(f64, f64)> {
        let n = self.recent.len() as f64;
        let sum = |value: fn(&(f64, u64)) -> f64| self.recent.iter().map(value).sum::<f64>();
        (n > 0.0).then(|| (sum(|episode| episode.0) / n, sum(|episode| episode.1 as f64) / n))
    }
}
