//! `carom compare`: trains one agent with several encoders and seeds, and compares the returns.

use super::start::{begin_or_continue, check_unchanged, complete};
use super::train::{parse_seeds, preset};
use crate::compare::{Comparison, EncoderRuns, METRIC};
use crate::config::encoders::EncoderMode;
use crate::config::layers::Layer;
use crate::config::training::{TRAINING, TrainConfig};
use crate::device::Device;
use crate::encoder::ObsTransform;
use crate::human::parse_count;
use crate::run::{Outcome, layout};
use crate::train::session::Session;
use crate::{files, interrupt, plot};
use anyhow::{Context, Result, ensure};
use carom_envs::settings::Fault;
use clap::Args;
use std::collections::BTreeSet;
use std::io::{Write, stdout};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare encoders: train a run for each encoder and seed, then write a table and a figure
///
/// Runs are in DIR/<encoder>-s<seed>. The same command continues a comparison that was stopped: it starts missing runs,
/// resumes unfinished ones, and keeps finished ones. Settings are resolved as by `carom train`. An encoder given by
/// name is fitted once for each seed, so that intervals include what a fit varies.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Environment (`carom list envs`)
    #[arg(long, value_name = "ID")]
    env: Option<String>,
    /// Agent (`carom list agents`)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Encoders to compare, separated by commas (`carom list encoders`), or directories of fitted models
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    encoders: Vec<String>,
    /// How fitted encoders take part in training; raw and oracle have no modes
    #[arg(long, value_name = "MODE")]
    encoder_mode: Option<EncoderMode>,
    /// Seeds of each encoder's runs: `0..5` is 0, 1, 2, 3, 4
    #[arg(long, value_name = "A..B", value_parser = parse_seeds, default_value = "0..5")]
    seeds: Range<u64>,
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
    /// Directory of the runs, the table and the figure [default: runs/compare-<env>-<agent>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  carom compare --env minatar/breakout --agent dqn --encoders raw,oracle,random,ae --steps 200k
  carom compare --env minatar/breakout --agent q-learning --encoders ae,pca --seeds 0..3 --steps 100k

Writes table.md, which is also printed, table.csv and returns.svg.";

/// Files of the table.
const TABLES: [&str; 2] = ["table.csv", "table.md"];
/// File of the figure.
const FIGURE: &str = "returns.svg";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (dir, entrants) = arguments.entrants()?;
    // Changed settings of a late run are an error before the first run starts.
    for (config, run_dir) in entrants.iter().flat_map(|entrant| &entrant.runs) {
        check_unchanged(&config.to_toml(), run_dir)?;
    }
    // So are impossible runs. Runs of one encoder differ in their seeds.
    for entrant in &entrants {
        if let Some((config, _)) = entrant.runs.iter().find(|(_, run_dir)| !run_dir.exists()) {
            check_possible(config).with_context(|| format!("encoder {}", entrant.encoder))?;
        }
    }
    interrupt::listen()?;
    // Seed by seed: if it is stopped, each encoder has about the same number of runs.
    for i in 0..entrants[0].runs.len() {
        for entrant in &entrants {
            let (config, run_dir) = &entrant.runs[i];
            let Some((mut session, mut run)) = begin_or_continue(config, run_dir)? else { continue };
            if complete(&mut session, &mut run)? == Outcome::Interrupted {
                say!("the same command continues the comparison");
                return Ok(interrupt::exit_code());
            }
        }
    }
    report(&dir, &entrants)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns an error if a run of `config` cannot be started.
fn check_possible(config: &TrainConfig) -> Result<()> {
    match ObsTransform::check(config)? {
        Some(transform) => Session::new(config.clone(), transform).map(drop),
        // Its encoder is not fitted yet.
        None => Ok(()),
    }
}

