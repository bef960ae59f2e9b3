//! Terms that a Q-network and its engines share.

use crate::agent::LearnError;
use crate::losses::Loss;

/// The parameters of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those being trained; with the noise drawn last, if they are noisy.
    Online,
    /// The copy that follows them by `step_target`; with noise of its own.
    Target,
    /// The exponential average of those being trained, if the network keeps one; without noise.
    Average,
    /// Those being trained, without noise.
    Mean,
}

/// Input of a network.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Observations, `[B * obs_bytes]`.
    pub obs: &'a [u8],
    /// Quantile fractions, `[B, K]`, of a network that has them as inputs. Where there are none, the fractions are the
    /// midpoints of equal parts of 0..1.
    pub taus: &'a [f32],
}

impl<'a> From<&'a [u8]> for Input<'a> {
    fn from(obs: &'a [u8]) -> Self {
        Self { obs, taus: &[] }
    }
}

impl Weights {
    /// Those that are saved.
    pub(super) const SAVED: [Self; 3] = [Weights::Online, Weights::Target, Weights::Average];

    /// Name of their array in a checkpoint.
    pub(super) fn name(self) -> &'static str {
        match self {
            Weights::Online | Weights::Mean => "online",
            Weights::Target => "target",
            Weights::Average => "average",
        }
    }
}

/// Message of the panic where the average is asked for and there is none.
pub(super) const AVERAGE_KEPT: &str = "the network keeps an average";

/// Facts about the loss of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Fitted {
    /// Mean loss.
    pub loss: f64,
    /// Mean value of the actions taken.
    pub value: f64,
}

/// How a Q-network makes an update.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Penalty of the TD error, where the network fits values.
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

/// A loss, or the norm of a gradient, that is not finite.
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

    /// Returns the norm of a gradient if it is finite.
    pub(super) fn check_norm(grad_norm: f32) -> Result<f32, Self> {
        Self::check("train/grad_norm", grad_norm.into()).map(|_| grad_norm)
    }
}

/// The gradient of a loss by the outputs of the latest forward pass.
pub(super) struct Gradient<'a> {
    /// Observations of that pass.
    pub(super) obs: &'a [u8],
    pub(super) d_outputs: &'a [f32],
    pub(super) fitted: Fitted,
}

/// Facts about a step down the gradient.
pub(super) struct Descended {
    /// Length of the gradient before it was clipped.
    pub(super) grad_norm: f32,
    /// The trunk's own loss, without its weight, where it has one.
    pub(super) recon: Option<f64>,
}
