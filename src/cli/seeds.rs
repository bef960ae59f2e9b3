//! Runs of several seeds that one command makes.

use super::jobs::{self, Job, OF_SEEDS};
use super::launch::{self, Batch, Launch, Made};
use crate::human::MAX_SEEDS;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Returns the directory of the run of `seed`: `out`, with the seed appended if there are several, or a name under
/// `runs`.
pub(super) fn run_directory(out: Option<&Path>, several: bool, preset: Option<&str>, slug: &str, seed: u64) -> PathBuf {
    match (out, several) {
        (Some(dir), false) => dir.to_path_buf(),
        (Some(dir), true) => match dir.file_name() {
            Some(name) => {
                let mut name = name.to_owned();
                name.push(format!("-s{seed}"));
                dir.with_file_name(name)
            }
            // `.`, `..` and `/` have no name to append to.
            None => dir.join(format!("s{seed}")),
        },
        (None, _) => {
            // A variant of the pair's preset gets a name of its own.
            let name = preset.filter(|name| name.starts_with(slug)).unwrap_or(slug);
            PathBuf::from(format!("runs/{name}-s{seed}"))
        }
    }
}

/// Returns the processes of runs, each with its seed and directory, of a command that has `--seeds`.
pub(super) fn several_jobs(runs: Vec<(u64, PathBuf)>) -> Vec<Job> {
    let own = ["--seed", "--seeds", "--jobs", "--out"];
    let common = jobs::arguments_without(&[&own[..], &launch::OPTIONS].concat(), &[launch::FLAG]);
    let job = |(seed, dir): (u64, PathBuf)| {
        let own = ["--seed".into(), seed.to_string().into(), "--out".into(), dir.clone().into()];
        Job { arguments: common.iter().cloned().chain(own).collect(), dir }
    };
    runs.into_iter().map(job).collect()
}

/// Returns whether runs are made elsewhere.
///
/// # Errors
/// When an option of another place is given, or `force`, which would replace what was made elsewhere.
pub(super) fn are_elsewhere(launch: &Launch, force: bool) -> Result<bool> {
    let are_elsewhere = launch.is_elsewhere()?;
    ensure!(!are_elsewhere || !force, "--force has no effect with --on: runs go on where they are");
    Ok(are_elsewhere)
}

/// Has runs, each with its seed and directory, made elsewhere by commands with `--continue`, which may be repeated.
/// `goes_on` tells whether this command has the flag. `is_made` tells whether a run has all that is asked for.
pub(super) fn make_elsewhere(
    launch: &Launch,
    runs: Vec<(u64, PathBuf)>,
    goes_on: bool,
    n_at_once: usize,
    is_made: &dyn Fn(&Job) -> bool,
) -> Result<ExitCode> {
    let (seed, dir) = runs.first().context("there is a run")?;
    let name = dir.file_name().context("a run has a name")?.to_string_lossy().into_owned();
    let name = name.strip_suffix(&format!("-s{seed}")).unwrap_or(&name);
    let folder = dir.with_file_name(format!("{name}-slurm"));
    let mut jobs = several_jobs(runs);
    if !goes_on {
        for job in &mut jobs {
            job.arguments.push("--continue".into());
        }
    }
    let report = jobs::Report { go_on: "the same command collects the runs", ..OF_SEEDS };
    match launch.make(Batch { jobs, n_at_once, folder: &folder, is_made, report })? {
        Made::Ended(code) => Ok(code),
        Made::Elsewhere => Ok(ExitCode::SUCCESS),
    }
}

/// Parses a number of runs at once.
pub(super) fn parse_jobs(text: &str) -> Result<usize> {
    let n_jobs = text.parse().ok().filter(|n_jobs| (1..=MAX_SEEDS as usize).contains(n_jobs));
    n_jobs.with_context(|| format!("expected a number from 1 to {MAX_SEEDS}"))
}
