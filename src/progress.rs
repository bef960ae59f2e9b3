//! Progress on stderr: a bar on a terminal, else a line every few seconds.

use crate::human::{count, duration};
use carom_agents::Stat;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Time between two lines without a terminal.
const LINE_AFTER: Duration = Duration::from_secs(10);

/// Progress of a computation of known length, shown on stderr: a bar on a terminal, else a line every few seconds.
pub(crate) struct Counter {
    bar: Option<ProgressBar>,
    total: u64,
    things: &'static str,
    began: Instant,
    last_line: Cell<Instant>,
}

impl Counter {
    /// Starts to count `total` `things`.
    pub(crate) fn new(total: u64, things: &'static str) -> Self {
        let bar = || styled(total, &format!("{{pos}} of {{len}} {things}  {{eta}} left"));
        let (bar, now) = (stderr().is_terminal().then(bar), Instant::now());
        Self { bar, total, things, began: now, last_line: Cell::new(now) }
    }

    /// Shows that `n` are done.
    pub(crate) fn set(&self, n: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(n),
            None if self.last_line.get().elapsed() >= LINE_AFTER => {
                self.last_line.set(Instant::now());
                tracing::info!("{}", self.line(n, self.began.elapsed()));
            }
            None => {}
        }
    }

    fn line(&self, n: u64, elapsed: Duration) -> String {
        let left = seconds(elapsed.as_secs_f64() * self.total.saturating_sub(n) as f64 / n.max(1) as f64);
        format!("{n} of {} {}  {} left", self.total, self.things, duration(left))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Progress of several runs at once, shown on stderr: a line for each on a terminal, else all that they say.
pub(crate) struct Board {
    lines: Option<MultiProgress>,
    n_jobs: usize,
    n_ended: AtomicUsize,
}

/// The line of one run on a [`Board`].
pub(crate) struct BoardLine<'a> {
    board: &'a Board,
    name: String,
    line: Option<ProgressBar>,
}

impl Board {
    /// Makes an empty board.
    pub(crate) fn new(n_jobs: usize) -> Self {
        Self { lines: stderr().is_terminal().then(MultiProgress::new), n_jobs, n_ended: AtomicUsize::new(0) }
    }

    /// Adds the line of the run `name`.
    pub(crate) fn begin(&self, name: &str) -> BoardLine<'_> {
        let line = self.lines.as_ref().map(|lines| {
            let style = ProgressStyle::with_template("{prefix}: {wide_msg}").expect("a valid template");
            lines.add(ProgressBar::new_spinner().with_style(style).with_prefix(name.to_owned()))
        });
        BoardLine { board: self, name: name.to_owned(), line }
    }

    /// Calls `print` with the lines out of its way.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.lines {
            Some(lines) => lines.suspend(print),
            None => print(),
        }
    }
}

impl BoardLine<'_> {
    /// Shows `text`, which the run said. On a terminal a percentage replaces the one before.
    pub(crate) fn show(&self, text: &str) {
        let is_progress = text.trim_start().split_once('%').is_some_and(|(n, _)| n.parse::<u8>().is_ok());
        match &self.line {
            Some(line) if is_progress => line.set_message(text.trim_start().to_owned()),
            _ => self.board.suspend(|| say!("{}: {text}", self.name)),
        }
    }

    /// Removes the line of a run that has ended.
    pub(crate) fn end(self) {
        if let Some(line) = self.line {
            line.finish_and_clear();
        }
        let n_ended = self.board.n_ended.fetch_add(1, Ordering::Relaxed) + 1;
        self.board.suspend(|| say!("{} ended ({n_ended} of {})", self.name, self.board.n_jobs));
    }
}

/// Makes a progress bar with its percentage, followed by the template `message`.
fn styled(total: u64, message: &str) -> ProgressBar {
    let template = format!("{{bar:24}} {{percent:>3}}%  {message}");
    let style = ProgressStyle::with_template(&template).expect("a valid template");
    ProgressBar::new(total).with_style(style.progress_chars("=> "))
}

