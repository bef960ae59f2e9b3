//! The product of features and of quantile fractions' features, forward and backward (see `net/cosines.rs`).
//!
//! Many features behind a convolution of planes are 0, and so are their products with the features of all fractions.
//! Only the others are computed: by lists, both in the embedding and in the layer behind (see `copies.rs`).

use super::copies::{CombineCopies, Products, Spread};
use super::isa::Isa;
use super::q_kernels as kernels;
use super::simd::{Kernel, Simd};
use super::sparse::Lists;
use crate::net::cosines::{cosines, midpoints};
use crate::net::lanes::{LANES, relu};
use crate::net::matrix::{Matrix, matmul};
use crate::net::operation::Operation;
use multiversion::multiversion;
use std::ops::Range;

/// The embedding in front of a layer, with the values of the latest forward pass.
pub(super) struct Embed {
    /// Index of the layer whose input it is.
    pub(super) at: usize,
    isa: Isa,
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
    listed: Listed,
}

/// Values of the listed elements, `[listed, K]`.
#[derive(Default)]
struct Listed {
    /// Weights of the embedding, a row for each feature.
    weight: Vec<f32>,
    d_weight: Vec<f32>,
    /// φ(τ), rectified.
    features: Vec<f32>,
    merged: Vec<f32>,
    /// Gradient of `merged`, then of the features before their rectifier.
    grad: Vec<f32>,
}

impl Embed {
    pub(super) fn new(operation: &Operation, [weight, bias]: &[Range<usize>; 2], at: usize) -> Option<Self> {
        let Operation::Embed { cosines, width, taus } = *operation else { return None };
        let none = || Matrix::zeros(0, 0);
        Some(Self {
            at,
            isa: Isa::all()[0],
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
            listed: Listed::default(),
        })
    }

    /// Whether the passes over listed features can be taken.
    pub(super) fn is_whole(&self) -> bool {
        self.n_cosines.is_multiple_of(LANES) && self.width.is_multiple_of(LANES)
    }

    /// Fractions of an observation, given those of all.
    pub(super) fn n_taus(&self, taus: &[f32], batch: usize) -> usize {
        if taus.is_empty() { self.midpoints.len() } else { taus.len() / batch }
    }

