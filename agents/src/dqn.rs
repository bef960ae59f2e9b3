//! Deep Q-network with experience replay (Mnih et al. 2015), and the parts that came after it.
//!
//! | part | file |
//! |---|---|
//! | settings | `dqn/config.rs` |
//! | double, Munchausen | `dqn/bootstrap.rs` |
//! | exploration by ε or by noise | `dqn/exploration.rs`, `net/noise.rs` |
//! | values, C51, QR-DQN, IQN | `dqn/head.rs`, `dqn/heads/` |
//! | uniform and prioritised replay | `dqn/sampler.rs`, `dqn/sum_tree.rs`, `replay.rs` |
//! | dueling | `net/duel.rs` |
//! | n steps | `replay.rs` |

mod bootstrap;
mod config;
mod exploration;
mod head;
mod heads;
mod policy;
mod sampler;
mod sum_tree;

pub use bootstrap::BootstrapSettings;
pub use config::{DescentSettings, DqnConfig, NetworkSettings};
pub use exploration::ExplorationSettings;
pub use heads::{HeadKind, HeadSettings};
pub use sampler::ReplaySettings;

use crate::agent::{Agent, LearnError, Learner, NoBf16, Stat, Task};
use crate::losses::argmax;
use crate::net::NetParts;
use crate::q_network::{Input, QNetwork, Update, Weights};
use crate::replay::{Batch, Horizon, Replay, ReplayConfig};
use crate::settings::{AgentError, check_memory, validate};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use bootstrap::Bootstrap;
use carom_envs::settings::Fault;
use carom_envs::{Seeds, VecEnv};
use exploration::{Exploration, GREEDY};
use head::{Head, Taken};
use policy::{Next, Policy};
use rand_pcg::Pcg32;
use sampler::{Draw, Sampler};

/// A deep Q-network: exploring actions, transitions drawn from a replay, targets from a copy of the network.
pub struct Dqn {
    config: DqnConfig,
    /// Environments of this rank.
    n_envs: usize,
    n_ranks: usize,
    n_actions: usize,
    network: QNetwork,
    head: Box<dyn Head>,
    bootstrap: Bootstrap,
    exploration: Exploration,
    replay: Replay,
    sampler: Sampler,
    sampling: Pcg32,
    /// Environment steps observed, by all ranks.
    n_steps: u64,
    /// Step at which the replay was empty.
    filled_from: u64,
    buffers: Buffers,
}

/// Memory of an update.
#[derive(Default)]
struct Buffers {
    draw: Draw,
    batch: Batch,
    policy: Policy,
    targets: Vec<f32>,
    priorities: Vec<f32>,
    values: Vec<f32>,
}

impl Learner for Dqn {
    fn act(&mut self, obs: &[u8], actions: &mut [usize]) {
        self.exploration.begin_step(self.n_steps, &mut self.network, self.n_actions, actions);
        // Where all actions are random the network is not asked.
        if actions.contains(&GREEDY) {
            let values = &mut self.buffers.values;
            self.head.values(self.network.q(Weights::Online, obs), values);
            let values = values.chunks_exact(self.n_actions);
            for (action, q) in actions.iter_mut().zip(values).filter(|(action, _)| **action == GREEDY) {
                *action = argmax(q);
            }
        }
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        self.remember(envs, actions);
        let before = self.n_steps;
        self.n_steps += (actions.len() * self.n_ranks) as u64;
        if self.n_steps < self.learns_from() || !self.replay.has_whole(self.config.replay.n_step) {
            return Ok(());
        }
        let n_due = |every: u64| self.n_steps / every - before / every;
        let (n_updates, n_moves) = (n_due(self.config.train_every), n_due(self.config.target_every));
        for _ in 0..n_updates * self.config.n_updates {
            self.learn()?;
        }
        // A copy of a copy is a copy.
        let n_moves = if self.config.tau == 1.0 { n_moves.min(1) } else { n_moves };
        for _ in 0..n_moves {
            self.network.step_target(self.config.tau as f32);
        }
        Ok(())
    }

    fn first_update(&self) -> u64 {
        let DqnConfig { learning_starts, train_every, .. } = self.config;
        let n_envs = (self.n_envs * self.n_ranks) as u64;
        let whole = whole_after(&self.config, self.n_envs, self.n_ranks);
        // Steps come `n_envs` at a time, and a multiple of `train_every` may be any of them.
        let round_up = |step: u64, unit: u64| step.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
        let ready = round_up(learning_starts.max(whole), n_envs);
        round_up(round_up(ready - n_envs + 1, train_every), n_envs)
    }
}

