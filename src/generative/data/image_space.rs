//! Conversion of an environment's observations to a model's images.

use anyhow::{Result, bail};
use carom_envs::{ImageSpace, ObsSpace};
use tch::{Kind, Tensor};

/// Returns the image space of `space`, which environment `env_id` observes.
///
/// # Errors
/// When its observations are not images.
pub(crate) fn image_space(env_id: &str, space: &ObsSpace) -> Result<ImageSpace> {
    match space.image() {
        Some(space) => Ok(space),
        None => bail!(
            "{env_id} observes {space}, which is not an image; use one of planes or pixels, e.g. minatar/breakout"
        ),
    }
}

/// Returns the shape of an image of `n_frames` frames, `[channels, rows, columns]`.
pub(crate) fn image_shape(space: ImageSpace, n_frames: usize) -> [usize; 3] {
    [n_frames * space.n_channels, space.rows, space.columns]
}

/// Returns images `[n, channels, rows, columns]` in 0..=1 of `n_frames` frames each, the oldest first. `frames` are
/// their bytes in any shape.
pub(crate) fn images(space: ImageSpace, n_frames: usize, frames: &Tensor) -> Tensor {
    let ([rows, columns, channels], n_frames) = (space.shape().map(|size| size as i64), n_frames as i64);
    let frames = frames.reshape([-1, n_frames, rows, columns, channels]).permute([0, 1, 4, 2, 3]);
    let values = frames.reshape([-1, n_frames * channels, rows, columns]).to_kind(Kind::Float);
    if space.is_planes() { values } else { values / f64::from(space.max) }
}
