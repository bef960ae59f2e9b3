//! Learning curves as SVG: a metric over environment steps, or over epochs for fits. Each configuration has a line,
//! with a band over its seeds.
//!
//! Runs whose `config.toml` differs only in the seed belong to one configuration. They may be logged at different
//! steps, so their values are interpolated on a common grid. Agents that do not learn are drawn as dashed levels beside
//! the curves.

mod axis;
mod chart;
mod error;
pub(crate) mod estimates;
mod groups;
pub(crate) mod overview;
pub(crate) mod policy;
pub(crate) mod raster;
mod reference;
mod runs;
pub(crate) mod scatter;
mod series;
pub(crate) mod table;
pub(crate) mod trials;

pub(crate) use error::PlotError;
pub(crate) use runs::{MAX_VALUE, Run, find_runs};

use carom_envs::settings::nearest;
use chart::{Across, Chart, Curve};

use groups::Group;
use raster::write_file;
use reference::Reference;
use std::path::{Path, PathBuf};

/// Metrics of which the first that runs have logged is drawn, unless one is named.
pub(crate) const DEFAULT_METRICS: [&str; 5] =
    ["train/return", "plan/value_start", "fit/loss", "test/log_likelihood", "test/ais_short"];

/// The horizontal axis of a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Along {
    /// Environment steps, epochs, updates or sweeps
    #[default]
    Steps,
    /// Time at work on the run
    Wall,
}

/// The band around the mean of several runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Band {
    /// From the lowest to the highest run
    #[default]
    Range,
    /// 95 % confidence interval of the mean, by Student's t
    Ci,
}

/// How curves are drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub along: Along,
    /// Logged points that each point is the mean of; 0 and 1 leave them as they are.
    pub smooth: usize,
    pub band: Band,
}

/// Draws `metric` of the runs to the file `out`, and returns the runs that have no values of it yet.
///
/// # Errors
/// When a folder is not a run, its files cannot be read, no run has the metric, or `out` cannot be written.
pub(crate) fn returns(
    run_dirs: &[impl AsRef<Path>],
    metric: &str,
    look: Look,
    out: &Path,
) -> Result<Vec<PathBuf>, PlotError> {
    let Drawn { runs, x_name, left_out } = prepare(run_dirs, metric, look)?;
    let (curves, levels) = reference::split(groups::group(runs));
    let svg = figure(&curves, &levels, metric, x_name, look)?.svg()?;
    write_file(out, &svg)?;
    Ok(left_out)
}

/// Draws each of `metrics` of the runs to a panel of the file `out`, and returns the runs that have no values of a
/// metric yet, with that metric. A configuration has one colour in all panels.
///
/// # Errors
/// When a folder is not a run, its files cannot be read, no run has one of the metrics, or `out` cannot be written.
pub(crate) fn panels<'a>(
    run_dirs: &[PathBuf],
    metrics: &'a [String],
    look: Look,
    out: &Path,
) -> Result<Vec<(&'a str, PathBuf)>, PlotError> {
    let (mut all, mut prepared, mut left_out) = (vec![], vec![], vec![]);
    for metric in metrics {
        let drawn = prepare(run_dirs, metric, look)?;
        left_out.extend(drawn.left_out.into_iter().map(|dir| (metric.as_str(), dir)));
        all.extend(drawn.runs.iter().cloned());
        prepared.push((metric, drawn.runs, drawn.x_name));
    }
    // In the order that they were given in.
    all.sort_by_key(|run: &Run| run_dirs.iter().position(|dir| *dir == run.dir));
    all.dedup_by(|a, b| a.dir == b.dir);
    let (curves, levels) = reference::split(groups::group(all));
    let mut charts = vec![];
    for (metric, runs, x_name) in prepared {
        let [own, own_levels] = [&curves, &levels].map(|groups| groups::only(groups, &runs));
        let mut chart = figure(&own, &own_levels, metric, x_name, look)?;
        chart.title = title(&curves, "several metrics");
        let mut drawn = chart.curves.into_iter();
        let has_own = |group: &Group| own.iter().any(|other| other.label == group.label);
        let missing = |group: &Group| Curve { label: group.label.clone(), ..Curve::default() };
        let curve = |group: &Group| if has_own(group) { drawn.next() } else { None }.unwrap_or_else(|| missing(group));
        chart.curves = curves.iter().map(curve).collect();
        chart.is_further = !charts.is_empty();
        charts.push(chart);
    }
    write_file(out, &chart::stacked(&charts)?)?;
    Ok(left_out)
}

