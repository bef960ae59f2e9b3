//! Bias, layer normalisation and rectifier of dense layers, whose features lie in panels.

use super::dense::{Dense, PANEL, panel_rows};
use crate::net::lanes::{LANES, Lanes, padded, relu};
use crate::net::native::simd::Simd;
use crate::net::operation::NORM_EPSILON;

/// A layer's bias, scale and shift, or their gradients.
pub(super) struct Vectors<T> {
    pub(super) bias: T,
    pub(super) norm: Option<[T; 2]>,
}

/// Lanes of a vector from `at` on, with zeros behind its end.
#[inline(always)]
fn lanes_at(values: &[f32], at: usize) -> Lanes {
    match values[at..].first_chunk() {
        Some(lanes) => *lanes,
        None => padded(&values[at..], 0.0),
    }
}

/// Adds lanes to a vector from `at` on, as far as it goes.
#[inline(always)]
fn add_at<S: Simd>(s: S, values: &mut [f32], at: usize, sum: S::V) {
    let mut lanes = [0.0; LANES];
    s.store(sum, &mut lanes);
    values[at..].iter_mut().zip(lanes).for_each(|(value, lane)| *value += lane);
}

/// Groups of lanes of panels: the index of the first feature, and of the first sample's group in memory.
fn groups(features: usize, batch: usize) -> impl Iterator<Item = (usize, usize)> {
    let panel_len = panel_rows(batch) * PANEL / LANES;
    (0..features).step_by(LANES).map(move |at| (at, at / PANEL * panel_len + at % PANEL / LANES))
}

/// Groups of lanes from a sample to the next.
const SAMPLE: usize = PANEL / LANES;

/// Activations of a layer.
pub(super) struct Activations<'a> {
    /// The products with the weights; the output after [`rectify`].
    pub(super) y: &'a mut [f32],
    /// Normalised features, where there is a norm.
    pub(super) normed: &'a mut [f32],
    /// One over each sample's standard deviation, where there is a norm.
    pub(super) inv_std: &'a mut [f32],
}

/// Bias, layer normalisation and rectifier, as far as the layer has them, of panels of a batch.
#[inline(always)]
pub(super) fn rectify<S: Simd>(s: S, layer: &Dense, batch: usize, params: &[f32], activations: Activations) {
    let Activations { y, normed, inv_std } = activations;
    let (y, _) = y.as_chunks_mut::<LANES>();
    let bias = &params[layer.bias.clone()];
    let Some([scale, shift]) = &layer.norm else {
        for (at, group) in groups(layer.outputs, batch) {
            let bias = s.load(&lanes_at(bias, at));
            for b in 0..batch {
                let y = &mut y[group + b * SAMPLE];
                let sum = s.add(s.load(y), bias);
                s.store(if layer.is_rectified { s.relu(sum) } else { sum }, y);
            }
        }
        return;
    };
    let (normed, _) = normed.as_chunks_mut::<LANES>();
    let (scale, shift) = (&params[scale.clone()], &params[shift.clone()]);
    for (b, inv_std) in inv_std[..batch].iter_mut().enumerate() {
        let (mut sum, mut square) = (s.zero(), s.zero());
        for (at, group) in groups(layer.outputs, batch) {
            let x = s.add(s.load(&y[group + b * SAMPLE]), s.load(&lanes_at(bias, at)));
            sum = s.add(sum, x);
            square = s.mul_add(x, x, square);
        }
        let share = 1.0 / layer.outputs as f32;
        let mean = s.sum(sum) * share;
        let variance = relu(s.sum(square) * share - mean * mean);
        *inv_std = 1.0 / (variance + NORM_EPSILON).sqrt();
        let (mean, inv_std) = (s.splat(mean), s.splat(*inv_std));
        for (at, group) in groups(layer.outputs, batch) {
            let at_sample = group + b * SAMPLE;
            let x = s.add(s.load(&y[at_sample]), s.load(&lanes_at(bias, at)));
            let n = s.mul(s.sub(x, mean), inv_std);
            s.store(n, &mut normed[at_sample]);
            let affine = s.mul_add(s.load(&lanes_at(scale, at)), n, s.load(&lanes_at(shift, at)));
            s.store(s.relu(affine), &mut y[at_sample]);
        }
    }
}

/// Inputs of [`rectify_backward`], and memory for it to work in.
pub(super) struct Behind<'a> {
    pub(super) layer: &'a Dense,
    pub(super) batch: usize,
    pub(super) params: &'a [f32],
    pub(super) activations: Activations<'a>,
    /// Two groups of lanes for each sample.
    pub(super) row_sums: &'a mut [f32],
}

