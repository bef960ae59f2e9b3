//! Sixteen numbers in registers, for the kernels whose speed hangs on which register holds what.
//!
//! A kernel is written once, over [`Simd`], and compiled for each set of instructions: AVX-512, AVX2 with FMA, and what
//! every processor has; `isa.rs` chooses among those that this processor can run. Plain loops over arrays leave the
//! choice of registers to the compiler, which spills the sums of a matrix product.
//!
//! AVX-512 and AVX2 give the same bits: both round once in a product with a sum, and both take the same lanes.

use crate::net::lanes::{LANES, Lanes, relu, sum};

/// Arithmetic on sixteen lanes. A value of the type is the proof that the processor has the instructions.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Sixteen numbers.
    type V: Copy;
    /// Rows and columns (of sixteen lanes) of the largest tile of sums that stays in registers.
    const TILE: [usize; 2];
    /// Groups of lanes whose sums stay in registers, beside a factor.
    const GROUPS: usize;

    fn load(self, from: &Lanes) -> Self::V;
    fn store(self, v: Self::V, to: &mut Lanes);
    fn splat(self, x: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a b + c
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// 1 / √x
    fn inv_sqrt(self, x: Self::V) -> Self::V;
    /// max(x, 0). NaN stays NaN and −0 stays −0, as in [`relu`].
    fn relu(self, x: Self::V) -> Self::V;
    /// `v` where `x` is above 0 or NaN, else 0.
    fn where_positive(self, x: Self::V, v: Self::V) -> Self::V;
    /// Sixteen bytes as numbers.
    fn of_bytes(self, bytes: &[u8; LANES]) -> Self::V;
    /// A bit for each group of four bytes in which two rows of 64 bytes differ.
    fn quads_apart(self, a: &[u8; 64], b: &[u8; 64]) -> u32;
    /// Begins to fetch a cache line into the second cache.
    fn prefetch<T>(self, at: &T);
    /// Lane i of row j becomes lane j of row i.
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES];
    /// Runs a kernel in a function of its own. Kernels that call it share one copy of it, which is compiled once.
    fn run(self, kernel: impl Kernel);

    /// Whether products of matrices round their factors to bf16.
    const ROUNDS: bool = false;

    /// Lanes `2 i` and `2 i + 1` of the 32 lanes of `v`, rounded to bf16, as the lower and upper bits of lane i.
    #[inline(always)]
    fn pair_neighbours(self, v: [Self::V; 2]) -> Self::V {
        pair_neighbours(self, v)
    }

    /// Lane i of `low` and `high`, rounded to bf16, as the lower and upper bits of lane i.
    #[inline(always)]
    fn pair_lanes(self, low: Self::V, high: Self::V) -> Self::V {
        pair_lanes(self, low, high)
    }

    /// `c` plus the products of the lower numbers of the pairs `a` and `b` and of the upper ones.
    #[inline(always)]
    fn mul_add_pairs(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        mul_add_pairs(self, a, b, c)
    }

    /// Writes the lanes of `x` that are above 0 or NaN one behind the other to `values`, and their numbers plus `first`
    /// to `places`. Returns how many. What the other elements become is open.
    #[inline(always)]
    fn collect_positive(self, x: &Lanes, first: u32, places: &mut [u32; LANES], values: &mut Lanes) -> usize {
        let mut n = 0;
        for (i, &x) in x.iter().enumerate() {
            // Written in any case: a branch would be guessed wrong too often.
            (places[n], values[n]) = (first + i as u32, x);
            n += usize::from(x > 0.0 || x.is_nan());
        }
        n
    }

    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// The sum of each row's lanes, in the order of [`sum`].
    #[inline(always)]
    fn sums(self, rows: [Self::V; LANES]) -> Self::V {
        let mut x = self.transpose(rows);
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                x[i] = self.add(x[i], x[i + half]);
            }
        }
        x[0]
    }

    /// The sum of all lanes, in the order of [`sum`].
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        sum(&lanes)
    }
}

