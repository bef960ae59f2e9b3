//! Checkpoints: `checkpoints/<step>/` with `arrays.safetensors`, `state.json`, and `SHA256SUMS` over both.
//!
//! A checkpoint is written to a temporary folder, fsynced and renamed. So a folder named by a number is complete,
//! whenever the process or the machine stops. Only the newest two are kept, since a replay memory makes them large.
//! `checkpoints/best/` holds the policy with the best evaluation, without what only training needs.

use crate::files;
use crate::human::parse_count;
use anyhow::{Context, Result, anyhow, bail, ensure};
use carom_agents::{Loaded, Snapshot};
use fs_err as fs;
use memmap2::Mmap;
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Folder of the checkpoints in a run's directory.
pub(super) const FOLDER: &str = "checkpoints";

const TENSORS: &str = "arrays.safetensors";
const STATE: &str = "state.json";
const SUMS: &str = "SHA256SUMS";
/// All files of a checkpoint.
const PARTS: [&str; 3] = [TENSORS, STATE, SUMS];
/// Name of the checkpoint of the best policy.
pub(super) const BEST: &str = "best";
const N_KEPT: usize = 2;

/// A checkpoint of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Which {
    /// The newest valid one.
    #[default]
    Newest,
    /// The policy with the best evaluation during training.
    Best,
    /// That of a step.
    Step(u64),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "newest" => Ok(Which::Newest),
            BEST => Ok(Which::Best),
            _ => parse_count(text).map(Which::Step).map_err(|_| "expected best, newest or a step".to_owned()),
        }
    }
}

/// All contents of a checkpoint but its arrays. `S` is the progress of the run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointState<S> {
    /// Step at which it was saved.
    pub step: u64,
    /// Progress of the run.
    pub loop_state: S,
    /// State values of the agent or model.
    pub learned: Map<String, Value>,
    /// Length of each CSV file at this step, in bytes.
    pub file_lengths: BTreeMap<String, u64>,
}

/// A checkpoint with verified checksums.
pub(crate) struct Checkpoint<S> {
    /// All contents but the arrays.
    pub state: CheckpointState<S>,
    path: PathBuf,
    tensors: Mmap,
    /// Contents of the other two files.
    state_json: Vec<u8>,
    sums: String,
}

impl<S> Checkpoint<S> {
    /// Calls `load` with the state of the agent or model.
    ///
    /// # Errors
    /// When `load` fails: the state belongs to another agent or model, or to other settings.
    pub(crate) fn load(&self, load: impl FnOnce(&Loaded) -> Result<()>) -> Result<()> {
        let at = || format!("in {}", self.path.display());
        let arrays = SafeTensors::deserialize(&self.tensors).with_context(at)?;
        load(&Loaded::new(&arrays, &self.state.learned)).with_context(at)
    }

    /// Returns the SHA-256 of the arrays, as `sha256sum` prints it.
    pub(crate) fn sha256(&self) -> &str {
        sum(&self.sums, TENSORS).expect("it was verified")
    }

    /// Writes a copy of it to `folder`, the folder of another run's checkpoints.
    pub(super) fn copy(&self, folder: &Path) -> Result<()> {
        let dir = folder.join(self.state.step.to_string());
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(TENSORS), &self.tensors)?;
        fs::write(dir.join(STATE), &self.state_json)?;
        Ok(fs::write(dir.join(SUMS), &self.sums)?)
    }
}

/// Writes a checkpoint called `name`, its step or [`BEST`], and removes all numbered ones but the newest two. `check`
/// is called before the checkpoint gets its name.
pub(super) fn write(
    run: &Path,
    name: &str,
    state: &CheckpointState<impl Serialize>,
    snapshot: &Snapshot,
    check: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let folder = run.join(FOLDER);
    remove_leftovers(&folder)?;
    files::replace_folder(&folder.join(name), Some(is_part), |dir| {
        fill(dir, state, snapshot)?;
        check()
    })?;
    for old in steps(run)?.into_iter().skip(N_KEPT) {
        files::remove_ours(&folder.join(old.to_string()), is_part)?;
    }
    Ok(())
}

/// Opens a checkpoint of the run in `run`.
///
/// # Errors
/// When there is no such checkpoint, or it is not valid.
pub(crate) fn open<S: DeserializeOwned>(run: &Path, which: Which) -> Result<Checkpoint<S>> {
    let name = match which {
        Which::Newest => return newest(run),
        Which::Best => BEST.to_owned(),
        Which::Step(step) => step.to_string(),
    };
    let path = run.join(FOLDER).join(&name);
    if path.exists() {
        return read(&path);
    }
    let there = steps(run)?.iter().rev().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let run = run.display();
    match which {
        Which::Best => bail!("{run} has no best checkpoint: it is kept when a run is trained with --set eval_every=N"),
        _ if there.is_empty() => bail!("{run} has no checkpoint: it was stopped before the first"),
        _ => bail!("{run} has no checkpoint of step {name}; there are those of {there}"),
    }
}

/// Returns whether Carom wrote the file whose path below the folder of checkpoints is `names`.
pub(super) fn is_ours(names: &[&str]) -> bool {
    let [folder, name] = names else { return false };
    (*folder == BEST || folder.parse::<u64>().is_ok() || files::is_left_over(folder)) && PARTS.contains(name)
}

