//! The curves of all metrics of runs, as numbers for a page that draws them.

use super::error::PlotError;
use super::groups::{self, Group};
use super::runs::{Points, Run};
use super::{Band, count_steps, series, title, value_name};
use crate::dotted::Dotted;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Runs in groups of one configuration, with the curves of all their metrics.
#[derive(Debug)]
pub(crate) struct Overview {
    /// Words that all runs share, such as `dqn on taxi`.
    pub title: String,
    pub groups: Vec<Kin>,
    pub figures: Vec<Figure>,
    /// Latest value of each metric, by run.
    pub latest: BTreeMap<PathBuf, BTreeMap<String, f64>>,
}

/// Runs that differ in their seeds.
#[derive(Debug)]
pub(crate) struct Kin {
    /// Words that distinguish the group from the others.
    pub label: String,
    pub runs: Vec<PathBuf>,
    /// Settings without the seed.
    pub settings: Dotted,
}

/// A metric with a line for each group that has logged it.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub metric: String,
    /// Label of the vertical axis.
    pub value: String,
    /// Label of the horizontal axis.
    pub along: &'static str,
    pub lines: Vec<Line>,
}

/// The mean over the runs of a group, and their range.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// Index of the group.
    pub group: usize,
    /// `(step, value)`
    #[serde(rename = "line")]
    pub points: Vec<(f64, f64)>,
    /// `(step, lowest, highest)`; empty for a single run.
    pub band: Vec<(f64, f64, f64)>,
}

/// Reads all metrics of the runs.
///
/// # Errors
/// When a folder is not a run, or its files cannot be read.
pub(crate) fn of(run_dirs: &[PathBuf]) -> Result<Overview, PlotError> {
    let (mut runs, mut points) = (vec![], BTreeMap::new());
    for dir in run_dirs {
        let (run, of_run) = Run::read_all(dir)?;
        runs.push(run);
        points.insert(dir.clone(), of_run);
    }
    let groups = groups::group(runs);
    let metrics: BTreeSet<&String> = points.values().flat_map(BTreeMap::keys).collect();
    let figures = metrics.into_iter().map(|metric| figure(metric, &groups, &points)).collect();
    let latest = |points: &Points| {
        let last = |points: &Vec<(f64, f64)>| points.last().map_or(f64::NAN, |point| point.1);
        points.iter().map(|(metric, points)| (metric.clone(), last(points))).collect()
    };
    Ok(Overview {
        title: title(&groups, "Comparison of runs"),
        figures,
        latest: points.iter().map(|(dir, points)| (dir.clone(), latest(points))).collect(),
        groups: groups.into_iter().map(kin).collect(),
    })
}

fn kin(group: Group) -> Kin {
    let settings = group.runs[0].settings.clone();
    Kin { label: group.label, settings, runs: group.runs.into_iter().map(|run| run.dir).collect() }
}

fn figure(metric: &str, groups: &[Group], points: &BTreeMap<PathBuf, Points>) -> Figure {
    let points_of = |dir: &Path| points.get(dir).and_then(|points| points.get(metric));
    let (mut runs, mut owners) = (vec![], vec![]);
    for (owner, run) in groups.iter().enumerate().flat_map(|(i, group)| group.runs.iter().map(move |run| (i, run))) {
        if let Some(points) = points_of(&run.dir) {
            runs.push(Run { points: points.clone(), ..run.clone() });
            owners.push(owner);
        }
    }
    let along = count_steps(&mut runs, metric);
    let mut lines = vec![];
    let mut rest = &runs[..];
    for members in owners.chunk_by(|a, b| a == b) {
        let (own, others) = rest.split_at(members.len());
        rest = others;
        let curve = series::curve(own, Band::Range);
        let points = curve.line.into_iter().map(|(step, value)| (rounded(step), rounded(value))).collect();
        let band = curve.band.into_iter().map(|(step, lo, hi)| (rounded(step), rounded(lo), rounded(hi))).collect();
        lines.push(Line { group: members[0], points, band });
    }
    Figure { metric: metric.to_owned(), value: value_name(metric), along, lines }
}

/// Rounds to as many digits as a screen can show. The texts of such numbers are short.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
