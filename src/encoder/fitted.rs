//! Generative models as encoders. Each is fitted once, stored in the cache, and copied into the runs that use it.

use super::recipes;
use crate::config::encoders::EncoderSpec;
use crate::config::fit::FitConfig;
use crate::config::kind::{self, Config};
use crate::config::layers::{Layer, Part};
use crate::config::training::TrainConfig;
use crate::files;
use crate::fit::open::{begin, open, open_for_use};
use crate::fit::revision;
use crate::fit::run_loop::fit;
use crate::fit::session::{FitProgress, FitSession};
use crate::generative::data::image_space::{image_shape, image_space, images};
use crate::generative::data::{Source, frames, published};
use crate::generative::images::ImageFormat;
use crate::generative::model::Model;
use crate::human::count;
use crate::interrupt::Interrupted;
use crate::run::Outcome;
use crate::run::{self, Run, checkpoint, layout};
use crate::statistics;
use anyhow::{Context, Result, bail, ensure};
use carom_agents::Encoder;
use carom_agents::net::tensor::to_vec;
use carom_envs::{EnvSpec, ImageSpace, Seeds};
use fs_err as fs;
use rand::Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Folder of the encoder in a run's directory.
const FOLDER: &str = layout::ENCODER;
const FACTS: &str = layout::ENCODER_FACTS;

/// Bounds the bits of a state's number: a table has at most 65,536 states.
const STATE_BITS: usize = 16;

/// Bounds the frames that features are standardised over.
const MAX_SCALE_FRAMES: usize = 5_000;

/// Features whose deviation is below this share of the largest carry no information, and are scaled to 0.
const MIN_RELATIVE_WIDTH: f64 = 1e-3;

/// Bounds a standardised number over the frames that its scale is of. Otherwise a brick that was hit in one frame of
/// two thousand would be 45 deviations off and dominate the network's input.
const MAX_SCALED: f64 = 10.0;

/// Divisor of features without information.
const IDLE_WIDTH: f32 = 1e30;

/// A fitted model, and the means and deviations that standardise its code.
pub(crate) struct FittedEncoder {
    model: Box<dyn Model>,
    model_name: &'static str,
    /// Shape of a single frame.
    space: ImageSpace,
    /// Frames that the model takes at once.
    n_frames: usize,
    device: tch::Device,
    /// Directory of the model's run.
    source: PathBuf,
    /// Updates of the model's checkpoint.
    step: u64,
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

/// Scales and cost of an encoder, stored beside its weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Facts {
    /// Offset and width of each feature.
    scales: Vec<(f32, f32)>,
    /// Environment steps spent on the frames that it was fitted to.
    n_env_steps: u64,
    /// The images that it was fitted to; older versions of Carom did not store this.
    images: Option<ImageFormat>,
}

impl Facts {
    fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FACTS);
        serde_json::from_str(&fs::read_to_string(&path)?).with_context(|| format!("in {}", path.display()))
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)?;
        Ok(files::write_whole(&dir.join(FACTS), |file| file.write_all(&text))?)
    }

    /// Measures the codes of the frames that the model of `session` was fitted to.
    fn of(session: &FitSession) -> Self {
        let codes = tch::no_grad(|| session.model.encode(&session.data.train.spaced(MAX_SCALE_FRAMES).all()));
        let codes = codes.to_kind(Kind::Double);
        let (mean, std) = (codes.mean_dim(0, false, Kind::Double), codes.std_dim(0, false, false));
        let least = (std.max().double_value(&[]) * MIN_RELATIVE_WIDTH).max(f64::MIN_POSITIVE);
        let rows = |tensor: &Tensor| Vec::<f64>::try_from(tensor).expect("a vector of doubles");
        let farthest = rows(&(codes - &mean).abs().amax(0, false));
        let widths = rows(&std).into_iter().zip(farthest);
        let widths = widths.map(|(std, farthest)| if std < least { IDLE_WIDTH } else { width(std, farthest) });
        let scales = rows(&mean).into_iter().map(|mean| mean as f32).zip(widths).collect();
        Self { scales, n_env_steps: session.n_env_steps, images: Some(session.data.format()) }
    }
}

/// Returns the width of a number with deviation `std` whose farthest value is as far from the mean. It is the
/// deviation, but large enough that no value is beyond ±[`MAX_SCALED`] widths: codes and true factors are treated
/// alike.
fn width(std: f64, farthest: f64) -> f32 {
    std.max(farthest / MAX_SCALED) as f32
}

