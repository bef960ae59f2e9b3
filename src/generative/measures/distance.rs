//! Fréchet distance and kernel distance between two sets of features `[n, d]`.

use crate::statistics;
use tch::{Kind, Tensor};

/// Returns the Fréchet distance between Gaussians with the means and covariances of `a` and of `b`, float `[n, d]`:
/// |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½). Heusel et al. 2017, section 4 ("FID", on features of Inception).
///
/// The estimate falls with the number of features, even for sets of one distribution. So compare equal numbers, and
/// report a distance between real sets beside it.
///
/// # Panics
/// With fewer than two features in a set.
pub(crate) fn frechet(a: &Tensor, b: &Tensor) -> f64 {
    let ((mean_a, cov_a), (mean_b, cov_b)) = (moments(a), moments(b));
    let between_means = (mean_a - mean_b).square().sum(Kind::Double);
    // tr (Σ_a Σ_b)^½ is the sum of the roots of the eigenvalues of Σ_a^½ Σ_b Σ_a^½, which is symmetric.
    let (values, vectors) = cov_a.linalg_eigh("L");
    let root_a = (&vectors * values.clamp_min(0.0).sqrt()).matmul(&vectors.tr());
    let product = root_a.matmul(&cov_b).matmul(&root_a);
    let root_trace = product.linalg_eigvalsh("L").clamp_min(0.0).sqrt().sum(Kind::Double);
    (between_means + cov_a.trace() + cov_b.trace() - root_trace * 2.0).double_value(&[])
}

/// Returns mean `[d]` and covariance `[d, d]`, in double precision.
fn moments(features: &Tensor) -> (Tensor, Tensor) {
    let n = features.size()[0];
    assert!(n > 1, "a covariance is of two features or more");
    let x = features.to_kind(Kind::Double);
    let mean = x.mean_dim(0, false, Kind::Double);
    let centred = x - &mean;
    (mean, centred.tr().matmul(&centred) / (n - 1) as f64)
}

/// A mean over blocks and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
}

/// Returns the kernel distance between `a` and `b`, float `[n, d]`: the unbiased estimate of the squared maximum mean
/// discrepancy with kernel k(x, y) = (xᵀy / d + 1)³, as a mean over blocks of `block` features. Bińkowski et al. 2018,
/// section 4 ("KID").
///
/// For sets of one distribution it is about 0, positive or negative, whatever their size. Each block is spread over its
/// whole set, since a set may be ordered, as the test images of MNIST are. Features that do not fill a block are
/// ignored. With one block the error is NaN.
///
/// # Panics
/// When `block` is below 2, or a set has fewer features than `block`.
pub(crate) fn kernel(a: &Tensor, b: &Tensor, block: i64) -> Estimate {
    let n_blocks = a.size()[0].min(b.size()[0]) / block.max(1);
    assert!(block > 1 && n_blocks > 0, "a block of two features or more, and as many features");
    let spread = |x: &Tensor, idx: i64| x.slice(0, idx, None, x.size()[0] / block).narrow(0, 0, block);
    let of_block = |idx| discrepancy(&spread(a, idx), &spread(b, idx));
    let values: Vec<f64> = (0..n_blocks).map(of_block).collect();
    let n = n_blocks as f64;
    let mean = statistics::mean(&values);
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Estimate { mean, error: (variance / n).sqrt() }
}

