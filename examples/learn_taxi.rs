//! Q-learning on Taxi with the libraries alone: `cargo run --release -p carom --example learn_taxi`.

use anyhow::Result;
use carom_agents::registry as agents;
use carom_agents::{Player, Task};
use carom_envs::{Seeds, Values, registry as envs};
use serde_json::json;

const N_STEPS: u64 = 300_000;

fn main() -> Result<()> {
    let seeds = Seeds::new(0);
    let mut envs = envs::resolve("taxi", &Values::new())?.make_vec(seeds.streams("env", 1))?;

    let overrides = json!({"lr": 0.1, "epsilon_start": 0.1});
    let agent = agents::resolve("q-learning", overrides.as_object().expect("a table"))?;
    let Player::Learner(mut learner) = agent.make(&Task::of(&envs, "taxi", N_STEPS), &seeds)? else {
        unreachable!("Q-learning learns from interaction")
    };

    let mut actions = [0];
    let mut returns = vec![];
    for _ in 0..N_STEPS {
        learner.act(envs.obs(), &mut actions);
        envs.step(&actions);
        learner.observe(&envs, &actions)?;
        returns.extend(envs.episodes().iter().map(|episode| episode.episode_return));
    }
    let last = &returns[returns.len() - 100..];
    println!("mean return of the last 100 of {} episodes: {}", returns.len(), last.iter().sum::<f64>() / 100.0);
    Ok(())
}
