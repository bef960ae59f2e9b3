//! The glue between matrix products, in plain Rust: biases, rectification and the convolution of sparse binary planes,
//! forward and backward.
//!
//! On networks this small the glue costs as much as the products, so each function makes one pass over its data, is
//! compiled for AVX-512, AVX2 and the baseline, and chosen at run time. Sums run over sixteen lanes in a fixed order:
//! the same machine gives the same bits.

use crate::net::lanes::{LANES, lanes, relu};
use multiversion::multiversion;

/// Filters of the convolution, as in the MinAtar paper (Young & Tian 2019, section 3).
pub(super) const FILTERS: usize = LANES;

/// `z += bias` in every row of `z`, `[rows, bias.len()]`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(super) fn add_bias(z: &mut [f32], bias: &[f32]) {
    for row in z.chunks_exact_mut(bias.len()) {
        for (z, b) in row.iter_mut().zip(bias) {
            *z += b;
        }
    }
}

/// `z = max(z + bias, 0)` in every row of `z`, `[rows, bias.len()]`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(super) fn bias_relu(z: &mut [f32], bias: &[f32]) {
    for row in z.chunks_exact_mut(bias.len()) {
        for (z, b) in row.iter_mut().zip(bias) {
            *z = relu(*z + b);
        }
    }
}

/// Turns the gradient of `y = max(z, 0)` into that of `z`, in place. Where `y` is NaN it is left as it is.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(super) fn relu_backward(y: &[f32], grad: &mut [f32]) {
    for (g, y) in grad.iter_mut().zip(y) {
        *g = if *y <= 0.0 { 0.0 } else { *g };
    }
}

/// Adds the column sums of `grad`, `[rows, d_bias.len()]`, to `d_bias`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(super) fn add_column_sums(grad: &[f32], d_bias: &mut [f32]) {
    if d_bias.len() == LANES {
        // The convolution's two thousand narrow rows: sums that stay in a register.
        let mut sums = [0.0; LANES];
        for row in lanes(grad) {
            for i in 0..LANES {
                sums[i] += row[i];
            }
        }
        d_bias.iter_mut().zip(sums).for_each(|(d, sum)| *d += sum);
        return;
    }
    for row in grad.chunks_exact(d_bias.len()) {
        for (d, g) in d_bias.iter_mut().zip(row) {
            *d += g;
        }
    }
}

/// Targets of each input element of a 3×3 convolution without padding: pairs of output cell and weight row.
#[derive(Debug)]
pub(super) struct Taps {
    /// `pairs[starts[i]..starts[i + 1]]` belong to input element `i`.
    starts: Vec<u32>,
    pairs: Vec<(u16, u16)>,
    n_inputs: usize,
    n_cells: usize,
}

/// Most inputs that 16 bits number. There are no more output cells and weight rows than inputs.
const MAX_INPUTS: usize = 1 << 16;

impl Taps {
    /// The taps of planes of `[rows, cols, channels]`; weights are `[3 * 3 * channels, FILTERS]`. `None` where the
    /// planes are smaller than a filter or have more than [`MAX_INPUTS`] elements.
    pub(super) fn new([rows, cols, channels]: [usize; 3]) -> Option<Self> {
        if rows < 3 || cols < 3 || rows * cols * channels > MAX_INPUTS {
            return None;
        }
        let (out_rows, out_cols) = (rows - 2, cols - 2);
        let mut taps =
            Self { starts: vec![0], pairs: vec![], n_inputs: rows * cols * channels, n_cells: out_rows * out_cols };
        for input in 0..taps.n_inputs {
            let (row, col, channel) = (input / channels / cols, input / channels % cols, input % channels);
            for (kernel_row, kernel_col) in (0..9).map(|k| (k / 3, k % 3)) {
                if row < kernel_row || col < kernel_col || row - kernel_row >= out_rows || col - kernel_col >= out_cols
                {
                    continue;
                }
                let cell = (row - kernel_row) * out_cols + (col - kernel_col);
                taps.pairs.push((cell as u16, ((kernel_row * 3 + kernel_col) * channels + channel) as u16));
            }
            taps.starts.push(taps.pairs.len() as u32);
        }
        Some(taps)
    }

    /// Output cells of one sample.
    pub(super) fn n_cells(&self) -> usize {
        self.n_cells
    }

    fn of(&self, input: u16) -> &[(u16, u16)] {
        &self.pairs[self.starts[input as usize] as usize..self.starts[input as usize + 1] as usize]
    }
}

/// The set elements of a batch of binary planes.
#[derive(Debug, Default)]
pub(super) struct Active {
    inputs: Vec<u16>,
    /// End of each sample in `inputs`.
    ends: Vec<u32>,
}

impl Active {
    /// Collects the set elements of `planes`, `[batch, n_inputs]`.
    pub(super) fn scan(&mut self, planes: &[u8], n_inputs: usize) {
        self.inputs.clear();
        self.ends.clear();
        for sample in planes.chunks_exact(n_inputs) {
            let (words, rest) = sample.as_chunks();
            for (word_idx, word) in words.iter().enumerate() {
                // Eight cells at once; the lowest byte is the first.
                let mut word = u64::from_le_bytes(*word);
                while word != 0 {
                    let cell = word.trailing_zeros() / 8;
                    self.inputs.push((8 * word_idx) as u16 + cell as u16);
                    word &= !(0xff << (8 * cell));
                }
            }
            let first = n_inputs - rest.len();
            self.inputs.extend((0..rest.len()).filter(|&i| rest[i] != 0).map(|i| (first + i) as u16));
            self.ends.push(self.inputs.len() as u32);
        }
    }

    fn samples(&self) -> impl Iterator<Item = &[u16]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.inputs[start as usize..end as usize])
    }
}

#[inline(always)]
fn filters(of: &[f32], row: u16) -> &[f32; FILTERS] {
    let at = row as usize * FILTERS;
    of[at..at + FILTERS].try_into().expect("a row of FILTERS elements")
}

#[inline(always)]
fn filters_mut(of: &mut [f32], row: u16) -> &mut [f32; FILTERS] {
    let at = row as usize * FILTERS;
    (&mut of[at..at + FILTERS]).try_into().expect("a row of FILTERS elements")
}

/// `z[b, cell] = Σ weight[tap]` over the set inputs: a convolution without its bias.
///
/// A set element adds one weight row to at most nine cells, so some 300 additions of sixteen lanes do for a Breakout
/// screen what 36,864 multiplications do in a dense convolution.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(super) fn conv(taps: &Taps, active: &Active, weight: &[f32], z: &mut [f32]) {
    z.fill(0.0);
    for (inputs, z) in active.samples().zip(z.chunks_exact_mut(taps.n_cells * FILTERS)) {
        for &input in inputs {
            for &(cell, row) in taps.of(input) {
                let weight = filters(weight, row);
                let z = filters_mut(z, cell);
                for i in 0..FILTERS {
                    z[i] += weight[i];
                }
            }
        }
    }
}

/// Adds the gradient of [`conv`]'s weights, given that of its output.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(super) fn conv_backward(taps: &Taps, active: &Active, grad: &[f32], d_weight: &mut [f32]) {
    for (inputs, grad) in active.samples().zip(grad.chunks_exact(taps.n_cells * FILTERS)) {
        for &input in inputs {
            for &(cell, row) in taps.of(input) {
                let grad = filters(grad, cell);
                let d_weight = filters_mut(d_weight, row);
                for i in 0..FILTERS {
                    d_weight[i] += grad[i];
                }
            }
        }
    }
}
