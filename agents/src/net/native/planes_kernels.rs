//! 3×3 convolution, 2×2 maximum and upsampling of [`Planes`], forward and backward, in plain Rust.
//!
//! Each is compiled for AVX-512, AVX2 and the baseline, and chosen at run time. Sums run in a fixed order: the same
//! machine gives the same bits. On networks of few channels this is where torch's general kernels lose their time.

use super::planes::{Cell, Planes};
use crate::net::lanes::{self, LANES};
use multiversion::multiversion;
use multiversion::target::target_cfg_f;
use std::array::from_fn;
use std::ops::Range;

/// Output channels summed at once in forward passes. Each input cell that is loaded then serves four sums.
const CHANNELS_AT_ONCE: usize = 4;
/// Output columns summed at once in forward passes: 28 sums with the four channels, which leaves four of AVX-512's 32
/// registers for cells and weights.
const COLUMNS_AT_ONCE: usize = 7;
/// Output columns summed at once in rows shorter than [`COLUMNS_AT_ONCE`].
const SHORT_COLUMNS_AT_ONCE: usize = 4;
/// Channels on the wide side when gradients of weights are summed: with three columns of the filter, 24 sums.
const GRADIENT_CHANNELS_AT_ONCE: usize = 8;

/// Weights of a filter on one channel.
const TAPS: usize = 9;

/// `sum += x y`, with one rounding where the machine can (baseline x86-64 would call a function for it).
#[inline(always)]
fn add_product<const FMA: bool>(sum: &mut Cell, x: &Cell, y: &Cell) {
    for lane in 0..LANES {
        sum.0[lane] = if FMA { x.0[lane].mul_add(y.0[lane], sum.0[lane]) } else { sum.0[lane] + x.0[lane] * y.0[lane] };
    }
}

#[inline(always)]
fn add(sum: &mut Cell, x: &Cell) {
    for lane in 0..LANES {
        sum.0[lane] += x.0[lane];
    }
}

/// Weights in the order that [`conv`] reads them: output channels in fours (those left over one by one), of each the
/// input channels, of each the nine taps, of each the four.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters {
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Filters {
    /// Packs the filters of a convolution, given its weight `[n_out, n_in, 3, 3]` and bias `[n_out]`.
    pub(super) fn forward(weight: &[f32], bias: &[f32]) -> Self {
        let n_in = weight.len() / bias.len() / TAPS;
        Self::pack(n_in, bias.to_vec(), |o, i, tap| weight[(o * n_in + i) * TAPS + tap])
    }

    /// Packs the filters of the convolution that turns the output's gradient into the input's: transposed and rotated
    /// by half a turn, without bias.
    pub(super) fn backward(weight: &[f32], n_out: usize) -> Self {
        let n_in = weight.len() / n_out / TAPS;
        Self::pack(n_out, vec![0.0; n_in], |i, o, tap| weight[(o * n_in + i) * TAPS + TAPS - 1 - tap])
    }

    /// Lists the groups of four output channels, then the channels left over one by one: first channel, number of
    /// channels, weights, biases.
    fn groups(&self, n_in: usize) -> impl Iterator<Item = (usize, usize, &[f32], &[f32])> {
        let (n_out, size) = (self.bias.len(), n_in * TAPS);
        Self::group_ranges(n_out).map(move |group| {
            let weights = &self.weights[group.start * size..group.end * size];
            (group.start, group.len(), weights, &self.bias[group])
        })
    }

    fn group_ranges(n_out: usize) -> impl Iterator<Item = Range<usize>> {
        let full = n_out / CHANNELS_AT_ONCE * CHANNELS_AT_ONCE;
        (0..full).step_by(CHANNELS_AT_ONCE).map(|o| o..o + CHANNELS_AT_ONCE).chain((full..n_out).map(|o| o..o + 1))
    }

    fn pack(n_in: usize, bias: Vec<f32>, weight: impl Fn(usize, usize, usize) -> f32) -> Self {
        let n_out = bias.len();
        let mut weights = Vec::with_capacity(n_out * n_in * TAPS);
        for group in Self::group_ranges(n_out) {
            for (i, tap) in (0..n_in).flat_map(|i| (0..TAPS).map(move |tap| (i, tap))) {
                weights.extend(group.clone().map(|o| weight(o, i, tap)));
            }
        }
        Self { weights, bias }
    }
}

