use crate::encoder;
use crate::program::{Program, send};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Asserts that a run of `line` that is interrupted by Ctrl-C and resumed equals an uninterrupted one.
fn interrupt_and_compare(line: &str) {
    let program = Program::new();
    program.succeed(&format!("{line} --out whole"));
    let child = program
        .command(&format!("{line} --out cut"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    assert_eq!(
        stop(&program, child),
        Some(130),
        "the run was over before it could be interrupted: it needs more steps"
    );
    assert!(program.read("cut/metrics.csv") != program.read("whole/metrics.csv"));
    program.succeed("resume cut");
    program.assert_same("whole", "cut");
}

fn stop(program: &Program, mut child: Child) -> Option<i32> {
    let began = Instant::now();
    while program.newest_checkpoint("cut").is_none() {
        assert!(began.elapsed() < Duration::from_secs(30), "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(2));
    }
    send("INT", &child);
    child.wait().expect("it ends").code()
}

#[test]
fn a_resumed_table_equals_an_uninterrupted_one() {
    interrupt_and_compare(
        "train --env taxi --agent q-learning --steps 300k --n-envs 3 --set eval_every=60k --set eval_episodes=5",
    );
}

#[test]
fn a_resumed_dqn_equals_an_uninterrupted_one() {
    interrupt_and_compare(
        "train --env cartpole --agent dqn --steps 12k --set agent.buffer_size=5000 --set agent.learning_starts=500 \
         --set checkpoint_every=1000 --set eval_every=4k --set eval_episodes=5",
    );
}

/// Asserts that a run that lost its last checkpoint and part of its rows, as in a power failure, ends as `whole` does.
fn kill_and_compare(line: &str) {
    kill_and_compare_in(&Program::new(), line);
}

fn kill_and_compare_in(program: &Program, line: &str) {
    program.succeed(&format!("{line} --out whole"));
    program.succeed(&format!("{line} --out cut"));
    let checkpoints = program.names("cut/checkpoints");
    let last = program.newest_checkpoint("cut").expect("a checkpoint");
    fs_err::remove_dir_all(program.path(&format!("cut/checkpoints/{last}"))).expect("removed");
    fs_err::create_dir(program.path(&format!("cut/checkpoints/.{last}.new-1"))).expect("made");
    let rows = program.read("cut/metrics.csv");
    program.write("cut/metrics.csv", &rows[..rows.len() - 7]);
    program.succeed("resume cut");
    program.assert_same("whole", "cut");
    assert_eq!(program.names("cut/checkpoints"), checkpoints);
}

#[test]
fn a_killed_table_loses_no_more_than_the_steps_after_its_checkpoint() {
    for agent in ["double-q", "q-lambda", "dyna-q", "random"] {
        kill_and_compare(&format!("train --env taxi --agent {agent} --steps 4k --set checkpoint_every=1500"));
    }
}

#[test]
fn a_killed_pqn_goes_on_in_the_middle_of_a_rollout() {
    // 100 vector steps are no multiple of a rollout.
    kill_and_compare(
        "train --env cartpole --agent pqn --n-envs 4 --steps 1k --set checkpoint_every=400 --set log_every=40",
    );
}

#[test]
fn a_killed_dqn_goes_on_in_the_middle_of_its_steps_to_sum() {
    kill_and_compare(
        "train --env minatar/breakout --agent dqn --steps 1500 --n-envs 2 --set checkpoint_every=610 \
         --set agent.n_step=3 --set agent.double=true --set agent.learning_starts=300 --set agent.buffer_size=400",
    );
}

/// Short trainings on the screen, with updates, and with an average of the weights that plays the evaluations.
const FROM_THE_SCREEN: [&str; 2] = [
    "train --env breakout --agent dqn --steps 400 --n-envs 4 --set agent.learning_starts=100 --set agent.double=true \
     --set agent.buffer_size=300 --set agent.batch_size=8 --set agent.target_every=60 --set agent.hidden=[64] \
     --set agent.ema_decay=0.9 --set eval_every=200 --set eval_episodes=3 --set eval_max_steps=30 --set log_every=20",
    "train --env breakout --agent pqn --steps 400 --n-envs 4 --set agent.rollout_len=16 --set agent.n_minibatches=4 \
     --set agent.hidden=[64] --set agent.ema_decay=0.9 --set eval_every=200 --set eval_episodes=3 \
     --set eval_max_steps=30 --set log_every=20",
];

#[test]
fn killed_agents_go_on_from_the_screen() {
    // Step 360 is in the middle of a rollout.
    for line in FROM_THE_SCREEN {
        kill_and_compare(&format!("{line} --set checkpoint_every=120"));
    }
}

#[test]
fn a_killed_agent_that_rounds_goes_on() {
    let line = format!("{} --set precision=bf16 --set checkpoint_every=120", FROM_THE_SCREEN[1]);
    let program = Program::new();
    let tried = program.run(&format!("{line} --pause-at 4 --out tried"));
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr);
        assert!(why.contains("precision is bf16: ") && why.contains("leave it out for f32"), "{why}");
        return println!("skipped: {why}");
    }
    kill_and_compare_in(&program, &line);
    program.succeed(&format!("{} --out in_f32", FROM_THE_SCREEN[1]));
    assert_ne!(program.read("whole/metrics.csv"), program.read("in_f32/metrics.csv"));
}

#[test]
fn threads_change_no_number_from_the_screen() {
    for line in FROM_THE_SCREEN {
        let program = Program::new();
        for threads in 1..=3 {
            program.succeed(&format!("{line} --set threads={threads} --out t{threads}"));
        }
        assert!(program.read("t1/metrics.csv").contains("400,train/loss,"));
        program.assert_same("t1", "t2");
        program.assert_same("t1", "t3");
    }
}

#[test]
fn killed_agents_go_on_with_the_encoders_that_they_train() {
    let line =
        "train --env minatar/breakout --encoder fit --steps 600 --set checkpoint_every=210 --set env.max_steps=100";
    let dqn = "--agent dqn --set agent.learning_starts=100 --set agent.buffer_size=400 --set agent.target_every=150";
    kill_and_compare_in(&encoder::fitted("ae"), &format!("{line} {dqn} --encoder-mode finetune"));
    let pqn = "--agent pqn --n-envs 4 --set agent.rollout_len=8 --set agent.n_minibatches=4";
    kill_and_compare_in(&encoder::fitted("vae"), &format!("{line} {pqn} --encoder-mode joint"));
}

#[test]
fn killed_agents_go_on_with_the_frame_before() {
    let program = Program::new();
    program.succeed(
        "fit ae --data env:breakout --set n_frames=60 --epochs 1 --latent-dim 8 --set model.hidden=[16] \
         --set env.frame_stack=2 --out fit",
    );
    let line = "train --env breakout --encoder fit --agent dqn --steps 400 --set checkpoint_every=170 --n-envs 2 \
                --set agent.learning_starts=100 --set agent.buffer_size=400 --set agent.hidden=[16] \
                --set env.frame_stack=1";
    kill_and_compare_in(&program, line);
    fs_err::remove_dir_all(program.path("whole")).expect("removed");
    fs_err::remove_dir_all(program.path("cut")).expect("removed");
    kill_and_compare_in(&program, &format!("{line} --encoder-mode joint"));
}

#[test]
fn a_killed_table_of_codes_still_knows_which_it_met() {
    let line = "train --env minatar/breakout --encoder fit --agent q-learning --steps 600 --set checkpoint_every=210";
    kill_and_compare_in(&encoder::fitted("pca"), &format!("{line} --set log_every=100"));
}

#[test]
fn a_resumed_fit_equals_an_uninterrupted_one() {
    interrupt_and_compare(
        "fit ae --data movies --epochs 4k --batch-size 4 --set model.noise=0.3 --set checkpoint_every=100 \
         --set eval_every=100",
    );
}

#[test]
fn a_killed_fit_goes_on_between_two_rows() {
    // There are six updates per epoch, a row every 4 of 2,400 updates, and a checkpoint before the last at update
    // 2,250.
    kill_and_compare(
        "fit ae --data movies --epochs 400 --batch-size 1 --lr-schedule cosine --set model.noise=0.3 \
         --set checkpoint_every=75 --set eval_every=50",
    );
}

#[test]
fn more_steps_make_a_run_longer() {
    let program = Program::new();
    let line = "train --env taxi --agent sarsa --set log_every=100 --set checkpoint_every=1000";
    program.succeed(&format!("{line} --steps 6k --out whole"));
    program.succeed(&format!("{line} --steps 3k --out longer"));
    assert!(String::from_utf8_lossy(&program.run("resume longer").stderr).contains("is finished at step 3k"));
    program.succeed("resume longer --steps 6k");
    program.assert_same("whole", "longer");
    assert_eq!(program.read("whole/config.toml"), program.read("longer/config.toml"));
    assert!(program.fail("resume longer --steps 10").contains("less than the 6000"));
}

#[test]
fn a_damaged_checkpoint_is_skipped_and_two_are_an_error() {
    let program = Program::new();
    let line = "train --env taxi --agent q-learning --steps 4k --set checkpoint_every=1000";
    program.succeed(&format!("{line} --out whole"));
    program.succeed(&format!("{line} --out run"));
    let file = |step: u64| format!("run/checkpoints/{step}/arrays.safetensors");
    let truncate = |step| {
        let bytes = fs_err::read(program.path(&file(step))).expect("readable");
        fs_err::write(program.path(&file(step)), &bytes[..bytes.len() / 2]).expect("writable");
    };
    truncate(4000);
    let warning = String::from_utf8(program.run("resume run").stderr).expect("UTF-8");
    assert!(
        warning.contains(&file(4000)) && warning.contains("going back to the checkpoint of step 3000"),
        "{warning}"
    );
    program.assert_same("whole", "run");

    truncate(3000);
    truncate(4000);
    let error = program.fail("resume run");
    assert!(error.contains(&format!("{} is truncated or damaged", file(4000))), "{error}");
    fs_err::remove_dir_all(program.path("run/checkpoints")).expect("removed");
    assert!(program.fail("eval run").contains("run has no checkpoint"));
    assert!(program.fail("resume nowhere").contains("there is no run nowhere"));
}

const SHORT: &str = "train --env taxi --agent q-learning --steps 4k --set checkpoint_every=1000 --set log_every=500";

#[test]
fn the_same_command_begins_continues_and_leaves_a_run() {
    let program = Program::new();
    let fit = "fit ae --data movies --epochs 40 --set checkpoint_every=5";
    for line in [SHORT, fit] {
        program.succeed(&format!("{line} --out whole"));
        program.succeed(&format!("{line} --out cut --continue"));
        program.assert_same("whole", "cut");
        let before = program.tree("cut");
        let said = String::from_utf8(program.run(&format!("{line} --out cut --continue")).stderr).expect("UTF-8");
        assert!(said.contains("cut is finished"), "{said}");
        let summary = program.succeed(&format!("{line} --out cut --continue --json"));
        assert_eq!(summary, program.succeed("resume cut --json"));
        assert!(summary.starts_with('{') && summary.contains("\"run\":\"cut\""), "{summary}");
        assert_eq!(program.tree("cut").len(), before.len());
        program.assert_same("whole", "cut");

        let last = program.newest_checkpoint("cut").expect("a checkpoint");
        fs_err::remove_dir_all(program.path(&format!("cut/checkpoints/{last}"))).expect("removed");
        let said = String::from_utf8(program.run(&format!("{line} --out cut --continue")).stderr).expect("UTF-8");
        assert!(said.contains("resuming at "), "{said}");
        program.assert_same("whole", "cut");

        // Stopped before the first checkpoint.
        fs_err::remove_dir_all(program.path("cut/checkpoints")).expect("removed");
        program.write("cut/log.txt", "");
        program.succeed(&format!("{line} --out cut --continue"));
        program.assert_same("whole", "cut");
        // Stopped later, and its checkpoints are gone: what it has is not overwritten.
        fs_err::remove_dir_all(program.path("cut/checkpoints")).expect("removed");
        program.refuses(&format!("{line} --out cut --continue"), &["cut has lost its checkpoints", "moved away"]);
        fs_err::remove_dir_all(program.path("whole")).expect("removed");
        fs_err::remove_dir_all(program.path("cut")).expect("removed");
    }
}

#[test]
fn a_run_of_other_settings_is_not_continued() {
    let program = Program::new();
    program.succeed(&format!("{SHORT} --out run"));
    let error = program.fail(&format!("{SHORT} --out run --continue --set agent.lr=0.3 --seed 5"));
    for words in ["run was started with other settings", "agent.lr 0.1 -> 0.3", "seed 0 -> 5"] {
        assert!(error.contains(words), "{words} in {error}");
    }
    fs_err::create_dir(program.path("notes")).expect("made");
    program.write("notes/config.toml", "");
    assert!(program.fail(&format!("{SHORT} --out notes --continue")).contains("is there and is not a run"));
}

#[test]
fn an_edited_configuration_is_not_taken_for_that_of_the_steps_before() {
    let program = Program::new();
    program.succeed(&format!("{SHORT} --out run"));
    let config = program.read("run/config.toml");
    program.write("run/config.toml", &config.replace("lr = 0.1", "lr = 0.2").replace("seed = 0", "seed = 4"));
    for line in ["resume run --steps 6k", "resume run --steps 6k --set agent.lr=0.2"] {
        let error = program.fail(line);
        assert!(error.contains("run/config.toml was edited after the run began: "), "{error}");
        assert!(error.contains("seed 0 -> 4"), "{error}");
        assert_eq!(error.contains("agent.lr 0.1 -> 0.2"), !line.contains("--set"), "{error}");
    }
    program.write("run/config.toml", &config);
    program.succeed("resume run --steps 6k");
}

#[test]
fn a_setting_changed_on_the_way_is_recorded_with_its_step() {
    let program = Program::new();
    program.succeed(&format!("{SHORT} --out run"));
    program.succeed("resume run --steps 6k --set agent.lr=0.5");
    assert!(program.read("run/config.toml").contains("lr = 0.5"));
    assert!(program.read("run/log.txt").contains("step 4000: setting agent.lr 0.1 -> 0.5"));
    let meta: serde_json::Value = serde_json::from_str(&program.read("run/meta.json")).expect("JSON");
    assert_eq!(meta["settings"]["agent.lr"], "0.5");
    assert_eq!(meta["changes"][0], serde_json::json!({ "step": 4000, "key": "agent.lr", "from": "0.1", "to": "0.5" }));
    program.succeed("plot run --output curve.svg");
    assert!(program.read("curve.svg").contains("agent.lr=0.1, 0.5 from 4k"));
    program
        .refuses("resume run --set agent.lr=0.25", &["run is finished", "agent.lr 0.5 -> 0.25 would have no effect"]);
    for (set, words) in [
        ("seed=3", "begin a new run"),
        ("env.max_steps=5", "begin a new run"),
        ("steps=9k", "give it as --steps"),
        ("agent.q_init=1", "from the run's beginning"),
        ("agent.lrr=1", "did you mean `lr`"),
        ("agent.ema_decay=0.9", "from the run's beginning"),
        ("agent.priority_alpha=1", "from the run's beginning"),
        ("agent.v_max=1", "from the run's beginning"),
    ] {
        let error = program.fail(&format!("resume run --steps 7k --set {set}"));
        assert!(error.contains(words), "{set}: {error}");
    }
}

#[test]
fn a_setting_that_the_version_of_a_run_did_not_have_is_at_its_default() {
    let program = Program::new();
    program.succeed(&format!("{SHORT} --out run"));
    let (config, meta) = (program.read("run/config.toml"), program.read("run/meta.json"));
    let without = |text: &str, key: &str| {
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains(key)).collect();
        lines.join("\n")
    };
    program.write("run/config.toml", &without(&config, "q_init"));
    program.write("run/meta.json", &without(&meta, "agent.q_init"));
    program.succeed(&format!("{SHORT} --out run --continue"));
    program.succeed("resume run --steps 6k");
    assert!(!program.read("run/log.txt").contains("q_init"));
    // Given by hand it is an edit.
    program.write("run/meta.json", &without(&program.read("run/meta.json"), "agent.q_init"));
    program.write("run/config.toml", &program.read("run/config.toml").replace("q_init = 0.0", "q_init = 1.0"));
    program.refuses("resume run --steps 7k", &["was edited after the run began: agent.q_init not given -> 1"]);
}

