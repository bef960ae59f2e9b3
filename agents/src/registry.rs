//! Agents by name.
//!
//! An agent is one entry of [`AGENTS`]: its name, what it is, the type of its settings and its constructor.

use crate::tabular::{
    DoubleQ, DynaQ, DynaQConfig, ExpectedSarsa, PolicyIteration, PolicyIterationConfig, QLambda, QLambdaConfig,
    QLearning, Random, Sarsa, TdConfig, ValueIteration, ValueIterationConfig,
};
use crate::{Dqn, DqnConfig, Learner, Planner, Pqn, PqnConfig, Task, Trainer};
use carom_envs::{Seeds, nearest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt::Display;

/// Settings of an agent by key (without the `agent.` prefix), e.g. `gamma`, `lr`.
pub type Settings = Map<String, Value>;

/// An agent that does not exist, a setting it does not have, or an environment it cannot play.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No agent of this name.
    #[error("there is no agent `{name}`; the nearest is `{nearest}` (`carom list agents` shows all)")]
    UnknownAgent {
        /// The name given.
        name: String,
        /// The known name most like it.
        nearest: &'static str,
    },
    /// The agent has no setting of this name.
    #[error("agent `{agent}` has no setting `{key}`; {known}")]
    UnknownSetting {
        /// The agent.
        agent: &'static str,
        /// The key given, without the `agent.` prefix.
        key: String,
        /// What it has instead: the nearest key and all others.
        known: String,
    },
    /// A setting with a value that cannot be.
    #[error("agent.{key} is {value}: expected {expected}")]
    BadValue {
        /// The key, without the `agent.` prefix.
        key: String,
        /// The value given.
        value: String,
        /// What it could be.
        expected: String,
    },
    /// Settings that were not resolved and do not fit their types.
    #[error("the agent's settings cannot be read: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// A table for something that has no numbered states.
    #[error(
        "{agent} keeps a table and needs a discrete observation space, but {env_id} observes {observes}: use dqn, or an \
         encoder that makes codes"
    )]
    NotDiscrete {
        /// The agent.
        agent: &'static str,
        /// The environment.
        env_id: String,
        /// What the environment observes.
        observes: String,
    },
    /// Planning without a transition table.
    #[error(
        "{agent} plans on a transition table, which {env_id} does not have: use an agent that learns, e.g. q-learning"
    )]
    NoModel {
        /// The agent.
        agent: &'static str,
        /// The environment.
        env_id: String,
    },
    /// A scripted player where nobody has written one.
    #[error("{env_id} has no scripted player: use an agent that learns, or random")]
    NoScript {
        /// The environment.
        env_id: String,
    },
}

impl AgentError {
    /// Setting `key` has `value`, which is not `expected`.
    pub(crate) fn bad_value(key: &str, value: impl Display, expected: &str) -> Self {
        Self::BadValue { key: key.to_string(), value: value.to_string(), expected: expected.to_string() }
    }
}

/// The settings of an agent: a struct that names its keys, types and defaults.
pub trait AgentConfig: Default + Serialize + DeserializeOwned {
    /// Refuses values outside their ranges, which types do not say.
    ///
    /// # Errors
    /// On the first such value.
    fn check(&self) -> Result<(), AgentError>;
}

