//! Agents in tables at play: updates followed by hand through a corridor, exact resume, identities.

use super::*;
use crate::agent::{Agent, LearnError, Learner, Planner, Player, Task};
use crate::registry;
use crate::settings::AgentError;
use crate::snapshot::Loaded;
use carom_envs::model::Outcome;
use carom_envs::settings::Values;
use carom_envs::{Env, ObsSpace, RestoreError, Seeds, Step, TransitionModel, VecEnv};
use rand::{Rng, RngCore};
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};

/// Any transition table as an environment.
struct TableEnv {
    model: TransitionModel,
    state: usize,
}

/// An index drawn with the probability given for it.
fn draw(probabilities: impl Iterator<Item = f64>, rng: &mut dyn RngCore) -> usize {
    let mut left = rng.gen_range(0.0..1.0);
    let fits = |probability: f64| {
        left -= probability;
        left < 0.0
    };
    probabilities.map(fits).position(|fits| fits).expect("probabilities sum to 1")
}

impl Env for TableEnv {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Discrete { n: self.model.n_states() }
    }

    fn action_names(&self) -> &[&'static str] {
        &["forth", "back"]
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        self.state = draw(self.model.start.iter().copied(), rng);
    }

    fn step(&mut self, action: usize, rng: &mut dyn RngCore) -> Step {
        let outcomes = self.model.outcomes(self.state, action);
        let outcome = outcomes[draw(outcomes.iter().map(|o| o.probability), rng)];
        self.state = outcome.next_state;
        Step { reward: outcome.reward as f32, terminated: outcome.terminated }
    }

    fn observe(&self, out: &mut [u8]) {
        out.copy_from_slice(&(self.state as u32).to_le_bytes());
    }

    fn model(&self) -> Option<&TransitionModel> {
        Some(&self.model)
    }

    fn save(&self) -> Value {
        json!(self.state)
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        self.state = serde_json::from_value(state.clone())?;
        Ok(())
    }
}

/// States 0, 1, 2 in a row. Forth pays 1, 2 and 4, the last of which ends the episode; back pays 0, −1 and 0. An action
/// goes the other way (and pays for it) with probability `slip`.
fn corridor(slip: f64) -> TransitionModel {
    let forth = |state: usize| (((state + 1).min(2)), [1.0, 2.0, 4.0][state], state == 2);
    let back = |state: usize| (state.saturating_sub(1), [0.0, -1.0, 0.0][state], false);
    let outcome =
        |probability, (next_state, reward, terminated)| Outcome { probability, next_state, reward, terminated };
    let either = |meant, other| vec![outcome(1.0 - slip, meant), outcome(slip, other)];
    let outcomes = (0..3).flat_map(|s| [either(forth(s), back(s)), either(back(s), forth(s))]).collect();
    TransitionModel { outcomes, n_actions: 2, start: vec![1.0, 0.0, 0.0] }
}

fn vec_env(model: &TransitionModel, n_envs: usize, max_steps: Option<u64>) -> VecEnv {
    let env = |_| Box::new(TableEnv { model: model.clone(), state: 0 }) as Box<dyn Env>;
    VecEnv::new((0..n_envs).map(env).collect(), Seeds::new(3).streams("env", n_envs), max_steps)
}

fn make(name: &str, settings: &Value, model: &TransitionModel, n_envs: usize) -> Player {
    let overrides: Values = settings.as_object().expect("a table").clone();
    let agent = registry::resolve(name, &overrides).expect("valid settings");
    let envs = vec_env(model, n_envs, None);
    agent.make(&Task::of(&envs, "test", 0), &Seeds::new(5)).expect("a valid agent")
}

fn learner(name: &str, settings: &Value, model: &TransitionModel, n_envs: usize) -> Box<dyn Learner> {
    match make(name, settings, model, n_envs) {
        Player::Learner(learner) => learner,
        _ => panic!("{name} does not learn from interaction"),
    }
}

fn planner(name: &str, settings: &Value, model: &TransitionModel) -> Box<dyn Planner> {
    match make(name, settings, model, 1) {
        Player::Planner(planner) => planner,
        _ => panic!("{name} does not plan"),
    }
}

/// Has `agent` see the given actions played, whatever it would have chosen.
fn follow(agent: &mut dyn Learner, envs: &mut VecEnv, actions: &[usize]) -> Result<(), LearnError> {
    actions.iter().try_for_each(|&action| {
        envs.step(&[action]);
        agent.observe(envs, &[action])
    })
}

