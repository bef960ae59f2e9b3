//! The product of features and of quantile fractions' features, forward and backward (see `net/cosines.rs`).

use super::q_kernels as kernels;
use crate::net::cosines::{cosines, midpoints};
use crate::net::matrix::{Matrix, matmul};
use crate::net::operation::Operation;
use multiversion::multiversion;
use std::ops::Range;

/// The embedding in front of a layer, with the values of the latest forward pass.
pub(super) struct Embed {
    /// Index of the layer whose input it is.
    pub(super) at: usize,
    n_cosines: usize,
    width: usize,
    weight: Range<usize>,
    bias: Range<usize>,
    midpoints: Vec<f32>,
    /// Rows of `cosines` and `features`: one for each fraction of each observation, or for each fraction of all.
    n_rows: usize,
    n_taus: usize,
    cosines: Matrix,
    /// φ(τ), rectified.
    features: Matrix,
    d_features: Matrix,
    /// Product of both features, a row for each observation and fraction.
    merged: Matrix,
    pub(super) d_merged: Matrix,
}

impl Embed {
    pub(super) fn new(operation: &Operation, [weight, bias]: &[Range<usize>; 2], at: usize) -> Option<Self> {
        let Operation::Embed { cosines, width, taus } = *operation else { return None };
        let none = || Matrix::zeros(0, 0);
        Some(Self {
            at,
            n_cosines: cosines as usize,
            width: width as usize,
            weight: weight.clone(),
            bias: bias.clone(),
            midpoints: midpoints(taus as usize),
            n_rows: 0,
            n_taus: 0,
            cosines: none(),
            features: none(),
            d_features: none(),
            merged: none(),
            d_merged: none(),
        })
    }

    /// Fractions of an observation, given those of all.
    pub(super) fn n_taus(&self, taus: &[f32], batch: usize) -> usize {
        if taus.is_empty() { self.midpoints.len() } else { taus.len() / batch }
    }

    /// `ψ ∘ φ(τ)`, `[batch * K, width]`, of ψ, `[batch, width]`.
    pub(super) fn forward(&mut self, params: &Matrix, x: &[f32], taus: &[f32]) -> &Matrix {
        let batch = x.len() / self.width;
        self.n_taus = self.n_taus(taus, batch);
        let taus = if taus.is_empty() { &self.midpoints } else { taus };
        self.n_rows = taus.len();
        let rows = batch * self.n_taus;
        grow(&mut self.cosines, self.n_rows * self.n_cosines);
        for matrix in [&mut self.features, &mut self.d_features] {
            grow(matrix, self.n_rows * self.width);
        }
        for matrix in [&mut self.merged, &mut self.d_merged] {
            grow(matrix, rows * self.width);
        }
        cosines(taus, self.n_cosines, self.cosines.as_mut_slice());
        let of_taus = self.cosines.view(0, self.n_rows, self.n_cosines);
        let weight = params.view(self.weight.start, self.n_cosines, self.width);
        matmul(&of_taus, &weight, &mut self.features.view_mut(0, self.n_rows, self.width));
        let features = &mut self.features.as_mut_slice()[..self.n_rows * self.width];
        kernels::bias_relu(features, &params.as_slice()[self.bias.clone()]);
        let merged = &mut self.merged.as_mut_slice()[..rows * self.width];
        for (b, (x, merged)) in
            x.chunks_exact(self.width).zip(merged.chunks_exact_mut(self.n_taus * self.width)).enumerate()
        {
            let first = if self.n_rows == rows { b * self.n_taus * self.width } else { 0 };
            merge(x, &features[first..], merged);
        }
        &self.merged
    }

    /// The product of the latest forward pass.
    pub(super) fn merged(&self) -> &Matrix {
        &self.merged
    }

    /// Overwrites the gradients of the embedding's parameters in `grads` and that of `x`, given `d_merged`.
    ///
    /// # Panics
    /// When the latest forward pass had the same fractions for all observations.
    pub(super) fn backward(&mut self, x: &[f32], mut d_x: Option<&mut [f32]>, grads: &mut Matrix) {
        let (width, len) = (self.width, self.n_taus * self.width);
        let rows = self.n_rows;
        assert_eq!(rows, x.len() / width * self.n_taus, "each observation has fractions of its own");
        let features = self.features.as_slice()[..rows * width].chunks_exact(len);
        let d_features = self.d_features.as_mut_slice()[..rows * width].chunks_exact_mut(len);
        let d_merged = self.d_merged.as_slice()[..rows * width].chunks_exact(len);
        let mut unused = vec![0.0; width];
        for (b, ((x, features), (d_features, d_merged))) in
            x.chunks_exact(width).zip(features).zip(d_features.zip(d_merged)).enumerate()
        {
            let d_x = match &mut d_x {
                Some(d_x) => &mut d_x[b * width..(b + 1) * width],
                None => &mut unused[..],
            };
            d_x.fill(0.0);
            merge_backward(x, features, d_merged, d_features, d_x);
        }
        let (of_taus, d_features) = (self.cosines.view(0, rows, self.n_cosines), self.d_features.view(0, rows, width));
        matmul(&of_taus.transposed(), &d_features, &mut grads.view_mut(self.weight.start, self.n_cosines, width));
        let d_bias = &mut grads.as_mut_slice()[self.bias.clone()];
        d_bias.fill(0.0);
        kernels::add_column_sums(&self.d_features.as_slice()[..rows * width], d_bias);
    }
}

fn grow(matrix: &mut Matrix, len: usize) {
    if matrix.as_slice().len() < len {
        *matrix = Matrix::zeros(1, len);
    }
}

/// The product of `x` and each row of `features`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn merge(x: &[f32], features: &[f32], merged: &mut [f32]) {
    for (merged, features) in merged.chunks_exact_mut(x.len()).zip(features.chunks_exact(x.len())) {
        for ((merged, x), feature) in merged.iter_mut().zip(x).zip(features) {
            *merged = x * feature;
        }
    }
}

/// Gradients of the rows before their rectifier, and of `x`, to which they are added.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn merge_backward(x: &[f32], features: &[f32], d_merged: &[f32], d_features: &mut [f32], d_x: &mut [f32]) {
    let width = x.len();
    let rows = features.chunks_exact(width).zip(d_merged.chunks_exact(width)).zip(d_features.chunks_exact_mut(width));
    for ((features, d_merged), d_features) in rows {
        for i in 0..width {
            d_features[i] = if features[i] <= 0.0 { 0.0 } else { d_merged[i] * x[i] };
            d_x[i] += d_merged[i] * features[i];
        }
    }
}
