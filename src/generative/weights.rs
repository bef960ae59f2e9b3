//! Weights for rare and moving pixels. The ball is 0.03 % of a frame's pixels, and has little influence on a mean over
//! pixels.

use super::images::Data;
use anyhow::Result;
use carom_agents::net::tensor::{read_tensor, to_vec};
use carom_agents::{Loaded, Snapshot, SnapshotError};
use tch::{Kind, Tensor};

/// Bounds the training images for means and deviations.
const MAX_IMAGES: usize = 5_000;
/// Images summed at a time.
const CHUNK: usize = 500;
/// Lower bound of a pixel's deviation: 5 of 255 gray levels. Otherwise a pixel that changes once in a thousand images
/// would weigh as much as a thousand others.
const MIN_DEVIATION: f64 = 0.02;

/// Weights of pixels in a loss: 1 + rarity |x − mean| / deviation + motion |x − before|. Mean and deviation are that
/// pixel's over the training images; before is the same pixel one frame earlier, and for the oldest frame of an image
/// one later.
#[derive(Debug)]
pub(crate) struct PixelWeights {
    rarity: f64,
    motion: f64,
    /// Channels of a frame.
    frame_channels: i64,
    /// `[1, channels, rows, columns]`
    mean: Tensor,
    deviation: Tensor,
}

impl PixelWeights {
    /// Makes weights with these factors for `data`, or `None` if both are 0 and all pixels weigh 1.
    ///
    /// # Errors
    /// When `motion` is not 0 and images have a single frame.
    pub(crate) fn of(rarity: f64, motion: f64, data: &Data) -> Result<Option<Self>> {
        data.check_moves("model.motion", motion)?;
        if rarity == 0.0 && motion == 0.0 {
            return Ok(None);
        }
        let images = data.train.spaced(MAX_IMAGES);
        let chunks = || images.chunks(CHUNK);
        let mean_of = |value: fn(&Tensor) -> Tensor| {
            let sums = chunks().map(|x| value(&x).sum_dim_intlist(0, true, Kind::Double));
            sums.reduce(|a, b| a + b).expect("at least one image") / images.len() as f64
        };
        let mean = mean_of(Tensor::shallow_clone);
        let variance = mean_of(Tensor::square) - mean.square();
        let deviation = variance.clamp_min(MIN_DEVIATION * MIN_DEVIATION).sqrt();
        let [mean, deviation] = [mean, deviation].map(|tensor| tensor.to_kind(Kind::Float));
        Ok(Some(Self { rarity, motion, frame_channels: data.frame_channels(), mean, deviation }))
    }

    /// Returns the weights of images `[B, channels, rows, columns]`, of the same shape.
    pub(crate) fn weights(&self, x: &Tensor) -> Tensor {
        let weights = (x - &self.mean).abs() / &self.deviation * self.rarity + 1.0;
        if self.motion == 0.0 {
            return weights;
        }
        let (of_frame, of_others) = (self.frame_channels, x.size()[1] - self.frame_channels);
        let moved = (x.narrow(1, of_frame, of_others) - x.narrow(1, 0, of_others)).abs();
        weights + Tensor::cat(&[&moved.narrow(1, 0, of_frame), &moved], 1) * self.motion
    }

    /// Returns a copy that shares mean and deviation.
    pub(crate) fn share(&self) -> Self {
        let [mean, deviation] = [&self.mean, &self.deviation].map(Tensor::shallow_clone);
        Self { mean, deviation, ..*self }
    }

    /// Saves mean and deviation.
    pub(crate) fn save(&self) -> Snapshot<'_> {
        Snapshot::default().owned_array("mean", &to_vec(&self.mean)).owned_array("deviation", &to_vec(&self.deviation))
    }

    /// Restores the state that `save` wrote.
    ///
    /// # Errors
    /// When it belongs to images of another size.
    pub(crate) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        read_tensor(from, "mean", &mut self.mean)?;
        read_tensor(from, "deviation", &mut self.deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};
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
        assert!(PixelWeights::of(0.0, 0.0, &data()).expect("no motion").is_none());
        let rare = PixelWeights::of(2.0, 0.0, &data()).expect("no motion").expect("weights");
        let weights = rare.weights(&Tensor::from_slice(&[1.0_f32, 1.0, 1.0]).view([1, 1, 1, 3]));
        // Means 1, 1/2, 1/4; deviations 0.02 at least, 1/2, √3/4: |x − mean| / deviation is 0, 1 and √3.
        let expected = [1.0, 3.0, 1.0 + 2.0 * 3.0_f64.sqrt()];
        for (i, expected) in expected.into_iter().enumerate() {
            let weight = weights.double_value(&[0, 0, 0, i as i64]);
            assert!((weight - expected).abs() < 1e-5, "{weight} instead of {expected}");
        }
    }

    #[test]
    fn what_moves_weighs_more() {
        let message = PixelWeights::of(0.0, 3.0, &data()).expect_err("one frame").to_string();
        assert!(message.contains("model.motion is 3") && message.contains("lamps is a single frame"), "{message}");
        // Three frames of two channels with one pixel each.
        let split = Split::new([6, 1, 1], vec![0; 12], vec![]);
        let (train, test) = (split.clone(), split);
        let dataset = Dataset { name: "frames".into(), shape: [6, 1, 1], max: 1, n_classes: 0, train, test };
        let data = Data { n_frames: 3, ..Data::new(&dataset, tch::Device::Cpu) };
        let moving = PixelWeights::of(0.0, 2.0, &data).expect("three frames").expect("weights");
        let weights = moving.weights(&Tensor::from_slice(&[0.0_f32, 0.5, 1.0, 0.5, 0.0, 0.25]).view([1, 6, 1, 1]));
        let weights: Vec<f32> = Vec::try_from(weights.flatten(0, -1)).expect("floats");
        assert_eq!(weights, [3.0, 1.0, 3.0, 1.0, 3.0, 1.5]);
    }
}
