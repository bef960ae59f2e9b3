//! Products of small matrices of factors that are rounded to bf16, of which a processor may multiply twice as many at
//! once as of f32.

use super::buffer::Buffer;
use super::simd::{Kernel, Simd};
use super::tiles::{Product, Size, Strides, Terms, tiles};
use crate::net::lanes::{LANES, padded};
use std::cell::Cell;

thread_local! {
    /// Memory of the factors of [`Rounded`].
    static PACKED: Cell<[Buffer; 2]> = const { Cell::new([Buffer::NEW; 2]) };
}

/// Rows of the first factor that are packed at once, and pairs of numbers of their sums: with as many pairs of 64
/// columns of the second factor they fill the nearest cache.
const PACKED_ROWS: usize = 72;
const PACKED_PAIRS: usize = 64;
/// Pairs of a row from one to the next: the last vector of a row may reach over its end.
const PACKED_ROW: usize = PACKED_PAIRS + LANES;

/// Computes a product of factors that are rounded to bf16.
#[inline(always)]
pub(super) fn run<S: Simd>(s: S, product: Product) {
    let mut packed = PACKED.take();
    s.run(Rounded { product, packed: &mut packed });
    PACKED.set(packed);
}

/// A product of factors that are rounded to bf16. Part by part they are packed into pairs of neighbours in the sums.
struct Rounded<'a, 'b> {
    product: Product<'a>,
    packed: &'b mut [Buffer; 2],
}

impl Kernel for Rounded<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { product: Product { size, terms, c, c_row, mut add }, packed: [packed_a, packed_b] } = self;
        let b_row = size.groups * LANES;
        let packed_a = packed_a.first(PACKED_ROWS.next_multiple_of(LANES) * PACKED_ROW);
        let packed_b = packed_b.first(PACKED_PAIRS * b_row);
        let is_transposed = terms.a_strides.row == 1;
        let strides = match is_transposed {
            true => Strides { row: 1, column: PACKED_ROWS.next_multiple_of(LANES) },
            false => Strides { row: PACKED_ROW, column: 1 },
        };
        let mut part = Part { terms, depth: size.depth, term: 0, start: 0 };
        while part.term < terms.n {
            let mut next = part;
            let mut pairs = 0;
            while let Some(piece) = next.take(2 * (PACKED_PAIRS - pairs)) {
                pack_lanes(s, piece.b, terms.b_row, piece.len, b_row, &mut packed_b[pairs * b_row..], b_row);
                pairs += piece.len.div_ceil(2);
            }
            let mut ahead = terms.ahead;
            for row in (0..size.rows).step_by(PACKED_ROWS) {
                let rows = PACKED_ROWS.min(size.rows - row);
                let (mut pieces, mut at) = (part, 0);
                while let Some(piece) = pieces.take(2 * (PACKED_PAIRS - at)) {
                    let a = &piece.a[row * terms.a_strides.row..];
                    match is_transposed {
                        true => {
                            let to = &mut packed_a[at * strides.column..];
                            pack_lanes(s, a, terms.a_strides.column, piece.len, rows, to, strides.column);
                        }
                        false => pack_rows(s, a, terms.a_strides.row, piece.len, rows, &mut packed_a[at..]),
                    }
                    at += piece.len.div_ceil(2);
                }
                let terms =
                    Terms { ahead: std::mem::take(&mut ahead), ..Terms::one(packed_a, strides, packed_b, b_row) };
                let size = Size { rows, groups: size.groups, depth: pairs };
                tiles::<S, true>(s, Product { size, terms, c: &mut c[row * c_row..], c_row, add });
            }
            (part, add) = (next, true);
        }
    }
}

/// Place in the sums of some terms, from which on they are to be packed.
#[derive(Clone, Copy)]
struct Part<'a> {
    terms: Terms<'a>,
    depth: usize,
    term: usize,
    start: usize,
}

/// Part of a term: factors from its first number of the sums on, and the count of these.
struct Piece<'a> {
    a: &'a [f32],
    b: &'a [f32],
    len: usize,
}

impl<'a> Part<'a> {
    /// Takes up to `most` numbers of one term, or none where no term or room is left.
    #[inline(always)]
    fn take(&mut self, most: usize) -> Option<Piece<'a>> {
        let Self { terms, depth, term, start } = *self;
        if term == terms.n || most == 0 {
            return None;
        }
        let len = most.min(depth - start);
        let a = &terms.a[term * terms.a_step + start * terms.a_strides.column..];
        let b = &terms.b[term * terms.b_step + start * terms.b_row..];
        (self.term, self.start) = if start + len == depth { (term + 1, 0) } else { (term, start + len) };
        Some(Piece { a, b, len })
    }
}

