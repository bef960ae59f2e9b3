//! Deep Q-network with experience replay (Mnih et al. 2015), optionally double (van Hasselt et al. 2016) and n-step (Sutton &
//! Barto 2018, section 7.1).

use crate::losses::{Loss, argmax, double_q_learning_target, q_learning_target};
use crate::net::NetSpec;
use crate::optim::{OptimConfig, Rule};
use crate::q_network::{Fit, QNetwork, Weights};
use crate::registry::{AgentConfig, AgentError};
use crate::replay::{Batch, Replay, ReplayConfig};
use crate::{Agent, LearnError, Learner, Linear, Loaded, Snapshot, SnapshotError, Stat, Task};
use carom_envs::{Seeds, VecEnv};
use rand::Rng;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// Hyperparameters. Steps are environment steps, over all environments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DqnConfig {
    /// Discount of one step.
    pub gamma: f64,
    /// Learning rate.
    pub lr: f64,
    /// Optimiser.
    pub optimizer: Rule,
    /// Longest gradient, by its Euclidean norm; 0 for no limit.
    pub max_grad_norm: f64,
    /// Penalty of the TD error.
    pub loss: Loss,
    /// Transitions in an update.
    pub batch_size: usize,
    /// Steps between updates.
    pub train_every: u64,
    /// Steps between copies of the network to the target.
    pub target_every: u64,
    /// Transitions kept.
    pub buffer_size: usize,
    /// Steps before the first update.
    pub learning_starts: u64,
    /// Probability of a random action at the start.
    pub epsilon_start: f64,
    /// Probability of a random action after `epsilon_steps`.
    pub epsilon_end: f64,
    /// Steps over which it falls, from the first on; 0 for `epsilon_end` at once.
    pub epsilon_steps: u64,
    /// Steps whose rewards are summed before bootstrapping.
    pub n_step: usize,
    /// Let the online network choose the action that the target network values.
    pub double: bool,
    /// Widths of the hidden dense layers.
    pub hidden: Vec<usize>,
    /// Normalise before every rectifier.
    pub layer_norm: bool,
}

impl Default for DqnConfig {
    fn default() -> Self {
        Self {
            gamma: 0.99,
            lr: 2.5e-4,
            optimizer: Rule::Adam,
            max_grad_norm: 0.0,
            loss: Loss::Huber,
            batch_size: 32,
            train_every: 4,
            target_every: 1_000,
            buffer_size: 100_000,
            learning_starts: 5_000,
            epsilon_start: 1.0,
            epsilon_end: 0.05,
            epsilon_steps: 100_000,
            n_step: 1,
            double: false,
            hidden: vec![128],
            layer_norm: false,
        }
    }
}

impl AgentConfig for DqnConfig {
    fn check(&self) -> Result<(), AgentError> {
        for (key, value) in
            [("gamma", self.gamma), ("epsilon_start", self.epsilon_start), ("epsilon_end", self.epsilon_end)]
        {
            if !(0.0..=1.0).contains(&value) {
                return Err(AgentError::bad_value(key, value, "a number from 0 to 1"));
            }
        }
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(AgentError::bad_value("lr", self.lr, "a number above 0"));
        }
        if self.max_grad_norm.is_nan() || self.max_grad_norm < 0.0 {
            return Err(AgentError::bad_value(
                "max_grad_norm",
                self.max_grad_norm,
                "a number above 0, or 0 for no limit",
            ));
        }
        for (key, value) in [
            ("batch_size", self.batch_size as u64),
            ("train_every", self.train_every),
            ("target_every", self.target_every),
            ("n_step", self.n_step as u64),
        ] {
            if value == 0 {
                return Err(AgentError::bad_value(key, value, "a whole number above 0"));
            }
        }
        for (key, value) in [("batch_size", self.batch_size), ("n_step", self.n_step)] {
            if value > self.buffer_size {
                let expected = format!("no more than the {} transitions of buffer_size", self.buffer_size);
                return Err(AgentError::bad_value(key, value, &expected));
            }
        }
        check_hidden(&self.hidden, self.layer_norm)
    }
}

/// Units of a layer, at most: a dense layer between two such is a gigabyte.
pub const WIDEST: usize = 16_384;

/// Refuses hidden widths that a network cannot have.
pub(crate) fn check_hidden(hidden: &[usize], layer_norm: bool) -> Result<(), AgentError> {
    let is_wrong = |width: usize| !(1..=WIDEST).contains(&width) || (layer_norm && !width.is_multiple_of(16));
    match hidden.iter().find(|&&width| is_wrong(width)) {
        Some(width) => {
            let multiples = if layer_norm { ", multiples of 16 since layer_norm is on" } else { "" };
            Err(AgentError::bad_value("hidden", width, &format!("widths in 1..={WIDEST}{multiples}")))
        }
        None => Ok(()),
    }
}

/// Refuses a replay of so many transitions, with frames of `frame_bytes`, that the system gives no memory for it.
fn check_room(buffer_size: usize, frame_bytes: usize) -> Result<(), AgentError> {
    let n_bytes = buffer_size.saturating_mul(frame_bytes);
    let mut room = Vec::<u8>::new();
    let has_room = room.try_reserve_exact(n_bytes).is_ok();
    // Or the compiler would find that nobody needs the room.
    std::hint::black_box(&room);
    if has_room {
        return Ok(());
    }
    let gb = n_bytes as f64 / 1e9;
    Err(AgentError::bad_value(
        "buffer_size",
        buffer_size,
        &format!("fewer: their frames take {gb:.1} GB, more than can be had"),
    ))
}

