//! PQN: Q-learning without replay and without a target network (Gallici et al. 2024, algorithm 1).
//!
//! Many environments are stepped side by side, λ-returns are computed over a short rollout, and a network steadied by layer
//! normalisation is fitted to them in minibatches.

use crate::dqn::check_hidden;
use crate::losses::{Loss, argmax, lambda_returns};
use crate::net::NetSpec;
use crate::optim::{OptimConfig, Rule};
use crate::q_network::{Fit, QNetwork, Weights};
use crate::registry::{AgentConfig, AgentError};
use crate::{Agent, LearnError, Learner, Linear, Loaded, Snapshot, SnapshotError, Stat, Task};
use carom_envs::{Seeds, VecEnv};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// Hyperparameters. Steps are environment steps, over all environments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PqnConfig {
    /// Discount of one step.
    pub gamma: f64,
    /// λ of the returns.
    pub lambda: f64,
    /// Learning rate at the start.
    pub lr: f64,
    /// Learning rate at the end of the training, reached in a straight line.
    pub lr_end: f64,
    /// Optimiser.
    pub optimizer: Rule,
    /// Longest gradient, by its Euclidean norm; 0 for no limit.
    pub max_grad_norm: f64,
    /// Steps of each environment in a rollout.
    pub rollout_len: usize,
    /// Passes over a rollout.
    pub n_epochs: usize,
    /// Minibatches in a pass.
    pub n_minibatches: usize,
    /// Probability of a random action at the start.
    pub epsilon_start: f64,
    /// Probability of a random action after `epsilon_fraction` of the training.
    pub epsilon_end: f64,
    /// Share of the training over which it falls.
    pub epsilon_fraction: f64,
    /// Widths of the hidden dense layers.
    pub hidden: Vec<usize>,
    /// Normalise before every rectifier.
    pub layer_norm: bool,
}

impl Default for PqnConfig {
    fn default() -> Self {
        Self {
            gamma: 0.99,
            lambda: 0.65,
            lr: 5e-4,
            lr_end: 0.0,
            optimizer: Rule::RAdam,
            max_grad_norm: 10.0,
            rollout_len: 32,
            n_epochs: 2,
            n_minibatches: 32,
            epsilon_start: 1.0,
            epsilon_end: 0.05,
            epsilon_fraction: 0.1,
            hidden: vec![128],
            layer_norm: true,
        }
    }
}

impl AgentConfig for PqnConfig {
    fn check(&self) -> Result<(), AgentError> {
        for (key, value) in [
            ("gamma", self.gamma),
            ("lambda", self.lambda),
            ("epsilon_start", self.epsilon_start),
            ("epsilon_end", self.epsilon_end),
            ("epsilon_fraction", self.epsilon_fraction),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(AgentError::bad_value(key, value, "a number from 0 to 1"));
            }
        }
        for (key, value) in [("lr", self.lr), ("lr_end", self.lr_end), ("max_grad_norm", self.max_grad_norm)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(AgentError::bad_value(key, value, "a number of 0 or more"));
            }
        }
        for (key, value) in
            [("rollout_len", self.rollout_len), ("n_epochs", self.n_epochs), ("n_minibatches", self.n_minibatches)]
        {
            if value == 0 {
                return Err(AgentError::bad_value(key, value, "a whole number above 0"));
            }
        }
        check_hidden(&self.hidden, self.layer_norm)
    }
}

/// The agent.
pub struct Pqn {
    config: PqnConfig,
    n_envs: usize,
    n_actions: usize,
    total_steps: u64,
    network: QNetwork,
    explore: Pcg32,
    shuffle: Pcg32,
    /// Environment steps seen.
    n_steps: u64,
    rollout: Rollout,
    minibatch: Minibatch,
    /// Where stacked frames are gathered.
    scratch: Vec<u8>,
}

/// What a rollout keeps, `[rollout_len, n_envs]` each unless said otherwise.
struct Rollout {
    /// Steps taken so far.
    len: usize,
    /// `[rollout_len, n_envs, frame_stack, obs_bytes]`.
    obs: Vec<u8>,
    actions: Vec<u8>,
    rewards: Vec<f32>,
    /// γ, or 0 where the episode terminated.
    discounts: Vec<f32>,
    /// 1 where the time limit cut the episode off.
    truncated: Vec<u8>,
    /// `max_a q` of the state reached.
    values: Vec<f32>,
    /// `max_a q` of the state acted in, at the time of acting.
    max_q: Vec<f32>,
}

/// Buffers of one update.
struct Minibatch {
    obs: Vec<u8>,
    actions: Vec<u8>,
    returns: Vec<f32>,
}

