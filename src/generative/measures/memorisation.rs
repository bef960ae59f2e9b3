//! A check for memorisation: whether generated images are nearer to images that the model was fitted to than images are
//! that nobody has shown it (a test of copying in the spirit of Meehan et al. 2020, "A Non-Parametric Test to Detect
//! Data-Copying in Generative Models").

use crate::generative::images::Images;
use tch::{Kind, Tensor};

/// Images fitted to that are compared at a time.
const CHUNK: usize = 1000;

/// Share of held-out images that count as copies: the threshold of a copy is the distance that this share is within.
pub(crate) const COPIED_REAL: f64 = 0.05;

/// Distances to the nearest image fitted to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Nearness {
    /// Median over the generated images, in pixels of 0..=1.
    pub nearest: f64,
    /// Median over the held-out images.
    pub nearest_real: f64,
    /// Share of the generated images that are nearer than all but [`COPIED_REAL`] of the held-out ones: about that for
    /// a model that copies nothing, 1 for one that only copies.
    pub copied: f64,
}

/// Compares `generated` and `held_out` images, `[n, channels, rows, columns]`, by their Euclidean distance to the
/// nearest image of `fitted_to`.
pub(crate) fn nearness(generated: &Tensor, held_out: &Tensor, fitted_to: &Images) -> Nearness {
    let [generated, held_out] = [generated, held_out].map(|images| nearest(images, fitted_to));
    let median = |distances: &Tensor| distances.quantile_scalar(0.5, 0, false, "linear").double_value(&[]);
    let threshold = held_out.quantile_scalar(COPIED_REAL, 0, false, "linear");
    let copied = generated.le_tensor(&threshold).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
    Nearness { nearest: median(&generated), nearest_real: median(&held_out), copied }
}

/// Returns the distance of each image to the nearest one of `fitted_to`, `[n]`.
fn nearest(images: &Tensor, fitted_to: &Images) -> Tensor {
    let images = images.flatten(1, -1);
    let to_chunk = |chunk: Tensor| Tensor::cdist(&images, &chunk.flatten(1, -1), 2.0, None).amin([1], false);
    let nearest = fitted_to.chunks(CHUNK).map(to_chunk).reduce(|a, b| a.minimum(&b));
    nearest.expect("there are images").to_kind(Kind::Double)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};
    use crate::generative::images::Data;
    use crate::generative::model::seeded;
    use tch::Device;

    #[test]
    fn copies_are_told_from_new_images_of_the_same_kind() {
        let _torch = seeded(0);
        let noise = |n: i64| Tensor::randint(256, [n, 1, 4, 4], (Kind::Uint8, Device::Cpu));
        let bytes = |images: &Tensor| Vec::<u8>::try_from(images.flatten(0, -1)).unwrap();
        let split = |images: &Tensor| Split::new([1, 4, 4], bytes(images), vec![]);
        let (train, test) = (noise(2500), noise(400));
        let (shape, name) = ([1, 4, 4], "noise".to_owned());
        let dataset = Dataset { name, shape, max: 255, n_classes: 0, train: split(&train), test: split(&test) };
        let data = Data::new(&dataset, Device::Cpu);
        let new = noise(400).to_kind(Kind::Float) / 255.0;
        let honest = nearness(&new, &data.test.all(), &data.train);
        assert!(honest.copied < 0.12 && (honest.nearest / honest.nearest_real - 1.0).abs() < 0.05, "{honest:?}");
        // The training images, hardly changed.
        let same = (data.train.spaced(400).all() + 0.01).clamp(0.0, 1.0);
        let copied = nearness(&same, &data.test.all(), &data.train);
        assert!(copied.copied == 1.0 && copied.nearest < 0.1 * copied.nearest_real, "{copied:?}");
    }
}
