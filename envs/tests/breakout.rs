//! Atari's Breakout from outside: scores of known players, factors, resets, ten thousand frames of anything. Frame for
//! frame against ALE: `src/breakout/tests/golden.rs`.

use carom_envs::breakout::{Breakout, BreakoutSettings, HEIGHT, State, WIDTH};
use carom_envs::{Env, Seeds, Values, VecEnv, registry};
use proptest::prelude::*;
use rand::Rng;
use serde_json::{Value, json};

fn vector(settings: Value, n: usize) -> VecEnv {
    let Value::Object(settings) = settings else { panic!("{settings} is no table") };
    let spec = registry::resolve("breakout", &settings).unwrap();
    spec.make_vec(Seeds::new(5).streams("env", n)).unwrap()
}

fn mean_score(settings: Value, games_each: usize) -> f64 {
    const N: usize = 20;
    let mut envs = vector(settings, N);
    let mut choices = Seeds::new(6).stream("actions");
    let (mut played, mut sum) = ([0; N], 0.0);
    while played.iter().any(|&games| games < games_each) {
        let actions: Vec<_> = (0..N).map(|_| choices.gen_range(0..envs.n_actions())).collect();
        envs.step(&actions);
        for episode in envs.episodes() {
            if played[episode.env_idx] < games_each {
                played[episode.env_idx] += 1;
                sum += episode.episode_return;
            }
        }
    }
    sum / (N * games_each) as f64
}

/// ALE itself over 1,000 games from the reset, where the first ball always flies alike: 1.12 ± 0.04 with the four
/// actions, 1.36 ± 0.04 with all 18. Published: 1.7 (Mnih et al. 2015, on another emulator).
#[test]
fn a_random_player_scores_what_it_does_in_ale() {
    let score = |n_actions: &str| mean_score(json!({"noop_max": 0, "action_set": n_actions}), 50);
    let (four, all) = (score("minimal"), score("full"));
    assert!((four - 1.12).abs() < 0.15, "{four}");
    assert!((all - 1.36).abs() < 0.15, "{all}");
}

#[test]
fn the_scripted_player_scores_above_350() {
    let (mut scores, n) = (0.0, 4);
    for seed in 0..n {
        let mut rng = Seeds::new(seed).stream("env/0");
        let mut game = Breakout::new(&BreakoutSettings { life_loss_terminal: false, ..BreakoutSettings::default() });
        game.reset(&mut rng);
        for _ in 0..4000 {
            let action = game.scripted_action().unwrap();
            if game.step(action, &mut rng).terminated {
                break;
            }
        }
        scores += f64::from(game.state().score);
    }
    assert!(scores / n as f64 > 350.0, "{}", scores / n as f64);
}

#[test]
fn factors_say_where_the_ball_is_drawn() {
    let mut game = Breakout::new(&BreakoutSettings { frame_skip: 1, noop_max: 0, ..BreakoutSettings::default() });
    let mut rng = Seeds::new(0).stream("env/0");
    game.reset(&mut rng);
    let factors = |game: &Breakout| {
        let mut out = vec![0.0; game.factor_names().len()];
        game.factors(&mut out);
        game.factor_names().iter().copied().zip(out).collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!((factors(&game)["ball_y"], factors(&game)["bricks_left"], factors(&game)["lives"]), (0.0, 108.0, 5.0));
    game.step(1, &mut rng);
    for _ in 0..30 {
        let seen = factors(&game);
        let (x, y) = (seen["ball_x"] as usize, seen["ball_y"] as usize);
        let picture = game.picture().unwrap();
        let pixel = |row: usize, column: usize| picture.rgb[3 * (row * WIDTH + column)..][..3].to_vec();
        assert_eq!((picture.height, picture.width), (HEIGHT, WIDTH));
        assert_eq!(pixel(y, x), [200, 72, 72], "the ball");
        assert_eq!(pixel(y - 1, x), [0; 3]);
        assert_eq!(pixel(y, x - 1), [0; 3]);
        let paddle = seen["paddle_x"] as usize;
        assert_eq!((pixel(190, paddle), pixel(190, paddle - 1)), (vec![200, 72, 72], vec![0; 3]));
        game.step(0, &mut rng);
        let next = factors(&game);
        assert_eq!(next["ball_x"] - seen["ball_x"], seen["ball_vx"]);
        assert_eq!(next["ball_y"] - seen["ball_y"], seen["ball_vy"]);
    }
}

#[test]
fn factors_say_which_bricks_stand() {
    for id in ["breakout", "minatar/breakout"] {
        let mut game = registry::resolve(id, &Values::new()).unwrap().make();
        let mut rng = Seeds::new(0).stream("env/0");
        game.reset(&mut rng);
        let names = game.factor_names().to_vec();
        let mut factors = vec![0.0; names.len()];
        for _ in 0..400 {
            game.factors(&mut factors);
            let sum_of = |prefix: &str| -> f32 {
                names.iter().zip(&factors).filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value).sum()
            };
            assert_eq!(sum_of("brick_"), sum_of("bricks_left"), "{id}");
            for row in 0..6 {
                let row_factor = format!("bricks_row_{row}");
                if names.contains(&&*row_factor) {
                    assert_eq!(sum_of(&format!("brick_{row}_")), sum_of(&row_factor));
                }
            }
            let action = game.scripted_action().unwrap();
            if game.step(action, &mut rng).terminated {
                break;
            }
        }
        assert!(factors.iter().zip(&names).any(|(&value, name)| name.starts_with("brick_") && value == 0.0), "{id}");
    }
}

