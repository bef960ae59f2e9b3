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
            // Not `leaky_relu`, whose second derivative torch does not implement for every kind of tensor.
            Activation::LeakyRelu => x.maximum(&(x * 0.2)),
            Activation::Elu => x.elu(),
            Activation::Silu => x.silu(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Linear => x.shallow_clone(),
        }
    }
}
