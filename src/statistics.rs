//! Statistics of a few runs: mean, median, interquartile mean and its bootstrap interval (Agarwal et al. 2021, "Deep
//! Reinforcement Learning at the Edge of the Statistical Precipice").

pub(crate) mod stratified;

use carom_envs::Seeds;
use rand::Rng;

/// Resamples of the interval of an interquartile mean: the default of the paper's library for intervals. Its 2,000 are
/// for performance profiles.
const N_RESAMPLES: usize = 50_000;

/// Share of the resamples within an interval.
const CONFIDENCE: f64 = 0.95;

/// Number of runs below which the interval of an interquartile mean is told to be too narrow.
pub(crate) const MIN_SAFE_RUNS: usize = 10;

/// Share of the 95 % intervals of three normally distributed runs that contain the true value.
pub(crate) const COVERAGE_OF_THREE: f64 = 0.70;

/// Share of the 95 % intervals of five normally distributed runs that contain the true value.
pub(crate) const COVERAGE_OF_FIVE: f64 = 0.90;

/// Returns the mean of `values`; NaN if there are none.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the mean of the middle half of `values`, without the ⌊n/4⌋ lowest and the ⌊n/4⌋ highest: the mean
/// of all of fewer than four values, the mean of the middle three of five. NaN if there are none.
pub(crate) fn iqm(values: &[f64]) -> f64 {
    iqm_in_place(&mut values.to_vec())
}

/// Returns the interquartile mean of `values`, which are sorted on the way.
fn iqm_in_place(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let cut = values.len() / 4;
    mean(&values[cut..values.len() - cut])
}

/// Returns the bounds of the 95 % confidence interval of the interquartile mean, by the percentile bootstrap: 50,000
/// resamples of `values`, each as large as `values` and drawn with replacement. The paper draws within each task
/// (stratified); `values` are the runs of one task. `None` if there are fewer than two values.
///
/// The random numbers are the same at each call.
pub(crate) fn iqm_interval(values: &[f64]) -> Option<(f64, f64)> {
    let mut resample = values.to_vec();
    bootstrap_interval(values.len(), N_RESAMPLES, |indices| {
        resample.iter_mut().zip(indices).for_each(|(to, &i)| *to = values[i]);
        iqm_in_place(&mut resample)
    })
}

/// Returns the bounds of the 95 % confidence interval of a statistic by the percentile bootstrap. `statistic` returns
/// the value for each of `n_resamples` resamples, which it is given as `n` indices below `n`, drawn with replacement;
/// values that are not finite are left out. `None` if `n` is below 2, or no value is finite.
///
/// The random numbers are the same at each call.
pub(crate) fn bootstrap_interval(
    n: usize,
    n_resamples: usize,
    mut statistic: impl FnMut(&[usize]) -> f64,
) -> Option<(f64, f64)> {
    if n < 2 {
        return None;
    }
    let mut rng = Seeds::new(0).stream("bootstrap");
    let mut indices = vec![0; n];
    let mut draw = || {
        indices.fill_with(|| rng.gen_range(0..n as u64) as usize);
        statistic(&indices)
    };
    let values: Vec<f64> = (0..n_resamples).map(|_| draw()).filter(|value| value.is_finite()).collect();
    let (values, tail) = (sorted(&values), (1.0 - CONFIDENCE) / 2.0);
    (!values.is_empty()).then(|| (quantile(&values, tail), quantile(&values, 1.0 - tail)))
}

/// Quantiles .975 of Student's t for 1 to 10 degrees of freedom.
const T_975: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// Returns the half width of the 95 % interval of the mean of normally distributed `values`, by Student's t; `None` for
/// less than two values.
pub(crate) fn t_half_width(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let df = values.len().checked_sub(1).filter(|&df| df > 0)?;
    let centre = mean(values);
    let variance = values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / df as f64;
    // Beyond ten, the expansion around the normal quantile (Abramowitz & Stegun 26.7.5) is off by less than .0005.
    let (z, d) = (1.959_964_f64, df as f64);
    let expanded = z + (z.powi(3) + z) / (4.0 * d) + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * d * d);
    Some(T_975.get(df - 1).copied().unwrap_or(expanded) * (variance / n).sqrt())
}

