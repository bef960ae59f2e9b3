//! Dyna-Q (Sutton 1990): Q-learning that also learns from remembered transitions.

use super::progress::Progress;
use super::q_learning::q_learning;
use super::steps::{TableStep, table_steps};
use super::table::QTable;
use super::td::td_settings;
use crate::agent::{Agent, LearnError, Learner, Stat, Task};
use crate::settings::{AgentError, n_states, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::{Seeds, VecEnv};
use ndarray::{Array2, ArrayView2};
use rand::Rng;
use rand_pcg::Pcg32;

td_settings! {
    /// Settings of [`DynaQ`].
    pub struct DynaQConfig {
        /// Remembered transitions learned from after each real one; with 0 it is Q-learning.
        planning_steps: u64 = 10;
    }
}

/// Q-learning on each real transition and on `planning_steps` remembered ones.
///
/// Sutton & Barto (2018), section 8.2. The model holds only the latest outcome, which is exact in a deterministic
/// environment; in a stochastic one planning follows the outcome that came last. Remembered pairs are drawn uniformly
/// among those tried, whereas the book draws a state first and then one of its actions. A time limit is not part of the
/// model: a truncated transition is remembered as one that goes on.
#[derive(Debug)]
pub struct DynaQ {
    config: DynaQConfig,
    q: QTable,
    model: Model,
    planning: Pcg32,
    progress: Progress,
}

impl Learner for DynaQ {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.progress.act(&self.q, obs, actions);
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        for step in table_steps(envs, actions) {
            let td_error = self.td_error(&step);
            self.progress.record(td_error, self.q.row(step.state)[step.action])?;
            *self.q.at(step.state, step.action) += self.progress.lr() * td_error;
            self.model.remember(&step);
            for _ in 0..self.config.planning_steps {
                let remembered = self.model.sample(&mut self.planning);
                let td_error = self.td_error(&remembered);
                self.progress.check_finite(td_error)?;
                *self.q.at(remembered.state, remembered.action) += self.progress.lr() * td_error;
            }
        }
        self.progress.advance(actions.len());
        Ok(())
    }
}

impl DynaQ {
    /// An untrained agent for `task`.
    ///
    /// # Errors
    /// When a setting is out of range, or the observations are not discrete.
    pub fn new(config: DynaQConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("dyna-q", &config)?;
        let n_states = n_states("dyna-q", task)?;
        let progress = config.progress(seeds);
        Ok(Self {
            q: QTable::new(n_states, task.n_actions, config.q_init),
            model: Model::new(n_states, task.n_actions),
            planning: seeds.stream("dyna-q"),
            config,
            progress,
        })
    }

    /// Q(s, a), `[n_states, n_actions]`.
    pub fn action_values(&self) -> ArrayView2<'_, f64> {
        self.q.values()
    }

    fn td_error(&self, step: &TableStep) -> f64 {
        let (q_tm1, q_t) = (self.q.row(step.state), self.q.row(step.next_state));
        q_learning(q_tm1, step.action, step.reward, step.discount(self.config.gamma), q_t)
    }
}

/// The latest outcome of every pair (state, action) tried so far.
#[derive(Debug)]
struct Model {
    n_actions: usize,
    reward: Vec<f64>,
    next_state: Vec<u32>,
    terminated: Vec<u8>,
    /// Whether a pair was ever tried.
    known: Vec<u8>,
    /// The pairs tried, in the order of their first time.
    tried: Vec<u32>,
}

impl Model {
    fn new(n_states: usize, n_actions: usize) -> Self {
        let n = n_states * n_actions;
        Self {
            n_actions,
            reward: vec![0.0; n],
            next_state: vec![0; n],
            terminated: vec![0; n],
            known: vec![0; n],
            tried: Vec::with_capacity(n),
        }
    }

    fn remember(&mut self, step: &TableStep) {
        let pair = step.state * self.n_actions + step.action;
        self.reward[pair] = step.reward;
        self.next_state[pair] = step.next_state as u32;
        self.terminated[pair] = u8::from(step.terminated);
        if self.known[pair] == 0 {
            self.known[pair] = 1;
            self.tried.push(pair as u32);
        }
    }

    /// A pair tried before, each equally likely, with its latest outcome.
    fn sample(&self, rng: &mut Pcg32) -> TableStep {
        let pair = self.tried[rng.gen_range(0..self.tried.len() as u32) as usize] as usize;
        TableStep {
            state: pair / self.n_actions,
            action: pair % self.n_actions,
            reward: self.reward[pair],
            next_state: self.next_state[pair] as usize,
            terminated: self.terminated[pair] == 1,
            truncated: false,
        }
    }
}

impl Agent for DynaQ {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.q.greedy(obs, actions);
    }

    /// The TD errors are those of real transitions alone, so that they compare with other agents'.
    fn stats(&mut self) -> Vec<Stat> {
        self.progress.stats()
    }

    fn table(&self) -> Option<Array2<f64>> {
        Some(self.action_values().to_owned())
    }

    fn save(&self) -> Snapshot<'_> {
        let model = &self.model;
        self.progress
            .save()
            .value("planning", &self.planning)
            .value("tried", &model.tried)
            .array("q", self.q.as_slice())
            .array("model_reward", &model.reward)
            .array("model_next_state", &model.next_state)
            .array("model_terminated", &model.terminated)
            .array("model_known", &model.known)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.progress.load(from)?;
        self.planning = from.value("planning")?;
        let model = &mut self.model;
        let (n_pairs, n_states) = (model.known.len(), self.q.values().nrows());
        let possible = |tried: &Vec<u32>| tried.len() <= n_pairs && tried.iter().all(|&pair| (pair as usize) < n_pairs);
        model.tried = from.value_where("tried", possible)?;
        from.read("model_reward", &mut model.reward)?;
        from.read_indices("model_next_state", &mut model.next_state, n_states)?;
        from.read("model_terminated", &mut model.terminated)?;
        from.read("model_known", &mut model.known)?;
        from.read("q", self.q.as_mut_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_returns_the_latest_outcome_of_each_pair_tried() {
        let mut model = Model::new(4, 2);
        let step = TableStep { state: 2, action: 1, reward: 1.0, next_state: 3, terminated: false, truncated: true };
        model.remember(&step);
        let latest = TableStep { reward: -1.0, terminated: true, truncated: false, ..step };
        model.remember(&latest);
        assert_eq!(model.tried, [5]);
        assert_eq!(model.sample(&mut Seeds::new(0).stream("dyna-q")), latest);
    }
}
