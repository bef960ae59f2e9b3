//! Settings, their errors, protocol names, and environments of other crates.

use carom_envs::registry::{self, ENVS, resolve};
use carom_envs::settings::{AtLeast, NoSettings, Settings};
use carom_envs::{Env, EnvEntry, EnvError, EnvSpec, Game, ObsSpace, RestoreError, Seeds, Step, Values};
use rand::RngCore;
use serde_json::{Value, json};

fn values(value: Value) -> Values {
    let Value::Object(values) = value else { panic!("{value} is no table") };
    values
}

fn spec(id: &str, given: Value) -> EnvSpec {
    resolve(id, &values(given)).unwrap()
}

fn error(id: &str, given: Value) -> String {
    resolve(id, &values(given)).unwrap_err().to_string()
}

#[test]
fn every_environment_resolves_makes_and_states_a_limit() {
    for entry in ENVS {
        let spec = spec(entry.id, json!({}));
        assert!(spec.settings()["max_steps"].is_u64(), "{}", entry.id);
        let again = resolve(entry.id, spec.settings()).unwrap();
        assert_eq!(again, spec, "{}: resolving again changes nothing", entry.id);
        assert_eq!(spec.with_all(&Values::new()).unwrap(), spec, "{}: nor does laying nothing over it", entry.id);
        assert!(!spec.make().action_names().is_empty());
        assert!(!entry.summary.is_empty());
        assert!((entry.schema.list)().iter().all(|setting| !setting.doc.is_empty()));
    }
}

#[test]
fn defaults_are_overridden_by_what_is_given() {
    let spec = spec("minatar/breakout", json!({"action_set": "minimal", "max_steps": 1000}));
    let expected = json!({"sticky": 0.1, "action_set": "minimal", "max_steps": 1000});
    assert_eq!(Value::Object(spec.settings().clone()), expected);
}

#[test]
fn the_large_lake_has_the_larger_limit_unless_told() {
    let limit = |given| spec("frozen-lake", given).time_limit();
    assert_eq!(limit(json!({})), Some(100));
    assert_eq!(limit(json!({"map": "8x8"})), Some(200));
    assert_eq!(limit(json!({"map": "8x8", "max_steps": 50})), Some(50));
    assert_eq!(limit(json!({"max_steps": 0})), None);
    assert_eq!(spec("frozen-lake", json!({})).with_time_limit(7).settings()["max_steps"], 7);
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let message = error("minatar/brekout", json!({}));
    let start = "there is no environment `minatar/brekout`; did you mean `minatar/breakout`? (there are breakout, ";
    assert!(message.starts_with(start), "{message}");
    let message = error("chess", json!({}));
    assert!(message.starts_with("there is no environment `chess`; there are breakout, "), "{message}");
    assert_eq!(
        error("minatar/breakout", json!({"stiky": 0.1})),
        "environment `minatar/breakout` has no setting `stiky`; did you mean `sticky`? (it has sticky, action_set, \
         max_steps)"
    );
}

#[test]
fn values_of_the_wrong_kind_say_what_was_expected() {
    let breakout = |given| error("minatar/breakout", given);
    assert_eq!(breakout(json!({"sticky": "no"})), "env.sticky is \"no\": expected a number in 0..=1");
    assert_eq!(breakout(json!({"sticky": 1.5})), "env.sticky is 1.5: expected a number in 0..=1");
    assert_eq!(breakout(json!({"max_steps": -1})), "env.max_steps is -1: expected a whole number, 0 or above");
    assert_eq!(breakout(json!({"action_set": "all"})), "env.action_set is \"all\": expected `full` or `minimal`");
    assert_eq!(error("frozen-lake", json!({"slippery": 1})), "env.slippery is 1: expected true or false");
}

#[test]
fn protocols_have_the_names_others_use_and_the_time_limit() {
    let protocol = |id: &str, given| spec(id, given).protocol();
    let breakout = |given| protocol("minatar/breakout", given);
    assert_eq!(breakout(json!({})), "minatar-v0, no cap");
    assert_eq!(breakout(json!({"action_set": "minimal"})), "minatar-v1, no cap");
    assert_eq!(breakout(json!({"action_set": "minimal", "max_steps": 5000})), "minatar-v1, cap 5000");
    assert_eq!(breakout(json!({"action_set": "minimal", "sticky": 0, "max_steps": 1000})), "gymnax, cap 1000");
    assert_eq!(breakout(json!({"sticky": 0.25})), "minatar breakout, sticky 0.25, 6 actions, no cap");
    assert_eq!(protocol("cartpole", json!({})), "CartPole-v1, cap 500");
    assert_eq!(protocol("cartpole", json!({"max_steps": 0})), "CartPole-v1, no cap");
    assert_eq!(
        protocol("frozen-lake", json!({"map": "8x8", "slippery": false})),
        "FrozenLake8x8-v1, not slippery, cap 200"
    );
    assert_eq!(protocol("taxi", json!({})), "Taxi-v3, cap 200");
    assert_eq!(protocol("cliff-walking", json!({})), "CliffWalking-v1, no cap");
    assert_eq!(spec("cliff-walking", json!({})).with_time_limit(9).protocol(), "CliffWalking-v1, cap 9");
}

