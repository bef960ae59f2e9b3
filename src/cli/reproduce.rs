//! `carom reproduce`: trains a baseline again, and prints its scores beside the known ones.

use super::compare::make;
use super::launch::{Launch, Made};
use super::seeds::parse_jobs;
use super::{joined, print};
use crate::compare::Entrant;
use crate::config::presets;
use crate::config::training::{TRAINING, TrainConfig};
use crate::human::parse_seeds;
use crate::reproduce::baselines::BASELINES;
use crate::reproduce::{Baseline, Known};
use crate::run::layout;
use crate::statistics::mean;
use anyhow::{Context, Result, ensure};
use carom_envs::settings::suggest;
use clap::Args;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

/// Reproduce a baseline: train its preset over seeds, score the runs, and print them beside known and published scores
///
/// Without a name it lists the baselines. The same command continues what was stopped.
#[derive(Args)]
#[command(after_help = "Examples:
  carom reproduce                                    what there is, and how long it takes
  carom reproduce taxi-q-learning
  carom reproduce minatar-breakout-dqn-paper --jobs 2")]
pub(super) struct Arguments {
    /// Name of the baseline: its preset
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Seeds of the runs: `0..5` is 0, 1, 2, 3, 4
    #[arg(long, value_name = "A..B", value_parser = parse_seeds, default_value = "0..3", requires = "name")]
    seeds: Range<u64>,
    /// Runs that are made at once, each in a process of its own
    #[arg(long, value_name = "J", value_parser = parse_jobs, default_value = "1", requires = "name")]
    jobs: usize,
    /// Directory of the runs [default: runs/reproduce-<name>]
    #[arg(long, value_name = "DIR", requires = "name")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, requires = "name")]
    json: bool,
    #[command(flatten)]
    launch: Launch,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some(name) = &arguments.name else {
        print(&list())?;
        return Ok(ExitCode::SUCCESS);
    };
    let known = || BASELINES.iter().map(|baseline| baseline.preset);
    let baseline = BASELINES.iter().find(|baseline| baseline.preset == name);
    let baseline = baseline.with_context(|| format!("there is no baseline `{name}`; {}", suggest(name, known())))?;
    let dir = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("runs/reproduce-{name}")));
    ensure!(!layout::is_run(&dir), "{} is a run; give a directory for several", dir.display());
    let config = TrainConfig::resolve(&[presets::find(baseline.preset, &TRAINING)?.layer(&TRAINING)?])?;
    let run_of = |seed: u64| (config.with_seed(seed), dir.join(format!("s{seed}")));
    let entrants = [Entrant { name: name.clone(), runs: arguments.seeds.clone().map(run_of).collect() }];
    let made = make(&dir, &entrants, arguments.jobs, &arguments.launch)?;
    let Made::Ended(code) = made else { return Ok(ExitCode::SUCCESS) };
    if code == ExitCode::SUCCESS {
        let scores = baseline.scores.iter().map(|known| Scored::new(known, &entrants[0].runs));
        let scores = scores.collect::<Result<Vec<_>>>()?;
        let protocol = config.env.protocol();
        print(&if arguments.json {
            format!("{}\n", to_json(baseline, &protocol, arguments.seeds.clone(), &scores))
        } else {
            text(baseline, &protocol, arguments.seeds.clone(), &scores)
        })?;
    }
    Ok(code)
}

/// Scores measured now, beside the known ones.
struct Scored {
    known: &'static Known,
    now: Vec<f64>,
}

impl Scored {
    fn new(known: &'static Known, runs: &[(TrainConfig, PathBuf)]) -> Result<Self> {
        let score = |(config, dir): &(TrainConfig, PathBuf)| known.measure.score(config, dir);
        Ok(Self { known, now: runs.iter().map(score).collect::<Result<_>>()? })
    }
}

fn list() -> String {
    let width = BASELINES.iter().map(|baseline| baseline.preset.len()).max().unwrap_or_default();
    let line = |baseline: &Baseline| {
        let known = &baseline.scores[0];
        let (name, time, measure) = (baseline.preset, baseline.time, known.measure);
        format!("{name:width$}  {measure}: {}; {time} a seed", scores(known.ours))
    };
    joined(&BASELINES.iter().map(line).collect::<Vec<_>>())
}

fn scores(scores: &[f64]) -> String {
    scores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn text(baseline: &Baseline, protocol: &str, seeds: Range<u64>, scored: &[Scored]) -> String {
    let mut lines = vec![format!("{} ({protocol})", baseline.preset)];
    for Scored { known, now } in scored {
        lines.push(format!("\n{}", known.measure));
        for (seed, score) in seeds.clone().zip(now) {
            lines.push(format!("{score:>10.4}  now, seed {seed}"));
        }
        lines.push(format!("{:>10.4}  now, mean of the seeds", mean(now)));
        for (seed, score) in known.ours.iter().enumerate() {
            lines.push(format!("{score:>10}  measured before, seed {seed}"));
        }
        lines.extend(known.quoted.iter().map(|quoted| format!("{:>10}  {}", quoted.score, quoted.source)));
    }
    joined(&lines)
}

fn to_json(baseline: &Baseline, protocol: &str, seeds: Range<u64>, scored: &[Scored]) -> Value {
    let measures = scored.iter().map(|Scored { known, now }| {
        json!({"measure": known.measure.to_string(), "now": now, "before": known.ours, "quoted": known.quoted})
    });
    let seeds: Vec<u64> = seeds.collect();
    json!({"name": baseline.preset, "protocol": protocol, "seeds": seeds, "measures": measures.collect::<Vec<_>>()})
}
