//! An agent resolved by name: its entry in the table of agents, and all its settings.

use crate::agent::{Learner, Planner, Task, Trainer};
use crate::settings::AgentError;
use carom_envs::Seeds;
use carom_envs::settings::{self, Schema, Settings, Values};

/// One agent of the table of agents.
#[derive(Clone, Copy, Debug)]
pub struct AgentEntry {
    /// Name, as typed on the command line.
    pub name: &'static str,
    /// One line about the agent, for lists.
    pub summary: &'static str,
    /// Whether it keeps a table. It then needs numbered states.
    pub keeps_table: bool,
    /// Whether it trains a network. An encoder can then be trained with it ([`crate::Trunk`]).
    pub has_network: bool,
    /// Its settings.
    pub schema: Schema,
    /// Makes it from resolved settings.
    pub make: fn(&Values, &Task, &Seeds) -> Result<Trainer, AgentError>,
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
    pub fn make(&self, task: &Task, seeds: &Seeds) -> Result<Trainer, AgentError> {
        (self.entry.make)(&self.settings, task, seeds)
    }
}

impl PartialEq for AgentSpec {
    fn eq(&self, other: &Self) -> bool {
        (self.name(), &self.settings) == (other.name(), &other.settings)
    }
}

/// Reads the settings of `agent` as their type.
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
pub fn learner<L: Learner + 'static>(made: Result<L, AgentError>) -> Result<Trainer, AgentError> {
    made.map(|learner| Trainer::Learner(Box::new(learner)))
}

/// Boxes an agent that plans.
///
/// # Errors
/// Passes on those of the agent's constructor.
pub fn planner<P: Planner + 'static>(made: Result<P, AgentError>) -> Result<Trainer, AgentError> {
    made.map(|planner| Trainer::Planner(Box::new(planner)))
}