#[test]
fn breakouts_protocols_set_what_is_not_given() {
    let dqn = spec("breakout", json!({}));
    let dqn = dqn.settings();
    assert_eq!((&dqn["sticky"], &dqn["noop_max"], &dqn["life_loss_terminal"]), (&json!(0.0), &json!(30), &json!(true)));
    assert_eq!((&dqn["frame_skip"], &dqn["frame_stack"], &dqn["max_steps"]), (&json!(4), &json!(4), &json!(27_000)));
    let machado = spec("breakout", json!({"protocol": "machado-2018", "noop_max": 5, "frame_skip": 5}));
    let machado = machado.settings();
    assert_eq!((&machado["sticky"], &machado["noop_max"]), (&json!(0.25), &json!(5)));
    assert_eq!((&machado["life_loss_terminal"], &machado["max_steps"]), (&json!(false), &json!(21_600)));
}

#[test]
fn a_protocol_laid_over_a_resolved_environment_is_played_in_full() {
    let dqn = spec("breakout", json!({}));
    let machado = dqn.with("protocol", "machado-2018").unwrap();
    assert_eq!(machado, spec("breakout", json!({"protocol": "machado-2018"})));
    assert_eq!(machado.protocol(), "machado-2018, cap 27000");
    assert_eq!(machado.with("protocol", "dqn-2015").unwrap(), dqn);
    // A value that the protocol did not imply was chosen, and stays.
    let chosen = spec("breakout", json!({"noop_max": 5})).with("protocol", "machado-2018").unwrap();
    assert_eq!(chosen.protocol(), "machado-2018, no-ops 5, cap 27000");
}

#[test]
fn a_map_laid_over_a_resolved_environment_brings_its_limit() {
    let small = spec("frozen-lake", json!({}));
    assert_eq!(small.with("map", "8x8").unwrap(), spec("frozen-lake", json!({"map": "8x8"})));
    let chosen = spec("frozen-lake", json!({"max_steps": 50})).with("map", "8x8").unwrap();
    assert_eq!(chosen.time_limit(), Some(50));
}

#[test]
fn a_frame_skip_laid_over_a_resolved_environment_brings_its_limit() {
    let two = spec("breakout", json!({})).with("frame_skip", 2).unwrap();
    assert_eq!((two.time_limit(), two), (Some(54_000), spec("breakout", json!({"frame_skip": 2}))));
}

#[test]
fn breakouts_protocols_are_named_with_what_differs() {
    let breakout = |given| spec("breakout", given).protocol();
    assert_eq!(breakout(json!({})), "dqn-2015, cap 27000");
    assert_eq!(breakout(json!({"protocol": "machado-2018"})), "machado-2018, cap 27000");
    assert_eq!(
        breakout(json!({"sticky": 0.25, "noop_max": 0, "life_loss_terminal": false})),
        "machado-2018, cap 27000"
    );
    assert_eq!(breakout(json!({"sticky": 0.25, "noop_max": 0})), "machado-2018, life loss, cap 27000");
    assert_eq!(
        breakout(json!({"sticky": 0.1, "fire_reset": true, "action_set": "full", "max_steps": 100})),
        "dqn-2015, sticky 0.1, FIRE on reset, 18 actions, cap 100"
    );
    let evaluated = spec("breakout", json!({"frame_skip": 1})).evaluation();
    assert_eq!((&evaluated.settings()["life_loss_terminal"], evaluated.reward_clip()), (&json!(false), false));
    assert_eq!(evaluated.protocol(), "dqn-2015, frame skip 1, cap 108000");
    assert_eq!(spec("cartpole", json!({})).evaluation(), spec("cartpole", json!({})));
}

#[test]
fn breakouts_settings_are_checked() {
    let message = |given| error("breakout", given);
    assert_eq!(message(json!({"frame_skip": 0})), "env.frame_skip is 0: expected a whole number in 1..=16");
    assert_eq!(message(json!({"frame_stack": 99})), "env.frame_stack is 99: expected a whole number in 1..=16");
    assert_eq!(message(json!({"protocol": "dqn"})), "env.protocol is \"dqn\": expected `dqn-2015` or `machado-2018`");
}

