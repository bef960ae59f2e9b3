//! An encoder that learns with the agent.

use std::fmt::Debug;
use tch::Tensor;

/// An encoder whose parameters are a part of the Q-network's: Q(s, ·) = head(features of each of the stack's frames).
///
/// It has no state of its own: features and loss are functions of a flat vector of parameters, which the network's optimiser
/// moves with the head's, at one learning rate. Both may be differentiated by that vector.
pub trait Trunk: Debug {
    /// The parameters that training starts from.
    fn params(&self) -> Vec<f32>;

    /// Features of one frame.
    fn n_features(&self) -> usize;

    /// Features `[B, n_features]` of single frames, `u8 [B, frame_bytes]`.
    fn features(&self, params: &Tensor, frames: &Tensor) -> Tensor;

    /// A loss of its own on single frames, `u8 [B, frame_bytes]`, and its weight beside the agent's loss; nothing where it
    /// follows that alone.
    fn loss(&self, params: &Tensor, frames: &Tensor) -> Option<(Tensor, f64)>;
}
