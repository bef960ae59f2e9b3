//! Cost of learning: on `minatar/breakout` an update of the MinAtar paper's DQN, a rollout of PQN with its updates,
//! and actions chosen by that network; an update of the Atari network. On the CPU, on as many threads as
//! OMP_NUM_THREADS says (`.cargo/config.toml`: one).
//!
//! `cargo bench -p carom --bench learner`
#![allow(missing_docs)] // criterion's macros write public functions

use carom_agents::losses::Loss;
use carom_agents::net::NetSpec;
use carom_agents::optim::{OptimConfig, Rule};
use carom_agents::{
    DescentSettings, Dqn, DqnConfig, ExplorationSettings, Learner, Pqn, PqnConfig, QNetwork, Task, Update, Weights,
};
use carom_envs::{ObsSpace, Seeds, VecEnv, registry};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use std::hint::black_box;
use tch::Device;

const ENV: &str = "minatar/breakout";
fn seeds() -> Seeds {
    Seeds::new(0)
}

fn vector(n_envs: usize, settings: &serde_json::Value) -> VecEnv {
    let settings = settings.as_object().expect("a table of settings");
    let spec = registry::resolve(ENV, settings).expect("a registered environment");
    spec.make_vec(seeds().streams("env", n_envs)).expect("streams")
}

fn task(envs: &VecEnv) -> Task<'_> {
    Task::of(envs, ENV, 10_000_000)
}

/// Acts, steps and learns.
fn advance(learner: &mut dyn Learner, envs: &mut VecEnv, actions: &mut [usize]) {
    learner.act(envs.obs(), actions);
    envs.step(actions);
    learner.observe(envs, actions).expect("finite losses");
}

/// One frame of the paper's setting: an action, a step, a sample of 32, the target's pass, the gradient, centred
/// RMSProp.
fn dqn(c: &mut Criterion) {
    let config = DqnConfig {
        train_every: 1,
        learning_starts: 5_000,
        descent: DescentSettings { optimizer: Rule::RmsPropCentered, ..DescentSettings::default() },
        exploration: ExplorationSettings { epsilon_end: 0.1, epsilon_steps: 5_000, ..ExplorationSettings::default() },
        ..DqnConfig::default()
    };
    let mut envs = vector(1, &json!({"sticky": 0.1, "action_set": "full"}));
    let mut dqn = Dqn::new(config, &task(&envs), &seeds()).expect("valid settings");
    let mut actions = [0];
    for _ in 0..5_000 {
        advance(&mut dqn, &mut envs, &mut actions);
    }
    let mut group = c.benchmark_group("learner");
    group.throughput(Throughput::Elements(1));
    group.bench_function("dqn_frame", |b| b.iter(|| advance(&mut dqn, &mut envs, &mut actions)));
    group.finish();
}

/// 32 steps of 128 environments and the 64 updates of 128 transitions that follow; the throughput is in frames.
fn pqn(c: &mut Criterion) {
    let mut envs = vector(128, &json!({"sticky": 0.0, "action_set": "minimal", "max_steps": 1000}));
    let config = PqnConfig::default();
    let rollout_len = config.rollout_len;
    let mut pqn = Pqn::new(config, &task(&envs), &seeds()).expect("valid settings");
    let mut actions = [0; 128];
    let mut group = c.benchmark_group("learner");
    group.sample_size(20);
    group.throughput(Throughput::Elements((rollout_len * actions.len()) as u64));
    group.bench_function("pqn_rollout", |b| {
        b.iter(|| (0..rollout_len).for_each(|_| advance(&mut pqn, &mut envs, &mut actions)));
    });
    group.finish();
}

/// Q-values of one observation and of 128, by the MinAtar paper's network.
fn act(c: &mut Criterion) {
    let mut group = c.benchmark_group("q_values");
    for batch in [1, 128] {
        let envs = vector(batch, &json!({}));
        let spec = NetSpec::new(envs.obs_space().clone(), envs.frame_stack(), &[128], envs.n_actions());
        let optimizer = OptimConfig::of(Rule::RmsPropCentered);
        let mut network = QNetwork::new(spec, None, optimizer, Device::Cpu, &mut seeds().stream("init"));
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("batch_{batch}"), |b| {
            b.iter(|| {
                black_box(network.q(Weights::Online, black_box(envs.obs())));
            });
        });
    }
    group.finish();
}

/// An update of the Atari network (Mnih et al. 2015) on 32 transitions; a fifth of the pixels are not 0.
fn pixels(c: &mut Criterion) {
    let obs_space = ObsSpace::Pixels { shape: [84, 84] };
    let spec = NetSpec::new(obs_space, 4, &[512], 4);
    let obs: Vec<u8> = (0..32 * spec.obs_bytes()).map(|i| if i % 5 == 0 { (i % 251) as u8 } else { 0 }).collect();
    let (actions, targets) = ([1; 32], [0.5; 32]);
    let optimizer = OptimConfig::of(Rule::Adam);
    let mut network = QNetwork::new(spec, None, optimizer, Device::Cpu, &mut seeds().stream("init"));
    let how = Update { loss: Loss::Huber, lr: 1e-4, max_grad_norm: 10.0 };
    let mut group = c.benchmark_group("learner");
    group.sample_size(20);
    group.bench_function("pixel_update", |b| b.iter(|| network.fit(&obs, &actions, &targets, &how)));
    group.finish();
}

criterion_group!(benches, dqn, pqn, act, pixels);
criterion_main!(benches);
