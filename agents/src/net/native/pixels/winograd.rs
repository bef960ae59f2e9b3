//! Winograd's forms of the second and third convolution (Lavin & Gray 2016): tiles of inputs, outputs and filters are
//! transformed so that the convolution becomes a product for each of a few points, with 2.25 and 3.06 times fewer
//! multiplications.
//!
//! - Second layer, 4×4 with stride 2: four 2×2 filters on the four phases of the input, which are 10×10 cells of
//!   4 · 32 channels. F(3×3, 2×2) on the points 0, 1, −1 and ∞; nine tiles fit the 9×9 outputs exactly.
//! - Third layer, 3×3: F(4×4, 3×3) on the points 0, ±1, ±2 and ∞; four tiles cover 8×8, of which 7×7 are outputs.
//!
//! With V = Bᵀ x B, U = G w Gᵀ and y = Aᵀ (V U) A, the gradients are the transposed maps: of the products A dy Aᵀ, of
//! the inputs B dV Bᵀ, summed where tiles overlap, of the filters Gᵀ dU G.

#![allow(clippy::needless_range_loop, reason = "registers by row and column, in loops that are unrolled")]

use crate::net::lanes::{LANES, Lanes};
use crate::net::native::simd::Simd;

/// A convolution's Winograd form. A tile has `T`×`T` points and `M`×`M` outputs, a filter `K`×`K` weights.
pub(super) trait Form<const T: usize, const M: usize, const K: usize> {
    /// Rows and columns of tiles of an image.
    const SPAN: usize;
    /// Rows and columns of the output.
    const SIDE: usize;
    /// Channels of the input.
    const INPUTS: usize;
    /// Channels of the output.
    const OUTPUTS: usize = 64;
    /// Points of a tile.
    const POINTS: usize = T * T;
    /// Tiles of an image.
    const TILES: usize = Self::SPAN * Self::SPAN;

    /// Whether its products may be of factors rounded to bf16.
    const MAY_ROUND: bool;

    /// Index, in groups of lanes, of the input at this row, column and group of channels; `None` outside the image.
    fn input_at(row: usize, column: usize, group: usize) -> Option<usize>;
    /// Index of the `[OUTPUTS]` weights of this row and column of the filter and this channel of the input.
    fn weight_at(row: usize, column: usize, input: usize) -> usize;

    /// Bᵀ x
    fn input<S: Simd>(s: S, x: [S::V; T]) -> [S::V; T];
    /// B x
    fn input_adjoint<S: Simd>(s: S, x: [S::V; T]) -> [S::V; T];
    /// Aᵀ x
    fn output<S: Simd>(s: S, x: [S::V; T]) -> [S::V; M];
    /// A x
    fn output_adjoint<S: Simd>(s: S, x: [S::V; M]) -> [S::V; T];
    /// G x
    fn filter<S: Simd>(s: S, x: [S::V; K]) -> [S::V; T];
    /// Gᵀ x
    fn filter_adjoint<S: Simd>(s: S, x: [S::V; T]) -> [S::V; K];
}

/// `$line` of the rows of `$x`, then of its columns: from `$i`×`$i` to `$o`×`$o`.
macro_rules! both_ways {
    ($s:expr, $line:path, $x:expr, $i:expr, $o:expr) => {{
        let mut rows = [[$s.zero(); $o]; $i];
        for i in 0..$i {
            rows[i] = $line($s, $x[i]);
        }
        let mut out = [[$s.zero(); $o]; $o];
        for j in 0..$o {
            let mut column = [$s.zero(); $i];
            for i in 0..$i {
                column[i] = rows[i][j];
            }
            let column = $line($s, column);
            for i in 0..$o {
                out[i][j] = column[i];
            }
        }
        out
    }};
}

/// The tiles of a block of images in all points, `[points][tiles, channels]`: distance from a point to the next.
///
/// A cache line more than the tiles take, or else all points of a tile would compete for the same places of the cache.
pub(super) const fn point_len(n_tiles: usize, channels: usize) -> usize {
    n_tiles * channels + LANES
}

/// An image's tiles in the block, in all points.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Distance from a point to the next.
    point_len: usize,
    /// The image's first tile in the block.
    first: usize,
}

