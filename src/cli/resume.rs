//! `carom resume`: continues a run from its newest checkpoint.

use super::print;
use super::start::{Opened, announce, check_same, complete_beside, follow, tell};
use super::train::{finish, summary};
use crate::config::fit::{FIT, FitConfig};
use crate::config::kind::{self, Config};
use crate::config::layers::{Form, Layer};
use crate::config::training::{TRAINING, TrainConfig};
use crate::device::Device;
use crate::dotted::Change;
use crate::fit::open::open;
use crate::generative::settings::Recipe;
use crate::human::{count, parse_count, shell};
use crate::interrupt;
use crate::ranks::{self, Ranks};
use crate::run::{self, CONFIG, Outcome, Run, checkpoint};
use crate::train::session::Session;
use anyhow::{Result, ensure};
use clap::Args;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

/// Continue a run from its newest checkpoint, with the same results as without the interruption
///
/// Rows written after the checkpoint are removed first, and computed again with the same values. A longer run stretches
/// the schedules that span it (learning rate and exploration of pqn, beta of prioritised replay, lr_schedule of a fit):
/// at the point of resumption they jump to the value of the longer schedule.
#[derive(Args)]
#[command(after_help = "Examples:\n  carom resume runs/taxi-q-learning-s0\n  \
                  carom resume runs/taxi-q-learning-s0 --steps 1M --set agent.lr=0.01")]
pub(super) struct Arguments {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Steps of the whole run, to make it longer
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    steps: Option<u64>,
    /// Epochs of the whole fit, to make it longer
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    epochs: Option<u64>,
    /// A setting that has another value from here on, such as agent.lr; may be repeated
    ///
    /// Settings of the agent may change but for those that its memory and its network are made by, the learning rate of
    /// a fit, and how often a run is logged, evaluated and saved. log.txt, meta.json and plots name the change and its
    /// step.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Device that tensors are on from here on; another one rounds differently [default: the run's]
    #[arg(long)]
    device: Option<Device>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// A run's own settings that may change along the run, and settings of its parts by prefix.
const MAY_CHANGE: [&str; 12] = [
    "agent.",
    "lr",
    "lr_schedule",
    "recon_weight",
    "threads",
    "log_every",
    "eval_every",
    "eval_episodes",
    "eval_epsilon",
    "eval_max_steps",
    "checkpoint_every",
    "checkpoint_replay",
];

/// Settings of agents that a checkpoint has its form or its meaning by, or that have had their effect before the first
/// step.
const MAY_NOT_CHANGE: [&str; 16] = [
    "agent.hidden",
    "agent.layer_norm",
    "agent.dueling",
    "agent.noisy",
    "agent.noisy_sigma",
    "agent.head",
    "agent.atoms",
    "agent.v_min",
    "agent.v_max",
    "agent.quantiles",
    "agent.buffer_size",
    "agent.prioritized",
    "agent.priority_alpha",
    "agent.ema_decay",
    "agent.rollout_len",
    "agent.q_init",
];

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let ranks = ranks::start()?;
    match kind::config(&arguments.run)? {
        Config::Training(config) => resume_training(arguments, &config, &ranks),
        Config::Fit(config) => {
            ensure!(!ranks.are_several(), "{} is a fit, which one process makes", arguments.run.display());
            resume_fit(arguments, &config)
        }
    }
}

