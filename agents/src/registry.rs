//! Agents by name: the table of this crate's agents, and those that other crates add at run time.

use crate::agent::Player;
use crate::dqn::{Dqn, DqnConfig};
use crate::pqn::{Pqn, PqnConfig};
use crate::settings::{AgentEntry, AgentError, AgentKind, AgentSpec, learner, parse, planner};
use crate::tabular::{
    DoubleQ, DynaQ, DynaQConfig, ExpectedSarsa, PolicyIteration, PolicyIterationConfig, QLambda, QLambdaConfig,
    QLearning, Random, Sarsa, TdConfig, ValueIteration, ValueIterationConfig,
};
use carom_envs::settings::{NoSettings, Schema, Values};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The agents of this crate.
pub const AGENTS: &[AgentEntry] = &[
    AgentEntry {
        name: "dqn",
        summary: "deep Q-network with experience replay (Mnih et al. 2015), with the parts of Rainbow and later ones",
        kind: AgentKind::Network { has_replay: true },
        schema: Schema::of::<DqnConfig>(),
        make: |settings, task, seeds| learner(Dqn::new(parse("dqn", settings)?, task, seeds)),
    },
    AgentEntry {
        name: "pqn",
        summary: "deep Q-learning over parallel environments, without replay or target (Gallici et al. 2024)",
        kind: AgentKind::Network { has_replay: false },
        schema: Schema::of::<PqnConfig>(),
        make: |settings, task, seeds| learner(Pqn::new(parse("pqn", settings)?, task, seeds)),
    },
    AgentEntry {
        name: "q-learning",
        summary: "off-policy control in a table (Watkins & Dayan 1992)",
        kind: AgentKind::Table,
        schema: Schema::of::<TdConfig>(),
        make: |settings, task, seeds| learner(QLearning::new(parse("q-learning", settings)?, task, seeds)),
    },
    AgentEntry {
        name: "sarsa",
        summary: "on-policy control in a table (Rummery & Niranjan 1994)",
        kind: AgentKind::Table,
        schema: Schema::of::<TdConfig>(),
        make: |settings, task, seeds| learner(Sarsa::new(parse("sarsa", settings)?, task, seeds)),
    },
    AgentEntry {
        name: "expected-sarsa",
        summary: "SARSA with the expectation over the next action (van Seijen et al. 2009)",
        kind: AgentKind::Table,
        schema: Schema::of::<TdConfig>(),
        make: |settings, task, seeds| learner(ExpectedSarsa::new(parse("expected-sarsa", settings)?, task, seeds)),
    },
    AgentEntry {
        name: "double-q",
        summary: "two tables, without the maximum's bias (van Hasselt 2010)",
        kind: AgentKind::Table,
        schema: Schema::of::<TdConfig>(),
        make: |settings, task, seeds| learner(DoubleQ::new(parse("double-q", settings)?, task, seeds)),
    },
    AgentEntry {
        name: "q-lambda",
        summary: "Q-learning with eligibility traces (Watkins 1989)",
        kind: AgentKind::Table,
        schema: Schema::of::<QLambdaConfig>(),
        make: |settings, task, seeds| learner(QLambda::new(parse("q-lambda", settings)?, task, seeds)),
    },
    AgentEntry {
        name: "dyna-q",
        summary: "Q-learning that also learns from remembered transitions (Sutton 1990)",
        kind: AgentKind::Table,
        schema: Schema::of::<DynaQConfig>(),
        make: |settings, task, seeds| learner(DynaQ::new(parse("dyna-q", settings)?, task, seeds)),
    },
    AgentEntry {
        name: "value-iteration",
        summary: "plans on the transition table by Bellman's optimality equation (Bellman 1957)",
        kind: AgentKind::Planner,
        schema: Schema::of::<ValueIterationConfig>(),
        make: |settings, task, _| planner(ValueIteration::new(parse("value-iteration", settings)?, task)),
    },
    AgentEntry {
        name: "policy-iteration",
        summary: "plans on the transition table by evaluating and improving a policy (Howard 1960)",
        kind: AgentKind::Planner,
        schema: Schema::of::<PolicyIterationConfig>(),
        make: |settings, task, _| planner(PolicyIteration::new(parse("policy-iteration", settings)?, task)),
    },
    AgentEntry {
        name: "random",
        summary: "every action equally often, on any environment; learns nothing",
        kind: AgentKind::Other,
        schema: Schema::of::<NoSettings>(),
        make: |_, task, seeds| learner(Ok(Random::new(task, seeds))),
    },
    AgentEntry {
        name: "scripted",
        summary: "the player written for the game, which knows its state and rules; learns nothing",
        kind: AgentKind::Other,
        schema: Schema::of::<NoSettings>(),
        make: |_, task, _| {
            let no_script = || AgentError::NoScript { env_id: task.env_id.to_owned() };
            task.has_script.then_some(Player::Scripted).ok_or_else(no_script)
        },
    },
];

