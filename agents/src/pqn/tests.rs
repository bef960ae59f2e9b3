//! The contents of PQN's rollout where episodes end, its returns, worked out forwards from steps that are known
//! beforehand, and settings that its constructor refuses.

use super::*;
use crate::clocks::{N_CLOCKS, Tick, clocks, clocks_task};

const GAMMA: f32 = 0.5;
const LAMBDA: f32 = 0.75;

/// No multiple of an episode's length, so that rollouts begin and end within episodes.
const ROLLOUT_LEN: usize = 7;

/// An agent, and the environments it plays in.
struct Play {
    agent: Pqn,
    envs: VecEnv,
    /// Actions of the latest rollout.
    actions: Vec<[usize; N_CLOCKS]>,
    n_rollouts: usize,
}

impl Play {
    /// With a learning rate of 0, so that all values of a rollout are those of one network.
    fn new() -> Self {
        let config = PqnConfig {
            gamma: GAMMA.into(),
            lambda: LAMBDA.into(),
            lr: 0.0,
            rollout_len: ROLLOUT_LEN,
            n_minibatches: 1,
            hidden: vec![16],
            ..PqnConfig::default()
        };
        let envs = clocks();
        let agent = Pqn::new(config, &clocks_task(&envs), &Seeds::new(0)).expect("a valid configuration");
        Self { agent, envs, actions: vec![], n_rollouts: 0 }
    }

    fn rollout(&mut self) {
        self.actions.clear();
        for _ in 0..ROLLOUT_LEN {
            let mut actions = [0; N_CLOCKS];
            self.agent.act(self.envs.stacks(&mut vec![]), &mut actions);
            self.envs.step(&actions);
            self.agent.observe(&self.envs, &actions).expect("finite losses");
            self.actions.push(actions);
        }
        self.n_rollouts += 1;
    }

    /// Step `t` of the latest rollout.
    fn tick(&self, env_idx: usize, t: usize) -> Tick {
        Tick::new(env_idx, (self.n_rollouts - 1) * ROLLOUT_LEN + t)
    }

    fn max_q(&mut self, obs: &[u8]) -> f32 {
        self.agent.network.q(Weights::Online, obs).iter().copied().fold(f32::MIN, f32::max)
    }

    /// `Σ γ^i r` over steps `t..t + k` of the latest rollout, and `γ^k max_a q` of the state that the last led to.
    fn k_step_return(&mut self, env_idx: usize, t: usize, k: usize) -> f32 {
        let reward = |t: usize| self.tick(env_idx, t).reward(self.actions[t][env_idx]);
        let rewards: f32 = (0..k).map(|i| GAMMA.powi(i as i32) * reward(t + i)).sum();
        let last = self.tick(env_idx, t + k - 1);
        let value = if last.terminated() { 0.0 } else { self.max_q(&last.next_obs()) };
        rewards + GAMMA.powi(k as i32) * value
    }

    /// The k-step returns from step `t` to the end of its episode or of the rollout, weighted by `(1 - λ) λ^(k-1)`. The
    /// last has the rest of the weight (Sutton & Barto 2018, equation 12.3).
    fn lambda_return(&mut self, env_idx: usize, t: usize) -> f32 {
        let ends = |t: &usize| self.tick(env_idx, *t).terminated() || self.tick(env_idx, *t).truncated();
        let last = (t..ROLLOUT_LEN).find(ends).unwrap_or(ROLLOUT_LEN - 1);
        let longest = last + 1 - t;
        let weight = |k: usize| LAMBDA.powi(k as i32 - 1) * if k < longest { 1.0 - LAMBDA } else { 1.0 };
        (1..=longest).map(|k| weight(k) * self.k_step_return(env_idx, t, k)).sum()
    }
}

/// Every (environment, step) of a rollout and its place in the arrays.
fn places() -> impl Iterator<Item = (usize, usize, usize)> {
    (0..ROLLOUT_LEN * N_CLOCKS).map(|at| (at % N_CLOCKS, at / N_CLOCKS, at))
}

fn assert_close(ours: f32, expected: f32, of: Tick) {
    assert!((ours - expected).abs() < 1e-5, "{ours} is not {expected}: {of:?}");
}

