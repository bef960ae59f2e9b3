//! Nothing of a user's is lost.

use crate::encoder;
use crate::program::Program;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const TAXI: &str = "train --env taxi --agent q-learning --steps 2k";

/// Asserts that `line` fails with all of `words` and without `not` in its message, and that nothing in the folder
/// changes.
fn refuses(program: &Program, line: &str, words: &[&str], not: &str) {
    let before = program.tree(".");
    let error = program.fail(line);
    for word in words {
        assert!(error.contains(word), "carom {line}: no `{word}` in: {error}");
    }
    assert!(not.is_empty() || !error.contains(not), "carom {line}: `{not}` in: {error}");
    assert_eq!(program.tree("."), before, "carom {line} changed something");
}

#[test]
fn a_folder_with_a_config_of_another_program_is_never_replaced() {
    let program = Program::new();
    fs_err::create_dir_all(program.path("u/src")).expect("made");
    program.write("u/config.toml", "[build]\n");
    program.write("u/src/thesis.txt", "x");
    for command in [TAXI, "fit pca --data movies"] {
        refuses(&program, &format!("{command} --out u"), &["u is there and is not a run"], "--force");
        refuses(&program, &format!("{command} --out u --force"), &["u is there and is not a run"], "--force");
        refuses(&program, &format!("{command} --out u/config.toml --force"), &["is not a run"], "--force");
    }
    // The same for a `kind` as runs have it: only Carom writes a meta.json with its version.
    program.write("u/config.toml", "kind = \"training\"\n");
    refuses(&program, &format!("{TAXI} --out u --force"), &["u is there and is not a run"], "--force");
    refuses(&program, "eval u/src", &["u/src is not a run"], "--force");
}

#[test]
fn force_removes_no_file_that_carom_did_not_write() {
    let program = Program::new();
    program.succeed(&format!("{TAXI} --out run"));
    program.succeed("plot run");
    fs_err::create_dir_all(program.path("run/checkpoints/2000/mine")).expect("made");
    let foreign = ["notes.md", "plots/mine.svg", "checkpoints/2000/mine/a", "plots/photo.png", "metrics.csv.bak"];
    for file in foreign {
        program.write(&format!("run/{file}"), "x");
        for force in ["", " --force"] {
            let words = ["files that Carom did not write", file, "carom resume run"];
            refuses(&program, &format!("{TAXI} --out run{force}"), &words, "--force");
        }
        fs_err::remove_file(program.path(&format!("run/{file}"))).expect("there");
    }
    std::os::unix::fs::symlink(program.path("run"), program.path("link")).expect("made");
    refuses(&program, &format!("{TAXI} --out link --force"), &["link is a link"], "--force");
    // Many files are not all named.
    (0..9).for_each(|n| program.write(&format!("run/{n}.txt"), ""));
    refuses(&program, &format!("{TAXI} --out run --force"), &["(0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more)"], "");
}

#[test]
fn a_run_of_each_kind_is_replaced_with_force() {
    let program = Program::new();
    program.succeed(&format!("{TAXI} --out run"));
    for command in ["fit ae --data movies --epochs 2", "fit rbm --data movies --epochs 2", TAXI] {
        program.succeed(&format!("{command} --out run --force"));
        assert_eq!(program.names("."), ["run"]);
    }
    assert!(program.read("run/log.txt").contains("taxi"));
}

#[test]
fn an_old_checkpoint_leaves_what_a_user_put_beside_it() {
    let program = Program::new();
    program.succeed(&format!("{TAXI} --out run"));
    assert_eq!(program.names("run/checkpoints"), ["1800", "2000"]);
    program.write("run/checkpoints/1800/why.txt", "x");
    program.succeed("resume run --steps 4k");
    assert_eq!(program.names("run/checkpoints/1800"), ["why.txt"]);
    program.succeed("eval run --episodes 1");
}