#[test]
fn a_plan_goes_on_with_other_settings_after_it_converged() {
    let program = Program::new();
    program.succeed("train --env gridworld --agent value-iteration --out plan");
    let said = program.run("resume plan --steps 2k");
    assert!(String::from_utf8_lossy(&said.stderr).contains("has converged"));
    let before = program.succeed("table plan");
    program.succeed("resume plan --set agent.gamma=0.5");
    assert_ne!(program.succeed("table plan"), before);
    program.refuses("table plan --at 1,2", &["settings of its agent changed"]);
}

#[test]
fn a_best_policy_of_steps_that_are_made_anew_counts_no_more() {
    let program = Program::new();
    let line = "train --env taxi --agent q-learning --steps 4k --set checkpoint_every=1000 --set eval_every=500 \
                --set eval_episodes=5";
    program.succeed(&format!("{line} --out run --pause-at 3k"));
    // As if one of them had replaced it.
    fs_err::remove_dir_all(program.path("run/checkpoints/best")).expect("removed");
    program.succeed(&format!("{line} --out run --continue"));
    let state = program.read("run/checkpoints/best/state.json");
    let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    assert!(state["step"].as_u64().is_some_and(|step| step > 3000), "{}", state["step"]);
}

#[test]
fn runs_side_by_side_equal_those_made_one_after_the_other() {
    let program = Program::new();
    for line in [SHORT, "fit ae --data movies --epochs 20"] {
        program.succeed(&format!("{line} --seeds 0..3 --out one"));
        let summaries = program.succeed(&format!("{line} --seeds 0..3 --jobs 2 --out two"));
        for seed in 0..3 {
            program.assert_same(&format!("one-s{seed}"), &format!("two-s{seed}"));
            assert_eq!(
                program.read(&format!("one-s{seed}/config.toml")),
                program.read(&format!("two-s{seed}/config.toml"))
            );
            assert!(summaries.contains(&format!("two-s{seed}: ")), "{summaries}");
            fs_err::remove_dir_all(program.path(&format!("one-s{seed}"))).expect("removed");
        }
        // One that fails leaves the others alone and is named.
        fs_err::remove_dir_all(program.path("two-s2")).expect("removed");
        fs_err::remove_file(program.path("two-s1/metrics.csv")).expect("removed");
        let checkpoints = program.names("two-s1/checkpoints");
        fs_err::remove_dir_all(program.path(&format!("two-s1/checkpoints/{}", checkpoints[checkpoints.len() - 1])))
            .expect("removed");
        let error = program.run(&format!("{line} --seeds 0..3 --jobs 3 --out two --continue"));
        let said = String::from_utf8_lossy(&error.stderr).into_owned();
        assert_eq!(error.status.code(), Some(1), "{said}");
        assert!(said.contains("1 of 3 runs failed:\n  two-s1"), "{said}");
        assert!(said.contains("two-s0: two-s0 is finished"), "{said}");
        assert!(program.path("two-s2/plots").exists());
        for seed in 0..3 {
            fs_err::remove_dir_all(program.path(&format!("two-s{seed}"))).expect("removed");
        }
    }
}

