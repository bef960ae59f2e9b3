//! Scores of the random and the scripted player: `breakout_scores [random|scripted] [games] [key=value]...`.
//!
//! The settings are those of evaluation: whole games, true rewards. `random 15000` plays more than ten million frames.

use carom_envs::{EnvSpec, Seeds, Values, VecEnv, registry};
use rand::Rng;
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let player = arguments.next().unwrap_or_else(|| "random".to_owned());
    let n_games: usize = arguments.next().map_or(Ok(1000), |games| games.parse())?;
    let mut settings = Values::new();
    for assignment in arguments {
        let (key, value) = assignment.split_once('=').ok_or("settings are key=value")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        settings.insert(key.to_owned(), value);
    }
    let spec = registry::resolve("breakout", &Values::new())?.evaluation().with_all(&settings)?;
    let start = Instant::now();
    let (scores, n_steps) = scores(&player, n_games, &spec)?;
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let (least, most) = scores.iter().fold((f64::MAX, f64::MIN), |(a, b), &score| (a.min(score), b.max(score)));
    let (protocol, wall_s) = (spec.protocol(), start.elapsed().as_secs_f64());
    let deviation = variance.sqrt();
    println!("{player}, {protocol}: {mean:.2} ± {deviation:.2} ({least} to {most})");
    println!("{n} games of {n_steps} steps together in {wall_s:.1} s");
    Ok(())
}

/// Scores and the number of steps. Each environment plays its share of the games, so that short ones do not count too
/// often.
fn scores(player: &str, n_games: usize, spec: &EnvSpec) -> Result<(Vec<f64>, u64), Box<dyn Error>> {
    let n_envs = n_games.min(32);
    let seeds = Seeds::new(0);
    let mut envs = spec.make_vec(seeds.streams("env", n_envs))?;
    let mut explore = seeds.stream("explore");
    let mut left: Vec<usize> = (0..n_envs).map(|i| n_games / n_envs + usize::from(i < n_games % n_envs)).collect();
    let (mut scores, mut n_steps) = (Vec::new(), 0);
    let mut choose = |envs: &VecEnv, env_idx: usize| match player {
        "scripted" => envs.env(env_idx).scripted_action().unwrap_or(0),
        _ => explore.gen_range(0..envs.n_actions()),
    };
    while scores.len() < n_games {
        let actions: Vec<usize> =
            (0..n_envs).map(|env_idx| if left[env_idx] > 0 { choose(&envs, env_idx) } else { 0 }).collect();
        envs.step(&actions);
        for episode in envs.episodes().iter().filter(|episode| left[episode.env_idx] > 0) {
            scores.push(episode.episode_return);
            n_steps += episode.length;
        }
        for env_idx in envs.episodes().iter().map(|episode| episode.env_idx) {
            left[env_idx] = left[env_idx].saturating_sub(1);
        }
    }
    Ok((scores, n_steps))
}
