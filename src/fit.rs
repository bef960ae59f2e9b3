//! Fits of generative models: the moving parts of one ([`session`]), its loop ([`run_loop`]), where the classifier comes from
//! that judges samples ([`judges`]), and how a fit begins or is opened ([`open`](mod@open)).

use crate::config::fit::FitConfig;
use crate::device;
use crate::gallery;
use crate::generative::data::{self, Dataset, Source, frames};
use crate::generative::images::Data;
use crate::generative::measures::probe;
use crate::generative::model::{Batch, Effort, Measures, Model};
use crate::generative::registry;
use crate::generative::settings::ModelTask;
use crate::interrupt;
use crate::plot::{self, PlotError};
use crate::run::Outcome;
use crate::run::checkpoint::Checkpoint;
use crate::run::progress::Stopwatch;
use crate::run::{Run, Table};
use anyhow::{Context, Result, ensure};
use carom_envs::{Seeds, registry as envs};
use rand::RngCore;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::Tensor;

/// Rows of `metrics.csv` along a fit, about.
const ROWS: u64 = 500;

/// Data, model, and where the fit stands.
pub struct FitSession {
    /// What is being fitted.
    pub config: FitConfig,
    /// What it is fitted to.
    pub data: Data,
    /// The model.
    pub model: Box<dyn Model>,
    /// Where the fit stands.
    pub progress: FitProgress,
    /// Environment steps that the data cost.
    pub n_env_steps: u64,
    /// What the fit loop measured last.
    pub measured: Measures,
}

/// Where a fit stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FitProgress {
    /// Updates made.
    pub step: u64,
    /// The measures of this step are still to be made.
    #[serde(default)]
    to_measure: bool,
    /// Seconds spent, over all processes that worked on the fit.
    pub wall_s: f64,
}

impl FitSession {
    /// A fit at its beginning.
    ///
    /// # Errors
    /// When the data cannot be had, the model cannot be fitted to them, or the device is not there.
    pub fn new(config: FitConfig) -> Result<Self> {
        let device = device::open(config.device)?;
        let (dataset, n_env_steps) = dataset(&config)?;
        let (n_frames, data_dir) = (config.frame_stack() as i64, config.data_dir.clone());
        let data = Data { n_frames, data_dir, ..Data::new(&dataset, device) };
        Ok(Self { n_env_steps, ..Self::on(config, data)? })
    }

    /// As [`FitSession::new`], to data that are here already, on their device.
    ///
    /// # Errors
    /// When the model cannot be fitted to them.
    pub fn on(config: FitConfig, data: Data) -> Result<Self> {
        tch::set_num_threads(config.threads as i32);
        ensure!(!data.train.is_empty() && !data.test.is_empty(), "{} has no images", config.data);
        let total_steps = total_steps(&config, &data);
        let task = ModelTask { data: &data, total_steps, device: data.device() };
        let mut rng = Seeds::new(config.seed).stream("init");
        tch::manual_seed(rng.next_u32().into());
        let model = registry::make(&config.model, &config.model_settings, &task, &mut rng)?;
        Ok(Self {
            config,
            data,
            model,
            progress: FitProgress::default(),
            n_env_steps: 0,
            measured: Measures::default(),
        })
    }

    /// Updates of the whole fit.
    pub fn total_steps(&self) -> u64 {
        total_steps(&self.config, &self.data)
    }

    /// Whether all updates were made, and the last measures.
    pub fn is_finished(&self) -> bool {
        self.progress.step >= self.total_steps() && !self.progress.to_measure
    }

    /// Updates of one pass over the training split.
    pub fn steps_per_epoch(&self) -> u64 {
        steps_per_epoch(&self.config, &self.data)
    }

    /// Measures the model on the test split, and with [`Effort::Full`] its code by probes too. What is drawn for it depends on
    /// the seed and the step alone.
    pub fn evaluate(&self, effort: Effort) -> Measures {
        self.seed_torch("eval", self.progress.step);
        tch::no_grad(|| {
            let mut measures = self.model.evaluate(&self.data, effort);
            if effort == Effort::Full {
                probe::measure(&*self.model, &self.data, &mut measures);
            }
            measures
        })
    }

