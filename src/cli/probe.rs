//! `carom probe`: measures how much of the true state encoders keep.

use super::watch::env_settings;
use super::{Out, joined};
use crate::config::encoders::EncoderSpec;
use crate::config::layers::Layer;
use crate::config::names;
use crate::config::part::Part;
use crate::config::training::TrainConfig;
use crate::generative::data::frames::{check_n_frames, default_n_frames};
use crate::human::{parse_count, parse_seed};
use crate::probe::{self, EncoderMeasures, Measured, Probe, Score, Scores, Size};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// Measure how well the true state (ball, paddle, bricks, player, ...) can be predicted from codes by probes
///
/// Half of the frames are of random play, half of the scripted player, from parts of at least 200 games. Three episodes
/// in five are to fit probes to, one is for tests, and one to choose settings by (--choose). A frame is not measured if
/// the same bytes are among the frames that probes or encoders were fitted to. The controls `raw`, `random` and
/// `oracle` are always added. An encoder given by name is fitted first, unless it is cached.
///
/// Each encoder has a row of linear probes, and one of networks with a hidden layer of 128 units (mlp). Places (ball x,
/// player y, aliens x, ...) and direction: macro F1 of a classifier on codes. Amounts (bricks, enemies, air, ...): R²
/// of a regression. recall: share of frames whose decoded image has the ball, or the player of a game without one, at
/// its true place, within a cell of planes or 2 of the 84x84 pixels, and at least half as bright. In brackets: 95 %
/// intervals by the bootstrap over episodes. mse: mean squared error of decoded pixels. us/frame: microseconds to
/// encode a frame in batches of 32.
#[derive(Args)]
#[command(after_help = "Examples:\n  carom probe pca ae cnn-ae vae rbm --env minatar/breakout\n  \
                  carom probe ae runs/my-ae --env breakout --frames 3000 -o balls.svg")]
pub(super) struct Arguments {
    /// Encoders: names (`carom list encoders`), or directories of fitted models
    #[arg(value_name = "ENCODER", required = true)]
    encoders: Vec<String>,
    /// Environment whose frames are encoded: breakout or a MinAtar game
    #[arg(long, value_name = "ID")]
    env: String,
    /// A setting of the environment; may be repeated
    #[arg(long, value_name = "env.KEY=VALUE")]
    set: Vec<String>,
    /// Frames to probe with [default: 10000 of a MinAtar game, 5000 of breakout]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    frames: Option<u64>,
    /// Seed of the frames; encoders are fitted to frames of seed 0, so use another
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = parse_seed)]
    seed: u64,
    /// Measure on the frames that settings are chosen by, which are not those of a figure to report
    #[arg(long)]
    choose: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write a picture of frames above their reconstructions, with the true ball or player marked
    #[arg(short, long, value_name = "FILE.png|svg")]
    output: Option<PathBuf>,
}

/// Encoders to compare the others with.
const CONTROLS: [&str; 3] = ["raw", "random", "oracle"];

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let config = config(arguments)?;
    let controls = CONTROLS.iter().filter(|name| !arguments.encoders.iter().any(|given| given == *name));
    let encoders: Vec<&str> = arguments.encoders.iter().map(String::as_str).chain(controls.copied()).collect();
    // Mistakes in the arguments are reported before the first fit.
    let encoders = encoders.into_iter().map(EncoderSpec::resolve).collect::<Result<Vec<_>>>()?;
    encoders.iter().try_for_each(EncoderSpec::check_there)?;
    arguments.output.as_deref().map(probe::picture_format).transpose()?;
    let n_frames = match arguments.frames {
        Some(n_frames) => n_frames as usize,
        None => default_n_frames(&config.env)? / 2,
    };
    check_n_frames(config.env.id(), n_frames)?;
    let measured = if arguments.choose { Measured::Validation } else { Measured::Test };
    let mut probe = Probe::new(&config, &encoders, n_frames, arguments.seed, measured)?;
    let found = probe.measure()?;
    if let Some(path) = &arguments.output {
        probe.draw(path)?;
    }
    let ceiling = probe.ceiling();
    let mut out = Out::lock();
    if arguments.json {
        return Ok(writeln!(out, "{}", report(arguments, &probe, &found, ceiling))?);
    }
    out.write_all(table(&probe.questions(), &found, ceiling).as_bytes())?;
    let [fit, tested] = probe.sizes();
    let part = |size: Size| format!("{} frames ({} distinct, {} episodes)", size.frames, size.distinct, size.episodes);
    let purpose = if arguments.choose { "to choose settings by" } else { "to test with" };
    writeln!(out, "{} to learn from, {} {purpose}, seed {}", part(fit), part(tested), arguments.seed)?;
    writeln!(out, "{} more were left out, since their bytes are among frames to learn from", probe.n_left_out())?;
    Ok(writeln!(out, "classes: {}", probe.classes())?)
}