#[test]
fn a_comparison_overwrites_no_table_of_somebody_else() {
    let program = Program::new();
    fs_err::create_dir(program.path("mine")).expect("made");
    for file in ["table.md", "table.csv", "returns.svg"] {
        program.write(&format!("mine/{file}"), "x");
        let line = "compare --env minatar/breakout --agent random --encoders raw --seeds 0..1 --steps 200 --out mine";
        refuses(&program, line, &[&format!("mine/{file} is there"), "--out"], "");
        fs_err::remove_file(program.path(&format!("mine/{file}"))).expect("there");
    }
}

#[test]
fn a_comparison_replaces_no_run_whose_checkpoints_are_damaged() {
    let program = Program::new();
    let line = "compare --env taxi --agent q-learning --encoders raw --seeds 0..1 --steps 2k --out all";
    program.succeed(line);
    for step in program.names("all/raw-s0/checkpoints") {
        program.write(&format!("all/raw-s0/checkpoints/{step}/state.json"), "x");
    }
    refuses(&program, line, &["all/raw-s0 cannot go on", "moved away"], "--force");
}

/// Starts `carom` with the words of `line`, encoders cached in the program's own folder, and its messages kept.
fn spawn(program: &Program, line: &str) -> Child {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("carom"));
    command
        .current_dir(program.path("."))
        .env("CAROM_CACHE", program.path("cache"))
        .args(line.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // Tests that were started by nohup ignore SIGHUP, and so would the program.
    // SAFETY: between fork and exec only `signal` is called, which is safe there.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            Ok(())
        });
    }
    command.spawn().expect("it starts")
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for the end of `child`; returns its exit code and messages.
fn end(child: Child) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = child.wait_with_output().expect("it ends");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_run_that_was_removed_and_made_anew_is_not_written_by_the_process_before() {
    let program = Program::new();
    let long = "train --env taxi --agent q-learning --steps 500M --set checkpoint_every=20k --out run";
    let fit = "fit ae --data movies --epochs 50M --set checkpoint_every=2k --set eval_every=0 --out run";
    for line in [long, fit] {
        let old = spawn(&program, line);
        wait_until("a checkpoint", || {
            program.path("run/checkpoints").exists() && !program.names("run/checkpoints").is_empty()
        });
        assert!(program.fail(&format!("{TAXI} --out run --force")).contains("another process is at work on run"));
        fs_err::rename(program.path("run"), program.path("gone")).expect("movable");
        program.succeed(&format!("{TAXI} --out run --seed 1"));
        let new = program.tree("run");
        let (code, stderr) = end(old);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("run was removed or replaced while this process was at work on it"), "{stderr}");
        assert_eq!(program.tree("run"), new);
        // A directory that is only removed is not made again.
        fs_err::rename(program.path("gone"), program.path("run2")).expect("movable");
        for run in ["run", "run2"] {
            fs_err::remove_dir_all(program.path(run)).expect("removable");
        }
    }
    let old = spawn(&program, long);
    wait_until("a checkpoint", || {
        program.path("run/checkpoints").exists() && !program.names("run/checkpoints").is_empty()
    });
    fs_err::rename(program.path("run"), program.path("gone")).expect("movable");
    assert!(end(old).1.contains("run was removed or replaced"));
    assert!(!program.path("run").exists());
}

/// Training on MinAtar's Breakout through the encoder `ae`, which must be fitted first.
const ENCODED: &str = "train --env minatar/breakout --encoder ae --agent q-learning --steps 300";

