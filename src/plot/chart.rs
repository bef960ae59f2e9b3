//! Drawing of a chart: title, notes, legend, axes, lines and bands.
//!
//! Text is outside the frame, so that it covers no curve. The back end has no fonts, so widths of text are estimated,
//! generously.

use super::axis::{self, ValueRange};
use super::error::PlotError;
use super::reference::Reference;
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Contents of a figure.
#[derive(Debug, Default)]
pub(super) struct Chart {
    pub title: String,
    /// Lines below the title.
    pub notes: Vec<String>,
    pub x_name: &'static str,
    pub y_name: String,
    pub curves: Vec<Curve>,
    pub references: Vec<Reference>,
    /// Unit of the horizontal axis.
    pub across: Across,
    /// Whether title, notes and legend are above, in the first of several panels.
    pub is_further: bool,
}

/// The horizontal axis.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Across {
    /// Steps, from 0 to the last.
    #[default]
    Steps,
    /// Thresholds in this range. The values are shares, from 0 to 1.
    Thresholds(f64, f64),
}

/// One line with its band.
#[derive(Debug, Default)]
pub(super) struct Curve {
    pub label: String,
    /// `(step, value)`
    pub line: Vec<(f64, f64)>,
    /// `(step, lowest, highest)`; empty for a single run.
    pub band: Vec<(f64, f64, f64)>,
    /// Number of logged points that each point of a long single run is the mean of; 0 for other lines.
    pub points_per_mean: usize,
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 480.0;
/// Height of the curves and the horizontal axis of a panel below the first.
const FURTHER_HEIGHT: f64 = 320.0;

/// The back end rounds to whole units. Units of an eighth of a pixel keep curves smooth.
pub(super) const UNITS_PER_PIXEL: f64 = 8.0;

/// Okabe and Ito's colours, which colour-blind people can distinguish, without their yellow, which is too pale on
/// white.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Dash and gap in pixels when colours are used again.
const DASHES: [Option<(i32, i32)>; 3] = [None, Some((10, 6)), Some((3, 7))];

/// Dash and gap in pixels of references, which are gray.
const REFERENCE_DASHES: [(i32, i32); 3] = [(8, 5), (2, 4), (14, 5)];

pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const NOTE: RGBColor = RGBColor(85, 85, 85);
pub(super) const GRID: RGBColor = RGBColor(226, 226, 226);
pub(super) const AXIS: RGBColor = RGBColor(120, 120, 120);

pub(super) const TITLE_SIZE: f64 = 17.0;
pub(super) const TEXT_SIZE: f64 = 13.0;
pub(super) const NOTE_SIZE: f64 = 12.0;
pub(super) const LINE_HEIGHT: f64 = 18.0;
pub(super) const MARGIN: f64 = 16.0;
/// Width of a legend entry's stroke and the gap to its text.
const SWATCH: f64 = 30.0;
const ENTRY_GAP: f64 = 22.0;

/// Bounds the intervals between ticks.
const X_TICKS: usize = 6;
const Y_TICKS: usize = 7;

/// Opacity of a band, and the most bands that have it. More of them are fainter, so that lines are seen through all.
const BAND_OPACITY: f64 = 0.18;
const MAX_BANDS: usize = 7;

/// Bounds the points of lines whose points are drawn as dots.
const MAX_DOTS: usize = 40;

pub(super) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), PlotError>;

impl Chart {
    /// Returns the figure as the text of an SVG file, 800 pixels wide.
    pub(super) fn svg(&self) -> Result<String, PlotError> {
        stacked(std::slice::from_ref(self))
    }

    /// Returns the top of what is below the title, in pixels.
    fn below_title(&self) -> f64 {
        if self.is_further { MARGIN } else { MARGIN + TITLE_SIZE + 12.0 }
    }

