//! Bias, layer normalisation and rectifier of the layers of small networks, forward and backward, in one pass each.
//!
//! A convolution of planes has two thousand rows of sixteen. So sixteen rows go side by side: their sums, roots and
//! quotients take the instructions of one. Within them groups of lanes come first, so that a group's parameters and
//! their gradients stay in registers.
//!
//! Products and sums are rounded one by one, so that every set of instructions gives the same bits.

use super::simd::{Kernel, Simd};
use crate::net::lanes::{LANES, Lanes, relu};
use crate::net::operation::NORM_EPSILON;

/// `y = max(scale * norm(z + bias) + shift, 0)` in every row, where `norm` brings a row to mean 0 and variance 1 (Ba et
/// al. 2016, equation 3).
///
/// A row has as many elements as `bias`, a multiple of [`LANES`].
pub(super) struct NormRelu<'a> {
    /// Left holding the normalised rows, for the backward pass.
    pub(super) z: &'a mut [f32],
    pub(super) bias: &'a [f32],
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    /// One over each row's standard deviation, written.
    pub(super) inv_std: &'a mut [f32],
    pub(super) y: &'a mut [f32],
}

impl Kernel for NormRelu<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [(bias, _), (scale, _), (shift, _)] = [self.bias, self.scale, self.shift].map(<[f32]>::as_chunks::<LANES>);
        let (width, block) = (self.bias.len() as f32, LANES * self.bias.len());
        let n_groups = self.bias.len() / LANES;
        let blocks = self.z.chunks_mut(block).zip(self.y.chunks_mut(block)).zip(self.inv_std.chunks_mut(LANES));
        for ((z, y), inv_std) in blocks {
            let ((z, _), (y, _)) = (z.as_chunks_mut::<LANES>(), y.as_chunks_mut::<LANES>());
            let n_rows = inv_std.len();
            let (mut sums, mut squares) = ([s.zero(); LANES], [s.zero(); LANES]);
            for (group, bias) in bias.iter().enumerate() {
                let bias = s.load(bias);
                for row in 0..n_rows {
                    let z = &mut z[row * n_groups + group];
                    let x = s.add(s.load(z), bias);
                    s.store(x, z);
                    sums[row] = s.add(sums[row], x);
                    squares[row] = s.add(squares[row], s.mul(x, x));
                }
            }
            let (mut means, mut factors) = (totals(s, sums), totals(s, squares));
            for row in 0..LANES {
                means[row] /= width;
                // Rounding can leave a variance a little below 0.
                let variance = relu(factors[row] / width - means[row] * means[row]);
                factors[row] = 1.0 / (variance + NORM_EPSILON).sqrt();
            }
            inv_std.copy_from_slice(&factors[..n_rows]);
            for (group, (scale, shift)) in scale.iter().zip(shift).enumerate() {
                let (scale, shift) = (s.load(scale), s.load(shift));
                for row in 0..n_rows {
                    let at = row * n_groups + group;
                    let n = s.mul(s.sub(s.load(&z[at]), s.splat(means[row])), s.splat(factors[row]));
                    s.store(n, &mut z[at]);
                    s.store(s.relu(s.add(s.mul(scale, n), shift)), &mut y[at]);
                }
            }
        }
    }
}

/// Turns the gradient of [`NormRelu`]'s output into that of its input, in place, and adds to the parameters' gradients.
///
/// With ĝ the gradient behind the rectifier times the scale: `dz = (ĝ - mean(ĝ) - x̂ mean(ĝ x̂)) / std`.
pub(super) struct NormReluBackward<'a> {
    pub(super) normed: &'a [f32],
    pub(super) y: &'a [f32],
    pub(super) inv_std: &'a [f32],
    pub(super) scale: &'a [f32],
    pub(super) grad: &'a mut [f32],
    pub(super) d_bias: &'a mut [f32],
    pub(super) d_scale: &'a mut [f32],
    pub(super) d_shift: &'a mut [f32],
}

