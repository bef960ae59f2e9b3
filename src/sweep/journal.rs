//! The journal of a search: what was found, a line of JSON each, from which the search goes on.

use crate::dotted::{Dotted, changes};
use crate::files;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The first line: the settings in the file of the search, and the program's version.
    Sweep { carom: String, settings: Dotted },
    /// A run of a trial has made `steps` steps.
    Score { trial: usize, seed: u64, steps: u64, score: f64 },
    /// A run of a trial failed, or has no score.
    Failure { trial: usize, seed: u64, steps: u64, error: String },
    /// These trials go on after `steps` steps.
    Promotion { steps: u64, trials: Vec<usize> },
}

/// What a journal begins with.
const BEGINNING: &str = r#"{"event":"sweep""#;

/// The journal, open for writing and locked against other processes.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: fs::File,
    /// Result of each run, by trial, seed and steps. A later result replaces one before.
    results: BTreeMap<(usize, u64, u64), Result<f64, String>>,
    /// Trials that go on after so many steps.
    promoted: BTreeMap<u64, Vec<usize>>,
}

impl Journal {
    /// Opens the journal in the file `path`, or begins it.
    ///
    /// # Errors
    /// When another process has it open, a line is damaged, or it is of a search with other `settings`.
    pub(crate) fn open(path: &Path, settings: &Dotted) -> Result<Self> {
        let name = path.display();
        let file = fs::OpenOptions::new().create(true).read(true).append(true).open(path)?;
        ensure!(files::try_lock(&file), "another process is at work on the search of {name}");
        let text = fs::read_to_string(path)?;
        check_beginning(&text, path)?;
        // A process that was killed may have left half a line.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut events = vec![];
        for (i, line) in whole.lines().enumerate() {
            let event: Event =
                serde_json::from_str(line).with_context(|| format!("{name}, line {} is damaged", i + 1))?;
            events.push(event);
        }
        if let Some(Event::Sweep { settings: before, .. }) = events.first() {
            check_settings(before, settings, path)?;
        }
        file.set_len(whole.len() as u64)?;
        let mut journal = Self { path: path.to_owned(), file, results: BTreeMap::new(), promoted: BTreeMap::new() };
        if events.is_empty() {
            let carom = env!("CARGO_PKG_VERSION").to_owned();
            journal.write(Event::Sweep { carom, settings: settings.clone() })?;
        }
        for event in events {
            journal.take(event);
        }
        Ok(journal)
    }

    /// Writes a line, which is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written. The file is left as it was then.
    pub(crate) fn write(&mut self, event: Event) -> Result<()> {
        let line = serde_json::to_string(&event).context("an event is plain data")? + "\n";
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        // On a full disk there may be half a line, and another worker's would follow it.
        written.inspect_err(|_| drop(self.file.set_len(before)))?;
        self.take(event);
        Ok(())
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Sweep { .. } => {}
            Event::Score { trial, seed, steps, score } => drop(self.results.insert((trial, seed, steps), Ok(score))),
            Event::Failure { trial, seed, steps, error } => {
                self.results.insert((trial, seed, steps), Err(error));
            }
            Event::Promotion { steps, trials } => drop(self.promoted.insert(steps, trials)),
        }
    }

    /// Returns the result of a run after `steps` steps, if there is one.
    pub(crate) fn result(&self, trial: usize, seed: u64, steps: u64) -> Option<Result<f64, &str>> {
        self.results.get(&(trial, seed, steps)).map(|result| result.as_ref().copied().map_err(String::as_str))
    }

    /// Returns the trials that go on after `steps` steps, if that is decided.
    pub(crate) fn promoted(&self, steps: u64) -> Option<&[usize]> {
        self.promoted.get(&steps).map(Vec::as_slice)
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Checks that the journal in the file `path`, if it is there, is of a search with these `settings`. Returns whether it
/// is there.
///
/// # Errors
/// When it is of another search, or of none.
pub(crate) fn check(path: &Path, settings: &Dotted) -> Result<bool> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    check_beginning(&text, path)?;
    match text.split_once('\n').map(|(first, _)| serde_json::from_str(first)) {
        Some(Ok(Event::Sweep { settings: before, .. })) => check_settings(&before, settings, path).map(|()| true),
        // A damaged line is an error when the journal is opened.
        _ => Ok(!text.is_empty()),
    }
}

fn check_beginning(text: &str, journal: &Path) -> Result<()> {
    let is_journal = text.starts_with(BEGINNING) || BEGINNING.starts_with(text);
    ensure!(
        is_journal,
        "{} is there and is not the journal of a search; --out DIR writes elsewhere",
        journal.display()
    );
    Ok(())
}

fn check_settings(before: &Dotted, now: &Dotted, journal: &Path) -> Result<()> {
    let changes: Vec<String> = changes(before, now).iter().map(ToString::to_string).collect();
    ensure!(
        changes.is_empty(),
        "the file was changed since {} was begun: {}. Put the old values back, or choose another --out",
        journal.display(),
        changes.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_goes_on_after_half_a_line_and_refuses_other_settings() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.jsonl");
        let settings = Dotted::from([("axes.agent.lr".to_owned(), "[0.1]".to_owned())]);
        let mut journal = Journal::open(&path, &settings).expect("new");
        journal.write(Event::Score { trial: 0, seed: 1, steps: 9, score: 2.5 }).expect("written");
        let error = Journal::open(&path, &settings).expect_err("locked").to_string();
        assert!(error.contains("another process"), "{error}");
        drop(journal);
        let whole = fs::read_to_string(&path).expect("text");
        fs::write(&path, format!("{whole}{{\"event\":\"sco")).expect("written");
        let mut journal = Journal::open(&path, &settings).expect("half a line is cut");
        assert_eq!(journal.result(0, 1, 9), Some(Ok(2.5)));
        journal.write(Event::Promotion { steps: 9, trials: vec![0] }).expect("written");
        drop(journal);
        let journal = Journal::open(&path, &settings).expect("whole lines");
        assert_eq!((journal.promoted(9), journal.promoted(10)), (Some(&[0][..]), None));
        drop(journal);
        let other = Dotted::from([("axes.agent.lr".to_owned(), "[0.2]".to_owned())]);
        let error = Journal::open(&path, &other).expect_err("other settings").to_string();
        assert!(error.contains("axes.agent.lr [0.1] -> [0.2]"), "{error}");
        fs::write(&path, whole.clone() + "what\nand").expect("written");
        assert!(Journal::open(&path, &settings).expect_err("damaged").to_string().contains("line 3"));
        assert_eq!(fs::read_to_string(&path).expect("text"), whole.clone() + "what\nand");
        for foreign in ["what\n", "{\"event\":\"drift\"}", "half a line"] {
            fs::write(&path, foreign).expect("written");
            let errors = [Journal::open(&path, &settings).map(drop), check(&path, &settings).map(drop)];
            assert!(
                errors.map(|error| error.expect_err("foreign").to_string()).iter().all(|e| e.contains("journal of"))
            );
            assert_eq!(fs::read_to_string(&path).expect("text"), foreign);
        }
    }
}
