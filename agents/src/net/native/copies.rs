//! Products of rows that share their zeros: of the features of an observation there are several copies, each multiplied
//! by the features of a quantile fraction.
//!
//! The features above 0 are listed once for all copies (see `sparse.rs`). The values of a list are those of all copies,
//! element by element: `[listed, copies]`. So a row of weights is read once for all copies.
//!
//! Each sum is taken in the order of its list, whatever the number of sums side by side.

#![allow(clippy::needless_range_loop, reason = "registers by row and column, in loops that are unrolled")]

use super::rows::totals;
use super::simd::{Kernel, Simd};
use super::sparse::{GROUPS_PER_SUM, Lists, blocks, groups};
use crate::net::lanes::{LANES, Lanes};

/// Makes row `(list, copy)` of `sums` the sum of the rows of `from` that the list names, each times the copy's value.
pub(super) struct CombineCopies<'a> {
    pub(super) lists: &'a Lists,
    pub(super) n_copies: usize,
    pub(super) values: &'a [f32],
    pub(super) from: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

/// Copies whose sums are in registers at once.
const COPIES: usize = 4;

impl Kernel for CombineCopies<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { lists, n_copies, values, from, sums } = self;
        let width = sums.len() / (lists.n() * n_copies).max(1);
        let most = (S::GROUPS / COPIES).max(1);
        // The block's groups of all rows are packed side by side: so they stay in the L2 cache, without conflicts.
        let mut panel: Vec<Lanes> = Vec::with_capacity(from.len() / width.max(1) * most);
        blocks!(most, width, |first, N| {
            panel.clear();
            for row in from.chunks_exact(width) {
                panel.extend_from_slice(groups(row, width, 0, first).first_chunk::<N>().expect("a block of the row"));
            }
            for (list, sums) in sums.chunks_exact_mut(n_copies * width).enumerate() {
                let places = lists.places(list);
                let values = &values[lists.span(list, n_copies)];
                let mut copy = 0;
                while copy < n_copies {
                    let at = Tile { places, n_copies, copy, width, first };
                    copy += match n_copies - copy {
                        COPIES.. => at.sums::<S, COPIES, N>(s, values, &panel, sums),
                        2.. => at.sums::<S, 2, N>(s, values, &panel, sums),
                        _ => at.sums::<S, 1, N>(s, values, &panel, sums),
                    };
                }
            }
        });
    }
}

/// Sums of some copies of a list, and some groups of lanes.
#[derive(Clone, Copy)]
struct Tile<'a> {
    places: &'a [u32],
    n_copies: usize,
    copy: usize,
    width: usize,
    first: usize,
}

impl Tile<'_> {
    /// Computes `R` copies of `C` groups, which `panel` has of each place, and returns `R`.
    #[inline(always)]
    fn sums<S: Simd, const R: usize, const C: usize>(
        self,
        s: S,
        values: &[f32],
        panel: &[Lanes],
        sums: &mut [f32],
    ) -> usize {
        let mut tile = [[s.zero(); C]; R];
        for (&place, values) in self.places.iter().zip(values.chunks_exact(self.n_copies)) {
            let row: &[Lanes; C] = panel[place as usize * C..].first_chunk().expect("groups of the place");
            let values: &[f32; R] = values[self.copy..].first_chunk().expect("copies of the element");
            for r in 0..R {
                let value = s.splat(values[r]);
                for c in 0..C {
                    tile[r][c] = s.mul_add(value, s.load(&row[c]), tile[r][c]);
                }
            }
        }
        for r in 0..R {
            let at = (self.copy + r) * self.width + self.first * LANES;
            let row: &mut [Lanes] = sums[at..][..C * LANES].as_chunks_mut().0;
            for c in 0..C {
                s.store(tile[r][c], &mut row[c]);
            }
        }
        R
    }
}

