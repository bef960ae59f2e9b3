//! Weights of another run that a run begins with.

use super::policy::{Policy, network};
use super::session::Session;
use crate::config::kind::training_config;
use crate::files;
use crate::human::count;
use crate::run::checkpoint;
use anyhow::{Context, Result, bail, ensure};
use carom_agents::settings::AgentSpec;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// The checkpoint that a run's first weights are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Origin {
    /// Absolute path of the other run.
    pub run: String,
    pub step: u64,
    /// SHA-256 of the checkpoint's arrays.
    pub sha256: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weights of {} at step {} (SHA-256 {})", self.run, count(self.step), self.sha256)
    }
}

/// Begins the network of `session` at the trained weights of the newest checkpoint in `dir`.
///
/// # Errors
/// When `dir` is not an agent's run, or one of both has no network, or their networks differ.
pub(crate) fn init_from(session: &mut Session, dir: &Path) -> Result<Origin> {
    let name = dir.display();
    let config = training_config(dir, "give its weights to an agent")?.for_reading(None)?;
    let [our_outputs, their_outputs] = [&session.config, &config].map(|config| outputs(&config.agent));
    let (own, other) = (session.config.agent.name().to_owned(), config.agent.name().to_owned());
    let lacks = |agent: &str| format!("--init-from {name}: agent `{agent}` has no network whose weights could be used");
    let checkpoint = checkpoint::newest(dir)?;
    let mut theirs = Policy::at(config, dir, &checkpoint)?;
    let theirs = network(&mut theirs.player).with_context(|| lacks(&other))?;
    let ours = network(&mut session.player).with_context(|| lacks(&own))?;
    if let Some(difference) = ours.difference(theirs) {
        bail!("--init-from {name}: its network is another one: {difference}");
    }
    ensure!(
        our_outputs == their_outputs,
        "--init-from {name}: its outputs have another meaning: they are {their_outputs} there, and {our_outputs} here"
    );
    checkpoint.load(|learned| Ok(ours.begin_at(&learned.nested("network")?)?))?;
    let run = files::absolute(&dir.to_string_lossy())?;
    Ok(Origin { run, step: checkpoint.state.step, sha256: checkpoint.sha256().to_owned() })
}

/// Says what the outputs of an agent's network mean.
fn outputs(agent: &AgentSpec) -> String {
    let settings = agent.settings();
    match settings.get("head").and_then(|head| head.as_str()) {
        None | Some("scalar") => "values".to_owned(),
        Some("c51") => format!("probabilities of returns in {}..={}", settings["v_min"], settings["v_max"]),
        Some(_) => "quantiles".to_owned(),
    }
}
