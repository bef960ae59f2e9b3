//! Encoders: transforms of an environment's observations into an agent's.
//!
//! `raw` is the observation itself, and `oracle` is the true state. All others are generative models fitted to frames
//! of the environment ([`fitted`]); the agent observes their codes. A table needs numbered states, so codes are made
//! binary for it. An encoder that is trained with the agent is a part of the agent's network, and the agent observes
//! frames.

pub(crate) mod cache;
pub(crate) mod fitted;
pub(crate) mod recipes;
mod scales;
mod trunk;

use crate::config::encoders::{EncoderMode, EncoderSpec, RECON_WEIGHT};
use crate::config::training::TrainConfig;
use crate::human::count;
use anyhow::{Context, Result, ensure};
use carom_agents::{Encoder, SharedTrunk};
use carom_envs::{Env, EnvError, EnvSpec, FactorsEnv, ObsSpace, StackEnv, VecEnv, View};
use fitted::FittedEncoder;
use rand_pcg::Pcg32;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trunk::EncoderTrunk;

/// Transform of a run's observations.
#[derive(Clone)]
pub(crate) enum ObsTransform {
    /// The environment's own observations.
    Raw,
    /// Factors of the true state, each less an offset and divided by a width.
    Oracle(Vec<(f32, f32)>),
    /// Codes of a fitted model.
    Codes(SharedFitted, CodeForm),
    /// Raw frames; the encoder is the first part of the agent's network and is trained with it.
    Trunk(SharedFitted, SharedTrunk),
}

/// A fitted model that the transform and its views share.
///
/// Torch's tensors are `Send` but not `Sync`, so a mutex is needed. It is locked once for all environments of a step.
#[derive(Clone)]
pub(crate) struct SharedFitted(Arc<Mutex<FittedEncoder>>);

impl SharedFitted {
    fn new(fitted: FittedEncoder) -> Self {
        Self(Arc::new(Mutex::new(fitted)))
    }

    fn lock(&self) -> MutexGuard<'_, FittedEncoder> {
        // A panic cannot leave the model half written, since nothing is written through the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Form in which an agent observes a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeForm {
    /// Features for a network.
    Features,
    /// The number of a state for a table.
    States,
}

impl ObsTransform {
    /// Makes the transform of a new run of `config`. An encoder that is not in the cache is fitted first.
    ///
    /// # Errors
    /// When the encoder cannot be fitted to the environment, or does not suit the agent.
    pub(crate) fn prepare(config: &TrainConfig) -> Result<Self> {
        match &config.encoder {
            EncoderSpec::Raw => Ok(ObsTransform::Raw),
            EncoderSpec::Oracle => {
                ensure!(
                    !config.agent.entry().kind.keeps_table(),
                    "a table needs numbered states, and the true state is a vector: use ae, rbm or pca"
                );
                Ok(ObsTransform::Oracle(scales::factor_scales(config)?))
            }
            EncoderSpec::Model(_) | EncoderSpec::Run(_) => Self::through(cache::prepare(config)?, config),
        }
    }

    /// Checks all that can be checked of a new run's transform without fitting an encoder.
    ///
    /// # Errors
    /// When the encoder is missing, or does not suit the environment or the agent.
    pub(crate) fn check(config: &TrainConfig) -> Result<Option<Self>> {
        match config.encoder {
            EncoderSpec::Model(model) => cache::check(config, model).map(|()| None),
            EncoderSpec::Raw | EncoderSpec::Oracle | EncoderSpec::Run(_) => Self::prepare(config).map(Some),
        }
    }

    /// Opens the transform that the run in `dir` stores.
    ///
    /// # Errors
    /// When the encoder cannot be read.
    pub(crate) fn open(config: &TrainConfig, dir: &Path) -> Result<Self> {
        match &config.encoder {
            EncoderSpec::Raw => Ok(ObsTransform::Raw),
            EncoderSpec::Oracle => Ok(ObsTransform::Oracle(scales::read_scales(dir, &config.env)?)),
            EncoderSpec::Model(_) | EncoderSpec::Run(_) => Self::through(FittedEncoder::open(config, dir)?, config),
        }
    }

    fn through(fitted: FittedEncoder, config: &TrainConfig) -> Result<Self> {
        let mode = config.run.encoder_mode.unwrap_or(EncoderMode::Frozen);
        if mode == EncoderMode::Frozen {
            return Ok(ObsTransform::Codes(SharedFitted::new(fitted), CodeForm::of(config)));
        }
        let trunk = EncoderTrunk::new(&fitted, mode, config.run.recon_weight.unwrap_or(RECON_WEIGHT))?;
        Ok(ObsTransform::Trunk(SharedFitted::new(fitted), Arc::new(Mutex::new(trunk))))
    }