/// The display of one run's progress.
pub(crate) struct Display {
    bar: Option<ProgressBar>,
    total: u64,
    /// Time and step from which speed and remaining time are estimated.
    began: (Instant, u64),
    /// Whether there is a network that has not learned yet. The random steps before are quick, so no time is estimated.
    waits: bool,
    last_line: Instant,
    next_tenth: u64,
    loss: Option<f64>,
}

impl Display {
    /// Starts at step `step` of `total`. If it `waits`, a network has not learned yet.
    pub(crate) fn new(total: u64, step: u64, waits: bool) -> Self {
        let bar = stderr().is_terminal().then(|| styled(total, "{msg}").with_position(step));
        let next_tenth = (step * 10 / total + 1).min(10);
        Self { bar, total, began: (Instant::now(), step), waits, last_line: Instant::now(), next_tenth, loss: None }
    }

    /// Stores the loss among the statistics of `step`. The first loss of a network restarts the estimate.
    pub(crate) fn note(&mut self, stats: &[Stat], step: u64) {
        let find = |name| stats.iter().find(|stat| stat.0 == name).map(|stat| stat.1);
        self.loss = find("train/loss")
            .or_else(|| find("fit/loss"))
            .or_else(|| find("train/td_error"))
            .or_else(|| find("plan/residual"))
            .or(self.loss);
        if self.waits && self.loss.is_some() {
            (self.waits, self.began) = (false, (Instant::now(), step));
        }
    }

    /// Shows `place`, the loss, and `score` if there is one. It is cheap enough for every log row.
    pub(crate) fn show(&mut self, step: u64, place: String, score: Option<String>) {
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
        let left = seconds(self.total.saturating_sub(step) as f64 / speed.max(1e-3));
        let mut parts = vec![place];
        parts.extend(score);
        parts.extend(self.loss.map(|loss| format!("loss {loss:.3e}")));
        if step > self.began.1 {
            parts.push(format!("{} steps/s", count(speed as u64)));
        }
        if step > self.began.1 && !self.waits {
            parts.push(format!("{} left", duration(left)));
        }
        parts.join("  ")
    }
}

/// A time that may be longer than any.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_is_that_of_learning_steps_not_of_the_random_ones_before() {
        let mut display = Display::new(1_000, 0, true);
        let ago = |s: u64| Instant::now().checked_sub(Duration::from_secs(s)).expect("a clock that began before");
        display.began.0 = ago(1);
        display.note(&[("train/epsilon", 1.0)], 500);
        let random = display.message(500, "step 500".to_owned(), None);
        assert!(random.contains("steps/s") && !random.contains("left"), "{random}");
        display.note(&[("train/loss", 0.5)], 500);
        display.began.0 = ago(10);
        let learning = display.message(600, "step 600".to_owned(), None);
        assert!(learning.ends_with(" steps/s  40s left"), "{learning}");
        // A table learns from its first step.
        let mut display = Display::new(1_000, 0, false);
        display.began.0 = ago(10);
        assert!(display.message(500, "step 500".to_owned(), None).ends_with(" steps/s  10s left"));
    }

    #[test]
    fn a_time_longer_than_any_is_told() {
        let mut display = Display::new(u64::MAX, 0, true);
        display.note(&[("train/loss", 0.5)], 100);
        assert!(display.message(101, "step 101".to_owned(), None).contains(" left"));
        assert!(Counter::new(u64::MAX, "steps").line(1, Duration::from_secs(1 << 40)).contains(" left"));
    }

    #[test]
    fn a_long_measurement_says_how_far_it_is() {
        let counter = Counter::new(40, "temperatures");
        assert_eq!(counter.line(10, Duration::from_secs(20)), "10 of 40 temperatures  1m00s left");
    }
}
