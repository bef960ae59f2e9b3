//! Section 8: the 210×160 screen as a function of the pixel.

use super::field::{BRICK_HEIGHT, BRICK_ROWS, BRICK_TOP, Ball, Bricks, HEIGHT, WALL_BOTTOM, WIDTH, has_brick_at};
use super::palette::{self, COLOURS, Ink, N_EPOCHS};
use super::rules::{State, TIME_OUT};
use std::ops::Range;

pub(super) const PADDLE_ROWS: Range<i32> = 189..193;
/// Left columns of hundreds, tens and ones of the score, of the lives and of the player's number.
pub(super) const DIGIT_COLUMNS: [i32; 5] = [36, 52, 68, 100, 132];
const DIGIT_ROWS: Range<i32> = 5..15;
/// A digit is 3×5 cells of 4×2 pixels.
const CELL: (i32, i32) = (2, 4);

/// Bit `3 * row + column` of a digit is set if the cell is lit.
const GLYPHS: [u16; 10] = {
    let rows: [[u16; 5]; 10] = [
        [7, 5, 5, 5, 7],
        [2, 2, 2, 2, 2],
        [7, 4, 7, 1, 7],
        [7, 4, 6, 4, 7],
        [5, 5, 7, 4, 4],
        [7, 1, 7, 4, 7],
        [1, 1, 7, 5, 7],
        [7, 4, 4, 4, 4],
        [7, 5, 7, 5, 7],
        [7, 5, 7, 4, 4],
    ];
    let mut glyphs = [0; 10];
    let mut digit = 0;
    while digit < 10 {
        let [a, b, c, d, e] = rows[digit];
        glyphs[digit] = a | b << 3 | c << 6 | d << 9 | e << 12;
        digit += 1;
    }
    glyphs
};

/// The things on the screen that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    pub(super) still: Still,
    /// Columns of the paddle.
    pub(super) paddle: (i32, i32),
    pub(super) ball: Option<Ball>,
    epochs: (u8, u8),
}

/// Things that change only when a brick disappears or a digit changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Still {
    pub(super) bricks: Bricks,
    /// Lit cells of the digits at [`DIGIT_COLUMNS`].
    pub(super) digits: [u16; 5],
}

impl Still {
    #[inline]
    fn of(state: &State) -> Self {
        let glyph = |number: u16| GLYPHS[usize::from(number % 10)];
        let score = state.shown_score;
        let mut digits =
            [glyph(score / 100), glyph(score / 10), glyph(score), glyph(state.shown_lives.into()), GLYPHS[1]];
        if state.timed_out() {
            let hidden = if state.frame == TIME_OUT { digits } else { [0, 0, GLYPHS[1], 0, 0] };
            digits = [0, hidden[1], hidden[2], 0, GLYPHS[1]];
        }
        Self { bricks: state.bricks, digits }
    }

    /// Bricks and cells that are lit in either of two pictures.
    #[inline]
    pub(super) fn union(&self, other: &Self) -> Self {
        Self {
            bricks: std::array::from_fn(|row| self.bricks[row] | other.bricks[row]),
            digits: std::array::from_fn(|place| self.digits[place] | other.digits[place]),
        }
    }

    fn has_digit_at(&self, row: i32, column: i32) -> bool {
        DIGIT_ROWS.contains(&row)
            && DIGIT_COLUMNS.iter().zip(self.digits).any(|(&left, glyph)| {
                let cell = (row - DIGIT_ROWS.start) / CELL.0 * 3 + (column - left).div_euclid(CELL.1);
                (left..left + 3 * CELL.1).contains(&column) && glyph >> cell & 1 == 1
            })
    }
}

/// Rows and columns of a cell of the digit at place `place` of [`DIGIT_COLUMNS`].
pub(super) fn digit_cell_area(place: usize, cell: i32) -> (Range<i32>, Range<i32>) {
    let (top, left) = (DIGIT_ROWS.start + cell / 3 * CELL.0, DIGIT_COLUMNS[place] + cell % 3 * CELL.1);
    (top..top + CELL.0, left..left + CELL.1)
}

/// Rows, columns and colour of the things that never change.
pub(super) const FRAME: [(Range<i32>, Range<i32>, Ink); 5] = [
    (17..32, 0..160, Ink::Wall),
    (32..WALL_BOTTOM, 0..8, Ink::Wall),
    (32..WALL_BOTTOM, 152..160, Ink::Wall),
    (WALL_BOTTOM..196, 0..8, Ink::LeftStrip),
    (WALL_BOTTOM..195, 152..160, Ink::RightStrip),
];

