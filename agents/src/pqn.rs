//! PQN: Q-learning without replay and without a target network (Gallici et al. 2024, algorithm 1).
//!
//! Many environments are stepped side by side. λ-returns are computed over a short rollout, and a network steadied by
//! layer normalisation is fitted to them in minibatches.

use crate::agent::{Agent, LearnError, Learner, NoBf16, Stat, Task};
use crate::losses::{Loss, argmax, lambda_returns};
use crate::net::NetSpec;
use crate::optim::{OptimConfig, Rule};
use crate::q_network::{QNetwork, Update, Weights};
use crate::schedule::Linear;
use crate::settings::{AgentError, MAX_LAYER_WIDTH, check_memory, check_widths, flat_schedule, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::settings::{Above, AtLeast, Each, Fault, FromBelow, IfGiven, Settings};
use carom_envs::{Seeds, VecEnv};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg32;

carom_envs::settings! {
    /// Settings of a [`Pqn`]. Steps are environment steps, summed over all environments.
    pub struct PqnConfig {
        /// Discount of one step.
        gamma: f64 = 0.99, in 0.0..=1.0;
        /// λ of the returns.
        lambda: f64 = 0.65, in 0.0..=1.0;
        /// Learning rate at the start.
        lr: f64 = 5e-4, in AtLeast(0.0);
        /// Learning rate at the end of the training, reached in a straight line.
        lr_end: f64 = 0.0, in AtLeast(0.0);
        /// Optimiser.
        optimizer: Rule = Rule::RAdam;
        /// ε in the optimiser's denominator; unless given, 1e-8 with Adam and RAdam, 0.01 with RMSProp.
        optimizer_epsilon: Option<f64> = None, in IfGiven(Above(0.0));
        /// Add ε under RMSProp's root, as Mnih et al. 2015 did, and not to the root.
        optimizer_epsilon_in_root: bool = false;
        /// Largest Euclidean norm of a gradient, longer ones are clipped; 0 for no limit.
        max_grad_norm: f64 = 10.0, in AtLeast(0.0);
        /// Steps of each environment in a rollout.
        rollout_len: usize = 32, in AtLeast(1);
        /// Number of passes over a rollout.
        n_epochs: usize = 2, in AtLeast(1);
        /// Number of minibatches in a pass.
        n_minibatches: usize = 32, in AtLeast(1);
        /// Probability of a random action at the start.
        epsilon_start: f64 = 1.0, in 0.0..=1.0;
        /// Probability of a random action after `epsilon_fraction` of the training.
        epsilon_end: f64 = 0.05, in 0.0..=1.0;
        /// Share of the training over which the probability of a random action falls; with 0 it stays at
        /// `epsilon_start`.
        epsilon_fraction: f64 = 0.1, in 0.0..=1.0;
        /// Share of the old average that an update keeps, in an exponential average of the weights that acts in
        /// evaluations; 0 for none: the latest weights act.
        ema_decay: f64 = 0.0, in FromBelow(0.0, 1.0);
        /// Widths of the hidden dense layers.
        hidden: Vec<usize> = vec![128], in Each(1..=MAX_LAYER_WIDTH);
        /// Normalise each layer before its rectifier.
        layer_norm: bool = true;
    }
}

impl Settings for PqnConfig {
    const DERIVED: &'static [&'static str] = &["optimizer_epsilon"];

    fn derive(&mut self, is_given: &dyn Fn(&str) -> bool) {
        if !is_given("optimizer_epsilon") {
            self.optimizer_epsilon = Some(OptimConfig::of(self.optimizer).epsilon);
        }
    }

    fn check(&self) -> Result<(), Fault> {
        check_widths(&self.hidden, self.layer_norm)
    }

    fn unheard(&self) -> Vec<(&'static str, String)> {
        let of_epsilon = match self.epsilon_fraction > 0.0 {
            true if self.epsilon_start == self.epsilon_end => {
                Some(("epsilon_fraction", flat_schedule("epsilon_start", "epsilon_end")))
            }
            true => None,
            false => Some(("epsilon_end", "epsilon_fraction is 0, so epsilon stays at epsilon_start".to_owned())),
        };
        of_epsilon.into_iter().chain(self.optimizer.unheard()).collect()
    }
}

impl PqnConfig {
    fn epsilon(&self, total_steps: u64) -> Linear {
        let Self { epsilon_start: start, epsilon_end: end, epsilon_fraction: fraction, .. } = *self;
        match fraction > 0.0 {
            true => Linear { start, end, steps: (fraction * total_steps as f64) as u64 },
            false => Linear::new(start, end, 0),
        }
    }
}

/// Q-learning over parallel environments: λ-returns of a rollout, then a few passes over it in minibatches.
pub struct Pqn {
    config: PqnConfig,
    epsilon: Linear,
    lr: Linear,
    /// Environments of this rank.
    n_envs: usize,
    n_ranks: usize,
    n_actions: usize,
    network: QNetwork,
    explore: Pcg32,
    shuffle: Pcg32,
    /// Environment steps observed, by all ranks.
    n_steps: u64,
    rollout: Rollout,
    minibatch: Minibatch,
    /// Buffer for stacked frames.
    scratch: Vec<u8>,
}

