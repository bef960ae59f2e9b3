//! Runs of players that do not learn: a level to read curves against.

use super::axis;
use super::error::PlotError;
use super::groups::Group;
use super::runs::Run;
use crate::statistics::mean;

/// Agents that play alike from the first step to the last.
const UNLEARNED: [&str; 2] = ["random", "scripted"];

/// A horizontal line.
#[derive(Debug)]
pub(super) struct Reference {
    pub label: String,
    pub value: f64,
}

/// The groups that are curves, and those that are levels. Without any curve to read them against, levels are curves too.
pub(super) fn split(groups: Vec<Group>) -> (Vec<Group>, Vec<Group>) {
    let is_level = |group: &Group| group.setting("agent").is_some_and(|agent| UNLEARNED.contains(&agent));
    let (levels, curves): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_level);
    if curves.is_empty() { (levels, curves) } else { (curves, levels) }
}

impl Reference {
    /// The level of `metric` in the runs of `group`: the mean of their episodes where the metric is one of episodes (those that
    /// end early would count too often in a mean of what was logged), else of what was logged.
    ///
    /// # Errors
    /// When a run's `episodes.csv` is not as it should be.
    pub(super) fn of(group: &Group, metric: &str) -> Result<Self, PlotError> {
        let mut values = group.runs.iter().map(|run| run.episodes(metric)).collect::<Result<Vec<_>, _>>()?.concat();
        if values.is_empty() {
            values = group.runs.iter().flat_map(logged).collect();
        }
        let value = mean(&values);
        Ok(Self { label: format!("{} (mean {})", group.label, axis::short_value(value)), value })
    }
}

fn logged(run: &Run) -> impl Iterator<Item = f64> {
    run.points.iter().map(|point| point.1)
}
