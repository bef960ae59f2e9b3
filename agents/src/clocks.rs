//! Games for tests. Each observation contains the numbers of its game, episode and step.

use crate::agent::Task;
use carom_envs::{Env, ObsSpace, Seeds, Step, VecEnv};
use rand::RngCore;
use std::ops::Range;

/// Shows its number, its episode and its step, all from 1 on; ends by its rules after `length` steps.
struct Clock {
    number: usize,
    length: usize,
    episode: usize,
    step: usize,
}

impl Env for Clock {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Vector { len: 3 }
    }

    fn action_names(&self) -> &[&'static str] {
        &["tick", "tock"]
    }

    fn reset(&mut self, _rng: &mut dyn RngCore) {
        (self.episode, self.step) = (self.episode + 1, 1);
    }

    fn step(&mut self, action: usize, _rng: &mut dyn RngCore) -> Step {
        let reward = reward(self.number, self.step, action);
        self.step += 1;
        Step { reward, terminated: self.step > self.length }
    }

    fn observe(&self, out: &mut [u8]) {
        out.copy_from_slice(&frame(self.number, self.episode, self.step));
    }
}

fn frame(number: usize, episode: usize, step: usize) -> [u8; 12] {
    bytemuck::cast([number, episode, step].map(|n| n as f32))
}

fn reward(number: usize, step: usize, action: usize) -> f32 {
    number as f32 + 0.5 * step as f32 - 0.25 * action as f32
}

const TIME_LIMIT: usize = 3;

/// Steps of each clock's episodes. The first ends by its rules before the time limit, the second on it, the third is
/// cut off by it.
const LENGTHS: [usize; N_CLOCKS] = [2, 3, 9];

pub(crate) const N_CLOCKS: usize = 3;

pub(crate) const FRAME_STACK: usize = 2;

pub(crate) fn clocks() -> VecEnv {
    clocks_in(0..N_CLOCKS)
}

/// Those in `range` of a row of clocks; every third has the same rules.
pub(crate) fn clocks_in(range: Range<usize>) -> VecEnv {
    let length = |i: usize| LENGTHS[i % N_CLOCKS];
    let clock = |i| -> Box<dyn Env> { Box::new(Clock { number: i + 1, length: length(i), episode: 0, step: 0 }) };
    let streams = Seeds::new(0).streams("env", range.len());
    VecEnv::new(range.map(clock).collect(), streams, Some(TIME_LIMIT as u64)).with_frame_stack(FRAME_STACK)
}

pub(crate) fn clocks_task(clocks: &VecEnv) -> Task<'_> {
    Task::of(clocks, "clocks", 1_000)
}

/// A step of one of the clocks, computed from its number alone, independently of the environments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    env_idx: usize,
    episode: usize,
    step: usize,
}

impl Tick {
    /// The `t`-th step of clock `env_idx`, from 0.
    pub(crate) fn new(env_idx: usize, t: usize) -> Self {
        let length = LENGTHS[env_idx].min(TIME_LIMIT);
        Self { env_idx, episode: 1 + t / length, step: 1 + t % length }
    }

    pub(crate) fn terminated(self) -> bool {
        self.step == LENGTHS[self.env_idx]
    }

    pub(crate) fn truncated(self) -> bool {
        self.step == TIME_LIMIT && !self.terminated()
    }

    pub(crate) fn reward(self, action: usize) -> f32 {
        reward(self.env_idx + 1, self.step, action)
    }

    /// The stack before the step.
    pub(crate) fn obs(self) -> Vec<u8> {
        self.stack(self.step)
    }

    /// The stack after the step; with the final observation, if the step ended the episode.
    pub(crate) fn next_obs(self) -> Vec<u8> {
        self.stack(self.step + 1)
    }

    fn stack(self, step: usize) -> Vec<u8> {
        let steps = (0..FRAME_STACK).rev().map(|age| step.saturating_sub(age).max(1));
        steps.flat_map(|step| frame(self.env_idx + 1, self.episode, step)).collect()
    }
}
