//! `carom fit`: fits a generative model, in a new run for each seed.

use super::jobs::{self, Job, OF_SEEDS};
use super::launch::Launch;
use super::seeds::{are_elsewhere, make_elsewhere, parse_jobs, run_directory, several_jobs};
use super::start::{check_place, is_begun, newest};
use super::{joined, print};
use crate::config::fit::{FIT, FitConfig};
use crate::config::kind::fit_config;
use crate::config::layers::Layer;
use crate::config::part::Part;
use crate::config::presets;
use crate::device::Device;
use crate::encoder::recipes;
use crate::fit::judges;
use crate::fit::open::{self, begin};
use crate::fit::run_loop::fit;
use crate::fit::session::{FitProgress, FitSession};
use crate::generative::model::{Effort, Measures};
use crate::generative::settings::{Optimizer, Schedule};
use crate::human::{count, duration, parse_count, parse_seed, parse_seeds, plural, shell};
use crate::interrupt;
use crate::run::{self, Log, Outcome, PLOTS, Replaces, Run, checkpoint, layout};
use anyhow::Result;
use carom_envs::{Values, registry as envs};
use clap::Args;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Fit a generative model to images or to frames of an environment; writes metrics and pictures to a run directory
///
/// Settings come from the model's defaults, a preset, the file of --config, and flags; later ones override earlier
/// ones. Without --preset and --config, the preset `<data>-<model>` is used if there is one, and for frames of an
/// environment the settings by which --encoder fits the model.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Arguments {
    /// Model (`carom list models`)
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// mnist, fashion-mnist, movies, stacked-mnist, env:ID for frames of an environment, or a folder of IDX files
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Directory with a copy of the data set's files, to use instead of the cache
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    epochs: Option<u64>,
    /// Updates after which the fit ends, even before the last epoch
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    steps: Option<u64>,
    /// Images of an update
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    batch_size: Option<u64>,
    /// Learning rate
    #[arg(long, value_name = "R", allow_hyphen_values = true)]
    lr: Option<f64>,
    /// How the learning rate changes along the fit [default: the model's]
    #[arg(long, value_name = "NAME")]
    lr_schedule: Option<Schedule>,
    /// Optimiser of the model's networks, with the learning rate of Keras 2 [default: adam]
    #[arg(long, value_name = "NAME")]
    optimizer: Option<Optimizer>,
    /// Width of the code: `model.latent_dim`
    #[arg(long, value_name = "D", value_parser = parse_count, allow_hyphen_values = true)]
    latent_dim: Option<u64>,
    /// Channels of a convolutional code: `model.filters`
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    filters: Option<u64>,
    /// Reduction of a VAE's KL divergence over the latent dimensions, `sum` or `mean`: `model.kl`
    #[arg(long, value_name = "HOW")]
    kl: Option<String>,
    #[arg(long, value_name = "KEY=VALUE", help = FIT.set_help())]
    set: Vec<String>,
    /// Master seed of all random streams [default: 0]
    #[arg(long, value_name = "S", value_parser = parse_seed, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// One run for each of these seeds: `0..5` is 0, 1, 2, 3, 4
    #[arg(long, value_name = "A..B", value_parser = parse_seeds, conflicts_with = "seed")]
    seeds: Option<Range<u64>>,
    /// Runs that are made at once, each in a process of its own
    #[arg(long, value_name = "J", value_parser = parse_jobs, requires = "seeds", default_value = "1")]
    jobs: usize,
    /// Threads of libtorch [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    threads: Option<usize>,
    /// Device that tensors are on [default: cpu]
    #[arg(long)]
    device: Option<Device>,
    /// Named configuration to start from (`carom list presets`)
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Configuration file that overrides the preset, for instance a run's config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the run; with --seeds, -s<seed> is appended [default: runs/<data>-<model>-s<seed>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace an existing run
    #[arg(long)]
    force: bool,
    /// Write event files for TensorBoard too, below tensorboard/ of the run
    #[arg(long)]
    tensorboard: bool,
    /// Print the summary of each run as one JSON object on a line
    #[arg(long)]
    json: bool,
    /// Go on with the run if it was begun; leave it if it is finished
    #[arg(long = "continue", conflicts_with = "force")]
    goes_on: bool,
    #[command(flatten)]
    launch: Launch,
}

