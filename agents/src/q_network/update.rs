//! Terms that a Q-network and its engines share.

use crate::agent::LearnError;
use crate::losses::Loss;

/// Which parameters a forward pass uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those being trained.
    Online,
    /// The copy made by the latest `sync_target`.
    Target,
    /// The exponential average of those being trained, if the network keeps one.
    Average,
}

impl Weights {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 3] = [Weights::Online, Weights::Target, Weights::Average];

    /// Name of their array in a checkpoint.
    pub(super) fn name(self) -> &'static str {
        match self {
            Weights::Online => "online",
            Weights::Target => "target",
            Weights::Average => "average",
        }
    }
}

/// Message of the panic where the average is asked for and there is none.
pub(super) const AVERAGE_KEPT: &str = "the network keeps an average";

/// How a Q-network's `fit` makes an update.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Penalty of the TD error.
    pub loss: Loss,
    /// Learning rate.
    pub lr: f64,
    /// Longest gradient, by its Euclidean norm; 0 for no limit.
    pub max_grad_norm: f64,
}

impl Update {
    pub(super) fn max_norm(&self) -> f32 {
        if self.max_grad_norm > 0.0 { self.max_grad_norm as f32 } else { f32::INFINITY }
    }
}

/// A loss that is not finite.
#[derive(Clone, Copy, Debug)]
pub struct NonFinite {
    /// Its name in `metrics.csv`.
    pub what: &'static str,
    /// Its value.
    pub value: f64,
}

impl NonFinite {
    /// The error of an agent that saw it at environment step `step`.
    pub fn at(self, step: u64) -> LearnError {
        LearnError::NonFinite { what: self.what, value: self.value, step }
    }

    /// Returns `value`, called `what`, if it is finite.
    pub(super) fn check(what: &'static str, value: f64) -> Result<f64, Self> {
        if value.is_finite() { Ok(value) } else { Err(Self { what, value }) }
    }
}

/// Facts about a step down the gradient.
pub(super) struct Descended {
    /// Length of the gradient before it was clipped.
    pub(super) grad_norm: f32,
    /// The trunk's own loss, without its weight, where it has one.
    pub(super) recon: Option<f64>,
}
