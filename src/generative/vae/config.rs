//! Settings of `vae`.

use crate::generative::settings::WIDTHS;
use carom_agents::net::Activation;
use carom_envs::settings;
use carom_envs::settings::{Above, AtLeast, Each, Settings};
use serde::{Deserialize, Serialize};

settings! {
    /// Settings of `vae`.
    pub(crate) struct VaeConfig {
        /// Width of the code. With 2, the digits can be laid out on a map.
        latent_dim: i64 = 2, in WIDTHS;
        /// `dense`, or `conv` for strided convolutions between image and hidden layers.
        architecture: Architecture = Architecture::Dense;
        /// Widths of the dense layers between image (or convolutions) and code; the decoder has them in reverse.
        hidden: Vec<i64> = vec![256], in Each(WIDTHS);
        /// Filters of the convolutions of `conv`, each of which halves rows and columns; the decoder has them in
        /// reverse.
        channels: Vec<i64> = vec![16, 32, 64], in Each(WIDTHS);
        /// Activation of the hidden layers.
        activation: Activation = Activation::Relu;
        /// p(x|z): `bernoulli` for pixels in 0..=1, `gaussian` for pixels with noise of deviation `sigma`.
        likelihood: Likelihood = Likelihood::Bernoulli;
        /// Standard deviation of a pixel under `gaussian`.
        sigma: f64 = 0.1, in Above(0.0);
        /// Weight of the KL divergence in the loss (Higgins et al. 2017). Measures have the weight 1.
        beta: f64 = 1.0, in AtLeast(0.0);
        /// `sum` over the code's dimensions, or `mean`, which is no bound but equals a `beta` of 1 / `latent_dim`.
        kl: KlReduction = KlReduction::Sum;
        /// Extra weight in the loss of a pixel that is one standard deviation from its mean; 0 weights all pixels
        /// alike. Measures have no weights.
        rarity: f64 = 0.0, in AtLeast(0.0);
        /// Samples of the importance-weighted bound that is fitted; 1 for the ELBO.
        k: i64 = 1, in 1..=1000;
        /// Updates of the ELBO before those of the bound of `k` samples, which take far longer.
        elbo_updates: u64 = 0;
        /// `none` leaves pixels gray; `dynamic` draws each black or white with its gray level as the probability, anew
        /// in each batch.
        binarisation: Binarisation = Binarisation::None;
        /// Samples of the importance-weighted bound that `carom eval` measures.
        iwae_k: i64 = 5000, in 1..=100_000;
        /// Largest number of test images that this bound is measured on; evenly spaced.
        iwae_images: usize = 500, in AtLeast(1);
    }
}

impl Settings for VaeConfig {
    fn unheard(&self) -> Vec<(&'static str, String)> {
        let mut unheard = vec![];
        if self.architecture == Architecture::Dense {
            unheard.push(("channels", "only architecture conv has convolutions".to_owned()));
            if self.hidden.is_empty() {
                unheard.push(("activation", "there are no hidden layers".to_owned()));
            }
        }
        if self.likelihood == Likelihood::Bernoulli {
            unheard.push(("sigma", "only likelihood gaussian has it".to_owned()));
        }
        if self.k == 1 {
            unheard.push(("elbo_updates", "k is 1: all updates are of the ELBO".to_owned()));
        } else if self.elbo_updates == 0 {
            let lacks = |part| format!("k is {}, and the importance-weighted bound has no {part} to weigh", self.k);
            unheard.extend([("beta", lacks("KL")), ("kl", lacks("KL")), ("rarity", lacks("pixels"))]);
        }
        unheard
    }
}

impl VaeConfig {
    /// Returns the weight of the summed KL divergence in the loss.
    pub(crate) fn kl_weight(&self) -> f64 {
        match self.kl {
            KlReduction::Sum => self.beta,
            KlReduction::Mean => self.beta / self.latent_dim as f64,
        }
    }
}

/// Layers between image and hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Architecture {
    /// No convolutions.
    Dense,
    /// Convolutions of stride 2.
    Conv,
}

/// Distribution of a pixel given the decoder's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Likelihood {
    /// 1 with probability σ(output). On gray levels it is the cross-entropy, not a probability.
    Bernoulli,
    /// N(output, `sigma`²)
    Gaussian,
}

/// How the KL divergences of the code's dimensions become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KlReduction {
    /// Their sum, which makes the ELBO a bound.
    Sum,
    /// Their mean, as in some lectures; it makes no bound.
    Mean,
}

/// How gray pixels are made black or white.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Binarisation {
    /// They stay gray.
    None,
    /// Each batch draws black or white anew; the test split is drawn once, the same for all runs.
    Dynamic,
}
