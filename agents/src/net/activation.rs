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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tensor::to_vec;
    use tch::Kind;

    /// The derivative of f(w x) in x is s w with the slope s, and that of its square in w is 2 s² w.
    #[test]
    fn leaky_relu_is_differentiated_twice() {
        let w = Tensor::from_slice(&[3f32]).set_requires_grad(true);
        let x = Tensor::from_slice(&[-2f32, -0.5, 0.0, 4.0]).set_requires_grad(true);
        let y = Activation::LeakyRelu.of(&(&w * &x));
        assert_eq!(to_vec(&y), [-1.2, -0.3, 0.0, 12.0]);
        let slope = &Tensor::run_backward(&[y.sum(Kind::Float)], &[&x], true, true)[0];
        assert_eq!(to_vec(slope), [0.6, 0.6, 0.6, 3.0]);
        let penalty = slope.square().sum(Kind::Float);
        let in_w = &Tensor::run_backward(&[penalty], &[&w], false, false)[0];
        assert!((to_vec(in_w)[0] - 2.0 * 3.0 * (3.0 * 0.04 + 1.0)).abs() < 1e-5);
    }
}
