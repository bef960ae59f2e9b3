//! The difference of two frames as a second target. A reconstruction without a small ball is wrong in few pixels of a
//! frame, but in most of the few that change.

use super::images::Data;
use anyhow::Result;
use tch::{Kind, Tensor};

/// `weight` times the mean over images and pixels of ((p_new − p_old) − (x_new − x_old))², where p are the
/// probabilities of the reconstruction, x the images, new their newest frame and old the one before it. Older frames
/// have no part in it.
///
/// Useful weights are in the hundreds, since few pixels change, and the sigmoid's gradient is small where p is near 0.
/// Equal errors in both frames cost nothing, so too large a weight degrades the frames themselves (`docs/encoders.md`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameDifference {
    weight: f64,
    /// Channels of a frame.
    frame_channels: i64,
}

impl FrameDifference {
    /// Makes the loss with this weight for `data`, or `None` if the weight is 0.
    ///
    /// # Errors
    /// When images have a single frame.
    pub(crate) fn of(weight: f64, data: &Data) -> Result<Option<Self>> {
        data.check_moves("model.difference", weight)?;
        Ok((weight > 0.0).then(|| Self { weight, frame_channels: data.frame_channels() }))
    }

    /// Returns the loss of `logits` against `images`, both `[B, channels, rows, columns]`, to be differentiated by
    /// autograd.
    pub(crate) fn loss(&self, logits: &Tensor, images: &Tensor) -> Tensor {
        self.errors(&self.pair(logits).sigmoid(), images).square().mean(Kind::Float) * self.weight
    }

    /// Returns the loss, and adds its gradient in the logits to `d_logits`: ± 2 weight error p (1 − p) / number of
    /// errors, + for the newest frame and − for the one before.
    pub(crate) fn loss_with_gradient(&self, logits: &Tensor, images: &Tensor, d_logits: &mut Tensor) -> f64 {
        let _no_grad = tch::no_grad_guard();
        let p = self.pair(logits).sigmoid();
        let error = self.errors(&p, images);
        let scale = 2.0 * self.weight / error.numel() as f64;
        let slope = &p * (1.0 - &p) * scale;
        let mut d_pair = self.pair(d_logits);
        d_pair += slope * Tensor::cat(&[-&error, error.shallow_clone()], 1);
        self.weight * error.square().mean(Kind::Double).double_value(&[])
    }

    /// Returns the newest frame and the one before it, as views.
    fn pair(&self, images: &Tensor) -> Tensor {
        let n = 2 * self.frame_channels;
        images.narrow(1, images.size()[1] - n, n)
    }

    /// Returns (p_new − p_old) − (x_new − x_old).
    fn errors(&self, p: &Tensor, images: &Tensor) -> Tensor {
        let n = self.frame_channels;
        let error = self.pair(p) - self.pair(images);
        error.narrow(1, n, n) - error.narrow(1, 0, n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};
    use tch::Device;

    /// Images of `n_frames` frames of two channels with one row of two pixels.
    fn data(n_frames: i64) -> Data {
        let shape = [2 * n_frames as usize, 1, 2];
        let split = Split::new(shape, vec![0; 4 * n_frames as usize], vec![]);
        let (train, test) = (split.clone(), split);
        let dataset = Dataset { name: "frames".into(), shape, max: 1, n_classes: 0, train, test };
        Data { n_frames, ..Data::new(&dataset, Device::Cpu) }
    }

    fn difference(weight: f64, n_frames: i64) -> FrameDifference {
        FrameDifference::of(weight, &data(n_frames)).expect("frames").expect("a weight")
    }

    #[test]
    fn by_hand() {
        // Three frames of two channels; p is 1/2 everywhere but in two pixels of the newest: 4/5 and 1/5.
        let ln_4 = 4.0_f32.ln();
        let logits =
            Tensor::from_slice(&[9.0, 9.0, -9.0, 9.0, 0.0, 0.0, 0.0, 0.0, ln_4, 0.0, 0.0, -ln_4]).view([1, 6, 1, 2]);
        let x =
            Tensor::from_slice(&[0.0_f32, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0]).view([1, 6, 1, 2]);
        // Differences .3, 0, 0, −.3 instead of 1, 0, 0, −1.
        let expected = 5.0 * 2.0 * 0.7 * 0.7 / 4.0;
        let mut grad = logits.zeros_like();
        let by_hand = difference(5.0, 3).loss_with_gradient(&logits, &x, &mut grad);
        let by_autograd = difference(5.0, 3).loss(&logits, &x).double_value(&[]);
        assert!((by_hand - expected).abs() < 1e-6 && (by_autograd - expected).abs() < 1e-6, "{by_hand} {by_autograd}");
        assert_eq!(grad.narrow(1, 0, 2).abs().max().double_value(&[]), 0.0, "the oldest of three frames has no part");
    }

    #[test]
    fn a_reconstruction_that_is_off_alike_in_both_frames_has_no_loss() {
        let x = Tensor::from_slice(&[0.5_f32, 0.25, 0.5, 0.5, 0.25, 0.5, 0.5, 0.5]).view([1, 4, 1, 2]);
        let logits = (&x + 0.125).logit(None::<f64>);
        assert!(difference(3.0, 2).loss(&logits, &x).double_value(&[]) < 1e-12);
    }

    #[test]
    fn the_gradient_is_autograds() {
        for n_frames in [2, 3] {
            let shape = [7, 2 * n_frames, 1, 2];
            let wave = |step: f64| (Tensor::arange(28 * n_frames, (Kind::Float, Device::Cpu)) * step).sin().view(shape);
            let (x, logits) = (wave(1.3).abs(), (wave(0.7) * 4.0).set_requires_grad(true));
            let before = wave(2.1);
            let mut grad = before.copy();
            let difference = difference(3.0, n_frames);
            let by_hand = difference.loss_with_gradient(&logits, &x, &mut grad);
            let loss = difference.loss(&logits, &x);
            loss.backward();
            assert!((by_hand - loss.double_value(&[])).abs() < 1e-6, "{by_hand} instead of {loss:?}");
            let apart = (grad - before - logits.grad()).abs().max().double_value(&[]);
            assert!(apart < 1e-6, "a gradient of {n_frames} frames differs by {apart}");
        }
    }

    #[test]
    fn single_frames_are_refused_with_the_fix() {
        assert!(FrameDifference::of(0.0, &data(1)).expect("not asked for").is_none());
        let message = FrameDifference::of(3.0, &data(1)).expect_err("one frame").to_string();
        for part in ["model.difference is 3", "frames is a single frame", "env.frame_stack=2"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
