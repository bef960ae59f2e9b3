//! The number that a run is judged by.

use crate::plot::{self, PlotError};
use crate::statistics::mean;
use std::fmt;
use std::path::Path;

/// Score of a run: a metric, and which of its values count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric {
    /// Name of the metric in the run's files.
    pub name: String,
    /// The values that count.
    pub of: Of,
    /// Whether low values are better.
    pub is_lower_better: bool,
}

/// The values of a metric that make a run's score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// The last one.
    Last,
    /// The mean of the latest ones, of so many.
    Mean(usize),
    /// The best one.
    Best,
}

impl Metric {
    /// Returns the score of the run in `dir` after `steps` steps, or `None` if it has no value by then.
    ///
    /// # Errors
    /// When the folder is not a run, or its files cannot be read.
    pub(crate) fn of_run(&self, dir: &Path, steps: u64) -> Result<Option<f64>, PlotError> {
        let values = plot::points(dir, &self.name)?.into_iter().filter(|&(step, _)| step <= steps as f64);
        Ok(self.of_values(&values.map(|(_, value)| value).collect::<Vec<_>>()))
    }

    fn of_values(&self, values: &[f64]) -> Option<f64> {
        match self.of {
            Of::Last => values.last().copied(),
            Of::Mean(window) => (!values.is_empty()).then(|| mean(&values[values.len().saturating_sub(window)..])),
            Of::Best if self.is_lower_better => values.iter().copied().min_by(f64::total_cmp),
            Of::Best => values.iter().copied().max_by(f64::total_cmp),
        }
    }

    /// Returns `score` as a number of which more is better.
    pub(crate) fn gain(&self, score: f64) -> f64 {
        if self.is_lower_better { -score } else { score }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Of::Last => write!(f, "last {}", self.name),
            Of::Mean(window) => write!(f, "mean of the last {window} {}", self.name),
            Of::Best => write!(f, "best {}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_that_count_make_the_score() {
        let metric = |of, is_lower_better| Metric { name: "train/return".to_owned(), of, is_lower_better };
        let values = [1.0, 5.0, 2.0, 4.0];
        let cases = [(Of::Last, false, 4.0), (Of::Mean(2), false, 3.0), (Of::Mean(9), true, 3.0)];
        for (of, lower, score) in cases.into_iter().chain([(Of::Best, false, 5.0), (Of::Best, true, 1.0)]) {
            assert_eq!(metric(of, lower).of_values(&values), Some(score));
            assert_eq!(metric(of, lower).of_values(&[]), None);
        }
    }
}
