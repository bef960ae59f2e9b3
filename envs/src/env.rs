//! What every environment is: the [`Env`] trait and the few types in its signatures.

use crate::model::TransitionModel;
use crate::picture::Picture;
use rand::RngCore;
use serde_json::Value;
use std::fmt;

/// Shape and element type of one observation.
///
/// Observations cross the trait as bytes, so that one replay and one vectoriser serve every game: `u8` as it is, `f32` and
/// the discrete state (`u32`) as four little-endian bytes each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObsSpace {
    /// A state index in `0..n`, one `u32`.
    Discrete {
        /// Number of states.
        n: usize,
    },
    /// A vector of `f32`.
    Vector {
        /// Number of elements.
        len: usize,
    },
    /// 0/1 planes, `u8`, row-major with the channel last.
    Planes {
        /// `[rows, columns, channels]`.
        shape: [usize; 3],
    },
    /// Gray pixels in 0..=255, `u8`, row-major.
    Pixels {
        /// `[rows, columns]`.
        shape: [usize; 2],
    },
}

impl fmt::Display for ObsSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObsSpace::Discrete { n } => write!(f, "one of {n} states"),
            ObsSpace::Vector { len } => write!(f, "a vector of {len}"),
            ObsSpace::Planes { shape: [rows, columns, channels] } => write!(f, "planes of {rows}x{columns}x{channels}"),
            ObsSpace::Pixels { shape: [rows, columns] } => write!(f, "pixels of {rows}x{columns}"),
        }
    }
}

impl ObsSpace {
    /// Number of bytes of one observation.
    pub fn n_bytes(&self) -> usize {
        match *self {
            ObsSpace::Discrete { .. } => 4,
            ObsSpace::Vector { len } => 4 * len,
            ObsSpace::Planes { shape } => shape.iter().product(),
            ObsSpace::Pixels { shape } => shape.iter().product(),
        }
    }
}

/// What one step gave: the reward and whether the game ended by its own rules.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// Reward of this step.
    pub reward: f32,
    /// The game is over by its rules (a time limit never sets this).
    pub terminated: bool,
}

/// A saved state that does not belong to this environment.
#[derive(Debug, thiserror::Error)]
#[error("saved environment state cannot be read: {0}")]
pub struct RestoreError(#[from] pub serde_json::Error);

/// A game or task with discrete actions.
///
/// All randomness comes from the `rng` handed in, so that one seed gives one episode and a reference's own random stream
/// can drive the game in a test.
pub trait Env: Send {
    /// Shape and element type of an observation.
    fn obs_space(&self) -> ObsSpace;

    /// Names of the actions, in the order of their indices; their number is the number of actions.
    fn action_names(&self) -> &[&'static str];

    /// Starts a new episode: a new game, unless the last one [goes on](Env::goes_on).
    fn reset(&mut self, rng: &mut dyn RngCore);

    /// Plays `action`, an index into [`Env::action_names`].
    ///
    /// # Panics
    /// When `action` is out of range.
    fn step(&mut self, action: usize, rng: &mut dyn RngCore) -> Step;

    /// Writes the present observation to `out`, which holds [`ObsSpace::n_bytes`] bytes. Allocates nothing.
    fn observe(&self, out: &mut [u8]);

    /// Names of the true state variables that [`Env::factors`] writes.
    fn factor_names(&self) -> &[&'static str];

    /// Writes the true state variables (ball, paddle, bricks, ...) to `out`, one `f32` a name.
    fn factors(&self, out: &mut [f32]);

    /// The whole state, such that [`Env::restore`] and the same random stream continue the same episode.
    fn save(&self) -> Value;

    /// Takes up a state from [`Env::save`].
    ///
    /// # Errors
    /// When `state` was not saved by the same kind of environment.
    fn restore(&mut self, state: &Value) -> Result<(), RestoreError>;

    /// After a step that terminated: whether the next reset goes on with the same game, as where a lost life counts as the end
    /// of an episode. Returns, lengths and the time limit are of whole games.
    fn goes_on(&self) -> bool {
        false
    }

    /// What a player written for the game would do now, where there is one.
    fn scripted_action(&self) -> Option<usize> {
        None
    }

    /// The full transition table, where the environment is small enough to have one.
    fn model(&self) -> Option<&TransitionModel> {
        None
    }

    /// A colour picture of the present state, where the environment can draw itself.
    fn picture(&self) -> Option<Picture> {
        None
    }
}
