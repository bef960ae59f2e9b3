//! Scatter plots: points of a plane, coloured by class, with a legend.

use super::axis;
use super::chart::{
    AXIS, Canvas, Drawn, GRID, INK, LINE_HEIGHT, MARGIN, TEXT_SIZE, TITLE_SIZE, failed, stroke, svg, text_width, units,
    write, write_upwards,
};
use super::error::PlotError;
use super::raster;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

/// Points with their classes.
#[derive(Debug)]
pub(crate) struct Scatter {
    /// Title of the plot.
    pub title: String,
    /// `(x, y)`
    pub points: Vec<(f64, f64)>,
    /// Class of each point, counted from 0; empty without classes.
    pub classes: Vec<usize>,
}

/// Ten colours of different hue and lightness. They repeat for more classes.
const COLOURS: [RGBColor; 10] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(120, 72, 60),
    RGBColor(240, 120, 200),
    RGBColor(110, 110, 110),
    RGBColor(190, 185, 20),
    RGBColor(23, 190, 207),
];

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 680.0;
const RADIUS: f64 = 1.8;
/// Radius of the points of small data, and bound of the points that count as few.
const FEW_RADIUS: f64 = 4.5;
const FEW_POINTS: usize = 100;
const OPACITY: f64 = 0.65;
/// Bounds the intervals between ticks.
const TICKS: usize = 7;
/// Margin on each side of a range, as a share of the range.
const RANGE_MARGIN: f64 = 0.03;

/// Draws `scatter` to the SVG file `out`.
///
/// # Errors
/// When it cannot be drawn or written.
///
/// # Panics
/// When there are classes, but not one for each point.
pub(crate) fn write_file(scatter: &Scatter, out: &Path) -> Result<(), PlotError> {
    let classes = &scatter.classes;
    assert!(classes.is_empty() || classes.len() == scatter.points.len(), "a class for each point");
    let text = svg(WIDTH, HEIGHT, |canvas| scatter.draw(canvas))?;
    raster::write_file(out, &text)
}

impl Scatter {
    fn draw(&self, canvas: &Canvas) -> Drawn {
        write(canvas, &self.title, (MARGIN, MARGIN), TITLE_SIZE, INK, (HPos::Left, VPos::Top))?;
        let top = self.draw_legend(canvas, MARGIN + TITLE_SIZE + 12.0)?;
        let frame = Frame::of(&self.points, top + 8.0);
        frame.draw(canvas)?;
        let radius = if self.points.len() <= FEW_POINTS { FEW_RADIUS } else { RADIUS };
        for (i, &point) in self.points.iter().enumerate().filter(|(_, (x, y))| x.is_finite() && y.is_finite()) {
            let colour = colour(self.classes.get(i).copied().unwrap_or(0));
            let (x, y) = frame.place(point);
            let dot = Circle::new((units(x), units(y)), units(radius), colour.mix(OPACITY).filled());
            canvas.draw(&dot).map_err(failed)?;
        }
        Ok(())
    }

    /// Draws a dot and the number of each class, in rows, and returns their lower edge.
    fn draw_legend(&self, canvas: &Canvas, top: f64) -> Result<f64, PlotError> {
        let Some(&last) = self.classes.iter().max() else { return Ok(top) };
        let (mut x, mut y) = (MARGIN, top);
        for class in 0..=last {
            let label = class.to_string();
            let width = 14.0 + text_width(&label, TEXT_SIZE) + 20.0;
            if x + width > WIDTH - MARGIN {
                (x, y) = (MARGIN, y + LINE_HEIGHT);
            }
            let middle = y + LINE_HEIGHT / 2.0;
            let dot = Circle::new((units(x + 5.0), units(middle)), units(5.0), colour(class).filled());
            canvas.draw(&dot).map_err(failed)?;
            write(canvas, &label, (x + 14.0, middle), TEXT_SIZE, INK, (HPos::Left, VPos::Center))?;
            x += width;
        }
        Ok(y + LINE_HEIGHT)
    }
}

fn colour(class: usize) -> RGBColor {
    COLOURS[class % COLOURS.len()]
}

/// The rectangle of the points in pixels, and the values at its edges.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn of(points: &[(f64, f64)], top: f64) -> Self {
        let (x, y) = (range(points.iter().map(|point| point.0)), range(points.iter().map(|point| point.1)));
        let labels = axis::value_labels(&axis::ticks(y.0, y.1, TICKS));
        let widest = labels.iter().map(|label| text_width(label, TEXT_SIZE)).fold(0.0, f64::max);
        Self { left: MARGIN + LINE_HEIGHT + widest + 8.0, right: WIDTH - MARGIN, top, bottom: HEIGHT - 56.0, x, y }
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let share = |value: f64, (lo, hi): (f64, f64)| (value - lo) / (hi - lo);
        let across = self.left + (self.right - self.left) * share(x, self.x);
        (across, self.bottom - (self.bottom - self.top) * share(y, self.y))
    }

    fn draw(&self, canvas: &Canvas) -> Drawn {
        let &Frame { left, right, top, bottom, x, y } = self;
        let x_ticks = axis::ticks(x.0, x.1, TICKS);
        for (&tick, label) in x_ticks.iter().zip(&axis::value_labels(&x_ticks)) {
            let (across, _) = self.place((tick, y.0));
            stroke(canvas, &[(across, top), (across, bottom + 5.0)], GRID, 1.0)?;
            write(canvas, label, (across, bottom + 9.0), TEXT_SIZE, INK, (HPos::Center, VPos::Top))?;
        }
        let y_ticks = axis::ticks(y.0, y.1, TICKS);
        for (&tick, label) in y_ticks.iter().zip(&axis::value_labels(&y_ticks)) {
            let (_, down) = self.place((x.0, tick));
            stroke(canvas, &[(left, down), (right, down)], GRID, 1.0)?;
            write(canvas, label, (left - 8.0, down), TEXT_SIZE, INK, (HPos::Right, VPos::Center))?;
        }
        stroke(canvas, &[(left, top), (left, bottom), (right, bottom)], AXIS, 1.0)?;
        let below = (f64::midpoint(left, right), bottom + 9.0 + LINE_HEIGHT);
        write(canvas, "first number of the code", below, TEXT_SIZE, INK, (HPos::Center, VPos::Top))?;
        write_upwards(canvas, "second number of the code", f64::midpoint(top, bottom))
    }
}

/// Returns the range of the finite `values`, with a margin.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (lo, hi) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), value| (lo.min(value), hi.max(value)));
    match hi - lo {
        span if span > 0.0 => (lo - RANGE_MARGIN * span, hi + RANGE_MARGIN * span),
        _ if lo.is_finite() => (lo - 1.0, lo + 1.0),
        _ => (-1.0, 1.0),
    }
}
