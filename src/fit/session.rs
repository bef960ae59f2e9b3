//! State of a fit: data, model, judge and progress.

use crate::config::fit::FitConfig;
use crate::config::layers::Layer;
use crate::device;
use crate::files;
use crate::gallery::{self, Captions};
use crate::generative::data::dataset::Dataset;
use crate::generative::data::{self, Source, frames};
use crate::generative::images::Data;
use crate::generative::measures::judge::Judge;
use crate::generative::measures::probe;
use crate::generative::model::{Effort, ImageBatch, JudgeChoice, Measures, Model};
use crate::generative::settings::{ModelTask, Recipe};
use crate::human::count;
use crate::plot::{self, PlotError};
use crate::run::checkpoint::{Checkpoint, is_time};
use crate::run::{PLOTS, Run, layout};
use anyhow::{Result, anyhow, ensure};
use carom_envs::Seeds;
use rand::RngCore;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// A function that opens the judge of images like those of the data, e.g. [`judges::open`](super::judges::open).
pub(crate) type OpenJudge = fn(&JudgeChoice, &Data) -> Result<Judge>;

/// Data, model and progress of a fit.
pub(crate) struct FitSession {
    /// All settings.
    pub config: FitConfig,
    /// The data that the model is fitted to.
    pub data: Data,
    /// The model.
    pub model: Box<dyn Model>,
    /// Progress of the fit.
    pub progress: FitProgress,
    /// Environment steps spent on the data.
    pub n_env_steps: u64,
    /// The last measures of the fit loop.
    pub measured: Measures,
    /// The judge of the model's samples, or the reason why there is none; opened on first use.
    judge: OnceCell<Result<Judge, String>>,
    /// The run's copy of the judge, if the settings name the judge's run.
    judge_copy: Option<PathBuf>,
    open_judge: OpenJudge,
}

/// Progress of a fit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FitProgress {
    /// Updates made.
    pub step: u64,
    /// Whether the measurement of this step is pending.
    #[serde(default)]
    pub(super) to_measure: bool,
    /// Seconds spent, over all processes that worked on the fit.
    pub wall_s: f64,
}

impl FitSession {
    /// Begins a fit.
    ///
    /// # Errors
    /// When the data cannot be read, the model cannot be fitted to them, or the device is missing.
    pub(crate) fn new(config: FitConfig, open_judge: OpenJudge) -> Result<Self> {
        let device = device::open(config.run.device)?;
        let (dataset, n_env_steps) = dataset(&config)?;
        let (n_frames, folder) = (config.frame_stack() as i64, config.run.data_dir.clone());
        let data = Data { n_frames, folder, ..Data::new(&dataset, device) };
        Ok(Self { n_env_steps, ..Self::on(config, data, open_judge)? })
    }

    /// Begins a fit to `data`, which are already on the fit's device.
    ///
    /// # Errors
    /// When the model cannot be fitted to them.
    pub(crate) fn on(config: FitConfig, data: Data, open_judge: OpenJudge) -> Result<Self> {
        device::set_threads(config.run.threads);
        ensure!(!data.train.is_empty() && !data.test.is_empty(), "{} has no images", config.source);
        let total_steps = total_steps(&config, &data);
        let task = ModelTask { data: &data, total_steps, optimizer: config.descent.rule(), device: data.device() };
        let mut rng = Seeds::new(config.run.seed).stream("init");
        tch::manual_seed(rng.next_u32().into());
        let model = config.model.make(&task, &mut rng)?;
        Ok(Self {
            config,
            data,
            model,
            progress: FitProgress::default(),
            n_env_steps: 0,
            measured: Measures::default(),
            judge: OnceCell::new(),
            judge_copy: None,
            open_judge,
        })
    }

    /// Returns the number of updates of the whole fit.
    pub(crate) fn total_steps(&self) -> u64 {
        total_steps(&self.config, &self.data)
    }

    /// Returns whether all updates and the last measures were made.
    pub(crate) fn is_finished(&self) -> bool {
        self.progress.step >= self.total_steps() && !self.progress.to_measure
    }

    /// Returns the number of updates of one pass over the training split.
    pub(crate) fn steps_per_epoch(&self) -> u64 {
        steps_per_epoch(&self.config, &self.data)
    }