#[test]
fn a_vector_without_random_streams_is_an_error() {
    assert_eq!(spec("taxi", json!({})).make_vec(vec![]).err(), Some(EnvError::NoStreams));
}

#[test]
fn stacks_and_clipped_rewards_belong_to_environments_that_have_them() {
    assert!(error("cartpole", json!({"frame_stack": 4})).contains("has no setting `frame_stack`"));
    assert!(error("taxi", json!({"reward_clip": true})).contains("has no setting `reward_clip`"));
    let breakout = spec("breakout", json!({"frame_stack": 2, "reward_clip": true}));
    assert_eq!((breakout.frame_stack(), breakout.reward_clip()), (2, true));
    assert_eq!(breakout.make_vec(Seeds::new(0).streams("env", 1)).unwrap().frame_stack(), 2);
    let counter = EnvEntry::of::<Counter>("counter", "counts").resolve(&values(json!({"frame_stack": 3}))).unwrap();
    let mut envs = counter.make_vec(Seeds::new(0).streams("env", 2)).unwrap();
    assert_eq!((envs.frame_stack(), envs.step(&[0, 0])[0].reward), (3, 1.0), "a reward of 5, clipped");
}

/// An environment as another crate would write one: nothing but the methods that it must have.
struct Counter {
    n: u8,
}

carom_envs::settings! {
    /// Settings of the counter.
    pub struct CounterSettings {
        /// Number that it counts to.
        target: u64 = 3, in AtLeast(1);
        /// Observations seen at once.
        frame_stack: u64 = 1, in 1..=8;
        /// Whether rewards are clipped.
        reward_clip: bool = true;
    }
}

impl Settings for CounterSettings {}

impl Env for Counter {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Pixels { shape: [1, 1] }
    }

    fn action_names(&self) -> &[&'static str] {
        &["count"]
    }

    fn reset(&mut self, _rng: &mut dyn RngCore) {
        self.n = 0;
    }

    fn step(&mut self, _action: usize, _rng: &mut dyn RngCore) -> Step {
        self.n += 1;
        Step { reward: 5.0, terminated: self.n >= 3 }
    }

    fn observe(&self, out: &mut [u8]) {
        out[0] = self.n;
    }
}

impl Game for Counter {
    type Settings = CounterSettings;

    fn make(_settings: &CounterSettings) -> Box<dyn Env> {
        Box::new(Counter { n: 0 })
    }
}

/// Without settings of its own.
struct Plain;

impl Game for Plain {
    type Settings = NoSettings;

    fn make(_settings: &NoSettings) -> Box<dyn Env> {
        Box::new(Counter { n: 0 })
    }
}

#[test]
fn environments_of_other_crates_are_found_by_name() {
    registry::register(EnvEntry::of::<Counter>("tests/counter", "counts to three")).unwrap();
    let taken = registry::register(EnvEntry::of::<Counter>("taxi", "not a taxi")).unwrap_err();
    assert_eq!(taken.to_string(), "there is already an environment `taxi`");
    assert!(registry::all().iter().any(|entry| entry.id == "tests/counter"));
    let counter = spec("tests/counter", json!({"target": 5}));
    assert_eq!((counter.protocol().as_str(), counter.time_limit()), ("tests/counter, target 5, no cap", None));
    assert_eq!(spec("tests/counter", json!({})).protocol(), "tests/counter, no cap");
    assert!(error("tests/countre", json!({})).contains("did you mean `tests/counter`?"));
}

#[test]
fn what_an_environment_does_not_support_is_an_error_or_nothing() {
    let plain = EnvEntry::of::<Plain>("plain", "counts").resolve(&Values::new()).unwrap();
    let limited = plain.clone().with_time_limit(2).evaluation();
    assert_eq!((limited.time_limit(), limited.settings()), (Some(2), plain.settings()));
    let mut env = plain.make();
    assert!(env.factor_names().is_empty() && env.picture().is_none());
    env.factors(&mut []);
    assert!(matches!(env.restore(&env.save()), Err(RestoreError::NotSupported)));
    let mut envs = limited.make_vec(Seeds::new(0).streams("env", 2)).unwrap();
    let message = envs.restore(&envs.save()).unwrap_err().to_string();
    assert!(message.contains("does not support saving"), "{message}");
    assert!(!envs.step(&[0, 0])[0].done() && envs.step(&[0, 0])[0].truncated);
}
