//! Parts of the players that know the rules: random numbers to plan with, and how to stay alive.

use super::rules::{Action, Rules};
use rand::{Error, RngCore};

/// Random numbers that a plan reckons with. A player does not know those that the game will draw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Imagined(u32);

impl RngCore for Imagined {
    /// A Weyl sequence: plans need no better numbers.
    fn next_u32(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9);
        self.0
    }

    fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) << 32 | u64::from(self.next_u32())
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill_with(|| self.next_u32() as u8);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

/// Bounds the states that a search for a way to survive visits.
const MAX_STATES: u32 = 400;

/// Returns the first of `wishes`, and then of the other actions, after which the player can survive for `depth` steps,
/// or else for fewer.
pub(super) fn first_safe<R: Rules>(state: &R, wishes: &[Action], depth: u32) -> Action {
    let others = R::MINIMAL.iter().filter(|action| !wishes.contains(action));
    let in_order = || wishes.iter().chain(others.clone()).copied();
    let mut depth = depth;
    while depth > 0 {
        if let Some(action) = in_order().find(|&action| survives(state, action, depth, &mut MAX_STATES.clone())) {
            return action;
        }
        depth /= 2;
    }
    in_order().next().unwrap_or(Action::Noop)
}

/// Whether the player is alive after `action` and, by some actions, `depth - 1` more steps. A search that visits too
/// many states ends with yes.
fn survives<R: Rules>(state: &R, action: Action, depth: u32, n_left: &mut u32) -> bool {
    if *n_left == 0 {
        return true;
    }
    *n_left -= 1;
    let mut next = state.clone();
    next.step(action, false, &mut Imagined::default());
    !next.is_over() && (depth == 1 || R::MINIMAL.iter().any(|&action| survives(&next, action, depth - 1, n_left)))
}

/// Plays `actions` on a copy of `state`, up to the end of the episode. Returns the rewards, and the state if it is not
/// over.
pub(super) fn play<R: Rules>(state: &R, actions: impl IntoIterator<Item = Action>) -> (f32, Option<R>) {
    let (mut state, mut rng, mut rewards) = (state.clone(), Imagined::default(), 0.0);
    for action in actions {
        rewards += state.step(action, false, &mut rng);
        if state.is_over() {
            return (rewards, None);
        }
    }
    (rewards, Some(state))
}
