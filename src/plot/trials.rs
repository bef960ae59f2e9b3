//! Trials of a search: a scatter plot if one setting was varied, parallel coordinates if there are more.
//!
//! The darker a line, the better its trial by rank, so that one bad score does not make all others alike. The best has
//! a colour of its own. Trials that were given up early are gray, since their scores are of fewer steps.

use super::axis;
use super::chart::{
    AXIS, Canvas, Drawn, GRID, INK, LINE_HEIGHT, MARGIN, NOTE, NOTE_SIZE, TEXT_SIZE, TITLE_SIZE, failed, stroke, svg,
    text_width, units, wrap, write, write_upwards,
};
use super::error::PlotError;
use super::raster;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::path::Path;

/// Contents of the figure.
#[derive(Debug)]
pub(crate) struct Trials {
    pub title: String,
    /// Lines below the title.
    pub notes: Vec<String>,
    /// Name of each setting that was varied.
    pub axes: Vec<String>,
    /// Name of the score.
    pub score: String,
    /// The trials with a score, the best first.
    pub best_first: Vec<Trial>,
}

/// One trial.
#[derive(Debug)]
pub(crate) struct Trial {
    /// The value on each axis.
    pub values: Vec<String>,
    /// The score, a mean over seeds.
    pub score: f64,
    /// Score of each seed.
    pub scores: Vec<f64>,
    /// Whether it was given up before the others.
    pub is_given_up: bool,
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 460.0;
/// Least distance of the axes from the left and right edges in parallel coordinates.
const SIDE: f64 = 70.0;
/// Share of an axis that is free at each end.
const AIR: f64 = 0.05;
/// Bounds the intervals between ticks.
const TICKS: usize = 6;
/// Ratio of the largest to the smallest value from which on an axis is logarithmic.
const LOG_RATIO: f64 = 8.0;

const BEST: RGBColor = RGBColor(213, 94, 0);
const GIVEN_UP: RGBColor = RGBColor(200, 200, 200);
/// Colours of the worst and of the second best.
const PALE: (f64, f64, f64) = (176.0, 205.0, 226.0);
const DARK: (f64, f64, f64) = (8.0, 64.0, 129.0);

/// Draws `trials` to the SVG file `out`.
///
/// # Errors
/// When no trial has a score, or the figure cannot be drawn or written.
pub(crate) fn write_file(trials: &Trials, out: &Path) -> Result<(), PlotError> {
    if trials.best_first.is_empty() {
        return Err(PlotError::NoData { place: "the trials have".to_owned() });
    }
    let text = svg(WIDTH, HEIGHT, |canvas| trials.draw(canvas))?;
    raster::write_file(out, &text)
}

impl Trials {
    fn draw(&self, canvas: &Canvas) -> Drawn {
        write(canvas, &self.title, (MARGIN, MARGIN), TITLE_SIZE, INK, (HPos::Left, VPos::Top))?;
        let notes = wrap(&self.notes, " \u{b7} ", NOTE_SIZE, WIDTH - 2.0 * MARGIN);
        for (i, note) in notes.iter().enumerate() {
            let at = (MARGIN, MARGIN + TITLE_SIZE + 8.0 + i as f64 * LINE_HEIGHT);
            write(canvas, note, at, NOTE_SIZE, NOTE, (HPos::Left, VPos::Top))?;
        }
        let top = MARGIN + TITLE_SIZE + 8.0 + (notes.len() + 1) as f64 * LINE_HEIGHT;
        let scales: Vec<Scale> = (0..self.axes.len()).map(|i| self.scale(i)).collect();
        match &scales[..] {
            [scale] => self.draw_scatter(canvas, scale, top),
            scales => self.draw_parallel(canvas, scales, top),
        }
    }

    fn scale(&self, axis: usize) -> Scale {
        Scale::of(&self.best_first.iter().map(|trial| trial.values[axis].as_str()).collect::<Vec<_>>())
    }

    /// Returns the scale of the scores, with those of single seeds if `of_seeds`.
    fn score_scale(&self, of_seeds: bool) -> Scale {
        let seeds = self.best_first.iter().filter(|_| of_seeds).flat_map(|trial| trial.scores.iter().copied());
        Scale::of_numbers(self.best_first.iter().map(|trial| trial.score).chain(seeds).collect(), false)
    }

    /// Returns colour and width of the trial at `rank`.
    fn look(&self, rank: usize) -> (RGBColor, f64) {
        if self.best_first[rank].is_given_up {
            return (GIVEN_UP, 1.2);
        }
        let n = self.best_first.iter().filter(|trial| !trial.is_given_up).count();
        if rank == 0 {
            return (BEST, 3.0);
        }
        let share = (rank - 1) as f64 / (n.max(3) - 2) as f64;
        let mix = |dark: f64, pale: f64| (dark + share * (pale - dark)).round() as u8;
        (RGBColor(mix(DARK.0, PALE.0), mix(DARK.1, PALE.1), mix(DARK.2, PALE.2)), 1.6)
    }