impl Place {
    /// Of image `image` of `n_images`.
    #[inline(always)]
    pub(super) fn new(n_images: usize, image: usize, tiles: usize, channels: usize) -> Self {
        Self { point_len: point_len(n_images * tiles, channels), first: image * tiles }
    }

    /// Index, in groups of lanes, of a point of a tile.
    #[inline(always)]
    fn at(self, point: usize, tile: usize, channels: usize, group: usize) -> usize {
        (point * self.point_len + (self.first + tile) * channels) / LANES + group
    }

    /// A tile in all points, of a group of `channels`.
    #[inline(always)]
    fn load<S: Simd, const T: usize>(
        self,
        s: S,
        points: &[Lanes],
        (tile, channels, group): (usize, usize, usize),
    ) -> [[S::V; T]; T] {
        let mut x = [[s.zero(); T]; T];
        for i in 0..T {
            for j in 0..T {
                x[i][j] = s.load(&points[self.at(T * i + j, tile, channels, group)]);
            }
        }
        x
    }

    /// Writes a tile in all points, of a group of `channels`.
    #[inline(always)]
    fn store<S: Simd, const T: usize>(
        self,
        s: S,
        x: [[S::V; T]; T],
        points: &mut [Lanes],
        (tile, channels, group): (usize, usize, usize),
    ) {
        for i in 0..T {
            for j in 0..T {
                s.store(x[i][j], &mut points[self.at(T * i + j, tile, channels, group)]);
            }
        }
    }
}

/// Writes V of an image.
#[inline(always)]
pub(super) fn input<F: Form<T, M, K>, S: Simd, const T: usize, const M: usize, const K: usize>(
    s: S,
    image: &[f32],
    place: Place,
    v: &mut [f32],
) {
    let ((image, _), (v, _)) = (image.as_chunks::<LANES>(), v.as_chunks_mut::<LANES>());
    for tile in 0..F::TILES {
        let (top, left) = (tile / F::SPAN * M, tile % F::SPAN * M);
        for group in 0..F::INPUTS / LANES {
            let mut x = [[s.zero(); T]; T];
            for i in 0..T {
                for j in 0..T {
                    if let Some(at) = F::input_at(top + i, left + j, group) {
                        x[i][j] = s.load(&image[at]);
                    }
                }
            }
            let x = both_ways!(s, F::input, x, T, T);
            place.store(s, x, v, (tile, F::INPUTS, group));
        }
    }
}

/// Overwrites the gradient of an image's input with that of its V.
#[inline(always)]
pub(super) fn input_adjoint<F: Form<T, M, K>, S: Simd, const T: usize, const M: usize, const K: usize>(
    s: S,
    d_v: &[f32],
    place: Place,
    d_image: &mut [f32],
) {
    d_image.fill(0.0);
    let ((d_v, _), (d_image, _)) = (d_v.as_chunks::<LANES>(), d_image.as_chunks_mut::<LANES>());
    for tile in 0..F::TILES {
        let (top, left) = (tile / F::SPAN * M, tile % F::SPAN * M);
        for group in 0..F::INPUTS / LANES {
            let x = place.load(s, d_v, (tile, F::INPUTS, group));
            let x = both_ways!(s, F::input_adjoint, x, T, T);
            for i in 0..T {
                for j in 0..T {
                    if let Some(at) = F::input_at(top + i, left + j, group) {
                        s.store(s.add(s.load(&d_image[at]), x[i][j]), &mut d_image[at]);
                    }
                }
            }
        }
    }
}

/// Writes the outputs `[SIDE, SIDE, OUTPUTS]` of an image, given its products V U.
#[inline(always)]
pub(super) fn output<F: Form<T, M, K>, S: Simd, const T: usize, const M: usize, const K: usize>(
    s: S,
    products: &[f32],
    place: Place,
    z: &mut [f32],
) {
    let ((products, _), (z, _)) = (products.as_chunks::<LANES>(), z.as_chunks_mut::<LANES>());
    for tile in 0..F::TILES {
        let (top, left) = (tile / F::SPAN * M, tile % F::SPAN * M);
        for group in 0..F::OUTPUTS / LANES {
            let x = place.load(s, products, (tile, F::OUTPUTS, group));
            let x = both_ways!(s, F::output, x, T, M);
            for i in 0..M.min(F::SIDE - top) {
                for j in 0..M.min(F::SIDE - left) {
                    s.store(x[i][j], &mut z[output_at::<F, T, M, K>(top + i, left + j, group)]);
                }
            }
        }
    }
}

