//! A row of a comparison: the runs of one entrant in one environment.

use super::results::Results;
use super::table::NONE;
use crate::human::count;
use crate::statistics::{iqm, iqm_interval, median};
use std::collections::BTreeSet;
use std::iter::once;

/// Results in one environment.
#[derive(Debug)]
pub(super) struct Game {
    pub env: String,
    /// Agent, environment, protocol, steps and seeds.
    pub title: String,
    pub rows: Vec<Row>,
}

/// Results of one entrant in one environment. Times are medians over its runs.
#[derive(Debug)]
pub(super) struct Row {
    pub entrant: String,
    pub n_runs: usize,
    /// Points of each run: a step and the metric there.
    pub curves: Vec<Vec<(f64, f64)>>,
    /// One score for each mark; `None` if a run had not ended an episode by then.
    pub scores: Vec<Option<Score>>,
    /// The last score divided by the oracle's, if that is above 0.
    pub share_of_oracle: Option<f64>,
    pub wall_s: Option<f64>,
    pub steps_per_s: Option<f64>,
    /// Environment steps spent on the frames of one fit.
    pub n_env_steps: u64,
    pub code_size: Option<usize>,
    /// SHA-256 of the encoder's weights in each run; empty if it has none.
    pub weights: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    pub iqm: f64,
    /// 95 % interval; `None` for a single run.
    pub interval: Option<(f64, f64)>,
}

impl Row {
    pub(super) fn of(results: &Results, marks: &[u64]) -> Self {
        let runs = &results.runs;
        let curves: Vec<_> = runs.iter().map(|run| run.run.points.clone()).collect();
        let times: Vec<_> = runs.iter().filter_map(|run| run.time).collect();
        let n_env_steps: Vec<f64> = runs.iter().map(|run| run.encoder.n_env_steps as f64).collect();
        Self {
            entrant: results.name.clone(),
            n_runs: runs.len(),
            scores: marks.iter().map(|&mark| Score::at(mark, &curves)).collect(),
            curves,
            share_of_oracle: None,
            wall_s: median(&times.iter().map(|&(_, wall_s)| wall_s).collect::<Vec<_>>()),
            steps_per_s: median(&times.iter().map(|&(step, wall_s)| step / wall_s).collect::<Vec<_>>()),
            n_env_steps: median(&n_env_steps).unwrap_or_default().round() as u64,
            code_size: runs[0].encoder.code_size,
            weights: runs.iter().filter_map(|run| run.encoder.sha256.clone()).collect(),
        }
    }

    /// Returns the weights of different fits, in the order of the runs.
    pub(super) fn fits(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.weights.iter().map(String::as_str).filter(|sha256| seen.insert(*sha256)).collect()
    }

    pub(super) fn last_iqm(&self) -> Option<f64> {
        self.scores.last()?.map(|score| score.iqm)
    }

    /// Returns the fields of a CSV file after the entrant's name. Those of encoders are there if `of_encoders`.
    pub(super) fn fields(&self, of_encoders: bool) -> Vec<String> {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let scores = self.scores.iter().flat_map(|score| Score::numbers(*score)).map(number);
        let times = [self.wall_s, self.steps_per_s].map(number);
        let mut fields: Vec<String> = once(self.n_runs.to_string()).chain(scores).collect();
        if of_encoders {
            fields.push(number(self.share_of_oracle));
        }
        fields.extend(times);
        if of_encoders {
            let code_size = self.code_size.map(|size| size.to_string()).unwrap_or_default();
            fields.extend([self.n_env_steps.to_string(), code_size, self.fits().join(" ")]);
        }
        fields
    }

    /// Returns the cells of a Markdown table. Those of encoders are there if `of_encoders`.
    pub(super) fn cells(&self, of_encoders: bool) -> Vec<String> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_string());
        let scores = self.scores.iter().map(|score| or_none(score.map(Score::text)));
        let mut cells: Vec<String> = once(self.entrant.clone()).chain(scores).collect();
        if of_encoders {
            cells.push(or_none(self.share_of_oracle.map(|share| format!("{share:.2}"))));
        }
        cells.push(or_none(self.wall_s.map(|wall_s| format!("{wall_s:.1}"))));
        cells.push(or_none(self.steps_per_s.map(|steps_per_s| format!("{steps_per_s:.0}"))));
        if of_encoders {
            let rest = [
                Some(self.n_env_steps).filter(|&steps| steps > 0).map(count),
                self.code_size.map(|size| size.to_string()),
                Some(self.fits().len()).filter(|&n| n > 0).map(|n| n.to_string()),
            ];
            cells.extend(rest.map(or_none));
        }
        cells
    }

    /// Returns the value of each run after `step` steps, or `None` if a run has none by then.
    pub(super) fn values_at(&self, step: f64) -> Option<Vec<f64>> {
        values_at(step, &self.curves)
    }
}

fn values_at(step: f64, curves: &[Vec<(f64, f64)>]) -> Option<Vec<f64>> {
    let value = |curve: &Vec<(f64, f64)>| curve.iter().rfind(|point| point.0 <= step).map(|point| point.1);
    curves.iter().map(value).collect()
}

impl Score {
    /// Returns the score of runs with these curves after `step` steps, or `None` if a run has no value by then.
    pub(super) fn at(step: u64, curves: &[Vec<(f64, f64)>]) -> Option<Self> {
        let values = values_at(step as f64, curves)?;
        Some(Self { iqm: iqm(&values), interval: iqm_interval(&values) })
    }

    /// Returns the mean and the bounds of the interval.
    pub(super) fn numbers(score: Option<Self>) -> [Option<f64>; 3] {
        let interval = score.and_then(|score| score.interval);
        [score.map(|score| score.iqm), interval.map(|bounds| bounds.0), interval.map(|bounds| bounds.1)]
    }

    pub(super) fn text(self) -> String {
        let two = |value: f64| match format!("{value:.2}") {
            text if text == "-0.00" => "0.00".to_owned(),
            text => text,
        };
        match self.interval {
            Some((low, high)) => format!("{} [{}, {}]", two(self.iqm), two(low), two(high)),
            None => two(self.iqm),
        }
    }
}