/// Runs with the points of a metric as they are drawn.
struct Drawn {
    runs: Vec<Run>,
    x_name: &'static str,
    /// Runs without values of the metric.
    left_out: Vec<PathBuf>,
}

fn prepare(run_dirs: &[impl AsRef<Path>], metric: &str, look: Look) -> Result<Drawn, PlotError> {
    let runs = run_dirs.iter().map(|dir| Run::read(dir.as_ref(), metric)).collect::<Result<Vec<_>, _>>()?;
    let (mut runs, left_out): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| !run.points.is_empty());
    if runs.is_empty() {
        return Err(nothing_to_draw(&left_out, metric));
    }
    for run in &mut runs {
        series::smooth(&mut run.points, look.smooth);
    }
    let x_name = match look.along {
        Along::Steps => count_steps(&mut runs, metric),
        Along::Wall => count_time(&mut runs)?,
    };
    Ok(Drawn { runs, x_name, left_out: left_out.into_iter().map(|run| run.dir).collect() })
}

/// Draws `metric` to the SVG file `out`, with a line for each name and its runs.
///
/// # Errors
/// When no run has the metric, or the figure cannot be written.
pub(crate) fn comparison<'a>(
    lines: impl Iterator<Item = (&'a str, Vec<&'a Run>)>,
    metric: &str,
    out: &Path,
) -> Result<(), PlotError> {
    let mut drawn = Vec::new();
    for (name, runs) in lines {
        let runs: Vec<_> = runs.into_iter().filter(|run| !run.points.is_empty()).cloned().collect();
        if !runs.is_empty() {
            drawn.push(Group { label: name.to_owned(), runs });
        }
    }
    if drawn.is_empty() {
        return Err(PlotError::NoData { place: "the runs have".to_owned() });
    }
    write_file(out, &figure(&drawn, &[], metric, "environment steps", Look::default())?.svg()?)
}

/// Reads the values of `metric` in the run in `dir`: pairs of step and value, in order of their steps.
///
/// # Errors
/// When the folder is not a run, or its files cannot be read.
pub(crate) fn points(dir: &Path, metric: &str) -> Result<Vec<(f64, f64)>, PlotError> {
    Ok(Run::read(dir, metric)?.points)
}

/// Reads the returns of the training episodes of the run in `dir`, in the order in which they ended.
///
/// # Errors
/// When the folder is not a run, or its files cannot be read.
pub(crate) fn episode_returns(dir: &Path) -> Result<Vec<f64>, PlotError> {
    Run::read(dir, "train/return")?.episodes("train/return")
}

/// A fit's learning curve: its axis, and its lines with label, metric and sign.
struct FitCurve {
    y_name: &'static str,
    lines: &'static [(&'static str, &'static str, f64)],
}

