//! Shapes and element types of observations.

use std::fmt;

/// Shape and element type of one observation.
///
/// Observations are passed as bytes, so that one replay and one vectoriser serve every game. Bytes are stored as they are;
/// `f32` and state numbers (`u32`) take four little-endian bytes each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObsSpace {
    /// The number of a state in `0..n`, one `u32`.
    Discrete {
        /// Number of states.
        n: usize,
    },
    /// A vector of `f32`.
    Vector {
        /// Number of elements.
        len: usize,
    },
    /// Planes of zeros and ones, `u8`, row-major with the channel last.
    Planes {
        /// `[rows, columns, channels]`.
        shape: [usize; 3],
    },
    /// Gray pixels in 0..=255, `u8`, row-major.
    Pixels {
        /// `[rows, columns]`.
        shape: [usize; 2],
    },
}

impl fmt::Display for ObsSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObsSpace::Discrete { n } => write!(f, "one of {n} states"),
            ObsSpace::Vector { len } => write!(f, "a vector of {len}"),
            ObsSpace::Planes { shape: [rows, columns, channels] } => write!(f, "planes of {rows}x{columns}x{channels}"),
            ObsSpace::Pixels { shape: [rows, columns] } => write!(f, "pixels of {rows}x{columns}"),
        }
    }
}

impl ObsSpace {
    /// Number of bytes of one observation.
    pub fn n_bytes(&self) -> usize {
        match *self {
            ObsSpace::Discrete { .. } => 4,
            ObsSpace::Vector { len } => 4 * len,
            ObsSpace::Planes { shape } => shape.iter().product(),
            ObsSpace::Pixels { shape } => shape.iter().product(),
        }
    }

    /// Layout of the observation as an image, or `None` if it is a state number or a vector.
    pub fn image(&self) -> Option<Image> {
        match *self {
            ObsSpace::Planes { shape: [rows, columns, channels] } => Some(Image { rows, columns, channels, max: 1 }),
            ObsSpace::Pixels { shape: [rows, columns] } => Some(Image { rows, columns, channels: 1, max: 255 }),
            ObsSpace::Discrete { .. } | ObsSpace::Vector { .. } => None,
        }
    }
}

/// Layout of an observation that is an image: bytes in `0..=max`, row-major with the channel last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Number of channels: the planes, or 1 for gray pixels.
    pub channels: usize,
    /// The largest value of an element: 1 for planes, 255 for gray pixels.
    pub max: u8,
}

impl Image {
    /// `[rows, columns, channels]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.rows, self.columns, self.channels]
    }

    /// Number of bytes of the image.
    pub fn n_bytes(&self) -> usize {
        self.shape().iter().product()
    }
}
