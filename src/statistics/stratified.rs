//! Statistics of runs on several tasks, as rliable defines them (Agarwal et al. 2021). Bootstraps are stratified: each
//! resample draws as many runs of a task as the task has, with replacement and separately for each task.

use super::{CONFIDENCE, N_RESAMPLES, iqm_in_place, quantile, sorted};
use carom_envs::Seeds;
use rand::Rng;

/// Resamples of the bands of a performance profile: the default of the paper's library for profiles.
const N_PROFILE_RESAMPLES: usize = 2_000;

/// Scores of an algorithm: for each task, those of its runs.
pub(crate) type TaskScores = [Vec<f64>];

/// An estimate and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub value: f64,
    /// Bounds; `None` if an algorithm has two runs of no task.
    pub interval: Option<(f64, f64)>,
}

/// Returns the interquartile mean over all runs of all tasks. The interval has 50,000 resamples.
pub(crate) fn iqm(scores: &TaskScores) -> Estimate {
    let (value, mut buffer) = (super::iqm(&scores.concat()), vec![]);
    let interval = bootstrap([&[], scores], N_RESAMPLES, |[_, scores]| {
        scores.clone_into(&mut buffer);
        vec![iqm_in_place(&mut buffer)]
    });
    Estimate { value, interval: interval.map(|intervals| intervals[0]) }
}

/// Returns the share of the runs of all tasks with a score above each of `thresholds`. The bands have 2,000 resamples.
pub(crate) fn profile(scores: &TaskScores, thresholds: &[f64]) -> Vec<Estimate> {
    let shares = |scores: &[f64]| -> Vec<f64> {
        let above = |threshold: &f64| scores.iter().filter(|score| *score > threshold).count() as f64;
        thresholds.iter().map(|threshold| above(threshold) / scores.len() as f64).collect()
    };
    let bands = bootstrap([&[], scores], N_PROFILE_RESAMPLES, |[_, scores]| shares(scores));
    let estimate = |(i, value)| Estimate { value, interval: bands.as_ref().map(|bands| bands[i]) };
    shares(&scores.concat()).into_iter().enumerate().map(estimate).collect()
}

/// Returns the probability that a run of `x` scores more than a run of `y` on the same task, as the mean over tasks.
/// Equal scores count half. The interval has 50,000 resamples.
///
/// # Panics
/// When `x` and `y` are not of the same number of tasks.
pub(crate) fn probability_of_improvement(x: &TaskScores, y: &TaskScores) -> Estimate {
    assert_eq!(x.len(), y.len(), "scores of the same tasks");
    let sizes = x.iter().zip(y).map(|(x, y)| (x.len(), y.len()));
    let probability = |x: &[f64], y: &[f64]| {
        let (mut at_x, mut at_y, mut sum) = (0, 0, 0.0);
        for (n_x, n_y) in sizes.clone() {
            sum += share_above(&x[at_x..at_x + n_x], &y[at_y..at_y + n_y]);
            (at_x, at_y) = (at_x + n_x, at_y + n_y);
        }
        sum / sizes.len() as f64
    };
    let value = probability(&x.concat(), &y.concat());
    let interval = bootstrap([x, y], N_RESAMPLES, |[x, y]| vec![probability(x, y)]);
    Estimate { value, interval: interval.map(|intervals| intervals[0]) }
}

/// Returns the share of the pairs of a score of `x` and one of `y` in which that of `x` is higher: the U of Mann and
/// Whitney, divided by the number of pairs. Equal scores count half.
fn share_above(x: &[f64], y: &[f64]) -> f64 {
    let points = x.iter().flat_map(|x| y.iter().map(move |y| if x > y { 1.0 } else { 0.5 * f64::from(x == y) }));
    points.sum::<f64>() / (x.len() * y.len()) as f64
}

