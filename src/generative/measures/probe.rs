//! Probes of a code for labels that the model has not seen: a linear classifier, and a vote of the nearest neighbours.
//!
//! Both are fitted to codes and labels of the training split, and measured on the test split.

use crate::generative::images::{Data, Images};
use crate::generative::model::{Measures, Model};
use crate::generative::settings::Schedule;
use carom_agents::optim::{OptimConfig, Rule, TensorOptimizer};
use tch::{Kind, Tensor};

/// Bounds the training images that are encoded: all of MNIST.
const MAX_TRAIN: usize = 60_000;
const MAX_TEST: usize = 10_000;
/// Images encoded at a time.
const CHUNK: usize = 1000;

/// Passes of the linear probe over all codes. On the 32 principal components of MNIST its accuracy is then .9015; at
/// scikit-learn's optimum it is .9006.
const N_PASSES: u64 = 500;
/// Learning rate of the linear probe at its start; half a cosine brings it to 0.
const FIRST_LR: f64 = 0.1;

const N_NEIGHBOURS: i64 = 5;
/// Bounds the test codes whose distances to all training codes are in memory.
const TEST_ROWS_AT_ONCE: i64 = 250;

/// Codes and labels of one split.
#[derive(Debug)]
pub(crate) struct Codes {
    /// `[n, d]`
    pub codes: Tensor,
    /// `i64 [n]`
    pub labels: Tensor,
}

impl Codes {
    /// Encodes at most `most` of `images`, evenly spaced, by `model`. Returns `None` without labels.
    pub(crate) fn of(model: &dyn Model, images: &Images, most: usize) -> Option<Self> {
        let images = images.spaced(most);
        let labels = images.labels()?.shallow_clone();
        let chunks: Vec<Tensor> = images.chunks(CHUNK).map(|x| model.encode(&x)).collect();
        Some(Self { codes: Tensor::cat(&chunks, 0).flatten(1, -1), labels })
    }
}

/// Adds `test/probe_linear` and `test/probe_5nn`, accuracies in 0..=1, where the data have labels.
pub(crate) fn measure(model: &dyn Model, data: &Data, measures: &mut Measures) {
    let train = Codes::of(model, &data.train, MAX_TRAIN);
    let Some((train, test)) = train.zip(Codes::of(model, &data.test, MAX_TEST)) else { return };
    measures.add("test/probe_linear", linear_accuracy(&train, &test, data.n_classes));
    measures.add("test/probe_5nn", knn_accuracy(&train, &test, data.n_classes));
    let (n_train, n_test) = (train.labels.size()[0], test.labels.size()[0]);
    let sizes = format!("fitted to codes of {n_train} training images, tested on {n_test}");
    measures.note("probes", format!("{sizes}; logistic regression with L2 1/n, and 5 nearest neighbours"));
}

/// Returns the accuracy on `test` of a multinomial logistic regression fitted to `train`; see [`linear_predictions`].
pub(crate) fn linear_accuracy(train: &Codes, test: &Codes, n_classes: i64) -> f64 {
    let predicted = linear_predictions(&train.codes, &[(&train.labels, n_classes)], &test.codes);
    share_equal(&predicted[0], &test.labels)
}

/// Fits a multinomial logistic regression to codes `train`, `[n, d]`, for each target, which has labels (`i64 [n]`) and
/// a number of classes. Returns the predicted labels of codes `test`, `[m, d]`: `i64 [m]` for each target.
///
/// Codes are standardised by mean and deviation of the training codes. Adam minimises the mean cross-entropy plus |W|²
/// / (2 n), scikit-learn's objective at its default C = 1, on all codes at once from W = 0. Nothing is random. Targets
/// do not influence each other; they only share matrix products with the codes.
pub(crate) fn linear_predictions(train: &Tensor, targets: &[(&Tensor, i64)], test: &Tensor) -> Vec<Tensor> {
    let scale = Standard::of(train);
    // A column of ones for the bias.
    let with_ones = |codes: &Tensor| {
        let codes = scale.apply(codes);
        Tensor::cat(&[&codes, &codes.ones_like().narrow(1, 0, 1)], 1)
    };
    let (x, [n, d]) = (with_ones(train), [train.size()[0], train.size()[1]]);
    let widths: Vec<i64> = targets.iter().map(|&(_, n_classes)| n_classes).collect();
    let one_hot = |&(labels, n_classes): &(&Tensor, i64)| labels.one_hot(n_classes).to_kind(Kind::Float);
    let expected = Tensor::cat(&targets.iter().map(one_hot).collect::<Vec<_>>(), 1).tr();
    let n_scores: i64 = widths.iter().sum();
    // The classes are the rows: products with matrices of a few columns are several times as slow in MKL.
    let mut weights = x.new_zeros([n_scores * (d + 1)], (Kind::Float, x.device()));
    let mut optimizer = TensorOptimizer::new(OptimConfig::of(Rule::Adam), &weights);
    for pass in 0..N_PASSES {
        let w = weights.view([n_scores, d + 1]);
        let scores = w.matmul(&x.tr()).split_with_sizes(&widths[..], 0);
        let shares: Vec<Tensor> = scores.iter().map(|scores| scores.softmax(0, Kind::Float)).collect();
        let grads = (Tensor::cat(&shares, 0) - &expected).matmul(&x);
        // The bias has no penalty.
        let _ = grads.narrow(1, 0, d).g_add_(&w.narrow(1, 0, d));
        let lr = FIRST_LR * Schedule::Cosine.factor(pass as f64 / N_PASSES as f64);
        optimizer.step(&mut weights, &(grads / n as f64).flatten(0, -1), lr);
    }
    let scores = weights.view([n_scores, d + 1]).matmul(&with_ones(test).tr());
    scores.split_with_sizes(&widths[..], 0).iter().map(|scores| scores.argmax(0, false)).collect()
}

