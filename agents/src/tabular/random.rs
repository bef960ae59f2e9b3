//! The uniformly random policy, whose score every other is compared with.

use crate::agent::{Agent, LearnError, Learner, Stat, Task};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::{Seeds, VecEnv};
use rand::Rng;
use rand_pcg::Pcg32;

/// Plays every action equally often, on any observation space, and learns nothing.
///
/// Its greedy policy is uniform too. Evaluation draws from a random stream of its own, so that it does not change
/// training.
#[derive(Debug)]
pub struct Random {
    n_actions: u32,
    obs_bytes: usize,
    explore: Pcg32,
    evaluate: Pcg32,
}

impl Random {
    /// A random agent for `task`.
    pub fn new(task: &Task, seeds: &Seeds) -> Self {
        Self {
            n_actions: task.n_actions as u32,
            obs_bytes: task.frame_stack * task.obs_space.n_bytes(),
            explore: seeds.stream("explore"),
            evaluate: seeds.stream("evaluate"),
        }
    }
}

impl Agent for Random {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        debug_assert_eq!(obs.len(), actions.len() * self.obs_bytes);
        actions.fill_with(|| self.evaluate.gen_range(0..self.n_actions) as usize);
    }

    fn stats(&mut self) -> Vec<Stat> {
        vec![]
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default().value("explore", &self.explore).value("evaluate", &self.evaluate)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.explore = from.value("explore")?;
        self.evaluate = from.value("evaluate")?;
        Ok(())
    }
}

impl Learner for Random {
    fn act(&mut self, _obs: &[u8], actions: &mut [usize]) {
        actions.fill_with(|| self.explore.gen_range(0..self.n_actions) as usize);
    }

    fn observe(&mut self, _envs: &VecEnv, _actions: &[usize]) -> Result<(), LearnError> {
        Ok(())
    }
}
