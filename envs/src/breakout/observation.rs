//! The 84×84 observation, computed incrementally. Sums over everything that does not move are kept from step to step;
//! ball and paddle are added to the few pixels that they touch.

use super::area::{self, COLUMN_UNITS, ROW_UNITS, SIDE};
use super::field::{self, FIELD, WIDTH};
use super::palette::Ink;
use super::rules::State;
use super::screen::{self, FRAME, PADDLE_ROWS, Screen, Still};
use std::ops::Range;
use std::sync::LazyLock;

/// Bytes of an observation.
pub(super) const OBS_BYTES: usize = SIDE * SIDE;

/// The shrunk maximum of two pictures without ball and paddle, which [`Backdrop::observe`] adds.
#[derive(Clone)]
pub(super) struct Backdrop {
    screens: [Screen; 2],
    still: Still,
    /// Exact sums in the units of [`area`], `SIDE * SIDE`.
    sums: Box<[u16; OBS_BYTES]>,
    pixels: Box<[u8; OBS_BYTES]>,
}

impl Backdrop {
    /// The backdrop of one picture.
    pub(super) fn new(screen: Screen) -> Self {
        let (sums, pixels) = (Box::new([0; OBS_BYTES]), Box::new([0; OBS_BYTES]));
        let mut backdrop = Self { screens: [screen; 2], still: Still::default(), sums, pixels };
        for (rows, columns, ink) in FRAME {
            backdrop.add(rows, columns, ink.gray());
        }
        backdrop.round(0..SIDE, 0..SIDE);
        backdrop.show(screen, screen);
        backdrop
    }

    /// Changes to the maximum of these two pictures.
    #[inline]
    pub(super) fn show(&mut self, before: Screen, now: Screen) {
        let new_colours = self.epochs() != [before.epochs(), now.epochs()];
        self.screens = [before, now];
        let still = before.still.union(&now.still);
        let changes = still != self.still;
        if changes {
            self.change(still);
        }
        if new_colours || changes && !self.is_usual() {
            self.repaint();
        }
    }

    /// Writes the observation.
    pub(super) fn observe(&self, out: &mut [u8; OBS_BYTES]) {
        out.copy_from_slice(&*self.pixels);
        let paddles = self.screens.map(|screen| screen.paddle.0..screen.paddle.1);
        if !self.is_usual() {
            return self.observe_paddles_exactly(&paddles, out);
        }
        let paddles = Paddles::of(paddles);
        self.observe_paddles(&paddles, out);
        if self.screens[0].ball.is_some() || self.screens[1].ball.is_some() {
            self.observe_balls(&paddles, out);
        }
    }

    fn epochs(&self) -> [(u8, u8); 2] {
        self.screens.map(|screen| screen.epochs())
    }

    fn is_usual(&self) -> bool {
        self.screens.iter().all(Screen::is_usual)
    }

    /// Adds a rectangle of the screen to the sums. A negative `gray` removes one.
    fn add(&mut self, rows: Range<i32>, columns: Range<i32>, gray: i32) {
        for row in area::touched(&rows, ROW_UNITS) {
            let weight = gray * area::overlap(&rows, row, ROW_UNITS);
            for column in area::touched(&columns, COLUMN_UNITS) {
                let sum = &mut self.sums[row * SIDE + column];
                *sum = sum.wrapping_add_signed((weight * area::overlap(&columns, column, COLUMN_UNITS)) as i16);
            }
        }
    }

    /// Computes pixels of the backdrop from the sums.
    fn round(&mut self, rows: Range<usize>, columns: Range<usize>) {
        let emptied = self.screens.map(|screen| screen.with_paddle_alone(0..0));
        for row in rows {
            for column in columns.clone() {
                let at = row * SIDE + column;
                let exact = || area::pixel(row, column, |row, column| brightest(&emptied, row, column));
                self.pixels[at] = area::round(self.sums[at].into()).unwrap_or_else(exact);
            }
        }
    }

    /// Adds and removes the bricks and cells of digits that differ.
    #[cold]
    fn change(&mut self, still: Still) {
        let old = std::mem::replace(&mut self.still, still);
        let bricks = old.bricks.into_iter().zip(still.bricks).enumerate().flat_map(|(row, (old, new))| {
            let gray = Ink::of_brick(row as i32).gray();
            bits(old ^ new).map(move |column| (field::brick_area(row, column as usize), gray, new >> column & 1 == 1))
        });
        let cells = old.digits.into_iter().zip(still.digits).enumerate().flat_map(|(place, (old, new))| {
            let area = move |cell| screen::digit_cell_area(place, cell as i32);
            bits((old ^ new).into()).map(move |cell| (area(cell), Ink::Digits.gray(), new >> cell & 1 == 1))
        });
        for ((rows, columns), gray, appears) in bricks.chain(cells) {
            self.add(rows.clone(), columns.clone(), if appears { gray } else { -gray });
            self.round(area::touched(&rows, ROW_UNITS), area::touched(&columns, COLUMN_UNITS));
        }
    }

