use crate::program::Program;
use serde_json::Value;

fn object(program: &Program, line: &str) -> Value {
    let text = program.succeed(line);
    assert_eq!(text.lines().count(), 1, "{line}: {text}");
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"));
    assert!(value.is_object());
    value
}

#[test]
fn commands_that_report_print_one_object() {
    let program = Program::new();
    let taxi = "train --env taxi --agent q-learning --steps 4k";
    let trained = object(&program, &format!("{taxi} --json --out run"));
    assert_eq!(
        (&trained["env"], &trained["agent"], &trained["step"]),
        (&"taxi".into(), &"q-learning".into(), &4000.into())
    );
    for key in ["return_mean", "length_mean", "return_exact", "wall_s", "episodes", "seed"] {
        assert!(trained[key].is_number(), "{key} in {trained}");
    }
    let resumed = object(&program, "resume run --steps 5k --json");
    assert_eq!((&resumed["run"], &resumed["step"]), (&"run".into(), &5000.into()));
    // A number that is not known, or not finite, is null.
    let short = object(&program, "train --env cartpole --agent random --steps 1 --json --out short");
    assert!(short["return_mean"].is_null() && short["return_exact"].is_null(), "{short}");
    let fitted = object(&program, "fit ae --data movies --epochs 2 --latent-dim 2 --json --out fit");
    assert!(fitted["test/bce"].is_number() && fitted["run"] == "fit", "{fitted}");
    let films = object(&program, "data movies --json");
    assert_eq!((&films["shape"], &films["files"]), (&serde_json::json!([1, 1, 6]), &serde_json::json!([])), "{films}");
    let seeds = program.succeed(&format!("{taxi} --seeds 0..2 --json --out many"));
    let seeds: Vec<Value> = seeds.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(seeds.iter().map(|run| run["seed"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1)]);
    let compared = object(&program, "compare --runs many-s0 many-s1 run --by steps --json --out by");
    let rows = compared["rows"].as_array().expect("rows");
    assert_eq!((rows.len(), &rows[0]["seeds"]), (2, &2.into()), "{compared}");
}

#[test]
fn an_export_prints_one_object() {
    let program = Program::new();
    program.succeed(
        "train --env cartpole --agent dqn --steps 300 --set agent.head=c51 --set agent.learning_starts=100 --out run",
    );
    for (format, end) in [("safetensors", "safetensors"), ("torchscript", "pt"), ("onnx", "onnx")] {
        let export = object(&program, &format!("export run --to {format} --examples 5 --json"));
        let file = format!("run/policy.{end}");
        assert_eq!((&export["file"], &export["n_actions"]), (&file.clone().into(), &2.into()), "{export}");
        assert!(program.path(&file).exists() && program.path(&format!("{file}.examples.safetensors")).exists());
    }
    program.succeed("train --env cartpole --agent dqn --steps 300 --set agent.head=iqn --out iqn");
    program.refuses("export iqn --to onnx", &["agent.head=iqn", "c51 and qr"]);
}
