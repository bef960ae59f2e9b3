//! An encoder that learns with the agent.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tch::Tensor;

/// A trunk that several threads may hold. Tensors cannot be read by two threads at once, so a trunk that owns some is
/// put into a [`Mutex`].
pub type SharedTrunk = Arc<dyn Trunk + Sync>;

/// An encoder whose parameters are part of the Q-network's: Q(s, ·) = head(features of each frame of the stack).
///
/// It has no state of its own. Features and loss are functions of a flat vector of parameters, which the network's
/// optimiser updates together with the head's, at one learning rate. Both must be differentiable with respect to that
/// vector.
pub trait Trunk: Debug + Send {
    /// The parameters that training starts from.
    fn params(&self) -> Vec<f32>;

    /// Number of features of one frame.
    fn n_features(&self) -> usize;

    /// Features `[B, n_features]` of single frames, `u8 [B, frame_bytes]`.
    fn features(&self, params: &Tensor, frames: &Tensor) -> Tensor;

    /// The encoder's own loss on single frames, `u8 [B, frame_bytes]`, and its weight beside the agent's loss. `None`
    /// if the encoder follows the agent's loss alone.
    fn loss(&self, params: &Tensor, frames: &Tensor) -> Option<(Tensor, f64)>;
}

impl<T: Trunk> Trunk for Mutex<T> {
    fn params(&self) -> Vec<f32> {
        lock(self).params()
    }

    fn n_features(&self) -> usize {
        lock(self).n_features()
    }

    fn features(&self, params: &Tensor, frames: &Tensor) -> Tensor {
        lock(self).features(params, frames)
    }

    fn loss(&self, params: &Tensor, frames: &Tensor) -> Option<(Tensor, f64)> {
        lock(self).loss(params, frames)
    }
}

fn lock<T>(trunk: &Mutex<T>) -> MutexGuard<'_, T> {
    // A trunk has no state that a panic could have left half changed.
    trunk.lock().unwrap_or_else(PoisonError::into_inner)
}
