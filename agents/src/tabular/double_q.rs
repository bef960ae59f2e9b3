//! Double Q-learning (van Hasselt 2010).

use super::progress::Progress;
use super::steps::table_steps;
use super::table::{QTable, greedy_action};
use super::td::TdConfig;
use crate::agent::{Agent, LearnError, Learner, Stat, Task};
use crate::settings::{AgentError, n_states, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::{Seeds, VecEnv};
use ndarray::{Array2, ArrayView2};
use rand::Rng;
use rand_pcg::Pcg32;

/// TD error of double Q-learning: `r_t + discount_t · q_t_value[argmax_a q_t_selector[a]] − q_tm1[a_tm1]`, where
/// `q_tm1` and `q_t_selector` are the table that is updated and `q_t_value` is the other.
///
/// Sutton & Barto (2018), eq. 6.10. With one table for both it is Q-learning's.
pub fn double_q(
    q_tm1: &[f64],
    a_tm1: usize,
    r_t: f64,
    discount_t: f64,
    q_t_value: &[f64],
    q_t_selector: &[f64],
) -> f64 {
    r_t + discount_t * q_t_value[greedy_action(q_t_selector)] - q_tm1[a_tm1]
}

/// Q-learning with two tables. One chooses the best action and the other values it, which removes the maximum's bias
/// towards values that are too high by chance.
///
/// A coin decides which table a transition updates. Behaviour and the greedy policy follow the sum of both.
#[derive(Debug)]
pub struct DoubleQ {
    config: TdConfig,
    tables: [QTable; 2],
    /// Sum of the two tables, entry by entry.
    sum: QTable,
    coin: Pcg32,
    progress: Progress,
}

impl Learner for DoubleQ {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.progress.act(&self.sum, obs, actions);
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        let lr = self.progress.lr();
        for step in table_steps(envs, actions) {
            let updated = usize::from(self.coin.gen_bool(0.5));
            let (table, other) = (&self.tables[updated], &self.tables[1 - updated]);
            let (q_tm1, q_t_selector) = (table.row(step.state), table.row(step.next_state));
            let discount_t = step.discount(self.config.gamma);
            let td_error =
                double_q(q_tm1, step.action, step.reward, discount_t, other.row(step.next_state), q_t_selector);
            self.progress.record(td_error, q_tm1[step.action])?;
            *self.tables[updated].at(step.state, step.action) += lr * td_error;
            let [first, second] = &self.tables;
            *self.sum.at(step.state, step.action) =
                first.row(step.state)[step.action] + second.row(step.state)[step.action];
        }
        self.progress.advance(actions.len());
        Ok(())
    }
}

impl DoubleQ {
    /// An untrained agent for `task`.
    ///
    /// # Errors
    /// When a setting is out of range, or the observations are not discrete.
    pub fn new(config: TdConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("double-q", &config)?;
        let n_states = n_states("double-q", task)?;
        let table = |init| QTable::new(n_states, task.n_actions, init);
        let tables = [table(config.q_init), table(config.q_init)];
        let progress = config.progress(seeds);
        Ok(Self { tables, sum: table(2.0 * config.q_init), coin: seeds.stream("double-q"), config, progress })
    }

    /// Q(s, a) summed over both tables, `[n_states, n_actions]`.
    pub fn action_values(&self) -> ArrayView2<'_, f64> {
        self.sum.values()
    }
}

impl Agent for DoubleQ {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.sum.greedy(obs, actions);
    }

    fn stats(&mut self) -> Vec<Stat> {
        self.progress.stats()
    }

    fn table(&self) -> Option<Array2<f64>> {
        Some(&self.action_values() / 2.0)
    }

    fn save(&self) -> Snapshot<'_> {
        let [first, second] = &self.tables;
        self.progress.save().value("coin", &self.coin).array("q0", first.as_slice()).array("q1", second.as_slice())
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.progress.load(from)?;
        self.coin = from.value("coin")?;
        let [first, second] = &mut self.tables;
        from.read("q0", first.as_mut_slice())?;
        from.read("q1", second.as_mut_slice())?;
        self.sum = QTable::sum(first, second);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tabular::q_learning::q_learning;

    #[test]
    fn the_td_error_is_as_worked_by_hand() {
        // The selector prefers action 1, which the other table values at 3: 1 + 0.5 · 3 − 2 = 0.5.
        let (q_tm1, q_t_value, q_t_selector) = ([2.0, 0.0], [9.0, 3.0], [1.0, 5.0]);
        assert_eq!(double_q(&q_tm1, 0, 1.0, 0.5, &q_t_value, &q_t_selector), 0.5);
        assert_eq!(double_q(&q_tm1, 0, 1.0, 0.0, &q_t_value, &q_t_selector), -1.0);
    }

    #[test]
    fn with_one_table_for_both_it_is_q_learning() {
        let (q_tm1, q_t) = ([2.0, 0.5], [-1.0, 5.0]);
        assert_eq!(double_q(&q_tm1, 1, 1.0, 0.9, &q_t, &q_t), q_learning(&q_tm1, 1, 1.0, 0.9, &q_t));
    }
}
