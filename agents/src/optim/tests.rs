//! Steps against PyTorch's, against steps worked by hand, and on several threads.

use super::cpu::SHARE;
use super::tensor::Operations;
use super::*;
use crate::net::tensor::to_vec;
use crate::net::tests::torch;
use crate::snapshot::{Loaded, Snapshot};
use serde_json::Value;
use tch::Tensor;

const PYTORCH: &str = include_str!("../../tests/golden/optimizers.json");

const RULES: [Rule; 5] = [Rule::Adam, Rule::RAdam, Rule::RmsProp, Rule::RmsPropCentered, Rule::Adadelta];

fn config(case: &Value) -> OptimConfig {
    let number = |key: &str| case[key].as_f64();
    let rule = match (case["optimizer"].as_str(), case["centered"].as_bool()) {
        (Some("Adam"), _) => Rule::Adam,
        (Some("RAdam"), _) => Rule::RAdam,
        (Some("RMSprop"), Some(true)) => Rule::RmsPropCentered,
        (Some("RMSprop"), Some(false)) => Rule::RmsProp,
        (Some("Adadelta"), _) => Rule::Adadelta,
        other => panic!("unknown optimiser {other:?}"),
    };
    let decays = case["betas"].as_array().map(|b| (b[0].as_f64().unwrap(), b[1].as_f64().unwrap()));
    let (beta1, beta2) = decays.unwrap_or_else(|| (0.0, number("alpha").or(number("rho")).unwrap()));
    OptimConfig { rule, beta1, beta2, epsilon: number("eps").unwrap(), epsilon_in_root: false }
}

#[test]
fn a_hundred_steps_agree_with_pytorch() {
    let golden: Value = serde_json::from_str(PYTORCH).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let mut params: Vec<f32> = (0..17).map(|i| (0.05 * (f64::from(i) - 8.0)) as f32).collect();
        let mut optimizer = Optimizer::new(config(case), params.len());
        let (mut tensor, mut by_operations) = (Tensor::from_slice(&params), Tensor::from_slice(&params));
        let mut tensor_optimizer = TensorOptimizer::new(config(case), &tensor);
        let mut operations = Operations::new(config(case), &tensor);
        let scale = case["scale"].as_f64().unwrap() as f32;
        for t in 1..=100 {
            let gradient = |(i, p): (usize, &f32)| (scale * (i as f64 + 0.1 * f64::from(t)).sin() as f32) * (1.0 + p);
            let grads: Vec<f32> = params.iter().enumerate().map(gradient).collect();
            let lr = case["lr"].as_f64().unwrap();
            optimizer.step(&mut params, &grads, lr);
            let grads = Tensor::from_slice(&grads);
            tensor_optimizer.step(&mut tensor, &grads, lr);
            operations.step(&mut by_operations, &grads, lr);
            let Some(expected) = case["params"][t.to_string()].as_array() else { continue };
            let all = params.iter().zip(to_vec(&tensor)).zip(to_vec(&by_operations));
            for (((ours, tensors), operations), theirs) in all.zip(expected) {
                for ours in [*ours, tensors, operations] {
                    let difference = (f64::from(ours) - theirs.as_f64().unwrap()).abs();
                    assert!(difference <= 1e-6, "{} differs by {difference:e} after {t} steps", case["name"]);
                }
            }
        }
    }
}

#[test]
fn clipping_shortens_long_gradients_only() {
    let norm = sum_of_squares(&[3.0, 4.0]).sqrt();
    assert_eq!(norm, 5.0);
    assert_eq!(clip_factor(norm, 10.0), 1.0);
    assert_eq!(clip_factor(norm, 1.0), 0.2);
    assert_eq!(clip_factor(norm, f32::INFINITY), 1.0);
    assert!(clip_factor(f32::NAN, 1.0).is_nan());
}

