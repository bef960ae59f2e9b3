//! Products of a matrix that is mostly zeros, as rectified features of MinAtar's planes are: an eighth to a third of
//! them is above 0 behind a normalised convolution.
//!
//! The elements that are not 0 are listed once, by rows and by columns, and each of the three products of a layer adds
//! up their terms alone. A number is listed unless it is 0 or below, so that NaN is passed on.

use super::isa::Isa;
use super::rows::totals;
use super::simd::{Kernel, Simd};
use crate::net::lanes::{LANES, Lanes};
use multiversion::multiversion;
use std::ops::Range;

/// The elements above 0 of a matrix `[rows, width]`. The width is a multiple of [`LANES`].
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// Whether those of the latest matrix were listed.
    is_listed: bool,
    width: usize,
    by_row: Lists,
    by_column: Lists,
}

/// Elements of each row, or each column: where they are in it, and what they are.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// List `i` is `starts[i]..starts[i + 1]`.
    starts: Vec<u32>,
    places: Vec<u32>,
    values: Vec<f32>,
}

impl Lists {
    #[inline(always)]
    fn of(&self, i: usize) -> (&[u32], &[f32]) {
        let span = self.span(i, 1);
        (&self.places[span.clone()], &self.values[span])
    }

    /// Number of lists.
    pub(super) fn n(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Number of elements in the lists before list `i`.
    pub(super) fn start(&self, i: usize) -> usize {
        self.starts[i] as usize
    }

    /// Place of the values of list `i` among those of all lists, `[listed, n_copies]`.
    #[inline(always)]
    pub(super) fn span(&self, i: usize, n_copies: usize) -> Range<usize> {
        self.start(i) * n_copies..self.start(i + 1) * n_copies
    }

    /// Where the elements of list `i` are.
    #[inline(always)]
    pub(super) fn places(&self, i: usize) -> &[u32] {
        self.of(i).0
    }

    /// The elements of list `i`.
    #[inline(always)]
    pub(super) fn values(&self, i: usize) -> &[f32] {
        self.of(i).1
    }

    /// Places and elements of all lists.
    #[inline(always)]
    pub(super) fn elements(&self) -> impl Iterator<Item = (usize, f32)> {
        // Behind the last list is what the lanes of its last elements held.
        let n = self.start(self.n());
        self.places[..n].iter().zip(&self.values[..n]).map(|(&place, &value)| (place as usize, value))
    }

    /// Makes place for `n_values` elements in `n_lists`, and for the lanes written behind the last one.
    fn begin(&mut self, n_lists: usize, n_values: usize) {
        self.starts.clear();
        self.starts.reserve(n_lists + 1);
        self.starts.push(0);
        self.places.resize(n_values + LANES, 0);
        self.values.resize(n_values + LANES, 0.0);
    }

    /// Adds a list of the elements above 0.
    #[inline(always)]
    fn push<S: Simd>(&mut self, s: S, elements: &[Lanes]) {
        let mut n = self.starts[self.starts.len() - 1] as usize;
        for (group, lanes) in elements.iter().enumerate() {
            let places = self.places[n..].first_chunk_mut().expect("place for all lanes");
            let values = self.values[n..].first_chunk_mut().expect("place for all lanes");
            n += s.collect_positive(lanes, (group * LANES) as u32, places, values);
        }
        self.starts.push(n as u32);
    }
}

impl Sparse {
    /// Lists the elements of `x`, `[rows, width]`, if they are at most `most` hundredths of all.
    pub(super) fn list(&mut self, isa: Isa, x: &[f32], width: usize, most: usize) -> Option<&mut Self> {
        let n_values = x.len() - n_zeros(x);
        self.is_listed = 100 * n_values <= most * x.len();
        if !self.is_listed {
            return None;
        }
        self.width = width;
        self.by_row.begin(x.len() / width, n_values);
        isa.run(Collect { x, width, lists: &mut self.by_row });
        Some(self)
    }

    /// The elements of the latest matrix, if they are few.
    pub(super) fn listed(&mut self) -> Option<&mut Self> {
        self.is_listed.then_some(self)
    }

    /// The elements of each row.
    pub(super) fn lists(&self) -> &Lists {
        &self.by_row
    }

    /// `z = x weight`, `[rows, width]`, of `weight`, `[columns of x, width]`.
    pub(super) fn product(&self, isa: Isa, weight: &[f32], z: &mut [f32]) {
        isa.run(Combine { lists: &self.by_row, from: weight, sums: z });
    }

    /// `d_weight = xᵀ grad` of the latest matrix and of `grad`, `[rows, width]`.
    pub(super) fn weight_gradient(&mut self, isa: Isa, x: &[f32], grad: &[f32], d_weight: &mut [f32]) {
        let n_values = self.by_row.starts[self.by_row.n()] as usize;
        self.by_column.begin(self.width, n_values);
        isa.run(CollectColumns { x, width: self.width, lists: &mut self.by_column });
        isa.run(Combine { lists: &self.by_column, from: grad, sums: d_weight });
    }

