//! `carom compare`: trains agents, presets, encoders or values of settings over seeds, and compares the returns.

mod choices;
mod grouped;
mod report;

use super::jobs::{Job, NOTHING_MORE, Report};
use super::launch::{Batch, Launch, Made};
use super::print;
use super::seeds::parse_jobs;
use super::start::{begin_or_continue, check_unchanged, complete, has_made, is_finished};
use crate::compare::scale::{self, Reference, Scale};
use crate::compare::{Comparison, Entrant, Results, Side, Subject, by_env, results_file};
use crate::config::encoders::EncoderMode;
use crate::config::layers::Layer;
use crate::config::training::{TRAINING, TrainConfig};
use crate::device::Device;
use crate::encoder::ObsTransform;
use crate::files::Scratch;
use crate::human::{parse_count, parse_seeds};
use crate::ranks::Ranks;
use crate::run::{Outcome, layout};
use crate::train::session::Session;
use crate::{files, interrupt};
use anyhow::{Context, Result, bail, ensure};
use clap::{ArgGroup, Args};
pub(super) use report::OTHER_DIR;
use report::{check_files, check_results, write_all};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare agents, presets, environments, encoders or settings: train runs over seeds, then write tables and figures
///
/// Each combination of what the lists give is trained with each seed, in DIR/<combination>-s<seed>. The same command
/// continues a comparison that was stopped: it starts missing runs, resumes unfinished ones, and keeps finished ones.
/// Settings are resolved as by `carom train`. An encoder given by name is fitted once for each seed, so that intervals
/// include what a fit varies. With --runs nothing is trained: finished runs are grouped by the settings of --by. With
/// --results the results of other comparisons take part, whose runs need not be there.
#[derive(Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("made").multiple(true).args(["env", "agent", "agents", "presets",
    "envs", "encoders", "vary", "encoder_mode", "steps", "device", "preset", "set"]))]
pub(super) struct Arguments {
    /// Environment (`carom list envs`)
    #[arg(long, value_name = "ID")]
    env: Option<String>,
    /// Agent (`carom list agents`)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Agents to compare, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "agent")]
    agents: Vec<String>,
    /// Presets to compare, separated by commas (`carom list presets`)
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "preset")]
    presets: Vec<String>,
    /// Environments to compare in, separated by commas; scores are normalised where there are several
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with = "env")]
    envs: Vec<String>,
    /// Encoders to compare, separated by commas (`carom list encoders`), or directories of fitted models
    #[arg(long, value_name = "NAMES", value_delimiter = ',',
        required_unless_present_any = ["agents", "presets", "envs", "vary", "runs", "results"])]
    encoders: Vec<String>,
    /// Values of a setting to compare, as in agent.lr=1e-4,3e-4; may be repeated
    #[arg(long, value_name = "KEY=V,V")]
    vary: Vec<String>,
    /// Finished runs to compare, or folders of them, grouped by --by
    #[arg(long, value_name = "RUN", num_args = 1.., requires = "by",
        conflicts_with_all = ["made", "jobs", "seeds", "on", "slurm", "no_wait"])]
    runs: Vec<PathBuf>,
    /// Settings to group --runs by, separated by commas: agent, encoder, agent.lr. Names of groups leave out what most
    /// of them have; a group that has nothing else is called base, and is the first
    #[arg(long, value_name = "KEYS", value_delimiter = ',', requires = "runs")]
    by: Vec<String>,
    /// Files results.csv of other comparisons, whose results take part: the first of them is what others are compared
    /// with
    #[arg(long, value_name = "FILE", num_args = 1..)]
    results: Vec<PathBuf>,
    /// How fitted encoders take part in training; raw and oracle have no modes
    #[arg(long, value_name = "MODE")]
    encoder_mode: Option<EncoderMode>,
    /// Seeds of each combination's runs: `0..5` is 0, 1, 2, 3, 4
    #[arg(long, value_name = "A..B", value_parser = parse_seeds, default_value = "0..5", requires = "made")]
    seeds: Range<u64>,
    /// Runs that are made at once, each in a process of its own
    #[arg(long, value_name = "J", value_parser = parse_jobs, default_value = "1", requires = "made")]
    jobs: usize,
    /// Environment steps of each run, summed over its environments: 50000, 10k, 1.5M, 2e6
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    steps: Option<u64>,
    /// Device that tensors are on [default: cpu]
    #[arg(long)]
    device: Option<Device>,
    /// Named configuration to start from (`carom list presets`)
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// A setting of all runs, as in `carom train`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Return of a normalised score of 1 [default: scripted, or best without scripted players]
    #[arg(long, value_name = "WHAT")]
    reference: Option<Reference>,
    /// Returns that normalised scores of 0 and 1 are in an environment; may be repeated
    #[arg(long, value_name = "ENV=ZERO..ONE", value_parser = parse_scale, allow_hyphen_values = true)]
    scale: Vec<(String, Scale)>,
    /// Print the table as one JSON object
    #[arg(long)]
    json: bool,
    /// Directory of the runs, the tables and the figures [default: runs/compare-<env>-<agent>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    launch: Launch,
}

