//! Values of settings, as files and `--set` write them.

use crate::human::parse_count;
use anyhow::{Result, bail};
use carom_envs::settings::Values;
use serde_json::Value;

/// Sets `key`, called `name` in messages, which one command must not give two values.
pub(super) fn insert_once(values: &mut Values, key: &str, name: &str, value: Value) -> Result<()> {
    let is_same = |before: &Value| *before == value || before.as_f64().is_some_and(|n| Some(n) == value.as_f64());
    if let Some(before) = values.get(key).filter(|before| !is_same(before)) {
        bail!("{name} is given twice, as {before} and as {value}");
    }
    values.insert(key.to_owned(), value);
    Ok(())
}

/// Converts a TOML value to JSON.
pub(super) fn json(key: &str, value: toml::Value) -> Result<Value> {
    match &value {
        toml::Value::Float(number) if !number.is_finite() => bail!("{key} is {number}: expected a finite number"),
        toml::Value::Datetime(date) => bail!("{key} is {date}, a date: no setting is one"),
        _ => {}
    }
    Ok(match value {
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| json(&key, value).map(|value| (key, value)));
            Value::Object(entries.collect::<Result<_>>()?)
        }
        toml::Value::Array(values) => values.into_iter().map(|value| json(key, value)).collect::<Result<_>>()?,
        plain => serde_json::to_value(plain)?,
    })
}

/// Reads a typed value: a count (`10k`, `1e6`), else a TOML value, else the text itself.
pub(super) fn parse_value(text: &str) -> Value {
    if let Ok(count) = parse_count(text) {
        return count.into();
    }
    let document = toml::from_str::<Values>(&format!("value = {text}")).ok();
    let value = document.and_then(|mut document| document.remove("value"));
    // TOML's nan and inf become null in JSON; no setting has them.
    value.filter(|value| !value.is_null()).unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_as_typed() {
        let cases =
            [("1e-4", json!(1e-4)), ("1M", json!(1_000_000)), ("true", json!(true)), ("minimal", json!("minimal"))];
        for (text, value) in
            cases.into_iter().chain([("0.5", json!(0.5)), ("-1", json!(-1)), ("[1, 2]", json!([1, 2]))])
        {
            assert_eq!(parse_value(text), value, "{text}");
        }
    }
}