/// Returns whether `file` is a part of a checkpoint.
fn is_part(_: &Path, file: &Path) -> bool {
    PARTS.iter().any(|part| file == Path::new(part))
}

/// Opens the newest valid checkpoint of the run in `run`. Damaged ones are skipped with a warning.
///
/// # Errors
/// When there is no checkpoint, or none is valid.
pub(crate) fn newest<S: DeserializeOwned>(run: &Path) -> Result<Checkpoint<S>> {
    loop {
        let there = steps(run)?;
        let opened = newest_of(run, &there);
        // A process at work on the run may have replaced all of them meanwhile.
        if opened.is_ok() || steps(run)? == there {
            return opened;
        }
    }
}

fn newest_of<S: DeserializeOwned>(run: &Path, steps: &[u64]) -> Result<Checkpoint<S>> {
    let mut first_error = None;
    for step in steps {
        let path = run.join(FOLDER).join(step.to_string());
        match read(&path) {
            Ok(checkpoint) => {
                if let Some(error) = first_error {
                    tracing::warn!("{error:#}; going back to the checkpoint of step {step}");
                }
                return Ok(checkpoint);
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| anyhow!("{} has no checkpoint: it was stopped before the first", run.display())))
}

/// Verifies the last checkpoint, where [`newest`] would go back to the one before.
///
/// # Errors
/// When there is none, or it is damaged.
pub(crate) fn check_last(run: &Path) -> Result<()> {
    let last = *steps(run)?.first().with_context(|| format!("{} has no checkpoint", run.display()))?;
    read::<Value>(&run.join(FOLDER).join(last.to_string())).map(drop)
}

/// Returns whether `seconds` can be the time that a run took.
pub(crate) fn is_time(seconds: f64) -> bool {
    // A million years, far below what a `Duration` holds.
    (0.0..3e13).contains(&seconds)
}

/// Removes temporary folders of a killed process, which may be large.
fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if files::is_left_over(&entry.file_name().to_string_lossy()) {
            files::remove_ours(&entry.path(), is_part)?;
        }
    }
    Ok(())
}

/// Removes the checkpoints beyond `step`.
///
/// # Errors
/// When one cannot be removed.
pub(super) fn remove_beyond(run: &Path, step: u64) -> Result<()> {
    for beyond in steps(run)?.into_iter().take_while(|beyond| *beyond > step) {
        files::remove_ours(&run.join(FOLDER).join(beyond.to_string()), is_part)?;
    }
    Ok(())
}

/// Returns whether the run in `run` has a checkpoint, be it damaged.
///
/// # Errors
/// When their folder cannot be read.
pub(crate) fn is_there(run: &Path) -> Result<bool> {
    Ok(!steps(run)?.is_empty())
}

/// Returns the steps of the run's checkpoints, the newest first.
fn steps(run: &Path) -> Result<Vec<u64>> {
    let folder = run.join(FOLDER);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let names = fs::read_dir(&folder)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    let mut steps: Vec<u64> = names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
    // A folder of a removed checkpoint stays if it holds files of somebody else.
    steps.retain(|step| PARTS.iter().any(|part| folder.join(step.to_string()).join(part).exists()));
    steps.sort_unstable_by(|a, b| b.cmp(a));
    Ok(steps)
}

fn fill(dir: &Path, state: &CheckpointState<impl Serialize>, snapshot: &Snapshot) -> Result<()> {
    let tensors = dir.join(TENSORS);
    safetensors::serialize_to_file(snapshot.tensors(), None, &tensors)
        .map_err(|error| anyhow!("cannot write {}: {error}", tensors.display()))?;
    fs::write(dir.join(STATE), serde_json::to_vec(state)?)?;
    let mut sums = String::new();
    for name in [TENSORS, STATE] {
        sums += &format!("{}  {name}\n", files::sha256(&dir.join(name))?);
    }
    Ok(fs::write(dir.join(SUMS), sums)?)
}

fn read<S: DeserializeOwned>(path: &Path) -> Result<Checkpoint<S>> {
    let sums = fs::read_to_string(path.join(SUMS))?;
    for name in [TENSORS, STATE] {
        let file = path.join(name);
        let Some(expected) = sum(&sums, name) else { bail!("{} does not list {name}", path.join(SUMS).display()) };
        let damaged = || format!("{} is truncated or damaged: it does not match its checksum", file.display());
        ensure!(files::sha256(&file)? == expected, damaged());
    }
    let state_path = path.join(STATE);
    let state_json = fs::read(&state_path)?;
    let state = serde_json::from_slice(&state_json)
        .with_context(|| format!("{} is not of this version", state_path.display()))?;
    let file = fs::File::open(path.join(TENSORS))?;
    // SAFETY: nothing writes to a checkpoint after its folder is renamed. It may be removed, but a mapping keeps the
    // file's contents.
    let tensors = unsafe { Mmap::map(file.file()) }.with_context(|| format!("cannot map {}", path.display()))?;
    Ok(Checkpoint { state, path: path.to_path_buf(), tensors, state_json, sums })
}

/// Returns the checksum of the file `name` in the text of [`SUMS`].
fn sum<'a>(sums: &'a str, name: &str) -> Option<&'a str> {
    sums.lines().find_map(|line| line.strip_suffix(name)).map(str::trim)
}
