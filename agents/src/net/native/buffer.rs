//! Memory that kernels work in, on cache lines.

use crate::net::lanes::{LANES, Lanes};
use bytemuck::{Pod, Zeroable};
use std::ops::{Deref, DerefMut};

/// A cache line of numbers: a load of sixteen lanes that straddles two takes twice as long.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line(Lanes);

// SAFETY: a line is sixteen floats without padding, and all of its bits may be 0.
unsafe impl Zeroable for Line {}
// SAFETY: any bits are floats.
unsafe impl Pod for Line {}

/// Numbers that begin on a cache line. It only grows, so that batches of changing sizes do not allocate.
#[derive(Default)]
pub(super) struct Buffer(Vec<Line>);

impl Buffer {
    /// The first `len` elements, of which new ones are 0.
    pub(super) fn first(&mut self, len: usize) -> &mut [f32] {
        let n_lines = len.div_ceil(LANES);
        if self.0.len() < n_lines {
            self.0.resize(n_lines, Line([0.0; LANES]));
        }
        &mut self[..len]
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}
