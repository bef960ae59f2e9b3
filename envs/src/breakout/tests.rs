//! Observations that are computed from changes equal those of whole pictures.

mod golden;

use super::*;
use crate::seeds::Seeds;

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
