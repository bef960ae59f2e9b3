//! `carom report`: writes one HTML page about runs.

use super::list::runs::{Row, row};
use super::{print, watch};
use crate::config::kind::{self, Config};
use crate::dotted::{AtStep, History};
use crate::files::{self, shown};
use crate::human::{count, parse_count, shell};
use crate::plot::overview::{self, Overview};
use crate::plot::{self, DEFAULT_METRICS};
use crate::report::{Page, Picture, Recipe, Table};
use crate::run::{self, CONFIG, PLOTS};
use anyhow::{Context, Result, ensure};
use clap::Args;
use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Write one HTML page about runs: curves, scores, settings, pictures, an episode, and the commands
///
/// The page needs no network and no other file. Curves are of any metric that the runs have logged, with a band over
/// seeds. An episode is played by the first run of each configuration; pictures are those of fits.
#[derive(Args)]
#[command(after_help = "Examples:\n  carom report runs/taxi-q-learning-s0 runs/taxi-sarsa-s0\n  \
                  carom report runs --out study.html")]
pub(super) struct Arguments {
    /// Run directories, or directories that contain some
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// File to write [default: report.html beside the first run]
    #[arg(short, long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Longest episode that is shown, in steps; 0 shows none
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true, default_value = "1000")]
    max_steps: u64,
}

/// Name of the page beside runs.
const FILE: &str = "report.html";

/// Bounds the groups whose first run plays an episode or shows its pictures, and the bytes of a picture.
const MAX_SHOWN: usize = 8;
const MAX_BYTES: u64 = 8 << 20;

/// Curves of a run that the page draws itself.
const CURVES: [&str; 2] = ["return.svg", "loss.svg"];

/// Metrics of an agent's scores, and the heads of their columns.
const SCORES: [(&str, &str); 4] = [
    ("train/return", "return in training"),
    ("eval/return", "return in evaluation"),
    ("eval/return_exact", "expected return"),
    ("plan/value_start", "value of the start"),
];

/// Bounds the measures of a fit in the table of scores.
const MAX_MEASURES: usize = 12;

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let mut dirs = plot::find_runs(&arguments.runs)?;
    let mut rows = BTreeMap::new();
    for dir in &dirs {
        match row(dir) {
            Ok(row) => drop(rows.insert(dir.clone(), row)),
            Err(error) => say!("warning: {} is left out: {error:#}", dir.display()),
        }
    }
    dirs.retain(|dir| rows.contains_key(dir));
    let out = arguments.place(dirs.first().context("there is no run to report on")?)?;
    let overview = overview::of(&dirs)?;
    let recipes = recipes(&overview)?;
    let page = Page {
        first_metric: first_metric(&overview),
        scores: scores(&overview, &rows)?,
        films: films(&overview, arguments.max_steps)?,
        pictures: pictures(&overview)?,
        recipes,
        overview,
    };
    files::write_whole(&out, |file| file.write_all(page.html().as_bytes()))
        .with_context(|| format!("cannot write {}", out.display()))?;
    print(&format!("{}\n", out.display()))
}

impl Arguments {
    /// Returns the file to write. One that Carom did not write is replaced only if it was named.
    fn place(&self, first: &Path) -> Result<PathBuf> {
        if let Some(out) = &self.out {
            let is_html = out.extension().is_some_and(|end| end.eq_ignore_ascii_case("html"));
            ensure!(is_html, "--out {}: give a name that ends in .html", out.display());
            return Ok(out.clone());
        }
        let folder = std::path::absolute(first)?.parent().map(Path::to_path_buf).unwrap_or_default();
        let out = shown(&folder.join(FILE)).to_path_buf();
        files::check_default(&out, files::OTHER_FILE)?;
        Ok(out)
    }
}

fn first_metric(overview: &Overview) -> String {
    let has = |metric: &&str| overview.figures.iter().any(|figure| figure.metric == **metric);
    let known = DEFAULT_METRICS.iter().copied().find(has);
    known.or(overview.figures.first().map(|figure| figure.metric.as_str())).unwrap_or_default().to_owned()
}

