//! Value iteration (Bellman 1957).

use super::exact::best_action;
use super::{check_fraction, model, states};
use crate::registry::{AgentConfig, AgentError};
use crate::{Agent, Loaded, Planner, Snapshot, SnapshotError, Stat, Task};
use carom_envs::TransitionModel;
use serde::{Deserialize, Serialize};

/// Settings of [`ValueIteration`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValueIterationConfig {
    /// Discount γ of the next state's value, in 0..=1. At 1 the values are undiscounted returns, but among actions of equal
    /// value the greedy policy may pick one that never ends the episode.
    pub gamma: f64,
    /// Largest change of a value in a sweep that counts as none.
    pub tolerance: f64,
}

impl Default for ValueIterationConfig {
    fn default() -> Self {
        Self { gamma: 0.99, tolerance: 1e-12 }
    }
}

impl AgentConfig for ValueIterationConfig {
    fn check(&self) -> Result<(), AgentError> {
        check_fraction("gamma", self.gamma)?;
        check_tolerance(self.tolerance)
    }
}

/// Sweeps `v(s) ← max_a Σ p(s', r | s, a) (r + γ v(s'))` over the states until nothing changes.
///
/// Sutton & Barto (2018), eq. 4.10, in place (Gauss-Seidel): a state uses the values that its predecessors in the sweep
/// already have, which converges at least as fast as keeping two copies.
#[derive(Debug)]
pub struct ValueIteration {
    config: ValueIterationConfig,
    model: TransitionModel,
    v: Vec<f64>,
    residual: Option<f64>,
}

impl ValueIteration {
    /// An unplanned agent for `task`, all values 0.
    ///
    /// # Errors
    /// When a setting is out of range or the environment has no transition table.
    pub fn new(config: ValueIterationConfig, task: &Task) -> Result<Self, AgentError> {
        config.check()?;
        let model = model("value-iteration", task)?;
        Ok(Self { v: vec![0.0; model.n_states()], config, model, residual: None })
    }

    /// v(s), `[n_states]`.
    pub fn values(&self) -> &[f64] {
        &self.v
    }
}

/// Refuses a tolerance that no sweep can reach.
pub(super) fn check_tolerance(tolerance: f64) -> Result<(), AgentError> {
    if tolerance.is_finite() && tolerance >= 0.0 {
        return Ok(());
    }
    Err(AgentError::bad_value("tolerance", tolerance, "a finite number, 0 or above"))
}

/// Expected value of the first state, and the residual where there was a sweep.
pub(super) fn plan_stats(model: &TransitionModel, v: &[f64], residual: Option<f64>) -> Vec<Stat> {
    let start = model.start.iter().zip(v).map(|(probability, value)| probability * value).sum();
    let residual = residual.map(|residual| ("plan/residual", residual));
    residual.into_iter().chain([("plan/value_start", start)]).collect()
}

impl Agent for ValueIteration {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        for (state, action) in states(obs).zip(actions) {
            *action = best_action(&self.model, &self.v, self.config.gamma, state).0;
        }
    }

    fn stats(&mut self) -> Vec<Stat> {
        plan_stats(&self.model, &self.v, self.residual)
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default().value("residual", &self.residual).array("v", &self.v)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.residual = from.value("residual")?;
        from.read("v", &mut self.v)
    }
}

impl Planner for ValueIteration {
    fn sweep(&mut self) -> bool {
        let mut residual = 0.0_f64;
        for state in 0..self.v.len() {
            let (_, value) = best_action(&self.model, &self.v, self.config.gamma, state);
            residual = residual.max((value - self.v[state]).abs());
            self.v[state] = value;
        }
        self.residual = Some(residual);
        residual <= self.config.tolerance
    }
}
