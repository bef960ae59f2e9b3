//! Functions of single elements.

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A function applied to each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(0, x)
    Relu,
    /// x where positive, else 0.2 x
    LeakyRelu,
    /// x where positive, else eˣ − 1 (Clevert et al. 2016)
    Elu,
    /// x σ(x) (Hendrycks & Gimpel 2016; also "swish")
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// x itself.
    Linear,
}

impl Activation {
    /// Applies the function to every element of `x`.
    pub fn of(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Relu => x.relu(),
            // By its slope, 1 or 0.2, so that each derivative is one product: those of `maximum` compare again and fill
            // masks, a third of a convolutional GAN's update. tch's `leaky_relu` has a slope of 0.01.
            Activation::LeakyRelu => x * x.detach().sign().clamp_min(0.2),
            Activation::Elu => x.elu(),
            Activation::Silu => x.silu(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Linear => x.shallow_clone(),
        }
    }
}