#[test]
fn the_second_of_two_trainings_waits_for_the_encoder_and_uses_what_was_fitted() {
    let program = Program::new();
    let children = ["a", "b"].map(|out| spawn(&program, &format!("{ENCODED} --out {out}")));
    let ends = children.map(end);
    let texts = ends.each_ref().map(|(code, stderr)| {
        assert_eq!(*code, Some(0), "{stderr}");
        stderr.as_str()
    });
    let n = |words: &str| texts.iter().filter(|text| text.contains(words)).count();
    assert_eq!((n("fitting encoder ae to "), n("another process is fitting encoder ae; waiting for it")), (1, 1));
    assert_eq!(program.read("a/encoder/encoder.json"), program.read("b/encoder/encoder.json"));

    // What is damaged is fitted again, with the same numbers.
    let run = |out: &str| end(spawn(&program, &format!("{ENCODED} --out {out}")));
    let names = program.names("cache/encoders");
    let cached = format!("cache/encoders/{}", names[0]);
    let steps = program.names(&format!("{cached}/checkpoints"));
    let last = steps.iter().filter_map(|step| step.parse::<u64>().ok()).max().expect("a checkpoint");
    for (out, file) in [("c", format!("checkpoints/{last}/arrays.safetensors")), ("d", "encoder.json".to_owned())] {
        program.write(&format!("{cached}/{file}"), "x");
        let (code, stderr) = run(out);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.contains("warning: encoder ae in the cache") && stderr.contains("fitting it again"), "{stderr}");
        assert_eq!(program.read(&format!("{out}/encoder/encoder.json")), program.read("a/encoder/encoder.json"));
    }
    program.write(&format!("{cached}/mine.txt"), "x");
    program.write(&format!("{cached}/encoder.json"), "x");
    let (code, stderr) = run("e");
    assert!(code == Some(1) && stderr.contains("files that Carom did not write (mine.txt)"), "{stderr}");
    assert!(!stderr.contains("--out"), "{stderr}");
}

