//! Encoders by name, and the rules of which encoder and agent go together in which mode.

use crate::generative::registry as models;
use anyhow::{Result, bail, ensure};
use carom_agents::AgentSpec;
use carom_envs::settings::suggest;
use std::fmt;
use std::path::{Path, PathBuf};

/// One encoder that `--encoder` takes by name.
pub(crate) struct EncoderEntry {
    /// Name as typed on the command line.
    pub name: &'static str,
    /// One line for `carom list encoders`.
    pub summary: &'static str,
}

/// All encoders that have a name; the path of a fitted model's run is one too.
pub(crate) const ENCODERS: &[EncoderEntry] = &[
    EncoderEntry { name: "raw", summary: "no encoder: the agent sees the observation itself and learns end to end" },
    EncoderEntry {
        name: "oracle",
        summary: "the true state (ball, paddle, bricks, ...) as a vector: a yardstick, though a network may read a picture better",
    },
    EncoderEntry {
        name: "random",
        summary: "a convolutional network that nothing was learned in: what any encoder should beat",
    },
    EncoderEntry { name: "pca", summary: "principal components of frames" },
    EncoderEntry { name: "ae", summary: "code of a dense autoencoder" },
    EncoderEntry { name: "cnn-ae", summary: "code of a convolutional autoencoder" },
    EncoderEntry { name: "vae", summary: "means of a variational autoencoder's code" },
    EncoderEntry { name: "rbm", summary: "hidden probabilities of a restricted Boltzmann machine" },
    EncoderEntry { name: "gan", summary: "features of a GAN's discriminator" },
];

/// How a fitted encoder takes part in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncoderMode {
    /// Its weights stay; each frame is encoded once, and its code is what replay stores
    ///
    /// The default of fitted encoders.
    Frozen,
    /// Its weights start from the fit and follow the agent's TD loss alone
    ///
    /// Replay stores frames. The gradient goes through the online network; the targets carry none, and the target network has a
    /// copy of the encoder as of the rest. Offset and width that bring a code to a comparable size stay those of the fit.
    Finetune,
    /// As finetune, plus recon_weight times the reconstruction loss of the newest frame (of all that the encoder takes at once)
    ///
    /// Both losses reach the encoder; the decoder follows the reconstruction's alone. That is the mean over pixels of the
    /// cross-entropy (of the squared error where pixels have Gaussian noise), under the weights of the fit if model.rarity or
    /// model.motion gave any, plus model.difference times the loss of frames' differences if it was fitted with that, and without
    /// noise on the code: a vae's mean is decoded, with no KL divergence; an rbm's hidden probabilities are decoded by weights that
    /// begin as the encoder's transpose.
    Joint,
}

impl fmt::Display for EncoderMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EncoderMode::Frozen => "frozen",
            EncoderMode::Finetune => "finetune",
            EncoderMode::Joint => "joint",
        })
    }
}

/// Weight of the reconstruction loss in [`EncoderMode::Joint`] where nothing else is said: as in SAC-AE (Yarats et al. 2021), which
/// gives it none beside the critic's loss, but makes its steps with an optimiser of its own. On `minatar/breakout` 0, 0.1, 1 and 10
/// gave an `ae`'s DQN returns of 6.15, 6.20, 6.52 and 6.09 after 100,000 steps, means of three seeds up to 2 apart; all but 0 keep
/// the reconstruction (`docs/encoders.md`).
pub(crate) const RECON_WEIGHT: f64 = 1.0;

/// An encoder, looked up by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EncoderSpec {
    /// No encoder: the agent sees the observation.
    Raw,
    /// The true state.
    Oracle,
    /// The generative model of this name, fitted to frames of the environment.
    Model(&'static str),
    /// The fitted model whose run is in this directory.
    Run(PathBuf),
}

