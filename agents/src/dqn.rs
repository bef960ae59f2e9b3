//! Deep Q-network with experience replay (Mnih et al. 2015), optionally double (van Hasselt et al. 2016) and n-step
//! (Sutton & Barto 2018, section 7.1).

use crate::agent::{Agent, LearnError, Learner, Stat, Task};
use crate::losses::{Loss, argmax, double_q_learning_target, q_learning_target};
use crate::net::{NetParts, NetSpec};
use crate::optim::{OptimConfig, Rule};
use crate::q_network::{QNetwork, Update, Weights};
use crate::replay::{Batch, Horizon, Replay, ReplayConfig};
use crate::schedule::Linear;
use crate::settings::{AgentError, MAX_LAYER_WIDTH, check_memory, check_widths, flat_schedule, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::settings::{Above, AtLeast, Each, Fault, FromBelow, IfGiven, Settings};
use carom_envs::{Seeds, VecEnv};
use rand::Rng;
use rand_pcg::Pcg32;

carom_envs::settings! {
    /// Settings of a [`Dqn`]. Steps are environment steps, summed over all environments.
    pub struct DqnConfig {
        /// Discount of one step.
        gamma: f64 = 0.99, in 0.0..=1.0;
        /// Learning rate.
        lr: f64 = 2.5e-4, in Above(0.0);
        /// Optimiser.
        optimizer: Rule = Rule::Adam;
        /// ε in the optimiser's denominator; unless given, 1e-8 with Adam and RAdam, 0.01 with RMSProp.
        optimizer_epsilon: Option<f64> = None, in IfGiven(Above(0.0));
        /// Add ε under RMSProp's root, as Mnih et al. 2015 did, and not to the root.
        optimizer_epsilon_in_root: bool = false;
        /// Largest Euclidean norm of a gradient, longer ones are clipped; 0 for no limit.
        max_grad_norm: f64 = 0.0, in AtLeast(0.0);
        /// Loss of the TD error.
        loss: Loss = Loss::Huber;
        /// Number of transitions in an update.
        batch_size: usize = 32, in 1..=MAX_BATCH_SIZE;
        /// Steps between updates.
        train_every: u64 = 4, in AtLeast(1);
        /// Steps between copies of the network to the target network.
        target_every: u64 = 1_000, in AtLeast(1);
        /// Number of transitions that the replay keeps.
        buffer_size: usize = 100_000, in AtLeast(1);
        /// Steps before the first update.
        learning_starts: u64 = 5_000;
        /// Probability of a random action at the start.
        epsilon_start: f64 = 1.0, in 0.0..=1.0;
        /// Probability of a random action after `epsilon_steps`.
        epsilon_end: f64 = 0.05, in 0.0..=1.0;
        /// Steps over which the probability of a random action falls; with 0 it stays at `epsilon_start`.
        epsilon_steps: u64 = 100_000;
        /// Steps before the probability of a random action begins to fall.
        epsilon_delay: u64 = 0;
        /// Number of steps whose rewards are summed before bootstrapping.
        n_step: usize = 1, in AtLeast(1);
        /// Let the online network choose the action that the target network values.
        double: bool = false;
        /// Share of an exponential average of the weights that an update leaves; the average acts in evaluations. 0 for
        /// none: the latest weights act.
        ema_decay: f64 = 0.0, in FromBelow(0.0, 1.0);
        /// Widths of the hidden dense layers.
        hidden: Vec<usize> = vec![128], in Each(1..=MAX_LAYER_WIDTH);
        /// Normalise each layer before its rectifier.
        layer_norm: bool = false;
    }
}

/// Largest number of transitions in an update.
const MAX_BATCH_SIZE: usize = 1 << 20;

impl Settings for DqnConfig {
    const DERIVED: &'static [&'static str] = &["optimizer_epsilon"];

    fn derive(&mut self, is_given: &dyn Fn(&str) -> bool) {
        if !is_given("optimizer_epsilon") {
            self.optimizer_epsilon = Some(OptimConfig::of(self.optimizer).epsilon);
        }
    }

    fn check(&self) -> Result<(), Fault> {
        for (key, value) in [("batch_size", self.batch_size), ("n_step", self.n_step)] {
            if value > self.buffer_size {
                let expected = format!("no more than buffer_size, which is {}", self.buffer_size);
                return Err(Fault::value(key, value, expected));
            }
        }
        check_widths(&self.hidden, self.layer_norm)
    }

    fn unheard(&self) -> Vec<(&'static str, String)> {
        let mut unheard = vec![];
        if self.epsilon_steps == 0 {
            unheard.push(("epsilon_end", "epsilon_steps is 0, so epsilon stays at epsilon_start".to_owned()));
        } else if self.epsilon_start == self.epsilon_end {
            unheard.push(("epsilon_steps", flat_schedule("epsilon_start", "epsilon_end")));
        }
        if !unheard.is_empty() {
            unheard.push(("epsilon_delay", "epsilon does not change".to_owned()));
        }
        unheard.extend(self.optimizer.unheard());
        unheard
    }
}

