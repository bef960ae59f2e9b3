//! Engines: forward and backward passes derived by hand, for the lists of operations where they are several times
//! faster than autograd. Each says which lists it covers, and gives `None` for any other; autograd serves all of them,
//! and is the test of each.
//!
//! - [`q`]: small Q-networks, of sparse binary planes, vectors and states, around torch's matrix products, or sums over
//!   the features of planes that are not 0;
//! - [`pixels`]: the network of Mnih et al. 2015, from the bytes of a stack of frames, in plain Rust;
//! - [`dense`]: dense layers and rectifiers, of torch's products without autograd's graph;
//! - [`convolutions`]: 3×3 convolutions with rectifiers, maxima and upsampling, in plain Rust.

mod buffer;
pub(super) mod convolutions;
mod copies;
pub(super) mod dense;
mod embed;
mod gemm;
mod isa;
pub(super) mod pixels;
mod planes;
mod planes_kernels;
pub(super) mod q;
mod q_kernels;
mod rounded;
mod rows;
mod simd;
mod sparse;
mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;
