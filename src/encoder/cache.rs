//! Fits encoders once, and stores them in the cache.

use super::fitted::FittedEncoder;
use super::recipes;
use super::scales::Facts;
use crate::config::encoders::EncoderSpec;
use crate::config::fit::FitConfig;
use crate::config::kind::{self, Config};
use crate::config::layers::Layer;
use crate::config::part::Part;
use crate::config::training::TrainConfig;
use crate::files;
use crate::fit::open::{begin, open};
use crate::fit::revision;
use crate::fit::run_loop::fit;
use crate::fit::session::{FitProgress, FitSession};
use crate::generative::data::image_space::image_space;
use crate::generative::data::published;
use crate::human::count;
use crate::interrupt::Interrupted;
use crate::run::{self, Outcome, Replaces, Run, checkpoint, layout};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Returns the encoder of `config`: the fitted model at a path, or a model by name, which is fitted to frames of the
/// environment with the run's seed. The fit is stored in the cache under a hash of all its settings and of the revision
/// of the code, and reused while the environment plays the same frames.
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
    if source.join(layout::ENCODER_FACTS).exists() {
        return FittedEncoder::known(&source, fit_config, config);
    }
    // The scales are not stored there: a run that a person keeps may be resumed, which would change them.
    let (session, checkpoint) = open(&source, fit_config).with_context(|| {
        format!(
            "encoder {}: the images that it was fitted to are needed once, for the scale of its code",
            config.encoder
        )
    })?;
    let facts = Facts::of(&session);
    FittedEncoder::new(session, checkpoint, &source, facts, &config.env)
}

/// Checks all that can be checked of the encoder `model` of `config` without fitting it.
///
/// # Errors
/// When it cannot be fitted to the environment's observations.
pub(super) fn check(config: &TrainConfig, model: &str) -> Result<()> {
    fit_config(config, model)?;
    image_space(config.env.id(), &config.env.make().obs_space()).map(drop)
}

/// Returns the encoder that is fitted with `fit_config`, from the cache. It is fitted first if it is missing, damaged,
/// or of other frames. If another process is fitting it, waits for that and uses what was fitted.
fn cached(config: &TrainConfig, fit_config: &FitConfig) -> Result<FittedEncoder> {
    let (name, model) = (revision::cache_name(fit_config), fit_config.model.name());
    let cache = published::cache()?;
    let dir = cache.join("encoders").join(&name);
    let frames = revision::frames_digest(fit_config)?;
    let open_whole = || FittedEncoder::whole(&dir, fit_config, frames.as_deref(), config);
    let find = || {
        let opened = dir.join(layout::ENCODER_FACTS).exists().then(open_whole).transpose();
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
    let facts = Facts::of(&fit_in_cache(&dir, fit_config, is_damaged)?);
    Facts { frames: frames.clone(), ..facts }.write(&dir)?;
    open_whole()
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
        let lock = run::lock(dir)?;
        let (session, saved) = open(dir, config.clone())?;
        if session.is_finished() {
            // The fit may have been stopped before its pictures were written.
            session.draw(dir)?;
            return Ok(session);
        }
        (session, Run::reopen(dir, lock, &saved)?)
    } else {
        let replaces = Replaces::forced(dir.exists());
        (begin(config.clone())?, Run::create(dir, &config.to_toml(), None, replaces, |_| Ok(()))?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::training::TRAINING;
    use crate::generative::data::frames;
    use crate::generative::model::{ImageBatch, seeded};
    use crate::statistics;
    use carom_envs::{Values, registry};
    use sha2::{Digest, Sha256};
    use tch::Tensor;

    /// Returns the configuration of a run on `minatar/breakout` through `encoder`.
    fn training(encoder: &str) -> TrainConfig {
        let text = format!("env = \"minatar/breakout\"\nagent = \"random\"\nencoder = \"{encoder}\"");
        TrainConfig::resolve(&[Layer::from_toml(&text, "test", &TRAINING).expect("valid")]).expect("valid")
    }

    /// Returns the session of encoder `name` on `minatar/breakout`, with `n_frames` frames, before the first update.
    fn begun(name: &str, n_frames: u64) -> FitSession {
        let mut config = fit_config(&training(name), name).expect("valid");
        config.run.n_frames = Some(n_frames as usize);
        begin(config).expect("a fit")
    }

    #[test]
    fn an_encoder_is_copied_as_it_was_opened_though_its_run_is_gone() {
        let _torch = seeded(0);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [fitted, gone, run] = ["fitted", "gone", "run"].map(|name| folder.path().join(name));
        let mut session = begun("ae", 100);
        let settings = session.config.to_toml();
        let mut fit_run = Run::create(&fitted, &settings, None, Replaces::Nothing, |_| Ok(())).expect("made");
        fit(&mut session, &mut fit_run).expect("fitted");
        let encoder = prepare(&training(&fitted.to_string_lossy())).expect("an encoder");
        fs_err::rename(&fitted, &gone).expect("movable");
        encoder.save(&run).expect("copied");
        for file in ["config.toml".to_owned(), format!("checkpoints/{}/arrays.safetensors", session.progress.step)] {
            let read = |dir: &Path| fs_err::read(dir.join(&file)).expect("there");
            assert!(read(&run.join(layout::ENCODER)) == read(&gone), "{file}");
        }
    }

    #[test]
    fn a_fit_in_the_cache_is_used_only_while_the_environment_plays_its_frames() {
        let _torch = seeded(0);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (config, dir) = (begun("ae", 100).config, folder.path().join("fitted"));
        let frames = revision::frames_digest(&config).expect("frames");
        let facts = Facts::of(&fit_in_cache(&dir, &config, false).expect("fitted"));
        let open = || FittedEncoder::whole(&dir, &config, frames.as_deref(), &training("ae")).err();
        for (stored, is_used) in [(frames.clone(), true), (Some("of another game".to_owned()), false), (None, false)] {
            Facts { frames: stored, ..facts.clone() }.write(&dir).expect("written");
            let fault = open().map(|fault| format!("{fault:#}"));
            assert_eq!(fault.is_none(), is_used, "{fault:?}");
            assert!(fault.is_none_or(|fault| fault.contains("the frames that the environment plays now")));
        }
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
        assert!(scaled <= 10.001, "{scaled}");
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
