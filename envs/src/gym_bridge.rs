//! The bridge to gym-rs, both ways: [`FromGym`] runs any gym-rs environment here, [`ToGym`] is any environment of Carom
//! as gym-rs's `Env`. Part of the cargo feature `gym-rs`.

mod from_gym;
mod to_gym;

pub use from_gym::{CartPole, CartPoleSettings, FromGym, MountainCar, MountainCarSettings};
pub use to_gym::{GymObs, ToGym, UniformGymObs};
