//! Weights that make what is rarely there count: the ball is 0.03 % of a frame's pixels, and a mean over pixels forgets it.

use super::images::Images;
use carom_agents::optim::{read_tensor, to_vec};
use carom_agents::{Loaded, Snapshot, SnapshotError};
use tch::{Kind, Tensor};

/// Training images that mean and deviation are taken over, at most.
const IMAGES: usize = 5_000;
/// Images summed at a time.
const CHUNK: usize = 500;
/// A pixel's least deviation: 5 of 255 gray levels. What changes once in a thousand images is not worth a thousand others.
const LEAST_DEVIATION: f64 = 0.02;

/// Weights of pixels in a loss: 1 + α |x − mean| / deviation, with mean and deviation of that pixel over the training images.
#[derive(Debug)]
pub struct Rarity {
    alpha: f64,
    /// `[1, channels, rows, columns]`
    mean: Tensor,
    deviation: Tensor,
}

impl Rarity {
    /// With this α over `train`; nothing where it is 0, and all pixels weigh 1.
    pub fn of(alpha: f64, train: &Images) -> Option<Self> {
        if alpha == 0.0 {
            return None;
        }
        let n = train.len().min(IMAGES);
        let chunks = || train.chunks(CHUNK).take(n.div_ceil(CHUNK));
        let seen: i64 = chunks().map(|x| x.size()[0]).sum();
        let mean_of = |value: fn(&Tensor) -> Tensor| {
            let sums = chunks().map(|x| value(&x).sum_dim_intlist(0, true, Kind::Double));
            sums.reduce(|a, b| a + b).expect("at least one image") / seen as f64
        };
        let mean = mean_of(Tensor::shallow_clone);
        let variance = mean_of(Tensor::square) - mean.square();
        let deviation = variance.clamp_min(LEAST_DEVIATION * LEAST_DEVIATION).sqrt();
        Some(Self { alpha, mean: mean.to_kind(Kind::Float), deviation: deviation.to_kind(Kind::Float) })
    }

    /// The weights of images `[B, channels, rows, columns]`, of the same shape.
    pub fn weights(&self, x: &Tensor) -> Tensor {
        (x - &self.mean).abs() / &self.deviation * self.alpha + 1.0
    }

    /// The same weights once more.
    pub fn share(&self) -> Self {
        Self { alpha: self.alpha, mean: self.mean.shallow_clone(), deviation: self.deviation.shallow_clone() }
    }

    /// What [`Rarity::load`] needs.
    pub fn save(&self) -> Snapshot<'_> {
        Snapshot::default().owned_array("mean", &to_vec(&self.mean)).owned_array("deviation", &to_vec(&self.deviation))
    }

    /// Takes up what [`Rarity::save`] gave.
    ///
    /// # Errors
    /// When it is of images of another size.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        read_tensor(from, "mean", &mut self.mean)?;
        read_tensor(from, "deviation", &mut self.deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::{Dataset, Split};
    use crate::generative::images::Data;

    /// Four images of 3 pixels: one that never changes, one lit half the time, one lit once.
    fn data() -> Data {
        let pixels = vec![1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1];
        let split = Split::new([1, 1, 3], pixels, vec![]);
        let (train, test) = (split.clone(), split);
        let dataset = Dataset { name: "lamps".into(), shape: [1, 1, 3], max: 1, n_classes: 0, train, test };
        Data::new(&dataset, tch::Device::Cpu)
    }

    #[test]
    fn what_is_rare_weighs_more() {
        assert!(Rarity::of(0.0, &data().train).is_none());
        let rarity = Rarity::of(2.0, &data().train).expect("a weight");
        let weights = rarity.weights(&Tensor::from_slice(&[1.0_f32, 1.0, 1.0]).view([1, 1, 1, 3]));
        // Means 1, 1/2, 1/4; deviations 0.02 at least, 1/2, √3/4: |x − mean| / deviation is 0, 1 and √3.
        let expected = [1.0, 3.0, 1.0 + 2.0 * 3.0_f64.sqrt()];
        for (i, expected) in expected.into_iter().enumerate() {
            let weight = weights.double_value(&[0, 0, 0, i as i64]);
            assert!((weight - expected).abs() < 1e-5, "{weight} instead of {expected}");
        }
    }
}
