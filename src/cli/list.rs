//! `carom list`: what there is.

use crate::config::encoders::ENCODERS;
use crate::config::layers::Settings;
use crate::config::presets::PRESETS;
use crate::generative::registry::MODELS;
use crate::generative::spec::ModelEntry;
use anyhow::Result;
use carom_agents::registry::{self as agents, AGENTS};
use carom_envs::{EnvEntry, registry as envs};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::{Write, stdout};

/// List environments, agents, encoders, models or presets; --json adds their settings
#[derive(Args)]
pub(super) struct Arguments {
    /// What to list
    what: What,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Envs,
    Agents,
    Encoders,
    Models,
    Presets,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let entries = match arguments.what {
        What::Envs => environments()?,
        What::Agents => agents()?,
        What::Encoders => ENCODERS.iter().map(|entry| (entry.name, entry.summary, json!({}))).collect(),
        What::Models => models(),
        What::Presets => presets()?,
    };
    let mut out = stdout().lock();
    if arguments.json {
        let objects: Vec<Value> = entries.into_iter().map(object).collect();
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&objects)?)?);
    }
    let width = entries.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    for (name, summary, _) in entries {
        writeln!(out, "{name:width$}  {summary}")?;
    }
    Ok(())
}

/// Name, one line, and what more there is to tell.
type Entry = (&'static str, &'static str, Value);

fn object((name, summary, mut more): Entry) -> Value {
    let mut entry = json!({ "name": name, "summary": summary });
    if let (Some(entry), Some(more)) = (entry.as_object_mut(), more.as_object_mut()) {
        entry.append(more);
    }
    entry
}

fn environments() -> Result<Vec<Entry>> {
    let entry = |entry: &EnvEntry| {
        let spec = entry.resolve(&Settings::new())?;
        let env = spec.make();
        let more = json!({
            "id": entry.id,
            "observes": env.obs_space().to_string(),
            "actions": env.action_names(),
            "protocol": spec.protocol(),
            "settings": spec.settings(),
        });
        Ok((entry.id, entry.summary, more))
    };
    envs::all().iter().map(entry).collect()
}

fn agents() -> Result<Vec<Entry>> {
    let entry = |entry: AgentEntry| {
        let agent = agents::resolve(entry.name, &Settings::new())?;
        Ok((entry.name, entry.summary, json!({ "settings": agent.settings() })))
    };
    agents::all().map(entry).collect()
}

fn models() -> Vec<Entry> {
    let entry = |entry: &ModelEntry| {
        let defaults = (entry.schema.list)().into_iter().map(|setting| (setting.key.to_owned(), setting.default));
        (entry.name, entry.summary, json!({ "settings": defaults.collect::<Settings>() }))
    };
    MODELS.iter().map(entry).collect()
}

fn presets() -> Result<Vec<Entry>> {
    let entry = |preset: &crate::config::presets::Preset| {
        let table: Settings = toml::from_str(preset.text)?;
        Ok((preset.name, preset.summary(), Value::Object(table)))
    };
    PRESETS.iter().map(entry).collect()
}
