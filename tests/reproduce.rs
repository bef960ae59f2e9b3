//! Baselines that are trained again.

use crate::program::Program;
use serde_json::Value;

#[test]
fn a_baseline_is_trained_again_beside_its_known_scores() {
    let program = Program::new();
    assert!(program.succeed("reproduce").contains("by the transition table: 0.7402; a second a seed"));
    let text = program.succeed("reproduce frozen-lake-value-iteration --seeds 0..2 --out made");
    for line in ["    0.7402  now, seed 1", "    0.7402  now, mean of the seeds", "    0.7402  measured before, seed 0"]
    {
        assert!(text.contains(line), "no `{line}` in:\n{text}");
    }
    assert_eq!(program.names("made"), ["s0", "s1"]);
    // What was made is not made again.
    let before = program.tree("made");
    let json = program.succeed("reproduce frozen-lake-value-iteration --seeds 0..2 --out made --json");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["measures"][0]["before"][0], 0.7402);
    assert_eq!(json["measures"][0]["now"][0].as_f64().map(|score| (score * 1e4).round()), Some(7402.0));
    assert_eq!(program.tree("made"), before);
    program.refuses("reproduce minatar-breakot-dqn", &["there is no baseline", "did you mean `minatar-breakout-dqn`?"]);
    program.refuses("reproduce taxi-q-learning --out made/s0", &["made/s0 is a run"]);
}
