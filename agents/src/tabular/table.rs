//! The table of action values, and the two policies read off it.

use super::steps::states;
use ndarray::{Array2, ArrayView2};
use rand::Rng;

/// Q(s, a) for all states and actions.
#[derive(Clone, Debug, PartialEq)]
pub struct QTable {
    /// `[n_states, n_actions]`, in rows.
    values: Array2<f64>,
}

impl QTable {
    /// A table with `init` in every entry.
    pub fn new(n_states: usize, n_actions: usize, init: f64) -> Self {
        Self { values: Array2::from_elem((n_states, n_actions), init) }
    }

    /// The sum of two tables of one shape, entry by entry.
    ///
    /// # Panics
    /// When their shapes differ.
    pub fn sum(first: &Self, second: &Self) -> Self {
        Self { values: &first.values + &second.values }
    }

    /// All entries, `[n_states, n_actions]`.
    pub fn values(&self) -> ArrayView2<'_, f64> {
        self.values.view()
    }

    /// Q(state, ·), `[n_actions]`.
    pub fn row(&self, state: usize) -> &[f64] {
        let n_actions = self.values.ncols();
        &self.as_slice()[state * n_actions..][..n_actions]
    }

    /// Q(state, action), to be changed.
    pub fn at(&mut self, state: usize, action: usize) -> &mut f64 {
        &mut self.values[[state, action]]
    }

    /// All entries, row by row.
    pub(super) fn as_slice(&self) -> &[f64] {
        self.values.as_slice().expect("rows lie one after the other")
    }

    /// All entries, row by row, to be changed.
    pub(super) fn as_mut_slice(&mut self) -> &mut [f64] {
        self.values.as_slice_mut().expect("rows lie one after the other")
    }

    /// Writes the greedy action of each discrete observation in `obs` to `actions`.
    pub(crate) fn greedy(&self, obs: &[u8], actions: &mut [usize]) {
        for (state, action) in states(obs).zip(actions) {
            *action = greedy_action(self.row(state));
        }
    }
}

/// The largest of `q`.
pub(crate) fn max(q: &[f64]) -> f64 {
    q.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The action of the largest value, the lowest index of several.
pub fn greedy_action(q: &[f64]) -> usize {
    let best = max(q);
    q.iter().position(|&value| value == best).unwrap_or(0)
}

/// A uniformly random action with probability `epsilon`, else one of the largest value, each of several equally likely.
pub fn epsilon_greedy(q: &[f64], epsilon: f64, rng: &mut impl Rng) -> usize {
    if rng.gen_bool(epsilon) {
        return rng.gen_range(0..q.len() as u32) as usize;
    }
    let best = max(q);
    let n_best = q.iter().filter(|&&value| value == best).count() as u32;
    if n_best <= 1 {
        return greedy_action(q);
    }
    let pick = rng.gen_range(0..n_best) as usize;
    let mut ties = q.iter().enumerate().filter(|&(_, &value)| value == best);
    ties.nth(pick).map_or(0, |(action, _)| action)
}

/// `Σ_a π(a) q(a)` under ε-greedy π: `(1 − ε) max_a q(a) + ε mean_a q(a)`, however ties are broken.
pub fn expected_value(q: &[f64], epsilon: f64) -> f64 {
    let mean = q.iter().sum::<f64>() / q.len() as f64;
    (1.0 - epsilon) * max(q) + epsilon * mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::Seeds;

    #[test]
    fn the_greedy_policy_takes_the_lowest_of_equal_actions_and_the_exploring_one_any() {
        let q = [0.0, 2.0, 1.0, 2.0];
        assert_eq!(greedy_action(&q), 1);
        let mut rng = Seeds::new(0).stream("explore");
        let mut counts = [0; 4];
        (0..10_000).for_each(|_| counts[epsilon_greedy(&q, 0.0, &mut rng)] += 1);
        assert_eq!((counts[0], counts[2]), (0, 0));
        assert!((4_800..5_200).contains(&counts[1]), "{counts:?}");
    }

    #[test]
    fn epsilon_is_the_probability_of_a_uniform_action() {
        let q = [0.0, 1.0, 0.0, 0.0];
        let mut rng = Seeds::new(0).stream("explore");
        let greedy = (0..40_000).filter(|_| epsilon_greedy(&q, 0.2, &mut rng) == 1).count();
        // 1 − ε + ε/4 = 0.85, standard deviation 0.0018.
        assert!((0.842..0.858).contains(&(greedy as f64 / 40_000.0)), "{greedy}");
    }

    #[test]
    fn the_expected_value_lies_between_mean_and_maximum() {
        let q = [1.0, 2.0, 6.0];
        assert_eq!(expected_value(&q, 0.0), 6.0);
        assert_eq!(expected_value(&q, 1.0), 3.0);
        assert!((expected_value(&q, 0.1) - 5.7).abs() < 1e-12);
    }
}