    /// Saves a checkpoint in `run`, unless this very step has one.
    ///
    /// # Errors
    /// When it cannot be written; the one before stays valid.
    pub fn save(&self, run: &mut Run) -> Result<()> {
        if run.is_saved(self.progress.step) {
            return Ok(());
        }
        run.save(self.progress.step, &self.progress, &self.model.save())
    }

    /// Takes up a checkpoint.
    ///
    /// # Errors
    /// When it is of another model or of other settings.
    pub fn load(&mut self, from: &Checkpoint<FitProgress>) -> Result<()> {
        from.load(|learned| Ok(self.model.load(learned)?))?;
        self.progress = from.state.standing.clone();
        Ok(())
    }

    /// Writes the pictures that any model has, those of its own and the learning curve to the run's `plots/`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn draw(&self, run_dir: &Path) -> Result<()> {
        let dir = run_dir.join("plots");
        fs_err::create_dir_all(&dir)?;
        self.seed_torch("draw", self.progress.step);
        tch::no_grad(|| {
            gallery::draw(&*self.model, &self.data, &dir)?;
            self.model.draw(&self.data, &dir)
        })?;
        match plot::losses(run_dir, &dir.join("loss.svg")) {
            // What is found at once has no loss.
            Ok(()) | Err(PlotError::UnknownMetric { .. } | PlotError::NoData { .. }) => {}
            Err(error) => say!("no plots/loss.svg: {error}"),
        }
        Ok(())
    }

    /// Sets torch's generator for what is drawn at `step` for `purpose`.
    pub fn seed_torch(&self, purpose: &str, step: u64) {
        seed_torch(self.config.seed, purpose, step);
    }

    /// The order of the training images in pass `epoch`.
    fn order(&self, epoch: u64) -> Tensor {
        let mut order: Vec<i64> = (0..self.data.train.len() as i64).collect();
        order.shuffle(&mut Seeds::new(self.config.seed).stream(&format!("shuffle/{epoch}")));
        Tensor::from_slice(&order)
    }
}

/// The data, and the environment steps they cost.
fn dataset(config: &FitConfig) -> Result<(Dataset, u64)> {
    match (config.source(), config.n_frames) {
        (Source::Env(env_id), Some(n_frames)) => {
            let spec = envs::resolve(&env_id, &config.env_settings)?;
            let frames = frames::collect(&spec, n_frames, config.seed)?;
            Ok((frames::to_dataset(&frames), frames.n_steps))
        }
        (source, _) => Ok((data::open(&source, config.data_dir.as_deref(), config.seed)?, 0)),
    }
}

/// Sets torch's generator by master seed `seed` for what is drawn at `step` for `purpose`.
pub fn seed_torch(seed: u64, purpose: &str, step: u64) {
    let mut stream = Seeds::new(seed).stream(&format!("{purpose}/{step}"));
    tch::manual_seed((stream.next_u64() >> 1) as i64);
}

fn steps_per_epoch(config: &FitConfig, data: &Data) -> u64 {
    (data.train.len() as u64).div_ceil(config.batch_size)
}

fn total_steps(config: &FitConfig, data: &Data) -> u64 {
    let whole = config.epochs * steps_per_epoch(config, data);
    config.steps.map_or(whole, |steps| steps.min(whole))
}

