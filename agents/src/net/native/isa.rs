//! Choice of the instructions that kernels run on.

use super::simd::{Kernel, Plain, Simd};
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};

/// A set of instructions that this processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512<false>),
    /// AVX-512 with products of bf16.
    #[cfg(target_arch = "x86_64")]
    Bf16(Avx512<true>),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    Plain,
}

impl Isa {
    /// Instructions whose products are of bf16.
    ///
    /// # Errors
    /// When this processor has none, or is slower by them.
    pub(crate) fn bf16() -> Result<Self, &'static str> {
        #[cfg(target_arch = "x86_64")]
        return Avx512::detect_bf16().map(Self::Bf16);
        #[cfg(not(target_arch = "x86_64"))]
        Err("only x86-64 processors are supported")
    }

    /// All sets of f32 that this processor has, the fastest first.
    pub(crate) fn all() -> Vec<Self> {
        let mut sets = vec![];
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(Avx512::detect().map(Self::Avx512));
            sets.extend(Avx2::detect().map(Self::Avx2));
        }
        sets.push(Self::Plain);
        sets
    }

    /// Runs `kernel` on these instructions.
    pub(crate) fn run(self, kernel: impl Kernel) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) => simd.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Bf16(simd) => simd.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => simd.run(kernel),
            Self::Plain => Plain.run(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::lanes::{LANES, Lanes};

    /// Results of every method on some numbers.
    struct All<'a>(&'a mut Vec<Lanes>);

    impl Kernel for All<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let numbers = |seed: f32| -> Lanes { std::array::from_fn(|i| (seed * (i as f32 + 1.0)).sin()) };
            let [a, b, c] = [1.0, 2.0, 3.0].map(|seed| s.load(&numbers(seed)));
            let bytes = std::array::from_fn(|i| (17 * i) as u8);
            let mut out = vec![s.add(a, b), s.sub(a, b), s.mul(a, b), s.relu(a), s.where_positive(a, b)];
            out.push(s.inv_sqrt(s.mul(a, a)));
            out.extend([s.splat(0.5), s.of_bytes(&bytes), s.splat(s.sum(a)), s.zero()]);
            // A product that is exact, so that one rounding and two are the same.
            out.push(s.mul_add(s.splat(0.5), b, c));
            out.extend(s.transpose(std::array::from_fn(|j| s.load(&std::array::from_fn(|i| (16 * i + j) as f32)))));
            let mut rows = [s.zero(); LANES];
            for (j, row) in rows.iter_mut().enumerate() {
                *row = s.load(&numbers(4.0 + j as f32));
            }
            out.push(s.sums(rows));
            // Pairs as numbers of their bits, and products that are exact.
            let small = s.load(&std::array::from_fn(|i| i as f32 - 7.0));
            out.extend([s.pair_neighbours([a, b]), s.pair_lanes(a, b)]);
            out.push(s.mul_add_pairs(s.pair_lanes(small, s.splat(3.0)), s.pair_neighbours([small, small]), small));
            // Numbers whose maximum with 0 depends on the instruction and on the order of its operands.
            let special = [f32::NAN, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, -1.0];
            let special = s.load(&std::array::from_fn(|i| special[i % special.len()]));
            out.extend([s.relu(special), s.where_positive(special, b)]);
            let (mut places, mut values, mut lanes) = ([0; LANES], [0.0; LANES], [0.0; LANES]);
            s.store(special, &mut lanes);
            let n = s.collect_positive(&lanes, 7, &mut places, &mut values);
            values[n..].fill(0.0);
            places[n..].fill(0);
            out.extend([values, places.map(|place| place as f32)].map(|lanes| s.load(&lanes)));
            self.0.extend(out.into_iter().map(|v| {
                let mut lanes = [0.0; LANES];
                s.store(v, &mut lanes);
                lanes
            }));
        }
    }

    #[test]
    fn every_set_of_instructions_computes_the_same() {
        let results = Isa::bf16().into_iter().chain(Isa::all()).map(|isa| {
            let mut results = vec![];
            isa.run(All(&mut results));
            (isa, results)
        });
        let results: Vec<_> = results.collect();
        let (_, plain) = results.last().expect("at least one set");
        assert_eq!(plain[12][0], 16.0, "the second row was the second column");
        let [rectified, passed, values, places] = plain.last_chunk().expect("four results");
        assert!(rectified[0].is_nan() && rectified[1..6] == [0.0, 0.0, f32::INFINITY, 0.0, 0.0]);
        assert!(passed[0] != 0.0 && passed[1..3] == [0.0; 2] && passed[3] != 0.0 && passed[4..6] == [0.0; 2]);
        // NaN, infinity, NaN, ... are lanes 0, 3, 6, ...
        assert!(values[0].is_nan() && values[1] == f32::INFINITY && values[6..] == [0.0; 10]);
        assert_eq!(places[..7], [7.0, 10.0, 13.0, 16.0, 19.0, 22.0, 0.0]);
        for (isa, ours) in &results {
            let bits = |results: &[Lanes]| results.as_flattened().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(ours), bits(plain), "{isa:?}");
        }
    }
}