    /// `ψ ∘ φ(τ)`, `[batch * K, width]`, of ψ, `[batch, width]`.
    pub(super) fn forward(&mut self, params: &Matrix, x: &[f32], taus: &[f32]) -> &Matrix {
        let batch = x.len() / self.width;
        self.set_fractions(taus, batch);
        let rows = batch * self.n_taus;
        for matrix in [&mut self.features, &mut self.d_features] {
            grow(matrix, self.n_rows * self.width);
        }
        for matrix in [&mut self.merged, &mut self.d_merged] {
            grow(matrix, rows * self.width);
        }
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

    /// Computes the cosines of `taus`, or of the midpoints if these are empty.
    fn set_fractions(&mut self, taus: &[f32], batch: usize) {
        self.n_taus = self.n_taus(taus, batch);
        let taus = if taus.is_empty() { &self.midpoints } else { taus };
        self.n_rows = taus.len();
        grow(&mut self.cosines, self.n_rows * self.n_cosines);
        cosines(taus, self.n_cosines, self.cosines.as_mut_slice());
    }

    /// `z = (ψ ∘ φ(τ)) weight` of listed ψ, with a row for each observation and fraction. `weight` is the place of that
    /// layer's weights.
    pub(super) fn forward_listed(
        &mut self,
        params: &[f32],
        x: &Lists,
        taus: &[f32],
        weight: &Range<usize>,
        z: &mut [f32],
    ) {
        self.set_fractions(taus, x.n());
        let (n_copies, width) = (self.n_taus, self.n_cosines);
        let Listed { weight: of_features, features, merged, .. } = &mut self.listed;
        of_features.resize(width * self.width, 0.0);
        self.isa.run(Transpose { from: &params[self.weight.clone()], width: self.width, to: of_features });
        for values in [&mut *features, &mut *merged] {
            values.resize(x.start(x.n()) * n_copies, 0.0);
        }
        let by_copy = &self.cosines.as_slice()[..self.n_rows * width];
        self.isa.run(Products { lists: x, n_copies, by_place: of_features, by_copy, width, values: features });
        merge_listed(x, n_copies, &params[self.bias.clone()], features, merged);
        self.isa.run(CombineCopies { lists: x, n_copies, values: merged, from: &params[weight.clone()], sums: z });
    }

    /// Given the gradient of the `z` of the latest [`Embed::forward_listed`], overwrites those of the embedding's
    /// parameters and of `weight` in `grads`, and writes that of ψ, `[batch, width]`, where it is listed.
    ///
    /// # Panics
    /// When that pass had the same fractions for all observations.
    pub(super) fn backward_listed(
        &mut self,
        params: &[f32],
        x: &Lists,
        weight: &Range<usize>,
        d_z: &[f32],
        d_x: &mut [f32],
        grads: &mut [f32],
    ) {
        let (n_copies, width) = (self.n_taus, self.n_cosines);
        assert_eq!(self.n_rows, x.n() * n_copies, "each observation has fractions of its own");
        let Listed { d_weight, features, merged, grad, .. } = &mut self.listed;
        let d_of_layer = &mut grads[weight.clone()];
        d_of_layer.fill(0.0);
        self.isa.run(Spread { lists: x, n_copies, values: merged, from: d_z, sums: d_of_layer });
        grad.resize(merged.len(), 0.0);
        let (by_place, width_of_z) = (&params[weight.clone()], d_z.len() / self.n_rows);
        self.isa.run(Products { lists: x, n_copies, by_place, by_copy: d_z, width: width_of_z, values: grad });
        let d_bias = &mut grads[self.bias.clone()];
        d_bias.fill(0.0);
        merge_listed_backward(x, n_copies, features, grad, d_x, d_bias);
        d_weight.clear();
        d_weight.resize(width * self.width, 0.0);
        let cosines = &self.cosines.as_slice()[..self.n_rows * width];
        self.isa.run(Spread { lists: x, n_copies, values: grad, from: cosines, sums: d_weight });
        self.isa.run(Transpose { from: d_weight, width, to: &mut grads[self.weight.clone()] });
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

/// Rectifies listed φ(τ), whose bias is added, and multiplies each by its feature.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn merge_listed(x: &Lists, n_copies: usize, bias: &[f32], features: &mut [f32], merged: &mut [f32]) {
    let rows = features.chunks_exact_mut(n_copies).zip(merged.chunks_exact_mut(n_copies));
    for ((place, value), (features, merged)) in x.elements().zip(rows) {
        let bias = bias[place];
        for (feature, merged) in features.iter_mut().zip(merged) {
            *feature = relu(*feature + bias);
            *merged = value * *feature;
        }
    }
}

/// Turns the gradient of listed products into that of the features before their rectifier, adds this to that of the
/// bias, and writes that of `x`, `[batch, width]`, where it is listed.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn merge_listed_backward(
    x: &Lists,
    n_copies: usize,
    features: &[f32],
    grad: &mut [f32],
    d_x: &mut [f32],
    d_bias: &mut [f32],
) {
    for (list, d_x) in d_x.chunks_exact_mut(d_bias.len()).enumerate() {
        let span = x.span(list, n_copies);
        let rows = features[span.clone()].chunks_exact(n_copies).zip(grad[span].chunks_exact_mut(n_copies));
        for ((&place, &value), (features, grad)) in x.places(list).iter().zip(x.values(list)).zip(rows) {
            let (mut of_x, mut of_bias) = (0.0, 0.0);
            for (feature, grad) in features.iter().zip(grad) {
                of_x += *grad * feature;
                *grad = if *feature <= 0.0 { 0.0 } else { *grad * value };
                of_bias += *grad;
            }
            d_x[place as usize] = of_x;
            d_bias[place as usize] += of_bias;
        }
    }
}

/// Writes the matrix `from`, whose rows have `width` elements, with rows and columns exchanged. Both numbers are
/// multiples of [`LANES`].
struct Transpose<'a> {
    from: &'a [f32],
    width: usize,
    to: &'a mut [f32],
}

impl Kernel for Transpose<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, width, to } = self;
        let height = from.len() / width;
        for (row, column) in (0..height).step_by(LANES).flat_map(|row| (0..width).step_by(LANES).map(move |c| (row, c)))
        {
            let mut lanes = [s.zero(); LANES];
            for i in 0..LANES {
                lanes[i] = s.load(from[(row + i) * width + column..].first_chunk().expect("a row of whole lanes"));
            }
            let columns = s.transpose(lanes);
            for i in 0..LANES {
                let to = &mut to[(column + i) * height + row..];
                s.store(columns[i], to.first_chunk_mut().expect("a column of whole lanes"));
            }
        }
    }
}
