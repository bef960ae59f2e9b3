//! `carom probe`: measures how much of the true state encoders keep.

use super::joined;
use super::watch::env_settings;
use crate::config::encoders::EncoderSpec;
use crate::config::layers::{Layer, Part};
use crate::config::names;
use crate::config::training::TrainConfig;
use crate::generative::data::frames::default_n_frames;
use crate::human::{parse_count, parse_seed};
use crate::probe::{self, EncoderMeasures, Probe};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::io::{Write, stdout};
use std::path::PathBuf;

/// Measure how well the true state (ball, paddle, bricks, player, ...) can be predicted from codes by linear probes
///
/// Half of the frames are of random play, half of the scripted player; training and test frames are of different
/// episodes. The controls `random` and `oracle` are always added. An encoder given by name is fitted first, unless it
/// is cached.
///
/// Places (ball x, player y, aliens x, ...) and direction: macro F1 of a linear classifier on codes. Amounts (bricks,
/// enemies, air, ...): R² of a linear regression. recall: share of frames whose decoded image has the ball, or the
/// player of a game without one, at its true place, within a cell of planes or 2 of the 84x84 pixels. mse: mean squared
/// error of decoded pixels. us/frame: microseconds to encode a frame in batches of 32.
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
    /// Frames to probe with [default: half as many as encoders are fitted to]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    frames: Option<u64>,
    /// Seed of the frames; encoders are fitted to frames of seed 0, so use another
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = parse_seed)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write a picture of frames above their reconstructions, with the true ball or player marked
    #[arg(short, long, value_name = "FILE.png|svg")]
    output: Option<PathBuf>,
}

/// Encoders to compare the others with.
const CONTROLS: [&str; 2] = ["random", "oracle"];

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
    let mut probe = Probe::new(config, n_frames, arguments.seed)?;
    let mut found = vec![];
    for encoder in encoders {
        say!("probing {encoder}");
        found.push(probe.measure(&encoder)?);
    }
    if let Some(path) = &arguments.output {
        probe.draw(path)?;
    }
    let (ceiling, [n_train, n_test], classes) = (probe.ceiling(), probe.n_frames(), probe.classes());
    let mut out = stdout().lock();
    if arguments.json {
        let recall_key = format!("{}_recall_of_frames", probe.object());
        let report = json!({
            "env": arguments.env, "seed": arguments.seed, "frames_train": n_train, "frames_test": n_test,
            "classes": classes, recall_key: ceiling, "encoders": found,
        });
        return Ok(writeln!(out, "{report}")?);
    }
    out.write_all(table(&probe.questions(), &found, ceiling).as_bytes())?;
    let summary = format!("{n_train} frames to learn from, {n_test} to test with, seed {}", arguments.seed);
    Ok(writeln!(out, "{summary}; classes: {classes}")?)
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

/// Formats an aligned line for each encoder, and a last one for the frames themselves.
fn table(questions: &[(&str, &str)], found: &[EncoderMeasures], ceiling: f64) -> String {
    let or_none =
        |value: Option<f64>, digits: usize| value.map_or("-".to_string(), |value| format!("{value:.digits$}"));
    let names = questions.iter().map(|(name, _)| *name);
    let header = ["encoder", "code"].into_iter().chain(names).chain(["recall", "mse", "fit s", "us/frame"]);
    let mut rows: Vec<Vec<String>> = vec![header.map(str::to_string).collect()];
    for each in found {
        let scores = questions.iter().map(|(_, key)| or_none(each.scores.get(key).copied(), 3));
        let recall = or_none(each.ball_recall.or(each.player_recall), 3);
        let costs = [recall, or_none(each.mse, 5), or_none(each.fit_s, 1), or_none(each.encode_us, 1)];
        rows.push([each.encoder.clone(), each.code.to_string()].into_iter().chain(scores).chain(costs).collect());
    }
    let mut last = vec!["-".to_string(); rows[0].len()];
    last[0] = "(frames themselves)".to_string();
    last[2 + questions.len()] = or_none(Some(ceiling), 3);
    rows.push(last);
    let width_of = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width_of).collect();
    let line = |row: &Vec<String>| {
        let right = row.iter().zip(&widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}"));
        [format!("{:<width$}", row[0], width = widths[0])].into_iter().chain(right).collect::<String>()
    };
    joined(&rows.iter().map(line).collect::<Vec<_>>())
}
