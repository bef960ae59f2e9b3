//! The parts of a run that have settings of their own.

use super::names;
use crate::generative::registry as models;
use anyhow::Result;
use carom_agents::registry as agents;
use carom_envs::registry as envs;
use carom_envs::settings::{Schema, Values};
use serde_json::Value;

/// A part of a run that is chosen by name and has settings of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The environment that an agent is trained in, or that frames are taken of.
    Env,
    /// The agent.
    Agent,
    /// The generative model.
    Model,
}

impl Part {
    /// Returns the prefix of its keys in `--set`. Its table in a file is `<prefix>_settings`.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Part::Env => "env",
            Part::Agent => "agent",
            Part::Model => "model",
        }
    }

    /// Returns the name of its table in a configuration file.
    pub(super) fn table(self) -> String {
        format!("{}_settings", self.prefix())
    }

    /// Returns the name that a run's own settings give this part.
    pub(super) fn name(self, own: &Values) -> Option<&str> {
        let text = |key: &str| own.get(key).and_then(Value::as_str);
        match self {
            Part::Env => text("env").or_else(|| text("data")?.strip_prefix("env:")),
            Part::Agent => text("agent"),
            Part::Model => text("model"),
        }
    }

    /// Returns the schema of the part `name`.
    pub(super) fn schema(self, name: &str) -> Result<Schema> {
        Ok(match self {
            Part::Env => names::env(name)?.schema,
            Part::Agent => names::or_elsewhere(agents::find(name), name)?.schema,
            Part::Model => names::or_elsewhere(models::find(name), name)?.schema,
        })
    }

    /// Checks `settings` of the part `name`.
    pub(super) fn check(self, name: &str, settings: &Values) -> Result<()> {
        self.schema(name)?;
        match self {
            Part::Env => drop(envs::resolve(name, settings)?),
            Part::Agent => drop(agents::resolve(name, settings)?),
            Part::Model => drop(models::resolve(name, settings)?),
        }
        Ok(())
    }

    /// Returns whether any part of this kind has a setting `key`.
    pub(super) fn has_key(self, key: &str) -> bool {
        let has_key = |schema: Schema| (schema.list)().iter().any(|setting| setting.key == key);
        match self {
            Part::Env => envs::all().into_iter().any(|entry| has_key(entry.schema)),
            Part::Agent => agents::all().any(|entry| has_key(entry.schema)),
            Part::Model => models::MODELS.iter().any(|entry| has_key(entry.schema)),
        }
    }
}