fn resume_fit(arguments: &Arguments, config: &FitConfig) -> Result<ExitCode> {
    let (dir, name) = (&arguments.run, arguments.run.display());
    let before = config.to_toml();
    arguments.check_edits(&before)?;
    let mut config = FitConfig::resolve(&arguments.layers(&before, &FIT)?)?;
    let begun_for = config.descent.epochs;
    let model = config.model.name();
    let is_at_once = matches!(config.model.recipe(), Recipe::AtOnce);
    if let Some(epochs) = arguments.epochs {
        ensure!(!is_at_once, "--epochs has no effect: {model} makes no updates; it is found at once");
        config = config.with_epochs(epochs);
        // A fit that `carom fit --steps` ended early now runs for all its epochs.
        config.run.steps = None;
    }
    config.run.device = arguments.device.unwrap_or(config.run.device);
    let (epochs, config_text) = (config.descent.epochs, config.to_toml());
    ensure!(epochs >= begun_for, "--epochs {epochs} is less than the {begun_for} of {name}");
    ensure!(arguments.steps.is_none(), "{name} is a fitted model: --epochs N makes it longer");
    let lock = run::lock(dir)?;
    let (mut session, checkpoint) = open(dir, config)?;
    let step = session.progress.step;
    let changes = run::changes_to(dir, &config_text, &before);
    if session.is_finished() {
        refuse_late(&changes, &name)?;
        // It may have been stopped between its last update and its pictures.
        session.draw(dir)?;
        if is_at_once {
            say!("{name} is finished: {model} is found at once");
        } else {
            say!("{name} is finished at update {}; --epochs N makes it longer", count(step));
        }
        if arguments.json {
            super::fit::print_again(&mut session, dir)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    session.check_judge()?;
    interrupt::listen()?;
    let mut run = Run::reopen(dir, lock, &checkpoint)?;
    run.reconfigure(step, &config_text, &changes)?;
    super::fit::announce(&session, &mut run, &format!("resuming at update {}:", count(step)))?;
    Ok(exit_code(super::fit::finish(&mut session, &mut run, arguments.json)?))
}

fn resume_training(arguments: &Arguments, config: &TrainConfig, ranks: &Ranks) -> Result<ExitCode> {
    let dir = &arguments.run;
    let before = config.to_toml();
    arguments.check_edits(&before)?;
    // The first rank may change the files that the others have read now.
    ranks.wait();
    let mut config = TrainConfig::resolve(&arguments.layers(&before, &TRAINING)?)?;
    ensure!(arguments.epochs.is_none(), "{} is an agent's run: --steps N makes it longer", dir.display());
    let begun_for = config.run.steps;
    config.run.steps = arguments.steps.unwrap_or(begun_for);
    let config = config.on(arguments.device)?;
    if !ranks.is_first() {
        interrupt::listen()?;
        let Some(mut session) = follow(config, dir, None, ranks)? else { return Ok(ExitCode::SUCCESS) };
        return Ok(exit_code(complete_beside(&mut session)?));
    }
    let lock = run::lock(dir)?;
    let checkpoint = checkpoint::newest(dir)?;
    let mut session = Session::at(config, dir, &checkpoint, ranks.clone())?;
    let (step, steps) = (session.progress.step, session.config.run.steps);
    let name = dir.display();
    ensure!(steps >= begun_for, "--steps {steps} is less than the {begun_for} of {name}");
    let config_text = session.config.to_toml();
    let changes = run::changes_to(dir, &config_text, &before);
    if changes.iter().any(|change| change.key.starts_with("agent.")) {
        // What was found by other settings is not final.
        session.progress.converged = false;
    }
    if changes.iter().any(|change| change.key.starts_with("eval_") && change.key != "eval_every") {
        // Scores by other evaluations cannot be compared with it.
        session.progress.best = None;
    }
    if session.progress.is_finished(steps) {
        refuse_late(&changes, &name)?;
        if session.progress.converged {
            say!("{name} has converged at sweep {}; more sweeps change nothing", count(step));
        } else {
            say!("{name} is finished at step {}; --steps N makes it longer", count(step));
        }
        tell(ranks, Opened::Finished);
        if arguments.json {
            print(&format!("{}\n", summary(&mut session, dir)))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::listen()?;
    let mut run = Run::reopen(dir, lock, &checkpoint)?;
    tell(ranks, Opened::At(step));
    check_same(&session)?;
    run.reconfigure(step, &config_text, &changes)?;
    announce(&mut session, &mut run, &format!("resuming at step {}:", count(step)))?;
    Ok(exit_code(finish(&mut session, &mut run, arguments.json)?))
}

/// Refuses changes of a run that has nothing left to do by them. A length is none: a plan that has converged is longer
/// without more sweeps.
fn refuse_late(changes: &[Change], name: &impl Display) -> Result<()> {
    let others = changes.iter().filter(|change| !["steps", "epochs"].contains(&change.key.as_str()));
    let shown: Vec<String> = others.map(ToString::to_string).collect();
    ensure!(
        shown.is_empty(),
        "{name} is finished, so that {} would have no effect: make it longer too",
        shown.join(", ")
    );
    Ok(())
}

impl Arguments {
    /// Returns the layers of settings of a run of `form`: `config`, the text of its configuration, and `--set`.
    fn layers(&self, config: &str, form: &Form) -> Result<[Layer; 2]> {
        let set = Layer::from_assignments(&self.set, form)?;
        for key in set.keys() {
            let hint = match key.as_str() {
                "steps" | "epochs" | "device" => format!("give it as --{key}"),
                key if MAY_NOT_CHANGE.contains(&key) => {
                    "the checkpoint has it from the run's beginning; begin a new run".to_owned()
                }
                _ => "it is what the run is about; begin a new run".to_owned(),
            };
            let is_known = |known: &str| key == known || known.ends_with('.') && key.starts_with(known);
            let may_change = MAY_CHANGE.into_iter().any(is_known) && !MAY_NOT_CHANGE.contains(&key.as_str());
            ensure!(may_change, "--set {key}: {hint}");
        }
        Ok([Layer::from_toml(config, CONFIG, form)?, set])
    }

    /// Checks that nobody edited the run's configuration, of which `config` is the text, but for settings that this
    /// command gives: they would be taken for those that the steps so far were made with.
    fn check_edits(&self, config: &str) -> Result<()> {
        let given = |key: &str| match key {
            "steps" => self.steps.is_some() || self.epochs.is_some(),
            "epochs" => self.epochs.is_some(),
            "device" => self.device.is_some(),
            _ => self.set.iter().any(|set| set.split_once('=').is_some_and(|(set, _)| set.trim() == key)),
        };
        let edits = run::changes_to(&self.run, config, config).into_iter().filter(|change| !given(&change.key));
        let edits: Vec<String> = edits.map(|change| change.to_string()).collect();
        ensure!(
            edits.is_empty(),
            "{} was edited after the run began: {}. Put the old values back; `carom resume {} --set KEY=VALUE` changes \
             a setting from here on and records it",
            self.run.join(CONFIG).display(),
            edits.join(", "),
            shell(&self.run)
        );
        Ok(())
    }
}

fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Finished => ExitCode::SUCCESS,
        Outcome::Interrupted => interrupt::exit_code(),
    }
}
