//! Encoders: what an agent sees its environment through.
//!
//! `raw` is the observation itself, `oracle` the true state; every other is a generative model fitted to frames of the
//! environment ([`fitted`]), whose code the agent is given. A table needs numbers of states: for it a code is made binary.
//! An encoder that learns on with the agent is a part of its network, and the agent is given frames.

pub mod fitted;
mod recipes;
mod trunk;

use crate::config::{RunConfig, Settings};
use crate::generative::registry::MODELS;
use crate::human::count;
use anyhow::{Context, Result, bail, ensure};
use carom_agents::{Encoder, SharedTrunk, registry as agents};
use carom_envs::{Env, FactorsEnv, ObsSpace, StackEnv, VecEnv, View, nearest, registry as envs};
use fitted::Fitted;
use rand_pcg::Pcg32;
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use trunk::EncoderTrunk;

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
    let has_network = agents::find(agent).is_ok_and(|entry| entry.has_network);
    ensure!(
        has_network,
        "encoder mode `{mode}` trains the encoder with the agent, and {agent} learns nothing: use dqn or pqn"
    );
    match trunk::objection(name, mode) {
        Some(objection) => bail!("encoder `{name}` has no mode `{mode}`: {objection}"),
        None => Ok(()),
    }
}

/// What a run's environments are seen through, ready to be put before them.
#[derive(Clone)]
pub enum Sight {
    /// Nothing: their own observations.
    Raw,
    /// Their factors, each less an offset and over a width.
    Oracle(Vec<(f32, f32)>),
    /// A fitted model's codes.
    Codes(Rc<Fitted>, Kind),
    /// Nothing yet: the agent's network begins with the fitted model's encoder.
    Trunk(Rc<Fitted>, SharedTrunk),
}

/// What is made of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Features for a network.
    Features,
    /// The number of a state for a table.
    States,
}

impl Sight {
    /// What a new run of `config` sees through. An encoder that is not fitted yet is fitted now, unless it was before: see
    /// [`fitted::prepare`].
    ///
    /// # Errors
    /// When the encoder cannot be fitted to the environment, or does not suit the agent.
    pub fn prepare(config: &RunConfig) -> Result<Self> {
        match config.encoder.as_str() {
            "raw" => Ok(Sight::Raw),
            "oracle" => {
                ensure!(
                    !keeps_table(config),
                    "a table needs numbered states, and the true state is a vector: use ae, rbm or pca"
                );
                Ok(Sight::Oracle(fitted::factor_scales(config)?))
            }
            _ => Self::through(fitted::prepare(config)?, config),
        }
    }

    /// What the run in `dir` sees through.
    ///
    /// # Errors
    /// When its encoder cannot be read.
    pub fn open(config: &RunConfig, dir: &Path) -> Result<Self> {
        match config.encoder.as_str() {
            "raw" => Ok(Sight::Raw),
            "oracle" => Ok(Sight::Oracle(fitted::read_scales(dir, &config.env)?)),
            _ => Self::through(Fitted::open(config, dir)?, config),
        }
    }

    fn through(fitted: Fitted, config: &RunConfig) -> Result<Self> {
        let mode = config.encoder_mode.unwrap_or(EncoderMode::Frozen);
        if mode == EncoderMode::Frozen {
            return Ok(Sight::Codes(Rc::new(fitted), Kind::of(config)));
        }
        let trunk = EncoderTrunk::new(&fitted, mode, config.recon_weight.unwrap_or(RECON_WEIGHT))?;
        Ok(Sight::Trunk(Rc::new(fitted), Arc::new(Mutex::new(trunk))))
    }

