//! The traits of agents: [`Agent`], and the two ways of training one, [`Learner`] and [`Planner`].

use crate::ranks::SharedRanks;
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use crate::trunk::SharedTrunk;
use carom_envs::{ObsSpace, Seeds, TransitionModel, VecEnv};
use ndarray::Array2;
use std::any::Any;
use tch::Device;

/// The task that an agent is made for.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// Environment id, for messages.
    pub env_id: &'a str,
    /// Shape and element type of one frame of an observation.
    pub obs_space: ObsSpace,
    /// Number of frames in an observation, oldest first.
    pub frame_stack: usize,
    /// Number of actions.
    pub n_actions: usize,
    /// Number of environments that are stepped at once, on this rank if there are several.
    pub n_envs: usize,
    /// Environment steps of the whole training, for schedules that span it. Planners count sweeps instead.
    pub total_steps: u64,
    /// Device of the networks.
    pub device: Device,
    /// The transition table, if the environment has one.
    pub model: Option<&'a TransitionModel>,
    /// Whether the environment has a scripted player.
    pub has_script: bool,
    /// An encoder to be trained as the first part of the agent's network.
    pub trunk: Option<SharedTrunk>,
    /// The processes that train the agent together, if there are several.
    pub ranks: Option<SharedRanks>,
    /// Whether the agent only acts, by a policy that it will be given, and needs no memory to learn from.
    pub acts_only: bool,
}

impl<'a> Task<'a> {
    /// The task of playing `envs` for `total_steps`, with networks on the CPU and no trunk.
    pub fn of(envs: &'a VecEnv, env_id: &'a str, total_steps: u64) -> Self {
        let env = envs.env(0);
        Self {
            env_id,
            obs_space: envs.obs_space().clone(),
            frame_stack: envs.frame_stack(),
            n_actions: envs.n_actions(),
            n_envs: envs.n_envs(),
            total_steps,
            device: Device::Cpu,
            model: env.model(),
            has_script: env.scripted_action().is_some(),
            trunk: None,
            ranks: None,
            acts_only: false,
        }
    }

