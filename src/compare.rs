//! Compares agents, presets, encoders or settings by the returns of their runs over seeds and environments, in tables.

mod entrant;
mod overall;
mod results;
pub(crate) mod results_file;
mod row;
pub(crate) mod scale;
pub(crate) mod table;

use crate::config::training::TrainConfig;
use crate::human::count;
use crate::statistics::stratified::Estimate;
use crate::statistics::{COVERAGE_OF_FIVE, COVERAGE_OF_THREE, MIN_SAFE_RUNS};
use anyhow::{Result, ensure};
pub(crate) use entrant::{Entrant, METRIC, Side};
pub(crate) use overall::Overall;
pub(crate) use results::Results;
use results::{differing, owned};
use row::{Game, Row};
use scale::Scales;
use serde_json::{Map, Value, json};
use std::iter::once;
use table::table;

/// Scores are taken after a quarter, a half and all of a run's steps.
const PARTS: [u64; 3] = [4, 2, 1];

/// Digits of a SHA-256 that are enough to tell fits apart.
const SHOWN_DIGITS: usize = 12;

/// Kind of the entrants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Encoders of one agent, with what they cost.
    Encoders,
    /// Agents, presets or settings.
    Algorithms,
}

impl Subject {
    /// Returns what `results` are of. Those of encoders have the names of their encoders.
    pub(crate) fn of(results: &[Results]) -> Self {
        let is_encoder = |side: &Results| side.runs[0].run.settings.get("encoder") == Some(&side.name);
        if results.iter().all(is_encoder) { Self::Encoders } else { Self::Algorithms }
    }
}

/// The comparison as numbers.
#[derive(Debug)]
pub(crate) struct Comparison {
    subject: Subject,
    /// Environment steps after which scores are taken.
    marks: Vec<u64>,
    games: Vec<Game>,
    overall: Option<Overall>,
    /// What makes its numbers less comparable than they look.
    caveats: Vec<String>,
}

impl Comparison {
    /// Compares results. `scales` is given the settings and the best return of each environment, if there are several.
    ///
    /// # Errors
    /// When one side lacks an environment, or there are no scales.
    ///
    /// # Panics
    /// When `results` is empty.
    pub(crate) fn of(
        results: &[Results],
        subject: Subject,
        scales: impl FnOnce(&[(&TrainConfig, Option<f64>)]) -> Result<Scales>,
    ) -> Result<Self> {
        let shortest = results.iter().flat_map(|results| &results.runs).map(|run| run.config.run.steps).min();
        let marks: Vec<u64> = PARTS.iter().map(|part| shortest.expect("a run") / part).collect();
        let groups = by_env(results)?;
        let games: Vec<Game> = groups.iter().map(|group| Game::of(group, &marks)).collect();
        let scales = match &games[..] {
            [_] => None,
            games => {
                let configs = groups.iter().map(|group| group[0].config());
                Some(scales(&configs.zip(games.iter().map(Game::best)).collect::<Vec<_>>())?)
            }
        };
        let overall = Overall::of(&games, &marks, scales);
        let caveats =
            results.iter().filter_map(mixture).chain(groups.iter().filter_map(|group| rules(group, groups.len() > 1)));
        Ok(Self { subject, marks, games, overall, caveats: caveats.collect() })
    }