/// Adds to each row of `sums` that a list names the rows of `from` of that list's copies, each times the copy's value.
pub(super) struct Spread<'a> {
    pub(super) lists: &'a Lists,
    pub(super) n_copies: usize,
    pub(super) values: &'a [f32],
    /// A row for each list and copy.
    pub(super) from: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { lists, n_copies, values, from, sums } = self;
        let width = from.len() / (lists.n() * n_copies).max(1);
        // Blocks come first: those of all rows stay in the L2 cache.
        blocks!(S::GROUPS, width, |first, N| {
            for (list, from) in from.chunks_exact(n_copies * width).enumerate() {
                let places = lists.places(list);
                let values = &values[lists.span(list, n_copies)];
                for (&place, values) in places.iter().zip(values.chunks_exact(n_copies)) {
                    let at = place as usize * width + first * LANES;
                    let row: &mut [Lanes; N] =
                        sums[at..][..N * LANES].as_chunks_mut().0.first_chunk_mut().expect("a block of the row");
                    let mut block = [s.zero(); N];
                    for g in 0..N {
                        block[g] = s.load(&row[g]);
                    }
                    for (copy, &value) in values.iter().enumerate() {
                        let from: &[Lanes; N] =
                            groups(from, width, copy, first).first_chunk().expect("a block of the row");
                        let value = s.splat(value);
                        for g in 0..N {
                            block[g] = s.mul_add(value, s.load(&from[g]), block[g]);
                        }
                    }
                    for g in 0..N {
                        s.store(block[g], &mut row[g]);
                    }
                }
            }
        });
    }
}

/// Makes the value of each listed element and copy the product of two rows: that of `by_place` of the element's place,
/// and that of `by_copy` of the copy. `by_copy` has a row for each list and copy, or one for each copy of all lists.
pub(super) struct Products<'a> {
    pub(super) lists: &'a Lists,
    pub(super) n_copies: usize,
    pub(super) by_place: &'a [f32],
    pub(super) by_copy: &'a [f32],
    /// Width of both kinds of rows, a multiple of [`LANES`].
    pub(super) width: usize,
    pub(super) values: &'a mut [f32],
}

impl Kernel for Products<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { lists, n_copies, by_place, by_copy, width, values } = self;
        let is_common = by_copy.len() == n_copies * width;
        for list in 0..lists.n() {
            let places = lists.places(list);
            let values = &mut values[lists.span(list, n_copies)];
            let first_row = if is_common { 0 } else { list * n_copies };
            let rows = &by_copy[first_row * width..][..n_copies * width];
            blocks!(GROUPS_PER_SUM, width, |first, N| {
                // Sixteen products at once: their sums over lanes take the instructions of one.
                let (mut products, mut n, mut written) = ([s.zero(); LANES], 0, 0);
                for &place in places {
                    let row: &[Lanes; N] =
                        groups(by_place, width, place as usize, first).first_chunk().expect("a block of the row");
                    let mut copy = 0;
                    while copy < n_copies {
                        if n + COPIES > LANES {
                            written += write(s, products, n, &mut values[written..], first == 0);
                            n = 0;
                        }
                        let (at, n_made) = (&mut products[n..], n_copies - copy);
                        let n_made = match n_made {
                            COPIES.. => dots::<S, COPIES, N>(s, row, rows, width, [copy, first], at),
                            2.. => dots::<S, 2, N>(s, row, rows, width, [copy, first], at),
                            _ => dots::<S, 1, N>(s, row, rows, width, [copy, first], at),
                        };
                        (copy, n) = (copy + n_made, n + n_made);
                    }
                }
                write(s, products, n, &mut values[written..], first == 0);
            });
        }
    }
}

/// Products of `row` and of `R` of `rows`, from a place on, not summed over lanes. Returns `R`.
#[inline(always)]
fn dots<S: Simd, const R: usize, const N: usize>(
    s: S,
    row: &[Lanes; N],
    rows: &[f32],
    width: usize,
    [copy, first]: [usize; 2],
    products: &mut [S::V],
) -> usize {
    let mut of_copies = [&[[0.0; LANES]; N]; R];
    for r in 0..R {
        of_copies[r] = groups(rows, width, copy + r, first).first_chunk().expect("a block of the row");
    }
    let mut sums = [s.zero(); R];
    for g in 0..N {
        let x = s.load(&row[g]);
        for r in 0..R {
            sums[r] = s.mul_add(s.load(&of_copies[r][g]), x, sums[r]);
        }
    }
    products[..R].copy_from_slice(&sums);
    R
}