impl Pqn {
    /// A PQN agent that has seen nothing.
    ///
    /// # Errors
    /// When a rollout cannot be cut into equal minibatches.
    pub fn new(config: PqnConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        let rollout_size = config.rollout_len * task.n_envs;
        if !rollout_size.is_multiple_of(config.n_minibatches) {
            let expected = format!("a divisor of {rollout_size} (rollout_len x n_envs)");
            return Err(AgentError::bad_value("n_minibatches", config.n_minibatches, &expected));
        }
        let spec = NetSpec {
            obs_space: task.obs_space.clone(),
            frame_stack: task.frame_stack,
            hidden: config.hidden.clone(),
            layer_norm: config.layer_norm,
            n_actions: task.n_actions,
        };
        let (size, obs_bytes) = (rollout_size / config.n_minibatches, spec.obs_bytes());
        let optimizer = OptimConfig::of(config.optimizer);
        Ok(Self {
            network: QNetwork::new(spec, task.trunk.clone(), optimizer, task.device, &mut seeds.stream("init")),
            n_envs: task.n_envs,
            n_actions: task.n_actions,
            total_steps: task.total_steps,
            explore: seeds.stream("explore"),
            shuffle: seeds.stream("shuffle"),
            n_steps: 0,
            rollout: Rollout::new(rollout_size, obs_bytes),
            minibatch: Minibatch { obs: vec![0; size * obs_bytes], actions: vec![0; size], returns: vec![0.0; size] },
            scratch: vec![],
            config,
        })
    }

    fn epsilon(&self) -> f64 {
        let PqnConfig { epsilon_start: start, epsilon_end: end, epsilon_fraction: fraction, .. } = self.config;
        Linear { start, end, steps: (fraction * self.total_steps as f64) as u64 }.at(self.n_steps)
    }

    /// That of the rollout's first step, for all of its updates: that of its last would be 0 at the end of a run.
    fn lr(&self) -> f64 {
        let first = self.n_steps.saturating_sub((self.config.rollout_len * self.n_envs) as u64);
        Linear { start: self.config.lr, end: self.config.lr_end, steps: self.total_steps }.at(first)
    }

    /// λ-returns of the rollout, in the order of its transitions.
    fn returns(&self) -> Vec<f32> {
        let Rollout { rewards, discounts, truncated, values, .. } = &self.rollout;
        // Past a cut the rollout holds another episode, whose return must not flow back.
        let lambdas: Vec<f32> =
            truncated.iter().map(|&cut| if cut == 1 { 0.0 } else { self.config.lambda as f32 }).collect();
        let mut returns = vec![0.0; rewards.len()];
        let mut column_returns = vec![0.0; self.config.rollout_len];
        for env_idx in 0..self.n_envs {
            let column = |of: &[f32]| -> Vec<f32> { of.iter().skip(env_idx).step_by(self.n_envs).copied().collect() };
            let [r_t, discount_t, v_t, lambda_t] = [rewards, discounts, values, &lambdas].map(|of| column(of));
            lambda_returns(&r_t, &discount_t, &v_t, &lambda_t, &mut column_returns);
            for (t, value) in column_returns.iter().enumerate() {
                returns[t * self.n_envs + env_idx] = *value;
            }
        }
        returns
    }

    fn learn(&mut self) -> Result<(), LearnError> {
        let returns = self.returns();
        let mut order: Vec<usize> = (0..returns.len()).collect();
        for _ in 0..self.config.n_epochs {
            order.shuffle(&mut self.shuffle);
            for indices in order.chunks_exact(self.minibatch.actions.len()) {
                self.update(indices, &returns)?;
            }
        }
        Ok(())
    }

    fn update(&mut self, indices: &[usize], returns: &[f32]) -> Result<(), LearnError> {
        let how = Fit { loss: Loss::Squared, lr: self.lr(), max_grad_norm: self.config.max_grad_norm };
        let Minibatch { obs, actions, returns: targets } = &mut self.minibatch;
        let obs_bytes = obs.len() / indices.len();
        for (b, &i) in indices.iter().enumerate() {
            let row = |i: usize| i * obs_bytes..(i + 1) * obs_bytes;
            obs[row(b)].copy_from_slice(&self.rollout.obs[row(i)]);
            actions[b] = self.rollout.actions[i];
            targets[b] = returns[i];
        }
        self.network.fit(obs, actions, targets, &how).map_err(|e| e.at(self.n_steps))
    }
}