    /// Returns what a reader of the tables has to know, sentence by sentence.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.caveats.iter().cloned().chain(self.interval_warning()).collect()
    }

    /// Returns the statistics over all environments, or `None` if a run has not ended an episode.
    pub(crate) fn overall(&self) -> Option<&Overall> {
        self.overall.as_ref()
    }

    /// Returns the table as CSV, one row for each entrant and environment. Missing numbers are empty.
    pub(crate) fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for record in self.records() {
            writer.write_record(record).expect("a vector takes all, and rows are of one length");
        }
        String::from_utf8(writer.into_inner().expect("a vector takes all")).expect("rows are text")
    }

    /// Returns the table as JSON: the rows as objects with the names of the CSV file's columns, the probabilities of
    /// improvement over the first entrant, and the notes. Missing numbers are null.
    pub(crate) fn to_json(&self) -> Value {
        let mut records = self.records().into_iter();
        let head = records.next().unwrap_or_default();
        let value = |field: String| match (field.parse::<u64>(), field.parse::<f64>()) {
            (Ok(number), _) => json!(number),
            (_, Ok(number)) if number.is_finite() => json!(number),
            _ if field.is_empty() => Value::Null,
            _ => json!(field),
        };
        let row = |record: Vec<String>| head.iter().cloned().zip(record.into_iter().map(value)).collect();
        let rows: Vec<Map<String, Value>> = records.map(row).collect();
        let overall = self.overall.as_ref();
        let improvement = overall.map(|overall| {
            let of = |(name, estimate): &(String, Estimate)| {
                let (low, high) = estimate.interval.unzip();
                json!({"name": name, "over": overall.first(), "value": estimate.value, "low": low, "high": high})
            };
            overall.improvements().iter().map(of).collect::<Vec<_>>()
        });
        json!({"rows": rows, "improvement": improvement, "notes": self.notes()})
    }

    /// Returns the names of the columns, and the rows.
    fn records(&self) -> Vec<Vec<String>> {
        let of_encoders = self.subject == Subject::Encoders;
        let scores = self.marks.iter().flat_map(|mark| ["iqm", "low", "high"].map(|what| format!("{what}_{mark}")));
        let mut head = vec![self.noun().to_owned()];
        head.extend(self.has_several_games().then(|| "env".to_owned()));
        head.extend(once("seeds".to_owned()).chain(scores));
        head.extend(of_encoders.then(|| "share_of_oracle".to_owned()));
        head.extend(["wall_s", "steps_per_s"].map(String::from));
        if of_encoders {
            head.extend(["encoder_env_steps", "code_size", "encoder_sha256"].map(String::from));
        }
        let mut records = vec![];
        for game in &self.games {
            let env = || self.has_several_games().then(|| game.env.clone());
            let record = |row: &Row| -> Vec<String> {
                once(row.entrant.clone()).chain(env()).chain(row.fields(of_encoders)).collect()
            };
            records.extend(game.rows.iter().map(record));
        }
        if let Some(overall) = self.overall.as_ref().filter(|_| self.has_several_games()) {
            records.extend(overall.records(head.len()));
        }
        records.insert(0, head);
        records
    }

    /// Returns the tables as Markdown, with a legend of their columns.
    pub(crate) fn to_markdown(&self) -> String {
        let of_encoders = self.subject == Subject::Encoders;
        let mut head = vec![self.noun().to_owned()];
        head.extend(self.marks.iter().map(|&mark| format!("{} steps", count(mark))));
        head.extend(of_encoders.then(|| "of oracle".to_owned()));
        head.extend(["seconds", "steps/s"].map(String::from));
        if of_encoders {
            head.extend(["frames' steps", "code", "fits"].map(String::from));
        }
        let mut text = String::new();
        for game in &self.games {
            let cells =
                once(head.clone()).chain(game.rows.iter().map(|row| row.cells(of_encoders))).collect::<Vec<_>>();
            text += &format!("{}\n\n{}\n", game.title, table(&cells));
        }
        if let Some(overall) = &self.overall {
            text += &overall.to_markdown(self.noun(), &self.marks);
        }
        text + LEGEND
            + if of_encoders { LEGEND_OF_ENCODERS } else { LEGEND_OF_TIMES }
            + &self.notes().iter().map(|note| format!("\n{note}\n")).collect::<Vec<_>>().concat()
            + &self.weights()
    }

    fn has_several_games(&self) -> bool {
        self.games.len() > 1
    }

    /// Returns the name of the first column.
    fn noun(&self) -> &'static str {
        match self.subject {
            Subject::Encoders => "encoder",
            Subject::Algorithms => "algorithm",
        }
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.games.iter().flat_map(|game| &game.rows)
    }

    /// Warns of the intervals of few runs, or returns `None` if there are enough.
    fn interval_warning(&self) -> Option<String> {
        let fewest = self.rows().map(|row| row.n_runs).filter(|n| (2..MIN_SAFE_RUNS).contains(n)).min()?;
        let [three, five] = [COVERAGE_OF_THREE, COVERAGE_OF_FIVE].map(|share| format!("{:.0} %", 100.0 * share));
        Some(format!(
            "The intervals are of {fewest} seeds and too narrow: a 95 % bootstrap interval covers the true value in \
             about {three} of cases with three seeds, and {five} with five. Take {MIN_SAFE_RUNS} seeds or more to tell \
             close {}s apart.",
            self.noun()
        ))
    }

    /// Lists the weights of each encoder.
    fn weights(&self) -> String {
        let fitted: Vec<&Row> = self.rows().filter(|row| !row.weights.is_empty()).collect();
        if fitted.is_empty() {
            return String::new();
        }
        let line = |row: &&Row| {
            let shown: Vec<&str> = row.fits().iter().map(|sha256| &sha256[..SHOWN_DIGITS.min(sha256.len())]).collect();
            format!("- {}: {}\n", row.entrant, shown.join(", "))
        };
        let lines: String = fitted.iter().map(line).collect();
        format!("\nFirst digits of the SHA-256 of each fit's weights, in the order of the seeds:\n\n{lines}")
    }
}

