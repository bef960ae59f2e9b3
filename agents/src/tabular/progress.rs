//! Training progress of a learner in a table: the step, the exploring random stream, and statistics.

use super::steps::states;
use super::table::{QTable, epsilon_greedy};
use crate::agent::{LearnError, Stat};
use crate::schedule::Linear;
use crate::snapshot::{Loaded, MAX_COUNT, Snapshot, SnapshotError};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// Training progress of a learner in a table.
#[derive(Debug)]
pub(super) struct Progress {
    lr: Linear,
    epsilon: Linear,
    explore: Pcg32,
    step: u64,
    sums: Sums,
}

/// Sums over the updates since the statistics were last read.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sums {
    n: u64,
    abs_td_error: f64,
    q: f64,
}

impl Progress {
    pub(super) fn new(lr: Linear, epsilon: Linear, explore: Pcg32) -> Self {
        Self { lr, epsilon, explore, step: 0, sums: Sums::default() }
    }

    /// Step size at the present step.
    pub(super) fn lr(&self) -> f64 {
        self.lr.at(self.step)
    }

    /// ε at the present step.
    pub(super) fn epsilon(&self) -> f64 {
        self.epsilon.at(self.step)
    }

    /// Counts `n_envs` environment steps.
    pub(super) fn advance(&mut self, n_envs: usize) {
        self.step += n_envs as u64;
    }

    /// Writes an ε-greedy action on `q` for each discrete observation in `obs` to `actions`.
    pub(super) fn act(&mut self, q: &QTable, obs: &[u8], actions: &mut [usize]) {
        let epsilon = self.epsilon();
        for (state, action) in states(obs).zip(actions) {
            *action = epsilon_greedy(q.row(state), epsilon, &mut self.explore);
        }
    }

    /// Adds an update to the statistics: its TD error, and the value that it corrects. Call this before the table is
    /// changed.
    ///
    /// # Errors
    /// When the TD error is not finite.
    pub(super) fn record(&mut self, td_error: f64, q: f64) -> Result<(), LearnError> {
        self.check_finite(td_error)?;
        self.sums.n += 1;
        self.sums.abs_td_error += td_error.abs();
        self.sums.q += q;
        Ok(())
    }

    /// Refuses a TD error that is not finite.
    pub(super) fn check_finite(&self, td_error: f64) -> Result<(), LearnError> {
        if td_error.is_finite() {
            return Ok(());
        }
        Err(LearnError::NonFinite { what: "train/td_error", value: td_error, step: self.step })
    }

    /// Present values of the schedules, and means over the updates since the last call if there were any.
    pub(super) fn stats(&mut self) -> Vec<Stat> {
        let mut stats = vec![("train/epsilon", self.epsilon()), ("train/lr", self.lr())];
        let Sums { n, abs_td_error, q } = std::mem::take(&mut self.sums);
        if n > 0 {
            stats.push(("train/td_error", abs_td_error / n as f64));
            stats.push(("train/q_mean", q / n as f64));
        }
        stats
    }

    pub(super) fn save(&self) -> Snapshot<'static> {
        Snapshot::default().value("step", &self.step).value("explore", &self.explore).value("sums", &self.sums)
    }

    pub(super) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.step = from.count("step")?;
        self.explore = from.value("explore")?;
        self.sums = from.value_where("sums", |sums: &Sums| sums.n <= MAX_COUNT)?;
        Ok(())
    }
}