/// Writes the gradient of an image's products, given that of its outputs.
#[inline(always)]
pub(super) fn output_adjoint<F: Form<T, M, K>, S: Simd, const T: usize, const M: usize, const K: usize>(
    s: S,
    d_z: &[f32],
    place: Place,
    d_products: &mut [f32],
) {
    let ((d_z, _), (d_products, _)) = (d_z.as_chunks::<LANES>(), d_products.as_chunks_mut::<LANES>());
    for tile in 0..F::TILES {
        let (top, left) = (tile / F::SPAN * M, tile % F::SPAN * M);
        for group in 0..F::OUTPUTS / LANES {
            let mut x = [[s.zero(); M]; M];
            for i in 0..M.min(F::SIDE - top) {
                for j in 0..M.min(F::SIDE - left) {
                    x[i][j] = s.load(&d_z[output_at::<F, T, M, K>(top + i, left + j, group)]);
                }
            }
            let x = both_ways!(s, F::output_adjoint, x, M, T);
            place.store(s, x, d_products, (tile, F::OUTPUTS, group));
        }
    }
}

#[inline(always)]
fn output_at<F: Form<T, M, K>, const T: usize, const M: usize, const K: usize>(
    row: usize,
    column: usize,
    group: usize,
) -> usize {
    (row * F::SIDE + column) * F::OUTPUTS / LANES + group
}

/// Writes U, `[points, inputs, outputs]`, and its transpose, `[points, outputs, inputs]`.
#[inline(always)]
pub(super) fn filters<F: Form<T, M, K>, S: Simd, const T: usize, const M: usize, const K: usize>(
    s: S,
    weight: &[f32],
    u: &mut [f32],
    u_transposed: &mut [f32],
) {
    let (u, _) = u.as_chunks_mut::<LANES>();
    let groups = F::OUTPUTS / LANES;
    for input in 0..F::INPUTS {
        for group in 0..groups {
            let mut x = [[s.zero(); K]; K];
            for i in 0..K {
                for j in 0..K {
                    x[i][j] = s.load(lanes_at(weight, F::weight_at(i, j, input) + group * LANES));
                }
            }
            let x = both_ways!(s, F::filter, x, K, T);
            for i in 0..T {
                for j in 0..T {
                    s.store(x[i][j], &mut u[((T * i + j) * F::INPUTS + input) * groups + group]);
                }
            }
        }
    }
    let len = F::INPUTS * groups;
    for (u, transposed) in u.chunks_exact(len).zip(u_transposed.chunks_exact_mut(len * LANES)) {
        transpose(s, u.as_flattened(), F::INPUTS, F::OUTPUTS, transposed, F::INPUTS);
    }
}

/// Overwrites the gradient of the weights, given that of U.
#[inline(always)]
pub(super) fn filters_adjoint<F: Form<T, M, K>, S: Simd, const T: usize, const M: usize, const K: usize>(
    s: S,
    d_u: &[f32],
    d_weight: &mut [f32],
) {
    let (d_u, _) = d_u.as_chunks::<LANES>();
    let groups = F::OUTPUTS / LANES;
    for input in 0..F::INPUTS {
        for group in 0..groups {
            let mut x = [[s.zero(); T]; T];
            for i in 0..T {
                for j in 0..T {
                    x[i][j] = s.load(&d_u[((T * i + j) * F::INPUTS + input) * groups + group]);
                }
            }
            let x = both_ways!(s, F::filter_adjoint, x, T, K);
            for i in 0..K {
                for j in 0..K {
                    let at = F::weight_at(i, j, input) + group * LANES;
                    s.store(x[i][j], (&mut d_weight[at..at + LANES]).try_into().expect("whole lanes"));
                }
            }
        }
    }
}

#[inline(always)]
fn lanes_at(values: &[f32], at: usize) -> &Lanes {
    values[at..at + LANES].try_into().expect("whole lanes")
}

