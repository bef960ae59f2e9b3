//! The MinAtar games: Atari's rules on a 10×10 grid, step for step those of the PyPI package `minatar` 1.0.15 (Young &
//! Tian 2019).
//!
//! Each game is a file that states its [`Rules`]. [`Minatar`] makes an environment of them, and adds what the games
//! share: the six actions and the set to choose from, sticky actions, time limits, pictures, and saved states.
//!
//! **Sticky actions.** With probability `sticky` a step repeats the action of the step before, also across the ends of
//! episodes. **Ramp.** In Asterix, Seaquest and Space Invaders the game gets faster as it goes on, unless `ramping` is
//! off. **Observation.** 10×10 cells of 0 or 1, the channel last.
//!
//! **Differences** from the reference: observations are bytes instead of booleans, and the random stream is the
//! caller's. Golden tests drive the games with numpy's MT19937 words and find every observation, reward and ending
//! equal to the reference's.

pub mod asterix;
pub mod breakout;
mod environment;
pub mod freeway;
mod grid;
mod looks;
mod planning;
mod random;
mod rules;
pub mod seaquest;
mod settings;
pub mod space_invaders;

pub use environment::Minatar;
pub use grid::SIZE;
pub use looks::Look;
pub use rules::{Action, Rules};
pub use settings::{ActionSet, GameSettings, MinatarSettings};