/// The agent.
pub struct Dqn {
    config: DqnConfig,
    n_actions: usize,
    network: QNetwork,
    replay: Replay,
    explore: Pcg32,
    sampling: Pcg32,
    /// Environment steps seen.
    n_steps: u64,
    batch: Batch,
    targets: Vec<f32>,
}

impl Dqn {
    /// A DQN that has seen nothing.
    ///
    /// # Errors
    /// When the replay is too small for the number of environments.
    pub fn new(config: DqnConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        let shortest = task.n_envs.saturating_mul(config.n_step.saturating_add(task.frame_stack + 1));
        if config.buffer_size < shortest {
            let expected = format!("at least {shortest} transitions for {} environments", task.n_envs);
            return Err(AgentError::bad_value("buffer_size", config.buffer_size, &expected));
        }
        check_room(config.buffer_size, task.obs_space.n_bytes())?;
        let spec = NetSpec {
            obs_space: task.obs_space.clone(),
            frame_stack: task.frame_stack,
            hidden: config.hidden.clone(),
            layer_norm: config.layer_norm,
            n_actions: task.n_actions,
        };
        let replay = Replay::new(ReplayConfig {
            capacity: config.buffer_size,
            n_lanes: task.n_envs,
            frame_bytes: task.obs_space.n_bytes(),
            frame_stack: task.frame_stack,
            n_step: config.n_step,
            gamma: config.gamma as f32,
        });
        let optimizer = OptimConfig::of(config.optimizer);
        Ok(Self {
            network: QNetwork::new(spec, task.trunk.clone(), optimizer, task.device, &mut seeds.stream("init")),
            n_actions: task.n_actions,
            replay,
            explore: seeds.stream("explore"),
            sampling: seeds.stream("replay"),
            n_steps: 0,
            batch: Batch::default(),
            targets: vec![0.0; config.batch_size],
            config,
        })
    }

    fn epsilon(&self) -> f64 {
        let DqnConfig { epsilon_start: start, epsilon_end: end, epsilon_steps: steps, .. } = self.config;
        Linear { start, end, steps }.at(self.n_steps)
    }

    fn update(&mut self) -> Result<(), LearnError> {
        self.replay.sample(self.config.batch_size, &mut self.sampling, &mut self.batch);
        let Batch { obs, actions, returns, discounts, next_obs } = &self.batch;
        let rows = returns.iter().zip(discounts).zip(&mut self.targets);
        if self.config.double {
            let selector = self.network.q(Weights::Online, next_obs).to_vec();
            let q_t = self.network.q(Weights::Target, next_obs).chunks_exact(self.n_actions);
            let selector = selector.chunks_exact(self.n_actions);
            for ((((r_t, discount_t), target), q_t), selector) in rows.zip(q_t).zip(selector) {
                *target = double_q_learning_target(*r_t, *discount_t, q_t, selector);
            }
        } else {
            let q_t = self.network.q(Weights::Target, next_obs).chunks_exact(self.n_actions);
            for (((r_t, discount_t), target), q_t) in rows.zip(q_t) {
                *target = q_learning_target(*r_t, *discount_t, q_t);
            }
        }
        let DqnConfig { loss, lr, max_grad_norm, .. } = self.config;
        let how = Fit { loss, lr, max_grad_norm };
        self.network.fit(obs, actions, &self.targets, &how).map_err(|e| e.at(self.n_steps))
    }
}

impl Learner for Dqn {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        const GREEDY: usize = usize::MAX;
        let epsilon = self.epsilon();
        for action in actions.iter_mut() {
            let explores = self.explore.r#gen::<f64>() < epsilon;
            *action = if explores { self.explore.gen_range(0..self.n_actions) } else { GREEDY };
        }
        if actions.contains(&GREEDY) {
            let q = self.network.q(Weights::Online, obs).chunks_exact(self.n_actions);
            for (action, q) in actions.iter_mut().zip(q).filter(|(action, _)| **action == GREEDY) {
                *action = argmax(q);
            }
        }
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        let obs = envs.prev_obs().chunks_exact(envs.obs_space().n_bytes());
        for (env_idx, ((obs, action), step)) in obs.zip(actions).zip(envs.transitions()).enumerate() {
            match step.truncated {
                true => self.replay.push_truncated(env_idx, obs, *action, step.reward, envs.final_obs(env_idx)),
                false => self.replay.push(env_idx, obs, *action, step.reward, step.terminated),
            }
        }
        let before = self.n_steps;
        self.n_steps += actions.len() as u64;
        let crossed = |every: u64| self.n_steps / every - before / every;
        if self.n_steps < self.config.learning_starts || self.replay.is_empty() {
            return Ok(());
        }
        let (n_updates, n_syncs) = (crossed(self.config.train_every), crossed(self.config.target_every));
        for _ in 0..n_updates {
            self.update()?;
        }
        if n_syncs > 0 {
            self.network.sync_target();
        }
        Ok(())
    }
}

impl Agent for Dqn {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.network.greedy(obs, actions);
    }

    fn stats(&mut self) -> Vec<Stat> {
        let mut stats = self.network.stats();
        stats.push(("train/epsilon", self.epsilon()));
        stats
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .value("n_steps", &self.n_steps)
            .value("explore", &self.explore)
            .value("sampling", &self.sampling)
            .nest("network", self.network.save())
            .nest("replay", self.replay.save())
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.n_steps = from.value("n_steps")?;
        self.explore = from.value("explore")?;
        self.sampling = from.value("sampling")?;
        self.network.load(&from.nested("network")?)?;
        self.replay.load(&from.nested("replay")?)
    }
}

#[cfg(test)]
mod tests;
