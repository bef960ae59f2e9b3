//! One value for each action (Mnih et al. 2015).
//!
//! `target = r_t + discount_t Σ_a π(a) (q_t(a) + bonus(a))`. The priority is the TD error's size (Schaul et al. 2016,
//! section 3.3).

use crate::dqn::head::{Head, Taken};
use crate::dqn::policy::Next;
use crate::losses::Loss;
use crate::q_network::Fitted;

/// Values as they are.
pub(super) struct Scalar {
    pub(super) loss: Loss,
}

impl Head for Scalar {
    fn values(&self, outputs: &[f32], values: &mut Vec<f32>) {
        values.clear();
        values.extend(outputs);
    }

    fn targets(&self, outputs_t: &[f32], next: &Next, targets: &mut Vec<f32>) {
        let q_t = outputs_t.chunks_exact(next.policy.n_actions);
        targets.clear();
        targets.extend(q_t.enumerate().map(|(b, q_t)| {
            let value: f32 = next.policy.actions(b).map(|(a, prob, bonus)| prob * (q_t[a] + bonus)).sum();
            next.returns[b] + next.discounts[b] * value
        }));
    }

    fn loss(&self, outputs: &[f32], taken: &Taken, d_outputs: &mut [f32], priorities: &mut Vec<f32>) -> Fitted {
        let (batch, n_actions) = (taken.batch(), outputs.len() / taken.batch());
        d_outputs.fill(0.0);
        priorities.clear();
        let (mut total, mut value) = (0.0, 0.0);
        for (b, (action, target)) in taken.actions.iter().zip(taken.targets).enumerate() {
            let at = b * n_actions + usize::from(*action);
            let td_error = target - outputs[at];
            d_outputs[at] = -self.loss.slope(td_error) * taken.weights[b] / batch as f32;
            total += taken.weights[b] * self.loss.value(td_error);
            value += outputs[at];
            priorities.push(td_error.abs());
        }
        Fitted { loss: (total / batch as f32).into(), value: f64::from(value) / batch as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dqn::policy::Policy;
    use crate::losses::mean_loss;
    use crate::losses::tests::{assert_close, floats, golden};

    #[test]
    fn with_a_greedy_policy_it_is_q_learning() {
        let (q_t, mut policy, mut targets) = ([0.3, -1.0, 2.5, 0.1, 0.2, 0.15], Policy::default(), vec![]);
        policy.be_greedy(&q_t, 3);
        let next = Next { returns: &[0.5, 1.0], discounts: &[0.9, 0.0], policy: &policy };
        let head = Scalar { loss: Loss::Huber };
        head.targets(&q_t, &next, &mut targets);
        assert_eq!(targets, [0.5 + 0.9 * 2.5, 1.0]);

        let (q, actions) = ([0.1, 0.2, 5.0, -1.0, 0.0, 1.0], [2, 0]);
        let (mut ours, mut theirs, mut priorities) = ([0.0; 6], [0.0; 6], vec![]);
        let taken = Taken { actions: &actions, targets: &targets, weights: &[1.0; 2] };
        let fitted = head.loss(&q, &taken, &mut ours, &mut priorities);
        let loss = mean_loss(Loss::Huber, &q, &actions, &targets, &mut theirs);
        assert_eq!((ours, fitted.loss, fitted.value), (theirs, loss.into(), 2.0));
        assert_eq!(priorities, [5.0 - targets[0], targets[1] + 1.0]);
    }

    /// Of q-learning the target network chooses the action, of double q-learning the online one.
    #[test]
    fn errors_agree_with_pytorch_whichever_network_chooses() {
        let golden = golden();
        let case = &golden["td"];
        let [q_tm1, q_t, selector, returns, discounts] =
            ["q_tm1", "q_t", "q_t_selector", "r_t", "discount_t"].map(|name| floats(&case[name]));
        let a_tm1 = floats(&case["a_tm1"]);
        for (chooser, errors) in [(&q_t, "q_learning_td"), (&selector, "double_q_td")] {
            let (mut policy, mut targets) = (Policy::default(), vec![]);
            policy.be_greedy(chooser, 3);
            let next = Next { returns: &returns, discounts: &discounts, policy: &policy };
            Scalar { loss: Loss::Huber }.targets(&q_t, &next, &mut targets);
            let taken = a_tm1.iter().enumerate().map(|(b, a)| q_tm1[3 * b + *a as usize]);
            let found: Vec<f32> = targets.iter().zip(taken).map(|(target, q)| target - q).collect();
            assert_close(&found, &case[errors]);
        }
    }

    #[test]
    fn weights_scale_loss_and_gradient_by_hand() {
        // Errors of 0.5 and 2 with weights 1 and 0.5: (0.125 + 0.5 * 1.5) / 2.
        let taken = Taken { actions: &[0, 0], targets: &[0.5, 2.0], weights: &[1.0, 0.5] };
        let (mut d_q, mut priorities) = ([0.0; 2], vec![]);
        let fitted = Scalar { loss: Loss::Huber }.loss(&[0.0, 0.0], &taken, &mut d_q, &mut priorities);
        assert_eq!((fitted.loss, d_q), (0.4375, [-0.25, -0.25]));
    }
}