    /// Makes one update on the next batch of `order`, indices of the training images.
    ///
    /// # Errors
    /// When a loss is no longer finite.
    pub(super) fn update(&mut self, order: &Tensor) -> Result<()> {
        let (step, n) = (self.progress.step, self.data.train.len() as u64);
        let (config, train) = (&self.config.descent, &self.data.train);
        let start = step % self.steps_per_epoch() * config.batch_size;
        let indices = order.narrow(0, start as i64, config.batch_size.min(n - start) as i64);
        let done = step as f64 / self.total_steps() as f64;
        let lr = config.lr * config.lr_schedule.factor(done);
        let batch = ImageBatch { x: train.gather(&indices), labels: train.gather_labels(&indices), step, lr };
        self.seed_torch("fit", step);
        self.model.fit_batch(&batch)?;
        self.progress.step += 1;
        Ok(())
    }

    /// Opens the judge if the settings name its run, so that a wrong name is reported before the fit starts.
    ///
    /// # Errors
    /// When the run is not that of a classifier of such images.
    pub(crate) fn check_judge(&self) -> Result<()> {
        match self.model.judge() {
            Some(choice @ JudgeChoice::Run(_)) => match self.judge(&choice) {
                Ok(_) => Ok(()),
                Err(error) => Err(anyhow!("model.classifier: {error}")),
            },
            Some(JudgeChoice::Auto) | None => Ok(()),
        }
    }

    /// Lets the copy of the judge in the run directory `dir`, if there is one, judge the model's samples.
    pub(crate) fn use_judge_of(&mut self, dir: &Path) {
        self.judge_copy = Some(dir.join(layout::JUDGE)).filter(|copy| copy.exists());
        self.judge = OnceCell::new();
    }

    fn judge(&self, choice: &JudgeChoice) -> &Result<Judge, String> {
        let copy = self.judge_copy.clone().map(JudgeChoice::Run);
        let choice = copy.as_ref().unwrap_or(choice);
        self.judge.get_or_init(|| (self.open_judge)(choice, &self.data).map_err(|error| format!("{error:#}")))
    }

    /// Measures the model on the test split, and its samples by the judge. [`Effort::Full`] adds probes of its code.
    /// The random numbers depend on the seed, the step and the effort alone.
    pub(crate) fn evaluate(&self, effort: Effort) -> Measures {
        // A full measurement takes up to minutes.
        let tell = |part: &str| {
            if effort == Effort::Full {
                tracing::info!("measuring {part}");
            }
        };
        tch::no_grad(|| {
            let judge = self.model.judge().map(|choice| self.judge(&choice));
            // The samples that are reported are not those of the learning curve, by which settings are chosen.
            let purpose = match effort {
                Effort::Curve => "eval/curve",
                Effort::Full => "eval",
            };
            // Seeds after the judge is opened, since fitting a judge draws random numbers.
            self.seed_torch(purpose, self.progress.step);
            let mut measures = Measures::default();
            let mut samples = None;
            match judge {
                Some(Ok(judge)) => {
                    tell("samples");
                    samples = self.model.sample(judge.n_samples(&self.data, effort));
                    if let Some(samples) = &samples {
                        measures = judge.measure(samples, &self.data, effort);
                    }
                }
                Some(Err(error)) => {
                    measures.note("classifier", format!("none, so no FID, precision or recall: {error}"));
                }
                None => {}
            }
            tell(&format!("{} test images", self.data.test.len()));
            measures.append(self.model.evaluate(&self.data, effort, samples.as_ref()));
            if effort == Effort::Full {
                tell("probes of the code");
                probe::measure(&*self.model, &self.data, &mut measures);
            }
            measures
        })
    }

    /// Reads the data `name`, and checks that the model takes their images.
    ///
    /// # Errors
    /// When there are no such data, they cannot be read, or their images have another size.
    pub(crate) fn other_data(&self, name: &str) -> Result<Data> {
        let model = Layer::default().with("model", Some(self.config.model.name())).with("data", Some(name));
        let config = FitConfig::resolve(&[model.with("seed", Some(self.config.run.seed))])?;
        let other = Data::new(&dataset(&config)?.0, self.data.device());
        let ([channels, rows, columns], own) = (other.shape, self.data.shape);
        ensure!(
            other.shape == own,
            "--data {name}: images of {channels}x{rows}x{columns} (channels, rows, columns), and the model takes \
             {}x{}x{}",
            own[0],
            own[1],
            own[2]
        );
        Ok(other)
    }

