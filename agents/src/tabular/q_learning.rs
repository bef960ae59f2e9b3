//! Q-learning (Watkins & Dayan 1992).

use super::progress::Progress;
use super::steps::table_steps;
use super::table::{QTable, max};
use super::td::TdConfig;
use crate::agent::{Agent, LearnError, Learner, Stat, Task};
use crate::settings::{AgentError, n_states, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::{Seeds, VecEnv};
use ndarray::{Array2, ArrayView2};

/// TD error of Q-learning: `r_t + discount_t · max_a q_t[a] − q_tm1[a_tm1]`.
///
/// Sutton & Barto (2018), eq. 6.8.
pub fn q_learning(q_tm1: &[f64], a_tm1: usize, r_t: f64, discount_t: f64, q_t: &[f64]) -> f64 {
    r_t + discount_t * max(q_t) - q_tm1[a_tm1]
}

/// Off-policy control: learns the greedy policy's values while behaving ε-greedily.
#[derive(Debug)]
pub struct QLearning {
    config: TdConfig,
    q: QTable,
    progress: Progress,
}

impl Learner for QLearning {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.progress.act(&self.q, obs, actions);
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        let lr = self.progress.lr();
        for step in table_steps(envs, actions) {
            let (q_tm1, q_t) = (self.q.row(step.state), self.q.row(step.next_state));
            let td_error = q_learning(q_tm1, step.action, step.reward, step.discount(self.config.gamma), q_t);
            self.progress.record(td_error, q_tm1[step.action])?;
            *self.q.at(step.state, step.action) += lr * td_error;
        }
        self.progress.advance(actions.len());
        Ok(())
    }
}

impl QLearning {
    /// An untrained agent for `task`.
    ///
    /// # Errors
    /// When a setting is out of range, or the observations are not discrete.
    pub fn new(config: TdConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("q-learning", &config)?;
        let q = QTable::new(n_states("q-learning", task)?, task.n_actions, config.q_init);
        let progress = config.progress(seeds);
        Ok(Self { config, q, progress })
    }

    /// Q(s, a), `[n_states, n_actions]`.
    pub fn action_values(&self) -> ArrayView2<'_, f64> {
        self.q.values()
    }
}

impl Agent for QLearning {
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

    #[test]
    fn the_td_error_is_as_worked_by_hand() {
        // 1 + 0.9 · 4 − 2 = 2.6; a terminal transition leaves 1 − 2.
        assert!((q_learning(&[0.0, 2.0], 1, 1.0, 0.9, &[4.0, -7.0]) - 2.6).abs() < 1e-12);
        assert_eq!(q_learning(&[0.0, 2.0], 1, 1.0, 0.0, &[4.0, -7.0]), -1.0);
    }
}