/// Returns the encoder of `config`: the fitted model at a path, or a model by name, which is fitted to frames of the
/// environment with the run's seed. The fit is stored in the cache under a hash of all its settings and of the revision
/// of the code, and reused.
///
/// # Errors
/// When the fit fails or is interrupted, or the model was fitted to frames of another shape.
pub(crate) fn prepare(config: &TrainConfig) -> Result<FittedEncoder> {
    let source = match &config.encoder {
        EncoderSpec::Model(model) => return cached(config, &fit_config(config, model)?),
        EncoderSpec::Run(dir) => dir.clone(),
        EncoderSpec::Raw | EncoderSpec::Oracle => unreachable!("{} is no fitted model", config.encoder),
    };
    config.encoder.check_there()?;
    let mut fit_config = match kind::config(&source)? {
        Config::Fit(fit_config) => fit_config,
        Config::Training(_) => bail!("{} is an agent's run, not a fitted model's", source.display()),
    };
    fit_config.run.device = config.run.device;
    if source.join(FACTS).exists() {
        return FittedEncoder::known(source, fit_config, config);
    }
    // The scales are not stored there: a run that a person keeps may be resumed, which would change them.
    let session = open(&source, fit_config).with_context(|| {
        format!(
            "encoder {}: the images that it was fitted to are needed once, for the scale of its code",
            config.encoder
        )
    })?;
    let session = session.0;
    let facts = Facts::of(&session);
    FittedEncoder::new(session, source, facts, &config.env)
}

/// Checks all that can be checked of the encoder `model` of `config` without fitting it.
///
/// # Errors
/// When it cannot be fitted to the environment's observations.
pub(super) fn check(config: &TrainConfig, model: &str) -> Result<()> {
    fit_config(config, model)?;
    image_space(config.env.id(), &config.env.make().obs_space()).map(drop)
}

/// Returns the encoder that is fitted with `fit_config`, from the cache. It is fitted first if it is missing or
/// damaged. If another process is fitting it, waits for that and uses what was fitted.
fn cached(config: &TrainConfig, fit_config: &FitConfig) -> Result<FittedEncoder> {
    let (name, model) = (revision::cache_name(fit_config), fit_config.model.name());
    let cache = published::cache()?;
    let dir = cache.join("encoders").join(&name);
    let find = || {
        let opened = dir.join(FACTS).exists().then(|| FittedEncoder::whole(&dir, fit_config, config)).transpose();
        if let Ok(Some(_)) = opened {
            tracing::info!("encoder {model}: {}", dir.display());
        }
        opened
    };
    // A fit that is there needs no lock, as in a cache that cannot be written.
    if let Ok(Some(encoder)) = find() {
        return Ok(encoder);
    }
    let lock = cache.join("locks").join(&name);
    let _lock = files::wait_for_lock(&lock, &format!("another process is fitting encoder {model}"))?;
    let found = find();
    if let Err(fault) = &found {
        tracing::warn!("encoder {model} in the cache: {fault:#}; fitting it again");
    }
    let is_damaged = found.is_err();
    if let Ok(Some(encoder)) = found {
        return Ok(encoder);
    }
    let session = fit_in_cache(&dir, fit_config, is_damaged)?;
    let facts = Facts::of(&session);
    facts.write(&dir)?;
    FittedEncoder::new(session, dir, facts, &config.env)
}

/// Returns the configuration that fits `model` to frames of the run's environment.
fn fit_config(config: &TrainConfig, model: &str) -> Result<FitConfig> {
    let env = config.env.evaluation();
    let named = Layer::default()
        .with("model", Some(model))
        .with("data", Some(format!("env:{}", env.id())))
        .with("seed", Some(config.run.seed))
        .with("device", Some(config.run.device))
        .with("threads", config.run.threads);
    let settings = env.settings().iter().filter(|(key, _)| *key != "frame_stack");
    let named = settings.fold(named, |layer, (key, value)| layer.with_part(Part::Env, key, Some(value)));
    FitConfig::resolve(&[named, recipes::of(model, &env.make().obs_space())?])
}