#[test]
fn a_run_works_from_everywhere_when_the_encoder_that_it_was_trained_through_is_gone() {
    let program = encoder::fitted("ae");
    fs_err::create_dir(program.path("deep")).expect("made");
    let line = "train --env minatar/breakout --agent dqn --steps 300 --set agent.learning_starts=100 \
                --set agent.buffer_size=400 --set env.max_steps=100 --encoder";
    program.succeed(&format!("{line} ./fit/ --out frozen"));
    program.succeed(&format!("{line} fit --encoder-mode finetune --out tuned"));
    let compare = "compare --env minatar/breakout --agent random --seeds 0..1 --steps 200 --out all --encoders raw,fit";
    program.succeed(compare);
    let stored = program.path("fit").display().to_string();
    for run in ["frozen", "tuned", "all/fit-s0"] {
        let config = program.read(&format!("{run}/config.toml"));
        assert!(config.lines().any(|line| line == format!("encoder = \"{stored}\"")), "{config}");
    }
    fs_err::rename(program.path("fit"), program.path("moved")).expect("movable");
    for run in ["frozen", "tuned"] {
        program.succeed(&format!("eval {run} --episodes 1"));
        program.succeed(&format!("watch {run} --gif a.gif --max-steps 5"));
        program.succeed(&format!("resume {run} --steps 400"));
        program.succeed(&format!("plot {run}"));
    }
    program.succeed(compare);
    let elsewhere = |line: &str| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("carom"));
        command.current_dir(program.path("deep")).args(line.split_whitespace()).output().expect("it starts")
    };
    for line in ["eval ../frozen --episodes 1", "resume ../tuned --steps 500"] {
        let output = elsewhere(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(program.fail(&format!("{line} fit --out no")).contains("there is no encoder `fit`"));
    // A probe of the run's own copy.
    program.succeed("probe moved frozen/encoder --env minatar/breakout --frames 200");
}

/// Writes two classes of images `[channels, rows, columns]` as a folder of IDX files called `folder`.
fn write_images(program: &Program, folder: &str, [channels, rows, columns]: [usize; 3]) {
    fs_err::create_dir(program.path(folder)).expect("made");
    let idx = |dims: &[usize], elements: Vec<u8>| {
        let sizes = dims.iter().flat_map(|&size| (size as u32).to_be_bytes());
        [0, 0, 8, dims.len() as u8].into_iter().chain(sizes).chain(elements).collect::<Vec<u8>>()
    };
    for (name, n) in [("train", 60), ("test", 30)] {
        let n_bytes = n * channels * rows * columns;
        let pixels = (0..n_bytes).map(|i| ((i / 7 + i * n / n_bytes) * i % 4 * 85) as u8).collect();
        let labels = (0..n).map(|i| (i % 2) as u8).collect();
        let images = idx(&[n, channels, rows, columns], pixels);
        fs_err::write(program.path(&format!("{folder}/{name}-images")), images).expect("writable");
        fs_err::write(program.path(&format!("{folder}/{name}-labels")), idx(&[n], labels)).expect("writable");
    }
}

#[test]
fn a_run_works_when_the_images_that_its_encoder_was_fitted_to_are_gone() {
    let program = Program::new();
    write_images(&program, "data", [4, 10, 10]);
    let train = "train --env minatar/breakout --agent dqn --steps 200 --set agent.learning_starts=100 \
                 --set agent.buffer_size=400 --set env.max_steps=100 --encoder";
    let models = ["ae", "rbm", "gan", "pca", "classifier"];
    for model in models {
        let width = if model == "gan" { "--set model.width=8" } else { "--latent-dim 6" };
        let epochs = if model == "pca" { "" } else { "--epochs 2" };
        program.succeed(&format!("fit {model} --data data {width} {epochs} --out fit-{model}"));
        program.succeed(&format!("{train} fit-{model} --out of-{model}"));
    }
    program.succeed(&format!("{train} fit-ae --encoder-mode joint --out of-joint"));
    let eval_all = || {
        let runs = models.into_iter().chain(["joint"]);
        runs.map(|run| program.succeed(&format!("eval of-{run} --episodes 2 --epsilon 0.1 --json"))).collect::<Vec<_>>()
    };
    let before = eval_all();
    fs_err::rename(program.path("data"), program.path("gone")).expect("movable");
    assert_eq!(eval_all(), before);
    for run in models.into_iter().chain(["joint"]) {
        program.succeed(&format!("resume of-{run} --steps 300"));
    }
    program.succeed("plot fit-ae");
    // A fit itself is measured on its data, and goes on with them.
    refuses(&program, "eval fit-ae", &["there is no folder", "data", "images"], "");
    refuses(&program, "resume fit-ae --epochs 99", &["there is no folder"], "");
    refuses(&program, &format!("{train} fit-ae --out no"), &["there is no folder", "images that it was fitted to"], "");
}

#[test]
fn a_gan_carries_the_judge_that_its_settings_name() {
    let program = Program::new();
    write_images(&program, "data", [1, 8, 8]);
    program.succeed("fit classifier --data data --epochs 1 --out judge");
    program.succeed("fit gan --data data --epochs 2 --set model.width=8 --set model.classifier=judge --out gan");
    assert_eq!(program.names("gan/judge"), ["checkpoints", "config.toml"]);
    let before = program.succeed("eval gan --json");
    assert!(before.contains("fid"), "{before}");
    fs_err::rename(program.path("judge"), program.path("gone")).expect("movable");
    assert_eq!(program.succeed("eval gan --json"), before);
    program.succeed("resume gan --epochs 3");
    // A run that is replaced gives what the new one needs before it goes.
    program.succeed(
        "fit gan --data data --epochs 1 --set model.width=8 --set model.classifier=gan/judge --out gan --force",
    );
    program.succeed("eval gan");
    assert_eq!(program.names("gan/judge"), ["checkpoints", "config.toml"]);
    program.write("gan/judge/mine.txt", "x");
    refuses(&program, "fit gan --data data --out gan --force", &["did not write (judge/mine.txt)"], "");
}

#[test]
fn a_run_that_replaces_the_encoder_that_it_is_trained_through_has_its_copy() {
    let program = encoder::fitted("ae");
    let step = program.names("fit/checkpoints").pop().expect("a checkpoint");
    let weights =
        |run: &str| fs_err::read(program.path(&format!("{run}/checkpoints/{step}/arrays.safetensors"))).expect("there");
    let before = weights("fit");
    let train = "train --env minatar/breakout --agent q-learning --steps 200 --encoder";
    program.succeed(&format!("{train} fit --out fit --force"));
    assert_eq!(weights("fit/encoder"), before);
    program.succeed(&format!("{train} fit/encoder --out fit --force"));
    assert_eq!(weights("fit/encoder"), before);
    program.succeed("eval fit --episodes 1 --max-steps 9");
    assert_eq!(program.names("."), ["fit"]);
}

#[test]
fn no_path_is_stored_as_typed() {
    let program = Program::new();
    fs_err::create_dir(program.path("data")).expect("made");
    let header = |n_dims: u8, n: u8| vec![0, 0, 8, n_dims, 0, 0, 0, n];
    let images = [header(3, 2), vec![0, 0, 0, 2, 0, 0, 0, 2], vec![9; 8]].concat();
    for name in ["train-images", "test-images"] {
        fs_err::write(program.path("data").join(name), &images).expect("writable");
    }
    program.succeed("fit pca --data ./data --latent-dim 1 --out fit");
    let stored = |name: &str| program.path(name).display().to_string();
    assert!(program.read("fit/config.toml").contains(&format!("data = \"{}\"", stored("data"))));
    program.succeed("eval fit");
    for (path, text) in sources() {
        assert!(!text.contains("env::args()"), "{path}: arguments may be no UTF-8; take args_os");
    }
}

#[test]
fn a_comparison_with_an_encoder_that_does_not_fit_is_refused_before_anything_is_trained() {
    let program = encoder::fitted("ae");
    let compare = "compare --agent dqn --seeds 0..1 --steps 200 --out all --encoders";
    for (line, word) in [
        (format!("{compare} raw,fit --env breakout"), "fit was fitted to images of 4x10x10"),
        (format!("{compare} raw,nosuch --env minatar/breakout"), "there is no encoder `nosuch`"),
        (format!("{compare} raw,oracle --env taxi"), "taxi"),
        (format!("{compare} raw,ae --env cartpole"), "cartpole"),
        (
            format!("{compare} oracle,raw --env minatar/breakout").replace("dqn", "q-learning"),
            "oracle on minatar/breakout: a table",
        ),
    ] {
        let error = program.fail(&line);
        assert!(error.contains(word), "{line}: no `{word}` in {error}");
        assert_eq!(program.names("."), ["fit"], "{line}");
    }
}

#[test]
fn a_signal_saves_and_its_number_is_the_exit_code() {
    let program = Program::new();
    let runs = [
        ("train", "train --env taxi --agent q-learning --steps 500M --set checkpoint_every=20k --out train"),
        ("fit", "fit ae --data movies --epochs 50M --set checkpoint_every=2k --set eval_every=0 --out fit"),
    ];
    for (run, line) in runs {
        let mut line = line.to_owned();
        for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("USR1", 138), ("USR2", 140)] {
            let child = spawn(&program, &line);
            let checkpoints = format!("{run}/checkpoints");
            wait_until("a checkpoint", || program.path(run).exists() && !program.names(&checkpoints).is_empty());
            // The second process needs a while to listen.
            let before = program.names(&checkpoints);
            wait_until("the next checkpoint", || program.names(&checkpoints) != before);
            let id = child.id().to_string();
            // Schedulers repeat their request. It does not cut off the saving, as a second Ctrl-C would.
            for again in [signal, "TERM"].iter().take(if signal == "INT" { 1 } else { 2 }) {
                let sent = Command::new("kill").args([&format!("-{again}"), &id]).status();
                assert!(sent.expect("kill is there").success());
            }
            let (found, stderr) = end(child);
            assert_eq!(found, Some(code), "{signal}: {stderr}");
            assert!(stderr.contains("stopped at") && stderr.contains(&format!("carom resume {run}")), "{stderr}");
            line = format!("resume {run}");
        }
    }
}

