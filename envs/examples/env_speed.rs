//! Steps per second of the environments under a random policy, observations written, on one thread; of Atari's Breakout
//! the frames without observations too. Seconds are of processor time, which a busy machine does not stretch.
//!
//! `cargo run --release -p carom-envs --example env_speed [-- NAME...]` prints `{"minatar/breakout 128": 2.1e7, ...}`;
//! with NAMEs, only those whose name contains one of them. The peers' side is `scripts/peers/env_speed.py`, and
//! `scripts/compare-speed` runs both by turns.

use carom_envs::{Seeds, Values, VecEnv, registry};
use rand::Rng;
use serde_json::{Map, Value};
use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

const CASES: &[(&str, usize)] = &[
    ("breakout", 1),
    ("breakout", 32),
    ("minatar/breakout", 1),
    ("minatar/breakout", 128),
    ("minatar/asterix", 128),
    ("minatar/freeway", 128),
    ("minatar/seaquest", 128),
    ("minatar/space-invaders", 128),
    ("cartpole", 1),
    ("cartpole", 128),
    ("frozen-lake", 1),
    ("taxi", 1),
];
/// Actions drawn before the clock starts: too many for the branch predictor to learn.
const N_ACTIONS: usize = 128 * 1024;
const TIME: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let only: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let mut speeds = Map::new();
    for &(id, n_envs) in CASES {
        let name = format!("{id} {n_envs}");
        if only.is_empty() || only.iter().any(|part| name.contains(part)) {
            speeds.insert(name, Value::from(steps_per_s(id, n_envs)?.round()));
        }
    }
    let name = "breakout frames";
    if only.is_empty() || only.iter().any(|part| name.contains(part)) {
        speeds.insert(name.to_owned(), Value::from(breakout_frames_per_s()?.round()));
    }
    println!("{}", Value::Object(speeds));
    Ok(())
}

fn steps_per_s(id: &str, n_envs: usize) -> Result<f64, Box<dyn Error>> {
    let seeds = Seeds::new(0);
    let mut vec_env = registry::resolve(id, &Values::new())?.make_vec(seeds.streams("env", n_envs))?;
    let n_actions = vec_env.n_actions();
    let mut explore = seeds.stream("explore");
    let actions: Vec<usize> = (0..N_ACTIONS).map(|_| explore.gen_range(0..n_actions)).collect();

    per_s(actions.len(), || play(&mut vec_env, &actions))
}

fn breakout_frames_per_s() -> Result<f64, Box<dyn Error>> {
    let mut game = registry::resolve("breakout", &Values::new())?.make();
    let (mut rng, mut explore) = (Seeds::new(0).stream("env/0"), Seeds::new(0).stream("explore"));
    let actions: Vec<usize> = (0..N_ACTIONS).map(|_| explore.gen_range(0..4)).collect();
    game.reset(&mut rng);
    per_s(4 * N_ACTIONS, || {
        for &action in &actions {
            if black_box(game.step(action, &mut rng)).terminated {
                game.reset(&mut rng);
            }
        }
    })
}

/// Number a second, if one call of `play` does `n`.
fn per_s(n: usize, mut play: impl FnMut()) -> Result<f64, Box<dyn Error>> {
    play();
    let (start, mut count) = (processor_time()?, 0);
    loop {
        play();
        count += n;
        let spent = processor_time()?.saturating_sub(start);
        if spent >= TIME {
            return Ok(count as f64 / spent.as_secs_f64());
        }
    }
}

/// Processor time of this process (Linux).
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().ok_or("/proc/self/schedstat is empty")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

fn play(vec_env: &mut VecEnv, actions: &[usize]) {
    for round in actions.chunks_exact(vec_env.n_envs()) {
        black_box(vec_env.step(round));
        black_box(vec_env.obs());
    }
}