/// A rollout. Arrays are `[rollout_len, n_envs]` unless another shape is given.
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

impl Learner for Pqn {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        let epsilon = self.epsilon.at(self.n_steps);
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
        self.rollout.push(envs, actions, self.config.gamma as f32, &mut self.scratch);
        self.value_final_observations(envs);
        self.rollout.len += 1;
        self.n_steps += (self.n_envs * self.n_ranks) as u64;
        if self.rollout.len == self.config.rollout_len {
            let last = max_q(&mut self.network, envs.stacks(&mut self.scratch), self.n_actions);
            self.rollout.fill_values(&last);
            self.learn()?;
            self.rollout.len = 0;
        }
        Ok(())
    }

    fn first_update(&self) -> u64 {
        (self.config.rollout_len * self.n_envs * self.n_ranks) as u64
    }
}

impl Pqn {
    /// The network by which it acts.
    pub fn network(&mut self) -> &mut QNetwork {
        &mut self.network
    }

    /// Fits the network to the rollout's λ-returns, minibatch by minibatch.
    fn learn(&mut self) -> Result<(), LearnError> {
        let returns = self.returns();
        let mut order: Vec<usize> = (0..returns.len()).collect();
        for _ in 0..self.config.n_epochs {
            order.shuffle(&mut self.shuffle);
            for indices in order.chunks_exact(self.minibatch.actions.len()) {
                self.minibatch.gather(indices, &self.rollout, &returns);
                self.update()?;
            }
        }
        Ok(())
    }

    /// One step of the optimiser on the minibatch.
    fn update(&mut self) -> Result<(), LearnError> {
        let update = Update { loss: Loss::Squared, lr: self.lr(), max_grad_norm: self.config.max_grad_norm };
        let Minibatch { obs, actions, returns } = &self.minibatch;
        self.network.fit(obs, actions, returns, &update).map_err(|error| error.at(self.n_steps))
    }

    /// λ-returns of the rollout, `[rollout_len, n_envs]`.
    fn returns(&self) -> Vec<f32> {
        let Rollout { rewards, discounts, truncated, values, .. } = &self.rollout;
        // After a cut the rollout holds another episode, whose return must not flow back.
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

    /// The learning rate of the rollout's first step, for all of its updates. That of its last step would be 0 at the
    /// end of a run.
    fn lr(&self) -> f64 {
        self.lr.at(self.n_steps.saturating_sub(self.first_update()))
    }

    /// Writes `max_a q` of the final observation of each episode that the time limit has just cut off.
    fn value_final_observations(&mut self, envs: &VecEnv) {
        for (env_idx, _) in envs.transitions().iter().enumerate().filter(|(_, step)| step.truncated) {
            let value = max_q(&mut self.network, envs.final_stack(env_idx, &mut self.scratch), self.n_actions);
            self.rollout.values[self.rollout.len * self.n_envs + env_idx] = value[0];
        }
    }

    /// An untrained PQN.
    ///
    /// # Errors
    /// When a setting is out of range or breaks a rule, a rollout cannot be cut into equal minibatches, or it does not
    /// fit into memory.
    pub fn new(config: PqnConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("pqn", &config)?;
        let spec = NetSpec {
            layer_norm: config.layer_norm,
            ..NetSpec::new(task.obs_space.clone(), task.frame_stack, &config.hidden, task.n_actions)
        };
        let obs_bytes = spec.obs_bytes();
        let size = rollout_size(&config, task, obs_bytes).map_err(AgentError::of("pqn"))?;
        let optimizer =
            OptimConfig::of(config.optimizer).with_epsilon(config.optimizer_epsilon, config.optimizer_epsilon_in_root);
        let network = QNetwork::new(spec, task.trunk.clone(), optimizer, task.device, &mut seeds.stream("init"));
        let own_seeds = task.rank_seeds(seeds);
        Ok(Self {
            network: network.averaged(config.ema_decay).sharded(task.ranks.clone()),
            epsilon: config.epsilon(task.total_steps),
            lr: Linear { start: config.lr, end: config.lr_end, steps: task.total_steps },
            n_envs: task.n_envs,
            n_ranks: task.n_ranks(),
            n_actions: task.n_actions,
            explore: own_seeds.stream("explore"),
            shuffle: own_seeds.stream("shuffle"),
            n_steps: 0,
            rollout: Rollout::new(size, obs_bytes),
            minibatch: Minibatch::new(size / config.n_minibatches, obs_bytes),
            scratch: vec![],
            config,
        })
    }
}

/// Number of transitions in a rollout of this rank, which must be a multiple of `n_minibatches` and fit into memory.
fn rollout_size(config: &PqnConfig, task: &Task, obs_bytes: usize) -> Result<usize, Fault> {
    let size = config.rollout_len.saturating_mul(task.n_envs);
    check_memory("rollout_len", config.rollout_len, size.saturating_mul(obs_bytes + Rollout::BYTES_BESIDE_OBS))?;
    if !size.is_multiple_of(config.n_minibatches) {
        let per_rank = if task.n_ranks() > 1 { " of a rank" } else { "" };
        let expected = format!("a divisor of {size} (rollout_len x n_envs{per_rank})");
        return Err(Fault::value("n_minibatches", config.n_minibatches, expected));
    }
    Ok(size)
}

/// `max_a q` of each observation in `obs`.
fn max_q(network: &mut QNetwork, obs: &[u8], n_actions: usize) -> Vec<f32> {
    network.q(Weights::Online, obs).chunks_exact(n_actions).map(|q| q[argmax(q)]).collect()
}

impl Minibatch {
    fn new(size: usize, obs_bytes: usize) -> Self {
        Self { obs: vec![0; size * obs_bytes], actions: vec![0; size], returns: vec![0.0; size] }
    }

