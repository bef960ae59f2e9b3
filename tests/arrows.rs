//! The structure of the three crates: every import points down, and no files import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of `src/`, the lowest first. A file imports from floors below its own and, without circles, from its own.
const FLOORS: [&[&str]; 9] = [
    &[
        "device",
        "dotted",
        "files",
        "human",
        "interrupt",
        "movie",
        "plot",
        "progress",
        "ranks",
        "statistics",
        "terminal",
    ],
    &["generative", "run"],
    &["config", "gallery"],
    &["fit"],
    &["encoder"],
    &["train"],
    &["compare", "export", "game", "probe", "report", "reproduce", "sweep", "table"],
    &["cli"],
    &["main"],
];

/// The files of a crate by module path (empty for its root), each with the modules that it imports.
type Imports = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

#[test]
fn no_import_leads_back_to_where_it_came_from() {
    for source in ["envs/src", "agents/src", "src"] {
        let circles = circles(&imports(source));
        let shown: Vec<String> = circles.iter().map(|circle| circle.join(" <-> ")).collect();
        assert!(circles.is_empty(), "in {source}:\n{}", shown.join("\n"));
    }
}

#[test]
fn every_import_of_the_program_points_down() {
    let floor = |module: &Vec<String>| {
        let name = module.first().map_or("main", String::as_str);
        let found = FLOORS.iter().position(|floor| floor.contains(&name));
        found.unwrap_or_else(|| panic!("{name} is on no floor: give it one in this test and in docs/architecture.md"))
    };
    let mut wrong = vec![];
    for (module, imported) in imports("src") {
        let up = imported.iter().filter(|other| floor(other) > floor(&module));
        wrong.extend(up.map(|other| format!("{} imports {}", name(&module), name(other))));
    }
    assert!(wrong.is_empty(), "arrows that point up:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_but_look_ups_imports_a_registry() {
    // Where names are looked up: the commands, `list` among them, and where a run begins.
    let looks_up = |module: &[String]| matches!(module.first().map(String::as_str), None | Some("cli" | "config"));
    let mut wrong = vec![];
    for source in ["envs/src", "agents/src", "src"] {
        for path in files(&root().join(source)) {
            let module = module_of(&root().join(source), &path);
            if !looks_up(&module)
                && paths(&fs::read_to_string(&path).expect("a source file")).iter().any(|path| is_registry(path))
            {
                wrong.push(format!("{source}: {}", name(&module)));
            }
        }
    }
    assert!(wrong.is_empty(), "these import a registry:\n{}", wrong.join("\n"));
}

fn is_registry(path: &str) -> bool {
    path.split("::").any(|part| part == "registry")
}

#[test]
fn paths_of_nested_imports_are_told_apart() {
    let text = "//! use a::b;\nuse crate::{x::{self, Y}, z as w};\nfn f() { crate::p::q() }\n\
                #[cfg(test)]\nmod tests {\n    use super::r;\n}\n";
    assert_eq!(paths(text), ["crate::x", "crate::x::Y", "crate::z", "crate::p::q"]);
    let imports = |pairs: &[(&str, &str)]| -> Imports {
        let edge = |&(from, to): &(&str, &str)| (vec![from.to_owned()], BTreeSet::from([vec![to.to_owned()]]));
        pairs.iter().map(edge).collect()
    };
    assert!(circles(&imports(&[("a", "b"), ("b", "c")])).is_empty());
    assert_eq!(circles(&imports(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")])), [["a", "b", "c"]]);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn name(module: &[String]) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("::") }
}

/// All source files below `dir` but those of tests alone.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).expect("a folder of sources") {
        let path = entry.expect("a file").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn module_of(source: &Path, path: &Path) -> Vec<String> {
    let relative = path.strip_prefix(source).expect("a file below its folder").with_extension("");
    let module: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module == ["lib"] || module == ["main"] { vec![] } else { module }
}

fn imports(source: &str) -> Imports {
    let source = root().join(source);
    let files = files(&source);
    let modules: BTreeSet<Vec<String>> = files.iter().map(|path| module_of(&source, path)).collect();
    let mut imports = Imports::new();
    for path in &files {
        let module = module_of(&source, path);
        let text = fs::read_to_string(path).expect("a source file");
        let imported = paths(&text).into_iter().filter_map(|path| resolve(&module, &path, &modules));
        let imported: BTreeSet<Vec<String>> = imported.filter(|other| *other != module).collect();
        imports.entry(module).or_default().extend(imported);
    }
    imports
}

/// The file of the item that `path`, written in `module`, names; none if it is another crate's.
fn resolve(module: &[String], path: &str, modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let mut parts: Vec<String> = path.split("::").map(str::to_owned).collect();
    let mut base = match parts[0].as_str() {
        "crate" => vec![],
        "self" => module.to_vec(),
        "super" => {
            let n = parts.iter().take_while(|part| *part == "super").count();
            parts.drain(1..n);
            module[..module.len() - n].to_vec()
        }
        first => {
            // A child that the file declares.
            let child = [module, &[first.to_owned()]].concat();
            if !modules.contains(&child) {
                return None;
            }
            parts.insert(0, String::new());
            module.to_vec()
        }
    };
    for part in parts.drain(1..) {
        base.push(part);
        if !modules.contains(&base) {
            base.pop();
            break;
        }
    }
    modules.contains(&base).then_some(base)
}

/// The paths that a file imports, and those of this crate that it names in full.
fn paths(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let tests = code.windows(2).position(|pair| pair[0].starts_with("#[cfg(test)]") && pair[1].ends_with('{'));
    let mut lines = code[..tests.unwrap_or(code.len())].iter();
    let mut found = vec![];
    while let Some(line) = lines.next() {
        let line = line.trim();
        let import = line.strip_prefix("pub").and_then(|rest| rest.split_once("use ").map(|(_, tree)| tree));
        let import = import.filter(|_| !line.contains("fn ")).or_else(|| line.strip_prefix("use "));
        if let Some(tree) = import {
            let mut tree = tree.to_owned();
            while !tree.ends_with(';') {
                tree += lines.next().expect("an import ends").trim();
            }
            expand("", tree.trim_end_matches(';'), &mut found);
        } else {
            let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            let paths = words.filter(|word| word.starts_with("crate::") || word.starts_with("super::"));
            found.extend(paths.map(|path| path.trim_end_matches(':').to_owned()));
        }
    }
    found
}

/// Adds the paths of the import `tree` below `prefix`.
fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split_whitespace().next().unwrap_or_default();
        let path = format!("{prefix}{path}");
        found.push(path.trim_end_matches("::self").to_owned());
        return;
    };
    let prefix = format!("{prefix}{}", &tree[..open]);
    let inner = &tree[open + 1..tree.rfind('}').expect("a brace that closes")];
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&prefix, &inner[start..at], found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Groups of files that import each other, directly or through others.
fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let reached: BTreeMap<_, _> = imports.keys().map(|module| (module, reach(imports, module))).collect();
    let mut circles = BTreeSet::new();
    for (module, seen) in reached.iter().filter(|(module, seen)| seen.contains(*module)) {
        let members = seen.iter().filter(|other| reached.get(**other).is_some_and(|back| back.contains(*module)));
        circles.insert(members.map(|module| name(module)).collect::<Vec<_>>());
    }
    circles.into_iter().collect()
}

/// The files that `from` imports, directly or through others.
fn reach<'a>(imports: &'a Imports, from: &'a Vec<String>) -> BTreeSet<&'a Vec<String>> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(imports.get(module).into_iter().flatten().filter(|other| seen.insert(*other)));
    }
    seen
}
