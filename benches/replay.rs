//! Writing to a replay and sampling a batch of 32 from it: Atari frames in stacks of four, and MinAtar's planes.
//!
//! `cargo bench -p carom --bench replay`
#![allow(missing_docs)] // criterion's macros write public functions

use carom_agents::replay::{Batch, Horizon, Replay, ReplayConfig};
use carom_envs::Seeds;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::RngCore;
use std::hint::black_box;

const BATCH_SIZE: usize = 32;
const HORIZON: Horizon = Horizon { n_step: 1, gamma: 0.99 };
const CAPACITY: usize = 20_000; // 141 MB of Atari frames, far beyond any cache
/// Steps between terminations.
const EPISODE_LEN: usize = 250;

/// Name, bytes of a frame, frames of an observation.
const KINDS: [(&str, usize, usize); 2] = [("84x84x4", 84 * 84, 4), ("10x10x4", 10 * 10 * 4, 1)];

fn full(frame_bytes: usize, frame_stack: usize) -> (Replay, Vec<u8>) {
    let config = ReplayConfig { capacity: CAPACITY, n_lanes: 1, frame_bytes, frame_stack };
    let mut replay = Replay::new(config);
    let mut frame = vec![0; frame_bytes];
    Seeds::new(0).stream("frames").fill_bytes(&mut frame);
    for step in 0..CAPACITY {
        replay.push(0, &frame, step % 4, 0.0, step % EPISODE_LEN == EPISODE_LEN - 1);
    }
    (replay, frame)
}

fn push(c: &mut Criterion) {
    let mut group = c.benchmark_group("replay_push");
    for (name, frame_bytes, frame_stack) in KINDS {
        let (mut replay, frame) = full(frame_bytes, frame_stack);
        let mut step = 0;
        group.throughput(Throughput::Bytes(frame_bytes as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                step += 1;
                replay.push(0, black_box(&frame), 1, 0.5, step % EPISODE_LEN == 0);
            });
        });
    }
    group.finish();
}

fn sample(c: &mut Criterion) {
    let mut group = c.benchmark_group("replay_sample");
    for (name, frame_bytes, frame_stack) in KINDS {
        let (replay, _) = full(frame_bytes, frame_stack);
        let (mut batch, mut rng) = (Batch::default(), Seeds::new(0).stream("replay"));
        // An observation and its successor, both whole.
        group.throughput(Throughput::Bytes((2 * BATCH_SIZE * frame_bytes * frame_stack) as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                replay.sample(BATCH_SIZE, HORIZON, &mut rng, &mut batch);
                black_box(&batch);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, push, sample);
criterion_main!(benches);
