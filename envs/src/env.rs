//! The trait of all environments, and the types in its signatures.

use crate::model::TransitionModel;
use crate::picture::Picture;
use crate::space::ObsSpace;
use rand::RngCore;
use serde::de::Error;
use serde_json::Value;
use std::fmt::Display;

/// Result of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// Reward of this step.
    pub reward: f32,
    /// The game is over by its own rules. A time limit never sets this.
    pub terminated: bool,
}

/// Says why a saved state was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The environment does not implement [`Env::save`] and [`Env::restore`].
    #[error("the state of this environment cannot be restored: it does not support saving")]
    NotSupported,
    /// The state was not saved by this kind of environment.
    #[error("saved environment state cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl RestoreError {
    /// The state was not saved by this kind of environment, for this reason.
    pub fn unreadable(reason: impl Display) -> Self {
        Self::Unreadable(serde_json::Error::custom(reason))
    }
}

/// A game or task with discrete actions.
///
/// All randomness comes from the `rng` argument, so that one seed gives one episode, and so that a test can drive the
/// game with the random numbers of a reference implementation.
///
/// Five methods are enough for an environment that can be trained on; the others are optional.
pub trait Env: Send {
    /// Shape and element type of an observation.
    fn obs_space(&self) -> ObsSpace;

    /// Names of the actions, in the order of their indices. Their number is the number of actions.
    fn action_names(&self) -> &[&'static str];

    /// Starts a new episode. That is a new game, unless the last one [continues](Env::goes_on).
    fn reset(&mut self, rng: &mut dyn RngCore);

    /// Plays `action`, an index into [`Env::action_names`].
    ///
    /// # Panics
    /// When `action` is out of range.
    fn step(&mut self, action: usize, rng: &mut dyn RngCore) -> Step;

    /// Writes the present observation to `out`, which has [`ObsSpace::n_bytes`] bytes. Allocates nothing.
    fn observe(&self, out: &mut [u8]);

    /// Names of the true state variables that [`Env::factors`] writes; none by default.
    fn factor_names(&self) -> &[&'static str] {
        &[]
    }

    /// Writes the true state variables (ball, paddle, bricks, ...) to `out`, one `f32` for each name.
    fn factors(&self, out: &mut [f32]) {
        let _ = out;
    }

    /// Returns the whole state: [`Env::restore`] with the same random stream continues the same episode. Null by
    /// default, which means that the environment does not support saving.
    fn save(&self) -> Value {
        Value::Null
    }

    /// Restores the state that [`Env::save`] returned.
    ///
    /// # Errors
    /// When `state` was not saved by the same kind of environment, or the environment does not support saving (the
    /// default).
    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        let _ = state;
        Err(RestoreError::NotSupported)
    }

    /// Whether the next reset after a step that terminated continues the same game, for instance where a lost life ends
    /// an episode. Returns, lengths and the time limit are of whole games.
    fn goes_on(&self) -> bool {
        false
    }

    /// Action that a player written for the game would choose now, if there is such a player.
    fn scripted_action(&self) -> Option<usize> {
        None
    }

    /// The full transition table, if the environment is small enough to have one.
    fn model(&self) -> Option<&TransitionModel> {
        None
    }

    /// A colour picture of the present state, if the environment can draw itself.
    fn picture(&self) -> Option<Picture> {
        None
    }
}
