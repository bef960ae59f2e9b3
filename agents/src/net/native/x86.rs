//! [`Simd`] in the instructions of x86-64 processors.
//!
//! Where an operand is NaN, these instructions' maximum is the second one. Rectifiers pass 0 first, so that NaN stays.

use super::simd::{self, Kernel, Simd};
use crate::net::lanes::{LANES, Lanes};
#[allow(clippy::wildcard_imports, reason = "three dozen instructions")]
use std::arch::x86_64::*;

/// AVX-512 with its byte, double-word and vector-length extensions. With `ROUNDS` products are of bf16.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512<const ROUNDS: bool>(());

/// AVX2 with FMA: two registers for sixteen lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx512<true> {
    pub(super) fn detect_bf16() -> Result<Self, &'static str> {
        if Avx512::<false>::detect().is_none() || !is_x86_feature_detected!("avx512bf16") {
            return Err("this processor has no dot products of bf16 (AVX512-BF16)");
        }
        // Measured on Emerald Rapids: 1.6 billion of 32 products a second beside 6.5 billion of 16 of f32.
        #[allow(unused_unsafe, reason = "in Rust 1.89 the call is unsafe, later it is not")]
        // SAFETY: a processor with AVX-512 has the instruction.
        let vendor = unsafe { __cpuid(0) };
        match [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() {
            b"GenuineIntel" => Err("on Intel's processors dot products of bf16 are slower than those of f32"),
            _ => Ok(Self(())),
        }
    }
}

impl Avx512<false> {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("popcnt");
        has.then_some(Self(()))
    }
}

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }
}

/// A method whose body is one or two instructions.
macro_rules! instructions {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty { $body:expr })*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $out {
            // SAFETY: `self` is only made where the processor has the instructions. A reference to sixteen elements
            // may be read, or written where it is mutable, at any of them, and no alignment is asked for.
            unsafe { $body }
        }
    )*};
}

impl<const ROUNDS: bool> Simd for Avx512<ROUNDS> {
    type V = __m512;
    // 24 sums, 4 columns of the second factor and a number of the first: 29 of 32 registers.
    const TILE: [usize; 2] = [6, 4];
    const GROUPS: usize = 8;

    fn run(self, kernel: impl Kernel) {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt")]
        fn run(simd: Avx512<false>, kernel: impl Kernel) {
            kernel.run(simd);
        }
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512bf16")]
        fn run_rounding(simd: Avx512<true>, kernel: impl Kernel) {
            kernel.run(simd);
        }
        // SAFETY: `self` is only made where the processor has these instructions.
        unsafe {
            match ROUNDS {
                true => run_rounding(Avx512(()), kernel),
                false => run(Avx512(()), kernel),
            }
        }
    }

    const ROUNDS: bool = ROUNDS;

    #[inline(always)]
    fn collect_positive(self, x: &Lanes, first: u32, places: &mut [u32; LANES], values: &mut Lanes) -> usize {
        // SAFETY: `self` is only made where the processor has the instructions.
        unsafe { collect512(self.load(x), first, places, values) }
    }

    #[inline(always)]
    fn prefetch<T>(self, at: &T) {
        // SAFETY: every processor of this architecture has the instruction, which changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(at).cast()) }
    }