/// Returns the 95 % percentile intervals of the statistics that `statistics` computes of two algorithms' resampled
/// scores, which it is given task after task. `None` if an algorithm has two runs of no task: what its other runs would
/// score is unknown then.
///
/// The random numbers are the same at each call.
fn bootstrap(
    algorithms: [&TaskScores; 2],
    n_resamples: usize,
    mut statistics: impl FnMut([&[f64]; 2]) -> Vec<f64>,
) -> Option<Vec<(f64, f64)>> {
    let is_single = |scores: &TaskScores| !scores.is_empty() && scores.iter().all(|runs| runs.len() < 2);
    if algorithms.into_iter().any(is_single) {
        return None;
    }
    let mut rng = Seeds::new(0).stream("bootstrap");
    let mut resamples = [vec![], vec![]];
    let mut values: Vec<Vec<f64>> = vec![];
    for _ in 0..n_resamples {
        for (scores, resample) in algorithms.iter().zip(&mut resamples) {
            resample.clear();
            for runs in *scores {
                resample.extend((0..runs.len()).map(|_| runs[rng.gen_range(0..runs.len() as u64) as usize]));
            }
        }
        let found = statistics([&resamples[0], &resamples[1]]);
        values.resize_with(found.len(), || Vec::with_capacity(n_resamples));
        values.iter_mut().zip(found).for_each(|(values, value)| values.push(value));
    }
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let interval = |values: &Vec<f64>| {
        let values = sorted(values);
        (quantile(&values, tail), quantile(&values, 1.0 - tail))
    };
    Some(values.iter().map(interval).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_as_worked_by_hand() {
        // Eight scores: the two lowest and the two highest are left out of 0, 1, 2, 3, 5, 6, 7, 80.
        let scores = [vec![0.0, 7.0, 3.0, 2.0], vec![80.0, 6.0, 1.0, 5.0]];
        assert_eq!(iqm(&scores).value, 4.0);
        let shares: Vec<f64> = profile(&scores, &[-1.0, 1.0, 5.5, 80.0]).iter().map(|point| point.value).collect();
        assert_eq!(shares, [1.0, 0.75, 0.375, 0.0]);
        // Of the pairs of the first task 3 of 4 are won; of the second one is won and one equal of 2.
        let (x, y) = ([vec![1.0, 5.0], vec![4.0]], [vec![0.0, 3.0], vec![4.0, 2.0]]);
        assert_eq!(probability_of_improvement(&x, &y).value, 0.75);
        assert_eq!(probability_of_improvement(&y, &x).value, 0.25);
    }

    #[test]
    fn each_task_is_resampled_by_itself() {
        // Whatever is drawn, half of the scores are of either task.
        let scores = [vec![1.0, 1.0, 1.0], vec![3.0, 3.0, 3.0]];
        assert_eq!(iqm(&scores), Estimate { value: 2.0, interval: Some((2.0, 2.0)) });
        assert_eq!(profile(&scores, &[2.0])[0], Estimate { value: 0.5, interval: Some((0.5, 0.5)) });
    }

    #[test]
    fn one_task_has_the_interval_of_its_runs_and_one_run_has_none() {
        let runs = vec![4.0, 1.0, 8.0, 3.0, 3.5];
        assert_eq!(iqm(std::slice::from_ref(&runs)).interval, super::super::iqm_interval(&runs));
        assert_eq!(iqm(&[vec![1.0], vec![2.0]]), Estimate { value: 1.5, interval: None });
        // Whichever of the two has one run of each task.
        let (one, two) = ([vec![1.0], vec![2.0]], [vec![0.0, 0.0], vec![0.0, 0.0]]);
        assert_eq!(probability_of_improvement(&one, &two), Estimate { value: 1.0, interval: None });
        assert_eq!(probability_of_improvement(&two, &one), Estimate { value: 0.0, interval: None });
    }

    /// Returns numbers of the file that rliable wrote.
    fn numbers(value: &serde_json::Value) -> Vec<f64> {
        let all = value.as_array().expect("a list");
        all.iter().map(|number| number.as_f64().expect("a number")).collect()
    }

    /// Checks an estimate against rliable's: the value exactly, the bounds, whose random numbers differ, within a share
    /// of the interval.
    fn check(found: Estimate, expected: &serde_json::Value, what: &str) {
        let [value, low, high] = numbers(expected)[..] else { panic!("{what}: three numbers") };
        let (found_low, found_high) = found.interval.expect("an interval");
        assert!((found.value - value).abs() < 1e-9, "{what}: {found:?}, rliable {value}");
        let off = (found_low - low).abs().max((found_high - high).abs());
        assert!(off <= 0.06 * (high - low) + 1e-9, "{what}: {found:?}, rliable [{low}, {high}]");
    }

    #[test]
    fn statistics_are_those_of_rliable() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/rliable.json");
        let golden = fs_err::read_to_string(path).expect("the file of scripts/golden");
        let cases: Vec<serde_json::Value> = serde_json::from_str(&golden).expect("a list");
        assert_eq!(cases.len(), 3);
        for (i, case) in cases.iter().enumerate() {
            let scores = |name: &str| -> Vec<Vec<f64>> {
                case["scores"][name].as_array().expect("tasks").iter().map(numbers).collect()
            };
            for name in ["x", "y"] {
                check(iqm(&scores(name)), &case["iqm"][name], &format!("case {i}, iqm of {name}"));
                let profile = profile(&scores(name), &numbers(&case["thresholds"]));
                for (j, point) in profile.into_iter().enumerate() {
                    let expected = &case["profile"][name][j];
                    // Shares come in steps of one run, and the file's bounds have six decimals.
                    let step = 1.0 / scores(name).concat().len() as f64 + 1e-6;
                    let [value, low, high] = numbers(expected)[..] else { panic!("three numbers") };
                    let (found_low, found_high) = point.interval.expect("a band");
                    let off = (found_low - low).abs().max((found_high - high).abs());
                    assert!((point.value - value).abs() < 1e-9 && off <= step, "case {i}: {point:?}, {expected}");
                }
            }
            let improvement = probability_of_improvement(&scores("x"), &scores("y"));
            check(improvement, &case["improvement"], &format!("case {i}, probability of improvement"));
        }
    }
}