#[test]
fn a_signal_leaves_no_half_written_file() {
    let program = Program::new();
    program.write("actions", &"0\n".repeat(3_000_000));
    for signal in ["INT", "TERM"] {
        let child = spawn(&program, "trace --env breakout --actions actions --frames a.npy");
        wait_until("a temporary folder", || program.names(".").len() > 1);
        let id = child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().expect("kill is there").success());
        assert_eq!(end(child).0, None, "the signal ended it");
        assert_eq!(program.names("."), ["actions"], "{signal}");
    }
}

#[test]
fn an_output_never_replaces_the_input_or_a_file_at_a_place_that_nobody_named() {
    let program = Program::new();
    program.write("actions.npy", "0\n1\n");
    fs_err::create_dir(program.path("a")).expect("made");
    for frames in ["actions.npy", "a/../actions.npy"] {
        let line = format!("trace --env taxi --actions actions.npy --frames {frames}");
        refuses(&program, &line, &["that is the file of the actions"], "");
    }
    refuses(&program, "trace --env taxi --actions actions.npy --frames a.txt", &["ends in .npy"], "");
    for seed in [0, 1] {
        program.succeed(&format!("{TAXI} --seed {seed} --out run{seed}"));
    }
    program.succeed("fit vae --data movies --epochs 1 --out fit");
    program.succeed("sample fit");
    for (line, file) in [
        ("plot run0 run1", "return.svg"),
        ("plot run0 --metric train/length", "run0/plots/length.svg"),
        ("sample fit", "fit/plots/samples.png"),
        ("reconstruct fit", "fit/plots/reconstructions.png"),
    ] {
        program.write(file, "mine");
        refuses(&program, line, &[file, "Carom did not write it", "-o"], "");
        fs_err::remove_file(program.path(file)).expect("there");
        program.succeed(line);
        program.succeed(line);
    }
    // A place that cannot be one is refused before its folders are made.
    refuses(&program, &format!("{TAXI} --out new/deep/.."), &["does not name a file"], "");
}

