//! Agents with settings: the entry of an agent in a table of names, the agent resolved with all its settings, errors,
//! and rules that the settings of several agents share.

use crate::agent::{Learner, Planner, Player, Task};
use carom_envs::settings::{self, Fault, Schema, SettingError, Settings, Values};
use carom_envs::{ObsSpace, Seeds, TransitionModel};

/// One agent of the table of agents.
#[derive(Clone, Copy, Debug)]
pub struct AgentEntry {
    /// Name, as typed on the command line.
    pub name: &'static str,
    /// One line about the agent, for lists.
    pub summary: &'static str,
    /// The means by which it acts.
    pub kind: AgentKind,
    /// Its settings.
    pub schema: Schema,
    /// Makes it from resolved settings.
    pub make: fn(&Values, &Task, &Seeds) -> Result<Player, AgentError>,
}

/// The means by which an agent acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentKind {
    /// A table, learned step by step. It needs numbered states.
    Table,
    /// A table, computed from the transition table of an environment. It steps no environments.
    Planner,
    /// A network. An encoder can be trained with it ([`crate::Trunk`]).
    Network {
        /// Whether it keeps a replay memory, which may be left out of its checkpoints.
        has_replay: bool,
    },
    /// Anything else, such as a fixed policy.
    Other,
}

impl AgentKind {
    /// Whether it keeps a table.
    pub fn keeps_table(self) -> bool {
        matches!(self, Self::Table | Self::Planner)
    }

    /// Whether it trains a network.
    pub fn has_network(self) -> bool {
        matches!(self, Self::Network { .. })
    }

    /// Whether it keeps a replay memory.
    pub fn has_replay(self) -> bool {
        self == Self::Network { has_replay: true }
    }
}

impl AgentEntry {
    /// Resolves the agent with the settings in `given`, and defaults for the rest.
    ///
    /// # Errors
    /// When a setting does not exist, or a value is of another type, out of range, against a rule, or without effect.
    pub fn resolve(&self, given: &Values) -> Result<AgentSpec, AgentError> {
        let settings = (self.schema.resolve)(given).map_err(AgentError::of(self.name))?;
        Ok(AgentSpec { entry: *self, settings })
    }
}

/// An agent with all its settings, resolved and checked. Nothing needs to be looked up by name after this.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    entry: AgentEntry,
    settings: Values,
}

impl AgentSpec {
    /// Name of the agent.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// All settings that have an effect, by key without the `agent.` prefix.
    pub fn settings(&self) -> &Values {
        &self.settings
    }

    /// The agent's entry in the table of agents.
    pub fn entry(&self) -> &AgentEntry {
        &self.entry
    }

    /// Lays `above` over the settings. Values that have no effect any more are dropped.
    ///
    /// # Errors
    /// When a setting does not exist, or its value is refused.
    pub fn with_all(&self, above: &Values) -> Result<Self, AgentError> {
        self.entry.resolve(&(self.entry.schema.overlay)(&self.settings, above))
    }

    /// Makes the agent. It draws its random numbers from streams of `seeds`.
    ///
    /// # Errors
    /// When the agent cannot play the environment, or its settings do not fit the task.
    pub fn make(&self, task: &Task, seeds: &Seeds) -> Result<Player, AgentError> {
        (self.entry.make)(&self.settings, task, seeds)
    }
}

impl PartialEq for AgentSpec {
    fn eq(&self, other: &Self) -> bool {
        (self.name(), &self.settings) == (other.name(), &other.settings)
    }
}

/// An agent that does not exist, a setting that it refuses, or an environment that it cannot play.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AgentError {
    /// No agent has this name.
    #[error("there is no agent `{name}`; {}", settings::suggest(name, known.iter().copied()))]
    UnknownAgent {
        /// The name given.
        name: String,
        /// The names of all agents.
        known: Vec<&'static str>,
    },
    /// Another agent already has this name.
    #[error("there is already an agent `{0}`")]
    NameTaken(&'static str),
    /// A setting does not exist, or its value is refused.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The agent keeps a table, and the environment has no numbered states.
    #[error(
        "{agent} keeps a table and needs a discrete observation space, but {env_id} observes {observes}: use dqn, or \
         an encoder that makes codes"
    )]
    NotDiscrete {
        /// The agent.
        agent: &'static str,
        /// The environment.
        env_id: String,
        /// The environment's observation space in words.
        observes: String,
    },
    /// The agent plans, and the environment has no transition table.
    #[error(
        "{agent} plans on a transition table, which {env_id} does not have: use an agent that learns, e.g. q-learning"
    )]
    NoModel {
        /// The agent.
        agent: &'static str,
        /// The environment.
        env_id: String,
    },
    /// The environment has no scripted player.
    #[error("{env_id} has no scripted player: use an agent that learns, or random")]
    NoScript {
        /// The environment.
        env_id: String,
    },
}

