//! Milliseconds of the pixel network's passes, on screens of Breakout, for `scripts/compare-pixels`.
//!
//! Each line of the input is `CASE THREADS REPEATS`; the answer is the milliseconds of each repeat, apart by blanks: of
//! the processor's time with one thread, of the wall's with more.
//!
//! - `act-N`: Q-values of N observations;
//! - `dqn`: an update of DQN on 32 transitions: the target network's values, forward, backward, Adam;
//! - `pqn`: an update of PQN on 128, with layer normalisation: forward, backward, clipping, Adam;
//! - each with `-bf16` behind it: with products of bf16.

use carom_agents::losses::Loss;
use carom_agents::net::{NetParts, NetSpec};
use carom_agents::optim::{OptimConfig, Rule};
use carom_agents::{QNetwork, Update, Weights};
use carom_envs::{Seeds, registry};
use std::io::{BufRead, Write};
use tch::Device;

const LARGEST_BATCH: usize = 128;

/// Stacks of four frames of as many games, after `n_steps` steps.
fn screens(n_steps: usize) -> (NetSpec, Vec<u8>) {
    let seeds = Seeds::new(0);
    let env = registry::resolve("breakout", &serde_json::Map::new()).expect("a registered environment");
    let mut envs = env.make_vec(seeds.streams("env", LARGEST_BATCH)).expect("streams");
    for step in 0..n_steps {
        let actions: Vec<usize> = (0..LARGEST_BATCH).map(|i| (step / 3 + i * 7) % envs.n_actions()).collect();
        envs.step(&actions);
    }
    let obs_space = envs.obs_space().clone();
    let spec = NetSpec {
        obs_space,
        frame_stack: envs.frame_stack(),
        hidden: vec![512],
        layer_norm: false,
        n_actions: envs.n_actions(),
        parts: NetParts::default(),
    };
    (spec, envs.stacks(&mut vec![]).to_vec())
}

/// Of this thread's processor time, which a busy machine does not stretch, or of the wall's.
fn seconds(of_processor: bool) -> f64 {
    let clock = if of_processor { libc::CLOCK_THREAD_CPUTIME_ID } else { libc::CLOCK_MONOTONIC };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time` alone.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

fn main() {
    let (spec, obs) = screens(200);
    let obs_bytes = spec.obs_bytes();
    let network = |layer_norm: bool| {
        let spec = NetSpec { layer_norm, ..spec.clone() };
        QNetwork::new(spec, None, OptimConfig::of(Rule::Adam), Device::Cpu, &mut Seeds::new(1).stream("init"))
    };
    let [mut in_f32, mut in_bf16] = [(); 2].map(|()| (network(false), network(true)));
    let actions: Vec<u8> = (0..LARGEST_BATCH).map(|i| (i % spec.n_actions) as u8).collect();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("lines of text");
        let [case, threads, repeats] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("CASE THREADS REPEATS") };
        tch::set_num_threads(threads.parse().expect("a number of threads"));
        let (case, (plain, normed)) = match case.strip_suffix("-bf16") {
            Some(case) => {
                for network in [&mut in_bf16.0, &mut in_bf16.1] {
                    network.round_to_bf16().unwrap_or_else(|refused| panic!("bf16: {refused}"));
                }
                (case, &mut in_bf16)
            }
            None => (case, &mut in_f32),
        };
        let times = (0..repeats.parse().expect("a number of repeats")).map(|_| {
            let start = seconds(threads == "1");
            match case {
                "dqn" => {
                    let obs = &obs[..32 * obs_bytes];
                    let q = plain.q(Weights::Target, obs).to_vec();
                    let targets: Vec<f32> = q.chunks(spec.n_actions).map(|q| 0.99 * q[0].max(q[1])).collect();
                    let how = Update { loss: Loss::Huber, lr: 1e-4, max_grad_norm: 0.0 };
                    plain.fit(obs, &actions[..32], &targets, &how).expect("a finite loss");
                }
                "pqn" => {
                    let how = Update { loss: Loss::Squared, lr: 1e-4, max_grad_norm: 10.0 };
                    normed.fit(&obs, &actions, &[0.5; LARGEST_BATCH], &how).expect("a finite loss");
                }
                act => {
                    let batch: usize = act.strip_prefix("act-").and_then(|n| n.parse().ok()).expect("a case");
                    plain.q(Weights::Online, &obs[..batch * obs_bytes]);
                }
            }
            format!("{:.4}", 1e3 * (seconds(threads == "1") - start))
        });
        println!("{}", times.collect::<Vec<_>>().join(" "));
        std::io::stdout().flush().expect("an open output");
    }
}
