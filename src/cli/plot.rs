//! `carom plot`: learning curves of runs as SVG.

use super::print;
use crate::plot::{self, PlotError};
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};

/// Draw a metric against environment steps or epochs, grouped by configuration, with a band over seeds
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run directories, or folders that hold some
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// What to draw: a name from metrics.csv, eval.csv or timing.csv [default: train/return, of planners
    /// plan/value_start, of fits fit/loss]
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// File to write [default: plots/ of the run if there is one, else here, named after the metric]
    #[arg(short, long, value_name = "FILE.svg")]
    output: Option<PathBuf>,
}

/// Draws, and prints the path of the plot.
///
/// # Errors
/// When a path is no run, no run has the metric, or the plot cannot be written.
pub(super) fn run(args: Args) -> Result<()> {
    if let Some(out) = &args.output {
        let is_svg = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg"));
        ensure!(is_svg, "-o {}: plots are SVG files; give a name that ends in .svg", out.display());
    }
    let runs = plot::find_runs(&args.runs)?;
    let out = args.output.as_deref();
    let path = match args.metric {
        Some(metric) => draw(&runs, &metric, out)?,
        None => draw_usual(&runs, out)?,
    };
    print(&format!("{}\n", path.display()))
}

/// What is drawn where nothing else is asked for, the first that there is: returns of agents, a planner's value, a fit's loss.
const USUAL: [&str; 3] = ["train/return", "plan/value_start", "fit/loss"];

fn draw_usual(runs: &[PathBuf], output: Option<&Path>) -> Result<PathBuf, PlotError> {
    let mut first_error = None;
    for metric in USUAL {
        match draw(runs, metric, output) {
            Err(error @ PlotError::UnknownMetric { .. }) => first_error = first_error.or(Some(error)),
            drawn => return drawn,
        }
    }
    Err(first_error.expect("at least one metric was tried"))
}

fn draw(runs: &[PathBuf], metric: &str, output: Option<&Path>) -> Result<PathBuf, PlotError> {
    let out = output.map_or_else(|| default_output(runs, metric), Path::to_owned);
    for run in plot::returns(runs, metric, &out)? {
        say!("note: {} has no {metric} yet and is left out", run.display());
    }
    Ok(out)
}

fn default_output(runs: &[PathBuf], metric: &str) -> PathBuf {
    let name = plot::file_name(metric);
    match runs {
        [run] => run.join("plots").join(name),
        _ => Path::new(".").join(name),
    }
}
