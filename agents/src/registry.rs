//! Agents by name.

use crate::{Task, Trainer};
use carom_envs::Seeds;
use serde_json::{Map, Value};

/// Settings of an agent by key (without the `agent.` prefix), e.g. `gamma`, `lr`.
pub type Settings = Map<String, Value>;

/// An agent that does not exist, a setting it does not have, or an environment it cannot play.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {}

/// Makes the agent called `name` from resolved settings.
pub fn make(_name: &str, _settings: &Settings, _task: &Task, _seeds: &Seeds) -> Result<Trainer, AgentError> {
    unimplemented!()
}
