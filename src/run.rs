//! Run directories: their files, creation, and locking.
//!
//! ```text
//! runs/<name>/  config.toml (resolved)  meta.json (versions, CPU, command, git)  log.txt
//!               metrics.csv  eval.csv (step,name,value)   episodes.csv (step,env_idx,return,length)
//!               timing.csv (the only wall-clock numbers)  checkpoints/<step>/ (see [`checkpoint`])
//!               plots/*.svg, of fitted models *.png too
//! ```

pub(crate) mod checkpoint;
mod meta;
mod metrics;
pub(crate) mod progress;

pub(crate) use metrics::{Metrics, MetricsFile};

use crate::files;
use crate::human::shell;
use anyhow::{Context, Result, bail, ensure};
use carom_agents::Snapshot;
use checkpoint::{Checkpoint, CheckpointState};
use fs_err as fs;
use serde::Serialize;
use std::fs::TryLockError;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the file of a run's settings.
pub(crate) const CONFIG: &str = "config.toml";
const LOG: &str = "log.txt";

/// How a training run or a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All steps were made, or a planner found nothing left to change.
    Finished,
    /// A stop was requested, and a checkpoint was saved.
    Interrupted,
}

/// A run's directory, open for writing and locked against other processes.
pub(crate) struct Run {
    dir: PathBuf,
    /// The tables of numbers.
    pub metrics: Metrics,
    log: fs::File,
    saved_at: Option<u64>,
}

impl Run {
    /// Creates the directory of a new run with `config`, a TOML text, atomically. `protocol` is the environment's
    /// protocol, for comparisons of runs.
    ///
    /// # Errors
    /// When `dir` exists (with `force`: when it is not a run), or cannot be written.
    pub(crate) fn create(dir: &Path, config: &str, protocol: Option<&str>, force: bool) -> Result<Self> {
        check_free(dir, force)?;
        files::replace_folder(dir, |made| {
            fill(made, config, protocol)?;
            // Fails if another process is writing to the run that would be replaced.
            lock_if_run(dir).map(drop)
        })
        .with_context(|| format!("cannot make the run directory {}", dir.display()))?;
        Self::attach(dir)
    }

    /// Opens the directory of a run to resume it from `saved`. Rows written after that checkpoint are removed.
    ///
    /// # Errors
    /// When another process is writing to the run, or a file is missing or shorter than at the checkpoint.
    pub(crate) fn reopen<S>(dir: &Path, saved: &Checkpoint<S>) -> Result<Self> {
        let log = lock(dir)?;
        metrics::cut(dir, &saved.state.file_lengths)?;
        Ok(Self { dir: dir.to_path_buf(), metrics: Metrics::open(dir)?, log, saved_at: Some(saved.step) })
    }

    fn attach(dir: &Path) -> Result<Self> {
        let log = lock(dir)?;
        Ok(Self { dir: dir.to_path_buf(), metrics: Metrics::open(dir)?, log, saved_at: None })
    }

