use crate::encoder;
use crate::program::Program;
use serde_json::Value;

/// Returns the width, height, number of frames and duration in hundredths of a second of a GIF.
fn measure(program: &Program, name: &str) -> (u16, u16, usize, u32) {
    let file = fs_err::File::open(program.path(name)).expect("there");
    let mut decoder = gif::DecodeOptions::new().read_info(file).expect("a GIF");
    let (mut n_frames, mut time) = (0, 0);
    while let Some(frame) = decoder.read_next_frame().expect("a whole GIF") {
        n_frames += 1;
        time += u32::from(frame.delay);
    }
    (decoder.width(), decoder.height(), n_frames, time)
}

#[test]
fn an_episode_becomes_a_gif_without_a_terminal() {
    let program = Program::new();
    let line = "watch --env minatar/breakout --gif game.gif --seed 1";
    let output = program.run(line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "game.gif\n");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success() && stderr.starts_with("episode 1: return "), "{stderr}");
    let (width, height, n_frames, _) = measure(&program, "game.gif");
    assert_eq!((width, height), (320, 320));
    assert!(n_frames > 1, "{n_frames}");
    let bytes = fs_err::read(program.path("game.gif")).expect("readable");
    program.succeed(line);
    assert!(fs_err::read(program.path("game.gif")).expect("readable") == bytes, "the same seed, another episode");
}

#[test]
fn a_run_plays_its_greedy_policy_at_the_speed_asked_for() {
    let program = Program::new();
    program.succeed("train --env gridworld --agent value-iteration --out run");
    program.succeed("watch run --gif run.gif --episodes 2 --fps 10");
    let (_, _, n_frames, time) = measure(&program, "run.gif");
    // No way across the grid is longer than three steps; each end is shown for a second.
    assert!((2..=8).contains(&n_frames) && (200..=280).contains(&time), "{n_frames} frames, {time}");
    program.succeed("watch run --gif short.gif --max-steps 1 --fps 10");
    assert_eq!(measure(&program, "short.gif").3, 110);
}

#[test]
fn a_run_is_watched_through_its_encoder() {
    let program = encoder::fitted("pca");
    let dqn = "dqn --set agent.learning_starts=100 --set agent.buffer_size=400";
    let cases = [("fit", dqn), ("fit", "q-learning"), ("oracle", dqn)];
    for (idx, (encoder, agent)) in cases.into_iter().enumerate() {
        let run = format!("run{idx}");
        program.succeed(&format!(
            "train --env minatar/breakout --encoder {encoder} --agent {agent} --steps 300 --set env.max_steps=300 \
             --out {run}"
        ));
        let output = program.run(&format!("watch {run} --gif a.gif"));
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(output.status.success(), "{encoder}: {stderr}");
        let scores = program.succeed(&format!("eval {run} --episodes 1 --json"));
        let scores: Value = serde_json::from_str(&scores).expect("JSON");
        let (episode_return, length) = (&scores["return_mean"], &scores["length_mean"]);
        let expected = format!("episode 1: return {episode_return}, {length} steps").replace(".0", "");
        assert!(stderr.starts_with(&expected), "{encoder}: not `{expected}`, but {stderr}");
        let (width, height, n_frames, _) = measure(&program, "a.gif");
        assert_eq!((width, height), (320, 320));
        assert!(n_frames > 1, "{encoder}: {n_frames}");
    }
}

#[test]
fn errors_say_why_something_cannot_be_watched_or_played() {
    let program = Program::new();
    let refuses = |line: &str, word: &str| {
        let error = program.fail(line);
        assert!(error.contains(word), "carom {line}: no `{word}` in: {error}");
    };
    refuses("watch --env taxi", "--gif FILE");
    refuses("play --env taxi", "not a terminal");
    refuses("watch --env taxy --gif a.gif", "did you mean `taxi`?");
    refuses("play --env taxy", "did you mean `taxi`?");
    refuses("watch --env taxi --gif a.png", ".gif");
    refuses("watch --env taxi --gif /proc/nowhere/a.gif", "/proc/nowhere/a.gif");
    refuses("watch --env taxi --gif a.gif --agent scripted", "--agent random");
    refuses("watch --env taxi --gif a.gif --set agent.lr=1", "env.KEY=VALUE");
    refuses("watch --env taxi --gif a.gif --episodes 0", "--episodes is 0");
    refuses("watch --env taxi --gif a.gif --epsilon 2", "--epsilon is 2");
    refuses("watch nothing --gif a.gif", "there is no run nothing");
    for usage in ["watch", "watch run --env taxi", "watch run --agent random", "play"] {
        assert_eq!(program.run(usage).status.code(), Some(2), "{usage}");
    }
    assert!(program.names(".").is_empty());
    program.succeed("train --env minatar/breakout --agent random --steps 100 --out run");
    refuses("watch run --gif a.gif --set env.action_set=minimal", "change the observations or actions");
}
