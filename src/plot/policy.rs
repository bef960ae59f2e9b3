//! Maps of a table's policy: the greedy action and the value of each cell of a grid.

use super::chart::{
    Canvas, Drawn, INK, LINE_HEIGHT, MARGIN, NOTE_SIZE, TEXT_SIZE, failed, svg, text_width, units, write,
};
use super::error::PlotError;
use super::raster;
use super::table::{HIGH, LOW, MAX_OPACITY, number};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

/// A map of a grid.
#[derive(Debug)]
pub(crate) struct Map {
    /// Other variables that are seen, such as the time or the other variables of the state.
    pub caption: String,
    pub columns: usize,
    /// Cells, row by row. `None` is a place where episodes end.
    pub cells: Vec<Option<Cell>>,
}

/// The best that can be done in a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    /// Sign of the greedy action; `None` if all actions have one value.
    pub action: Option<char>,
    /// Value of that action.
    pub value: f64,
}

/// Side of a cell of a single row of maps, where values are written too, and of many maps.
const SIDES: [f64; 2] = [52.0, 24.0];
/// Gap between two maps.
const GAP: f64 = 18.0;
/// Widest figure.
const MAX_WIDTH: f64 = 1000.0;

/// Draws `maps` of one shape, in rows, to the SVG file `out`.
///
/// # Errors
/// When they cannot be drawn or written.
pub(crate) fn write_file(title: &str, maps: &[Map], out: &Path) -> Result<(), PlotError> {
    let first = &maps[0];
    let (columns, rows) = (first.columns, first.cells.len() / first.columns);
    let fits = |side: f64| maps.len() as f64 * (columns as f64 * side + GAP) <= MAX_WIDTH;
    let side = if fits(SIDES[0]) { SIDES[0] } else { SIDES[1] };
    let widest = maps.iter().map(|map| text_width(&map.caption, TEXT_SIZE)).fold(columns as f64 * side, f64::max);
    let per_row = (((MAX_WIDTH - 2.0 * MARGIN) / (widest + GAP)) as usize).clamp(1, maps.len());
    let top = MARGIN + LINE_HEIGHT;
    let height = rows as f64 * side + LINE_HEIGHT + GAP;
    let width = (2.0 * MARGIN + per_row as f64 * (widest + GAP)).max(2.0 * MARGIN + text_width(title, NOTE_SIZE));
    let bottom = top + maps.len().div_ceil(per_row) as f64 * height + MARGIN;
    let largest = maps.iter().flat_map(|map| &map.cells).flatten().map(|cell| cell.value.abs()).fold(0.0, f64::max);
    let text = svg(width, bottom, |canvas| {
        write(canvas, title, (MARGIN, MARGIN), NOTE_SIZE, INK, (HPos::Left, VPos::Top))?;
        for (i, map) in maps.iter().enumerate() {
            let (row, column) = (i / per_row, i % per_row);
            let corner = (MARGIN + column as f64 * (widest + GAP), top + row as f64 * height);
            map.draw(canvas, corner, side, largest)?;
        }
        Ok(())
    })?;
    raster::write_file(out, &text)
}

impl Map {
    /// Draws the map below its caption. The strongest colour is that of the value `largest`.
    fn draw(&self, canvas: &Canvas, (left, top): (f64, f64), side: f64, largest: f64) -> Drawn {
        write(canvas, &self.caption, (left, top + LINE_HEIGHT - 4.0), TEXT_SIZE, INK, (HPos::Left, VPos::Bottom))?;
        let has_values = side == SIDES[0];
        for (i, cell) in self.cells.iter().enumerate() {
            let x = left + (i % self.columns) as f64 * side;
            let y = top + LINE_HEIGHT + (i / self.columns) as f64 * side;
            let corners = [(x, y), (x + side, y + side)].map(|(x, y)| (units(x), units(y)));
            let frame = INK.mix(0.25).stroke_width(units(0.5) as u32);
            if let Some(Cell { action, value }) = cell {
                let colour = if *value < 0.0 { LOW } else { HIGH };
                let filled = colour.mix(MAX_OPACITY * value.abs() / largest.max(f64::MIN_POSITIVE)).filled();
                canvas.draw(&Rectangle::new(corners, filled)).map_err(failed)?;
                let (middle, lower) = ((x + side / 2.0, y + side * 0.36), (x + side / 2.0, y + side * 0.78));
                let centred = (HPos::Center, VPos::Center);
                let place = if has_values { middle } else { (middle.0, y + side / 2.0) };
                let text_size = if has_values { 20.0 } else { 14.0 };
                write(canvas, &action.unwrap_or('·').to_string(), place, text_size, INK, centred)?;
                if has_values {
                    write(canvas, &number(*value), lower, TEXT_SIZE - 1.0, INK, centred)?;
                }
            } else {
                canvas.draw(&Rectangle::new(corners, INK.mix(0.12).filled())).map_err(failed)?;
            }
            canvas.draw(&Rectangle::new(corners, frame)).map_err(failed)?;
        }
        Ok(())
    }
}
