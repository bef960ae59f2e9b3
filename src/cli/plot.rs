//! `carom plot`: draws learning curves of runs as SVG or PNG.

use super::print;
use crate::files;
use crate::human::parse_count;
use crate::plot::{self, Along, Band, DEFAULT_METRICS, Look, PlotError, raster};
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};

/// Draw a metric against environment steps or epochs, grouped by configuration, with a band over seeds
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run directories, or directories that contain some
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Metric to draw, from metrics.csv, eval.csv or timing.csv; several, separated by commas, have a panel each
    /// [default: train/return, plan/value_start for planners, fit/loss for fits, the test images' ln p for an rbm]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    metric: Vec<String>,
    /// File to write, SVG or PNG by its extension [default: <metric>.svg in plots/ of a single run, else in this
    /// directory]
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Horizontal axis
    #[arg(long = "x", value_name = "AXIS", default_value = "steps")]
    along: Along,
    /// Replace each point by the mean of the latest N logged ones
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true, default_value = "1")]
    smooth: u64,
    /// Band around the mean of several seeds
    #[arg(long, value_name = "BAND", default_value = "range")]
    band: Band,
}

/// Draws the plot and prints its path.
///
/// # Errors
/// When a path is not a run, no run has the metric, or the plot cannot be written.
pub(super) fn run(args: &Args) -> Result<()> {
    if let Some(out) = &args.output {
        let name = out.display();
        ensure!(raster::is_figure(out), "-o {name}: plots are SVG or PNG; give a name that ends in .svg or .png");
    }
    ensure!(args.smooth > 0, "--smooth is 0: a mean is of one point at least");
    let runs = plot::find_runs(&args.runs)?;
    let out = args.output.as_deref();
    let look = Look { along: args.along, smooth: args.smooth.try_into()?, band: args.band };
    let path = match &args.metric[..] {
        [] => draw_default(&runs, look, out)?,
        [metric] => draw(&runs, metric, look, out)?,
        metrics => draw_panels(&runs, metrics, look, out)?,
    };
    print(&format!("{}\n", path.display()))
}

fn draw_default(runs: &[PathBuf], look: Look, output: Option<&Path>) -> Result<PathBuf> {
    let mut first_error = None;
    for metric in DEFAULT_METRICS {
        match draw(runs, metric, look, output) {
            Err(error) if matches!(error.downcast_ref(), Some(PlotError::UnknownMetric { .. })) => {
                first_error = first_error.or(Some(error));
            }
            drawn => return drawn,
        }
    }
    Err(first_error.expect("at least one metric was tried"))
}

fn draw(runs: &[PathBuf], metric: &str, look: Look, output: Option<&Path>) -> Result<PathBuf> {
    let out = match output {
        Some(output) => output.to_owned(),
        None => default_output(runs, metric)?,
    };
    for run in plot::returns(runs, metric, look, &out)? {
        say!("note: {} has no {metric} yet and is left out", run.display());
    }
    Ok(out)
}

fn draw_panels(runs: &[PathBuf], metrics: &[String], look: Look, output: Option<&Path>) -> Result<PathBuf> {
    let out = match output {
        Some(output) => output.to_owned(),
        None => default_output(runs, &metrics.join("-"))?,
    };
    for (metric, run) in plot::panels(runs, metrics, look, &out)? {
        say!("note: {} has no {metric} yet and is left out", run.display());
    }
    Ok(out)
}

fn default_output(runs: &[PathBuf], metric: &str) -> Result<PathBuf> {
    let name = plot::file_name(metric);
    let path = match runs {
        [run] => run.join("plots").join(name),
        _ => Path::new(".").join(name),
    };
    files::check_default(&path, files::OTHER_FILE)?;
    Ok(path)
}
