//! `carom train`: trains an agent, in a new run for each seed.

use super::jobs::{self, Job, OF_SEEDS};
use super::launch::Launch;
use super::seeds::{are_elsewhere, make_elsewhere, parse_jobs, run_directory, several_jobs};
use super::start::{begin, begin_from_or_continue, check_place, complete, complete_beside, curve, follow, has_made};
use super::{joined, print};
use crate::config::encoders::EncoderMode;
use crate::config::layers::Layer;
use crate::config::part::Part;
use crate::config::presets;
use crate::config::training::{TRAINING, TrainConfig};
use crate::device::Device;
use crate::human::{count, duration, parse_count, parse_seed, parse_seeds, shell};
use crate::interrupt;
use crate::ranks::{self, Ranks};
use crate::run::{Outcome, Replaces, Run};
use crate::train::evaluation::{Evaluation, Exact};
use crate::train::session::{Codes, N_RECENT, Session};
use anyhow::{Result, ensure};
use carom_agents::Player;
use clap::Args;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Train an agent on an environment; writes metrics and checkpoints to a run directory
///
/// Settings come from the defaults, a preset, the file of --config, and flags; later ones override earlier ones. With
/// --env and --agent but without --preset and --config, the preset `<env>-<agent>` is used if there is one.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Arguments {
    /// Environment (`carom list envs`)
    #[arg(long, value_name = "ID")]
    env: Option<String>,
    /// Agent (`carom list agents`)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Encoder of the agent's observations (`carom list encoders`)
    #[arg(long, value_name = "NAME")]
    encoder: Option<String>,
    /// How a fitted encoder takes part in training [default: frozen]
    ///
    /// finetune and joint are for dqn and pqn, whose optimiser then trains the encoder too, with agent.lr. No
    /// gradient flows through targets: the target network has a copy of the encoder. In joint, the decoder is trained
    /// by the reconstruction loss, the encoder by both losses. recon_weight (1) is the weight of the pixels' mean
    /// cross-entropy relative to the TD loss.
    #[arg(long, value_name = "MODE")]
    encoder_mode: Option<EncoderMode>,
    /// Environment steps of the run, summed over its environments: 50000, 10k, 1.5M, 2e6
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    steps: Option<u64>,
    /// Master seed of all random streams [default: 0]
    #[arg(long, value_name = "S", value_parser = parse_seed, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// Train a run for each of these seeds: `0..5` is 0, 1, 2, 3, 4
    #[arg(long, value_name = "A..B", value_parser = parse_seeds, conflicts_with = "seed")]
    seeds: Option<Range<u64>>,
    /// Runs that are made at once, each in a process of its own
    #[arg(long, value_name = "J", value_parser = parse_jobs, requires = "seeds", default_value = "1")]
    jobs: usize,
    /// Environments that are stepped together [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    n_envs: Option<usize>,
    /// Device that tensors are on [default: cpu]
    #[arg(long)]
    device: Option<Device>,
    /// Named configuration to start from (`carom list presets`)
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Configuration file that overrides the preset, for instance a run's config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long, value_name = "KEY=VALUE", help = TRAINING.set_help())]
    set: Vec<String>,
    /// Run whose trained weights the network begins with; both networks must be of the same shape
    ///
    /// The weights are those of its newest checkpoint. The optimiser, the replay and exploration begin anew. The run
    /// keeps the weights in a checkpoint of step 0: the other one may be removed.
    #[arg(long, value_name = "RUN")]
    init_from: Option<PathBuf>,
    /// Directory of the run; with --seeds, -s<seed> is appended [default: runs/<preset>-s<seed>, without a preset
    /// runs/<env>-<agent>-s<seed>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace an existing run
    #[arg(long)]
    force: bool,
    /// Write event files for TensorBoard too, below tensorboard/ of the run
    #[arg(long)]
    tensorboard: bool,
    /// Print the summary of each run as one JSON object on a line
    #[arg(long)]
    json: bool,
    /// Go on with the run if it was begun; leave it if it is finished
    ///
    /// The same command may be repeated until the run is finished, as schedulers of clusters do.
    #[arg(long = "continue", conflicts_with = "force")]
    goes_on: bool,
    /// Save at this step and stop; schedules are those of the whole run
    ///
    /// The run goes on from there with --continue, and has the same results as without the pause.
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    pause_at: Option<u64>,
    #[command(flatten)]
    launch: Launch,
}

