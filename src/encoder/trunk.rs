//! Fitted encoders that are trained with the agent.

use super::fitted::FittedEncoder;
use crate::config::encoders::{EncoderMode, refuse};
use crate::generative::data::image_space::images;
use crate::generative::model::EncoderDecoder;
use anyhow::{Result, bail, ensure};
use carom_agents::Trunk;
use carom_agents::net::bce;
use carom_agents::net::tensor::to_vec;
use carom_envs::ImageSpace;
use tch::{Kind, Tensor};

/// A fitted model's encoder, and in joint mode its decoder, as functions of the agent's parameters. The encoder's
/// parameters come first, then the decoder's.
///
/// The code is standardised by the means and deviations of the fit.
#[derive(Debug)]
pub(super) struct EncoderTrunk {
    networks: EncoderDecoder,
    space: ImageSpace,
    /// Frames that the encoder takes at once.
    n_frames: usize,
    scales: [Tensor; 2],
    /// Weight of the reconstruction loss, in joint mode.
    recon_weight: Option<f64>,
}

impl EncoderTrunk {
    /// Copies the encoder of `fitted`, and in joint mode its decoder.
    ///
    /// # Errors
    /// When the model's encoder is not a network, or joint mode needs a decoder that it lacks.
    pub(super) fn new(fitted: &FittedEncoder, mode: EncoderMode, recon_weight: f64) -> Result<Self> {
        let name = fitted.model_name();
        refuse(name, mode)?;
        let Some(mut networks) = fitted.model().networks() else { bail!("encoder `{name}` cannot be trained on") };
        let recon_weight = match mode {
            EncoderMode::Joint => {
                ensure!(networks.decoder.is_some(), "encoder `{name}` has no mode `{mode}`: it has no decoder");
                Some(recon_weight)
            }
            EncoderMode::Frozen | EncoderMode::Finetune => {
                networks.decoder = None;
                None
            }
        };
        let (space, n_frames, scales) = (fitted.space(), fitted.n_frames(), fitted.scales());
        Ok(Self { networks, space, n_frames, scales, recon_weight })
    }

    /// Splits `params` into the parameters of encoder and decoder.
    fn parts(&self, params: &Tensor) -> [Tensor; 2] {
        let n = self.networks.encoder.n_params() as i64;
        params.split_with_sizes([n, params.size()[0] - n], 0).try_into().expect("two parts")
    }

    /// Returns the model's codes before they are standardised, `[B, n_features]`.
    fn code(&self, of_encoder: &Tensor, images: &Tensor) -> Tensor {
        // The code comes first; a vae's log variance follows.
        self.networks.encoder.forward_with(of_encoder, images).narrow(1, 0, self.n_features() as i64)
    }
}

impl Trunk for EncoderTrunk {
    fn params(&self) -> Vec<f32> {
        let both = [Some(&self.networks.encoder), self.networks.decoder.as_ref()];
        both.into_iter().flatten().flat_map(|network| to_vec(network.params())).collect()
    }

    fn n_features(&self) -> usize {
        self.scales[0].numel()
    }

    fn features(&self, params: &Tensor, frames: &Tensor) -> Tensor {
        let [of_encoder, _] = self.parts(params);
        let [mean, width] = &self.scales;
        (self.code(&of_encoder, &images(self.space, self.n_frames, frames)) - mean) / width
    }

    /// Returns the mean over pixels of the reconstruction's cross-entropy, or of its squared error if pixels have
    /// Gaussian noise. Weights of pixels and the loss of frame differences are those of the fit.
    fn loss(&self, params: &Tensor, frames: &Tensor) -> Option<(Tensor, f64)> {
        let (weight, decoder) = (self.recon_weight?, self.networks.decoder.as_ref()?);
        let [of_encoder, of_decoder] = self.parts(params);
        let images = images(self.space, self.n_frames, frames);
        let output = decoder.forward_with(&of_decoder, &self.code(&of_encoder, &images));
        // A decoder that doubles rows and columns makes odd ones too large; the rest is cut off.
        let size = images.size();
        let output = output.narrow(2, 0, size[2]).narrow(3, 0, size[3]);
        let loss = if self.networks.has_logits { bce(&output, &images) } else { (&output - &images).square() };
        let loss = match &self.networks.weights {
            Some(weights) => loss * weights.weights(&images),
            None => loss,
        };
        let loss = loss.mean(Kind::Float);
        let loss = match &self.networks.difference {
            Some(difference) => loss + difference.loss(&output, &images),
            None => loss,
        };
        Some((loss, weight))
    }
}

#[cfg(test)]
mod tests;
