//! Binary cross-entropy of logits: torch's operation, and one pass on the CPU that gives its gradient too.

use super::lanes::{LANES, Lanes, exp, padded};
use super::matrix::Matrix;
use super::tensor::{assert_apart, slice, slice_mut};
use multiversion::multiversion;
use tch::{Device, Kind, Tensor};

/// Binary cross-entropy of `logits` against `target` in 0..=1, per element: −t ln σ(l) − (1 − t) ln(1 − σ(l)).
pub fn bce(logits: &Tensor, target: &Tensor) -> Tensor {
    logits.binary_cross_entropy_with_logits::<Tensor>(target, None, None, tch::Reduction::None)
}

/// The sum over all elements of the binary cross-entropy of `logits` l against `target` t in 0..=1, and its gradient
/// σ(l) − t, both times `scale`.
///
/// # Panics
/// When `logits` and `target` differ in shape.
pub fn bce_with_gradient(logits: &Tensor, target: &Tensor, scale: f64) -> (f64, Tensor) {
    assert_eq!(logits.size(), target.size(), "shapes of logits and target");
    let _no_grad = tch::no_grad_guard();
    if logits.numel() == 0 {
        return (0.0, logits.zeros_like());
    }
    if logits.device() != Device::Cpu {
        let loss = bce(logits, target).sum(Kind::Float).double_value(&[]);
        return (loss * scale, (logits.sigmoid() - target) * scale);
    }
    let (mut grad, target) = (Matrix::copy_of(logits), target.contiguous());
    let mut sum = [0.0];
    // SAFETY: only the pass runs while the slice lives, and it writes to the matrix, which is a copy.
    logistic(grad.as_mut_slice(), unsafe { slice(&target) }, scale as f32, &mut sum);
    (sum[0] * scale, grad.into_tensor().view_as(logits))
}

/// Sums the binary cross-entropy over each row: doubles `[k, B]` for `logits [k, B, n]`, whose memory is overwritten,
/// and `target [B, n]`.
///
/// # Panics
/// When `target` is of another shape.
#[allow(clippy::needless_pass_by_value, reason = "the logits are overwritten")]
pub fn bce_rows(logits: Tensor, target: &Tensor) -> Tensor {
    let size = logits.size();
    assert_eq!(size[1..], target.size()[..], "shapes of each row of logits and of the target");
    let _no_grad = tch::no_grad_guard();
    if logits.numel() == 0 {
        return Tensor::zeros(&size[..2], (Kind::Double, logits.device()));
    }
    if logits.device() != Device::Cpu {
        return bce(&logits, &target.expand_as(&logits)).sum_dim_intlist(-1, false, Kind::Double);
    }
    let mut sums = vec![0.0; (size[0] * size[1]) as usize];
    let (mut logits, target) = (logits.contiguous(), target.contiguous());
    assert_apart(&logits, &[&target]);
    // SAFETY: the two share no memory, and only the pass runs while the slices live.
    let (logits, target) = unsafe { (slice_mut(&mut logits), slice(&target)) };
    logistic(logits, target, 1.0, &mut sums);
    Tensor::from_slice(&sums).view(&size[..2])
}

/// Slopes below this are set to 0; in any sum, rounding loses them anyway. In a long fit the logits of pixels that are
/// never lit fall to -50 and below. Products with slopes that small are subnormal numbers, whose arithmetic is so slow
/// that a step took five times as long.
const SMALLEST_SLOPE: f32 = 1e-18;
/// Bounds the factors of a lane between two logarithms. A product of that many factors in 1..=2, and one over all lanes
/// in double precision, is far from overflow.
const MAX_FACTORS: usize = 32;

/// Sums max(l, 0) − l t + ln(1 + e^−|l|) over each row of logits, and replaces l by (σ(l) − t) `scale`. There are as
/// many rows as `sums`, equally long. A `target` of fewer rows is repeated.
///
/// Logarithms are slow, so one is taken of a product of up to 512 factors.
#[multiversion(targets("x86_64+avx512f+fma", "x86_64+avx2+fma"))]
fn logistic(logits: &mut [f32], target: &[f32], scale: f32, sums: &mut [f64]) {
    let width = logits.len() / sums.len();
    let targets = target.chunks_exact(width).cycle();
    for ((logits, target), sum) in logits.chunks_exact_mut(width).zip(targets).zip(sums) {
        *sum = logistic_row(logits, target, scale);
    }
}

