use crate::program::Program;

#[test]
fn a_table_is_shown_as_text_picture_and_json_and_along_its_training() {
    let program = Program::new();
    program.succeed("train --env gridworld --agent value-iteration --out plan");
    let text = program.succeed("table plan");
    assert!(text.starts_with("value-iteration on gridworld after 4 sweeps\n\n  ·       ← -1.000"), "{text}");
    let along = program.succeed("table plan --at 1,3,9");
    assert_eq!(along.matches("value-iteration on gridworld after").count(), 3, "{along}");
    assert!(along.contains("after 1 sweep\n") && along.ends_with(&text), "{along}");
    program.succeed("table plan --at 1,3 --output sweeps.svg");
    assert!(program.read("sweeps.svg").contains("after 3 sweeps"));
    program.refuses("table plan -o map.jpg", &["-o map.jpg", "SVG or PNG", ".png"]);

    program.succeed("train --env taxi --agent double-q --steps 600 --out ride");
    let table: serde_json::Value = serde_json::from_str(&program.succeed("table ride --json")).expect("JSON");
    assert_eq!(table["states"].as_array().map(Vec::len), Some(500));
    assert!(table["states"][499]["q"]["drop-off"].is_f64(), "{}", table["states"][499]);
    let before = program.tree("ride");
    // Trained again in memory, it ends as the run did.
    assert_eq!(program.succeed("table ride --at 600"), program.succeed("table ride"));
    assert_eq!(program.tree("ride"), before);
}

#[test]
fn what_is_no_table_on_a_grid_is_named() {
    let program = Program::new();
    program.succeed("train --env cartpole --agent dqn --steps 8 --out net");
    assert!(program.fail("table net").contains("the states of cartpole are not numbered"));
    program.succeed("train --env taxi --agent random --steps 8 --out random");
    assert!(program.fail("table random").contains("random keeps no table of action values"));
    program.succeed("train --env taxi --agent sarsa --steps 80 --out short");
    assert!(program.fail("table short --at 10,81").contains("--at 81 is beyond the 80 of short"));
}
