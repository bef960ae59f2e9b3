//! Runs that were made before, grouped by the values of settings.

use crate::cli::start::is_finished;
use crate::compare::{Entrant, METRIC};
use crate::config::kind::{self, Config, training_config};
use crate::config::training::TrainConfig;
use crate::dotted::{Dotted, changes, dotted};
use crate::plot::{self, find_runs};
use anyhow::{Result, bail, ensure};
use carom_envs::settings::nearest;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Settings that do not affect learning, and the seed.
const IGNORED: [&str; 8] =
    ["seed", "log_every", "checkpoint_every", "eval_every", "eval_episodes", "eval_epsilon", "eval_max_steps", "kind"];

/// Reads the finished runs at and below `paths`, and groups them by environment and by the values of `keys`. Runs that
/// are not finished, copies of a run, and fits below a folder are left out, with a note.
///
/// # Errors
/// When a path is not a training run, no run is finished, or no run has a setting of that key.
pub(super) fn entrants(paths: &[PathBuf], keys: &[String]) -> Result<Vec<Entrant>> {
    if let Some(i) = (1..keys.len()).find(|&i| keys[..i].contains(&keys[i])) {
        bail!("--by names {} twice", keys[i]);
    }
    let mut entrants: Vec<(Entrant, BTreeSet<String>, Dotted)> = vec![];
    let mut known = BTreeSet::new();
    for dir in find_runs(paths)? {
        let Some(config) = finished(&dir, paths.contains(&dir))? else { continue };
        let settings = dotted(&config.to_toml());
        known.extend(settings.keys().cloned());
        let (name, env) = (name(&settings, keys), config.env.id().to_owned());
        match entrants.iter_mut().find(|(entrant, ..)| entrant.name == name && entrant.env() == env) {
            Some((entrant, differing, first)) => {
                if let Some(original) = original(entrant, &config, &dir)? {
                    say!("note: {} is a copy of {}, and is left out", dir.display(), original.display());
                    continue;
                }
                differing.extend(changes(first, &settings).into_iter().map(|change| change.key));
                entrant.runs.push((config, dir));
            }
            None => entrants.push((Entrant { name, runs: vec![(config, dir)] }, BTreeSet::new(), settings)),
        }
    }
    ensure!(!entrants.is_empty(), "none of these runs is finished");
    if let Some(key) = keys.iter().find(|key| !known.contains(*key)) {
        let near = nearest(key, known.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        bail!("none of these runs has a setting `{key}`{near}");
    }
    let finish = |(mut entrant, differing, _): (Entrant, BTreeSet<String>, Dotted)| {
        let differing: Vec<String> =
            differing.into_iter().filter(|key| !IGNORED.contains(&key.as_str()) && !keys.contains(key)).collect();
        if !differing.is_empty() {
            say!("note: runs of {} on {} differ in {} too", entrant.name, entrant.env(), differing.join(", "));
        }
        entrant.runs.sort_by_key(|(config, _)| config.run.seed);
        entrant
    };
    Ok(entrants.into_iter().map(finish).collect())
}

/// Returns the settings of the run in `dir`, or `None` with a note if it is not finished, or is a fit that is not
/// `given` itself.
///
/// # Errors
/// When it cannot be read, or is a fit that is `given`.
fn finished(dir: &Path, given: bool) -> Result<Option<TrainConfig>> {
    if let Config::Fit(fit) = kind::config(dir)?
        && !given
    {
        say!("note: {} is a fitted {}, and is left out", dir.display(), fit.model.name());
        return Ok(None);
    }
    let config = training_config(dir, "be compared")?;
    if !is_finished(&config, dir)? {
        say!("note: {} is not finished, and is left out", dir.display());
        return Ok(None);
    }
    Ok(Some(config))
}

/// Returns the run of `entrant` that the one in `dir` is a copy of. Settings alone do not tell: runs may begin at other
/// weights, or change a setting on the way.
fn original<'a>(entrant: &'a Entrant, config: &TrainConfig, dir: &Path) -> Result<Option<&'a PathBuf>> {
    for (_, other) in entrant.runs.iter().filter(|(other, _)| other == config) {
        if plot::points(other, METRIC)? == plot::points(dir, METRIC)? {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

/// Returns the values of `keys` in words. Names stand alone.
fn name(settings: &Dotted, keys: &[String]) -> String {
    let word = |key: &String| {
        let value = settings.get(key).map_or("not given", String::as_str);
        match key.as_str() {
            "agent" | "encoder" | "env" => value.to_owned(),
            key => format!("{}={value}", key.rsplit('.').next().unwrap_or(key)),
        }
    };
    keys.iter().map(word).collect::<Vec<_>>().join(" ")
}