/// A deep Q-network: ε-greedy actions, transitions drawn from a replay, targets from a copy of the network.
pub struct Dqn {
    config: DqnConfig,
    epsilon: Linear,
    n_envs: u64,
    n_actions: usize,
    network: QNetwork,
    replay: Replay,
    explore: Pcg32,
    sampling: Pcg32,
    /// Environment steps observed.
    n_steps: u64,
    batch: Batch,
    /// `[batch_size]`
    targets: Vec<f32>,
}

impl Learner for Dqn {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        const GREEDY: usize = usize::MAX;
        let epsilon = self.epsilon();
        for action in actions.iter_mut() {
            let explores = self.explore.r#gen::<f64>() < epsilon;
            *action = if explores { self.explore.gen_range(0..self.n_actions) } else { GREEDY };
        }
        // Where all actions are random the network is not asked.
        if actions.contains(&GREEDY) {
            let q = self.network.q(Weights::Online, obs).chunks_exact(self.n_actions);
            for (action, q) in actions.iter_mut().zip(q).filter(|(action, _)| **action == GREEDY) {
                *action = argmax(q);
            }
        }
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        self.remember(envs, actions);
        let before = self.n_steps;
        self.n_steps += actions.len() as u64;
        if self.n_steps < self.config.learning_starts || !self.replay.has_whole(self.config.n_step) {
            return Ok(());
        }
        let n_due = |every: u64| self.n_steps / every - before / every;
        let (n_updates, n_syncs) = (n_due(self.config.train_every), n_due(self.config.target_every));
        for _ in 0..n_updates {
            self.learn()?;
        }
        if n_syncs > 0 {
            self.network.step_target(1.0);
        }
        Ok(())
    }

    fn first_update(&self) -> u64 {
        let DqnConfig { learning_starts, train_every, .. } = self.config;
        // Steps come `n_envs` at a time, and a multiple of `train_every` may be any of them.
        let round_up = |step: u64, unit: u64| step.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
        let ready = round_up(learning_starts.max(1), self.n_envs);
        round_up(round_up(ready - self.n_envs + 1, train_every), self.n_envs)
    }
}

impl Dqn {
    /// The network by which it acts.
    pub fn network(&mut self) -> &mut QNetwork {
        &mut self.network
    }

    /// Probability of a random action.
    fn epsilon(&self) -> f64 {
        self.epsilon.at(self.n_steps.saturating_sub(self.config.epsilon_delay))
    }

    /// Fits the network to the targets of one batch.
    fn learn(&mut self) -> Result<(), LearnError> {
        let horizon = Horizon { n_step: self.config.n_step, gamma: self.config.gamma as f32 };
        self.replay.sample(self.config.batch_size, horizon, &mut self.sampling, &mut self.batch);
        self.value_targets();
        let DqnConfig { loss, lr, max_grad_norm, .. } = self.config;
        let update = Update { loss, lr, max_grad_norm };
        self.network
            .fit(&self.batch.obs, &self.batch.actions, &self.targets, &update)
            .map_err(|error| error.at(self.n_steps))
    }

