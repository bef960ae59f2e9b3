//! Starts fits, and opens them from their run directories.

use super::judges;
use super::session::{FitProgress, FitSession};
use crate::config::fit::FitConfig;
use crate::device;
use crate::generative::images::{Data, ImageFormat};
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
    restore(dir, || begin(config))
}

/// Restores the newest checkpoint of the run in `dir` in the session that `begin` makes. A missing checkpoint is
/// reported before that, since it may take long.
fn restore(dir: &Path, begin: impl FnOnce() -> Result<FitSession>) -> Result<(FitSession, Checkpoint<FitProgress>)> {
    let checkpoint = checkpoint::newest(dir)?;
    let mut session = begin()?;
    session.load(&checkpoint).with_context(|| format!("in {}", dir.display()))?;
    session.use_judge_of(dir);
    Ok((session, checkpoint))
}

/// Opens the run of a model to use it, not to fit or measure it further. The data set is not read if `images` tells
/// which images the model takes; otherwise only a few frames of an environment are collected.
///
/// # Errors
/// When there is no valid checkpoint, it is of other images, or the data are needed and cannot be read.
pub(crate) fn open_for_use(
    dir: &Path,
    mut config: FitConfig,
    images: Option<&ImageFormat>,
) -> Result<(FitSession, Checkpoint<FitProgress>)> {
    const N_SHAPE_FRAMES: usize = 40;
    let Some(images) = images else {
        config.run.n_frames = config.run.n_frames.map(|n_frames| n_frames.min(N_SHAPE_FRAMES));
        return open(dir, config);
    };
    let device = device::open(config.run.device)?;
    let n_frames = config.frame_stack() as i64;
    let data = Data { n_frames, ..Data::new(&images.stand_in(), device) };
    restore(dir, || FitSession::on(config, data, judges::open))
}
