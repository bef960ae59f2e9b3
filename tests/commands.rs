use carom::cli::Cli;
use clap::{CommandFactory, Parser};
use fs_err as fs;
use std::path::{Path, PathBuf};

/// Returns the Markdown pages of the top level and of `docs/`.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = [root, &root.join("docs")].map(|folder| fs::read_dir(folder).expect("a folder"));
    let paths = entries.into_iter().flatten().map(|entry| entry.expect("readable").path());
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.clone(), fs::read_to_string(path).expect("UTF-8"))).collect()
}

/// Returns the text in fenced blocks of shell commands, with continued lines joined, and all other text outside fences.
fn blocks_and_prose(page: &str) -> (Vec<String>, String) {
    let (mut commands, mut prose) = (Vec::new(), String::new());
    for (i, part) in page.split("```").enumerate() {
        if i % 2 == 0 {
            prose += part;
            continue;
        }
        let (language, text) = part.split_once('\n').expect("a fence ends its line");
        let text = text.replace("\\\n", " ");
        match language {
            "sh" => commands.extend(text.lines().map(str::to_owned)),
            "console" => commands.extend(text.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned)),
            _ => {}
        }
    }
    (commands, prose)
}

/// Returns the words after `carom` or `scripts/run` in each command of `line`, without a comment at its end.
fn calls(line: &str) -> Vec<Vec<&str>> {
    let line = line.split(" #").next().expect("split gives one part at least");
    let commands = line.split("&&").map(|command| command.split_whitespace().collect::<Vec<_>>());
    let calls = commands.filter(|words| matches!(words.first(), Some(&("carom" | "scripts/run"))));
    calls.map(|words| words[1..].to_vec()).filter(|words| !words.is_empty()).collect()
}

/// Replaces a placeholder for a number, such as the S of `--seed S`, by a number.
fn filled(word: &str) -> &str {
    if word.len() == 1 && word.chars().all(char::is_uppercase) { "1" } else { word }
}

/// Returns why `carom` with `words` is not a command, if it is none.
fn mistake(words: &[&str]) -> Option<String> {
    if let Err(error) = Cli::try_parse_from(["carom"].iter().chain(words).map(|word| filled(word))) {
        return Some(error.to_string());
    }
    let preset = words.iter().skip_while(|word| **word != "--preset").nth(1)?;
    let is_placeholder = preset.chars().all(char::is_uppercase);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("presets/{preset}.toml"));
    (!is_placeholder && !file.exists()).then(|| format!("there is no preset {preset}"))
}

#[test]
fn every_command_in_the_documentation_parses() {
    let (mut n_commands, mut mistakes) = (0, Vec::new());
    for (path, page) in pages() {
        let (blocks, prose) = blocks_and_prose(&page);
        let in_blocks = blocks.iter().flat_map(|line| calls(line));
        // A command that is only named has no arguments.
        let is_named = |words: &Vec<&str>| words.len() == 1 && Cli::command().find_subcommand(words[0]).is_some();
        let in_prose = prose.split('`').skip(1).step_by(2).flat_map(calls).filter(|words| !is_named(words));
        for words in in_blocks.chain(in_prose) {
            n_commands += 1;
            mistakes.extend(mistake(&words).map(|why| format!("{}: {}: {why}", path.display(), words.join(" "))));
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    assert!(n_commands > 50, "only {n_commands} commands were found");
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for (path, page) in pages() {
        let (_, prose) = blocks_and_prose(&page);
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().expect("split gives one part at least");
            let folder = path.parent().expect("a file is in a folder");
            assert!(folder.join(file).exists(), "{}: {target}", path.display());
        }
    }
}

#[test]
fn the_program_that_learns_taxi_is_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = fs::read_to_string(root.join("examples/learn_taxi.rs")).expect("UTF-8");
    let (_, program) = example.split_once("\n\n").expect("a comment comes first");
    let page = fs::read_to_string(root.join("docs/libraries.md")).expect("UTF-8");
    assert!(page.contains(&format!("```rust\n{program}```")), "docs/libraries.md differs from examples/learn_taxi.rs");
}
