//! The combinations that a comparison is made of: environments, presets, agents, encoders and values of settings.

use super::Arguments;
use crate::cli::choices::{Choice, Resolved, resolve, short};
use crate::compare::Subject;
use crate::config::training::TrainConfig;
use anyhow::{Context, Result, bail, ensure};

/// Flags of what a run is, which `--vary` leaves to them.
const OWN_FLAGS: [(&str, &str); 4] =
    [("env", "--envs"), ("agent", "--agents"), ("encoder", "--encoders"), ("seed", "--seeds")];

/// The runs of a combination, but for their seeds.
pub(super) struct Variant {
    /// Name in tables. Variants of several environments share it.
    pub name: String,
    /// Name of the runs' directories, without the seed.
    pub dir_name: String,
    /// Settings with the first seed.
    pub config: TrainConfig,
}

/// Returns all combinations with their settings.
pub(super) fn variants(arguments: &Arguments) -> Result<Vec<Variant>> {
    let choices = choices(arguments)?;
    let configs = configs(arguments, &choices)?;
    let named = choices.iter().zip(configs).map(|(choice, config)| Variant {
        name: name(choice, arguments, &config),
        dir_name: dir_name(choice, arguments, &config),
        config,
    });
    Ok(named.collect())
}

/// Sets one of a choice's names.
type SetName = fn(&mut Choice, &str);

/// Returns the product of all lists that are given, the environments outermost.
fn choices(arguments: &Arguments) -> Result<Vec<Choice>> {
    let first = Choice {
        env: arguments.env.clone(),
        preset: arguments.preset.clone(),
        agent: arguments.agent.clone(),
        ..Choice::default()
    };
    let mut all = vec![first];
    let lists: [(&[String], SetName); 4] = [
        (&arguments.envs, |choice, env| choice.env = Some(env.to_owned())),
        (&arguments.presets, |choice, preset| choice.preset = Some(preset.to_owned())),
        (&arguments.agents, |choice, agent| choice.agent = Some(agent.to_owned())),
        (&arguments.encoders, |choice, encoder| choice.encoder = Some(encoder.to_owned())),
    ];
    for (values, set) in lists {
        all = product(all, values, set);
    }
    for text in &arguments.vary {
        let assignments = assignments(text)?;
        all = product(all, &assignments, |choice, assignment| choice.assignments.push(assignment.to_owned()));
    }
    Ok(all)
}

/// Returns each choice with each value; the choices as they are if there is no value.
fn product(choices: Vec<Choice>, values: &[String], set: impl Fn(&mut Choice, &str)) -> Vec<Choice> {
    if values.is_empty() {
        return choices;
    }
    let with = |choice: &Choice, value: &String| {
        let mut choice = choice.clone();
        set(&mut choice, value);
        choice
    };
    choices.iter().flat_map(|choice| values.iter().map(|value| with(choice, value))).collect()
}

/// Splits `KEY=V,V` into an assignment for each value. A comma within brackets belongs to its value.
fn assignments(text: &str) -> Result<Vec<String>> {
    let example = "expected KEY=VALUE,VALUE, e.g. agent.lr=1e-4,3e-4";
    let (key, values) = text.split_once('=').with_context(|| format!("--vary {text}: {example}"))?;
    if let Some((_, flag)) = OWN_FLAGS.iter().find(|(own, _)| *own == key) {
        bail!("--vary {text}: {flag} gives several");
    }
    let (mut all, mut depth) = (vec![String::new()], 0);
    for c in values.chars() {
        depth += i32::from(c == '[') - i32::from(c == ']');
        match c {
            ',' if depth == 0 => all.push(String::new()),
            _ => all.last_mut().expect("one at least").push(c),
        }
    }
    ensure!(all.iter().all(|value| !value.trim().is_empty()), "--vary {text}: {example}");
    for (i, value) in all.iter().enumerate() {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let is_same =
            |other: &&String| other.trim() == value.trim() || number(other).is_some_and(|n| number(value) == Some(n));
        if let Some(other) = all[..i].iter().find(is_same) {
            bail!("--vary {text}: {} and {} are one value", other.trim(), value.trim());
        }
    }
    Ok(all.iter().map(|value| format!("{}={}", key.trim(), value.trim())).collect())
}

/// Returns the name in tables: what differs from other choices, without the environment.
fn name(choice: &Choice, arguments: &Arguments, config: &TrainConfig) -> String {
    let mut words = vec![];
    if !arguments.presets.is_empty() {
        let name = choice.preset.as_deref().unwrap_or_default();
        let env = format!("{}-", config.env.id().replace('/', "-"));
        // `minatar-breakout-dqn` and `minatar-asterix-dqn` are `dqn` in two environments, and so is either alone: its
        // results may be joined with the other's.
        let short = name.strip_prefix(&env).filter(|_| arguments.envs.is_empty());
        words.push(short.unwrap_or(name).to_owned());
    }
    words.extend(choice.agent.clone().filter(|_| !arguments.agents.is_empty()));
    words.extend(choice.encoder.clone());
    words.extend(choice.assignments.iter().map(|assignment| short(assignment, &choice.assignments)));
    if words.is_empty() {
        words.push(config.agent.name().to_owned());
    }
    words.join(" ")
}

/// Returns the name of the runs' directories, without the seed.
fn dir_name(choice: &Choice, arguments: &Arguments, config: &TrainConfig) -> String {
    let mut words = vec![];
    words.extend((!arguments.envs.is_empty()).then(|| config.env.id().to_owned()));
    words.extend(choice.preset.clone().filter(|_| !arguments.presets.is_empty()));
    words.extend(choice.agent.clone().filter(|_| !arguments.agents.is_empty()));
    words.extend(choice.encoder.iter().chain(&choice.assignments).cloned());
    // An encoder may be a path.
    let words = words.iter().map(|word| word.trim_matches(['.', '/']).replace('/', "-"));
    words.collect::<Vec<_>>().join("-")
}

/// Returns the configuration of each choice, with the first seed, and notes which settings do not affect it.
fn configs(arguments: &Arguments, choices: &[Choice]) -> Result<Vec<TrainConfig>> {
    let resolved = resolve(choices, &arguments.given()?)?;
    // What one choice leaves without effect is for the others.
    for (choice, Resolved { config, unheard }) in choices.iter().zip(&resolved) {
        let noun = if arguments.subject() == Subject::Encoders { "encoder " } else { "" };
        for fault in unheard {
            say!("note: {noun}{}: {fault}", name(choice, arguments, config));
        }
    }
    Ok(resolved.into_iter().map(|resolved| resolved.config).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_split_at_commas_outside_of_brackets() {
        let found = assignments("agent.hidden=[16,32],[64]").expect("two");
        assert_eq!(found, ["agent.hidden=[16,32]", "agent.hidden=[64]"]);
        assert_eq!(assignments("agent.lr=1e-4").expect("one"), ["agent.lr=1e-4"]);
        for (text, words) in [
            ("agent.lr", "KEY=VALUE"),
            ("agent.lr=1,", "KEY=VALUE"),
            ("seed=1,2", "--seeds"),
            ("agent.lr=0.1,1e-1", "one value"),
        ] {
            let error = assignments(text).expect_err("no values").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