const EXAMPLES: &str = "Examples:
  carom fit ae --data mnist                               784-32-784, compression 24.5
  carom fit ae --data mnist --latent-dim 64 --set model.noise=0.3
  carom fit cnn-ae --data env:breakout
  carom fit rbm --data movies                             finds two tastes in six films
  carom fit --preset NAME                                 reproduces a figure of docs/generative.md";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let first = FitConfig::resolve(&arguments.layers()?)?;
    let seeds = arguments.seeds.clone().unwrap_or(first.run.seed..first.run.seed + 1);
    let (out, several, slug) = (arguments.out.as_deref(), arguments.seeds.is_some(), first.slug());
    let preset = arguments.preset.as_deref();
    let runs: Vec<_> = seeds.map(|seed| (seed, run_directory(out, several, preset, &slug, seed))).collect();
    // Elsewhere a command is repeated until its runs are made.
    let is_elsewhere = are_elsewhere(&arguments.launch, arguments.force)?;
    for (seed, dir) in &runs {
        let goes_on = arguments.goes_on || is_elsewhere;
        check_place(&first.with_seed(*seed).to_toml(), dir, goes_on, arguments.force)?;
    }
    judges::check_named(&first)?;
    if is_elsewhere {
        let is_made = |job: &Job| is_made(&job.dir).unwrap_or(false);
        return make_elsewhere(&arguments.launch, runs, arguments.goes_on, arguments.jobs, &is_made);
    }
    if arguments.jobs > 1 {
        return jobs::make(OF_SEEDS, several_jobs(runs), arguments.jobs);
    }
    interrupt::listen()?;
    for (seed, dir) in runs {
        let config = first.with_seed(seed);
        let opened = match arguments.goes_on {
            true => begin_or_continue(config, &dir, arguments.json)?,
            false => Some(create(config, &dir, Replaces::forced(arguments.force))?),
        };
        let Some((mut session, mut run)) = opened else { continue };
        if arguments.tensorboard {
            run.write_events()?;
        }
        if finish(&mut session, &mut run, arguments.json)? == Outcome::Interrupted {
            return Ok(interrupt::exit_code());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates a run of `config` in `dir`, where it `replaces` another one. Mistakes in the settings are reported before
/// any file is written.
fn create(config: FitConfig, dir: &Path, replaces: Replaces) -> Result<(FitSession, Run)> {
    let mut session = begin(config)?;
    session.check_judge()?;
    let config = &session.config;
    let copy_judge = |made: &Path| judges::copy_named(config, made);
    let mut run = Run::create(dir, &config.to_toml(), None, replaces, copy_judge)?;
    session.use_judge_of(dir);
    announce(&session, &mut run, "fitting")?;
    Ok((session, run))
}

/// Starts the run, or opens it at its newest checkpoint. Returns `None` if it is finished, after its summary if `json`
/// asks for that.
fn begin_or_continue(config: FitConfig, dir: &Path, json: bool) -> Result<Option<(FitSession, Run)>> {
    if !is_begun(dir)? {
        return create(config, dir, Replaces::Unsaved).map(Some);
    }
    let lock = run::lock(dir)?;
    let saved = newest::<FitProgress>(dir)?;
    let mut session = open::at(config, dir, &saved)?;
    if session.is_finished() {
        // It may have been stopped between its last update and its pictures.
        session.draw(dir)?;
        say!("{} is finished", dir.display());
        if json {
            print_again(&mut session, dir)?;
        }
        return Ok(None);
    }
    session.check_judge()?;
    let mut run = Run::reopen(dir, lock, &saved)?;
    announce(&session, &mut run, &format!("resuming at update {}:", count(session.progress.step)))?;
    Ok(Some((session, run)))
}

/// Returns whether the run in `dir` has made all of its updates.
fn is_made(dir: &Path) -> Result<bool> {
    if !layout::is_run(dir) || !checkpoint::is_there(dir)? {
        return Ok(false);
    }
    // A run that was killed at its very end does not say so; then its session tells, on the device that it needs.
    if Log::of(dir)?.has_finished() {
        return Ok(true);
    }
    Ok(open::open(dir, fit_config(dir, "be collected")?)?.0.is_finished())
}

/// Prints and logs what the run is about to do.
pub(super) fn announce(session: &FitSession, run: &mut Run, doing: &str) -> Result<()> {
    let FitConfig { run: settings, model, source, descent } = &session.config;
    let (model, epochs, updates) = (model.name(), plural(descent.epochs, "epoch"), count(session.total_steps()));
    let line = format!("{doing} {model} to {source}, {epochs}, {updates} updates, seed {}", settings.seed);
    say!("{line} -> {}", run.dir().display());
    run.log(&line)
}

/// Fits to the end and prints a summary, as text or as JSON.
pub(super) fn finish(session: &mut FitSession, run: &mut Run, json: bool) -> Result<Outcome> {
    let ended = fit(session, run);
    let outcome = run.log_end(session.progress.step, ended)?;
    let (step, dir) = (count(session.progress.step), shell(run.dir()));
    if outcome == Outcome::Interrupted {
        say!("stopped at update {step}; continue with: carom resume {dir}");
        return Ok(outcome);
    }
    session.draw(run.dir())?;
    let pictures = run.dir().join(PLOTS);
    run.metrics.pictures(session.progress.step, &pictures)?;
    if json {
        print_summary(session, run.dir())?;
        return Ok(outcome);
    }
    let time = duration(Duration::from_secs_f64(session.progress.wall_s));
    // The loop measures after its last update.
    let (measures, report) = (text(&session.measured), session.model.report(&session.data).unwrap_or_default());
    print(&format!(
        "{}: {step} updates in {time}\n{measures}{report}pictures: {}\nnext: carom eval {dir}\n",
        run.dir().display(),
        pictures.display()
    ))?;
    Ok(outcome)
}

/// Measures a finished fit as at its end, and prints its summary as JSON.
pub(super) fn print_again(session: &mut FitSession, dir: &Path) -> Result<()> {
    session.measured = session.evaluate(Effort::Curve);
    print_summary(session, dir)
}

fn print_summary(session: &FitSession, dir: &Path) -> Result<()> {
    let mut summary = described(session, &session.measured);
    summary["run"] = dir.display().to_string().into();
    summary["wall_s"] = session.progress.wall_s.into();
    print(&format!("{summary}\n"))
}

/// Returns the model, its data and its `measures` as one JSON object.
pub(super) fn described(session: &FitSession, measures: &Measures) -> Value {
    let FitConfig { run, model, source, .. } = &session.config;
    let (model, data, seed, step) = (model.name(), source.to_string(), run.seed, session.progress.step);
    let mut described = json!({"model": model, "data": data, "seed": seed, "step": step});
    if let Value::Object(described) = &mut described {
        described.extend(measures.to_json());
    }
    described
}

/// Formats the measures, one per line.
pub(super) fn text(measures: &Measures) -> String {
    let facts = measures.facts.iter().map(|(name, fact)| (*name, fact.clone()));
    let values = measures.values.iter().map(|(name, value)| (name.as_ref(), format!("{value:.5}")));
    let rows: Vec<_> = values.chain(facts).collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<_> = rows.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    joined(&lines)
}

impl Arguments {
    /// Returns the layers of settings, from the weakest to the strongest.
    fn layers(&self) -> Result<Vec<Layer>> {
        let preset = match (&self.preset, &self.config, &self.data, &self.model) {
            (Some(name), ..) => Some(presets::find(name, &FIT)?),
            (None, None, Some(data), Some(model)) => presets::of(data, model),
            _ => None,
        };
        if let Some(preset) = preset.filter(|_| self.preset.is_none()) {
            say!("using preset {}", preset.name);
        }
        let model = self.model.as_deref();
        let recipe = self.recipe()?;
        let preset = preset.map(|preset| preset.of_actor(&FIT, Part::Model, model)).transpose()?;
        let file = self.config.as_deref().map(|path| Layer::from_file(path, &FIT)).transpose()?;
        let flags = Layer::default()
            .with("model", self.model.as_ref())
            .with("data", self.data.as_ref())
            .with("data_dir", self.data_dir.as_ref())
            .with("epochs", self.epochs)
            .with("steps", self.steps)
            .with("batch_size", self.batch_size)
            .with("lr", self.lr)
            .with("lr_schedule", self.lr_schedule)
            .with("optimizer", self.optimizer)
            .with("seed", self.seed)
            .with("device", self.device)
            .with("threads", self.threads)
            .with_part(Part::Model, "latent_dim", self.latent_dim)
            .with_part(Part::Model, "filters", self.filters)
            .with_part(Part::Model, "kl", self.kl.as_ref());
        let set = Layer::from_assignments(&self.set, &FIT)?;
        if self.seeds.is_some() {
            set.refuse("seed", "--seeds")?;
        }
        Ok(recipe.into_iter().chain(preset).chain(file).chain([flags.and(set)?]).collect())
    }

    /// Returns the settings by which `--encoder` fits the model to these frames, if the command names an environment
    /// and nothing else to start from.
    fn recipe(&self) -> Result<Option<Layer>> {
        let (None, None, Some(model), Some(data)) = (&self.preset, &self.config, &self.model, &self.data) else {
            return Ok(None);
        };
        let Some(id) = data.strip_prefix("env:") else { return Ok(None) };
        let Ok(env) = envs::resolve(id, &Values::new()) else { return Ok(None) };
        let recipe = recipes::of(model, &env.make().obs_space())?;
        if recipe.own.is_empty() {
            // The model has no recipe, and is fitted by its own defaults.
            return Ok(None);
        }
        say!("using the settings of --encoder {model} for frames of {id}");
        Ok(Some(recipe))
    }
}
