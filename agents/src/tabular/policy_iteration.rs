//! Policy iteration (Howard 1960).

use super::exact::{action_value, action_values, best_action, start_value};
use super::steps::states;
use crate::agent::{Agent, Planner, Stat, Task};
use crate::settings::{AgentError, transition_model, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::TransitionModel;
use carom_envs::settings::{AtLeast, Settings};
use ndarray::Array2;

carom_envs::settings! {
    /// Settings of [`PolicyIteration`].
    pub struct PolicyIterationConfig {
        /// Discount γ of the next state's value. At 1 the values are undiscounted returns.
        gamma: f64 = 0.99, in 0.0..=1.0;
        /// Largest change of a value in a sweep of evaluation that counts as none.
        tolerance: f64 = 1e-12, in AtLeast(0.0);
        /// Largest number of sweeps in one evaluation; with 1 it is value iteration. At γ = 1 a policy that never ends
        /// its episodes has no values to converge to.
        evaluation_sweeps: u64 = 10_000, in AtLeast(1);
    }
}

impl Settings for PolicyIterationConfig {}

/// Evaluates the policy to tolerance, then makes it greedy with regard to its values. A sweep is one of each.
///
/// Sutton & Barto (2018), section 4.3. It starts from action 0 everywhere. An action is replaced only by one that is
/// better by more than rounding (the lowest index of the best), so that equal policies do not alternate for ever.
#[derive(Debug)]
pub struct PolicyIteration {
    config: PolicyIterationConfig,
    model: TransitionModel,
    policy: Vec<u32>,
    v: Vec<f64>,
    residual: Option<f64>,
    /// States whose action the latest sweep changed.
    n_changed: u64,
}

impl Planner for PolicyIteration {
    fn sweep(&mut self) -> bool {
        self.residual = Some(self.evaluate());
        self.n_changed = self.improve();
        self.is_converged()
    }

    fn is_converged(&self) -> bool {
        // A policy that stays is the best one only if its values have settled, up to their last bits.
        let largest = self.v.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
        let tolerance = self.config.tolerance.max(8.0 * f64::EPSILON * largest);
        self.n_changed == 0 && self.residual.is_some_and(|residual| residual <= tolerance)
    }
}

impl PolicyIteration {
    /// `v(s) ← Σ p(s', r | s, π(s)) (r + γ v(s'))` in place, until no value changes. Returns the last residual.
    /// Sutton & Barto (2018), eq. 4.5.
    fn evaluate(&mut self) -> f64 {
        let mut residual = f64::INFINITY;
        for _ in 0..self.config.evaluation_sweeps {
            residual = 0.0;
            for state in 0..self.v.len() {
                let action = self.policy[state] as usize;
                let value = action_value(&self.model, &self.v, self.config.gamma, state, action);
                residual = residual.max((value - self.v[state]).abs());
                self.v[state] = value;
            }
            if residual <= self.config.tolerance {
                break;
            }
        }
        residual
    }

    /// Replaces each action by a better one where there is one. Returns the number of states that changed.
    fn improve(&mut self) -> u64 {
        let mut n_changed = 0;
        for (state, action) in self.policy.iter_mut().enumerate() {
            let (best, _) = best_action(&self.model, &self.v, self.config.gamma, state, *action as usize);
            n_changed += u64::from(best != *action as usize);
            *action = best as u32;
        }
        n_changed
    }

    /// An unplanned agent for `task`: action 0 everywhere.
    ///
    /// # Errors
    /// When a setting is out of range, or the environment has no transition table.
    pub fn new(config: PolicyIterationConfig, task: &Task) -> Result<Self, AgentError> {
        validate("policy-iteration", &config)?;
        let model = transition_model("policy-iteration", task)?;
        let n_states = model.n_states();
        Ok(Self { config, model, policy: vec![0; n_states], v: vec![0.0; n_states], residual: None, n_changed: 0 })
    }

    /// Q(s, a) of the policy, `[n_states, n_actions]`, by looking one step ahead.
    pub fn action_values(&self) -> Array2<f64> {
        action_values(&self.model, &self.v, self.config.gamma)
    }
}

impl Agent for PolicyIteration {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        for (state, action) in states(obs).zip(actions) {
            *action = self.policy[state] as usize;
        }
    }

    fn stats(&mut self) -> Vec<Stat> {
        let residual = self.residual.map(|residual| ("plan/residual", residual));
        let others = [("plan/value_start", start_value(&self.model, &self.v)), ("plan/changed", self.n_changed as f64)];
        residual.into_iter().chain(others).collect()
    }

    fn table(&self) -> Option<Array2<f64>> {
        Some(self.action_values())
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .value("residual", &self.residual)
            .value("n_changed", &self.n_changed)
            .array("policy", &self.policy)
            .array("v", &self.v)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.residual = from.value("residual")?;
        self.n_changed = from.value("n_changed")?;
        from.read_indices("policy", &mut self.policy, self.model.n_actions)?;
        from.read("v", &mut self.v)
    }
}
