//! The contents of DQN's replay where episodes end, and settings that its constructor refuses.

use super::*;
use crate::clocks::{FRAME_STACK, N_CLOCKS, Tick, clocks, clocks_task};
use std::collections::{HashMap, HashSet};

const GAMMA: f32 = 0.5;

/// Expected content of a replay for the `t`-th step of clock `env_idx`: action, return, discount and next observation.
fn expected(env_idx: usize, t: usize, n_step: usize, actions: &[[usize; N_CLOCKS]]) -> (u8, f32, f32, Vec<u8>) {
    let (mut n_step_return, mut discount) = (0.0, 1.0);
    for t_k in t..t + n_step {
        let tick = Tick::new(env_idx, t_k);
        n_step_return += discount * tick.reward(actions[t_k][env_idx]);
        discount *= GAMMA;
        if tick.terminated() {
            return (actions[t][env_idx] as u8, n_step_return, 0.0, vec![0; tick.obs().len()]);
        }
        if tick.truncated() || t_k + 1 == t + n_step {
            return (actions[t][env_idx] as u8, n_step_return, discount, tick.next_obs());
        }
    }
    unreachable!("n_step is above 0")
}

#[test]
fn the_replay_bootstraps_from_final_observations_and_never_from_the_next_episode() {
    const N_TICKS: usize = 30;
    let ticks = |n: usize| (0..N_CLOCKS).flat_map(move |env_idx| (0..n).map(move |t| (env_idx, t)));
    let tick_of: HashMap<_, _> =
        ticks(N_TICKS).map(|(env_idx, t)| (Tick::new(env_idx, t).obs(), (env_idx, t))).collect();
    for n_step in [1, 3] {
        let config = DqnConfig {
            gamma: GAMMA.into(),
            learning_starts: u64::MAX,
            replay: ReplaySettings { buffer_size: 1_000, n_step, ..ReplaySettings::default() },
            network: NetworkSettings { hidden: vec![16], ..NetworkSettings::default() },
            ..DqnConfig::default()
        };
        let (mut envs, mut actions) = (clocks(), vec![]);
        let mut agent = Dqn::new(config, &clocks_task(&envs), &Seeds::new(0)).expect("a valid configuration");
        for _ in 0..N_TICKS {
            let mut chosen = [0; N_CLOCKS];
            agent.act(envs.stacks(&mut vec![]), &mut chosen);
            envs.step(&chosen);
            agent.observe(&envs, &chosen).expect("it does not learn yet");
            actions.push(chosen);
        }

        let (mut batch, mut seen) = (Batch::default(), HashSet::new());
        agent.replay.sample(2_000, Horizon { n_step, gamma: GAMMA }, &mut Pcg32::new(1, 1), &mut batch);
        let obs_bytes = FRAME_STACK * envs.obs_space().n_bytes();
        for (b, obs) in batch.obs.chunks_exact(obs_bytes).enumerate() {
            let (env_idx, t) = tick_of[obs];
            let next_obs = batch.next_obs[b * obs_bytes..(b + 1) * obs_bytes].to_vec();
            let held = (batch.actions[b], batch.returns[b], batch.discounts[b], next_obs);
            assert_eq!(held, expected(env_idx, t, n_step, &actions), "{:?}, {n_step} steps", Tick::new(env_idx, t));
            seen.insert((env_idx, t));
        }
        assert!(ticks(N_TICKS - n_step).all(|tick| seen.contains(&tick)), "every transition is drawn");
    }
}

fn replay(buffer_size: usize, n_step: usize) -> ReplaySettings {
    ReplaySettings { buffer_size, n_step, ..ReplaySettings::default() }
}

fn error_of(config: DqnConfig) -> String {
    let clocks = clocks();
    Dqn::new(config, &clocks_task(&clocks), &Seeds::new(0)).err().expect("an error").to_string()
}

#[test]
fn a_struct_of_settings_is_checked_like_values_by_name() {
    let config = DqnConfig::default;
    assert_eq!(
        error_of(DqnConfig { train_every: 0, ..config() }),
        "agent.train_every is 0: expected a whole number, 1 or above"
    );
    assert_eq!(error_of(DqnConfig { gamma: f64::NAN, ..config() }), "agent.gamma is null: expected a number in 0..=1");
    let network = NetworkSettings { hidden: vec![20], layer_norm: true, ..NetworkSettings::default() };
    assert!(error_of(DqnConfig { network, ..config() }).contains("multiples of 16"));
    let outputs = HeadSettings { v_min: 2.0, v_max: 1.0, ..HeadSettings::default() };
    assert!(error_of(DqnConfig { outputs, ..config() }).contains("more than v_min"));
    assert!(error_of(DqnConfig { batch_size: usize::MAX, ..config() }).starts_with("agent.batch_size is "));
    assert!(
        error_of(DqnConfig { replay: replay(14, 2), batch_size: 1, ..config() })
            .ends_with("expected at least 15 transitions for 3 environments")
    );
}

