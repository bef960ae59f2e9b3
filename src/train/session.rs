//! State of a training run: environments, agent and progress.

use super::together::{self, AtStep};
use crate::config::training::{Precision, TrainConfig};
use crate::device;
use crate::encoder::ObsTransform;
use crate::ranks::{self, Ranks};
use crate::run::Run;
use crate::run::checkpoint::{self, Checkpoint, Which, is_time};
use anyhow::{Context, Result, anyhow, ensure};
use carom_agents::{Agent, Loaded, Player, Snapshot, Task};
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
    /// Processes that make the run together.
    pub ranks: Ranks,
    /// Environments for training that this process owns.
    pub envs: VecEnv,
    /// The agent.
    pub player: Player,
    /// Training progress.
    pub progress: Progress,
    /// Step at which the run stops before its end, as by a signal; `None` for one that is made to the end.
    pub pause_at: Option<u64>,
    /// Episodes of this process that the first of several does not know yet.
    untold: Vec<AtStep>,
    /// Step of the latest checkpoint.
    saved_at: Option<u64>,
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
    /// Starts this process's part of a run that `ranks` make, with observations made by `transform`.
    ///
    /// # Errors
    /// When the agent cannot play the environment or be trained by several ranks, a setting is out of range, or the
    /// device is missing.
    pub(crate) fn new(config: TrainConfig, transform: ObsTransform, ranks: Ranks) -> Result<Self> {
        Self::made(config, transform, ranks, false)
    }

    /// Makes a session whose agent only acts, by a policy that it will be given: it has no memory to learn from.
    ///
    /// # Errors
    /// When the agent cannot play the environment, a setting is out of range, or the device is missing.
    pub(crate) fn acting_only(config: TrainConfig, transform: ObsTransform) -> Result<Self> {
        Self::made(config, transform, Ranks::alone(), true)
    }

    fn made(config: TrainConfig, transform: ObsTransform, ranks: Ranks, acts_only: bool) -> Result<Self> {
        let device = device::open(config.run.device)?;
        device::set_threads(config.run.threads.unwrap_or(1));
        let (n_envs, n_ranks) = (config.run.n_envs, ranks.n());
        ensure!(
            n_envs.is_multiple_of(n_ranks),
            "n_envs is {n_envs}: expected a multiple of {n_ranks}, since each of {n_ranks} ranks owns as many \
             environments"
        );
        let seeds = Seeds::new(config.run.seed);
        let n_own = n_envs / n_ranks;
        let rngs = seeds.streams("env", n_envs).into_iter().skip(ranks.rank() * n_own).take(n_own).collect();
        let envs = transform.envs(&config.env, rngs)?;
        let task = Task::of(&envs, config.env.id(), config.run.steps)
            .with_device(device)
            .with_trunk(transform.trunk())
            .with_ranks(ranks.shared());
        let task = if acts_only { task.acting_only() } else { task };
        let mut player = config.agent.make(&task, &seeds)?;
        if ranks.are_several() {
            let agent = config.agent.name();
            let can = player.agent().is_some_and(|agent| agent.sums_over_ranks());
            ensure!(can, "{agent} cannot be trained by {n_ranks} ranks: it follows no gradient; dqn and pqn do");
        }
        if config.run.precision == Precision::Bf16 {
            let rounded = player.agent().map_or(Ok(()), Agent::round_to_bf16);
            rounded.map_err(|refused| anyhow!("precision is bf16: {refused}; leave it out for f32"))?;
        }
        if config.run.threads.is_none() && player.agent().is_some_and(|agent| agent.gains_from_threads()) {
            device::set_threads(device::usual_threads(if ranks.are_several() { ranks::n_here() } else { 1 }));
        }
        let codes = transform.n_codes().map(Codes::new);
        let progress = Progress { codes, ..Progress::default() };
        let (pause_at, untold, saved_at) = (None, vec![], None);
        Ok(Self { config, transform, ranks, envs, player, progress, pause_at, untold, saved_at })
    }

    /// Saves a checkpoint in `run`, unless this step has one. Of several ranks all call it, and the first, which alone
    /// has a run, writes the state of all.
    ///
    /// # Errors
    /// When it cannot be written, or the parameters of the ranks differ. The previous checkpoint stays valid.
    pub(crate) fn save(&mut self, run: Option<&mut Run>) -> Result<()> {
        let step = self.progress.step;
        if run.as_ref().map_or(self.saved_at == Some(step), |run| run.is_saved(step)) {
            return Ok(());
        }
        let (envs, has_replay) = (self.envs.save(), self.config.run.checkpoint_replay);
        let shards = match self.player.agent() {
            Some(agent) if self.ranks.are_several() => {
                together::check_policy(&self.ranks, agent)?;
                together::gather_shards(&self.ranks, agent, has_replay, envs.clone())?
            }
            _ => vec![],
        };
        self.saved_at = Some(step);
        let Some(run) = run else { return Ok(()) };
        let others = shards.iter().map(|shard| shard.envs().clone()).collect();
        let state = TrainState { progress: self.progress.clone(), envs: Some(envs), others };
        let learned = match self.player.agent() {
            Some(agent) if has_replay => agent.save(),
            Some(agent) => agent.save_without_replay(),
            None => Snapshot::default(),
        };
        run.save(step, state, &together::joined(learned, &shards)?)
    }

    /// Notes the episodes that the latest step ended: in `run`, or of several ranks until they are told to the first.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn note_episodes(&mut self, run: Option<&mut Run>) -> Result<()> {
        let step = self.progress.step;
        if self.ranks.are_several() {
            self.untold.extend(self.envs.episodes().iter().map(|episode| (step, *episode)));
            return Ok(());
        }
        run.map_or(Ok(()), |run| run.metrics.episodes(step, self.envs.episodes()))
    }

    /// Tells the first of several ranks the episodes that have ended since the last call, and writes them to `run`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn tell_episodes(&mut self, run: Option<&mut Run>) -> Result<()> {
        if !self.ranks.are_several() {
            return Ok(());
        }
        let all = together::gather_episodes(&self.ranks, &std::mem::take(&mut self.untold), self.envs.n_envs())?;
        let Some(run) = run else { return Ok(()) };
        for (step, episode) in all {
            run.metrics.episodes(step, std::slice::from_ref(&episode))?;
            self.progress.add(&episode);
        }
        Ok(())
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
        let state = TrainState { progress: self.progress.clone(), envs: None, others: vec![] };
        let policy = self.player.agent().map(|agent| agent.save_policy()).unwrap_or_default();
        run.save_best(self.progress.step, state, &policy)
    }

    /// Opens the run of `config` in `dir` and restores its newest checkpoint. Returns the checkpoint too.
    ///
    /// # Errors
    /// When there is no valid checkpoint, it belongs to other settings, or the run cannot be started.
    pub(crate) fn open(config: TrainConfig, dir: &Path) -> Result<(Self, Checkpoint<TrainState>)> {
        let checkpoint = checkpoint::newest(dir)?;
        Ok((Self::at(config, dir, &checkpoint, Ranks::alone())?, checkpoint))
    }

    /// Opens the run of `config` that `ranks` make in `dir` and restores `checkpoint`.
    ///
    /// # Errors
    /// When the checkpoint belongs to other settings or another number of ranks, or the run cannot be started.
    pub(crate) fn at(
        config: TrainConfig,
        dir: &Path,
        checkpoint: &Checkpoint<TrainState>,
        ranks: Ranks,
    ) -> Result<Self> {
        let transform = ObsTransform::open(&config, dir)?;
        let mut session = Self::new(config, transform, ranks)?;
        session.load(checkpoint)?;
        session.forget_lost_best(dir);
        Ok(session)
    }

    /// Forgets the best score if the policy that had it is not the one that the run in `dir` keeps: steps after this
    /// checkpoint, which are made anew, have replaced it.
    fn forget_lost_best(&mut self, dir: &Path) {
        let kept = checkpoint::open::<TrainState>(dir, Which::Best).ok();
        if kept.and_then(|kept| kept.state.loop_state.progress.best) != self.progress.best {
            self.progress.best = None;
        }
    }

    /// Restores the agent, the environments and the progress that a checkpoint holds.
    ///
    /// # Errors
    /// When it belongs to another agent, environment or other settings.
    pub(crate) fn load(&mut self, from: &Checkpoint<TrainState>) -> Result<()> {
        let (rank, n_ranks, state) = (self.ranks.rank(), self.ranks.n(), &from.state.loop_state);
        let n_saved = 1 + state.others.len();
        ensure!(
            n_saved == n_ranks,
            "the checkpoint of step {} is of {n_saved} rank{}, each with its environments and what they have played, \
             and this command has {n_ranks}: go on by `mpirun -n {n_saved}`",
            from.state.step,
            if n_saved == 1 { "" } else { "s" }
        );
        if let Some(agent) = self.player.agent() {
            from.load(|learned| load_rank(agent, learned, rank))?;
        }
        let at = || format!("in the checkpoint of step {}", from.state.step);
        let envs = if rank == 0 { state.envs.as_ref() } else { state.others.get(rank - 1) };
        self.envs.restore(envs.context("it holds no environments").with_context(at)?).with_context(at)?;
        self.saved_at = Some(from.state.step);
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
    /// The environments of all ranks but the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Value>,
}

/// Restores the state of `rank` out of that of all ranks.
fn load_rank(agent: &mut dyn Agent, learned: &Loaded, rank: usize) -> Result<()> {
    agent.load(learned)?;
    match rank {
        0 => Ok(()),
        _ => Ok(agent.load_shard(&learned.nested(together::PREFIX)?.nested(&rank.to_string())?)?),
    }
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
            self.add(episode);
        }
    }

    /// Adds an episode to the last ones.
    fn add(&mut self, episode: &Episode) {
        if self.recent.len() == N_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((episode.episode_return, episode.length));
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
