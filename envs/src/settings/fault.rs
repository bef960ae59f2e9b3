//! Faults of a value or its key.

use super::nearest::{nearest, suggest};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;

/// A mistake in a value or its key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// There is no setting of this key.
    #[error("there is no setting `{key}`; {}", suggest(key, known.iter().copied()))]
    Unknown {
        /// The key given.
        key: String,
        /// The keys that exist.
        known: Vec<&'static str>,
    },
    /// The value is of another type, out of range, or breaks a rule.
    #[error("{key} is {found}: expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value given.
        found: Value,
        /// The valid values, in words.
        expected: String,
    },
    /// The value has no effect given the others.
    #[error("{key} is {found}, which has no effect: {reason}")]
    Unheard {
        /// The key.
        key: String,
        /// The value given.
        found: Value,
        /// Why it has none.
        reason: String,
    },
}

impl Fault {
    /// Setting `key` is `found`, which is not `expected`.
    pub fn value(key: &str, found: impl Serialize, expected: impl Into<String>) -> Self {
        let found = serde_json::to_value(found).unwrap_or_default();
        Self::Value { key: key.to_owned(), found, expected: expected.into() }
    }

    /// Names the owner of the settings: `group` is the prefix of its keys without the dot, e.g. `agent`, and `owner`
    /// says who it is, e.g. "agent `dqn`".
    pub fn of(self, group: &'static str, owner: impl Display) -> SettingError {
        let owner = owner.to_string();
        SettingError(match self {
            Fault::Unknown { key, known } if known.is_empty() => format!("{owner} has no setting `{key}`; it has none"),
            Fault::Unknown { key, known } => {
                let all = known.join(", ");
                match nearest(&key, known) {
                    Some(near) => format!("{owner} has no setting `{key}`; did you mean `{near}`? (it has {all})"),
                    None => format!("{owner} has no setting `{key}`; it has {all}"),
                }
            }
            valued => format!("{group}.{valued}"),
        })
    }
}

/// A [`Fault`] with the owner of the setting named.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(String);
