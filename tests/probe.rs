use crate::program::Program;
use serde_json::Value;

/// Runs `carom` with the words of `line` and a cache of its own, and returns stdout.
fn probe(program: &Program, line: &str) -> String {
    let output = program.run_with(line, &[("CAROM_CACHE", program.path("cache"))]);
    assert!(output.status.success(), "carom {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn encoders_are_probed_with_the_controls() {
    let program = Program::new();
    program.succeed("fit pca --data env:minatar/breakout --set n_frames=400 --latent-dim 8 --out few");
    let text = probe(&program, "probe few --env minatar/breakout --frames 600 --json -o balls.svg");
    let report: Value = serde_json::from_str(&text).expect("one JSON object");
    assert_eq!(report["ball_recall_of_frames"], 1.0);
    let encoders = report["encoders"].as_array().expect("a list");
    let names: Vec<_> = encoders.iter().map(|found| found["encoder"].as_str().expect("a name")).collect();
    assert_eq!(names, ["few", "raw", "random", "oracle"]);
    let number = |i: usize, name: &str| encoders[i][name].as_f64().unwrap_or_else(|| panic!("{name} of {}", names[i]));
    assert_eq!([number(0, "code"), number(1, "code"), number(2, "code")], [8.0, 400.0, 256.0]);
    assert!((0.0..=1.0).contains(&number(0, "ball_recall")) && number(0, "mse") > 0.0 && number(0, "encode_us") > 0.0);
    assert!(encoders[2].get("ball_recall").is_none(), "a random network decodes nothing");
    assert!(number(3, "direction_f1") > 0.95 && number(3, "bricks_r2") > 0.99, "{text}");
    assert!(number(2, "paddle_x_f1") > number(0, "paddle_x_f1"), "256 numbers contain more than 8: {text}");
    for encoder in encoders {
        let [low, high] = [0, 1].map(|i| encoder["intervals"]["ball_x_f1"][i].as_f64().expect("a bound"));
        assert!(low < high && (low..=high).contains(&encoder["ball_x_f1"].as_f64().expect("a score")), "{text}");
        assert!(encoder["mlp"]["direction_f1"].is_f64(), "{text}");
    }
    let count = |part: &str, what: &str| report[part][what].as_u64().unwrap_or_else(|| panic!("{what} of {part}"));
    assert!(count("train", "episodes") >= 100 && count("test", "episodes") >= 5, "{text}");
    assert!(count("test", "distinct") <= count("test", "frames") && report["left_out"].as_u64() > Some(10), "{text}");
    let other = probe(&program, "probe few --env minatar/breakout --frames 600 --json --choose");
    let other: Value = serde_json::from_str(&other).expect("one JSON object");
    assert_eq!((&other["measured_on"], &report["measured_on"]), (&"validation".into(), &"test".into()));
    assert_ne!(other["test"], report["test"], "settings are not chosen by the frames of the report");
    let picture = program.read("balls.svg");
    assert!(picture.contains(">few</text>") && picture.contains("data:image/png;base64,"), "{picture}");

    let table = probe(&program, "probe few oracle --env minatar/breakout --frames 600 -o balls.png");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + 2 * 4 + 1 + 3, "{table}");
    assert!(lines[0].starts_with("encoder") && lines[9].starts_with("(frames themselves)"), "{table}");
    assert!(lines[..10].iter().all(|line| line.len() == lines[0].len()), "{table}");
    assert!(lines[10].contains("distinct") && lines[11].contains("left out"), "{table}");
    assert!(fs_err::read(program.path("balls.png")).expect("a picture").starts_with(b"\x89PNG"));
}

#[test]
fn mistakes_are_found_before_anything_is_played() {
    let program = Program::new();
    for (line, expected) in [
        ("probe pcaa --env minatar/breakout", "did you mean `pca`"),
        ("probe pca --env minatar/breakot", "`minatar/breakout`"),
        ("probe oracle random --env taxi", "planes or pixels"),
        ("probe pca --env minatar/breakout --frames 1000000000000000", "at most 10000000"),
        ("probe pca --env minatar/breakout -o balls.jpg", ".png or .svg"),
        ("probe pca --env minatar/breakout --set agent.lr=1", "env.KEY"),
    ] {
        let error = program.fail(line);
        assert!(error.contains(expected), "carom {line}: {error}");
    }
    assert!(program.names(".").is_empty());
}
