//! Encoder and decoder, and the distributions that they parameterise.

use super::config::{Architecture, Likelihood, VaeConfig};
use super::densities::{log_bernoulli, log_gaussian};
use crate::generative::settings::ModelTask;
use crate::generative::weights::PixelWeights;
use anyhow::Result;
use carom_agents::net::{Operation, Sequential};
use carom_envs::settings::validate;
use rand_pcg::Pcg32;
use tch::{Device, Tensor};

/// q(z|x) and p(x|z).
pub(super) struct Networks {
    /// Images to `[B, 2 latent_dim]`: μ, then ln σ².
    pub(super) encoder: Sequential,
    /// Codes to the images' logits or means, of at least the images' rows and columns.
    pub(super) decoder: Sequential,
    pub(super) config: VaeConfig,
    /// `[channels, rows, columns]`
    pub(super) shape: [i64; 3],
    pub(super) device: Device,
    /// Weights of pixels in the loss, if they are not all 1.
    pub(super) rarity: Option<PixelWeights>,
}

impl Networks {
    /// Makes networks with fresh weights.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub(super) fn new(config: VaeConfig, task: &ModelTask, rng: &mut Pcg32) -> Result<Self> {
        validate(&config)?;
        let (shape, device) = (task.data.shape, task.device);
        let [encoder, decoder] =
            layers(&config, shape).map(|layers| Sequential::new(layers, task.optimizer.config(), device, rng));
        let rarity = PixelWeights::of(config.rarity, 0.0, task.data)?;
        Ok(Self { encoder, decoder, config, shape, device, rarity })
    }

    /// Returns μ and ln σ² of q(z|x), each `[B, latent_dim]`.
    pub(super) fn posterior(&self, x: &Tensor) -> [Tensor; 2] {
        mean_and_log_var(&self.encoder.forward(x))
    }

    /// Returns the decoder's logits or means `[.., pixels]` of codes `[.., latent_dim]`.
    pub(super) fn output(&self, code: &Tensor) -> Tensor {
        let [channels, rows, columns] = self.shape;
        let mut shape = code.size();
        *shape.last_mut().expect("codes have a width") = channels * rows * columns;
        self.cropped(&self.decoder.forward(&code.reshape([-1, self.config.latent_dim]))).reshape(&shape[..])
    }

    /// Returns the part of the decoder's images that has the images' rows and columns, as a view.
    pub(super) fn cropped(&self, images: &Tensor) -> Tensor {
        let [_, rows, columns] = self.shape;
        images.narrow(2, 0, rows).narrow(3, 0, columns)
    }

    /// Returns ln p(x|z) of `output`, `[.., B, pixels]`, and `x`, `[B, pixels]`: `[.., B]`.
    pub(super) fn log_likelihood(&self, output: &Tensor, x: &Tensor) -> Tensor {
        match self.config.likelihood {
            Likelihood::Bernoulli => log_bernoulli(output, x),
            Likelihood::Gaussian => log_gaussian(output, x, self.config.sigma),
        }
    }
}

/// Returns μ and ln σ² of the encoder's output, each `[B, latent_dim]`.
pub(super) fn mean_and_log_var(stats: &Tensor) -> [Tensor; 2] {
    stats.chunk(2, 1).try_into().expect("two halves")
}

/// Returns the gradient in all of `images`, given that in the part that [`Networks::cropped`] leaves.
pub(super) fn uncropped(grad: Tensor, images: &Tensor) -> Tensor {
    let cut = |dim: usize| images.size()[dim] - grad.size()[dim];
    match [cut(2), cut(3)] {
        [0, 0] => grad,
        [rows, columns] => grad.constant_pad_nd([0, columns, 0, rows]),
    }
}

/// Returns the encoder's layers and the decoder's, for images of `shape`.
fn layers(config: &VaeConfig, shape: [i64; 3]) -> [Vec<Operation>; 2] {
    let act = || Operation::Act(config.activation);
    let channels = match config.architecture {
        Architecture::Dense => &[],
        Architecture::Conv => &config.channels[..],
    };
    let mut planes = vec![shape];
    for &filters in channels {
        let [_, rows, columns] = planes[planes.len() - 1];
        planes.push([filters, (rows + 1) / 2, (columns + 1) / 2]);
    }
    let top = planes[planes.len() - 1];
    let flat: i64 = top.iter().product();
    let widths: Vec<i64> = [flat].into_iter().chain(config.hidden.iter().copied()).collect();
    let widest = widths[widths.len() - 1];

    let mut encoder = vec![];
    for pair in planes.windows(2) {
        let ([inputs, ..], [outputs, ..]) = (pair[0], pair[1]);
        encoder.extend([Operation::conv([inputs, outputs], 3, 2, 1), act()]);
    }
    encoder.push(Operation::Reshape(vec![flat]));
    for pair in widths.windows(2) {
        encoder.extend([Operation::Dense { inputs: pair[0], outputs: pair[1] }, act()]);
    }
    encoder.push(Operation::Dense { inputs: widest, outputs: 2 * config.latent_dim });

    let mut decoder = vec![Operation::Dense { inputs: config.latent_dim, outputs: widest }];
    for pair in widths.windows(2).rev() {
        decoder.extend([act(), Operation::Dense { inputs: pair[1], outputs: pair[0] }]);
    }
    decoder.push(Operation::Reshape(top.to_vec()));
    for pair in planes.windows(2).rev() {
        let ([outputs, ..], [inputs, ..]) = (pair[0], pair[1]);
        // It doubles rows and columns: where the convolution met an odd number, there is one too many, cut off at the
        // end.
        decoder.extend([act(), Operation::ConvTranspose { inputs, outputs, kernel: 4, stride: 2, padding: 1 }]);
    }
    [encoder, decoder]
}