/// Returns Σ_{i≠j} [k(a_i, a_j) + k(b_i, b_j)] / n(n−1) − 2 Σ_{ij} k(a_i, b_j) / n².
fn discrepancy(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let (n, d) = (a.size()[0] as f64, a.size()[1] as f64);
    let k = |x: &Tensor, y: &Tensor| (x.matmul(&y.tr()) / d + 1.0).pow_tensor_scalar(3);
    let within = |x: &Tensor| {
        let gram = k(x, x);
        (gram.sum(Kind::Double) - gram.trace()) / (n * (n - 1.0))
    };
    let between = k(&a, &b).mean(Kind::Double);
    (within(&a) + within(&b) - between * 2.0).double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::model::seeded;

    fn rows(values: &[[f64; 2]]) -> Tensor {
        Tensor::from_slice(values.as_flattened()).view([-1, 2])
    }

    /// Four features with mean `at` and covariance diag(`variances`).
    fn cross(at: [f64; 2], variances: [f64; 2]) -> Tensor {
        let [x, y] = variances.map(|variance| (1.5 * variance).sqrt());
        rows(&[[x, 0.0], [-x, 0.0], [0.0, y], [0.0, -y]]) + Tensor::from_slice(&at)
    }

    #[test]
    fn frechet_of_axis_parallel_gaussians_is_the_closed_form() {
        // |(3, 4)|² + (√4 − √1)² + (√9 − √1)²
        let found = frechet(&cross([0.0, 0.0], [4.0, 9.0]), &cross([3.0, 4.0], [1.0, 1.0]));
        assert!((found - 30.0).abs() < 1e-9, "{found}");
    }

    #[test]
    fn frechet_of_turned_gaussians_is_numpys() {
        let a = rows(&[[0.0, 1.0], [2.0, 1.0], [1.0, 3.0], [4.0, 0.0], [3.0, 3.0]]);
        let b = rows(&[[1.0, 0.0], [0.0, 2.0], [2.0, 2.0], [3.0, 5.0]]);
        let found = frechet(&a, &b);
        assert!((found - FRECHET_BY_NUMPY).abs() < 1e-9, "{found}");
        assert!(frechet(&a, &a).abs() < 1e-9);
    }

    #[test]
    fn kernel_distance_is_the_sum_written_out() {
        let (a, b) = (rows(&[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), rows(&[[0.0, 1.0], [2.0, 2.0], [1.0, 3.0]]));
        let found = kernel(&a, &b, 3).mean;
        assert!((found - KERNEL_BY_NUMPY).abs() < 1e-9, "{found}");
        // Two blocks of every second feature: the mean of the two, and half their difference as error.
        let in_turns = |x: &Tensor, y: &Tensor| Tensor::stack(&[x, y], 1).view([-1, 2]);
        let (aa, bb) = (in_turns(&a, &a), in_turns(&b, &a));
        let (both, second) = (kernel(&aa, &bb, 3), kernel(&a, &a, 3).mean);
        assert!((both.mean - f64::midpoint(found, second)).abs() < 1e-9);
        assert!((both.error - (found - second).abs() / 2.0).abs() < 1e-9);
    }

    #[test]
    fn real_against_real_is_about_nothing_and_a_shift_is_seen() {
        let _torch = seeded(0);
        let normal = || Tensor::randn([500, 8], (Kind::Float, tch::Device::Cpu));
        let (a, b) = (normal(), normal());
        let far = &b + 1.0;
        assert!(frechet(&a, &b) < 0.3 && (frechet(&a, &far) - 8.0).abs() < 1.0);
        let (near, away) = (kernel(&a, &b, 100), kernel(&a, &far, 100));
        assert!(near.mean.abs() < 4.0 * near.error && away.mean > 10.0 * away.error, "{near:?} {away:?}");
    }

    #[test]
    fn the_order_of_a_set_has_no_distance() {
        let _torch = seeded(0);
        let near = || Tensor::randn([250, 8], (Kind::Float, tch::Device::Cpu));
        let far = || near() + 3.0;
        let found = kernel(&Tensor::cat(&[near(), far()], 0), &Tensor::cat(&[far(), near()], 0), 50).mean;
        let apart = kernel(&near(), &far(), 50).mean;
        assert!(found.abs() < 0.05 * apart, "{found}, and the clusters are {apart} apart");
    }

    /// With Σ of `np.cov`, and tr (Σ_a Σ_b)^½ the sum of the roots of `np.linalg.eigvals(Σ_a @ Σ_b)`.
    const FRECHET_BY_NUMPY: f64 = 2.418_495_766_235_111;
    /// Three loops over pairs of features, `((x @ y) / 2 + 1)**3`.
    const KERNEL_BY_NUMPY: f64 = 16.166_666_666_666_664;
}
