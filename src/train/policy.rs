//! A trained policy, ready to act: an agent without what its training alone needs, such as its replay.

use super::session::TrainState;
use crate::config::kind::training_config;
use crate::config::training::TrainConfig;
use crate::device;
use crate::encoder::ObsTransform;
use crate::run::checkpoint;
use anyhow::Result;
use carom_agents::{Player, Task};
use carom_envs::{ObsSpace, Seeds};
use std::path::Path;

/// The policy of a run's checkpoint.
///
/// ```no_run
/// use carom::train::policy::Policy;
/// use carom_envs::Seeds;
///
/// let mut policy = Policy::open("runs/taxi-q-learning-s0".as_ref())?;
/// let mut envs = policy.transform.envs(&policy.config.env, Seeds::new(1).streams("play", 1))?;
/// let (mut actions, mut stacks) = ([0], Vec::new());
/// for _ in 0..100 {
///     policy.player.greedy(&envs, &mut stacks, &mut actions);
///     envs.step(&actions);
/// }
/// # anyhow::Ok(())
/// ```
pub struct Policy {
    /// The run's configuration.
    pub config: TrainConfig,
    /// How the agent's observations are made.
    pub transform: ObsTransform,
    /// The agent.
    pub player: Player,
    /// Step of the checkpoint.
    pub step: u64,
    obs_space: ObsSpace,
    frame_stack: usize,
    n_actions: usize,
}

impl Policy {
    /// Opens the newest checkpoint of the training run in `dir`.
    ///
    /// # Errors
    /// When `dir` is no training run, has no valid checkpoint, or the run's device is not there.
    pub fn open(dir: &Path) -> Result<Self> {
        let config = training_config(dir, "play")?;
        let checkpoint = checkpoint::newest::<TrainState>(dir)?;
        let transform = ObsTransform::open(&config, dir)?;
        let device = device::open(config.run.device)?;
        tch::set_num_threads(config.run.threads as i32);
        let seeds = Seeds::new(config.run.seed);
        let envs = transform.envs(&config.env, seeds.streams("env", 1))?;
        let task = Task::of(&envs, config.env.id(), config.run.steps).with_device(device).with_trunk(transform.trunk());
        // The settings were checked for as many environments as the agent was trained on.
        let task = Task { n_envs: config.run.n_envs, ..task };
        let mut player = config.agent.make(&task, &seeds)?;
        if let Some(agent) = player.agent() {
            checkpoint.load(|learned| Ok(agent.load_policy(learned)?))?;
        }
        let (obs_space, frame_stack, n_actions) = (task.obs_space.clone(), task.frame_stack, task.n_actions);
        drop(task);
        Ok(Self { config, transform, player, step: checkpoint.step, obs_space, frame_stack, n_actions })
    }

    /// Whether it can act on stacks of `frame_stack` observations in `obs_space`, with `n_actions` actions.
    pub fn suits(&self, obs_space: &ObsSpace, frame_stack: usize, n_actions: usize) -> bool {
        (&self.obs_space, self.frame_stack, self.n_actions) == (obs_space, frame_stack, n_actions)
    }
}
