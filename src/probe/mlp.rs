//! A non-linear probe: a network with one hidden layer. What it reads and a linear one does not is in the code, but in
//! no single direction of it.
//!
//! Codes are standardised as for the linear probe, and cut at ten deviations: far from the codes that it was fitted to,
//! a network's output has no bound. The penalty on the parameters is its penalty too: |θ|² / (2 n) beside the mean
//! loss. Nothing is chosen by the frames that are measured.

use crate::generative::measures::probe::Standard;
use crate::generative::settings::Schedule;
use carom_agents::net::{Operation, Sequential, descend};
use carom_agents::optim::{OptimConfig, Rule};
use carom_envs::Seeds;
use rand::seq::SliceRandom;
use tch::{Kind, Tensor};

/// Hidden units.
const HIDDEN: i64 = 128;
/// Passes over the codes.
const N_PASSES: usize = 40;
/// Codes of a descent step.
const BATCH: usize = 64;
/// Bounds a standardised number of a code.
const MAX_DEVIATIONS: f64 = 10.0;
/// First learning rate; it falls to 0 by half a cosine.
const FIRST_LR: f64 = 3e-3;

/// Returns the classes, `i64 [m]` below `n_classes`, of codes `test`, `[m, d]`, by a network that is fitted to codes
/// `train`, `[n, d]`, and their `labels`, `i64 [n]`, by the cross-entropy.
pub(super) fn classes(train: &Tensor, labels: &Tensor, n_classes: i64, test: &Tensor) -> Tensor {
    let loss = |output: &Tensor, rows: &Tensor| output.cross_entropy_for_logits(&labels.index_select(0, rows));
    outputs(train, n_classes, test, loss).argmax(1, false)
}

/// Returns the numbers of codes `test`, `[m, d]`, by a network that is fitted to codes `train`, `[n, d]`, and their
/// numbers `y`, `[n]`, by the squared error of standardised numbers.
pub(super) fn amounts(train: &Tensor, y: &Tensor, test: &Tensor) -> Vec<f64> {
    let (mean, width) = (y.mean(Kind::Float), y.std(false).clamp_min(1e-6));
    let y = (y - &mean) / &width;
    let loss = |output: &Tensor, rows: &Tensor| {
        (output.squeeze_dim(1) - y.index_select(0, rows)).square().mean(Kind::Float) * 0.5
    };
    let found = outputs(train, 1, test, loss).squeeze_dim(1) * width + mean;
    Vec::try_from(found.to_kind(Kind::Double)).expect("a vector of doubles")
}

/// Fits a network of `n_outputs` to `train` by `loss`, which gets outputs and the indices of their codes. Returns its
/// outputs for `test`.
fn outputs(train: &Tensor, n_outputs: i64, test: &Tensor, loss: impl Fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
    let scale = Standard::of(train);
    let bounded = |codes: &Tensor| scale.apply(codes).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS);
    let (x, [n, d]) = (bounded(train), [train.size()[0], train.size()[1]]);
    let dense = |inputs, outputs| Operation::Dense { inputs, outputs };
    let layers = vec![dense(d, HIDDEN), Operation::relu(), dense(HIDDEN, n_outputs)];
    let mut rng = Seeds::new(0).stream("mlp-probe");
    let mut network = Sequential::new(layers, OptimConfig::of(Rule::Adam), x.device(), &mut rng);
    let mut order: Vec<i64> = (0..n).collect();
    let n_batches = order.len().div_ceil(BATCH);
    for pass in 0..N_PASSES {
        order.shuffle(&mut rng);
        for (i, rows) in order.chunks(BATCH).enumerate() {
            let rows = Tensor::from_slice(rows);
            let total = tch::with_grad(|| {
                let penalty = network.params().square().sum(Kind::Float) / (2 * n) as f64;
                loss(&network.forward(&x.index_select(0, &rows)), &rows) + penalty
            });
            let done = (pass * n_batches + i) as f64 / (N_PASSES * n_batches) as f64;
            descend(&total, &mut [&mut network], FIRST_LR * Schedule::Cosine.factor(done));
        }
    }
    tch::no_grad(|| network.forward(&bounded(test)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::measures::probe::linear_predictions;
    use crate::generative::model::seeded;
    use tch::Device;

    #[test]
    fn what_no_direction_of_a_code_tells_is_read_by_the_network_alone() {
        let _torch = seeded(0);
        let codes = |n: i64| Tensor::rand([n, 4], (Kind::Float, Device::Cpu)) * 2.0 - 1.0;
        let (train, test) = (codes(1000), codes(300));
        let product = |codes: &Tensor| codes.select(1, 0) * codes.select(1, 1);
        let sign = |codes: &Tensor| product(codes).gt(0.0).to_kind(Kind::Int64);
        let share =
            |found: &Tensor| found.eq_tensor(&sign(&test)).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        let linear = linear_predictions(&train, &[(&sign(&train), 2)], &test);
        assert!(share(&linear[0]) < 0.65, "{}", share(&linear[0]));
        let found = tch::no_grad(|| classes(&train, &sign(&train), 2, &test));
        assert!(share(&found) > 0.9, "{}", share(&found));
        let found = tch::no_grad(|| amounts(&train, &product(&train), &test));
        let expected = Vec::<f64>::try_from(product(&test).to_kind(Kind::Double)).unwrap();
        let errors = found.iter().zip(&expected).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let squares = expected.iter().map(|b| b * b).sum::<f64>();
        assert!(errors < 0.1 * squares, "{errors} of {squares}");
    }

    #[test]
    fn numbers_unlike_those_of_the_training_codes_have_bounded_effects() {
        let _torch = seeded(0);
        let alive = Tensor::rand([200, 1], (Kind::Float, Device::Cpu));
        let train = Tensor::cat(&[&alive, &alive.zeros_like()], 1);
        let test = Tensor::from_slice2(&[[0.5_f32, 0.0], [0.5, 1.0], [20.0, 0.0], [1e6, 0.0]]);
        let found = tch::no_grad(|| amounts(&train, &alive.squeeze_dim(1), &test));
        assert_eq!(found[0], found[1], "a number that was dead in training");
        assert_eq!(found[2], found[3], "numbers beyond ten deviations");
    }
}
