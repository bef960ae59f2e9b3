//! `carom eval`: scores a run's greedy policy, or measures a fitted model.

use super::{Out, joined};
use crate::config::fit::FitConfig;
use crate::config::kind::{self, Config};
use crate::config::training::TrainConfig;
use crate::device::{self, Device};
use crate::fit::open::open;
use crate::fit::session::FitSession;
use crate::generative::measures::novelty;
use crate::generative::model::{Effort, Measures};
use crate::human::{parse_count, parse_seed};
use crate::progress::Counter;
use crate::run::checkpoint::Which;
use crate::train::evaluation::{Evaluation, Scores};
use crate::train::policy::Policy;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// Score a run: play an agent's greedy policy, or measure a fitted model on its test images
///
/// The newest checkpoint is used unless --checkpoint names another. Each environment plays a fixed number of episodes,
/// so that short episodes are not over-represented. Episodes that the time limit cuts off count with the return so far;
/// their share is printed.
#[derive(Args)]
#[command(after_help = "Examples:\n  carom eval runs/taxi-q-learning-s0\n  \
                  carom eval runs/x --episodes 1000 --epsilon 0.01 --json\n  \
                  carom eval runs/mnist-ae-s0 --data fashion-mnist")]
pub(super) struct Arguments {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Episodes to play [default: 100]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    episodes: Option<u64>,
    /// Time limit of an episode [default: the run's]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    max_steps: Option<u64>,
    /// Probability of a uniformly random action instead of the greedy one [default: the run's eval_epsilon]
    #[arg(long, value_name = "E", allow_hyphen_values = true)]
    epsilon: Option<f64>,
    /// Checkpoint to use: newest, best (by the evaluations during training), or a step [default: newest]
    #[arg(long, value_name = "WHICH")]
    checkpoint: Option<Which>,
    /// Seed of the episodes [default: the run's]
    #[arg(long, value_name = "S", value_parser = parse_seed, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// Other data; how well the reconstruction error of a fitted model separates their test images from its own
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Device that tensors are on [default: the run's, or cpu where that is missing]
    #[arg(long)]
    device: Option<Device>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Number of episodes without --episodes.
const DEFAULT_EPISODES: u64 = 100;

#[derive(Serialize)]
struct Report {
    env: String,
    protocol: String,
    /// Name of the encoder; `None` if the agent gets the observations themselves.
    encoder: Option<String>,
    /// Environment steps that the encoder's training frames took.
    encoder_env_steps: Option<u64>,
    #[serde(skip)]
    transform: Option<String>,
    #[serde(flatten)]
    scores: Scores,
    epsilon: f64,
    seed: u64,
    step: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    match kind::config(&arguments.run)? {
        Config::Training(config) => score(arguments, config),
        Config::Fit(config) => measure(arguments, config),
    }
}

/// Measures a fitted model on its test split, with all measures.
fn measure(arguments: &Arguments, mut config: FitConfig) -> Result<()> {
    let Arguments { run, episodes, max_steps, epsilon, seed, checkpoint, .. } = arguments;
    let given = [
        ("--episodes", episodes.is_some()),
        ("--max-steps", max_steps.is_some()),
        ("--epsilon", epsilon.is_some()),
        ("--seed", seed.is_some()),
        ("--checkpoint", checkpoint.is_some()),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, is_given)| *is_given) {
        bail!("{flag} is for agents, and {} is a fitted model, which is measured on its test images", run.display());
    }
    config.run.device = device::for_reading(config.run.device, arguments.device);
    let (session, _) = open(&arguments.run, config)?;
    let measures = match &arguments.data {
        Some(name) => compare(&session, name)?,
        None => session.evaluate(Effort::Full),
    };
    let FitConfig { run: settings, model, source, .. } = &session.config;
    let (model, data, seed) = (model.name(), source.to_string(), settings.seed);
    let mut out = Out::lock();
    if arguments.json {
        return Ok(writeln!(out, "{}", super::fit::described(&session, &measures))?);
    }
    writeln!(out, "{model} on {data} (seed {seed}, update {})", session.progress.step)?;
    out.write_all(super::fit::text(&measures).as_bytes())?;
    let report = session.model.report(&session.data).filter(|_| arguments.data.is_none());
    Ok(out.write_all(report.unwrap_or_default().as_bytes())?)
}

/// Measures how well the reconstruction error tells test images of the data `name` from the model's own.
fn compare(session: &FitSession, name: &str) -> Result<Measures> {
    let other = session.other_data(name)?;
    let measures = tch::no_grad(|| novelty::measure(&*session.model, &session.data.test, &other.test, &other.name));
    let model = session.config.model.name();
    measures.with_context(|| format!("--data compares reconstructions, and model `{model}` cannot decode images"))
}

fn score(arguments: &Arguments, config: TrainConfig) -> Result<()> {
    ensure!(arguments.data.is_none(), "--data is for fitted models, and {} is an agent", arguments.run.display());
    let config = config.for_reading(arguments.device)?;
    let evaluation = arguments.evaluation(&config)?;
    let mut policy = Policy::of(config, &arguments.run, arguments.checkpoint.unwrap_or_default())?;
    let counter = Counter::new(evaluation.episodes, "episodes");
    let scores = evaluation.run_telling(&mut policy.player, &policy.transform, |n| counter.set(n))?;
    drop(counter);
    let protocol = evaluation.played().protocol();
    let step = policy.step;
    let Evaluation { ref env, epsilon, seed, .. } = evaluation;
    let env = env.id().to_string();
    let transform = policy.transform.describe(&policy.config);
    let encoder = transform.is_some().then(|| policy.config.encoder.to_string());
    let encoder_env_steps = transform.is_some().then(|| policy.transform.n_env_steps());
    let report = Report { env, protocol, encoder, encoder_env_steps, transform, scores, epsilon, seed, step };
    let mut out = Out::lock();
    if arguments.json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&report)?)?);
    }
    Ok(out.write_all(report.text().as_bytes())?)
}