    /// `d_x = grad weightᵀ` where an element of x is listed; the others are left as they are.
    pub(super) fn input_gradient(&self, isa: Isa, weight: &[f32], grad: &[f32], d_x: &mut [f32]) {
        isa.run(InputGradient { x: self, weight, grad, d_x });
    }
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn n_zeros(x: &[f32]) -> usize {
    x.iter().map(|&x| u32::from(x <= 0.0)).sum::<u32>() as usize
}

/// Adds a list for each row of `x`, `[rows, width]`, to `lists`.
struct Collect<'a> {
    x: &'a [f32],
    width: usize,
    lists: &'a mut Lists,
}

impl Kernel for Collect<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.x.chunks_exact(self.width) {
            self.lists.push(s, row.as_chunks().0);
        }
    }
}

/// Adds a list for each column of `x`, `[rows, width]`, to `lists`.
struct CollectColumns<'a> {
    x: &'a [f32],
    width: usize,
    lists: &'a mut Lists,
}

impl Kernel for CollectColumns<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, width, lists } = self;
        // Sixteen columns at a time are turned into rows, which stay in the first cache.
        let n_blocks = (x.len() / width).div_ceil(LANES);
        let mut columns = vec![[0.0; LANES]; LANES * n_blocks];
        for first in (0..width).step_by(LANES) {
            for (block, x) in x.chunks(LANES * width).enumerate() {
                let mut lanes = [s.zero(); LANES];
                for (lanes, row) in lanes.iter_mut().zip(x.chunks_exact(width)) {
                    *lanes = s.load(row[first..].first_chunk().expect("a width of whole lanes"));
                }
                for (i, column) in s.transpose(lanes).into_iter().enumerate() {
                    s.store(column, &mut columns[i * n_blocks + block]);
                }
            }
            for column in columns.chunks_exact(n_blocks) {
                lists.push(s, column);
            }
        }
    }
}

/// Groups of a row whose products are summed before lanes are: the same for all instructions, as the order of a sum is.
pub(super) const GROUPS_PER_SUM: usize = 8;

/// Row `row` of a matrix with `width` columns, a multiple of [`LANES`], from group `first` of its lanes on.
#[inline(always)]
pub(super) fn groups(matrix: &[f32], width: usize, row: usize, first: usize) -> &[Lanes] {
    let at = row * width + first * LANES;
    matrix[at..(row + 1) * width].as_chunks().0
}

/// Does `$body` for each block of at most `$most` groups of a row, with their number as the constant `$n`.
macro_rules! blocks {
    ($most:expr, $width:expr, |$first:ident, $n:ident| $body:expr) => {{
        let (n_groups, mut $first) = ($width / LANES, 0);
        while $first < n_groups {
            match n_groups - $first {
                8.. if $most >= 8 => {
                    const $n: usize = 8;
                    $body;
                    $first += $n;
                }
                4.. if $most >= 4 => {
                    const $n: usize = 4;
                    $body;
                    $first += $n;
                }
                2.. if $most >= 2 => {
                    const $n: usize = 2;
                    $body;
                    $first += $n;
                }
                _ => {
                    const $n: usize = 1;
                    $body;
                    $first += $n;
                }
            }
        }
    }};
}
pub(super) use blocks;

/// Makes row `i` of `sums` the sum of the rows of `from` that list `i` names, each times its value.
struct Combine<'a> {
    lists: &'a Lists,
    from: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for Combine<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { lists, from, sums } = self;
        let width = sums.len() / lists.n().max(1);
        for (i, sums) in sums.chunks_exact_mut(width).enumerate() {
            let (places, values) = lists.of(i);
            let sums = sums.as_chunks_mut().0;
            blocks!(S::GROUPS, width, |first, N| {
                let mut block = [s.zero(); N];
                for (&place, &value) in places.iter().zip(values) {
                    let (value, from) = (s.splat(value), groups(from, width, place as usize, first));
                    let from: &[Lanes; N] = from.first_chunk().expect("a block of the row");
                    for g in 0..N {
                        block[g] = s.mul_add(value, s.load(&from[g]), block[g]);
                    }
                }
                for g in 0..N {
                    s.store(block[g], &mut sums[first + g]);
                }
            });
        }
    }
}

/// [`Sparse::input_gradient`].
struct InputGradient<'a> {
    x: &'a Sparse,
    weight: &'a [f32],
    grad: &'a [f32],
    d_x: &'a mut [f32],
}