#[test]
fn paths_of_any_bytes_work() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let program = Program::new();
    let carom = |line: &str, path: &[u8]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("carom"));
        command.current_dir(program.path(".")).args(line.split_whitespace()).arg(OsStr::from_bytes(path));
        let output = command.output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let odd = b"q\xff";
    for (line, path) in [
        (format!("{TAXI} --out"), &odd[..]),
        ("eval --episodes 1".to_owned(), odd),
        ("resume --steps 3k".to_owned(), odd),
        ("plot".to_owned(), odd),
        ("watch --gif a.gif --max-steps 3".to_owned(), odd),
        ("watch --env taxi --gif".to_owned(), b"\xff.gif"),
        (format!("{TAXI} --force --out"), odd),
        (format!("{TAXI} --seeds 0..2 --out"), b"s\xff/"),
    ] {
        let (code, stderr) = carom(&line, path);
        assert_eq!(code, Some(0), "{line}: {stderr}");
    }
    for line in ["fit ae --data movies --data-dir", "fit ae --data", "train --env taxi --agent sarsa --encoder", "data"]
    {
        let (code, stderr) = carom(line, odd);
        assert!(code == Some(2) && stderr.contains("UTF-8"), "{line}: {code:?} {stderr}");
    }
    let found: Vec<Vec<u8>> = fs_err::read_dir(program.path("."))
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name().as_bytes().to_vec())
        .collect();
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.contains(&b"s\xff-s1".to_vec()), "{found:?}");
}

#[test]
fn several_seeds_never_make_a_hidden_or_nested_run() {
    let program = Program::new();
    program.succeed(&format!("{TAXI} --seeds 0..2 --out sweep/"));
    program.succeed(&format!("{TAXI} --seeds 0..1 --out ./deep/sweep/."));
    program.succeed(&format!("{TAXI} --seeds 0..1 --out ."));
    assert_eq!(program.names("."), ["deep", "s0", "sweep-s0", "sweep-s1"]);
    assert_eq!(program.names("deep"), ["sweep-s0"]);
}