/// One line of the registry.
pub struct AgentEntry {
    /// Name as typed on the command line.
    pub name: &'static str,
    /// One line for `carom list agents`.
    pub summary: &'static str,
    /// Whether it keeps a table, and needs numbered states.
    pub keeps_table: bool,
    /// Whether it trains a network, and with it an encoder in front ([`crate::Trunk`]).
    pub has_network: bool,
    resolve: fn(&'static str, &Settings) -> Result<Settings, AgentError>,
    make: fn(&Settings, &Task, &Seeds) -> Result<Trainer, AgentError>,
}

/// All agents.
pub const AGENTS: &[AgentEntry] = &[
    AgentEntry {
        name: "dqn",
        summary: "deep Q-network with experience replay (Mnih et al. 2015), optionally double and n-step",
        keeps_table: false,
        has_network: true,
        resolve: resolve_as::<DqnConfig>,
        make: |settings, task, seeds| learner(Dqn::new(parse(settings)?, task, seeds)?),
    },
    AgentEntry {
        name: "pqn",
        summary: "deep Q-learning over parallel environments, without replay or target (Gallici et al. 2024)",
        keeps_table: false,
        has_network: true,
        resolve: resolve_as::<PqnConfig>,
        make: |settings, task, seeds| learner(Pqn::new(parse(settings)?, task, seeds)?),
    },
    AgentEntry {
        name: "q-learning",
        summary: "off-policy control in a table (Watkins & Dayan 1992)",
        keeps_table: true,
        has_network: false,
        resolve: resolve_as::<TdConfig>,
        make: |settings, task, seeds| learner(QLearning::new(parse(settings)?, task, seeds)?),
    },
    AgentEntry {
        name: "sarsa",
        summary: "on-policy control in a table (Rummery & Niranjan 1994)",
        keeps_table: true,
        has_network: false,
        resolve: resolve_as::<TdConfig>,
        make: |settings, task, seeds| learner(Sarsa::new(parse(settings)?, task, seeds)?),
    },
    AgentEntry {
        name: "expected-sarsa",
        summary: "SARSA with the expectation over the next action (van Seijen et al. 2009)",
        keeps_table: true,
        has_network: false,
        resolve: resolve_as::<TdConfig>,
        make: |settings, task, seeds| learner(ExpectedSarsa::new(parse(settings)?, task, seeds)?),
    },
    AgentEntry {
        name: "double-q",
        summary: "two tables, without the maximum's bias (van Hasselt 2010)",
        keeps_table: true,
        has_network: false,
        resolve: resolve_as::<TdConfig>,
        make: |settings, task, seeds| learner(DoubleQ::new(parse(settings)?, task, seeds)?),
    },
    AgentEntry {
        name: "q-lambda",
        summary: "Q-learning with eligibility traces (Watkins 1989)",
        keeps_table: true,
        has_network: false,
        resolve: resolve_as::<QLambdaConfig>,
        make: |settings, task, seeds| learner(QLambda::new(parse(settings)?, task, seeds)?),
    },
    AgentEntry {
        name: "dyna-q",
        summary: "Q-learning that also learns from remembered transitions (Sutton 1990)",
        keeps_table: true,
        has_network: false,
        resolve: resolve_as::<DynaQConfig>,
        make: |settings, task, seeds| learner(DynaQ::new(parse(settings)?, task, seeds)?),
    },
    AgentEntry {
        name: "value-iteration",
        summary: "plans on the transition table by Bellman's optimality equation (Bellman 1957)",
        keeps_table: true,
        has_network: false,
        resolve: resolve_as::<ValueIterationConfig>,
        make: |settings, task, _| planner(ValueIteration::new(parse(settings)?, task)?),
    },
    AgentEntry {
        name: "policy-iteration",
        summary: "plans on the transition table by evaluating and improving a policy (Howard 1960)",
        keeps_table: true,
        has_network: false,
        resolve: resolve_as::<PolicyIterationConfig>,
        make: |settings, task, _| planner(PolicyIteration::new(parse(settings)?, task)?),
    },
    AgentEntry {
        name: "random",
        summary: "every action equally often, on any environment; learns nothing",
        keeps_table: false,
        has_network: false,
        resolve: resolve_as::<NoSettings>,
        make: |_, task, seeds| learner(Random::new(task, seeds)),
    },
    AgentEntry {
        name: "scripted",
        summary: "the player written for the game, which knows its state and rules; learns nothing",
        keeps_table: false,
        has_network: false,
        resolve: resolve_as::<NoSettings>,
        make: |_, task, _| scripted(task),
    },
];

/// All settings of agent `name`: its defaults, overridden by `overrides`.
///
/// # Errors
/// When there is no such agent, when it has no such setting, or when a value is of another type or out of range.
pub fn resolve(name: &str, overrides: &Settings) -> Result<Settings, AgentError> {
    let entry = find(name)?;
    (entry.resolve)(entry.name, overrides)
}

/// Makes the agent called `name` from resolved settings.
///
/// # Errors
/// As [`resolve`], and when the agent cannot play the environment.
pub fn make(name: &str, settings: &Settings, task: &Task, seeds: &Seeds) -> Result<Trainer, AgentError> {
    (find(name)?.make)(settings, task, seeds)
}

fn find(name: &str) -> Result<&'static AgentEntry, AgentError> {
    AGENTS.iter().find(|entry| entry.name == name).ok_or_else(|| AgentError::UnknownAgent {
        name: name.to_string(),
        nearest: nearest(name, AGENTS.iter().map(|entry| entry.name)),
    })
}

fn learner(learner: impl Learner + 'static) -> Result<Trainer, AgentError> {
    Ok(Trainer::Learner(Box::new(learner)))
}

fn planner(planner: impl Planner + 'static) -> Result<Trainer, AgentError> {
    Ok(Trainer::Planner(Box::new(planner)))
}

fn scripted(task: &Task) -> Result<Trainer, AgentError> {
    let no_script = || AgentError::NoScript { env_id: task.env_id.to_string() };
    task.has_script.then_some(Trainer::Scripted).ok_or_else(no_script)
}

/// The settings of an agent that has none.
#[derive(Default, Serialize, Deserialize)]
struct NoSettings {}

impl AgentConfig for NoSettings {
    fn check(&self) -> Result<(), AgentError> {
        Ok(())
    }
}

