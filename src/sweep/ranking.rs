//! The trials of a search in the order of their scores.

use super::file::SweepFile;
use super::journal::Journal;
use crate::compare::table::{NONE, table};
use crate::human::count;
use crate::statistics::mean;
use serde_json::{Value, json};
use std::cmp::Ordering;

/// A trial and its result.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Number of the trial, counted from 0.
    pub trial: usize,
    /// The value on each axis.
    pub values: Vec<String>,
    /// Steps after which it was judged.
    pub steps: u64,
    /// Score of each seed's run.
    pub scores: Vec<(u64, f64)>,
    /// Mean over the seeds, if all have a score.
    pub score: Option<f64>,
    /// Runs that failed, by seed, with their errors.
    pub failures: Vec<(u64, String)>,
}

/// The trials of a search, the best first. Those that were given up earlier follow those that went on.
#[derive(Debug)]
pub(crate) struct Ranking<'a> {
    file: &'a SweepFile,
    /// Steps of the longest trials.
    most: u64,
    /// The trials in their order.
    pub standings: Vec<Standing>,
}

impl<'a> Ranking<'a> {
    /// Reads the results in `journal` of trials with `values` on the axes. `steps` are those after which each trial is
    /// judged, for all its rungs.
    pub(crate) fn new(file: &'a SweepFile, journal: &Journal, values: &[Vec<String>], steps: &[Vec<u64>]) -> Self {
        let standing = |trial: usize| Standing::read(trial, &values[trial], file, journal, &steps[trial]);
        let mut standings: Vec<Standing> = (0..values.len()).map(standing).collect();
        standings.sort_by(|a, b| Self::order(file, a, b));
        let most = steps.iter().flatten().copied().max().unwrap_or_default();
        Self { file, most, standings }
    }

    fn order(file: &SweepFile, a: &Standing, b: &Standing) -> Ordering {
        // Trials of a grid over `steps` have different steps, and are compared by their scores alone.
        let rung = |standing: &Standing| if file.search.halving.is_some() { standing.steps } else { 0 };
        let gain = |standing: &Standing| standing.score.map_or(f64::NEG_INFINITY, |score| file.metric.gain(score));
        let is_scored = |standing: &Standing| standing.score.is_some();
        let by_score = is_scored(b).cmp(&is_scored(a)).then(rung(b).cmp(&rung(a))).then(gain(b).total_cmp(&gain(a)));
        by_score.then(a.trial.cmp(&b.trial))
    }

    /// Returns the trial with the best score among those with the most steps, if one has a score.
    pub(crate) fn best(&self) -> Option<&Standing> {
        self.standings.first().filter(|standing| standing.score.is_some())
    }

    /// Returns whether a trial was given up before the last rung.
    pub(crate) fn is_given_up(&self, standing: &Standing) -> bool {
        self.file.search.halving.is_some() && standing.steps < self.most
    }

    /// Returns the number of trials that have a score.
    pub(crate) fn n_scored(&self) -> usize {
        self.standings.iter().filter(|standing| standing.score.is_some()).count()
    }

    /// Returns the ranking as a Markdown table, with a legend and the errors of trials that failed.
    pub(crate) fn to_markdown(&self) -> String {
        let axes = self.file.axes.iter().map(|axis| axis.key.clone());
        let has_rungs = self.file.search.halving.is_some();
        let mut head = vec!["trial".to_owned()];
        head.extend(axes.chain(has_rungs.then(|| "steps".to_owned())).chain(["score".to_owned()]));
        let row = |standing: &Standing| {
            let steps = has_rungs.then(|| count(standing.steps));
            let words = [standing.trial.to_string()].into_iter().chain(standing.values.clone());
            words.chain(steps).chain([standing.score_text()]).collect::<Vec<String>>()
        };
        let cells: Vec<Vec<String>> = [head].into_iter().chain(self.standings.iter().map(row)).collect();
        let failures = self.standings.iter().flat_map(|standing| {
            let trial = standing.trial;
            standing.failures.iter().map(move |(seed, error)| format!("- trial {trial}, seed {seed}: {error}\n"))
        });
        let failures: String = failures.collect();
        let failures = if failures.is_empty() { failures } else { format!("\nFailed runs:\n\n{failures}") };
        format!("{}\n{}{failures}", table(&cells), self.legend())
    }