/// Returns the numbers that a ridge regression on codes predicts for codes `test`, `[m, d]`. It is fitted to codes
/// `train`, `[n, d]`, and their numbers `y`, `[n]`.
///
/// Codes are standardised by mean and deviation of the training codes. The penalty is |w|², scikit-learn's default
/// `alpha`.
pub(crate) fn ridge_predictions(train: &Tensor, y: &Tensor, test: &Tensor) -> Vec<f64> {
    let scale = Standard::of(train);
    let (x, y) = (scale.apply(train).to_kind(Kind::Double), y.to_kind(Kind::Double));
    let mean = y.mean(Kind::Double);
    let centred = (&y - &mean).unsqueeze(1);
    let [n, d] = [x.size()[0], x.size()[1]];
    let penalty = |size: i64| Tensor::eye(size, (Kind::Double, x.device()));
    // Of two systems with the same solution, solves the smaller.
    let solve = |system: Tensor, right: &Tensor| Tensor::linalg_solve(&system, right, true);
    let w = match d <= n {
        true => solve(x.tr().matmul(&x) + penalty(d), &x.tr().matmul(&centred)),
        false => x.tr().matmul(&solve(x.matmul(&x.tr()) + penalty(n), &centred)),
    };
    let predicted = scale.apply(test).to_kind(Kind::Double).matmul(&w).squeeze_dim(1) + mean;
    Vec::try_from(predicted).expect("a vector of doubles")
}

/// Standardises each number of a code to mean 0 and variance 1 over the training codes.
pub(crate) struct Standard {
    mean: Tensor,
    deviation: Tensor,
}

impl Standard {
    /// Returns the standard of codes `[n, d]`.
    pub(crate) fn of(codes: &Tensor) -> Self {
        let deviation = codes.std_dim(0, false, true);
        // What is dead in these codes is 0 in others, where it may be alive: no probe was fitted to it.
        let deviation = deviation.masked_fill(&deviation.lt(1e-6), f64::INFINITY);
        Self { mean: codes.mean_dim(0, true, Kind::Float), deviation }
    }

    /// Standardises codes `[n, d]`.
    pub(crate) fn apply(&self, codes: &Tensor) -> Tensor {
        (codes - &self.mean) / &self.deviation
    }
}

/// Returns the accuracy on `test` of the vote of the five nearest codes of `train` by Euclidean distance. Among equal
/// votes the lowest label wins, as in scikit-learn.
pub(crate) fn knn_accuracy(train: &Codes, test: &Codes, n_classes: i64) -> f64 {
    let k = N_NEIGHBOURS.min(train.labels.size()[0]);
    let squares = train.codes.square().sum_dim_intlist(1, false, Kind::Float);
    let votes = test.codes.split(TEST_ROWS_AT_ONCE, 0).into_iter().map(|rows| {
        // |a − b|² without the term that is constant in a row.
        let distances = &squares - (rows * 2.0).matmul(&train.codes.tr());
        let (_, nearest) = distances.topk(k, 1, false, false);
        let labels = train.labels.index_select(0, &nearest.flatten(0, -1)).view_as(&nearest);
        labels.one_hot(n_classes).sum_dim_intlist(1, false, Kind::Float)
    });
    accuracy(&Tensor::cat(&votes.collect::<Vec<_>>(), 0), &test.labels)
}

