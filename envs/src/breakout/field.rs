//! Geometry of the play field on the 210×160 screen: where ball and bricks are drawn, and whether they overlap.

use std::ops::Range;

/// Rows of the screen.
pub const HEIGHT: usize = 210;
/// Columns of the screen.
pub const WIDTH: usize = 160;
/// Rows of a wall of bricks, the top one first.
pub const BRICK_ROWS: usize = 6;
/// Bricks in a row.
pub const BRICK_COLUMNS: usize = 18;

/// Columns of the play field, between the side walls.
pub(super) const FIELD: Range<i32> = 8..152;
/// Rows in which the ball is drawn.
pub(super) const BALL_ROWS: Range<i32> = 32..196;
/// The row after the last of the side walls.
pub(super) const WALL_BOTTOM: i32 = 189;
pub(super) const BRICK_TOP: i32 = 57;
pub(super) const BRICK_HEIGHT: i32 = 6;
const BRICK_WIDTH: i32 = 8;

/// A wall: one word for each row from the top, bit `c` is set while the brick of column `c` stands.
pub(super) type Bricks = [u32; BRICK_ROWS];

/// Whether a brick covers this pixel.
#[inline]
pub(super) fn has_brick_at(bricks: &Bricks, row: i32, column: i32) -> bool {
    let (brick_row, brick_column) = ((row - BRICK_TOP) / BRICK_HEIGHT, (column - FIELD.start) / BRICK_WIDTH);
    row >= BRICK_TOP
        && column >= FIELD.start
        && brick_row < BRICK_ROWS as i32
        && brick_column < BRICK_COLUMNS as i32
        && bricks[brick_row as usize] >> brick_column & 1 == 1
}

/// Rows and columns of a brick.
pub(super) fn brick_area(row: usize, column: usize) -> (Range<i32>, Range<i32>) {
    let top = BRICK_TOP + BRICK_HEIGHT * row as i32;
    let left = FIELD.start + BRICK_WIDTH * column as i32;
    (top..top + BRICK_HEIGHT, left..left + BRICK_WIDTH)
}

/// Pixels of the ball, before the side walls hide a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ball {
    pub(super) left: i32,
    pub(super) top: i32,
    /// The row after its last.
    pub(super) bottom: i32,
    /// In row 195, columns before this one are drawn.
    last_row_end: i32,
}

impl Ball {
    /// The ball at a position of the machine, or `None` if it is not drawn there.
    #[inline]
    pub(super) fn at(column: i32, row: i32) -> Option<Self> {
        if !(21..=186).contains(&row) {
            return None;
        }
        let top = row + if row <= 84 { 8 } else { 9 };
        let bottom = row + if row <= 80 { 12 } else { 13 };
        let last_row_end = if row & 1 == 1 { 46 } else { 56 };
        let (top, bottom) = (top.max(BALL_ROWS.start), bottom.min(BALL_ROWS.end));
        Some(Self { left: column - 49, top, bottom, last_row_end })
    }

    /// Whether the ball is drawn at this pixel.
    #[inline]
    pub(super) fn covers(&self, row: i32, column: i32) -> bool {
        (self.top..self.bottom).contains(&row)
            && (self.left..self.left + 2).contains(&column)
            && column >= FIELD.start
            && column < if row < WALL_BOTTOM { FIELD.end } else { WIDTH as i32 }
            && (row < BALL_ROWS.end - 1 || column < self.last_row_end)
    }

    /// Whether the ball overlaps a brick.
    pub(super) fn meets(&self, bricks: &Bricks) -> bool {
        (self.top..self.bottom).any(|row| (self.left..self.left + 2).any(|column| has_brick_at(bricks, row, column)))
    }
}
