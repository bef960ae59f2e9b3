//! How a target goes on behind its rewards: by the best next action (Mnih et al. 2015), by the action that the online
//! network finds best (double: van Hasselt et al. 2016), or by a soft policy whose logarithm is a reward (Munchausen:
//! Vieillard et al. 2020).
//!
//! Munchausen, equation 1 and section 3, with `π = softmax(q / τ)` and q of the target network:
//!
//! `target = r_t + α [τ ln π(a_tm1 | s_tm1)]_l^0 + discount_t Σ_a π(a | s_t) (q(s_t, a) - τ ln π(a | s_t))`.
//!
//! With n steps the logarithm of the first action's probability alone is added, as in Dopamine.

use super::head::Head;
use super::policy::Policy;
use crate::q_network::{Input, QNetwork, Weights};
use crate::replay::Batch;
use carom_envs::settings::{Above, Fault, Settings};

carom_envs::settings! {
    /// Settings of what follows a transition's rewards.
    pub struct BootstrapSettings {
        /// Let the online network choose the action that the target network values.
        double: bool = false;
        /// Follow a soft policy, and add the logarithm of its probabilities to the rewards.
        munchausen: bool = false;
        /// Weight of the logarithm of the probability of the action taken.
        munchausen_alpha: f64 = 0.9, in 0.0..=1.0;
        /// Temperature of the soft policy.
        munchausen_tau: f64 = 0.03, in Above(0.0);
        /// Least value of the temperature times the logarithm of the probability of the action taken.
        munchausen_floor: f64 = -1.0, in -1e6..=0.0;
    }
}

impl Settings for BootstrapSettings {
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn unheard(&self) -> Vec<(&'static str, String)> {
        if self.munchausen {
            let mut unheard = vec![("double", "munchausen is on, whose policy takes no best action".to_owned())];
            if self.munchausen_alpha == 0.0 {
                unheard.push(("munchausen_floor", "munchausen_alpha is 0".to_owned()));
            } else if self.munchausen_floor == 0.0 {
                unheard.push(("munchausen_alpha", "munchausen_floor is 0".to_owned()));
            }
            return unheard;
        }
        let keys = ["munchausen_alpha", "munchausen_tau", "munchausen_floor"];
        keys.map(|key| (key, "munchausen is off".to_owned())).to_vec()
    }
}

/// How a target goes on behind its rewards.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bootstrap {
    /// By the best next action.
    Max,
    /// By the next action that the online network finds best.
    Double,
    /// By a soft policy.
    Munchausen(Munchausen),
}

/// Constants of the soft policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Munchausen {
    alpha: f32,
    tau: f32,
    floor: f32,
}

impl Bootstrap {
    pub(crate) fn new(settings: &BootstrapSettings) -> Self {
        let BootstrapSettings { double, munchausen, munchausen_alpha, munchausen_tau, munchausen_floor } = *settings;
        match (munchausen, double) {
            (true, _) => Self::Munchausen(Munchausen {
                alpha: munchausen_alpha as f32,
                tau: munchausen_tau as f32,
                floor: munchausen_floor as f32,
            }),
            (false, true) => Self::Double,
            (false, false) => Self::Max,
        }
    }

    /// Returns the target network's outputs of the next observations, and makes `policy` that of the next actions. May
    /// add to the returns of `batch`.
    pub(crate) fn value(
        self,
        network: &mut QNetwork,
        head: &dyn Head,
        n_actions: usize,
        batch: &mut Batch,
        policy: &mut Policy,
    ) -> Vec<f32> {
        let (input, mut values) = (Input { obs: &batch.next_obs, taus: head.taus_t() }, vec![]);
        match self {
            Self::Double => {
                let (online, outputs_t) = if input.taus.is_empty() {
                    network.both_q(input.obs).into()
                } else {
                    let online = network.q(Weights::Online, input.obs).to_vec();
                    (online, network.outputs(Weights::Target, input).to_vec())
                };
                head.values(&online, &mut values);
                policy.be_greedy(&values, n_actions);
                outputs_t
            }
            Self::Max | Self::Munchausen(_) => {
                let outputs_t = network.outputs(Weights::Target, input).to_vec();
                head.values(&outputs_t, &mut values);
                policy.be_greedy(&values, n_actions);
                if let Self::Munchausen(munchausen) = self {
                    munchausen.soften(&values, policy);
                    head.values(network.q(Weights::Target, &batch.obs), &mut values);
                    munchausen.reward(&values, &batch.actions, &mut batch.returns);
                }
                outputs_t
            }
        }
    }
}