    /// Leaves in the run in `dir` what [`Sight::open`] needs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        match self {
            Sight::Raw => Ok(()),
            Sight::Oracle(scales) => fitted::write_scales(dir, scales),
            Sight::Codes(fitted, _) | Sight::Trunk(fitted, _) => fitted.save(dir),
        }
        .with_context(|| format!("cannot keep the encoder in {}", dir.display()))
    }

    /// Environments seen through it, one for each of `rngs`.
    ///
    /// # Errors
    /// When the environment or a setting does not exist.
    pub fn envs(&self, id: &str, settings: &Settings, rngs: Vec<Pcg32>) -> Result<VecEnv> {
        let settings = self.settings(settings);
        let envs = envs::make_vec_of(id, &settings, rngs, |env| self.wrap(env))?;
        Ok(match self.view() {
            Some(view) => envs.with_view(view),
            None => envs,
        })
    }

    /// The environment as the oracle shows it, or with as many frames at once as the model takes.
    pub fn wrap(&self, env: Box<dyn Env>) -> Box<dyn Env> {
        match self {
            Sight::Oracle(scales) => Box::new(FactorsEnv::new(env, scales.clone())),
            Sight::Codes(fitted, _) | Sight::Trunk(fitted, _) if fitted.n_frames() > 1 => {
                Box::new(StackEnv::new(env, fitted.n_frames()))
            }
            Sight::Raw | Sight::Codes(..) | Sight::Trunk(..) => env,
        }
    }

    /// What turns frames into codes, where there are codes.
    pub fn view(&self) -> Option<Box<dyn View>> {
        match self {
            Sight::Codes(fitted, kind) => Some(Box::new(CodeView { fitted: fitted.clone(), kind: *kind })),
            Sight::Raw | Sight::Oracle(_) | Sight::Trunk(..) => None,
        }
    }

    /// What the agent's network sees each frame through and trains with its own layers.
    pub fn trunk(&self) -> Option<SharedTrunk> {
        match self {
            Sight::Trunk(_, trunk) => Some(trunk.clone()),
            Sight::Raw | Sight::Oracle(_) | Sight::Codes(..) => None,
        }
    }

    /// Number of states that a table is keyed by, where those are codes.
    pub fn n_codes(&self) -> Option<usize> {
        match self {
            Sight::Codes(fitted, Kind::States) => Some(fitted.n_states()),
            _ => None,
        }
    }

    /// The environment's settings, with single frames where stacks make no sense: the true state holds velocities, and a table
    /// is keyed by one code.
    pub fn settings(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        if matches!(self, Sight::Oracle(_) | Sight::Codes(_, Kind::States)) && settings.contains_key("frame_stack") {
            settings.insert("frame_stack".to_string(), 1.into());
        }
        settings
    }

    /// Numbers in the code of a frame; none where frames are seen as they are.
    pub fn n_features(&self) -> Option<usize> {
        match self {
            Sight::Raw => None,
            Sight::Oracle(scales) => Some(scales.len()),
            Sight::Codes(fitted, _) | Sight::Trunk(fitted, _) => Some(fitted.n_features()),
        }
    }

    /// What the encoder's frames cost, in environment steps beside those of the run.
    pub fn n_env_steps(&self) -> u64 {
        match self {
            Sight::Codes(fitted, _) | Sight::Trunk(fitted, _) => fitted.n_env_steps(),
            Sight::Raw | Sight::Oracle(_) => 0,
        }
    }

    /// What the agent of `config` sees through, in words; nothing where that is nothing.
    pub fn describe(&self, config: &RunConfig) -> Option<String> {
        let name = &config.encoder;
        let mode = config.encoder_mode.filter(|mode| *mode != EncoderMode::Frozen);
        let mode = mode.map(|mode| format!(" ({mode})")).unwrap_or_default();
        match self {
            Sight::Raw => None,
            Sight::Oracle(_) => Some(name.clone()),
            Sight::Codes(fitted, _) | Sight::Trunk(fitted, _) => {
                Some(format!("{name}{mode} (its frames cost {} steps)", count(fitted.n_env_steps())))
            }
        }
    }
}

impl Kind {
    fn of(config: &RunConfig) -> Self {
        if keeps_table(config) { Kind::States } else { Kind::Features }
    }
}

fn keeps_table(config: &RunConfig) -> bool {
    agents::find(&config.agent).is_ok_and(|entry| entry.keeps_table)
}

/// Codes in place of frames.
struct CodeView {
    fitted: Rc<Fitted>,
    kind: Kind,
}

impl View for CodeView {
    fn obs_space(&self) -> ObsSpace {
        match self.kind {
            Kind::Features => ObsSpace::Vector { len: self.fitted.n_features() },
            Kind::States => ObsSpace::Discrete { n: self.fitted.n_states() },
        }
    }

    fn look(&mut self, frames: &[u8], seen: &mut [u8]) {
        let seen = seen.as_chunks_mut().0;
        match self.kind {
            Kind::Features => {
                let mut features = vec![0.0; seen.len()];
                self.fitted.encode(frames, &mut features);
                seen.iter_mut().zip(features).for_each(|(bytes, feature)| *bytes = feature.to_le_bytes());
            }
            Kind::States => {
                let states = self.fitted.states(frames);
                seen.iter_mut().zip(states).for_each(|(bytes, state)| *bytes = state.to_le_bytes());
            }
        }
    }
}

/// Whether `name` is that of a generative model.
fn is_model(name: &str) -> bool {
    MODELS.iter().any(|entry| entry.name == name)
}
