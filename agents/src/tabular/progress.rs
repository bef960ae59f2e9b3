//! Where learning stands: the step, the exploring stream, and the statistics gathered so far.

use super::{QTable, TdConfig, epsilon_greedy, states};
use crate::{LearnError, Linear, Loaded, Snapshot, SnapshotError, Stat};
use carom_envs::Seeds;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// What all learners in tables carry beside their tables.
#[derive(Debug)]
pub(crate) struct Progress {
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
    pub(crate) fn new(config: &TdConfig, seeds: &Seeds) -> Self {
        let explore = seeds.stream("explore");
        Self { lr: config.lr(), epsilon: config.epsilon(), explore, step: 0, sums: Sums::default() }
    }

    /// Step size at the present step.
    pub(crate) fn lr(&self) -> f64 {
        self.lr.at(self.step)
    }

    /// ε at the present step.
    pub(crate) fn epsilon(&self) -> f64 {
        self.epsilon.at(self.step)
    }

    /// Counts `n_envs` environment steps.
    pub(crate) fn advance(&mut self, n_envs: usize) {
        self.step += n_envs as u64;
    }

    /// Writes an ε-greedy action on `q` for each discrete observation in `obs` to `actions`.
    pub(crate) fn act(&mut self, q: &QTable, obs: &[u8], actions: &mut [usize]) {
        let epsilon = self.epsilon();
        for (state, action) in states(obs).zip(actions) {
            *action = epsilon_greedy(q.row(state), epsilon, &mut self.explore);
        }
    }

    /// Takes note of one update: its TD error and the value it corrects.
    ///
    /// # Errors
    /// When the TD error is not finite; the caller has not yet touched its table then.
    pub(crate) fn record(&mut self, td_error: f64, q: f64) -> Result<(), LearnError> {
        if !td_error.is_finite() {
            return Err(LearnError::NonFinite { what: "train/td_error", value: td_error, step: self.step });
        }
        self.sums.n += 1;
        self.sums.abs_td_error += td_error.abs();
        self.sums.q += q;
        Ok(())
    }

    /// Present schedule values, and means over the updates since the last call where there were any.
    pub(crate) fn stats(&mut self) -> Vec<Stat> {
        let mut stats = vec![("train/epsilon", self.epsilon()), ("train/lr", self.lr())];
        let Sums { n, abs_td_error, q } = std::mem::take(&mut self.sums);
        if n > 0 {
            stats.push(("train/td_error", abs_td_error / n as f64));
            stats.push(("train/q_mean", q / n as f64));
        }
        stats
    }

    pub(crate) fn save(&self) -> Snapshot<'static> {
        Snapshot::default().value("step", &self.step).value("explore", &self.explore).value("sums", &self.sums)
    }

    pub(crate) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.step = from.value("step")?;
        self.explore = from.value("explore")?;
        self.sums = from.value("sums")?;
        Ok(())
    }
}
