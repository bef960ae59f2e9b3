//! The first convolution: 8×8 with stride 4, from bytes to 20×20 cells of 32 filters.
//!
//! Most of its inputs are 0, or would be after a subtraction. A convolution is linear, so older frames of a stack enter
//! as their difference to the newest frame, an exact integer, and the newest frame with the sum of all frames' weights.
//! A cell meets a row of a frame in a segment of eight pixels; segments that are all 0 are skipped. In Breakout 44 % of
//! the newest frame's segments are left, and 2 % of the older frames'.
//!
//! The eight pixels' weights of 32 filters stay in registers while a filter row goes over a strip of cells.

use crate::net::lanes::{LANES, Lanes};
use crate::net::native::simd::Simd;

/// Rows and columns of a frame.
pub(super) const SIDE: usize = 84;
/// Rows and columns of the output.
pub(super) const CELLS: usize = 20;
/// Channels of the output.
pub(super) const FILTERS: usize = 32;
/// Rows and columns of a filter.
const KERNEL: usize = 8;
const STRIDE: usize = 4;
/// Groups of lanes of a cell.
const GROUPS: usize = FILTERS / LANES;
/// Rows of cells in a strip, which stays in the nearest cache with a frame's rows.
const STRIP: usize = 5;
/// Weights of one frame.
const FRAME_WEIGHTS: usize = KERNEL * KERNEL * FILTERS;
/// A row of pixels as numbers, with room for whole lanes.
const ROW: usize = 96;

/// A frame, or its difference to the newest one.
pub(super) struct Rows {
    pixels: Box<[[f32; ROW]; SIDE]>,
    /// Segments of each row that are not all 0, a bit for each column of cells.
    segments: [u32; SIDE],
}

impl Default for Rows {
    fn default() -> Self {
        let rows = vec![[0.0; ROW]; SIDE].into_boxed_slice();
        Self { pixels: rows.try_into().expect("as many rows as a frame has"), segments: [0; SIDE] }
    }
}

impl Rows {
    /// Reads a frame.
    #[inline(always)]
    fn read<S: Simd>(&mut self, s: S, Frame { bytes, newest, ahead }: Frame) {
        for (y, row) in self.pixels.iter_mut().enumerate() {
            if let [first, .., last] = ahead.get(y * SIDE..(y + 1) * SIDE).unwrap_or_default() {
                s.prefetch(first);
                s.prefetch(last);
            }
            let bytes: &[u8; SIDE] = bytes[y * SIDE..][..SIDE].try_into().expect("a row");
            let minus = newest.map(|newest| -> &[u8; SIDE] { newest[y * SIDE..][..SIDE].try_into().expect("a row") });
            // A cell's segment is two neighbouring groups of four pixels.
            let groups = groups_apart(s, bytes, minus.unwrap_or(&[0; SIDE]));
            self.segments[y] = (groups | groups >> 1) & ((1 << CELLS) - 1);
            if groups == 0 {
                continue;
            }
            // The last chunk overlaps the one before.
            for at in [0, 16, 32, 48, 64, SIDE - LANES] {
                let mut pixels = s.of_bytes(chunk(bytes, at));
                if let Some(minus) = minus {
                    pixels = s.sub(pixels, s.of_bytes(chunk(minus, at)));
                }
                s.store(pixels, (&mut row[at..at + LANES]).try_into().expect("whole lanes"));
            }
        }
    }

    /// The pixels of row `y` below the cell of column `x`.
    #[inline(always)]
    fn segment(&self, y: usize, x: usize) -> &[f32; KERNEL] {
        let row = &self.pixels[y];
        row[STRIDE * x..][..KERNEL].try_into().expect("a segment")
    }
}

#[inline(always)]
fn chunk(bytes: &[u8; SIDE], at: usize) -> &[u8; LANES] {
    bytes[at..at + LANES].try_into().expect("whole lanes")
}

