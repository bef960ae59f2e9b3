//! What a person sees while training goes on: a bar on a terminal, a line now and then elsewhere; on stderr.

use crate::human::{count, duration};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINE_AFTER: Duration = Duration::from_secs(10);

/// The display of one run's progress.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    total: u64,
    began: (Instant, u64),
    last_line: Instant,
    next_tenth: u64,
    loss: Option<f64>,
}

impl Bar {
    pub(crate) fn new(total: u64, step: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {percent:>3}%  {msg}").expect("a valid template");
            ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_position(step)
        });
        let next_tenth = (step * 10 / total + 1).min(10);
        Self { bar, total, began: (Instant::now(), step), last_line: Instant::now(), next_tenth, loss: None }
    }

    /// Takes the loss out of the statistics just logged.
    pub(crate) fn note(&mut self, stats: &[(&'static str, f64)]) {
        let find = |name| stats.iter().find(|stat| stat.0 == name).map(|stat| stat.1);
        self.loss = find("train/loss")
            .or_else(|| find("fit/loss"))
            .or_else(|| find("train/td_error"))
            .or_else(|| find("plan/residual"))
            .or(self.loss);
    }

    /// Shows where a run stands: `place`, the loss, and `score` if there is one. Cheap enough to call at every log row.
    pub(crate) fn show(&mut self, step: u64, place: String, score: Option<String>) {
        if let Some(bar) = &self.bar {
            bar.set_position(step.min(self.total));
            bar.set_message(self.message(step, place, score));
        } else if step * 10 / self.total >= self.next_tenth || self.last_line.elapsed() >= LINE_AFTER {
            self.next_tenth = step * 10 / self.total + 1;
            self.last_line = Instant::now();
            eprintln!("{:>3}%  {}", step * 100 / self.total, self.message(step, place, score));
        }
    }

    /// Takes the bar off the terminal.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
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
