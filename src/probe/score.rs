//! Scores and their intervals.
//!
//! Frames of an episode are no independent sample. A score is therefore a function of sums that each episode adds to,
//! and its interval is by the bootstrap over episodes.

use crate::statistics::bootstrap_interval;

/// Resamples of the episodes. With as many, the bounds of an interval repeat to about .001.
const N_RESAMPLES: usize = 10_000;

/// A score over all frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Score {
    /// Its value.
    pub value: f64,
    /// The 95 % interval; `None` for a single episode.
    pub interval: Option<[f64; 2]>,
}

impl Score {
    /// Returns the mean F1, 2 tp / (2 tp + fp + fn), over the classes that occur in `labels` or `predicted`:
    /// scikit-learn's `average="macro"`. `episodes` has the episode of each frame; frames of one are beside each other.
    pub(super) fn macro_f1(predicted: &[i64], labels: &[i64], episodes: &[u32]) -> Self {
        let n_classes = predicted.iter().chain(labels).max().map_or(0, |&most| most as usize + 1);
        // For each class: tp, tp + fp, tp + fn.
        let by_episode = sums(episodes, 3 * n_classes, |i, sums| {
            let [predicted, label] = [predicted[i], labels[i]].map(|class| 3 * class as usize);
            sums[predicted] += f64::from(u8::from(predicted == label));
            sums[predicted + 1] += 1.0;
            sums[label + 2] += 1.0;
        });
        Self::of(&by_episode, |sums| {
            let classes = sums.chunks_exact(3).filter(|counts| counts[1] + counts[2] > 0.0);
            let (sum, n) =
                classes.fold((0.0, 0), |(sum, n), counts| (sum + 2.0 * counts[0] / (counts[1] + counts[2]), n + 1));
            sum / f64::from(n)
        })
    }

    /// Returns R², 1 − Σ (y − ŷ)² / Σ (y − ȳ)², with ȳ the mean of y: 1 is perfect, 0 as good as ȳ. If all y are equal,
    /// it is NaN or −∞.
    pub(super) fn r2(predicted: &[f64], expected: &[f64], episodes: &[u32]) -> Self {
        // Numbers near 0 lose no digits when squares are subtracted.
        let origin = expected.first().copied().unwrap_or_default();
        let by_episode = sums(episodes, 4, |i, sums| {
            let y = expected[i] - origin;
            let terms = [1.0, y, y * y, (expected[i] - predicted[i]).powi(2)];
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        });
        Self::of(&by_episode, |sums| 1.0 - sums[3] / (sums[2] - sums[1] * sums[1] / sums[0]))
    }

    /// Returns the share of frames that are `hits`.
    pub(super) fn share(hits: &[bool], episodes: &[u32]) -> Self {
        let by_episode = sums(episodes, 2, |i, sums| {
            sums[0] += f64::from(u8::from(hits[i]));
            sums[1] += 1.0;
        });
        Self::of(&by_episode, |sums| sums[0] / sums[1])
    }

    fn of(by_episode: &[Vec<f64>], formula: impl Fn(&[f64]) -> f64) -> Self {
        let mut total = vec![0.0; by_episode.first().map_or(0, Vec::len)];
        let mut value = |episodes: &[usize]| {
            total.fill(0.0);
            for &episode in episodes {
                total.iter_mut().zip(&by_episode[episode]).for_each(|(sum, term)| *sum += term);
            }
            formula(&total)
        };
        let all: Vec<usize> = (0..by_episode.len()).collect();
        let interval = bootstrap_interval(all.len(), N_RESAMPLES, &mut value).map(|(low, high)| [low, high]);
        Self { value: value(&all), interval }
    }
}

/// Returns `n_sums` sums for each episode, to which `add` adds the frame of an index.
fn sums(episodes: &[u32], n_sums: usize, add: impl Fn(usize, &mut [f64])) -> Vec<Vec<f64>> {
    let mut first = 0;
    let of_episode = |frames: &[u32]| {
        let mut sums = vec![0.0; n_sums];
        (first..first + frames.len()).for_each(|i| add(i, &mut sums));
        first += frames.len();
        sums
    };
    episodes.chunk_by(|a, b| a == b).map(of_episode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macro_f1_by_hand() {
        // Class 0: 2 right, 1 missed: 4/5. Class 1: 1 right, 1 wrongly: 2/3. Class 2 is missed, class 3 made up: 0
        // each.
        let f1 = |predicted: &[i64], labels: &[i64]| Score::macro_f1(predicted, labels, &vec![0; labels.len()]).value;
        let found = f1(&[0, 0, 1, 1, 3], &[0, 0, 0, 1, 2]);
        assert!((found - (0.8 + 2.0 / 3.0) / 4.0).abs() < 1e-12, "{found}");
        assert_eq!(f1(&[1, 2], &[1, 2]), 1.0);
    }

    #[test]
    fn r2_by_hand() {
        // Off by 0.6 each; y deviates from its mean by 1 each.
        let found = Score::r2(&[1.4, 4.6], &[2.0, 4.0], &[0, 0]);
        assert!((found.value - (1.0 - 2.0 * 0.36 / 2.0)).abs() < 1e-12, "{found:?}");
        assert_eq!(found.interval, None, "of one episode");
    }

    #[test]
    fn frames_of_an_episode_are_no_independent_sample() {
        let hits: Vec<bool> = (0..400).map(|i| i / 100 % 2 == 0).collect();
        let width = |per_episode: usize| {
            let episodes: Vec<u32> = (0..400).map(|i| (i / per_episode) as u32).collect();
            let score = Score::share(&hits, &episodes);
            assert_eq!(score.value, 0.5);
            score.interval.map(|[low, high]| high - low).expect("several episodes")
        };
        assert!((width(1) - 0.098).abs() < 0.01, "400 independent frames: {}", width(1));
        // Four episodes, each all hits or none: a resample is all of one kind with probability 1/8.
        assert_eq!(width(100), 1.0);
    }
}
