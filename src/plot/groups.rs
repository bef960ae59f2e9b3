//! Groups of runs with one configuration, and short labels that distinguish groups.

use super::runs::{Run, short_value};
use crate::dotted::{affects_learning, is_usual};
use std::collections::{BTreeMap, BTreeSet};

/// Runs that differ only in their seed.
#[derive(Debug)]
pub(super) struct Group {
    /// Label that distinguishes the group, e.g. `dqn lr=0.001`.
    pub label: String,
    pub runs: Vec<Run>,
}

impl Group {
    /// Returns what distinguishes the group's runs: `seeds`, or `runs` if a seed occurs twice or is unknown.
    pub(super) fn repeats(&self) -> &'static str {
        let seeds: BTreeSet<_> = self.runs.iter().filter_map(|run| run.seed.as_ref()).collect();
        if seeds.len() == self.runs.len() { "seeds" } else { "runs" }
    }

    /// Returns the settings that changed along the runs, each with its values.
    pub(super) fn changes(&self) -> impl Iterator<Item = String> {
        self.runs[0].changed.iter().filter_map(|key| Some(format!("{key}={}", self.setting(key)?)))
    }

    /// Returns the value of a setting that all runs share.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.runs[0].settings.get(key).map(String::as_str)
    }
}

/// Groups runs by configuration, in order of first appearance, and labels the groups.
pub(super) fn group(runs: Vec<Run>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| compared(&group.runs[0]) == compared(&run)) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { label: String::new(), runs: vec![run] }),
        }
    }
    let mut labels: Vec<String> = groups.iter().map(|group| label(group, &groups, true)).collect();
    if labels.iter().collect::<BTreeSet<_>>().len() < labels.len() {
        labels = groups.iter().map(|group| label(group, &groups, false)).collect();
    }
    for (group, label) in groups.iter_mut().zip(labels) {
        group.label = label;
    }
    groups
}

/// Returns the groups with those of `runs` that belong to them, without the groups that have none.
pub(super) fn only(groups: &[Group], runs: &[Run]) -> Vec<Group> {
    let own = |group: &Group| {
        let of_group = |run: &&Run| group.runs.iter().any(|member| member.dir == run.dir);
        Group { label: group.label.clone(), runs: runs.iter().filter(of_group).cloned().collect() }
    };
    groups.iter().map(own).filter(|group| !group.runs.is_empty()).collect()
}

/// Returns the result of `name`, such as [`Run::actor`], if it is equal for all groups.
pub(super) fn shared(groups: &[Group], name: fn(&Run) -> Option<&str>) -> Option<&str> {
    let value = name(&groups.first()?.runs[0])?;
    groups.iter().all(|group| name(&group.runs[0]) == Some(value)).then_some(value)
}

fn compared(run: &Run) -> BTreeMap<&str, &str> {
    let settings = run.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    settings.filter(|(key, _)| affects_learning(key)).collect()
}

/// Returns a label: the environment if there are several, the agent, and the settings that differ between groups of
/// this environment and agent, `without_usual` those that more than half of them have. Fits have data and model
/// instead.
fn label(group: &Group, groups: &[Group], without_usual: bool) -> String {
    let (actor, task) = (group.runs[0].actor(), group.runs[0].task());
    let is_kin = |other: &&Group| (other.runs[0].actor(), other.runs[0].task()) == (actor, task);
    let kin: Vec<&Group> = groups.iter().filter(is_kin).collect();
    let is_left_out =
        |key: &str| is_usual(kin.iter().filter(|other| other.setting(key) == group.setting(key)).count(), kin.len());
    let differing: Vec<&str> = compared(&group.runs[0])
        .into_keys()
        .filter(|&key| {
            group.runs[0].changed.contains(key) || kin.iter().any(|other| other.setting(key) != group.setting(key))
        })
        .collect();
    let mut words = Vec::new();
    if shared(groups, Run::task).is_none() {
        words.extend(task.map(str::to_owned));
    }
    words.extend(actor.map(str::to_owned));
    let is_told = |key: &&&str| !without_usual || group.runs[0].changed.contains(**key) || !is_left_out(key);
    for key in differing.iter().filter(is_told) {
        words.extend(group.setting(key).map(|value| format!("{}={}", short_key(key, &differing), short_value(value))));
    }
    if words.is_empty() {
        let name = group.runs[0].dir.file_name();
        words.push(name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default());
    }
    words.join(" ")
}

/// Returns the last part of a dotted key, or the key of `--set` if that part is ambiguous.
fn short_key(key: &str, among: &[&str]) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    if among.iter().filter(|other| last(other) == last(key)).count() == 1 {
        return last(key);
    }
    key.to_owned()
}
