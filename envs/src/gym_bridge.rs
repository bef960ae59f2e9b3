//! The bridge to gym-rs, both ways: [`FromGym`] runs any of its environments here, [`ToGym`] is any of ours as its `Env`.

mod from_gym;
mod to_gym;

pub use from_gym::{CartPole, FromGym, GymGame, MountainCar};
pub use to_gym::{GymObs, ToGym};