impl AgentError {
    /// Returns a function that adds to a fault the agent whose setting it is about.
    pub fn of(agent: &'static str) -> impl Fn(Fault) -> Self {
        move |fault| Self::Setting(fault.of("agent", format!("agent `{agent}`")))
    }
}

/// Checks the ranges and rules of settings that were built as a struct.
///
/// # Errors
/// When a value is out of range or breaks a rule.
pub fn validate<S: Settings>(agent: &'static str, settings: &S) -> Result<(), AgentError> {
    settings::validate(settings).map_err(AgentError::of(agent))
}

/// Parses and checks `values`, settings of `agent`.
///
/// # Errors
/// When a setting does not exist, or its value is refused.
pub fn parse<S: Settings>(agent: &'static str, values: &Values) -> Result<S, AgentError> {
    settings::resolve(values).map_err(AgentError::of(agent))
}

/// Boxes an agent that learns from interaction.
///
/// # Errors
/// Passes on those of the agent's constructor.
pub fn learner<L: Learner + 'static>(made: Result<L, AgentError>) -> Result<Player, AgentError> {
    made.map(|learner| Player::Learner(Box::new(learner)))
}

/// Boxes an agent that plans.
///
/// # Errors
/// Passes on those of the agent's constructor.
pub fn planner<P: Planner + 'static>(made: Result<P, AgentError>) -> Result<Player, AgentError> {
    made.map(|planner| Player::Planner(Box::new(planner)))
}

/// Largest width of a hidden layer. The weights between two layers of this width take a gigabyte.
pub const MAX_LAYER_WIDTH: usize = 16_384;

/// Returns why the length of a schedule has no effect if the values of `start_key` and `end_key` are equal.
pub(crate) fn flat_schedule(start_key: &str, end_key: &str) -> String {
    format!("{end_key} is {start_key}, so nothing changes over it")
}

/// Refuses widths that layer normalisation cannot work on. Its kernels add sixteen numbers at a time.
pub(crate) fn check_widths(hidden: &[usize], layer_norm: bool) -> Result<(), Fault> {
    match layer_norm && hidden.iter().any(|width| !width.is_multiple_of(16)) {
        true => Err(Fault::value("hidden", hidden, "multiples of 16 while layer_norm is on")),
        false => Ok(()),
    }
}

/// Refuses setting `key` with `value` when the system does not grant the `n_bytes` of memory that it asks for.
///
/// A failed allocation would abort the process.
pub(crate) fn check_memory(key: &str, value: usize, n_bytes: usize) -> Result<(), Fault> {
    let mut memory = Vec::<u8>::new();
    let is_granted = memory.try_reserve_exact(n_bytes).is_ok();
    // Without this the compiler removes the unused allocation.
    std::hint::black_box(&memory);
    if is_granted {
        return Ok(());
    }
    let gb = n_bytes as f64 / 1e9;
    Err(Fault::value(key, value, format!("fewer: they take {gb:.1} GB, more than the system grants")))
}

/// Number of states of the table that `agent` keeps for `task`.
///
/// # Errors
/// When the task's observations are not discrete.
pub(crate) fn n_states(agent: &'static str, task: &Task) -> Result<usize, AgentError> {
    match task.obs_space {
        ObsSpace::Discrete { n } => Ok(n),
        ref other => {
            Err(AgentError::NotDiscrete { agent, env_id: task.env_id.to_owned(), observes: other.to_string() })
        }
    }
}

/// The transition table that `agent` plans on.
///
/// # Errors
/// When the environment has none.
pub(crate) fn transition_model(agent: &'static str, task: &Task) -> Result<TransitionModel, AgentError> {
    n_states(agent, task)?;
    task.model.cloned().ok_or_else(|| AgentError::NoModel { agent, env_id: task.env_id.to_owned() })
}