/// `to = fromᵀ` for `rows`×`columns` elements, whole lanes both; rows of the result are `to_row` apart.
#[inline(always)]
pub(super) fn transpose<S: Simd>(s: S, from: &[f32], rows: usize, columns: usize, to: &mut [f32], to_row: usize) {
    for row in (0..rows).step_by(LANES) {
        for column in (0..columns).step_by(LANES) {
            let mut x = [s.zero(); LANES];
            for (i, x) in x.iter_mut().enumerate() {
                *x = s.load(lanes_at(from, (row + i) * columns + column));
            }
            let x = s.transpose(x);
            for (i, x) in x.into_iter().enumerate() {
                let at = (column + i) * to_row + row;
                s.store(x, (&mut to[at..at + LANES]).try_into().expect("whole lanes"));
            }
        }
    }
}

/// The second layer.
pub(super) struct Second;

impl Form<4, 3, 2> for Second {
    const SPAN: usize = 3;
    const SIDE: usize = 9;
    const INPUTS: usize = 128;
    const MAY_ROUND: bool = true;

    #[inline(always)]
    fn input_at(row: usize, column: usize, group: usize) -> Option<usize> {
        let (phase, group) = (group / 2, group % 2);
        Some(((2 * row + phase / 2) * 20 + 2 * column + phase % 2) * 2 + group)
    }

    #[inline(always)]
    fn weight_at(row: usize, column: usize, input: usize) -> usize {
        let (phase, channel) = (input / 32, input % 32);
        (((2 * row + phase / 2) * 4 + 2 * column + phase % 2) * 32 + channel) * Self::OUTPUTS
    }

    #[inline(always)]
    fn input<S: Simd>(s: S, [a, b, c, d]: [S::V; 4]) -> [S::V; 4] {
        [s.sub(c, a), s.add(b, c), s.sub(c, b), s.sub(d, b)]
    }

    #[inline(always)]
    fn input_adjoint<S: Simd>(s: S, [a, b, c, d]: [S::V; 4]) -> [S::V; 4] {
        [s.sub(s.zero(), a), s.sub(s.sub(b, c), d), s.add(s.add(b, c), a), d]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, [a, b, c, d]: [S::V; 4]) -> [S::V; 3] {
        let sum = s.add(b, c);
        [s.add(a, sum), s.sub(b, c), s.add(sum, d)]
    }

    #[inline(always)]
    fn output_adjoint<S: Simd>(s: S, [a, b, c]: [S::V; 3]) -> [S::V; 4] {
        let sum = s.add(a, c);
        [a, s.add(sum, b), s.sub(sum, b), c]
    }

    #[inline(always)]
    fn filter<S: Simd>(s: S, [a, b]: [S::V; 2]) -> [S::V; 4] {
        let half = s.splat(0.5);
        [s.sub(s.zero(), a), s.mul(half, s.add(a, b)), s.mul(half, s.sub(a, b)), b]
    }

    #[inline(always)]
    fn filter_adjoint<S: Simd>(s: S, [a, b, c, d]: [S::V; 4]) -> [S::V; 2] {
        let half = s.splat(0.5);
        [s.sub(s.mul(half, s.add(b, c)), a), s.mul_add(half, s.sub(b, c), d)]
    }
}

/// The third layer.
pub(super) struct Third;

impl Form<6, 4, 3> for Third {
    const SPAN: usize = 2;
    const SIDE: usize = 7;
    const INPUTS: usize = 64;
    // The transforms of F(4×4, 3×3) enlarge errors: with rounded products Q-values were 0.7 % off instead of 0.3 %.
    const MAY_ROUND: bool = false;

    #[inline(always)]
    fn input_at(row: usize, column: usize, group: usize) -> Option<usize> {
        (row < 9 && column < 9).then_some((row * 9 + column) * 4 + group)
    }

    #[inline(always)]
    fn weight_at(row: usize, column: usize, input: usize) -> usize {
        ((row * 3 + column) * Self::INPUTS + input) * Self::OUTPUTS
    }