/// Returns the share of the rows of `scores` whose first maximum is at the label.
fn accuracy(scores: &Tensor, labels: &Tensor) -> f64 {
    share_equal(&scores.argmax(1, false), labels)
}

fn share_equal(predicted: &Tensor, labels: &Tensor) -> f64 {
    predicted.eq_tensor(labels).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::model::seeded;
    use tch::Device;

    /// `n` codes of three classes around (0, 0), (4, 0) and (0, 4), and a third number that is always 7.
    fn blobs(seed: i64, n: i64) -> Codes {
        tch::manual_seed(seed);
        let labels = Tensor::randint(3, [n], (Kind::Int64, Device::Cpu));
        let centres = Tensor::from_slice2(&[[0.0_f32, 0.0, 7.0], [4.0, 0.0, 7.0], [0.0, 4.0, 7.0]]);
        let noise = Tensor::randn([n, 3], (Kind::Float, Device::Cpu)) * Tensor::from_slice(&[0.5_f32, 0.5, 0.0]);
        Codes { codes: centres.index_select(0, &labels) + noise, labels }
    }

    #[test]
    fn blobs_are_told_apart_and_shuffled_labels_are_not() {
        let _torch = seeded(0);
        let (train, test) = (blobs(1, 600), blobs(2, 300));
        assert!(linear_accuracy(&train, &test, 3) > 0.99);
        assert!(knn_accuracy(&train, &test, 3) > 0.99);
        let labels = Tensor::randint(3, [600], (Kind::Int64, Device::Cpu));
        let shuffled = Codes { labels, ..train };
        assert!(linear_accuracy(&shuffled, &test, 3) < 0.6 && knn_accuracy(&shuffled, &test, 3) < 0.6);
    }

    #[test]
    fn only_neighbours_know_the_inside_of_a_ring_from_the_ring() {
        let ring = |n: i64| {
            let angle = Tensor::arange(n, (Kind::Float, Device::Cpu)) * 2.4;
            let labels = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(2);
            let radius = labels.to_kind(Kind::Float) * 3.0 + 1.0;
            Codes { codes: Tensor::stack(&[angle.cos() * &radius, angle.sin() * radius], 1), labels }
        };
        let (train, test) = (ring(400), ring(301));
        assert_eq!(knn_accuracy(&train, &test, 2), 1.0);
        assert!(linear_accuracy(&train, &test, 2) < 0.7);
    }

    #[test]
    fn equal_votes_go_to_the_lowest_label() {
        let codes = |values: &[f32], labels: &[i64]| Codes {
            codes: Tensor::from_slice(values).unsqueeze(1),
            labels: Tensor::from_slice(labels),
        };
        let train = codes(&[0.0, 0.1, 0.2, 0.3, 0.4, 9.0], &[2, 2, 1, 1, 0, 0]);
        assert_eq!(knn_accuracy(&train, &codes(&[0.0, 0.0], &[1, 2]), 3), 0.5);
    }

    #[test]
    fn targets_beside_each_other_get_the_labels_they_get_alone() {
        let (train, test) = (blobs(1, 200), blobs(2, 100));
        let parity = train.labels.remainder(2);
        let together = linear_predictions(&train.codes, &[(&train.labels, 3), (&parity, 2)], &test.codes);
        let alone = linear_predictions(&train.codes, &[(&parity, 2)], &test.codes);
        assert_eq!(together[1], alone[0]);
        assert!(share_equal(&together[0], &test.labels) > 0.99);
    }

    #[test]
    fn a_ridge_by_hand_and_from_either_system() {
        // Standardised, x is -1 and 1 twice; centred, y is -3, -1, 1, 3. w = (x·y) / (x·x + 1) = 8 / 5.
        let column = |values: &[f32]| Tensor::from_slice(values).unsqueeze(1);
        let (x, y) = (column(&[0.0, 0.0, 2.0, 2.0]), Tensor::from_slice(&[0.0_f32, 2.0, 4.0, 6.0]));
        let test = column(&[0.0, 2.0]);
        let is_near = |found: &[f64], w: f64| {
            let expected = [3.0 - w, 3.0 + w];
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} for {expected:?}");
        };
        is_near(&ridge_predictions(&x, &y, &test), 1.6);
        // Five copies of a column, more than there are rows: 8 / (20 + 1) for each, 40 / 21 in all.
        is_near(&ridge_predictions(&Tensor::cat(&[&x; 5], 1), &y, &Tensor::cat(&[&test; 5], 1)), 40.0 / 21.0);
    }
}
