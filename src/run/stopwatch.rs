//! Clock of a run.

use super::{MetricsFile, Run};
use crate::progress::Display;
use anyhow::Result;
use carom_agents::Stat;
use std::time::Instant;

/// Clock of a run: total seconds over all processes, rows of `timing.csv`, and the progress display.
pub(crate) struct Stopwatch {
    display: Display,
    /// Start of this process, and seconds spent before.
    began: (Instant, f64),
    /// Time and step of the last row.
    last_row: (Instant, u64),
}

impl Stopwatch {
    /// Starts the clock of a run of `total` steps, `step` of which were made in `wall_s` seconds. If it `has_network`,
    /// its steps are many times slower once that learns.
    pub(crate) fn new(total: u64, step: u64, wall_s: f64, has_network: bool) -> Self {
        let now = Instant::now();
        Self { display: Display::new(total, step, has_network), began: (now, wall_s), last_row: (now, step) }
    }

    /// Returns the seconds spent so far.
    pub(crate) fn wall_s(&self) -> f64 {
        self.began.1 + self.began.0.elapsed().as_secs_f64()
    }

    /// Writes the rows of `step`, and shows `place`, the loss among `stats`, and `score` if there is one.
    pub(crate) fn row(
        &mut self,
        run: &mut Run,
        step: u64,
        stats: &[Stat],
        place: String,
        score: Option<String>,
    ) -> Result<()> {
        let (row_began, row_step) = std::mem::replace(&mut self.last_row, (Instant::now(), step));
        let row_s = row_began.elapsed().as_secs_f64().max(1e-9);
        run.metrics.row(MetricsFile::Timing, step, "wall_s", self.wall_s())?;
        run.metrics.row(MetricsFile::Timing, step, "steps_per_s", (step - row_step) as f64 / row_s)?;
        run.metrics.flush_if_due()?;
        self.display.note(stats, step);
        self.display.show(step, place, score);
        Ok(())
    }
}