    /// Says in words what a score is.
    fn legend(&self) -> String {
        let SweepFile { metric, seeds, search, .. } = self.file;
        let goal = if metric.is_lower_better { "lower is better" } else { "higher is better" };
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let over = match &seeds[..] {
            [seed] => format!("with seed {seed}"),
            seeds => format!("mean over the seeds {} [lowest, highest]", seeds.join(", ")),
        };
        let rungs = match search.halving {
            Some(_) => " Trials with fewer steps were given up there; their scores are of that step.",
            None => "",
        };
        format!("Score: {metric}, {over}; {goal}.{rungs}\n")
    }

    /// Returns the ranking as JSON.
    pub(crate) fn to_json(&self) -> Value {
        let keys = || self.file.axes.iter().map(|axis| axis.key.clone());
        let trial = |standing: &Standing| {
            let values: serde_json::Map<String, Value> =
                keys().zip(standing.values.iter().cloned().map(Value::String)).collect();
            let runs: Vec<Value> =
                standing.scores.iter().map(|(seed, score)| json!({ "seed": seed, "score": score })).collect();
            let failures: Vec<Value> =
                standing.failures.iter().map(|(seed, error)| json!({ "seed": seed, "error": error })).collect();
            json!({
                "trial": standing.trial, "settings": values, "steps": standing.steps, "score": standing.score,
                "runs": runs, "failures": failures,
            })
        };
        json!({
            "metric": self.file.metric.to_string(),
            "goal": if self.file.metric.is_lower_better { "min" } else { "max" },
            "best": self.best().map(|best| best.trial),
            "trials": self.standings.iter().map(trial).collect::<Vec<_>>(),
        })
    }
}

impl Standing {
    fn read(trial: usize, values: &[String], file: &SweepFile, journal: &Journal, rungs: &[u64]) -> Self {
        let results = |steps: u64| {
            let result = move |&seed: &u64| Some((seed, journal.result(trial, seed, steps)?));
            file.seeds.iter().filter_map(result)
        };
        let scores = |steps: u64| -> Vec<(u64, f64)> {
            results(steps).filter_map(|(seed, result)| Some((seed, result.ok()?))).collect()
        };
        let is_whole = |steps: &&u64| scores(**steps).len() == file.seeds.len();
        let whole = rungs.iter().rev().find(is_whole).copied();
        let steps = whole.unwrap_or(rungs[0]);
        let scores = scores(steps);
        let failed = |steps: &u64| {
            let failure = |(seed, result): (u64, Result<f64, &str>)| Some((seed, result.err()?.to_owned()));
            results(*steps).filter_map(failure).collect::<Vec<_>>()
        };
        Self {
            trial,
            values: values.to_vec(),
            steps,
            score: whole.map(|_| mean(&scores.iter().map(|&(_, score)| score).collect::<Vec<_>>())),
            scores,
            failures: rungs.iter().flat_map(failed).collect(),
        }
    }

    /// Returns the score in words, with the range over the seeds.
    pub(crate) fn score_text(&self) -> String {
        let Some(score) = self.score else {
            return if self.failures.is_empty() { NONE.to_owned() } else { "failed".to_owned() };
        };
        let scores = || self.scores.iter().map(|&(_, score)| score);
        if self.scores.len() == 1 {
            return number(score);
        }
        let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
        format!("{} [{}, {}]", number(score), number(low), number(high))
    }
}

/// Formats a score: with two decimals, or three digits if it is below 1.
fn number(score: f64) -> String {
    match score.abs() {
        size if size >= 1.0 || size == 0.0 => format!("{score:.2}"),
        _ => format!("{score:.2e}").parse::<f64>().map_or_else(|_| score.to_string(), |score| score.to_string()),
    }
}
