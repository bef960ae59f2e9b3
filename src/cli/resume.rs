//! `carom resume`: continues a run from its newest checkpoint.

use super::train::{announce, finish};
use crate::config::fit::FitConfig;
use crate::config::kind::{self, Config};
use crate::config::training::TrainConfig;
use crate::device::Device;
use crate::fit::open::open;
use crate::generative::settings::Recipe;
use crate::human::{count, parse_count};
use crate::interrupt;
use crate::run::{Outcome, Run};
use crate::train::session::Session;
use anyhow::{Result, ensure};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Continue a run from its newest checkpoint, with the same results as without the interruption
///
/// Rows written after the checkpoint are removed first, and computed again with the same values. A longer run stretches
/// the schedules that span it (learning rate and exploration of pqn, lr_schedule of a fit): at the point of resumption
/// they jump to the value of the longer schedule.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  carom resume runs/taxi-q-learning-s0\n  carom resume runs/taxi-q-learning-s0 --steps 1M"
)]
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
    /// Device that tensors are on from here on; another one rounds differently [default: the run's]
    #[arg(long)]
    device: Option<Device>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match kind::config(&arguments.run)? {
        Config::Training(config) => resume_training(arguments, config),
        Config::Fit(config) => resume_fit(arguments, config),
    }
}

fn resume_fit(arguments: &Arguments, mut config: FitConfig) -> Result<ExitCode> {
    let (dir, name) = (&arguments.run, arguments.run.display());
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
    let (mut session, checkpoint) = open(dir, config)?;
    let step = session.progress.step;
    if session.is_finished() {
        // It may have been stopped between its last update and its pictures.
        session.draw(dir)?;
        if is_at_once {
            say!("{name} is finished: {model} is found at once");
        } else {
            say!("{name} is finished at update {}; --epochs N makes it longer", count(step));
        }
        return Ok(ExitCode::SUCCESS);
    }
    session.check_judge()?;
    interrupt::listen()?;
    let mut run = Run::reopen(dir, &checkpoint)?;
    if arguments.epochs.is_some() || arguments.device.is_some() {
        run.rewrite_config(&config_text)?;
    }
    super::fit::announce(&session, &mut run, &format!("resuming at update {}:", count(step)))?;
    Ok(exit_code(super::fit::finish(&mut session, &mut run)?))
}

fn resume_training(arguments: &Arguments, mut config: TrainConfig) -> Result<ExitCode> {
    let dir = &arguments.run;
    ensure!(arguments.epochs.is_none(), "{} is an agent's run: --steps N makes it longer", dir.display());
    let begun_for = config.run.steps;
    config.run.steps = arguments.steps.unwrap_or(begun_for);
    let config = config.on(arguments.device)?;
    let (mut session, checkpoint) = Session::open(config, dir)?;
    let (step, steps) = (session.progress.step, session.config.run.steps);
    let name = dir.display();
    ensure!(steps >= begun_for, "--steps {steps} is less than the {begun_for} of {name}");
    if session.progress.converged {
        say!("{name} has converged at sweep {}; more sweeps change nothing", count(step));
        return Ok(ExitCode::SUCCESS);
    }
    if session.progress.is_finished(steps) {
        say!("{name} is finished at step {}; --steps N makes it longer", count(step));
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::listen()?;
    let mut run = Run::reopen(dir, &checkpoint)?;
    if steps > begun_for || arguments.device.is_some() {
        run.rewrite_config(&session.config.to_toml())?;
    }
    announce(&session, &mut run, &format!("resuming at step {}:", count(step)))?;
    Ok(exit_code(finish(&mut session, &mut run)?))
}

fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Finished => ExitCode::SUCCESS,
        Outcome::Interrupted => interrupt::exit_code(),
    }
}
