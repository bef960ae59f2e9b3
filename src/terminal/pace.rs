//! The speed of a game on the screen.

use ratatui::crossterm::event::KeyCode;
use std::time::{Duration, Instant};

/// Counts the steps that are due at a speed that can be changed, however long drawing takes.
pub(crate) struct Pace {
    /// Steps a second.
    pub(crate) speed: f64,
    counted_until: Instant,
    /// Steps that are due, with fractions.
    due: f64,
    drawn_at: Instant,
}

impl Pace {
    /// Shortest time between two drawings.
    const DRAW_EVERY: Duration = Duration::from_millis(16);
    /// Longest delay in seconds whose steps are made up for; a longer one was a pause.
    const LONGEST_DELAY_S: f64 = 0.1;
    /// Lowest and highest speed, in steps a second.
    const SPEEDS: (f64, f64) = (0.25, 4_000.0);

    /// Begins to count at `speed` steps a second.
    pub(crate) fn new(speed: f64) -> Self {
        let now = Instant::now();
        Self { speed, counted_until: now, due: 0.0, drawn_at: now }
    }

    /// Returns the number of steps to make now.
    pub(crate) fn due(&mut self, now: Instant) -> u32 {
        let passed = now.duration_since(self.counted_until).as_secs_f64();
        let passed = passed.min(Self::LONGEST_DELAY_S.max(1.0 / self.speed));
        (self.counted_until, self.due) = (now, self.due + passed * self.speed);
        if now.duration_since(self.drawn_at) < Self::DRAW_EVERY || self.due < 1.0 {
            return 0;
        }
        self.drawn_at = now;
        let whole = self.due.floor();
        self.due -= whole;
        whole as u32
    }

    /// Returns the time until a step is due.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let step = Duration::from_secs_f64((1.0 - self.due).max(0.0) / self.speed);
        let step = step.saturating_sub(now.duration_since(self.counted_until));
        step.max(Self::DRAW_EVERY.saturating_sub(now.duration_since(self.drawn_at)))
    }

    /// Forgets the steps that are due: time does not pass while a game is paused.
    pub(crate) fn skip(&mut self, now: Instant) {
        (self.counted_until, self.due) = (now, 0.0);
    }

    /// Changes the speed by half an octave if `code` is `+` or `-`, and returns whether it was.
    pub(crate) fn takes(&mut self, code: KeyCode) -> bool {
        let factor = match code {
            KeyCode::Char('+' | '=') => 2.0_f64.powf(0.5),
            KeyCode::Char('-' | '_') => 0.5_f64.powf(0.5),
            _ => return false,
        };
        self.speed = (self.speed * factor).clamp(Self::SPEEDS.0, Self::SPEEDS.1);
        true
    }

    /// Returns a line with the keys and the present speed.
    pub(crate) fn help(&self) -> String {
        let digits = usize::from(self.speed < 9.95);
        format!("+/- speed ({:.digits$}/s)", self.speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_due_as_time_passes() {
        let mut pace = Pace::new(10.0);
        let (start, ms) = (pace.counted_until, Duration::from_millis);
        assert_eq!(pace.due(start + ms(50)), 0);
        assert_eq!(pace.wait(start + ms(60)), ms(40));
        assert_eq!(pace.due(start + ms(110)), 1);
        assert_eq!(pace.due(start + ms(205)), 1);
        // A long time is not made up for.
        assert_eq!(pace.due(start + ms(60_000)), 1);
        pace.speed = 1_000.0;
        assert_eq!(pace.due(start + ms(60_020)), 20);
        assert!(pace.takes(KeyCode::Char('+')) && !pace.takes(KeyCode::Char('q')));
        assert_eq!(pace.help(), "+/- speed (1414/s)");
    }
}