/// Fits the model of `config` in `dir`, from the checkpoint there unless the fit is to begin `anew`.
fn fit_in_cache(dir: &Path, config: &FitConfig, anew: bool) -> Result<FitSession> {
    let is_begun = !anew
        && dir.exists()
        && revision::check_settings(dir, config).is_ok()
        && checkpoint::newest::<FitProgress>(dir).is_ok();
    let (mut session, mut run) = if is_begun {
        let (session, saved) = open(dir, config.clone())?;
        if session.is_finished() {
            // The fit may have been stopped before its pictures were written.
            session.draw(dir)?;
            return Ok(session);
        }
        (session, Run::reopen(dir, &saved)?)
    } else {
        (begin(config.clone())?, Run::create(dir, &config.to_toml(), None, dir.exists(), |_| Ok(()))?)
    };
    let (frames, steps) = (count(session.data.train.len() as u64), count(session.n_env_steps));
    tracing::info!(
        "fitting encoder {} to {frames} frames ({steps} environment steps) -> {}",
        config.model.name(),
        dir.display()
    );
    match fit(&mut session, &mut run)? {
        Outcome::Finished => session.draw(dir)?,
        Outcome::Interrupted => {
            bail!(Interrupted(format!(
                "stopped while encoder {} was fitted; the same command resumes it",
                config.model.name()
            )))
        }
    }
    Ok(session)
}

