//! Products of small matrices whose sums stay in registers.
//!
//! Every element of a product is one sum, taken in the order of the depth, whatever the size of the tiles: how a
//! product is cut into tiles or tasks changes no bit.

#![allow(clippy::needless_range_loop, reason = "registers by row and column, in loops that are unrolled")]

use super::simd::{Kernel, Simd};
use crate::net::lanes::LANES;

/// A factor or product: distances between neighbouring rows and between neighbours in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strides {
    pub(super) row: usize,
    pub(super) column: usize,
}

/// Rows of the first factor, groups of sixteen columns of the second, and the length of the sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) groups: usize,
    pub(super) depth: usize,
}

/// Pairs of factors whose products are summed: the same sizes at equal distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) a: &'a [f32],
    pub(super) a_strides: Strides,
    /// Rows of whole groups of lanes.
    pub(super) b: &'a [f32],
    pub(super) b_row: usize,
    /// Number of pairs, and distance from a pair's factors to the next pair's.
    pub(super) n: usize,
    pub(super) a_step: usize,
    pub(super) b_step: usize,
    /// Factors of the next product, fetched into the second cache meanwhile.
    pub(super) ahead: [&'a [f32]; 2],
    /// Whether factors are rounded to bf16 if the instructions are of bf16.
    pub(super) may_round: bool,
}

impl<'a> Terms<'a> {
    /// One product.
    #[inline(always)]
    pub(super) fn one(a: &'a [f32], a_strides: Strides, b: &'a [f32], b_row: usize) -> Self {
        Self { a, a_strides, b, b_row, n: 1, a_step: 0, b_step: 0, ahead: [&[]; 2], may_round: true }
    }
}

/// A product to be computed tile by tile.
pub(super) struct Product<'a> {
    pub(super) size: Size,
    pub(super) terms: Terms<'a>,
    pub(super) c: &'a mut [f32],
    pub(super) c_row: usize,
    pub(super) add: bool,
}

impl Kernel for Product<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        tiles::<S, false>(s, self);
    }
}

/// All tiles of a product, with `PAIRS` of pairs of bf16.
#[inline(always)]
pub(super) fn tiles<S: Simd, const PAIRS: bool>(s: S, Product { size, terms, c, c_row, add }: Product) {
    let Size { rows, groups, depth } = size;
    if rows == 0 || groups == 0 || depth == 0 || terms.n == 0 {
        return;
    }
    let last = |step: usize| (terms.n - 1) * step;
    let a_end = last(terms.a_step) + (rows - 1) * terms.a_strides.row + (depth - 1) * terms.a_strides.column + 1;
    let b_end = last(terms.b_step) + (depth - 1) * terms.b_row + groups * LANES;
    assert!(a_end <= terms.a.len() && b_end <= terms.b.len(), "factors as large as their sizes say");
    assert!((rows - 1) * c_row + groups * LANES <= c.len(), "a product as large as its size says");
    let n_tiles = rows.div_ceil(S::TILE[0]) * groups.div_ceil(S::TILE[1]);
    let shares = terms.ahead.map(|values| values.len().div_ceil(n_tiles).next_multiple_of(LANES).max(LANES));
    let mut ahead = [terms.ahead[0].chunks(shares[0]), terms.ahead[1].chunks(shares[1])];
    let mut group = 0;
    while group < groups {
        let wide = match groups - group {
            4.. if S::TILE[1] >= 4 => 4,
            2.. if S::TILE[1] >= 2 => 2,
            _ => 1,
        };
        let mut row = 0;
        while row < rows {
            let at = Tile { row, group, depth, add };
            // Few tiles would wait for what they fetch.
            if n_tiles >= 4 {
                for share in ahead.iter_mut().filter_map(Iterator::next) {
                    share.chunks(LANES).for_each(|line| s.prefetch(&line[0]));
                }
            }
            // SAFETY: the tile lies within the sizes checked above.
            row += unsafe {
                match wide {
                    4 => tile_of::<S, 4, PAIRS>(s, rows - row, at, terms, c, c_row),
                    2 => tile_of::<S, 2, PAIRS>(s, rows - row, at, terms, c, c_row),
                    _ => tile_of::<S, 1, PAIRS>(s, rows - row, at, terms, c, c_row),
                }
            };
        }
        group += wide;
    }
}

