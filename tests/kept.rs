//! Nothing of a user's is lost.

use crate::program::{self, Program};
use crate::{encoder, preloaded, sweep};
use std::path::Path;

pub(crate) const TAXI: &str = "train --env taxi --agent q-learning --steps 2k";

/// Asserts that `line` is refused, and that the message does not propose `--force`.
fn refuses_without_force(program: &Program, line: &str, words: &[&str]) {
    program.refuses(line, words);
    assert!(!program.fail(line).contains("--force"), "carom {line}");
}

#[test]
fn a_folder_with_a_config_of_another_program_is_never_replaced() {
    let program = Program::new();
    fs_err::create_dir_all(program.path("u/src")).expect("made");
    program.write("u/config.toml", "[build]\n");
    program.write("u/src/thesis.txt", "x");
    for command in [TAXI, "fit pca --data movies"] {
        refuses_without_force(&program, &format!("{command} --out u"), &["u is there and is not a run"]);
        refuses_without_force(&program, &format!("{command} --out u --force"), &["u is there and is not a run"]);
        refuses_without_force(&program, &format!("{command} --out u/config.toml --force"), &["is not a run"]);
    }
    // The same for a `kind` as runs have it: only Carom writes a meta.json with its version.
    program.write("u/config.toml", "kind = \"training\"\n");
    refuses_without_force(&program, &format!("{TAXI} --out u --force"), &["u is there and is not a run"]);
    refuses_without_force(&program, "eval u/src", &["u/src is not a run"]);
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
            refuses_without_force(&program, &format!("{TAXI} --out run{force}"), &words);
        }
        fs_err::remove_file(program.path(&format!("run/{file}"))).expect("there");
    }
    std::os::unix::fs::symlink(program.path("run"), program.path("link")).expect("made");
    refuses_without_force(&program, &format!("{TAXI} --out link --force"), &["link is a link"]);
    // Many files are not all named.
    (0..9).for_each(|n| program.write(&format!("run/{n}.txt"), ""));
    program.refuses(&format!("{TAXI} --out run --force"), &["(0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more)"]);
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
    program.succeed(&format!("{TAXI} --out run"));
    let made = "compare --env minatar/breakout --agent random --encoders raw --seeds 0..1 --steps 200 --out mine";
    let grouped = "compare --runs run --by agent --out mine";
    for file in ["table.md", "table.csv", "returns.svg", "intervals.svg", "profile.svg", "efficiency.svg"] {
        program.write(&format!("mine/{file}"), "x");
        for line in [made, grouped] {
            program.refuses(line, &[&format!("mine/{file} is there"), "--out"]);
        }
        fs_err::remove_file(program.path(&format!("mine/{file}"))).expect("there");
    }
    // Its own it replaces.
    program.succeed(grouped);
    program.succeed(grouped);
}

#[test]
fn a_search_overwrites_no_file_of_somebody_else() {
    let program = Program::new();
    program.write("a.toml", sweep::GRID);
    fs_err::create_dir(program.path("mine")).expect("made");
    for file in ["journal.jsonl", "table.md", "trials.svg", "best.toml", "settings"] {
        program.write(&format!("mine/{file}"), "{\"event\":\"drift\"}\n{\"half");
        program.refuses("sweep a.toml --out mine", &[&format!("mine/{file} is there"), "--out"]);
        assert_eq!(program.read(&format!("mine/{file}")), "{\"event\":\"drift\"}\n{\"half");
        fs_err::remove_file(program.path(&format!("mine/{file}"))).expect("there");
    }
}

#[test]
fn pictures_of_a_run_replace_none_of_somebody_else() {
    let program = Program::new();
    for (line, file, more) in [
        (TAXI, "return.svg", "resume run --steps 4k"),
        ("fit ae --data movies --epochs 2", "loss.svg", "resume run --epochs 3"),
    ] {
        program.succeed(&format!("{line} --out run --force"));
        let names = program.names("run/plots");
        assert!(names.contains(&file.to_owned()), "{names:?}");
        program.write(&format!("run/plots/{file}"), "mine");
        let output = program.run(more);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("run/plots/{file} is there, and Carom did not write it")), "{said}");
        assert_eq!(
            (program.read(&format!("run/plots/{file}")), program.names("run/plots")),
            ("mine".to_owned(), names)
        );
        fs_err::remove_dir_all(program.path("run")).expect("there");
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
    refuses_without_force(&program, line, &["all/raw-s0 cannot go on", "moved away"]);
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
    for line in ["eval ../frozen --episodes 1", "resume ../tuned --steps 500"] {
        let output = preloaded::run(&program.path("deep"), &program::words(line), &[]);
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
    program.refuses("eval fit-ae", &["there is no folder", "data", "images"]);
    program.refuses("resume fit-ae --epochs 99", &["there is no folder"]);
    program.refuses(&format!("{train} fit-ae --out no"), &["there is no folder", "images that it was fitted to"]);
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
    program.refuses("fit gan --data data --out gan --force", &["did not write (judge/mine.txt)"]);
}

#[test]
fn a_judge_of_images_with_several_channels_can_be_named() {
    let program = Program::new();
    write_images(&program, "four", [4, 10, 10]);
    write_images(&program, "one", [1, 10, 10]);
    for data in ["four", "one"] {
        program.succeed(&format!("fit classifier --data {data} --epochs 1 --out judge-{data}"));
    }
    let fit = "fit gan --data four --epochs 1 --set model.width=8";
    // The message tells how, and that works.
    assert!(program.succeed(&format!("{fit} --out gan")).contains("fit one (`carom fit classifier --data four`)"));
    program.succeed(&format!("{fit} --set model.classifier=judge-four --out judged"));
    assert!(program.succeed("eval judged").contains("test/fid_15"));
    let line = format!("{fit} --set model.classifier=judge-one --out no");
    program.refuses(&line, &["model.classifier: expected a classifier of images of 4x10x10 with 2 labels"]);
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
