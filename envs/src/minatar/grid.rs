//! Cells of the board and sets of them.

use serde::{Deserialize, Serialize};
use std::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Not, RangeInclusive};

/// Rows and columns of the board. Row 0 is the top.
pub const SIZE: i8 = 10;

/// The last row, and the last column.
pub(super) const LAST: i8 = SIZE - 1;

/// Cells in half a row.
pub(super) const HALF_ROW: usize = 5;

const N_CELLS: u32 = 100;
const ROW: u128 = (1 << SIZE) - 1;
/// The first cell of each row.
const FIRST_COLUMN: u128 = {
    let (mut column, mut row) = (0, 0);
    while row < SIZE {
        column |= 1 << (SIZE * row);
        row += 1;
    }
    column
};

/// A set of cells. Moving it one cell drops the cells that leave the board.
///
/// The cell in row `y` and column `x` is bit `10 * y + x`. It is saved as ten rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "[u16; 10]", try_from = "[u16; 10]")]
pub(super) struct Plane(u128);

impl Plane {
    pub(super) const EMPTY: Self = Self(0);
    pub(super) const ALL: Self = Self((1 << N_CELLS) - 1);

    /// The cell in column `x` and row `y`.
    #[inline]
    pub(super) const fn cell(x: i8, y: i8) -> Self {
        Self(1 << (SIZE * y + x))
    }

    #[inline]
    pub(super) const fn row(y: i8) -> Self {
        Self(ROW << (SIZE * y))
    }

    #[inline]
    pub(super) const fn column(x: i8) -> Self {
        Self(FIRST_COLUMN << x)
    }

    /// The cells in rows `from..=to` and columns `left..=right`.
    pub(super) const fn block([left, right]: [i8; 2], [from, to]: [i8; 2]) -> Self {
        let (mut cells, mut y) = (0, from);
        while y <= to {
            let mut x = left;
            while x <= right {
                cells |= Self::cell(x, y).0;
                x += 1;
            }
            y += 1;
        }
        Self(cells)
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it has a cell of `other`.
    #[inline]
    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all its cells are in `other`.
    #[inline]
    pub(super) fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    #[inline]
    pub(super) fn len(self) -> u32 {
        self.0.count_ones()
    }

    #[inline]
    pub(super) fn left(self) -> Self {
        Self((self.0 & !FIRST_COLUMN) >> 1)
    }

    #[inline]
    pub(super) fn right(self) -> Self {
        Self((self.0 & !Self::column(LAST).0) << 1)
    }

    #[inline]
    pub(super) fn up(self) -> Self {
        Self(self.0 >> SIZE)
    }

    #[inline]
    pub(super) fn down(self) -> Self {
        Self(self.0 << SIZE & Self::ALL.0)
    }

    /// The bottom row comes out at the top.
    #[inline]
    pub(super) fn down_around(self) -> Self {
        Self(self.down().0 | self.0 >> (SIZE * LAST))
    }

    /// The last of its cells, in the lowest row. Empty if there is none.
    #[inline]
    pub(super) fn last(self) -> Self {
        if self.is_empty() { self } else { Self(1 << self.0.ilog2()) }
    }

    /// Columns that have a cell, as bits.
    #[inline]
    pub(super) fn columns(self) -> u16 {
        // The two halves, then their rows.
        let half = (self.0 | self.0 >> (5 * SIZE)) as u64 & ((1 << (5 * SIZE)) - 1);
        let rows = half | half >> (2 * SIZE) | half >> (4 * SIZE);
        (rows | rows >> SIZE) as u16 & ROW as u16
    }

    /// The cells of each half row, from the first, as bits.
    #[inline]
    pub(super) fn half_rows(self) -> impl Iterator<Item = usize> {
        (0..N_CELLS as usize / HALF_ROW).map(move |i| (self.0 >> (HALF_ROW * i)) as usize & ((1 << HALF_ROW) - 1))
    }

    /// Writes a one to `channel` of its cells in `obs`, `[10, 10, n_channels]`.
    #[inline]
    pub(super) fn show<const N_CHANNELS: usize>(self, channel: usize, obs: &mut [u8]) {
        self.each(|cell| obs[N_CHANNELS * cell + channel] = 1);
    }

    /// Calls `f` with the number of each cell, `10 * row + column`, in ascending order.
    #[inline]
    pub(super) fn each(self, mut f: impl FnMut(usize)) {
        each_bit(self.0 as u64, 0, &mut f);
        each_bit((self.0 >> 64) as u64, 64, &mut f);
    }

    /// Writes each cell of `rows` as 1 or 0 to `out`, row by row.
    pub(super) fn write_factors(self, rows: RangeInclusive<i8>, out: &mut [f32]) {
        Movers { left: Self::EMPTY, right: self }.write_factors(rows, out);
    }
}

/// The cells of what goes to the left, and of what goes to the right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Movers {
    pub(super) left: Plane,
    pub(super) right: Plane,
}

impl Movers {
    #[inline]
    pub(super) fn all(self) -> Plane {
        self.left | self.right
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.all().is_empty()
    }

    /// One cell further. Those that leave the board are gone.
    #[inline]
    pub(super) fn moved(self) -> Self {
        Self { left: self.left.left(), right: self.right.right() }
    }

