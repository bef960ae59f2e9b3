//! What a code tells about labels that it was fitted without: a linear classifier of it, and a vote of the nearest neighbours.
//!
//! Both see codes of the training split with their labels, and are judged on the test split.

use crate::generative::images::{Data, Images};
use crate::generative::model::{Measures, Model};
use carom_agents::optim::{OptimConfig, Rule, TensorOptimizer};
use tch::{Kind, Tensor};

/// Images of each split that are encoded, at most: all of MNIST.
const MAX_TRAIN: usize = 60_000;
const MAX_TEST: usize = 10_000;
/// Images encoded at a time.
const CHUNK: usize = 1000;

/// Passes of the linear probe over all codes: on the 32 principal components of MNIST its accuracy is then .9015, that of the
/// optimum as scikit-learn finds it .9006.
const PASSES: u64 = 500;
/// Learning rate of the linear probe at its start; half a cosine brings it to 0.
const RATE: f64 = 0.1;

const NEIGHBOURS: i64 = 5;
/// Test codes whose distances to all training codes are in memory at a time.
const ROWS: i64 = 250;

/// Codes and labels of one split.
#[derive(Debug)]
pub struct Codes {
    /// `[n, d]`
    pub codes: Tensor,
    /// `i64 [n]`
    pub labels: Tensor,
}

impl Codes {
    /// What `model` makes of the first `most` of `images` (of all, if fewer); nothing without labels.
    pub fn of(model: &dyn Model, images: &Images, most: usize) -> Option<Self> {
        let labels = images.first_labels(most)?;
        let chunks: Vec<Tensor> = images.chunks(CHUNK).take(most.div_ceil(CHUNK)).map(|x| model.encode(&x)).collect();
        let codes = Tensor::cat(&chunks, 0).narrow(0, 0, labels.size()[0]);
        Some(Self { codes: codes.flatten(1, -1), labels })
    }
}

/// Adds `test/probe_linear` and `test/probe_5nn`, accuracies in 0..=1, where the data have labels.
pub fn measure(model: &dyn Model, data: &Data, measures: &mut Measures) {
    let train = Codes::of(model, &data.train, MAX_TRAIN);
    let Some((train, test)) = train.zip(Codes::of(model, &data.test, MAX_TEST)) else { return };
    measures.add("test/probe_linear", linear_accuracy(&train, &test, data.n_classes));
    measures.add("test/probe_5nn", knn_accuracy(&train, &test, data.n_classes));
    let (n_train, n_test) = (train.labels.size()[0], test.labels.size()[0]);
    let sizes = format!("fitted to codes of {n_train} training images, tested on {n_test}");
    measures.note("probes", format!("{sizes}; logistic regression with L2 1/n, and 5 nearest neighbours"));
}

/// Accuracy on `test` of a multinomial logistic regression fitted to `train`.
///
/// Codes are standardised by mean and deviation of the training codes. Descended is the mean cross-entropy plus |W|² / (2 n), by
/// Adam on all codes at once from W = 0; that is scikit-learn's objective at its default C = 1. No randomness.
pub fn linear_accuracy(train: &Codes, test: &Codes, n_classes: i64) -> f64 {
    let mean = train.codes.mean_dim(0, true, Kind::Float);
    // A dead unit has no deviation; what it is divided by does not matter then.
    let deviation = train.codes.std_dim(0, false, true).clamp_min(1e-6);
    // A column of ones for the bias.
    let standardised = |codes: &Tensor| {
        let ones = codes.ones_like().narrow(1, 0, 1);
        Tensor::cat(&[(codes - &mean) / &deviation, ones], 1)
    };
    let (x, [n, d]) = (standardised(&train.codes), [train.codes.size()[0], train.codes.size()[1]]);
    let targets = train.labels.one_hot(n_classes).to_kind(Kind::Float);
    let mut weights = x.new_zeros([(d + 1) * n_classes], (Kind::Float, x.device()));
    let mut optimizer = TensorOptimizer::new(OptimConfig::of(Rule::Adam), &weights);
    for pass in 0..PASSES {
        let w = weights.view([d + 1, n_classes]);
        let error = x.matmul(&w).softmax(-1, Kind::Float) - &targets;
        let grads = x.tr().matmul(&error);
        // The bias is not held back.
        let _ = grads.narrow(0, 0, d).g_add_(&w.narrow(0, 0, d));
        let cosine = (std::f64::consts::PI * pass as f64 / PASSES as f64).cos();
        optimizer.step(&mut weights, &(grads / n as f64).flatten(0, -1), RATE * f64::midpoint(1.0, cosine));
    }
    accuracy(&standardised(&test.codes).matmul(&weights.view([d + 1, n_classes])), &test.labels)
}

/// Accuracy on `test` of the vote of the five codes of `train` nearest by Euclidean distance; among equal votes the lowest label
/// wins, as scikit-learn has it.
pub fn knn_accuracy(train: &Codes, test: &Codes, n_classes: i64) -> f64 {
    let k = NEIGHBOURS.min(train.labels.size()[0]);
    let squares = train.codes.square().sum_dim_intlist(1, false, Kind::Float);
    let votes = test.codes.split(ROWS, 0).into_iter().map(|rows| {
        // |a − b|² without the term that is the same for all of a row.
        let distances = &squares - (rows * 2.0).matmul(&train.codes.tr());
        let (_, nearest) = distances.topk(k, 1, false, false);
        let labels = train.labels.index_select(0, &nearest.flatten(0, -1)).view_as(&nearest);
        labels.one_hot(n_classes).sum_dim_intlist(1, false, Kind::Float)
    });
    accuracy(&Tensor::cat(&votes.collect::<Vec<_>>(), 0), &test.labels)
}

/// Share of the rows of `scores` whose largest is that of the label; the first of several.
fn accuracy(scores: &Tensor, labels: &Tensor) -> f64 {
    scores.argmax(1, false).eq_tensor(labels).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
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
}