/// `z = max(filters * x + bias, floor)`; `floor` is 0 for a rectifier and −∞ for none.
///
/// `z` must have as many channels as there are filters, and the rows and columns of `x`.
#[multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
pub(super) fn conv(x: &Planes, filters: &Filters, floor: f32, z: &mut Planes) {
    const FMA: bool = target_cfg_f!(target_feature = "fma");
    let (stride, area) = (x.stride(), x.area());
    for (first, n, weights, bias) in filters.groups(x.channels) {
        let planes = &mut z.cells_mut()[first * area..][..n * area];
        for row in 0..x.rows {
            let start = (row + 1) * stride;
            if n == CHANNELS_AT_ONCE {
                conv_row::<FMA, CHANNELS_AT_ONCE>(
                    x,
                    weights,
                    bias,
                    floor,
                    row,
                    [planes.len() / CHANNELS_AT_ONCE, start],
                    planes,
                );
            } else {
                conv_row::<FMA, 1>(x, weights, bias, floor, row, [planes.len(), start], planes);
            }
        }
    }
}

/// `y = max_pool(max(filters * x + bias, 0))`: maxima of 2×2 cells; an odd last row or column is completed by zeros.
///
/// `from` receives the index of the largest of the four cells, counted row by row; of equals the first. The convolution
/// is never stored as a whole: `lines` holds two rows of up to four channels of it, which stay in the nearest cache.
#[multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
pub(super) fn conv_pool(
    x: &Planes,
    filters: &Filters,
    lines: &mut Vec<Cell>,
    y: &mut Planes,
    from: &mut [[u8; LANES]],
) {
    const FMA: bool = target_cfg_f!(target_feature = "fma");
    let stride = x.stride();
    let (n_rows, n_cols, y_stride) = (y.rows, y.cols, y.stride());
    for (first, n, weights, bias) in filters.groups(x.channels) {
        lines.clear();
        lines.resize(n * 2 * stride, Cell::default());
        for pooled_row in 0..n_rows {
            for half in 0..2 {
                let (row, start) = (2 * pooled_row + half, half * stride);
                if row == x.rows {
                    lines.chunks_exact_mut(stride).skip(1).step_by(2).for_each(|line| line.fill(Cell::default()));
                } else if n == CHANNELS_AT_ONCE {
                    conv_row::<FMA, CHANNELS_AT_ONCE>(x, weights, bias, 0.0, row, [2 * stride, start], lines);
                } else {
                    conv_row::<FMA, 1>(x, weights, bias, 0.0, row, [2 * stride, start], lines);
                }
            }
            for (channel, pair) in (first..first + n).zip(lines.chunks_exact(2 * stride)) {
                let (upper, lower) = (&pair[1..][..2 * n_cols], &pair[stride + 1..][..2 * n_cols]);
                let from = &mut from[(channel * n_rows + pooled_row) * n_cols..][..n_cols];
                let out = &mut y.plane_mut(channel)[(pooled_row + 1) * y_stride + 1..][..n_cols];
                for col in 0..n_cols {
                    let cells = [&upper[2 * col], &upper[2 * col + 1], &lower[2 * col], &lower[2 * col + 1]];
                    (out[col], from[col]) = largest(cells);
                }
            }
        }
    }
}

/// Returns the largest of four in each lane, and its index.
#[inline(always)]
fn largest(cells: [&Cell; 4]) -> (Cell, [u8; LANES]) {
    // As wide as the numbers compared, so that one mask serves both.
    let (mut largest, mut which) = (*cells[0], [0_i32; LANES]);
    for (i, cell) in (1..).zip(&cells[1..]) {
        for (lane, which) in which.iter_mut().enumerate() {
            let is_larger = cell.0[lane] > largest.0[lane];
            largest.0[lane] = if is_larger { cell.0[lane] } else { largest.0[lane] };
            *which = if is_larger { i } else { *which };
        }
    }
    (largest, from_fn(|lane| which[lane] as u8))
}

/// Writes one row of `N` output channels to `z[channel * area + start..]`, between the rim's cells.
#[inline(always)]
fn conv_row<const FMA: bool, const N: usize>(
    x: &Planes,
    weights: &[f32],
    bias: &[f32],
    floor: f32,
    row: usize,
    [area, start]: [usize; 2],
    z: &mut [Cell],
) {
    let bias: &[f32; N] = bias.try_into().expect("a bias a filter");
    let (cols, at) = (x.cols, row * x.stride());
    // The last stretch overlaps the one before, and computes the same numbers again.
    if cols >= COLUMNS_AT_ONCE {
        for col in (0..cols).step_by(COLUMNS_AT_ONCE).map(|col| col.min(cols - COLUMNS_AT_ONCE)) {
            let sums = conv_cells::<FMA, N, COLUMNS_AT_ONCE>(x, weights, bias, at + col);
            put(&sums, floor, area, start + col + 1, z);
        }
    } else if cols >= SHORT_COLUMNS_AT_ONCE {
        for col in (0..cols).step_by(SHORT_COLUMNS_AT_ONCE).map(|col| col.min(cols - SHORT_COLUMNS_AT_ONCE)) {
            let sums = conv_cells::<FMA, N, SHORT_COLUMNS_AT_ONCE>(x, weights, bias, at + col);
            put(&sums, floor, area, start + col + 1, z);
        }
    } else {
        for col in 0..cols {
            let sums = conv_cells::<FMA, N, 1>(x, weights, bias, at + col);
            put(&sums, floor, area, start + col + 1, z);
        }
    }
}