impl Learner for Pqn {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        let epsilon = self.epsilon();
        let q = self.network.q(Weights::Online, obs).chunks_exact(self.n_actions);
        let max_q = self.rollout.row_mut(self.n_envs, |rollout| &mut rollout.max_q);
        for ((action, q), max_q) in actions.iter_mut().zip(q).zip(max_q) {
            let greedy = argmax(q);
            *max_q = q[greedy];
            let explores = self.explore.r#gen::<f64>() < epsilon;
            *action = if explores { self.explore.gen_range(0..self.n_actions) } else { greedy };
        }
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        self.rollout.push(envs, actions, &self.config, &mut self.scratch);
        for (env_idx, _) in envs.transitions().iter().enumerate().filter(|(_, step)| step.truncated) {
            let q = self.network.q(Weights::Online, envs.final_stack(env_idx, &mut self.scratch));
            let at = self.rollout.len * self.n_envs + env_idx;
            self.rollout.values[at] = q[argmax(q)];
        }
        self.rollout.len += 1;
        self.n_steps += self.n_envs as u64;
        if self.rollout.len < self.config.rollout_len {
            return Ok(());
        }
        let last = self
            .network
            .q(Weights::Online, envs.stacks(&mut self.scratch))
            .chunks_exact(self.n_actions)
            .map(|q| q[argmax(q)]);
        let last: Vec<f32> = last.collect();
        self.rollout.fill_values(&last);
        self.learn()?;
        self.rollout.len = 0;
        Ok(())
    }
}

impl Rollout {
    fn new(size: usize, obs_bytes: usize) -> Self {
        let zeros = || vec![0.0; size];
        Self {
            len: 0,
            obs: vec![0; size * obs_bytes],
            actions: vec![0; size],
            rewards: zeros(),
            discounts: zeros(),
            truncated: vec![0; size],
            values: zeros(),
            max_q: zeros(),
        }
    }

    /// The present step's part of one of the arrays.
    fn row_mut(&mut self, n_envs: usize, of: impl FnOnce(&mut Self) -> &mut Vec<f32>) -> &mut [f32] {
        let start = self.len * n_envs;
        &mut of(self)[start..start + n_envs]
    }

    /// Notes the step that `envs` has just made.
    fn push(&mut self, envs: &VecEnv, actions: &[usize], config: &PqnConfig, scratch: &mut Vec<u8>) {
        let (start, obs) = (self.len * actions.len(), envs.prev_stacks(scratch));
        self.obs[self.len * obs.len()..][..obs.len()].copy_from_slice(obs);
        for (env_idx, (action, step)) in actions.iter().zip(envs.transitions()).enumerate() {
            let at = start + env_idx;
            self.actions[at] = u8::try_from(*action).expect("at most 256 actions");
            self.rewards[at] = step.reward;
            self.discounts[at] = if step.terminated { 0.0 } else { config.gamma as f32 };
            self.truncated[at] = u8::from(step.truncated);
        }
    }

    /// Completes `values`: the state reached is the one acted in next, `last` after the final step. Where the time limit cut
    /// an episode off, the value is there already.
    fn fill_values(&mut self, last: &[f32]) {
        let next = self.max_q[last.len()..].iter().chain(last);
        for ((value, next), _) in self.values.iter_mut().zip(next).zip(&self.truncated).filter(|(_, cut)| **cut == 0) {
            *value = *next;
        }
    }
}

impl Agent for Pqn {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.network.greedy(obs, actions);
    }

    fn stats(&mut self) -> Vec<Stat> {
        let mut stats = self.network.stats();
        stats.extend([("train/epsilon", self.epsilon()), ("train/lr", self.lr())]);
        stats
    }

    fn save(&self) -> Snapshot<'_> {
        let rollout = &self.rollout;
        let rollout = Snapshot::default()
            .value("len", &rollout.len)
            .array("obs", &rollout.obs)
            .array("actions", &rollout.actions)
            .array("rewards", &rollout.rewards)
            .array("discounts", &rollout.discounts)
            .array("truncated", &rollout.truncated)
            .array("values", &rollout.values)
            .array("max_q", &rollout.max_q);
        Snapshot::default()
            .value("n_steps", &self.n_steps)
            .value("explore", &self.explore)
            .value("shuffle", &self.shuffle)
            .nest("network", self.network.save())
            .nest("rollout", rollout)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.n_steps = from.value("n_steps")?;
        self.explore = from.value("explore")?;
        self.shuffle = from.value("shuffle")?;
        self.network.load(&from.nested("network")?)?;
        let (from, rollout) = (from.nested("rollout")?, &mut self.rollout);
        rollout.len = from.value("len")?;
        from.read("obs", &mut rollout.obs)?;
        from.read("actions", &mut rollout.actions)?;
        from.read("rewards", &mut rollout.rewards)?;
        from.read("discounts", &mut rollout.discounts)?;
        from.read("truncated", &mut rollout.truncated)?;
        from.read("values", &mut rollout.values)?;
        from.read("max_q", &mut rollout.max_q)
    }
}

#[cfg(test)]
mod tests;