/// A bit for each group of four bytes in which two rows differ.
#[inline(always)]
fn groups_apart<S: Simd>(s: S, a: &[u8; SIDE], b: &[u8; SIDE]) -> u32 {
    let first = s.quads_apart(a.first_chunk().expect("64 bytes"), b.first_chunk().expect("64 bytes"));
    let last = s.quads_apart(a.last_chunk().expect("64 bytes"), b.last_chunk().expect("64 bytes"));
    first | last << (SIDE / 4 - 16)
}

/// `[frames, 8, 8, 32]` in place of the network's `[8, 8, frames, 32]`; the newest frame has the sum of all frames'.
pub(super) fn pack(weight: &[f32], packed: &mut [f32]) {
    let n_frames = weight.len() / FRAME_WEIGHTS;
    for (frame, packed) in packed.chunks_exact_mut(FRAME_WEIGHTS).enumerate() {
        for (tap, packed) in packed.chunks_exact_mut(FILTERS).enumerate() {
            let of = |frame: usize| &weight[(tap * n_frames + frame) * FILTERS..][..FILTERS];
            packed.copy_from_slice(of(frame));
            if frame + 1 == n_frames {
                for older in 0..frame {
                    packed.iter_mut().zip(of(older)).for_each(|(sum, weight)| *sum += weight);
                }
            }
        }
    }
}

/// Undoes [`pack`] for gradients: an older frame's is that of its difference plus that of the newest frame.
pub(super) fn unpack(packed: &[f32], scale: f32, d_weight: &mut [f32]) {
    let n_frames = packed.len() / FRAME_WEIGHTS;
    let newest = &packed[(n_frames - 1) * FRAME_WEIGHTS..];
    for (frame, packed) in packed.chunks_exact(FRAME_WEIGHTS).enumerate() {
        let is_newest = frame + 1 == n_frames;
        for (tap, (packed, newest)) in packed.chunks_exact(FILTERS).zip(newest.chunks_exact(FILTERS)).enumerate() {
            let d_weight = &mut d_weight[(tap * n_frames + frame) * FILTERS..][..FILTERS];
            for ((d_weight, packed), newest) in d_weight.iter_mut().zip(packed).zip(newest) {
                *d_weight = scale * if is_newest { *packed } else { packed + newest };
            }
        }
    }
}

/// A frame of an observation as it enters.
struct Frame<'a> {
    bytes: &'a [u8],
    /// The newest frame, which is subtracted from older ones.
    newest: Option<&'a [u8]>,
    /// The same frame of the next observation, fetched meanwhile.
    ahead: &'a [u8],
}

/// Frames of the first observation of `obs`, which has `obs_bytes`.
#[inline(always)]
fn frames(obs: &[u8], obs_bytes: usize) -> impl Iterator<Item = Frame<'_>> {
    let newest = &obs[obs_bytes - SIDE * SIDE..obs_bytes];
    obs[..obs_bytes].chunks_exact(SIDE * SIDE).enumerate().map(move |(i, bytes)| {
        let is_newest = (i + 1) * SIDE * SIDE == obs_bytes;
        let ahead = obs.get(obs_bytes + i * SIDE * SIDE..).unwrap_or_default();
        Frame { bytes, newest: (!is_newest).then_some(newest), ahead }
    })
}

/// `z[cell, filter] = Σ weight · byte`, `[20, 20, 32]`, of the first of `obs`, which have `obs_bytes` each.
#[inline(always)]
pub(super) fn forward<S: Simd>(s: S, obs: &[u8], obs_bytes: usize, packed: &[f32], rows: &mut Rows, z: &mut [f32]) {
    z.fill(0.0);
    for (frame, weight) in frames(obs, obs_bytes).zip(packed.chunks_exact(FRAME_WEIGHTS)) {
        rows.read(s, frame);
        for (strip, z) in z.chunks_exact_mut(STRIP * CELLS * FILTERS).enumerate() {
            for (kernel_row, weight) in weight.chunks_exact(KERNEL * FILTERS).enumerate() {
                filter_row(s, rows, STRIDE * STRIP * strip + kernel_row, weight, z);
            }
        }
    }
}

