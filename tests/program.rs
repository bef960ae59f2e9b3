//! Runs the program in a directory of its own.

use crate::preloaded;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use tempfile::TempDir;

/// The program's file.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_carom");

/// The program, and an empty directory that it runs in.
pub(crate) struct Program {
    folder: TempDir,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{e}"))
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs_err::write(self.path(name), text).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Returns the sorted names in a directory, hidden ones too.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        names(&self.path(folder))
    }

    /// Returns the step of the newest whole checkpoint in a run, if there is one. `best` and what is being written is
    /// none.
    pub(crate) fn newest_checkpoint(&self, run: &str) -> Option<u64> {
        let folder = format!("{run}/checkpoints");
        let names = if self.path(&folder).exists() { self.names(&folder) } else { vec![] };
        names.iter().filter_map(|name| name.parse().ok()).max()
    }

    /// Returns all paths below a folder, sorted, with their contents; folders are empty.
    pub(crate) fn tree(&self, folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs_err::read_dir(dir).unwrap_or_else(|e| panic!("{e}")) {
                let path = entry.expect("readable").path();
                let is_folder = path.is_dir() && !path.is_symlink();
                found.push((path.clone(), fs_err::read(&path).unwrap_or_default()));
                if is_folder {
                    walk(&path, found);
                }
            }
        }
        let mut found = vec![];
        walk(&self.path(folder), &mut found);
        found.sort();
        found
    }

    /// Returns `carom` with the words of `line`, to be started as any program.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.folder.path()).args(words(line));
        command
    }

    /// Runs `carom` with the words of `line`.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.run_with(line, &[])
    }

    /// Runs `carom` with the words of `line` and with variables of its environment set.
    pub(crate) fn run_with(&self, line: &str, variables: &[(&str, PathBuf)]) -> Output {
        preloaded::run(self.folder.path(), &words(line), variables)
    }

    /// Runs `carom`, expects success, and returns stdout.
    pub(crate) fn succeed(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "carom {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs `carom`, expects exit code 1, and returns stderr.
    pub(crate) fn fail(&self, line: &str) -> String {
        let output = self.run(line);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "carom {line}: {stderr}");
        assert!(stderr.contains("error: "), "{stderr}");
        stderr
    }

    /// Asserts that `line` fails with all of `words` in its message and changes nothing in the folder.
    pub(crate) fn refuses(&self, line: &str, words: &[&str]) {
        let before = self.tree(".");
        let error = self.fail(line);
        for word in words {
            assert!(error.contains(word), "carom {line}: no `{word}` in: {error}");
        }
        assert!(self.tree(".") == before, "carom {line} changed something");
    }

    /// Asserts that two runs have equal rows and equal arrays in their newest checkpoints.
    pub(crate) fn assert_same(&self, a: &str, b: &str) {
        // A fit has rows of metrics alone.
        let tables = |run: &str| {
            let mut names = self.names(run);
            names.retain(|name| ["metrics.csv", "episodes.csv", "eval.csv"].contains(&name.as_str()));
            names
        };
        assert_eq!(tables(a), tables(b));
        assert!(tables(a).contains(&"metrics.csv".to_owned()));
        for file in tables(a) {
            assert!(self.read(&format!("{a}/{file}")) == self.read(&format!("{b}/{file}")), "{file} differs");
        }
        let newest = |run: &str| {
            let step = self.newest_checkpoint(run).expect("a checkpoint");
            fs_err::read(self.path(&format!("{run}/checkpoints/{step}/arrays.safetensors"))).expect("readable")
        };
        assert!(newest(a) == newest(b), "arrays.safetensors differs");
    }
}

/// Sends a signal to `child`. One that has ended takes it without effect until it is waited for.
pub(crate) fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
}

/// Returns the words of a command line.
pub(crate) fn words(line: &str) -> Vec<&OsStr> {
    line.split_whitespace().map(OsStr::new).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).unwrap_or_else(|e| panic!("{e}"));
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
