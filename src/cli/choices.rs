//! Combinations of names and settings, each resolved to the configuration of a run.

use super::train::preset;
use crate::config::layers::Layer;
use crate::config::training::{TRAINING, TrainConfig};
use anyhow::Result;
use carom_envs::settings::Fault;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// One combination.
#[derive(Clone, Default)]
pub(super) struct Choice {
    pub env: Option<String>,
    pub preset: Option<String>,
    pub agent: Option<String>,
    pub encoder: Option<String>,
    /// `key=value`, as `--set` takes it.
    pub assignments: Vec<String>,
}

/// The configuration of a choice.
pub(super) struct Resolved {
    /// Its settings.
    pub config: TrainConfig,
    /// Settings of the command that have no effect on it.
    pub unheard: Vec<Fault>,
}

impl Choice {
    /// Returns the settings of this choice, and those of the command that have no effect on it.
    fn layers(&self, given: &Layer, below: &[Layer]) -> Result<(Layer, Vec<Fault>)> {
        let vary = Layer::from_assignments(&self.assignments, &TRAINING)?;
        let own = Layer::default().with("env", self.env.as_ref()).with("agent", self.agent.as_ref());
        let mut layer = given.clone().and(own.with("encoder", self.encoder.as_ref()))?.and(vary)?;
        let unheard = layer.prune(below, &TRAINING);
        Ok((layer, unheard))
    }
}

/// Returns `key=value` with the last part of the key, or all of it if another key ends so.
pub(super) fn short(assignment: &str, among: &[String]) -> String {
    let last = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.rsplit('.').next().unwrap_or_default().to_owned(), value.to_owned())
    };
    let (key, value) = last(assignment);
    match among.iter().filter(|other| last(other).0 == key).count() {
        1 => format!("{key}={value}"),
        _ => assignment.to_owned(),
    }
}

/// Returns the configuration of each choice over the settings `given` to all.
///
/// # Errors
/// When a choice is not valid, or a setting has no effect on any.
pub(super) fn resolve(choices: &[Choice], given: &Layer) -> Result<Vec<Resolved>> {
    let (mut all, mut presets) = (vec![], BTreeMap::<_, Option<Layer>>::new());
    for choice in choices {
        let key = (&choice.preset, &choice.env, &choice.agent);
        let below: Option<Layer> = match presets.entry(key) {
            Entry::Occupied(found) => found.get().clone(),
            Entry::Vacant(place) => {
                let (agent, env) = (choice.agent.as_deref(), choice.env.as_deref());
                place.insert(preset(choice.preset.as_deref(), env.zip(agent), agent)?).clone()
            }
        };
        let below: Vec<Layer> = below.into_iter().collect();
        let (layer, unheard) = choice.layers(given, &below)?;
        let config = TrainConfig::resolve(&below.into_iter().chain([layer]).collect::<Vec<_>>())?;
        all.push(Resolved { config, unheard });
    }
    let is_heard_by_none =
        |fault: &&Fault| all.iter().all(|one| one.unheard.iter().any(|other| key(other) == key(fault)));
    match all.iter().flat_map(|one| &one.unheard).find(is_heard_by_none) {
        Some(fault) => Err(fault.clone().into()),
        None => Ok(all),
    }
}

/// Returns the key that a fault is about.
fn key(fault: &Fault) -> Option<&str> {
    match fault {
        Fault::Unheard { key, .. } => Some(key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_for_one_choice_is_left_out_of_the_others() {
        let of = |head: &str| Choice { assignments: vec![format!("agent.head={head}")], ..Choice::default() };
        let run = ["env=minatar/breakout", "agent=dqn"].map(String::from);
        let given =
            |set: &str| Layer::from_assignments(&[&run[..], &[set.to_owned()]].concat(), &TRAINING).expect("set");
        let both = resolve(&[of("scalar"), of("c51")], &given("agent.atoms=21")).expect("c51 has atoms");
        let unheard: Vec<_> = both.iter().map(|one| one.unheard.iter().filter_map(key).collect::<Vec<_>>()).collect();
        assert_eq!(unheard, [vec!["agent.atoms"], vec![]]);
        assert!(both[1].config.to_toml().contains("atoms = 21") && !both[0].config.to_toml().contains("atoms"));
        let error = resolve(&[of("scalar"), of("qr")], &given("agent.atoms=21")).map(drop).expect_err("none has atoms");
        assert!(error.to_string().contains("agent.atoms is 21, which has no effect"), "{error}");
    }

    #[test]
    fn settings_are_named_by_the_last_part_of_their_key() {
        let both = ["agent.lr=1", "env.lr=2", "agent.tau=3"].map(String::from);
        assert_eq!(both.each_ref().map(|text| short(text, &both)), ["agent.lr=1", "env.lr=2", "tau=3"]);
    }
}