/// Agents that other crates added.
static ADDED: Mutex<Vec<AgentEntry>> = Mutex::new(Vec::new());

fn added() -> MutexGuard<'static, Vec<AgentEntry>> {
    // A panic while the lock is held cannot leave half an entry.
    ADDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds an agent for the rest of the process, so that it is found by name.
///
/// # Errors
/// When another agent has that name.
pub fn register(entry: AgentEntry) -> Result<(), AgentError> {
    let mut added = added();
    if AGENTS.iter().chain(added.iter()).any(|known| known.name == entry.name) {
        return Err(AgentError::NameTaken(entry.name));
    }
    added.push(entry);
    Ok(())
}

/// All agents: those of this crate, then those added, in the order of their addition.
pub fn all() -> impl Iterator<Item = AgentEntry> {
    AGENTS.iter().copied().chain(added().clone())
}

/// The agent called `name`.
///
/// # Errors
/// When there is none.
pub fn find(name: &str) -> Result<AgentEntry, AgentError> {
    all().find(|entry| entry.name == name).ok_or_else(|| AgentError::UnknownAgent {
        name: name.to_owned(),
        known: all().map(|entry| entry.name).collect(),
    })
}

/// The agent called `name` with all its settings: `overrides`, and defaults for the rest.
///
/// # Errors
/// When there is no such agent, when it has no such setting, or when a value is refused.
pub fn resolve(name: &str, overrides: &Values) -> Result<AgentSpec, AgentError> {
    find(name)?.resolve(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Task;
    use carom_envs::{ObsSpace, Seeds};
    use serde_json::{Value, json};

    fn values(value: &Value) -> Values {
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
            ranks: None,
            acts_only: false,
        }
    }

    fn make_error(name: &str, obs_space: ObsSpace) -> String {
        let agent = resolve(name, &Values::new()).expect("defaults");
        agent.make(&task(obs_space), &Seeds::new(0)).err().expect("an error").to_string()
    }

    #[test]
    fn resolved_settings_hold_every_default_that_has_an_effect_and_resolve_to_themselves() {
        for entry in AGENTS {
            let defaults = resolve(entry.name, &Values::new()).expect("defaults are valid");
            assert_eq!(resolve(entry.name, defaults.settings()).expect("resolved settings are valid"), defaults);
        }
        let resolved = resolve("q-lambda", &values(&json!({"lr": 1, "lambda": 0.5}))).expect("valid");
        let settings = resolved.settings();
        assert_eq!(
            (&settings["lr"], &settings["lambda"], &settings["gamma"]),
            (&json!(1.0), &json!(0.5), &json!(0.99))
        );
        assert!(!settings.contains_key("epsilon_end"), "{settings:?}");
    }

    #[test]
    fn errors_name_what_is_wrong_and_what_is_nearest() {
        let error = |name, overrides| resolve(name, &values(&overrides)).expect_err("an error").to_string();
        assert!(error("q-lerning", json!({})).contains("did you mean `q-learning`? (there are dqn, "));
        let unknown = error("q-lambda", json!({"lamda": 1}));
        assert!(unknown.starts_with("agent `q-lambda` has no setting `lamda`; did you mean `lambda`? (it has "));
        assert!(error("random", json!({"lr": 1})).ends_with("it has none"));
        assert_eq!(
            error("dyna-q", json!({"planning_steps": -1})),
            "agent.planning_steps is -1: expected a whole number, 0 or above"
        );
        assert_eq!(
            error("sarsa", json!({"lr": "fast"})),
            "agent.lr is \"fast\": expected a number above 0 and at most 1"
        );

        assert_eq!(error("sarsa", json!({"gamma": 1.5})), "agent.gamma is 1.5: expected a number in 0..=1");
        assert_eq!(error("q-lambda", json!({"lambda": -0.1})), "agent.lambda is -0.1: expected a number in 0..=1");

        assert!(make_error("value-iteration", ObsSpace::Discrete { n: 4 }).contains("minatar/breakout does not have"));
        let planes = ObsSpace::Planes { shape: [10, 10, 4] };
        assert!(make_error("q-learning", planes.clone()).contains("observes planes of 10x10x4: use dqn"));
        assert!(make_error("scripted", planes).starts_with("minatar/breakout has no scripted player"));
    }

    #[test]
    fn settings_without_effect_are_refused_with_the_reason() {
        let error = |name, overrides| resolve(name, &values(&overrides)).expect_err("an error").to_string();
        let reason = "which has no effect: epsilon_steps is 0, so epsilon stays at epsilon_start";
        for name in ["sarsa", "q-lambda", "dyna-q"] {
            assert_eq!(error(name, json!({"epsilon_end": 0.01})), format!("agent.epsilon_end is 0.01, {reason}"));
        }
        let both = json!({"epsilon_steps": 0, "epsilon_end": 0.01});
        assert_eq!(error("dqn", both), format!("agent.epsilon_end is 0.01, {reason}"));
        assert_eq!(
            error("q-learning", json!({"lr_end": 0.01})),
            "agent.lr_end is 0.01, which has no effect: lr_steps is 0, so the step size stays at lr"
        );
        assert!(error("pqn", json!({"epsilon_fraction": 0, "epsilon_end": 0.1})).contains("no effect"));
    }

    #[test]
    fn what_a_schedule_ended_at_goes_with_the_schedule() {
        let falling = resolve("sarsa", &values(&json!({"epsilon_steps": 100, "epsilon_end": 0.01}))).expect("valid");
        let constant = falling.with_all(&values(&json!({"epsilon_steps": 0}))).expect("valid");
        assert_eq!(constant, resolve("sarsa", &Values::new()).expect("valid"));
    }

    #[test]
    fn rules_over_several_settings_hold() {
        let error = |name, overrides| resolve(name, &values(&overrides)).expect_err("an error").to_string();
        assert_eq!(
            error("dqn", json!({"batch_size": 64, "buffer_size": 32})),
            "agent.batch_size is 64: expected no more than buffer_size, which is 32"
        );
        assert!(error("dqn", json!({"n_step": 40, "buffer_size": 32})).starts_with("agent.n_step is 40"));
        assert_eq!(
            error("pqn", json!({"hidden": [20]})),
            "agent.hidden is [20]: expected multiples of 16 while layer_norm is on"
        );
        assert_eq!(
            error("dqn", json!({"hidden": [0]})),
            "agent.hidden is [0]: expected a list, each a whole number in 1..=16384"
        );
        assert_eq!(
            error("dqn", json!({"train_every": 0})),
            "agent.train_every is 0: expected a whole number, 1 or above"
        );
    }

    #[test]
    fn an_agent_of_another_crate_is_found_by_name_once_registered() {
        let entry = AgentEntry { name: "coin", ..find("random").expect("an agent") };
        register(entry).expect("a new name");
        assert!(all().any(|entry| entry.name == "coin"));
        let coin = resolve("coin", &Values::new()).expect("registered");
        assert!(coin.make(&task(ObsSpace::Discrete { n: 1 }), &Seeds::new(0)).is_ok());
        assert_eq!(register(entry), Err(AgentError::NameTaken("coin")));
    }

    #[test]
    fn the_random_agent_plays_any_observation_space() {
        let task = task(ObsSpace::Pixels { shape: [84, 84] });
        let random = resolve("random", &Values::new()).expect("an agent");
        let mut random = random.make(&task, &Seeds::new(0)).expect("random plays anything");
        let mut actions = [9; 2];
        random.agent().expect("a learner").greedy(&[0; 2 * 84 * 84], &mut actions);
        assert!(actions.iter().all(|&action| action < 3));
    }

    #[test]
    fn a_trainer_may_be_moved_to_another_thread() {
        fn assert_send<T: Send>() {}
        assert_send::<Player>();
        assert_send::<AgentSpec>();
    }
}