/// Packs `len` rows of `columns` numbers, `row` apart: neighbouring rows become pairs, and rows of pairs are `to_row`
/// apart.
#[inline(always)]
fn pack_lanes<S: Simd>(s: S, from: &[f32], row: usize, len: usize, columns: usize, to: &mut [f32], to_row: usize) {
    for k in (0..len).step_by(2) {
        for column in (0..columns).step_by(LANES) {
            let low = load(s, from, k * row + column, columns - column);
            let high = if k + 1 < len { load(s, from, (k + 1) * row + column, columns - column) } else { s.zero() };
            let at = k / 2 * to_row + column;
            s.store(s.pair_lanes(low, high), (&mut to[at..at + LANES]).try_into().expect("whole lanes"));
        }
    }
}

/// Packs `rows` rows of `len` numbers, `row` apart: neighbours in a row become pairs.
#[inline(always)]
fn pack_rows<S: Simd>(s: S, from: &[f32], row: usize, len: usize, rows: usize, to: &mut [f32]) {
    for i in 0..rows {
        for k in (0..len).step_by(2 * LANES) {
            let first = load(s, from, i * row + k, len - k);
            let second = if k + LANES < len { load(s, from, i * row + k + LANES, len - k - LANES) } else { s.zero() };
            let at = i * PACKED_ROW + k / 2;
            s.store(s.pair_neighbours([first, second]), (&mut to[at..at + LANES]).try_into().expect("whole lanes"));
        }
    }
}

/// Lanes from `at` on, of which `n` are there and the others 0.
#[inline(always)]
fn load<S: Simd>(s: S, from: &[f32], at: usize, n: usize) -> S::V {
    match n {
        LANES.. => s.load(from[at..at + LANES].try_into().expect("whole lanes")),
        _ => s.load(&padded(&from[at..at + n], 0.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::native::isa::Isa;
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg32;

    /// A number that bf16 has exactly.
    fn exact(rng: &mut Pcg32) -> f32 {
        rng.gen_range(-128_i8..=127).into()
    }

    /// Two terms of factors that rounding leaves as they are, so that sums of their products have no error.
    fn check(isa: Isa, size: Size, is_transposed: bool) {
        let (rng, n) = (&mut Pcg32::seed_from_u64(3), 2);
        let Size { rows, groups, depth } = size;
        let a_strides = match is_transposed {
            true => Strides { row: 1, column: rows + 3 },
            false => Strides { row: depth + 3, column: 1 },
        };
        let (b_row, c_row) = (groups * LANES + 5, groups * LANES + 7);
        let (a_step, b_step) = ((rows + 3) * (depth + 3), (depth + 1) * b_row);
        let a: Vec<f32> = (0..n * a_step).map(|_| exact(rng)).collect();
        let b: Vec<f32> = (0..n * b_step).map(|_| exact(rng)).collect();
        let before: Vec<f32> = (0..rows * c_row).map(|_| exact(rng)).collect();
        let terms = Terms { n, a_step, b_step, ..Terms::one(&a, a_strides, &b, b_row) };
        for add in [false, true] {
            let (mut c, mut packed) = (before.clone(), <[Buffer; 2]>::default());
            isa.run(Rounded { product: Product { size, terms, c: &mut c, c_row, add }, packed: &mut packed });
            let mut expected = before.clone();
            for (i, row) in expected.chunks_exact_mut(c_row).enumerate() {
                for (j, sum) in row[..groups * LANES].iter_mut().enumerate() {
                    *sum = if add { *sum } else { 0.0 };
                    for (term, k) in (0..n).flat_map(|term| (0..depth).map(move |k| (term, k))) {
                        let a = a[term * a_step + i * a_strides.row + k * a_strides.column];
                        *sum += a * b[term * b_step + k * b_row + j];
                    }
                }
            }
            assert_eq!(c, expected, "{size:?} of {isa:?}, transposed: {is_transposed}, added: {add}");
        }
    }

    #[test]
    fn rounded_products_are_those_of_the_rounded_factors() {
        let sets = Isa::all().into_iter().chain(Isa::bf16());
        let sizes = [(128, 4, 64), (64, 4, 128), (75, 3, 37), (5, 1, 300), (1, 2, 1)];
        for (isa, (rows, groups, depth)) in sets.flat_map(|isa| sizes.map(|size| (isa, size))) {
            for is_transposed in [false, true] {
                check(isa, Size { rows, groups, depth }, is_transposed);
            }
        }
    }
}