/// Writes the table and the figure, and prints the table.
fn report(dir: &Path, entrants: &[EncoderRuns]) -> Result<()> {
    let table = Comparison::read(entrants)?;
    let markdown = table.to_markdown();
    let write = |name, text: &str| files::write_whole(&dir.join(name), |file| file.write_all(text.as_bytes()));
    write(TABLES[0], &table.to_csv())?;
    write(TABLES[1], &markdown)?;
    let dirs = |entrant: &EncoderRuns| entrant.runs.iter().map(|(_, dir)| dir.clone()).collect::<Vec<_>>();
    let groups: Vec<_> = entrants.iter().map(|entrant| (entrant.encoder.as_str(), dirs(entrant))).collect();
    let groups: Vec<_> = groups.iter().map(|(name, dirs)| (*name, dirs.as_slice())).collect();
    // Without a finished episode there is no figure, but there is a table.
    if let Err(error) = plot::comparison(&groups, METRIC, &dir.join(FIGURE)) {
        say!("no returns.svg: {error}");
    }
    if let Some(warning) = table.interval_warning() {
        say!("note: {warning}");
    }
    say!("-> {}: table.md, table.csv, returns.svg", dir.display());
    Ok(stdout().lock().write_all(markdown.as_bytes())?)
}

/// Returns the key that a fault is about.
fn key(fault: &Fault) -> Option<&str> {
    match fault {
        Fault::Unheard { key, .. } => Some(key),
        _ => None,
    }
}

impl Arguments {
    /// Returns the directory of the comparison and its runs.
    fn entrants(&self) -> Result<(PathBuf, Vec<EncoderRuns>)> {
        let agent = self.agent.as_deref();
        let preset = preset(self.preset.as_deref(), self.env.as_deref().zip(agent), agent)?;
        let configs = self.configs(preset)?;
        let default = || PathBuf::from(format!("runs/compare-{}", configs[0].slug()));
        let dir = self.out.clone().unwrap_or_else(default);
        ensure!(!layout::is_run(&dir), "{} is a run; give a directory for the runs of a comparison", dir.display());
        let mut names = BTreeSet::new();
        let entrants = self.encoders.iter().zip(&configs).map(|(encoder, config)| {
            // The encoder may be a path.
            let name = encoder.trim_matches(['.', '/']).replace('/', "-");
            ensure!(names.insert(name.clone()), "--encoders names {encoder} twice");
            let runs = self.seeds.clone().map(|seed| {
                let run_dir = dir.join(format!("{name}-s{seed}"));
                (config.with_seed(seed), run_dir)
            });
            Ok(EncoderRuns { encoder: encoder.clone(), runs: runs.collect() })
        });
        let entrants = entrants.collect::<Result<Vec<_>>>()?;
        // A comparison that was begun has a run before it has a table.
        let is_begun = entrants.iter().flat_map(|entrant| &entrant.runs).any(|(_, run_dir)| layout::is_run(run_dir));
        if let Some(path) = TABLES.iter().chain([&FIGURE]).map(|name| dir.join(name)).find(|path| path.exists()) {
            ensure!(is_begun, "{} is there, and no run of this comparison; --out DIR writes elsewhere", path.display());
        }
        Ok((dir, entrants))
    }

    /// Returns the configuration of each encoder's runs, with the first seed.
    fn configs(&self, preset: Option<Layer>) -> Result<Vec<TrainConfig>> {
        let given = self.given()?;
        let below: Vec<Layer> = preset.into_iter().collect();
        let mut configs = vec![];
        let mut all_unheard = vec![];
        for encoder in &self.encoders {
            let mut layer = given.clone().with("encoder", Some(encoder));
            // What this encoder leaves without effect is for the others.
            let unheard = layer.prune(&below, &TRAINING);
            let layers: Vec<Layer> = below.iter().cloned().chain([layer]).collect();
            configs.push(TrainConfig::resolve(&layers)?);
            all_unheard.push(unheard);
        }
        let is_heard_by_none =
            |fault: &&Fault| all_unheard.iter().all(|unheard| unheard.iter().any(|other| key(other) == key(fault)));
        if let Some(fault) = all_unheard.iter().flatten().find(is_heard_by_none) {
            return Err(fault.clone().into());
        }
        for (encoder, unheard) in self.encoders.iter().zip(&all_unheard) {
            for fault in unheard {
                say!("note: encoder {encoder}: {fault}");
            }
        }
        Ok(configs)
    }

    /// Returns the settings that flags give all runs.
    fn given(&self) -> Result<Layer> {
        let flags = Layer::default()
            .with("env", self.env.as_ref())
            .with("agent", self.agent.as_ref())
            .with("encoder_mode", self.encoder_mode)
            .with("steps", self.steps)
            .with("device", self.device);
        let set = Layer::from_assignments(&self.set, &TRAINING)?;
        set.refuse("encoder", "--encoders")?;
        set.refuse("seed", "--seeds")?;
        flags.and(set)
    }
}
