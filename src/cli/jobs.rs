//! Runs side by side, each in a process of its own.

use super::print;
use crate::progress::Board;
use crate::{interrupt, run};
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Variable of the number of threads that a run takes unless its settings say so.
const THREADS: &str = "OMP_NUM_THREADS";

/// Time between two looks for a request to stop.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// Longest time that a run may be saved by the process of a command that was killed.
const MAX_SAVING: Duration = Duration::from_secs(60);

/// A run that a process of its own makes.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Directory of the run, which names it.
    pub dir: PathBuf,
    /// Arguments of `carom`.
    pub arguments: Vec<OsString>,
}

/// Returns the arguments of this process without the options `dropped`, each of which has a value, and without `flags`,
/// which have none.
pub(super) fn arguments_without(dropped: &[&str], flags: &[&str]) -> Vec<OsString> {
    let arguments = std::env::args_os().skip(1);
    without(arguments.filter(|argument| !flags.iter().any(|flag| argument == flag)), dropped)
}

fn without(arguments: impl Iterator<Item = OsString>, dropped: &[&str]) -> Vec<OsString> {
    let (mut kept, mut is_value) = (vec![], false);
    for argument in arguments {
        let text = argument.to_string_lossy();
        let option = text.split_once('=').map_or(&*text, |(option, _)| option);
        let is_dropped = dropped.contains(&option);
        if !is_dropped && !is_value {
            kept.push(argument.clone());
        }
        is_value = is_dropped && option.len() == text.len();
    }
    kept
}

/// The jobs that wait, the processes that run, and the jobs that failed.
struct Work {
    waiting: VecDeque<Job>,
    running: Vec<u32>,
    failed: Vec<PathBuf>,
}

/// Called when a job has ended, with the error that it reported if it failed. Jobs that a stop has cut short have not
/// ended.
type Ended<'a> = &'a (dyn Fn(&Job, Result<(), String>) -> Result<()> + Sync);

/// Messages of a command about its runs, and its work when one has ended.
#[derive(Clone, Copy)]
pub(super) struct Report<'a> {
    /// Whether the summary of each run is printed.
    pub summaries: bool,
    /// Words for how to go on after a stop.
    pub go_on: &'a str,
    /// Further work when a run has ended.
    pub ended: Ended<'a>,
}

/// Does nothing more when a job has ended.
pub(super) const NOTHING_MORE: Ended<'static> = &|_, _| Ok(());

/// Messages of `train` and `fit` about the runs of several seeds.
pub(super) const OF_SEEDS: Report =
    Report { summaries: true, go_on: "the same command with --continue goes on", ended: NOTHING_MORE };

/// Makes all runs, `n_at_once` at a time. A run that fails leaves the others alone; all that failed are named at the
/// end. A request to stop is passed on, and no further run starts.
///
/// # Errors
/// When a process cannot be started, or what is done at the end of a run fails. Runs that have begun are made to their
/// ends then, and no further run starts.
pub(super) fn make(report: Report, jobs: Vec<Job>, n_at_once: usize) -> Result<ExitCode> {
    interrupt::listen()?;
    let n_jobs = jobs.len();
    let n_at_once = n_at_once.min(n_jobs);
    let n_cores = thread::available_parallelism().map_or(1, usize::from);
    let n_threads = std::env::var_os(THREADS).unwrap_or_else(|| (n_cores / n_at_once).max(1).to_string().into());
    let work = Mutex::new(Work { waiting: jobs.into(), running: vec![], failed: vec![] });
    let board = Board::new(n_jobs);
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let make_some = || {
            let made = make_waiting(&work, &board, &n_threads, report);
            // The others would go on for hours with what cannot be recorded.
            made.inspect_err(|_| lock(&work).waiting.clear())
        };
        let workers: Vec<_> = (0..n_at_once).map(|_| scope.spawn(make_some)).collect();
        let mut is_passed_on = false;
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(LOOK_AFTER);
            if interrupt::requested() && !std::mem::replace(&mut is_passed_on, true) {
                lock(&work).running.iter().for_each(|&id| interrupt::ask_to_end(id));
            }
        }
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    drop(board);
    results.into_iter().collect::<Result<()>>()?;
    if interrupt::requested() {
        say!("stopped; {}", report.go_on);
        return Ok(interrupt::exit_code());
    }
    let failed = lock(&work).failed.split_off(0);
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say!("{} of {n_jobs} runs failed:", failed.len());
    for dir in &failed {
        say!("  {}", dir.display());
    }
    Ok(ExitCode::FAILURE)
}

fn lock(work: &Mutex<Work>) -> std::sync::MutexGuard<'_, Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes one waiting run after the other until none is left, or a stop is requested.
fn make_waiting(work: &Mutex<Work>, board: &Board, n_threads: &OsString, report: Report) -> Result<()> {
    while !interrupt::requested() {
        let Some(job) = lock(work).waiting.pop_front() else { break };
        wait_until_saved(&job);
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(&job.arguments).env(THREADS, n_threads);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        interrupt::end_with_parent(&mut command);
        // Under the lock, so that a request to stop reaches each process that was started.
        let mut work_now = lock(work);
        let child = command.spawn().with_context(|| format!("cannot start the run {}", job.dir.display()))?;
        let id = child.id();
        work_now.running.push(id);
        drop(work_now);
        let result = follow(child, &job, board, report)?;
        let is_failure = result.is_err();
        let mut work = lock(work);
        work.running.retain(|&other| other != id);
        // A run that has ended by itself is not affected by a stop.
        if !is_failure || !interrupt::requested() {
            (report.ended)(&job, result)?;
            work.failed.extend(is_failure.then_some(job.dir));
        }
    }
    Ok(())
}

/// Waits for the process of a command that was killed, which saves the run before it ends.
fn wait_until_saved(job: &Job) {
    let began = Instant::now();
    while run::is_at_work(&job.dir) && began.elapsed() < MAX_SAVING && !interrupt::requested() {
        thread::sleep(LOOK_AFTER);
    }
}

/// Shows what the process says until it ends, and prints its summary. Returns the last thing that it said if it failed.
fn follow(mut child: Child, job: &Job, board: &Board, report: Report) -> Result<Result<(), String>> {
    let line = board.begin(&job.dir.display().to_string());
    let errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut last = String::new();
    for text in errors.split(b'\n') {
        let text = text?;
        let text = String::from_utf8_lossy(&text);
        line.show(text.trim_end());
        text.trim_end().clone_into(&mut last);
    }
    // A summary is shorter than what a pipe holds, so the process did not wait for a reader.
    let mut summary = String::new();
    child.stdout.take().expect("stdout is piped").read_to_string(&mut summary)?;
    let status = child.wait()?;
    line.end();
    if report.summaries {
        board.suspend(|| print(&summary))?;
    }
    let message = || format!("{} ({status})", last.trim_start_matches("error: "));
    Ok(if status.success() { Ok(()) } else { Err(message()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_dropped_with_their_values() {
        let line = "train --seeds 0..4 --env taxi --jobs=2 --out runs/a --set agent.lr=0.1";
        let kept = without(line.split(' ').map(OsString::from), &["--seeds", "--jobs", "--out"]);
        assert_eq!(kept, ["train", "--env", "taxi", "--set", "agent.lr=0.1"]);
    }
}
