//! Encoders by name, and the rules of which encoder and agent go together in which mode.

use super::training::RunConfig;
use crate::generative::registry::MODELS;
use anyhow::{Result, bail, ensure};
use carom_agents::registry::AGENTS;
use carom_envs::nearest;
use std::fmt;
use std::path::Path;

/// One encoder that `--encoder` takes by name.
pub struct EncoderEntry {
    /// Name as typed on the command line.
    pub name: &'static str,
    /// One line for `carom list encoders`.
    pub summary: &'static str,
}

/// All encoders that have a name; the path of a fitted model's run is one too.
pub const ENCODERS: &[EncoderEntry] = &[
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
pub enum EncoderMode {
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
pub const RECON_WEIGHT: f64 = 1.0;

/// Refuses an encoder that does not exist, and a mode that it or the agent does not have.
///
/// # Errors
/// Names what was given and what there is.
pub fn check(config: &RunConfig) -> Result<()> {
    let (name, mode) = (config.encoder.as_str(), config.encoder_mode);
    check_name(name)?;
    match (name, mode) {
        ("raw", Some(mode)) => bail!(
            "encoder `raw` has no mode `{mode}`: it is no more than the agent's own network; leave --encoder-mode out"
        ),
        ("oracle", Some(mode @ (EncoderMode::Finetune | EncoderMode::Joint))) => {
            bail!("encoder `oracle` has no mode `{mode}`: the true state has no weights to train")
        }
        (_, Some(mode @ (EncoderMode::Finetune | EncoderMode::Joint))) => check_trained(config, mode)?,
        _ => {}
    }
    if let Some(weight) = config.recon_weight {
        ensure!(mode == Some(EncoderMode::Joint), "recon_weight is {weight}: only --encoder-mode joint has that loss");
        ensure!(weight >= 0.0 && weight.is_finite(), "recon_weight is {weight}: expected a number, 0 or above");
    }
    Ok(())
}

/// Refuses an encoder that does not exist.
///
/// # Errors
/// Names what was given and the nearest that there is.
pub fn check_name(name: &str) -> Result<()> {
    let is_known = ENCODERS.iter().any(|entry| entry.name == name);
    if !is_known && !Path::new(name).is_dir() {
        let nearest = nearest(name, ENCODERS.iter().map(|entry| entry.name));
        bail!(
            "there is no encoder `{name}`, and no run of a fitted model; the nearest is `{nearest}` \
             (`carom list encoders` shows all)"
        );
    }
    Ok(())
}

/// Refuses agents and models that cannot be trained together.
fn check_trained(config: &RunConfig, mode: EncoderMode) -> Result<()> {
    let (name, agent) = (&config.encoder, &config.agent);
    ensure!(
        !keeps_table(config),
        "encoder mode `{mode}` trains the encoder by the agent's gradient, and {agent} keeps a table, which has none: use dqn or \
         pqn, or the mode frozen"
    );
    let has_network = AGENTS.iter().any(|entry| entry.name == agent && entry.has_network);
    ensure!(
        has_network,
        "encoder mode `{mode}` trains the encoder with the agent, and {agent} learns nothing: use dqn or pqn"
    );
    match objection(name, mode) {
        Some(objection) => bail!("encoder `{name}` has no mode `{mode}`: {objection}"),
        None => Ok(()),
    }
}

/// Whether the agent of `config` keeps a table.
pub fn keeps_table(config: &RunConfig) -> bool {
    AGENTS.iter().any(|entry| entry.name == config.agent && entry.keeps_table)
}

/// Whether `name` is that of a generative model.
pub fn is_model(name: &str) -> bool {
    MODELS.iter().any(|entry| entry.name == name)
}

/// Why model `name` cannot be trained on in `mode`; nothing where it can.
pub fn objection(name: &str, mode: EncoderMode) -> Option<&'static str> {
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