impl Kernel for NormReluBackward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (width, block) = (self.scale.len() as f32, LANES * self.scale.len());
        let n_groups = self.scale.len() / LANES;
        let (scale, _) = self.scale.as_chunks::<LANES>();
        let [(d_bias, _), (d_scale, _), (d_shift, _)] =
            [self.d_bias, self.d_scale, self.d_shift].map(<[f32]>::as_chunks_mut::<LANES>);
        let stored = self.normed.chunks(block).zip(self.y.chunks(block)).zip(self.inv_std.chunks(LANES));
        for (((normed, y), inv_std), grad) in stored.zip(self.grad.chunks_mut(block)) {
            let ((normed, _), (y, _)) = (normed.as_chunks::<LANES>(), y.as_chunks::<LANES>());
            let (grad, _) = grad.as_chunks_mut::<LANES>();
            let n_rows = inv_std.len();
            let (mut sums, mut products) = ([s.zero(); LANES], [s.zero(); LANES]);
            for group in 0..n_groups {
                let scale = s.load(&scale[group]);
                let (mut of_scale, mut of_shift) = (s.load(&d_scale[group]), s.load(&d_shift[group]));
                for row in 0..n_rows {
                    let at = row * n_groups + group;
                    let n = s.load(&normed[at]);
                    let behind = s.where_positive(s.load(&y[at]), s.load(&grad[at]));
                    of_scale = s.add(of_scale, s.mul(behind, n));
                    of_shift = s.add(of_shift, behind);
                    let scaled = s.mul(behind, scale);
                    s.store(scaled, &mut grad[at]);
                    sums[row] = s.add(sums[row], scaled);
                    products[row] = s.add(products[row], s.mul(scaled, n));
                }
                s.store(of_scale, &mut d_scale[group]);
                s.store(of_shift, &mut d_shift[group]);
            }
            let (mut means, mut products) = (totals(s, sums), totals(s, products));
            for row in 0..LANES {
                means[row] /= width;
                products[row] /= width;
            }
            for (group, d_bias) in d_bias.iter_mut().enumerate() {
                let mut of_bias = s.load(d_bias);
                for row in 0..n_rows {
                    let at = row * n_groups + group;
                    let along_normed = s.mul(s.load(&normed[at]), s.splat(products[row]));
                    let centred = s.sub(s.sub(s.load(&grad[at]), s.splat(means[row])), along_normed);
                    let d_z = s.mul(centred, s.splat(inv_std[row]));
                    s.store(d_z, &mut grad[at]);
                    of_bias = s.add(of_bias, d_z);
                }
                s.store(of_bias, d_bias);
            }
        }
    }
}

/// The sum of each row's lanes.
#[inline(always)]
pub(super) fn totals<S: Simd>(s: S, rows: [S::V; LANES]) -> Lanes {
    let mut totals = [0.0; LANES];
    s.store(s.sums(rows), &mut totals);
    totals
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::net::native::isa::Isa;

    const ROWS: usize = 37;
    const WIDTH: usize = 3 * LANES;

    pub(crate) fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0).collect()
    }

    /// Outputs, then the gradients of input, bias, scale and shift.
    fn passes(isa: Isa) -> [Vec<f32>; 5] {
        let [bias, scale, shift] = [1, 2, 3].map(|seed| numbers(WIDTH, seed));
        let (mut z, mut grad) = (numbers(ROWS * WIDTH, 4), numbers(ROWS * WIDTH, 5));
        let (mut y, mut inv_std) = (vec![0.0; ROWS * WIDTH], vec![0.0; ROWS]);
        isa.run(NormRelu { z: &mut z, bias: &bias, scale: &scale, shift: &shift, inv_std: &mut inv_std, y: &mut y });
        let [mut d_bias, mut d_scale, mut d_shift] = [(); 3].map(|()| vec![0.0; WIDTH]);
        isa.run(NormReluBackward {
            normed: &z,
            y: &y,
            inv_std: &inv_std,
            scale: &scale,
            grad: &mut grad,
            d_bias: &mut d_bias,
            d_scale: &mut d_scale,
            d_shift: &mut d_shift,
        });
        [y, grad, d_bias, d_scale, d_shift]
    }

    #[test]
    fn every_set_of_instructions_gives_the_same_bits() {
        let all: Vec<_> = Isa::all().into_iter().map(passes).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn passes_agree_with_autograd() {
        let leaf = |values: &[f32]| tch::Tensor::from_slice(values).set_requires_grad(true);
        let (z, d_y) = (leaf(&numbers(ROWS * WIDTH, 4)), tch::Tensor::from_slice(&numbers(ROWS * WIDTH, 5)));
        let [bias, scale, shift] = [1, 2, 3].map(|seed| leaf(&numbers(WIDTH, seed)));
        let x = z.view([ROWS as i64, WIDTH as i64]) + &bias;
        let normed = x.layer_norm([WIDTH as i64], Some(&scale), Some(&shift), f64::from(NORM_EPSILON), false);
        let y = normed.relu().flatten(0, -1);
        let gradients =
            tch::Tensor::run_backward(&[(&y * d_y).sum(tch::Kind::Float)], &[&z, &bias, &scale, &shift], false, false);
        let expected = std::iter::once(&y).chain(&gradients);
        for (ours, theirs) in passes(Isa::all()[0]).iter().zip(expected) {
            let apart = (tch::Tensor::from_slice(ours) - theirs).abs().max().double_value(&[]);
            assert!(apart < 2e-5, "{apart}");
        }
    }
}