    /// Moves the networks to `device`.
    #[must_use]
    pub fn with_device(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// Sets an encoder as the first part of the agent's network, to be trained with it.
    #[must_use]
    pub fn with_trunk(self, trunk: Option<SharedTrunk>) -> Self {
        Self { trunk, ..self }
    }

    /// Sets the processes that train the agent together.
    #[must_use]
    pub fn with_ranks(self, ranks: Option<SharedRanks>) -> Self {
        Self { ranks, ..self }
    }

    /// Makes it the task of an agent that only acts.
    #[must_use]
    pub fn acting_only(self) -> Self {
        Self { acts_only: true, ..self }
    }

    /// Number of processes that train the agent together.
    pub fn n_ranks(&self) -> usize {
        self.ranks.as_ref().map_or(1, |ranks| ranks.n_ranks())
    }

    /// Seeds of what differs between the ranks, out of those of the run. First parameters have the run's own.
    pub fn rank_seeds(&self, seeds: &Seeds) -> Seeds {
        seeds.of_rank(self.ranks.as_ref().map_or(0, |ranks| ranks.rank()))
    }
}

/// A number that an agent reports: its name in `metrics.csv`, and its value.
pub type Stat = (&'static str, f64);

/// Reason why training cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// A quantity became NaN or infinite.
    #[error("{what} is {value} at step {step}: training diverged; lower agent.lr or check the scale of the rewards")]
    NonFinite {
        /// Name of the quantity, as in `metrics.csv`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Environment step at which it was found.
        step: u64,
    },
}

/// Reason why products of bf16 are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoBf16(pub(crate) &'static str);

/// Something that has a policy, reports statistics and can be saved.
pub trait Agent: Any + Send {
    /// Writes the greedy action of each observation in `obs`, `[B, frame_stack, obs_bytes]`, to `actions`, `[B]`.
    /// Ties are broken by the lowest index.
    ///
    /// This changes nothing that training depends on, and draws no random number of training's streams. The agent
    /// `random` draws from a stream of its own.
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]);

    /// Statistics since the last call: means over the updates, and present values of schedules.
    fn stats(&mut self) -> Vec<Stat>;

    /// Whether it is faster on several of torch's threads than on one, with the same numbers on any. On small networks
    /// threads wait for each other longer than they work.
    fn gains_from_threads(&self) -> bool {
        false
    }

    /// Computes the products of its network's matrices of factors rounded to bf16 from now on. Sums and parameters
    /// stay f32.
    ///
    /// # Errors
    /// When the agent or this processor has no such products, or is slower by them.
    fn round_to_bf16(&mut self) -> Result<(), NoBf16> {
        Err(NoBf16("this agent has no products of bf16"))
    }

    /// The action values of all states, `[n_states, n_actions]`, if the agent is a table.
    fn table(&self) -> Option<Array2<f64>> {
        None
    }

    /// The action values of one observation, `[frame_stack, obs_bytes]`, by which [`Agent::greedy`] chooses: those of
    /// the table or of the network. `None` if the agent has none.
    fn values_of(&mut self, obs: &[u8]) -> Option<Vec<f64>> {
        let table = self.table()?;
        let state = u32::from_le_bytes(obs.try_into().ok()?) as usize;
        (state < table.nrows()).then(|| table.row(state).to_vec())
    }

    /// The whole state, from which training continues bit for bit.
    fn save(&self) -> Snapshot<'_>;

    /// The state without the replay memory; by default, the whole state. Training goes on from it, but first fills a
    /// new memory, and takes another course than the training that was saved.
    fn save_without_replay(&self) -> Snapshot<'_> {
        self.save()
    }

    /// Whether several ranks can train it: its updates follow sums over them.
    fn sums_over_ranks(&self) -> bool {
        false
    }

    /// The part of the state that differs between the ranks of a training; with the replay memory if it `has_replay`.
    fn save_shard(&self, has_replay: bool) -> Snapshot<'_> {
        let _ = has_replay;
        Snapshot::default()
    }

    /// Restores the state that [`Agent::save_shard`] wrote, after [`Agent::load`] has restored that of the first rank.
    ///
    /// # Errors
    /// When a part is missing or has another shape than this agent's.
    fn load_shard(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        let _ = from;
        Ok(())
    }

    /// Bytes of memory that the full replay takes, and about as many in a checkpoint that holds it.
    fn replay_bytes(&self) -> Option<u64> {
        None
    }

    /// Restores the state that [`Agent::save`] or [`Agent::save_without_replay`] wrote.
    ///
    /// # Errors
    /// When a part is missing or has another shape than this agent's.
    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError>;

    /// The part of the state that [`Agent::greedy`] needs; by default, all of it.
    fn save_policy(&self) -> Snapshot<'_> {
        self.save()
    }

    /// Restores the part of the saved state that [`Agent::greedy`] needs, from what [`Agent::save`] or
    /// [`Agent::save_policy`] wrote; by default, all of it.
    ///
    /// # Errors
    /// When a part is missing or has another shape than this agent's.
    fn load_policy(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.load(from)
    }
}

/// An agent that learns from interaction.
pub trait Learner: Agent {
    /// Chooses exploring actions for all environments; `obs` is `[n_envs, frame_stack, obs_bytes]`.
    fn act(&mut self, obs: &[u8], actions: &mut [usize]);

    /// Records the step that `envs` has just made with `actions`, and learns when an update is due.
    ///
    /// # Errors
    /// When a loss is no longer finite.
    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError>;

    /// Returns the number of environment steps up to the first update. A shorter training learns nothing.
    fn first_update(&self) -> u64 {
        1
    }
}

/// An agent that plans on the transition table, without interaction.
pub trait Planner: Agent {
    /// Sweeps once over all states. Returns [`Planner::is_converged`].
    fn sweep(&mut self) -> bool;

    /// Whether the latest sweep changed nothing beyond the tolerance. Until then the values are not those of the
    /// optimal policy.
    fn is_converged(&self) -> bool;
}

/// An agent by the way it is trained.
pub enum Player {
    /// Learns from interaction.
    Learner(Box<dyn Learner>),
    /// Plans on the transition table.
    Planner(Box<dyn Planner>),
    /// The player written for the game. It reads the game's state, so it is a part of the environment: it neither
    /// observes nor learns, and has no state to save.
    Scripted,
}

impl Player {
    /// The agent, however it is trained, or `None` for the scripted player.
    pub fn agent(&mut self) -> Option<&mut dyn Agent> {
        match self {
            Player::Learner(learner) => Some(&mut **learner),
            Player::Planner(planner) => Some(&mut **planner),
            Player::Scripted => None,
        }
    }

    /// Writes the greedy actions in the present states of `envs` to `actions`. `scratch` holds their stacked frames.
    pub fn greedy(&mut self, envs: &VecEnv, scratch: &mut Vec<u8>, actions: &mut [usize]) {
        match self.agent() {
            Some(agent) => agent.greedy(envs.stacks(scratch), actions),
            None => envs.scripted_actions(actions),
        }
    }
}
