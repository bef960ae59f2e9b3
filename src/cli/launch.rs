//! The place where the runs of a command are made: here, by another launcher that reads their commands, or by Slurm.

mod slurm;

use super::jobs::{self, Job, Report};
use super::{joined, print};
use crate::human::{plural, shell};
use crate::run::Log;
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// Flags for where runs are made.
#[derive(Args)]
pub(super) struct Launch {
    /// Place where runs are made
    ///
    /// Runs that are made elsewhere need the same files at the same paths. The command may be repeated: it collects
    /// what has ended, and submits or prints what is missing.
    #[arg(long, value_enum, value_name = "PLACE", default_value = "here")]
    on: Place,
    /// With --on slurm, an option of sbatch: time=2:00:00, mem=4G, cpus-per-task=2, partition=short; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    slurm: Vec<String>,
    /// With --on slurm, return when the runs are in the queue; the same command collects them later
    #[arg(long)]
    no_wait: bool,
}

/// Options of a command that [`Launch`] adds, but for the flag without a value.
pub(super) const OPTIONS: [&str; 2] = ["--on", "--slurm"];
/// Flag of a command that [`Launch`] adds.
pub(super) const FLAG: &str = "--no-wait";

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    /// In processes of this machine
    Here,
    /// Nowhere: print the command of each run, one a line, for any other launcher
    Print,
    /// As a job array of Slurm, which is written to a folder `slurm` and submitted by sbatch
    Slurm,
}

/// Runs that a command makes.
pub(super) struct Batch<'a> {
    /// The runs.
    pub jobs: Vec<Job>,
    /// Runs at once. Slurm is told no limit if it is 1.
    pub n_at_once: usize,
    /// Folder for Slurm's files.
    pub folder: &'a Path,
    /// Tells whether a run has made all that its job asks for.
    pub is_made: &'a dyn Fn(&Job) -> bool,
    /// Messages about the runs, and the work when one has ended.
    pub report: Report<'a>,
}

/// How far a command came with its runs.
pub(super) enum Made {
    /// All have ended, or a stop was requested.
    Ended(ExitCode),
    /// They are made elsewhere, if at all.
    Elsewhere,
}

impl Launch {
    /// Returns whether runs are made elsewhere, by commands that stand for themselves.
    ///
    /// # Errors
    /// When an option of another place is given.
    pub(super) fn is_elsewhere(&self) -> Result<bool> {
        let is_slurm = self.on == Place::Slurm;
        ensure!(is_slurm || self.slurm.is_empty(), "--slurm has no effect without --on slurm");
        ensure!(is_slurm || !self.no_wait, "--no-wait has no effect without --on slurm");
        Ok(self.on != Place::Here)
    }

    /// Makes all runs of a batch, or has them made.
    ///
    /// # Errors
    /// When a process cannot be started, Slurm refuses the job array, or what is done at the end of a run fails.
    pub(super) fn make(&self, batch: Batch) -> Result<Made> {
        match self.on {
            Place::Here => jobs::make(batch.report, batch.jobs, batch.n_at_once).map(Made::Ended),
            Place::Print => print_commands(&batch),
            Place::Slurm => slurm::make(&self.slurm, !self.no_wait, &batch),
        }
    }
}

/// Returns the error of a run that failed twice without getting any further; another launcher does not try again.
pub(super) fn given_up(dir: &Path) -> Option<String> {
    let log = Log::of(dir).ok()?;
    log.repeated_failure().map(|error| format!("it failed twice, `carom resume {}` tries again: {error}", shell(dir)))
}

/// Returns the jobs that are to be made elsewhere.
fn waiting<'a>(batch: &'a Batch) -> Vec<&'a Job> {
    batch.jobs.iter().filter(|job| !(batch.is_made)(job) && given_up(&job.dir).is_none()).collect()
}

/// Prints the commands of all runs that are to be made.
fn print_commands(batch: &Batch) -> Result<Made> {
    let program = std::env::args_os().next().context("the program has no name")?;
    let lines: Vec<String> =
        waiting(batch).into_iter().map(|job| command_line(&program, job)).collect::<Result<_>>()?;
    if lines.is_empty() {
        return collect(batch, |_| String::new()).map(Made::Ended);
    }
    say!("{} to make; then the same command goes on", plural(lines.len() as u64, "run"));
    print(&joined(&lines))?;
    Ok(Made::Elsewhere)
}

/// Returns the command of a job as a shell reads it.
fn command_line(program: &OsStr, job: &Job) -> Result<String> {
    let words = [program].into_iter().chain(job.arguments.iter().map(OsString::as_os_str));
    let quoted = words.map(|word| {
        let text = word.to_str().with_context(|| format!("{} is not UTF-8", word.display()))?;
        Ok(shlex::try_quote(text).with_context(|| format!("{text} cannot be quoted"))?.into_owned())
    });
    Ok(quoted.collect::<Result<Vec<_>>>()?.join(" "))
}

/// Reports which runs of a batch, made elsewhere, have ended. `error` says why one has not.
fn collect(batch: &Batch, error: impl Fn(&Job) -> String) -> Result<ExitCode> {
    let mut missing = vec![];
    for job in &batch.jobs {
        if (batch.is_made)(job) {
            (batch.report.ended)(job, Ok(()))?;
        } else {
            let error = given_up(&job.dir).unwrap_or_else(|| error(job));
            missing.push(format!("  {}: {error}", job.dir.display()));
            (batch.report.ended)(job, Err(error))?;
        }
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say!("{} of {} did not end:\n{}", missing.len(), plural(batch.jobs.len() as u64, "run"), missing.join("\n"));
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_for_a_shell() {
        let arguments = ["train", "--set", "agent.hidden=[8, 8]", "--out", "it's"].map(Into::into).to_vec();
        let line = command_line(OsStr::new("carom"), &Job { dir: "it's".into(), arguments }).expect("text");
        assert_eq!(line, r#"carom train --set 'agent.hidden=[8, 8]' --out "it's""#);
        assert_eq!(shlex::split(&line).expect("a command").len(), 6);
    }
}
