//! Statistics over all environments of a comparison.

use super::row::{Game, Score};
use super::scale::Scales;
use super::table::{NONE, table};
use crate::human::{count, plural};
use crate::statistics::stratified::{Estimate, iqm, probability_of_improvement, profile};

/// Points of a sample-efficiency curve.
const N_POINTS: u64 = 20;

/// Thresholds of a performance profile.
const N_THRESHOLDS: usize = 101;

/// Scores over all environments. With one environment, scores are returns.
#[derive(Debug)]
pub(crate) struct Overall {
    entrants: Vec<OfEntrant>,
    /// Each entrant but the first, with the probability that it is an improvement over the first.
    improvements: Vec<(String, Estimate)>,
    scales: Option<Scales>,
    n_games: usize,
}

/// A line with a point and perhaps an interval at each place.
type Lines = Vec<(String, Vec<(f64, Estimate)>)>;

#[derive(Debug)]
struct OfEntrant {
    name: String,
    n_runs: usize,
    /// Last scores: for each environment, those of its runs.
    last: Vec<Vec<f64>>,
    /// Interquartile mean at each mark.
    marks: Vec<Option<Estimate>>,
    /// Interquartile means along the runs.
    efficiency: Vec<(f64, Estimate)>,
}

impl Overall {
    /// Computes the statistics, or returns `None` if a run has no score at its end.
    pub(super) fn of(games: &[Game], marks: &[u64], scales: Option<Scales>) -> Option<Self> {
        let last = *marks.last()?;
        let scores = |entrant: usize, step: f64| -> Option<Vec<Vec<f64>>> {
            let of_game = |game: &Game| {
                let scale = scales.as_ref().map(|scales| scales.by_env[&game.env]);
                let values = game.rows[entrant].values_at(step)?;
                Some(values.into_iter().map(|value| scale.map_or(value, |scale| scale.score(value))).collect())
            };
            games.iter().map(of_game).collect()
        };
        let of_entrant = |entrant: usize| {
            let at = |step: f64| scores(entrant, step).map(|scores| iqm(&scores));
            let steps = (1..=N_POINTS).map(|i| last as f64 * i as f64 / N_POINTS as f64);
            Some(OfEntrant {
                name: games[0].rows[entrant].entrant.clone(),
                n_runs: games.iter().map(|game| game.rows[entrant].n_runs).min()?,
                last: scores(entrant, last as f64)?,
                marks: marks.iter().map(|&mark| at(mark as f64)).collect(),
                efficiency: steps.filter_map(|step| Some((step, at(step)?))).collect(),
            })
        };
        let entrants = (0..games[0].rows.len()).map(of_entrant).collect::<Option<Vec<_>>>()?;
        let over_first = |entrant: &OfEntrant| probability_of_improvement(&entrant.last, &entrants[0].last);
        let improvements = entrants[1..].iter().map(|entrant| (entrant.name.clone(), over_first(entrant))).collect();
        Some(Self { entrants, improvements, scales, n_games: games.len() })
    }

    /// Returns what scores of 0 and 1 mean, or `None` if scores are returns.
    pub(crate) fn meaning(&self) -> Option<&str> {
        self.scales.as_ref().map(|scales| scales.meaning.as_str())
    }

    /// Returns a note for figures: over what the scores are.
    pub(crate) fn note(&self) -> String {
        let numbers = || self.entrants.iter().map(|entrant| entrant.n_runs);
        let (fewest, most) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
        let range = if fewest == most { String::new() } else { format!("{fewest} to ") };
        let runs = range + &plural(most as u64, "seed");
        match self.n_games {
            1 => runs,
            games => format!("{games} environments \u{d7} {runs}"),
        }
    }

    /// Returns whether an entrant has several seeds.
    pub(crate) fn has_intervals(&self) -> bool {
        self.entrants.iter().any(|entrant| entrant.marks.iter().flatten().any(|mark| mark.interval.is_some()))
    }

