//! A player that knows the rules. It goes where the ball lands, and returns it the way that brings bricks soonest.

use super::{Action, Breakout, SIZE};

/// Number of returns to look ahead, each in up to two ways.
const RETURNS: u32 = 6;
/// Factor on the value of a brick for each step that it comes later.
const DISCOUNT: f64 = 0.98;
/// Bound on the steps until a ball comes down: the field has 100 cells.
const LONGEST_FLIGHT: i32 = 100;

/// The action to play now.
pub(super) fn action(state: &Breakout) -> Action {
    let target = best_return(state, RETURNS).1;
    match target.map_or(0, |column| (column - state.paddle).signum()) {
        1 => Action::Right,
        -1 => Action::Left,
        _ => Action::Noop,
    }
}

/// Returns the discounted number of bricks up to the last of `returns` returns, and the column in which the paddle
/// should meet the ball, or `None` if it cannot.
fn best_return(state: &Breakout, returns: u32) -> (f64, Option<i8>) {
    let Some((landing, steps, flight_value)) = land(*state) else { return (0.0, None) };
    // Met in the column it comes from, the ball keeps its direction; met in the column it goes to, it turns back.
    let ways = [landing.x, (landing.x + landing.dx).clamp(0, SIZE - 1)];
    let (mut best, mut target) = (0.0, None);
    for column in ways.into_iter().filter(|column| i32::from((column - state.paddle).abs()) <= steps) {
        let mut hit = Breakout { paddle: column, ..landing };
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
fn land(mut state: Breakout) -> Option<(Breakout, i32, f64)> {
    let mut value = 0.0;
    // Outside the field, so that nothing returns the ball.
    let paddle = std::mem::replace(&mut state.paddle, -1);
    for step in 0..LONGEST_FLIGHT {
        let before = Breakout { paddle, ..state };
        value += DISCOUNT.powi(step) * f64::from(state.move_ball());
        if state.over {
            return Some((before, step + 1, value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Breakout;
    use crate::env::Env;
    use crate::minatar::{ActionSet, Minatar, MinatarSettings};
    use crate::seeds::Seeds;

    /// A player that goes to where the ball lands and no more scores 84.
    #[test]
    fn a_hundred_bricks_in_a_thousand_steps_from_either_beginning() {
        for action_set in [ActionSet::Full, ActionSet::Minimal] {
            let settings = MinatarSettings { sticky: 0.0, action_set, ..MinatarSettings::default() };
            let mut game = Minatar::<Breakout>::new(&settings);
            let mut rng = Seeds::new(0).stream("env/0");
            let mut beginnings = Vec::new();
            for _ in 0..8 {
                game.reset(&mut rng);
                beginnings.push(game.game().x);
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