impl EncoderSpec {
    /// Looks up the encoder called `name`, which may be the path of a fitted model's run.
    ///
    /// # Errors
    /// When there is no such encoder.
    pub(crate) fn resolve(name: &str) -> Result<Self> {
        match name {
            "raw" => return Ok(EncoderSpec::Raw),
            "oracle" => return Ok(EncoderSpec::Oracle),
            _ => {}
        }
        let is_listed = ENCODERS.iter().any(|entry| entry.name == name);
        match models::find(name).ok().filter(|_| is_listed) {
            Some(entry) => Ok(EncoderSpec::Model(entry.name)),
            None if Path::new(name).is_dir() => Ok(EncoderSpec::Run(name.into())),
            None => bail!(
                "there is no encoder `{name}`, and no run of a fitted model; {}",
                suggest(name, ENCODERS.iter().map(|entry| entry.name))
            ),
        }
    }
}

impl fmt::Display for EncoderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncoderSpec::Raw => f.write_str("raw"),
            EncoderSpec::Oracle => f.write_str("oracle"),
            EncoderSpec::Model(name) => f.write_str(name),
            EncoderSpec::Run(dir) => dir.display().fmt(f),
        }
    }
}

/// Refuses a mode that the encoder or the agent does not have.
///
/// # Errors
/// Names the encoder, the mode and what stands against it.
pub(super) fn check(encoder: &EncoderSpec, mode: Option<EncoderMode>, agent: &AgentSpec) -> Result<()> {
    let Some(mode) = mode else { return Ok(()) };
    let is_trained = mode != EncoderMode::Frozen;
    match encoder {
        EncoderSpec::Raw => bail!(
            "encoder `raw` has no mode `{mode}`: it is no more than the agent's own network; leave --encoder-mode out"
        ),
        EncoderSpec::Oracle if is_trained => {
            bail!("encoder `oracle` has no mode `{mode}`: the true state has no weights to train")
        }
        EncoderSpec::Model(_) | EncoderSpec::Run(_) if is_trained => check_trained(encoder, mode, agent),
        _ => Ok(()),
    }
}

/// Refuses an agent and a model that cannot be trained together.
fn check_trained(encoder: &EncoderSpec, mode: EncoderMode, agent: &AgentSpec) -> Result<()> {
    let (name, entry) = (agent.name(), agent.entry());
    ensure!(
        !entry.keeps_table,
        "encoder mode `{mode}` trains the encoder by the agent's gradient, and {name} keeps a table, which has none: use dqn or \
         pqn, or the mode frozen"
    );
    ensure!(
        entry.has_network,
        "encoder mode `{mode}` trains the encoder with the agent, and {name} learns nothing: use dqn or pqn"
    );
    match encoder {
        EncoderSpec::Model(model) => refuse(model, mode),
        _ => Ok(()),
    }
}

/// Refuses a mode that the encoder `model` does not have.
///
/// # Errors
/// Says why not.
pub(crate) fn refuse(model: &str, mode: EncoderMode) -> Result<()> {
    match objection(model, mode) {
        Some(objection) => bail!("encoder `{model}` has no mode `{mode}`: {objection}"),
        None => Ok(()),
    }
}

/// Returns why model `name` cannot be trained on in `mode`, or `None` if it can.
fn objection(name: &str, mode: EncoderMode) -> Option<&'static str> {
    match (name, mode) {
        (_, EncoderMode::Frozen) => None,
        ("pca", _) => Some(
            "principal components are found in closed form, and are none any more once a gradient has moved them; ae with \
             model.activation=linear is the linear code that is trained",
        ),
        ("classifier", _) => Some("its features are there to judge images"),
        ("gan", EncoderMode::Joint) => Some(
            "a discriminator's features cannot be turned back into the image that the loss would compare; use finetune",
        ),
        ("random", EncoderMode::Joint) => {
            Some("a random network has no decoder, so there is nothing to reconstruct with; use finetune")
        }
        _ => None,
    }
}