/// Returns a table of the agents' scores and one of the fits' measures, as far as there are such runs.
fn scores(overview: &Overview, rows: &BTreeMap<PathBuf, Row>) -> Result<Vec<Table>> {
    let (mut agents, mut fits) = (vec![], vec![]);
    for dir in overview.groups.iter().flat_map(|group| &group.runs) {
        match kind::config(dir)? {
            Config::Training(_) => agents.push(dir),
            Config::Fit(_) => fits.push(dir),
        }
    }
    let has = |metric: &str, dirs: &[&PathBuf]| dirs.iter().any(|dir| overview.latest[*dir].contains_key(metric));
    let of_agents = SCORES.iter().filter(|(metric, _)| has(metric, &agents));
    let of_agents = of_agents.map(|(metric, name)| ((*metric).to_owned(), (*name).to_owned())).collect();
    let measured: BTreeSet<&String> = fits.iter().flat_map(|dir| overview.latest[*dir].keys()).collect();
    let is_measure = |metric: &str| ["test/", "validation/"].iter().any(|part| metric.starts_with(part));
    let of_fits = measured.iter().filter(|metric| is_measure(metric)).take(MAX_MEASURES);
    let mut of_fits: Vec<_> = of_fits.map(|metric| ((**metric).clone(), (**metric).clone())).collect();
    if of_fits.is_empty() && has("fit/loss", &fits) {
        of_fits.push(("fit/loss".to_owned(), "training loss".to_owned()));
    }
    let tables = [(agents, of_agents), (fits, of_fits)].into_iter().filter(|(dirs, _)| !dirs.is_empty());
    Ok(tables.map(|(dirs, metrics)| table(&dirs, &metrics, overview, rows)).collect())
}

fn table(dirs: &[&PathBuf], metrics: &[(String, String)], overview: &Overview, rows: &BTreeMap<PathBuf, Row>) -> Table {
    let words = ["run", "what", "state"].map(str::to_owned).into_iter();
    let names = metrics.iter().map(|(_, name)| name.clone());
    let header = words.chain(["seed", "steps", "time"].map(str::to_owned)).chain(names).collect();
    let line = |dir: &&PathBuf| {
        let row = &rows[*dir];
        let facts =
            [name_of(dir), row.what.clone(), row.state.clone(), row.seed.to_string(), row.progress(), row.time()];
        let value = |(metric, _): &(String, String)| overview.latest[*dir].get(metric).copied();
        facts.into_iter().chain(metrics.iter().map(|metric| value(metric).map(score).unwrap_or_default())).collect()
    };
    Table { header, rows: dirs.iter().map(line).collect(), n_words: 3 }
}

fn name_of(dir: &Path) -> String {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| shown(dir).display().to_string())
}

/// Formats a score with a true minus sign: two decimals for large ones, more for small ones.
fn score(value: f64) -> String {
    let text = if value.abs() >= 10.0 { format!("{value:.2}") } else { format!("{value:.4}") };
    text.replace('-', "\u{2212}")
}

/// Returns an episode of the first run of each group of agents.
fn films(overview: &Overview, max_steps: u64) -> Result<Vec<Picture>> {
    let mut films = vec![];
    for dir in overview.groups.iter().filter_map(|group| group.runs.first()) {
        if films.len() >= MAX_SHOWN || max_steps == 0 || !matches!(kind::config(dir)?, Config::Training(_)) {
            continue;
        }
        match watch::episode(dir, max_steps) {
            Ok((bytes, told)) => {
                let caption = format!("{}: {told}", name_of(dir));
                films.push(Picture { caption, media_type: "image/gif", bytes });
            }
            Err(error) => say!("note: no episode of {}: {error:#}", dir.display()),
        }
    }
    Ok(films)
}

/// Returns the pictures of the first run of each group of fits.
fn pictures(overview: &Overview) -> Result<Vec<Picture>> {
    let mut pictures = vec![];
    for dir in overview.groups.iter().filter_map(|group| group.runs.first()).take(MAX_SHOWN) {
        let folder = dir.join(PLOTS);
        if !folder.is_dir() || !matches!(kind::config(dir)?, Config::Fit(_)) {
            continue;
        }
        let mut paths = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let media_type = match path.extension().and_then(|end| end.to_str()) {
                Some("png") => "image/png",
                Some("svg") if !CURVES.contains(&name.as_str()) => "image/svg+xml",
                _ => continue,
            };
            if fs::metadata(&path)?.len() > MAX_BYTES {
                say!("note: {} is left out: it has more than {} MB", path.display(), MAX_BYTES >> 20);
                continue;
            }
            let caption = format!("{}: {name}", name_of(dir));
            pictures.push(Picture { caption, media_type, bytes: fs::read(&path)? });
        }
    }
    Ok(pictures)
}

