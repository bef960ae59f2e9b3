use crate::program::Program;
use serde_json::Value;

#[test]
fn help_is_printed_and_a_wrong_command_is_a_mistake() {
    let program = Program::new();
    assert!(program.succeed("--help").contains("train"));
    assert!(program.succeed("train --help").contains("--seeds <A..B>"));
    assert_eq!(program.run("tarin").status.code(), Some(2));
}

#[test]
fn lists_read_well_and_parse() {
    let program = Program::new();
    assert!(program.succeed("list envs").lines().any(|line| line.starts_with("taxi ")));
    for what in ["envs", "agents", "encoders", "models", "presets", "settings"] {
        let text = program.succeed(&format!("list {what}"));
        let json: Value = serde_json::from_str(&program.succeed(&format!("list {what} --json"))).expect("JSON");
        let entries = json.as_array().expect("an array");
        assert_eq!(entries.len(), text.lines().count());
        assert!(entries.iter().all(|entry| entry["name"].is_string() && entry["summary"].is_string()), "{json}");
    }
    let agents: Value = serde_json::from_str(&program.succeed("list agents --json")).expect("JSON");
    let q_learning = agents.as_array().into_iter().flatten().find(|agent| agent["name"] == "q-learning");
    assert!(q_learning.expect("q-learning")["settings"]["lr"].is_number());
    let dqn = program.succeed("list agents dqn");
    assert!(dqn.contains("agent.gamma = 0.99\n    Discount") && dqn.contains("a number in 0..=1"), "{dqn}");
    let run = program.succeed("list settings train");
    assert!(run.contains("steps = 100000\n") && run.contains("log_every = 200\n"), "{run}");
}
