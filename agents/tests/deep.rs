//! Deep agents on real environments: they learn, and a resumed one goes on bit for bit.

use carom_agents::{Learner, Loaded, Player, Snapshot, Task, registry};
use carom_envs::{Seeds, Values, VecEnv, registry as envs};
use safetensors::{SafeTensors, View};
use serde_json::{Value, json};

struct Training {
    envs: VecEnv,
    agent: Box<dyn Learner>,
}

impl Training {
    fn new(env_id: &str, agent: &str, settings: &Value, n_envs: usize, total_steps: u64) -> Self {
        let seeds = Seeds::new(1);
        let spec = envs::resolve(env_id, &Values::new()).expect("default settings");
        let envs = spec.make_vec(seeds.streams("env", n_envs)).expect("streams");
        let agent = registry::resolve(agent, settings.as_object().expect("settings")).expect("known settings");
        match agent.make(&Task::of(&envs, env_id, total_steps), &seeds).expect("a playable environment") {
            Player::Learner(agent) => Self { envs, agent },
            _ => panic!("{} does not learn from interaction", agent.name()),
        }
    }

    /// Makes `steps` steps and returns the mean return of the last twenty episodes they ended.
    fn train(&mut self, steps: usize) -> f64 {
        let mut actions = vec![0; self.envs.n_envs()];
        let (mut returns, mut scratch) = (vec![], vec![]);
        for _ in 0..steps / actions.len() {
            self.agent.act(self.envs.stacks(&mut scratch), &mut actions);
            self.envs.step(&actions);
            self.agent.observe(&self.envs, &actions).expect("finite losses");
            returns.extend(self.envs.episodes().iter().map(|episode| episode.episode_return));
        }
        let recent = &returns[returns.len().saturating_sub(20)..];
        recent.iter().sum::<f64>() / recent.len() as f64
    }
}

fn bytes(snapshot: &Snapshot) -> Vec<u8> {
    safetensors::serialize(snapshot.tensors(), None).expect("named arrays")
}

/// Trains for `2 * steps` with and without saving everything and loading it into fresh objects half-way.
fn resumes_exactly(env_id: &str, agent: &str, settings: &Value, n_envs: usize, steps: usize) {
    let make = || Training::new(env_id, agent, settings, n_envs, 2 * steps as u64);
    let mut whole = make();
    whole.train(2 * steps);

    let mut first = make();
    first.train(steps);
    let (envs, snapshot) = (first.envs.save(), first.agent.save());
    let (arrays, state) = (bytes(&snapshot), snapshot.state().clone());
    let mut second = make();
    second.envs.restore(&envs).expect("the same environments");
    let arrays = SafeTensors::deserialize(&arrays).expect("arrays just written");
    second.agent.load(&Loaded::new(&arrays, &state)).expect("the same agent");
    second.train(steps);

    let (whole, resumed) = (whole.agent.save(), second.agent.save());
    assert_eq!(whole.state(), resumed.state());
    for ((name, a), (_, b)) in whole.tensors().zip(resumed.tensors()) {
        assert!(a.data() == b.data(), "array {name} of {agent} differs after resuming");
    }
}

#[test]
fn dqn_resumes_exactly_with_and_without_a_full_replay() {
    let settings = |buffer_size: u64| {
        json!({ "learning_starts": 200, "buffer_size": buffer_size, "n_step": 3, "double": true, "target_every": 300,
                "epsilon_steps": 1000, "hidden": [32], "layer_norm": true })
    };
    resumes_exactly("minatar/breakout", "dqn", &settings(10_000), 4, 800);
    resumes_exactly("minatar/breakout", "dqn", &settings(500), 4, 800);
    let averaged = json!({ "learning_starts": 100, "hidden": [24, 24], "ema_decay": 0.9 });
    resumes_exactly("cartpole", "dqn", &averaged, 1, 700);
}

