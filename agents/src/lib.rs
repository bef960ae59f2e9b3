//! Agents that estimate Q(s, a) by the Bellman equation: in tables and as deep Q-networks.
//!
//! An agent writes no logs and no files: it acts, learns, reports statistics and saves itself to a [`Snapshot`].
//! [`registry`] makes one from a name and settings.

mod agent;
#[cfg(test)]
mod clocks;
mod dqn;
mod encoder;
pub mod losses;
pub mod net;
pub mod optim;
mod pqn;
mod q_network;
mod ranks;
pub mod registry;
pub mod replay;
mod schedule;
pub mod settings;
mod snapshot;
pub mod tabular;
mod trunk;

pub use agent::{Agent, LearnError, Learner, NoBf16, Planner, Player, Stat, Task};
pub use dqn::{
    BootstrapSettings, DescentSettings, Dqn, DqnConfig, ExplorationSettings, HeadKind, HeadSettings, NetworkSettings,
    ReplaySettings,
};
pub use encoder::{Encoder, Raw};
pub use pqn::{Pqn, PqnConfig};
pub use q_network::{Fitted, Input, NonFinite, QNetwork, Update, Weights};
pub use ranks::{AllReduce, SharedRanks};
pub use schedule::Linear;
pub use settings::{AgentEntry, AgentError, AgentKind, AgentSpec};
pub use snapshot::{Loaded, Snapshot, SnapshotError};
pub use trunk::{SharedTrunk, Trunk};
// The crates whose types the agents' interfaces take and return.
pub use {ndarray, tch};

/// Compiles and runs the README's snippets.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
