//! The head of a deep Q-network: how its outputs become values, targets, losses and priorities.

use super::policy::Next;
use crate::q_network::Fitted;
use crate::snapshot::{Loaded, Snapshot, SnapshotError};

/// How a network's outputs become values, targets, losses and priorities.
pub(crate) trait Head: Send {
    /// Outputs of the network for each action.
    fn atoms(&self) -> usize {
        1
    }

    /// Number of quantile fractions if these are inputs of the network.
    fn n_taus(&self) -> Option<usize> {
        None
    }

    /// Draws the quantile fractions of an update.
    fn draw(&mut self) {}

    /// Fractions of the loss, `[B, K]`, or none.
    fn taus(&self) -> &[f32] {
        &[]
    }

    /// Fractions of the target, `[B, K]`, or none.
    fn taus_t(&self) -> &[f32] {
        &[]
    }

    /// Writes the values `[B, n_actions]` of `outputs`.
    fn values(&self, outputs: &[f32], values: &mut Vec<f32>);

    /// Writes the targets of a batch, given the outputs of the next observations.
    fn targets(&self, outputs_t: &[f32], next: &Next, targets: &mut Vec<f32>);

    /// Returns the mean of the batch's weighted losses. Its gradient overwrites `d_outputs`, and `priorities` becomes
    /// how far each transition was from its target.
    fn loss(&self, outputs: &[f32], taken: &Taken, d_outputs: &mut [f32], priorities: &mut Vec<f32>) -> Fitted;

    /// State that resuming needs.
    fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
    }

    /// Restores the state that [`Head::save`] wrote.
    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        let _ = from;
        Ok(())
    }
}

/// Actions of a batch with the targets and the weights of their losses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken<'a> {
    pub(crate) actions: &'a [u8],
    /// As [`Head::targets`] writes them.
    pub(crate) targets: &'a [f32],
    pub(crate) weights: &'a [f32],
}

impl Taken<'_> {
    /// Number of transitions.
    pub(crate) fn batch(&self) -> usize {
        self.actions.len()
    }

    /// Each transition's action and its share of the mean loss: its weight over the size of the batch.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (usize, f32)> {
        let batch = self.batch() as f32;
        self.actions.iter().zip(self.weights).map(move |(action, weight)| (usize::from(*action), weight / batch))
    }
}