const EXAMPLES: &str = "Examples:
  carom train --preset minatar-breakout-dqn
  carom train --env taxi --agent q-learning --steps 300k --set agent.lr=0.1 --seeds 0..3
  carom train --config runs/taxi-q-learning-s0/config.toml --seed 7 --out runs/again";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let ranks = ranks::start()?;
    let layers = arguments.layers()?;
    let first = TrainConfig::resolve(&layers)?;
    let seeds = arguments.seeds.clone().unwrap_or(first.run.seed..first.run.seed + 1);
    let (out, several, slug) = (arguments.out.as_deref(), arguments.seeds.is_some(), first.slug());
    let preset = arguments.preset.as_deref();
    let runs: Vec<_> = seeds.map(|seed| (seed, run_directory(out, several, preset, &slug, seed))).collect();
    // Elsewhere a command is repeated until its runs are made.
    let is_elsewhere = are_elsewhere(&arguments.launch, arguments.force)?;
    let goes_on = arguments.goes_on || is_elsewhere;
    let in_processes = arguments.jobs > 1 || is_elsewhere;
    ensure!(!ranks.are_several() || !in_processes, "--jobs and --on have no effect with ranks of MPI: omit them");
    for (seed, dir) in runs.iter().filter(|_| ranks.is_first()) {
        check_place(&first.with_seed(*seed).to_toml(), dir, goes_on, arguments.force)?;
    }
    if is_elsewhere {
        // An end that is not asked for is as good.
        let steps = arguments.pause_at.unwrap_or(first.run.steps).min(first.run.steps);
        let is_made = |job: &Job| has_made(steps, &job.dir).unwrap_or(false);
        return make_elsewhere(&arguments.launch, runs, arguments.goes_on, arguments.jobs, &is_made);
    }
    if arguments.jobs > 1 {
        return jobs::make(OF_SEEDS, several_jobs(runs), arguments.jobs);
    }
    interrupt::listen()?;
    for (seed, dir) in runs {
        let outcome = make_here(arguments, first.with_seed(seed), &dir, &ranks)?;
        if outcome == Outcome::Interrupted && interrupt::requested() {
            return Ok(interrupt::exit_code());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the run of `config` in `dir`, or this rank's part of it.
fn make_here(arguments: &Arguments, config: TrainConfig, dir: &Path, ranks: &Ranks) -> Result<Outcome> {
    let init_from = arguments.init_from.as_deref();
    if !ranks.is_first() {
        let Some(mut session) = follow(config, dir, init_from, ranks)? else { return Ok(Outcome::Finished) };
        session.pause_at = arguments.pause_at;
        return complete_beside(&mut session);
    }
    let opened = match arguments.goes_on {
        true => {
            let opened = begin_from_or_continue(&config, dir, init_from, ranks)?;
            if opened.is_none() && arguments.json {
                print(&format!("{}\n", summary(&mut Session::open(config, dir)?.0, dir)))?;
            }
            opened
        }
        false => Some(begin(config, dir, Replaces::forced(arguments.force), init_from, ranks)?),
    };
    let Some((mut session, mut run)) = opened else { return Ok(Outcome::Finished) };
    if arguments.tensorboard {
        run.write_events()?;
    }
    session.pause_at = arguments.pause_at;
    finish(&mut session, &mut run, arguments.json)
}

/// Trains to the end and prints a summary, as text or as JSON.
pub(super) fn finish(session: &mut Session, run: &mut Run, json: bool) -> Result<Outcome> {
    let outcome = complete(session, run)?;
    match outcome {
        Outcome::Finished if json => print(&format!("{}\n", summary(session, run.dir())))?,
        Outcome::Finished => summarise(session, run.dir())?,
        Outcome::Interrupted => {}
    }
    Ok(outcome)
}

/// Returns the summary of a finished run.
pub(super) fn summary(session: &mut Session, dir: &Path) -> Value {
    let evaluation = Evaluation::of_run(&session.config);
    let exact = match evaluation.exact(&mut session.player, &session.envs) {
        Some(Exact::Return(value)) => Some(value),
        Some(Exact::Endless) | None => None,
    };
    let (progress, config) = (&session.progress, &session.config);
    let means = progress.recent_means();
    json!({
        "run": dir.display().to_string(), "env": config.env.id(), "protocol": config.env.protocol(),
        "agent": config.agent.name(), "seed": config.run.seed, "step": progress.step, "wall_s": progress.wall_s,
        "episodes": progress.n_recent(), "return_mean": means.map(|means| means.0),
        "length_mean": means.map(|means| means.1), "return_exact": exact, "epsilon": evaluation.epsilon,
    })
}

fn summarise(session: &mut Session, dir: &Path) -> Result<()> {
    let evaluation = Evaluation::of_run(&session.config);
    let exact = evaluation.exact(&mut session.player, &session.envs);
    let (progress, protocol) = (&session.progress, session.config.env.protocol());
    let time = duration(Duration::from_secs_f64(progress.wall_s));
    let unit = if matches!(session.player, Player::Planner(_)) { "sweeps" } else { "steps" };
    let mut lines = vec![format!("{}: {} {unit} in {time}", dir.display(), count(progress.step))];
    if matches!(&session.player, Player::Planner(planner) if !planner.is_converged()) {
        lines.push("not converged: values still changed in the last sweep; allow more sweeps with --steps".to_owned());
    }
    if let Some((episode_return, length)) = progress.recent_means() {
        let n = progress.n_recent();
        let which = match n {
            1 => "the only episode".to_owned(),
            N_RECENT => format!("the last {n} episodes"),
            _ => format!("all {n} episodes"),
        };
        lines.push(format!("mean return {episode_return:.2} over {which} (mean length {length:.1}; {protocol})"));
    }
    if let Some(Codes { n_visited, n_possible, .. }) = &progress.codes {
        lines.push(format!("{} of {} codes visited", count(*n_visited as u64), count(*n_possible as u64)));
    }
    let policy = match evaluation.epsilon {
        0.0 => "the greedy policy".to_owned(),
        epsilon => format!("the policy with epsilon {epsilon}"),
    };
    let by_table = match exact {
        Some(Exact::Return(value)) => Some(format!("expected return {value:.4} of {policy}")),
        Some(Exact::Endless) => Some(format!("no expected return: {policy} never ends some episodes")),
        None => None,
    };
    lines.extend(by_table.map(|found| format!("{found}, by the transition table ({protocol})")));
    let curve = curve(dir);
    if curve.exists() {
        lines.push(format!("curve: {}", curve.display()));
    }
    lines.push(format!("next: carom eval {}", shell(dir)));
    print(&joined(&lines))
}

impl Arguments {
    /// Returns the layers of settings, from the weakest to the strongest.
    fn layers(&self) -> Result<Vec<Layer>> {
        let pair = self.env.as_deref().zip(self.agent.as_deref()).filter(|_| self.config.is_none());
        let preset = preset(self.preset.as_deref(), pair, self.agent.as_deref())?;
        let file = self.config.as_deref().map(|path| Layer::from_file(path, &TRAINING)).transpose()?;
        let flags = Layer::default()
            .with("env", self.env.as_ref())
            .with("agent", self.agent.as_ref())
            .with("encoder", self.encoder.as_ref())
            .with("encoder_mode", self.encoder_mode)
            .with("steps", self.steps)
            .with("seed", self.seed)
            .with("n_envs", self.n_envs)
            .with("device", self.device);
        let set = Layer::from_assignments(&self.set, &TRAINING)?;
        if self.seeds.is_some() {
            set.refuse("seed", "--seeds")?;
        }
        Ok(preset.into_iter().chain(file).chain([flags.and(set)?]).collect())
    }
}

/// Returns the preset called `name`, which must be of `agent` if one is named. Without a name, returns the preset of
/// the pair of environment and agent and prints its name, or `None` if there is none.
pub(super) fn preset(name: Option<&str>, pair: Option<(&str, &str)>, agent: Option<&str>) -> Result<Option<Layer>> {
    if let Some(name) = name {
        return presets::find(name, &TRAINING)?.of_actor(&TRAINING, Part::Agent, agent).map(Some);
    }
    let found = pair.and_then(|(env, agent)| presets::of(env, agent));
    if let Some(preset) = found {
        say!("using preset {}", preset.name);
    }
    found.map(|preset| preset.layer(&TRAINING)).transpose()
}