/// Place of a tile in the product.
#[derive(Clone, Copy)]
struct Tile {
    row: usize,
    group: usize,
    depth: usize,
    add: bool,
}

/// A tile of as many of the `n_rows` rows left as fit the registers; returns their number.
///
/// # Safety
/// The tile lies within factors and product.
#[inline(always)]
unsafe fn tile_of<S: Simd, const C: usize, const PAIRS: bool>(
    s: S,
    n_rows: usize,
    at: Tile,
    terms: Terms,
    c: &mut [f32],
    c_row: usize,
) -> usize {
    let [most_rows, most_groups] = S::TILE;
    // SAFETY: as promised; no tile has more rows than are left.
    unsafe {
        match n_rows {
            12.. if C <= 2 && most_groups >= 4 => {
                tile::<S, 12, C, PAIRS>(s, at, terms, c, c_row);
                12
            }
            6.. if most_rows >= 6 => {
                tile::<S, 6, C, PAIRS>(s, at, terms, c, c_row);
                6
            }
            5 if most_rows >= 6 => {
                tile::<S, 5, C, PAIRS>(s, at, terms, c, c_row);
                5
            }
            4 if most_rows >= 6 => {
                tile::<S, 4, C, PAIRS>(s, at, terms, c, c_row);
                4
            }
            3 if most_rows >= 6 => {
                tile::<S, 3, C, PAIRS>(s, at, terms, c, c_row);
                3
            }
            2.. => {
                tile::<S, 2, C, PAIRS>(s, at, terms, c, c_row);
                2
            }
            _ => {
                tile::<S, 1, C, PAIRS>(s, at, terms, c, c_row);
                1
            }
        }
    }
}

/// `R` rows and `C` groups of columns.
///
/// # Safety
/// The tile lies within factors and product.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const C: usize, const PAIRS: bool>(
    s: S,
    at: Tile,
    terms: Terms,
    c: &mut [f32],
    c_row: usize,
) {
    let (a_row, a_column, b_row) = (terms.a_strides.row, terms.a_strides.column, terms.b_row);
    let c = c.as_mut_ptr();
    // SAFETY: all offsets are of elements of the tile, which lies within the slices; the last step of `a` and `b` may
    // lead outside and is not followed.
    unsafe {
        let mut sums = [[s.zero(); C]; R];
        if at.add {
            for i in 0..R {
                for j in 0..C {
                    sums[i][j] = s.load(&*c.add((at.row + i) * c_row + (at.group + j) * LANES).cast());
                }
            }
        }
        for term in 0..terms.n {
            let mut a = terms.a.as_ptr().add(term * terms.a_step + at.row * a_row);
            let mut b = terms.b.as_ptr().add(term * terms.b_step + at.group * LANES);
            for _ in 0..at.depth {
                let mut columns = [s.zero(); C];
                for j in 0..C {
                    columns[j] = s.load(&*b.add(j * LANES).cast());
                }
                for i in 0..R {
                    let x = s.splat(*a.add(i * a_row));
                    for j in 0..C {
                        sums[i][j] = match PAIRS {
                            true => s.mul_add_pairs(x, columns[j], sums[i][j]),
                            false => s.mul_add(x, columns[j], sums[i][j]),
                        };
                    }
                }
                a = a.wrapping_add(a_column);
                b = b.wrapping_add(b_row);
            }
        }
        for i in 0..R {
            for j in 0..C {
                s.store(sums[i][j], &mut *c.add((at.row + i) * c_row + (at.group + j) * LANES).cast());
            }
        }
    }
}
