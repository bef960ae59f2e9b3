//! Names of all kinds. A name of the wrong kind is recognised.

use super::encoders::ENCODERS;
use crate::generative::data::Source;
use crate::generative::registry::MODELS;
use anyhow::{Error, Result};
use carom_agents::registry as agents;
use carom_envs::settings::nearest;
use carom_envs::{EnvEntry, registry as envs};

/// Finds environment `id`.
///
/// # Errors
/// When there is none; the error says what else has that name.
pub(crate) fn env(id: &str) -> Result<EnvEntry> {
    or_elsewhere(envs::find(id), id)
}

/// Adds to the error of a look-up what else is called `name`, or nearly so.
pub(super) fn or_elsewhere<T>(found: Result<T, impl Into<Error>>, name: &str) -> Result<T> {
    found.map_err(|error| {
        let error = error.into();
        let is_known = |known: &str| format!("{error:#}").contains(&format!("did you mean `{known}`"));
        match elsewhere(name) {
            Some((_, known)) if is_known(known) => error,
            Some((kind, known)) => Error::msg(format!("{error:#}; {kind} is called `{known}`")),
            None => error,
        }
    })
}

/// Returns the kind and the name of the thing that is called `name`, or else nearly so.
fn elsewhere(name: &str) -> Option<(&'static str, &'static str)> {
    let kinds = [
        ("an environment", envs::all().iter().map(|entry| entry.id).collect::<Vec<_>>()),
        ("an agent", agents::all().map(|entry| entry.name).collect()),
        ("a model", MODELS.iter().map(|entry| entry.name).collect()),
        ("an encoder", ENCODERS.iter().map(|entry| entry.name).collect()),
        ("a data set", Source::names().to_vec()),
    ];
    let exact = kinds.iter().find_map(|(kind, names)| Some((*kind, *names.iter().find(|&&known| known == name)?)));
    let near = || kinds.iter().find_map(|(kind, names)| Some((*kind, nearest(name, names.iter().copied())?)));
    exact.or_else(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_another_kind_is_recognised() {
        assert_eq!(elsewhere("mnist"), Some(("a data set", "mnist")));
        assert_eq!(elsewhere("dqn"), Some(("an agent", "dqn")));
        assert_eq!(elsewhere("cnn"), Some(("a model", "cnn-ae")));
        assert_eq!(elsewhere("moveis"), Some(("a data set", "movies")));
        assert_eq!(elsewhere("quixotic"), None);
    }

    #[test]
    fn a_name_is_suggested_once() {
        let error = or_elsewhere(agents::find("q-lerning"), "q-lerning").expect_err("no agent").to_string();
        assert_eq!(error.matches("`q-learning`").count(), 1, "{error}");
    }
}
