//! Saved states: all that play reaches are restored, and damaged ones are refused or do no harm.

use carom_envs::{Env, Seeds, Values, registry};
use rand::{Rng, RngCore};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn fresh(id: &str) -> Box<dyn Env> {
    registry::resolve(id, &Values::new()).unwrap().make()
}

/// Plays one step, of the scripted player if `scripted` and there is one, else at random. Resets after an end.
fn play_a_step(env: &mut dyn Env, scripted: bool, rng: &mut dyn RngCore) {
    let random = rng.gen_range(0..env.action_names().len());
    let action = if scripted { env.scripted_action() } else { None }.unwrap_or(random);
    if env.step(action, rng).terminated {
        env.reset(rng);
    }
}

#[test]
fn every_state_of_play_is_restored() {
    for entry in registry::ENVS {
        for scripted in [false, true] {
            let (mut env, mut twin) = (fresh(entry.id), fresh(entry.id));
            let mut rng = Seeds::new(1).stream("env/0");
            env.reset(&mut rng);
            for _ in 0..1500 {
                play_a_step(&mut *env, scripted, &mut rng);
                let saved = env.save();
                twin.restore(&saved).unwrap_or_else(|error| panic!("{}: {error}: {saved}", entry.id));
                assert_eq!(twin.save(), saved, "{}", entry.id);
            }
        }
    }
}

#[test]
fn states_of_minatar_that_play_cannot_reach_are_refused() {
    let cases = [
        ("minatar/breakout", json!({"y": 9, "dy": 1, "over": false})),
        ("minatar/breakout", json!({"y": 5, "over": true})),
        ("minatar/breakout", json!({"dx": 0})),
        ("minatar/breakout", json!({"dy": 0})),
        ("minatar/seaquest", json!({"x": 0, "right": true})),
        ("minatar/seaquest", json!({"x": 9, "right": false})),
    ];
    for (id, changes) in cases {
        let mut env = fresh(id);
        env.reset(&mut Seeds::new(0).stream("env/0"));
        let mut state = env.save();
        for (key, value) in changes.as_object().unwrap() {
            assert!(!state["game"][key].is_null());
            state["game"][key] = value.clone();
        }
        assert!(env.restore(&state).is_err(), "{id}: {changes}");
    }
}

/// JSON pointers to all numbers and booleans of `value`.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(parts) => parts.iter().enumerate().for_each(|(i, part)| leaves(part, &format!("{at}/{i}"), found)),
        Value::Object(parts) => parts.iter().for_each(|(key, part)| leaves(part, &format!("{at}/{key}"), found)),
        Value::Number(_) | Value::Bool(_) => found.push(at.to_owned()),
        Value::Null | Value::String(_) => {}
    }
}

/// Restores `state` and, if it is not refused, draws and describes it, plays on, and restores what follows.
fn use_state(env: &mut dyn Env, state: &Value) {
    if env.restore(state).is_err() {
        return;
    }
    let mut rng = Seeds::new(2).stream("env/0");
    let mut obs = vec![0; env.obs_space().n_bytes()];
    let mut factors = vec![0.0; env.factor_names().len()];
    env.picture();
    for t in 0..40 {
        env.observe(&mut obs);
        env.factors(&mut factors);
        play_a_step(env, t % 20 == 0, &mut rng);
        env.restore(&env.save()).expect("what follows a state that was restored is not refused");
    }
}

#[test]
fn damaged_numbers_are_refused_or_do_no_harm() {
    const NUMBERS: [i64; 22] =
        [-32_768, -129, -128, -11, -1, 0, 1, 2, 5, 9, 10, 11, 18, 33, 34, 127, 200, 255, 256, 1000, 65_535, 1 << 32];
    let damages = NUMBERS.map(Value::from).into_iter().chain([false.into(), true.into()]);
    for entry in registry::ENVS {
        let mut env = fresh(entry.id);
        let mut rng = Seeds::new(3).stream("env/0");
        env.reset(&mut rng);
        for n_steps in [0, 30, 170] {
            (0..n_steps).for_each(|t| play_a_step(&mut *env, t % 2 == 0, &mut rng));
            let (saved, mut pointers) = (env.save(), vec![]);
            leaves(&saved, "", &mut pointers);
            for pointer in pointers {
                for damage in damages.clone() {
                    let mut state = saved.clone();
                    *state.pointer_mut(&pointer).unwrap() = damage.clone();
                    let played = catch_unwind(AssertUnwindSafe(|| use_state(&mut *fresh(entry.id), &state)));
                    assert!(played.is_ok(), "{}: {pointer} is {damage} in {saved}", entry.id);
                }
            }
        }
    }
}
