//! Bellman methods in tables: one value per (state, action), learned from experience or planned on the transition
//! table.
//!
//! One algorithm, one file. [`TdConfig`] holds the settings that most of them share, [`QTable`] the values, and
//! [`exact`] computes a policy's expected return without playing it. All of them keep to these conventions:
//!
//! - A transition is written with time-indexed names, `q_tm1[a_tm1] → r_t, discount_t, q_t`. A terminated episode has
//!   `discount_t = 0`; a truncated one bootstraps from its last observation.
//! - With several environments each transition updates the one table at once, in the order of the environments.
//!   Schedules count environment steps, so `n_envs` transitions advance them by `n_envs`.
//! - Behaviour is ε-greedy and breaks ties at random. An untouched table then explores like a random walk instead of
//!   pushing against one wall. The greedy policy breaks ties by the lowest index, so that it draws no random number.
//!
//! A Q-table is an [`ndarray`] array, `[n_states, n_actions]`, and is handed out as a view. A single row is a slice: an
//! update reads two rows of a few numbers, and the array's own row views cost more than that arithmetic.

mod double_q;
mod dyna_q;
pub mod exact;
mod expected_sarsa;
mod policy_iteration;
mod progress;
mod q_lambda;
mod q_learning;
mod random;
mod sarsa;
mod steps;
mod table;
mod td;
#[cfg(test)]
mod tests;
mod value_iteration;

pub use double_q::{DoubleQ, double_q};
pub use dyna_q::{DynaQ, DynaQConfig};
pub use expected_sarsa::{ExpectedSarsa, expected_sarsa};
pub use policy_iteration::{PolicyIteration, PolicyIterationConfig};
pub use q_lambda::{QLambda, QLambdaConfig};
pub use q_learning::{QLearning, q_learning};
pub use random::Random;
pub use sarsa::{Sarsa, sarsa};
pub use table::{QTable, epsilon_greedy, expected_value, greedy_action};
pub use td::TdConfig;
pub use value_iteration::{ValueIteration, ValueIterationConfig};
