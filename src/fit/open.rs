//! Fits as commands begin them and open them from their run directories, with the judges of this program.

use super::judges;
use super::session::{FitProgress, FitSession};
use crate::config::fit::FitConfig;
use crate::run::checkpoint::{self, Checkpoint};
use anyhow::{Context, Result};
use std::path::Path;

/// Begins a fit.
///
/// # Errors
/// When the data cannot be had, the model cannot be fitted to them, or the device is not there.
pub(crate) fn begin(config: FitConfig) -> Result<FitSession> {
    FitSession::new(config, judges::open)
}

/// Opens the run of a fit: its session, with the newest checkpoint restored.
///
/// # Errors
/// When there is no valid checkpoint, or the data cannot be had.
pub(crate) fn open(dir: &Path, config: FitConfig) -> Result<(FitSession, Checkpoint<FitProgress>)> {
    let checkpoint = checkpoint::newest(dir)?;
    let mut session = begin(config)?;
    session.load(&checkpoint).with_context(|| format!("in {}", dir.display()))?;
    Ok((session, checkpoint))
}

/// Opens the run of a model that is used, but neither fitted on nor measured. Of an environment only so many frames are
/// taken as show the shape of an image.
///
/// # Errors
/// When there is no valid checkpoint, or the data cannot be had.
pub(crate) fn open_for_use(dir: &Path, config: FitConfig) -> Result<(FitSession, Checkpoint<FitProgress>)> {
    const MOST_FRAMES: usize = 40;
    let mut config = config;
    config.run.n_frames = config.run.n_frames.map(|n_frames| n_frames.min(MOST_FRAMES));
    open(dir, config)
}
