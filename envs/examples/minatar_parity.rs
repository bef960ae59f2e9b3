//! Plays a file of actions on a MinAtar game with numpy's random numbers, to be compared with the PyPI package
//! `minatar`. `scripts/parity-minatar` does so.
//!
//! `cargo run -p carom-envs --example minatar_parity -- minatar/seaquest --seed 7 --sticky 0.1 --actions FILE` draws
//! from numpy's `RandomState(7)`, reads the index of an action from each line, and resets the game after each end. It
//! prints `step,reward,terminated,obs_crc32` for each step; step 0 is the first reset. The checksum is that of the
//! observation as bytes `[10, 10, channels]`, as eight hexadecimal digits. `--action-set minimal` and `--ramping false`
//! change the game. With `--player STEPS` the scripted player plays as many steps, one in 1/`--epsilon` of them at
//! random, and FILE is written instead of read.

use carom_envs::settings::nearest;
use carom_envs::{Env, Seeds, Step, Values, registry};
use rand::Rng;
use rand_mt::Mt;
use serde_json::Value;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The arguments of the program.
#[derive(Default)]
struct Arguments {
    env_id: String,
    seed: u32,
    actions: PathBuf,
    settings: Values,
    /// Steps of the scripted player. With 0 the actions are read.
    player_steps: usize,
    epsilon: f64,
}

fn main() -> Result<()> {
    let arguments = parse(std::env::args_os().skip(1))?;
    let mut env = registry::resolve(&arguments.env_id, &arguments.settings)?.make();
    let n_actions = env.action_names().len();
    let given = if arguments.player_steps == 0 { read_actions(&arguments.actions, n_actions)? } else { vec![] };
    let mut choices = Seeds::new(arguments.seed.into()).stream("explore");
    let mut chosen = String::new();

    let mut rng = Mt::new(arguments.seed);
    let mut out = BufWriter::new(stdout().lock());
    let mut obs = vec![0; env.obs_space().n_bytes()];
    env.reset(&mut rng);
    write_row(&mut out, 0, Step::default(), &*env, &mut obs)?;
    for step in 0..given.len().max(arguments.player_steps) {
        let action = match given.get(step) {
            Some(&action) => action,
            None if choices.gen_bool(arguments.epsilon) => choices.gen_range(0..n_actions),
            None => env.scripted_action().expect("every MinAtar game has a scripted player"),
        };
        writeln!(chosen, "{action}")?;
        let outcome = env.step(action, &mut rng);
        write_row(&mut out, step + 1, outcome, &*env, &mut obs)?;
        if outcome.terminated {
            env.reset(&mut rng);
        }
    }
    if arguments.player_steps > 0 {
        fs::write(&arguments.actions, chosen)?;
    }
    Ok(out.flush()?)
}

/// Reads the index of an action from each line.
fn read_actions(path: &Path, n_actions: usize) -> Result<Vec<usize>> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let actions = text.lines().map(|line| {
        let action = line.trim().parse().ok().filter(|&action| action < n_actions);
        action.ok_or_else(|| format!("{shown}: `{line}` is not an action in 0..{n_actions}").into())
    });
    actions.collect()
}

fn write_row(out: &mut impl Write, step: usize, outcome: Step, env: &dyn Env, obs: &mut [u8]) -> Result<()> {
    env.observe(obs);
    let (reward, terminated, crc32) = (outcome.reward, u8::from(outcome.terminated), crc32fast::hash(obs));
    Ok(writeln!(out, "{step},{reward},{terminated},{crc32:08x}")?)
}

fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Arguments> {
    const OPTIONS: [&str; 7] =
        ["--seed", "--sticky", "--actions", "--action-set", "--ramping", "--player", "--epsilon"];
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let word = word.to_string_lossy().into_owned();
        if !word.starts_with("--") {
            arguments.env_id = word;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        if word == "--actions" {
            arguments.actions = value.into();
            continue;
        }
        let value = value.to_string_lossy().into_owned();
        let mut set = |key: &str, value: Value| arguments.settings.insert(key.to_owned(), value);
        match word.as_str() {
            "--seed" => arguments.seed = value.parse()?,
            "--sticky" => _ = set("sticky", value.parse::<f64>()?.into()),
            "--action-set" => _ = set("action_set", value.into()),
            "--ramping" => _ = set("ramping", value.parse::<bool>()?.into()),
            "--player" => arguments.player_steps = value.parse()?,
            "--epsilon" => arguments.epsilon = value.parse()?,
            _ => {
                let hint = nearest(&word, OPTIONS).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(format!("there is no option `{word}`{hint}").into());
            }
        }
    }
    if arguments.env_id.is_empty() || arguments.actions.as_os_str().is_empty() {
        return Err("usage: minatar_parity ID --actions FILE [--seed S] [--sticky P] [--action-set full|minimal] \
                    [--ramping true|false] [--player STEPS [--epsilon E]]"
            .into());
    }
    Ok(arguments)
}
