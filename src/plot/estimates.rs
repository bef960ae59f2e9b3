//! Figures of estimates with intervals: one for each name, and lines of them.

use super::axis;
use super::chart::{
    AXIS, Across, Canvas, Chart, Curve, Drawn, GRID, INK, LINE_HEIGHT, MARGIN, NOTE, NOTE_SIZE, TEXT_SIZE, TITLE_SIZE,
    colour, failed, shortened, stroke, svg, text_width, units, wrap, write,
};
use super::error::PlotError;
use super::raster::write_file;
use crate::statistics::stratified::Estimate;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

/// Title of a figure and the notes below it.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    pub title: String,
    pub notes: Vec<String>,
}

const WIDTH: f64 = 800.0;
/// Height of the row of an estimate.
const ROW: f64 = 30.0;
/// Height of an interval's bar.
const BAR: f64 = 12.0;
/// Bounds the intervals between ticks.
const TICKS: usize = 7;
/// Widest share of the figure that names may take.
const MAX_NAMES: f64 = 0.45;

/// Draws a row for each name, with a bar from end to end of the interval and a line at the estimate, to the SVG file
/// `out`. The axis goes from end to end of `bounds`, or of the estimates. `None` has no row, but keeps its colour.
///
/// # Errors
/// When it cannot be drawn or written.
pub(crate) fn intervals(
    heading: &Heading,
    x_name: &str,
    rows: &[Option<(String, Estimate)>],
    bounds: Option<(f64, f64)>,
    out: &Path,
) -> Result<(), PlotError> {
    let notes = wrap(&heading.notes, " \u{b7} ", NOTE_SIZE, WIDTH - 2.0 * MARGIN);
    let top = MARGIN + TITLE_SIZE + 14.0 + notes.len() as f64 * LINE_HEIGHT;
    let coloured = rows.iter().enumerate().filter_map(|(i, row)| row.as_ref().map(|row| (colour(i), row)));
    let (colours, rows): (Vec<_>, Vec<_>) = coloured.unzip();
    let bottom = top + rows.len() as f64 * ROW;
    let names: Vec<String> = rows.iter().map(|(name, _)| shortened(name, TEXT_SIZE, MAX_NAMES * WIDTH)).collect();
    let widest = names.iter().map(|name| text_width(name, TEXT_SIZE)).fold(0.0, f64::max);
    let (left, right) = (MARGIN + widest + 10.0, WIDTH - MARGIN - 10.0);
    let (low, high) = bounds.unwrap_or_else(|| range(&rows));
    let place = |value: f64| left + (right - left) * (value - low) / (high - low);
    let text = svg(WIDTH, bottom + 52.0, |canvas| {
        let title = shortened(&heading.title, TITLE_SIZE, WIDTH - 2.0 * MARGIN);
        write(canvas, &title, (MARGIN, MARGIN), TITLE_SIZE, INK, (HPos::Left, VPos::Top))?;
        for (i, note) in notes.iter().enumerate() {
            let at = (MARGIN, MARGIN + TITLE_SIZE + 8.0 + i as f64 * LINE_HEIGHT);
            write(canvas, note, at, NOTE_SIZE, NOTE, (HPos::Left, VPos::Top))?;
        }
        let ticks = axis::ticks(low, high, TICKS);
        for (&tick, label) in ticks.iter().zip(&axis::value_labels(&ticks)) {
            stroke(canvas, &[(place(tick), top), (place(tick), bottom + 5.0)], GRID, 1.0)?;
            write(canvas, label, (place(tick), bottom + 9.0), TEXT_SIZE, INK, (HPos::Center, VPos::Top))?;
        }
        stroke(canvas, &[(left, bottom), (right, bottom)], AXIS, 1.0)?;
        let below = (f64::midpoint(left, right), bottom + 28.0);
        write(canvas, x_name, below, TEXT_SIZE, INK, (HPos::Center, VPos::Top))?;
        for (i, (name, (_, estimate))) in names.iter().zip(&rows).enumerate() {
            let middle = top + (i as f64 + 0.5) * ROW;
            write(canvas, name, (left - 8.0, middle), TEXT_SIZE, INK, (HPos::Right, VPos::Center))?;
            draw_interval(canvas, *estimate, &place, middle, colours[i])?;
        }
        Ok(())
    })?;
    write_file(out, &text)
}