    /// Returns the directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds a line to `log.txt`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn log(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.log, "{line}")?)
    }

    /// Writes to `log.txt` how the run `ended` at `step`, and returns `ended`.
    ///
    /// # Errors
    /// When the run ended with an error, or the log cannot be written.
    pub(crate) fn log_end(&mut self, step: u64, ended: Result<Outcome>) -> Result<Outcome> {
        let words = match &ended {
            Ok(Outcome::Finished) => "finished".to_owned(),
            Ok(Outcome::Interrupted) => "interrupted".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let logged = self.log(&format!("step {step}: {words}"));
        // The first of two errors is returned: a full disk may cause both.
        let outcome = ended?;
        logged.map(|()| outcome)
    }

    /// Returns whether the last checkpoint is of `step`.
    pub(crate) fn is_saved(&self, step: u64) -> bool {
        self.saved_at == Some(step)
    }

    /// Saves a checkpoint of `step`: the progress of the run, and the state of the agent or model.
    ///
    /// # Errors
    /// When it cannot be written. The previous checkpoint stays valid.
    pub(crate) fn save(&mut self, step: u64, loop_state: impl Serialize, learned: &Snapshot) -> Result<()> {
        let file_lengths = self.metrics.sync()?;
        let state = CheckpointState { step, loop_state, learned: learned.state().clone(), file_lengths };
        checkpoint::write(&self.dir, &state, learned).with_context(|| match self.saved_at {
            Some(before) => format!("cannot save a checkpoint of step {step}; that of step {before} stays valid"),
            None => format!("cannot save a checkpoint of step {step}, the first"),
        })?;
        self.saved_at = Some(step);
        self.log(&format!("step {step}: checkpoint"))
    }

    /// Saves `policy`, the state of the policy with the best evaluation so far, at `step`.
    ///
    /// # Errors
    /// When it cannot be written. The previous best stays.
    pub(crate) fn save_best(&mut self, step: u64, loop_state: impl Serialize, policy: &Snapshot) -> Result<()> {
        let file_lengths = self.metrics.sync()?;
        let state = CheckpointState { step, loop_state, learned: policy.state().clone(), file_lengths };
        checkpoint::write_best(&self.dir, &state, policy)
            .with_context(|| format!("cannot save the best policy, of step {step}"))?;
        self.log(&format!("step {step}: best policy"))
    }

    /// Replaces the run's configuration by `config`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn rewrite_config(&self, config: &str) -> Result<()> {
        files::write_whole(&self.dir.join(CONFIG), |file| Ok(file.write_all(config.as_bytes())?))
    }
}

/// Copies the configuration and the newest checkpoint of the run in `from` to a new folder `to`.
///
/// # Errors
/// When there is no valid checkpoint, or a file cannot be copied.
pub(crate) fn copy_newest(from: &Path, to: &Path) -> Result<()> {
    let step = checkpoint::newest::<serde_json::Value>(from)?.step.to_string();
    let (from_step, to_step) = (from.join(checkpoint::FOLDER).join(&step), to.join(checkpoint::FOLDER).join(&step));
    fs::create_dir_all(&to_step)?;
    fs::copy(from.join(CONFIG), to.join(CONFIG))?;
    for entry in fs::read_dir(from_step)? {
        let entry = entry?;
        fs::copy(entry.path(), to_step.join(entry.file_name()))?;
    }
    Ok(())
}

/// Checks that a run can be created in `dir`.
///
/// # Errors
/// When `dir` exists (with `force`: when it is not a run).
pub(crate) fn check_free(dir: &Path, force: bool) -> Result<()> {
    let Ok(found) = fs::symlink_metadata(dir) else { return Ok(()) };
    // A link to an empty folder is not free, since the link itself would be replaced.
    if found.is_dir() && fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none()) {
        return Ok(());
    }
    let name = dir.display();
    ensure!(dir.join(CONFIG).exists(), "{name} is there and is not a run; --out DIR writes elsewhere");
    ensure!(
        force,
        "{name} exists; --force replaces it, --out DIR writes elsewhere, `carom resume {}` goes on with it",
        shell(dir)
    );
    Ok(())
}

fn fill(dir: &Path, config: &str, protocol: Option<&str>) -> Result<()> {
    fs::write(dir.join(CONFIG), config)?;
    fs::write(dir.join("meta.json"), meta::describe(protocol))?;
    fs::write(dir.join(LOG), "")?;
    fs::create_dir(dir.join(checkpoint::FOLDER))?;
    metrics::create(dir)
}

fn lock_if_run(dir: &Path) -> Result<Option<fs::File>> {
    dir.join(LOG).exists().then(|| lock(dir)).transpose()
}

/// Opens the log and locks it until it is closed.
fn lock(dir: &Path) -> Result<fs::File> {
    let log = fs::OpenOptions::new().append(true).open(dir.join(LOG))?;
    match log.file().try_lock() {
        Err(TryLockError::WouldBlock) => bail!("another process is at work on {}", dir.display()),
        // Some file systems have no locks. Training is possible without one.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(log),
    }
}
