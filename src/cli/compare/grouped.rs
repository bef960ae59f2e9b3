//! Runs that were made before, grouped by the values of settings.

use crate::cli::start::is_finished;
use crate::compare::{Entrant, METRIC, Side};
use crate::config::kind::{self, Config, training_config};
use crate::config::training::TrainConfig;
use crate::dotted::{dotted, is_usual};
use crate::plot::{self, find_runs};
use anyhow::{Result, bail, ensure};
use carom_envs::settings::nearest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Name of the group whose values most groups have, if no name tells it.
const BASE: &str = "base";

/// Values of the keys that runs are grouped by. `None` where a run has no such setting.
type Values = Vec<Option<String>>;

/// Reads the finished runs at and below `paths`, and groups them by environment and by the values of `keys`. Runs that
/// are not finished, copies of a run, and fits below a folder are left out, with a note.
///
/// # Errors
/// When a path is not a training run, no run is finished, or no run has a setting of that key.
pub(super) fn entrants(paths: &[PathBuf], keys: &[String]) -> Result<Vec<Entrant>> {
    if let Some(i) = (1..keys.len()).find(|&i| keys[..i].contains(&keys[i])) {
        bail!("--by names {} twice", keys[i]);
    }
    let mut entrants: Vec<(Values, Entrant)> = vec![];
    let mut known = BTreeSet::new();
    for dir in find_runs(paths)? {
        let Some(config) = finished(&dir, paths.contains(&dir))? else { continue };
        let settings = dotted(&config.to_toml());
        known.extend(settings.keys().cloned());
        let values: Values = keys.iter().map(|key| settings.get(key).cloned()).collect();
        let same = entrants.iter_mut().find(|(other, entrant)| *other == values && entrant.env() == config.env.id());
        let Some((_, entrant)) = same else {
            entrants.push((values, Entrant { name: String::new(), runs: vec![(config, dir)] }));
            continue;
        };
        if let Some(original) = original(entrant, &config, &dir)? {
            say!("note: {} is a copy of {}, and is left out", dir.display(), original.display());
            continue;
        }
        entrant.runs.push((config, dir));
    }
    ensure!(!entrants.is_empty(), "none of these runs is finished");
    if let Some(key) = keys.iter().find(|key| !known.contains(*key)) {
        let near = nearest(key, known.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        bail!("none of these runs has a setting `{key}`{near}");
    }
    let groups: BTreeSet<Values> = entrants.iter().map(|(values, _)| values.clone()).collect();
    let names = names(&groups.iter().collect::<Vec<_>>(), keys);
    let names: BTreeMap<Values, String> = groups.into_iter().zip(names).collect();
    let finish = |(values, mut entrant): (Values, Entrant)| {
        entrant.name.clone_from(&names[&values]);
        entrant.runs.sort_by_key(|(config, _)| config.run.seed);
        entrant
    };
    let mut entrants: Vec<Entrant> = entrants.into_iter().map(finish).collect();
    // The first one is what the others are compared with.
    entrants.sort_by_key(|entrant| entrant.name != BASE);
    Ok(entrants)
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

/// Names `groups` by their values of `keys`. What more than half of them have is left out, and so is that a setting is
/// not given, unless two groups would have one name.
fn names(groups: &[&Values], keys: &[String]) -> Vec<String> {
    let n_equal = |i: usize, value: &Option<String>| groups.iter().filter(|values| values[i] == *value).count();
    let word = |(i, value): (usize, &Option<String>)| match (keys[i].as_str(), value) {
        ("agent" | "encoder" | "env", Some(value)) => Some(value.clone()),
        (_, value) if is_usual(n_equal(i, value), groups.len()) => None,
        (key, value) => Some(format!("{}={}", short(key), value.as_deref()?)),
    };
    let names = groups.iter().map(|values| {
        let words: Vec<String> = values.iter().enumerate().filter_map(word).collect();
        if words.is_empty() { BASE.to_owned() } else { words.join(" ") }
    });
    let names: Vec<String> = names.collect();
    if names.iter().collect::<BTreeSet<_>>().len() == names.len() {
        return names;
    }
    let word = |(key, value): (&String, &Option<String>)| {
        format!("{}={}", short(key), value.as_deref().unwrap_or("not given"))
    };
    groups.iter().map(|values| keys.iter().zip(*values).map(word).collect::<Vec<_>>().join(" ")).collect()
}

/// Returns the last part of a dotted key.
fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of<const N: usize>(keys: [&str; N], groups: &[[&str; N]]) -> Vec<String> {
        let given = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        let groups: Vec<Values> = groups.iter().map(|values| values.map(given).into()).collect();
        names(&groups.iter().collect::<Vec<_>>(), &keys.map(str::to_owned))
    }

    #[test]
    fn groups_are_named_by_what_tells_them_apart() {
        assert_eq!(names_of(["agent.lr"], &[["0.1"], ["0.2"]]), ["lr=0.1", "lr=0.2"]);
        let parts = ["agent.dueling", "agent.munchausen", "agent.double"];
        let groups = [["false", "false", "true"], ["true", "false", "true"], ["false", "true", ""]];
        assert_eq!(names_of(parts, &groups), ["base", "dueling=true", "munchausen=true"]);
        let groups = [["dqn", "true"], ["dqn", "false"], ["pqn", ""]];
        assert_eq!(names_of(["agent", "agent.noisy"], &groups), ["dqn noisy=true", "dqn noisy=false", "pqn"]);
    }

    #[test]
    fn no_two_groups_have_one_name() {
        let groups = [["dqn", "1", "3"], ["dqn", "1", "5"], ["dqn", "", "3"]];
        let names = names_of(["agent", "agent.tau", "agent.n_step"], &groups);
        let expected = ["agent=dqn tau=1 n_step=3", "agent=dqn tau=1 n_step=5", "agent=dqn tau=not given n_step=3"];
        assert_eq!(names, expected);
    }
}
