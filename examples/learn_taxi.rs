//! Q-learning on Taxi with the libraries alone: `cargo run -p carom --example learn_taxi`.

use anyhow::Result;
use carom_agents::registry as agents;
use carom_agents::{Task, Trainer};
use carom_envs::{Seeds, Values, registry as envs};
use serde_json::json;

fn main() -> Result<()> {
    let seeds = Seeds::new(0);
    let mut envs = envs::resolve("taxi", &Values::new())?.make_vec(seeds.streams("env", 1))?;

    let task = Task {
        env_id: "taxi",
        obs_space: envs.obs_space().clone(),
        frame_stack: envs.frame_stack(),
        n_actions: envs.n_actions(),
        n_envs: envs.n_envs(),
        total_steps: 300_000,
        device: tch::Device::Cpu,
        model: None,
        has_script: false,
        trunk: None,
    };
    let overrides = json!({"lr": 0.1, "epsilon_start": 0.1});
    let settings = agents::resolve("q-learning", overrides.as_object().expect("a table"))?;
    let Trainer::Learner(mut learner) = agents::make("q-learning", &settings, &task, &seeds)? else {
        unreachable!("Q-learning learns from interaction")
    };

    let mut actions = [0];
    let mut returns = vec![];
    for _ in 0..task.total_steps {
        learner.act(envs.obs(), &mut actions);
        envs.step(&actions);
        learner.observe(&envs, &actions)?;
        returns.extend(envs.episodes().iter().map(|episode| episode.episode_return));
    }
    let last = &returns[returns.len() - 100..];
    println!("mean return of the last 100 of {} episodes: {}", returns.len(), last.iter().sum::<f64>() / 100.0);
    Ok(())
}
