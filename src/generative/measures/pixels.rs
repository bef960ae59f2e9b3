//! References for the errors of reconstructions.

use crate::generative::images::Images;
use tch::{Kind, Tensor};

/// Returns the mean binary entropy of the images' pixels, −x ln x − (1 − x) ln(1 − x), in nats.
///
/// It is the binary cross-entropy of the images with themselves, so no reconstruction has less. It is 0 for black and
/// white.
pub(crate) fn entropy_floor(images: &Images) -> f64 {
    let (mut sum, mut n) = (0.0, 0);
    for x in images.chunks(1000) {
        let y: Tensor = 1.0 - &x;
        sum -= (x.xlogy(&x) + y.xlogy(&y)).sum(Kind::Double).double_value(&[]);
        n += x.numel();
    }
    sum / n as f64
}

/// Returns the peak signal-to-noise ratio in decibels, 10 log₁₀(1 / mse), of images in 0..=1 with mean squared error
/// `mse` over all pixels.
pub(crate) fn psnr(mse: f64) -> f64 {
    -10.0 * mse.log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};
    use crate::generative::images::Data;
    use tch::Device;

    #[test]
    fn the_floor_is_the_entropy_of_gray_and_nothing_for_black_and_white() {
        let floor = |pixels: &[u8]| {
            let split = || Split::new([1, 1, 2], pixels.to_vec(), vec![]);
            let (train, test) = (split(), split());
            let dataset = Dataset { name: "gray".into(), shape: [1, 1, 2], max: 100, n_classes: 0, train, test };
            entropy_floor(&Data::new(&dataset, Device::Cpu).test)
        };
        assert_eq!(floor(&[0, 100, 100, 0]), 0.0);
        // ln 2 of a half, and of a quarter 0.25 ln 4 + 0.75 ln(4/3).
        let expected = (2.0_f64.ln() + 0.25 * 4.0_f64.ln() + 0.75 * (4.0_f64 / 3.0).ln()) / 4.0;
        assert!((floor(&[0, 50, 25, 100]) - expected).abs() < 1e-7);
    }

    #[test]
    fn a_tenth_of_the_error_is_ten_decibels() {
        assert!((psnr(0.01) - 20.0).abs() < 1e-12 && (psnr(0.001) - 30.0).abs() < 1e-12);
    }
}
