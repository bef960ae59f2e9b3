//! Logarithms of densities, in nats, and the KL divergence between two Gaussians.

use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// Returns KL(N(μ, diag σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² − 1 − ln σ²) of `mean` and `log_var`, both `[B, d]`: `[B]` nats.
/// Kingma & Welling 2014, appendix B.
pub(super) fn gaussian_kl(mean: &Tensor, log_var: &Tensor) -> Tensor {
    (mean.square() + log_var.exp() - 1.0 - log_var).sum_dim_intlist(-1, false, Kind::Float) * 0.5
}

/// Returns ln p(x|z) = Σ x l − ln(1 + eˡ) over the last dimension, of Bernoulli pixels with `logits` l; `x` in 0..=1.
pub(super) fn log_bernoulli(logits: &Tensor, x: &Tensor) -> Tensor {
    (x * logits - logits.softplus()).sum_dim_intlist(-1, false, logits.kind())
}

/// Returns ln p(x|z) = −½ Σ ((x − m) / σ)² + ln 2πσ² over the last dimension, of Gaussian pixels with `mean` m.
pub(super) fn log_gaussian(mean: &Tensor, x: &Tensor, sigma: f64) -> Tensor {
    let n_pixels = x.size()[x.dim() - 1] as f64;
    let squares = (x - mean).square().sum_dim_intlist(-1, false, mean.kind());
    squares * (-0.5 / (sigma * sigma)) - 0.5 * n_pixels * (2.0 * PI * sigma * sigma).ln()
}
