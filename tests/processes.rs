//! Two processes that want the same run or encoder, and signals.

use crate::kept::TAXI;
use crate::program::{PROGRAM, Program, send};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Starts `carom` with the words of `line`, encoders cached in the program's own folder, and its messages kept.
fn spawn(program: &Program, line: &str) -> Child {
    let mut command = program.command(line);
    command.env("CAROM_CACHE", program.path("cache")).stdout(Stdio::null()).stderr(Stdio::piped());
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

fn wait_for_checkpoint(program: &Program, run: &str) {
    wait_until("a checkpoint", || program.newest_checkpoint(run).is_some());
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
        wait_for_checkpoint(&program, "run");
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
    wait_for_checkpoint(&program, "run");
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
    let last = program.newest_checkpoint(&cached).expect("a checkpoint");
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
fn an_encoder_whose_fit_goes_on_is_copied_as_it_was_opened() {
    let program = Program::new();
    let fitting = spawn(
        &program,
        "fit ae --data env:minatar/breakout --set n_frames=400 --batch-size 400 --epochs 50M \
         --set checkpoint_every=1 --set eval_every=0 --out fit",
    );
    wait_for_checkpoint(&program, "fit");
    for run in ["a", "b", "c"] {
        let train = "train --env minatar/breakout --agent q-learning --steps 200 --encoder fit --out";
        program.succeed(&format!("{train} {run}"));
        let step = program.names(&format!("{run}/encoder/checkpoints")).pop().expect("a checkpoint");
        let weights = program.path(&format!("{run}/encoder/checkpoints/{step}/arrays.safetensors"));
        let sum = Command::new("sha256sum").arg(weights).output().expect("coreutils").stdout;
        let sum = String::from_utf8_lossy(&sum[..64]).into_owned();
        assert!(program.read(&format!("{run}/config.toml")).contains(&sum), "the weights are those that were opened");
        program.succeed(&format!("eval {run} --episodes 1 --max-steps 9"));
    }
    send("TERM", &fitting);
    assert_eq!(end(fitting).0, Some(143));
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
        for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("USR1", 138), ("USR2", 140), ("XCPU", 152)] {
            let mut child = spawn(&program, &line);
            wait_for_checkpoint(&program, run);
            // The second process needs a while to listen.
            let before = program.newest_checkpoint(run);
            wait_until("the next checkpoint", || program.newest_checkpoint(run) != before);
            send(signal, &child);
            // Of two signals that come together, either may be handled first: the second one follows the answer. A run
            // that has saved before a thread can answer ends without it.
            let mut messages = BufReader::new(child.stderr.take().expect("piped"));
            let mut stderr = String::new();
            while !stderr.contains("interrupted: ") && messages.read_line(&mut stderr).expect("UTF-8") > 0 {}
            // Schedulers repeat their request. It does not cut off the saving, as a second Ctrl-C would.
            if signal != "INT" {
                send("TERM", &child);
            }
            messages.read_to_string(&mut stderr).expect("UTF-8");
            let found = child.wait().expect("it ends").code();
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
        send(signal, &child);
        assert_eq!(end(child).0, None, "the signal ended it");
        assert_eq!(program.names("."), ["actions"], "{signal}");
    }
    // Nor does a file that grows beyond what the system allows.
    let line = format!("ulimit -f 64; exec {PROGRAM} trace --env breakout --actions actions --frames a.npy");
    let output = Command::new("bash").current_dir(program.path(".")).args(["-c", &line]).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("cannot write a.npy"), "{said}");
    assert_eq!(program.names("."), ["actions"]);
}
