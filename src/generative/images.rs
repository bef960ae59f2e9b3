//! Data sets as tensors.

use super::data::dataset::{Dataset, Split};
use super::data::movies::{self, TITLES};
use anyhow::{Result, ensure};
use carom_agents::net::Matrix;
use carom_envs::Seeds;
use multiversion::multiversion;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

/// A data set ready to be fitted.
#[derive(Debug)]
pub(crate) struct Data {
    /// Name of the data set.
    pub name: String,
    /// `[channels, rows, columns]`
    pub shape: [i64; 3],
    /// Frames in an image, stacked along its channels: 1 unless stacks of an environment's frames are fitted.
    pub n_frames: i64,
    /// Number of classes; 0 without labels.
    pub n_classes: i64,
    /// Folder that the data were read from, if it is not the cache.
    pub folder: Option<PathBuf>,
    /// Images to fit to.
    pub train: Images,
    /// Images to measure the fit on.
    pub test: Images,
}

/// Format of the images of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageFormat {
    /// `[channels, rows, columns]`
    shape: [usize; 3],
    /// The byte that stands for 1.0.
    max: u8,
    /// Number of classes; 0 without labels.
    n_classes: usize,
}

impl ImageFormat {
    /// Returns a small data set of this format, to make a model whose state is restored then: noise, so that means and
    /// deviations are those of no special case.
    pub(crate) fn stand_in(&self) -> Dataset {
        const N_IMAGES: usize = 32;
        let n_bytes = N_IMAGES * self.shape.iter().product::<usize>();
        let mut rng = Seeds::new(0).stream("stand-in");
        let pixels: Vec<u8> = (0..n_bytes).map(|_| rng.gen_range(0..=self.max)).collect();
        let labels = (0..N_IMAGES).filter_map(|i| i.checked_rem(self.n_classes)).map(|label| label as u8).collect();
        let train = Split::new(self.shape, pixels, labels);
        let (shape, max, n_classes, test) = (self.shape, self.max, self.n_classes, train.clone());
        Dataset { name: "noise".to_owned(), shape, max, n_classes, train, test }
    }
}

/// Images of one split, stored as bytes and converted on access.
#[derive(Debug)]
pub(crate) struct Images {
    /// `u8 [n, channels, rows, columns]`
    pixels: Tensor,
    /// `i64 [n]`
    labels: Option<Tensor>,
    max: f64,
}

impl Data {
    /// Returns the names of the pixels, if the data are no pictures.
    pub(crate) fn pixel_names(&self) -> Option<&'static [&'static str]> {
        (self.name == movies::NAME).then_some(&TITLES)
    }

    /// Copies `dataset` to `device`.
    pub(crate) fn new(dataset: &Dataset, device: Device) -> Self {
        let shape = dataset.shape.map(|size| size as i64);
        let images = |split: &Split| {
            let pixels = Tensor::from_slice(&split.pixels).view([-1, shape[0], shape[1], shape[2]]).to_device(device);
            let labels = Tensor::from_slice(&split.labels).to_kind(Kind::Int64).to_device(device);
            let labels = (!split.labels.is_empty()).then_some(labels);
            Images { pixels, labels, max: f64::from(dataset.max) }
        };
        let (train, test) = (images(&dataset.train), images(&dataset.test));
        let (name, n_classes) = (dataset.name.clone(), dataset.n_classes as i64);
        Self { name, shape, n_frames: 1, n_classes, folder: None, train, test }
    }

    /// Returns the format of the images.
    pub(crate) fn format(&self) -> ImageFormat {
        let (shape, n_classes) = (self.shape.map(|size| size as usize), self.n_classes as usize);
        ImageFormat { shape, max: self.train.max as u8, n_classes }
    }

    /// Returns the device of the images.
    pub(crate) fn device(&self) -> Device {
        self.train.pixels.device()
    }

    /// Returns a copy that shares all pixels.
    pub(crate) fn share(&self) -> Self {
        let Self { shape, n_frames, n_classes, .. } = *self;
        let (name, folder) = (self.name.clone(), self.folder.clone());
        Self { name, shape, n_frames, n_classes, folder, train: self.train.share(), test: self.test.share() }
    }

    /// Returns the number of values in one image.
    pub(crate) fn n_pixels(&self) -> i64 {
        self.shape.iter().product()
    }

    /// Returns the channels of one frame.
    pub(crate) fn frame_channels(&self) -> i64 {
        self.shape[0] / self.n_frames
    }

    /// Checks that images have several frames if setting `key`, which compares frames, is not 0.
    ///
    /// # Errors
    /// When `value` is not 0 and images have a single frame.
    pub(crate) fn check_moves(&self, key: &str, value: f64) -> Result<()> {
        ensure!(
            value == 0.0 || self.n_frames > 1,
            "{key} is {value}, and an image of {} is a single frame, in which nothing moves: fit an environment's \
             frames with --set env.frame_stack=2, or leave {key} at 0",
            self.name
        );
        Ok(())
    }
}

impl Images {
    /// Returns the number of images.
    pub(crate) fn len(&self) -> usize {
        self.pixels.size()[0] as usize
    }

    /// Returns whether there are no images.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether every pixel is 0 or 1.
    pub(crate) fn is_binary(&self) -> bool {
        self.max == 1.0
    }