/// The planes show where the bricks of the factors are.
#[test]
fn factors_name_bricks_by_row_and_column() {
    let mut game = registry::resolve("minatar/breakout", &Values::new()).unwrap().make();
    let mut rng = Seeds::new(0).stream("env/0");
    game.reset(&mut rng);
    for _ in 0..200 {
        game.step(game.scripted_action().unwrap(), &mut rng);
    }
    let (mut obs, mut factors) = (vec![0; 400], vec![0.0; game.factor_names().len()]);
    game.observe(&mut obs);
    game.factors(&mut factors);
    for (name, value) in game.factor_names().iter().zip(factors) {
        let Some(place) = name.strip_prefix("brick_") else { continue };
        let (row, column) = place.split_once('_').unwrap();
        let (row, column): (usize, usize) = (row.parse().unwrap(), column.parse().unwrap());
        assert_eq!(f32::from(obs[((row + 1) * 10 + column) * 4 + 3]), value, "{name}");
    }
}

#[test]
fn fire_on_reset_serves_the_ball() {
    let mut game = Breakout::new(&BreakoutSettings { fire_reset: true, ..BreakoutSettings::default() });
    for seed in 0..20 {
        game.reset(&mut Seeds::new(seed).stream("env/0"));
        assert!(game.state().in_play());
    }
}

#[test]
fn a_finished_game_stays_as_it_is() {
    let mut rng = Seeds::new(0).stream("env/0");
    let mut game = Breakout::new(&BreakoutSettings::default());
    game.set_state(State { lives: 0, shown_lives: 1, ..State::START });
    let (state, gray) = (*game.state(), game.gray());
    for action in [1, 2, 3, 0] {
        assert!(game.step(action, &mut rng).terminated);
        assert_eq!((game.state(), &game.gray()), (&state, &gray));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From any frame, through text, in any setting.
    #[test]
    fn restore_equals_continue_at_any_frame(
        seed: u64,
        frame_skip in 1_u64..6,
        sticky in 0.0_f64..0.5,
        life_loss_terminal: bool,
        fire_reset: bool,
        before in 0_usize..400,
    ) {
        let usual = BreakoutSettings::default();
        let settings = BreakoutSettings { frame_skip, sticky, life_loss_terminal, fire_reset, ..usual };
        let mut rng = Seeds::new(seed).stream("env/0");
        let mut game = Breakout::new(&settings);
        game.reset(&mut rng);
        let play = |game: &mut Breakout, rng: &mut rand_pcg::Pcg32, n: usize| {
            let mut obs = vec![0; 84 * 84];
            (0..n).map(|_| {
                let action = rng.gen_range(0..4);
                let step = game.step(action, rng);
                game.observe(&mut obs);
                if step.terminated {
                    game.reset(rng);
                }
                (step, crc32fast::hash(&obs), *game.state())
            }).collect::<Vec<_>>()
        };
        play(&mut game, &mut rng, before);
        let mut restored = Breakout::new(&settings);
        restored.restore(&serde_json::from_str(&game.save().to_string()).unwrap()).unwrap();
        let mut same_rng = rng.clone();
        prop_assert_eq!(play(&mut game, &mut rng, 100), play(&mut restored, &mut same_rng, 100));
    }
}
