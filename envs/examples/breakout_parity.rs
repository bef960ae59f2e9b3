//! Plays sequences of actions on `breakout`, to be verified against ALE by `scripts/parity-breakout`.
//!
//! Reads one JSON object a line and answers with one. `{"actions": [...], "frame_skip": 4, "full": false}` is played
//! from the reset up to the end of the game: the answer has, a step, reward, lives, whether the game is over, and the
//! CRC-32 of the observation, the first one's in front. With `"player": N` instead of actions, the scripted player
//! plays up to N steps, one in 1/`epsilon` of them at random, and its actions are in the answer. With `"picture": true`
//! the last frame's colours are too, `[210, 160, 3]` flat.

use carom_envs::breakout::{ActionSet, Breakout, BreakoutSettings};
use carom_envs::{Env, Seeds};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io::{BufRead, stdin};

#[derive(Deserialize)]
struct Task {
    #[serde(default)]
    actions: Vec<usize>,
    #[serde(default)]
    player: usize,
    #[serde(default)]
    epsilon: f64,
    #[serde(default)]
    seed: u64,
    frame_skip: u64,
    #[serde(default)]
    full: bool,
    #[serde(default)]
    picture: bool,
}

#[derive(Default, Serialize)]
struct Answer {
    actions: Vec<usize>,
    rewards: Vec<f32>,
    lives: Vec<u8>,
    over: Vec<bool>,
    obs: Vec<u32>,
    picture: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lock().lines() {
        println!("{}", serde_json::to_string(&play(&serde_json::from_str(&line?)?))?);
    }
    Ok(())
}

fn play(task: &Task) -> Answer {
    let action_set = if task.full { ActionSet::Full } else { ActionSet::Minimal };
    let mut game = Breakout::new(&BreakoutSettings {
        frame_skip: task.frame_skip,
        noop_max: 0,
        sticky: 0.0,
        life_loss_terminal: false,
        action_set,
        ..BreakoutSettings::default()
    });
    let mut rng = Seeds::new(task.seed).stream("env/0");
    let mut obs = vec![0; game.obs_space().n_bytes()];
    let mut answer = Answer::default();
    game.reset(&mut rng);
    game.observe(&mut obs);
    answer.obs.push(crc32fast::hash(&obs));
    for t in 0..task.actions.len().max(task.player) {
        let action = match task.actions.get(t) {
            Some(&action) => action,
            None if rng.gen_bool(task.epsilon) => rng.gen_range(0..game.action_names().len()),
            None => game.scripted_action().expect("the game has a scripted player"),
        };
        let step = game.step(action, &mut rng);
        game.observe(&mut obs);
        answer.actions.push(action);
        answer.rewards.push(step.reward);
        answer.lives.push(game.state().lives);
        answer.over.push(step.terminated);
        answer.obs.push(crc32fast::hash(&obs));
        if step.terminated {
            break;
        }
    }
    if task.picture {
        answer.picture = game.picture().map(|picture| picture.rgb).unwrap_or_default();
    }
    answer
}
