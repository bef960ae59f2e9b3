//! Observation spaces of images.

use anyhow::{Result, bail};
use carom_envs::ObsSpace;
use tch::{Kind, Tensor};

/// Shape of the image that an environment observes, and the byte that stands for 1.0.
///
/// Its bytes are `[rows, columns, channels]`: of planes the channels, 0 or 1; of pixels one gray level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSpace {
    /// Channels of a frame.
    pub n_channels: usize,
    /// Rows of a frame.
    pub rows: usize,
    /// Columns of a frame.
    pub columns: usize,
    /// 1 for planes, 255 for gray levels.
    pub max: u8,
}

impl ImageSpace {
    /// The images of `space`, which environment `env_id` observes.
    ///
    /// # Errors
    /// When its observations are no images.
    pub fn of(env_id: &str, space: &ObsSpace) -> Result<Self> {
        let found = match *space {
            ObsSpace::Planes { shape: [rows, columns, n_channels] } => {
                return Ok(Self { n_channels, rows, columns, max: 1 });
            }
            ObsSpace::Pixels { shape: [rows, columns] } => return Ok(Self { n_channels: 1, rows, columns, max: 255 }),
            ObsSpace::Discrete { n } => format!("the number of one of {n} states"),
            ObsSpace::Vector { len } => format!("a vector of {len} numbers"),
        };
        bail!(
            "{env_id} observes {found}, which is no image; frames are taken of planes or pixels, as of minatar/breakout"
        )
    }

    /// Returns whether frames are planes of 0s and 1s rather than gray levels.
    pub fn is_planes(self) -> bool {
        self.max == 1
    }

    /// Shape of an image of `n_frames` frames: `[channels, rows, columns]`.
    pub fn image_shape(self, n_frames: usize) -> [usize; 3] {
        [n_frames * self.n_channels, self.rows, self.columns]
    }

    /// Images `[n, channels, rows, columns]` in 0..=1 of `n_frames` frames each, the oldest first. `frames` are their
    /// bytes in any shape.
    pub fn images(self, n_frames: usize, frames: &Tensor) -> Tensor {
        let [n_frames, rows, columns, channels] =
            [n_frames, self.rows, self.columns, self.n_channels].map(|size| size as i64);
        let frames = frames.reshape([-1, n_frames, rows, columns, channels]).permute([0, 1, 4, 2, 3]);
        let values = frames.reshape([-1, n_frames * channels, rows, columns]).to_kind(Kind::Float);
        if self.is_planes() { values } else { values / f64::from(self.max) }
    }
}
