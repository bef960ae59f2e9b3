//! Searches over settings.

use crate::program::{PROGRAM, Program, send};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const GRID: &str = "seeds = \"0..2\"\n[base]\nenv = \"taxi\"\nagent = \"q-learning\"\nsteps = \"4k\"\n\
    [axes]\n\"agent.lr\" = [0.1, 1]\n\"agent.gamma\" = [0.9, 0.99]\n";

const HALVING: &str = "search = \"halving\"\n[halving]\neta = 2\nleast = \"1k\"\nmost = \"4k\"\n\
    [random]\ntrials = 4\nseed = 3\n[base]\nenv = \"taxi\"\nagent = \"q-learning\"\n\
    [axes]\n\"agent.lr\" = { min = 0.01, max = 1, log = true }\n";

/// Two trials, of which the second one always diverges.
const DIVERGING: &str = "search = \"halving\"\n[halving]\neta = 2\nleast = 300\nmost = 600\n\
    [base]\nenv = \"cartpole\"\nagent = \"dqn\"\nn_envs = 1\n\"agent.hidden\" = [8]\n\
    \"agent.learning_starts\" = 50\n\"agent.buffer_size\" = 400\n[axes]\n\"agent.lr\" = [1e-3, 1e38]\n";

/// Returns the events in the journal of a search.
fn events(program: &Program, dir: &str) -> Vec<Value> {
    let text = program.read(&format!("{dir}/journal.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Returns the ranking that `line` prints with `--json`, on one line.
fn ranking(program: &Program, line: &str) -> Value {
    let text = program.succeed(&format!("{line} --json"));
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// Returns the trials that go on, for each rung that is decided.
fn promotions(program: &Program, dir: &str) -> Vec<Value> {
    let events = events(program, dir).into_iter().filter(|event| event["event"] == "promotion");
    events.map(|event| event["trials"].clone()).collect()
}

/// Returns the exit code, stdout and stderr.
fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Runs `carom` with the words of `line`, and without files of more than `kilobytes`.
fn run_limited(program: &Program, kilobytes: u32, line: &str) -> Output {
    let line = format!("trap '' XFSZ; ulimit -f {kilobytes}; exec {PROGRAM} {line}");
    Command::new("bash").current_dir(program.path(".")).args(["-c", &line]).output().expect("bash")
}

/// Returns the scores of the ranked trials.
fn scores(ranking: &Value) -> Vec<f64> {
    let trials = ranking["trials"].as_array().expect("trials");
    trials.iter().map(|trial| trial["score"].as_f64().expect("a score")).collect()
}

#[test]
fn a_grid_is_made_once_ranked_and_gives_the_best_as_a_preset() {
    let program = Program::new();
    program.write("lr.toml", GRID);
    let table = program.succeed("sweep lr.toml --jobs 2");
    assert_eq!(program.read("runs/lr/table.md"), table);
    let again = program.run("sweep lr.toml --json");
    assert!(!String::from_utf8_lossy(&again.stderr).contains("training"), "finished runs are left");
    let found: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    let scores = scores(&found);
    assert_eq!(scores.len(), 4);
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    // A score is the mean over the seeds of the last training return.
    let best = &found["trials"][0];
    let runs = best["runs"].as_array().expect("runs");
    let of_seeds: Vec<f64> = runs.iter().map(|run| run["score"].as_f64().expect("a score")).collect();
    assert_eq!((of_seeds.len(), scores[0]), (2, of_seeds.iter().sum::<f64>() / 2.0));
    let metrics = program.read(&format!("runs/lr/trial-{}-s1/metrics.csv", best["trial"]));
    let last = metrics.lines().rfind(|line| line.contains("train/return")).expect("a row");
    assert!(last.ends_with(&format!(",{}", of_seeds[1])), "{last}: {of_seeds:?}");
    assert!(program.read("runs/lr/trials.svg").contains("agent.gamma"));

    let preset = program.read("runs/lr/best.toml");
    assert!(preset.starts_with("# last train/return ") && !preset.contains("\nseed"), "{preset}");
    program.succeed("train --config runs/lr/best.toml --seed 1 --out again");
    program.assert_same("again", &format!("runs/lr/trial-{}-s1", best["trial"]));

    program.write("lr.toml", &GRID.replace("0.9,", "0.5,"));
    program.refuses("sweep lr.toml", &["axes.agent.gamma [0.9, 0.99] -> [0.5, 0.99]", "journal.jsonl"]);
}

#[test]
fn draws_repeat_with_their_seed() {
    let program = Program::new();
    let file = HALVING.replace("halving\"\n[halving]\neta = 2\nleast = \"1k\"\nmost = \"4k\"", "random\"");
    let file = file.replace("[base]", "[base]\nsteps = \"1k\"");
    program.write("a.toml", &file);
    program.write("b.toml", &file.replace("seed = 3", "seed = 4"));
    let tables = ["a.toml --out one --jobs 2", "a.toml --out two", "b.toml --out three"]
        .map(|line| program.succeed(&format!("sweep {line}")));
    assert_eq!(tables[0], tables[1]);
    assert_ne!(tables[0], tables[2]);
}

#[test]
fn halving_goes_on_with_the_best_share_whose_runs_equal_uninterrupted_ones() {
    let program = Program::new();
    program.write("halving.toml", HALVING);
    let found = ranking(&program, "sweep halving.toml --jobs 2");
    let trials = found["trials"].as_array().expect("trials");
    let steps: Vec<u64> = trials.iter().map(|trial| trial["steps"].as_u64().expect("steps")).collect();
    assert_eq!(steps, [4000, 2000, 1000, 1000]);
    let events = events(&program, "runs/halving");
    let promoted = |steps: u64| {
        let event = events.iter().find(|event| event["event"] == "promotion" && event["steps"] == steps);
        event.expect("a promotion")["trials"].as_array().expect("trials").clone()
    };
    let mut first: Vec<(f64, u64)> = events
        .iter()
        .filter(|event| event["event"] == "score" && event["steps"] == 1000)
        .map(|event| (event["score"].as_f64().expect("a score"), event["trial"].as_u64().expect("a number")))
        .collect();
    first.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    assert_eq!(promoted(1000), [first[0].1, first[1].1]);
    assert_eq!(promoted(2000), [trials[0]["trial"].clone()]);
    let best = format!("runs/halving/trial-{}-s0", trials[0]["trial"]);
    program.succeed(&format!("train --config {best}/config.toml --out whole"));
    program.assert_same("whole", &best);
}

#[test]
fn a_killed_search_goes_on_to_the_same_table() {
    let program = Program::new();
    program.write("halving.toml", &HALVING.replace("1k", "20k").replace("4k", "80k"));
    let whole = program.succeed("sweep halving.toml --out whole --jobs 2");
    for n_scores in [0, 1, 5] {
        let mut child = program
            .command("sweep halving.toml --out parts --jobs 2")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let began = Instant::now();
        let n_found = || match program.path("parts/journal.jsonl").exists() {
            true => program.read("parts/journal.jsonl").matches("\"event\":\"score\"").count(),
            false => 0,
        };
        while n_found() < n_scores || !program.path("parts/trial-0-s0/meta.json").exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "no score");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("it runs");
        child.wait().expect("it ended");
    }
    assert_eq!(program.succeed("sweep halving.toml --out parts --jobs 2"), whole);
    for trial in 0..4 {
        program.assert_same(&format!("whole/trial-{trial}-s0"), &format!("parts/trial-{trial}-s0"));
    }
}

#[test]
fn an_interrupted_search_ranks_what_there_is() {
    let program = Program::new();
    program.write("long.toml", &GRID.replace("\"4k\"", "\"500M\"").replace("[0.9, 0.99]", "[0.9]"));
    let mut child =
        program.command("sweep long.toml").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let began = Instant::now();
    while !program.path("runs/long/trial-0-s0/meta.json").exists() {
        assert!(began.elapsed() < Duration::from_secs(60) && child.try_wait().expect("a child").is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    send("INT", &child);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("the same command goes on with the search"), "{said}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("| 1     |        1 |         0.9 |     – |"), "{table}");
}

#[test]
fn a_trial_that_fails_leaves_the_others_alone_and_is_reported() {
    let program = Program::new();
    let base = "[base]\nenv = \"cartpole\"\nagent = \"dqn\"\nsteps = 400\nn_envs = 1\n\"agent.hidden\" = [8]\n\
        \"agent.learning_starts\" = 50\n\"agent.buffer_size\" = 400\n";
    program.write("dqn.toml", &format!("{base}[axes]\n\"agent.lr\" = [1e-3, 1e38]\n"));
    let output = program.run("sweep dqn.toml --json");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 of 2 runs failed:\n  runs/dqn/trial-1-s0"), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&found["best"], found["trials"][1]["score"].is_null()), (&0.into(), true));
    let error = found["trials"][1]["failures"][0]["error"].as_str().expect("an error");
    assert!(error.contains("train/loss is NaN"), "{error}");
    let table = program.read("runs/dqn/table.md");
    assert!(table.contains("failed |") && table.contains("- trial 1, seed 0: "), "{table}");
    // A run that ends no episode has no score.
    program.write("short.toml", &GRID.replace("\"4k\"", "9").replace("[0.9, 0.99]", "[0.9]"));
    let output = program.run("sweep short.toml");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("`train/return`"), "{table}");
    assert!(!program.path("runs/short/best.toml").exists());
}

#[test]
fn a_rung_is_decided_when_failed_runs_were_tried_again() {
    let program = Program::new();
    program.write("dqn.toml", DIVERGING);
    let (code, _, said) = told(program.run("sweep dqn.toml"));
    assert!(code == Some(1) && said.contains("1 run failed: the same command tries again"), "{said}");
    assert!(promotions(&program, "runs/dqn").is_empty());
    let (code, table, said) = told(program.run("sweep dqn.toml"));
    assert!(code == Some(1) && said.contains("1 of 2 trials go on after 300 steps"), "{said}");
    assert_eq!(promotions(&program, "runs/dqn"), [serde_json::json!([0])]);
    assert!(table.contains("- trial 1, seed 0: "), "{table}");
    assert_eq!(told(program.run("sweep dqn.toml")).0, Some(1), "the failure is still in the table");

    // No table of values fits on the disk at first.
    program.write("halving.toml", HALVING);
    let whole = program.succeed("sweep halving.toml --out whole");
    let (code, _, said) = told(run_limited(&program, 8, "sweep halving.toml --out parts"));
    assert!(code == Some(1) && said.contains("4 runs failed: the same command tries again"), "{said}");
    assert_eq!(program.succeed("sweep halving.toml --out parts"), whole);
}

#[test]
fn a_journal_that_does_not_fit_on_the_disk_has_whole_lines() {
    let program = Program::new();
    program.write("full.toml", &GRID.replace("0..2", "0..30").replace("[0.1, 1]", "[1]").replace("[0.9, 0.99]", "[1]"));
    let (code, _, said) = told(run_limited(&program, 2, "sweep full.toml --jobs 2"));
    assert!(code == Some(1) && said.contains("runs/full/journal.jsonl"), "{said}");
    assert!(program.read("runs/full/journal.jsonl").ends_with('\n'));
    let n_failures = events(&program, "runs/full").iter().filter(|event| event["event"] == "failure").count();
    assert!((1..30).contains(&n_failures), "{n_failures}");
    program.succeed("sweep full.toml --on print");
}

#[test]
fn mistakes_are_told_before_the_first_trial() {
    let program = Program::new();
    let cases = [
        (GRID.replace("agent.lr", "agnt.lr"), "did you mean `agent.`?"),
        (GRID.replace("agent.lr", "agent.lrr"), "`lr`"),
        (GRID.replace("steps =", "stepss ="), "did you mean `steps`?"),
        (GRID.replace("[0.1, 1]", "[0.1, -1]"), "agent.lr is -1"),
        (GRID.replace("taxi", "taxy"), "taxi"),
        (GRID.replace("q-learning\"", "q-learning\"\nn_envs = 0"), "n_envs is 0"),
        (GRID.replace("[axes]", "[axis]"), "did you mean `axes`?"),
        (HALVING.replace("\"agent.lr\"", "steps"), "[halving] least and most"),
    ];
    for (text, words) in cases {
        program.write("bad.toml", &text);
        program.refuses("sweep bad.toml", &["bad.toml", words]);
    }
    program.write("run.toml", GRID);
    program.succeed("train --env taxi --agent sarsa --steps 10 --out run");
    program.refuses("sweep run.toml --out run", &["run is a run"]);
}

/// Runs each of `commands`, a line each, in the program's folder.
fn run_all(program: &Program, commands: &str) {
    for command in commands.lines() {
        let output = Command::new("sh").args(["-c", command]).current_dir(program.path(".")).output().expect("a shell");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn printed_commands_make_the_runs_that_the_same_command_collects() {
    let program = Program::new();
    program.write("halving.toml", HALVING);
    let whole = program.succeed("sweep halving.toml --out whole");
    // One rung after the other: 4 trials, 2, 1.
    for n in [4, 2, 1] {
        let commands = program.succeed("sweep halving.toml --out parts --on print");
        assert_eq!(commands.lines().count(), n, "{commands}");
        run_all(&program, &commands);
    }
    assert_eq!(program.succeed("sweep halving.toml --out parts --on print"), whole);

    for seeds in [
        "train --env taxi --agent q-learning --steps 1k --seeds 0..2 --out a",
        "fit ae --data movies --epochs 1 --seeds 0..2 --out b",
    ] {
        let commands = program.succeed(&format!("{seeds} --on=print"));
        assert!(commands.lines().all(|line| line.contains("--continue") && !line.contains("print")), "{commands}");
        run_all(&program, commands.lines().next().expect("two"));
        assert_eq!(program.succeed(&format!("{seeds} --on print")).lines().count(), 1, "what is made is left out");
        program.refuses(&format!("{seeds} --no-wait"), &["without --on slurm"]);
        program.refuses(&format!("{seeds} --on print --slurm mem=1G"), &["without --on slurm"]);
        program.refuses(&format!("{seeds} --on print --force"), &["--force has no effect with --on"]);
    }

    let compare = "compare --env taxi --agents q-learning,sarsa --steps 1k --seeds 0..1 --out all --on print";
    run_all(&program, &program.succeed(compare));
    assert!(program.succeed(compare).contains("| q-learning |"));
}

#[test]
fn a_run_that_fails_elsewhere_is_made_once_more_and_then_left_out() {
    let program = Program::new();
    program.write("dqn.toml", DIVERGING);
    let shell = |command: &str| Command::new("sh").args(["-c", command]).current_dir(program.path(".")).output();
    // Both runs, that which failed, and the other one in the next rung.
    for (n, words) in [(2, "trial-0-s0"), (1, "trial-1-s0"), (1, "trial-0-s0")] {
        let commands = program.succeed("sweep dqn.toml --on print");
        assert!(commands.lines().count() == n && commands.contains(words), "{commands}");
        commands.lines().for_each(|command| drop(shell(command).expect("a shell")));
    }
    let (code, table, said) = told(program.run("sweep dqn.toml --on print"));
    assert!(code == Some(1) && table.contains("- trial 1, seed 0: "), "{table}{said}");

    program.write("lost", "");
    let path = path_with_slurm(&program, "#!/bin/sh\n");
    let run = || told(program.run_with("sweep dqn.toml --out far --on slurm --no-wait", &[("PATH", path.clone())]));
    for words in ["submitted job 7, 2 runs as", "submitted job 7, 1 run as", "1 of 2 trials go on after 300 steps"] {
        let (code, _, said) = run();
        assert!(code == Some(0) && said.contains(words), "{words}: {said}");
    }
    let (code, table, said) = run();
    assert!(code == Some(1) && table.contains("- trial 1, seed 0: "), "{table}{said}");
}

#[test]
fn a_run_that_failed_twice_without_getting_further_is_not_printed_again() {
    let program = Program::new();
    let line = "train --env cartpole --agent dqn --steps 300 --n-envs 1 --set agent.hidden=[8] --set agent.lr=1e38 \
                --set agent.learning_starts=50 --set agent.buffer_size=400 --seeds 0..1 --out run --on print";
    for _ in 0..2 {
        let command = program.succeed(line);
        assert_eq!(command.lines().count(), 1, "{command}");
        let ended = Command::new("sh").args(["-c", &command]).current_dir(program.path(".")).output();
        assert!(!ended.expect("a shell").status.success());
    }
    let (code, commands, said) = told(program.run(line));
    assert_eq!((code, &*commands), (Some(1), ""), "{said}");
    assert!(said.contains("run-s0: it failed twice, `carom resume run-s0` tries again: "), "{said}");
}

/// Program named as Slurm's. It makes the tasks of an array at once, but for one in the file `lost`.
const SBATCH: &str = "#!/bin/bash\nscript=$2\nlast=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' $script)\n\
    for task in $(seq 0 $last); do\n[ $task = \"$(cat lost)\" ] && continue\n\
    SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task bash $script > ${script%array.sh}7_$task.log 2>&1\ndone\n\
    echo 7\n";

/// Makes the program find `sbatch` and the script `squeue`. Returns the folders of all programs.
fn path_with_slurm(program: &Program, squeue: &str) -> PathBuf {
    fs_err::create_dir(program.path("bin")).expect("a folder");
    for (name, text) in [("sbatch", SBATCH), ("squeue", squeue)] {
        program.write(&format!("bin/{name}"), text);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(program.path(&format!("bin/{name}")), mode).expect("ours");
    }
    format!("{}:{}", program.path("bin").display(), std::env::var("PATH").expect("a path")).into()
}

#[test]
fn a_queue_that_does_not_answer_is_asked_again_before_anything_is_submitted() {
    let program = Program::new();
    // It does not answer at first, finds the job the second time, and not any more the third time.
    let squeue = "#!/bin/sh\necho >> asked\ncase $(wc -l < asked) in\n\
        1) echo 'Unable to contact slurm controller' >&2; exit 1;;\n2) echo RUNNING;;\nesac\n";
    let path = path_with_slurm(&program, squeue);
    let line = "train --env taxi --agent q-learning --steps 1k --seeds 0..2 --out a --on slurm";
    let run = |line: &str| told(program.run_with(line, &[("PATH", path.clone())])).2;
    program.write("lost", "1");
    let said = run(&format!("{line} --no-wait"));
    assert!(said.contains("submitted job 7, 2 runs as an array"), "{said}");
    let said = run(&format!("{line} --no-wait"));
    assert!(said.contains("Unable to contact slurm controller; asking again"), "{said}");
    assert!(said.contains("an earlier command submitted job 7") && !said.contains("as an array"), "{said}");
    program.write("lost", "");
    let said = run(line);
    assert!(said.contains("submitted job 7, 1 run as an array"), "{said}");
    assert_eq!(program.names("."), ["a-s0", "a-s1", "a-slurm", "asked", "bin", "lost"]);
}

#[test]
fn a_job_array_is_submitted_collected_and_mended() {
    let program = Program::new();
    program.write("lr.toml", GRID);
    let whole = program.succeed("sweep lr.toml --out whole --jobs 2");
    let path = path_with_slurm(&program, "#!/bin/sh\n");
    let run = |line: &str| program.run_with(line, &[("PATH", path.clone())]);
    // The task of one run is lost: it is named, and the same command submits it again.
    program.write("lost", "3");
    let line = "sweep lr.toml --out parts --on slurm --slurm time=0:05:00";
    let output = run(line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("submitted job 7, 8 runs") && said.contains("1 of 8 runs did not end"), "{said}");
    assert!(said.contains("parts/trial-3-s0: its task did not begin"), "{said}");
    assert!(program.read("parts/slurm/array.sh").contains("#SBATCH --time=\"0:05:00\"\n"));
    program.write("lost", "");
    let output = run(line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("submitted job 7, 1 run as"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), whole);

    let seeds = "train --env taxi --agent q-learning --steps 1k --seeds 0..2 --out runs/a --on slurm --no-wait";
    let said = String::from_utf8_lossy(&run(seeds).stderr).into_owned();
    assert!(said.contains("job 7 is in the queue"), "{said}");
    assert_eq!(program.names("runs"), ["a-s0", "a-s1", "a-slurm"]);
    assert!(run(seeds).status.success());
}
