//! Environments by id.

use crate::breakout::Breakout;
use crate::cartpole::CartPole;
use crate::game::{EnvEntry, EnvError, EnvSpec};
#[cfg(feature = "gym-rs")]
use crate::gym_bridge;
use crate::minatar::{
    Minatar, asterix::Asterix, breakout::Breakout as MinatarBreakout, freeway::Freeway, seaquest::Seaquest,
    space_invaders::SpaceInvaders,
};
use crate::settings::Values;
use crate::toy_text::{cliff_walking::CliffWalking, frozen_lake::FrozenLake, gridworld::Gridworld, taxi::Taxi};
use std::sync::{PoisonError, RwLock};

/// The environments of this crate, in the order of `carom list envs`.
pub const ENVS: &[EnvEntry] = &[
    EnvEntry::of::<Breakout>(
        "breakout",
        "Atari's Breakout in 84x84 gray pixels, frame-exact with the Atari 2600 game in ALE",
    ),
    EnvEntry::of::<Minatar<MinatarBreakout>>("minatar/breakout", "Breakout on a 10x10 grid, step-exact with MinAtar"),
    EnvEntry::of::<Minatar<Asterix>>("minatar/asterix", "fetch treasure, evade enemies; step-exact with MinAtar"),
    EnvEntry::of::<Minatar<Freeway>>("minatar/freeway", "cross eight lanes of traffic; step-exact with MinAtar"),
    EnvEntry::of::<Minatar<Seaquest>>(
        "minatar/seaquest",
        "shoot fish and submarines, save divers, come up for air; step-exact with MinAtar",
    ),
    EnvEntry::of::<Minatar<SpaceInvaders>>(
        "minatar/space-invaders",
        "shoot a block of aliens; step-exact with MinAtar",
    ),
    EnvEntry::of::<CartPole>("cartpole", "balance a pole on a cart; Gymnasium's CartPole-v1"),
    EnvEntry::of::<FrozenLake>("frozen-lake", "cross slippery ice between holes; Gymnasium's FrozenLake-v1"),
    EnvEntry::of::<CliffWalking>("cliff-walking", "walk along a cliff; Gymnasium's CliffWalking-v1"),
    EnvEntry::of::<Taxi>("taxi", "fetch a passenger and set them down; Gymnasium's Taxi-v3"),
    EnvEntry::of::<Gridworld>("gridworld", "the 4x4 grid of Sutton & Barto, Example 4.1"),
    #[cfg(feature = "gym-rs")]
    EnvEntry::of::<gym_bridge::CartPole>(
        "gym-rs/cartpole",
        "gym-rs's CartPole: heavier than CartPole-v1, and begins at angles within 0.5 where 0.21 is a fall",
    ),
    #[cfg(feature = "gym-rs")]
    EnvEntry::of::<gym_bridge::MountainCar>("gym-rs/mountain-car", "rock a car out of a valley; gym-rs's mountain car"),
];

static REGISTERED: RwLock<Vec<EnvEntry>> = RwLock::new(Vec::new());

/// Adds an environment of another crate, for the rest of the process.
///
/// # Errors
/// When the id is in use.
pub fn register(entry: EnvEntry) -> Result<(), EnvError> {
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    if ENVS.iter().chain(&*registered).any(|known| known.id == entry.id) {
        return Err(EnvError::IdTaken(entry.id));
    }
    registered.push(entry);
    Ok(())
}

/// All environments: those of this crate, then those added with [`register`].
pub fn all() -> Vec<EnvEntry> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    ENVS.iter().chain(&*registered).copied().collect()
}

/// The entry of environment `id`.
///
/// # Errors
/// When there is none.
pub fn find(id: &str) -> Result<EnvEntry, EnvError> {
    let all = all();
    let found = all.iter().find(|entry| entry.id == id).copied();
    found.ok_or_else(|| EnvError::UnknownId { id: id.to_owned(), known: all.iter().map(|entry| entry.id).collect() })
}

/// Resolves environment `id` with the settings in `given`, and defaults for the rest.
///
/// # Errors
/// When there is no such environment, or a setting does not exist or has a wrong value.
pub fn resolve(id: &str, given: &Values) -> Result<EnvSpec, EnvError> {
    find(id)?.resolve(given)
}