    /// Returns the name of a score.
    pub(crate) fn score_name(&self) -> &'static str {
        if self.scales.is_some() { "normalised score" } else { "return, mean of the last 100 episodes" }
    }

    /// Returns each entrant with the interquartile mean of its last scores, or `None` if it has none.
    pub(crate) fn intervals(&self) -> Vec<Option<(String, Estimate)>> {
        let last = |entrant: &OfEntrant| Some((entrant.name.clone(), (*entrant.marks.last()?)?));
        self.entrants.iter().map(last).collect()
    }

    /// Returns each entrant's interquartile mean along the runs.
    pub(crate) fn efficiency(&self) -> Lines {
        self.entrants.iter().map(|entrant| (entrant.name.clone(), entrant.efficiency.clone())).collect()
    }

    /// Returns each entrant's performance profile: the share of its runs above each threshold.
    pub(crate) fn profiles(&self) -> Lines {
        let all = || self.entrants.iter().flat_map(|entrant| entrant.last.iter().flatten().copied());
        let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        // All runs are above the first threshold.
        let low = low - 0.02 * (high - low).max(f64::MIN_POSITIVE);
        let threshold = |i: usize| low + (high - low) * i as f64 / (N_THRESHOLDS - 1) as f64;
        let thresholds: Vec<f64> = (0..N_THRESHOLDS).map(threshold).collect();
        let line = |entrant: &OfEntrant| {
            let points = thresholds.iter().copied().zip(profile(&entrant.last, &thresholds)).collect();
            (entrant.name.clone(), points)
        };
        self.entrants.iter().map(line).collect()
    }

    /// Returns each entrant but the first with the probability that it is an improvement over the first.
    pub(crate) fn improvements(&self) -> &[(String, Estimate)] {
        &self.improvements
    }

    /// Returns the name of the first entrant, with which the others are compared.
    pub(crate) fn first(&self) -> &str {
        &self.entrants[0].name
    }

    /// Returns the rows of a CSV file of `n_fields` columns, for all environments together.
    pub(super) fn records(&self, n_fields: usize) -> Vec<Vec<String>> {
        let record = |entrant: &OfEntrant| {
            let mut record = vec![entrant.name.clone(), "all".to_owned(), entrant.n_runs.to_string()];
            for estimate in &entrant.marks {
                let numbers = Score::numbers(estimate.map(score));
                record.extend(numbers.map(|number| number.map(|value| value.to_string()).unwrap_or_default()));
            }
            record.resize(n_fields, String::new());
            record
        };
        self.entrants.iter().map(record).collect()
    }

    /// Returns the table over all environments, if there are several, and the probabilities of improvement.
    pub(super) fn to_markdown(&self, noun: &str, marks: &[u64]) -> String {
        let mut text = String::new();
        let or_none = |estimate: &Option<Estimate>| estimate.map_or(NONE.to_owned(), |found| score(found).text());
        if let Some(scales) = &self.scales {
            let mut cells = vec![vec![noun.to_owned()]];
            cells[0].extend(marks.iter().map(|&mark| format!("{} steps", count(mark))));
            for entrant in &self.entrants {
                cells.push(vec![entrant.name.clone()]);
                cells.last_mut().expect("a row").extend(entrant.marks.iter().map(or_none));
            }
            text += &format!("All {} environments, normalised: {}\n\n", self.n_games, scales.meaning);
            text += &format!("{}\n", table(&cells));
            let names = scales
                .by_env
                .iter()
                .map(|(env, scale)| format!("- `{env}`: 0 is a return of {:.2}, 1 is {:.2}\n", scale.zero, scale.one));
            text += &format!("{}\n", names.collect::<String>());
        }
        if self.improvements.is_empty() {
            return text;
        }
        let head = vec![noun.to_owned(), format!("probability of improvement over {}", self.first())];
        let row = |(name, estimate): &(String, Estimate)| vec![name.clone(), score(*estimate).text()];
        let cells: Vec<_> = std::iter::once(head).chain(self.improvements.iter().map(row)).collect();
        text + &format!("{}\n{LEGEND}\n", table(&cells))
    }
}

const LEGEND: &str = "\
The probability of improvement is that of a run's return being higher than one of the first row's in the same
environment, as the mean over environments. Equal returns count half, so that 0.5 is no difference.
";

fn score(Estimate { value, interval }: Estimate) -> Score {
    Score { iqm: value, interval }
}
