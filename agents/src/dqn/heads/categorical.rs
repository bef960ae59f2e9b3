//! A distribution of the return over fixed atoms: C51 (Bellemare et al. 2017).
//!
//! The outputs of an action are logits of its atoms `z_i = v_min + i Δ`, and its value is `Σ_i p_i z_i`. The target is
//! the distribution of `r_t + discount_t (z + bonus(a))` with atom z of action a drawn by `π(a) p(s_t, a)`, clipped to
//! the support and projected onto the atoms (equation 7, algorithm 1):
//!
//! `m_i = Σ_a π(a) Σ_j [1 - |[r_t + discount_t (z_j + bonus(a))] - z_i| / Δ]_0^1 p_j(s_t, a)`.
//!
//! The loss is the cross-entropy `-Σ_i m_i ln p_i(s_tm1, a_tm1)`, the priority the Kullback-Leibler divergence (Hessel
//! et al. 2018), which is the cross-entropy less the target's own entropy.

use crate::dqn::head::{Head, Taken};
use crate::dqn::policy::Next;
use crate::net::lanes::exp;
use crate::q_network::Fitted;
use multiversion::multiversion;

/// Atoms and their logits.
pub(super) struct Categorical {
    n_actions: usize,
    support: Vec<f32>,
    delta: f32,
}

impl Categorical {
    /// `atoms` atoms from `v_min` to `v_max`.
    pub(super) fn new(n_actions: usize, atoms: usize, v_min: f64, v_max: f64) -> Self {
        let delta = (v_max - v_min) / (atoms - 1) as f64;
        let support = (0..atoms).map(|i| (v_min + i as f64 * delta) as f32).collect();
        Self { n_actions, support, delta: delta as f32 }
    }

    /// Adds `share` of the distribution `probs`, whose atoms were moved to `r + discount (z + bonus)`, to `projected`.
    fn project(&self, probs: &[f32], share: f32, [r, discount, bonus]: [f32; 3], projected: &mut [f32]) {
        let last = self.support.len() - 1;
        let (v_min, v_max) = (self.support[0], self.support[last]);
        for (p, z) in probs.iter().zip(&self.support) {
            let moved = (r + discount * (z + bonus)).clamp(v_min, v_max);
            let place = ((moved - v_min) / self.delta).clamp(0.0, last as f32);
            let below = (place as usize).min(last);
            let above = (below + 1).min(last);
            let fraction = place - below as f32;
            projected[below] += share * p * (1.0 - fraction);
            projected[above] += share * p * fraction;
        }
    }
}

impl Head for Categorical {
    fn atoms(&self) -> usize {
        self.support.len()
    }

    fn values(&self, outputs: &[f32], values: &mut Vec<f32>) {
        let mut probs = vec![0.0; self.support.len()];
        values.clear();
        values.extend(outputs.chunks_exact(self.support.len()).map(|logits| {
            softmax(logits, &mut probs);
            probs.iter().zip(&self.support).map(|(p, z)| p * z).sum::<f32>()
        }));
    }

    fn targets(&self, outputs_t: &[f32], next: &Next, targets: &mut Vec<f32>) {
        let atoms = self.support.len();
        let mut probs = vec![0.0; atoms];
        targets.clear();
        targets.resize(next.returns.len() * atoms, 0.0);
        for (b, projected) in targets.chunks_exact_mut(atoms).enumerate() {
            for (action, share, bonus) in next.policy.actions(b) {
                softmax(&outputs_t[(b * self.n_actions + action) * atoms..][..atoms], &mut probs);
                self.project(&probs, share, [next.returns[b], next.discounts[b], bonus], projected);
            }
        }
    }

    fn loss(&self, outputs: &[f32], taken: &Taken, d_outputs: &mut [f32], priorities: &mut Vec<f32>) -> Fitted {
        let atoms = self.support.len();
        let (mut loss, mut value) = (0.0, 0.0);
        d_outputs.fill(0.0);
        priorities.clear();
        for (b, ((action, share), target)) in taken.shares().zip(taken.targets.chunks_exact(atoms)).enumerate() {
            let row = (b * self.n_actions + action) * atoms..(b * self.n_actions + action + 1) * atoms;
            let (logits, d_logits) = (&outputs[row.clone()], &mut d_outputs[row]);
            let log_sum = softmax(logits, d_logits);
            value += d_logits.iter().zip(&self.support).map(|(p, z)| p * z).sum::<f32>();
            let (mut cross_entropy, mut divergence) = (0.0, 0.0);
            for ((d, target), logit) in d_logits.iter_mut().zip(target).zip(logits) {
                cross_entropy -= target * (logit - log_sum);
                if *target > 0.0 {
                    divergence += target * (target.ln() - (logit - log_sum));
                }
                *d = share * (*d - target);
            }
            loss += share * cross_entropy;
            priorities.push(divergence.max(0.0));
        }
        Fitted { loss: loss.into(), value: f64::from(value) / taken.batch() as f64 }
    }
}

