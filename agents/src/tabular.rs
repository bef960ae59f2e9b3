//! Bellman methods in tables: one value per (state, action), learned from experience or planned on the transition table.
//!
//! One algorithm, one file; [`TdConfig`] holds the settings they share, [`QTable`] the values, [`exact`] judges a policy
//! without playing a single episode. Conventions of all of them:
//!
//! - A transition is written with time-indexed names, `q_tm1[a_tm1] → r_t, discount_t, q_t`; a terminated episode is
//!   `discount_t = 0`, a truncated one bootstraps from the last observation it had.
//! - With several environments each transition updates the one table at once, in the order of the environments; schedules
//!   count environment steps, so `n_envs` transitions advance them by `n_envs`.
//! - Behaviour is ε-greedy and breaks ties at random, so that an untouched table explores like a random walk instead of
//!   pushing against one wall. The greedy policy breaks them by the lowest index, so that it draws nothing.

mod double_q;
mod dyna_q;
pub mod exact;
mod expected_sarsa;
mod policy_iteration;
mod progress;
mod q_lambda;
mod q_learning;
mod random;
mod sarsa;
mod table;
#[cfg(test)]
mod tests;
mod value_iteration;

pub use double_q::{DoubleQ, double_q};
pub use dyna_q::{DynaQ, DynaQConfig};
pub use expected_sarsa::{ExpectedSarsa, expected_sarsa};
pub use policy_iteration::{PolicyIteration, PolicyIterationConfig};
pub use q_lambda::{QLambda, QLambdaConfig};
pub use q_learning::{QLearning, q_learning};
pub use random::Random;
pub use sarsa::{Sarsa, sarsa};
pub use table::{QTable, epsilon_greedy, expected_value, greedy_action};
pub use value_iteration::{ValueIteration, ValueIterationConfig};

use crate::registry::{AgentConfig, AgentError};
use crate::{Linear, Task};
use carom_envs::{ObsSpace, TransitionModel, VecEnv};
use serde::{Deserialize, Serialize};

/// What every method of temporal differences is set by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TdConfig {
    /// Discount γ of the next state's value, in 0..=1.
    pub gamma: f64,
    /// Step size α at step 0, above 0 and at most 1.
    pub lr: f64,
    /// Step size from `lr_steps` on, in 0..=1.
    pub lr_end: f64,
    /// Environment steps in which the step size goes from `lr` to `lr_end` in a straight line; 0: `lr` throughout.
    pub lr_steps: u64,
    /// Probability ε of a uniformly random action at step 0, in 0..=1.
    pub epsilon_start: f64,
    /// ε from `epsilon_steps` on, in 0..=1.
    pub epsilon_end: f64,
    /// Environment steps in which ε goes from `epsilon_start` to `epsilon_end`; 0: `epsilon_start` throughout.
    pub epsilon_steps: u64,
    /// Value of every entry before learning; above what can be reached, it makes the greedy policy explore.
    pub q_init: f64,
}

impl Default for TdConfig {
    fn default() -> Self {
        Self {
            gamma: 0.99,
            lr: 0.1,
            lr_end: 0.1,
            lr_steps: 0,
            epsilon_start: 0.1,
            epsilon_end: 0.1,
            epsilon_steps: 0,
            q_init: 0.0,
        }
    }
}

impl AgentConfig for TdConfig {
    fn check(&self) -> Result<(), AgentError> {
        check_fraction("gamma", self.gamma)?;
        check_fraction("lr", self.lr)?;
        if self.lr == 0.0 {
            return Err(AgentError::bad_value("lr", self.lr, "a number above 0 and at most 1"));
        }
        check_fraction("lr_end", self.lr_end)?;
        check_fraction("epsilon_start", self.epsilon_start)?;
        check_fraction("epsilon_end", self.epsilon_end)?;
        if !self.q_init.is_finite() {
            return Err(AgentError::bad_value("q_init", self.q_init, "a finite number"));
        }
        Ok(())
    }
}

impl TdConfig {
    fn lr(&self) -> Linear {
        slope(self.lr, self.lr_end, self.lr_steps)
    }

    fn epsilon(&self) -> Linear {
        slope(self.epsilon_start, self.epsilon_end, self.epsilon_steps)
    }
}

/// A schedule whose length 0 means that it stays where it starts.
fn slope(start: f64, end: f64, steps: u64) -> Linear {
    Linear { start, end: if steps == 0 { start } else { end }, steps }
}

/// Refuses a value of setting `key` that is not in 0..=1.
pub(crate) fn check_fraction(key: &'static str, value: f64) -> Result<(), AgentError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(AgentError::bad_value(key, value, "a number in 0..=1"))
}

/// Number of states of a task that `agent` can keep a table for.
///
/// # Errors
/// When the task's observations are not discrete.
fn n_states(agent: &'static str, task: &Task) -> Result<usize, AgentError> {
    match task.obs_space {
        ObsSpace::Discrete { n } => Ok(n),
        ref other => Err(AgentError::NotDiscrete {
            agent,
            env_id: task.env_id.to_string(),
            observes: match other {
                ObsSpace::Discrete { n } => format!("one of {n} states"),
                ObsSpace::Vector { len } => format!("a vector of {len} numbers"),
                ObsSpace::Planes { shape } => format!("{shape:?} planes"),
                ObsSpace::Pixels { shape } => format!("{shape:?} pixels"),
            },
        }),
    }
}

/// The transition table that `agent` plans on.
///
/// # Errors
/// When the environment has none.
fn model(agent: &'static str, task: &Task) -> Result<TransitionModel, AgentError> {
    n_states(agent, task)?;
    let model = task.model.cloned();
    model.ok_or_else(|| AgentError::NoModel { agent, env_id: task.env_id.to_string() })
}

/// The state that a discrete observation's four bytes hold.
fn state_of(obs: &[u8]) -> usize {
    u32::from_le_bytes(obs.try_into().expect("a discrete observation is one u32")) as usize
}

/// The states of a batch of discrete observations.
fn states(obs: &[u8]) -> impl Iterator<Item = usize> {
    obs.chunks_exact(4).map(state_of)
}

/// One transition as a table sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct TableStep {
    state: usize,
    action: usize,
    reward: f64,
    next_state: usize,
    terminated: bool,
    truncated: bool,
}

impl TableStep {
    /// `discount_t`: γ, or 0 where the episode terminated.
    fn discount(&self, gamma: f64) -> f64 {
        if self.terminated { 0.0 } else { gamma }
    }

    /// Whether no action follows in this episode.
    fn done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// The transitions of the latest step of `envs`, in the order of the environments.
fn table_steps<'a>(envs: &'a VecEnv, actions: &'a [usize]) -> impl Iterator<Item = TableStep> + 'a {
    let each = states(envs.prev_obs()).zip(actions).zip(envs.transitions()).enumerate();
    each.map(|(env_idx, ((state, &action), transition))| TableStep {
        state,
        action,
        reward: f64::from(transition.reward),
        next_state: state_of(envs.next_obs(env_idx)),
        terminated: transition.terminated,
        truncated: transition.truncated,
    })
}