/// Turns the gradient of the output of [`rectify`] into that of the products, in place, and adds the gradients of bias,
/// scale and shift.
#[inline(always)]
pub(super) fn rectify_backward<S: Simd>(s: S, behind: Behind, grad: &mut [f32], to: Vectors<&mut [f32]>) {
    let Behind { layer, batch, params, activations: Activations { y, normed, inv_std }, row_sums } = behind;
    let ((y, _), (grad, _)) = (y.as_chunks::<LANES>(), grad.as_chunks_mut::<LANES>());
    if let (Some([scale, shift]), Some(d_norm)) = (&layer.norm, to.norm) {
        let ((normed, _), (row_sums, _)) = (normed.as_chunks::<LANES>(), row_sums.as_chunks_mut::<LANES>());
        let [scale, shift] = [scale, shift].map(|place| &params[place.clone()]);
        norm_backward(s, batch, [scale, shift], normed, row_sums, grad, d_norm);
        let share = 1.0 / layer.outputs as f32;
        for sums in &mut row_sums[..2 * batch] {
            *sums = [s.sum(s.load(sums)) * share; LANES];
        }
        centre(s, layer.outputs, normed, inv_std, row_sums, grad, to.bias);
        return;
    }
    for (at, group) in groups(layer.outputs, batch) {
        let mut d_bias = s.zero();
        for b in 0..batch {
            let (y, grad) = (&y[group + b * SAMPLE], &mut grad[group + b * SAMPLE]);
            let g = s.load(grad);
            let g = if layer.is_rectified { s.where_positive(s.load(y), g) } else { g };
            s.store(g, grad);
            d_bias = s.add(d_bias, g);
        }
        add_at(s, to.bias, at, d_bias);
    }
}

/// Turns the gradient of the output into ĝ, that behind the rectifier times the scale; adds the gradients of scale and
/// shift; writes each sample's Σ ĝ and Σ ĝ x̂, by lanes.
#[inline(always)]
fn norm_backward<S: Simd>(
    s: S,
    batch: usize,
    [scale, shift]: [&[f32]; 2],
    normed: &[Lanes],
    row_sums: &mut [Lanes],
    grad: &mut [Lanes],
    [d_scale, d_shift]: [&mut [f32]; 2],
) {
    row_sums.fill([0.0; LANES]);
    for (at, group) in groups(scale.len(), batch) {
        let (scale, shift) = (s.load(&lanes_at(scale, at)), s.load(&lanes_at(shift, at)));
        let (mut d_scale_sum, mut d_shift_sum) = (s.zero(), s.zero());
        for b in 0..batch {
            let (n, grad) = (s.load(&normed[group + b * SAMPLE]), &mut grad[group + b * SAMPLE]);
            let behind = s.where_positive(s.mul_add(scale, n, shift), s.load(grad));
            d_scale_sum = s.mul_add(behind, n, d_scale_sum);
            d_shift_sum = s.add(d_shift_sum, behind);
            let scaled = s.mul(behind, scale);
            s.store(scaled, grad);
            s.store(s.add(s.load(&row_sums[2 * b]), scaled), &mut row_sums[2 * b]);
            s.store(s.mul_add(scaled, n, s.load(&row_sums[2 * b + 1])), &mut row_sums[2 * b + 1]);
        }
        add_at(s, d_scale, at, d_scale_sum);
        add_at(s, d_shift, at, d_shift_sum);
    }
}

/// Turns ĝ into the gradient of the products, `(ĝ - mean(ĝ) - x̂ mean(ĝ x̂)) / std`, and adds that of the bias. `means`
/// are of each sample.
#[inline(always)]
fn centre<S: Simd>(
    s: S,
    features: usize,
    normed: &[Lanes],
    inv_std: &[f32],
    means: &[Lanes],
    grad: &mut [Lanes],
    d_bias: &mut [f32],
) {
    let batch = means.len() / 2;
    for (at, group) in groups(features, batch) {
        let mut sum = s.zero();
        for b in 0..batch {
            let (n, grad) = (s.load(&normed[group + b * SAMPLE]), &mut grad[group + b * SAMPLE]);
            let (mean, product) = (s.load(&means[2 * b]), s.load(&means[2 * b + 1]));
            let centred = s.sub(s.sub(s.load(grad), mean), s.mul(n, product));
            let d_z = s.mul(centred, s.splat(inv_std[b]));
            s.store(d_z, grad);
            sum = s.add(sum, d_z);
        }
        add_at(s, d_bias, at, sum);
    }
}