fn train(agent: &mut dyn Learner, envs: &mut VecEnv, n: u64) {
    let mut actions = vec![0; envs.n_envs()];
    for _ in 0..n {
        agent.act(envs.obs(), &mut actions);
        envs.step(&actions);
        agent.observe(envs, &actions).expect("finite");
    }
}

/// A snapshot as it would lie on disk: the arrays and the state.
fn to_disk(agent: &dyn Agent) -> (Vec<u8>, String) {
    let snapshot = agent.save();
    let arrays = safetensors::serialize(snapshot.tensors(), None).expect("arrays are valid");
    (arrays, Value::Object(snapshot.state().clone()).to_string())
}

fn from_disk(agent: &mut dyn Agent, (arrays, state): &(Vec<u8>, String)) {
    let arrays = SafeTensors::deserialize(arrays).expect("arrays are valid");
    let state: Map<String, Value> = serde_json::from_str(state).expect("state is JSON");
    agent.load(&Loaded::new(&arrays, &state)).expect("its own snapshot");
}

/// Array `name` of the agent's snapshot.
fn array(agent: &dyn Agent, name: &str) -> Vec<f64> {
    let (arrays, _) = to_disk(agent);
    let arrays = SafeTensors::deserialize(&arrays).expect("arrays are valid");
    let bytes = arrays.tensor(name).expect("the array is there").data().chunks_exact(8);
    bytes.map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes"))).collect()
}

/// The table of `name` after seeing `actions` in the corridor, halving both errors and values (α = γ = 1/2).
fn table_after(name: &str, more: &Value, max_steps: Option<u64>, actions: &[usize]) -> Vec<f64> {
    let mut settings = json!({"gamma": 0.5, "lr": 0.5});
    settings.as_object_mut().expect("a table").extend(more.as_object().expect("a table").clone());
    let model = corridor(0.0);
    let mut agent = learner(name, &settings, &model, 1);
    follow(&mut *agent, &mut vec_env(&model, 1, max_steps), actions).expect("finite");
    if name == "double-q" {
        return array(&*agent, "q0").iter().zip(array(&*agent, "q1")).map(|(a, b)| a + b).collect();
    }
    array(&*agent, "q")
}

const LEARNERS: [&str; 6] = ["q-learning", "sarsa", "expected-sarsa", "double-q", "q-lambda", "dyna-q"];

#[test]
fn q_learning_walks_the_corridor_as_worked_by_hand() {
    // First Q(0) = ½ · 1, Q(1) = ½ · 2, Q(2) = ½ · 4; then ½ + ½ (1 + ½ · 1 − ½), 1 + ½ (2 + ½ · 2 − 1), 2 + ½ (4 − 2).
    assert_eq!(table_after("q-learning", &json!({}), None, &[0, 0, 0]), [0.5, 0.0, 1.0, 0.0, 2.0, 0.0]);
    assert_eq!(table_after("q-learning", &json!({}), None, &[0; 6]), [1.0, 0.0, 2.0, 0.0, 3.0, 0.0]);
}

