//! Generative models as encoders. The runs that use one have a copy of it.

use super::scales::Facts;
use crate::config::fit::FitConfig;
use crate::config::kind::{self, Config};
use crate::config::training::TrainConfig;
use crate::fit::open::open_for_use;
use crate::fit::revision;
use crate::fit::session::{FitProgress, FitSession};
use crate::generative::data::Source;
use crate::generative::data::image_space::{image_shape, image_space, images};
use crate::generative::model::Model;
use crate::run::checkpoint::{self, Checkpoint};
use crate::run::{self, layout};
use anyhow::{Result, bail, ensure};
use carom_agents::Encoder;
use carom_agents::net::tensor::to_vec;
use carom_envs::{EnvSpec, ImageSpace, Seeds};
use rand::Rng;
use rand_distr::StandardNormal;
use std::path::Path;
use tch::{Kind, Tensor};

/// Bounds the bits of a state's number: a table has at most 65,536 states.
const STATE_BITS: usize = 16;

/// A fitted model, and the means and deviations that standardise its code.
pub(crate) struct FittedEncoder {
    model: Box<dyn Model>,
    model_name: &'static str,
    /// Shape of a single frame.
    space: ImageSpace,
    /// Frames that the model takes at once.
    n_frames: usize,
    device: tch::Device,
    /// Configuration file of the model's run.
    config: String,
    /// Checkpoint that the model was restored from. It can be copied although the model's run goes on.
    checkpoint: Checkpoint<FitProgress>,
    fit_s: f64,
    facts: Facts,
    fitted_to: Option<FittedTo>,
    mean: Tensor,
    width: Tensor,
    /// `[n_features, STATE_BITS]`: random directions, if there are more features than bits.
    directions: Option<Tensor>,
}

/// The frames that a model was fitted to, from which they are collected again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FittedTo {
    /// The environment.
    pub env: EnvSpec,
    /// Number of frames, those of the test split included.
    pub n_frames: usize,
    /// Seed of the frames.
    pub seed: u64,
}

impl FittedTo {
    fn of(config: &FitConfig) -> Option<Self> {
        let (Source::Env(env), Some(n_frames)) = (&config.source, config.run.n_frames) else { return None };
        Some(Self { env: env.clone(), n_frames, seed: config.run.seed })
    }
}

