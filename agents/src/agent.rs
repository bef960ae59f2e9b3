//! What every agent is: [`Agent`], and the two ways of training one, [`Learner`] and [`Planner`].

use crate::{Loaded, Snapshot, SnapshotError, Trunk};
use carom_envs::{ObsSpace, TransitionModel, VecEnv};
use std::rc::Rc;
use tch::Device;

/// What an agent is told of the task it is made for.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// Environment id, for messages.
    pub env_id: &'a str,
    /// What it observes: one frame of it.
    pub obs_space: ObsSpace,
    /// Frames of an observation, oldest first.
    pub frame_stack: usize,
    /// Number of actions.
    pub n_actions: usize,
    /// Environments stepped at once.
    pub n_envs: usize,
    /// Environment steps of the whole training (planners: sweeps), where a schedule spans it.
    pub total_steps: u64,
    /// Where networks live.
    pub device: Device,
    /// The transition table, where the environment has one.
    pub model: Option<&'a TransitionModel>,
    /// Somebody has written a player for the environment.
    pub has_script: bool,
    /// What a network sees each frame through and trains with its own layers, where it does.
    pub trunk: Option<Rc<dyn Trunk>>,
}

/// A number an agent reports: its name in `metrics.csv` and its value.
pub type Stat = (&'static str, f64);

/// Training cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// A quantity became NaN or infinite.
    #[error("{what} is {value} at step {step}: training diverged; lower agent.lr or check the rewards' size")]
    NonFinite {
        /// Name of the quantity, as in `metrics.csv`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Environment step at which it was seen.
        step: u64,
    },
}

/// Something that has a policy, reports statistics and can be saved.
pub trait Agent {
    /// The greedy actions for a batch of observations (`[B, frame_stack, obs_bytes]`, one action each), ties broken by the lowest index.
    /// Changes nothing that training depends on, and draws no random number: `random` alone does, from a stream of its own.
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]);

    /// Statistics gathered since the last call: means of what was learned from, and present schedule values.
    fn stats(&mut self) -> Vec<Stat>;

    /// All that is needed to go on exactly as if training had never stopped.
    fn save(&self) -> Snapshot<'_>;

    /// Takes up what [`Agent::save`] gave.
    ///
    /// # Errors
    /// When a part is missing or has another shape than this agent's.
    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError>;
}

/// An agent that learns from interaction.
pub trait Learner: Agent {
    /// Chooses exploring actions for all environments; `obs` is `[n_envs, frame_stack, obs_bytes]`.
    fn act(&mut self, obs: &[u8], actions: &mut [usize]);

    /// Takes note of the step that `envs` has just made with `actions`, and learns when it is time to.
    ///
    /// # Errors
    /// When a loss is no longer finite.
    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError>;
}

/// An agent that plans on the transition table and needs no interaction.
pub trait Planner: Agent {
    /// One sweep over all states; true when nothing changes any more.
    fn sweep(&mut self) -> bool;
}

/// An agent by the way it is trained.
pub enum Trainer {
    /// Learns from interaction.
    Learner(Box<dyn Learner>),
    /// Plans on the transition table.
    Planner(Box<dyn Planner>),
    /// The player written for the game. It knows the state itself, so it is a part of the environment: nothing observes,
    /// learns or is saved.
    Scripted,
}

impl Trainer {
    /// The agent, whichever way it is trained; none where the environment plays by itself.
    pub fn agent(&mut self) -> Option<&mut dyn Agent> {
        match self {
            Trainer::Learner(learner) => Some(&mut **learner),
            Trainer::Planner(planner) => Some(&mut **planner),
            Trainer::Scripted => None,
        }
    }

    /// The greedy actions in the present states of `envs`; their stacks are gathered into `scratch`.
    pub fn greedy(&mut self, envs: &VecEnv, scratch: &mut Vec<u8>, actions: &mut [usize]) {
        match self.agent() {
            Some(agent) => agent.greedy(envs.stacks(scratch), actions),
            None => envs.scripted_actions(actions),
        }
    }
}
