//! What models are fitted to: images and small tables, in memory as bytes.
//!
//! [`open`] reads a data set by its name, and downloads it first where it has to:
//!
//! ```no_run
//! use carom::generative::data;
//!
//! let mnist = data::open(&"mnist".parse()?, None, 0)?;
//! assert_eq!((mnist.shape, mnist.train.len(), mnist.test.len()), ([1, 28, 28], 60_000, 10_000));
//! # anyhow::Ok(())
//! ```

mod fetch;
pub mod idx;
pub mod movies;
pub mod published;
mod source;

pub use source::Source;

use anyhow::{Result, bail, ensure};
use idx::Idx;
use published::MNIST;
use std::path::Path;

/// Images (or rows of a table) to fit a model to, in memory as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// As `--data` takes it.
    pub name: String,
    /// `[channels, rows, columns]` of one image.
    pub shape: [usize; 3],
    /// The byte that stands for 1.0: 255 for gray levels, 1 for planes and tables.
    pub max: u8,
    /// Labels are below this; 0 without labels.
    pub n_classes: usize,
    /// To fit to.
    pub train: Split,
    /// To judge by.
    pub test: Split,
}

/// One part of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// `[n, channels * rows * columns]`.
    pub pixels: Vec<u8>,
    /// `[n]`, empty without labels.
    pub labels: Vec<u8>,
    n: usize,
}

impl Split {
    /// Images of `shape` and their labels, if any.
    ///
    /// # Panics
    /// When `pixels` are not whole images, or there are labels but not one for each image.
    pub fn new(shape: [usize; 3], pixels: Vec<u8>, labels: Vec<u8>) -> Self {
        let image_bytes: usize = shape.iter().product();
        assert!(image_bytes > 0 && pixels.len().is_multiple_of(image_bytes), "whole images of shape {shape:?}");
        let n = pixels.len() / image_bytes;
        assert!(labels.is_empty() || labels.len() == n, "{} labels for {n} images", labels.len());
        Self { pixels, labels, n }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Image `idx`, `[channels * rows * columns]`.
    ///
    /// # Panics
    /// When there are not as many.
    pub fn image(&self, idx: usize) -> &[u8] {
        assert!(idx < self.n, "image {idx} of {}", self.n);
        let image_bytes = self.pixels.len() / self.n;
        &self.pixels[idx * image_bytes..][..image_bytes]
    }
}

/// Reads a data set, and fetches it first if need be. `data_dir` is a folder with an own copy of a published set, to be read
/// instead of the cache. What is drawn at random (not the published sets) is drawn from `seed`.
///
/// # Errors
/// When the set cannot be fetched, a file is damaged, or the source takes no `data_dir`.
pub fn open(source: &Source, data_dir: Option<&Path>, seed: u64) -> Result<Dataset> {
    let _ = seed;
    if let Some(folder) = data_dir.filter(|_| source.published().is_none()) {
        bail!("--data-dir {}: {source} is not read from a folder; leave --data-dir out", folder.display());
    }
    match source {
        Source::Mnist => images(source, MNIST.read(data_dir)?.map(Some)),
        Source::Movies => Ok(movies::dataset()),
    }
}

/// Training images and labels, test images and labels as a data set of gray levels.
fn images(
    source: &Source,
    [train_images, train_labels, test_images, test_labels]: [Option<Idx>; 4],
) -> Result<Dataset> {
    let (Some(train_images), Some(test_images)) = (train_images, test_images) else { unreachable!("images are there") };
    let shape = image_shape(&train_images)?;
    let test_shape = image_shape(&test_images)?;
    ensure!(
        shape == test_shape,
        "{}: images of {test_shape:?}, but those of {} are {shape:?}",
        test_images.path.display(),
        train_images.path.display()
    );
    let train = split(shape, train_images, train_labels)?;
    let test = split(shape, test_images, test_labels)?;
    let largest = train.labels.iter().chain(&test.labels).max();
    let n_classes = largest.map_or(0, |&label| usize::from(label) + 1);
    Ok(Dataset { name: source.to_string(), shape, max: 255, n_classes, train, test })
}

/// `[channels, rows, columns]` by the header of a file of images.
fn image_shape(images: &Idx) -> Result<[usize; 3]> {
    let shape = match images.dims[..] {
        [_, rows, columns] => [1, rows, columns],
        [_, channels, rows, columns] => [channels, rows, columns],
        _ => bail!("{}: sizes {:?} are not of images", images.path.display(), images.dims),
    };
    ensure!(!images.elements.is_empty(), "{}: it holds no images (sizes {:?})", images.path.display(), images.dims);
    Ok(shape)
}

fn split(shape: [usize; 3], images: Idx, labels: Option<Idx>) -> Result<Split> {
    if let Some(labels) = &labels {
        let n = images.dims[0];
        ensure!(
            labels.dims == [n],
            "{}: sizes {:?}, expected [{n}], one label for each image of {}",
            labels.path.display(),
            labels.dims,
            images.path.display()
        );
    }
    Ok(Split::new(shape, images.elements, labels.map(|labels| labels.elements).unwrap_or_default()))
}