fn draw_interval(
    canvas: &Canvas,
    estimate: Estimate,
    place: &impl Fn(f64) -> f64,
    middle: f64,
    colour: RGBColor,
) -> Drawn {
    let (upper, lower) = (middle - BAR / 2.0, middle + BAR / 2.0);
    if let Some((low, high)) = estimate.interval {
        let corners = [(place(low), upper), (place(high), lower)].map(|(x, y)| (units(x), units(y)));
        canvas.draw(&Rectangle::new(corners, colour.mix(0.55).filled())).map_err(failed)?;
    }
    let x = place(estimate.value);
    stroke(canvas, &[(x, upper - 2.0), (x, lower + 2.0)], INK, 2.0)
}

/// Returns the range of all estimates and intervals, with a margin. It starts at 0 if that is near.
fn range(rows: &[&(String, Estimate)]) -> (f64, f64) {
    let bounds = rows.iter().flat_map(|(_, estimate)| {
        let (low, high) = estimate.interval.unwrap_or((estimate.value, estimate.value));
        [low.min(estimate.value), high.max(estimate.value)]
    });
    let range = axis::value_range(bounds.collect(), &[]);
    (range.cut_below.map_or(range.lo, |lowest| lowest.min(range.lo)), range.cut_above.unwrap_or(range.hi))
}

/// Draws a line with a band for each name over environment steps, to the SVG file `out`.
///
/// # Errors
/// When it cannot be drawn or written.
pub(crate) fn efficiency(
    heading: &Heading,
    y_name: &str,
    lines: &[(String, Vec<(f64, Estimate)>)],
    out: &Path,
) -> Result<(), PlotError> {
    chart(heading, "environment steps", y_name, lines, Across::Steps, out)
}

/// Draws performance profiles, the share of runs above each threshold, to the SVG file `out`.
///
/// # Errors
/// When it cannot be drawn or written.
pub(crate) fn profiles(
    heading: &Heading,
    x_name: &'static str,
    lines: &[(String, Vec<(f64, Estimate)>)],
    out: &Path,
) -> Result<(), PlotError> {
    let thresholds = || lines.iter().flat_map(|(_, points)| points.iter().map(|point| point.0));
    let (low, high) = (thresholds().fold(f64::INFINITY, f64::min), thresholds().fold(f64::NEG_INFINITY, f64::max));
    let high = if high > low { high } else { low + 1.0 };
    chart(heading, x_name, "share of runs above", lines, Across::Thresholds(low, high), out)
}

fn chart(
    heading: &Heading,
    x_name: &'static str,
    y_name: &str,
    lines: &[(String, Vec<(f64, Estimate)>)],
    across: Across,
    out: &Path,
) -> Result<(), PlotError> {
    let curve = |(label, points): &(String, Vec<(f64, Estimate)>)| Curve {
        label: label.clone(),
        line: points.iter().map(|(x, estimate)| (*x, estimate.value)).collect(),
        band: points.iter().filter_map(|(x, estimate)| estimate.interval.map(|(low, high)| (*x, low, high))).collect(),
        points_per_mean: 0,
    };
    let Heading { title, notes } = heading.clone();
    let curves: Vec<Curve> = lines.iter().map(curve).filter(|curve| !curve.line.is_empty()).collect();
    if curves.is_empty() {
        return Err(PlotError::NoData { place: "the runs have".to_owned() });
    }
    write_file(
        out,
        &Chart {
            title,
            notes,
            x_name,
            y_name: y_name.to_owned(),
            curves,
            references: vec![],
            across,
            is_further: false,
        }
        .svg()?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interval_is_a_bar_from_end_to_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("intervals.svg");
        let rows = [(1.0, Some((0.5, 2.0))), (3.0, None)];
        let rows = rows.map(|(value, interval)| Some((format!("a{value}"), Estimate { value, interval })));
        let heading = Heading { title: "a title".to_owned(), notes: vec![] };
        intervals(&heading, "score", &rows, None, &out).expect("drawn");
        let text = fs_err::read_to_string(out).expect("UTF-8").replace('\n', "");
        for words in [">a title<", ">a1<", ">a3<", ">score<"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        // One of them is white paper.
        assert_eq!(text.matches("<rect").count(), 2, "{text}");
    }

    #[test]
    fn a_name_without_a_row_keeps_its_colour() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("intervals.svg");
        let rows = [None, Some(("a".to_owned(), Estimate { value: 1.0, interval: Some((0.5, 2.0)) }))];
        intervals(&Heading { title: "a title".to_owned(), notes: vec![] }, "score", &rows, None, &out).expect("drawn");
        let text = fs_err::read_to_string(out).expect("UTF-8");
        let hex = |i: usize| format!("#{:02X}{:02X}{:02X}", colour(i).0, colour(i).1, colour(i).2);
        assert!(text.contains(&hex(1)) && !text.contains(&hex(0)), "{text}");
    }
}
