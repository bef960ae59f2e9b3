//! `log.txt`: what happened to a run, a line each. Lines about the run at a step are `step N: what`.

use fs_err as fs;
use std::io;
use std::path::Path;

/// Name of the file.
pub(crate) const LOG: &str = "log.txt";

/// What lines of a step say of a checkpoint, of the best policy, and of the end of a run that did not fail.
pub(super) const SAVED: &str = "checkpoint";
pub(super) const BEST: &str = "best policy";
pub(super) const FINISHED: &str = "finished";
pub(super) const INTERRUPTED: &str = "interrupted";
/// Beginning of what a line of a step says of a setting that has another value from there on.
pub(super) const CHANGED: &str = "setting ";

/// The log of a run, as text.
pub(crate) struct Log(String);

impl Log {
    /// Reads the log of the run in `dir`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of(dir: &Path) -> io::Result<Self> {
        Ok(Self(fs::read_to_string(dir.join(LOG))?))
    }

    /// Returns the lines about the run at a step, the last first.
    fn steps(&self) -> impl Iterator<Item = (u64, &str)> {
        self.0.lines().rev().filter_map(of_step)
    }

    /// Returns the last step that it tells of; 0 if there is none.
    pub(crate) fn last_step(&self) -> u64 {
        self.steps().next().map_or(0, |(step, _)| step)
    }

    /// Returns the step of the last checkpoint that it tells of.
    pub(crate) fn last_saved(&self) -> Option<u64> {
        self.steps().find(|(_, what)| *what == SAVED).map(|(step, _)| step)
    }

    /// Returns how the run ended, if the last line tells so: `finished`, `interrupted`, or an error.
    pub(crate) fn end(&self) -> Option<&str> {
        let (_, what) = of_step(self.0.lines().next_back()?)?;
        is_end(what).then_some(what)
    }

    /// Returns whether the run has made all that it was begun for.
    pub(crate) fn has_finished(&self) -> bool {
        self.end() == Some(FINISHED)
    }

    /// Returns the error that ended the run, if an error also ended it before, and no checkpoint was saved in between:
    /// it would fail again.
    pub(crate) fn repeated_failure(&self) -> Option<&str> {
        let error = self.end().filter(|end| is_error(end))?;
        let mut ends = self.steps().map(|(_, what)| what).filter(|what| *what == SAVED || is_end(what)).skip(1);
        ends.next().is_some_and(is_error).then_some(error)
    }
}

/// Splits a line about the run at a step.
fn of_step(line: &str) -> Option<(u64, &str)> {
    let (step, what) = line.strip_prefix("step ")?.split_once(": ")?;
    Some((step.parse().ok()?, what))
}

/// Returns whether the run ended there: it neither saved anything nor changed a setting.
fn is_end(what: &str) -> bool {
    what != SAVED && what != BEST && !what.starts_with(CHANGED)
}

fn is_error(what: &str) -> bool {
    is_end(what) && what != FINISHED && what != INTERRUPTED
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: &str = "step 7: train/loss is NaN at step 7: training has diverged";

    fn log(lines: &[&str]) -> Log {
        Log(["training dqn", "step 5: checkpoint"].iter().chain(lines).flat_map(|line| [line, "\n"]).collect())
    }

    #[test]
    fn the_last_line_of_a_log_tells_how_a_run_ended() {
        assert_eq!(log(&[ERROR]).end(), ERROR.strip_prefix("step 7: "));
        assert_eq!(log(&["step 7: finished"]).end(), Some("finished"));
        for other in ["step 7: best policy", "step 5: setting agent.lr 0.1 -> 0.2", "resuming at step 5: dqn"] {
            let log = log(&[ERROR, other]);
            assert_eq!((log.end(), log.last_saved()), (None, Some(5)), "{other}");
        }
        assert_eq!(log(&[ERROR, "resuming at step 5: dqn"]).last_step(), 7);
    }

    #[test]
    fn a_failure_is_repeated_if_nothing_was_saved_in_between() {
        let resumed = "resuming at step 5: dqn";
        let is_repeated = |lines: &[&str]| log(lines).repeated_failure().is_some();
        assert!(is_repeated(&[ERROR, resumed, ERROR]) && is_repeated(&[ERROR, resumed, "step 7: best policy", ERROR]));
        for lines in [
            &[ERROR][..],
            &[ERROR, resumed],
            &[ERROR, resumed, "step 6: checkpoint", ERROR],
            &["step 7: interrupted", resumed, ERROR],
            &[ERROR, ERROR, resumed, "step 9: finished"],
        ] {
            assert!(!is_repeated(lines), "{lines:?}");
        }
    }
}