/// Takes the first cell out of a set of cells, a bit each, which must not be empty.
#[inline(always)]
fn take_first(segments: &mut u32) -> usize {
    let x = segments.trailing_zeros() as usize;
    *segments &= *segments - 1;
    // Below 20 for the compiler too, so that no bounds need to be checked.
    x.min(CELLS - 1)
}

/// Adds one row of the filters to a strip of cells whose first meets row `top` of the frame.
#[inline(always)]
fn filter_row<S: Simd>(s: S, rows: &Rows, top: usize, weight: &[f32], z: &mut [f32]) {
    let (weights, _) = weight.as_chunks::<LANES>();
    let mut w = [[s.zero(); GROUPS]; KERNEL];
    for (j, w) in w.iter_mut().enumerate() {
        *w = [s.load(&weights[GROUPS * j]), s.load(&weights[GROUPS * j + 1])];
    }
    let (cells, _) = z.as_chunks_mut::<LANES>();
    for (i, cells) in cells.chunks_exact_mut(GROUPS * CELLS).enumerate() {
        let y = top + STRIDE * i;
        let mut segments = rows.segments[y];
        while segments != 0 {
            let x = take_first(&mut segments);
            let pixels = rows.segment(y, x);
            let (mut first, mut second) = (s.load(&cells[GROUPS * x]), s.load(&cells[GROUPS * x + 1]));
            for j in 0..KERNEL {
                let pixel = s.splat(pixels[j]);
                first = s.mul_add(pixel, w[j][0], first);
                second = s.mul_add(pixel, w[j][1], second);
            }
            s.store(first, &mut cells[GROUPS * x]);
            s.store(second, &mut cells[GROUPS * x + 1]);
        }
    }
}

/// Adds the gradient of the packed weights, given that of the output of the first of `obs`.
#[inline(always)]
pub(super) fn backward<S: Simd>(
    s: S,
    obs: &[u8],
    obs_bytes: usize,
    d_z: &[f32],
    rows: &mut Rows,
    d_packed: &mut [f32],
) {
    let (cells, _) = d_z.as_chunks::<LANES>();
    for (frame, d_packed) in frames(obs, obs_bytes).zip(d_packed.chunks_exact_mut(FRAME_WEIGHTS)) {
        rows.read(s, frame);
        for (kernel_row, d_weight) in d_packed.chunks_exact_mut(KERNEL * FILTERS).enumerate() {
            filter_row_backward(s, rows, kernel_row, cells, d_weight);
        }
    }
}

#[inline(always)]
fn filter_row_backward<S: Simd>(s: S, rows: &Rows, top: usize, cells: &[Lanes], d_weight: &mut [f32]) {
    let (d_weights, _) = d_weight.as_chunks_mut::<LANES>();
    let mut sums = [[s.zero(); GROUPS]; KERNEL];
    for (j, sums) in sums.iter_mut().enumerate() {
        *sums = [s.load(&d_weights[GROUPS * j]), s.load(&d_weights[GROUPS * j + 1])];
    }
    for (i, cells) in cells.chunks_exact(GROUPS * CELLS).enumerate() {
        let y = top + STRIDE * i;
        let mut segments = rows.segments[y];
        while segments != 0 {
            let x = take_first(&mut segments);
            let pixels = rows.segment(y, x);
            let (first, second) = (s.load(&cells[GROUPS * x]), s.load(&cells[GROUPS * x + 1]));
            for j in 0..KERNEL {
                let pixel = s.splat(pixels[j]);
                sums[j][0] = s.mul_add(pixel, first, sums[j][0]);
                sums[j][1] = s.mul_add(pixel, second, sums[j][1]);
            }
        }
    }
    for (j, sums) in sums.iter().enumerate() {
        s.store(sums[0], &mut d_weights[GROUPS * j]);
        s.store(sums[1], &mut d_weights[GROUPS * j + 1]);
    }
}
