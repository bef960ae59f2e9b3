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

/// Numbers that begin on a cache line. A buffer only grows, so that batches of changing sizes do not allocate.
#[derive(Default)]
pub(super) struct Buffer(Vec<Line>);

impl Buffer {
    /// Without memory yet.
    pub(super) const NEW: Self = Self(vec![]);

    /// The first `len` elements. All are 0 when the buffer had fewer.
    pub(super) fn first(&mut self, len: usize) -> &mut [f32] {
        let n_lines = len.div_ceil(LANES);
        if self.0.len() < n_lines {
            self.0 = Vec::with_capacity(n_lines);
            ask_for_large_pages(&mut self.0);
            self.0.resize(n_lines, Line([0.0; LANES]));
        }
        &mut self[..len]
    }
}

/// Asks the system for large pages under fresh memory. Values that a kernel reads or writes in turns lie on more pages
/// of the usual size than a core has at hand.
fn ask_for_large_pages(lines: &mut Vec<Line>) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let end = lines.as_mut_ptr().wrapping_add(lines.capacity()) as usize;
        let start = (lines.as_mut_ptr() as usize).next_multiple_of(PAGE);
        if let Some(len) = end.checked_sub(start).map(|len| len / PAGE * PAGE).filter(|len| *len > 0) {
            // SAFETY: the range lies within the allocation, and the advice changes no byte of it. Without large pages
            // the call fails, which changes nothing.
            unsafe { libc::madvise(start as *mut libc::c_void, len, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = lines;
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