    fn share(&self) -> Self {
        let labels = self.labels.as_ref().map(Tensor::shallow_clone);
        Self { pixels: self.pixels.shallow_clone(), labels, max: self.max }
    }

    /// Returns every second image, from the first (0) or the second (1): two halves that share no image.
    ///
    /// # Panics
    /// When `first` is above 1, or there is one image only.
    pub(crate) fn half(&self, first: i64) -> Self {
        assert!(first < 2 && self.len() > 1, "there are two halves of two images or more");
        let every_second = |tensor: &Tensor| tensor.slice(0, first, None, 2).contiguous();
        Self { pixels: every_second(&self.pixels), labels: self.labels.as_ref().map(every_second), max: self.max }
    }

    /// Returns images `indices` (`i64 [B]`) as floats in 0..=1.
    pub(crate) fn gather(&self, indices: &Tensor) -> Tensor {
        if self.pixels.device() != Device::Cpu {
            return self.scaled(&self.pixels.index_select(0, &indices.to_device(self.pixels.device())));
        }
        // Three small torch operations, each of which synchronises threads that wait by spinning, would take longer
        // than the step of a small network.
        let indices = Vec::<i64>::try_from(indices).expect("a vector of indices");
        let size = self.pixels.size();
        let (image, max) = (size[1..].iter().product::<i64>() as usize, self.max as f32);
        let shape = [indices.len() as i64, size[1], size[2], size[3]];
        let mut gathered = Matrix::zeros(indices.len(), image);
        for (index, values) in indices.iter().zip(gathered.as_mut_slice().chunks_exact_mut(image)) {
            let row = &self.bytes()[*index as usize * image..][..image];
            scale(row, max, values);
        }
        gathered.into_tensor().view(shape)
    }

    /// Returns all pixels as bytes. They must be on the CPU.
    fn bytes(&self) -> &[u8] {
        let pixels = &self.pixels;
        assert!(pixels.device() == Device::Cpu && pixels.kind() == Kind::Uint8 && pixels.is_contiguous());
        // SAFETY: the assertion checks that these are contiguous bytes in memory. Nothing writes to them, and they live
        // as long as `self`.
        unsafe { std::slice::from_raw_parts(pixels.data_ptr() as *const u8, pixels.numel()) }
    }

    /// Returns the labels of images `indices` (`i64 [B]`), or `None` without labels.
    pub(crate) fn gather_labels(&self, indices: &Tensor) -> Option<Tensor> {
        self.labels.as_ref().map(|labels| labels.index_select(0, &indices.to_device(labels.device())))
    }

    /// Returns `n` images (or all, if fewer), evenly spaced, since neighbours may belong to one episode, one player, or
    /// one class.
    pub(crate) fn spaced(&self, n: usize) -> Self {
        let (len, n) = (self.len(), n.min(self.len()));
        if n == len {
            return self.share();
        }
        let indices: Vec<i64> = (0..n).map(|i| (i * len / n) as i64).collect();
        let indices = Tensor::from_slice(&indices).to_device(self.pixels.device());
        let of = |tensor: &Tensor| tensor.index_select(0, &indices);
        Self { pixels: of(&self.pixels), labels: self.labels.as_ref().map(of), max: self.max }
    }

    /// Returns all images as floats in 0..=1.
    pub(crate) fn all(&self) -> Tensor {
        self.scaled(&self.pixels)
    }

    /// Returns all labels, `i64 [n]`, or `None` without labels.
    pub(crate) fn labels(&self) -> Option<&Tensor> {
        self.labels.as_ref()
    }

    /// Returns all images in order as floats in 0..=1, `size` at a time.
    pub(crate) fn chunks(&self, size: usize) -> impl Iterator<Item = Tensor> {
        (0..self.len()).step_by(size).map(move |start| {
            let n = size.min(self.len() - start);
            self.scaled(&self.pixels.narrow(0, start as i64, n as i64))
        })
    }

    fn scaled(&self, pixels: &Tensor) -> Tensor {
        let values = pixels.to_kind(Kind::Float);
        if self.max == 1.0 { values } else { values / self.max }
    }
}

/// Converts bytes in 0..=`max` to floats in 0..=1.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn scale(bytes: &[u8], max: f32, values: &mut [f32]) {
    for (value, &byte) in values.iter_mut().zip(bytes) {
        *value = f32::from(byte) / max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaced_images_reach_from_first_to_last_with_their_labels() {
        let split = |n: u8| Split::new([1, 1, 2], (0..2 * n).collect(), (0..n).collect());
        let name = "counted".to_owned();
        let dataset = Dataset { name, shape: [1, 1, 2], max: 255, n_classes: 10, train: split(10), test: split(3) };
        let data = Data::new(&dataset, Device::Cpu);
        let labels = |images: &Images| Vec::<i64>::try_from(images.labels().expect("labels")).expect("a vector");
        let few = data.train.spaced(4);
        assert_eq!(labels(&few), [0, 2, 5, 7]);
        let firsts = few.all().select(-1, 0).flatten(0, -1) * 255.0;
        assert_eq!(Vec::<f32>::try_from(firsts).expect("a vector"), [0.0, 4.0, 10.0, 14.0]);
        assert_eq!(labels(&data.test.spaced(4)), [0, 1, 2], "all, where there are fewer");
    }
}