const EXAMPLES: &str = "Examples:
  carom compare --env minatar/breakout --agent dqn --encoders raw,oracle,random,ae --steps 200k
  carom compare --envs minatar/breakout,minatar/freeway --agents dqn,pqn --steps 500k --jobs 2 \\
      --set env.sticky=0 --set env.action_set=minimal --set env.max_steps=1000
  carom compare --preset minatar-breakout-dqn --vary agent.lr=1e-4,3e-4 --seeds 0..10
  carom compare --runs runs --by agent,agent.lr --out runs/by-rate
  carom compare --presets minatar-breakout-dqn --vary agent.lr=1e-3 --results published.csv

Writes table.md, which is also printed, table.csv, results.csv, returns.svg (returns-<env>.svg for several
environments), intervals.svg, profile.svg, efficiency.svg and improvement.svg.";

/// Folder of the settings of runs that processes of their own make.
const SETTINGS: &str = "settings";
/// Folder of the files of a job array.
const SLURM: &str = "slurm";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let given = arguments.given_results()?;
    let is_trained = arguments.is_trained();
    let (dir, entrants) = match is_trained {
        true => arguments.entrants()?,
        false if arguments.runs.is_empty() => (arguments.dir_of_results(), vec![]),
        false => (arguments.dir_of_results(), grouped::entrants(&arguments.runs, &arguments.by)?),
    };
    ensure!(!layout::is_run(&dir), "{} is a run; give another directory for a comparison", dir.display());
    arguments.check(&dir, &entrants, &given)?;
    if is_trained {
        let Made::Ended(code) = make(&dir, &entrants, arguments.jobs, &arguments.launch)? else {
            return Ok(ExitCode::SUCCESS);
        };
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    fs_err::create_dir_all(&dir)?;
    report(&dir, &entrants, given, arguments)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes all runs that are not finished, in or below `dir`, `n_at_once` at a time.
pub(super) fn make(dir: &Path, entrants: &[Entrant], n_at_once: usize, launch: &Launch) -> Result<Made> {
    let is_elsewhere = launch.is_elsewhere()?;
    // Changed settings of a late run are an error before the first run starts.
    for (config, run_dir) in entrants.iter().flat_map(|entrant| &entrant.runs) {
        check_unchanged(&config.to_toml(), run_dir)?;
    }
    // So are impossible runs. Runs of one entrant differ in their seeds.
    for entrant in entrants {
        if let Some((config, _)) = entrant.runs.iter().find(|(_, run_dir)| !run_dir.exists()) {
            check_possible(config, is_elsewhere).with_context(|| format!("{} on {}", entrant.name, entrant.env()))?;
        }
    }
    // Seed by seed: if it is stopped, each entrant has about the same number of runs.
    let runs = (0..entrants[0].runs.len()).flat_map(|i| entrants.iter().map(move |entrant| &entrant.runs[i]));
    match n_at_once {
        1 if !is_elsewhere => make_one_by_one(runs).map(Made::Ended),
        _ => make_side_by_side(dir, runs, n_at_once, launch),
    }
}

const GO_ON: &str = "the same command continues the comparison";

fn make_one_by_one<'a>(runs: impl Iterator<Item = &'a (TrainConfig, PathBuf)>) -> Result<ExitCode> {
    interrupt::listen()?;
    for (config, run_dir) in runs {
        let Some((mut session, mut run)) = begin_or_continue(config, run_dir)? else { continue };
        if complete(&mut session, &mut run)? == Outcome::Interrupted {
            say!("{GO_ON}");
            return Ok(interrupt::exit_code());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes runs in processes of their own, each of which reads its settings from a file.
fn make_side_by_side<'a>(
    dir: &Path,
    runs: impl Iterator<Item = &'a (TrainConfig, PathBuf)>,
    n_at_once: usize,
    launch: &Launch,
) -> Result<Made> {
    fs_err::create_dir_all(dir)?;
    // Runs elsewhere read their settings when this process is gone.
    let kept = dir.join(SETTINGS);
    let scratch = (!launch.is_elsewhere()?).then(|| Scratch::beside(&kept)).transpose()?;
    let settings = scratch.as_ref().map_or(kept.as_path(), Scratch::path);
    let (mut jobs, mut steps) = (vec![], BTreeMap::new());
    for (config, run_dir) in runs {
        if is_finished(config, run_dir)? {
            say!("{} is finished", run_dir.display());
            continue;
        }
        let file = settings_file(settings, run_dir);
        let text = config.to_toml() + &files::line_mark();
        files::write_whole(&file, |file| file.write_all(text.as_bytes()))?;
        let words = ["train".into(), "--continue".into(), "--config".into(), file.into(), "--out".into()];
        let words = words.into_iter().chain([run_dir.clone().into()]).collect();
        jobs.push(Job { dir: run_dir.clone(), arguments: words });
        steps.insert(run_dir.as_path(), config.run.steps);
    }
    if jobs.is_empty() {
        return Ok(Made::Ended(ExitCode::SUCCESS));
    }
    launch.make(Batch {
        jobs,
        n_at_once,
        folder: &dir.join(SLURM),
        is_made: &|job| has_made(steps[job.dir.as_path()], &job.dir).unwrap_or(false),
        report: Report { summaries: false, go_on: GO_ON, ended: NOTHING_MORE },
    })
}

/// Returns the file in `folder` of the settings of the run in `run_dir`.
fn settings_file(folder: &Path, run_dir: &Path) -> PathBuf {
    folder.join(format!("{}.toml", run_dir.file_name().unwrap_or_default().to_string_lossy()))
}

/// Returns an error if a run of `config` cannot be started. One that starts elsewhere needs no device here.
pub(super) fn check_possible(config: &TrainConfig, is_elsewhere: bool) -> Result<()> {
    let config = if is_elsewhere { config.clone().on(Some(Device::Cpu))? } else { config.clone() };
    match ObsTransform::check(&config)? {
        Some(transform) => Session::new(config, transform, Ranks::alone()).map(drop),
        // Its encoder is not fitted yet.
        None => Ok(()),
    }
}

/// Writes the tables and the figures, and prints the tables.
fn report(dir: &Path, entrants: &[Entrant], given: Vec<Results>, arguments: &Arguments) -> Result<()> {
    let mut results = given;
    for entrant in entrants {
        results_file::add(&mut results, Results::read(entrant)?)?;
    }
    let scales = arguments.scale.iter().cloned().collect();
    let found = |envs: &[(&TrainConfig, Option<f64>)]| scale::scales(envs, &scales, arguments.reference);
    let subject = if arguments.is_trained() { arguments.subject() } else { Subject::of(&results) };
    let table = Comparison::of(&results, subject, found)?;
    let markdown = table.to_markdown();
    let written = write_all(dir, &results, &table, &markdown);
    for note in table.notes() {
        say!("note: {note}");
    }
    // What was found is told where it cannot be kept.
    print(&if arguments.json { format!("{}\n", table.to_json()) } else { markdown })?;
    say!("-> {}: {}", dir.display(), written?.join(", "));
    Ok(())
}

/// Parses `ENV=ZERO..ONE`.
fn parse_scale(text: &str) -> Result<(String, Scale)> {
    let scale = || {
        let (env, bounds) = text.split_once('=')?;
        let (zero, one) = bounds.split_once("..")?;
        let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
        Some((env.to_owned(), Scale { zero: number(zero)?, one: number(one)? }))
    };
    scale().context("expected ENV=ZERO..ONE with two numbers, e.g. minatar/breakout=0.5..17.5")
}

impl Arguments {
    /// Returns whether runs are made, not only read.
    fn is_trained(&self) -> bool {
        let lists = [&self.agents, &self.presets, &self.envs, &self.encoders, &self.vary, &self.set];
        let names = [&self.env, &self.agent, &self.preset];
        lists.iter().any(|list| !list.is_empty())
            || names.iter().any(|name| name.is_some())
            || self.steps.is_some()
            || self.device.is_some()
            || self.encoder_mode.is_some()
    }

    /// Returns the results of other comparisons.
    fn given_results(&self) -> Result<Vec<Results>> {
        let mut all = vec![];
        for path in &self.results {
            for results in results_file::read(path)? {
                results_file::add(&mut all, results).with_context(|| path.display().to_string())?;
            }
        }
        Ok(all)
    }

    /// Returns the directory of a comparison that makes no runs.
    fn dir_of_results(&self) -> PathBuf {
        let name = if self.by.is_empty() { "results".to_owned() } else { format!("by-{}", self.by.join("-")) };
        self.out.clone().unwrap_or_else(|| PathBuf::from(format!("runs/compare-{name}")))
    }

    /// Checks what can be known before runs are made: that all sides can be compared, that the settings of normalised
    /// scores have an effect, and that files can be written to `dir`.
    fn check(&self, dir: &Path, entrants: &[Entrant], given: &[Results]) -> Result<()> {
        ensure!(self.is_trained() || !self.launch.is_elsewhere()?, "--on has no effect: no run is made");
        let sides: Vec<&dyn Side> =
            given.iter().map(|side| side as &dyn Side).chain(entrants.iter().map(|side| side as &dyn Side)).collect();
        let groups = by_env(&sides)?;
        let envs: Vec<&str> = groups.iter().map(|group| group[0].env()).collect();
        if let Some((env, _)) = self.scale.iter().find(|(env, _)| !envs.contains(&env.as_str())) {
            bail!("--scale {env}: this comparison has no such environment");
        }
        let scales: BTreeMap<String, Scale> = self.scale.iter().cloned().collect();
        ensure!(scales.len() == self.scale.len(), "--scale is given twice for one environment");
        let is_given = !self.scale.is_empty() || self.reference.is_some();
        ensure!(
            envs.len() > 1 || !is_given,
            "--scale and --reference have no effect: scores of one environment are its returns"
        );
        let configs: Vec<&TrainConfig> = groups.iter().map(|group| group[0].config()).collect();
        scale::check(&configs, &scales, self.reference)?;
        let of_given = given.iter().flat_map(|side| side.runs.iter().map(|run| (side.name(), &run.config)));
        let of_entrants = entrants.iter().flat_map(|side| side.runs.iter().map(|(config, _)| (side.name(), config)));
        check_results(dir, &of_given.chain(of_entrants).collect::<Vec<_>>())?;
        // A comparison that was begun has a run before it has a table.
        let is_begun = entrants.iter().flat_map(|entrant| &entrant.runs).any(|(_, run_dir)| layout::is_run(run_dir));
        if is_begun && self.is_trained() {
            return Ok(());
        }
        check_files(dir, &envs)?;
        let mut runs = entrants.iter().flat_map(|entrant| &entrant.runs);
        runs.try_for_each(|(_, run)| files::check_default(&settings_file(&dir.join(SETTINGS), run), OTHER_DIR))
    }

    /// Returns what is compared.
    fn subject(&self) -> Subject {
        let others = [&self.agents, &self.presets, &self.envs, &self.vary, &self.by];
        let is_of_encoders = others.iter().all(|list| list.is_empty()) && !self.encoders.is_empty();
        if is_of_encoders { Subject::Encoders } else { Subject::Algorithms }
    }

    /// Returns the directory of the comparison and its runs.
    fn entrants(&self) -> Result<(PathBuf, Vec<Entrant>)> {
        let variants = choices::variants(self)?;
        let configs: Vec<&TrainConfig> = variants.iter().map(|variant| &variant.config).collect();
        let dir = self.out.clone().unwrap_or_else(|| self.default_dir(&configs));
        let mut names = BTreeSet::new();
        let mut entrants = vec![];
        for variant in &variants {
            ensure!(names.insert(&variant.dir_name), "this comparison names {} twice", variant.name);
            let runs = self.seeds.clone().map(|seed| {
                let run_dir = dir.join(format!("{}-s{seed}", variant.dir_name));
                (variant.config.with_seed(seed), run_dir)
            });
            entrants.push(Entrant { name: variant.name.clone(), runs: runs.collect() });
        }
        Ok((dir, entrants))
    }

    /// Returns a directory named after what all runs share, and after the settings that vary.
    fn default_dir(&self, configs: &[&TrainConfig]) -> PathBuf {
        let shared = |name: fn(&TrainConfig) -> &str| {
            let first = name(configs[0]);
            configs.iter().all(|config| name(config) == first).then(|| first.replace('/', "-"))
        };
        let mut words = vec!["compare".to_owned()];
        words.extend(shared(|config| config.env.id()));
        words.extend(shared(|config| config.agent.name()));
        let keys: Vec<&str> = self.vary.iter().filter_map(|text| text.split('=').next()).collect();
        words.extend((!keys.is_empty()).then(|| format!("by-{}", keys.join("-"))));
        PathBuf::from(format!("runs/{}", words.join("-")))
    }

    /// Returns the settings that flags give all runs.
    fn given(&self) -> Result<Layer> {
        let flags = Layer::default()
            .with("encoder_mode", self.encoder_mode)
            .with("steps", self.steps)
            .with("device", self.device);
        let set = Layer::from_assignments(&self.set, &TRAINING)?;
        if !self.encoders.is_empty() {
            set.refuse("encoder", "--encoders")?;
        }
        for (values, key, flag) in [(&self.envs, "env", "--envs"), (&self.agents, "agent", "--agents")] {
            if !values.is_empty() {
                set.refuse(key, flag)?;
            }
        }
        set.refuse("seed", "--seeds")?;
        flags.and(set)
    }
}
