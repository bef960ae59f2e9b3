//! The presets for tables reach the numbers they state, from several seeds: judged exactly, on the transition table.

use carom_agents::registry;
use carom_agents::tabular::exact;
use carom_agents::{Learner, Player, Task};
use carom_envs::settings::Values;
use carom_envs::{Seeds, TransitionModel, VecEnv, registry as envs};
use serde::Deserialize;

/// A file of `presets/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    #[serde(default, rename = "kind")]
    _kind: String,
    env: String,
    agent: String,
    steps: u64,
    #[serde(default = "one")]
    n_envs: usize,
    #[serde(default)]
    env_settings: Values,
    #[serde(default)]
    agent_settings: Values,
}

fn one() -> usize {
    1
}

fn preset(name: &str) -> Preset {
    let path = format!("{}/../presets/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    toml::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A preset's environments and agent from one seed.
struct Run {
    model: TransitionModel,
    max_steps: Option<u64>,
    envs: VecEnv,
    agent: Player,
}

impl Run {
    fn new(preset: &Preset, seed: u64) -> Self {
        let seeds = Seeds::new(seed);
        let spec = envs::resolve(&preset.env, &preset.env_settings).expect("valid settings");
        let envs = spec.make_vec(seeds.streams("env", preset.n_envs)).expect("streams");
        let model = envs.env(0).model().expect("a transition table").clone();
        let agent = registry::resolve(&preset.agent, &preset.agent_settings).expect("valid settings");
        let agent = agent.make(&Task::of(&envs, &preset.env, preset.steps), &seeds).expect("a valid agent");
        Self { max_steps: spec.time_limit(), model, envs, agent }
    }

    /// Trains for `steps` environment steps, or sweeps until nothing changes; gives the number of episodes.
    fn train(&mut self, steps: u64) -> u64 {
        match &mut self.agent {
            Player::Learner(learner) => learn(&mut **learner, &mut self.envs, steps),
            Player::Planner(planner) => {
                assert!((0..steps).any(|_| planner.sweep()), "{steps} sweeps were not enough");
                0
            }
            Player::Scripted => panic!("no preset for tables is scripted"),
        }
    }

    fn greedy_policy(&mut self) -> Vec<usize> {
        exact::greedy_policy(self.agent.agent().expect("an agent"), self.model.n_states())
    }

    /// Expected return of the greedy policy within `max_steps`.
    fn expected_return(&mut self, max_steps: Option<u64>) -> f64 {
        let actions = self.greedy_policy();
        exact::expected_return(&self.model, &actions, 0.0, max_steps).expect("a limit, or an end")
    }
}

fn learn(learner: &mut dyn Learner, envs: &mut VecEnv, steps: u64) -> u64 {
    let mut actions = vec![0; envs.n_envs()];
    let mut n_episodes = 0;
    for _ in 0..steps / envs.n_envs() as u64 {
        learner.act(envs.obs(), &mut actions);
        envs.step(&actions);
        learner.observe(envs, &actions).expect("finite");
        n_episodes += envs.episodes().len() as u64;
    }
    n_episodes
}

/// Trains preset `name` from seeds 0, 1 and 2 and holds its expected return within the time limit against `lowest`.
fn reaches(name: &str, lowest: f64) {
    let preset = preset(name);
    for seed in 0..3 {
        let mut run = Run::new(&preset, seed);
        run.train(preset.steps);
        let reached = run.expected_return(run.max_steps);
        println!("{name}, seed {seed}: {reached:.4}");
        assert!(reached >= lowest, "{name}, seed {seed}: {reached} is below {lowest}");
    }
}

#[test]
fn planners_find_the_known_optima_exactly() {
    for planner in ["value-iteration", "policy-iteration"] {
        let optimum = |env: &str, steps_allowed: Option<u64>| {
            let preset = preset(&format!("{env}-{planner}"));
            let mut run = Run::new(&preset, 0);
            run.train(preset.steps);
            run.expected_return(steps_allowed.or(run.max_steps))
        };
        let frozen_lake = optimum("frozen-lake", Some(100));
        assert!((frozen_lake - 0.7402).abs() < 5e-5, "{planner}: {frozen_lake}");
        // 14/17, which takes as long as it takes.
        let unlimited = optimum("frozen-lake", Some(100_000));
        assert!((unlimited - 14.0 / 17.0).abs() < 1e-9, "{planner}: {unlimited}");
        let taxi = optimum("taxi", None);
        assert!((taxi - 7.93).abs() < 1e-9, "{planner}: {taxi}");
        assert_eq!(optimum("cliff-walking", None), -13.0, "{planner}");
        let gridworld = optimum("gridworld", None);
        assert!((gridworld + 2.0).abs() < 1e-9, "{planner}: {gridworld}");
    }
}

#[test]
fn frozen_lake_is_learned() {
    reaches("frozen-lake-q-learning", 0.740);
    reaches("frozen-lake-double-q", 0.740);
    reaches("frozen-lake-q-lambda", 0.740);
    reaches("frozen-lake-sarsa", 0.7297);
    reaches("frozen-lake-expected-sarsa", 0.7297);
}

#[test]
fn taxi_is_learned() {
    reaches("taxi-q-learning", 7.9299);
    reaches("taxi-expected-sarsa", 7.9299);
    reaches("taxi-double-q", 7.9299);
    reaches("taxi-dyna-q", 7.9299);
    reaches("taxi-q-lambda", 7.9299);
    reaches("taxi-sarsa", 7.92);
}

#[test]
fn taxi_is_learned_by_q_learning_in_150_k_steps() {
    let preset = preset("taxi-q-learning");
    for seed in 0..3 {
        let mut run = Run::new(&preset, seed);
        run.train(150_000);
        let reached = run.expected_return(run.max_steps);
        assert!(reached >= 7.9, "seed {seed}: {reached}");
    }
}

#[test]
fn the_cliff_is_walked_along_off_policy_and_kept_away_from_on_policy() {
    for agent in ["q-learning", "double-q", "q-lambda", "dyna-q"] {
        reaches(&format!("cliff-walking-{agent}"), -13.0);
    }
    for agent in ["sarsa", "expected-sarsa"] {
        let name = format!("cliff-walking-{agent}");
        reaches(&name, -15.0);
        let preset = preset(&name);
        let mut run = Run::new(&preset, 0);
        run.train(preset.steps);
        let (on_policy, max_steps) = (run.greedy_policy(), run.max_steps);
        let mut off_policy = Run::new(&self::preset("cliff-walking-q-learning"), 0);
        off_policy.train(50_000);
        let along = off_policy.greedy_policy();
        // What it is for: with the ε it learned under, the detour pays.
        let exploring =
            |actions: &[usize]| exact::expected_return(&run.model, actions, 0.1, max_steps).expect("a limit");
        assert!(exploring(&on_policy) > exploring(&along) + 10.0, "{agent}");
    }
}

#[test]
fn the_gridworld_is_learned() {
    for agent in ["q-learning", "sarsa", "expected-sarsa", "double-q", "q-lambda", "dyna-q"] {
        reaches(&format!("gridworld-{agent}"), -2.0 - 1e-9);
    }
}

#[test]
fn dyna_q_needs_fewer_episodes_than_q_learning() {
    // Episodes until the greedy policy takes the shortest ways, looked at every 50 steps.
    let episodes_needed = |name: &str, seed| {
        let mut run = Run::new(&preset(name), seed);
        let mut n_episodes = 0;
        while run.expected_return(run.max_steps) < -2.0 - 1e-9 {
            n_episodes += run.train(50);
        }
        n_episodes
    };
    for seed in 0..3 {
        let (dyna_q, q_learning) =
            (episodes_needed("gridworld-dyna-q", seed), episodes_needed("gridworld-q-learning", seed));
        println!("seed {seed}: {dyna_q} episodes with planning, {q_learning} without");
        assert!(3 * dyna_q < q_learning, "seed {seed}: {dyna_q} episodes with planning, {q_learning} without");
    }
}