    fn draw_parallel(&self, canvas: &Canvas, scales: &[Scale], top: f64) -> Drawn {
        let (top, bottom) = (top + LINE_HEIGHT, HEIGHT - MARGIN - 4.0);
        let score = self.score_scale(false);
        let labels = scales[0].ticks().into_iter().map(|(_, label)| text_width(&label, NOTE_SIZE));
        let left = labels.fold(SIDE, |left, width| left.max(width + MARGIN));
        let gap = (WIDTH - left - SIDE) / scales.len() as f64;
        let across = |i: usize| left + i as f64 * gap;
        let down = |share: f64| bottom - (bottom - top) * share;
        // The best is drawn last, above the others.
        for (rank, trial) in self.best_first.iter().enumerate().rev() {
            let (colour, width) = self.look(rank);
            let mut line: Vec<(f64, f64)> = scales
                .iter()
                .zip(&trial.values)
                .enumerate()
                .map(|(i, (scale, text))| (across(i), down(scale.place(text))))
                .collect();
            line.push((across(scales.len()), down(score.share(trial.score))));
            stroke(canvas, &line, colour, width)?;
        }
        let names = self.axes.iter().chain([&self.score]);
        for (i, (scale, name)) in scales.iter().chain([&score]).zip(names).enumerate() {
            let x = across(i);
            stroke(canvas, &[(x, top), (x, bottom)], AXIS, 1.0)?;
            let shown = wrap(std::slice::from_ref(name), " ", TEXT_SIZE, gap);
            for (line, text) in shown.iter().rev().enumerate() {
                let above = top - 8.0 - line as f64 * (TEXT_SIZE + 2.0);
                write(canvas, text, (x, above), TEXT_SIZE, INK, (HPos::Center, VPos::Bottom))?;
            }
            for (share, label) in scale.ticks() {
                // No line is on the right of the scores.
                let side = if i == scales.len() { 1.0 } else { -1.0 };
                stroke(canvas, &[(x + 4.0 * side, down(share)), (x, down(share))], AXIS, 1.0)?;
                match i == scales.len() {
                    true => write(canvas, &label, (x + 7.0, down(share)), NOTE_SIZE, INK, (HPos::Left, VPos::Center))?,
                    false => write_on_white(canvas, &label, (x - 7.0, down(share)))?,
                }
            }
        }
        Ok(())
    }

    fn draw_scatter(&self, canvas: &Canvas, scale: &Scale, top: f64) -> Drawn {
        let score = self.score_scale(true);
        let labels = score.ticks();
        let widest = labels.iter().map(|(_, label)| text_width(label, TEXT_SIZE)).fold(0.0, f64::max);
        let (left, right, bottom) = (MARGIN + LINE_HEIGHT + widest + 8.0, WIDTH - MARGIN - 10.0, HEIGHT - 58.0);
        let at = |text: &str, value: f64| {
            let across = left + (right - left) * scale.place(text);
            (across, bottom - (bottom - top) * score.share(value))
        };
        for (share, label) in labels {
            let y = bottom - (bottom - top) * share;
            stroke(canvas, &[(left, y), (right, y)], GRID, 1.0)?;
            write(canvas, &label, (left - 8.0, y), TEXT_SIZE, INK, (HPos::Right, VPos::Center))?;
        }
        for (share, label) in scale.ticks() {
            let x = left + (right - left) * share;
            stroke(canvas, &[(x, top), (x, bottom + 5.0)], GRID, 1.0)?;
            write(canvas, &label, (x, bottom + 9.0), TEXT_SIZE, INK, (HPos::Center, VPos::Top))?;
        }
        stroke(canvas, &[(left, top), (left, bottom), (right, bottom)], AXIS, 1.0)?;
        for (rank, trial) in self.best_first.iter().enumerate().rev() {
            let (colour, _) = self.look(rank);
            let dot = |value: f64, radius: f64, style: ShapeStyle| {
                let (x, y) = at(&trial.values[0], value);
                canvas.draw(&Circle::new((units(x), units(y)), units(radius), style)).map_err(failed)
            };
            for &score in trial.scores.iter().filter(|_| trial.scores.len() > 1) {
                dot(score, 2.5, colour.mix(0.5).filled())?;
            }
            dot(trial.score, 5.5, colour.filled())?;
        }
        let below = (f64::midpoint(left, right), bottom + 32.0);
        write(canvas, &self.axes[0], below, TEXT_SIZE, INK, (HPos::Center, VPos::Top))?;
        write_upwards(canvas, &self.score, f64::midpoint(top, bottom))
    }
}

/// Writes the label of a tick, on a ground that keeps it readable where lines cross it.
fn write_on_white(canvas: &Canvas, label: &str, (x, y): (f64, f64)) -> Drawn {
    let (width, half) = (text_width(label, NOTE_SIZE), NOTE_SIZE / 2.0 + 1.0);
    let corners = [(units(x - width - 1.0), units(y - half)), (units(x + 1.0), units(y + half))];
    canvas.draw(&Rectangle::new(corners, WHITE.mix(0.8).filled())).map_err(failed)?;
    write(canvas, label, (x, y), NOTE_SIZE, INK, (HPos::Right, VPos::Center))
}

/// An axis: where values lie on it, as a share of its length.
enum Scale {
    /// Names, evenly spaced.
    Names(Vec<String>),
    /// Numbers in this range, after the logarithm if `log`.
    Numbers { lo: f64, hi: f64, log: bool, few: Vec<f64> },
}

impl Scale {
    /// Returns the scale of `texts`: of numbers, if all are.
    fn of(texts: &[&str]) -> Self {
        let numbers: Option<Vec<f64>> = texts.iter().map(|text| number(text)).collect();
        if let Some(numbers) = numbers {
            return Self::of_numbers(numbers, true);
        }
        let mut names: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        names.sort();
        names.dedup();
        Self::Names(names)
    }