impl Munchausen {
    /// Writes `τ ln π` of the actions with these values.
    fn scaled_log_probs(self, values: &[f32], log_probs: &mut [f32]) {
        let largest = values.iter().fold(f32::NEG_INFINITY, |largest, q| largest.max(*q));
        let sum: f32 = values.iter().map(|q| ((q - largest) / self.tau).exp()).sum();
        for (log_prob, q) in log_probs.iter_mut().zip(values) {
            *log_prob = q - largest - self.tau * sum.ln();
        }
    }

    /// Makes `policy` the soft one of `values`, whose entropy is added to the values of its actions.
    fn soften(self, values: &[f32], policy: &mut Policy) {
        let n = policy.n_actions;
        let rows = policy.probs.chunks_exact_mut(n).zip(policy.bonuses.chunks_exact_mut(n));
        for ((probs, bonuses), values) in rows.zip(values.chunks_exact(n)) {
            self.scaled_log_probs(values, bonuses);
            for (prob, bonus) in probs.iter_mut().zip(bonuses) {
                *prob = (*bonus / self.tau).exp();
                *bonus = -*bonus;
            }
        }
    }

    /// Adds the logarithm of the taken action's probability to each return, given the values of the states acted in.
    fn reward(self, values: &[f32], actions: &[u8], returns: &mut [f32]) {
        let n_actions = values.len() / actions.len();
        let mut log_probs = vec![0.0; n_actions];
        for ((values, action), r) in values.chunks_exact(n_actions).zip(actions).zip(returns) {
            self.scaled_log_probs(values, &mut log_probs);
            *r += self.alpha * log_probs[usize::from(*action)].clamp(self.floor, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::tests::{assert_close, floats, parts};

    const MUNCHAUSEN: Munchausen = Munchausen { alpha: 0.9, tau: 0.03, floor: -1.0 };

    #[test]
    fn a_soft_policy_by_hand() {
        // Two equal actions: ln π is -ln 2, and both values are raised by τ ln 2.
        let (mut policy, mut returns) = (Policy::default(), [1.0, 1.0]);
        policy.be_greedy(&[4.0, 4.0], 2);
        MUNCHAUSEN.soften(&[4.0, 4.0], &mut policy);
        let bonus = 0.03 * std::f32::consts::LN_2;
        assert!(policy.probs.iter().all(|prob| (prob - 0.5).abs() < 1e-6));
        assert!(policy.bonuses.iter().all(|b| (b - bonus).abs() < 1e-6));
        // The second state's action is 5 worse than the other, so its logarithm is cut off at -1.
        MUNCHAUSEN.reward(&[4.0, 4.0, 5.0, 0.0], &[0, 1], &mut returns);
        assert!((returns[0] - (1.0 - 0.9 * bonus)).abs() < 1e-6 && (returns[1] - 0.1).abs() < 1e-6, "{returns:?}");
    }

    #[test]
    fn a_cold_policy_is_greedy() {
        let (values, mut policy) = ([0.5, 2.0, 1.0], Policy::default());
        policy.be_greedy(&values, 3);
        Munchausen { tau: 1e-4, ..MUNCHAUSEN }.soften(&values, &mut policy);
        assert_eq!(policy.actions(0).map(|(action, prob, _)| (action, prob)).collect::<Vec<_>>(), [(1, 1.0)]);
    }

    #[test]
    fn targets_agree_with_pytorch() {
        let golden = parts();
        let case = &golden["munchausen"];
        let [q_tm1, q_t, r_t, discount_t] = ["q_tm1", "q_t", "r_t", "discount_t"].map(|name| floats(&case[name]));
        let (mut policy, mut returns) = (Policy::default(), r_t);
        policy.be_greedy(&q_t, 3);
        MUNCHAUSEN.soften(&q_t, &mut policy);
        MUNCHAUSEN.reward(&q_tm1, &[0, 2, 1, 2], &mut returns);
        let targets: Vec<f32> = (0..4)
            .map(|b| {
                let value: f32 = policy.actions(b).map(|(a, prob, bonus)| prob * (q_t[3 * b + a] + bonus)).sum();
                returns[b] + discount_t[b] * value
            })
            .collect();
        assert_close(&targets, &case["targets"]);
    }
}
