use crate::program::{PROGRAM, Program};
use std::path::Path;
use std::process::Command;

#[test]
fn the_commands_work_on_an_environment_of_a_users() {
    let built = Path::new(PROGRAM).parent().expect("a folder").join("examples/custom_env");
    if !built.exists() {
        eprintln!("skipped: {} is not built; `cargo test` without --test builds it", built.display());
        return;
    }
    let program = Program::new();
    let run = |line: &str| {
        let output =
            Command::new(&built).current_dir(program.path("")).args(line.split(' ')).output().expect("it starts");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert!(run("list envs").contains("corridor"));
    run("train --env corridor --agent q-learning --steps 5k --set env.length=6 --out walk");
    // The shortest way: five steps of -1.
    assert!(run("eval walk").contains("return_mean   -5.000"), "{}", run("eval walk"));
    run("watch walk --gif walk.gif");
    run("plot walk -o walk.svg");
    assert!(program.path("walk.gif").exists() && program.path("walk.svg").exists());
    let error = program.fail("eval walk");
    assert!(error.contains("there is no environment `corridor`"), "{error}");
}