/// Sums `LEN` cells of a row. The first one's filter begins at cell `at` of each plane of `x`.
#[inline(always)]
fn conv_cells<const FMA: bool, const N: usize, const LEN: usize>(
    x: &Planes,
    weights: &[f32],
    bias: &[f32; N],
    at: usize,
) -> [[Cell; LEN]; N] {
    let (stride, area) = (x.stride(), x.area());
    let mut sums: [[Cell; LEN]; N] = from_fn(|o| [Cell([bias[o]; LANES]); LEN]);
    for (plane, weights) in x.cells().chunks_exact(area).zip(weights.chunks_exact(TAPS * N)) {
        for kernel_row in 0..3 {
            let cells = &plane[at + kernel_row * stride..][..LEN + 2];
            let weights = &weights[kernel_row * 3 * N..][..3 * N];
            for kernel_col in 0..3 {
                for i in 0..LEN {
                    for o in 0..N {
                        let weight = Cell([weights[kernel_col * N + o]; LANES]);
                        add_product::<FMA>(&mut sums[o][i], &cells[kernel_col + i], &weight);
                    }
                }
            }
        }
    }
    sums
}

#[inline(always)]
fn put<const N: usize, const LEN: usize>(
    sums: &[[Cell; LEN]; N],
    floor: f32,
    area: usize,
    start: usize,
    z: &mut [Cell],
) {
    for o in 0..N {
        let out = &mut z[o * area + start..][..LEN];
        for i in 0..LEN {
            for lane in 0..LANES {
                let sum = sums[o][i].0[lane];
                // So ordered that NaN stays.
                out[i].0[lane] = if floor > sum { floor } else { sum };
            }
        }
    }
}

/// Adds the gradients of a convolution's weight and bias, given its input and its output's gradient.
#[multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
pub(super) fn conv_backward(x: &Planes, d_z: &Planes, d_weight: &mut [f32], d_bias: &mut [f32]) {
    const FMA: bool = target_cfg_f!(target_feature = "fma");
    let (full_in, full_out) = (
        x.channels / GRADIENT_CHANNELS_AT_ONCE * GRADIENT_CHANNELS_AT_ONCE,
        d_z.channels / GRADIENT_CHANNELS_AT_ONCE * GRADIENT_CHANNELS_AT_ONCE,
    );
    for i in 0..x.channels {
        for o in (0..full_out).step_by(GRADIENT_CHANNELS_AT_ONCE) {
            weight_gradient::<FMA, 1, GRADIENT_CHANNELS_AT_ONCE>(x, i, d_z, o, d_weight);
        }
    }
    for o in full_out..d_z.channels {
        for i in (0..full_in).step_by(GRADIENT_CHANNELS_AT_ONCE) {
            weight_gradient::<FMA, GRADIENT_CHANNELS_AT_ONCE, 1>(x, i, d_z, o, d_weight);
        }
        for i in full_in..x.channels {
            weight_gradient::<FMA, 1, 1>(x, i, d_z, o, d_weight);
        }
    }
    for (d_z, d_bias) in d_z.cells().chunks_exact(d_z.area()).zip(d_bias) {
        let mut sums = [Cell::default(); 4];
        for (at, cell) in d_z.iter().enumerate() {
            add(&mut sums[at % 4], cell);
        }
        *d_bias += sums.iter().map(|sum| lanes::sum(&sum.0)).sum::<f32>();
    }
}