    /// Writes `r_t + discount_t max_a q_t(a)` of each transition to `targets`. Where `double` is on, the online
    /// network chooses the action.
    fn value_targets(&mut self) {
        let Batch { returns, discounts, next_obs, .. } = &self.batch;
        let (selector, q_t) = match self.config.double {
            true => {
                let [online, target] = self.network.both_q(next_obs);
                (Some(online), target)
            }
            false => (None, self.network.q(Weights::Target, next_obs).to_vec()),
        };
        for (b, target) in self.targets.iter_mut().enumerate() {
            let row = b * self.n_actions..(b + 1) * self.n_actions;
            let (r_t, discount_t, q_t) = (returns[b], discounts[b], &q_t[row.clone()]);
            *target = match &selector {
                Some(selector) => double_q_learning_target(r_t, discount_t, q_t, &selector[row]),
                None => q_learning_target(r_t, discount_t, q_t),
            };
        }
    }

    /// Writes the latest transition of each environment to the replay.
    fn remember(&mut self, envs: &VecEnv, actions: &[usize]) {
        let obs = envs.prev_obs().chunks_exact(envs.obs_space().n_bytes());
        for (env_idx, ((obs, action), step)) in obs.zip(actions).zip(envs.transitions()).enumerate() {
            match step.truncated {
                true => self.replay.push_truncated(env_idx, obs, *action, step.reward, envs.final_obs(env_idx)),
                false => self.replay.push(env_idx, obs, *action, step.reward, step.terminated),
            }
        }
    }

    /// An untrained DQN.
    ///
    /// # Errors
    /// When a setting is out of range or breaks a rule, the replay is too small for the number of environments, or its
    /// frames do not fit into memory.
    pub fn new(config: DqnConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("dqn", &config)?;
        check_replay(&config, task).map_err(AgentError::of("dqn"))?;
        let spec = NetSpec {
            obs_space: task.obs_space.clone(),
            frame_stack: task.frame_stack,
            hidden: config.hidden.clone(),
            layer_norm: config.layer_norm,
            n_actions: task.n_actions,
            parts: NetParts::default(),
        };
        let replay = Replay::new(ReplayConfig {
            capacity: config.buffer_size,
            n_lanes: task.n_envs,
            frame_bytes: task.obs_space.n_bytes(),
            frame_stack: task.frame_stack,
        });
        let optimizer =
            OptimConfig::of(config.optimizer).with_epsilon(config.optimizer_epsilon, config.optimizer_epsilon_in_root);
        let network = QNetwork::new(spec, task.trunk.clone(), optimizer, task.device, &mut seeds.stream("init"));
        Ok(Self {
            network: network.averaged(config.ema_decay),
            epsilon: Linear::new(config.epsilon_start, config.epsilon_end, config.epsilon_steps),
            n_envs: task.n_envs as u64,
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
}

/// Refuses a replay that is too small for the task, or too large for the memory.
fn check_replay(config: &DqnConfig, task: &Task) -> Result<(), Fault> {
    let shortest_lane = config.n_step.saturating_add(task.frame_stack + 1);
    let smallest = task.n_envs.saturating_mul(shortest_lane);
    if config.buffer_size < smallest {
        let expected = format!("at least {smallest} transitions for {} environments", task.n_envs);
        return Err(Fault::value("buffer_size", config.buffer_size, expected));
    }
    let n_bytes = config.buffer_size.saturating_mul(task.obs_space.n_bytes() + Replay::BYTES_BESIDE_FRAME);
    check_memory("buffer_size", config.buffer_size, n_bytes)
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

    fn gains_from_threads(&self) -> bool {
        self.network.gains_from_threads()
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
        self.n_steps = from.count("n_steps")?;
        self.explore = from.value("explore")?;
        self.sampling = from.value("sampling")?;
        self.network.load(&from.nested("network")?)?;
        self.replay.load(&from.nested("replay")?, self.n_actions)
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