/// Groups sides by environment, in order of first appearance, each with the names in one order.
///
/// # Errors
/// When one lacks an environment that another has.
pub(crate) fn by_env<T: Side>(sides: &[T]) -> Result<Vec<Vec<&T>>> {
    let (mut envs, mut names) = (vec![], vec![]);
    for side in sides {
        if !envs.contains(&side.env()) {
            envs.push(side.env());
        }
        if !names.contains(&side.name()) {
            names.push(side.name());
        }
    }
    let find = |env: &str, name: &str| sides.iter().find(|side| side.env() == env && side.name() == name);
    let mut groups = vec![];
    for env in envs {
        let lacking: Vec<_> = names.iter().copied().filter(|name| find(env, name).is_none()).collect();
        ensure!(
            lacking.is_empty(),
            "{env} has no runs of {}: all are compared in the same environments",
            lacking.join(", ")
        );
        groups.push(names.iter().filter_map(|name| find(env, name)).collect());
    }
    Ok(groups)
}

/// Returns a note if the runs of one side differ in more than their seeds.
fn mixture(results: &Results) -> Option<String> {
    let differing: Vec<String> = results.differing().into_iter().collect();
    let (name, env) = (results.name(), results.env());
    (!differing.is_empty()).then(|| format!("The runs of {name} on {env} differ in {}.", differing.join(", ")))
}

/// Returns a note if the sides play one environment by different rules. Scores that are `normalised` have a reference.
fn rules(group: &[&Results], normalised: bool) -> Option<String> {
    let rules = |side: &&Results| owned(side.runs[0].settings().filter(|(key, _)| key.starts_with("env."))).collect();
    let keys = differing(group.iter().map(rules));
    if keys.is_empty() {
        return None;
    }
    let side = |side: &&Results| format!("{} ({})", side.name(), side.config().env.protocol());
    let reference = format!(" Scores of 0 and 1 are by the rules of {}.", group[0].name());
    Some(format!(
        "{} is played by different rules, so that returns do not compare: {}. They differ in {}; --set makes them \
         equal.{}",
        group[0].env(),
        group.iter().map(side).collect::<Vec<_>>().join(", "),
        keys.into_iter().collect::<Vec<_>>().join(", "),
        if normalised { &reference } else { "" }
    ))
}

const LEGEND: &str = "\
Returns are interquartile means over seeds of the mean return of the last 100 training episodes at that step, with 95 %
bootstrap intervals (percentiles of 50,000 resamples of the seeds; fewer than four seeds are not trimmed, one has no
interval). A dash is where a run had not ended an episode. ";

const LEGEND_OF_ENCODERS: &str = "\
`of oracle` is the last return divided by the oracle's. Seconds and steps/s are medians over seeds for the
training of the agent. They include neither the fit of the encoder nor the environment steps spent on its frames, which
are `frames' steps`, of one fit. `code` is the size of a frame's code. `fits` is the number of different fits of the
encoder among the runs: if it is 1 for several seeds, intervals leave out what another fit would change.
";

const LEGEND_OF_TIMES: &str = "Seconds and steps/s are medians over seeds.\n";

impl Game {
    fn of(group: &[&Results], marks: &[u64]) -> Self {
        let mut rows: Vec<Row> = group.iter().map(|results| Row::of(results, marks)).collect();
        let oracle = rows.iter().find(|row| row.entrant == "oracle").and_then(Row::last_iqm).filter(|&iqm| iqm > 0.0);
        for row in &mut rows {
            row.share_of_oracle = row.last_iqm().zip(oracle).map(|(iqm, oracle)| iqm / oracle);
        }
        Self { env: group[0].env().to_owned(), title: title(group), rows }
    }

    /// Returns the highest of the last scores.
    fn best(&self) -> Option<f64> {
        self.rows.iter().filter_map(Row::last_iqm).max_by(f64::total_cmp)
    }
}

