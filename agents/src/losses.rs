//! Targets and losses as free functions.
//!
//! Names carry their time: `q_tm1` are the values at t-1 where action `a_tm1` was taken, `r_t` is the reward that
//! followed, `discount_t` is γ, or 0 where the episode terminated, and `q_t` are the values of the state reached.
//! Batches are flat, row-major.

use serde::{Deserialize, Serialize};

/// Index of the largest value, the lowest one among equals.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate().skip(1) {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

/// A loss of a temporal-difference error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Half the square within ±1, linear beyond (Huber 1964). Its gradient is the clipped error of Mnih et al. 2015.
    Huber,
    /// Half the square.
    Squared,
}

impl Loss {
    /// The loss of one error.
    pub fn value(self, td_error: f32) -> f32 {
        match self {
            Loss::Huber if td_error.abs() > 1.0 => td_error.abs() - 0.5,
            _ => 0.5 * td_error * td_error,
        }
    }

    /// The derivative of the loss with respect to the error.
    pub fn slope(self, td_error: f32) -> f32 {
        match self {
            Loss::Huber => td_error.clamp(-1.0, 1.0),
            Loss::Squared => td_error,
        }
    }
}

/// The mean loss of a batch. Its gradient in `q_tm1`, `[B, n_actions]`, is written to `d_q_tm1`.
///
/// The error is `target_tm1 - q_tm1(a_tm1)`; targets are constants.
pub fn mean_loss(loss: Loss, q_tm1: &[f32], a_tm1: &[u8], target_tm1: &[f32], d_q_tm1: &mut [f32]) -> f32 {
    let batch = a_tm1.len();
    let n_actions = q_tm1.len() / batch;
    d_q_tm1.fill(0.0);
    let mut total = 0.0;
    for (b, (a, target)) in a_tm1.iter().zip(target_tm1).enumerate() {
        let at = b * n_actions + usize::from(*a);
        let td_error = target - q_tm1[at];
        d_q_tm1[at] = -loss.slope(td_error) / batch as f32;
        total += loss.value(td_error);
    }
    total / batch as f32
}

/// Peng's λ-returns of one environment, from the last step backwards (Daley & Amato 2019, equation 6; Gallici et al.
/// 2024, algorithm 1):
///
/// `G_t-1 = r_t + discount_t [(1 - λ_t) v_t + λ_t G_t]`, and `G = r + discount v` at the end of the rollout.
///
/// `v_t` is `max_a q(s_t, a)` of the state reached. `lambda_t` is λ, or 0 where the time limit cut the episode off and
/// another episode follows in the rollout. Each slice holds one value for each step; `returns` is overwritten.
pub fn lambda_returns(r_t: &[f32], discount_t: &[f32], v_t: &[f32], lambda_t: &[f32], returns: &mut [f32]) {
    let mut next = v_t.last().copied().unwrap_or_default();
    for t in (0..r_t.len()).rev() {
        returns[t] = r_t[t] + discount_t[t] * ((1.0 - lambda_t[t]) * v_t[t] + lambda_t[t] * next);
        next = returns[t];
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::Value;

    /// PyTorch's numbers of the losses, which `scripts/peers/losses.py` made.
    pub(crate) fn golden() -> Value {
        serde_json::from_str(include_str!("../tests/golden/losses.json")).unwrap()
    }

    /// PyTorch's numbers of DQN's parts, which `scripts/peers/parts.py` made.
    pub(crate) fn parts() -> Value {
        serde_json::from_str(include_str!("../tests/golden/parts.json")).unwrap()
    }

    pub(crate) fn floats(value: &Value) -> Vec<f32> {
        match value {
            Value::Array(items) => items.iter().flat_map(floats).collect(),
            number => vec![number.as_f64().expect("a number") as f32],
        }
    }

    pub(crate) fn assert_close(ours: &[f32], theirs: &Value) {
        let theirs = floats(theirs);
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        }
    }

    #[test]
    fn losses_agree_with_pytorch() {
        let golden = golden();
        let case = &golden["td"];
        let [q_tm1, q_t, r_t, discount_t] = ["q_tm1", "q_t", "r_t", "discount_t"].map(|name| floats(&case[name]));
        let a_tm1: Vec<u8> = floats(&case["a_tm1"]).iter().map(|&a| a as u8).collect();
        let best = |b: usize| q_t[3 * b..3 * b + 3].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let targets: Vec<f32> = (0..4).map(|b| r_t[b] + discount_t[b] * best(b)).collect();
        for (loss, value, grad) in
            [(Loss::Huber, "huber", "huber_grad"), (Loss::Squared, "half_squared", "half_squared_grad")]
        {
            let mut d_q = vec![0.0; q_tm1.len()];
            let mean = mean_loss(loss, &q_tm1, &a_tm1, &targets, &mut d_q);
            assert_close(&[mean], &case[value]);
            assert_close(&d_q, &case[grad]);
        }
    }

    #[test]
    fn lambda_returns_agree_with_an_independent_recursion() {
        let golden = golden();
        let case = &golden["lambda_returns"];
        let column =
            |name: &str, n: usize| -> Vec<f32> { floats(&case[name]).into_iter().skip(n).step_by(2).collect() };
        for n in 0..2 {
            let [r_t, discount_t, v_t, lambda_t, expected] =
                ["r_t", "discount_t", "v_t", "lambda_t", "returns"].map(|name| column(name, n));
            let mut returns = vec![0.0; 5];
            lambda_returns(&r_t, &discount_t, &v_t, &lambda_t, &mut returns);
            for (ours, theirs) in returns.iter().zip(expected) {
                assert!((ours - theirs).abs() < 1e-5, "{ours} is not {theirs}");
            }
        }
    }

    #[test]
    fn lambda_zero_is_one_step_and_lambda_one_sums_the_rewards() {
        let (r_t, v_t) = ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]);
        let mut returns = [0.0; 3];
        lambda_returns(&r_t, &[0.5; 3], &v_t, &[0.0; 3], &mut returns);
        assert_eq!(returns, [6.0, 12.0, 18.0]);
        lambda_returns(&r_t, &[1.0, 1.0, 0.0], &v_t, &[1.0; 3], &mut returns);
        assert_eq!(returns, [6.0, 5.0, 3.0]);
    }
}
