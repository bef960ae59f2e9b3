//! A player that knows where enemies and bullets will be. It fetches divers, shoots what is before it, and comes up
//! with six divers or in time for air. Everything else gives way to staying alive.

use super::{Action, Kind, MAX_ABOARD, Seaquest, Swimmer, direction, is_on_board};
use crate::minatar::planning::first_safe;

/// Steps to survive.
const CAUTION: u32 = 6;
/// Air beyond the rows to the surface with which the player goes up.
const RESERVE: i32 = 12;
/// Columns in which nothing enters the board at the player's side.
const MIDDLE: std::ops::RangeInclusive<i8> = 2..=7;

/// The action to play now.
pub(super) fn action(state: &Seaquest) -> Action {
    first_safe(state, &wishes(state), CAUTION)
}

/// Actions that serve the player, the best first.
fn wishes(state: &Seaquest) -> Vec<Action> {
    let can_come_up = state.aboard != 0;
    let needs_air = state.air <= i32::from(state.y) + RESERVE;
    if can_come_up && state.y > 0 && (needs_air || state.aboard == MAX_ABOARD) {
        return vec![Action::Up, Action::Noop];
    }
    let mut wishes = vec![];
    if is_prey_ahead(state) && state.reload == 0 {
        wishes.push(Action::Fire);
    }
    if let Some(diver) = nearest(state, state.of(Kind::Diver)).filter(|_| state.aboard < MAX_ABOARD) {
        wishes.extend(towards(state, diver.x + 2 * direction(diver.right), diver.x, diver.y));
    }
    if state.y == 0 {
        wishes.push(Action::Down);
    }
    if !MIDDLE.contains(&state.x) {
        wishes.push(if state.x < 5 { Action::Right } else { Action::Left });
    }
    // The surface without anybody aboard is deadly: row 1 leaves no way to evade.
    if state.y < 3 {
        wishes.push(Action::Down);
    }
    wishes.extend(hunt(state));
    wishes.push(Action::Noop);
    wishes
}

/// Whether an enemy is before the player, in its row.
fn is_prey_ahead(state: &Seaquest) -> bool {
    enemies(state).any(|enemy| enemy.y == state.y && (enemy.x - state.x) * direction(state.right) > 0)
}

/// Turns or moves to the row of the nearest enemy.
fn hunt(state: &Seaquest) -> Option<Action> {
    let prey = nearest(state, enemies(state))?;
    match prey.y - state.y {
        0 if (prey.x - state.x) * direction(state.right) > 0 => None,
        0 => Some(if prey.x < state.x { Action::Left } else { Action::Right }),
        dy => Some(if dy < 0 { Action::Up } else { Action::Down }),
    }
}

fn enemies(state: &Seaquest) -> impl Iterator<Item = &Swimmer> {
    state.of(Kind::Fish).chain(state.of(Kind::Sub))
}

fn nearest<'a>(state: &Seaquest, swimmers: impl Iterator<Item = &'a Swimmer>) -> Option<&'a Swimmer> {
    swimmers.min_by_key(|swimmer| (swimmer.x - state.x).abs() + (swimmer.y - state.y).abs())
}

/// Moves to row `y` and to column `x`, where the diver will be, or if that is off the board to column `now`.
fn towards(state: &Seaquest, x: i8, now: i8, y: i8) -> Vec<Action> {
    let x = if is_on_board(x) && y != state.y { x } else { now };
    let mut moves = vec![];
    if y != state.y {
        moves.push(if y < state.y { Action::Up } else { Action::Down });
    }
    if x != state.x {
        moves.push(if x < state.x { Action::Left } else { Action::Right });
    }
    moves
}