#[test]
fn a_paused_run_goes_on_to_the_same_end() {
    let program = Program::new();
    let line = "train --env cartpole --agent pqn --n-envs 4 --steps 4k --set agent.rollout_len=8";
    program.succeed(&format!("{line} --out whole"));
    // A pause that no step hits is at the next one.
    for (pause, step) in [("1001", "1004"), ("1001", "1004"), ("3k", "3000")] {
        program.succeed(&format!("{line} --out parts --continue --pause-at {pause}"));
        assert_eq!(program.names("parts/checkpoints").last().map(String::as_str), Some(step));
    }
    program.succeed(&format!("{line} --out parts --continue"));
    program.assert_same("whole", "parts");
    assert_eq!(program.read("whole/config.toml"), program.read("parts/config.toml"));
}

#[test]
fn a_run_without_its_replay_in_checkpoints_fills_a_new_one_before_it_learns_on() {
    let program = Program::new();
    let line = "train --env minatar/breakout --agent dqn --n-envs 1 --steps 1k --set agent.learning_starts=300 \
                --set agent.buffer_size=2000 --set log_every=50 --set agent.prioritized=true";
    program.succeed(&format!("{line} --out whole"));
    program.succeed(&format!("{line} --set checkpoint_replay=false --out light"));
    assert_eq!(program.read("whole/metrics.csv"), program.read("light/metrics.csv"));
    let size = |run: &str| {
        let path = program.path(&format!("{run}/checkpoints/1000/arrays.safetensors"));
        fs_err::metadata(path).expect("a checkpoint").len()
    };
    assert!(size("light") + 400_000 < size("whole"), "{} {}", size("light"), size("whole"));
    program.succeed("resume light --steps 2k");
    let metrics = program.read("light/metrics.csv");
    let learned: Vec<u64> = metrics
        .lines()
        .filter(|line| line.contains(",train/loss,"))
        .filter_map(|line| line.split(',').next()?.parse().ok())
        .filter(|&step| step > 1000)
        .collect();
    assert_eq!((learned[0], learned.len()), (1300, 15), "{learned:?}");
    let error = program.fail("train --env taxi --agent sarsa --steps 10 --set checkpoint_replay=false --out no");
    assert!(error.contains("checkpoint_replay") && error.contains("sarsa has no replay memory"), "{error}");
}
