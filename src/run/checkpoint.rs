//! Checkpoints: `checkpoints/<step>/` with `arrays.safetensors`, `state.json`, and `SHA256SUMS` over both.
//!
//! Written aside, brought to the disk and renamed, so that a folder with a number for its name is whole, whenever the
//! process or the machine stops. The newest and the one before are kept; a replay memory makes them large.

use crate::files;
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

/// Where the checkpoints lie in a run's directory.
pub(super) const FOLDER: &str = "checkpoints";

const TENSORS: &str = "arrays.safetensors";
const STATE: &str = "state.json";
const SUMS: &str = "SHA256SUMS";
const KEPT: usize = 2;

/// All of a run but the arrays. `S` is where the run stands, apart from what is learned.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State<S> {
    /// Where the run stands.
    pub loop_state: S,
    /// State values of what is learned: an agent or a model.
    pub learned: Map<String, Value>,
    /// Byte length of each CSV file at this step.
    pub file_lengths: BTreeMap<String, u64>,
}

/// A checkpoint read back, its checksums verified.
pub(crate) struct Checkpoint<S> {
    /// The step it was saved at.
    pub step: u64,
    /// All but the arrays.
    pub state: State<S>,
    path: PathBuf,
    tensors: Mmap,
}

impl<S> Checkpoint<S> {
    /// Hands what was learned to `load`.
    ///
    /// # Errors
    /// When it is of another agent or model, or of other settings.
    pub(crate) fn load(&self, load: impl FnOnce(&Loaded) -> Result<()>) -> Result<()> {
        let at = || format!("in {}", self.path.display());
        let arrays = SafeTensors::deserialize(&self.tensors).with_context(at)?;
        load(&Loaded::new(&arrays, &self.state.learned)).with_context(at)
    }
}

/// Writes the checkpoint of `step`, and removes all but the newest two.
pub(super) fn write(run: &Path, step: u64, state: &State<impl Serialize>, snapshot: &Snapshot) -> Result<()> {
    let folder = run.join(FOLDER);
    remove_leftovers(&folder)?;
    files::replace_folder(&folder.join(step.to_string()), |dir| fill(dir, state, snapshot))?;
    for old in steps(run)?.into_iter().skip(KEPT) {
        fs::remove_dir_all(folder.join(old.to_string()))?;
    }
    Ok(())
}

/// The newest valid checkpoint of the run in `run`. Damaged ones are passed over with a warning on stderr.
///
/// # Errors
/// When there is no checkpoint, or none is valid.
pub(crate) fn newest<S: DeserializeOwned>(run: &Path) -> Result<Checkpoint<S>> {
    let mut first_error = None;
    for step in steps(run)? {
        let path = run.join(FOLDER).join(step.to_string());
        match read(&path, step) {
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

/// Removes folders of checkpoints that a killed process began and that may be large.
fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if files::is_left_over(&entry.file_name().to_string_lossy()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Steps of the run's checkpoints, the newest first.
fn steps(run: &Path) -> Result<Vec<u64>> {
    let folder = run.join(FOLDER);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    let mut steps: Vec<u64> = names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
    steps.sort_unstable_by(|a, b| b.cmp(a));
    Ok(steps)
}

fn fill(dir: &Path, state: &State<impl Serialize>, snapshot: &Snapshot) -> Result<()> {
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

fn read<S: DeserializeOwned>(path: &Path, step: u64) -> Result<Checkpoint<S>> {
    let sums = fs::read_to_string(path.join(SUMS))?;
    for name in [TENSORS, STATE] {
        let file = path.join(name);
        let expected = sums.lines().find_map(|line| line.strip_suffix(name)).map(str::trim);
        let Some(expected) = expected else { bail!("{} does not list {name}", path.join(SUMS).display()) };
        let damaged = || format!("{} is truncated or damaged: it does not match its checksum", file.display());
        ensure!(files::sha256(&file)? == expected, damaged());
    }
    let state_path = path.join(STATE);
    let state = serde_json::from_slice(&fs::read(&state_path)?)
        .with_context(|| format!("{} is not of this version", state_path.display()))?;
    let file = fs::File::open(path.join(TENSORS))?;
    // SAFETY: a checkpoint is never changed once its folder has its name; only removing it is allowed, which a mapping
    // survives.
    let tensors = unsafe { Mmap::map(file.file()) }.with_context(|| format!("cannot map {}", path.display()))?;
    Ok(Checkpoint { step, state, path: path.to_path_buf(), tensors })
}
