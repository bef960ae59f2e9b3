//! Run directories: their files, creation, and locking.
//!
//! ```text
//! runs/<name>/  config.toml (resolved)  meta.json (versions, CPU, command, git, settings)  log.txt
//!               metrics.csv  eval.csv (step,name,value)   episodes.csv (step,env_idx,return,length)
//!               timing.csv (the only wall-clock numbers)  checkpoints/<step>/ (see [`checkpoint`])
//!               plots/*.svg, of fitted models *.png too
//!               tensorboard/ (events of the rows, where --tensorboard was given)
//!               encoder/, judge/ (copies of the fitted models that the run uses)
//! ```

pub(crate) mod checkpoint;
mod events;
pub(crate) mod layout;
mod log;
mod meta;
mod metrics;
pub(crate) mod stopwatch;

pub(crate) use log::{LOG, Log};
pub(crate) use metrics::{Metrics, MetricsFile};

use crate::dotted::Change;
use crate::files;
use crate::human::shell;
use anyhow::{Context, Result, bail, ensure};
use carom_agents::Snapshot;
use checkpoint::{Checkpoint, CheckpointState};
use fs_err as fs;
use log::{BEST, CHANGED, FINISHED, INTERRUPTED, SAVED};
use serde::Serialize;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Name of the file of a run's settings.
pub(crate) const CONFIG: &str = "config.toml";
const META: &str = "meta.json";
/// Key in `meta.json` of the run and checkpoint that the first weights are from.
pub(crate) const ORIGIN: &str = "init_from";
/// Key in `meta.json` of the number of processes that make a run, where there are several.
const RANKS: &str = "ranks";
/// Folder of a run's pictures.
pub(crate) const PLOTS: &str = "plots";

/// How a training run or a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All steps were made, or a planner found nothing left to change.
    Finished,
    /// A stop was requested, and a checkpoint was saved.
    Interrupted,
}

/// Which run a new one may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// None.
    Nothing,
    /// One that was stopped before its first checkpoint.
    Unsaved,
    /// Any.
    Anything,
}

impl Replaces {
    /// What `--force` asks for, if it is given.
    pub(crate) fn forced(force: bool) -> Self {
        if force { Self::Anything } else { Self::Nothing }
    }
}

