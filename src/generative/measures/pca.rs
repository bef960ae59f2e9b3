//! Principal components: the best linear autoencoder (Baldi & Hornik 1989), which a model with a code of the same width has to
//! beat.

use crate::generative::images::{Data, Images};
use tch::{Kind, Tensor};

/// Covariances of more pixels take too long to be decomposed (seconds go with the cube), and too much memory.
pub const MAX_PIXELS: i64 = 4096;

/// The affine map to the directions of largest variance.
#[derive(Debug)]
pub struct Pca {
    /// `[n_pixels]`
    mean: Tensor,
    /// `[n_pixels, n_components]`, orthonormal columns, the largest variance first.
    components: Tensor,
}

impl Pca {
    /// The first `n_components` principal components of `images` (as many as there are pixels, at most), by the eigenvectors of
    /// the covariance, which is summed up in double precision.
    ///
    /// # Panics
    /// When there are more than [`MAX_PIXELS`] pixels, or no images.
    pub fn fit(images: &Images, n_components: i64) -> Self {
        let n = images.len() as f64;
        let flat = || images.chunks(1000).map(|x| x.flatten(1, -1));
        let mean = flat().map(|x| x.sum_dim_intlist(0, false, Kind::Double)).reduce(|a, b| a + b);
        let mean = (mean.expect("at least one image") / n).to_kind(Kind::Float);
        let n_pixels = mean.size()[0];
        assert!(n_pixels <= MAX_PIXELS, "{n_pixels} pixels, more than {MAX_PIXELS}");
        let scatter = flat().map(|x| {
            let centred = x - &mean;
            centred.tr().matmul(&centred).to_kind(Kind::Double)
        });
        let covariance = scatter.reduce(|a, b| a + b).expect("at least one image") / n;
        let (_, vectors) = covariance.linalg_eigh("L");
        let kept = n_components.min(n_pixels);
        let components = vectors.narrow(1, n_pixels - kept, kept).flip([1]).to_kind(Kind::Float);
        Self { mean, components }
    }

    /// Squared error per pixel of `images` projected to the components: what is left of their distance from the mean.
    pub fn mse(&self, images: &Images) -> f64 {
        let (mut sum, mut n) = (0.0, 0);
        for x in images.chunks(1000) {
            let centred = x.flatten(1, -1) - &self.mean;
            let projected = centred.matmul(&self.components).matmul(&self.components.tr());
            sum += (&centred - projected).square().sum(Kind::Double).double_value(&[]);
            n += centred.numel();
        }
        sum / n as f64
    }
}

/// Squared error per test pixel of the `n_components` principal components of the training split; nothing for images of more
/// than [`MAX_PIXELS`] pixels.
pub fn test_mse(data: &Data, n_components: i64) -> Option<f64> {
    (data.n_pixels() <= MAX_PIXELS).then(|| Pca::fit(&data.train, n_components).mse(&data.test))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::{Dataset, Split};
    use tch::Device;

    /// Points on a line through (100, 100) in direction (3, 4), but for two that lie 5 off it, one to each side.
    fn data() -> Data {
        let train = [[70, 60], [130, 140], [104, 97], [96, 103]];
        // On the line, and 10 off it.
        let test = [[106, 108], [108, 94]];
        let split = |points: &[[u8; 2]]| Split::new([1, 1, 2], points.concat(), vec![]);
        let (train, test) = (split(&train), split(&test));
        Data::new(&Dataset { name: "line".into(), shape: [1, 1, 2], max: 1, n_classes: 0, train, test }, Device::Cpu)
    }

    #[test]
    fn what_is_off_the_first_component_is_the_error() {
        let data = data();
        let (none, one) = (test_mse(&data, 0).expect("few pixels"), test_mse(&data, 1).expect("few pixels"));
        // Squared distances from the mean 10² and 10², over two images of two pixels; from the line 0 and 10².
        assert!((none - 50.0).abs() < 1e-4 && (one - 25.0).abs() < 1e-4, "{none} {one}");
        assert!(test_mse(&data, 5).expect("few pixels") < 1e-6);
        let first = Pca::fit(&data.train, 1).components.abs();
        assert!((first.double_value(&[0, 0]) - 0.6).abs() < 1e-6 && (first.double_value(&[1, 0]) - 0.8).abs() < 1e-6);
    }
}