/// Adds the gradient of the weights between `N_IN` input and `N_OUT` output channels.
#[inline(always)]
fn weight_gradient<const FMA: bool, const N_IN: usize, const N_OUT: usize>(
    x: &Planes,
    first_in: usize,
    d_z: &Planes,
    first_out: usize,
    d_weight: &mut [f32],
) {
    let stride = x.stride();
    // From the first cell inside the rim to the last, in one go: the gradient of the rim's cells between is 0.
    let n = x.rows * stride - 2;
    let grads: [&[Cell]; N_OUT] = from_fn(|o| &d_z.plane(first_out + o)[stride + 1..][..n]);
    for kernel_row in 0..3 {
        let cells: [&[Cell]; N_IN] = from_fn(|i| &x.plane(first_in + i)[kernel_row * stride..][..n + 2]);
        let mut sums = [[[Cell::default(); 3]; N_OUT]; N_IN];
        for at in 0..n {
            for i in 0..N_IN {
                let window = &cells[i][at..at + 3];
                for o in 0..N_OUT {
                    for kernel_col in 0..3 {
                        add_product::<FMA>(&mut sums[i][o][kernel_col], &window[kernel_col], &grads[o][at]);
                    }
                }
            }
        }
        for (i, o) in (0..N_IN).flat_map(|i| (0..N_OUT).map(move |o| (i, o))) {
            let start = ((first_out + o) * x.channels + first_in + i) * TAPS + 3 * kernel_row;
            for (d, sum) in d_weight[start..start + 3].iter_mut().zip(&sums[i][o]) {
                *d += lanes::sum(&sum.0);
            }
        }
    }
}

/// Turns the gradient of `y = max(z, 0)` into that of `z`, in place. Where `y` is NaN it is left as it is.
#[multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
pub(super) fn relu_backward(y: &Planes, grad: &mut Planes) {
    for (grad, y) in grad.cells_mut().iter_mut().zip(y.cells()) {
        for lane in 0..LANES {
            grad.0[lane] = if y.0[lane] <= 0.0 { 0.0 } else { grad.0[lane] };
        }
    }
}

/// Shape after the maxima of 2×2 cells.
pub(super) fn pooled([channels, rows, cols]: [usize; 3]) -> [usize; 3] {
    [channels, rows.div_ceil(2), cols.div_ceil(2)]
}

/// Turns the gradient `d_y` of the output `y` of [`conv_pool`] into the convolution's, before the rectifier. `grad` has
/// the convolution's shape.
#[multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
pub(super) fn max_pool_backward(y: &Planes, from: &[[u8; LANES]], d_y: &Planes, grad: &mut Planes) {
    let (stride, y_stride) = (grad.stride(), y.stride());
    for channel in 0..y.channels {
        let (y_plane, d_plane) = (y.plane(channel), d_y.plane(channel));
        let below = grad.plane_mut(channel);
        for row in 0..y.rows {
            let start = (row + 1) * y_stride + 1;
            let (y_row, d_row) = (&y_plane[start..][..y.cols], &d_plane[start..][..y.cols]);
            let from = &from[(channel * y.rows + row) * y.cols..][..y.cols];
            let start = (2 * row + 1) * stride + 1;
            let (upper, lower) = below[start..].split_at_mut(stride);
            for col in 0..y.cols {
                let passed: [f32; LANES] =
                    from_fn(|lane| if y_row[col].0[lane] <= 0.0 { 0.0 } else { d_row[col].0[lane] });
                let to = |which: i32| {
                    Cell(from_fn(|lane| if i32::from(from[col][lane]) == which { passed[lane] } else { 0.0 }))
                };
                // A maximum that was taken is above 0, so the rim's zeros never were: they get zeros here.
                (upper[2 * col], upper[2 * col + 1]) = (to(0), to(1));
                (lower[2 * col], lower[2 * col + 1]) = (to(2), to(3));
            }
        }
    }
}

/// Writes each cell of `x` four times to `y`, as far as the shape of `y` reaches.
pub(super) fn upsample(x: &Planes, y: &mut Planes) {
    let (stride, x_stride, cols) = (y.stride(), x.stride(), y.cols);
    for channel in 0..x.channels {
        let (small, rows) = (x.plane(channel), y.rows);
        let large = y.plane_mut(channel);
        for row in 0..rows {
            let small = &small[(row / 2 + 1) * x_stride + 1..];
            let large = &mut large[(row + 1) * stride + 1..][..cols];
            for (pair, cell) in large.chunks_mut(2).zip(small) {
                pair.fill(*cell);
            }
        }
    }
}

/// Turns the gradient of [`upsample`]'s output into that of its input: each cell's sum over its four copies.
#[multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
pub(super) fn upsample_backward(d_y: &Planes, d_x: &mut Planes) {
    let (stride, y_stride, cols) = (d_x.stride(), d_y.stride(), d_x.cols);
    for channel in 0..d_y.channels {
        let large = d_y.plane(channel);
        let small = d_x.plane_mut(channel);
        for row in small.chunks_exact_mut(stride) {
            row[1..=cols].fill(Cell::default());
        }
        for row in 0..d_y.rows {
            let large = &large[(row + 1) * y_stride + 1..][..d_y.cols];
            let small = &mut small[(row / 2 + 1) * stride + 1..][..cols];
            for (pair, cell) in large.chunks(2).zip(small) {
                for from in pair {
                    add(cell, from);
                }
            }
        }
    }
}
