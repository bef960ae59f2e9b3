//! Principal components: the best linear autoencoder (Baldi & Hornik 1989), a baseline for models with a code of the
//! same width.

use crate::generative::images::{Data, Images};
use tch::{Kind, Tensor};

/// Bounds the rows of a decomposed matrix, since time grows with their cube. For more pixels the Gram matrix of this
/// many images is decomposed instead of the covariance; it gives the same directions.
const MAX_DECOMPOSED: i64 = 2_000;

/// Affine map to the directions of largest variance.
#[derive(Debug)]
pub(crate) struct Pca {
    /// `[n_pixels]`
    pub mean: Tensor,
    /// `[n_pixels, n_components]`, orthonormal columns, the largest variance first.
    pub components: Tensor,
}

impl Pca {
    /// Finds the first `n_components` principal components of `images`, at most as many as there are pixels. They are
    /// eigenvectors of the covariance, in double precision. If images have more than 2,000 pixels, 2,000 images are
    /// used, and components beyond their rank are 0.
    ///
    /// # Panics
    /// When there are no images.
    pub(crate) fn fit(images: &Images, n_components: i64) -> Self {
        let n = images.len() as f64;
        let flat = || images.chunks(1000).map(|x| x.flatten(1, -1));
        let mean = flat().map(|x| x.sum_dim_intlist(0, false, Kind::Double)).reduce(|a, b| a + b);
        let mean = (mean.expect("at least one image") / n).to_kind(Kind::Float);
        let n_pixels = mean.size()[0];
        let kept = n_components.min(n_pixels);
        let components = if n_pixels > MAX_DECOMPOSED {
            // Evenly spaced images, since frames of one episode are neighbours.
            let stride = (images.len() as i64 + MAX_DECOMPOSED - 1) / MAX_DECOMPOSED;
            let indices = Tensor::arange_start_step(0, images.len() as i64, stride, (Kind::Int64, mean.device()));
            of_few(&(images.gather(&indices).flatten(1, -1) - &mean).to_kind(Kind::Double), kept)
        } else {
            let scatter = flat().map(|x| {
                let centred = x - &mean;
                centred.tr().matmul(&centred).to_kind(Kind::Double)
            });
            let covariance = scatter.reduce(|a, b| a + b).expect("at least one image") / n;
            let (_, vectors) = covariance.linalg_eigh("L");
            vectors.narrow(1, n_pixels - kept, kept).flip([1])
        };
        Self { mean, components: components.to_kind(Kind::Float).contiguous() }
    }

    /// Returns the coordinates of `x`, `[B, ...]`, along the components: `[B, n_components]`.
    pub(crate) fn encode(&self, x: &Tensor) -> Tensor {
        (x.flatten(1, -1) - &self.mean).matmul(&self.components)
    }

    /// Returns the images of `code`, `[B, n_components]`, flat: `[B, n_pixels]`.
    pub(crate) fn decode(&self, code: &Tensor) -> Tensor {
        code.matmul(&self.components.tr()) + &self.mean
    }

    /// Returns the squared error per pixel of `images` projected to the components.
    pub(crate) fn mse(&self, images: &Images) -> f64 {
        let (mut sum, mut n) = (0.0, 0);
        for x in images.chunks(1000) {
            let off = self.decode(&self.encode(&x)) - x.flatten(1, -1);
            sum += off.square().sum(Kind::Double).double_value(&[]);
            n += off.numel();
        }
        sum / n as f64
    }
}

/// Returns the first `kept` principal components, `[n_pixels, kept]`, of fewer images than pixels; `x` are the images
/// less their mean. If u is an eigenvector of x xᵀ, then xᵀ u is one of xᵀ x.
fn of_few(x: &Tensor, kept: i64) -> Tensor {
    let (rows, n_pixels) = (x.size()[0], x.size()[1]);
    let (values, vectors) = x.matmul(&x.tr()).linalg_eigh("L");
    let found = kept.min((rows - 1).max(0));
    let (values, vectors) = (values.narrow(0, rows - found, found), vectors.narrow(1, rows - found, found));
    let components = Tensor::zeros([n_pixels, kept], (Kind::Double, x.device()));
    let directions = x.tr().matmul(&vectors) / values.clamp_min(1e-12).sqrt();
    components.narrow(1, 0, found).copy_(&directions.flip([1]));
    components
}

/// Returns the squared error per test pixel of the first `n_components` principal components of the training split.
pub(crate) fn test_mse(data: &Data, n_components: i64) -> f64 {
    Pca::fit(&data.train, n_components).mse(&data.test)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};
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
        let (none, one) = (test_mse(&data, 0), test_mse(&data, 1));
        // Squared distances from the mean 10² and 10², over two images of two pixels; from the line 0 and 10².
        assert!((none - 50.0).abs() < 1e-4 && (one - 25.0).abs() < 1e-4, "{none} {one}");
        assert!(test_mse(&data, 5) < 1e-6);
        let first = Pca::fit(&data.train, 1).components.abs();
        assert!((first.double_value(&[0, 0]) - 0.6).abs() < 1e-6 && (first.double_value(&[1, 0]) - 0.8).abs() < 1e-6);
    }
}
