//! Observations that are computed from changes equal those of whole pictures. States are restored if play can reach
//! them.

mod golden;

use super::*;
use crate::seeds::Seeds;
use serde_json::json;

/// The observation, computed from two whole pictures.
fn observation_of(before: &State, now: &State) -> Vec<u8> {
    let [before, now] = [before, now].map(|state| screen::paint_gray(&Screen::of(state)));
    let screen: Vec<u8> = before.iter().zip(&now).map(|(&a, &b)| a.max(b)).collect();
    (0..SIDE * SIDE)
        .map(|at| area::pixel(at / SIDE, at % SIDE, |row, column| screen[row as usize * WIDTH + column as usize]))
        .collect()
}

fn check(game: &Breakout) {
    let mut obs = vec![0; SIDE * SIDE];
    game.observe(&mut obs);
    let expected = observation_of(&game.memory.before, &game.memory.now);
    let differs = obs.iter().zip(&expected).position(|(a, b)| a != b);
    if let Some(at) = differs {
        panic!("pixel ({}, {}) is {}, expected {}, of {:?}", at / SIDE, at % SIDE, obs[at], expected[at], game.memory);
    }
}

#[test]
fn observations_are_the_shrunken_maximum_of_the_last_two_frames() {
    for frame_skip in [1, 2, 4] {
        let mut game = Breakout::new(&BreakoutSettings { frame_skip, ..BreakoutSettings::default() });
        let mut rng = Seeds::new(1).stream("env/0");
        game.reset(&mut rng);
        check(&game);
        for _ in 0..400 {
            let action = rng.gen_range(0..4);
            if game.step(action, &mut rng).terminated {
                check(&game);
                game.reset(&mut rng);
            }
            check(&game);
        }
    }
}

/// Walls, balls and paddles that play would not reach in reasonable time.
#[test]
fn observations_of_any_state_are_as_of_its_pictures() {
    let mut game = Breakout::new(&BreakoutSettings { frame_skip: 1, ..BreakoutSettings::default() });
    let mut rng = Seeds::new(2).stream("env/0");
    for _ in 0..1000 {
        let state = State {
            bricks: std::array::from_fn(|_| rng.r#gen::<u32>() & rng.r#gen::<u32>() & 0x3FFFF),
            paddle_x: rng.gen_range(55..=191),
            small: rng.r#gen(),
            x: rng.gen_range(56 << 8..205 << 8),
            y: rng.gen_range(21 << 8..187 << 8),
            vx: rng.gen_range(-512..=512),
            vy: rng.gen_range(-864..=864),
            score: rng.gen_range(0..865),
            shown_score: rng.gen_range(0..865),
            ..State::START
        };
        game.set_state(state);
        check(&game);
        game.memory.now.advance(Turn::Stay, false);
        game.show();
        check(&game);
    }
}

#[test]
fn observations_after_the_time_out_are_as_of_its_pictures() {
    let mut game = Breakout::new(&BreakoutSettings { frame_skip: 3, ..BreakoutSettings::default() });
    let mut rng = Seeds::new(3).stream("env/0");
    game.reset(&mut rng);
    game.set_state(State { frame: TIME_OUT - 20, score: 123, ..*game.state() });
    for t in 0..300 {
        let action = if t % 7 < 5 { 2 } else { 3 };
        assert!(!game.step(action, &mut rng).terminated);
        check(&game);
    }
    assert!(game.state().timed_out());
    game.reset(&mut rng);
    check(&game);
}

/// Plays `n_steps` steps, restores the state after each of them, and returns the best score.
fn play_and_restore(game: &mut Breakout, n_steps: u32, choose: impl Fn(&Breakout, &mut dyn RngCore) -> usize) -> u16 {
    let mut rng = Seeds::new(4).stream("env/0");
    let mut twin = Breakout::new(&game.settings);
    let mut best = 0;
    for _ in 0..n_steps {
        let action = choose(game, &mut rng);
        let terminated = game.step(action, &mut rng).terminated;
        twin.restore(&game.save()).unwrap_or_else(|error| panic!("{error}: {:?}", game.memory));
        assert_eq!(twin.memory, game.memory);
        best = best.max(game.memory.now.score);
        if terminated {
            game.reset(&mut rng);
        }
    }
    best
}

#[test]
fn every_state_of_a_random_game_is_restored() {
    for (frame_skip, sticky, fire_reset) in [(1, 0.25, true), (4, 0.0, false), (16, 0.0, true)] {
        let action_set = ActionSet::Full;
        let settings = BreakoutSettings { frame_skip, sticky, fire_reset, action_set, ..BreakoutSettings::default() };
        let mut game = Breakout::new(&settings);
        play_and_restore(&mut game, 20_000, |_, rng| rng.gen_range(0..18));
        game.set_state(State { frame: TIME_OUT - 300, ..State::START });
        play_and_restore(&mut game, 1000, |_, rng| rng.gen_range(0..18));
    }
}

#[test]
fn every_state_of_a_scripted_game_is_restored_up_to_the_second_wall() {
    let mut game = Breakout::new(&BreakoutSettings::default());
    let best = play_and_restore(&mut game, 20_000, |game, _| game.scripted_action().expect("a player"));
    assert!(best > 432, "{best} points");
}

#[test]
fn states_that_play_cannot_reach_are_refused() {
    let mut game = Breakout::new(&BreakoutSettings::default());
    let mut rng = Seeds::new(5).stream("env/0");
    game.reset(&mut rng);
    for _ in 0..20 {
        game.step(1, &mut rng);
    }
    let saved = game.save();
    let of_a_frame = [
        ("frame", json!(u32::MAX)),
        ("knob/steps", json!(17)),
        ("knob", json!({"from": "Left", "steps": -1})),
        ("knob", json!({"from": "Right", "steps": 40})),
        ("reading", json!(255)),
        ("paddle_x", json!(0)),
        ("paddle_x", json!(192)),
        ("vx", json!(0)),
        ("vy", json!(i16::MIN)),
        ("speed", json!(13)),
        ("lives", json!(6)),
        ("score", json!(865)),
        ("score", json!(u16::MAX)),
        ("bricks/0", json!(1 << 18)),
        ("bricks/5", json!(0)),
        ("rebuild", json!(true)),
        ("shown_score", json!(7)),
        ("shown_lives", json!(6)),
    ];
    let mut refuse = |key: &str, value: &serde_json::Value| {
        let mut damaged = saved.clone();
        *damaged.pointer_mut(key).expect("a part of the state") = value.clone();
        assert!(game.restore(&damaged).is_err(), "{key} is {value}");
        assert_eq!(game.save(), saved, "a state that is refused changes nothing");
    };
    for (key, value) in &of_a_frame {
        refuse(&format!("/now/{key}"), value);
        refuse(&format!("/before/{key}"), value);
    }
    refuse("/last_action", &json!(18));
    refuse("/last_action", &json!(255));
}