impl Kernel for InputGradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, weight, grad, d_x } = self;
        let width = weight.len() / x.width;
        let rows = grad.chunks_exact(width).zip(d_x.chunks_exact_mut(x.width));
        for (row, (grad, d_x)) in rows.enumerate() {
            let (places, _) = x.by_row.of(row);
            blocks!(GROUPS_PER_SUM, width, |first, N| {
                let grads: &[Lanes; N] = groups(grad, width, 0, first).first_chunk().expect("a block of the row");
                let mut of_grad = [s.zero(); N];
                for g in 0..N {
                    of_grad[g] = s.load(&grads[g]);
                }
                // Sixteen elements at once: their sums over lanes take the instructions of one.
                for places in places.chunks(LANES) {
                    let mut products = [s.zero(); LANES];
                    for (product, &place) in products.iter_mut().zip(places) {
                        let weight = groups(weight, width, place as usize, first);
                        let weight: &[Lanes; N] = weight.first_chunk().expect("a block of the row");
                        for g in 0..N {
                            *product = s.mul_add(of_grad[g], s.load(&weight[g]), *product);
                        }
                    }
                    for (&place, sum) in places.iter().zip(totals(s, products)) {
                        let d_x = &mut d_x[place as usize];
                        *d_x = if first == 0 { sum } else { *d_x + sum };
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::matrix::{Matrix, matmul};
    use crate::net::native::rows::tests::numbers;

    const ROWS: usize = 37;
    const COLUMNS: usize = 6 * LANES;

    /// Rectified numbers, a fifth of which is above 0.
    fn features() -> Vec<f32> {
        numbers(ROWS * COLUMNS, 1).into_iter().map(|x| (x - 0.6).max(0.0)).collect()
    }

    fn products(isa: Isa, x: &[f32], width: usize) -> [Vec<f32>; 3] {
        let (weight, grad) = (numbers(COLUMNS * width, 2), numbers(ROWS * width, 3));
        let mut sparse = Sparse::default();
        let sparse = sparse.list(isa, x, COLUMNS, 50).expect("few elements");
        let (mut z, mut d_weight) = (vec![f32::NAN; ROWS * width], vec![f32::NAN; COLUMNS * width]);
        let mut d_x = vec![-1.0; ROWS * COLUMNS];
        sparse.product(isa, &weight, &mut z);
        sparse.weight_gradient(isa, x, &grad, &mut d_weight);
        sparse.input_gradient(isa, &weight, &grad, &mut d_x);
        [z, d_weight, d_x]
    }

    fn matrix(values: &[f32], columns: usize) -> Matrix {
        let mut matrix = Matrix::zeros(values.len() / columns, columns);
        matrix.as_mut_slice().copy_from_slice(values);
        matrix
    }

    #[test]
    fn products_agree_with_dense_ones() {
        let x = features();
        for width in [LANES, 3 * LANES, 8 * LANES, 15 * LANES] {
            let (of_x, weight) = (matrix(&x, COLUMNS), matrix(&numbers(COLUMNS * width, 2), width));
            let grad = matrix(&numbers(ROWS * width, 3), width);
            let (mut z, mut d_weight) = (Matrix::zeros(ROWS, width), Matrix::zeros(COLUMNS, width));
            let mut d_x = Matrix::zeros(ROWS, COLUMNS);
            matmul(&of_x.whole(), &weight.whole(), &mut z.whole_mut());
            matmul(&of_x.whole().transposed(), &grad.whole(), &mut d_weight.whole_mut());
            matmul(&grad.whole(), &weight.whole().transposed(), &mut d_x.whole_mut());
            for (d_x, x) in d_x.as_mut_slice().iter_mut().zip(&x) {
                *d_x = if *x > 0.0 { *d_x } else { -1.0 };
            }
            let found = products(Isa::all()[0], &x, width);
            for (found, expected) in found.iter().zip([&z, &d_weight, &d_x]) {
                let apart = found.iter().zip(expected.as_slice()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-4, "{apart}");
            }
        }
    }

    #[test]
    fn instructions_that_round_once_give_the_same_bits() {
        let x = features();
        let all: Vec<_> = Isa::all().into_iter().filter(|isa| !matches!(isa, Isa::Plain)).collect();
        let bits: Vec<_> = all.into_iter().map(|isa| products(isa, &x, 7 * LANES)).collect();
        assert!(bits.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn nan_is_passed_on_and_few_zeros_are_left_to_dense_products() {
        let mut x = features();
        x[5 * COLUMNS + 7] = f32::NAN;
        let [z, d_weight, _] = products(Isa::all()[0], &x, LANES);
        assert!(z[5 * LANES].is_nan() && z[4 * LANES].is_finite() && d_weight[7 * LANES].is_nan());
        let many: Vec<f32> = numbers(ROWS * COLUMNS, 1).iter().map(|x| x + 0.5).collect();
        let mut sparse = Sparse::default();
        assert!(sparse.list(Isa::all()[0], &many, COLUMNS, 50).is_none() && sparse.listed().is_none());
    }
}