#[inline(always)]
fn logistic_row(logits: &mut [f32], target: &[f32], scale: f32) -> f64 {
    let mut total = 0.0;
    for (logits, target) in logits.chunks_mut(LANES * MAX_FACTORS).zip(target.chunks(LANES * MAX_FACTORS)) {
        let (mut sums, mut products) = ([0.0; LANES], [1.0; LANES]);
        let (logits, last_logits) = logits.as_chunks_mut::<LANES>();
        let (target, last_target) = target.as_chunks::<LANES>();
        for (l, t) in logits.iter_mut().zip(target) {
            logistic_lanes(l, t, scale, &mut sums, &mut products);
        }
        if !last_logits.is_empty() {
            // Pads the last lanes with elements whose loss is 0.
            let mut l = padded(last_logits, -1e9);
            logistic_lanes(&mut l, &padded(last_target, 0.0), scale, &mut sums, &mut products);
            last_logits.copy_from_slice(&l[..last_logits.len()]);
        }
        total += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        total += products.iter().map(|&product| f64::from(product)).product::<f64>().ln();
    }
    total
}

#[inline(always)]
fn logistic_lanes(logits: &mut Lanes, target: &Lanes, scale: f32, sums: &mut Lanes, products: &mut Lanes) {
    for lane in 0..LANES {
        let (l, t) = (logits[lane], target[lane]);
        // The exponent is never positive, so that e is at most 1. σ(l) is 1 / (1 + e) for l ≥ 0, else e / (1 + e).
        let e = exp(-l.abs());
        let sigmoid = (if l < 0.0 { e } else { 1.0 }) / (1.0 + e);
        sums[lane] += (if l < 0.0 { 0.0 } else { l }) - l * t;
        products[lane] *= 1.0 + e;
        let slope = sigmoid - t;
        logits[lane] = if slope.abs() < SMALLEST_SLOPE { 0.0 } else { slope * scale };
    }
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
        let expected = bce(&leaf, &target).mean(Kind::Double);
        expected.backward();
        let expected = expected.double_value(&[]);
        assert!((loss / expected - 1.0).abs() < 1e-6, "{loss} instead of {expected}");
        let largest = ((grad - leaf.grad()).abs().max() * 1400.0).double_value(&[]);
        assert!(largest < 1e-6, "a gradient differs by {largest}");
    }

    #[test]
    fn each_row_has_its_sum() {
        let logits = Tensor::arange(3 * 2 * 700, (Kind::Float, Device::Cpu)).sin().view([3, 2, 700]) * 9.0;
        let target = Tensor::arange(2 * 700, (Kind::Float, Device::Cpu)).cos().abs().view([2, 700]);
        let expected = bce(&logits, &target.expand_as(&logits)).sum_dim_intlist(-1, false, Kind::Double);
        let sums = bce_rows(logits, &target);
        let largest = (sums / expected - 1.0).abs().max().double_value(&[]);
        assert!(largest < 1e-6, "a sum differs by {largest} of itself");
    }

    fn zeros(size: &[i64]) -> Tensor {
        Tensor::zeros(size, (Kind::Float, Device::Cpu))
    }

    #[test]
    fn nothing_has_no_loss() {
        let (loss, grad) = bce_with_gradient(&zeros(&[0, 7]), &zeros(&[0, 7]), 1.0);
        assert_eq!((loss, grad.size()), (0.0, vec![0, 7]));
        assert_eq!(bce_rows(zeros(&[3, 0, 7]), &zeros(&[0, 7])).size(), [3, 0]);
        assert_eq!(bce_rows(zeros(&[3, 2, 0]), &zeros(&[2, 0])), Tensor::zeros([3, 2], (Kind::Double, Device::Cpu)));
    }

    #[test]
    #[should_panic(expected = "shapes of logits and target")]
    fn a_target_of_another_shape_is_refused() {
        let _ = bce_with_gradient(&zeros(&[2, 3]), &zeros(&[3]), 1.0);
    }

    #[test]
    #[should_panic(expected = "shapes of each row of logits and of the target")]
    fn a_target_of_fewer_rows_is_refused() {
        let _ = bce_rows(zeros(&[4, 2, 3]), &zeros(&[1, 3]));
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
