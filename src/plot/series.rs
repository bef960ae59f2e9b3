//! Combines the points of runs into a line and a band with few points.

use super::Band;
use super::chart::Curve;
use super::runs::Run;
use crate::statistics::{mean, t_half_width};

/// Bounds the points of a single run's line. The chart has about as many pixels.
const MAX_POINTS: usize = 1000;

/// Bounds the points of a line with a band. A band needs three numbers for each point, and seven bands should make a
/// small file.
const MAX_BAND_POINTS: usize = 500;

/// Returns the mean of `runs` and their `band`, or the points of a single run.
pub(super) fn curve(runs: &[Run], band: Band) -> Curve {
    if let [run] = runs {
        return thinned(&run.points);
    }
    let grid = grid(runs);
    let resampled: Vec<_> = runs.iter().map(|run| resample(&run.points, &grid)).collect();
    let mut curve = Curve::default();
    // Before that, it would be a mean of those runs alone whose first episode ended early.
    let start = (0..grid.len()).find(|&i| resampled.iter().all(|run| run[i].is_some())).unwrap_or(0);
    for (i, &step) in grid.iter().enumerate().skip(start) {
        let values: Vec<f64> = resampled.iter().filter_map(|run| run[i]).collect();
        match band {
            _ if values.is_empty() => {}
            Band::Range => curve.push(step, &values),
            Band::Ci => {
                let (centre, half) = (mean(&values), t_half_width(&values).unwrap_or(0.0));
                curve.line.push((step, centre));
                curve.band.push((step, centre - half, centre + half));
            }
        }
    }
    curve
}

/// Replaces each point by the mean of the latest `n` up to it.
pub(super) fn smooth(points: &mut [(f64, f64)], n: usize) {
    let values: Vec<f64> = points.iter().map(|point| point.1).collect();
    for (i, point) in points.iter_mut().enumerate() {
        point.1 = mean(&values[(i + 1).saturating_sub(n.max(1))..=i]);
    }
}

/// Returns the steps at which runs are averaged: all logged steps, or an even grid if these are too many.
fn grid(runs: &[Run]) -> Vec<f64> {
    let mut steps: Vec<f64> = runs.iter().flat_map(|run| run.points.iter().map(|point| point.0)).collect();
    steps.sort_by(f64::total_cmp);
    steps.dedup();
    if steps.len() <= MAX_BAND_POINTS {
        return steps;
    }
    let (first, last) = (steps[0], steps[steps.len() - 1]);
    let cell = (last - first) / (MAX_BAND_POINTS - 1) as f64;
    (0..MAX_BAND_POINTS).map(|i| first + i as f64 * cell).collect()
}

/// Returns the values of `points` at the steps of `grid`: the mean of the points nearest to that step, or a linear
/// interpolation if there are none.
///
/// Beyond its ends a run keeps its first or last value for the usual distance of its points, since seeds log these
/// points at slightly different steps. Farther out it has no value.
pub(super) fn resample(points: &[(f64, f64)], grid: &[f64]) -> Vec<Option<f64>> {
    let (first, last) = (points[0], points[points.len() - 1]);
    let reach = (last.0 - first.0) / (points.len().max(2) - 1) as f64;
    let mut values = Vec::with_capacity(grid.len());
    let mut start = 0;
    for (i, &step) in grid.iter().enumerate() {
        let cell_end = grid.get(i + 1).map_or(f64::INFINITY, |next| (step + next) / 2.0);
        let end = start + points[start..].partition_point(|point| point.0 < cell_end);
        let inside = &points[start..end];
        values.push(if !inside.is_empty() {
            Some(mean(&inside.iter().map(|point| point.1).collect::<Vec<_>>()))
        } else if start == 0 {
            (first.0 - step <= reach).then_some(first.1)
        } else if start == points.len() {
            (step - last.0 <= reach).then_some(last.1)
        } else {
            let (left, right) = (points[start - 1], points[start]);
            Some(left.1 + (right.1 - left.1) * (step - left.0) / (right.0 - left.0))
        });
        start = end;
    }
    values
}

/// Returns the value of `points` at `step` by linear interpolation; beyond their ends, the first or the last value.
pub(super) fn interpolate(points: &[(f64, f64)], step: f64) -> f64 {
    match points.partition_point(|point| point.0 < step) {
        0 => points[0].1,
        n if n == points.len() => points[n - 1].1,
        n => {
            let (left, right) = (points[n - 1], points[n]);
            left.1 + (right.1 - left.1) * (step - left.0) / (right.0 - left.0)
        }
    }
}

/// Returns the points, or if there are more than [`MAX_POINTS`], means over intervals of them, with their lowest and
/// highest value as the band.
fn thinned(points: &[(f64, f64)]) -> Curve {
    if points.len() <= MAX_POINTS {
        return Curve { line: points.to_vec(), ..Curve::default() };
    }
    let stretch_len = points.len().div_ceil(MAX_BAND_POINTS);
    let mut curve = Curve { points_per_mean: stretch_len, ..Curve::default() };
    for stretch in points.chunks(stretch_len) {
        let (steps, values): (Vec<f64>, Vec<f64>) = stretch.iter().copied().unzip();
        curve.push(mean(&steps), &values);
    }
    // The line reaches from the first step to the last.
    for (at, i) in [(points[0].0, 0), (points[points.len() - 1].0, curve.line.len() - 1)] {
        curve.line[i].0 = at;
        curve.band[i].0 = at;
    }
    curve
}

impl Curve {
    /// Adds the mean and the range of `values`.
    fn push(&mut self, step: f64, values: &[f64]) {
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.line.push((step, mean(values)));
        self.band.push((step, lowest, highest));
    }
}