/// Returns the median of `values`; `None` if there are none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| quantile(&sorted(values), 0.5))
}

/// Returns the value below which the share `at` of `sorted` lies, interpolated linearly between its neighbours.
fn quantile(sorted: &[f64], at: f64) -> f64 {
    let place = at * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interquartile_means_are_as_worked_by_hand() {
        let cases: [(&[f64], f64); 5] = [
            (&[3.0], 3.0),
            (&[9.0, 0.0, 3.0], 4.0),
            (&[100.0, 2.0, 0.0, 8.0], 5.0),
            (&[5.0, -50.0, 1.0, 3.0, 90.0], 3.0),
            (&[8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 4.5),
        ];
        for (values, expected) in cases {
            assert_eq!(iqm(values), expected, "{values:?}");
        }
    }

    #[test]
    fn medians_and_quantiles_lie_between_neighbours() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(quantile(&[0.0, 10.0, 20.0], 0.25), 5.0);
    }

    #[test]
    fn two_values_are_resampled_to_either_of_them() {
        // A resample of two is both the same value with probability 1/4 each, far more than the 2.5 % of a tail.
        assert_eq!(iqm_interval(&[1.0, 3.0]), Some((1.0, 3.0)));
        assert_eq!(iqm_interval(&[2.0, 2.0, 2.0]), Some((2.0, 2.0)));
        assert_eq!(iqm_interval(&[2.0]), None);
    }

    /// Draws the Box-Muller transform of two uniform numbers.
    fn normal(rng: &mut rand_pcg::Pcg32) -> f64 {
        let (u, angle): (f64, f64) = (rng.gen_range(f64::MIN_POSITIVE..1.0), rng.gen_range(0.0..std::f64::consts::TAU));
        (-2.0 * u.ln()).sqrt() * angle.cos()
    }

    #[test]
    fn intervals_of_few_runs_cover_less_than_they_say() {
        const N_TRIALS: usize = 2000;
        let mut rng = Seeds::new(1).stream("coverage");
        let mut coverage = |n: usize| {
            let mut covers = || {
                let values: Vec<f64> = (0..n).map(|_| normal(&mut rng)).collect();
                let iqm_of = |indices: &[usize]| iqm(&indices.iter().map(|&i| values[i]).collect::<Vec<_>>());
                let (low, high) = bootstrap_interval(n, 400, iqm_of).expect("an interval");
                usize::from(low <= 0.0 && 0.0 <= high)
            };
            (0..N_TRIALS).map(|_| covers()).sum::<usize>() as f64 / N_TRIALS as f64
        };
        // As `carom compare` tells under its tables; five standard errors are .05 at most.
        for (n, expected) in [(3, COVERAGE_OF_THREE), (5, COVERAGE_OF_FIVE)] {
            assert!((coverage(n) - expected).abs() < 0.05, "{n} runs: {}", coverage(n));
        }
        assert!(coverage(MIN_SAFE_RUNS) > 0.88, "{}", coverage(MIN_SAFE_RUNS));
    }

    #[test]
    fn an_interval_holds_the_mean_shrinks_with_more_runs_and_repeats() {
        let runs = |n: u32| -> Vec<f64> { (0..n).map(|i| f64::from(i * 7 % 10)).collect() };
        let width = |values: &[f64]| {
            let (low, high) = iqm_interval(values).expect("an interval");
            assert!(low <= iqm(values) && iqm(values) <= high, "{low} {high}");
            high - low
        };
        assert!(width(&runs(10)) > 1.5 * width(&runs(40)), "four times the runs, about half the width");
        assert!(width(&runs(40)) > 1.5 * width(&runs(160)));
        assert_eq!(iqm_interval(&runs(10)), iqm_interval(&runs(10)));
    }
}
