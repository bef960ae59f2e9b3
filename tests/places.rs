//! Places where files are written, and how they may be called.

use crate::kept::TAXI;
use crate::preloaded;
use crate::program::{self, PROGRAM, Program};
use std::process::Command;

#[test]
fn an_output_never_replaces_the_input_or_a_file_at_a_place_that_nobody_named() {
    let program = Program::new();
    program.write("actions.npy", "0\n1\n");
    fs_err::create_dir(program.path("a")).expect("made");
    for frames in ["actions.npy", "a/../actions.npy"] {
        let line = format!("trace --env taxi --actions actions.npy --frames {frames}");
        program.refuses(&line, &["that is the file of the actions"]);
    }
    program.refuses("trace --env taxi --actions actions.npy --frames a.txt", &["ends in .npy"]);
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
        program.refuses(line, &[file, "Carom did not write it", "-o"]);
        fs_err::remove_file(program.path(file)).expect("there");
        program.succeed(line);
        program.succeed(line);
    }
    // A file that is named is replaced, but nothing else than a file is.
    program.succeed("train --env cartpole --agent dqn --steps 100 --out net");
    program.refuses("export net --to onnx --out net/metrics.csv", &["net/metrics.csv", "ends in .onnx"]);
    fs_err::create_dir(program.path("folder.onnx")).expect("made");
    program.refuses("export net --to onnx --out folder.onnx", &["folder.onnx is there and is not a file"]);
    program.refuses("watch --env taxi --checkpoint best --gif a.gif", &["--checkpoint has no effect"]);
    program.refuses(&format!("{TAXI} --out net/checkpoints/new"), &["inside the run net"]);
    // A place that cannot be one is refused before its folders are made.
    program.refuses(&format!("{TAXI} --out new/deep/.."), &["does not name a file"]);
}

#[test]
fn paths_of_any_bytes_work() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let program = Program::new();
    let carom = |line: &str, path: &[u8]| {
        let words = [&program::words(line)[..], &[OsStr::from_bytes(path)]].concat();
        let output = preloaded::run(&program.path("."), &words, &[]);
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
        let limited = format!("ulimit -f 1; exec {PROGRAM} {line}");
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