impl Dqn {
    /// The network by which it acts.
    pub fn network(&mut self) -> &mut QNetwork {
        &mut self.network
    }

    /// Values `[B, n_actions]` of `obs`, by the parameters that act greedily.
    pub fn acting_values(&mut self, obs: &[u8]) -> &[f32] {
        let values = &mut self.buffers.values;
        self.head.values(self.network.acting_q(obs), values);
        values
    }

    /// Step from which on it learns. A single process also waits until its replay has a whole transition.
    fn learns_from(&self) -> u64 {
        let whole = if self.n_ranks > 1 { whole_after(&self.config, self.n_envs, self.n_ranks) } else { 0 };
        self.filled_from.saturating_add(self.config.learning_starts.max(whole))
    }

    /// Fits the network to the targets of one batch.
    fn learn(&mut self) -> Result<(), LearnError> {
        let Buffers { draw, batch, policy, targets, priorities, .. } = &mut self.buffers;
        let (head, n_step) = (&mut *self.head, self.config.replay.n_step);
        self.sampler.draw(&self.replay, n_step, self.n_steps, &mut self.sampling, draw);
        self.replay.gather(&draw.starts, Horizon { n_step, gamma: self.config.gamma as f32 }, batch);
        self.exploration.begin_update(&mut self.network);
        head.draw();

        let outputs_t = self.bootstrap.value(&mut self.network, head, self.n_actions, batch, policy);
        let Batch { obs, actions, returns, discounts, .. } = &*batch;
        head.targets(&outputs_t, &Next { returns, discounts, policy }, targets);

        let taken = Taken { actions, targets, weights: &draw.weights };
        let (descent, loss) = (&self.config.descent, self.config.outputs.loss);
        let update = Update { loss, lr: descent.lr, max_grad_norm: descent.max_grad_norm };
        let fitted = self.network.fit_by(Input { obs, taus: head.taus() }, &update, |outputs, d_outputs| {
            head.loss(outputs, &taken, d_outputs, priorities)
        });
        fitted.map_err(|error| error.at(self.n_steps))?;
        self.sampler.learned(&self.replay, draw, priorities);
        Ok(())
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
        self.sampler.wrote(&self.replay);
    }

    /// An untrained DQN.
    ///
    /// # Errors
    /// When a setting is out of range or breaks a rule, the replay is too small for the number of environments, or its
    /// frames do not fit into memory.
    pub fn new(config: DqnConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("dqn", &config)?;
        check_ranks(&config, task).and_then(|()| check_replay(&config, task)).map_err(AgentError::of("dqn"))?;
        let capacity = if task.acts_only { smallest_replay(&config, task) } else { config.replay.buffer_size };
        let replay = Replay::new(ReplayConfig {
            capacity: capacity / task.n_ranks(),
            n_lanes: task.n_envs,
            frame_bytes: task.obs_space.n_bytes(),
            frame_stack: task.frame_stack,
        });
        let own_seeds = task.rank_seeds(seeds);
        let shard_size = config.batch_size / task.n_ranks();
        let head = config.outputs.make(task.n_actions, shard_size, &own_seeds);
        let parts = NetParts {
            atoms: head.atoms(),
            dueling: config.network.dueling,
            taus: head.n_taus(),
            sigma: config.exploration.noisy.then_some(config.exploration.noisy_sigma),
        };
        let (spec, optimizer) = (config.net_spec(task, parts), config.descent.optimizer());
        let network = QNetwork::new(spec, task.trunk.clone(), optimizer, task.device, &mut seeds.stream("init"));
        let draw = Draw { starts: vec![], weights: vec![1.0; shard_size] };
        Ok(Self {
            network: network.averaged(config.network.ema_decay).sharded(task.ranks.clone()),
            head,
            bootstrap: Bootstrap::new(&config.bootstrap),
            exploration: Exploration::new(&config.exploration, &own_seeds),
            n_envs: task.n_envs,
            n_ranks: task.n_ranks(),
            n_actions: task.n_actions,
            sampler: Sampler::new(&config.replay, &replay, task.total_steps),
            replay,
            sampling: own_seeds.stream("replay"),
            n_steps: 0,
            filled_from: 0,
            buffers: Buffers { draw, ..Buffers::default() },
            config,
        })
    }
}

