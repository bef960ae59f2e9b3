//! Tables of numbers with a coloured cell each, for data that are no pictures.

use super::chart::{
    Canvas, Drawn, INK, LINE_HEIGHT, MARGIN, NOTE_SIZE, TEXT_SIZE, failed, svg, text_width, units, wrap, write,
};
use super::error::PlotError;
use super::raster;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

/// Named rows of numbers in -1..=1, in columns.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    /// Description.
    pub title: String,
    /// Names of the rows.
    pub rows: &'a [&'a str],
    /// Numbers of each column, one for each row.
    pub columns: Vec<Vec<f64>>,
}

const CELL_WIDTH: f64 = 76.0;
const CELL_HEIGHT: f64 = 30.0;
const MIN_WIDTH: f64 = 420.0;
/// Colours of 1 and -1; 0 is white.
pub(super) const HIGH: RGBColor = RGBColor(213, 94, 0);
pub(super) const LOW: RGBColor = RGBColor(0, 114, 178);
/// Strongest colour of a cell, on which dark text is readable.
pub(super) const MAX_OPACITY: f64 = 0.7;

/// Draws `table` to the SVG file `out`.
///
/// # Errors
/// When it cannot be drawn or written.
pub(crate) fn write_file(table: &Table, out: &Path) -> Result<(), PlotError> {
    raster::write_file(out, &table.svg()?)
}

impl Table<'_> {
    fn svg(&self) -> Result<String, PlotError> {
        let widest = self.rows.iter().map(|name| text_width(name, TEXT_SIZE)).fold(0.0, f64::max);
        let left = MARGIN + widest + 10.0;
        let width = (left + self.columns.len() as f64 * CELL_WIDTH + MARGIN).max(MIN_WIDTH);
        let title = wrap(std::slice::from_ref(&self.title), " ", NOTE_SIZE, width - 2.0 * MARGIN);
        let top = MARGIN + title.len() as f64 * LINE_HEIGHT + LINE_HEIGHT + 8.0;
        let height = top + self.rows.len() as f64 * CELL_HEIGHT + MARGIN;
        svg(width, height, |canvas| {
            for (i, line) in title.iter().enumerate() {
                let at = (MARGIN, MARGIN + i as f64 * LINE_HEIGHT);
                write(canvas, line, at, NOTE_SIZE, INK, (HPos::Left, VPos::Top))?;
            }
            self.draw(canvas, left, top)
        })
    }

    fn draw(&self, canvas: &Canvas, left: f64, top: f64) -> Drawn {
        for (row, name) in self.rows.iter().enumerate() {
            let middle = top + (row as f64 + 0.5) * CELL_HEIGHT;
            write(canvas, name, (left - 10.0, middle), TEXT_SIZE, INK, (HPos::Right, VPos::Center))?;
        }
        for (column, numbers) in self.columns.iter().enumerate() {
            let x = left + column as f64 * CELL_WIDTH;
            let heading = (x + CELL_WIDTH / 2.0, top - 6.0);
            write(canvas, &format!("unit {}", column + 1), heading, TEXT_SIZE, INK, (HPos::Center, VPos::Bottom))?;
            for (row, &number) in numbers.iter().enumerate() {
                let y = top + row as f64 * CELL_HEIGHT;
                let colour = if number < 0.0 { LOW } else { HIGH };
                let corners = [(x, y), (x + CELL_WIDTH, y + CELL_HEIGHT)].map(|(x, y)| (units(x), units(y)));
                let filled = colour.mix(MAX_OPACITY * number.abs().min(1.0)).filled();
                canvas.draw(&Rectangle::new(corners, filled)).map_err(failed)?;
                let middle = (x + CELL_WIDTH / 2.0, y + CELL_HEIGHT / 2.0);
                write(canvas, &self::number(number), middle, TEXT_SIZE, INK, (HPos::Center, VPos::Center))?;
            }
        }
        Ok(())
    }
}

/// Returns a number with two decimals and a true minus sign.
pub(super) fn number(number: f64) -> String {
    // Adding 0.0 turns -0.0 into 0.0.
    format!("{:.2}", (number * 100.0).round() / 100.0 + 0.0).replace('-', "\u{2212}")
}
