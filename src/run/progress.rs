//! Time and progress of a run, shown on stderr: a bar on a terminal, else a line every few seconds.

use crate::human::{count, duration};
use crate::run::{MetricsFile, Run};
use anyhow::Result;
use carom_agents::Stat;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Time between two lines without a terminal.
const LINE_AFTER: Duration = Duration::from_secs(10);

/// Clock of a run: total seconds over all processes, rows of `timing.csv`, and the progress display.
pub(crate) struct Stopwatch {
    display: Display,
    /// Start of this process, and seconds spent before.
    began: (Instant, f64),
    /// Time and step of the last row.
    last_row: (Instant, u64),
}

impl Stopwatch {
    /// Starts the clock of a run of `total` steps, `step` of which were made in `wall_s` seconds.
    pub(crate) fn new(total: u64, step: u64, wall_s: f64) -> Self {
        let now = Instant::now();
        Self { display: Display::new(total, step), began: (now, wall_s), last_row: (now, step) }
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
        self.display.note(stats);
        self.display.show(step, place, score);
        Ok(())
    }
}

/// Makes a progress bar of `total` `things`. It is visible on a terminal only.
pub(crate) fn of(total: u64, things: &str) -> ProgressBar {
    styled(total, &format!("{{pos}} of {{len}} {things}  {{eta}} left"))
}

/// Makes a progress bar with its percentage, followed by the template `message`.
fn styled(total: u64, message: &str) -> ProgressBar {
    let template = format!("{{bar:24}} {{percent:>3}}%  {message}");
    let style = ProgressStyle::with_template(&template).expect("a valid template");
    ProgressBar::new(total).with_style(style.progress_chars("=> "))
}

/// The display of one run's progress.
struct Display {
    bar: Option<ProgressBar>,
    total: u64,
    began: (Instant, u64),
    last_line: Instant,
    next_tenth: u64,
    loss: Option<f64>,
}

impl Display {
    fn new(total: u64, step: u64) -> Self {
        let bar = stderr().is_terminal().then(|| styled(total, "{msg}").with_position(step));
        let next_tenth = (step * 10 / total + 1).min(10);
        Self { bar, total, began: (Instant::now(), step), last_line: Instant::now(), next_tenth, loss: None }
    }

    /// Stores the loss among the logged statistics.
    fn note(&mut self, stats: &[Stat]) {
        let find = |name| stats.iter().find(|stat| stat.0 == name).map(|stat| stat.1);
        self.loss = find("train/loss")
            .or_else(|| find("fit/loss"))
            .or_else(|| find("train/td_error"))
            .or_else(|| find("plan/residual"))
            .or(self.loss);
    }

    /// Shows `place`, the loss, and `score` if there is one. It is cheap enough for every log row.
    fn show(&mut self, step: u64, place: String, score: Option<String>) {
        if let Some(bar) = &self.bar {
            bar.set_position(step.min(self.total));
            bar.set_message(self.message(step, place, score));
        } else if step * 10 / self.total >= self.next_tenth || self.last_line.elapsed() >= LINE_AFTER {
            self.next_tenth = step * 10 / self.total + 1;
            self.last_line = Instant::now();
            tracing::info!("{:>3}%  {}", (step * 100 / self.total).min(100), self.message(step, place, score));
        }
    }

    fn message(&self, step: u64, place: String, score: Option<String>) -> String {
        let elapsed = self.began.0.elapsed().as_secs_f64().max(1e-9);
        let speed = (step - self.began.1) as f64 / elapsed;
        let left = Duration::from_secs_f64(self.total.saturating_sub(step) as f64 / speed.max(1e-3));
        let mut parts = vec![place];
        parts.extend(score);
        parts.extend(self.loss.map(|loss| format!("loss {loss:.3e}")));
        parts.push(format!("{} steps/s", count(speed as u64)));
        parts.push(format!("{} left", duration(left)));
        parts.join("  ")
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