/// Learning curves of fits. A fit has the first whose metrics it has all logged. What a model maximises rises, as the
/// numbers on the screen do.
const FIT_CURVES: [FitCurve; 6] = [
    FitCurve { y_name: "BCE per pixel, nats", lines: &[("training", "fit/bce", 1.0), ("test", "test/bce", 1.0)] },
    FitCurve {
        y_name: "bound of ln p per image, nats",
        lines: &[("training: minus the loss", "fit/loss", -1.0), ("test: ELBO", "test/elbo", 1.0)],
    },
    FitCurve {
        y_name: "loss of a batch",
        lines: &[("discriminator, with penalties", "fit/loss", 1.0), ("generator", "fit/g_loss", 1.0)],
    },
    FitCurve {
        y_name: "share of images classified correctly",
        lines: &[("training, distorted", "fit/accuracy", 1.0), ("test", "test/accuracy", 1.0)],
    },
    FitCurve { y_name: "ln p of test images, nats", lines: &[("exact", "test/log_likelihood", 1.0)] },
    FitCurve {
        y_name: "ln p of test images, nats",
        lines: &[("estimated by a short annealed importance sampling", "test/ais_short", 1.0)],
    },
];

/// Draws the learning curve of the fit in `run_dir` to the SVG file `out`: one of [`FIT_CURVES`], else `fit/loss`.
///
/// # Errors
/// When a folder is not a run, its files cannot be read, no run has the metric, or `out` cannot be written.
pub(crate) fn losses(run_dir: &Path, out: &Path) -> Result<(), PlotError> {
    let metrics = Run::read(run_dir, "")?.metrics;
    let is_logged = |curve: &&FitCurve| curve.lines.iter().all(|(_, metric, _)| metrics.contains(*metric));
    let Some(FitCurve { y_name, lines }) = FIT_CURVES.iter().find(is_logged) else {
        return returns(&[run_dir], "fit/loss", Look::default(), out).map(drop);
    };
    let mut runs = lines.iter().map(|(_, metric, _)| Run::read(run_dir, metric)).collect::<Result<Vec<_>, _>>()?;
    if runs.iter().any(|run| run.points.is_empty()) {
        return Err(nothing_to_draw(&runs, lines[0].1));
    }
    let x_name = count_steps(&mut runs, lines[0].1);
    for (run, (_, _, sign)) in runs.iter_mut().zip(*lines) {
        run.points.iter_mut().for_each(|(_, value)| *value *= sign);
    }
    let labelled = runs.chunks(1).zip(*lines);
    let curves: Vec<_> = labelled
        .map(|(run, (label, ..))| Curve { label: (*label).to_owned(), ..series::curve(run, Band::Range) })
        .collect();
    let mut notes = vec![];
    if let [(label, ..)] = lines {
        // A single curve has no legend.
        notes.push((*label).to_owned());
    }
    notes.extend(runs[0].settings.get("model.binarisation").map(|how| format!("binarisation {how}")));
    notes.extend(runs[0].seed.iter().map(|seed| format!("seed {seed}")));
    notes.extend(curve_note(&curves, x_name));
    let title = title(&[Group { label: String::new(), runs }], lines[0].1);
    let (y_name, references, across) = ((*y_name).to_owned(), vec![], Across::Steps);
    write_file(out, &Chart { title, notes, x_name, y_name, curves, references, across, is_further: false }.svg()?)
}

/// Converts steps to epochs if all of `runs` know the steps of an epoch, and one has an epoch. Returns the unit's name.
fn count_steps(runs: &mut [Run], metric: &str) -> &'static str {
    let has_epoch = |run: &Run| run.points.last().is_some_and(|last| Some(last.0) >= run.steps_per_epoch);
    if runs.iter().all(|run| run.steps_per_epoch.is_some()) && runs.iter().any(has_epoch) {
        runs.iter_mut().for_each(Run::count_epochs);
        return "epochs";
    }
    match runs.iter().all(Run::is_fit) {
        true => "updates",
        false if metric.starts_with("plan/") => "sweeps",
        false => "environment steps",
    }
}

