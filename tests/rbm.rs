//! An RBM with two hidden units on six films.

use crate::program::Program;

#[test]
fn six_films_have_two_tastes() {
    let program = Program::new();
    let fitted = program.succeed("fit rbm --data movies --set model.ais_temperatures=500 --out run");
    let likelihood = |line: &str| line.split_whitespace().last().and_then(|number| number.parse::<f64>().ok());
    let found = fitted.lines().find(|line| line.starts_with("test/log_likelihood "));
    assert!(found.and_then(likelihood).is_some_and(|found| found > -1.40), "{fitted}");
    for expected in
        ["test/log_likelihood_bound  -1.32966", "Harry Potter", "unit 1 found: ", "unit 2 found: ", "LOTR 3 "]
    {
        assert!(fitted.contains(expected), "{expected}: {fitted}");
    }
    assert!(!program.names("run/plots").contains(&"receptive-fields.png".to_owned()), "films are no pictures");
    let weights = program.read("run/plots/receptive-fields.svg");
    assert!(weights.contains("Harry Potter") && weights.contains("unit 2"), "{weights}");
    let curve = program.read("run/plots/loss.svg");
    assert!(curve.contains("ln p of test images, nats") && !curve.contains("training loss"), "{curve}");
    let measured = program.succeed("eval run --json");
    let measured: serde_json::Value = serde_json::from_str(&measured).expect("JSON");
    for name in [
        "test/log_likelihood",
        "test/log_likelihood_bound",
        "test/ais",
        "test/ais_se",
        "test/reverse_ais",
        "test/ais_short",
    ] {
        assert!(measured[name].is_f64(), "{name}: {measured}");
    }
    assert!(measured["binarisation"].is_string(), "{measured}");
}

#[test]
fn chains_show_probabilities_and_states_and_repeat_by_their_seed() {
    let program = Program::new();
    program.succeed("fit rbm --data movies --epochs 50 --out run");
    let chains = program.succeed("reconstruct run --chain 2 --seed 1");
    assert_eq!(chains, program.succeed("reconstruct run --chain 2 --seed 1"));
    assert_ne!(chains, program.succeed("reconstruct run --chain 2 --seed 2"));
    let lines: Vec<&str> = chains.lines().collect();
    // Two chains from each of six viewers, of a line and two steps.
    assert_eq!(lines.len(), 12 * 3, "{chains}");
    assert_eq!(
        (lines[0], lines[3]),
        ("chain 1 from Harry Potter, Avatar, LOTR 3", "chain 2 from Harry Potter, Avatar, LOTR 3")
    );
    assert!(lines[1].starts_with("  1 p(h|v) ") && lines[2].starts_with("  2 p(h|v) "), "{chains}");
    assert!(program.fail("reconstruct run --chain 0").contains("--chain is 0: expected a number of steps in 1..=100"));
}
