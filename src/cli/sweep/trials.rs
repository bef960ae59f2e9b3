//! The trials of a search, each with its resolved settings.

use crate::cli::choices::{Choice, resolve as resolve_choices};
use crate::config::layers::Layer;
use crate::config::training::{TRAINING, TrainConfig};
use crate::human::plural;
use crate::sweep::file::SweepFile;
use anyhow::{Context, Result};
use std::collections::BTreeSet;

/// The runs of a combination, but for their seeds.
pub(super) struct Trial {
    /// Number, counted from 0.
    pub number: usize,
    /// The value on each axis.
    pub values: Vec<String>,
    /// Settings with the first seed.
    pub config: TrainConfig,
}

/// Returns the trials of a search. Combinations that make the same run are one trial.
///
/// # Errors
/// When a key is unknown, a value is not valid, or a setting has no effect on any trial.
pub(super) fn resolve(file: &SweepFile) -> Result<Vec<Trial>> {
    check_keys(file)?;
    let combinations = file.combinations()?;
    let mut first = Choice::default();
    let given = file.base.iter().filter(|(key, value)| !set(&mut first, key, value));
    let mut given: Vec<String> = given.map(|(key, value)| format!("{key}={value}")).collect();
    given.extend(file.search.halving.map(|halving| format!("steps={}", halving.most)));
    let given = Layer::from_assignments(&given, &TRAINING)?;
    let choice = |values: &Vec<String>| {
        let mut choice = first.clone();
        for (axis, value) in file.axes.iter().zip(values) {
            if !set(&mut choice, &axis.key, value) {
                choice.assignments.push(format!("{}={value}", axis.key));
            }
        }
        choice
    };
    let choices: Vec<Choice> = combinations.iter().map(choice).collect();
    let resolved = resolve_choices(&choices, &given)?;
    let unheard: BTreeSet<String> =
        resolved.iter().flat_map(|one| &one.unheard).map(|fault| format!("note: not in all trials: {fault}")).collect();
    for note in unheard {
        say!("{note}");
    }
    let mut trials: Vec<Trial> = vec![];
    for (values, one) in combinations.iter().zip(resolved) {
        let config = one.config.with_seed(file.seeds[0]);
        if trials.iter().all(|trial| trial.config != config) {
            trials.push(Trial { number: trials.len(), values: values.clone(), config });
        }
    }
    let n_left_out = combinations.len() - trials.len();
    if n_left_out > 0 {
        let combinations = plural(combinations.len() as u64, "combination");
        say!("note: {n_left_out} of {combinations} make the same runs as others, and are left out");
    }
    Ok(trials)
}

/// Checks the keys of a file's settings, so that a message names the table of a wrong one.
fn check_keys(file: &SweepFile) -> Result<()> {
    let keys = file.base.iter().map(|(key, value)| ("base", key, value));
    let axes = file.axes.iter().map(|axis| ("axes", &axis.key, None));
    for (table, key, value) in keys.map(|(table, key, value)| (table, key, Some(value))).chain(axes) {
        if key != "preset" {
            let assignment = format!("{key}={}", value.map_or("0", String::as_str));
            Layer::default().assign(&assignment, &TRAINING).with_context(|| format!("[{table}]"))?;
        }
    }
    Ok(())
}

/// Sets a name of `choice`. Returns whether `key` is one of a name.
fn set(choice: &mut Choice, key: &str, value: &str) -> bool {
    let name = match key {
        "env" => &mut choice.env,
        "preset" => &mut choice.preset,
        "agent" => &mut choice.agent,
        "encoder" => &mut choice.encoder,
        _ => return false,
    };
    *name = Some(value.to_owned());
    true
}