/// Writes the sums of the first `n` products over their lanes to `values`, or adds them. Returns `n`.
#[inline(always)]
fn write<S: Simd>(s: S, products: [S::V; LANES], n: usize, values: &mut [f32], is_first: bool) -> usize {
    for (value, sum) in values[..n].iter_mut().zip(totals(s, products)) {
        *value = if is_first { sum } else { *value + sum };
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::native::isa::Isa;
    use crate::net::native::rows::tests::numbers;
    use crate::net::native::sparse::Sparse;

    const ROWS: usize = 5;
    const COLUMNS: usize = 6 * LANES;

    /// Values of all copies as rows, `[ROWS * n_copies, COLUMNS]`: 0 where an element is not listed.
    fn spread_out(lists: &Lists, values: &[f32], n_copies: usize) -> Vec<f32> {
        let mut rows = vec![0.0; ROWS * n_copies * COLUMNS];
        for list in 0..ROWS {
            let values = values[lists.span(list, n_copies)].chunks_exact(n_copies);
            for (&place, values) in lists.places(list).iter().zip(values) {
                for (copy, &value) in values.iter().enumerate() {
                    rows[(list * n_copies + copy) * COLUMNS + place as usize] = value;
                }
            }
        }
        rows
    }

    fn product(
        a: impl Fn(usize, usize) -> f32,
        b: impl Fn(usize, usize) -> f32,
        [n, m, depth]: [usize; 3],
    ) -> Vec<f32> {
        let sum = |i: usize, j: usize| (0..depth).map(|d| f64::from(a(i, d)) * f64::from(b(d, j))).sum::<f64>() as f32;
        (0..n * m).map(|at| sum(at / m, at % m)).collect()
    }

    fn assert_near(found: &[f32], expected: &[f32], what: &str) {
        assert_eq!(found.len(), expected.len());
        let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{what}: {apart}");
    }

    /// The three kernels' results for copies of rows a third of which is above 0.
    fn results(isa: Isa, n_copies: usize, width: usize) -> [Vec<f32>; 4] {
        let x: Vec<f32> = numbers(ROWS * COLUMNS, 1).into_iter().map(|x| (x - 0.3).max(0.0)).collect();
        let mut sparse = Sparse::default();
        let lists = sparse.list(isa, &x, COLUMNS, 50).expect("few elements").lists();
        let n_values = lists.start(ROWS) * n_copies;
        let (values, weight) = (numbers(n_values, 2), numbers(COLUMNS * width, 3));
        let grad = numbers(ROWS * n_copies * width, 4);
        let [mut z, mut d_weight] = [vec![f32::NAN; ROWS * n_copies * width], vec![0.0; COLUMNS * width]];
        isa.run(CombineCopies { lists, n_copies, values: &values, from: &weight, sums: &mut z });
        isa.run(Spread { lists, n_copies, values: &values, from: &grad, sums: &mut d_weight });
        let products = |by_copy: &[f32]| {
            let mut values = vec![f32::NAN; n_values];
            isa.run(Products { lists, n_copies, by_place: &weight, by_copy, width, values: &mut values });
            values
        };
        let [own, common] = [products(&grad), products(&grad[..n_copies * width])];

        let rows = spread_out(lists, &values, n_copies);
        let at = |matrix: &[f32], width: usize, i: usize, j: usize| matrix[i * width + j];
        let n_rows = ROWS * n_copies;
        let expected =
            product(|i, d| at(&rows, COLUMNS, i, d), |d, j| at(&weight, width, d, j), [n_rows, width, COLUMNS]);
        assert_near(&z, &expected, "sums");
        let expected =
            product(|i, d| at(&rows, COLUMNS, d, i), |d, j| at(&grad, width, d, j), [COLUMNS, width, n_rows]);
        assert_near(&d_weight, &expected, "gradient of the weights");
        for (found, is_common) in [(&own, false), (&common, true)] {
            let row = |i: usize| if is_common { i % n_copies } else { i };
            let all =
                product(|i, d| at(&grad, width, row(i), d), |d, j| at(&weight, width, j, d), [n_rows, COLUMNS, width]);
            let found = spread_out(lists, found, n_copies);
            let listed = spread_out(lists, &vec![1.0; n_values], n_copies);
            let expected: Vec<f32> = all.iter().zip(listed).map(|(x, listed)| x * listed).collect();
            assert_near(&found, &expected, "products");
        }
        [z, d_weight, own, common]
    }

    #[test]
    fn sums_and_products_are_those_of_whole_rows() {
        for (n_copies, width) in [(1, LANES), (3, 3 * LANES), (8, 8 * LANES), (7, 15 * LANES)] {
            results(Isa::all()[0], n_copies, width);
        }
    }

    #[test]
    fn instructions_that_round_once_give_the_same_bits() {
        let all: Vec<_> = Isa::all().into_iter().filter(|isa| !matches!(isa, Isa::Plain)).collect();
        let bits: Vec<_> = all.into_iter().map(|isa| results(isa, 8, 7 * LANES)).collect();
        assert!(bits.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
