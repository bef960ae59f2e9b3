//! Images (or rows of a table) in memory.

/// Images (or rows of a table) to fit a model to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dataset {
    /// Name, as `--data` takes it.
    pub name: String,
    /// `[channels, rows, columns]` of one image.
    pub shape: [usize; 3],
    /// The byte that stands for 1.0: 255 for gray levels, 1 for planes and tables.
    pub max: u8,
    /// Labels are below this; 0 without labels.
    pub n_classes: usize,
    /// Images to fit to.
    pub train: Split,
    /// Images to measure on.
    pub test: Split,
}

/// One part of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// `[n, channels * rows * columns]`.
    pub pixels: Vec<u8>,
    /// `[n]`, empty without labels.
    pub labels: Vec<u8>,
    n: usize,
}

impl Split {
    /// Makes a split of images of `shape` and their labels, if any.
    ///
    /// # Panics
    /// When `pixels` are not whole images, or there are labels but not one for each image.
    pub(crate) fn new(shape: [usize; 3], pixels: Vec<u8>, labels: Vec<u8>) -> Self {
        let image_bytes: usize = shape.iter().product();
        assert!(image_bytes > 0 && pixels.len().is_multiple_of(image_bytes), "whole images of shape {shape:?}");
        let n = pixels.len() / image_bytes;
        assert!(labels.is_empty() || labels.len() == n, "{} labels for {n} images", labels.len());
        Self { pixels, labels, n }
    }

    /// Returns the number of images.
    pub(crate) fn len(&self) -> usize {
        self.n
    }

    /// Returns image `idx`, `[channels * rows * columns]`.
    ///
    /// # Panics
    /// When `idx` is not below the number of images.
    pub(crate) fn image(&self, idx: usize) -> &[u8] {
        assert!(idx < self.n, "image {idx} of {}", self.n);
        let image_bytes = self.pixels.len() / self.n;
        &self.pixels[idx * image_bytes..][..image_bytes]
    }
}