/// Returns what the runs of one environment share: agent, environment, protocol, steps and seeds.
fn title(group: &[&Results]) -> String {
    let runs = || group.iter().flat_map(|results| &results.runs);
    let shared = |mut all: Vec<String>| {
        all.sort();
        all.dedup();
        all
    };
    let agents = runs().filter_map(|run| run.run.actor().map(str::to_owned)).collect();
    let agent = match &shared(agents)[..] {
        [agent] => format!("`{agent}` on "),
        _ => String::new(),
    };
    let protocols = shared(runs().map(|run| run.config.env.protocol()).collect()).join(" / ");
    let mut steps: Vec<u64> = runs().map(|run| run.config.run.steps).collect();
    steps.sort_unstable();
    steps.dedup();
    let steps: Vec<String> = steps.into_iter().map(count).collect();
    let of_side = |results: &&Results| {
        results.runs.iter().map(|run| run.config.run.seed.to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut seeds: Vec<String> = group.iter().map(of_side).collect();
    seeds.dedup();
    let seeds = seeds.join(" / ");
    let noun = if seeds.contains([',', '/']) { "seeds" } else { "seed" };
    let env = group[0].env();
    format!("{agent}`{env}` ({protocols}), {} steps, {noun} {seeds}", steps.join(" / "))
}

#[cfg(test)]
mod tests {
    use super::row::Score;
    use super::*;

    #[test]
    fn a_score_is_of_where_each_run_stood_by_then() {
        let curves = [vec![(10.0, 1.0), (20.0, 5.0)], vec![(12.0, 3.0), (30.0, 9.0)]];
        assert_eq!(Score::at(9, &curves), None);
        assert_eq!(Score::at(11, &curves), None);
        assert_eq!(Score::at(12, &curves).map(|score| score.iqm), Some(2.0));
        assert_eq!(Score::at(25, &curves), Some(Score { iqm: 4.0, interval: Some((3.0, 5.0)) }));
        assert_eq!(Score::at(25, &curves[..1]), Some(Score { iqm: 5.0, interval: None }));
    }

    fn row(entrant: &str, score: Option<Score>, share_of_oracle: Option<f64>, code_size: Option<usize>) -> Row {
        let (wall_s, steps_per_s) = (Some(1.5), Some(400.0));
        let n_env_steps = if entrant == "ae" { 20_000 } else { 0 };
        Row {
            entrant: entrant.to_string(),
            n_runs: 2,
            curves: vec![],
            scores: vec![score],
            share_of_oracle,
            wall_s,
            steps_per_s,
            n_env_steps,
            code_size,
            weights: code_size.map(|_| vec!["a".repeat(64), "b".repeat(64)]).unwrap_or_default(),
        }
    }

    fn comparison(title: &str, rows: Vec<Row>) -> Comparison {
        let game = Game { env: "taxi".to_owned(), title: title.to_owned(), rows };
        Comparison { subject: Subject::Encoders, marks: vec![600], games: vec![game], overall: None, caveats: vec![] }
    }

    #[test]
    fn both_forms_have_a_row_an_encoder() {
        let score = Score { iqm: 2.0, interval: Some((1.0, 3.25)) };
        let rows = vec![row("raw", None, None, None), row("ae", Some(score), Some(0.5), Some(64))];
        let table = comparison("`dqn` on `taxi`", rows);
        let csv = format!(
            "encoder,seeds,iqm_600,low_600,high_600,share_of_oracle,wall_s,steps_per_s,encoder_env_steps,code_size,\
             encoder_sha256\nraw,2,,,,,1.5,400,0,,\nae,2,2,1,3.25,0.5,1.5,400,20000,64,{} {}\n",
            "a".repeat(64),
            "b".repeat(64)
        );
        assert_eq!(table.to_csv(), csv);
        let markdown = table.to_markdown();
        let expected = "\
`dqn` on `taxi`

| encoder |         600 steps | of oracle | seconds | steps/s | frames' steps | code | fits |
| ------- | ----------------: | --------: | ------: | ------: | ------------: | ---: | ---: |
| raw     |                 – |         – |     1.5 |     400 |             – |    – |    – |
| ae      | 2.00 [1.00, 3.25] |      0.50 |     1.5 |     400 |           20k |   64 |    2 |
";
        assert!(markdown.starts_with(expected), "{markdown}");
        assert!(markdown.ends_with("\n- ae: aaaaaaaaaaaa, bbbbbbbbbbbb\n"), "{markdown}");
    }

    #[test]
    fn intervals_of_fewer_than_ten_seeds_are_told_to_be_too_narrow() {
        let table = |n_runs| {
            let rows = vec![Row { n_runs, ..row("raw", None, None, None) }];
            comparison("", rows)
        };
        for n_runs in [2, 5, 9] {
            let warning = table(n_runs).interval_warning().expect("a warning");
            assert!(warning.contains(&format!("of {n_runs} seeds")) && warning.contains("70 %"), "{warning}");
            assert!(table(n_runs).to_markdown().contains(&warning));
        }
        // One seed has no interval.
        assert!([1, 10].iter().all(|&n_runs| table(n_runs).interval_warning().is_none()));
        // A row of one run has no interval, but the other has.
        let rows = [1, 3].map(|n_runs| Row { n_runs, ..row("raw", None, None, None) });
        assert!(comparison("t", rows.into()).interval_warning().is_some_and(|warning| warning.contains("of 3 seeds")));
    }
}
