//! A scripted player.

use super::Breakout;

/// What it plays.
pub fn action(game: &Breakout) -> usize {
    usize::from(!game.state().in_play())
}
