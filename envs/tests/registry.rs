//! Settings, their errors, and protocol names.

use carom_envs::registry::{ENVS, Settings, evaluation_overrides, make, protocol, resolve, time_limit};
use serde_json::{Value, json};

fn settings(value: Value) -> Settings {
    value.as_object().unwrap().clone()
}

fn error(id: &str, overrides: Value) -> String {
    resolve(id, &settings(overrides)).unwrap_err().to_string()
}

#[test]
fn every_environment_resolves_makes_and_states_a_limit() {
    for entry in ENVS {
        let resolved = resolve(entry.id, &Settings::new()).unwrap();
        assert!(resolved["max_steps"].is_u64(), "{}", entry.id);
        assert_eq!(resolve(entry.id, &resolved).unwrap(), resolved, "{}: resolving again changes nothing", entry.id);
        assert!(make(entry.id, &resolved).is_ok());
        assert!(!entry.summary.is_empty());
    }
}

#[test]
fn defaults_are_overridden_by_what_is_given() {
    let resolved = resolve("minatar/breakout", &settings(json!({"action_set": "minimal", "max_steps": 1000}))).unwrap();
    assert_eq!(Value::Object(resolved), json!({"sticky": 0.1, "action_set": "minimal", "max_steps": 1000}));
}

#[test]
fn the_large_lake_has_the_larger_limit_unless_told() {
    let limit = |overrides| time_limit(&resolve("frozen-lake", &settings(overrides)).unwrap());
    assert_eq!(limit(json!({})), Some(100));
    assert_eq!(limit(json!({"map": "8x8"})), Some(200));
    assert_eq!(limit(json!({"map": "8x8", "max_steps": 50})), Some(50));
    assert_eq!(limit(json!({"max_steps": 0})), None);
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    assert_eq!(
        error("minatar/brekout", json!({})),
        "there is no environment `minatar/brekout`; did you mean `minatar/breakout`? (`carom list envs` shows all)"
    );
    assert_eq!(
        error("minatar/breakout", json!({"stiky": 0.1})),
        "environment `minatar/breakout` has no setting `stiky`; did you mean `sticky`? (it has action_set, max_steps, \
         sticky)"
    );
}

#[test]
fn values_of_the_wrong_kind_say_what_was_expected() {
    let breakout = |overrides| error("minatar/breakout", overrides);
    let setting = |key: &str| format!("setting `{key}` of environment `minatar/breakout` is ");
    assert_eq!(breakout(json!({"sticky": "no"})), setting("sticky") + "\"no\", expected a number");
    assert_eq!(breakout(json!({"sticky": 1.5})), setting("sticky") + "1.5, expected a probability between 0 and 1");
    assert_eq!(breakout(json!({"max_steps": -1})), setting("max_steps") + "-1, expected a whole number, 0 or more");
    assert_eq!(breakout(json!({"action_set": "all"})), setting("action_set") + "\"all\", expected `full` or `minimal`");
    assert_eq!(
        error("frozen-lake", json!({"slippery": 1})),
        "setting `slippery` of environment `frozen-lake` is 1, expected true or false"
    );
}

#[test]
fn protocols_have_the_names_others_use() {
    let breakout = |overrides| protocol("minatar/breakout", &settings(overrides));
    assert_eq!(breakout(json!({})), "minatar-v0");
    assert_eq!(breakout(json!({"action_set": "minimal"})), "minatar-v1");
    assert_eq!(breakout(json!({"action_set": "minimal", "max_steps": 5000})), "minatar-v1, cap 5000");
    assert_eq!(breakout(json!({"action_set": "minimal", "sticky": 0, "max_steps": 1000})), "gymnax");
    assert_eq!(breakout(json!({"sticky": 0.25})), "minatar breakout, sticky 0.25, 6 actions");
    assert_eq!(protocol("cartpole", &Settings::new()), "CartPole-v1");
    assert_eq!(protocol("cartpole", &settings(json!({"max_steps": 0}))), "CartPole-v1, no cap");
    assert_eq!(
        protocol("frozen-lake", &settings(json!({"map": "8x8", "slippery": false}))),
        "FrozenLake8x8-v1, not slippery"
    );
    assert_eq!(protocol("taxi", &Settings::new()), "Taxi-v3");
}

#[test]
fn breakouts_protocols_set_what_is_not_given() {
    let resolved = |overrides| resolve("breakout", &settings(overrides)).unwrap();
    let dqn = resolved(json!({}));
    assert_eq!((&dqn["sticky"], &dqn["noop_max"], &dqn["life_loss_terminal"]), (&json!(0.0), &json!(30), &json!(true)));
    assert_eq!((&dqn["frame_skip"], &dqn["frame_stack"], &dqn["max_steps"]), (&json!(4), &json!(4), &json!(27_000)));
    let machado = resolved(json!({"protocol": "machado-2018", "noop_max": 5, "frame_skip": 5}));
    assert_eq!((&machado["sticky"], &machado["noop_max"]), (&json!(0.25), &json!(5)));
    assert_eq!((&machado["life_loss_terminal"], &machado["max_steps"]), (&json!(false), &json!(21_600)));
}

#[test]
fn breakouts_protocols_are_named_with_what_differs() {
    let breakout = |overrides| protocol("breakout", &settings(overrides));
    assert_eq!(breakout(json!({})), "dqn-2015");
    assert_eq!(breakout(json!({"protocol": "machado-2018"})), "machado-2018");
    assert_eq!(breakout(json!({"sticky": 0.25, "noop_max": 0, "life_loss_terminal": false})), "machado-2018");
    assert_eq!(breakout(json!({"sticky": 0.25, "noop_max": 0})), "machado-2018, life loss");
    assert_eq!(
        breakout(json!({"sticky": 0.1, "fire_reset": true, "action_set": "full", "max_steps": 100})),
        "dqn-2015, sticky 0.1, FIRE on reset, 18 actions, cap 100"
    );
    let mut evaluated = evaluation_overrides("breakout");
    assert_eq!(Value::Object(evaluated.clone()), json!({"life_loss_terminal": false, "reward_clip": false}));
    evaluated.insert("frame_skip".to_owned(), 1.into());
    assert_eq!(protocol("breakout", &evaluated), "dqn-2015, frame skip 1");
    assert!(evaluation_overrides("cartpole").is_empty());
}

#[test]
fn breakouts_settings_are_checked() {
    let message = |overrides| error("breakout", overrides);
    let setting = |key: &str| format!("setting `{key}` of environment `breakout` is ");
    assert_eq!(message(json!({"frame_skip": 0})), setting("frame_skip") + "0, expected a whole number from 1 to 16");
    assert_eq!(
        message(json!({"frame_stack": 99})),
        setting("frame_stack") + "99, expected a whole number from 1 to 16"
    );
    assert_eq!(
        message(json!({"protocol": "dqn"})),
        setting("protocol") + "\"dqn\", expected `dqn-2015` or `machado-2018`"
    );
}