/// Number of steps after which the replays of all ranks have a whole transition. Several ranks begin to learn then, all
/// at one step.
fn whole_after(config: &DqnConfig, n_envs: usize, n_ranks: usize) -> u64 {
    (config.replay.n_step as u64).saturating_add(1).saturating_mul((n_envs * n_ranks) as u64)
}

/// Refuses what cannot be spread over several ranks.
fn check_ranks(config: &DqnConfig, task: &Task) -> Result<(), Fault> {
    let n_ranks = task.n_ranks();
    if n_ranks > 1 && config.replay.prioritized {
        let expected = format!("false over {n_ranks} ranks: a priority is relative to those of one replay");
        return Err(Fault::value("prioritized", true, expected));
    }
    match config.batch_size.is_multiple_of(n_ranks) {
        true => Ok(()),
        false => Err(Fault::value("batch_size", config.batch_size, format!("a multiple of {n_ranks}, the ranks"))),
    }
}

/// Number of transitions that the replays of all ranks hold at least, for a whole one in each environment.
fn smallest_replay(config: &DqnConfig, task: &Task) -> usize {
    let shortest_lane = config.replay.n_step.saturating_add(task.frame_stack + 1);
    shortest_lane.saturating_mul(task.n_envs * task.n_ranks())
}

/// Refuses a replay that is too small for the task, or too large for the memory.
fn check_replay(config: &DqnConfig, task: &Task) -> Result<(), Fault> {
    let (buffer_size, smallest) = (config.replay.buffer_size, smallest_replay(config, task));
    if buffer_size < smallest {
        let n_envs = task.n_envs * task.n_ranks();
        let expected = format!("at least {smallest} transitions for {n_envs} environments");
        return Err(Fault::value("buffer_size", buffer_size, expected));
    }
    if task.acts_only {
        return Ok(());
    }
    let n_bytes = (buffer_size / task.n_ranks()).saturating_mul(task.obs_space.n_bytes() + Replay::BYTES_BESIDE_FRAME);
    check_memory("buffer_size", buffer_size, n_bytes)
}

impl Agent for Dqn {
    fn greedy(&mut self, obs: &[u8], actions: &mut [usize]) {
        let n_actions = self.n_actions;
        for (action, q) in actions.iter_mut().zip(self.acting_values(obs).chunks_exact(n_actions)) {
            *action = argmax(q);
        }
    }

    fn values_of(&mut self, obs: &[u8]) -> Option<Vec<f64>> {
        Some(self.acting_values(obs).iter().map(|&q| q.into()).collect())
    }

    fn stats(&mut self) -> Vec<Stat> {
        let mut stats = self.network.stats();
        stats.push(self.exploration.stat(self.n_steps));
        stats
    }

    fn gains_from_threads(&self) -> bool {
        self.network.gains_from_threads()
    }

    fn round_to_bf16(&mut self) -> Result<(), NoBf16> {
        self.network.round_to_bf16()
    }

    fn save(&self) -> Snapshot<'_> {
        self.save_shard(true).nest("network", self.network.save())
    }

    fn save_without_replay(&self) -> Snapshot<'_> {
        self.save_shard(false).nest("network", self.network.save())
    }

    fn sums_over_ranks(&self) -> bool {
        true
    }

    fn save_shard(&self, has_replay: bool) -> Snapshot<'_> {
        let snapshot = Snapshot::default()
            .value("n_steps", &self.n_steps)
            .value("filled_from", &self.filled_from)
            .value("sampling", &self.sampling)
            .nest("head", self.head.save());
        let snapshot = self.exploration.save(snapshot);
        if has_replay { self.sampler.save(snapshot.nest("replay", self.replay.save())) } else { snapshot }
    }

    fn replay_bytes(&self) -> Option<u64> {
        Some(self.replay.n_bytes() as u64)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.network.load(&from.nested("network")?)?;
        self.load_shard(from)
    }

    fn load_shard(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.n_steps = from.count("n_steps")?;
        self.filled_from = from.count("filled_from")?;
        self.exploration.load(from)?;
        self.sampling = from.value("sampling")?;
        self.head.load(&from.nested("head")?)?;
        let Ok(replay) = from.nested("replay") else {
            // A network that learned from a few transitions alone would forget.
            self.filled_from = self.n_steps;
            return Ok(());
        };
        self.replay.load(&replay, self.n_actions)?;
        self.sampler.load(from, &self.replay)
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
