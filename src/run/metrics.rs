//! CSV files of a run. Rows are appended; resuming removes those after the checkpoint.

use super::events::{self, Events};
use anyhow::{Context, Result, ensure};
use carom_envs::Episode;
use fs_err as fs;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A file of rows `step,name,value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsFile {
    /// Statistics of training.
    Metrics,
    /// Scores of the greedy policy.
    Eval,
    /// Wall-clock times, in a file of their own since only they differ between two runs with one seed.
    Timing,
}

/// Byte length of each file at a checkpoint.
pub(super) type Lengths = BTreeMap<String, u64>;

const HEADER: [&str; 3] = ["step", "name", "value"];
const EPISODES_HEADER: [&str; 4] = ["step", "env_idx", "return", "length"];
const EPISODES: &str = "episodes.csv";

/// Bounds the time that a row is buffered.
const FLUSH_AFTER: Duration = Duration::from_secs(2);

impl MetricsFile {
    const ALL: [MetricsFile; 3] = [MetricsFile::Metrics, MetricsFile::Eval, MetricsFile::Timing];

    /// Tables whose rows TensorBoard shows.
    const SHOWN: [&str; 2] = [MetricsFile::Metrics.file(), MetricsFile::Eval.file()];

    pub(crate) const fn file(self) -> &'static str {
        match self {
            MetricsFile::Metrics => "metrics.csv",
            MetricsFile::Eval => "eval.csv",
            MetricsFile::Timing => "timing.csv",
        }
    }
}

/// The open files. A fit has neither evaluations nor episodes.
pub(crate) struct Metrics {
    tables: [Option<File>; MetricsFile::ALL.len()],
    episodes: Option<File>,
    /// Events for TensorBoard, if the run was begun with them.
    events: Option<Events>,
    flushed: Instant,
}

struct File {
    name: &'static str,
    rows: csv::Writer<fs::File>,
}

/// Creates the files with their headers, those of an agent only if the run has one.
pub(super) fn create(dir: &Path, has_agent: bool) -> Result<()> {
    for table in MetricsFile::ALL {
        if has_agent || table != MetricsFile::Eval {
            fs::write(dir.join(table.file()), HEADER.join(",") + "\n")?;
        }
    }
    if has_agent {
        fs::write(dir.join(EPISODES), EPISODES_HEADER.join(",") + "\n")?;
    }
    Ok(())
}

/// Returns whether a run has a file of rows of this name.
pub(super) fn is_table(name: &str) -> bool {
    name == EPISODES || MetricsFile::ALL.iter().any(|table| table.file() == name)
}

/// Truncates each file to its length at a checkpoint, or none of them.
///
/// # Errors
/// When a file is no table of a run, is shorter, or does not end a row there: somebody has changed it.
pub(super) fn cut(dir: &Path, lengths: &Lengths) -> Result<()> {
    let files = whole(dir, lengths, fs::OpenOptions::new().read(true).write(true))?;
    files.into_iter().try_for_each(|(file, length)| file.set_len(length))?;
    events::cut(dir, lengths.get(events::PATH).copied(), &MetricsFile::SHOWN)
}

/// Checks that each file has the rows that it had at a checkpoint.
///
/// # Errors
/// As those of [`cut`].
pub(super) fn check(dir: &Path, lengths: &Lengths) -> Result<()> {
    whole(dir, lengths, fs::OpenOptions::new().read(true)).map(drop)
}

/// Opens the tables, each with its length at a checkpoint.
///
/// # Errors
/// As those of [`cut`].
fn whole(dir: &Path, lengths: &Lengths, options: &fs::OpenOptions) -> Result<Vec<(fs::File, u64)>> {
    let open = |(name, &length): (&String, &u64)| {
        // A checkpoint may come from anywhere, and must not name files elsewhere.
        ensure!(is_table(name), "the checkpoint has the length of {name}, which is no table of a run");
        let path = dir.join(name);
        let file = options.open(&path)?;
        let (found, path) = (file.metadata()?.len(), path.display());
        ensure!(found >= length, "{path} has {found} bytes, but had {length} at the checkpoint: rows are missing");
        let mut last = *b"\n";
        if length > 0 {
            file.file().read_exact_at(&mut last, length - 1)?;
        }
        ensure!(last == *b"\n", "{path} was changed: no row ends at byte {length}, as one did at the checkpoint");
        Ok((file, length))
    };
    lengths.iter().filter(|(name, _)| *name != events::PATH).map(open).collect()
}

impl Metrics {
    /// Opens the files to append to them.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let [metrics, eval, timing] = MetricsFile::ALL.map(|table| File::open(dir, table.file()));
        let tables = [metrics?, eval?, timing?];
        let (episodes, events) = (File::open(dir, EPISODES)?, Events::open(dir)?);
        Ok(Self { tables, episodes, events, flushed: Instant::now() })
    }

    /// Writes events for TensorBoard too from now on, beginning with the rows that are there.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn write_events(&mut self, dir: &Path) -> Result<()> {
        if self.events.is_none() {
            self.flush()?;
            self.events = Some(Events::create(dir, &MetricsFile::SHOWN)?);
        }
        Ok(())
    }

    /// Adds the pictures in `dir` to the events for TensorBoard, if the run has any.
    ///
    /// # Errors
    /// When a picture cannot be read, or the events cannot be written.
    pub(crate) fn pictures(&mut self, step: u64, dir: &Path) -> Result<()> {
        let Some(events) = &mut self.events else { return Ok(()) };
        events.pictures(step, dir)?;
        events.flush()
    }

    /// Adds a row to `table`. The value is written as the shortest decimal that reads back as the same number.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn row(&mut self, table: MetricsFile, step: u64, name: &str, value: f64) -> Result<()> {
        let file = self.tables[table as usize].as_mut().with_context(|| format!("the run has no {}", table.file()))?;
        file.rows.serialize((step, name, value))?;
        match &mut self.events {
            Some(events) if table != MetricsFile::Timing => events.scalar(step, name, value),
            _ => Ok(()),
        }
    }

    /// Adds the episodes that ended at `step`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn episodes(&mut self, step: u64, episodes: &[Episode]) -> Result<()> {
        let Some(file) = &mut self.episodes else { return Ok(()) };
        for &Episode { env_idx, episode_return, length } in episodes {
            file.rows.serialize((step, env_idx, episode_return, length))?;
        }
        Ok(())
    }

    /// Flushes buffered rows if the last flush was some seconds ago.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn flush_if_due(&mut self) -> Result<()> {
        if self.flushed.elapsed() >= FLUSH_AFTER { self.flush() } else { Ok(()) }
    }

    /// Flushes all buffered rows.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        for file in self.files() {
            file.rows.flush()?;
        }
        if let Some(events) = &mut self.events {
            events.flush()?;
        }
        self.flushed = Instant::now();
        Ok(())
    }

    /// Fsyncs all rows, and returns the lengths of the files.
    pub(super) fn sync(&mut self) -> Result<Lengths> {
        self.flush()?;
        let mut lengths = Lengths::new();
        for file in self.files() {
            let handle = file.rows.get_ref();
            handle.sync_data()?;
            lengths.insert(file.name.to_string(), handle.metadata()?.len());
        }
        if let Some(events) = &mut self.events {
            lengths.insert(events::PATH.to_owned(), events.sync()?);
        }
        Ok(lengths)
    }

    fn files(&mut self) -> impl Iterator<Item = &mut File> {
        self.tables.iter_mut().chain([&mut self.episodes]).flatten()
    }
}

impl File {
    /// Opens the file to append to it; `None` if the run has none.
    fn open(dir: &Path, name: &'static str) -> Result<Option<Self>> {
        let path = dir.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let file = fs::OpenOptions::new().append(true).open(path)?;
        Ok(Some(Self { name, rows: csv::WriterBuilder::new().has_headers(false).from_writer(file) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_changed_and_a_file_that_is_no_table_are_not_cut() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = folder.path().join("run");
        fs::create_dir(&run).expect("writable");
        let (metrics, eval) = ("step,name,value\n1,a,2\n3,a,4\n", "step,name,value\n5,b,6\n");
        let write = |name: &str, text: &str| fs::write(run.join(name), text).expect("writable");
        write("metrics.csv", metrics);
        write("eval.csv", eval);
        write("../thesis.txt", "all of it\n");
        let cut = |lengths: &[(&str, u64)]| {
            let lengths = lengths.iter().map(|&(name, length)| (name.to_owned(), length)).collect();
            cut(&run, &lengths).map_err(|error| error.to_string())
        };
        let text = |name: &str| fs::read_to_string(run.join(name)).expect("there");
        for (lengths, word) in [
            ([("eval.csv", 16), ("metrics.csv", 99)], "rows are missing"),
            ([("eval.csv", 16), ("metrics.csv", 21)], "was changed"),
            ([("../thesis.txt", 0), ("metrics.csv", 22)], "../thesis.txt, which is no table"),
        ] {
            assert!(cut(&lengths).is_err_and(|error| error.contains(word)), "{word}");
        }
        assert_eq!((text("metrics.csv"), text("eval.csv")), (metrics.to_owned(), eval.to_owned()));
        assert_eq!(text("../thesis.txt"), "all of it\n");
        assert_eq!(cut(&[("eval.csv", 16), ("metrics.csv", 22)]), Ok(()));
        assert_eq!((text("metrics.csv").len(), text("eval.csv").len()), (22, 16));
    }
}
