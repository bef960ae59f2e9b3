//! Starts fits, and opens them from their run directories.

use super::judges;
use super::session::{FitProgress, FitSession};
use crate::config::fit::FitConfig;
use crate::run::checkpoint::{self, Checkpoint};
use anyhow::{Context, Result};
use std::path::Path;

/// Starts a fit.
///
/// # Errors
/// When the data cannot be read, the model cannot be fitted to them, or the device is missing.
pub(crate) fn begin(config: FitConfig) -> Result<FitSession> {
    FitSession::new(config, judges::open)
}

/// Opens the run of a fit and restores its newest checkpoint.
///
/// # Errors
/// When there is no valid checkpoint, or the data cannot be read.
pub(crate) fn open(dir: &Path, config: FitConfig) -> Result<(FitSession, Checkpoint<FitProgress>)> {
    let checkpoint = checkpoint::newest(dir)?;
    let mut session = begin(config)?;
    session.load(&checkpoint).with_context(|| format!("in {}", dir.display()))?;
    Ok((session, checkpoint))
}

/// Opens the run of a model to use it, not to fit or measure it further. Only a few frames of an environment are
/// collected, for the shape of the images.
///
/// # Errors
/// When there is no valid checkpoint, or the data cannot be read.
pub(crate) fn open_for_use(dir: &Path, config: FitConfig) -> Result<(FitSession, Checkpoint<FitProgress>)> {
    const N_SHAPE_FRAMES: usize = 40;
    let mut config = config;
    config.run.n_frames = config.run.n_frames.map(|n_frames| n_frames.min(N_SHAPE_FRAMES));
    open(dir, config)
}