    fn draw(&self, canvas: &Canvas, layout: &Layout) -> Drawn {
        let frame = &layout.frame;
        if !self.is_further {
            write(canvas, &self.title, (frame.left, MARGIN), TITLE_SIZE, INK, (HPos::Left, VPos::Top))?;
        }
        for (i, note) in layout.notes.iter().enumerate() {
            let at = (frame.left, self.below_title() - 4.0 + i as f64 * LINE_HEIGHT);
            write(canvas, note, at, NOTE_SIZE, NOTE, (HPos::Left, VPos::Top))?;
        }
        for entry in &layout.legend {
            draw_entry(canvas, entry)?;
        }
        self.draw_axes(canvas, layout)?;
        let opacity = BAND_OPACITY * (MAX_BANDS as f64 / self.curves.len().max(1) as f64).min(1.0);
        for (i, curve) in self.curves.iter().enumerate() {
            let band = curve.band.iter().map(|&(step, _, highest)| frame.at(step, highest));
            let lower_edge = curve.band.iter().rev().map(|&(step, lowest, _)| frame.at(step, lowest));
            let outline: Vec<_> = band.chain(lower_edge).collect();
            if outline.len() > 2 {
                canvas.draw(&Polygon::new(outline, colour(i).mix(opacity).filled())).map_err(failed)?;
            }
        }
        for (i, reference) in self.references.iter().enumerate().filter(|(_, level)| frame.shows(level.value)) {
            let ends = [frame.x_lo, frame.x_hi].map(|step| frame.at(step, reference.value));
            draw_line(canvas, ends.to_vec(), Stroke::Reference(i))?;
        }
        for (i, curve) in self.curves.iter().enumerate() {
            if curve.line.len() <= MAX_DOTS {
                for &(step, value) in curve.line.iter().filter(|point| frame.shows(point.1)) {
                    canvas.draw(&Circle::new(frame.at(step, value), units(2.8), colour(i).filled())).map_err(failed)?;
                }
            }
            for piece in frame.visible(&curve.line) {
                draw_line(canvas, piece, Stroke::Curve(i))?;
            }
        }
        Ok(())
    }

    fn draw_axes(&self, canvas: &Canvas, layout: &Layout) -> Drawn {
        let Frame { left, right, top, bottom, x_lo, x_hi, ref y } = layout.frame;
        for (&tick, label) in layout.y_ticks.iter().zip(&layout.y_labels) {
            let height = layout.frame.y_pixel(tick);
            stroke(canvas, &[(left, height), (right, height)], GRID, 1.0)?;
            write(canvas, label, (left - 8.0, height), TEXT_SIZE, INK, (HPos::Right, VPos::Center))?;
        }
        let x_ticks = match self.across {
            Across::Steps => axis::step_ticks(x_hi, X_TICKS),
            Across::Thresholds(..) => axis::ticks(x_lo, x_hi, X_TICKS),
        };
        let x_labels = match self.across {
            Across::Steps => x_ticks.iter().copied().map(axis::count_label).collect(),
            Across::Thresholds(..) => axis::value_labels(&x_ticks),
        };
        for (&tick, label) in x_ticks.iter().zip(&x_labels) {
            let x = layout.frame.x_pixel(tick);
            stroke(canvas, &[(x, top), (x, bottom + 5.0)], GRID, 1.0)?;
            write(canvas, label, (x, bottom + 9.0), TEXT_SIZE, INK, (HPos::Center, VPos::Top))?;
        }
        if y.lo < 0.0 && y.hi > 0.0 {
            let zero = layout.frame.y_pixel(0.0);
            stroke(canvas, &[(left, zero), (right, zero)], AXIS, 0.6)?;
        }
        stroke(canvas, &[(left, top), (left, bottom), (right, bottom)], AXIS, 1.0)?;
        let below = (f64::midpoint(left, right), bottom + 32.0);
        write(canvas, self.x_name, below, TEXT_SIZE, INK, (HPos::Center, VPos::Top))?;
        write_upwards(canvas, &self.y_name, f64::midpoint(top, bottom))
    }
}

/// Returns panels below one another as the text of an SVG file, 800 pixels wide. Their frames have the same left edge,
/// and the same width for a step where they count the same.
pub(super) fn stacked(panels: &[Chart]) -> Result<String, PlotError> {
    let mut layouts: Vec<Layout> = panels.iter().map(|panel| Layout::of(panel, 0.0)).collect();
    let left = layouts.iter().map(|layout| layout.frame.left).fold(0.0, f64::max);
    layouts = panels.iter().map(|panel| Layout::of(panel, left)).collect();
    if panels.iter().all(|panel| panel.x_name == panels[0].x_name && panel.across == Across::Steps) {
        let last = layouts.iter().map(|layout| layout.frame.x_hi).fold(0.0, f64::max);
        for layout in &mut layouts {
            layout.frame.x_hi = last;
        }
    }
    svg(WIDTH, layouts.iter().map(|layout| layout.height).sum(), |canvas| {
        let mut rest = canvas.clone();
        for (panel, layout) in panels.iter().zip(&layouts) {
            let (area, below) = rest.split_vertically(units(layout.height));
            panel.draw(&area, layout)?;
            rest = below;
        }
        Ok(())
    })
}

