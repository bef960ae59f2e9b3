//! Value iteration (Bellman 1957).

use super::exact::{action_values, best_action, start_value};
use super::steps::states;
use crate::agent::{Agent, Planner, Stat, Task};
use crate::settings::{AgentError, transition_model, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::TransitionModel;
use carom_envs::settings::{AtLeast, Settings};
use ndarray::Array2;

carom_envs::settings! {
    /// Settings of [`ValueIteration`].
    pub struct ValueIterationConfig {
        /// Discount γ of the next state's value. At 1 the values are undiscounted returns.
        gamma: f64 = 0.99, in 0.0..=1.0;
        /// Largest change of a value in a sweep that counts as none.
        tolerance: f64 = 1e-12, in AtLeast(0.0);
    }
}

impl Settings for ValueIterationConfig {}

/// Sweeps `v(s) ← max_a Σ p(s', r | s, a) (r + γ v(s'))` over the states until nothing changes.
///
/// Sutton & Barto (2018), eq. 4.10, in place (Gauss-Seidel): a state uses the values that its predecessors in the sweep
/// already have. This converges at least as fast as keeping two copies.
///
/// The greedy policy breaks ties by the action that made the last strict improvement. At γ = 1 a step that leads
/// nowhere, say into a wall, keeps the value of its state and so ties with the best action; but it never raised a
/// value.
#[derive(Debug)]
pub struct ValueIteration {
    config: ValueIterationConfig,
    model: TransitionModel,
    v: Vec<f64>,
    /// The best action of each state in the latest sweep.
    policy: Vec<u32>,
    residual: Option<f64>,
}

impl Planner for ValueIteration {
    fn sweep(&mut self) -> bool {
        let mut residual = 0.0_f64;
        for state in 0..self.v.len() {
            let (action, value) = self.best_action(state);
            residual = residual.max((value - self.v[state]).abs());
            self.v[state] = value;
            self.policy[state] = action as u32;
        }
        self.residual = Some(residual);
        self.is_converged()
    }

    fn is_converged(&self) -> bool {
        self.residual.is_some_and(|residual| residual <= self.config.tolerance)
    }
}

impl ValueIteration {
    /// An unplanned agent for `task`: all values 0.
    ///
    /// # Errors
    /// When a setting is out of range, or the environment has no transition table.
    pub fn new(config: ValueIterationConfig, task: &Task) -> Result<Self, AgentError> {
        validate("value-iteration", &config)?;
        let model = transition_model("value-iteration", task)?;
        let n_states = model.n_states();
        Ok(Self { config, model, v: vec![0.0; n_states], policy: vec![0; n_states], residual: None })
    }

    /// v(s), `[n_states]`.
    pub fn values(&self) -> &[f64] {
        &self.v
    }

    /// Q(s, a), `[n_states, n_actions]`, by looking one step ahead.
    pub fn action_values(&self) -> Array2<f64> {
        action_values(&self.model, &self.v, self.config.gamma)
    }

    /// The best action of `state` and its value.
    fn best_action(&self, state: usize) -> (usize, f64) {
        best_action(&self.model, &self.v, self.config.gamma, state, self.policy[state] as usize)
    }
}

impl Agent for ValueIteration {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        for (state, action) in states(obs).zip(actions) {
            *action = self.best_action(state).0;
        }
    }

    fn stats(&mut self) -> Vec<Stat> {
        let residual = self.residual.map(|residual| ("plan/residual", residual));
        residual.into_iter().chain([("plan/value_start", start_value(&self.model, &self.v))]).collect()
    }

    fn table(&self) -> Option<Array2<f64>> {
        Some(self.action_values())
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default().value("residual", &self.residual).array("v", &self.v).array("policy", &self.policy)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.residual = from.value("residual")?;
        from.read("v", &mut self.v)?;
        from.read_indices("policy", &mut self.policy, self.model.n_actions)
    }
}