#[test]
fn every_command_takes_the_same_seeds() {
    let program = Program::new();
    program.succeed(&format!("{TAXI} --seed 9223372036854775807 --out run"));
    program.succeed("fit vae --data movies --epochs 1 --seed 9223372036854775807 --out fit");
    program.succeed("eval run --episodes 1 --seed 9223372036854775807");
    program.write("actions", "0\n");
    for line in [
        TAXI,
        "fit ae --data movies",
        "eval run",
        "watch run --gif a.gif",
        "play --env taxi",
        "trace --env taxi --actions actions",
        "probe pca --env minatar/breakout",
        "sample fit",
    ] {
        let output = program.run(&format!("{line} --seed 9223372036854775808"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        let (code, words) = (output.status.code(), "seeds are whole numbers from 0 to 9223372036854775807");
        assert!(code == Some(2) && stderr.contains(words), "{line}: {stderr}");
    }
    let error = program.fail(&format!("{TAXI} --set seed=9223372036854775808 --out no"));
    assert!(error.contains("seed is 9223372036854775808"), "{error}");
}

#[test]
fn files_are_written_to_folders_that_are_not_there_yet_and_whole() {
    let program = Program::new();
    program.succeed("watch --env taxi --gif new/films/a.gif --max-steps 3");
    program.write("actions", "0\n1\n");
    program.succeed("trace --env taxi --actions actions --frames new/frames/a.npy");
    program.succeed(&format!("{TAXI} --out run"));
    program.succeed("plot run -o new/plots/a.svg");
    program.succeed("fit vae --data movies --epochs 1 --out fit");
    program.succeed("sample fit -o new/pictures/a.png");
    program.succeed("reconstruct fit -o new/pictures/b.png");
    assert_eq!(program.names("new"), ["films", "frames", "pictures", "plots"]);
    assert_eq!(program.names("new/pictures"), ["a.png", "b.png"]);
    // A file that cannot be finished is left as it was.
    let before = fs_err::read(program.path("new/frames/a.npy")).expect("there");
    let full = |line: &str| {
        let limited = format!("ulimit -f 1; exec {} {line}", assert_cmd::cargo::cargo_bin("carom").display());
        let mut shell = Command::new("bash");
        shell.current_dir(program.path(".")).args(["-c", &format!("trap '' XFSZ; {limited}")]).output().expect("bash")
    };
    program.write("actions", &"0\n".repeat(9_000));
    let output = full("trace --env taxi --actions actions --frames new/frames/a.npy");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains("cannot write new/frames/a.npy"), "{stderr}");
    assert_eq!(fs_err::read(program.path("new/frames/a.npy")).expect("there"), before);
    let output = full("watch --env breakout --agent scripted --gif new/films/a.gif --max-steps 300");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((program.names("new/films"), program.names("new/frames")), (vec!["a.gif".into()], vec!["a.npy".into()]));
}

#[test]
fn a_full_measurement_of_a_fit_says_what_it_is_at() {
    let program = Program::new();
    program.succeed("fit rbm --data movies --epochs 2 --out fit");
    let output = program.run("eval fit");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("measuring 6 test images\n"), "{stderr}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("measuring"));
}

#[test]
fn the_doctor_says_what_keeps_the_program_from_starting() {
    let program = Program::new();
    program.write("library.c", "int gone(void) { return 0; }\n");
    program.write("main.c", "int gone(void); int main(void) { return gone(); }\n");
    let cc = |line: &str| {
        let mut cc = Command::new("cc");
        assert!(
            cc.current_dir(program.path(".")).args(line.split(' ')).status().expect("a compiler").success(),
            "{line}"
        );
    };
    cc("-shared -o libgone.so library.c");
    cc("-o main main.c -L. -lgone -Wl,-rpath,/no/such -Wl,--enable-new-dtags");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/doctor");
    let doctor = |path: &Path| {
        let output = Command::new(&script).arg(path).output().expect("bash is there");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = doctor(&program.path("main"));
    assert!(code == Some(1) && stderr.contains("does not find libgone.so") && stderr.contains("/no/such"), "{stderr}");
    let (code, stderr) = doctor(&assert_cmd::cargo::cargo_bin("carom"));
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn a_judge_that_is_not_there_is_named_before_data_are_fetched() {
    let program = Program::new();
    let line = "fit gan --data mnist --set model.classifier=/nosuch";
    let output = program.run_with(line, &[("CAROM_CACHE", program.path("cache"))]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && stderr.contains("model.classifier: there is no run /nosuch"),
        "{stderr}"
    );
    assert!(program.names(".").is_empty());
}

/// All source files of the program and its libraries.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs_err::read_dir(dir).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push((path.display().to_string(), fs_err::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    let mut found = vec![];
    for folder in ["src", "agents", "envs", "benches", "examples"] {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    }
    found
}

#[test]
fn only_a_folder_that_the_code_has_made_is_removed_as_a_whole() {
    let count = |text: &str| text.matches("remove_dir_all").count();
    for (path, text) in sources() {
        let is_scratch = path.ends_with("src/files.rs");
        assert_eq!(count(&text), usize::from(is_scratch), "{path}: `Scratch` of src/files.rs alone removes folders");
    }
}