#[test]
fn sarsa_waits_for_the_action_that_follows() {
    let after = |actions: &[usize]| table_after("sarsa", &json!({}), None, actions);
    assert_eq!(after(&[0]), [0.0; 6]);
    // Q(0, forth) = ½ (1 + ½ · Q(1, back)).
    assert_eq!(after(&[0, 1]), [0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    // Q(1, back) = ½ (−1 + ½ · ½) = −0.375, then Q(0, forth) = ½ + ½ (1 − ½ · 0.375 − ½).
    assert_eq!(after(&[0, 1, 0, 1]), [0.656_25, 0.0, 0.0, -0.375, 0.0, 0.0]);
}

#[test]
fn q_lambda_carries_errors_back_until_an_action_is_not_greedy() {
    let after = |actions: &[usize]| table_after("q-lambda", &json!({"lambda": 0.5}), None, actions);
    // γλ = ¼. δ = 1, 2, 4; the last moves Q(2) by 2, Q(1) by ¼ of that and Q(0) by 1/16.
    assert_eq!(after(&[0, 0]), [0.75, 0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(after(&[0, 0, 0]), [0.875, 0.0, 1.5, 0.0, 2.0, 0.0]);
    // Back in 0: δ = ½ · 0.875. Forth, which is greedy: δ = 1 + ½ · 1.5 − 0.875, a quarter of it to the step back.
    assert_eq!(after(&[0, 0, 0, 1, 0]), [1.3125, 0.328_125, 1.5, 0.0, 2.0, 0.0]);
    // Back in 1 is not greedy: δ = −1 + ½ · 1.3125 stays where it is.
    assert_eq!(after(&[0, 0, 0, 1, 0, 1]), [1.3125, 0.328_125, 1.5, -0.171_875, 2.0, 0.0]);
}

#[test]
fn expected_sarsa_weighs_the_next_actions() {
    // ε = ½: Q(0, forth) = 1 + ½ (1 + ½ · 1 − 1); back in 1 then expects ½ · 1.25 + ½ · 1.125 of it.
    let table = table_after("expected-sarsa", &json!({"q_init": 1.0, "epsilon_start": 0.5}), None, &[0, 1]);
    assert_eq!(table, [1.25, 1.0, 1.0, 1.0 + 0.5 * (-1.0 + 0.5 * 1.1875 - 1.0), 1.0, 1.0]);
}

#[test]
fn termination_leaves_the_reward_alone_and_truncation_bootstraps() {
    for name in LEARNERS {
        // The table not updated by double Q-learning's coin stays at 1.
        let other = if name == "double-q" { 1.0 } else { 0.0 };
        let settings = match name {
            "dyna-q" => json!({"q_init": 1.0, "planning_steps": 0}),
            _ => json!({"q_init": 1.0}),
        };
        let terminated = table_after(name, &settings, None, &[0, 0, 0]);
        assert_eq!(terminated[4], other + 1.0 + 0.5 * (4.0 - 1.0), "{name}");
        let truncated = table_after(name, &settings, Some(2), &[0, 0]);
        assert_eq!(truncated[2], other + 1.0 + 0.5 * (2.0 + 0.5 * 1.0 - 1.0), "{name}");
    }
}

#[test]
fn dyna_q_learns_from_one_transition_again_and_again() {
    // Only (0, forth) is known: four updates with target 1 leave 1 − ½⁴.
    let table = table_after("dyna-q", &json!({"planning_steps": 3}), None, &[0]);
    assert_eq!(table, [0.9375, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn limits_of_the_methods_are_q_learning_bit_for_bit() {
    let model = corridor(0.2);
    let table = |name, settings| {
        let mut agent = learner(name, &settings, &model, 2);
        train(&mut *agent, &mut vec_env(&model, 2, Some(20)), 2_000);
        array(&*agent, "q")
    };
    let q_learning = table("q-learning", json!({}));
    assert_eq!(table("q-lambda", json!({"lambda": 0})), q_learning);
    assert_eq!(table("dyna-q", json!({"planning_steps": 0})), q_learning);
    let greedy = table("q-learning", json!({"epsilon_start": 0}));
    assert_eq!(table("expected-sarsa", json!({"epsilon_start": 0})), greedy);
}

#[test]
fn a_resumed_agent_goes_on_bit_for_bit() {
    let model = corridor(0.2);
    for name in LEARNERS.into_iter().chain(["random", "value-iteration", "policy-iteration"]) {
        let agent = || make(name, &json!({}), &model, 3);
        let run = |agent: &mut Player, envs: &mut VecEnv| match agent {
            // An odd number, so that episodes, pending transitions and traces are in the middle of something.
            Player::Learner(learner) => train(&mut **learner, envs, 101),
            Player::Planner(planner) => (0..3).for_each(|_| _ = planner.sweep()),
            Player::Scripted => panic!("{name} is no agent"),
        };
        let (mut whole, mut envs) = (agent(), vec_env(&model, 3, Some(7)));
        run(&mut whole, &mut envs);
        let (saved, saved_envs) = (to_disk(whole.agent().expect("an agent")), envs.save());
        run(&mut whole, &mut envs);

        let (mut resumed, mut envs) = (agent(), vec_env(&model, 3, Some(7)));
        from_disk(resumed.agent().expect("an agent"), &saved);
        envs.restore(&saved_envs).expect("its own state");
        run(&mut resumed, &mut envs);
        let (whole, resumed) = (whole.agent().expect("an agent"), resumed.agent().expect("an agent"));
        assert_eq!(to_disk(resumed), to_disk(whole), "{name}");
        assert_eq!(resumed.stats(), whole.stats(), "{name}");
    }
}

#[test]
fn an_infinite_reward_stops_learning_with_its_name_and_step() {
    let mut model = corridor(0.0);
    model.outcomes[4][0].reward = f64::INFINITY;
    for name in LEARNERS {
        let mut agent = learner(name, &json!({}), &model, 1);
        let stopped = follow(&mut *agent, &mut vec_env(&model, 1, None), &[0, 0, 0]).expect_err("not finite");
        let LearnError::NonFinite { what, step, .. } = stopped;
        assert_eq!((what, step), ("train/td_error", 2), "{name}");
    }
}

#[test]
fn statistics_are_means_since_the_last_reading() {
    let model = corridor(0.0);
    let settings = json!({"lr": 0.5, "lr_end": 0.1, "lr_steps": 4, "gamma": 0.5, "epsilon_start": 0.3});
    let mut agent = learner("q-learning", &settings, &model, 1);
    assert_eq!(agent.stats(), [("train/epsilon", 0.3), ("train/lr", 0.5)]);
    follow(&mut *agent, &mut vec_env(&model, 1, None), &[0, 0]).expect("finite");
    let stats = agent.stats();
    assert_eq!(stats[2..], [("train/td_error", 1.5), ("train/q_mean", 0.0)]);
    assert!((stats[1].1 - 0.3).abs() < 1e-12);
    assert_eq!(agent.stats().len(), 2);
}

#[test]
fn planners_find_the_corridors_values_and_agree() {
    let model = corridor(0.0);
    for name in ["value-iteration", "policy-iteration"] {
        let mut planner = planner(name, &json!({"gamma": 0.5}), &model);
        let n_sweeps = 1 + (0..100).take_while(|_| !planner.sweep()).count();
        assert!(n_sweeps < 10, "{name}: {n_sweeps} sweeps");
        // 4; 2 + ½ · 4; 1 + ½ · 4.
        assert_eq!(array(&*planner, "v"), [3.0, 4.0, 4.0], "{name}");
        assert_eq!(exact::greedy_policy(&mut *planner, 3), [0, 0, 0], "{name}");
        assert_eq!(planner.stats()[..2], [("plan/residual", 0.0), ("plan/value_start", 3.0)], "{name}");
    }
}

#[test]
fn policy_iteration_bears_policies_that_never_end_undiscounted() {
    let mut model = corridor(0.0);
    model.outcomes.iter_mut().flatten().for_each(|outcome| outcome.reward = -1.0);
    // The first policy, action 0 everywhere, is now to go back for ever.
    model.outcomes.chunks_exact_mut(2).for_each(|actions| actions.swap(0, 1));
    let settings = json!({"gamma": 1.0, "evaluation_sweeps": 50});
    let mut planner = planner("policy-iteration", &settings, &model);
    assert!((0..20).any(|_| planner.sweep()));
    assert_eq!(exact::greedy_policy(&mut *planner, 3), [1, 1, 1]);
    assert_eq!(array(&*planner, "v"), [-3.0, -2.0, -1.0]);
}

/// Few sweeps leave values that a policy may seem best by before it is.
#[test]
fn policy_iteration_ends_with_the_same_values_however_few_sweeps_evaluate_a_policy() {
    // Forth pays nothing but at the end, so that the first policies are told apart by values still to come.
    let mut model = corridor(0.3);
    model.outcomes.iter_mut().flatten().filter(|o| !o.terminated).for_each(|o| o.reward = 0.0);
    model.outcomes.chunks_exact_mut(2).for_each(|actions| actions.swap(0, 1));
    let values = |evaluation_sweeps: u64| {
        let settings = json!({"gamma": 0.9, "evaluation_sweeps": evaluation_sweeps, "tolerance": 1e-12});
        let mut planner = planner("policy-iteration", &settings, &model);
        assert!((0..1000).any(|_| planner.sweep()), "{evaluation_sweeps} sweeps");
        array(&*planner, "v")
    };
    let (few, many) = (values(1), values(10_000));
    for (few, many) in few.iter().zip(&many) {
        assert!((few - many).abs() < 1e-9, "{few}, {many}");
    }
}

#[test]
fn a_wall_is_not_walked_into_for_ever_undiscounted() {
    // Frozen Lake in small: nothing is paid but 1 at the end, and back from state 0 leads nowhere.
    let mut model = corridor(0.0);
    model.outcomes.iter_mut().flatten().for_each(|outcome| outcome.reward = f64::from(u8::from(outcome.terminated)));
    model.outcomes.chunks_exact_mut(2).for_each(|actions| actions.swap(0, 1));
    for name in ["value-iteration", "policy-iteration"] {
        let mut planner = planner(name, &json!({"gamma": 1.0}), &model);
        assert!((0..20).any(|_| planner.sweep()), "{name}");
        assert_eq!(exact::greedy_policy(&mut *planner, 3), [1, 1, 1], "{name}");
        assert_eq!(array(&*planner, "v"), [1.0; 3], "{name}");
    }
}

#[test]
fn a_planner_stopped_early_says_that_it_has_not_converged() {
    let model = corridor(0.2);
    for name in ["value-iteration", "policy-iteration"] {
        let mut whole = planner(name, &json!({}), &model);
        assert!(!whole.is_converged(), "{name} before its first sweep");
        assert!(!whole.sweep() && !whole.is_converged(), "{name} after one sweep");
        assert!((0..10_000).any(|_| whole.sweep()) && whole.is_converged(), "{name} in the end");
        let mut restored = planner(name, &json!({}), &model);
        from_disk(&mut *restored, &to_disk(&*whole));
        assert!(restored.is_converged(), "{name} restored");
    }
}

#[test]
fn a_value_that_is_not_finite_never_reaches_a_table() {
    let mut model = corridor(0.0);
    model.outcomes[4][0].reward = f64::INFINITY;
    for name in LEARNERS {
        let mut agent = learner(name, &json!({}), &model, 1);
        follow(&mut *agent, &mut vec_env(&model, 1, None), &[0, 0, 0]).expect_err("not finite");
        for table in if name == "double-q" { &["q0", "q1"][..] } else { &["q"] } {
            assert!(array(&*agent, table).iter().all(|value| value.is_finite()), "{name}");
        }
    }
}

#[test]
fn constructors_refuse_what_settings_by_name_would() {
    let model = corridor(0.0);
    let (envs, seeds) = (vec_env(&model, 1, None), Seeds::new(0));
    let task = Task::of(&envs, "test", 0);
    let td = || TdConfig { lr: 0.0, ..TdConfig::default() };
    let message = "agent.lr is 0.0: expected a number above 0 and at most 1";
    let refused = |error: Option<AgentError>, message: &str| {
        assert_eq!(error.expect("an error").to_string(), message);
    };
    refused(QLearning::new(td(), &task, &seeds).err(), message);
    refused(Sarsa::new(td(), &task, &seeds).err(), message);
    refused(ExpectedSarsa::new(td(), &task, &seeds).err(), message);
    refused(DoubleQ::new(td(), &task, &seeds).err(), message);
    let config = QLambdaConfig { lambda: 2.0, ..QLambdaConfig::default() };
    refused(QLambda::new(config, &task, &seeds).err(), "agent.lambda is 2.0: expected a number in 0..=1");
    let config = DynaQConfig { epsilon_start: -1.0, ..DynaQConfig::default() };
    refused(DynaQ::new(config, &task, &seeds).err(), "agent.epsilon_start is -1.0: expected a number in 0..=1");
    let config = ValueIterationConfig { tolerance: f64::NAN, ..ValueIterationConfig::default() };
    refused(ValueIteration::new(config, &task).err(), "agent.tolerance is null: expected a number, 0 or above");
    let config = PolicyIterationConfig { evaluation_sweeps: 0, ..PolicyIterationConfig::default() };
    refused(
        PolicyIteration::new(config, &task).err(),
        "agent.evaluation_sweeps is 0: expected a whole number, 1 or above",
    );
}

#[test]
fn a_q_table_is_an_array_of_states_by_actions() {
    let model = corridor(0.0);
    let envs = vec_env(&model, 1, None);
    let task = Task::of(&envs, "test", 0);
    let agent = QLearning::new(TdConfig { q_init: 2.0, ..TdConfig::default() }, &task, &Seeds::new(0)).expect("valid");
    assert_eq!(agent.action_values(), ndarray::Array2::from_elem((3, 2), 2.0));
    let mut planner =
        ValueIteration::new(ValueIterationConfig { gamma: 0.5, ..Default::default() }, &task).expect("valid");
    while !planner.sweep() {}
    assert_eq!(planner.action_values(), ndarray::array![[3.0, 1.5], [4.0, 0.5], [4.0, 2.0]]);
}
