//! All settings are documented and valid, and the command line agrees with them.

use super::fit::FIT;
use super::layers::Form;
use super::part::Part;
use super::training::TRAINING;
use crate::cli::Cli;
use crate::generative::registry as models;
use carom_agents::registry as agents;
use carom_envs::registry as envs;
use carom_envs::settings::{Fault, Schema, Values};
use clap::{Command, CommandFactory};
use std::collections::BTreeSet;

/// Arguments of `train` and `fit` that are not settings.
const NO_SETTINGS: [&str; 15] = [
    "config",
    "force",
    "goes_on",
    "init_from",
    "jobs",
    "json",
    "no_wait",
    "on",
    "out",
    "pause_at",
    "preset",
    "seeds",
    "set",
    "slurm",
    "tensorboard",
];

/// Returns all groups of settings with their names.
fn schemas() -> Vec<(String, Schema)> {
    let envs = envs::all().into_iter().map(|entry| (format!("env {}", entry.id), entry.schema));
    let agents = agents::all().map(|entry| (format!("agent {}", entry.name), entry.schema));
    let models = models::MODELS.iter().map(|entry| (format!("model {}", entry.name), entry.schema));
    let runs = [&TRAINING, &FIT].map(|form| (form.kind.to_owned(), form.own));
    envs.chain(agents).chain(models).chain(runs).collect()
}

/// Returns the keys of a group.
fn keys(schema: &Schema) -> Vec<&'static str> {
    (schema.list)().iter().map(|setting| setting.key).collect()
}

#[test]
fn every_setting_is_documented_and_has_a_valid_default() {
    for (name, schema) in schemas() {
        (schema.resolve)(&Values::new()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        for setting in (schema.list)() {
            let key = setting.key;
            assert!(setting.doc.len() > 5 && setting.doc.ends_with('.'), "{name}, {key}: {:?}", setting.doc);
            assert!(!setting.expected.is_empty(), "{name}, {key}");
            let given = Values::from_iter([(key.to_owned(), setting.default)]);
            match (schema.resolve)(&given) {
                Ok(_) | Err(Fault::Unheard { .. }) => {}
                Err(fault) => panic!("the default of {name}: {fault}"),
            }
        }
    }
}

#[test]
fn no_key_occurs_twice_in_a_configuration() {
    for (name, schema) in schemas() {
        let keys = keys(&schema);
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{name}: {keys:?}");
    }
    for form in [&TRAINING, &FIT] {
        let own = keys(&form.own);
        let reserved = form.parts.iter().map(|part| part.table()).chain(["kind".to_owned()]);
        for word in reserved {
            assert!(!own.contains(&word.as_str()), "{}: {word} is a table or the kind", form.kind);
        }
    }
}

#[test]
fn each_flag_that_is_no_file_or_directory_is_a_setting_of_its_name() {
    for form in [&TRAINING, &FIT] {
        for flag in flags(form) {
            let is_own = keys(&form.own).contains(&flag.as_str());
            let is_of_model = form.parts.contains(&Part::Model) && Part::Model.has_key(&flag);
            assert!(is_own || is_of_model, "carom {} has a flag for {flag}, which is no setting", form.command);
        }
    }
}

#[test]
fn help_names_each_setting() {
    for form in [&TRAINING, &FIT] {
        let command = command(form);
        let set = command.get_arguments().find(|argument| argument.get_id() == "set").expect("--set");
        let help = set.get_help().expect("a documented flag").to_string();
        for key in keys(&form.own) {
            assert!(help.contains(key), "carom {} --help says nothing of {key}: {help}", form.command);
        }
    }
}

/// Returns the command that starts a run of this kind.
fn command(form: &Form) -> Command {
    Cli::command().find_subcommand(form.command).expect("a command").clone()
}

/// Returns the keys of the settings that have a flag or a positional argument.
fn flags(form: &Form) -> Vec<String> {
    let command = command(form);
    let ids = command.get_arguments().map(|argument| argument.get_id().as_str().to_owned());
    ids.filter(|id| !NO_SETTINGS.contains(&id.as_str())).collect()
}
