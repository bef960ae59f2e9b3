use crate::program::Program;

const TAXI: &str = "train --env taxi --agent q-learning --steps 5k";

#[test]
fn a_run_has_all_its_files() {
    let program = Program::new();
    let summary = program.succeed(TAXI);
    let run = "runs/taxi-q-learning-s0";
    assert!(summary.contains("mean return") && summary.contains("carom eval runs/taxi-q-learning-s0"), "{summary}");
    assert_eq!(program.names("runs"), ["taxi-q-learning-s0"]);
    let expected = ["checkpoints", "config.toml", "episodes.csv", "eval.csv", "log.txt", "meta.json", "metrics.csv"];
    assert_eq!(program.names(run)[..7], expected);
    assert_eq!(program.names(run)[7..], ["plots", "timing.csv"]);
    assert_eq!(program.names(&format!("{run}/checkpoints")), ["4500", "5000"]);
    assert!(program.read(&format!("{run}/plots/return.svg")).contains("</svg>"));
    let metrics = program.read(&format!("{run}/metrics.csv"));
    for name in ["train/return", "train/length", "train/epsilon"] {
        assert!(metrics.contains(&format!("5000,{name},")), "{metrics}");
    }
    assert!(program.read(&format!("{run}/episodes.csv")).starts_with("step,env_idx,return,length\n200,0,"));
    assert!(program.read(&format!("{run}/timing.csv")).contains("5000,steps_per_s,"));
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let program = Program::new();
    for (seed, out) in [(3, "a"), (3, "b"), (4, "c")] {
        program.succeed(&format!("{TAXI} --n-envs 3 --seed {seed} --out {out} --set eval_every=2k"));
    }
    program.assert_same("a", "b");
    assert_ne!(program.read("a/metrics.csv"), program.read("c/metrics.csv"));
}

#[test]
fn evaluation_does_not_change_training() {
    let program = Program::new();
    program.succeed(&format!("{TAXI} --out without"));
    program.succeed(&format!("{TAXI} --out with --set eval_every=1000 --set eval_episodes=3"));
    assert_eq!(program.read("with/metrics.csv"), program.read("without/metrics.csv"));
    assert_eq!(program.read("with/eval.csv").matches("eval/return,").count(), 5);
    assert_eq!(program.read("without/eval.csv"), "step,name,value\n");
}

#[test]
fn a_run_can_be_repeated_from_its_own_configuration() {
    let program = Program::new();
    program.succeed(&format!("{TAXI} --out first --set agent.lr=0.3 --set env.max_steps=50"));
    program.succeed("train --config first/config.toml --out second");
    program.assert_same("first", "second");
    assert_eq!(program.read("first/config.toml"), program.read("second/config.toml"));
}

#[test]
fn flags_override_the_file_and_the_file_overrides_the_preset() {
    let program = Program::new();
    program.write("mine.toml", "n_envs = 2\nsteps = 3000\n[agent_settings]\ngamma = 0.5\n");
    program.succeed("train --preset taxi-q-learning --config mine.toml --steps 2k --out run");
    let config = program.read("run/config.toml");
    for line in ["steps = 2000", "n_envs = 2", "gamma = 0.5", "env = \"taxi\""] {
        assert!(config.lines().any(|found| found == line), "{line} in {config}");
    }
}

#[test]
fn several_seeds_are_several_runs() {
    let program = Program::new();
    program.succeed(&format!("{TAXI} --seeds 1..3 --out sweep"));
    assert_eq!(program.names("."), ["sweep-s1", "sweep-s2"]);
    assert!(program.read("sweep-s2/config.toml").contains("seed = 2"));
}

#[test]
fn an_existing_run_is_replaced_only_by_force() {
    let program = Program::new();
    program.succeed(&format!("{TAXI} --out run"));
    let before = program.read("run/metrics.csv");
    assert!(program.fail(&format!("{TAXI} --out run --seed 1")).contains("run exists; --force replaces it"));
    assert_eq!(program.read("run/metrics.csv"), before);
    program.succeed(&format!("{TAXI} --out run --seed 1 --force"));
    assert_ne!(program.read("run/metrics.csv"), before);
    assert_eq!(program.names("."), ["run"]);
}

#[test]
fn a_planner_ends_when_nothing_changes_any_more() {
    let program = Program::new();
    let summary = program.succeed("train --env frozen-lake --agent value-iteration --out plan");
    assert!(summary.contains("expected return 0.74"), "{summary}");
    assert!(program.succeed("plot plan --metric plan/residual").contains("residual.svg"));
    assert!(program.fail("plot plan --metric plan/residul").contains("plan/residual"));
}

#[test]
fn runs_are_listed_with_how_far_they_are_and_how_they_ended() {
    let program = Program::new();
    program.succeed("train --env taxi --agent q-learning --steps 3k --seed 4 --out all/agent");
    program.succeed("fit pca --data movies --latent-dim 2 --out all/model");
    program.succeed("train --env taxi --agent sarsa --steps 3k --set checkpoint_every=1k --out all/cut");
    let log = program.read("all/cut/log.txt");
    program.write("all/cut/log.txt", log.lines().take(2).collect::<Vec<_>>().join("\n").as_str());
    // A time that cannot be one is none.
    let times = program.read("all/cut/timing.csv");
    program.write("all/cut/timing.csv", &format!("{times}3000,wall_s,1e300\n"));
    let listed = program.succeed("list runs all");
    let line =
        |run: &str| listed.lines().find(|line| line.starts_with(run)).unwrap_or_else(|| panic!("{run}: {listed}"));
    for (run, words) in [
        ("all/agent", ["q-learning on taxi", " 4 ", "3k of 3k", "finished"]),
        ("all/model", ["pca to movies", " 0 ", "", "finished"]),
        ("all/cut", ["sarsa on taxi", " 0 ", "3k of 3k", "stopped"]),
    ] {
        for word in words {
            assert!(line(run).contains(word), "{word}: {listed}");
        }
    }
    let runs: serde_json::Value = serde_json::from_str(&program.succeed("list runs all --json")).expect("JSON");
    assert!(runs[0]["run"] == "all/agent" && runs[0]["return"].is_f64() && runs[0]["step"] == 3000, "{runs}");
    assert!(runs[0]["wall_s"].is_f64() && runs[1]["run"] == "all/cut" && runs[1]["wall_s"].is_null(), "{runs}");
}
