//! Encoders: what an agent sees its environment through.
//!
//! `raw` is the observation itself, `oracle` the true state; every other is a generative model fitted to frames of the
//! environment ([`fitted`]), whose code the agent is given. A table needs numbers of states: for it a code is made binary.

pub mod fitted;
mod recipes;

use crate::config::{RunConfig, Settings};
use crate::generative::registry::MODELS;
use crate::human::nearest;
use anyhow::{Context, Result, bail, ensure};
use carom_agents::registry::AGENTS;
use carom_envs::{Env, FactorsEnv, ObsSpace, VecEnv, View, registry as envs};
use fitted::Fitted;
use rand_pcg::Pcg32;
use std::path::Path;
use std::rc::Rc;

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
    EncoderEntry { name: "oracle", summary: "the true state (ball, paddle, bricks, ...): what no encoder can beat" },
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
    /// Its weights stay; each frame is encoded once, and its code is what replay stores.
    Frozen,
    /// Its weights start from the fit and follow the agent's loss.
    Finetune,
    /// Its own loss is added to the agent's.
    Joint,
}

/// Refuses an encoder that does not exist, and a mode that it does not have.
///
/// # Errors
/// Names what was given and what there is.
pub fn check(name: &str, mode: Option<EncoderMode>) -> Result<()> {
    let is_known = ENCODERS.iter().any(|entry| entry.name == name);
    if !is_known && !Path::new(name).is_dir() {
        let nearest = nearest(name, ENCODERS.iter().map(|entry| entry.name));
        bail!(
            "there is no encoder `{name}`, and no run of a fitted model; the nearest is `{nearest}` \
             (`carom list encoders` shows all)"
        );
    }
    match (name, mode) {
        ("raw", Some(mode)) => bail!(
            "encoder `raw` has no mode `{mode:?}`: it is no more than the agent's own network; leave --encoder-mode out"
        ),
        ("oracle", Some(mode @ (EncoderMode::Finetune | EncoderMode::Joint))) => {
            bail!("encoder `oracle` has no mode `{mode:?}`: the true state has no weights to train")
        }
        _ => Ok(()),
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
            _ => Ok(Sight::Codes(Rc::new(fitted::prepare(config)?), Kind::of(config))),
        }
    }

    /// What the run in `dir` sees through.
    ///
    /// # Errors
    /// When its encoder cannot be read.
    pub fn open(config: &RunConfig, dir: &Path) -> Result<Self> {
        match config.encoder.as_str() {
            "raw" => Ok(Sight::Raw),
            "oracle" => Ok(Sight::Oracle(fitted::read_scales(dir)?)),
            _ => Ok(Sight::Codes(Rc::new(Fitted::open(config, dir)?), Kind::of(config))),
        }
    }

    /// Leaves in the run in `dir` what [`Sight::open`] needs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        match self {
            Sight::Raw => Ok(()),
            Sight::Oracle(scales) => fitted::write_scales(dir, scales),
            Sight::Codes(fitted, _) => fitted.save(dir),
        }
        .with_context(|| format!("cannot keep the encoder in {}", dir.display()))
    }

    /// Environments seen through it, one for each of `rngs`.
    ///
    /// # Errors
    /// When the environment or a setting does not exist.
    pub fn envs(&self, id: &str, settings: &Settings, rngs: Vec<Pcg32>) -> Result<VecEnv> {
        let settings = self.settings(settings);
        Ok(match self {
            Sight::Raw => envs::make_vec(id, &settings, rngs)?,
            Sight::Oracle(_) => envs::make_vec_of(id, &settings, rngs, |env| self.wrap(env))?,
            Sight::Codes(..) => {
                let envs = envs::make_vec(id, &settings, rngs)?;
                match self.view() {
                    Some(view) => envs.with_view(view),
                    None => envs,
                }
            }
        })
    }

    /// The environment as the oracle shows it, else itself.
    pub fn wrap(&self, env: Box<dyn Env>) -> Box<dyn Env> {
        match self {
            Sight::Oracle(scales) => Box::new(FactorsEnv::new(env, scales.clone())),
            Sight::Raw | Sight::Codes(..) => env,
        }
    }

    /// What turns frames into codes, where there are codes.
    pub fn view(&self) -> Option<Box<dyn View>> {
        match self {
            Sight::Codes(fitted, kind) => Some(Box::new(CodeView { fitted: fitted.clone(), kind: *kind })),
            Sight::Raw | Sight::Oracle(_) => None,
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
            Sight::Codes(fitted, _) => Some(fitted.n_features()),
        }
    }

    /// What the encoder's frames cost, in environment steps beside those of the run.
    pub fn n_env_steps(&self) -> u64 {
        match self {
            Sight::Codes(fitted, _) => fitted.n_env_steps(),
            Sight::Raw | Sight::Oracle(_) => 0,
        }
    }
}

impl Kind {
    fn of(config: &RunConfig) -> Self {
        if keeps_table(config) { Kind::States } else { Kind::Features }
    }
}

fn keeps_table(config: &RunConfig) -> bool {
    AGENTS.iter().any(|entry| entry.name == config.agent && entry.keeps_table)
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
        let seen = seen.as_chunks_mut().0.iter_mut();
        match self.kind {
            Kind::Features => {
                seen.zip(self.fitted.features(frames)).for_each(|(bytes, feature)| *bytes = feature.to_le_bytes());
            }
            Kind::States => {
                seen.zip(self.fitted.states(frames)).for_each(|(bytes, state)| *bytes = state.to_le_bytes());
            }
        }
    }
}

/// Whether `name` is that of a generative model.
fn is_model(name: &str) -> bool {
    MODELS.iter().any(|entry| entry.name == name)
}
