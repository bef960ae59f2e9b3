//! `carom trace`: plays given actions, so that another implementation can be compared with ours step by step.

use super::Out;
use super::watch::env_settings;
use crate::config::names;
use crate::files;
use crate::human::parse_seed;
use anyhow::{Context, Result, anyhow, ensure};
use carom_envs::{ObsSpace, Seeds, Values, VecEnv};
use clap::Args;
use fs_err as fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Play a file of actions and print reward, end and checksum of the observation of each step
///
/// The file has one action index per line. A row's crc32 (8 hexadecimal digits) is of the bytes of the observation
/// after its action. At the end of an episode this is its final observation, and the next action is played after a
/// reset. Episodes are whole games and rewards are the game's own. Rules that ease training are asked for with --set
/// (env.life_loss_terminal=true, env.reward_clip=true).
#[derive(Args)]
#[command(after_help = "Example:\n  \
                  carom trace --env minatar/breakout --actions actions.txt --set env.sticky=0 --frames frames.npy")]
pub(super) struct Arguments {
    /// Environment (`carom list envs`)
    #[arg(long, value_name = "ID")]
    env: String,
    /// File with one action index per line
    #[arg(long, value_name = "FILE")]
    actions: PathBuf,
    /// Seed of the environment
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = parse_seed)]
    seed: u64,
    /// A setting of the environment, e.g. env.sticky=0; may be repeated
    #[arg(long, value_name = "env.KEY=VALUE")]
    set: Vec<String>,
    /// Write all observations, beginning with the one after the first reset, as a NumPy array of shape [T+1, ...]
    #[arg(long, value_name = "FILE.npy")]
    frames: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let set = env_settings(&arguments.set)?;
    arguments.frames.as_deref().map(|frames| check_frames(frames, &arguments.actions)).transpose()?;
    let rngs = vec![Seeds::new(arguments.seed).stream("env/0")];
    let whole_games = names::env(&arguments.env)?.resolve(&Values::new())?.evaluation();
    let mut env = whole_games.with_all(&set)?.make_vec(rngs)?;
    let actions = read_actions(&arguments.actions, env.n_actions())?;
    let Some(path) = &arguments.frames else { return play(&mut env, &actions, None) };
    files::write_whole(path, |file| {
        write_header(file, env.obs_space(), actions.len() + 1)?;
        play(&mut env, &actions, Some(file))
    })
    .with_context(|| format!("cannot write {}", path.display()))
}

/// Checks that frames can be written to `frames`.
fn check_frames(frames: &Path, actions: &Path) -> Result<()> {
    let (name, is_npy) =
        (frames.display(), frames.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")));
    ensure!(is_npy, "--frames {name}: give a name that ends in .npy");
    let is_input =
        fs::canonicalize(frames).is_ok_and(|place| fs::canonicalize(actions).is_ok_and(|read| read == place));
    ensure!(!is_input, "--frames {name}: that is the file of the actions");
    Ok(())
}

/// Prints a row for each action, and writes all observations to `frames`, if they are asked for.
fn play(env: &mut VecEnv, actions: &[usize], mut frames: Option<&mut dyn Write>) -> Result<()> {
    let mut out = BufWriter::new(Out::lock());
    writeln!(out, "step,action,reward,terminated,truncated,obs_crc32")?;
    if let Some(frames) = &mut frames {
        frames.write_all(env.obs())?;
    }
    for (step, &action) in actions.iter().enumerate() {
        env.step(&[action]);
        write_row(&mut out, step + 1, action, env)?;
        match &mut frames {
            Some(frames) => frames.write_all(env.next_obs(0))?,
            None if out.get_ref().is_closed => break,
            None => {}
        }
    }
    Ok(out.flush()?)
}

fn write_row(out: &mut impl Write, step: usize, action: usize, env: &VecEnv) -> Result<()> {
    let transition = env.transitions()[0];
    let (reward, crc32) = (transition.reward, crc32fast::hash(env.next_obs(0)));
    let (terminated, truncated) = (u8::from(transition.terminated), u8::from(transition.truncated));
    Ok(writeln!(out, "{step},{action},{reward},{terminated},{truncated},{crc32:08x}")?)
}

fn read_actions(path: &Path, n_actions: usize) -> Result<Vec<usize>> {
    parse_actions(&fs::read_to_string(path)?, path, n_actions)
}

/// Parses the actions in `text`, that of the file `path`, one per line.
///
/// # Errors
/// When a line is not an action below `n_actions`; the error names the line.
pub(crate) fn parse_actions(text: &str, path: &Path, n_actions: usize) -> Result<Vec<usize>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let actions = lines.map(|(line_idx, line)| {
        let action = line.trim().parse().ok().filter(|&action| action < n_actions);
        let place = || format!("{}:{}", path.display(), line_idx + 1);
        action.ok_or_else(|| anyhow!("expected an action in 0..{n_actions}, found `{line}`")).with_context(place)
    });
    actions.collect()
}

/// Writes the header of a NumPy file of `n_frames` observations, of version 1.0 and padded so that the data is aligned.
/// <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>
fn write_header(file: &mut impl Write, obs_space: &ObsSpace, n_frames: usize) -> Result<()> {
    let (dtype, shape): (_, &[usize]) = match obs_space {
        ObsSpace::Discrete { .. } => ("<u4", &[]),
        ObsSpace::Vector { len } => ("<f4", &[*len]),
        ObsSpace::Planes { shape } => ("|u1", shape),
        ObsSpace::Pixels { shape } => ("|u1", shape),
    };
    // The trailing comma makes a single number a tuple in Python.
    let shape = [n_frames].iter().chain(shape).map(usize::to_string).collect::<Vec<_>>().join(",") + ",";
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length take 10 bytes; a line break ends the header.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&u16::try_from(padded)?.to_le_bytes())?;
    Ok(writeln!(file, "{header:<width$}", width = padded - 1)?)
}
