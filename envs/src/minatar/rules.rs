//! Actions, and what the rules of a game are made of.

use super::looks::Look;
use rand::RngCore;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// An action, in the order of MinAtar's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Does nothing.
    Noop,
    /// Moves left.
    Left,
    /// Moves up.
    Up,
    /// Moves right.
    Right,
    /// Moves down.
    Down,
    /// Fires.
    Fire,
}

impl Action {
    /// All actions: the set of the MinAtar paper, and of Gym's `-v0`.
    pub const ALL: [Self; 6] = [Self::Noop, Self::Left, Self::Up, Self::Right, Self::Down, Self::Fire];

    /// Columns to the right that a player moves by.
    #[inline]
    pub(super) fn dx(self) -> i8 {
        i8::from(self == Self::Right) - i8::from(self == Self::Left)
    }

    /// Rows down that a player moves by.
    #[inline]
    pub(super) fn dy(self) -> i8 {
        i8::from(self == Self::Down) - i8::from(self == Self::Up)
    }
}

/// The rules of one game, and its state between two steps. [`Minatar`](super::Minatar) makes an environment of them.
pub trait Rules: Clone + Send + Serialize + DeserializeOwned + 'static {
    /// Name of the game: the id of the environment after `minatar/`.
    const NAME: &'static str;

    /// Actions that have an effect, and noop: the set of Gym's `-v1`.
    const MINIMAL: &'static [Action];

    /// Whether the game gets harder as it goes on.
    const RAMPS: bool;

    /// Number of planes of an observation.
    const N_CHANNELS: usize;

    /// How a picture shows the channels of an observation, those on top last.
    const LOOKS: &'static [Look];

    /// A state before the first reset.
    fn new() -> Self;

    /// Starts an episode.
    fn reset(&mut self, rng: &mut dyn RngCore);

    /// Plays `action` and returns the reward. The game is not over yet. It gets harder only if `ramping`.
    fn step(&mut self, action: Action, ramping: bool, rng: &mut dyn RngCore) -> f32;

    /// Whether the episode has ended.
    fn is_over(&self) -> bool;

    /// Writes ones to `out`, `[10, 10, N_CHANNELS]`, which is zero.
    fn observe(&self, out: &mut [u8]);

    /// Names of the true state variables.
    fn factor_names() -> &'static [&'static str];

    /// Writes the true state variables to `out`, one number for each name.
    fn factors(&self, out: &mut [f32]);

    /// Whether every part of a restored state is in its range, so that no step can fail.
    fn is_possible(&self) -> bool;

    /// The action of a player that knows the rules and the state, but not the random numbers to come.
    fn scripted_action(&self) -> Action;
}
