//! Classes of generated images and their frequencies.

use tch::Tensor;

/// Counts of classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Modes {
    counts: Vec<i64>,
}

impl Modes {
    /// Counts the classes of samples, `i64 [n]` below `n_classes`.
    pub(crate) fn of(classes: &Tensor, n_classes: i64) -> Self {
        let counts = classes.bincount::<Tensor>(None, n_classes);
        Self { counts: Vec::try_from(counts).expect("counts are integers") }
    }

    /// Counts combinations of classes, `i64 [n, channels]`. Each combination is a mode: three digits of stacked MNIST
    /// have 1000 (Metz et al. 2017).
    pub(crate) fn stacked(classes: &Tensor, n_classes: i64) -> Self {
        let channels = classes.size()[1];
        let combined = (1..channels)
            .fold(classes.select(1, 0), |combined, channel| combined * n_classes + classes.select(1, channel));
        Self::of(&combined, n_classes.pow(channels as u32))
    }

    /// Returns the number of modes.
    pub(crate) fn n_modes(&self) -> usize {
        self.counts.len()
    }

    /// Returns the number of modes that were generated.
    pub(crate) fn n_found(&self) -> usize {
        self.counts.iter().filter(|count| **count > 0).count()
    }

    /// Returns the share of each mode.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let all: i64 = self.counts.iter().sum();
        self.counts.iter().map(|&count| count as f64 / all as f64).collect()
    }

    /// Returns Σ p ln(p n), the Kullback-Leibler divergence of the shares p of n modes from equal shares, in nats. Its
    /// expectation for equal probabilities is about (modes − 1) / (2 samples), not 0.
    pub(crate) fn kl_to_uniform(&self) -> f64 {
        let n = self.n_modes() as f64;
        self.shares().into_iter().filter(|share| *share > 0.0).map(|share| share * (share * n).ln()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_modes_and_divergence_by_hand() {
        let modes = Modes::of(&Tensor::from_slice(&[0_i64, 0, 1, 3]), 4);
        assert_eq!((modes.n_found(), modes.n_modes(), modes.shares()), (3, 4, vec![0.5, 0.25, 0.0, 0.25]));
        // ½ ln 2 + 2 (¼ ln 1)
        assert!((modes.kl_to_uniform() - 0.5 * 2.0_f64.ln()).abs() < 1e-12);
        assert!(Modes::of(&Tensor::from_slice(&[0_i64, 1, 2, 3]), 4).kl_to_uniform().abs() < 1e-12);
    }

    #[test]
    fn combinations_of_channels_are_modes() {
        let classes = Tensor::from_slice(&[0_i64, 0, 1, 0, 1, 2, 1, 0]).view([4, 2]);
        let modes = Modes::stacked(&classes, 3);
        assert_eq!((modes.n_found(), modes.n_modes()), (3, 9));
        let shares = modes.shares();
        assert_eq!((shares[0], shares[3], shares[5]), (0.25, 0.5, 0.25));
    }
}