/// Returns how the runs were made, with one entry for runs of a group that one command made.
fn recipes(overview: &Overview) -> Result<Vec<Recipe>> {
    let mut recipes: Vec<Recipe> = vec![];
    for group in &overview.groups {
        let first = recipes.len();
        for dir in &group.runs {
            let recipe = recipe(dir)?;
            match recipes[first..].iter_mut().find(|other| other.commands == recipe.commands) {
                Some(other) => other.names.extend(recipe.names),
                None => recipes.push(recipe),
            }
        }
    }
    Ok(recipes)
}

/// Returns the commands that made the run in `dir`, and the one that makes it again from its settings.
fn recipe(dir: &Path) -> Result<Recipe> {
    let facts = run::facts(dir).unwrap_or_default();
    let words = facts["command"].as_array().into_iter().flatten().filter_map(|word| word.as_str());
    let words: Vec<String> = words.skip(1).map(|word| shell(Path::new(word))).collect();
    let command = match kind::config(dir)? {
        Config::Training(_) => "train",
        Config::Fit(_) => "fit",
    };
    let history: History = serde_json::from_value(facts.clone()).unwrap_or_default();
    let changes = resumptions(dir, &history.changes);
    let again = format!("carom {command} --config {CONFIG} --out again   # by the settings below");
    let made_by = match (facts["carom"].as_str().unwrap_or("of unknown version"), facts["git"].as_str()) {
        (version, Some(commit)) => format!("Carom {version}, working directory at commit {commit}"),
        (version, None) => format!("Carom {version}"),
    };
    let commands = [format!("carom {}", words.join(" "))].into_iter().chain(changes).chain([again]).collect();
    Ok(Recipe { names: vec![shown(dir).display().to_string()], made_by, commands, config: run::config_text(dir)? })
}

/// Returns the commands that made `changes` to the settings of the run in `dir`, one for each step.
fn resumptions(dir: &Path, changes: &[AtStep]) -> Vec<String> {
    let commands = changes.chunk_by(|a, b| a.step == b.step).filter_map(|of_step| {
        // Of two values at one step the later one was in force. A setting that was removed has no flag.
        let values: BTreeMap<&str, Option<&str>> =
            of_step.iter().map(|AtStep { change, .. }| (change.key.as_str(), change.to.as_deref())).collect();
        let flags: String = values.iter().filter_map(|(key, value)| Some(flag(key, (*value)?))).collect();
        let step = count(of_step[0].step);
        (!flags.is_empty()).then(|| format!("carom resume {}{flags}   # from step {step}", shell(dir)))
    });
    commands.collect()
}

/// Returns the flag of `carom resume` that gives a setting, after a space.
fn flag(key: &str, value: &str) -> String {
    match key {
        "steps" | "epochs" | "device" => format!(" --{key} {}", shell(Path::new(value))),
        _ => format!(" --set {}", shell(Path::new(&format!("{key}={value}")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dotted::Change;

    #[test]
    fn changes_of_one_step_are_one_command_that_resume_takes() {
        let change = |step, key: &str, to: Option<&str>| AtStep {
            step,
            change: Change { key: key.to_owned(), from: Some("1".to_owned()), to: to.map(str::to_owned) },
        };
        let changes = [
            change(2000, "agent.lr", Some("0.5")),
            change(2000, "steps", Some("3000")),
            change(2500, "agent.hidden", Some("[8, 8]")),
            change(2600, "epochs", Some("9")),
            change(2600, "steps", None),
            change(2700, "threads", None),
        ];
        let expected = [
            "carom resume t1 --set 'agent.lr=0.5' --steps 3000   # from step 2k",
            "carom resume t1 --set 'agent.hidden=[8, 8]'   # from step 2.5k",
            "carom resume t1 --epochs 9   # from step 2.6k",
        ];
        assert_eq!(resumptions(Path::new("t1"), &changes), expected);
    }
}
