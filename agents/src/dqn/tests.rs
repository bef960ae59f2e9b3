//! What DQN's replay holds where episodes end; and games whose every observation says where it belongs, for PQN's tests too.

use super::*;
use carom_envs::{Env, ObsSpace, RestoreError, Step};
use rand::RngCore;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use tch::Device;

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

    fn factor_names(&self) -> &[&'static str] {
        &[]
    }

    fn factors(&self, _out: &mut [f32]) {}

    fn save(&self) -> Value {
        unreachable!("nobody saves it")
    }

    fn restore(&mut self, _state: &Value) -> Result<(), RestoreError> {
        unreachable!("nobody saves it")
    }
}

fn frame(number: usize, episode: usize, step: usize) -> [u8; 12] {
    bytemuck::cast([number, episode, step].map(|n| n as f32))
}

fn reward(number: usize, step: usize, action: usize) -> f32 {
    number as f32 + 0.5 * step as f32 - 0.25 * action as f32
}

const TIME_LIMIT: usize = 3;

/// A clock each. The first ends by its rules before the time limit, the second on it, the third is cut off by it.
const LENGTHS: [usize; N_CLOCKS] = [2, 3, 9];

pub(crate) const N_CLOCKS: usize = 3;

const FRAME_STACK: usize = 2;

pub(crate) fn clocks() -> VecEnv {
    let clock = |(i, &length)| -> Box<dyn Env> { Box::new(Clock { number: i + 1, length, episode: 0, step: 0 }) };
    let streams = (0..N_CLOCKS).map(|i| Seeds::new(0).stream(&format!("env/{i}")));
    let envs = LENGTHS.iter().enumerate().map(clock).collect();
    VecEnv::new(envs, streams.collect(), Some(TIME_LIMIT as u64)).with_frame_stack(FRAME_STACK)
}

pub(crate) fn clocks_task() -> Task<'static> {
    Task {
        env_id: "clocks",
        obs_space: ObsSpace::Vector { len: 3 },
        frame_stack: FRAME_STACK,
        n_actions: 2,
        n_envs: N_CLOCKS,
        total_steps: 1_000,
        device: Device::Cpu,
        model: None,
        has_script: false,
        trunk: None,
    }
}

/// A step of one of the clocks, told from its number alone, whatever the environments say.
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

    /// The stack it was made on.
    pub(crate) fn obs(self) -> Vec<u8> {
        self.stack(self.step)
    }

    /// The stack it led to; where it ended the episode, that with the final observation.
    pub(crate) fn next_obs(self) -> Vec<u8> {
        self.stack(self.step + 1)
    }

    fn stack(self, step: usize) -> Vec<u8> {
        let steps = (0..FRAME_STACK).rev().map(|age| step.saturating_sub(age).max(1));
        steps.flat_map(|step| frame(self.env_idx + 1, self.episode, step)).collect()
    }
}

const GAMMA: f32 = 0.5;

/// What a replay should hold of the `t`-th step of clock `env_idx`: action, return, discount and next observation.
fn expected(env_idx: usize, t: usize, n_step: usize, actions: &[[usize; N_CLOCKS]]) -> (u8, f32, f32, Vec<u8>) {
    let (mut n_step_return, mut discount) = (0.0, 1.0);
    for t_k in t..t + n_step {
        let tick = Tick::new(env_idx, t_k);
        n_step_return += discount * tick.reward(actions[t_k][env_idx]);
        discount *= GAMMA;
        if tick.terminated() {
            return (actions[t][env_idx] as u8, n_step_return, 0.0, vec![0; tick.obs().len()]);
        }
        if tick.truncated() || t_k + 1 == t + n_step {
            return (actions[t][env_idx] as u8, n_step_return, discount, tick.next_obs());
        }
    }
    unreachable!("n_step is above 0")
}

#[test]
fn the_replay_bootstraps_from_final_observations_and_never_from_the_next_episode() {
    const N_TICKS: usize = 30;
    let ticks = |n: usize| (0..N_CLOCKS).flat_map(move |env_idx| (0..n).map(move |t| (env_idx, t)));
    let tick_of: HashMap<_, _> =
        ticks(N_TICKS).map(|(env_idx, t)| (Tick::new(env_idx, t).obs(), (env_idx, t))).collect();
    for n_step in [1, 3] {
        let config = DqnConfig {
            gamma: GAMMA.into(),
            learning_starts: u64::MAX,
            buffer_size: 1_000,
            n_step,
            hidden: vec![16],
            ..DqnConfig::default()
        };
        let mut agent = Dqn::new(config, &clocks_task(), &Seeds::new(0)).expect("a valid configuration");
        let (mut envs, mut actions) = (clocks(), vec![]);
        for _ in 0..N_TICKS {
            let mut chosen = [0; N_CLOCKS];
            agent.act(envs.stacks(&mut vec![]), &mut chosen);
            envs.step(&chosen);
            agent.observe(&envs, &chosen).expect("it does not learn yet");
            actions.push(chosen);
        }

        let (mut batch, mut seen) = (Batch::default(), HashSet::new());
        agent.replay.sample(2_000, &mut Pcg32::new(1, 1), &mut batch);
        let obs_bytes = FRAME_STACK * envs.obs_space().n_bytes();
        for (b, obs) in batch.obs.chunks_exact(obs_bytes).enumerate() {
            let (env_idx, t) = tick_of[obs];
            let next_obs = batch.next_obs[b * obs_bytes..(b + 1) * obs_bytes].to_vec();
            let held = (batch.actions[b], batch.returns[b], batch.discounts[b], next_obs);
            assert_eq!(held, expected(env_idx, t, n_step, &actions), "{:?}, {n_step} steps", Tick::new(env_idx, t));
            seen.insert((env_idx, t));
        }
        assert!(ticks(N_TICKS - n_step).all(|tick| seen.contains(&tick)), "every transition is drawn");
    }
}