    #[inline(always)]
    fn input<S: Simd>(s: S, [a, b, c, d, e, f]: [S::V; 6]) -> [S::V; 6] {
        let (two, four, minus_four, minus_five) = (s.splat(2.0), s.splat(4.0), s.splat(-4.0), s.splat(-5.0));
        let (even, odd) = (s.mul_add(minus_four, c, e), s.mul_add(minus_four, b, d));
        let (even2, odd2) = (s.sub(e, c), s.mul(two, s.sub(d, b)));
        [
            s.mul_add(four, a, s.mul_add(minus_five, c, e)),
            s.add(even, odd),
            s.sub(even, odd),
            s.add(even2, odd2),
            s.sub(even2, odd2),
            s.mul_add(four, b, s.mul_add(minus_five, d, f)),
        ]
    }

    #[inline(always)]
    fn input_adjoint<S: Simd>(s: S, [a, b, c, d, e, f]: [S::V; 6]) -> [S::V; 6] {
        let (two, four, minus_four, minus_five) = (s.splat(2.0), s.splat(4.0), s.splat(-4.0), s.splat(-5.0));
        let (sum, difference) = (s.add(b, c), s.sub(b, c));
        let (sum2, difference2) = (s.add(d, e), s.mul(two, s.sub(d, e)));
        [
            s.mul(four, a),
            s.mul_add(minus_four, difference, s.mul_add(four, f, s.sub(s.zero(), difference2))),
            s.mul_add(minus_five, a, s.mul_add(minus_four, sum, s.sub(s.zero(), sum2))),
            s.mul_add(minus_five, f, s.add(difference, difference2)),
            s.add(a, s.add(sum, sum2)),
            f,
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, [a, b, c, d, e, f]: [S::V; 6]) -> [S::V; 4] {
        let (two, four, eight) = (s.splat(2.0), s.splat(4.0), s.splat(8.0));
        let (sum, difference) = (s.add(b, c), s.sub(b, c));
        let (sum2, difference2) = (s.add(d, e), s.sub(d, e));
        [
            s.add(a, s.add(sum, sum2)),
            s.mul_add(two, difference2, difference),
            s.mul_add(four, sum2, sum),
            s.mul_add(eight, difference2, s.add(difference, f)),
        ]
    }

    #[inline(always)]
    fn output_adjoint<S: Simd>(s: S, [a, b, c, d]: [S::V; 4]) -> [S::V; 6] {
        let (two, four, eight) = (s.splat(2.0), s.splat(4.0), s.splat(8.0));
        let (even, odd) = (s.add(a, c), s.add(b, d));
        let (even2, odd2) = (s.mul_add(four, c, a), s.mul_add(eight, d, s.mul(two, b)));
        [a, s.add(even, odd), s.sub(even, odd), s.add(even2, odd2), s.sub(even2, odd2), d]
    }

    #[inline(always)]
    fn filter<S: Simd>(s: S, [a, b, c]: [S::V; 3]) -> [S::V; 6] {
        let (quarter, minus_sixth, twelfth) = (s.splat(1.0 / 4.0), s.splat(-1.0 / 6.0), s.splat(1.0 / 12.0));
        let (sixth, twenty_fourth) = (s.splat(1.0 / 6.0), s.splat(1.0 / 24.0));
        let (even, odd) = (s.mul(minus_sixth, s.add(a, c)), s.mul(minus_sixth, b));
        let (even2, odd2) = (s.mul_add(twenty_fourth, a, s.mul(sixth, c)), s.mul(twelfth, b));
        [s.mul(quarter, a), s.add(even, odd), s.sub(even, odd), s.add(even2, odd2), s.sub(even2, odd2), c]
    }

    #[inline(always)]
    fn filter_adjoint<S: Simd>(s: S, [a, b, c, d, e, f]: [S::V; 6]) -> [S::V; 3] {
        let (quarter, minus_sixth, twelfth) = (s.splat(1.0 / 4.0), s.splat(-1.0 / 6.0), s.splat(1.0 / 12.0));
        let (sixth, twenty_fourth) = (s.splat(1.0 / 6.0), s.splat(1.0 / 24.0));
        let (sum, difference) = (s.add(b, c), s.sub(b, c));
        let (sum2, difference2) = (s.add(d, e), s.sub(d, e));
        [
            s.mul_add(quarter, a, s.mul_add(minus_sixth, sum, s.mul(twenty_fourth, sum2))),
            s.mul_add(minus_sixth, difference, s.mul(twelfth, difference2)),
            s.mul_add(minus_sixth, sum, s.mul_add(sixth, sum2, f)),
        ]
    }
}