/// Colour of the ball in a row: that of whatever else is drawn there.
#[inline]
pub(super) fn ball_ink(row: i32) -> Ink {
    const BRICK_BOTTOM: i32 = BRICK_TOP + BRICK_HEIGHT * BRICK_ROWS as i32;
    match row {
        ..BRICK_TOP => Ink::Wall,
        BRICK_TOP..BRICK_BOTTOM => Ink::of_brick((row - BRICK_TOP) / BRICK_HEIGHT),
        _ => Ink::RightStrip,
    }
}

impl Screen {
    #[inline]
    pub(super) fn of(state: &State) -> Self {
        let left = i32::from(state.paddle_x) - 47;
        Self {
            still: Still::of(state),
            paddle: (left, left + 2 * state.half_width()),
            ball: Ball::at(state.column(), state.row()),
            epochs: epochs(state),
        }
    }

    /// Whether the colours are the usual ones.
    #[inline]
    pub(super) fn is_usual(&self) -> bool {
        self.epochs == (0, 0)
    }

    /// Number of the colours at the top and at the bottom of the picture.
    pub(super) fn epochs(&self) -> (u8, u8) {
        self.epochs
    }

    /// The screen without ball, and with a paddle in `columns`, which may be none.
    pub(super) fn with_paddle_alone(&self, columns: Range<i32>) -> Self {
        Self { paddle: (columns.start, columns.end), ball: None, ..*self }
    }

    /// The thing that is drawn at a pixel.
    fn ink(&self, row: i32, column: i32) -> Ink {
        let paddle = self.paddle.0..self.paddle.1;
        if self.ball.is_some_and(|ball| ball.covers(row, column)) {
            return ball_ink(row);
        }
        if PADDLE_ROWS.contains(&row) && paddle.contains(&column) {
            return Ink::RightStrip;
        }
        if has_brick_at(&self.still.bricks, row, column) {
            return Ink::of_brick((row - BRICK_TOP) / BRICK_HEIGHT);
        }
        if self.still.has_digit_at(row, column) {
            return Ink::Digits;
        }
        let part = FRAME.iter().find(|(rows, columns, _)| rows.contains(&row) && columns.contains(&column));
        part.map_or(Ink::Background, |&(_, _, ink)| ink)
    }

    /// Number of the colours of a pixel. After the time-out they change from time to time, while the beam is in row
    /// 203.
    fn epoch(&self, row: i32, column: i32) -> usize {
        let (upper, lower) = self.epochs;
        usize::from(if (row, column) >= (203, 55) { lower } else { upper })
    }

    /// Gray of a pixel.
    pub(super) fn gray(&self, row: i32, column: i32) -> u8 {
        if row == 0 && column < 8 {
            return 0;
        }
        palette::gray(self.ink(row, column), self.epoch(row, column))
    }

    /// Colour of a pixel. After the time-out only its gray is known.
    pub(super) fn rgb(&self, row: i32, column: i32) -> [u8; 3] {
        match self.epoch(row, column) {
            0 => COLOURS[self.ink(row, column) as usize],
            _ => [self.gray(row, column); 3],
        }
    }
}

/// The gray picture, `HEIGHT * WIDTH` bytes.
pub(super) fn paint_gray(screen: &Screen) -> Vec<u8> {
    pixels().map(|(row, column)| screen.gray(row, column)).collect()
}

/// The picture in colours, `3 * HEIGHT * WIDTH` bytes.
pub(super) fn paint_rgb(screen: &Screen) -> Vec<u8> {
    pixels().flat_map(|(row, column)| screen.rgb(row, column)).collect()
}

fn pixels() -> impl Iterator<Item = (i32, i32)> {
    (0..HEIGHT as i32).flat_map(|row| (0..WIDTH as i32).map(move |column| (row, column)))
}

/// Section 7: the colours of the upper part of the picture change one frame after those of the lower part.
fn epochs(state: &State) -> (u8, u8) {
    let epoch = |delay: u32| {
        let since = state.frame.saturating_sub(TIME_OUT + delay);
        ((since >> 8) % N_EPOCHS as u32) as u8
    };
    (epoch(1), epoch(0))
}
