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

#[test]
fn the_best_policy_evaluated_is_kept_beside_the_newest() {
    let program = Program::new();
    program.succeed(
        "train --env cartpole --agent dqn --steps 6k --out run --set eval_every=1k --set eval_episodes=5 \
         --set agent.learning_starts=500 --set agent.buffer_size=5000 --set checkpoint_every=2k",
    );
    assert_eq!(program.names("run/checkpoints"), ["4000", "6000", "best"]);
    let state = |step: &str| program.read(&format!("run/checkpoints/{step}/state.json"));
    assert!(state("6000").contains("\"envs\"") && !state("best").contains("\"envs\""), "{}", state("best"));
    let returns = program.read("run/eval.csv");
    let returns = returns.lines().filter_map(|line| {
        let (step, value) = line.split_once(",eval/return,")?;
        Some((step.parse::<u64>().expect("a step"), value.parse::<f64>().expect("a number")))
    });
    let best = returns.fold((0, f64::MIN), |best, found| if found.1 > best.1 { found } else { best }).0;
    let step = |flags: &str| json(&program, &format!("eval run --episodes 2 --json {flags}"))["step"].as_u64();
    assert_eq!(step("--checkpoint best"), Some(best));
    assert_eq!(step("--checkpoint 4000"), Some(4000));
    assert_eq!((step("--checkpoint newest"), step("")), (Some(6000), Some(6000)));
    program.succeed("watch run --checkpoint best --gif best.gif --max-steps 20");
    let error = program.fail("eval run --checkpoint 5000");
    assert!(error.contains("run has no checkpoint of step 5000; there are those of 4000, 6000"), "{error}");
}

#[test]
fn a_run_without_evaluations_has_no_best_policy() {
    let program = Program::new();
    program.succeed("train --env taxi --agent q-learning --steps 2k --out run");
    let error = program.fail("eval run --checkpoint best");
    assert!(error.contains("run has no best checkpoint") && error.contains("--set eval_every=N"), "{error}");
}

#[test]
fn breakout_is_evaluated_by_its_protocols_rules() {
    let program = Program::new();
    let train = "train --env breakout --agent random --steps 64 --set eval_every=64 --set eval_episodes=2";
    program.succeed(&format!("{train} --out short --set eval_max_steps=10"));
    let evaluations = program.read("short/eval.csv");
    assert!(evaluations.contains("64,eval/length,10.0\n64,eval/truncated,1.0\n"), "{evaluations}");
    let epsilon = |run: &str| json(&program, &format!("eval {run} --episodes 1 --json"))["epsilon"].as_f64();
    assert_eq!(epsilon("short"), Some(0.05));
    program.succeed(&format!("{train} --out machado --set env.protocol=machado-2018"));
    assert_eq!(epsilon("machado"), Some(0.01));
    program.succeed(&format!("{train} --out own --set eval_epsilon=0.5"));
    assert_eq!(epsilon("own"), Some(0.5));
}