    /// Computes all pixels anew, without sums: the colours have changed, as they do from time to time after the
    /// time-out.
    #[cold]
    fn repaint(&mut self) {
        if self.is_usual() {
            return self.round(0..SIDE, 0..SIDE);
        }
        let emptied = self.screens.map(|screen| screen.with_paddle_alone(0..0));
        for at in 0..OBS_BYTES {
            self.pixels[at] = area::pixel(at / SIDE, at % SIDE, |row, column| brightest(&emptied, row, column));
        }
    }

    /// Computes a pixel from the screen.
    #[inline(never)]
    fn exact(&self, row: usize, column: usize) -> u8 {
        area::pixel(row, column, |row, column| brightest(&self.screens, row, column))
    }

    #[inline]
    fn rounded(&self, sum: i32, row: usize, column: usize) -> u8 {
        area::round(sum as u32).unwrap_or_else(|| self.exact(row, column))
    }

    #[cold]
    fn observe_paddles_exactly(&self, paddles: &[Range<i32>; 2], out: &mut [u8; OBS_BYTES]) {
        for paddle in paddles {
            for column in area::touched(paddle, COLUMN_UNITS) {
                for row in area::touched(&PADDLE_ROWS, ROW_UNITS) {
                    out[row * SIDE + column] = self.exact(row, column);
                }
            }
        }
    }

    #[inline]
    fn observe_paddles(&self, paddles: &Paddles, out: &mut [u8; OBS_BYTES]) {
        let columns = area::touched(&paddles.both, COLUMN_UNITS);
        if paddles.are_apart() {
            for column in columns {
                for (row, weight) in Paddles::ROWS {
                    let at = row * SIDE + column;
                    out[at] = self.rounded(i32::from(self.sums[at]) + weight * paddles.units(column), row, column);
                }
            }
            return;
        }
        // Paddles that touch are one bar: its pixels are equal but for those at its two ends.
        let edges = &*EDGES;
        let (left, right) = (edges[0][paddles.both.start as usize], edges[1][paddles.both.end as usize]);
        for (i, (row, weight)) in Paddles::ROWS.into_iter().enumerate() {
            let cells = &mut out[row * SIDE..][columns.clone()];
            cells.fill((weight / ROW_UNITS.1) as u8);
            cells[0] = left[i];
            cells[cells.len() - 1] = right[i];
        }
    }

    /// Adds the balls, pixel for pixel of the screen, and computes the pixels that they touch.
    #[inline]
    fn observe_balls(&self, paddles: &Paddles, out: &mut [u8; OBS_BYTES]) {
        let [before, now] = self.screens.map(|screen| screen.ball);
        let ahead = now.or(before).expect("a ball");
        let behind = before.unwrap_or(ahead);
        let rows = ahead.top.min(behind.top)..ahead.bottom.max(behind.bottom);
        let columns = ahead.left.min(behind.left)..ahead.left.max(behind.left) + 2;
        let columns = columns.start.max(FIELD.start)..columns.end.min(WIDTH as i32);
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        let (out_rows, out_columns) = (area::touched(&rows, ROW_UNITS), area::touched(&columns, COLUMN_UNITS));
        if out_rows.len() > MAX_BALL_SPAN || out_columns.len() > MAX_BALL_SPAN {
            return self.observe_distant_balls(out_rows, out_columns, out);
        }
        let mut added = [[0; MAX_BALL_SPAN + 1]; MAX_BALL_SPAN + 1];
        let is_plain = |row: i32, column: i32| {
            let hidden = field::has_brick_at(&self.still.bricks, row, column)
                || column >= FIELD.end
                || PADDLE_ROWS.contains(&row) && paddles.cover(column);
            !hidden
        };
        let mut add = |row: i32, column: i32, gray: i32| {
            let (row_at, row_units) = split(row, ROW_UNITS);
            let (column_at, column_units) = split(column, COLUMN_UNITS);
            for (down, row_units) in row_units.into_iter().enumerate() {
                for (right, column_units) in column_units.into_iter().enumerate() {
                    added[row_at + down - out_rows.start][column_at + right - out_columns.start] +=
                        gray * row_units * column_units;
                }
            }
        };
        for row in ahead.top..ahead.bottom {
            let gray = screen::ball_ink(row).gray();
            for column in ahead.left..ahead.left + 2 {
                if ahead.covers(row, column) && is_plain(row, column) {
                    add(row, column, gray);
                }
            }
        }
        // Where both balls cover a pixel, its maximum counts once.
        for row in behind.top..behind.bottom {
            let gray = screen::ball_ink(row).gray();
            for column in behind.left..behind.left + 2 {
                if behind.covers(row, column) && !ahead.covers(row, column) && is_plain(row, column) {
                    add(row, column, gray);
                }
            }
        }
        for (row, added) in out_rows.zip(&added) {
            for (column, added) in out_columns.clone().zip(added) {
                let at = row * SIDE + column;
                let paddle = Paddles::ROWS.iter().find(|&&(paddle_row, _)| paddle_row == row);
                let paddle = paddle.map_or(0, |&(_, weight)| weight * paddles.units(column));
                out[at] = self.rounded(i32::from(self.sums[at]) + paddle + added, row, column);
            }
        }
    }

