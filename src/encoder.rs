//! Encoders by name: what stands between an observation and an agent.

use crate::human::nearest;
use anyhow::{Result, bail};

/// One encoder that `--encoder` takes.
pub struct EncoderEntry {
    /// Name as typed on the command line.
    pub name: &'static str,
    /// One line for `carom list encoders`.
    pub summary: &'static str,
}

/// All encoders.
pub const ENCODERS: &[EncoderEntry] =
    &[EncoderEntry { name: "raw", summary: "no encoder: the agent sees the observation itself and learns end to end" }];

/// Refuses an encoder that does not exist, and a mode where there is nothing to freeze.
///
/// # Errors
/// Names what was given and what there is.
pub fn check(name: &str, mode: Option<EncoderMode>) -> Result<()> {
    if !ENCODERS.iter().any(|entry| entry.name == name) {
        let nearest = nearest(name, ENCODERS.iter().map(|entry| entry.name));
        bail!("there is no encoder `{name}`; the nearest is `{nearest}` (`carom list encoders` shows all)");
    }
    if let Some(mode) = mode.filter(|_| name == "raw") {
        bail!(
            "encoder `raw` has no mode `{mode:?}`: it is no more than the agent's own network; leave --encoder-mode out"
        );
    }
    Ok(())
}

/// How a fitted encoder takes part in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EncoderMode {
    /// Its weights stay; features may be cached.
    Frozen,
    /// Its weights start from the fit and follow the agent's loss.
    Finetune,
    /// Its own loss is added to the agent's.
    Joint,
}
