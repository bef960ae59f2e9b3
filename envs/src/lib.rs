//! Exact, fast reinforcement-learning environments.
//!
//! One object-safe trait, [`Env`]: a game that knows its own rules and nothing of time limits, automatic resets or frame
//! stacks. [`VecEnv`] owns many of them and adds those. [`registry`] makes either from an id and settings.
//!
//! Adding an environment touches one file, one line of the registry and one golden test.

extern crate self as carom_envs; // so that what `settings!` writes holds here too

pub mod breakout;
pub mod cartpole;
mod env;
mod frames;
pub mod gym_bridge;
pub mod minatar;
pub mod model;
pub mod picture;
pub mod registry;
mod seeds;
pub mod settings;
pub mod toy_text;
mod vec_env;
mod view;

pub use env::{Env, ObsSpace, RestoreError, Step};
pub use model::TransitionModel;
pub use picture::Picture;
pub use registry::{EnvError, Settings, nearest};
pub use seeds::Seeds;
pub use serde;
pub use vec_env::{Episode, Transition, VecEnv};
pub use view::{FactorsEnv, StackEnv, View};