    /// Computes the pixels of balls that are further apart than in play.
    #[cold]
    fn observe_distant_balls(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [u8; OBS_BYTES]) {
        for row in rows {
            for column in columns.clone() {
                out[row * SIDE + column] = self.exact(row, column);
            }
        }
    }
}

/// Bytes of [`Paddles::ROWS`] in the column of the observation in which a paddle begins, by its first column on the
/// screen, and in which it ends, by the column after its last. They are tabulated because their sums are often half way
/// between two bytes.
static EDGES: LazyLock<[[[u8; 3]; WIDTH]; 2]> = LazyLock::new(|| {
    let column = |paddle: &Range<i32>, column: usize| {
        let screen = Screen::of(&State::START).with_paddle_alone(paddle.clone());
        Paddles::ROWS.map(|(row, _)| area::pixel(row, column, |row, column| screen.gray(row, column)))
    };
    let mut edges = [[[0; 3]; WIDTH]; 2];
    for at in FIELD {
        let (from, to) = (at..FIELD.end, FIELD.start..at + 1);
        let (first, last) = (area::touched(&from, COLUMN_UNITS).start, area::touched(&to, COLUMN_UNITS).end - 1);
        edges[0][from.start as usize] = column(&from, first);
        edges[1][to.end as usize] = column(&to, last);
    }
    edges
});

/// Bound on the rows, and on the columns, of the observation that the balls of two successive frames touch.
const MAX_BALL_SPAN: usize = 7;

/// Returns the first row (or column) of the observation that a row (or column) of the screen falls into, and the units
/// that it and the next one get.
#[inline]
fn split(at: i32, (from, to): (i32, i32)) -> (usize, [i32; 2]) {
    let start = at * from;
    let first = start / to;
    let here = (to * (first + 1) - start).min(from);
    (first as usize, [here, from - here])
}

/// Columns of the paddle in two pictures, without the right strip, which has the paddle's gray already.
struct Paddles {
    each: [Range<i32>; 2],
    both: Range<i32>,
}

impl Paddles {
    /// Rows of the observation that a paddle touches, each with the paddle's gray times the units of the row.
    const ROWS: [(usize, i32); 3] = [(75, 2 * 110), (76, 5 * 110), (77, 110)];

    #[inline]
    fn of(paddles: [Range<i32>; 2]) -> Self {
        let each = paddles.map(|paddle| paddle.start..paddle.end.min(FIELD.end));
        let both = each[0].start.min(each[1].start)..each[0].end.max(each[1].end);
        Self { each, both }
    }

    /// Units of a column of the observation.
    #[inline]
    fn units(&self, column: usize) -> i32 {
        let [a, b] = &self.each;
        let common = a.start.max(b.start)..a.end.min(b.end);
        let [a, b, common] = [a, b, &common].map(|span| area::overlap(span, column, COLUMN_UNITS));
        a + b - common
    }

    /// Whether there is a gap between the two.
    #[inline]
    fn are_apart(&self) -> bool {
        let [a, b] = &self.each;
        a.start > b.end || b.start > a.end
    }

    #[inline]
    fn cover(&self, column: i32) -> bool {
        self.each.iter().any(|paddle| paddle.contains(&column))
    }
}

/// The brighter of two pictures at a pixel.
fn brightest(screens: &[Screen; 2], row: i32, column: i32) -> u8 {
    screens[0].gray(row, column).max(screens[1].gray(row, column))
}

/// Positions of the bits that are set.
fn bits(mut word: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let at = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (at < u32::BITS).then_some(at)
    })
}
