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
    // A missing checkpoint is reported before the data are read, which may take long.
    let checkpoint = checkpoint::newest(dir)?;
    Ok((at(config, dir, &checkpoint)?, checkpoint))
}

/// Opens the run of a fit and restores `checkpoint`.
///
/// # Errors
/// When the data cannot be read, or the checkpoint belongs to other settings.
pub(crate) fn at(config: FitConfig, dir: &Path, checkpoint: &Checkpoint<FitProgress>) -> Result<FitSession> {
    restored(begin(config)?, dir, checkpoint)
}

fn restored(mut session: FitSession, dir: &Path, checkpoint: &Checkpoint<FitProgress>) -> Result<FitSession> {
    session.load(checkpoint).with_context(|| format!("in {}", dir.display()))?;
    session.use_judge_of(dir);
    Ok(session)
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
    let checkpoint = checkpoint::newest(dir)?;
    let device = device::open(config.run.device)?;
    let n_frames = config.frame_stack() as i64;
    let data = Data { n_frames, ..Data::new(&images.stand_in(), device) };
    let session = FitSession::on(config, data, judges::open)?;
    Ok((restored(session, dir, &checkpoint)?, checkpoint))
}