#[test]
fn values_are_of_the_state_reached_which_is_the_final_observation_at_a_cut() {
    let mut play = Play::new();
    let mut n_cuts = 0;
    for _ in 0..3 {
        play.rollout();
        for (env_idx, t, at) in places() {
            let (tick, value) = (play.tick(env_idx, t), play.agent.rollout.values[at]);
            assert_eq!(play.agent.rollout.truncated[at], u8::from(tick.truncated()), "{tick:?}");
            let final_value = play.max_q(&tick.next_obs());
            let next_tick = play.tick(env_idx, t + 1);
            let next_value = play.max_q(&next_tick.obs());
            if !tick.terminated() {
                assert_close(value, final_value, tick);
            }
            if tick.truncated() {
                n_cuts += 1;
                // Or else the test could not tell the final observation from the next episode's first, or from nothing.
                assert!(
                    (final_value - next_value).abs() > 0.01 && final_value.abs() > 0.01,
                    "{final_value}, {next_value}"
                );
            }
        }
    }
    assert_eq!(n_cuts, 3 * ROLLOUT_LEN / 3);
}

#[test]
fn the_discount_is_zero_where_an_episode_terminated_and_there_alone() {
    let mut play = Play::new();
    play.rollout();
    for (env_idx, t, at) in places() {
        let tick = play.tick(env_idx, t);
        let expected = if tick.terminated() { 0.0 } else { GAMMA };
        assert_eq!(play.agent.rollout.discounts[at], expected, "{tick:?}");
    }
}

#[test]
fn lambda_returns_end_with_their_episode_and_bootstrap_at_a_cut() {
    let mut play = Play::new();
    for _ in 0..3 {
        play.rollout();
        let returns = play.agent.returns();
        for (env_idx, t, at) in places() {
            assert_close(returns[at], play.lambda_return(env_idx, t), play.tick(env_idx, t));
        }
    }
}

#[test]
fn no_reward_flows_back_over_an_end() {
    let mut play = Play::new();
    play.rollout();
    let before = play.agent.returns();
    for (env_idx, t, at) in places() {
        play.agent.rollout.rewards[at] += 100.0;
        let after = play.agent.returns();
        play.agent.rollout.rewards[at] -= 100.0;
        for (other_idx, earlier, other_at) in places() {
            let ends = |t: usize| play.tick(env_idx, t).terminated() || play.tick(env_idx, t).truncated();
            let flows = other_idx == env_idx && earlier <= t && !(earlier..t).any(ends);
            assert_eq!(after[other_at] != before[other_at], flows, "from {t} to {earlier} of clock {env_idx}");
        }
    }
}

fn error_of(config: PqnConfig) -> String {
    let clocks = clocks();
    Pqn::new(config, &clocks_task(&clocks), &Seeds::new(0)).err().expect("an error").to_string()
}

#[test]
fn a_struct_of_settings_is_checked_like_values_by_name() {
    let config = PqnConfig::default;
    assert_eq!(
        error_of(PqnConfig { n_epochs: 0, ..config() }),
        "agent.n_epochs is 0: expected a whole number, 1 or above"
    );
    assert!(error_of(PqnConfig { n_minibatches: 0, ..config() }).starts_with("agent.n_minibatches is 0"));
    assert_eq!(
        error_of(PqnConfig { n_minibatches: 5, ..config() }),
        "agent.n_minibatches is 5: expected a divisor of 96 (rollout_len x n_envs)"
    );
}

#[test]
fn a_rollout_that_no_memory_holds_is_an_error_before_it_is_allocated() {
    for rollout_len in [100_000_000_000, usize::MAX / 2] {
        let error = error_of(PqnConfig { rollout_len, ..PqnConfig::default() });
        assert!(error.starts_with("agent.rollout_len is ") && error.contains("more than the system grants"), "{error}");
    }
}

#[test]
fn epsilon_stays_at_its_start_when_it_has_no_share_of_the_training() {
    let epsilon = PqnConfig { epsilon_fraction: 0.0, ..PqnConfig::default() }.epsilon(1_000);
    assert_eq!((epsilon.at(0), epsilon.at(1_000)), (1.0, 1.0));
    let epsilon = PqnConfig { epsilon_fraction: 0.5, ..PqnConfig::default() }.epsilon(1_000);
    assert_eq!((epsilon.at(0), epsilon.at(500)), (1.0, 0.05));
}
