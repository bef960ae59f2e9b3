//! Quantiles of the return's distribution: QR-DQN (Dabney et al. 2018a).
//!
//! The outputs of an action are the quantiles θ_i at `τ_i = (i + 1/2) / N`. Its value is their mean. The targets are
//! `𝒯_j = r_t + discount_t Σ_a π(a) (θ_j(s_t, a) + bonus(a))`. The loss is (equations 9 and 10, with κ = 1)
//!
//! `Σ_i mean_j |τ_i - 1{u_ij < 0}| L(u_ij)`, `u_ij = 𝒯_j - θ_i`, `L` Huber's loss.
//!
//! The priority is the loss of the transition.

use crate::dqn::head::{Head, Taken};
use crate::dqn::policy::Next;
use crate::net::midpoints;
use crate::q_network::Fitted;
use multiversion::multiversion;

/// Quantiles at fixed fractions.
pub(super) struct Quantile {
    n_actions: usize,
    taus: Vec<f32>,
}

impl Quantile {
    pub(super) fn new(n_actions: usize, n_quantiles: usize) -> Self {
        Self { n_actions, taus: midpoints(n_quantiles) }
    }
}

impl Head for Quantile {
    fn atoms(&self) -> usize {
        self.taus.len()
    }

    fn values(&self, outputs: &[f32], values: &mut Vec<f32>) {
        let n = self.taus.len();
        values.clear();
        values.extend(outputs.chunks_exact(n).map(|quantiles| quantiles.iter().sum::<f32>() / n as f32));
    }

    fn targets(&self, outputs_t: &[f32], next: &Next, targets: &mut Vec<f32>) {
        let n = self.taus.len();
        quantile_targets(outputs_t, [self.n_actions * n, n, 1], n, next, targets);
    }

    fn loss(&self, outputs: &[f32], taken: &Taken, d_outputs: &mut [f32], priorities: &mut Vec<f32>) -> Fitted {
        let n = self.taus.len();
        mean_quantile_loss(outputs, [self.n_actions * n, n, 1], |_| &self.taus, taken, d_outputs, priorities)
    }
}

/// Writes the targets `[B, n]`. The outputs' strides are those of a transition, an action and a quantile.
pub(super) fn quantile_targets(
    outputs_t: &[f32],
    [of_transition, of_action, of_quantile]: [usize; 3],
    n: usize,
    next: &Next,
    targets: &mut Vec<f32>,
) {
    targets.clear();
    for b in 0..next.returns.len() {
        targets.extend((0..n).map(|j| {
            let theta = |a: usize| outputs_t[b * of_transition + a * of_action + j * of_quantile];
            let value: f32 = next.policy.actions(b).map(|(a, prob, bonus)| prob * (theta(a) + bonus)).sum();
            next.returns[b] + next.discounts[b] * value
        }));
    }
}

/// Returns the mean of the weighted losses. `taus` are the fractions of a transition's quantiles.
pub(super) fn mean_quantile_loss<'a>(
    outputs: &[f32],
    [of_transition, of_action, of_quantile]: [usize; 3],
    taus: impl Fn(usize) -> &'a [f32],
    taken: &Taken,
    d_outputs: &mut [f32],
    priorities: &mut Vec<f32>,
) -> Fitted {
    let n_targets = taken.targets.len() / taken.batch();
    let (mut loss, mut value) = (0.0, 0.0);
    d_outputs.fill(0.0);
    priorities.clear();
    for (b, ((action, share), targets)) in taken.shares().zip(taken.targets.chunks_exact(n_targets)).enumerate() {
        let (start, taus) = (b * of_transition + action * of_action, taus(b));
        let (mut own, mut sum) = (0.0, 0.0);
        for (i, tau) in taus.iter().enumerate() {
            let at = start + i * of_quantile;
            let [of_theta, slope] = quantile_loss(outputs[at], *tau, targets);
            own += of_theta;
            sum += outputs[at];
            d_outputs[at] = share * slope;
        }
        loss += share * own;
        value += sum / taus.len() as f32;
        priorities.push(own);
    }
    Fitted { loss: loss.into(), value: f64::from(value) / taken.batch() as f64 }
}

/// `mean_j |τ - 1{u_j < 0}| L(u_j)` with `u_j = target_j - θ`, and its derivative by θ.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn quantile_loss(theta: f32, tau: f32, targets: &[f32]) -> [f32; 2] {
    const LANES: usize = 16;
    let (mut losses, mut slopes) = ([0.0; LANES], [0.0; LANES]);
    let mut add = |lane: usize, target: f32| {
        let u = target - theta;
        let weight = if u < 0.0 { 1.0 - tau } else { tau };
        let clipped = u.clamp(-1.0, 1.0);
        // Huber's loss: u²/2 within ±1, |u| - 1/2 beyond.
        losses[lane] += weight * clipped * (u - 0.5 * clipped);
        slopes[lane] -= weight * clipped;
    };
    let (whole, rest) = targets.as_chunks::<LANES>();
    for targets in whole {
        for (lane, target) in targets.iter().enumerate() {
            add(lane, *target);
        }
    }
    for (lane, target) in rest.iter().enumerate() {
        add(lane, *target);
    }
    [losses, slopes].map(|sums| sums.iter().sum::<f32>() / targets.len() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dqn::policy::Policy;
    use crate::losses::tests::{assert_close, floats, parts};

    #[test]
    fn a_quantile_loss_by_hand() {
        // Errors 0.5 and -2: (0.75 * 0.125 + 0.25 * 1.5) / 2, and -(0.75 * 0.5 - 0.25) / 2.
        assert_eq!(quantile_loss(1.0, 0.75, &[1.5, -1.0]), [0.234_375, -0.0625]);
    }

    #[test]
    fn quantiles_of_samples_have_no_gradient() {
        // With more than half of all targets far above and the rest far below, the median's gradient is 0 between them.
        let [_, slope] = quantile_loss(0.0, 0.5, &[-9.0, -5.0, 5.0, 9.0]);
        assert_eq!(slope, 0.0);
        let targets: Vec<f32> = (0..40).map(|i| i as f32 * 10.0).collect();
        // A quarter of the targets lie below the quantile of 0.25.
        assert!(quantile_loss(95.0, 0.25, &targets)[1].abs() < 1e-6);
    }

    #[test]
    fn targets_loss_and_gradient_agree_with_pytorch() {
        let golden = parts();
        let case = &golden["quantile"];
        let [quantiles, quantiles_t, returns, discounts, weights] =
            ["quantiles", "quantiles_t", "returns", "discounts", "weights"].map(|name| floats(&case[name]));
        let head = Quantile::new(3, 5);
        let (mut values, mut targets, mut policy) = (vec![], vec![], Policy::default());
        head.values(&quantiles_t, &mut values);
        policy.be_greedy(&values, 3);
        head.targets(&quantiles_t, &Next { returns: &returns, discounts: &discounts, policy: &policy }, &mut targets);
        assert_close(&targets, &case["targets"]);
        let (mut d_outputs, mut priorities) = (vec![0.0; quantiles.len()], vec![]);
        let taken = Taken { actions: &[0, 2, 1, 2], targets: &targets, weights: &weights };
        let fitted = head.loss(&quantiles, &taken, &mut d_outputs, &mut priorities);
        assert_close(&[fitted.loss as f32], &case["loss"]);
        assert_close(&d_outputs, &case["gradient"]);
        assert_close(&priorities, &case["losses"]);
    }
}