    /// Returns the scale of `numbers`, which may be logarithmic if `can_be_log`, and has ticks at the numbers if there
    /// are few.
    fn of_numbers(mut numbers: Vec<f64>, can_be_log: bool) -> Self {
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        let (lo, hi) = (numbers[0], numbers[numbers.len() - 1]);
        let log = can_be_log && lo > 0.0 && hi / lo >= LOG_RATIO;
        let few = if can_be_log && numbers.len() <= TICKS { numbers } else { vec![] };
        if log {
            return Self::Numbers { lo: lo.ln(), hi: hi.ln(), log, few };
        }
        let half = if lo == hi { lo.abs().max(1.0) * 0.1 } else { 0.0 };
        Self::Numbers { lo: lo - half, hi: hi + half, log, few }
    }

    fn place(&self, text: &str) -> f64 {
        match self {
            Self::Names(names) => {
                let i = names.iter().position(|name| name == text).unwrap_or_default();
                (i as f64 + 0.5) / names.len() as f64
            }
            Self::Numbers { .. } => self.share(number(text).unwrap_or_default()),
        }
    }

    fn share(&self, value: f64) -> f64 {
        match *self {
            Self::Names(_) => 0.5,
            Self::Numbers { lo, hi, log, .. } => {
                let value = if log { value.ln() } else { value };
                AIR + (1.0 - 2.0 * AIR) * (value - lo) / (hi - lo)
            }
        }
    }

    /// Returns the places of ticks and their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        match self {
            Self::Names(names) => names.iter().map(|name| (self.place(name), name.clone())).collect(),
            Self::Numbers { few, .. } if !few.is_empty() => {
                let width = few[few.len() - 1] - few[0];
                few.iter().map(|&value| (self.share(value), axis::value_within(value, width))).collect()
            }
            &Self::Numbers { lo, hi, log: true, .. } => {
                let ticks = log_ticks(lo.exp(), hi.exp());
                ticks.into_iter().map(|value| (self.share(value), axis::short_value(value))).collect()
            }
            &Self::Numbers { lo, hi, .. } => {
                let ticks = axis::ticks(lo, hi, TICKS);
                ticks.iter().zip(axis::value_labels(&ticks)).map(|(&value, label)| (self.share(value), label)).collect()
            }
        }
    }
}

/// Returns the powers of ten from `lo` to `hi`, or 1, 2 and 5 times them if there are few.
fn log_ticks(lo: f64, hi: f64) -> Vec<f64> {
    let powers = || (lo.log10().floor() as i32..=hi.log10().ceil() as i32).map(|power| format!("1e{power}"));
    let power = |text: String| text.parse::<f64>().expect("a power of ten");
    let inside = |value: &f64| (lo * (1.0 - 1e-9)..=hi * (1.0 + 1e-9)).contains(value);
    let tens: Vec<f64> = powers().map(power).filter(inside).collect();
    if tens.len() > 2 {
        return tens;
    }
    powers().map(power).flat_map(|ten| [ten, 2.0 * ten, 5.0 * ten]).filter(inside).collect()
}

/// Reads a number, or a count such as `10k`.
fn number(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .or_else(|| Some(crate::human::parse_count(text).ok()? as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_span_powers_of_ten_are_placed_by_their_logarithm() {
        let scale = Scale::of(&["0.001", "0.1", "0.01"]);
        assert!((scale.place("0.01") - 0.5).abs() < 1e-9);
        assert_eq!(scale.ticks().len(), 3);
        let scale = Scale::of(&["1k", "2000", "3000"]);
        assert!((scale.place("2k") - 0.5).abs() < 1e-9);
        let names = Scale::of(&["raw", "ae", "raw"]);
        assert_eq!(names.ticks(), [(0.25, "ae".to_owned()), (0.75, "raw".to_owned())]);
        let labels = Scale::of(&["0.995", "0.9995", "0.9999"]).ticks().into_iter().map(|(_, label)| label);
        assert_eq!(labels.collect::<Vec<_>>(), ["0.995", "0.9995", "0.9999"]);
        assert_eq!(log_ticks(0.05, 2.0), [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]);
        assert_eq!(log_ticks(1e-4, 0.1), [1e-4, 1e-3, 1e-2, 1e-1]);
    }
}
