//! Runs in a folder: what they are, how far they are, and how they ended.

use crate::cli::print;
use crate::config::kind::{self, Config};
use crate::human::{count, duration};
use crate::run::{self, Log, MetricsFile, checkpoint};
use crate::{files, plot};
use anyhow::Result;
use fs_err as fs;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A run in the list.
#[derive(Serialize)]
pub(in crate::cli) struct Row {
    pub run: PathBuf,
    /// Agent and environment, or model and data.
    pub what: String,
    pub seed: u64,
    /// Steps or updates made, as far as they were logged.
    pub step: u64,
    /// Steps of the whole run, if they are known before.
    pub steps: Option<u64>,
    /// `running`, `finished`, `interrupted`, the error that ended it, or `stopped`.
    pub state: String,
    /// Latest mean return in training.
    #[serde(rename = "return")]
    pub episode_return: Option<f64>,
    pub wall_s: Option<f64>,
}

/// Prints the runs below `folder`.
pub(super) fn list(folder: &Path, json: bool) -> Result<()> {
    let mut rows = vec![];
    for dir in plot::find_runs(&[folder.to_path_buf()])? {
        match row(&dir) {
            Ok(row) => rows.push(row),
            Err(error) => say!("warning: {}: {error:#}", dir.display()),
        }
    }
    if json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
    }
    let lines = rows.iter().map(Row::cells);
    print(&aligned(
        [["run", "what", "seed", "step", "return", "time", "state"].map(str::to_owned)].into_iter().chain(lines),
    ))
}

/// Reads what the run in `dir` is and how far it is.
///
/// # Errors
/// When its configuration or its log cannot be read.
pub(in crate::cli) fn row(dir: &Path) -> Result<Row> {
    let (what, seed, steps) = match kind::config(dir)? {
        Config::Training(config) => {
            (format!("{} on {}", config.agent.name(), config.env.id()), config.run.seed, Some(config.run.steps))
        }
        Config::Fit(config) => (format!("{} to {}", config.model.name(), config.source), config.run.seed, None),
    };
    let [metrics, timing] = [MetricsFile::Metrics, MetricsFile::Timing].map(|table| dir.join(table.file()));
    let (returns, times) = (last(&metrics, "train/return"), last(&timing, "wall_s"));
    let (step, state) = ending(dir)?;
    let step = step.max(times.map_or(0, |(step, _)| step));
    let episode_return = returns.map(|(_, value)| value);
    let wall_s = times.map(|(_, seconds)| seconds).filter(|&seconds| checkpoint::is_time(seconds));
    Ok(Row { run: files::shown(dir).to_path_buf(), what, seed, step, steps, state, episode_return, wall_s })
}

/// Returns the step and the value of the last row of `name`.
fn last(table: &Path, name: &str) -> Option<(u64, f64)> {
    let text = fs::read_to_string(table).ok()?;
    text.lines().rev().find_map(|line| {
        let mut fields = line.split(',');
        let (step, found, value) = (fields.next()?, fields.next()?, fields.next()?);
        (found == name).then(|| Some((step.parse().ok()?, value.parse().ok()?)))?
    })
}

/// Returns the last step in the log, and how the run ended.
fn ending(dir: &Path) -> Result<(u64, String)> {
    let log = Log::of(dir)?;
    let state = if run::is_at_work(dir) { "running" } else { log.end().unwrap_or("stopped") };
    Ok((log.last_step(), state.to_owned()))
}

impl Row {
    fn cells(&self) -> [String; 7] {
        [
            self.run.display().to_string(),
            self.what.clone(),
            self.seed.to_string(),
            self.progress(),
            self.episode_return.map(|value| format!("{value:.2}")).unwrap_or_default(),
            self.time(),
            self.state.clone(),
        ]
    }

    /// Formats how far the run is.
    pub(in crate::cli) fn progress(&self) -> String {
        match self.steps {
            Some(steps) => format!("{} of {}", count(self.step), count(steps)),
            None => count(self.step),
        }
    }

    /// Formats the time at work on the run; empty if none was logged.
    pub(in crate::cli) fn time(&self) -> String {
        let time = self.wall_s.map(|seconds| duration(Duration::from_secs_f64(seconds)));
        time.unwrap_or_default()
    }
}

/// Returns rows of cells in columns.
fn aligned(rows: impl Iterator<Item = [String; 7]>) -> String {
    let rows: Vec<_> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
