//! A trained agent, ready to act: its networks or table, without replay and optimiser.

use super::session::{Session, TrainState};
use crate::config::kind::training_config;
use crate::config::training::TrainConfig;
use crate::encoder::ObsTransform;
use crate::run::checkpoint::{self, Checkpoint, Which};
use anyhow::Result;
use carom_agents::{Dqn, Player, Pqn, QNetwork};
use carom_envs::{ObsSpace, Seeds, VecEnv};
use std::any::Any;
use std::path::Path;

/// The greedy policy of a trained agent, read from a checkpoint of its run.
///
/// ```no_run
/// let mut policy = carom::Policy::open("runs/taxi-q-learning-s0".as_ref())?;
/// let mut envs = policy.envs(1, 8)?;
/// let mut actions = [0; 8];
/// for _ in 0..100 {
///     policy.act(&envs, &mut actions);
///     envs.step(&actions);
/// }
/// # anyhow::Ok(())
/// ```
pub struct Policy {
    /// Configuration of the run.
    pub(crate) config: TrainConfig,
    /// Transform of the environment's observations into the agent's.
    pub(crate) transform: ObsTransform,
    /// The agent.
    pub(crate) player: Player,
    /// Step of the checkpoint.
    pub(crate) step: u64,
    obs_space: ObsSpace,
    frame_stack: usize,
    n_actions: usize,
    /// Buffer for the observations to act on.
    stacks: Vec<u8>,
}

/// Returns the network of a player, or `None` if it has none.
pub(crate) fn network(player: &mut Player) -> Option<&mut QNetwork> {
    let agent: &mut dyn Any = player.agent()?;
    match agent.is::<Dqn>() {
        true => agent.downcast_mut().map(Dqn::network),
        false => agent.downcast_mut().map(Pqn::network),
    }
}

impl Policy {
    /// Opens the newest checkpoint of the training run in `dir`, on the CPU if the run's device is not there.
    ///
    /// # Errors
    /// When `dir` is not a training run, or has no valid checkpoint.
    pub fn open(dir: &Path) -> Result<Self> {
        let config = training_config(dir, "play")?.for_reading(None)?;
        Self::of(config, dir, Which::Newest)
    }

    /// Opens a checkpoint in `dir` of the run of `config`.
    ///
    /// # Errors
    /// When there is no such checkpoint, it is not valid, or the run's device is not there.
    pub(crate) fn of(config: TrainConfig, dir: &Path, which: Which) -> Result<Self> {
        Self::at(config, dir, &checkpoint::open(dir, which)?)
    }

    /// Opens `checkpoint` in `dir` of the run of `config`.
    ///
    /// # Errors
    /// When the checkpoint belongs to other settings, or the run's device is not there.
    pub(super) fn at(config: TrainConfig, dir: &Path, checkpoint: &Checkpoint<TrainState>) -> Result<Self> {
        let transform = ObsTransform::open(&config, dir)?;
        let Session { config, transform, envs, mut player, .. } = Session::acting_only(config, transform)?;
        if let Some(agent) = player.agent() {
            checkpoint.load(|learned| Ok(agent.load_policy(learned)?))?;
        }
        let (obs_space, frame_stack, n_actions) = (envs.obs_space().clone(), envs.frame_stack(), envs.n_actions());
        let (step, stacks) = (checkpoint.state.step, vec![]);
        Ok(Self { config, transform, player, step, obs_space, frame_stack, n_actions, stacks })
    }

    /// Makes `n_envs` environments with the settings and the encoder of the run. Their random numbers come from `seed`.
    ///
    /// # Errors
    /// When `n_envs` is 0.
    pub fn envs(&self, seed: u64, n_envs: usize) -> Result<VecEnv> {
        self.transform.envs(&self.config.env, Seeds::new(seed).streams("policy", n_envs))
    }

    /// Writes the greedy action for each environment of `envs` to `actions`.
    ///
    /// # Panics
    /// When there is not one action for each environment.
    pub fn act(&mut self, envs: &VecEnv, actions: &mut [usize]) {
        self.player.greedy(envs, &mut self.stacks, actions);
    }

    /// Returns the space of one observation of the agent.
    pub(crate) fn obs_space(&self) -> &ObsSpace {
        &self.obs_space
    }

    /// Returns the number of observations in a stack.
    pub(crate) fn frame_stack(&self) -> usize {
        self.frame_stack
    }

    /// Returns the number of actions.
    pub(crate) fn n_actions(&self) -> usize {
        self.n_actions
    }

    /// Returns whether the policy acts on stacks of `frame_stack` observations in `obs_space` by `n_actions` actions.
    pub(crate) fn suits(&self, obs_space: &ObsSpace, frame_stack: usize, n_actions: usize) -> bool {
        (&self.obs_space, self.frame_stack, self.n_actions) == (obs_space, frame_stack, n_actions)
    }
}
