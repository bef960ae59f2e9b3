//! Measures the resident memory of a replay of Atari's size: 100,000 transitions of 84x84 frames in stacks of four.
//!
//! `cargo run --release -p carom --example replay_memory` prints the resident memory before and after, the bytes per
//! transition, and ten times the difference: a million transitions should take less than 7.3 GB. It reads
//! /proc/self/status, which exists on Linux only.

use anyhow::{Context, Result};
use carom_agents::replay::{Batch, Horizon, Replay, ReplayConfig};
use carom_envs::Seeds;
use rand::RngCore;

const N_TRANSITIONS: usize = 100_000;
const FRAME_BYTES: usize = 84 * 84;
/// Steps between terminations.
const EPISODE_LEN: usize = 250;

fn main() -> Result<()> {
    let mut frame = vec![0; FRAME_BYTES];
    Seeds::new(0).stream("frames").fill_bytes(&mut frame);
    let mut rng = Seeds::new(0).stream("replay");

    let before = resident_bytes()?;
    let config = ReplayConfig { capacity: N_TRANSITIONS, n_lanes: 1, frame_bytes: FRAME_BYTES, frame_stack: 4 };
    let mut replay = Replay::new(config);
    for step in 0..N_TRANSITIONS {
        replay.push(0, &frame, step % 4, 1.0, step % EPISODE_LEN == EPISODE_LEN - 1);
    }
    // The buffers of a batch count too.
    let mut batch = Batch::default();
    replay.sample(32, Horizon { n_step: 1, gamma: 0.99 }, &mut rng, &mut batch);
    let after = resident_bytes()?;

    let held = after - before;
    println!("resident before          {before:>14} bytes");
    println!("resident after           {after:>14} bytes, with {} transitions", replay.len());
    println!("a transition             {:>14.1} bytes", held as f64 / replay.len() as f64);
    println!("ten times the difference {:>14.2} GB", 10.0 * held as f64 / 1e9);
    Ok(())
}

/// Returns the resident memory of this process in bytes.
fn resident_bytes() -> Result<u64> {
    let status = fs_err::read_to_string("/proc/self/status")?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.context("/proc/self/status has no VmRSS in kB")?.trim().parse()?;
    Ok(kilobytes * 1024)
}