#[test]
fn dqn_resumes_exactly_with_each_part() {
    let parts = [
        json!({ "dueling": true, "tau": 0.1, "target_every": 4, "n_updates": 2 }),
        json!({ "prioritized": true, "n_step": 3, "buffer_size": 300 }),
        json!({ "noisy": true, "double": true }),
        json!({ "head": "c51", "noisy": true, "prioritized": true, "dueling": true, "double": true, "n_step": 3,
                "max_grad_norm": 10.0, "ema_decay": 0.9 }),
        json!({ "head": "qr", "quantiles": 16, "munchausen": true }),
        json!({ "head": "iqn", "taus": 4, "munchausen": true, "noisy": true, "prioritized": true }),
        json!({ "head": "iqn", "taus": 4, "double": true, "dueling": true }),
    ];
    for mut settings in parts {
        let common = json!({ "learning_starts": 100, "hidden": [32], "target_every": 50, "epsilon_steps": 500 });
        for (key, value) in common.as_object().expect("settings") {
            if !(key == "epsilon_steps" && settings.get("noisy").is_some()) && settings.get(key).is_none() {
                settings[key] = value.clone();
            }
        }
        resumes_exactly("minatar/breakout", "dqn", &settings, 4, 400);
    }
}

#[test]
fn pqn_resumes_exactly_in_the_middle_of_a_rollout() {
    let settings = json!({ "rollout_len": 16, "n_minibatches": 4, "hidden": [32] });
    // 100 vector steps are six rollouts and a quarter.
    resumes_exactly("minatar/breakout", "pqn", &settings, 8, 800);
}

#[test]
fn dqn_learns_to_balance_a_pole() {
    let settings = json!({ "lr": 5e-4, "batch_size": 128, "learning_starts": 1_000, "target_every": 500, "double": true,
                           "n_step": 3, "epsilon_steps": 10_000, "epsilon_end": 0.02, "hidden": [128, 128] });
    let score = Training::new("cartpole", "dqn", &settings, 1, 20_000).train(20_000);
    assert!(score > 80.0, "mean return {score} after 20,000 steps; random play has 22");
}

#[test]
fn rainbow_and_munchausen_iqn_learn_to_balance_a_pole() {
    let common = json!({ "lr": 1e-3, "batch_size": 64, "learning_starts": 500, "target_every": 250 });
    let rainbow = json!({ "head": "c51", "v_min": 0.0, "v_max": 100.0, "noisy": true, "prioritized": true,
                          "dueling": true, "double": true, "n_step": 3, "hidden": [64] });
    let munchausen = json!({ "head": "iqn", "munchausen": true, "hidden": [64, 64], "epsilon_steps": 4_000,
                             "epsilon_end": 0.02 });
    for mut settings in [rainbow, munchausen] {
        common.as_object().expect("settings").iter().for_each(|(key, value)| settings[key] = value.clone());
        let score = Training::new("cartpole", "dqn", &settings, 1, 12_000).train(12_000);
        assert!(score > 80.0, "mean return {score} after 12,000 steps; random play has 22: {settings}");
    }
}

#[test]
fn pqn_learns_to_balance_a_pole() {
    let settings = json!({ "lr": 2e-3, "rollout_len": 32, "n_minibatches": 8, "hidden": [64, 64] });
    let score = Training::new("cartpole", "pqn", &settings, 16, 100_000).train(100_000);
    assert!(score > 100.0, "mean return {score} after 100,000 steps; random play has 22");
}

#[test]
fn dqn_learns_breakout_from_the_screen() {
    let settings =
        json!({ "learning_starts": 1_000, "epsilon_steps": 8_000, "n_step": 3, "layer_norm": true, "lr": 5e-4 });
    let score = Training::new("minatar/breakout", "dqn", &settings, 8, 30_000).train(30_000);
    assert!(score > 1.5, "mean return {score} after 30,000 steps; random play has 0.5");
}