/// Writes `text` at the left edge from bottom to top, centred `middle` pixels below the top.
pub(super) fn write_upwards(canvas: &Canvas, text: &str, middle: f64) -> Drawn {
    let style = text_style(TEXT_SIZE, INK, (HPos::Center, VPos::Top)).transform(FontTransform::Rotate270);
    canvas.draw(&Text::new(text.to_owned(), (units(MARGIN - 4.0), units(middle)), style)).map_err(failed)
}

/// Returns the text of an SVG file of `width` by `height` pixels that `draw` draws.
pub(super) fn svg(width: f64, height: f64, draw: impl FnOnce(&Canvas) -> Drawn) -> Result<String, PlotError> {
    let mut text = String::new();
    let size = ((width * UNITS_PER_PIXEL) as u32, (height * UNITS_PER_PIXEL) as u32);
    {
        let canvas = SVGBackend::with_string(&mut text, size).into_drawing_area();
        canvas.fill(&WHITE).map_err(failed)?;
        draw(&canvas)?;
        canvas.present().map_err(failed)?;
    }
    let in_units = format!("<svg width=\"{}\" height=\"{}\"", size.0, size.1);
    let in_pixels = format!("<svg width=\"{width}\" height=\"{height}\" stroke-linejoin=\"round\"");
    Ok(text.replacen(&in_units, &in_pixels, 1))
}

/// Positions of the parts, in pixels.
struct Layout {
    height: f64,
    notes: Vec<String>,
    legend: Vec<Entry>,
    frame: Frame,
    y_ticks: Vec<f64>,
    y_labels: Vec<String>,
}

struct Entry {
    lines: Vec<String>,
    left: f64,
    top: f64,
    stroke: Stroke,
}

/// Index of the curve or reference that a line belongs to.
#[derive(Clone, Copy)]
enum Stroke {
    Curve(usize),
    Reference(usize),
}

/// The rectangle of the curves, and the values at its edges.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Step or threshold at the left edge.
    x_lo: f64,
    /// Step or threshold at the right edge.
    x_hi: f64,
    y: ValueRange,
}

impl Layout {
    /// Arranges the parts of `chart`, with the left edge of its frame at `least_left` or farther to the right.
    fn of(chart: &Chart, least_left: f64) -> Self {
        let lines = chart.curves.iter().flat_map(|curve| curve.line.iter().map(|point| point.1));
        let bands = chart.curves.iter().flat_map(|curve| curve.band.iter().flat_map(|&(_, lo, hi)| [lo, hi]));
        let levels: Vec<f64> = chart.references.iter().map(|reference| reference.value).collect();
        let y = match chart.across {
            Across::Steps => axis::value_range(lines.chain(bands).collect(), &levels),
            Across::Thresholds(..) => ValueRange { lo: 0.0, hi: 1.0, cut_below: None, cut_above: None },
        };
        let y_ticks = axis::ticks(y.lo, y.hi, Y_TICKS);
        let y_labels = axis::value_labels(&y_ticks);
        let widest = y_labels.iter().map(|label| text_width(label, TEXT_SIZE)).fold(0.0, f64::max);
        let (left, right) = ((MARGIN + TEXT_SIZE + 10.0 + widest + 8.0).max(least_left), WIDTH - 26.0);

        let mut notes = if chart.is_further { vec![] } else { chart.notes.clone() };
        notes.extend(cut_note(&y));
        let notes = wrap(&notes, " \u{b7} ", NOTE_SIZE, right - left);
        let legend_top = chart.below_title() + notes.len() as f64 * LINE_HEIGHT;
        let (legend, legend_height) = legend(chart, &y, left, right, legend_top);
        let top = legend_top + legend_height + 6.0;
        // A long legend makes the figure taller instead of the curves flatter.
        let height = if chart.is_further { top + FURTHER_HEIGHT } else { HEIGHT.max(top + 330.0) };
        let last_step = chart.curves.iter().filter_map(|curve| curve.line.last()).map(|point| point.0);
        let (x_lo, x_hi) = match chart.across {
            Across::Steps => (0.0, axis::step_end(last_step.fold(0.0, f64::max), X_TICKS)),
            Across::Thresholds(low, high) => (low, high),
        };
        let frame = Frame { left, right, top, bottom: height - 58.0, x_lo, x_hi, y };
        Self { height, notes, legend, frame, y_ticks, y_labels }
    }
}

