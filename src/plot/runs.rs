//! Finds runs on disk and reads one metric of each.

use super::axis;
use super::error::PlotError;
use crate::dotted::{AtStep, Change, Dotted, History, of_table};
use crate::files;
use crate::human::count;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Files of a run with rows of `step,name,value`.
const FILES: &[&str] = &["metrics.csv", "eval.csv", "timing.csv"];

/// Metric of a fit's progress in epochs. It gives the updates of an epoch.
const EPOCH: &str = "fit/epoch";

/// Metrics that are means over episodes, in the order of their columns in `episodes.csv`, which follow step and
/// environment.
const EPISODE_METRICS: [&str; 2] = ["train/return", "train/length"];

/// Bounds the depth at which runs are found below a folder, as in `runs/<sweep>/<run>`.
const MAX_DEPTH: usize = 2;

/// Points of metrics by name: `(step, value)`, in the order of their steps, finite.
pub(super) type Points = BTreeMap<String, Vec<(f64, f64)>>;

/// One run's configuration and the points of one metric.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Its folder; empty if the run itself is not there.
    pub dir: PathBuf,
    /// Settings without the seed. One that changed along the run has all of its values: `0.1, 0.2 from 5k`.
    pub settings: Dotted,
    /// Keys of the settings that changed along the run.
    pub changed: BTreeSet<String>,
    pub seed: Option<String>,
    /// Protocol of the environment.
    pub protocol: Option<String>,
    /// `(step, value)`, in the order of their steps, finite.
    pub points: Vec<(f64, f64)>,
    /// Names of all metrics of the run.
    pub metrics: BTreeSet<String>,
    /// Updates of an epoch, if it is a fit that has logged its epochs.
    pub steps_per_epoch: Option<f64>,
}

impl Run {
    /// A run of which there are settings and `points` alone.
    pub(crate) fn of_points(settings: Dotted, protocol: String, seed: u64, points: Vec<(f64, f64)>) -> Self {
        Self { settings, seed: Some(seed.to_string()), protocol: Some(protocol), points, ..Self::empty() }
    }

    /// Reads `dir/config.toml` and the points of `metric`.
    ///
    /// # Errors
    /// When the folder is not a run, or its files cannot be read.
    pub(crate) fn read(dir: &Path, metric: &str) -> Result<Self, PlotError> {
        let (mut run, mut points) = Self::read_if(dir, |name| name == metric)?;
        run.points = points.remove(metric).unwrap_or_default();
        Ok(run)
    }

    /// Reads `dir/config.toml` and the points of all metrics.
    pub(super) fn read_all(dir: &Path) -> Result<(Self, Points), PlotError> {
        Self::read_if(dir, |_| true)
    }

