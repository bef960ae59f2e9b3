use crate::program::Program;
use serde_json::Value;

fn json(program: &Program, line: &str) -> Value {
    serde_json::from_str(&program.succeed(line)).expect("one JSON object")
}

#[test]
fn scores_have_the_names_of_the_contract_and_repeat() {
    let program = Program::new();
    program.succeed("train --env taxi --agent value-iteration --out plan");
    let scores = json(&program, "eval plan --json --episodes 50");
    assert_eq!(scores, json(&program, "eval plan --json --episodes 50"));
    assert_eq!((&scores["env"], &scores["episodes"]), (&"taxi".into(), &50.into()));
    for name in ["return_mean", "return_std", "return_iqm", "length_mean", "return_exact", "truncated_share"] {
        assert!(scores[name].is_number(), "{name} in {scores}");
    }
    assert!(scores["protocol"].is_string());
    let exact = scores["return_exact"].as_f64().expect("a number");
    assert!((exact - 7.93).abs() < 1e-4, "{scores}");
    let mean = scores["return_mean"].as_f64().expect("a number");
    // 50 episodes with a standard deviation of 2.6.
    assert!((mean - exact).abs() < 1.5, "{scores}");
    assert_ne!(scores["return_mean"], json(&program, "eval plan --json --episodes 50 --seed 9")["return_mean"]);
    assert!(json(&program, "eval plan --json --epsilon 0.5")["return_mean"].as_f64() < Some(mean));
}

#[test]
fn the_share_of_episodes_cut_off_by_the_limit_is_printed() {
    let program = Program::new();
    program.succeed("train --env taxi --agent value-iteration --out plan");
    assert_eq!(json(&program, "eval plan --max-steps 2 --json")["truncated_share"], 1.0);
    let text = program.succeed("eval plan --max-steps 2");
    assert!(text.contains("100.0 % of the episodes were cut off") && text.contains("return_mean"), "{text}");
}

#[test]
fn the_scripted_player_is_trained_and_scored_like_any_agent() {
    let program = Program::new();
    program.succeed("train --env breakout --agent scripted --steps 3000 --set env.max_steps=1500 --out run");
    let metrics = program.read("run/metrics.csv");
    let last = metrics.lines().rfind(|row| row.contains("train/return")).and_then(|row| row.rsplit(',').next());
    assert!(last.and_then(|value| value.parse::<f64>().ok()) > Some(200.0), "{last:?}");
    let score = |options: &str| {
        let scores = json(&program, &format!("eval run --episodes 3 --max-steps 3000 --json {options}"));
        scores["return_mean"].as_f64().expect("a number")
    };
    let exact = score("");
    assert!(exact > 350.0, "{exact}");
    let random = score("--epsilon 1");
    assert!(random < 10.0, "{random}");

    program.succeed("resume run --steps 4000");
    program.succeed("train --env breakout --agent scripted --steps 4000 --set env.max_steps=1500 --out whole");
    assert_eq!(program.read("run/episodes.csv"), program.read("whole/episodes.csv"));
}