/// Replaces the steps of all points by the time at work on the run, and returns the unit's name.
///
/// # Errors
/// When a run has logged no time.
fn count_time(runs: &mut [Run]) -> Result<&'static str, PlotError> {
    for run in runs.iter_mut() {
        let times = Run::read(&run.dir, "wall_s")?.points;
        if times.is_empty() {
            return Err(PlotError::NoData { place: format!("the timing.csv of `{}` has", run.dir.display()) });
        }
        run.points.iter_mut().for_each(|point| point.0 = series::interpolate(&times, point.0));
    }
    let longest = runs.iter().filter_map(|run| run.points.last()).map(|point| point.0).fold(0.0, f64::max);
    let (unit, name) = match longest {
        ..180.0 => (1.0, "seconds"),
        ..10_800.0 => (60.0, "minutes"),
        _ => (3600.0, "hours"),
    };
    runs.iter_mut().flat_map(|run| &mut run.points).for_each(|point| point.0 /= unit);
    Ok(name)
}

/// Returns the file name of a metric's plot: `return.svg` for `train/return`, `eval-return.svg` for `eval/return`.
pub(crate) fn file_name(metric: &str) -> String {
    format!("{}.svg", metric.strip_prefix("train/").unwrap_or(metric).replace('/', "-"))
}

fn nothing_to_draw(runs: &[Run], metric: &str) -> PlotError {
    let place = match runs {
        [run] => format!("`{}` has", run.dir.display()),
        runs => format!("the {} runs have", runs.len()),
    };
    let mut all: Vec<&str> = runs.iter().flat_map(|run| run.metrics.iter().map(String::as_str)).collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return PlotError::NoData { place };
    }
    if all.contains(&metric) {
        return PlotError::NotFinite { place, metric: metric.to_owned() };
    }
    // `retrun` and `return` should both suggest `train/return`.
    let tail = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let tails: Vec<String> = all.iter().map(|name| tail(name)).collect();
    let near = nearest(metric, all.iter().copied()).or_else(|| {
        let near = nearest(&tail(metric), tails.iter().map(String::as_str))?;
        all.iter().copied().find(|name| tail(name) == near)
    });
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    PlotError::UnknownMetric { place, metric: metric.to_owned(), near, all: all.join(", ") }
}

fn figure(
    groups: &[Group],
    levels: &[Group],
    metric: &str,
    x_name: &'static str,
    look: Look,
) -> Result<Chart, PlotError> {
    let most_seeds = groups.iter().map(|group| group.runs.len()).max().unwrap_or(0);
    let same_count = groups.iter().all(|group| group.runs.len() == most_seeds);
    let curves = groups.iter().map(|group| {
        let mut curve = series::curve(&group.runs, look.band);
        curve.label = match group.runs.len() {
            _ if same_count => group.label.clone(),
            1 => format!("{} (1 run)", group.label),
            n => format!("{} ({n} {})", group.label, group.repeats()),
        };
        curve
    });
    let curves: Vec<Curve> = curves.collect();
    let mut notes = protocol_note(groups.iter().chain(levels)).into_iter().collect::<Vec<_>>();
    notes.extend(repeats_note(groups, same_count.then_some(most_seeds), look.band));
    notes.extend((look.smooth > 1).then(|| format!("each point the mean of {} logged ones", look.smooth)));
    if let [group] = groups {
        // A single curve has no legend.
        notes.extend(group.changes());
    }
    notes.extend(curve_note(&curves, x_name));
    Ok(Chart {
        title: title(groups, metric),
        notes,
        x_name,
        y_name: value_name(metric),
        curves,
        references: levels.iter().map(|group| Reference::of(group, metric)).collect::<Result<_, _>>()?,
        across: Across::Steps,
        is_further: false,
    })
}

/// Returns a title such as `dqn on minatar/breakout` or `ae on mnist`, with the parts that all groups share.
fn title(groups: &[Group], metric: &str) -> String {
    match (groups::shared(groups, Run::actor), groups::shared(groups, Run::task)) {
        (Some(actor), Some(task)) => format!("{actor} on {task}"),
        (None, Some(task)) => task.to_owned(),
        (Some(actor), None) => actor.to_owned(),
        (None, None) => metric.to_owned(),
    }
}

