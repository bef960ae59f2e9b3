//! SARSA (Rummery & Niranjan 1994).

use super::progress::Progress;
use super::steps::{TableStep, table_steps};
use super::table::{QTable, expected_value};
use super::td::TdConfig;
use crate::agent::{Agent, LearnError, Learner, Stat, Task};
use crate::settings::{AgentError, n_states, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::{Seeds, VecEnv};
use ndarray::{Array2, ArrayView2};

/// TD error of SARSA: `r_t + discount_t · q_t[a_t] − q_tm1[a_tm1]`, where `a_t` is the action played next.
///
/// Sutton & Barto (2018), eq. 6.7.
pub fn sarsa(q_tm1: &[f64], a_tm1: usize, r_t: f64, discount_t: f64, q_t: &[f64], a_t: usize) -> f64 {
    r_t + discount_t * q_t[a_t] - q_tm1[a_tm1]
}

/// On-policy control: learns the values of the ε-greedy policy it plays.
///
/// A transition waits until the next action of its environment is known. After a truncation no action is played. The
/// expectation over the policy then takes its place: it is SARSA's target on average, and draws no random number.
#[derive(Debug)]
pub struct Sarsa {
    config: TdConfig,
    q: QTable,
    progress: Progress,
    /// The transition of each environment whose next action is not known yet.
    pending: Vec<Option<TableStep>>,
}

impl Learner for Sarsa {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.progress.act(&self.q, obs, actions);
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        for (env_idx, step) in table_steps(envs, actions).enumerate() {
            if let Some(before) = self.pending[env_idx].take() {
                self.learn_followed(before, step.action)?;
            }
            if step.done() {
                self.learn_last(step)?;
            } else {
                self.pending[env_idx] = Some(step);
            }
        }
        self.progress.advance(actions.len());
        Ok(())
    }
}

impl Sarsa {
    /// An untrained agent for `task`.
    ///
    /// # Errors
    /// When a setting is out of range, or the observations are not discrete.
    pub fn new(config: TdConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("sarsa", &config)?;
        let q = QTable::new(n_states("sarsa", task)?, task.n_actions, config.q_init);
        let progress = config.progress(seeds);
        Ok(Self { config, q, progress, pending: vec![None; task.n_envs] })
    }

    /// Q(s, a), `[n_states, n_actions]`.
    pub fn action_values(&self) -> ArrayView2<'_, f64> {
        self.q.values()
    }

    fn update(&mut self, state: usize, action: usize, td_error: f64) -> Result<(), LearnError> {
        let lr = self.progress.lr();
        let q = self.q.at(state, action);
        self.progress.record(td_error, *q)?;
        *q += lr * td_error;
        Ok(())
    }

    /// Learns from a transition that `a_t` followed.
    fn learn_followed(&mut self, step: TableStep, a_t: usize) -> Result<(), LearnError> {
        let (q_tm1, q_t) = (self.q.row(step.state), self.q.row(step.next_state));
        let td_error = sarsa(q_tm1, step.action, step.reward, self.config.gamma, q_t, a_t);
        self.update(step.state, step.action, td_error)
    }

    /// Learns from a transition that ended its episode.
    fn learn_last(&mut self, step: TableStep) -> Result<(), LearnError> {
        let v_t = expected_value(self.q.row(step.next_state), self.progress.epsilon());
        let target = step.reward + step.discount(self.config.gamma) * v_t;
        let td_error = target - self.q.row(step.state)[step.action];
        self.update(step.state, step.action, td_error)
    }
}

impl Agent for Sarsa {
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
        self.progress.save().value("pending", &self.pending).array("q", self.q.as_slice())
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.progress.load(from)?;
        let ((n_states, n_actions), n_envs) = (self.q.values().dim(), self.pending.len());
        let is_step = |step: &TableStep| step.state < n_states && step.next_state < n_states && step.action < n_actions;
        let possible = |steps: &Vec<Option<TableStep>>| steps.len() == n_envs && steps.iter().flatten().all(is_step);
        self.pending = from.value_where("pending", possible)?;
        from.read("q", self.q.as_mut_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_td_error_is_as_worked_by_hand() {
        // 1 + 0.9 · 3 − 2 = 1.7 with the action played, whatever the other is worth.
        assert!((sarsa(&[0.0, 2.0], 1, 1.0, 0.9, &[8.0, 3.0], 1) - 1.7).abs() < 1e-12);
        assert_eq!(sarsa(&[0.0, 2.0], 1, 1.0, 0.0, &[8.0, 3.0], 1), -1.0);
    }
}
