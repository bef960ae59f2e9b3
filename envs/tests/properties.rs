//! Promises of every environment, on random seeds and actions.

use carom_envs::{Env, ObsSpace, Seeds, Step, Values, registry};
use proptest::prelude::*;
use rand_pcg::Pcg32;

fn fresh(id: &str) -> Box<dyn Env> {
    registry::resolve(id, &Values::new()).unwrap().make()
}

fn observation(env: &dyn Env) -> Vec<u8> {
    let mut obs = vec![0xAA; env.obs_space().n_bytes()];
    env.observe(&mut obs);
    obs
}

/// Plays on, with resets; all that was seen.
fn play(env: &mut dyn Env, rng: &mut Pcg32, choices: &[usize]) -> Vec<(Step, Vec<u8>)> {
    let n_actions = env.action_names().len();
    let mut seen = Vec::new();
    for choice in choices {
        let step = env.step(choice % n_actions, rng);
        seen.push((step, observation(env)));
        if step.terminated {
            env.reset(rng);
        }
    }
    seen
}

fn check_inside(space: &ObsSpace, obs: &[u8]) {
    let word = |word: &[u8]| -> [u8; 4] { word.try_into().unwrap() };
    match *space {
        ObsSpace::Discrete { n } => assert!((u32::from_le_bytes(word(obs)) as usize) < n),
        ObsSpace::Vector { .. } => assert!(obs.chunks(4).all(|value| f32::from_le_bytes(word(value)).is_finite())),
        ObsSpace::Planes { .. } => assert!(obs.iter().all(|&value| value <= 1)),
        ObsSpace::Pixels { .. } => {}
    }
}

fn check_describes_itself(env: &dyn Env) {
    let mut factors = vec![f32::NAN; env.factor_names().len()];
    env.factors(&mut factors);
    assert!(factors.iter().all(|value| value.is_finite()), "{factors:?}");
    let picture = env.picture().expect("every game draws itself");
    assert_eq!(picture.rgb.len(), 3 * picture.width * picture.height);
}

fn check_environment(id: &str, seed: u64, before: &[usize], after: &[usize]) {
    let mut rng = Seeds::new(seed).stream("env/0");
    let mut same_rng = rng.clone();
    let (mut env, mut same) = (fresh(id), fresh(id));
    env.reset(&mut rng);
    same.reset(&mut same_rng);
    let played = play(&mut *env, &mut rng, before);
    assert_eq!(played, play(&mut *same, &mut same_rng, before), "{id}: same seed, same episode");
    for (_, obs) in &played {
        check_inside(&env.obs_space(), obs);
    }
    check_describes_itself(&*env);

    // Through text, as in a checkpoint.
    let saved = serde_json::from_str(&env.save().to_string()).unwrap();
    let (mut restored, mut restored_rng) = (fresh(id), rng.clone());
    restored.restore(&saved).unwrap();
    assert_eq!(observation(&*restored), observation(&*env), "{id}: a restored state looks the same");
    let goes_on = play(&mut *env, &mut rng, after);
    assert_eq!(play(&mut *restored, &mut restored_rng, after), goes_on, "{id}: restore equals continue");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_environment_keeps_its_promises(
        seed: u64,
        before in prop::collection::vec(0_usize..60, 1..200),
        after in prop::collection::vec(0_usize..60, 1..100),
    ) {
        for entry in registry::ENVS {
            check_environment(entry.id, seed, &before, &after);
        }
    }
}

#[test]
fn a_state_of_another_game_is_refused() {
    for entry in registry::ENVS {
        let error = fresh(entry.id).restore(&serde_json::json!({"level": 3})).unwrap_err();
        assert!(error.to_string().starts_with("saved environment state cannot be read"), "{error}");
    }
}

#[test]
fn transition_tables_are_distributions() {
    let models = registry::ENVS.iter().map(|entry| (entry.id, fresh(entry.id)));
    let mut n_models = 0;
    for (id, env) in models {
        let Some(model) = env.model() else { continue };
        n_models += 1;
        assert!((model.start.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{id}");
        assert_eq!(model.outcomes.len(), model.n_states() * model.n_actions, "{id}");
        assert_eq!(model.n_actions, env.action_names().len(), "{id}");
        for outcomes in &model.outcomes {
            assert!((outcomes.iter().map(|outcome| outcome.probability).sum::<f64>() - 1.0).abs() < 1e-12, "{id}");
            assert!(outcomes.iter().all(|outcome| outcome.next_state < model.n_states()), "{id}");
        }
    }
    assert_eq!(n_models, 4);
}

/// Sutton & Barto 2018, Figure 4.1 (k = ∞).
#[test]
fn gridworld_has_the_books_values_under_the_random_policy() {
    let env = fresh("gridworld");
    let model = env.model().unwrap();
    let mut values = [0.0; 16];
    for _ in 0..1000 {
        for state in 0..16 {
            let outcomes = (0..4).map(|action| &model.outcomes(state, action)[0]);
            let continued = |terminated, value| if terminated { 0.0 } else { value };
            values[state] =
                outcomes.map(|o| o.reward + continued(o.terminated, values[o.next_state])).sum::<f64>() / 4.0;
        }
    }
    let book = [0, -14, -20, -22, -14, -18, -20, -20, -20, -20, -18, -14, -22, -20, -14, 0].map(f64::from);
    for (value, book) in values.iter().zip(book) {
        assert!((value - book).abs() < 1e-6, "{values:?}");
    }
}
