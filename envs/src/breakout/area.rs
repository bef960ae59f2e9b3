//! Area interpolation from 210×160 to 84×84, bit for bit OpenCV's `INTER_AREA`.
//!
//! A pixel of the observation covers 2.5 rows and 40/21 columns of the screen. In units of a half row and of a 21st of
//! a column, every overlap is a whole number. So the sum over a pixel is exact, and 200 times the mean. OpenCV's
//! single-precision mean rounds to the same byte unless the exact mean ends in a half; there its order of operations
//! has to be repeated.

use super::field::{HEIGHT, WIDTH};
use std::ops::Range;
use std::sync::LazyLock;

/// Rows and columns of an observation.
pub(super) const SIDE: usize = 84;

/// Units of a screen row and of an observation's row.
pub(super) const ROW_UNITS: (i32, i32) = (2, 5);
/// Units of a screen column and of an observation's column.
pub(super) const COLUMN_UNITS: (i32, i32) = (21, 40);
/// Units of a whole pixel of the observation.
const AREA: u32 = (ROW_UNITS.1 * COLUMN_UNITS.1) as u32;

/// The observation's rows (or columns) that the screen's rows (or columns) `span` overlap.
#[inline]
pub(super) fn touched(span: &Range<i32>, (from, to): (i32, i32)) -> Range<usize> {
    let first = span.start * from / to;
    let last = (span.end * from - 1) / to;
    first as usize..last as usize + 1
}

/// Number of units of row (or column) `index` of the observation that the screen's rows (or columns) `span` cover.
#[inline]
pub(super) fn overlap(span: &Range<i32>, index: usize, (from, to): (i32, i32)) -> i32 {
    let start = to * index as i32;
    ((span.end * from).min(start + to) - (span.start * from).max(start)).max(0)
}

/// Returns the byte of an exact sum, or `None` if the mean is half way between two bytes.
#[inline]
pub(super) fn round(sum: u32) -> Option<u8> {
    (sum % AREA != AREA / 2).then_some(((sum + AREA / 2) / AREA) as u8)
}

/// One row (or column) of the observation in OpenCV: up to three rows (or columns) of the screen, with their weights.
type Taps = [(i32, f32); 3];

static ROW_TAPS: LazyLock<[Taps; SIDE]> = LazyLock::new(|| taps(HEIGHT));
static COLUMN_TAPS: LazyLock<[Taps; SIDE]> = LazyLock::new(|| taps(WIDTH));

/// OpenCV's table for shrinking `len` pixels to [`SIDE`], filled up to three with weights of 0.
fn taps(len: usize) -> [Taps; SIDE] {
    let scale = 1.0 / (SIDE as f64 / len as f64);
    std::array::from_fn(|index| {
        let from = index as f64 * scale;
        let to = from + scale;
        let width = scale.min(len as f64 - from);
        let last = (to.floor() as i32).min(len as i32 - 1);
        let first = (from.ceil() as i32).min(last);
        let mut taps = Vec::with_capacity(3);
        if f64::from(first) - from > 1e-3 {
            taps.push((first - 1, ((f64::from(first) - from) / width) as f32));
        }
        taps.extend((first..last).map(|at| (at, (1.0 / width) as f32)));
        if to - f64::from(last) > 1e-3 {
            taps.push((last, ((to - f64::from(last)).min(1.0).min(width) / width) as f32));
        }
        taps.resize(3, (first, 0.0));
        taps.try_into().expect("a pixel of the observation covers at most three rows or columns")
    })
}

/// Returns a pixel of the observation, computed in OpenCV's order of single-precision operations. `gray(row, column)`
/// is the screen.
pub(super) fn pixel(row: usize, column: usize, gray: impl Fn(i32, i32) -> u8) -> u8 {
    let weighted = |(source_row, weight): (i32, f32)| {
        let along = |(source_column, weight)| f32::from(gray(source_row, source_column)) * weight;
        let [a, b, c] = COLUMN_TAPS[column];
        weight * (along(a) + along(b) + along(c))
    };
    let [a, b, c] = ROW_TAPS[row];
    (weighted(a) + weighted(b) + weighted(c)).round_ties_even() as u8
}
