//! The settings of a run under dotted keys, as `--set` spells them, and how they changed along the run.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Values by key, such as `agent.lr`, as text.
pub(crate) type Dotted = BTreeMap<String, String>;

/// Returns whether a setting affects what a run learns. How often a run is logged, saved and evaluated does not, nor
/// does the place of its data.
pub(crate) fn affects_learning(key: &str) -> bool {
    !["log_every", "data_dir"].contains(&key) && !["checkpoint_", "eval_"].iter().any(|start| key.starts_with(start))
}

/// Returns whether names of `n` groups leave out a value that `n_equal` of them have.
pub(crate) fn is_usual(n_equal: usize, n: usize) -> bool {
    n > 2 && 2 * n_equal > n
}

/// A setting with another value than before. `None` stands for a setting that was not given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub key: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = [&self.from, &self.to].map(|value| value.as_deref().unwrap_or("not given"));
        write!(f, "{} {from} -> {to}", self.key)
    }
}

/// The settings of a run, and their changes at a step. It is a part of the run's `meta.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct History {
    /// The settings in force.
    pub settings: Dotted,
    /// Changes in their order, each with the step from which on it was in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<AtStep>,
}

/// A change of a setting during a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AtStep {
    pub step: u64,
    #[serde(flatten)]
    pub change: Change,
}

/// Returns the settings in `config`, a TOML text that the program has written.
pub(crate) fn dotted(config: &str) -> Dotted {
    of_table(&config.parse().expect("settings that were written as TOML"))
}

/// Returns the settings in a configuration file. The key `lr` of its table `agent_settings` is `agent.lr`.
pub(crate) fn of_table(config: &toml::Table) -> Dotted {
    let mut out = Dotted::new();
    for (key, value) in config {
        match value {
            toml::Value::Table(inner) => {
                let part = key.trim_end_matches("_settings");
                out.extend(of_table(inner).into_iter().map(|(key, value)| (format!("{part}.{key}"), value)));
            }
            toml::Value::String(text) => drop(out.insert(key.clone(), text.clone())),
            other => drop(out.insert(key.clone(), other.to_string())),
        }
    }
    out
}

/// Returns the settings in which `after` differs from `before`.
pub(crate) fn changes(before: &Dotted, after: &Dotted) -> Vec<Change> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changes = keys.into_iter().map(|key| Change {
        key: key.clone(),
        from: before.get(key).cloned(),
        to: after.get(key).cloned(),
    });
    changes.filter(|change| change.from != change.to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_keys_of_set_and_their_changes_are_named() {
        let before = dotted("env = \"taxi\"\nsteps = 500\n[agent_settings]\nlr = 0.1\n");
        assert_eq!(before.keys().collect::<Vec<_>>(), ["agent.lr", "env", "steps"]);
        let after = dotted("env = \"taxi\"\nsteps = 500\nthreads = 2\n[agent_settings]\nlr = 0.2\n");
        let shown: Vec<String> = changes(&before, &after).iter().map(Change::to_string).collect();
        assert_eq!(shown, ["agent.lr 0.1 -> 0.2", "threads not given -> 2"]);
    }
}