    instructions! {
        fn load(from: &Lanes) -> __m512 { _mm512_loadu_ps(from.as_ptr()) }
        fn store(v: __m512, to: &mut Lanes) -> () { _mm512_storeu_ps(to.as_mut_ptr(), v) }
        fn splat(x: f32) -> __m512 { _mm512_set1_ps(x) }
        fn add(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        fn sub(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
        fn mul(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
        fn inv_sqrt(x: __m512) -> __m512 { _mm512_div_ps(_mm512_set1_ps(1.0), _mm512_sqrt_ps(x)) }
        fn relu(x: __m512) -> __m512 { _mm512_max_ps(_mm512_setzero_ps(), x) }
        fn where_positive(x: __m512, v: __m512) -> __m512 {
            _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(x, _mm512_setzero_ps()), v)
        }
        fn of_bytes(bytes: &[u8; LANES]) -> __m512 {
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())))
        }
        fn quads_apart(a: &[u8; 64], b: &[u8; 64]) -> u32 {{
            let (a, b) = (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()));
            u32::from(_mm512_cmpneq_epi32_mask(a, b))
        }}
        fn transpose(rows: [__m512; LANES]) -> [__m512; LANES] { transpose512(rows) }
    }

    #[inline(always)]
    fn pair_neighbours(self, v: [__m512; 2]) -> __m512 {
        // SAFETY: with `ROUNDS`, `self` is only made where the processor has the instructions.
        if ROUNDS { unsafe { pair_neighbours(v) } } else { simd::pair_neighbours(self, v) }
    }

    #[inline(always)]
    fn pair_lanes(self, low: __m512, high: __m512) -> __m512 {
        // SAFETY: as in `pair_neighbours`.
        if ROUNDS { unsafe { pair_lanes(low, high) } } else { simd::pair_lanes(self, low, high) }
    }

    #[inline(always)]
    fn mul_add_pairs(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as in `pair_neighbours`.
        if ROUNDS { unsafe { mul_add_pairs(a, b, c) } } else { simd::mul_add_pairs(self, a, b, c) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pair_neighbours([first, second]: [__m512; 2]) -> __m512 {
    bits(_mm512_cvtne2ps_pbh(second, first))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pair_lanes(low: __m512, high: __m512) -> __m512 {
    // Lane i of both halves.
    const PLACES: [u16; 32] = {
        let mut places = [0; 32];
        let mut i = 0;
        while i < 32 {
            places[i] = (i / 2 + i % 2 * 16) as u16;
            i += 1;
        }
        places
    };
    // SAFETY: 32 numbers of two bytes are a register, and no alignment is asked for.
    let places = unsafe { _mm512_loadu_si512(PLACES.as_ptr().cast()) };
    let halves = _mm512_castps_si512(pair_neighbours([low, high]));
    _mm512_castsi512_ps(_mm512_permutexvar_epi16(places, halves))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn mul_add_pairs(a: __m512, b: __m512, c: __m512) -> __m512 {
    // SAFETY: all three types are registers of 512 bits.
    unsafe {
        _mm512_dpbf16_ps(c, std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b))
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn bits(v: __m512bh) -> __m512 {
    // SAFETY: both types are registers of 512 bits.
    unsafe { std::mem::transmute(v) }
}

/// [`Simd::collect_positive`]. A store that compresses takes many times as long on Zen 4 as a whole one.
#[inline]
#[target_feature(enable = "avx512f,popcnt")]
fn collect512(x: __m512, first: u32, places: &mut [u32; LANES], values: &mut Lanes) -> usize {
    let is_positive = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(x, _mm512_setzero_ps());
    let numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let numbers = _mm512_add_epi32(numbers, _mm512_set1_epi32(first as i32));
    // SAFETY: both arrays are as long as a register, and no alignment is asked for.
    unsafe {
        _mm512_storeu_epi32(places.as_mut_ptr().cast(), _mm512_maskz_compress_epi32(is_positive, numbers));
        _mm512_storeu_ps(values.as_mut_ptr(), _mm512_maskz_compress_ps(is_positive, x));
    }
    is_positive.count_ones() as usize
}

/// By pairs of numbers, pairs of pairs, and twice by quarters of a register.
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(clippy::large_types_passed_by_value, reason = "inlined: they are registers")]
fn transpose512(r: [__m512; LANES]) -> [__m512; LANES] {
    let mut a = r;
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    let mut b = a;
    for i in 0..4 {
        let (w, x) = (_mm512_castps_pd(a[4 * i]), _mm512_castps_pd(a[4 * i + 1]));
        let (y, z) = (_mm512_castps_pd(a[4 * i + 2]), _mm512_castps_pd(a[4 * i + 3]));
        b[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(w, y));
        b[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(w, y));
        b[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, z));
        b[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, z));
    }
    for i in 0..4 {
        a[i] = _mm512_shuffle_f32x4::<0x88>(b[i], b[4 + i]);
        a[4 + i] = _mm512_shuffle_f32x4::<0xdd>(b[i], b[4 + i]);
        a[8 + i] = _mm512_shuffle_f32x4::<0x88>(b[8 + i], b[12 + i]);
        a[12 + i] = _mm512_shuffle_f32x4::<0xdd>(b[8 + i], b[12 + i]);
    }
    for i in 0..4 {
        b[i] = _mm512_shuffle_f32x4::<0x88>(a[i], a[8 + i]);
        b[4 + i] = _mm512_shuffle_f32x4::<0x88>(a[4 + i], a[12 + i]);
        b[8 + i] = _mm512_shuffle_f32x4::<0xdd>(a[i], a[8 + i]);
        b[12 + i] = _mm512_shuffle_f32x4::<0xdd>(a[4 + i], a[12 + i]);
    }
    b
}

type Halves = [__m256; 2];

/// Lanes of eight that are set in a mask, one behind the other, by mask.
const SET_LANES: [[u8; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut mask = 0;
    while mask < table.len() {
        let (mut lane, mut n) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][n] = lane;
                n += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// [`Simd::collect_positive`] by halves. All eight lanes of a half are written: the second half begins at most at lane
/// eight.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn collect256(x: Halves, first: u32, places: &mut [u32; LANES], values: &mut Lanes) -> usize {
    let mut n = 0;
    for (half, x) in x.into_iter().enumerate() {
        let is_positive = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(x, _mm256_setzero_ps())) as usize;
        let offset = _mm256_set1_epi32(first as i32 + 8 * half as i32);
        // SAFETY: eight bytes are read of a row of eight. Both arrays have sixteen elements, of which eight are written
        // from `n` on, and `n` is at most eight. No alignment is asked for.
        unsafe {
            let lanes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(SET_LANES[is_positive].as_ptr().cast()));
            _mm256_storeu_ps(values.as_mut_ptr().add(n), _mm256_permutevar8x32_ps(x, lanes));
            _mm256_storeu_si256(places.as_mut_ptr().add(n).cast(), _mm256_add_epi32(lanes, offset));
        }
        n += is_positive.count_ones() as usize;
    }
    n
}

impl Simd for Avx2 {
    type V = Halves;
    // 12 sums, 2 halves of a column and a number: 15 of 16 registers.
    const TILE: [usize; 2] = [6, 1];
    const GROUPS: usize = 4;

    fn run(self, kernel: impl Kernel) {
        #[inline(never)]
        #[target_feature(enable = "avx2,fma")]
        fn run(simd: Avx2, kernel: impl Kernel) {
            kernel.run(simd);
        }
        // SAFETY: `self` is only made where the processor has these instructions.
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn collect_positive(self, x: &Lanes, first: u32, places: &mut [u32; LANES], values: &mut Lanes) -> usize {
        // SAFETY: `self` is only made where the processor has the instructions.
        unsafe { collect256(self.load(x), first, places, values) }
    }

    #[inline(always)]
    fn prefetch<T>(self, at: &T) {
        // SAFETY: every processor of this architecture has the instruction, which changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(at).cast()) }
    }

    instructions! {
        fn load(from: &Lanes) -> Halves {
            [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))]
        }
        fn store(v: Halves, to: &mut Lanes) -> () {{
            _mm256_storeu_ps(to.as_mut_ptr(), v[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), v[1]);
        }}
        fn splat(x: f32) -> Halves { [_mm256_set1_ps(x); 2] }
        fn add(a: Halves, b: Halves) -> Halves { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        fn sub(a: Halves, b: Halves) -> Halves { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        fn mul(a: Halves, b: Halves) -> Halves { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        fn mul_add(a: Halves, b: Halves, c: Halves) -> Halves {
            [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])]
        }
        fn inv_sqrt(x: Halves) -> Halves {{
            let one = _mm256_set1_ps(1.0);
            [_mm256_div_ps(one, _mm256_sqrt_ps(x[0])), _mm256_div_ps(one, _mm256_sqrt_ps(x[1]))]
        }}
        fn relu(x: Halves) -> Halves {
            [_mm256_max_ps(_mm256_setzero_ps(), x[0]), _mm256_max_ps(_mm256_setzero_ps(), x[1])]
        }
        fn where_positive(x: Halves, v: Halves) -> Halves {{
            let zero = _mm256_setzero_ps();
            [
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(x[0], zero), v[0]),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(x[1], zero), v[1]),
            ]
        }}
        fn of_bytes(bytes: &[u8; LANES]) -> Halves {{
            let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes))),
            ]
        }}
        fn quads_apart(a: &[u8; 64], b: &[u8; 64]) -> u32 {{
            let (a, b) = (a.as_ptr(), b.as_ptr());
            let first = _mm256_cmpeq_epi32(_mm256_loadu_si256(a.cast()), _mm256_loadu_si256(b.cast()));
            let (a, b) = (_mm256_loadu_si256(a.add(32).cast()), _mm256_loadu_si256(b.add(32).cast()));
            let second = _mm256_cmpeq_epi32(a, b);
            let first = !_mm256_movemask_ps(_mm256_castsi256_ps(first)) as u32 & 0xff;
            let second = !_mm256_movemask_ps(_mm256_castsi256_ps(second)) as u32 & 0xff;
            first | second << 8
        }}
        fn transpose(rows: [Halves; LANES]) -> [Halves; LANES] { transpose256(rows) }
        fn sums(rows: [Halves; LANES]) -> Halves { sums256(rows) }
    }
}