/// Fits from where `session` stands to its last step.
///
/// # Errors
/// When a loss is no longer finite (no checkpoint is written then), or a file cannot be.
pub fn fit(session: &mut FitSession, run: &mut Run) -> Result<Outcome> {
    let (total, per_epoch) = (session.total_steps(), session.steps_per_epoch());
    let log_every = (total / ROWS).max(1);
    let mut watch = Stopwatch::new(total, session.progress.step, session.progress.wall_s);
    let mut order = session.order(session.progress.step / per_epoch);
    if session.progress.to_measure {
        measure(session, run)?;
    }
    while session.progress.step < total && !interrupt::requested() {
        let step = session.progress.step;
        if step.is_multiple_of(per_epoch) {
            order = session.order(step / per_epoch);
        }
        let updated = update(session, &order);
        if updated.is_err() {
            run.metrics.flush()?;
        }
        updated?;

        let step = session.progress.step;
        if step.is_multiple_of(log_every) {
            log(session, run, &mut watch)?;
        }
        let epoch = step / per_epoch;
        let ends_epoch = step.is_multiple_of(per_epoch);
        let is_due = |every: u64| step == total || (ends_epoch && every > 0 && epoch.is_multiple_of(every));
        if is_due(session.config.eval_every) {
            session.progress.to_measure = true;
            measure(session, run)?;
        }
        if is_due(session.config.checkpoint_every) {
            session.progress.wall_s = watch.wall_s();
            session.save(run)?;
        }
    }
    if !interrupt::requested() {
        return Ok(Outcome::Finished);
    }
    session.progress.wall_s = watch.wall_s();
    session.save(run)?;
    Ok(Outcome::Interrupted)
}

/// One update on the next batch of `order`.
fn update(session: &mut FitSession, order: &Tensor) -> Result<()> {
    let (step, n) = (session.progress.step, session.data.train.len() as u64);
    let config = &session.config;
    let start = step % session.steps_per_epoch() * config.batch_size;
    let indices = order.narrow(0, start as i64, config.batch_size.min(n - start) as i64);
    let train = &session.data.train;
    let done = step as f64 / session.total_steps() as f64;
    let lr = config.lr * config.lr_schedule.factor(done);
    let batch = Batch { x: train.gather(&indices), labels: train.gather_labels(&indices), step, lr };
    session.seed_torch("fit", step);
    session.model.fit_batch(&batch)?;
    session.progress.step += 1;
    Ok(())
}

/// A point of the learning curve; none yet where the request to end came on the way there, since a judge may then be missing.
fn measure(session: &mut FitSession, run: &mut Run) -> Result<()> {
    let measured = session.evaluate(Effort::Curve);
    if interrupt::requested() {
        return Ok(());
    }
    session.progress.to_measure = false;
    session.measured = measured;
    for &(name, value) in &session.measured.values {
        run.metrics.row(Table::Metrics, session.progress.step, name, value)?;
    }
    Ok(())
}

/// The rows of this step, and the bar.
fn log(session: &mut FitSession, run: &mut Run, watch: &mut Stopwatch) -> Result<()> {
    let step = session.progress.step;
    let stats = session.model.stats();
    let epoch = step as f64 / session.steps_per_epoch() as f64;
    for &(name, value) in stats.iter().chain(&[("fit/epoch", epoch)]) {
        run.metrics.row(Table::Metrics, step, name, value)?;
    }
    let place = format!("epoch {epoch:.1} of {}", session.config.epochs);
    let headline = session.measured.values.first().map(|(name, value)| format!("{name} {value:.4}"));
    watch.row(run, step, &stats, place, headline)
}

/// What stands in the run of a fit: its configuration and newest checkpoint, put together.
///
/// # Errors
/// When there is no valid checkpoint, or the data cannot be had.
pub fn open(dir: &Path, config: FitConfig) -> Result<(FitSession, Checkpoint<FitProgress>)> {
    let checkpoint = crate::run::checkpoint::newest(dir)?;
    let mut session = FitSession::new(config)?;
    session.load(&checkpoint).with_context(|| format!("in {}", dir.display()))?;
    Ok((session, checkpoint))
}

/// As [`open`], for a model that is used and neither fitted nor measured: of an environment only so many frames are taken as
/// tell what images are like.
///
/// # Errors
/// As [`open`].
pub fn open_for_use(dir: &Path, config: FitConfig) -> Result<(FitSession, Checkpoint<FitProgress>)> {
    const FEW: usize = 40;
    let n_frames = config.n_frames.map(|n_frames| n_frames.min(FEW));
    open(dir, FitConfig { n_frames, ..config })
}