    /// Saves a checkpoint in `run`, unless this step has one.
    ///
    /// # Errors
    /// When it cannot be written; the one before stays valid.
    pub(crate) fn save(&self, run: &mut Run) -> Result<()> {
        if run.is_saved(self.progress.step) {
            return Ok(());
        }
        run.save(self.progress.step, &self.progress, &self.model.save())
    }

    /// Restores the state that a checkpoint holds.
    ///
    /// # Errors
    /// When it belongs to another model or other settings.
    pub(crate) fn load(&mut self, from: &Checkpoint<FitProgress>) -> Result<()> {
        from.load(|learned| Ok(self.model.load(learned)?))?;
        self.progress = from.state.loop_state.clone();
        let is_possible = self.progress.step == from.state.step && is_time(self.progress.wall_s);
        ensure!(is_possible, "the progress in the checkpoint of update {} is out of range", from.state.step);
        Ok(())
    }

    /// Writes all pictures of the model and the learning curve to the run's `plots/`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(crate) fn draw(&self, run_dir: &Path) -> Result<()> {
        files::add_pictures(&run_dir.join(PLOTS), |dir| {
            self.seed_torch("draw", self.progress.step);
            tch::no_grad(|| gallery::draw(&*self.model, &self.data, &self.captions(), dir))?;
            match plot::losses(run_dir, &dir.join("loss.svg")) {
                // A model that is fitted in closed form has no loss.
                Ok(()) | Err(PlotError::UnknownMetric { .. } | PlotError::NoData { .. }) => {}
                Err(error) => tracing::info!("no {PLOTS}/loss.svg: {error}"),
            }
            Ok(())
        })
    }

    /// Returns the captions of the model's pictures.
    pub(crate) fn captions(&self) -> Captions {
        let FitConfig { model, source, .. } = &self.config;
        let subject = match model.recipe() {
            Recipe::Descent(_) => format!("{} on {source} after {} updates", model.name(), count(self.progress.step)),
            Recipe::AtOnce => format!("{} on {source}", model.name()),
        };
        Captions::new(subject, &self.data)
    }

    /// Seeds torch's generator for the random numbers of `step` for `purpose`.
    pub(crate) fn seed_torch(&self, purpose: &str, step: u64) {
        seed_torch(self.config.run.seed, purpose, step);
    }

    /// Returns the order of the training images in pass `epoch`.
    pub(super) fn order(&self, epoch: u64) -> Tensor {
        let mut order: Vec<i64> = (0..self.data.train.len() as i64).collect();
        order.shuffle(&mut Seeds::new(self.config.run.seed).stream(&format!("shuffle/{epoch}")));
        Tensor::from_slice(&order)
    }
}

/// Returns the data and the environment steps spent on them.
fn dataset(config: &FitConfig) -> Result<(Dataset, u64)> {
    match (&config.source, config.run.n_frames) {
        (Source::Env(spec), Some(n_frames)) => {
            let frames = frames::collect(spec, n_frames, config.run.seed)?;
            Ok((frames::to_dataset(&frames), frames.n_steps))
        }
        (source, _) => Ok((data::open(source, config.run.data_dir.as_deref(), config.run.seed)?, 0)),
    }
}

/// Seeds torch's generator from master seed `seed` for the random numbers of `step` for `purpose`.
pub(crate) fn seed_torch(seed: u64, purpose: &str, step: u64) {
    let mut stream = Seeds::new(seed).stream(&format!("{purpose}/{step}"));
    tch::manual_seed((stream.next_u64() >> 1) as i64);
}

fn steps_per_epoch(config: &FitConfig, data: &Data) -> u64 {
    (data.train.len() as u64).div_ceil(config.descent.batch_size)
}

fn total_steps(config: &FitConfig, data: &Data) -> u64 {
    let whole = config.descent.epochs * steps_per_epoch(config, data);
    config.run.steps.map_or(whole, |steps| steps.min(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::open::begin;
    use crate::generative::model::seeded;

    #[test]
    fn what_is_reported_is_drawn_anew_after_the_learning_curve() {
        let _torch = seeded(0);
        let layer = Layer::default().with("model", Some("vae")).with("data", Some("movies"));
        let session = begin(FitConfig::resolve(&[layer]).expect("valid")).expect("a fit");
        let elbo = |effort| session.evaluate(effort).get("test/elbo").expect("a measure");
        assert_ne!(elbo(Effort::Curve), elbo(Effort::Full));
        assert_eq!(elbo(Effort::Curve), elbo(Effort::Curve));
        assert_eq!(elbo(Effort::Full), elbo(Effort::Full));
    }
}
