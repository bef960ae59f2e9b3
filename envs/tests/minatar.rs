//! MinAtar's games: their settings, and players that know the rules.

use carom_envs::{Seeds, Values, registry};
use serde_json::{Value, json};

fn resolve(game: &str, settings: Value) -> Result<String, String> {
    let Value::Object(settings) = settings else { panic!("settings are a table") };
    let spec = registry::resolve(&format!("minatar/{game}"), &settings);
    spec.map(|spec| spec.protocol()).map_err(|error| error.to_string())
}

#[test]
fn protocols_name_actions_ramp_and_limit() {
    let protocol = |game, settings| resolve(game, settings).unwrap();
    assert_eq!(protocol("asterix", json!({})), "minatar-v0, no cap");
    assert_eq!(protocol("freeway", json!({"action_set": "minimal"})), "minatar-v1, no cap");
    assert_eq!(protocol("seaquest", json!({"ramping": false})), "minatar-v0, no ramp, no cap");
    let plain = json!({"sticky": 0, "action_set": "minimal", "max_steps": 1000});
    assert_eq!(protocol("breakout", plain.clone()), "gymnax, cap 1000");
    assert_eq!(protocol("space-invaders", plain), "minatar space-invaders, sticky 0, 4 actions, cap 1000");
}

#[test]
fn settings_without_effect_are_refused() {
    let error = |game, settings| resolve(game, settings).unwrap_err();
    for game in ["breakout", "freeway"] {
        assert!(error(game, json!({"ramping": false})).contains("has no setting `ramping`"));
    }
    assert_eq!(
        error("seaquest", json!({"action_set": "minimal"})),
        "env.action_set is \"minimal\", which has no effect: every action has an effect, so the full set is the \
         minimal one"
    );
    assert!(resolve("seaquest", json!({"action_set": "full"})).is_ok());
}

/// Rewards in 1000 steps, automatic resets included, with sticky actions. Random play has 0.5 to 4 an episode.
#[test]
fn players_that_know_the_rules_score() {
    const STEPS: usize = 1000;
    for (game, at_least) in [("asterix", 25.0), ("freeway", 23.0), ("seaquest", 35.0), ("space-invaders", 120.0)] {
        let spec = registry::resolve(&format!("minatar/{game}"), &Values::new()).unwrap();
        let mut envs = spec.make_vec(Seeds::new(0).streams("env", 4)).unwrap();
        let (mut actions, mut rewards) = ([0; 4], 0.0);
        for _ in 0..STEPS {
            envs.scripted_actions(&mut actions);
            rewards += envs.step(&actions).iter().map(|transition| transition.reward).sum::<f32>() / 4.0;
        }
        assert!(rewards >= at_least, "{game}: {rewards}");
    }
}
