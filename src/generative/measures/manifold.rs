//! Precision and recall: the share of generated images that look real, and the share of real images that are generated.

use tch::{Kind, Tensor};

/// Bounds the rows of a matrix of distances in memory.
const ROWS_AT_ONCE: i64 = 1000;

/// Precision and recall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PrecisionRecall {
    /// Share of generated features that the real ones cover.
    pub precision: f64,
    /// Share of real features that the generated ones cover.
    pub recall: f64,
}

/// Returns improved precision and recall of features `generated` against `real`, float `[n, d]`. A feature is covered
/// by the other set if it is in a sphere around one of its features that reaches to that feature's `k`-th nearest
/// neighbour in the same set. Kynkäänniemi et al. 2019, equations 1 and 2 (with k = 3, on 50,000 features of a VGG-16).
///
/// # Panics
/// When a set has `k` features or fewer.
pub(crate) fn precision_recall(real: &Tensor, generated: &Tensor, k: i64) -> PrecisionRecall {
    PrecisionRecall { precision: covered(generated, real, k), recall: covered(real, generated, k) }
}

/// Returns the share of `x` in a sphere of `centres`.
fn covered(x: &Tensor, centres: &Tensor, k: i64) -> f64 {
    let n = centres.size()[0];
    assert!(k > 0 && n > k, "{n} features have no {k}-th nearest neighbours");
    let (x, centres) = (x.to_kind(Kind::Float), centres.to_kind(Kind::Float));
    // The nearest one is the feature itself.
    let radii: Vec<Tensor> = centres
        .split(ROWS_AT_ONCE, 0)
        .iter()
        .map(|rows| distances(rows, &centres).kthvalue(k + 1, 1, false).0)
        .collect();
    let radii = Tensor::cat(&radii, 0);
    let inside = |rows: &Tensor| distances(rows, &centres).le_tensor(&radii).any_dim(1, false);
    let inside: Vec<Tensor> = x.split(ROWS_AT_ONCE, 0).iter().map(inside).collect();
    Tensor::cat(&inside, 0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}

/// Returns Euclidean distances `[rows, columns]`.
fn distances(rows: &Tensor, columns: &Tensor) -> Tensor {
    Tensor::cdist(rows, columns, 2.0, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::model::seeded;
    use tch::Device;

    fn line(points: &[f64]) -> Tensor {
        Tensor::from_slice(points).view([-1, 1])
    }

    #[test]
    fn points_on_a_line_by_hand() {
        // With k = 1 the spheres of the real ones are [-1, 1], [0, 2], [1, 3], [7, 13] and [4, 10]: 3.5, 20 and 21 are
        // outside. Those of the generated are [-.5, 1.5], [1, 2], [1.5, 2.5], [2, 5], [19, 21] and [20, 22]: 10 and 7
        // are outside.
        let (real, generated) = (line(&[0.0, 1.0, 2.0, 10.0, 7.0]), line(&[0.5, 1.5, 2.0, 3.5, 20.0, 21.0]));
        let PrecisionRecall { precision, recall } = precision_recall(&real, &generated, 1);
        assert!((precision - 0.5).abs() < 1e-9 && (recall - 0.6).abs() < 1e-9, "{precision} {recall}");
    }

    #[test]
    fn one_mode_of_two_is_precise_and_half_recalled() {
        let _torch = seeded(0);
        let blob = |at: f64| Tensor::randn([200, 4], (Kind::Float, Device::Cpu)) + at;
        let real = Tensor::cat(&[blob(0.0), blob(100.0)], 0);
        let found = precision_recall(&real, &blob(0.0), 3);
        assert!(found.precision > 0.8, "{found:?}");
        assert!(found.recall > 0.4 && found.recall <= 0.5, "{found:?}");
        assert_eq!(precision_recall(&real, &real, 3), PrecisionRecall { precision: 1.0, recall: 1.0 });
    }
}
