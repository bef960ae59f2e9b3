//! Adam, RMSProp, RAdam and Adadelta over a flat parameter vector.
//!
//! Written here because torch's Rust binding has no fused step and cannot save its optimisers' state, which exact
//! resume needs. One pass over the vector on the CPU; the same formulas in tensor operations for accelerators. Both
//! agree with PyTorch's numbers.

mod cpu;
mod norm;
mod rule;
mod tensor;

pub use cpu::Optimizer;
pub(crate) use cpu::Part;
pub use norm::{clip_factor, sum_of_squares};
pub use rule::{OptimConfig, Rule};
pub use tensor::TensorOptimizer;

#[cfg(test)]
mod tests;
