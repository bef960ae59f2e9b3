//! Why there is no plot, and the writing of one.

use crate::files::write_whole;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlotError {
    /// A path that is not a run and holds none.
    #[error("`{path}` is not a run: {reason}")]
    NotARun {
        /// The path.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// No run has a value of this metric, though they have others.
    #[error("{place} no metric `{metric}`, or none yet; did you mean `{nearest}`? (there is {all})")]
    UnknownMetric {
        /// Who lacks it.
        place: String,
        /// The metric asked for.
        metric: String,
        /// The nearest one that exists.
        nearest: String,
        /// All there are, comma-separated.
        all: String,
    },
    /// Nothing has been logged.
    #[error("{place} no data points yet; train a little longer, values are logged at intervals")]
    NoData {
        /// Who lacks them.
        place: String,
    },
    /// A file of a run that is not as it should be.
    #[error("`{path}`{}: {reason}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where one is to blame.
        line: Option<u64>,
        /// What is wrong.
        reason: String,
    },
    /// A file that cannot be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The drawing library failed.
    #[error("the plot could not be drawn: {0}")]
    Draw(String),
}

/// Writes the plot `text` to the file `out`, whole or not at all.
pub(super) fn write_file(out: &Path, text: &str) -> Result<(), PlotError> {
    write_whole(out, |file| Ok(file.write_all(text.as_bytes())?))
}
