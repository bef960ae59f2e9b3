//! What a terminal shows: cells of text and of half-block pixels, and the bytes that change one such screen into the next.

use super::colour::{Colour, Depth};
use carom_envs::Picture;
use std::io::{self, Write};

/// Foreground above, background below: two pixels in one cell.
const UPPER_HALF: char = '▀';

/// One character and its colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    symbol: char,
    fg: Colour,
    bg: Colour,
}

impl Cell {
    const BLANK: Self = Self { symbol: ' ', fg: Colour::Default, bg: Colour::Default };
}

/// A screen full of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Canvas {
    /// Cells in a row.
    pub columns: usize,
    /// Number of rows.
    pub rows: usize,
    cells: Vec<Cell>,
}

impl Canvas {
    /// An empty screen.
    pub fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, cells: vec![Cell::BLANK; columns * rows] }
    }

    /// Writes `text` from the left of `row` on; what does not fit is left out.
    pub fn text(&mut self, row: usize, text: &str, fg: Colour) {
        let Some(cells) = self.cells.chunks_exact_mut(self.columns.max(1)).nth(row) else { return };
        for (cell, symbol) in cells.iter_mut().zip(text.chars()) {
            *cell = Cell { symbol, fg, bg: Colour::Default };
        }
    }

    /// Draws the picture, two pixels a cell, with its upper left corner in the cell `(column, row)`.
    pub fn picture(&mut self, column: usize, row: usize, picture: &Picture, depth: Depth) {
        let pixel = |x: usize, y: usize| {
            let at = 3 * (y * picture.width + x);
            let rgb = picture.rgb.get(at..at + 3);
            rgb.map_or(Colour::Default, |rgb| depth.colour([rgb[0], rgb[1], rgb[2]]))
        };
        for y in (0..picture.height).step_by(2).take_while(|y| row + y / 2 < self.rows) {
            for x in 0..picture.width.min(self.columns.saturating_sub(column)) {
                let (fg, bg) = (pixel(x, y), pixel(x, y + 1));
                // A blank needs one colour instead of two.
                let cell = if fg == bg { Cell { bg, ..Cell::BLANK } } else { Cell { symbol: UPPER_HALF, fg, bg } };
                self.cells[(row + y / 2) * self.columns + column + x] = cell;
            }
        }
    }

    /// Writes what turns a terminal that shows `shown` into one that shows this: changed cells alone. Without `shown`, or with
    /// one of another size, the terminal is cleared first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_over(&self, shown: Option<&Canvas>, out: &mut impl Write) -> io::Result<()> {
        let blank;
        let shown = match shown {
            Some(shown) if (shown.columns, shown.rows) == (self.columns, self.rows) => shown,
            _ => {
                write!(out, "\x1b[0m\x1b[2J")?;
                blank = Canvas::new(self.columns, self.rows);
                &blank
            }
        };
        let (mut cursor, mut fg, mut bg) = (None, Colour::Default, Colour::Default);
        for (at, (cell, old)) in self.cells.iter().zip(&shown.cells).enumerate() {
            if cell == old {
                continue;
            }
            if cursor != Some(at) || at % self.columns == 0 {
                write!(out, "\x1b[{};{}H", at / self.columns + 1, at % self.columns + 1)?;
            }
            if cell.fg != fg && cell.symbol != ' ' {
                fg = cell.fg;
                fg.write(true, out)?;
            }
            if cell.bg != bg {
                bg = cell.bg;
                bg.write(false, out)?;
            }
            write!(out, "{}", cell.symbol)?;
            cursor = Some(at + 1);
        }
        if cursor.is_some() {
            write!(out, "\x1b[0m")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(canvas: &Canvas, shown: Option<&Canvas>) -> String {
        let mut out = Vec::new();
        canvas.write_over(shown, &mut out).expect("a vector takes all");
        String::from_utf8(out).expect("UTF-8").replace('\x1b', "^")
    }

    #[test]
    fn two_pixels_make_a_cell() {
        // Columns: red over blue, green over green; a third row alone in its cells.
        let mut picture = Picture::filled(2, 3, [0, 255, 0]);
        picture.fill_rect(0, 0, 1, 1, [255, 0, 0]);
        picture.fill_rect(0, 1, 1, 1, [0, 0, 255]);
        let mut canvas = Canvas::new(4, 3);
        canvas.picture(1, 0, &picture, Depth::True);
        let top = "^[1;2H^[38;2;255;0;0m^[48;2;0;0;255m▀^[48;2;0;255;0m ";
        let below = "^[2;2H^[38;2;0;255;0m^[49m▀▀^[0m";
        assert_eq!(written(&canvas, Some(&Canvas::new(4, 3))), format!("{top}{below}"));
    }

    #[test]
    fn only_changed_cells_are_written() {
        let mut before = Canvas::new(20, 2);
        before.text(1, "step 19  return 3", Colour::Default);
        let mut after = Canvas::new(20, 2);
        after.text(1, "step 20  return 3", Colour::Default);
        assert_eq!(written(&after, Some(&before)), "^[2;6H20^[0m");
        assert_eq!(written(&after, Some(&after)), "");
        assert!(written(&after, None).starts_with("^[0m^[2J^[2;1Hstep^[2;6H20"));
        assert!(written(&after, Some(&Canvas::new(5, 5))).starts_with("^[0m^[2J"));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut canvas = Canvas::new(3, 1);
        canvas.text(0, "abcdef", Colour::Default);
        canvas.text(7, "abc", Colour::Default);
        assert_eq!(written(&canvas, Some(&Canvas::new(3, 1))), "^[1;1Habc^[0m");
        canvas.picture(2, 0, &Picture::filled(5, 9, [1, 1, 1]), Depth::True);
        assert_eq!(written(&canvas, Some(&Canvas::new(3, 1))), "^[1;1Hab^[48;2;1;1;1m ^[0m");
    }
}
