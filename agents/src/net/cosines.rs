//! Features of quantile fractions, by which features of observations are multiplied (Dabney et al. 2018b, equation 4).
//!
//! `φ_j(τ) = max(0, Σ_{i<n} cos(π i τ) w_ij + b_j)`, and the network goes on with `ψ(s) ∘ φ(τ)`.

use tch::{Kind, Tensor};

/// Midpoints of `n` equal parts of 0..1.
pub fn midpoints(n: usize) -> Vec<f32> {
    (0..n).map(|k| (k as f32 + 0.5) / n as f32).collect()
}

/// Writes `cos(π i τ)` for i below `n` to a row for each of `taus`.
pub(crate) fn cosines(taus: &[f32], n: usize, out: &mut [f32]) {
    for (tau, row) in taus.iter().zip(out.chunks_exact_mut(n)) {
        // cos (i+1)x = 2 cos x cos ix - cos (i-1)x, in double precision.
        let x = (std::f64::consts::PI * f64::from(*tau)).cos();
        let (mut before, mut now) = (x, 1.0);
        for value in row {
            *value = now as f32;
            (before, now) = (now, 2.0 * x * now - before);
        }
    }
}

/// `ψ ∘ φ(τ)`, `[B, K, width]`, of features ψ, `[B, width]`, and fractions, `[K]` for all of the batch or `[B, K]`.
pub(super) fn apply(x: &Tensor, taus: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let n = weight.size()[0];
    let multiples = Tensor::arange(n, (Kind::Float, x.device())) * std::f64::consts::PI;
    let embedded = (taus.unsqueeze(-1) * multiples).cos().matmul(weight) + bias;
    x.unsqueeze(1) * embedded.relu()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_those_of_double_precision() {
        let taus = [0.0, 0.1, 0.37, 0.5, 0.999, 1.0];
        let mut out = vec![0.0; taus.len() * 64];
        cosines(&taus, 64, &mut out);
        for (tau, row) in taus.iter().zip(out.chunks(64)) {
            for (i, value) in row.iter().enumerate() {
                let expected = (std::f64::consts::PI * i as f64 * f64::from(*tau)).cos();
                assert!((f64::from(*value) - expected).abs() < 1e-6, "cos({i} π {tau})");
            }
        }
        assert_eq!(midpoints(4), [0.125, 0.375, 0.625, 0.875]);
    }
}