/// Returns a note about the protocols. Returns under different protocols cannot be compared.
fn protocol_note<'a>(groups: impl Iterator<Item = &'a Group>) -> Option<String> {
    let mut protocols: Vec<_> = groups.flat_map(|group| &group.runs).map(Run::protocol).collect();
    protocols.sort_unstable();
    protocols.dedup();
    match protocols.into_iter().collect::<Option<Vec<_>>>()?.as_slice() {
        [protocol] => Some(protocol.clone()),
        protocols => Some(format!("different protocols: {}", protocols.join(" / "))),
    }
}

/// Returns a note about the meaning of lines and bands.
fn repeats_note(groups: &[Group], count: Option<usize>, band: Band) -> Option<String> {
    let repeats = if groups.iter().all(|group| group.repeats() == "seeds") { "seeds" } else { "runs" };
    let (one, many) = match band {
        Band::Range => ("band from lowest to highest", "bands from lowest to highest"),
        Band::Ci => ("band: 95 % interval of the mean (t)", "bands: 95 % intervals of the means (t)"),
    };
    match (count, groups) {
        // Only players that do not learn have the metric.
        (_, []) => None,
        (Some(1), [group]) => group.runs[0].seed.as_ref().map(|seed| format!("seed {seed}")),
        (Some(1), _) => Some("one run each".to_owned()),
        (Some(n), [_]) => Some(format!("mean of {n} {repeats}, {one}")),
        (Some(n), _) => Some(format!("mean of {n} {repeats} each, {many}")),
        (None, _) => Some(format!("mean over {repeats}, {many}")),
    }
}

/// Returns a note if lines are averaged, or if a line is a single point.
fn curve_note(curves: &[Curve], x_name: &str) -> Option<String> {
    match curves {
        [Curve { line, .. }] if line.len() == 1 => {
            let (step, value) = line[0];
            Some(format!("a single point: {} at {step} {x_name}", axis::short_value(value)))
        }
        [Curve { points_per_mean: n @ 2.., .. }] => Some(format!("mean and range of every {n} points")),
        _ if curves.iter().any(|curve| curve.points_per_mean > 1) => Some("long runs averaged in stretches".to_owned()),
        _ => None,
    }
}

/// Returns the label of a metric's axis, with its unit.
fn value_name(metric: &str) -> String {
    let name = match metric {
        "train/return" => "return, mean of the last 100 episodes",
        "train/length" => "episode length in steps, mean of the last 100",
        "train/loss" => "loss",
        "train/q_mean" => "mean Q-value",
        "train/epsilon" => "epsilon",
        "eval/return" => "evaluation return, mean of the episodes",
        "eval/length" => "episode length in steps, evaluation",
        "plan/value_start" => "expected discounted return from the start",
        "plan/residual" => "largest change of a value in a sweep",
        "fit/loss" => "training loss",
        "fit/contrast" => "free energy of data less that of chains, nats; no loss",
        "fit/d_loss" => "discriminator's loss without penalties",
        "fit/g_loss" => "generator's loss",
        "test/log_likelihood" => "ln p of test images, nats",
        "test/ais_short" => "ln p of test images, nats, by a short annealed importance sampling",
        "fit/accuracy" => "share of training images classified correctly",
        "test/accuracy" => "share of test images classified correctly",
        "fit/bce" => "training BCE per pixel, nats",
        "test/bce" => "test BCE per pixel, nats",
        "test/mse" => "test squared error per pixel",
        "test/elbo" => "test ELBO per image, nats",
        "test/kl" => "test KL divergence per image, nats",
        "test/iwae" => "test importance-weighted bound per image, nats",
        "steps_per_s" => "environment steps per second",
        "wall_s" => "wall-clock time in seconds",
        other => other,
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