/// [`Simd::sums`], with half the instructions of a transposition.
#[inline]
#[target_feature(enable = "avx2")]
#[allow(clippy::large_types_passed_by_value, reason = "inlined: they are registers")]
fn sums256(rows: [Halves; LANES]) -> Halves {
    let mut out = rows[0];
    for (half, out) in out.iter_mut().enumerate() {
        let mut eight = [_mm256_setzero_ps(); 8];
        for (i, sum) in eight.iter_mut().enumerate() {
            let [low, high] = rows[8 * half + i];
            *sum = _mm256_add_ps(low, high);
        }
        // Rows i and i + 4: four lanes each.
        let mut four = [_mm256_setzero_ps(); 4];
        for (i, sum) in four.iter_mut().enumerate() {
            let (a, b) = (eight[i], eight[i + 4]);
            *sum = _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
        }
        let mut two = [_mm256_setzero_ps(); 2];
        for (i, sum) in two.iter_mut().enumerate() {
            let (a, b) = (four[2 * i], four[2 * i + 1]);
            *sum = _mm256_add_ps(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b));
        }
        let [a, b] = two;
        *out = _mm256_add_ps(_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xdd>(a, b));
    }
    out
}

/// By quadrants of eight numbers.
#[inline]
#[target_feature(enable = "avx2")]
#[allow(clippy::large_types_passed_by_value, reason = "inlined: they are registers")]
fn transpose256(rows: [Halves; LANES]) -> [Halves; LANES] {
    let mut out = rows;
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut r = [_mm256_setzero_ps(); 8];
        for (k, r) in r.iter_mut().enumerate() {
            *r = rows[8 * i + k][j];
        }
        for (k, r) in eight(r).into_iter().enumerate() {
            out[8 * j + k][i] = r;
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx2")]
fn eight(r: [__m256; 8]) -> [__m256; 8] {
    let mut a = r;
    for i in 0..4 {
        a[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    let mut b = a;
    for i in 0..2 {
        let [w, x, y, z] = [a[4 * i], a[4 * i + 1], a[4 * i + 2], a[4 * i + 3]];
        b[4 * i] = _mm256_shuffle_ps::<0x44>(w, y);
        b[4 * i + 1] = _mm256_shuffle_ps::<0xee>(w, y);
        b[4 * i + 2] = _mm256_shuffle_ps::<0x44>(x, z);
        b[4 * i + 3] = _mm256_shuffle_ps::<0xee>(x, z);
    }
    for i in 0..4 {
        a[i] = _mm256_permute2f128_ps::<0x20>(b[i], b[4 + i]);
        a[4 + i] = _mm256_permute2f128_ps::<0x31>(b[i], b[4 + i]);
    }
    a
}