/// Lanes in memory.
#[inline(always)]
fn in_memory<S: Simd, const N: usize>(s: S, vectors: [S::V; N]) -> [Lanes; N] {
    let mut lanes = [[0.0; LANES]; N];
    for (v, lanes) in vectors.into_iter().zip(&mut lanes) {
        s.store(v, lanes);
    }
    lanes
}

/// [`Simd::pair_neighbours`] on any processor, as the two functions below.
#[inline(always)]
pub(super) fn pair_neighbours<S: Simd>(s: S, v: [S::V; 2]) -> S::V {
    let lanes = in_memory(s, v);
    let lanes = lanes.as_flattened();
    s.load(&std::array::from_fn(|i| bf16_pair(lanes[2 * i], lanes[2 * i + 1])))
}

#[inline(always)]
pub(super) fn pair_lanes<S: Simd>(s: S, low: S::V, high: S::V) -> S::V {
    let [low, high] = in_memory(s, [low, high]);
    s.load(&std::array::from_fn(|i| bf16_pair(low[i], high[i])))
}

#[inline(always)]
pub(super) fn mul_add_pairs<S: Simd>(s: S, a: S::V, b: S::V, c: S::V) -> S::V {
    let [a, b, c] = in_memory(s, [a, b, c]);
    s.load(&std::array::from_fn(|i| {
        let ([low, high], [low2, high2]) = (of_bf16_pair(a[i]), of_bf16_pair(b[i]));
        c[i] + low * low2 + high * high2
    }))
}

/// Bits of `x` rounded to bf16, the upper half of a float: to the nearest, of two as near to the even one.
fn bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() { 0x7fc0 } else { (bits + 0x7fff + (bits >> 16 & 1)) >> 16 }
}

fn bf16_pair(low: f32, high: f32) -> f32 {
    f32::from_bits(bf16(low) | bf16(high) << 16)
}

fn of_bf16_pair(pair: f32) -> [f32; 2] {
    [pair.to_bits() << 16, pair.to_bits() & 0xffff_0000].map(f32::from_bits)
}

/// A computation over any set of instructions.
pub(crate) trait Kernel {
    /// Does it. Its functions are `#[inline(always)]`, so that all of it is compiled for the instructions of `S`.
    /// Closures that hold vectors, also those of `map` and `from_fn`, may be compiled apart and without them, many
    /// times slower.
    fn run<S: Simd>(self, simd: S);
}

/// Arrays, compiled for the instructions that every processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

impl Simd for Plain {
    type V = Lanes;
    const TILE: [usize; 2] = [2, 1];
    const GROUPS: usize = 2;

    #[inline(never)]
    fn run(self, kernel: impl Kernel) {
        kernel.run(self);
    }

    #[inline(always)]
    fn load(self, from: &Lanes) -> Lanes {
        *from
    }

    #[inline(always)]
    fn store(self, v: Lanes, to: &mut Lanes) {
        *to = v;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        [x; LANES]
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        std::array::from_fn(|i| a[i] * b[i])
    }

    // Two roundings: `f32::mul_add` is a call of the C library where the processor has no such instruction.
    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn inv_sqrt(self, x: Lanes) -> Lanes {
        x.map(|x| 1.0 / x.sqrt())
    }

    #[inline(always)]
    fn relu(self, x: Lanes) -> Lanes {
        x.map(relu)
    }

    #[inline(always)]
    fn where_positive(self, x: Lanes, v: Lanes) -> Lanes {
        std::array::from_fn(|i| if x[i] <= 0.0 { 0.0 } else { v[i] })
    }

    #[inline(always)]
    fn of_bytes(self, bytes: &[u8; LANES]) -> Lanes {
        bytes.map(f32::from)
    }

    #[inline(always)]
    fn quads_apart(self, a: &[u8; 64], b: &[u8; 64]) -> u32 {
        (0..16).map(|i| u32::from(a[4 * i..4 * i + 4] != b[4 * i..4 * i + 4]) << i).sum()
    }

    #[inline(always)]
    fn prefetch<T>(self, _: &T) {}

    #[inline(never)]
    fn transpose(self, rows: [Lanes; LANES]) -> [Lanes; LANES] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }
}
