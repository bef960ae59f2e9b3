//! Levels of agents that do not learn, for comparison with curves.

use super::axis;
use super::error::PlotError;
use super::groups::Group;
use super::runs::Run;
use crate::statistics::mean;

/// Agents that do not learn.
const UNLEARNED: [&str; 2] = ["random", "scripted"];

/// A horizontal line.
#[derive(Debug)]
pub(super) struct Reference {
    pub label: String,
    pub value: f64,
}

/// Splits groups into curves and levels. If there are no curves, levels are drawn as curves.
pub(super) fn split(groups: Vec<Group>) -> (Vec<Group>, Vec<Group>) {
    let is_level = |group: &Group| group.setting("agent").is_some_and(|agent| UNLEARNED.contains(&agent));
    let (levels, curves): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_level);
    if curves.is_empty() { (levels, curves) } else { (curves, levels) }
}

impl Reference {
    /// Returns the mean of `metric` in the runs of `group`. Metrics of episodes are averaged over all episodes, since
    /// the first ones are contained in many logged means. Others are averaged over logged values.
    ///
    /// # Errors
    /// When a run's `episodes.csv` is not valid.
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