/// Keeps other processes from writing to a run, until it is dropped.
pub(crate) struct Lock(fs::File);

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
    /// protocol, for comparisons of runs; a fit has none, and no files of episodes and evaluations. `add` writes
    /// copies of other runs that this one needs; they may come from the run that is replaced.
    ///
    /// # Errors
    /// When `dir` exists and is not a run that this one `replaces`, or holds files that Carom did not write, another
    /// process is at work on it, `add` fails, or it cannot be written.
    pub(crate) fn create(
        dir: &Path,
        config: &str,
        protocol: Option<&str>,
        replaces: Replaces,
        add: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let may_replace = replaces != Replaces::Nothing;
        check_free(dir, may_replace)?;
        // One that another process makes from here on is not replaced.
        let is_there = layout::is_run(dir);
        // The run that is replaced stays locked until it is gone.
        let locked = dir.join(LOG).exists().then(|| lock(dir)).transpose()?;
        let mut log = String::new();
        if replaces == Replaces::Unsaved {
            // Another process may have saved it since the caller looked.
            ensure!(!is_saved(dir)?, "{} has been saved by another process: try again", dir.display());
            // How it ended before is known after the next end too.
            log = fs::read_to_string(dir.join(LOG)).unwrap_or_default();
        }
        let mut own = None;
        files::replace_folder(dir, (may_replace && is_there).then_some(layout::is_ours), |made| {
            fill(made, config, protocol, &log)?;
            // It is locked before others can see it.
            own = Some(lock(made)?);
            add(made)
        })
        .with_context(|| match !is_there && layout::is_run(dir) {
            true => format!("another process has made {} in the meantime", dir.display()),
            false => format!("cannot make the run directory {}", dir.display()),
        })?;
        drop(locked);
        let Lock(log) = own.expect("it was filled");
        Ok(Self { dir: dir.to_path_buf(), metrics: Metrics::open(dir)?, log, saved_at: None })
    }

    /// Opens the directory of a run to resume it from `saved`, its newest checkpoint, which was read under `lock`. Rows
    /// written after that checkpoint are removed, and checkpoints beyond it, which are damaged.
    ///
    /// # Errors
    /// When a file is missing or shorter than at the checkpoint, or cannot be written.
    pub(crate) fn reopen<S>(dir: &Path, Lock(log): Lock, saved: &Checkpoint<S>) -> Result<Self> {
        metrics::cut(dir, &saved.state.file_lengths)?;
        checkpoint::remove_beyond(dir, saved.state.step)?;
        Ok(Self { dir: dir.to_path_buf(), metrics: Metrics::open(dir)?, log, saved_at: Some(saved.state.step) })
    }

    /// Returns the directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes event files for TensorBoard from now on, beside the tables.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn write_events(&mut self) -> Result<()> {
        self.metrics.write_events(&self.dir)
    }

    /// Records where the run's first weights are from: `origin` in `meta.json`, and in words in `log.txt`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn record_origin(&mut self, origin: &(impl Serialize + std::fmt::Display)) -> Result<()> {
        meta::insert(&self.dir, ORIGIN, serde_json::to_value(origin)?)?;
        self.log(&origin.to_string())
    }

    /// Records in `meta.json` that `n_ranks` processes make the run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn record_ranks(&mut self, n_ranks: usize) -> Result<()> {
        meta::insert(&self.dir, RANKS, n_ranks.into())
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
    /// When the run ended with an error, its directory was removed or replaced, or the log cannot be written.
    pub(crate) fn log_end(&mut self, step: u64, ended: Result<Outcome>) -> Result<Outcome> {
        let ended = ended.and_then(|outcome| self.check_place().map(|()| outcome));
        let words = match &ended {
            Ok(Outcome::Finished) => FINISHED.to_owned(),
            Ok(Outcome::Interrupted) => INTERRUPTED.to_owned(),
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
        self.write(&step.to_string(), step, loop_state, learned)?.with_context(|| match self.saved_at {
            Some(before) => format!("cannot save a checkpoint of step {step}; that of step {before} stays valid"),
            None => format!("cannot save a checkpoint of step {step}, the first"),
        })?;
        self.saved_at = Some(step);
        self.log(&format!("step {step}: {SAVED}"))
    }

    /// Saves `policy`, the state of the policy with the best evaluation so far, at `step`.
    ///
    /// # Errors
    /// When it cannot be written. The previous best stays.
    pub(crate) fn save_best(&mut self, step: u64, loop_state: impl Serialize, policy: &Snapshot) -> Result<()> {
        self.write(checkpoint::BEST, step, loop_state, policy)?
            .with_context(|| format!("cannot save the best policy, of step {step}"))?;
        self.log(&format!("step {step}: {BEST}"))
    }

    /// Returns how writing the checkpoint ended, unless the run's directory was removed or replaced.
    fn write(&mut self, name: &str, step: u64, loop_state: impl Serialize, learned: &Snapshot) -> Result<Result<()>> {
        self.check_place()?;
        let file_lengths = self.metrics.sync()?;
        let state = CheckpointState { step, loop_state, learned: learned.state().clone(), file_lengths };
        let written = checkpoint::write(&self.dir, name, &state, learned, || self.check_place());
        if written.is_err() {
            self.check_place()?;
        }
        Ok(written)
    }

    /// Checks that the run's directory is still the one that was opened. Somebody may have removed it, and another
    /// process may have made a new run of the same name, which this one must not write to.
    ///
    /// # Errors
    /// When it is not.
    fn check_place(&self) -> Result<()> {
        let found = fs::metadata(self.dir.join(LOG)).ok();
        let opened = self.log.metadata()?;
        let is_ours = found.is_some_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()));
        ensure!(
            is_ours,
            "{} was removed or replaced while this process was at work on it; nothing more is written there",
            self.dir.display()
        );
        Ok(())
    }

    /// Replaces the run's configuration by `config`, a TOML text, in force from `step` on, and records what has
    /// `changed` in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn reconfigure(&mut self, step: u64, config: &str, changed: &[Change]) -> Result<()> {
        if changed.is_empty() {
            return Ok(());
        }
        files::write_whole(&self.dir.join(CONFIG), |file| {
            file.write_all(config.as_bytes()).map_err(anyhow::Error::from)
        })?;
        meta::add(&self.dir, step, config, changed)?;
        changed.iter().try_for_each(|change| self.log(&format!("step {step}: {CHANGED}{change}")))
    }
}

/// Checks that the tables of the run in `dir` still have all rows that they had at its checkpoint `saved`.
///
/// # Errors
/// When a table is missing, is shorter, or was changed where it ended.
pub(crate) fn check_tables<S>(dir: &Path, saved: &Checkpoint<S>) -> Result<()> {
    metrics::check(dir, &saved.state.file_lengths)
}

/// Reads the configuration file of the run in `dir`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn config_text(dir: &Path) -> Result<String> {
    Ok(fs::read_to_string(dir.join(CONFIG))?)
}

/// Writes a run with the configuration file `config` and only this checkpoint to a new folder `to`. The run that the
/// checkpoint was read from may have gone on, or be gone.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn copy<S>(config: &str, checkpoint: &Checkpoint<S>, to: &Path) -> Result<()> {
    checkpoint.copy(&to.join(checkpoint::FOLDER))?;
    Ok(fs::write(to.join(CONFIG), config)?)
}

