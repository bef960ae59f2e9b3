//! A player that knows the traffic. It takes the fastest way to the top.

use super::{Action, Freeway, LAST, Rules, WAIT};
use crate::minatar::planning::Imagined;

/// Number of steps to look ahead: the fastest crossing takes 27, and a car stops the player rarely for longer.
const HORIZON: usize = 80;

/// The player's rows and waits. The traffic is the same wherever the player is.
type Reached = [[Option<(Freeway, Action)>; WAIT as usize + 1]; LAST as usize + 1];

/// The action to play now: the first of those that lead to the top soonest.
pub(super) fn action(state: &Freeway) -> Action {
    let mut reached: Reached = Default::default();
    for first in Freeway::MINIMAL {
        if let Some(action) = advance(*state, *first, *first, &mut reached) {
            return action;
        }
    }
    for _ in 1..HORIZON {
        let mut next: Reached = Default::default();
        for (state, first) in reached.as_flattened().iter().flatten() {
            for action in Freeway::MINIMAL {
                if let Some(action) = advance(*state, *action, *first, &mut next) {
                    return action;
                }
            }
        }
        reached = next;
    }
    Action::Up
}

/// Plays `action` on `state`, which `first` led to, and keeps the state that follows. Returns `first` if the player is
/// at the top.
fn advance(mut state: Freeway, action: Action, first: Action, next: &mut Reached) -> Option<Action> {
    if state.over {
        return None;
    }
    if state.step(action, false, &mut Imagined::default()) > 0.0 {
        return Some(first);
    }
    next[state.y as usize][state.wait as usize].get_or_insert((state, first));
    None
}