impl Frame {
    fn x_pixel(&self, step: f64) -> f64 {
        self.left + (self.right - self.left) * (step - self.x_lo) / (self.x_hi - self.x_lo)
    }

    fn y_pixel(&self, value: f64) -> f64 {
        let share = (value.clamp(self.y.lo, self.y.hi) - self.y.lo) / (self.y.hi - self.y.lo);
        self.bottom - (self.bottom - self.top) * share
    }

    fn shows(&self, value: f64) -> bool {
        (self.y.lo..=self.y.hi).contains(&value)
    }

    /// Returns the pieces of a line within the frame, in units of the back end.
    fn visible(&self, line: &[(f64, f64)]) -> Vec<Vec<(i32, i32)>> {
        let mut pieces = vec![Vec::new()];
        for ends in line.windows(2) {
            let ((step_0, value_0), (step_1, value_1)) = (ends[0], ends[1]);
            if value_0.max(value_1) < self.y.lo || value_0.min(value_1) > self.y.hi {
                continue;
            }
            let towards = |edge: f64| step_0 + (step_1 - step_0) * (edge - value_0) / (value_1 - value_0);
            let end = |step, value: f64| {
                let edge = value.clamp(self.y.lo, self.y.hi);
                self.at(if edge == value { step } else { towards(edge) }, edge)
            };
            let (from, to) = (end(step_0, value_0), end(step_1, value_1));
            let piece = pieces.last_mut().expect("there is always one");
            match piece.last() {
                Some(&last) if last == from => piece.push(to),
                _ => pieces.push(vec![from, to]),
            }
        }
        pieces.retain(|piece| piece.len() > 1);
        pieces
    }

    /// Returns the position of a point in units of the back end.
    fn at(&self, step: f64, value: f64) -> (i32, i32) {
        (units(self.x_pixel(step)), units(self.y_pixel(value)))
    }
}

fn cut_note(y: &ValueRange) -> Option<String> {
    let label = axis::short_value;
    match (y.cut_below, y.cut_above) {
        (Some(lowest), Some(highest)) => {
            Some(format!("cut off: values down to {} and up to {}", label(lowest), label(highest)))
        }
        (Some(lowest), None) => Some(format!("cut off: values down to {}", label(lowest))),
        (None, Some(highest)) => Some(format!("cut off: values up to {}", label(highest))),
        (None, None) => None,
    }
}

/// Arranges entries in rows between `left` and `right`, and returns their total height. A single curve has no legend,
/// since the title names it.
fn legend(chart: &Chart, y: &ValueRange, left: f64, right: f64, top: f64) -> (Vec<Entry>, f64) {
    let curves = chart.curves.iter().enumerate().map(|(i, curve)| (Stroke::Curve(i), curve.label.clone()));
    let references = chart.references.iter().enumerate().map(|(i, Reference { label, value })| {
        let place = match *value {
            value if value > y.hi => ", above this figure",
            value if value < y.lo => ", below this figure",
            _ => "",
        };
        (Stroke::Reference(i), format!("{label}{place}"))
    });
    let labels: Vec<_> = curves.chain(references).collect();
    if labels.len() < 2 || chart.is_further {
        return (Vec::new(), 0.0);
    }
    let mut entries = Vec::new();
    let (mut x, mut y, mut row_lines) = (left, top, 1);
    for (stroke, label) in labels {
        let lines = wrap(std::slice::from_ref(&label), " ", TEXT_SIZE, right - left - SWATCH);
        let width = SWATCH + lines.iter().map(|line| text_width(line, TEXT_SIZE)).fold(0.0, f64::max);
        if x > left && x + width > right {
            (x, y, row_lines) = (left, y + row_lines as f64 * LINE_HEIGHT, 1);
        }
        row_lines = row_lines.max(lines.len());
        entries.push(Entry { lines, left: x, top: y, stroke });
        x += width + ENTRY_GAP;
    }
    (entries, y + row_lines as f64 * LINE_HEIGHT - top)
}

