//! Exact, fast reinforcement-learning environments.
//!
//! [`Env`] is the trait of all environments: a game with its rules, but without time limits, automatic resets or
//! stacked frames. [`VecEnv`] steps many of them and adds these; [`BatchEnv`] does so in memory of the caller's. A
//! [`Game`] is an environment with settings; [`registry`] finds one by its id and returns an [`EnvSpec`], which makes
//! environments.
//!
//! A new environment needs one file, one line of the registry and one golden test.

// `settings!` expands to code that names this crate, inside the crate too.
extern crate self as carom_envs;

mod batch_env;
pub mod breakout;
mod bricks;
pub mod cartpole;
mod env;
mod frames;
pub mod game;
#[cfg(feature = "gym-rs")]
pub mod gym_bridge;
pub mod minatar;
pub mod model;
pub mod picture;
pub mod registry;
mod seeds;
pub mod settings;
mod slot;
mod space;
pub mod toy_text;
mod vec_env;
mod view;

pub use batch_env::{Autoreset, BatchEnv};
pub use env::{Env, RestoreError, Step};
pub use game::{EnvEntry, EnvError, EnvSpec, EvaluationRules, Game};
pub use model::TransitionModel;
pub use picture::Picture;
pub use seeds::Seeds;
pub use settings::Values;
pub use slot::{Episode, Transition};
pub use space::{ImageSpace, ObsArray, ObsSpace};
pub use vec_env::VecEnv;
pub use view::{FactorsEnv, StackEnv, View};

// Public signatures use types of these crates.
pub use {ndarray, rand, rand_pcg, serde, serde_json};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
