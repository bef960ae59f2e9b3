//! Transitions between numbered states.

use carom_envs::VecEnv;
use serde::{Deserialize, Serialize};

/// One transition between numbered states.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TableStep {
    pub(super) state: usize,
    pub(super) action: usize,
    pub(super) reward: f64,
    pub(super) next_state: usize,
    pub(super) terminated: bool,
    pub(super) truncated: bool,
}

impl TableStep {
    /// `discount_t`: γ, or 0 where the episode terminated.
    pub(super) fn discount(&self, gamma: f64) -> f64 {
        if self.terminated { 0.0 } else { gamma }
    }

    /// Whether the episode ended with this step.
    pub(super) fn done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// The transitions of the latest step of `envs`, in the order of the environments.
pub(super) fn table_steps<'a>(envs: &'a VecEnv, actions: &'a [usize]) -> impl Iterator<Item = TableStep> + 'a {
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

/// The states of a batch of discrete observations.
pub(super) fn states(obs: &[u8]) -> impl Iterator<Item = usize> {
    obs.chunks_exact(4).map(state_of)
}

/// The state in the four bytes of a discrete observation.
fn state_of(obs: &[u8]) -> usize {
    u32::from_le_bytes(obs.try_into().expect("a discrete observation is one u32")) as usize
}
