//! Values that change along training.

use serde::{Deserialize, Serialize};

/// A straight line from `start` to `end` over `steps`, constant afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Value at step 0.
    pub start: f64,
    /// Value from `steps` on.
    pub end: f64,
    /// Length of the slope in environment steps.
    pub steps: u64,
}

impl Linear {
    /// A line from `start` to `end` over `steps`; with 0 steps it stays at `start`.
    pub fn new(start: f64, end: f64, steps: u64) -> Self {
        Self { start, end: if steps == 0 { start } else { end }, steps }
    }

    /// The value at `step`.
    pub fn at(&self, step: u64) -> f64 {
        if step >= self.steps {
            return self.end;
        }
        self.start + (self.end - self.start) * (step as f64 / self.steps as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_goes_from_start_to_end_and_stays() {
        let slope = Linear { start: 1.0, end: 0.1, steps: 100 };
        assert_eq!(slope.at(0), 1.0);
        assert!((slope.at(50) - 0.55).abs() < 1e-12);
        assert_eq!(slope.at(100), 0.1);
        assert_eq!(slope.at(1_000), 0.1);
        assert_eq!(Linear { start: 1.0, end: 0.1, steps: 0 }.at(0), 0.1);
    }

    #[test]
    fn over_no_steps_a_setting_stays_at_its_start() {
        let constant = Linear::new(1.0, 0.1, 0);
        assert_eq!((constant.at(0), constant.at(1_000)), (1.0, 1.0));
    }
}
