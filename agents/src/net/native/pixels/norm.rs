//! Bias, layer normalisation and rectifier of cells of channels, forward and backward, in one pass each.
//!
//! A cell has two or four groups of lanes, and its mean is a sum over lanes, which is slow: sixteen cells' sums are
//! transposed, so that one addition of lanes serves sixteen cells.

#![allow(clippy::needless_range_loop, reason = "registers by row and column, in loops that are unrolled")]

use crate::net::lanes::{LANES, Lanes};
use crate::net::native::simd::Simd;
use crate::net::operation::NORM_EPSILON;

/// Parameters between a convolution and the next layer.
#[derive(Clone, Copy)]
pub(super) struct Rectifier<'a> {
    pub(super) bias: &'a [f32],
    /// Scale and shift.
    pub(super) norm: Option<[&'a [f32]; 2]>,
    /// Factor of the convolution before its bias is added.
    pub(super) unit: f32,
}

/// Values that the backward pass needs: the normalised cells where there is a norm, else the output.
pub(super) struct Kept<'a> {
    pub(super) values: &'a mut [f32],
    /// One over each cell's standard deviation.
    pub(super) inv_std: &'a mut [f32],
}

/// Gradients of a rectifier's parameters, added to.
pub(super) struct RectifierGrads<'a> {
    pub(super) bias: &'a mut [f32],
    pub(super) scale: &'a mut [f32],
    pub(super) shift: &'a mut [f32],
}

/// `y = max(scale * norm(unit z + bias) + shift, 0)`, or without norm `y = max(unit z + bias, 0)`, in all cells of `G`
/// groups of lanes.
#[inline(always)]
pub(super) fn forward<S: Simd, const G: usize>(
    s: S,
    rectifier: Rectifier,
    z: &[f32],
    kept: Option<Kept>,
    y: &mut [f32],
) {
    let (z, y) = (z.as_chunks::<LANES>().0.as_chunks::<G>().0, y.as_chunks_mut::<LANES>().0.as_chunks_mut::<G>().0);
    let (unit, bias) = (s.splat(rectifier.unit), groups::<S, G>(s, rectifier.bias));
    let Some([scale, shift]) = rectifier.norm else {
        for (z, y) in z.iter().zip(&mut *y) {
            for g in 0..G {
                s.store(s.relu(s.mul_add(unit, s.load(&z[g]), bias[g])), &mut y[g]);
            }
        }
        if let Some(kept) = kept {
            kept.values.copy_from_slice(y.as_flattened().as_flattened());
        }
        return;
    };
    let affine = Affine { unit, bias, scale: groups::<S, G>(s, scale), shift: groups::<S, G>(s, shift) };
    let mut spare = [[[0.0; LANES]; G]; LANES];
    let (mut values, mut inv_stds) = match kept {
        Some(kept) => {
            let values = kept.values.as_chunks_mut::<LANES>().0.as_chunks_mut::<G>().0;
            (Some(values.chunks_mut(LANES)), Some(kept.inv_std.chunks_mut(LANES)))
        }
        None => (None, None),
    };
    for (z, y) in z.chunks(LANES).zip(y.chunks_mut(LANES)) {
        let values = values.as_mut().and_then(Iterator::next).unwrap_or(&mut spare);
        let inv_std = normalise(s, &affine, z, values, y);
        if let Some(kept) = inv_stds.as_mut().and_then(Iterator::next) {
            kept.copy_from_slice(&inv_std[..kept.len()]);
        }
    }
}

struct Affine<V, const G: usize> {
    unit: V,
    bias: [V; G],
    scale: [V; G],
    shift: [V; G],
}

/// Up to sixteen cells; returns one over their standard deviations.
#[inline(always)]
fn normalise<S: Simd, const G: usize>(
    s: S,
    affine: &Affine<S::V, G>,
    z: &[[Lanes; G]],
    values: &mut [[Lanes; G]],
    y: &mut [[Lanes; G]],
) -> Lanes {
    let (mut sums, mut squares) = ([s.zero(); LANES], [s.zero(); LANES]);
    for (i, z) in z.iter().enumerate() {
        let (mut sum, mut square) = (s.zero(), s.zero());
        for g in 0..G {
            let x = s.mul_add(affine.unit, s.load(&z[g]), affine.bias[g]);
            sum = s.add(sum, x);
            square = s.mul_add(x, x, square);
        }
        (sums[i], squares[i]) = (sum, square);
    }
    let share = s.splat(1.0 / (G * LANES) as f32);
    let mean = s.mul(s.sums(sums), share);
    // Rounding can leave a variance a little below 0.
    let variance = s.relu(s.sub(s.mul(s.sums(squares), share), s.mul(mean, mean)));
    let (mut means, mut inv_stds) = ([0.0; LANES], [0.0; LANES]);
    s.store(mean, &mut means);
    s.store(s.inv_sqrt(s.add(variance, s.splat(NORM_EPSILON))), &mut inv_stds);
    for (i, ((z, values), y)) in z.iter().zip(values).zip(y).enumerate() {
        let (mean, inv_std) = (s.splat(means[i]), s.splat(inv_stds[i]));
        for g in 0..G {
            let x = s.mul_add(affine.unit, s.load(&z[g]), affine.bias[g]);
            let normed = s.mul(s.sub(x, mean), inv_std);
            s.store(normed, &mut values[g]);
            s.store(s.relu(s.mul_add(affine.scale[g], normed, affine.shift[g])), &mut y[g]);
        }
    }
    inv_stds
}

