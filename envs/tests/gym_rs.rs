//! The bridge to gym-rs, both ways.

use carom_envs::gym_bridge::{FromGym, ToGym};
use carom_envs::{Env, EnvSpec, Seeds, registry};
use gym_rs::core::{Env as GymEnv, EnvProperties};
use gym_rs::envs::classical_control::mountain_car::MountainCarEnv;
use gym_rs::utils::renderer::{RenderMode, Renders};
use rand::{RngCore, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};
use std::collections::VecDeque;

fn spec(id: &str, given: Value) -> EnvSpec {
    let Value::Object(given) = given else { panic!("{given} is no table") };
    registry::resolve(id, &given).unwrap()
}

#[test]
fn a_gym_rs_environment_plays_here_as_it_does_by_itself() {
    let mut theirs = MountainCarEnv::new(RenderMode::None);
    let mut ours = FromGym::new(theirs.clone(), &["left", "coast", "right"], &["position", "velocity"]);
    let mut rng = Seeds::new(5).stream("env/0");
    theirs.reset(Some(rng.clone().next_u64()), false, None);
    ours.reset(&mut rng);
    for t in 0..150 {
        let action = usize::from(t % 40 < 20) * 2;
        let expected = theirs.step(action);
        let step = ours.step(action, &mut rng);
        assert_eq!((f64::from(step.reward), step.terminated), (expected.reward.into_inner(), expected.done));
        let mut factors = [0.0; 2];
        ours.factors(&mut factors);
        assert_eq!(factors.to_vec(), Vec::from(expected.observation).iter().map(|&v| v as f32).collect::<Vec<_>>());
    }
}

#[test]
fn our_games_play_through_gym_rs_as_they_do_here() {
    for entry in registry::ENVS {
        let spec = spec(entry.id, json!({"max_steps": 40})).evaluation();
        let mut through_gym = ToGym::new(&spec);
        let mut env = spec.make();
        let mut rng = Pcg64::seed_from_u64(11);
        env.reset(&mut rng);
        through_gym.reset(Some(11), false, None);
        let n_actions = through_gym.action_space().0;
        for t in 1..=40 {
            let expected = env.step(t % n_actions, &mut rng);
            let outcome = through_gym.step(t % n_actions);
            assert_eq!(outcome.reward.into_inner(), f64::from(expected.reward), "{}", entry.id);
            assert_eq!(outcome.done, expected.terminated, "{}", entry.id);
            assert_eq!(outcome.truncated, t == 40 && !expected.terminated, "{}", entry.id);
            if outcome.done {
                break;
            }
        }
    }
}

#[test]
fn a_clone_goes_on_by_itself() {
    let mut env = ToGym::new(&spec("minatar/breakout", json!({})));
    env.reset(Some(1), false, None);
    let mut copy = env.clone();
    for action in [1, 3, 3, 0, 1] {
        assert_eq!(env.step(action), copy.step(action));
    }
    assert_eq!(serde_json::to_value(&env).unwrap()["id"], "minatar/breakout");
}

#[test]
fn pictures_come_where_gym_rs_asks_for_them() {
    let mut env = ToGym::new(&spec("taxi", json!({})));
    let Renders::SingleRgbArray(frame) = env.render(RenderMode::SingleRgbArray) else { panic!("no picture") };
    assert_eq!((frame.0.len(), frame.0[0].len()), (160, 160));
    assert_eq!(env.render(RenderMode::None), Renders::None);
}

#[test]
fn stacks_and_clipped_rewards_are_those_of_the_vectoriser() {
    let spec = spec("breakout", json!({"noop_max": 0, "sticky": 0.25, "life_loss_terminal": false}));
    let mut through_gym = ToGym::new(&spec);
    let mut env = spec.make();
    let mut rng = Pcg64::seed_from_u64(2);
    let obs_bytes = env.obs_space().n_bytes();
    let mut frames = VecDeque::new();
    let observe = |env: &dyn Env| {
        let mut frame = vec![0; obs_bytes];
        env.observe(&mut frame);
        frame
    };
    env.reset(&mut rng);
    frames.extend(vec![observe(&*env); 4]);
    let (first, _) = through_gym.reset(Some(2), false, None);
    assert_eq!(first.0.len(), through_gym.observation_space().low.0.len());
    for t in 0..200 {
        let action = [1, 2, 2, 3][t % 4];
        let (expected, outcome) = (env.step(action, &mut rng), through_gym.step(action));
        frames.pop_front();
        frames.push_back(observe(&*env));
        let stack: Vec<f64> = frames.iter().flatten().copied().map(f64::from).collect();
        assert!(outcome.observation.0 == stack, "step {t}");
        assert_eq!(outcome.reward.into_inner(), f64::from(expected.reward.min(1.0)));
        if outcome.done {
            break;
        }
    }
}

#[test]
fn a_life_lost_on_the_time_limit_is_followed_by_a_game_and_not_by_one_step() {
    let plays = |env: &mut ToGym| {
        (1..).find_map(|t| {
            let outcome = env.step(t % 2);
            (outcome.done || outcome.truncated).then_some((t, outcome.done))
        })
    };
    let mut env = ToGym::new(&spec("breakout", json!({"noop_max": 0})));
    env.reset(Some(3), false, None);
    let (life, _) = plays(&mut env).expect("a ball that nobody meets is lost");
    let mut env = ToGym::new(&spec("breakout", json!({"noop_max": 0, "max_steps": life})));
    env.reset(Some(3), false, None);
    assert_eq!(plays(&mut env), Some((life, true)), "the life is lost on the time limit");
    env.reset(None, false, None);
    assert!(plays(&mut env).expect("an end").0 > 1);
}

#[test]
fn a_reset_with_a_seed_begins_afresh_after_a_lost_life() {
    let mut env = ToGym::new(&spec("breakout", json!({"noop_max": 0})));
    let (first, _) = env.reset(Some(3), false, None);
    let begun = serde_json::to_value(&env).unwrap();
    while !env.step(1).done {}
    assert_eq!(env.reset(Some(3), false, None).0, first);
    assert_eq!(serde_json::to_value(&env).unwrap(), begun);
}

#[test]
fn more_than_half_of_the_episodes_of_gym_rs_cartpole_begin_fallen() {
    let rngs = Seeds::new(1).streams("env", 200);
    let mut envs = spec("gym-rs/cartpole", json!({})).make_vec(rngs).unwrap();
    envs.step(&[0; 200]);
    assert!(envs.episodes().len() > 100, "{} of 200 last one step, as the listing says", envs.episodes().len());
}
