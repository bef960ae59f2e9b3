//! Errors of plots.

use std::path::PathBuf;

/// Reason why a plot was not drawn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlotError {
    /// A path is not a run and contains none.
    #[error("`{path}` is not a run: {reason}")]
    NotARun {
        /// The path.
        path: PathBuf,
        /// Reason, such as a missing file.
        reason: String,
    },
    /// No run has a value of this metric, though they have others.
    #[error("{place} no metric `{metric}`, or none yet{near} (there is {all})")]
    UnknownMetric {
        /// Subject and verb: who lacks the metric.
        place: String,
        /// The metric asked for.
        metric: String,
        /// A question whether one of a similar name was meant, if there is one.
        near: String,
        /// All that exist, comma-separated.
        all: String,
    },
    /// The metric was logged, and each value is NaN or infinite.
    #[error("{place} no finite value of `{metric}`: all that were logged are NaN or infinite")]
    NotFinite {
        /// Subject and verb: who lacks the values.
        place: String,
        /// The metric asked for.
        metric: String,
    },
    /// Nothing has been logged.
    #[error("{place} no data points yet; train a little longer, values are logged at intervals")]
    NoData {
        /// Subject and verb: who lacks points.
        place: String,
    },
    /// A file of a run is not valid.
    #[error("`{path}`{}: {reason}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// Line at fault, counted from 1.
        line: Option<u64>,
        /// The values found and expected.
        reason: String,
    },
    /// A file cannot be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The drawing library failed.
    #[error("the plot could not be drawn: {0}")]
    Draw(String),
}
