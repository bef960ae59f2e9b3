//! Watkins's Q(λ) (Watkins 1989): Q-learning with eligibility traces.

use super::progress::Progress;
use super::q_learning::q_learning;
use super::steps::{states, table_steps};
use super::table::{QTable, max};
use super::td::td_settings;
use crate::agent::{Agent, LearnError, Learner, Stat, Task};
use crate::settings::{AgentError, n_states, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::{Seeds, VecEnv};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

td_settings! {
    /// Settings of [`QLambda`].
    pub struct QLambdaConfig {
        /// Decay λ of the traces; with 0 it is Q-learning.
        lambda: f64 = 0.9, in 0.0..=1.0;
    }
}

/// Off-policy control whose TD errors also correct earlier pairs (state, action), if every action since was greedy.
///
/// Sutton & Barto (1998), section 7.6: after `e(s, a) = 1`, `Q ← Q + α δ e` everywhere with Q-learning's δ; then
/// `e ← γλ e` if the next action is greedy (ties count as greedy), else `e ← 0`. Traces are replacing rather than
/// accumulating: with random tie-breaking an agent often repeats a pair, and accumulated traces above 1 make α·e
/// overshoot. Each environment has its own traces.
#[derive(Debug)]
pub struct QLambda {
    config: QLambdaConfig,
    q: QTable,
    progress: Progress,
    traces: Vec<Traces>,
}

impl Learner for QLambda {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.progress.act(&self.q, obs, actions);
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        self.cut_or_decay(envs, actions);
        let lr = self.progress.lr();
        for (env_idx, step) in table_steps(envs, actions).enumerate() {
            let (q_tm1, q_t) = (self.q.row(step.state), self.q.row(step.next_state));
            let td_error = q_learning(q_tm1, step.action, step.reward, step.discount(self.config.gamma), q_t);
            self.progress.record(td_error, q_tm1[step.action])?;
            let traces = &mut self.traces[env_idx];
            traces.visit(step.state, step.action);
            for &(state, action, trace) in &traces.0 {
                *self.q.at(state, action) += lr * td_error * trace;
            }
            if step.done() {
                traces.0.clear();
            }
        }
        self.progress.advance(actions.len());
        Ok(())
    }
}

impl QLambda {
    /// An untrained agent for `task`.
    ///
    /// # Errors
    /// When a setting is out of range, or the observations are not discrete.
    pub fn new(config: QLambdaConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("q-lambda", &config)?;
        let q = QTable::new(n_states("q-lambda", task)?, task.n_actions, config.q_init);
        let progress = config.progress(seeds);
        Ok(Self { config, q, progress, traces: vec![Traces::default(); task.n_envs] })
    }

    /// Q(s, a), `[n_states, n_actions]`.
    pub fn action_values(&self) -> ArrayView2<'_, f64> {
        self.q.values()
    }

    /// Decays an environment's traces if its action was greedy, and clears them if not. This comes before any update,
    /// since an action is greedy by the values that it was chosen on.
    fn cut_or_decay(&mut self, envs: &VecEnv, actions: &[usize]) {
        let factor = self.config.gamma * self.config.lambda;
        for (traces, (state, &action)) in self.traces.iter_mut().zip(states(envs.prev_obs()).zip(actions)) {
            let q = self.q.row(state);
            if q[action] == max(q) { traces.decay(factor) } else { traces.0.clear() }
        }
    }
}

/// Largest trace that is dropped. It could move a value by no more than a billionth of a TD error.
const MAX_DROPPED_TRACE: f64 = 1e-9;

/// Eligibility of the pairs (state, action) that led to the present state of one environment, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Traces(Vec<(usize, usize, f64)>);

impl Traces {
    /// Replacing trace: sets e(state, action) to 1 (Singh & Sutton 1996).
    fn visit(&mut self, state: usize, action: usize) {
        match self.0.iter_mut().find(|(s, a, _)| (*s, *a) == (state, action)) {
            Some((_, _, trace)) => *trace = 1.0,
            None => self.0.push((state, action, 1.0)),
        }
    }

    /// `e ← γλ e`, and drops the traces that have become too small to matter.
    fn decay(&mut self, factor: f64) {
        self.0.iter_mut().for_each(|(_, _, trace)| *trace *= factor);
        self.0.retain(|&(_, _, trace)| trace > MAX_DROPPED_TRACE);
    }
}

impl Agent for QLambda {
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
        self.progress.save().value("traces", &self.traces).array("q", self.q.as_slice())
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.progress.load(from)?;
        let ((n_states, n_actions), n_envs) = (self.q.values().dim(), self.traces.len());
        let is_pair = |&(state, action, _): &(usize, usize, f64)| state < n_states && action < n_actions;
        let possible =
            |traces: &Vec<Traces>| traces.len() == n_envs && traces.iter().all(|one| one.0.iter().all(is_pair));
        self.traces = from.value_where("traces", possible)?;
        from.read("q", self.q.as_mut_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_replace_decay_and_fade() {
        let mut traces = Traces::default();
        traces.visit(3, 0);
        traces.decay(0.5);
        traces.visit(4, 1);
        traces.decay(0.5);
        traces.visit(3, 0);
        assert_eq!(traces.0, [(3, 0, 1.0), (4, 1, 0.5)]);
        traces.decay(1e-9);
        assert_eq!(traces.0, []);
    }
}
