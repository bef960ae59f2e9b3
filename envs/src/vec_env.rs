//! Many environments stepped as one.

use crate::{Env, RestoreError};
use rand_pcg::Pcg32;
use serde_json::Value;

/// What one step did in one environment of a [`VecEnv`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transition {
    /// Reward of the step.
    pub reward: f32,
    /// The game ended by its own rules: nothing follows, the value of what comes next is 0.
    pub terminated: bool,
    /// The time limit cut the episode off: what would have followed still has its value.
    pub truncated: bool,
}

impl Transition {
    /// Whether the episode ended with this step, for either reason.
    pub fn done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// An episode that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// Which environment played it.
    pub env_idx: usize,
    /// Undiscounted sum of its rewards.
    pub episode_return: f64,
    /// Number of its steps.
    pub length: u64,
}

/// `N` environments with a time limit and automatic reset.
///
/// After a step that ends an episode, [`VecEnv::obs`] holds the first observation of the next episode and
/// [`VecEnv::final_obs`] the last of the one that ended. Each environment draws from its own random stream, so results do
/// not depend on how many threads step them.
pub struct VecEnv {
    _todo: Vec<(Box<dyn Env>, Pcg32)>,
}

#[allow(unused_variables, missing_docs)]
impl VecEnv {
    /// Resets all; `rngs[i]` is the stream of environment `i`. `max_steps` is the time limit of an episode.
    pub fn new(envs: Vec<Box<dyn Env>>, rngs: Vec<Pcg32>, max_steps: Option<u64>) -> Self {
        unimplemented!()
    }
    pub fn n_envs(&self) -> usize {
        unimplemented!()
    }
    /// `[n_envs * obs_bytes]`
    pub fn obs(&self) -> &[u8] {
        unimplemented!()
    }
    pub fn env_obs(&self, env_idx: usize) -> &[u8] {
        unimplemented!()
    }
    /// `[n_envs * obs_bytes]`: the observations that the actions of the latest step were chosen on (the buffers swap; nothing is copied)
    pub fn prev_obs(&self) -> &[u8] {
        unimplemented!()
    }
    /// True successor observation of the latest step in `env_idx`: the final one where the episode ended, else the current one
    pub fn next_obs(&self, env_idx: usize) -> &[u8] {
        unimplemented!()
    }
    /// What the latest step gave.
    pub fn transitions(&self) -> &[Transition] {
        unimplemented!()
    }
    pub fn obs_space(&self) -> &crate::ObsSpace {
        unimplemented!()
    }
    pub fn n_actions(&self) -> usize {
        unimplemented!()
    }
    /// Last observation of the episode that the latest step ended in environment `env_idx`; meaningful only where the latest transition is done
    pub fn final_obs(&self, env_idx: usize) -> &[u8] {
        unimplemented!()
    }
    pub fn step(&mut self, actions: &[usize]) -> &[Transition] {
        unimplemented!()
    }
    /// Episodes ended by the latest step, in the order of env_idx.
    pub fn episodes(&self) -> &[Episode] {
        unimplemented!()
    }
    pub fn env(&self, env_idx: usize) -> &dyn Env {
        unimplemented!()
    }
    pub fn reset(&mut self) {
        unimplemented!()
    }
    pub fn save(&self) -> Value {
        unimplemented!()
    }
    pub fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        unimplemented!()
    }
}
