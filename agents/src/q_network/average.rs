//! An exponential average of the weights, for acting in evaluations.

use multiversion::multiversion;

/// Updates between two steps of the average. A step reads the parameters and the average from memory, which takes a
/// tenth of an update's time on the network of Mnih et al. 2015 (1.2 of 13 ms).
const EVERY: u64 = 8;

/// When the average takes a step, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Average {
    /// Share of the average that an update leaves.
    decay: f64,
    pub(super) n_updates: u64,
}

impl Average {
    pub(super) fn new(decay: f64) -> Self {
        Self { decay, n_updates: 0 }
    }

    /// Counts an update. Returns the share of the way to the new parameters that the average goes, if it is due.
    ///
    /// The share is `(1 - β) / (1 - β^t)` for step `t` with `β = decay^EVERY`: the bias correction of Adam's moments
    /// (Kingma & Ba 2015, section 3). The weights of an untrained network have no part in the average.
    pub(super) fn advance(&mut self) -> Option<f32> {
        let step = self.n_updates / EVERY + 1;
        let is_due = self.n_updates.is_multiple_of(EVERY);
        self.n_updates += 1;
        let beta = self.decay.powf(EVERY as f64);
        is_due.then(|| ((1.0 - beta) / (1.0 - beta.powf(step as f64))) as f32)
    }
}

/// Moves `average` the share `rate` of the way to `params`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(super) fn approach(average: &mut [f32], params: &[f32], rate: f32) {
    for (average, param) in average.iter_mut().zip(params) {
        *average += rate * (*param - *average);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_of_every_eighth_update_is_as_worked_by_hand() {
        // β = 0.5: the weights of steps 1, 2 and 3 are 1/7, 2/7 and 4/7.
        let mut average = Average::new(0.5_f64.powf(1.0 / EVERY as f64));
        let (mut mean, mut n_steps) = ([99.0], 0);
        for update in 0..3 * EVERY {
            if let Some(rate) = average.advance() {
                assert_eq!(update, n_steps * EVERY);
                approach(&mut mean, &[[7.0, 14.0, 21.0][n_steps as usize]], rate);
                n_steps += 1;
            }
        }
        assert_eq!((n_steps, average.n_updates), (3, 24));
        assert!((mean[0] - (1.0 + 4.0 + 12.0)).abs() < 1e-5, "{}", mean[0]);
    }

    #[test]
    fn without_decay_it_is_the_latest() {
        let mut average = Average::new(0.0);
        assert!((0..100).filter_map(|_| average.advance()).all(|rate| rate == 1.0));
    }
}