/// Agent of random actions.
pub(super) const RANDOM: &str = "random";

/// Refuses a share of random actions of an agent that plays no others.
pub(super) fn refuse_epsilon(epsilon: Option<f64>, plays_at_random: bool) -> Result<()> {
    ensure!(epsilon.is_none() || !plays_at_random, "--epsilon has no effect: agent `random` plays random actions only");
    Ok(())
}

impl Arguments {
    fn evaluation(&self, config: &TrainConfig) -> Result<Evaluation> {
        let of_run = Evaluation::of_run(config);
        refuse_epsilon(self.epsilon, config.agent.name() == RANDOM)?;
        let (episodes, epsilon) = (self.episodes.unwrap_or(DEFAULT_EPISODES), self.epsilon.unwrap_or(of_run.epsilon));
        ensure!(episodes > 0, "--episodes is 0: at least one is needed");
        ensure!((0.0..=1.0).contains(&epsilon), "--epsilon is {epsilon}: expected a number in 0..=1");
        let mut evaluation = Evaluation { episodes, epsilon, seed: self.seed.unwrap_or(of_run.seed), ..of_run };
        if let Some(max_steps) = self.max_steps {
            ensure!(max_steps > 0, "--max-steps is 0: an episode has at least one step");
            evaluation.env = evaluation.env.with_time_limit(max_steps);
        }
        Ok(evaluation)
    }
}

impl Report {
    fn text(&self) -> String {
        let Scores { episodes, return_mean, return_std, return_iqm, length_mean, truncated_share, return_exact } =
            &self.scores;
        let mut lines = vec![format!("env           {} ({}, step {})", self.env, self.protocol, self.step)];
        lines.extend(self.transform.as_ref().map(|transform| format!("encoder       {transform}")));
        lines.push(format!("episodes      {episodes} (epsilon {}, seed {})", self.epsilon, self.seed));
        lines.push(format!("return_mean   {return_mean:.3}"));
        lines.push(format!("return_std    {return_std:.3}"));
        lines.push(format!("return_iqm    {return_iqm:.3}"));
        lines.extend(return_exact.map(|exact| format!("return_exact  {exact:.6}")));
        lines.push(format!("length_mean   {length_mean:.1}"));
        if *truncated_share > 0.0 {
            lines.push(format!("{:.1} % of the episodes were cut off by the time limit", 100.0 * truncated_share));
        }
        joined(&lines)
    }
}
