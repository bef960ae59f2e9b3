//! A batch in shards, one on each of several ranks.

use super::update::{Fitted, NonFinite};
use crate::ranks::SharedRanks;

/// The ranks that hold the shards of a batch.
pub(super) struct Shards {
    ranks: SharedRanks,
    /// The gradient of this rank's shard and what is known about its loss.
    own: Vec<f32>,
    sums: Vec<f32>,
}

/// Facts about a loss: its mean, the mean value, and the trunk's own loss, which may be missing.
const N_FACTS: usize = 3;

/// A sum over the shards.
pub(super) struct Summed<'a> {
    /// Sum of the shards' gradients.
    pub(super) grads: &'a [f32],
    /// Share of a shard in the batch, by which the sum of the gradients becomes their mean.
    pub(super) share: f32,
    pub(super) fitted: Fitted,
    pub(super) recon: Option<f64>,
}

impl Shards {
    pub(super) fn new(ranks: SharedRanks) -> Self {
        Self { ranks, own: vec![], sums: vec![] }
    }

    /// Sums the gradient and the facts of a shard over the ranks; one sum carries them all. `append` adds the gradient
    /// to its argument and returns the trunk's own loss.
    ///
    /// # Errors
    /// When the loss of any shard is not finite. All ranks have the same error then.
    pub(super) fn sum(
        &mut self,
        append: impl FnOnce(&mut Vec<f32>) -> Option<f64>,
        fitted: Fitted,
    ) -> Result<Summed<'_>, NonFinite> {
        self.own.clear();
        let recon = append(&mut self.own);
        let n_params = self.own.len();
        self.own.extend([fitted.loss, fitted.value, recon.unwrap_or(0.0)].map(|fact| fact as f32));
        self.sums.resize(n_params + N_FACTS, 0.0);
        self.ranks.sum(&self.own, &mut self.sums);
        let n_ranks = self.ranks.n_ranks() as f64;
        let (grads, facts) = self.sums.split_at(n_params);
        let fact = |i: usize| f64::from(facts[i]) / n_ranks;
        let fitted = Fitted { loss: NonFinite::check("train/loss", fact(0))?, value: fact(1) };
        let recon = recon.map(|_| NonFinite::check("train/recon", fact(2))).transpose()?;
        Ok(Summed { grads, share: (1.0 / n_ranks) as f32, fitted, recon })
    }
}
