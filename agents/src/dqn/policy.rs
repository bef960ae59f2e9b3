//! The policy after a transition: the actions that the target counts on, and what they are worth.

use crate::losses::argmax;

/// Probabilities of the next actions, and a number that is added to the value of each. Both are `[B, n_actions]`.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) n_actions: usize,
    pub(crate) probs: Vec<f32>,
    pub(crate) bonuses: Vec<f32>,
}

impl Policy {
    /// Makes it the greedy policy of `values`, `[B, n_actions]`.
    pub(crate) fn be_greedy(&mut self, values: &[f32], n_actions: usize) {
        self.n_actions = n_actions;
        for vector in [&mut self.probs, &mut self.bonuses] {
            vector.clear();
            vector.resize(values.len(), 0.0);
        }
        for (probs, values) in self.probs.chunks_exact_mut(n_actions).zip(values.chunks_exact(n_actions)) {
            probs[argmax(values)] = 1.0;
        }
    }

    /// The actions that are taken after transition `b`, each with its probability and its bonus.
    pub(crate) fn actions(&self, b: usize) -> impl Iterator<Item = (usize, f32, f32)> {
        let row = b * self.n_actions..(b + 1) * self.n_actions;
        let pairs = self.probs[row.clone()].iter().zip(&self.bonuses[row]).enumerate();
        pairs.map(|(action, (prob, bonus))| (action, *prob, *bonus)).filter(|(_, prob, _)| *prob > 0.0)
    }
}

/// Returns, discounts (0 where the episode terminated) and next actions of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next<'a> {
    pub(crate) returns: &'a [f32],
    pub(crate) discounts: &'a [f32],
    pub(crate) policy: &'a Policy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greedy_policy_takes_the_first_of_the_best_actions() {
        let mut policy = Policy::default();
        policy.be_greedy(&[1.0, 3.0, 3.0, 0.0, -1.0, -2.0], 3);
        assert_eq!(policy.probs, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(policy.actions(1).collect::<Vec<_>>(), [(0, 1.0, 0.0)]);
    }
}
