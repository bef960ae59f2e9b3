//! Sixteen numbers side by side, the unit in which kernels compute.
//!
//! Sixteen `f32` fill a register of AVX-512, two of AVX2, four of the baseline; plain loops over [`LANES`] elements
//! compile to those instructions. Sums run lane by lane and add the lanes up in a fixed order, most of them in that of
//! [`sum`]: one machine gives the same bits every time.

/// Elements side by side.
pub const LANES: usize = 16;

/// Sixteen numbers side by side.
pub type Lanes = [f32; LANES];

/// The sum of all lanes, by halves: 8, 4, 2, 1.
#[inline(always)]
pub fn sum(lanes: &Lanes) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// max(x, 0). NaN stays NaN, so that the loss shows it; `f32::max` would make it 0. −0 stays −0.
#[inline(always)]
pub(super) fn relu(x: f32) -> f32 {
    // One instruction of x86, which gives its second operand where the first is not larger.
    if 0.0 > x { 0.0 } else { x }
}

/// The elements of a slice of fewer than sixteen, padded with `rest`.
#[inline(always)]
pub fn padded(tail: &[f32], rest: f32) -> Lanes {
    let mut lanes = [rest; LANES];
    lanes[..tail.len()].copy_from_slice(tail);
    lanes
}

/// The whole groups of lanes in a slice.
#[inline(always)]
pub(super) fn lanes(row: &[f32]) -> impl Iterator<Item = &Lanes> {
    row.as_chunks().0.iter()
}

/// eˣ with a relative error below 2e-7 for x in −87..=88; outside, the value at the nearer end. NaN stays NaN.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2, and eʳ by its series up to r⁷. Unlike the standard library's, it is inlined and
/// made of products and sums alone, so that a loop over lanes stays in vector registers.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Between these, 2ⁿ is a normal number.
    const RANGE: [f32; 2] = [-87.0, 88.0];
    /// 1.5 · 2²³: added to a small number, it leaves that number's nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which n times the first is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Comparisons instead of `clamp`, so that NaN passes.
    let x = if x < RANGE[0] { RANGE[0] } else { x };
    let x = if x > RANGE[1] { RANGE[1] } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    let series = series * r * r + r + 1.0;
    // The float whose exponent bits are n + 127 is 2ⁿ.
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    series * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_counts_each_lane_once() {
        let lanes: Lanes = std::array::from_fn(|i| (1 << i) as f32);
        assert_eq!(sum(&lanes), 65_535.0);
    }

    #[test]
    fn a_rectifier_keeps_nan() {
        assert_eq!([-1.0, 0.0, 2.5, f32::NEG_INFINITY].map(relu), [0.0, 0.0, 2.5, 0.0]);
        assert!(relu(f32::NAN).is_nan());
    }

    #[test]
    fn exp_is_that_of_double_precision() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.0;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 2e-7, "exp({x}) is {} not {expected}", exp(x));
        }
        assert_eq!((exp(-1e9), exp(1e9)), (exp(-87.0), exp(88.0)));
        assert!(exp(f32::NAN).is_nan());
    }
}