    /// Copies the transitions of `rollout` at `indices`, with their returns.
    fn gather(&mut self, indices: &[usize], rollout: &Rollout, returns: &[f32]) {
        let obs_bytes = self.obs.len() / indices.len();
        for (b, &i) in indices.iter().enumerate() {
            let row = |i: usize| i * obs_bytes..(i + 1) * obs_bytes;
            self.obs[row(b)].copy_from_slice(&rollout.obs[row(i)]);
            self.actions[b] = rollout.actions[i];
            self.returns[b] = returns[i];
        }
    }
}

impl Rollout {
    /// Memory of a transition beside its observation: the other arrays, its return, and its place in the order.
    const BYTES_BESIDE_OBS: usize = 30;

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

    /// The present step's row of one of the arrays, `[n_envs]`.
    fn row_mut(&mut self, n_envs: usize, of: impl FnOnce(&mut Self) -> &mut Vec<f32>) -> &mut [f32] {
        let start = self.len * n_envs;
        &mut of(self)[start..start + n_envs]
    }

    /// Writes the step that `envs` has just made, except the value of the state reached.
    fn push(&mut self, envs: &VecEnv, actions: &[usize], gamma: f32, scratch: &mut Vec<u8>) {
        let (start, obs) = (self.len * actions.len(), envs.prev_stacks(scratch));
        self.obs[self.len * obs.len()..][..obs.len()].copy_from_slice(obs);
        for (env_idx, (action, step)) in actions.iter().zip(envs.transitions()).enumerate() {
            let at = start + env_idx;
            self.actions[at] = u8::try_from(*action).expect("at most 256 actions");
            self.rewards[at] = step.reward;
            self.discounts[at] = if step.terminated { 0.0 } else { gamma };
            self.truncated[at] = u8::from(step.truncated);
        }
    }

    /// Completes `values`. The state reached is the one acted in next; `last` are the values after the final step.
    /// Where the time limit cut an episode off, the value of its final observation stands already.
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

    fn values_of(&mut self, obs: &[u8]) -> Option<Vec<f64>> {
        Some(self.network.acting_q(obs).iter().map(|&q| q.into()).collect())
    }

    fn stats(&mut self) -> Vec<Stat> {
        let mut stats = self.network.stats();
        stats.extend([("train/epsilon", self.epsilon.at(self.n_steps)), ("train/lr", self.lr())]);
        stats
    }

    fn gains_from_threads(&self) -> bool {
        self.network.gains_from_threads()
    }

    fn round_to_bf16(&mut self) -> Result<(), NoBf16> {
        self.network.round_to_bf16()
    }

    fn sums_over_ranks(&self) -> bool {
        true
    }

    fn save(&self) -> Snapshot<'_> {
        self.save_shard(true).nest("network", self.network.save())
    }

    fn save_shard(&self, _: bool) -> Snapshot<'_> {
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
            .nest("rollout", rollout)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.network.load(&from.nested("network")?)?;
        self.load_shard(from)
    }

    fn load_shard(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.n_steps = from.count("n_steps")?;
        self.explore = from.value("explore")?;
        self.shuffle = from.value("shuffle")?;
        let (from, rollout) = (from.nested("rollout")?, &mut self.rollout);
        let n_rows = rollout.rewards.len() / self.n_envs;
        rollout.len = from.value_where("len", |&len: &usize| len < n_rows)?;
        from.read("obs", &mut rollout.obs)?;
        from.read_indices("actions", &mut rollout.actions, self.n_actions)?;
        from.read("rewards", &mut rollout.rewards)?;
        from.read("discounts", &mut rollout.discounts)?;
        from.read("truncated", &mut rollout.truncated)?;
        from.read("values", &mut rollout.values)?;
        from.read("max_q", &mut rollout.max_q)
    }

    fn save_policy(&self) -> Snapshot<'_> {
        Snapshot::default().nest("network", self.network.save_policy())
    }

    fn load_policy(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.network.load_policy(&from.nested("network")?)
    }
}

#[cfg(test)]
mod tests;
