//! The Euclidean norm of a gradient, and its limit.

use crate::net::lanes::LANES;
use multiversion::multiversion;

/// Factor that scales a gradient down to a Euclidean norm of `max_norm` where its `norm` is larger. That of NaN is NaN.
pub fn clip_factor(norm: f32, max_norm: f32) -> f32 {
    if norm <= max_norm { 1.0 } else { max_norm / norm }
}

/// Sum of squares, in lanes.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub fn sum_of_squares(values: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    let rest: f32 = rest.iter().map(|v| v * v).sum();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += v * v;
        }
    }
    lanes.iter().sum::<f32>() + rest
}
