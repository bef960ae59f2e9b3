//! A player that knows where shots and aliens will be. It goes to where it hits an alien soonest, shoots, and evades.

use super::{Action, RELOAD, SpaceInvaders};
use crate::minatar::planning::{first_safe, play};

/// Columns that the cannon goes for a shot, at most.
const MAX_WALK: usize = 9;
/// Steps until a shot has left the board.
const FLIGHT: usize = 9;
/// Steps to survive.
const CAUTION: u32 = 6;

/// The action to play now.
pub(super) fn action(state: &SpaceInvaders) -> Action {
    let wishes: &[Action] = match best_shot(state) {
        Some(action) => &[action, Action::Noop],
        None => &[Action::Noop],
    };
    first_safe(state, wishes, CAUTION)
}

/// Returns the first step of the shortest way to a shot that hits, if there is one.
fn best_shot(state: &SpaceInvaders) -> Option<Action> {
    let reload = state.reload as usize;
    debug_assert!(reload <= RELOAD as usize);
    for walk in 0..=MAX_WALK {
        for side in [Action::Left, Action::Right] {
            // The cannon waits where it is while it reloads.
            let way = std::iter::repeat_n(Action::Noop, reload.saturating_sub(walk));
            let way: Vec<Action> = std::iter::repeat_n(side, walk).chain(way).collect();
            let hits = |last: Action| {
                let flight = std::iter::repeat_n(Action::Noop, FLIGHT);
                play(state, way.iter().copied().chain([last]).chain(flight)).0
            };
            if hits(Action::Fire) > hits(Action::Noop) {
                return Some(way.first().copied().unwrap_or(Action::Fire));
            }
        }
    }
    None
}
