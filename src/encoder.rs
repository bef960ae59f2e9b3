//! Encoders: what an agent sees its environment through.
//!
//! `raw` is the observation itself, `oracle` the true state; every other is a generative model fitted to frames of the
//! environment ([`fitted`]), whose code the agent is given. A table needs numbers of states: for it a code is made binary.
//! An encoder that learns on with the agent is a part of its network, and the agent is given frames.

pub(crate) mod fitted;
mod recipes;
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

/// What a run's environments are seen through, ready to be put before them.
#[derive(Clone)]
pub(crate) enum ObsTransform {
    /// Nothing: their own observations.
    Raw,
    /// Their factors, each less an offset and over a width.
    Oracle(Vec<(f32, f32)>),
    /// A fitted model's codes.
    Codes(SharedFitted, CodeForm),
    /// Nothing yet: the agent's network begins with the fitted model's encoder.
    Trunk(SharedFitted, SharedTrunk),
}

/// A fitted model that an encoder and its views share. Torch's tensors can be sent to another thread but not be shared by two, so
/// a lock is around it; it is taken once for all environments of a step.
#[derive(Clone)]
pub(crate) struct SharedFitted(Arc<Mutex<FittedEncoder>>);

impl SharedFitted {
    fn new(fitted: FittedEncoder) -> Self {
        Self(Arc::new(Mutex::new(fitted)))
    }

    fn lock(&self) -> MutexGuard<'_, FittedEncoder> {
        // Nothing is written through the lock, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is made of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeForm {
    /// Features for a network.
    Features,
    /// The number of a state for a table.
    States,
}

impl ObsTransform {
    /// What a new run of `config` sees through. An encoder that is not fitted yet is fitted now, unless it was before: see
    /// [`fitted::prepare`].
    ///
    /// # Errors
    /// When the encoder cannot be fitted to the environment, or does not suit the agent.
    pub(crate) fn prepare(config: &TrainConfig) -> Result<Self> {
        match &config.encoder {
            EncoderSpec::Raw => Ok(ObsTransform::Raw),
            EncoderSpec::Oracle => {
                ensure!(
                    !config.agent.entry().keeps_table,
                    "a table needs numbered states, and the true state is a vector: use ae, rbm or pca"
                );
                Ok(ObsTransform::Oracle(fitted::factor_scales(config)?))
            }
            EncoderSpec::Model(_) | EncoderSpec::Run(_) => Self::through(fitted::prepare(config)?, config),
        }
    }

    /// What the run in `dir` sees through.
    ///
    /// # Errors
    /// When its encoder cannot be read.
    pub(crate) fn open(config: &TrainConfig, dir: &Path) -> Result<Self> {
        match &config.encoder {
            EncoderSpec::Raw => Ok(ObsTransform::Raw),
            EncoderSpec::Oracle => Ok(ObsTransform::Oracle(fitted::read_scales(dir, &config.env)?)),
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

    /// Leaves in the run in `dir` what [`ObsTransform::open`] needs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        match self {
            ObsTransform::Raw => Ok(()),
            ObsTransform::Oracle(scales) => fitted::write_scales(dir, scales),
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) => fitted.lock().save(dir),
        }
        .with_context(|| format!("cannot keep the encoder in {}", dir.display()))
    }

    /// Environments seen through it, one for each of `rngs`.
    ///
    /// # Errors
    /// When there are no `rngs`.
    pub(crate) fn envs(&self, spec: &EnvSpec, rngs: Vec<Pcg32>) -> Result<VecEnv> {
        let envs = self.seen(spec)?.make_vec_of(rngs, |env| self.wrap(env))?;
        Ok(match self.view() {
            Some(view) => envs.with_view(view),
            None => envs,
        })
    }

    /// The environment as the oracle shows it, or with as many frames at once as the model takes.
    pub(crate) fn wrap(&self, env: Box<dyn Env>) -> Box<dyn Env> {
        match self {
            ObsTransform::Oracle(scales) => Box::new(FactorsEnv::new(env, scales.clone())),
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) if fitted.lock().n_frames() > 1 => {
                Box::new(StackEnv::new(env, fitted.lock().n_frames()))
            }
            ObsTransform::Raw | ObsTransform::Codes(..) | ObsTransform::Trunk(..) => env,
        }
    }

    /// What turns frames into codes, where there are codes.
    pub(crate) fn view(&self) -> Option<Box<dyn View>> {
        match self {
            ObsTransform::Codes(fitted, kind) => Some(Box::new(CodeView { fitted: fitted.clone(), kind: *kind })),
            ObsTransform::Raw | ObsTransform::Oracle(_) | ObsTransform::Trunk(..) => None,
        }
    }

    /// What the agent's network sees each frame through and trains with its own layers.
    pub(crate) fn trunk(&self) -> Option<SharedTrunk> {
        match self {
            ObsTransform::Trunk(_, trunk) => Some(trunk.clone()),
            ObsTransform::Raw | ObsTransform::Oracle(_) | ObsTransform::Codes(..) => None,
        }
    }

    /// Number of states that a table is keyed by, where those are codes.
    pub(crate) fn n_codes(&self) -> Option<usize> {
        match self {
            ObsTransform::Codes(fitted, CodeForm::States) => Some(fitted.lock().n_states()),
            _ => None,
        }
    }

    /// The environment, with single frames where stacks make no sense: the true state holds velocities, and a table is keyed by
    /// one code.
    pub(crate) fn seen(&self, spec: &EnvSpec) -> Result<EnvSpec, EnvError> {
        match self {
            ObsTransform::Oracle(_) | ObsTransform::Codes(_, CodeForm::States) if spec.frame_stack() > 1 => {
                spec.with("frame_stack", 1)
            }
            _ => Ok(spec.clone()),
        }
    }

    /// Numbers in the code of a frame; none where frames are seen as they are.
    pub(crate) fn n_features(&self) -> Option<usize> {
        match self {
            ObsTransform::Raw => None,
            ObsTransform::Oracle(scales) => Some(scales.len()),
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) => Some(fitted.lock().n_features()),
        }
    }

    /// What the encoder's frames cost, in environment steps beside those of the run.
    pub(crate) fn n_env_steps(&self) -> u64 {
        match self {
            ObsTransform::Codes(fitted, _) | ObsTransform::Trunk(fitted, _) => fitted.lock().n_env_steps(),
            ObsTransform::Raw | ObsTransform::Oracle(_) => 0,
        }
    }

    /// What the agent of `config` sees through, in words; nothing where that is nothing.
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
        if config.agent.entry().keeps_table { CodeForm::States } else { CodeForm::Features }
    }
}

/// Codes in place of frames.
struct CodeView {
    fitted: SharedFitted,
    kind: CodeForm,
}

impl View for CodeView {
    fn obs_space(&self) -> ObsSpace {
        match self.kind {
            CodeForm::Features => ObsSpace::Vector { len: self.fitted.lock().n_features() },
            CodeForm::States => ObsSpace::Discrete { n: self.fitted.lock().n_states() },
        }
    }

    fn look(&mut self, frames: &[u8], seen: &mut [u8]) {
        let seen = seen.as_chunks_mut().0;
        match self.kind {
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
