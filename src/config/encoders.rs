//! Encoders by name, and which encoders, agents and modes can be combined.

use crate::files;
use crate::generative::registry as models;
use anyhow::{Result, bail, ensure};
use carom_agents::AgentSpec;
use carom_envs::settings::suggest;
use std::fmt;
use std::path::PathBuf;

/// An encoder that `--encoder` takes by name.
pub(crate) struct EncoderEntry {
    /// Name as typed on the command line.
    pub name: &'static str,
    /// One line for `carom list encoders`.
    pub summary: &'static str,
}

/// All encoders that have a name. The path of a fitted model's run is also an encoder.
pub(crate) const ENCODERS: &[EncoderEntry] = &[
    EncoderEntry { name: "raw", summary: "no encoder: the agent sees the observations and learns end to end" },
    EncoderEntry {
        name: "oracle",
        summary: "the true state (ball, paddle, bricks, ...) as a vector: a reference, not always the best input",
    },
    EncoderEntry { name: "random", summary: "a convolutional network with random weights: a baseline for the others" },
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
    /// Its weights are fixed; each frame is encoded once, and replay stores its code
    ///
    /// The default of fitted encoders.
    Frozen,
    /// Its weights start from the fit and are trained by the agent's TD loss
    ///
    /// Replay stores frames. The gradient goes through the online network only. The target network has its own copy of
    /// the encoder. The code is standardised by the means and deviations of the fit.
    Finetune,
    /// Its weights are trained by the TD loss plus recon_weight times the reconstruction loss of the newest frame (of
    /// all frames that the encoder takes at once)
    ///
    /// Both losses train the encoder; only the reconstruction loss trains the decoder. It is the mean over pixels of
    /// the cross-entropy, or of the squared error if pixels have Gaussian noise. Pixels have the weights of the fit
    /// (model.rarity, model.motion), and the loss of frame differences is added if the model was fitted with it
    /// (model.difference). The code has no noise: a vae decodes its mean, without the KL divergence, and an rbm decodes
    /// its hidden probabilities by weights that start as the encoder's transpose.
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

/// Default weight of the reconstruction loss in [`EncoderMode::Joint`].
///
/// SAC-AE (Yarats et al. 2021) also adds the reconstruction loss unweighted, but optimises it separately. On
/// `minatar/breakout` weights of 0, 0.1, 1 and 10 gave a DQN on an `ae` returns of 6.51, 5.85, 5.99 and 5.92 after
/// 100,000 steps (means of three seeds, which differ by up to 1.1). All but 0 preserve the reconstruction
/// (`docs/encoders.md`).
pub(crate) const RECON_WEIGHT: f64 = 1.0;

/// An encoder, looked up by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EncoderSpec {
    /// The agent sees the observations.
    Raw,
    /// The true state.
    Oracle,
    /// The generative model of this name, fitted to frames of the environment.
    Model(&'static str),
    /// The fitted model whose run is in this directory.
    Run(PathBuf),
}

impl EncoderSpec {
    /// Looks up the encoder `name`. A name that is not listed is the path of a fitted model's run, which need not be
    /// there: a run that uses it has a copy.
    ///
    /// # Errors
    /// When the path cannot be stored.
    pub(crate) fn resolve(name: &str) -> Result<Self> {
        match name {
            "raw" => return Ok(EncoderSpec::Raw),
            "oracle" => return Ok(EncoderSpec::Oracle),
            _ => {}
        }
        let is_listed = ENCODERS.iter().any(|entry| entry.name == name);
        match models::find(name).ok().filter(|_| is_listed) {
            Some(entry) => Ok(EncoderSpec::Model(entry.name)),
            None => Ok(EncoderSpec::Run(files::absolute(name)?.into())),
        }
    }

    /// Checks that a fitted model's run is there, before a run is made that takes its copy from it.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn check_there(&self) -> Result<()> {
        let EncoderSpec::Run(dir) = self else { return Ok(()) };
        let name = files::shown(dir).display().to_string();
        ensure!(
            dir.is_dir(),
            "there is no encoder `{name}`, and no run of a fitted model; {}",
            suggest(&name, ENCODERS.iter().map(|entry| entry.name))
        );
        Ok(())
    }
}

impl fmt::Display for EncoderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncoderSpec::Raw => f.write_str("raw"),
            EncoderSpec::Oracle => f.write_str("oracle"),
            EncoderSpec::Model(name) => f.write_str(name),
            EncoderSpec::Run(dir) => files::shown(dir).display().fmt(f),
        }
    }
}

/// Checks that the encoder can be used in `mode` with the agent.
///
/// # Errors
/// When it cannot; the error says why.
pub(super) fn check(encoder: &EncoderSpec, mode: Option<EncoderMode>, agent: &AgentSpec) -> Result<()> {
    let Some(mode) = mode else { return Ok(()) };
    let is_trained = mode != EncoderMode::Frozen;
    match encoder {
        EncoderSpec::Oracle if is_trained => {
            bail!("encoder `oracle` has no mode `{mode}`: the true state has no weights to train")
        }
        EncoderSpec::Model(_) | EncoderSpec::Run(_) if is_trained => check_trained(encoder, mode, agent),
        _ => Ok(()),
    }
}

/// Checks that the agent and the encoder can be trained together.
fn check_trained(encoder: &EncoderSpec, mode: EncoderMode, agent: &AgentSpec) -> Result<()> {
    let (name, entry) = (agent.name(), agent.entry());
    ensure!(
        !entry.kind.keeps_table(),
        "encoder mode `{mode}` trains the encoder by the agent's gradient, and {name} has a table, which has none: use \
         dqn or pqn, or the mode frozen"
    );
    ensure!(
        entry.kind.has_network(),
        "encoder mode `{mode}` trains the encoder with the agent, and {name} learns nothing: use dqn or pqn"
    );
    match encoder {
        EncoderSpec::Model(model) => refuse(model, mode),
        _ => Ok(()),
    }
}

/// Checks that the encoder `model` can be used in `mode`.
///
/// # Errors
/// When it cannot; the error says why.
pub(crate) fn refuse(model: &str, mode: EncoderMode) -> Result<()> {
    match objection(model, mode) {
        Some(objection) => bail!("encoder `{model}` has no mode `{mode}`: {objection}"),
        None => Ok(()),
    }
}

/// Returns why model `name` cannot be trained further in `mode`, or `None` if it can.
fn objection(name: &str, mode: EncoderMode) -> Option<&'static str> {
    match (name, mode) {
        (_, EncoderMode::Frozen) => None,
        ("pca", _) => Some(
            "principal components are found in closed form, and a gradient would move them away from that; ae with \
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
