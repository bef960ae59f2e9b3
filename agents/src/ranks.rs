//! Processes that train one agent together. Each is a *rank*: it plays environments of its own and computes the
//! gradient of its shard of a batch. All ranks follow the sum of the gradients, so their parameters stay equal.

use std::fmt::Debug;
use std::sync::Arc;

/// The ranks of a training as one of them sees them.
pub type SharedRanks = Arc<dyn AllReduce>;

/// Sums over ranks.
pub trait AllReduce: Debug + Send + Sync {
    /// Number of ranks.
    fn n_ranks(&self) -> usize;

    /// Number of this rank, from 0.
    fn rank(&self) -> usize;

    /// Writes the sum of each of `values` over the ranks to `sums`. The bits are the same on each rank.
    ///
    /// Returns once all ranks have called it, each with as many values.
    fn sum(&self, values: &[f32], sums: &mut [f32]);
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod threads;
