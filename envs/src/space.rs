//! Shapes and element types of observations.

use ndarray::{Array1, Array2, ArrayView4};
use std::fmt;

/// Shape and element type of one observation.
///
/// Observations are passed as bytes, so that one replay and one vectoriser serve every game. Bytes are stored as they
/// are; `f32` and state numbers (`u32`) take four little-endian bytes each.
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
            ObsSpace::Vector { len } => write!(f, "a vector of {len} numbers"),
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

    /// Shape of the observation as an image, or `None` if it is the number of a state or a vector.
    pub fn image(&self) -> Option<ImageSpace> {
        match *self {
            ObsSpace::Planes { shape: [rows, columns, n_channels] } => {
                Some(ImageSpace { rows, columns, n_channels, max: 1 })
            }
            ObsSpace::Pixels { shape: [rows, columns] } => {
                Some(ImageSpace { rows, columns, n_channels: 1, max: u8::MAX })
            }
            ObsSpace::Discrete { .. } | ObsSpace::Vector { .. } => None,
        }
    }

    /// Reads observations, `[n * n_bytes]`, as an array. Images are not copied; numbers are, since bytes need not be
    /// aligned.
    ///
    /// # Panics
    /// When `obs` is not a whole number of observations.
    pub fn array<'a>(&self, obs: &'a [u8]) -> ObsArray<'a> {
        let n_bytes = self.n_bytes();
        assert!(obs.len().is_multiple_of(n_bytes), "{} bytes are no observations of {n_bytes} bytes", obs.len());
        let n = obs.len() / n_bytes;
        let (words, _) = obs.as_chunks();
        match (self, self.image()) {
            (_, Some(ImageSpace { rows, columns, n_channels, .. })) => {
                let images = ArrayView4::from_shape((n, rows, columns, n_channels), obs);
                ObsArray::Images(images.expect("the length was checked"))
            }
            (ObsSpace::Vector { len }, _) => {
                let numbers = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
                ObsArray::Vectors(Array2::from_shape_vec((n, *len), numbers).expect("the length was checked"))
            }
            _ => ObsArray::States(words.iter().map(|&word| u32::from_le_bytes(word)).collect()),
        }
    }
}

/// Shape of an observation that is an image: bytes in `0..=max`, row-major with the channel last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSpace {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Number of channels: the planes, or 1 for gray pixels.
    pub n_channels: usize,
    /// Largest value of a byte: 1 for planes, 255 for gray pixels.
    pub max: u8,
}

impl ImageSpace {
    /// Whether the channels are planes of zeros and ones rather than gray levels.
    pub fn is_planes(self) -> bool {
        self.max == 1
    }

    /// `[rows, columns, channels]`.
    pub fn shape(self) -> [usize; 3] {
        [self.rows, self.columns, self.n_channels]
    }

    /// Number of bytes of an image.
    pub fn n_bytes(self) -> usize {
        self.shape().iter().product()
    }
}

/// Observations as an array.
#[derive(Clone, Debug, PartialEq)]
pub enum ObsArray<'a> {
    /// Numbers of states, `[n]`.
    States(Array1<u32>),
    /// Vectors, `[n, len]`.
    Vectors(Array2<f32>),
    /// Images, `[n, rows, columns, channels]`: a view of the observations' own bytes.
    Images(ArrayView4<'a, u8>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn observations_become_arrays_of_their_shape() {
        let numbers: Vec<u8> = [1.5_f32, -2.0, 0.0, 3.0].into_iter().flat_map(f32::to_le_bytes).collect();
        let vectors = ObsArray::Vectors(array![[1.5, -2.0], [0.0, 3.0]]);
        assert_eq!(ObsSpace::Vector { len: 2 }.array(&numbers), vectors);
        assert_eq!(ObsSpace::Discrete { n: 9 }.array(&[7, 0, 0, 0, 1, 1, 0, 0]), ObsArray::States(array![7, 257]));
        let ObsArray::Images(images) = ObsSpace::Planes { shape: [1, 2, 2] }.array(&[0, 1, 1, 0]) else {
            panic!("planes are images")
        };
        assert_eq!((images.shape(), images[[0, 0, 1, 0]]), (&[1, 1, 2, 2][..], 1));
        let pixels = ObsSpace::Pixels { shape: [2, 3] }.image();
        assert_eq!(pixels, Some(ImageSpace { rows: 2, columns: 3, n_channels: 1, max: 255 }));
    }

    #[test]
    #[should_panic(expected = "6 bytes are no observations of 4 bytes")]
    fn a_part_of_an_observation_is_refused() {
        ObsSpace::Pixels { shape: [2, 2] }.array(&[0; 6]);
    }
}