/// Writes `e^x / Σ e^x` and returns `ln Σ e^x`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn softmax(logits: &[f32], probs: &mut [f32]) -> f32 {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |largest, x| largest.max(*x));
    for (p, x) in probs.iter_mut().zip(logits) {
        *p = exp(x - largest);
    }
    let sum: f32 = probs.iter().sum();
    for p in probs.iter_mut() {
        *p /= sum;
    }
    largest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dqn::policy::Policy;
    use crate::losses::tests::{assert_close, floats, parts};

    #[test]
    fn a_projection_by_hand() {
        // Atoms 0, 1, 2 with probabilities 0.25, 0.5, 0.25. r + 0.5 z is 0.75, 1.25, 1.75.
        let head = Categorical::new(1, 3, 0.0, 2.0);
        let mut projected = [0.0; 3];
        head.project(&[0.25, 0.5, 0.25], 1.0, [0.75, 0.5, 0.0], &mut projected);
        assert_eq!(projected, [0.0625, 0.1875 + 0.375 + 0.0625, 0.125 + 0.1875]);
        // Where the episode ended all mass is at the reward, clipped to the support.
        for (reward, expected) in [(1.0, [0.0, 1.0, 0.0]), (9.0, [0.0, 0.0, 1.0]), (-9.0, [1.0, 0.0, 0.0])] {
            let mut projected = [0.0; 3];
            head.project(&[0.25, 0.5, 0.25], 1.0, [reward, 0.0, 0.0], &mut projected);
            assert_eq!(projected, expected);
        }
    }

    #[test]
    fn a_projection_keeps_mass_and_mean_inside_the_support() {
        let head = Categorical::new(2, 51, -10.0, 10.0);
        let logits: Vec<f32> = (0..102).map(|i| (i as f32 * 0.37).sin()).collect();
        let (mut values, mut targets) = (vec![], vec![]);
        head.values(&logits, &mut values);
        let policy = Policy { n_actions: 2, probs: vec![0.25, 0.75], bonuses: vec![0.5, -0.25] };
        head.targets(&logits, &Next { returns: &[0.3], discounts: &[0.5], policy: &policy }, &mut targets);
        let mean: f32 = targets.iter().zip(&head.support).map(|(m, z)| m * z).sum();
        let expected = 0.3 + 0.5 * (0.25 * (values[0] + 0.5) + 0.75 * (values[1] - 0.25));
        assert!((targets.iter().sum::<f32>() - 1.0).abs() < 1e-5 && (mean - expected).abs() < 1e-4, "{mean}");
    }

    #[test]
    fn targets_loss_and_gradient_agree_with_pytorch() {
        let golden = parts();
        let case = &golden["categorical"];
        let [logits, logits_t, returns, discounts, weights] =
            ["logits", "logits_t", "returns", "discounts", "weights"].map(|name| floats(&case[name]));
        let head = Categorical::new(3, 7, -2.0, 3.0);
        let (mut values, mut targets, mut policy) = (vec![], vec![], Policy::default());
        head.values(&logits_t, &mut values);
        assert_close(&values, &case["values_t"]);
        policy.be_greedy(&values, 3);
        head.targets(&logits_t, &Next { returns: &returns, discounts: &discounts, policy: &policy }, &mut targets);
        assert_close(&targets, &case["targets"]);
        let (mut d_outputs, mut priorities) = (vec![0.0; logits.len()], vec![]);
        let taken = Taken { actions: &[0, 2, 1, 2], targets: &targets, weights: &weights };
        let fitted = head.loss(&logits, &taken, &mut d_outputs, &mut priorities);
        assert_close(&[fitted.loss as f32], &case["loss"]);
        assert_close(&d_outputs, &case["gradient"]);
        assert_close(&priorities, &case["divergence"]);
    }
}