    /// Saves the transform to the run directory `dir`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        match self {
            ObsTransform::Raw => Ok(()),
            ObsTransform::Oracle(scales) => scales::write_scales(dir, scales),
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) => fitted.lock().save(dir),
        }
        .with_context(|| format!("cannot save the encoder in {}", dir.display()))
    }

    /// Makes an environment for each of `rngs`, with transformed observations.
    ///
    /// # Errors
    /// When `rngs` is empty.
    pub(crate) fn envs(&self, spec: &EnvSpec, rngs: Vec<Pcg32>) -> Result<VecEnv> {
        let envs = self.seen(spec)?.make_vec_of(rngs, |env| self.wrap(env))?;
        Ok(match self.view() {
            Some(view) => envs.with_view(view),
            None => envs,
        })
    }

    /// Wraps an environment so that it observes the true state, or as many frames at once as the model takes.
    pub(crate) fn wrap(&self, env: Box<dyn Env>) -> Box<dyn Env> {
        match self {
            ObsTransform::Oracle(scales) => Box::new(FactorsEnv::new(env, scales.clone())),
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) if fitted.lock().n_frames() > 1 => {
                Box::new(StackEnv::new(env, fitted.lock().n_frames()))
            }
            ObsTransform::Raw | ObsTransform::Codes(..) | ObsTransform::Trunk(..) => env,
        }
    }

    /// Returns the view that turns frames into codes, or `None` if the agent observes no codes.
    pub(crate) fn view(&self) -> Option<Box<dyn View>> {
        match self {
            ObsTransform::Codes(fitted, form) => Some(Box::new(CodeView { fitted: fitted.clone(), form: *form })),
            ObsTransform::Raw | ObsTransform::Oracle(_) | ObsTransform::Trunk(..) => None,
        }
    }

    /// Returns the encoder that is the first part of the agent's network, if it is trained with it.
    pub(crate) fn trunk(&self) -> Option<SharedTrunk> {
        match self {
            ObsTransform::Trunk(_, trunk) => Some(trunk.clone()),
            ObsTransform::Raw | ObsTransform::Oracle(_) | ObsTransform::Codes(..) => None,
        }
    }

    /// Returns the number of states of a table that is indexed by codes, or `None` for other agents.
    pub(crate) fn n_codes(&self) -> Option<usize> {
        match self {
            ObsTransform::Codes(fitted, CodeForm::States) => Some(fitted.lock().n_states()),
            _ => None,
        }
    }

    /// Returns the environment, with single frames if the agent cannot use stacks: the true state includes velocities,
    /// and a table is indexed by one code.
    pub(crate) fn seen(&self, spec: &EnvSpec) -> Result<EnvSpec, EnvError> {
        match self {
            ObsTransform::Oracle(_) | ObsTransform::Codes(_, CodeForm::States) if spec.frame_stack() > 1 => {
                spec.with("frame_stack", 1)
            }
            _ => Ok(spec.clone()),
        }
    }

    /// Returns the size of a frame's code, or `None` for raw frames.
    pub(crate) fn n_features(&self) -> Option<usize> {
        match self {
            ObsTransform::Raw => None,
            ObsTransform::Oracle(scales) => Some(scales.len()),
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) => Some(fitted.lock().n_features()),
        }
    }

    /// Returns the environment steps spent on the frames that the encoder was fitted to.
    pub(crate) fn n_env_steps(&self) -> u64 {
        match self {
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) => fitted.lock().n_env_steps(),
            ObsTransform::Raw | ObsTransform::Oracle(_) => 0,
        }
    }

    /// Returns the SHA-256 of a fitted encoder's weights, or `None` if there are none.
    pub(crate) fn sha256(&self) -> Option<String> {
        match self {
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) => Some(fitted.lock().sha256().to_owned()),
            ObsTransform::Raw | ObsTransform::Oracle(_) => None,
        }
    }

    /// Describes the encoder for a person, or returns `None` for raw frames.
    pub(crate) fn describe(&self, config: &TrainConfig) -> Option<String> {
        let name = &config.encoder;
        let mode = config.run.encoder_mode.filter(|mode| *mode != EncoderMode::Frozen);
        let mode = mode.map(|mode| format!(" ({mode})")).unwrap_or_default();
        match self {
            ObsTransform::Raw => None,
            ObsTransform::Oracle(_) => Some(name.to_string()),
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) => {
                Some(format!("{name}{mode} (its frames cost {} steps)", count(fitted.lock().n_env_steps())))
            }
        }
    }
}

impl CodeForm {
    fn of(config: &TrainConfig) -> Self {
        if config.agent.entry().kind.keeps_table() { CodeForm::States } else { CodeForm::Features }
    }
}

/// Turns frames into codes.
struct CodeView {
    fitted: SharedFitted,
    form: CodeForm,
}

impl View for CodeView {
    fn obs_space(&self) -> ObsSpace {
        match self.form {
            CodeForm::Features => ObsSpace::Vector { len: self.fitted.lock().n_features() },
            CodeForm::States => ObsSpace::Discrete { n: self.fitted.lock().n_states() },
        }
    }

    fn look(&mut self, frames: &[u8], seen: &mut [u8]) {
        let seen = seen.as_chunks_mut().0;
        match self.form {
            CodeForm::Features => {
                let mut features = vec![0.0; seen.len()];
                self.fitted.lock().encode(frames, &mut features);
                seen.iter_mut().zip(features).for_each(|(bytes, feature)| *bytes = feature.to_le_bytes());
            }
            CodeForm::States => {
                let states = self.fitted.lock().states(frames);
                seen.iter_mut().zip(states).for_each(|(bytes, state)| *bytes = state.to_le_bytes());
            }
        }
    }
}