    /// Reads `dir/config.toml` and the points of the metrics that `is_wanted` accepts.
    fn read_if(dir: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<(Self, Points), PlotError> {
        check_is_run(dir)?;
        let path = dir.join("config.toml");
        let config: toml::Table = fs_err::read_to_string(&path)?.parse().map_err(|error: toml::de::Error| {
            PlotError::BadFile { path: path.clone(), line: None, reason: error.to_string().trim_end().to_owned() }
        })?;
        let mut run = Self { dir: dir.to_owned(), settings: of_table(&config), ..Self::empty() };
        if let Some(meta) = run.meta() {
            run.protocol = meta.get("protocol").and_then(|protocol| protocol.as_str()).map(str::to_owned);
            run.follow_changes(meta);
        }
        run.settings.remove("kind");
        run.seed = run.settings.remove("seed");
        let mut points = Points::new();
        for file in FILES.iter().map(|name| dir.join(name)).filter(|path| path.is_file()) {
            run.add_points(&file, &is_wanted, &mut points)?;
        }
        for points in points.values_mut() {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        Ok((run, points))
    }

    /// Returns the agent or the model.
    pub(crate) fn actor(&self) -> Option<&str> {
        self.setting(["agent", "model"])
    }

    /// Returns the environment or the data.
    pub(super) fn task(&self) -> Option<&str> {
        self.setting(["env", "data"]).map(last_name)
    }

    /// Returns whether this is a fit.
    pub(super) fn is_fit(&self) -> bool {
        self.settings.contains_key("model")
    }

    /// Converts steps to epochs.
    ///
    /// # Panics
    /// When the number of steps of an epoch is unknown.
    pub(super) fn count_epochs(&mut self) {
        let steps_per_epoch = self.steps_per_epoch.expect("a fit that has told of an epoch");
        self.points.iter_mut().for_each(|(step, _)| *step /= steps_per_epoch);
    }

    fn setting(&self, either: [&str; 2]) -> Option<&str> {
        either.iter().find_map(|key| self.settings.get(*key)).map(String::as_str)
    }

    /// Returns the protocol of the environment, if it differs from the environment's id.
    pub(super) fn protocol(&self) -> Option<String> {
        self.protocol.clone().filter(|protocol| self.settings.get("env") != Some(protocol))
    }

    fn meta(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&fs_err::read_to_string(self.dir.join("meta.json")).ok()?).ok()
    }

    /// Replaces the settings by those that the steps were made with. `config.toml` may have been edited after the run.
    fn follow_changes(&mut self, meta: serde_json::Value) {
        let Ok(history) = serde_json::from_value::<History>(meta) else { return };
        self.settings = history.settings;
        let mut values = Dotted::new();
        for AtStep { step, change: Change { key, from, to } } in history.changes {
            let [from, to] = [from, to].map(|value| value.map_or_else(|| "not given".to_owned(), |v| short_value(&v)));
            let before = values.remove(&key).unwrap_or(from);
            values.insert(key, format!("{before}, {to} from {}", count(step)));
        }
        self.changed = values.keys().cloned().collect();
        self.settings.extend(values);
    }

    /// Returns the values whose mean is `metric`, one for each episode. Empty if it is not a metric of training
    /// episodes, or no episode has ended.
    pub(super) fn episodes(&self, metric: &str) -> Result<Vec<f64>, PlotError> {
        let path = self.dir.join("episodes.csv");
        let Some(column) = EPISODE_METRICS.iter().position(|&known| known == metric) else { return Ok(Vec::new()) };
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let text = fs_err::read_to_string(&path)?;
        let value = |row: csv::Result<csv::StringRecord>| {
            let bad = |line| PlotError::BadFile { path: path.clone(), line, reason: "not four numbers".to_owned() };
            let row = row.map_err(|error| bad(error.position().map(csv::Position::line)))?;
            let value = row.get(2 + column).and_then(|field| field.parse().ok());
            value.ok_or_else(|| bad(row.position().map(csv::Position::line)))
        };
        csv::Reader::from_reader(whole_lines(&text).as_bytes()).records().map(value).collect()
    }

    fn empty() -> Self {
        Self {
            dir: PathBuf::new(),
            settings: Dotted::new(),
            changed: BTreeSet::new(),
            seed: None,
            protocol: None,
            points: Vec::new(),
            metrics: BTreeSet::new(),
            steps_per_epoch: None,
        }
    }

    fn add_points(
        &mut self,
        path: &Path,
        is_wanted: &impl Fn(&str) -> bool,
        points: &mut Points,
    ) -> Result<(), PlotError> {
        let text = fs_err::read_to_string(path)?;
        for record in csv::Reader::from_reader(whole_lines(&text).as_bytes()).records() {
            let bad = |line, reason| PlotError::BadFile { path: path.to_owned(), line, reason };
            let record = record
                .map_err(|error| bad(error.position().map(csv::Position::line), "not three fields".to_owned()))?;
            let line = record.position().map(csv::Position::line);
            let [step, name, value] = [0, 1, 2].map(|i| record.get(i).unwrap_or_default());
            if !self.metrics.contains(name) {
                self.metrics.insert(name.to_owned());
            }
            let is_wanted = is_wanted(name);
            if !is_wanted && name != EPOCH {
                continue;
            }
            let number = |field: &str, text: &str| {
                text.parse::<f64>().map_err(|_| bad(line, format!("{field} is `{text}`, expected a number")))
            };
            let point = (number("step", step)?, number("value", value)?);
            if name == EPOCH && point.1 > 0.0 {
                self.steps_per_epoch = Some((point.0 / point.1).round());
            }
            if is_wanted && [point.0, point.1].iter().all(|x| x.abs() <= MAX_VALUE) {
                match points.get_mut(name) {
                    Some(points) => points.push(point),
                    None => drop(points.insert(name.to_owned(), vec![point])),
                }
            }
        }
        Ok(())
    }
}

/// Values beyond it count as infinite: squares and ranges of larger ones are.
pub(crate) const MAX_VALUE: f64 = 1e100;

/// Returns `text` without an incomplete last line, which a running process may have written.
fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

/// Finds the runs among and below `paths`, each once.
///
/// # Errors
/// When a path does not exist or contains no run.
pub(crate) fn find_runs(paths: &[PathBuf]) -> Result<Vec<PathBuf>, PlotError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        let before = found.len();
        if is_run(path) {
            found.push(path.clone());
        } else if path.is_dir() {
            find_below(path, MAX_DEPTH, &mut found)?;
        }
        if found.len() == before {
            check_is_run(path)?;
        }
    }
    found.retain(|run| seen.insert(run.canonicalize().unwrap_or_else(|_| run.clone())));
    Ok(found)
}

fn find_below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), PlotError> {
    let entries = fs_err::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut folders: Vec<_> = entries.iter().map(fs_err::DirEntry::path).filter(|path| path.is_dir()).collect();
    folders.sort();
    // A process that was killed may have left a run half made, or the one that it replaced.
    folders.retain(|path| path.file_name().is_none_or(|name| !files::is_left_over(&name.to_string_lossy())));
    for folder in folders {
        if is_run(&folder) {
            found.push(folder);
        } else if depth > 1 {
            find_below(&folder, depth - 1, found)?;
        }
    }
    Ok(())
}

fn is_run(path: &Path) -> bool {
    path.join("config.toml").is_file()
}

fn check_is_run(path: &Path) -> Result<(), PlotError> {
    let reason = if is_run(path) {
        return Ok(());
    } else if path.is_dir() {
        "it has no config.toml and holds no runs"
    } else if path.exists() {
        "it is a file; give the folder that holds config.toml and metrics.csv"
    } else {
        "there is no such folder"
    };
    Err(PlotError::NotARun { path: path.to_owned(), reason: reason.to_owned() })
}

/// Returns the last name of an absolute path, and other values as they are.
pub(super) fn last_name(value: &str) -> &str {
    if value.starts_with('/') { value.rsplit('/').next().unwrap_or(value) } else { value }
}

/// Shortens whole thousands, e.g. `250k`, and paths.
pub(super) fn short_value(value: &str) -> String {
    match value.parse::<i64>() {
        Ok(count) if count.abs() >= 1000 && count % 1000 == 0 => axis::count_label(count as f64),
        _ => last_name(value).to_owned(),
    }
}
