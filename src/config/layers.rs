//! What the layers of settings have in common: keys, `--set` assignments, and the errors that name them.

use crate::generative::registry as models;
use crate::human::parse_count;
use anyhow::{Context, Result, bail};
use carom_agents::registry as agents;
use carom_envs::{nearest, registry as envs};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Settings of an environment or of an agent by key.
pub type Settings = Map<String, Value>;

/// Refuses whole numbers in `config` that TOML could not hold.
pub(crate) fn check_integers(config: &impl Serialize) -> Result<()> {
    fn check(key: &str, value: &Value) -> Result<()> {
        let largest = i64::MAX as u64;
        match value {
            Value::Object(table) => table.iter().try_for_each(|(inner, value)| {
                let part = key.strip_suffix("_settings").map(|part| format!("{part}.")).unwrap_or_default();
                check(&format!("{part}{inner}"), value)
            }),
            Value::Array(values) => values.iter().try_for_each(|value| check(key, value)),
            _ => match value.as_u64() {
                Some(n) if n > largest => bail!("{key} is {n}: whole numbers go up to {largest}"),
                _ => Ok(()),
            },
        }
    }
    check("", &serde_json::to_value(config)?)
}

/// Refuses keys that are not among `known`.
pub(crate) fn check_keys(keys: impl IntoIterator<Item = impl AsRef<str>>, known: &[&str]) -> Result<()> {
    for key in keys {
        let key = key.as_ref();
        if !known.contains(&key) {
            bail!("there is no key `{key}`; {}", hint(key, known));
        }
    }
    Ok(())
}

fn hint(key: &str, known: &[&str]) -> String {
    let has_key = |settings: Result<Settings>| settings.is_ok_and(|settings| settings.contains_key(key));
    let none = Settings::new();
    let of_agent = agents::AGENTS.iter().any(|entry| has_key(agents::resolve(entry.name, &none).map_err(Into::into)));
    let of_env = envs::ENVS.iter().any(|entry| has_key(envs::resolve(entry.id, &none).map_err(Into::into)));
    let of_model = models::MODELS.iter().any(|entry| (entry.schema.list)().iter().any(|setting| setting.key == key));
    for (part, has) in [("agent", of_agent), ("model", of_model), ("env", of_env)] {
        if has && known.contains(&format!("{part}_settings").as_str()) {
            return format!("the setting is `{part}.{key}` in --set, and goes under [{part}_settings] in a file");
        }
    }
    format!("did you mean `{}`? (there are {})", nearest(key, known.iter().copied()), known.join(", "))
}

/// Reads `key=value` pairs as a layer; `PART.KEY` goes into the table named beside the part, other keys are among `known`.
pub(crate) fn parse_assignments<L: DeserializeOwned>(
    assignments: &[String],
    parts: &[(&str, &str)],
    known: &[&str],
) -> Result<L> {
    let mut table = Settings::new();
    for assignment in assignments {
        let Some((key, value)) = assignment.split_once('=') else {
            bail!("--set {assignment}: expected key=value, e.g. {}.{}", parts[parts.len() - 1].0, "lr=0.1");
        };
        let (key, value) = (key.trim(), parse_value(value.trim()));
        match key.split_once('.') {
            Some((part, key)) => match parts.iter().find(|(name, _)| *name == part) {
                Some((_, settings)) => {
                    nested(&mut table, settings).insert(key.to_string(), value);
                }
                None => {
                    let near = nearest(part, parts.iter().map(|(name, _)| *name));
                    let all: Vec<String> = parts.iter().map(|(name, _)| format!("`{name}.`")).collect();
                    bail!("--set {assignment}: `{part}.` is not {}; did you mean `{near}.`?", all.join(" or "));
                }
            },
            None => {
                check_keys([key], known).with_context(|| format!("--set {assignment}"))?;
                table.insert(key.to_string(), value);
            }
        }
        L::deserialize(&table).with_context(|| format!("--set {assignment}"))?;
    }
    Ok(L::deserialize(&table)?)
}

fn nested<'a>(table: &'a mut Settings, key: &str) -> &'a mut Settings {
    let entry = table.entry(key).or_insert_with(|| Value::Object(Settings::new()));
    entry.as_object_mut().expect("only maps are put here")
}

/// A value as typed: a count in any of the forms people write, else a TOML value, else the text itself.
pub(super) fn parse_value(text: &str) -> Value {
    if let Ok(count) = parse_count(text) {
        return count.into();
    }
    let document = toml::from_str::<Settings>(&format!("value = {text}")).ok();
    let value = document.and_then(|mut document| document.remove("value"));
    // TOML has nan and inf, settings have not.
    value.filter(|value| !value.is_null()).unwrap_or_else(|| text.into())
}