/// The defaults of settings type `C`, overridden one by one, so that an error names its key.
fn resolve_as<C: AgentConfig>(agent: &'static str, overrides: &Settings) -> Result<Settings, AgentError> {
    let mut settings = to_settings(&C::default());
    for (key, value) in overrides {
        if !settings.contains_key(key) {
            let known = known_settings(key, &settings);
            return Err(AgentError::UnknownSetting { agent, key: key.clone(), known });
        }
        settings.insert(key.clone(), value.clone());
        C::deserialize(&settings).map_err(|e| AgentError::bad_value(key, value, &expected(&e)))?;
    }
    let config: C = parse(&settings)?;
    config.check()?;
    Ok(to_settings(&config))
}

fn to_settings(config: &impl Serialize) -> Settings {
    match serde_json::to_value(config) {
        Ok(Value::Object(settings)) => settings,
        other => panic!("a configuration is a table of settings, found {other:?}"),
    }
}

/// The settings as their type; those left out have their defaults.
fn parse<C: AgentConfig>(settings: &Settings) -> Result<C, AgentError> {
    C::deserialize(settings).map_err(AgentError::Unreadable)
}

/// What serde expected, from its "invalid type: ..., expected ...".
fn expected(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let tail = message.rsplit_once("expected ").map_or(message.as_str(), |(_, tail)| tail);
    match tail {
        "f64" => "a number",
        "u64" | "usize" => "a whole number, 0 or above",
        "a sequence" => "a list, e.g. [128]",
        other => other,
    }
    .to_string()
}

fn known_settings(key: &str, settings: &Settings) -> String {
    if settings.is_empty() {
        return "it has none".to_string();
    }
    let all: Vec<&str> = settings.keys().map(String::as_str).collect();
    format!("the nearest is `{}` (it has {})", nearest(key, all.iter().copied()), all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::ObsSpace;
    use serde_json::json;

    fn settings(value: Value) -> Settings {
        value.as_object().expect("a table").clone()
    }

    fn task(obs_space: ObsSpace) -> Task<'static> {
        Task {
            env_id: "minatar/breakout",
            obs_space,
            frame_stack: 1,
            n_actions: 3,
            n_envs: 1,
            total_steps: 1,
            device: tch::Device::Cpu,
            model: None,
            has_script: false,
            trunk: None,
        }
    }

    fn make_error(name: &str, overrides: Value, obs_space: ObsSpace) -> String {
        let settings = resolve(name, &settings(overrides)).expect("settings of the right types");
        make(name, &settings, &task(obs_space), &Seeds::new(0)).err().expect("an error").to_string()
    }

    #[test]
    fn resolved_settings_hold_every_default_and_resolve_to_themselves() {
        for entry in AGENTS {
            let defaults = resolve(entry.name, &Settings::new()).expect("defaults are valid");
            assert_eq!(resolve(entry.name, &defaults).expect("resolved settings are valid"), defaults);
        }
        let resolved = resolve("q-lambda", &settings(json!({"lr": 1, "lambda": 0.5}))).expect("valid");
        assert_eq!(
            (&resolved["lr"], &resolved["lambda"], &resolved["gamma"]),
            (&json!(1.0), &json!(0.5), &json!(0.99))
        );
    }

    #[test]
    fn errors_name_what_is_wrong_and_what_is_nearest() {
        let error = |name, overrides| resolve(name, &settings(overrides)).expect_err("an error").to_string();
        assert!(error("q-lerning", json!({})).contains("nearest is `q-learning`"));
        assert!(error("q-lambda", json!({"lamda": 1})).contains("nearest is `lambda` (it has "));
        assert!(error("random", json!({"lr": 1})).ends_with("it has none"));
        assert_eq!(
            error("dyna-q", json!({"planning_steps": -1})),
            "agent.planning_steps is -1: expected a whole number, 0 or above"
        );
        assert_eq!(error("sarsa", json!({"lr": "fast"})), "agent.lr is \"fast\": expected a number");

        assert_eq!(error("sarsa", json!({"gamma": 1.5})), "agent.gamma is 1.5: expected a number in 0..=1");
        assert_eq!(error("q-lambda", json!({"lambda": -0.1})), "agent.lambda is -0.1: expected a number in 0..=1");

        let discrete = ObsSpace::Discrete { n: 4 };
        assert!(make_error("value-iteration", json!({}), discrete).contains("minatar/breakout does not have"));
        let planes = ObsSpace::Planes { shape: [10, 10, 4] };
        assert!(make_error("q-learning", json!({}), planes.clone()).contains("observes [10, 10, 4] planes: use dqn"));
        assert!(make_error("scripted", json!({}), planes).starts_with("minatar/breakout has no scripted player"));
    }

    #[test]
    fn the_random_agent_plays_any_observation_space() {
        let task = task(ObsSpace::Pixels { shape: [84, 84] });
        let mut random = make("random", &Settings::new(), &task, &Seeds::new(0)).expect("random plays anything");
        let mut actions = [9; 2];
        random.agent().expect("a learner").greedy(&[0; 2 * 84 * 84], &mut actions);
        assert!(actions.iter().all(|&action| action < 3));
    }
}
