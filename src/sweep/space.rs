//! The settings that are varied, and the combinations of their values.

use anyhow::{Result, bail, ensure};
use carom_envs::Seeds;
use rand::Rng;
use std::collections::BTreeSet;

/// Bounds the trials of a search: more run directories are a mistake.
pub(crate) const MAX_TRIALS: usize = 10_000;

/// Bounds the draws in a row that give no new combination.
const MAX_REPEATED_DRAWS: usize = 1000;

/// Digits that drawn values keep, of the number or of a narrower range's width. More would make no difference to a run,
/// and tables hard to read.
const DIGITS: usize = 3;

/// A setting that is varied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// Its key, as `--set` spells it.
    pub key: String,
    /// The values that it may have.
    pub values: Values,
}

/// The values of an axis, as `--set` spells them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    /// These values.
    List(Vec<String>),
    /// Numbers of a range.
    Range(Range),
}

/// A range of numbers, with both bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    /// The lowest number.
    pub min: f64,
    /// The highest number.
    pub max: f64,
    /// Whether the logarithm of the number is distributed evenly, instead of the number.
    pub log: bool,
    /// Whether the number is whole.
    pub integer: bool,
}

/// One value for each axis, in their order.
pub(crate) type Combination = Vec<String>;

impl Axis {
    fn draw(&self, rng: &mut impl Rng) -> String {
        match &self.values {
            Values::List(values) => values[rng.gen_range(0..values.len())].clone(),
            Values::Range(range) => range.text(rng.r#gen()),
        }
    }
}

impl Range {
    /// Returns the number at `share`, from 0 to 1, of the range.
    fn text(self, share: f64) -> String {
        let Self { min, max, log, integer } = self;
        let number = match log {
            true => (min.ln() + share * (max.ln() - min.ln())).exp(),
            false => min + share * (max - min),
        };
        let shared_digits = (number.abs().log10().floor() - (max - min).log10().floor()).max(0.0) as usize;
        let rounded: f64 = match integer {
            true => number.round(),
            false => format!("{number:.*e}", DIGITS - 1 + shared_digits).parse().expect("a number that was written"),
        };
        rounded.clamp(min, max).to_string()
    }
}

/// Returns every combination of the values of `axes`, which are lists. The last axis changes fastest.
///
/// # Errors
/// When an axis is a range, or there are more than [`MAX_TRIALS`] combinations.
pub(crate) fn grid(axes: &[Axis]) -> Result<Vec<Combination>> {
    let mut all: Vec<Combination> = vec![vec![]];
    for Axis { key, values } in axes {
        let Values::List(values) = values else {
            bail!("[axes] {key} is a range, and a grid needs a list of values; search = \"random\" draws from ranges");
        };
        ensure!(all.len() * values.len() <= MAX_TRIALS, "the grid has more than {MAX_TRIALS} combinations");
        let with = |before: &Combination, value: &String| before.iter().chain([value]).cloned().collect();
        all = all.iter().flat_map(|before| values.iter().map(|value| with(before, value))).collect();
    }
    Ok(all)
}

/// Draws `n_trials` different combinations. The first of them are the same for every number of trials.
///
/// # Errors
/// When the axes have fewer combinations.
pub(crate) fn draw(axes: &[Axis], n_trials: usize, seed: u64) -> Result<Vec<Combination>> {
    let mut rng = Seeds::new(seed).stream("sweep");
    let (mut all, mut found, mut n_repeated) = (vec![], BTreeSet::new(), 0);
    while all.len() < n_trials {
        let drawn: Combination = axes.iter().map(|axis| axis.draw(&mut rng)).collect();
        if found.insert(drawn.clone()) {
            all.push(drawn);
            n_repeated = 0;
        } else {
            n_repeated += 1;
            let (n, has_range) = (all.len(), axes.iter().any(|axis| matches!(axis.values, Values::Range(_))));
            // A grid takes no range.
            let hint = if has_range { "" } else { "; search = \"grid\" tries them all" };
            ensure!(
                n_repeated < MAX_REPEATED_DRAWS,
                "[random] trials is {n_trials}, and the axes have {n} combinations{hint}"
            );
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(key: &str, values: &[&str]) -> Axis {
        Axis { key: key.to_owned(), values: Values::List(values.iter().map(|&value| value.to_owned()).collect()) }
    }

    #[test]
    fn a_grid_has_every_combination() {
        let axes = [list("a", &["1", "2"]), list("b", &["x", "y", "z"])];
        let grid = grid(&axes).expect("lists");
        assert_eq!(
            (grid.len(), &grid[0], &grid[1]),
            (6, &vec!["1".to_owned(), "x".into()], &vec!["1".into(), "y".into()])
        );
    }

    #[test]
    fn draws_are_within_their_range_and_repeat_with_the_seed() {
        let range = |min, max, log, integer| Values::Range(Range { min, max, log, integer });
        let axes = [
            Axis { key: "lr".to_owned(), values: range(1e-5, 1e-1, true, false) },
            Axis { key: "n".to_owned(), values: range(1.0, 9.0, false, true) },
        ];
        let all = draw(&axes, 200, 7).expect("many");
        assert_eq!(draw(&axes, 20, 7).expect("fewer"), all[..20]);
        assert_ne!(draw(&axes, 20, 8).expect("others"), all[..20]);
        let numbers = |i: usize| all.iter().map(move |one| one[i].parse::<f64>().expect("a number"));
        assert!(numbers(0).all(|rate| (1e-5..=1e-1).contains(&rate)));
        // Half of the draws are below the middle of the logarithms.
        assert!((80..120).contains(&numbers(0).filter(|rate| *rate < 1e-3).count()));
        assert!(numbers(1).all(|n| n.fract() == 0.0 && (1.0..=9.0).contains(&n)));
        let error = draw(&[list("a", &["1", "2"])], 3, 0).expect_err("two at most").to_string();
        assert!(error.contains("2 combinations; search = \"grid\""), "{error}");
        let error = draw(&axes[1..], 10, 0).expect_err("nine at most").to_string();
        assert!(error.ends_with("9 combinations"), "{error}");
    }

    #[test]
    fn drawn_values_have_three_digits_of_the_number_or_of_a_narrower_range() {
        let range = |min, max, log| Range { min, max, log, integer: false };
        let at = |range: Range| [0.0, 0.25, 0.5, 1.0].map(|share| range.text(share));
        assert_eq!(at(range(0.995, 0.9999, false)), ["0.995", "0.99623", "0.99745", "0.9999"]);
        assert_eq!(at(range(0.01, 1.0, false)), ["0.01", "0.258", "0.505", "1"]);
        assert_eq!(at(range(-1.0, 1.0, false)), ["-1", "-0.5", "0", "1"]);
        assert_eq!(at(range(0.01, 1.0, true)), ["0.01", "0.0316", "0.1", "1"]);
    }
}