impl FittedEncoder {
    /// Opens the encoder that the run in `dir` stores.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub(crate) fn open(config: &TrainConfig, dir: &Path) -> Result<Self> {
        let source = dir.join(layout::ENCODER);
        let Config::Fit(fit_config) = kind::config(&source)? else { bail!("{} is no fitted model", source.display()) };
        Self::known(&source, fit_config, config)
    }

    /// Opens the fit of `fit_config` in the cache. `frames` is the digest of frames that its environment plays now.
    ///
    /// # Errors
    /// When it has other settings or frames, or a part of it is damaged, if only its last checkpoint.
    pub(super) fn whole(
        dir: &Path,
        fit_config: &FitConfig,
        frames: Option<&str>,
        config: &TrainConfig,
    ) -> Result<Self> {
        checkpoint::check_last(dir)?;
        revision::check_settings(dir, fit_config)?;
        ensure!(
            Facts::read(dir)?.frames.as_deref() == frames,
            "{} is not known to be of the frames that the environment plays now",
            dir.display()
        );
        Self::known(dir, fit_config.clone(), config)
    }

    /// Opens the fit in `source`, whose scales are stored there.
    pub(super) fn known(source: &Path, mut fit_config: FitConfig, config: &TrainConfig) -> Result<Self> {
        // The agent's device, which may not be the one that the encoder was fitted on.
        fit_config.run.device = config.run.device;
        let (facts, fitted_to) = (Facts::read(source)?, FittedTo::of(&fit_config));
        // The session may have fewer frames than the fit had.
        let (session, checkpoint) = open_for_use(source, fit_config, facts.images.as_ref())?;
        Ok(Self { fitted_to, ..Self::new(session, checkpoint, source, facts, &config.env)? })
    }

    /// The model of `session`, which is at `checkpoint` of the run in `source`.
    ///
    /// # Errors
    /// When it was fitted to images of another shape than the environment's frames have.
    pub(super) fn new(
        session: FitSession,
        checkpoint: Checkpoint<FitProgress>,
        source: &Path,
        facts: Facts,
        env: &EnvSpec,
    ) -> Result<Self> {
        let obs_space = env.make().obs_space();
        let ([channels, rows, columns], name) = (session.data.shape.map(|size| size as usize), source.display());
        let n_frames = session.config.frame_stack();
        let space = image_space(env.id(), &obs_space)?;
        ensure!(
            image_shape(space, n_frames) == [channels, rows, columns],
            "{name} was fitted to images of {channels}x{rows}x{columns}, and {} observes {obs_space}",
            env.id()
        );
        let (device, fit_s) = (session.data.device(), session.progress.wall_s);
        let column = |values: Vec<f32>| Tensor::from_slice(&values).to_device(device);
        let (means, widths) = facts.offsets_and_widths();
        let n_features = facts.scales.len();
        let directions = (n_features > STATE_BITS).then(|| {
            let mut rng = Seeds::new(session.config.run.seed).stream("state-bits");
            let values: Vec<f32> = (0..n_features * STATE_BITS).map(|_| rng.sample(StandardNormal)).collect();
            column(values).view([n_features as i64, STATE_BITS as i64])
        });
        let (mean, width) = (column(means), column(widths));
        let (model, model_name, fitted_to) =
            (session.model, session.config.model.name(), FittedTo::of(&session.config));
        Ok(Self {
            model,
            model_name,
            space,
            n_frames,
            device,
            config: run::config_text(source)?,
            checkpoint,
            fit_s,
            facts,
            fitted_to,
            mean,
            width,
            directions,
        })
    }

    /// Copies the encoder into the run in `dir`.
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let to = dir.join(layout::ENCODER);
        run::copy(&self.config, &self.checkpoint, &to)?;
        self.facts.write(&to)
    }

    /// Returns the SHA-256 of the file of its weights.
    pub(super) fn sha256(&self) -> &str {
        self.checkpoint.sha256()
    }

    /// Returns the model.
    pub(crate) fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// Returns the model's name in the registry.
    pub(crate) fn model_name(&self) -> &'static str {
        self.model_name
    }

    /// Shape of a single frame.
    pub(super) fn space(&self) -> ImageSpace {
        self.space
    }

    /// Frames that the model takes at once.
    pub(crate) fn n_frames(&self) -> usize {
        self.n_frames
    }

    /// Returns the means and deviations that standardise the code, `[n_features]` each.
    pub(super) fn scales(&self) -> [Tensor; 2] {
        [self.mean.shallow_clone(), self.width.shallow_clone()]
    }

    /// Returns the number of states that codes are mapped to.
    pub(crate) fn n_states(&self) -> usize {
        1 << self.n_features().min(STATE_BITS)
    }

    /// Environment steps spent on the frames that it was fitted to.
    pub(crate) fn n_env_steps(&self) -> u64 {
        self.facts.n_env_steps
    }

    /// Returns the frames that it was fitted to, or `None` if it was fitted to other images.
    pub(crate) fn fitted_to(&self) -> Option<FittedTo> {
        self.fitted_to.clone()
    }

    /// Returns the seconds that the fit took.
    pub(crate) fn fit_s(&self) -> f64 {
        self.fit_s
    }

    /// Converts frames, `[n, n_frames, frame bytes]`, to the model's images, `[n, channels, rows, columns]` in 0..=1.
    pub(crate) fn images(&self, frames: &[u8]) -> Tensor {
        images(self.space, self.n_frames, &Tensor::from_slice(frames).to_device(self.device))
    }

    fn codes(&self, frames: &[u8]) -> Tensor {
        tch::no_grad(|| (self.model.encode(&self.images(frames)) - &self.mean) / &self.width)
    }

    /// Returns the state of each frame. Each feature gives a bit: whether it is above its mean. If there are more than
    /// 16 features, 16 random directions give a bit each: the sign of the code's projection (Charikar 2002).
    pub(crate) fn states(&self, frames: &[u8]) -> Vec<u32> {
        let codes = self.codes(frames);
        let signs = match &self.directions {
            Some(directions) => codes.matmul(directions).gt(0.0),
            None => codes.gt(0.0),
        };
        let n_bits = signs.size()[1];
        let places =
            Tensor::from_slice(&(0..n_bits).map(|bit| 1_i64 << bit).collect::<Vec<_>>()).to_device(self.device);
        let states = (signs.to_kind(Kind::Int64) * places).sum_dim_intlist(1, false, Kind::Int64);
        let states = Vec::<i64>::try_from(states.to_device(tch::Device::Cpu)).expect("a vector of integers");
        states.into_iter().map(|state| state as u32).collect()
    }
}

/// Codes are standardised: each feature has mean 0 and variance 1 over the frames that the model was fitted to, or less
/// if it would be beyond ±10 there.
impl Encoder for FittedEncoder {
    fn n_features(&self) -> usize {
        self.facts.scales.len()
    }

    fn encode(&self, frames: &[u8], features: &mut [f32]) {
        features.copy_from_slice(&to_vec(&self.codes(frames)));
    }
}