impl FittedEncoder {
    /// Opens the encoder that the run in `dir` stores.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub(crate) fn open(config: &TrainConfig, dir: &Path) -> Result<Self> {
        let source = dir.join(FOLDER);
        let Config::Fit(fit_config) = kind::config(&source)? else { bail!("{} is no fitted model", source.display()) };
        Self::known(source, fit_config, config)
    }

    /// Opens the fit of `fit_config` in the cache.
    ///
    /// # Errors
    /// When it has other settings, or a part of it is damaged, if only its last checkpoint.
    fn whole(dir: &Path, fit_config: &FitConfig, config: &TrainConfig) -> Result<Self> {
        checkpoint::check_last(dir)?;
        revision::check_settings(dir, fit_config)?;
        Self::known(dir.to_owned(), fit_config.clone(), config)
    }

    /// Opens the fit in `source`, whose scales are stored there.
    fn known(source: PathBuf, mut fit_config: FitConfig, config: &TrainConfig) -> Result<Self> {
        // The agent's device, which may not be the one that the encoder was fitted on.
        fit_config.run.device = config.run.device;
        let (facts, fitted_to) = (Facts::read(&source)?, FittedTo::of(&fit_config));
        // The session may have fewer frames than the fit had.
        let (session, _) = open_for_use(&source, fit_config, facts.images.as_ref())?;
        Ok(Self { fitted_to, ..Self::new(session, source, facts, &config.env)? })
    }

    fn new(session: FitSession, source: PathBuf, facts: Facts, env: &EnvSpec) -> Result<Self> {
        let obs_space = env.make().obs_space();
        let ([channels, rows, columns], name) = (session.data.shape.map(|size| size as usize), source.display());
        let n_frames = session.config.frame_stack();
        let space = image_space(env.id(), &obs_space)?;
        ensure!(
            image_shape(space, n_frames) == [channels, rows, columns],
            "{name} was fitted to images of {channels}x{rows}x{columns}, and {} observes {obs_space}",
            env.id()
        );
        let (device, step, fit_s) = (session.data.device(), session.progress.step, session.progress.wall_s);
        let column = |values: Vec<f32>| Tensor::from_slice(&values).to_device(device);
        let (means, widths) = facts.scales.iter().copied().unzip();
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
            source,
            step,
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
        let to = dir.join(FOLDER);
        run::copy(&self.source, self.step, &to)?;
        self.facts.write(&to)
    }

    /// Returns the SHA-256 of the weights that it was opened with.
    ///
    /// # Errors
    /// When their file cannot be read.
    pub(super) fn sha256(&self) -> Result<String> {
        checkpoint::sha256(&self.source, self.step)
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

/// Returns offset and width of each factor of the run's environment over frames of play.
pub(super) fn factor_scales(config: &TrainConfig) -> Result<Vec<(f32, f32)>> {
    const N_FRAMES: usize = 2_000;
    let frames = frames::collect(&config.env.evaluation(), N_FRAMES, 0)?;
    let n_factors = frames.factor_names.len();
    let moments = |i: usize| {
        let values = frames.factors.iter().skip(i).step_by(n_factors).map(|&value| f64::from(value));
        let values: Vec<f64> = values.collect();
        let mean = statistics::mean(&values);
        let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
        let std = statistics::mean(&squares).sqrt();
        let farthest = values.iter().map(|value| (value - mean).abs()).fold(0.0, f64::max);
        let width = width(std, farthest);
        // A constant factor is not scaled.
        (mean as f32, if width > 0.0 { width } else { 1.0 })
    };
    Ok((0..n_factors).map(moments).collect())
}

/// Writes the scales of encoder `oracle` to the run in `dir`.
pub(super) fn write_scales(dir: &Path, scales: &[(f32, f32)]) -> Result<()> {
    let to = dir.join(FOLDER);
    Facts { scales: scales.to_vec(), n_env_steps: 0, images: None }.write(&to)
}

/// Reads the scales of encoder `oracle` from a run of environment `env`.
pub(super) fn read_scales(dir: &Path, env: &EnvSpec) -> Result<Vec<(f32, f32)>> {
    let facts = Facts::read(&dir.join(FOLDER))?;
    let (n, expected) = (facts.scales.len(), env.make().factor_names().len());
    let id = env.id();
    ensure!(
        n == expected,
        "{} was trained with {n} factors of {id}, which now has {expected}: train again",
        dir.display()
    );
    Ok(facts.scales)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layer;
    use crate::config::training::TRAINING;
    use crate::generative::model::{ImageBatch, seeded};
    use carom_envs::{Values, registry};
    use sha2::{Digest, Sha256};

    /// Returns the session of encoder `name` on `minatar/breakout`, with `n_frames` frames, before the first update.
    fn begun(name: &str, n_frames: u64) -> FitSession {
        let text = format!("env = \"minatar/breakout\"\nagent = \"random\"\nencoder = \"{name}\"");
        let layer = Layer::from_toml(&text, "test", &TRAINING).expect("valid");
        let mut config = fit_config(&TrainConfig::resolve(&[layer]).expect("valid"), name).expect("valid");
        config.run.n_frames = Some(n_frames as usize);
        begin(config).expect("a fit")
    }

    #[test]
    fn no_code_is_beyond_ten_deviations_on_the_frames_of_its_fit() {
        let _torch = seeded(0);
        let session = begun("random", 2000);
        let facts = Facts::of(&session);
        let codes = tch::no_grad(|| session.model.encode(&session.data.train.all()));
        let (means, widths): (Vec<f32>, Vec<f32>) = facts.scales.iter().copied().unzip();
        let codes = codes - Tensor::from_slice(&means);
        let deviations = codes.std_dim(0, false, false).clamp_min(1e-9);
        let farthest = |by: &Tensor| (&codes / by).abs().max().double_value(&[]);
        assert!(farthest(&deviations) > 15.0, "{}", farthest(&deviations));
        let scaled = farthest(&Tensor::from_slice(&widths));
        assert!(scaled <= MAX_SCALED * 1.0001, "{scaled}");
    }

    /// Fingerprints of the code that shapes encoders: the first frames of an environment, and the scales of the codes
    /// that two updates give each model.
    #[test]
    fn code_that_shapes_encoders_has_a_revision_of_its_own() {
        let _torch = seeded(0);
        let mut changed = vec![];
        for (env, expected) in FRAMES {
            let spec = registry::resolve(env, &Values::new()).expect("an environment");
            let found = files::hex(&Sha256::digest(&frames::collect(&spec, 40, 0).expect("frames").obs)[..4]);
            changed.extend((found != expected).then(|| format!("{env}: {found}")));
        }
        for (name, expected) in CODES {
            let mut session = begun(name, 400);
            let lr = session.config.descent.lr;
            for step in 0..2 {
                session.seed_torch("fit", step);
                let batch = ImageBatch { x: session.data.train.spaced(64).all(), labels: None, step, lr };
                session.model.fit_batch(&batch).expect("a finite loss");
            }
            let means: Vec<f64> = Facts::of(&session).scales.iter().map(|scale| f64::from(scale.0).abs()).collect();
            let found = statistics::mean(&means);
            // Processors differ in the last digits.
            changed.extend(((found / expected - 1.0).abs() > 1e-3).then(|| format!("{name}: {found:.6}")));
        }
        assert!(
            changed.is_empty(),
            "what shapes an encoder changed: raise REVISION in src/fit/revision.rs, and adapt this test: {changed:?}"
        );
    }

    const FRAMES: [(&str, &str); 2] = [("minatar/breakout", "398d31f7"), ("breakout", "0c78114a")];
    /// Principal components are of centred images, so the mean of their codes is 0 and says nothing.
    const CODES: [(&str, f64); 6] = [
        ("ae", 0.130_874),
        ("cnn-ae", 0.131_382),
        ("vae", 0.144_003),
        ("rbm", 0.499_214),
        ("gan", 0.112_960),
        ("random", 0.072_631),
    ];
}
