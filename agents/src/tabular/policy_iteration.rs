//! Policy iteration (Howard 1960).

use super::exact::{TIE, action_value, best_action};
use super::value_iteration::{check_tolerance, plan_stats};
use super::{check_fraction, model, states};
use crate::registry::{AgentConfig, AgentError};
use crate::{Agent, Loaded, Planner, Snapshot, SnapshotError, Stat, Task};
use carom_envs::TransitionModel;
use serde::{Deserialize, Serialize};

/// Settings of [`PolicyIteration`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyIterationConfig {
    /// Discount γ of the next state's value, in 0..=1.
    pub gamma: f64,
    /// Largest change of a value in a sweep of evaluation that counts as none.
    pub tolerance: f64,
    /// Most sweeps of one evaluation, at least 1: a policy that never ends its episodes has no values to converge to when γ
    /// is 1. At 1 this is value iteration.
    pub evaluation_sweeps: u64,
}

impl Default for PolicyIterationConfig {
    fn default() -> Self {
        Self { gamma: 0.99, tolerance: 1e-12, evaluation_sweeps: 10_000 }
    }
}

impl AgentConfig for PolicyIterationConfig {
    fn check(&self) -> Result<(), AgentError> {
        check_fraction("gamma", self.gamma)?;
        check_tolerance(self.tolerance)?;
        if self.evaluation_sweeps == 0 {
            return Err(AgentError::bad_value("evaluation_sweeps", 0, "a whole number, 1 or above"));
        }
        Ok(())
    }
}

/// Evaluates the policy to tolerance, then makes it greedy with regard to its values; one of each is a sweep.
///
/// Sutton & Barto (2018), section 4.3. It starts from action 0 everywhere, and an action gives way only to one that is
/// better by more than rounding (then to the lowest index of the best), so equal policies do not alternate for ever.
#[derive(Debug)]
pub struct PolicyIteration {
    config: PolicyIterationConfig,
    model: TransitionModel,
    policy: Vec<u32>,
    v: Vec<f64>,
    residual: Option<f64>,
    n_changed: u64,
}

impl PolicyIteration {
    /// An unplanned agent for `task`: action 0 everywhere.
    ///
    /// # Errors
    /// When a setting is out of range or the environment has no transition table.
    pub fn new(config: PolicyIterationConfig, task: &Task) -> Result<Self, AgentError> {
        config.check()?;
        let model = model("policy-iteration", task)?;
        let n_states = model.n_states();
        Ok(Self { config, model, policy: vec![0; n_states], v: vec![0.0; n_states], residual: None, n_changed: 0 })
    }

    /// `v(s) ← Σ p(s', r | s, π(s)) (r + γ v(s'))` in place, until no value changes; gives the last residual. Eq. 4.5.
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

    /// Takes the greedy action wherever it is better than the present one; gives the number of states that changed.
    fn improve(&mut self) -> u64 {
        let mut n_changed = 0;
        for (state, action) in self.policy.iter_mut().enumerate() {
            let present = action_value(&self.model, &self.v, self.config.gamma, state, *action as usize);
            let (best, value) = best_action(&self.model, &self.v, self.config.gamma, state);
            if value - present > TIE * value.abs().max(1.0) {
                *action = best as u32;
                n_changed += 1;
            }
        }
        n_changed
    }
}

impl Agent for PolicyIteration {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        for (state, action) in states(obs).zip(actions) {
            *action = self.policy[state] as usize;
        }
    }

    fn stats(&mut self) -> Vec<Stat> {
        let mut stats = plan_stats(&self.model, &self.v, self.residual);
        stats.push(("plan/changed", self.n_changed as f64));
        stats
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
        from.read("policy", &mut self.policy)?;
        from.read("v", &mut self.v)
    }
}

impl Planner for PolicyIteration {
    fn sweep(&mut self) -> bool {
        self.residual = Some(self.evaluate());
        self.n_changed = self.improve();
        // A policy that stays is the best one only where its values have settled, up to their last bits.
        let largest = self.v.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
        self.n_changed == 0 && self.residual <= Some(self.config.tolerance.max(8.0 * f64::EPSILON * largest))
    }
}
