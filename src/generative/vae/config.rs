//! Settings of `vae`.

use crate::generative::net::Activation;
use crate::generative::settings::{ModelConfig, Recipe, check_widths};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// What a [`Vae`](super::Vae) is, and what it is fitted by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VaeConfig {
    /// Width of the code. With 2, the digits can be laid out on a map.
    pub latent_dim: i64,
    /// `dense`, or `conv` for strided convolutions between image and hidden layers.
    pub architecture: Architecture,
    /// Widths of the dense layers between image (or convolutions) and code; the decoder has them in reverse.
    pub hidden: Vec<i64>,
    /// Filters of the convolutions of `conv`, each of which halves rows and columns; the decoder has them in reverse.
    pub channels: Vec<i64>,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// p(x|z): `bernoulli` for pixels in 0..=1, `gaussian` for pixels with noise of deviation `sigma`.
    pub likelihood: Likelihood,
    /// Standard deviation of a pixel under `gaussian`.
    pub sigma: f64,
    /// Weight of the KL divergence in what is fitted (Higgins et al. 2017). What is measured has the weight 1.
    pub beta: f64,
    /// `sum` over the code's dimensions, or `mean`, which is no bound but the same as a `beta` of 1 / `latent_dim`.
    pub kl: KlReduction,
    /// How much more than others pixels count in what is fitted that differ from their mean by a standard deviation: see
    /// [`PixelWeights`](crate::generative::weights::PixelWeights); 0 for all alike. What is measured has no weights.
    pub rarity: f64,
    /// Samples of the importance-weighted bound that is fitted; 1 for the ELBO.
    pub k: i64,
    /// `none` leaves pixels gray; `dynamic` draws each black or white with its gray level as the probability, anew in each batch.
    pub binarisation: Binarisation,
    /// Samples of the importance-weighted bound that `carom eval` measures.
    pub iwae_k: i64,
    /// Test images that it is measured on, at most; evenly spaced.
    pub iwae_images: usize,
}

/// What lies between image and hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Nothing.
    Dense,
    /// Convolutions of stride 2.
    Conv,
}

/// Distribution of a pixel given the decoder's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Likelihood {
    /// 1 with probability σ(output). On gray levels it is the cross-entropy, not a probability.
    Bernoulli,
    /// N(output, `sigma`²)
    Gaussian,
}

/// How the KL divergences of the code's dimensions become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KlReduction {
    /// Their sum, which makes the ELBO a bound.
    Sum,
    /// Their mean, as in lectures that average where they should sum.
    Mean,
}

/// What becomes of gray pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Binarisation {
    /// They stay gray.
    None,
    /// Each batch draws black or white anew; the test split is drawn once, the same for all runs.
    Dynamic,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            latent_dim: 2,
            architecture: Architecture::Dense,
            hidden: vec![256],
            channels: vec![16, 32, 64],
            activation: Activation::Relu,
            likelihood: Likelihood::Bernoulli,
            sigma: 0.1,
            beta: 1.0,
            kl: KlReduction::Sum,
            rarity: 0.0,
            k: 1,
            binarisation: Binarisation::None,
            iwae_k: 5000,
            iwae_images: 500,
        }
    }
}

impl ModelConfig for VaeConfig {
    const RECIPE: Recipe = Recipe { epochs: 20, batch_size: 128, lr: 1e-3 };

    fn check(&self) -> Result<()> {
        check_widths("latent_dim", &[self.latent_dim])?;
        check_widths("hidden", &self.hidden)?;
        check_widths("channels", &self.channels)?;
        ensure!(self.sigma > 0.0 && self.sigma.is_finite(), "model.sigma is {}: expected a number above 0", self.sigma);
        ensure!(self.beta >= 0.0 && self.beta.is_finite(), "model.beta is {}: expected 0 or above", self.beta);
        ensure!(self.k > 0, "model.k is {}: expected a number of samples, 1 or above", self.k);
        ensure!(
            self.k == 1 || self.kl_weight() == 1.0,
            "model.k is {}, but the importance-weighted bound has no KL to weigh: set model.beta=1 and model.kl=sum",
            self.k
        );
        ensure!(self.rarity >= 0.0, "model.rarity is {}: expected a number, 0 or above", self.rarity);
        ensure!(
            self.k == 1 || self.rarity == 0.0,
            "model.k is {}, but the importance-weighted bound has no pixels to weigh: set model.rarity=0",
            self.k
        );
        ensure!(self.iwae_k > 0, "model.iwae_k is {}: expected a number of samples, 1 or above", self.iwae_k);
        ensure!(self.iwae_images > 0, "model.iwae_images is 0: expected a number above 0");
        Ok(())
    }
}

impl VaeConfig {
    /// The weight of the summed KL divergence in what is fitted.
    pub fn kl_weight(&self) -> f64 {
        match self.kl {
            KlReduction::Sum => self.beta,
            KlReduction::Mean => self.beta / self.latent_dim as f64,
        }
    }
}
