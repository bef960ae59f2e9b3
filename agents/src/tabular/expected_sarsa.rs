//! Expected SARSA (van Seijen et al. 2009).

use super::progress::Progress;
use super::steps::table_steps;
use super::table::{QTable, expected_value};
use super::td::TdConfig;
use crate::agent::{Agent, LearnError, Learner, Stat, Task};
use crate::settings::{AgentError, n_states, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::{Seeds, VecEnv};
use ndarray::{Array2, ArrayView2};

/// TD error of expected SARSA: `r_t + discount_t · Σ_a π(a) q_t[a] − q_tm1[a_tm1]` with ε-greedy π.
///
/// Sutton & Barto (2018), eq. 6.9. With `epsilon = 0` it is Q-learning's.
pub fn expected_sarsa(q_tm1: &[f64], a_tm1: usize, r_t: f64, discount_t: f64, q_t: &[f64], epsilon: f64) -> f64 {
    r_t + discount_t * expected_value(q_t, epsilon) - q_tm1[a_tm1]
}

/// On-policy control with the expectation over the next action in place of a sample of it.
#[derive(Debug)]
pub struct ExpectedSarsa {
    config: TdConfig,
    q: QTable,
    progress: Progress,
}

impl Learner for ExpectedSarsa {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.progress.act(&self.q, obs, actions);
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        let (lr, epsilon) = (self.progress.lr(), self.progress.epsilon());
        for step in table_steps(envs, actions) {
            let (q_tm1, q_t) = (self.q.row(step.state), self.q.row(step.next_state));
            let discount_t = step.discount(self.config.gamma);
            let td_error = expected_sarsa(q_tm1, step.action, step.reward, discount_t, q_t, epsilon);
            self.progress.record(td_error, q_tm1[step.action])?;
            *self.q.at(step.state, step.action) += lr * td_error;
        }
        self.progress.advance(actions.len());
        Ok(())
    }
}

impl ExpectedSarsa {
    /// An untrained agent for `task`.
    ///
    /// # Errors
    /// When a setting is out of range, or the observations are not discrete.
    pub fn new(config: TdConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("expected-sarsa", &config)?;
        let q = QTable::new(n_states("expected-sarsa", task)?, task.n_actions, config.q_init);
        let progress = config.progress(seeds);
        Ok(Self { config, q, progress })
    }

    /// Q(s, a), `[n_states, n_actions]`.
    pub fn action_values(&self) -> ArrayView2<'_, f64> {
        self.q.values()
    }
}

impl Agent for ExpectedSarsa {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.q.greedy(obs, actions);
    }

    fn stats(&mut self) -> Vec<Stat> {
        self.progress.stats()
    }

    fn table(&self) -> Option<Array2<f64>> {
        Some(self.action_values().to_owned())
    }

    fn save(&self) -> Snapshot<'_> {
        self.progress.save().array("q", self.q.as_slice())
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.progress.load(from)?;
        from.read("q", self.q.as_mut_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tabular::q_learning::q_learning;
    use proptest::prelude::*;

    #[test]
    fn the_td_error_is_as_worked_by_hand() {
        // Σ π q = 0.8 · 4 + 0.2 · (4 + 0)/2 = 3.6; 1 + 0.5 · 3.6 − 2 = 0.8.
        assert!((expected_sarsa(&[0.0, 2.0], 1, 1.0, 0.5, &[4.0, 0.0], 0.2) - 0.8).abs() < 1e-12);
        assert_eq!(expected_sarsa(&[0.0, 2.0], 1, 1.0, 0.0, &[4.0, 0.0], 0.2), -1.0);
    }

    proptest! {
        #[test]
        fn without_exploration_it_is_q_learning(
            q_tm1 in [-9.0..9.0, -9.0..9.0, -9.0..9.0], a_tm1 in 0_usize..3, r_t in -9.0..9.0,
            discount_t in 0.0..1.0, q_t in [-9.0..9.0, -9.0..9.0, -9.0..9.0],
        ) {
            let greedy = expected_sarsa(&q_tm1, a_tm1, r_t, discount_t, &q_t, 0.0);
            prop_assert_eq!(greedy, q_learning(&q_tm1, a_tm1, r_t, discount_t, &q_t));
        }
    }
}
