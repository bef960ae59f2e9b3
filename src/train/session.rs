//! The moving parts of a run: environments, agent, and where training stands.

use crate::config::training::TrainConfig;
use crate::device;
use crate::encoder::ObsTransform;
use crate::run::Run;
use crate::run::checkpoint::{self, Checkpoint};
use anyhow::{Context, Result};
use carom_agents::{Player, Task};
use carom_envs::{Episode, Seeds, VecEnv};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::Path;

/// Episodes that `train/return` and `train/length` are means over.
pub(crate) const RECENT: usize = 100;

/// Environments, agent, and where training stands.
pub(crate) struct Session {
    /// What is being run.
    pub config: TrainConfig,
    /// What the environments are seen through.
    pub transform: ObsTransform,
    /// The environments that are trained on.
    pub envs: VecEnv,
    /// The agent.
    pub player: Player,
    /// Where training stands.
    pub progress: Progress,
}

/// Where training stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Environment steps made, summed over the environments; planners: sweeps.
    pub step: u64,
    /// Seconds spent, over all processes that worked on the run.
    pub wall_s: f64,
    /// A planner has found that nothing changes any more.
    pub converged: bool,
    /// Codes that a table was keyed by.
    #[serde(default)]
    pub codes: Option<Codes>,
    /// Return and length of the last [`RECENT`] episodes.
    recent: VecDeque<(f64, u64)>,
}

/// Which codes an agent has acted in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Codes {
    /// A bit for each that can be.
    words: Vec<u64>,
    /// How many there can be.
    pub n_possible: usize,
    /// How many there were.
    pub n_visited: usize,
}

impl Session {
    /// A run at its beginning, through `transform`.
    ///
    /// # Errors
    /// When the agent cannot play the environment, a setting is out of range, or the device is not there.
    pub(crate) fn new(config: TrainConfig, transform: ObsTransform) -> Result<Self> {
        let device = device::open(config.run.device)?;
        tch::set_num_threads(config.run.threads as i32);
        let seeds = Seeds::new(config.run.seed);
        let rngs = seeds.streams("env", config.run.n_envs);
        let envs = transform.envs(&config.env, rngs)?;
        let task = Task::of(&envs, config.env.id(), config.run.steps).with_device(device).with_trunk(transform.trunk());
        let player = config.agent.make(&task, &seeds)?;
        let codes = transform.n_codes().map(Codes::new);
        Ok(Self { config, transform, envs, player, progress: Progress { codes, ..Progress::default() } })
    }

    /// Saves a checkpoint in `run`, unless this very step has one.
    ///
    /// # Errors
    /// When it cannot be written; the one before stays valid.
    pub(crate) fn save(&mut self, run: &mut Run) -> Result<()> {
        let step = self.progress.step;
        if run.is_saved(step) {
            return Ok(());
        }
        let loop_state = TrainState { progress: self.progress.clone(), envs: self.envs.save() };
        let learned = self.player.agent().map(|agent| agent.save()).unwrap_or_default();
        run.save(step, loop_state, &learned)
    }

    /// The run of `config` in `dir` where its newest checkpoint left it, and that checkpoint.
    ///
    /// # Errors
    /// As [`Session::new`], [`checkpoint::newest`] and [`Session::load`].
    pub(crate) fn open(config: TrainConfig, dir: &Path) -> Result<(Self, Checkpoint<TrainState>)> {
        let checkpoint = checkpoint::newest(dir)?;
        let transform = ObsTransform::open(&config, dir)?;
        let mut session = Self::new(config, transform)?;
        session.load(&checkpoint)?;
        Ok((session, checkpoint))
    }

    /// Restores the agent, the environments and the progress that a checkpoint holds.
    ///
    /// # Errors
    /// When it is of another agent, another environment or of other settings.
    pub(crate) fn load(&mut self, from: &Checkpoint<TrainState>) -> Result<()> {
        if let Some(agent) = self.player.agent() {
            from.load(|learned| Ok(agent.load(learned)?))?;
        }
        self.envs
            .restore(&from.state.loop_state.envs)
            .with_context(|| format!("in the checkpoint of step {}", from.step))?;
        self.progress = from.state.loop_state.progress.clone();
        Ok(())
    }
}

/// What a checkpoint holds beside the agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrainState {
    /// Where training stands.
    pub progress: Progress,
    /// The environments with their random streams and running episodes.
    envs: Value,
}

impl Codes {
    /// None yet of `n_possible`.
    fn new(n_possible: usize) -> Self {
        Self { words: vec![0; n_possible.div_ceil(64)], n_possible, n_visited: 0 }
    }

    /// Takes note of the codes in `obs`, discrete observations.
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
    /// Takes note of one step in each of `n_envs` environments and of the episodes it ended.
    pub(crate) fn advance(&mut self, n_envs: usize, episodes: &[Episode]) {
        self.step += n_envs as u64;
        for episode in episodes {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back((episode.episode_return, episode.length));
        }
    }

    /// Whether a run of `steps` steps has nothing left to do.
    pub(crate) fn is_finished(&self, steps: u64) -> bool {
        self.step >= steps || self.converged
    }

    /// Episodes that the means are over.
    pub(crate) fn n_recent(&self) -> usize {
        self.recent.len()
    }

    /// Mean return and length of the last [`RECENT`] episodes; none before the first has ended.
    pub(crate) fn recent_means(&self) -> Option<(f64, f64)> {
        let n = self.recent.len() as f64;
        let sum = |value: fn(&(f64, u64)) -> f64| self.recent.iter().map(value).sum::<f64>();
        (n > 0.0).then(|| (sum(|episode| episode.0) / n, sum(|episode| episode.1 as f64) / n))
    }
}