/// Returns all measures as JSON.
fn report(arguments: &Arguments, probe: &Probe, found: &[EncoderMeasures], ceiling: Score) -> Value {
    let recall_key = format!("{}_recall", probe.object());
    let size = |size: Size| json!({"frames": size.frames, "distinct": size.distinct, "episodes": size.episodes});
    let values = |scores: &Scores| scores.iter().map(|(key, score)| (*key, score.value)).collect::<BTreeMap<_, _>>();
    let encoders = found.iter().map(|each| {
        let mut report = json!({"encoder": each.encoder, "code": each.code, "mlp": values(&each.mlp)});
        let mut intervals = json!({"mlp": intervals(&each.mlp)});
        let linear = each.linear.iter().map(|(key, score)| (*key, *score));
        for (key, score) in linear.chain(each.recall.map(|recall| (recall_key.as_str(), recall))) {
            report[key] = score.value.into();
            intervals[key] = json!(score.interval);
        }
        report["intervals"] = intervals;
        let costs = [("mse", each.mse), ("fit_s", each.fit_s), ("encode_us", each.encode_us)];
        costs.iter().filter_map(|(key, value)| Some((key, (*value)?))).for_each(|(key, value)| {
            report[*key] = value.into();
        });
        report
    });
    let [fit, measured] = probe.sizes();
    let measured_on = if arguments.choose { "validation" } else { "test" };
    json!({
        "env": arguments.env, "seed": arguments.seed, "measured_on": measured_on,
        "train": size(fit), "test": size(measured), "left_out": probe.n_left_out(), "classes": probe.classes(),
        format!("{recall_key}_of_frames"): ceiling.value, "encoders": encoders.collect::<Vec<_>>(),
    })
}

fn intervals(scores: &Scores) -> BTreeMap<&'static str, Option<[f64; 2]>> {
    scores.iter().map(|(key, score)| (*key, score.interval)).collect()
}

/// Returns the configuration of a run that would use the encoders. Unless the settings say otherwise, its frame stack
/// is no longer than the stack that the ball's direction is predicted from.
fn config(arguments: &Arguments) -> Result<TrainConfig> {
    let given = env_settings(&arguments.set)?;
    names::env(&arguments.env)?.refuse_easing(&given)?;
    let named = Layer::default().with("env", Some(&arguments.env)).with("agent", Some("random"));
    let layer = given.iter().fold(named, |layer, (key, value)| layer.with_part(Part::Env, key, Some(value)));
    let mut config = TrainConfig::resolve(&[layer])?;
    if !given.contains_key("frame_stack") && config.env.settings().contains_key("frame_stack") {
        config.env = config.env.with("frame_stack", (config.env.frame_stack() as u64).min(probe::DIRECTION_STACK))?;
    }
    Ok(config)
}

/// Formats two aligned lines for each encoder, and a last one for the frames themselves.
fn table(questions: &[(&str, &str)], found: &[EncoderMeasures], ceiling: Score) -> String {
    let or_none =
        |value: Option<f64>, digits: usize| value.map_or("-".to_string(), |value| format!("{value:.digits$}"));
    let names = questions.iter().map(|(name, _)| *name);
    let header = ["encoder", "code", "probe"].into_iter().chain(names).chain(["recall", "mse", "fit s", "us/frame"]);
    let mut rows: Vec<Vec<String>> = vec![header.map(str::to_string).collect()];
    for each in found {
        let name = [each.encoder.clone(), each.code.to_string()];
        for (probe, scores) in [("linear", &each.linear), ("mlp", &each.mlp)] {
            let scores = questions.iter().map(|(_, key)| cell(scores.get(key).copied()));
            let costs = match probe {
                "linear" => {
                    let costs = [or_none(each.mse, 5), or_none(each.fit_s, 1), or_none(each.encode_us, 1)];
                    [cell(each.recall)].into_iter().chain(costs).collect()
                }
                _ => vec![String::new(); 4],
            };
            rows.push(name.clone().into_iter().chain([probe.to_string()]).chain(scores).chain(costs).collect());
        }
    }
    let mut last = vec!["-".to_string(); rows[0].len()];
    last[0] = "(frames themselves)".to_string();
    last[3 + questions.len()] = cell(Some(ceiling));
    rows.push(last);
    let width_of = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width_of).collect();
    let line = |row: &Vec<String>| {
        let right = row.iter().zip(&widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}"));
        [format!("{:<width$}", row[0], width = widths[0])].into_iter().chain(right).collect::<String>()
    };
    joined(&rows.iter().map(line).collect::<Vec<_>>())
}

/// Formats a score with its interval.
fn cell(score: Option<Score>) -> String {
    match score {
        Some(Score { value, interval: Some([low, high]) }) => format!("{value:.3} [{low:.2}, {high:.2}]"),
        Some(Score { value, interval: None }) => format!("{value:.3}"),
        None => "-".to_string(),
    }
}