#[test]
fn a_replay_that_no_memory_holds_is_an_error_before_it_is_allocated() {
    let error = error_of(DqnConfig { replay: replay(100_000_000_000_000, 1), ..DqnConfig::default() });
    assert!(error.contains("GB, more than the system grants"), "{error}");
}

#[test]
fn an_agent_that_only_acts_asks_for_no_replay_of_that_size() {
    let clocks = clocks();
    let config = DqnConfig { replay: replay(100_000_000_000_000, 1), ..DqnConfig::default() };
    let agent = Dqn::new(config, &clocks_task(&clocks).acting_only(), &Seeds::new(0)).expect("it fits");
    assert!(agent.replay_bytes().is_some_and(|n_bytes| n_bytes < 10_000));
}

/// Returns a DQN of the clocks, whose settings `change` alters, after some updates.
fn trained(seed: u64, change: impl FnOnce(&mut DqnConfig)) -> (Dqn, VecEnv) {
    let mut config = DqnConfig {
        learning_starts: 6,
        train_every: 1,
        target_every: 1_000,
        batch_size: 8,
        replay: replay(1_000, 1),
        network: NetworkSettings { hidden: vec![16], ..NetworkSettings::default() },
        ..DqnConfig::default()
    };
    config.descent.lr = 0.01;
    change(&mut config);
    let mut envs = clocks();
    let mut agent = Dqn::new(config, &clocks_task(&envs), &Seeds::new(seed)).expect("a valid configuration");
    for _ in 0..40 {
        let mut actions = [0; N_CLOCKS];
        agent.act(envs.stacks(&mut vec![]), &mut actions);
        envs.step(&actions);
        agent.observe(&envs, &actions).expect("it learns");
    }
    (agent, envs)
}

#[test]
fn the_values_that_are_shown_are_those_that_greedy_chooses_by() {
    for head in [HeadKind::Scalar, HeadKind::C51, HeadKind::Qr, HeadKind::Iqn] {
        let (mut agent, envs) = trained(0, |config| {
            config.outputs = HeadSettings { head, atoms: 5, quantiles: 5, ..HeadSettings::default() };
        });
        let (mut stacks, mut actions) = (vec![], [0; N_CLOCKS]);
        let stacks = envs.stacks(&mut stacks);
        agent.greedy(stacks, &mut actions);
        for (obs, action) in stacks.chunks_exact(stacks.len() / N_CLOCKS).zip(actions) {
            let values = agent.values_of(obs).expect("a network has values");
            let best = usize::from(values[1] > values[0]);
            assert_eq!((values.len(), best), (2, action), "{head:?}");
        }
    }
}

#[test]
fn the_online_network_chooses_and_the_target_values_only_if_double() {
    let mut n_different = 0;
    for (seed, double) in (0..8).flat_map(|seed| [(seed, false), (seed, true)]) {
        let (mut agent, _) = trained(seed, |config| config.bootstrap.double = double);
        let Dqn { network, head, bootstrap, replay, .. } = &mut agent;
        let (mut batch, mut policy) = (Batch::default(), Policy::default());
        replay.sample(64, Horizon { n_step: 1, gamma: GAMMA }, &mut Pcg32::new(1, 1), &mut batch);
        let outputs_t = bootstrap.value(network, &**head, 2, &mut batch, &mut policy);
        let [online, target] = [Weights::Online, Weights::Target].map(|of| network.q(of, &batch.next_obs).to_vec());
        assert_eq!(outputs_t, target);
        let (mut by_online, mut by_target) = (Policy::default(), Policy::default());
        by_online.be_greedy(&online, 2);
        by_target.be_greedy(&target, 2);
        n_different += usize::from(by_online.probs != by_target.probs);
        assert_eq!(policy.probs, if double { by_online } else { by_target }.probs);
    }
    assert!(n_different > 0, "the networks choose alike");
}

#[test]
fn learning_starts_is_counted_from_an_empty_replay() {
    let (agent, envs) = trained(0, |_| {});
    let task = clocks_task(&envs);
    let later = |start: u64| {
        let config = DqnConfig { learning_starts: start, ..agent.config.clone() };
        Dqn::new(config, &task, &Seeds::new(0)).expect("a valid configuration")
    };
    assert_eq!((agent.learns_from(), later(500).learns_from(), later(u64::MAX).learns_from()), (6, 500, u64::MAX));
}
