//! Files of a comparison: its results, tables and figures.

use crate::compare::{Comparison, METRIC, Overall, Results, Side, by_env, results_file};
use crate::config::training::TrainConfig;
use crate::plot::PlotError;
use crate::plot::estimates::{self, Heading};
use crate::{files, plot};
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::Path;

/// What to do about a file that is in the way.
pub(in crate::cli) const OTHER_DIR: &str = "--out DIR writes elsewhere";
/// Files of the table.
const TABLES: [&str; 2] = ["table.csv", "table.md"];
/// File of the results of all runs, to be compared with.
const RESULTS: &str = "results.csv";
/// File of the learning curves of a single environment.
const FIGURE: &str = "returns.svg";
/// Files of the statistics over all environments.
const FIGURES: [&str; 4] = ["intervals.svg", "profile.svg", "efficiency.svg", "improvement.svg"];

/// Checks that the tables and the figures of `envs` can be written to `dir`.
pub(super) fn check_files(dir: &Path, envs: &[&str]) -> Result<()> {
    let curves: Vec<String> = envs.iter().map(|env| curves_file(env, envs.len())).collect();
    let marked = [TABLES[1]].into_iter().chain(FIGURES).chain(curves.iter().map(String::as_str));
    // CSV has no comments: that table is ours beside the other.
    let unmarked = (!files::is_marked(&dir.join(TABLES[1]))).then_some(TABLES[0]);
    marked.chain(unmarked).try_for_each(|name| files::check_default(&dir.join(name), OTHER_DIR))
}

/// Checks that the results in `dir`, if there are any, are a comparison's, and that their runs are among `runs`.
pub(super) fn check_results(dir: &Path, runs: &[(&str, &TrainConfig)]) -> Result<()> {
    let path = dir.join(RESULTS);
    if !results_file::is_ours(&path) {
        return files::check_default(&path, OTHER_DIR);
    }
    let old = results_file::read(&path).with_context(|| {
        format!("{} is not replaced: remove it if its runs are there or not wanted, {OTHER_DIR}", path.display())
    })?;
    let lost = results_file::lost(&old, runs);
    ensure!(
        lost.is_none(),
        "{path} has a run that this comparison lacks: {}; --results {path} takes its runs in, {OTHER_DIR}",
        lost.unwrap_or_default(),
        path = path.display()
    );
    Ok(())
}

/// Returns the name of the file of an environment's learning curves, one of `n_envs`.
fn curves_file(env: &str, n_envs: usize) -> String {
    if n_envs == 1 { FIGURE.to_owned() } else { format!("returns-{}.svg", env.replace('/', "-")) }
}

/// Writes the tables and the figures to `dir`, and returns their names.
pub(super) fn write_all(dir: &Path, results: &[Results], table: &Comparison, markdown: &str) -> Result<Vec<String>> {
    let write = |name, text: &str| files::write_whole(&dir.join(name), |file| file.write_all(text.as_bytes()));
    write(RESULTS, &results_file::to_csv(results))?;
    write(TABLES[0], &table.to_csv())?;
    write(TABLES[1], &format!("{markdown}\n{}", files::svg_mark()))?;
    let mut written: Vec<String> = TABLES.iter().rev().chain([&RESULTS]).map(|name| (*name).to_owned()).collect();
    let groups = by_env(results)?;
    for group in &groups {
        let name = curves_file(group[0].env(), groups.len());
        let lines = group.iter().map(|results| (results.name(), results.runs.iter().map(|run| &run.run).collect()));
        // Without a finished episode there is no figure, but there is a table.
        match plot::comparison(lines, METRIC, &dir.join(&name)) {
            Ok(()) => written.push(name),
            Err(error) => say!("no {name}: {error}"),
        }
    }
    if let Some(overall) = table.overall() {
        let names: Vec<_> = groups.iter().map(|group| group[0].env()).collect();
        written.extend(draw(overall, &names.join(", "), dir)?);
    } else {
        say!("no {}: a run has no return by the last step of the table", FIGURES.join(", "));
    }
    Ok(written)
}

/// Draws the figures of the statistics over all environments, and returns their names.
fn draw(overall: &Overall, envs: &str, dir: &Path) -> Result<Vec<String>, PlotError> {
    let heading = |title: &str, spread: &str| {
        let mut notes = vec![format!("{} of {envs}", overall.note())];
        notes.extend(overall.has_intervals().then(|| spread.to_owned()));
        Heading { title: title.to_owned(), notes }
    };
    let score_heading = |title: &str, spread: &str| {
        let mut heading = heading(title, spread);
        heading.notes.extend(overall.meaning().map(str::to_owned));
        heading
    };
    let name = overall.score_name();
    let [intervals, profile, efficiency, improvement] = FIGURES;
    let spread = "bars: 95 % stratified bootstrap";
    let at = |file: &str| dir.join(file);
    estimates::intervals(
        &score_heading("Interquartile means", spread),
        name,
        &overall.intervals(),
        None,
        &at(intervals),
    )?;
    let improvements = overall.improvements();
    let mut written = vec![intervals, profile, efficiency];
    if !improvements.is_empty() {
        let mut heading = heading(&format!("Probability of improvement over {}", overall.first()), spread);
        heading.notes.push("0.5 is no difference".to_owned());
        let bounds = Some((0.0, 1.0));
        // The first has no row, and the others the colours of the other figures.
        let rows: Vec<_> = std::iter::once(None).chain(improvements.iter().cloned().map(Some)).collect();
        estimates::intervals(&heading, "probability", &rows, bounds, &at(improvement))?;
        written.push(improvement);
    }
    let spread = "bands: 95 % stratified bootstrap";
    estimates::profiles(&score_heading("Performance profiles", spread), name, &overall.profiles(), &at(profile))?;
    let title = "Sample efficiency: interquartile means";
    estimates::efficiency(&score_heading(title, spread), name, &overall.efficiency(), &at(efficiency))?;
    Ok(written.into_iter().map(str::to_owned).collect())
}