/// Joins `parts` to lines of at most `width`. A single word that is wider is cut off.
pub(super) fn wrap(parts: &[String], joint: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let pieces = |part: &String| match text_width(part, size) > width && part.contains(' ') {
        true => wrap(&part.split(' ').map(str::to_owned).collect::<Vec<_>>(), " ", size, width),
        false => vec![shortened(part, size, width)],
    };
    for part in parts.iter().flat_map(pieces) {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line}{joint}{part}"), size) <= width => {
                line.push_str(joint);
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
    }
    lines
}

/// Returns `text`, cut off where it is wider than `width`.
pub(super) fn shortened(text: &str, size: f64, width: f64) -> String {
    const DOTS: &str = "\u{2026}";
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let fits = |end: &usize| text_width(&text[..*end], size) + text_width(DOTS, size) <= width;
    let end = text.char_indices().map(|(at, _)| at).take_while(fits).last().unwrap_or(0);
    text[..end].to_owned() + DOTS
}

/// Returns an estimated width in pixels of `text` in a sans-serif font, based on DejaVu Sans, one of the widest.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | 'I' | ' ' => 0.33,
        'f' | 't' | 'r' | '(' | ')' | '/' | '-' => 0.41,
        'm' | 'w' | 'M' | 'W' | '=' | '\u{2212}' => 0.9,
        'A'..='Z' => 0.7,
        _ => 0.63,
    };
    text.chars().map(em).sum::<f64>() * size
}

fn draw_entry(canvas: &Canvas, entry: &Entry) -> Drawn {
    let middle = entry.top + LINE_HEIGHT / 2.0;
    let ends = [(entry.left, middle), (entry.left + SWATCH - 8.0, middle)];
    draw_line(canvas, ends.map(|(x, y)| (units(x), units(y))).to_vec(), entry.stroke)?;
    for (i, line) in entry.lines.iter().enumerate() {
        let at = (entry.left + SWATCH, middle + i as f64 * LINE_HEIGHT);
        write(canvas, line, at, TEXT_SIZE, INK, (HPos::Left, VPos::Center))?;
    }
    Ok(())
}

fn draw_line(canvas: &Canvas, pixels: Vec<(i32, i32)>, stroke: Stroke) -> Drawn {
    let (colour, width, dashes) = match stroke {
        Stroke::Curve(i) => (colour(i), 1.8, DASHES[i / COLOURS.len() % DASHES.len()]),
        Stroke::Reference(i) => (NOTE, 1.4, Some(REFERENCE_DASHES[i % REFERENCE_DASHES.len()])),
    };
    let style = colour.stroke_width(units(width) as u32);
    match dashes {
        None => canvas.draw(&PathElement::new(pixels, style)).map_err(failed),
        Some((dash, gap)) => {
            let (dash, gap) = (units(f64::from(dash)), units(f64::from(gap)));
            canvas.draw(&DashedPathElement::new(pixels, dash, gap, style)).map_err(failed)
        }
    }
}

pub(super) fn colour(curve: usize) -> RGBColor {
    COLOURS[curve % COLOURS.len()]
}

pub(super) fn stroke(canvas: &Canvas, pixels: &[(f64, f64)], colour: RGBColor, width: f64) -> Drawn {
    let points: Vec<_> = pixels.iter().map(|&(x, y)| (units(x), units(y))).collect();
    canvas.draw(&PathElement::new(points, colour.stroke_width(units(width) as u32))).map_err(failed)
}

pub(super) fn write(
    canvas: &Canvas,
    text: &str,
    at: (f64, f64),
    size: f64,
    colour: RGBColor,
    anchor: (HPos, VPos),
) -> Drawn {
    let at = (units(at.0), units(at.1));
    canvas.draw(&Text::new(text.to_owned(), at, text_style(size, colour, anchor))).map_err(failed)
}

pub(super) fn text_style(size: f64, colour: RGBColor, (h_pos, v_pos): (HPos, VPos)) -> TextStyle<'static> {
    // The back end divides font sizes by 1.24.
    let font = FontDesc::new(FontFamily::SansSerif, size * UNITS_PER_PIXEL * 1.24, FontStyle::Normal);
    TextStyle { font, color: colour.to_backend_color(), pos: Pos::new(h_pos, v_pos) }
}

pub(super) fn units(pixels: f64) -> i32 {
    (pixels * UNITS_PER_PIXEL).round() as i32
}

pub(super) fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError::Draw(error.to_string())
}
