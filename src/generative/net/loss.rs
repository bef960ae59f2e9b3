//! The logistic loss with its gradient, in one pass on the CPU.

use carom_agents::optim::{slice, slice_mut};
use multiversion::multiversion;
use tch::{Device, Kind, Tensor};

/// The sum over all elements of the binary cross-entropy of `logits` l against `target` t in 0..=1, and its gradient σ(l) − t,
/// both times `scale`.
pub fn bce_with_gradient(logits: &Tensor, target: &Tensor, scale: f64) -> (f64, Tensor) {
    let _no_grad = tch::no_grad_guard();
    if logits.device() != Device::Cpu {
        let loss = super::bce(logits, target).sum(Kind::Float).double_value(&[]);
        return (loss * scale, (logits.sigmoid() - target) * scale);
    }
    let mut grad = logits.copy().contiguous();
    let sum = logistic(slice_mut(&mut grad), slice(&target.contiguous()), scale as f32);
    (sum * scale, grad)
}

/// Elements between two logarithms: a product of as many factors in 1..=2 is far from overflow.
const FACTORS: usize = 32;
const LANES: usize = 16;

/// The sum of max(l, 0) − l t + ln(1 + e^−|l|), of which logits l become (σ(l) − t) `scale`.
///
/// Logarithms are taken of products, one for 32 factors.
#[multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn logistic(logits: &mut [f32], target: &[f32], scale: f32) -> f64 {
    let mut total = 0.0;
    for (logits, target) in logits.chunks_mut(LANES * FACTORS).zip(target.chunks(LANES * FACTORS)) {
        let (mut sums, mut products) = ([0.0; LANES], [1.0; LANES]);
        let (logits, last_logits) = logits.as_chunks_mut::<LANES>();
        let (target, last_target) = target.as_chunks::<LANES>();
        for (l, t) in logits.iter_mut().zip(target) {
            logistic_lanes(l, t, scale, &mut sums, &mut products);
        }
        if !last_logits.is_empty() {
            // Filled up with elements whose loss is 0.
            let (mut l, mut t) = ([-1e9; LANES], [0.0; LANES]);
            l[..last_logits.len()].copy_from_slice(last_logits);
            t[..last_target.len()].copy_from_slice(last_target);
            logistic_lanes(&mut l, &t, scale, &mut sums, &mut products);
            last_logits.copy_from_slice(&l[..last_logits.len()]);
        }
        let ends = sums.iter().zip(products).map(|(sum, product)| f64::from(*sum) + f64::from(product).ln());
        total += ends.sum::<f64>();
    }
    total
}

#[inline(always)]
fn logistic_lanes(
    logits: &mut [f32; LANES],
    target: &[f32; LANES],
    scale: f32,
    sums: &mut [f32; LANES],
    products: &mut [f32; LANES],
) {
    for lane in 0..LANES {
        let (l, t) = (logits[lane], target[lane]);
        let e = exp_of_negative(-l.abs());
        let sigmoid = (if l < 0.0 { e } else { 1.0 }) / (1.0 + e);
        sums[lane] += (if l < 0.0 { 0.0 } else { l }) - l * t;
        products[lane] *= 1.0 + e;
        logits[lane] = (sigmoid - t) * scale;
    }
}

/// eˣ for x ≤ 0, to 2e-7 of its value; below −87 as at −87.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2, and eʳ by its series up to r⁷.
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    /// 1.5 · 2²³: added to a small number, it leaves that number's nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which n times the first is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x < -87.0 { -87.0 } else { x };
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
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    series * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_gradient_are_torchs() {
        let logits: Vec<f32> = (-700..700).map(|i| 0.13 * i as f32).collect();
        let target: Vec<f32> = (0..1400).map(|i| (i % 11) as f32 / 10.0).collect();
        let (logits, target) = (Tensor::from_slice(&logits), Tensor::from_slice(&target));
        let (loss, grad) = bce_with_gradient(&logits, &target, 1.0 / 1400.0);
        let leaf = logits.set_requires_grad(true);
        let expected = super::super::bce(&leaf, &target).mean(Kind::Double);
        expected.backward();
        let expected = expected.double_value(&[]);
        assert!((loss / expected - 1.0).abs() < 1e-6, "{loss} instead of {expected}");
        let largest = ((grad - leaf.grad()).abs().max() * 1400.0).double_value(&[]);
        assert!(largest < 1e-6, "a gradient differs by {largest}");
    }

    #[test]
    fn what_is_not_finite_is_seen() {
        let target = Tensor::from_slice(&[0.5_f32]);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (loss, _) = bce_with_gradient(&Tensor::from_slice(&[bad]), &target, 1.0);
            assert!(!loss.is_finite(), "{bad} gives {loss}");
        }
    }
}
