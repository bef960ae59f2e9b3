//! An agent of one's own, found by name like the others: `cargo run -p carom-agents --example own_agent`.
//!
//! It keeps the mean reward of each action, whatever the state, and plays the best one ε-greedily.

use carom_agents::settings::{AgentKind, learner, parse, validate};
use carom_agents::{
    Agent, AgentEntry, AgentError, LearnError, Learner, Loaded, Player, Snapshot, SnapshotError, Stat, Task, registry,
};
use carom_envs::rand::Rng;
use carom_envs::rand_pcg::Pcg32;
use carom_envs::settings::{Schema, Settings, Values};
use carom_envs::{Seeds, VecEnv, registry as envs};
use std::error::Error;

carom_envs::settings! {
    /// Settings of a [`Bandit`].
    struct BanditConfig {
        /// Probability of a random action.
        epsilon: f64 = 0.1, in 0.0..=1.0;
    }
}

impl Settings for BanditConfig {}

/// Plays the action of the best mean reward.
struct Bandit {
    config: BanditConfig,
    means: Vec<f64>,
    counts: Vec<u64>,
    explore: Pcg32,
}

impl Bandit {
    /// An untrained agent for `task`.
    ///
    /// # Errors
    /// When a setting is out of range.
    fn new(config: BanditConfig, task: &Task, seeds: &Seeds) -> Result<Self, AgentError> {
        validate("bandit", &config)?;
        let (means, counts) = (vec![0.0; task.n_actions], vec![0; task.n_actions]);
        Ok(Self { config, means, counts, explore: seeds.stream("explore") })
    }

    fn best(&self) -> usize {
        (0..self.means.len()).max_by(|&a, &b| self.means[a].total_cmp(&self.means[b])).unwrap_or(0)
    }
}

impl Learner for Bandit {
    fn act(&mut self, _obs: &[u8], actions: &mut [usize]) {
        let best = self.best();
        for action in actions {
            let explores = self.explore.gen_bool(self.config.epsilon);
            *action = if explores { self.explore.gen_range(0..self.means.len()) } else { best };
        }
    }

    fn observe(&mut self, envs: &VecEnv, actions: &[usize]) -> Result<(), LearnError> {
        for (&action, step) in actions.iter().zip(envs.transitions()) {
            self.counts[action] += 1;
            self.means[action] += (f64::from(step.reward) - self.means[action]) / self.counts[action] as f64;
        }
        Ok(())
    }
}

impl Agent for Bandit {
    fn greedy(&mut self, _obs: &[u8], actions: &mut [usize]) {
        actions.fill(self.best());
    }

    fn stats(&mut self) -> Vec<Stat> {
        vec![("train/best_mean", self.means[self.best()])]
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default().value("explore", &self.explore).array("means", &self.means).array("counts", &self.counts)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.explore = from.value("explore")?;
        from.read("means", &mut self.means)?;
        from.read("counts", &mut self.counts)
    }
}

const BANDIT: AgentEntry = AgentEntry {
    name: "bandit",
    summary: "the action of the best mean reward, whatever the state",
    kind: AgentKind::Other,
    schema: Schema::of::<BanditConfig>(),
    make: |settings, task, seeds| learner(Bandit::new(parse("bandit", settings)?, task, seeds)),
};

fn main() -> Result<(), Box<dyn Error>> {
    registry::register(BANDIT)?;
    let seeds = Seeds::new(0);
    let mut envs = envs::resolve("cartpole", &Values::new())?.make_vec(seeds.streams("env", 1))?;
    let agent = registry::resolve("bandit", &Values::new())?;
    let Player::Learner(mut agent) = agent.make(&Task::of(&envs, "cartpole", 1_000), &seeds)? else {
        unreachable!("the bandit learns from interaction")
    };
    let (mut actions, mut returns) = ([0], vec![]);
    for _ in 0..1_000 {
        agent.act(envs.obs(), &mut actions);
        envs.step(&actions);
        agent.observe(&envs, &actions)?;
        returns.extend(envs.episodes().iter().map(|episode| episode.episode_return));
    }
    println!("mean return of {} episodes: {:.1}", returns.len(), returns.iter().sum::<f64>() / returns.len() as f64);
    Ok(())
}
