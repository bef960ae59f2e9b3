//! gym-rs both ways: its mountain car stepped by Carom's vectoriser, and Carom's Breakout played by code that knows
//! gym-rs alone.
//!
//! `cargo run --release -p carom-envs --features gym-rs --example gym_rs_both_ways`

use carom_envs::gym_bridge::{FromGym, ToGym};
use carom_envs::{Env, EnvError, Seeds, Values, VecEnv, registry};
use gym_rs::core::{Env as GymEnv, EnvProperties};
use gym_rs::envs::classical_control::mountain_car::MountainCarEnv;
use gym_rs::spaces::Discrete;
use gym_rs::utils::{custom::traits::Sample, renderer::RenderMode};

fn main() -> Result<(), EnvError> {
    // Any gym-rs environment here. (This one is also registered, as `gym-rs/mountain-car`.)
    let mountain_car = || -> Box<dyn Env> {
        let env = MountainCarEnv::new(RenderMode::None);
        Box::new(FromGym::new(env, &["left", "coast", "right"], &["position", "velocity"]))
    };
    let rngs = Seeds::new(0).streams("env", 4);
    let mut envs = VecEnv::new((0..4).map(|_| mountain_car()).collect(), rngs, Some(200));
    while envs.episodes().is_empty() {
        // Push the way the car rolls.
        let velocity = |i| f32::from_le_bytes(envs.env_obs(i)[4..8].try_into().expect("two f32"));
        let actions: Vec<usize> = (0..4).map(|i| if velocity(i) < 0.0 { 0 } else { 2 }).collect();
        envs.step(&actions);
    }
    let episode = envs.episodes()[0];
    println!("mountain car from gym-rs, in a vector here: return {}", episode.episode_return);

    // An environment of Carom as gym-rs's `Env`.
    let mut breakout = ToGym::new(&registry::resolve("minatar/breakout", &Values::new())?);
    let (episode_return, length) = play_one_episode(&mut breakout, 7);
    println!("Breakout from here, played through gym-rs: return {episode_return} in {length} steps");
    Ok(())
}

/// Knows nothing of Carom: plays each action in turn until the end.
fn play_one_episode<E>(env: &mut E, seed: u64) -> (f64, usize)
where
    E: GymEnv<Action = usize> + EnvProperties<ActionSpace = Discrete>,
    E::Observation: Sample + Into<Vec<f64>>,
{
    env.reset(Some(seed), false, None);
    let (mut episode_return, mut length) = (0.0, 0);
    loop {
        let outcome = env.step(length % env.action_space().0);
        episode_return += outcome.reward.into_inner();
        length += 1;
        if outcome.done || outcome.truncated {
            return (episode_return, length);
        }
    }
}