    /// Writes a one to `channel` of the cells of both in `obs`, `[10, 10, n_channels]`.
    #[inline]
    pub(super) fn show<const N_CHANNELS: usize>(&self, channel: usize, obs: &mut [u8]) {
        let mut show = |cell: usize| obs[N_CHANNELS * cell + channel] = 1;
        // Half by half. Read as one word of 128 bits, planes that a step has just written as two of 64 would stall.
        each_bit(self.left.0 as u64 | self.right.0 as u64, 0, &mut show);
        each_bit((self.left.0 >> 64 | self.right.0 >> 64) as u64, 64, &mut show);
    }

    /// The cells behind them.
    #[inline]
    pub(super) fn behind(self) -> Plane {
        self.left.right() | self.right.left()
    }

    #[inline]
    pub(super) fn add(&mut self, cell: Plane, goes_right: bool) {
        let side = if goes_right { &mut self.right } else { &mut self.left };
        *side |= cell;
    }

    /// Removes what is on `cell`. Returns whether there was anything.
    #[inline]
    pub(super) fn take(&mut self, cell: Plane) -> bool {
        let is_there = self.all().meets(cell);
        self.left &= !cell;
        self.right &= !cell;
        is_there
    }

    /// Writes −1 for each cell of `rows` with one to the left, 1 with one to the right, and 0 for others to `out`, row
    /// by row.
    pub(super) fn write_factors(self, rows: RangeInclusive<i8>, out: &mut [f32]) {
        let cells = rows.flat_map(|y| (0..SIZE).map(move |x| Plane::cell(x, y)));
        for (cell, out) in cells.zip(out) {
            *out = f32::from(i8::from(self.right.meets(cell)) - i8::from(self.left.meets(cell)));
        }
    }
}

/// Calls `f` with the number of each bit that is set, counted from `first`.
#[inline]
fn each_bit(mut bits: u64, first: usize, f: &mut impl FnMut(usize)) {
    while bits != 0 {
        f(first + bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

/// The column where something that goes right or left comes in.
pub(super) fn entry(goes_right: bool) -> i8 {
    if goes_right { 0 } else { LAST }
}

/// Writes a one to `channel` of the cell in column `x` and row `y` of `obs`, `[10, 10, n_channels]`.
#[inline]
pub(super) fn show<const N_CHANNELS: usize>(x: i8, y: i8, channel: usize, obs: &mut [u8]) {
    obs[N_CHANNELS * (y as usize * SIZE as usize + x as usize) + channel] = 1;
}

/// Returns `names` and then `PREFIX_ROW_COLUMN` for each cell of `rows` and each of `prefixes`.
///
/// The names live as long as the program: callers keep them in a static.
pub(super) fn factor_names(names: &[&'static str], prefixes: &[&str], rows: RangeInclusive<i8>) -> Vec<&'static str> {
    let mut all = names.to_vec();
    for prefix in prefixes {
        let cells = rows.clone().flat_map(|y| (0..SIZE).map(move |x| (y, x)));
        all.extend(cells.map(|(y, x)| &*format!("{prefix}_{y}_{x}").leak()));
    }
    all
}

impl BitOr for Plane {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Plane {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Plane {
    type Output = Self;

    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitAndAssign for Plane {
    #[inline]
    fn bitand_assign(&mut self, other: Self) {
        self.0 &= other.0;
    }
}

impl Not for Plane {
    type Output = Self;

    /// The other cells of the board.
    #[inline]
    fn not(self) -> Self {
        Self(!self.0 & Self::ALL.0)
    }
}

impl From<Plane> for [u16; 10] {
    fn from(plane: Plane) -> Self {
        std::array::from_fn(|y| (plane.0 >> (SIZE as usize * y) & ROW) as u16)
    }
}

impl TryFrom<[u16; 10]> for Plane {
    type Error = String;

    fn try_from(rows: [u16; 10]) -> Result<Self, String> {
        if let Some(row) = rows.iter().find(|&&row| u128::from(row) > ROW) {
            return Err(format!("a row of ten cells is below 1024, not {row}"));
        }
        Ok(Self(rows.iter().rev().fold(0, |cells, &row| cells << SIZE | u128::from(row))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_leave_the_board_are_gone() {
        let corner = Plane::cell(0, 0) | Plane::cell(LAST, LAST);
        assert_eq!(corner.left(), Plane::cell(8, 9));
        assert_eq!(corner.right(), Plane::cell(1, 0));
        assert_eq!(corner.up(), Plane::cell(9, 8));
        assert_eq!(corner.down(), Plane::cell(0, 1));
        assert_eq!(!Plane::EMPTY, Plane::ALL);
        assert_eq!(Plane::block([0, LAST], [2, 3]), Plane::row(2) | Plane::row(3));
    }

    #[test]
    fn columns_and_cells_are_found_in_every_row() {
        for y in 0..SIZE {
            for x in 0..SIZE {
                let mut cells = vec![];
                Plane::cell(x, y).each(|cell| cells.push(cell));
                assert_eq!((Plane::cell(x, y).columns(), cells), (1 << x, vec![(10 * y + x) as usize]));
            }
            assert_eq!((Plane::row(y).columns(), Plane::column(y).columns()), (1023, 1 << y));
        }
    }

    #[test]
    fn a_plane_comes_back_from_its_rows() {
        let plane = Plane::column(3) | Plane::row(9) | Plane::cell(4, 6);
        let saved = serde_json::to_value(plane).unwrap();
        assert_eq!(saved, serde_json::json!([8, 8, 8, 8, 8, 8, 24, 8, 8, 1023]));
        assert_eq!(serde_json::from_value::<Plane>(saved).unwrap(), plane);
        assert!(serde_json::from_value::<Plane>(serde_json::json!([1024, 0, 0, 0, 0, 0, 0, 0, 0, 0])).is_err());
    }
}
