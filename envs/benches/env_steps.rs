//! Environment steps a second on one core: a vector of 128 with random actions, automatic resets included, choosing the
//! actions not.
#![allow(missing_docs)] // criterion's macros write public functions

use carom_envs::{EnvSpec, Seeds, Values, VecEnv, registry};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::Rng;
use std::hint::black_box;

const N_ENVS: usize = 128;
const N_ROUNDS: usize = 64;

fn spec(id: &str) -> EnvSpec {
    registry::resolve(id, &Values::new()).expect("a registered environment")
}

fn vector(id: &str, n_envs: usize) -> VecEnv {
    spec(id).make_vec(Seeds::new(0).streams("env", n_envs)).expect("streams")
}

fn random_actions(rng: &mut impl Rng, n_actions: usize) -> Vec<[usize; N_ENVS]> {
    (0..N_ROUNDS).map(|_| std::array::from_fn(|_| rng.gen_range(0..n_actions))).collect()
}

fn with_observations(c: &mut Criterion) {
    let mut group = c.benchmark_group("vec128");
    group.throughput(Throughput::Elements((N_ENVS * N_ROUNDS) as u64));
    for id in registry::ENVS.iter().map(|entry| entry.id) {
        let mut envs = vector(id, N_ENVS);
        let n_actions = envs.n_actions();
        let mut rng = Seeds::new(0).stream("actions");
        group.bench_function(id, |b| {
            b.iter_batched_ref(
                // Fresh actions every time: the branch predictor would learn a repeated list.
                || random_actions(&mut rng, n_actions),
                |rounds| {
                    for actions in rounds {
                        black_box(envs.step(actions));
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// One environment through the trait object, without the vectoriser.
fn without_observations(c: &mut Criterion) {
    let mut group = c.benchmark_group("step_only");
    group.throughput(Throughput::Elements(N_ENVS as u64));
    for id in ["minatar/breakout", "cartpole"] {
        let mut env = spec(id).make();
        let mut rng = Seeds::new(0).stream("env/0");
        let rounds = random_actions(&mut Seeds::new(0).stream("actions"), env.action_names().len());
        let mut at = 0;
        env.reset(&mut rng);
        group.bench_function(id, |b| {
            b.iter(|| {
                at = (at + 1) % N_ROUNDS;
                for &action in &rounds[at] {
                    if black_box(env.step(action, &mut rng)).terminated {
                        env.reset(&mut rng);
                    }
                }
            });
        });
    }
    group.finish();
}

/// Atari's Breakout: a vector of 32 with 84x84 observations, in steps of four frames; and one game without, in frames.
fn atari_breakout(c: &mut Criterion) {
    let mut group = c.benchmark_group("atari_breakout");
    let mut choices = Seeds::new(0).stream("actions");
    let mut envs = vector("breakout", 32);
    group.throughput(Throughput::Elements((32 * N_ROUNDS) as u64));
    group.bench_function("vec32_steps", |b| {
        b.iter_batched_ref(
            || random_actions(&mut choices, 4),
            |rounds| {
                for actions in rounds {
                    black_box(envs.step(&actions[..32]));
                }
            },
            BatchSize::LargeInput,
        );
    });
    let mut env = spec("breakout").make();
    let mut rng = Seeds::new(0).stream("env/0");
    env.reset(&mut rng);
    group.throughput(Throughput::Elements((4 * N_ENVS * N_ROUNDS) as u64));
    group.bench_function("frames_without_observations", |b| {
        b.iter_batched_ref(
            || random_actions(&mut choices, 4),
            |rounds| {
                for &action in rounds.iter().flatten() {
                    if black_box(env.step(action, &mut rng)).terminated {
                        env.reset(&mut rng);
                    }
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, with_observations, without_observations, atari_breakout);
criterion_main!(benches);
