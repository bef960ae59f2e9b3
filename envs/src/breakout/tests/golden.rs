//! Frame for frame against traces of ALE; `scripts/golden/make` writes them.

use crate::breakout::{ActionSet, Breakout, BreakoutSettings};
use crate::env::Env;
use flate2::read::GzDecoder;
use rand_mt::Mt;
use serde::Deserialize;
use std::fs::File;

#[derive(Deserialize)]
struct Golden {
    obs_block: usize,
    traces: Vec<Trace>,
}

#[derive(Deserialize)]
struct Trace {
    name: String,
    sticky: f64,
    seed: u32,
    every: usize,
    actions: String,
    #[serde(flatten)]
    seen: Seen,
}

/// Frames with points and with lost lives, and checksums of pictures and of all observations so far.
#[derive(Default, Deserialize)]
struct Seen {
    rewards: Vec<(usize, u8)>,
    lives: Vec<(usize, u8)>,
    frames: Vec<u32>,
    obs: Vec<u32>,
}

fn play(trace: &Trace, obs_block: usize) -> Seen {
    let mut game = Breakout::new(&BreakoutSettings {
        noop_max: 0,
        sticky: trace.sticky,
        action_set: ActionSet::Full,
        ..BreakoutSettings::default()
    });
    // ALE's own generator, so that sticky actions stick at the same frames.
    let mut rng = Mt::new(trace.seed);
    game.reset(&mut rng);
    let mut seen = Seen { frames: vec![crc32fast::hash(&game.gray())], ..Seen::default() };
    let (mut crc, mut out) = (crc32fast::Hasher::new(), vec![0; 84 * 84]);
    for (t, letter) in trace.actions.bytes().enumerate() {
        game.memory.before = game.memory.now;
        let points = game.frame(letter - b'a', &mut rng);
        game.show();
        if points > 0 {
            seen.rewards.push((t, points));
        }
        if game.memory.now.lives != game.memory.before.lives {
            seen.lives.push((t, game.memory.now.lives));
        }
        if t % trace.every == 0 || t + 1 == trace.actions.len() {
            seen.frames.push(crc32fast::hash(&game.gray()));
        }
        if t % 4 == 3 {
            game.observe(&mut out);
            crc.update(&out);
            if (t + 1) % (4 * obs_block) == 0 {
                seen.obs.push(crc.clone().finalize());
            }
        }
    }
    seen
}

#[test]
fn every_frame_and_observation_is_ales() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/breakout.json.gz");
    let golden: Golden = serde_json::from_reader(GzDecoder::new(File::open(path).unwrap())).unwrap();
    assert_eq!(golden.traces.len(), 10);
    for trace in &golden.traces {
        let Seen { rewards, lives, frames, obs } = play(trace, golden.obs_block);
        let (name, ale) = (&trace.name, &trace.seen);
        assert_eq!(rewards, ale.rewards, "{name}: rewards");
        assert_eq!(lives, ale.lives, "{name}: lives");
        assert_eq!(frames.len(), ale.frames.len(), "{name}");
        let differs = frames.iter().zip(&ale.frames).position(|(ours, ale)| ours != ale);
        assert_eq!(differs, None, "{name}: first picture that differs, of every {}th and the last", trace.every);
        let differs = obs.iter().zip(&ale.obs).position(|(ours, ale)| ours != ale);
        assert_eq!((differs, obs.len()), (None, ale.obs.len()), "{name}: first block of observations that differs");
    }
}
