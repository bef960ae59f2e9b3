//! `carom export`: writes a trained network for other programs.

use super::print;
use crate::config::kind::training_config;
use crate::export::{self, Format, Network};
use crate::files::{self, shown};
use crate::human::parse_count;
use crate::run::checkpoint::Which;
use crate::run::layout::EXPORT;
use crate::train::policy::Policy;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Write the network of a trained `dqn` or `pqn` for PyTorch, TorchScript or onnxruntime
///
/// The network maps observations, as the environment gives them, to Q-values. Layers have PyTorch's names and orders.
/// Of the heads c51 and qr the graphs end in the mean of each action's distribution; safetensors have their last
/// layer, and the returns of c51 as `support`.
#[derive(Args)]
#[command(after_help = "Example:\n  carom export runs/minatar-breakout-dqn-s0 --to onnx --examples 1000")]
pub(super) struct Arguments {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Format of the file
    #[arg(long, value_name = "FORMAT")]
    to: Format,
    /// The file [default: RUN/policy.safetensors, .pt or .onnx]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Checkpoint to use: newest, best (by the evaluations during training), or a step
    #[arg(long, value_name = "WHICH", default_value = "newest")]
    checkpoint: Which,
    /// Also write so many observations of the policy's games with their Q-values, to check the file with
    /// (FILE.examples.safetensors: arrays obs and q)
    #[arg(long, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    examples: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let config = training_config(&arguments.run, "export")?.for_reading(None)?;
    ensure!(arguments.examples != Some(0), "--examples is 0: at least one is needed");
    if let Some(out) = &arguments.out {
        let (name, wanted) = (out.display(), arguments.to.extension());
        let is_named = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted));
        ensure!(is_named, "--out {name}: give a name that ends in .{wanted}");
    }
    let mut policy = Policy::of(config, &arguments.run, arguments.checkpoint)?;
    let network = Network::of(&mut policy).with_context(|| format!("{}", arguments.run.display()))?;
    let extension = arguments.to.extension();
    let path = arguments.out.clone().unwrap_or_else(|| arguments.run.join(EXPORT).with_extension(extension));
    write(&path, &network.to_bytes(arguments.to)?)?;
    if !arguments.json {
        print(&format!("{}: {} -> q [N, {}]\n", shown(&path).display(), network.input(), policy.n_actions()))?;
    }
    let mut examples = None;
    if let Some(n) = arguments.examples {
        let (obs, q) = play(&mut policy, n as usize)?;
        let mut name = path.clone().into_os_string();
        name.push(".examples.safetensors");
        let path = PathBuf::from(name);
        write(&path, &export::examples(network.input(), &obs, &q)?)?;
        if !arguments.json {
            print(&format!("{}: {n} observations with their Q-values\n", shown(&path).display()))?;
        }
        examples = Some(shown(&path).display().to_string());
    }
    if !arguments.json {
        return Ok(());
    }
    let (file, obs) = (shown(&path).display().to_string(), network.input().to_string());
    let report = json!({
        "file": file, "format": extension, "obs": obs, "n_actions": policy.n_actions(), "step": policy.step,
        "examples": examples,
    });
    print(&format!("{report}\n"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write_whole(path, |file| file.write_all(bytes)).with_context(|| format!("cannot write {}", path.display()))
}

/// Plays `n` steps greedily; returns the observations acted on and their Q-values.
fn play(policy: &mut Policy, n: usize) -> Result<(Vec<u8>, Vec<f32>)> {
    let mut envs = policy.envs(policy.config.run.seed, 1)?;
    let (mut scratch, mut all_obs, mut all_q) = (vec![], vec![], vec![]);
    let mut actions = [0];
    for _ in 0..n {
        let obs = envs.stacks(&mut scratch).to_vec();
        all_q.extend(export::acting_values(policy, &obs)?);
        policy.act(&envs, &mut actions);
        envs.step(&actions);
        all_obs.extend(obs);
    }
    Ok((all_obs, all_q))
}
