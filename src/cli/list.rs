//! `carom list`: lists environments, agents, encoders, models, presets and runs, and the settings of one of them.

pub(super) mod runs;

use super::print;
use crate::config::encoders::ENCODERS;
use crate::config::fit::FIT;
use crate::config::presets::PRESETS;
use crate::config::training::TRAINING;
use crate::generative::registry::MODELS;
use anyhow::{Result, bail};
use carom_agents::registry as agents;
use carom_envs::registry as envs;
use carom_envs::settings::{Schema, Setting, Values, suggest};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::Path;

/// List environments, agents, encoders, models, presets or runs, or the settings of one of them
#[derive(Args)]
#[command(after_help = "Examples:
  carom list envs
  carom list agents dqn
  carom list models vae --json
  carom list runs")]
pub(super) struct Arguments {
    /// Kind of entries to list
    what: What,
    /// Entry to explain with its settings; of runs, their folder
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON, with all settings, their documentation and their defaults
    #[arg(long)]
    json: bool,
}

/// Folder of runs that have no other place.
const DEFAULT_FOLDER: &str = "runs";

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Envs,
    Agents,
    Encoders,
    Models,
    Presets,
    /// The settings of `train` and `fit` themselves
    Settings,
    /// The runs below the folder NAME, or below `runs`
    Runs,
}

/// An entry of a list.
struct Entry {
    name: &'static str,
    summary: &'static str,
    /// Prefix of its settings in `--set`, and their schema.
    settings: Option<(&'static str, Schema)>,
    /// Further facts for JSON.
    more: Value,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let mut entries = match arguments.what {
        What::Runs => {
            let folder = arguments.name.as_deref().unwrap_or(DEFAULT_FOLDER);
            return runs::list(Path::new(folder), arguments.json);
        }
        What::Envs => environments()?,
        What::Agents => {
            agents::all().map(|entry| with_settings(entry.name, entry.summary, "agent", entry.schema)).collect()
        }
        What::Encoders => ENCODERS.iter().map(|entry| plain(entry.name, entry.summary, json!({}))).collect(),
        What::Models => {
            MODELS.iter().map(|entry| with_settings(entry.name, entry.summary, "model", entry.schema)).collect()
        }
        What::Presets => presets()?,
        What::Settings => vec![
            with_settings("train", "the settings of a training run itself", "", TRAINING.own),
            with_settings("fit", "the settings of a fit itself", "", FIT.own),
        ],
    };
    if let Some(name) = &arguments.name {
        let known: Vec<_> = entries.iter().map(|entry| entry.name).collect();
        entries.retain(|entry| entry.name == name);
        if entries.is_empty() {
            bail!("there is no `{name}` here; {}", suggest(name, known));
        }
    }
    match (arguments.json, &arguments.name) {
        (true, _) => {
            let objects = entries.into_iter().map(Entry::into_json).collect::<Result<Vec<_>>>()?;
            print(&format!("{}\n", serde_json::to_string_pretty(&objects)?))
        }
        (false, Some(_)) => entries.iter().try_for_each(|entry| print(&entry.explain())),
        (false, None) => {
            let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
            let lines = entries.iter().map(|Entry { name, summary, .. }| format!("{name:width$}  {summary}\n"));
            print(&lines.collect::<String>())
        }
    }
}

fn plain(name: &'static str, summary: &'static str, more: Value) -> Entry {
    Entry { name, summary, settings: None, more }
}

fn with_settings(name: &'static str, summary: &'static str, prefix: &'static str, schema: Schema) -> Entry {
    Entry { name, summary, settings: Some((prefix, schema)), more: json!({}) }
}

fn environments() -> Result<Vec<Entry>> {
    let entry = |entry: carom_envs::EnvEntry| {
        let spec = entry.resolve(&Values::new())?;
        let env = spec.make();
        let more = json!({
            "id": entry.id,
            "observes": env.obs_space().to_string(),
            "actions": env.action_names(),
            "protocol": spec.protocol(),
        });
        Ok(Entry { name: entry.id, summary: entry.summary, settings: Some(("env", entry.schema)), more })
    };
    envs::all().into_iter().map(entry).collect()
}

fn presets() -> Result<Vec<Entry>> {
    let entry = |preset: &crate::config::presets::Preset| {
        let table: Values = toml::from_str(preset.text)?;
        Ok(plain(preset.name, preset.summary(), Value::Object(table)))
    };
    PRESETS.iter().map(entry).collect()
}

impl Entry {
    /// Returns the entry as an object: its facts, the defaults of its settings by key, and the schema of each setting.
    fn into_json(self) -> Result<Value> {
        let mut object =
            Values::from_iter([("name".into(), self.name.into()), ("summary".into(), self.summary.into())]);
        if let Value::Object(more) = self.more {
            object.extend(more);
        }
        if let Some((_, schema)) = self.settings {
            object.insert("settings".into(), Value::Object((schema.resolve)(&Values::new())?));
            object.insert("schema".into(), serde_json::to_value((schema.list)())?);
        }
        Ok(Value::Object(object))
    }

    /// Returns the entry as text: each setting with its default, documentation, type and range.
    fn explain(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.summary);
        match &self.settings {
            None => match &self.more {
                Value::Object(table) if !table.is_empty() => text += &toml::to_string(table).unwrap_or_default(),
                _ => {}
            },
            Some((prefix, schema)) => {
                let settings = (schema.list)();
                if settings.is_empty() {
                    text += "It has no settings.\n";
                }
                text.extend(settings.iter().map(|setting| explain(prefix, setting)));
            }
        }
        text
    }
}

fn explain(prefix: &str, Setting { key, doc, expected, default }: &Setting) -> String {
    let default = match default {
        Value::Null => "not set".to_owned(),
        value => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    let dot = if prefix.is_empty() { "" } else { "." };
    format!("\n{prefix}{dot}{key} = {default}\n    {doc}\n    {expected}\n")
}
