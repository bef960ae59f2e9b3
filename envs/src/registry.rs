//! (interface sketch; to be completed)
//! Environments by id.
use crate::Env;
use serde_json::{Map, Value};

/// Settings of an environment by key (without the `env.` prefix), e.g. `sticky`, `action_set`, `max_steps`.
pub type Settings = Map<String, Value>;

/// One line of the registry.
pub struct EnvEntry {
    /// Id as typed on the command line.
    pub id: &'static str,
    /// One line for `carom list envs`.
    pub summary: &'static str,
}

/// An id or a setting that does not exist or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {}

/// All environments
pub const ENVS: &[EnvEntry] = &[];

/// All settings of `id`, defaults overridden by `overrides`, checked. Contains `max_steps` (0 = no limit) for every environment.
pub fn resolve(_id: &str, _overrides: &Settings) -> Result<Settings, EnvError> {
    unimplemented!()
}
/// Makes one environment from resolved settings.
pub fn make(_id: &str, _settings: &Settings) -> Result<Box<dyn Env>, EnvError> {
    unimplemented!()
}
/// Name of the protocol that the settings amount to, printed beside every score, e.g. "minatar-v1", "gymnax", "CartPole-v1".
pub fn protocol(_id: &str, _settings: &Settings) -> String {
    unimplemented!()
}