/// Turns the gradient of the output of [`forward`] into that of `unit z + bias`, in place, and adds the parameters'.
///
/// With ĝ the gradient behind the rectifier times the scale: `dz = (ĝ - mean(ĝ) - x̂ mean(ĝ x̂)) / std`.
#[inline(always)]
pub(super) fn backward<S: Simd, const G: usize>(
    s: S,
    rectifier: Rectifier,
    kept: &[f32],
    inv_std: &[f32],
    grad: &mut [f32],
    to: RectifierGrads,
) {
    let (kept, _) = kept.as_chunks::<LANES>().0.as_chunks::<G>();
    let (grad, _) = grad.as_chunks_mut::<LANES>().0.as_chunks_mut::<G>();
    let RectifierGrads { bias: bias_grad, scale: scale_grad, shift: shift_grad } = to;
    let mut d_bias = groups::<S, G>(s, bias_grad);
    if let Some([scale, shift]) = rectifier.norm {
        let (mut d_scale, mut d_shift) = (groups::<S, G>(s, scale_grad), groups::<S, G>(s, shift_grad));
        let (scale, shift) = (groups::<S, G>(s, scale), groups::<S, G>(s, shift));
        for ((kept, inv_std), grad) in kept.chunks(LANES).zip(inv_std.chunks(LANES)).zip(grad.chunks_mut(LANES)) {
            let (mut sums, mut products) = ([s.zero(); LANES], [s.zero(); LANES]);
            for (i, (normed, grad)) in kept.iter().zip(&mut *grad).enumerate() {
                for g in 0..G {
                    let n = s.load(&normed[g]);
                    let behind = s.where_positive(s.mul_add(scale[g], n, shift[g]), s.load(&grad[g]));
                    d_scale[g] = s.mul_add(behind, n, d_scale[g]);
                    d_shift[g] = s.add(d_shift[g], behind);
                    let scaled = s.mul(behind, scale[g]);
                    s.store(scaled, &mut grad[g]);
                    sums[i] = s.add(sums[i], scaled);
                    products[i] = s.mul_add(scaled, n, products[i]);
                }
            }
            centre(s, kept, inv_std, [s.sums(sums), s.sums(products)], grad, &mut d_bias);
        }
        store_groups(s, d_scale, scale_grad);
        store_groups(s, d_shift, shift_grad);
    } else {
        for (y, grad) in kept.iter().zip(grad) {
            for g in 0..G {
                let behind = s.where_positive(s.load(&y[g]), s.load(&grad[g]));
                s.store(behind, &mut grad[g]);
                d_bias[g] = s.add(d_bias[g], behind);
            }
        }
    }
    store_groups(s, d_bias, bias_grad);
}

/// The second half of [`backward`] for up to sixteen cells, given Σ ĝ and Σ ĝ x̂ of each.
#[inline(always)]
fn centre<S: Simd, const G: usize>(
    s: S,
    normed: &[[Lanes; G]],
    inv_std: &[f32],
    sums: [S::V; 2],
    grad: &mut [[Lanes; G]],
    d_bias: &mut [S::V; G],
) {
    let share = s.splat(1.0 / (G * LANES) as f32);
    let (mut means, mut products) = ([0.0; LANES], [0.0; LANES]);
    s.store(s.mul(sums[0], share), &mut means);
    s.store(s.mul(sums[1], share), &mut products);
    for (i, ((normed, grad), inv_std)) in normed.iter().zip(grad).zip(inv_std).enumerate() {
        let (mean, product, inv_std) = (s.splat(means[i]), s.splat(products[i]), s.splat(*inv_std));
        for g in 0..G {
            let centred = s.sub(s.sub(s.load(&grad[g]), mean), s.mul(s.load(&normed[g]), product));
            let d_z = s.mul(centred, inv_std);
            s.store(d_z, &mut grad[g]);
            d_bias[g] = s.add(d_bias[g], d_z);
        }
    }
}

#[inline(always)]
fn groups<S: Simd, const G: usize>(s: S, values: &[f32]) -> [S::V; G] {
    let (lanes, _) = values.as_chunks::<LANES>();
    let mut groups = [s.zero(); G];
    for g in 0..G {
        groups[g] = s.load(&lanes[g]);
    }
    groups
}

#[inline(always)]
fn store_groups<S: Simd, const G: usize>(s: S, groups: [S::V; G], to: &mut [f32]) {
    let (lanes, _) = to.as_chunks_mut::<LANES>();
    for g in 0..G {
        s.store(groups[g], &mut lanes[g]);
    }
}