#[test]
fn a_factor_scales_the_gradient() {
    for rule in RULES {
        let (grads, scaled) = ([1.0, -2.0, 0.5], [0.25, -0.5, 0.125]);
        let (mut by_factor, mut by_hand) = ([0.5; 3], [0.5; 3]);
        Optimizer::new(OptimConfig::of(rule), 3).step_scaled(&mut by_factor, &grads, 0.25, 0.1);
        Optimizer::new(OptimConfig::of(rule), 3).step(&mut by_hand, &scaled, 0.1);
        assert_eq!(by_factor, by_hand, "{rule:?}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let torch = torch();
    let grads: Vec<f32> = (0..3 * SHARE + 5).map(|i| (i as f32).sin()).collect();
    let results = [1, 2, 3].map(|n_threads| {
        torch.set_threads(n_threads);
        let mut params = vec![1.0; grads.len()];
        let mut optimizer = Optimizer::new(OptimConfig::of(Rule::Adam), grads.len());
        (0..3).for_each(|_| optimizer.step_scaled(&mut params, &grads, 0.5, 0.01));
        params
    });
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Parameters after each of `grads`, by the pass over the CPU's memory and by tensor operations.
fn both(config: OptimConfig, first: &[f32], grads: &[Vec<f32>], lr: f64) -> [Vec<f32>; 2] {
    let mut params = first.to_vec();
    let mut optimizer = Optimizer::new(config, params.len());
    let mut tensor = Tensor::from_slice(first);
    let mut operations = Operations::new(config, &tensor);
    for grads in grads {
        optimizer.step(&mut params, grads, lr);
        operations.step(&mut tensor, &Tensor::from_slice(grads), lr);
    }
    [params, to_vec(&tensor)]
}

fn assert_close(ours: &[f32], expected: &[f64]) {
    assert_eq!(ours.len(), expected.len());
    for (ours, expected) in ours.iter().zip(expected) {
        assert!((f64::from(*ours) - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{ours} is not {expected}");
    }
}

#[test]
fn epsilon_is_added_under_the_root_or_to_it() {
    // One step with gradient 2 and α 0.75 gives E[g²] = 1 and E[g] = 0.5, so the variance is 0.75.
    let config = |rule, in_root| OptimConfig { beta2: 0.75, ..OptimConfig::of(rule).with_epsilon(Some(0.25), in_root) };
    let cases = [
        (Rule::RmsProp, false, 1.25),
        (Rule::RmsProp, true, 1.25_f64.sqrt()),
        (Rule::RmsPropCentered, false, 0.75_f64.sqrt() + 0.25),
        (Rule::RmsPropCentered, true, 1.0),
    ];
    for (rule, in_root, denominator) in cases {
        for ours in both(config(rule, in_root), &[3.0], &[vec![2.0]], 0.1) {
            assert_close(&ours, &[3.0 - 0.1 * 2.0 / denominator]);
        }
    }
}

#[test]
fn an_epsilon_too_small_for_f32_moves_no_parameter_without_a_gradient() {
    let grads: Vec<Vec<f32>> = (0..10).map(|_| vec![0.0]).collect();
    for (rule, in_root) in RULES.into_iter().flat_map(|rule| [(rule, false), (rule, true)]) {
        for ours in both(OptimConfig::of(rule).with_epsilon(Some(1e-60), in_root), &[3.0], &grads, 0.1) {
            assert_eq!(ours, [3.0], "{rule:?}, under the root: {in_root}");
        }
    }
}

/// Array `name`, of three numbers.
fn array(snapshot: &Snapshot, name: &str) -> [f32; 3] {
    let bytes = safetensors::serialize(snapshot.tensors(), None).expect("named arrays");
    let arrays = safetensors::SafeTensors::deserialize(&bytes).expect("arrays just written");
    let mut values = [0.0; 3];
    Loaded::new(&arrays, snapshot.state()).read(name, &mut values).expect("an array of three numbers");
    values
}

#[test]
fn moments_are_saved_alike_wherever_the_parameters_are() {
    for rule in RULES {
        let (mut params, mut tensor) = ([0.5_f32; 3], Tensor::from_slice(&[0.5_f32; 3]));
        let mut optimizer = Optimizer::new(OptimConfig::of(rule), 3);
        let mut operations = Operations::new(OptimConfig::of(rule), &tensor);
        for grads in [[1.0_f32, -2.0, 0.5], [0.25, 0.0, -1.0]] {
            optimizer.step(&mut params, &grads, 0.1);
            operations.step(&mut tensor, &Tensor::from_slice(&grads), 0.1);
        }
        for name in ["mean", "mean_sq"] {
            let expected = array(&optimizer.save(), name).map(f64::from);
            assert_close(&array(&operations.save(), name), &expected);
        }
    }
}

#[test]
fn adadelta_by_hand() {
    // With ρ 3/4 and ε 1: a gradient of 2 gives E[g²] = 1, so Δ = 2 √1 / √2 = √2 and E[Δ²] = 1/2. A gradient of 0 then
    // leaves E[g²] = 3/4, Δ = 0 and E[Δ²] = 3/8; a gradient of 1 gives E[g²] = 13/16 and Δ = √(11/8) / √(29/16).
    let config = OptimConfig { beta2: 0.75, epsilon: 1.0, ..OptimConfig::of(Rule::Adadelta) };
    for ours in both(config, &[3.0], &[vec![2.0], vec![0.0], vec![1.0]], 0.5) {
        assert_close(&ours, &[3.0 - 0.5 * (2.0_f64.sqrt() + (22.0_f64 / 29.0).sqrt())]);
    }
}

/// One update of DeepMind's DQN (`NeuralQLearner.lua`): `dw` is the sum of the batch's clipped gradients.
fn deepmind_step(w: &mut f64, g: &mut f64, g2: &mut f64, dw: f64, lr: f64) {
    *g = 0.95 * *g + 0.05 * dw;
    *g2 = 0.95 * *g2 + 0.05 * dw * dw;
    *w -= lr * dw / (*g2 - *g * *g + 0.01).sqrt();
}

#[test]
fn deepminds_step_on_the_sum_of_a_batch_is_ours_on_its_mean_with_a_smaller_epsilon() {
    const BATCH: f64 = 32.0;
    let paper = OptimConfig::of(Rule::RmsPropCentered).with_epsilon(Some(0.01 / (BATCH * BATCH)), true);
    let lr = 2.5e-4;
    // By hand, for one step with a sum of 1: E[g²] - E[g]² = 0.05 - 0.0025.
    for ours in both(paper, &[1.0], &[vec![1.0 / 32.0]], lr) {
        assert_close(&ours, &[1.0 - lr / (0.0475_f64 + 0.01).sqrt()]);
    }
    let scales = [0.0, 1e-3, 0.1, 1.0, 30.0];
    let sums: Vec<Vec<f64>> =
        (0..200).map(|t| scales.iter().zip(1..).map(|(scale, i)| scale * f64::from(i * t).sin()).collect()).collect();
    let mut expected = vec![0.5; scales.len()];
    let mut moments = vec![[0.0; 2]; scales.len()];
    for sums in &sums {
        for ((w, [g, g2]), dw) in expected.iter_mut().zip(&mut moments).zip(sums) {
            deepmind_step(w, g, g2, *dw, lr);
        }
    }
    let means: Vec<Vec<f32>> = sums.iter().map(|sums| sums.iter().map(|sum| (sum / BATCH) as f32).collect()).collect();
    for ours in both(paper, &vec![0.5; scales.len()], &means, lr) {
        assert_close(&ours, &expected);
    }
}