/// Reads `meta.json` of the run in `dir`: the program, the machine and the settings.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn facts(dir: &Path) -> Result<serde_json::Value> {
    meta::read(dir)
}

/// Returns the settings in which `config` differs from those that the run in `dir` was made with. `resolved` are those
/// of its file as this version reads them; both are TOML texts.
pub(crate) fn changes_to(dir: &Path, config: &str, resolved: &str) -> Vec<Change> {
    meta::changes_to(dir, config, resolved)
}

/// Checks that a run can be created in `dir`.
///
/// # Errors
/// When it would be inside another run, or `dir` exists (with `force`: when it is not a run, or holds files that Carom
/// did not write).
pub(crate) fn check_free(dir: &Path, force: bool) -> Result<()> {
    if let Some(outer) = std::path::absolute(dir)?.ancestors().skip(1).find(|outer| layout::is_run(outer)) {
        bail!("{} would be inside the run {}: choose another --out", dir.display(), files::shown(outer).display());
    }
    let Ok(found) = fs::symlink_metadata(dir) else { return Ok(()) };
    // A link to an empty folder is not free, since the link itself would be replaced.
    if found.is_dir() && fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none()) {
        return Ok(());
    }
    let name = dir.display();
    ensure!(!found.is_symlink(), "{name} is a link, which a run would replace: name the folder itself");
    ensure!(layout::is_run(dir), "{name} is there and is not a run: move it away, or choose another place");
    let resume = format!("`carom resume {}` goes on with it", shell(dir));
    if let Some(note) = files::foreign_note(dir, &files::foreign(dir, layout::is_ours)?) {
        bail!("{note}, so the run is not replaced: move them away, or choose another place; {resume}");
    }
    ensure!(force, "{name} exists; --force replaces it, --out DIR writes elsewhere, {resume}");
    Ok(())
}

fn fill(dir: &Path, config: &str, protocol: Option<&str>, log: &str) -> Result<()> {
    fs::write(dir.join(CONFIG), config)?;
    fs::write(dir.join(META), meta::describe(protocol, config))?;
    fs::write(dir.join(LOG), log)?;
    fs::create_dir(dir.join(checkpoint::FOLDER))?;
    metrics::create(dir, protocol.is_some())
}

/// Returns whether a process is at work on the run in `dir`.
pub(crate) fn is_at_work(dir: &Path) -> bool {
    fs::OpenOptions::new().append(true).open(dir.join(LOG)).is_ok_and(|log| !files::try_lock(&log))
}

/// Locks the run in `dir`. Its newest checkpoint is to be read after that: until then another process may save one.
///
/// # Errors
/// When another process is at work on it, or its log cannot be opened.
pub(crate) fn lock(dir: &Path) -> Result<Lock> {
    /// Tries to lock, since [`is_at_work`] holds the lock for a moment.
    const TRIES: usize = 20;
    const TRY_EVERY: Duration = Duration::from_millis(5);
    let log = fs::OpenOptions::new().append(true).open(dir.join(LOG))?;
    for _ in 0..TRIES {
        if files::try_lock(&log) {
            return Ok(Lock(log));
        }
        thread::sleep(TRY_EVERY);
    }
    bail!("another process is at work on {}", dir.display())
}

/// Returns whether the run in `dir` has a checkpoint, be it damaged.
///
/// # Errors
/// When it had one that is gone, or a file cannot be read.
pub(crate) fn is_saved(dir: &Path) -> Result<bool> {
    if checkpoint::is_there(dir)? {
        return Ok(true);
    }
    match Log::of(dir).ok().and_then(|log| log.last_saved()) {
        None => Ok(false),
        Some(step) => bail!(
            "{} has lost its checkpoints, of which the last was of step {step}: it cannot go on. When it is moved \
             away, the same command starts it anew",
            dir.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_another_process_made_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("run");
        let create = |add: &dyn Fn() -> Result<()>| Run::create(&dir, "", None, Replaces::Unsaved, |_| add());
        let other = std::cell::RefCell::new(None);
        let meanwhile = || {
            *other.borrow_mut() = Some(create(&|| Ok(()))?);
            Ok(())
        };
        let error = create(&meanwhile).map(drop).expect_err("two runs in one place");
        assert!(format!("{error:#}").contains("another process has made"), "{error:#}");
        // The other is locked from the moment that it is there.
        assert!(is_at_work(&dir));
        other.borrow().as_ref().expect("made").check_place().expect("it is there");
        let error = create(&|| Ok(())).map(drop).expect_err("it is locked");
        assert!(format!("{error:#}").contains("another process is at work"), "{error:#}");
    }
}
