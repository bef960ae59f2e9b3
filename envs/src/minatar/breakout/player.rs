//! A player that knows the rules. It goes where the ball lands, and returns it the way that brings bricks soonest.

use super::rules::{LEFT, NOOP, RIGHT, SIZE, State};

/// Number of returns to look ahead, each in up to two ways.
const RETURNS: u32 = 6;
/// Factor on the value of a brick for each step that it comes later.
const DISCOUNT: f64 = 0.98;
/// Bound on the steps until a ball comes down: the field has 100 cells.
const LONGEST_FLIGHT: i32 = 100;

/// MinAtar's number of the action to play now.
pub(super) fn action(state: &State) -> u8 {
    let target = best_return(state, RETURNS).1;
    match target.map_or(0, |column| (column - state.paddle).signum()) {
        1 => RIGHT,
        -1 => LEFT,
        _ => NOOP,
    }
}

/// Returns the discounted number of bricks up to the last of `returns` returns, and the column in which the paddle
/// should meet the ball, or `None` if it cannot.
fn best_return(state: &State, returns: u32) -> (f64, Option<i8>) {
    let Some((landing, steps, flight_value)) = land(*state) else { return (0.0, None) };
    // Met in the column it comes from, the ball keeps its direction; met in the column it goes to, it turns back.
    let ways = [landing.x, (landing.x + landing.dx).clamp(0, SIZE - 1)];
    let (mut best, mut target) = (0.0, None);
    for column in ways.into_iter().filter(|column| i32::from((column - state.paddle).abs()) <= steps) {
        let mut hit = State { paddle: column, ..landing };
        hit.move_ball();
        let value = if returns > 1 { best_return(&hit, returns - 1).0 } else { 0.0 };
        if target.is_none() || value > best {
            (best, target) = (value, Some(column));
        }
    }
    (flight_value + DISCOUNT.powi(steps) * best, target)
}

/// Returns the state before the step in which the ball lands, the steps up to the end of that one, and the discounted
/// number of bricks on the way.
fn land(mut state: State) -> Option<(State, i32, f64)> {
    let mut value = 0.0;
    // Outside the field, so that nothing returns the ball.
    let paddle = std::mem::replace(&mut state.paddle, -1);
    for step in 0..LONGEST_FLIGHT {
        let before = State { paddle, ..state };
        value += DISCOUNT.powi(step) * f64::from(state.move_ball());
        if state.terminal {
            return Some((before, step + 1, value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{ActionSet, Breakout, BreakoutSettings};
    use crate::env::Env;
    use crate::seeds::Seeds;

    /// A player that goes to where the ball lands and no more scores 84.
    #[test]
    fn a_hundred_bricks_in_a_thousand_steps_from_either_beginning() {
        for action_set in [ActionSet::Full, ActionSet::Minimal] {
            let mut game = Breakout::new(&BreakoutSettings { sticky: 0.0, action_set, max_steps: 0 });
            let mut rng = Seeds::new(0).stream("env/0");
            let mut beginnings = Vec::new();
            for _ in 0..8 {
                game.reset(&mut rng);
                beginnings.push(game.state.x);
                let steps = (0..1000).map(|_| {
                    let action = game.scripted_action().expect("a player");
                    game.step(action, &mut rng)
                });
                let steps: Vec<_> = steps.collect();
                assert!(!steps.iter().any(|step| step.terminated));
                let score: f32 = steps.iter().map(|step| step.reward).sum();
                assert!(score >= 100.0, "{score}");
            }
            assert!(beginnings.contains(&0) && beginnings.contains(&9), "{beginnings:?}");
        }
    }
}
