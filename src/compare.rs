//! Compares encoders by the returns of an agent trained with each, over seeds, in one table.

use crate::config::training::TrainConfig;
use crate::encoder::ObsTransform;
use crate::human::count;
use crate::plot;
use crate::statistics::{COVERAGE_OF_FIVE, COVERAGE_OF_THREE, MIN_SAFE_RUNS, iqm, iqm_interval, median};
use anyhow::Result;
use std::collections::BTreeSet;
use std::iter::once;
use std::path::{Path, PathBuf};

/// The metric that is compared: the mean return of the last 100 training episodes.
pub(crate) const METRIC: &str = "train/return";

/// Scores are taken after a quarter, a half and all of a run's steps.
const PARTS: [u64; 3] = [4, 2, 1];

/// Digits of a SHA-256 that are enough to tell fits apart.
const SHOWN_DIGITS: usize = 12;

/// Cell without a number.
const NONE: &str = "–";

/// Runs with one encoder that differ in their seeds only.
pub(crate) struct EncoderRuns {
    /// Name of the encoder, as typed.
    pub encoder: String,
    /// Settings and directory of each run.
    pub runs: Vec<(TrainConfig, PathBuf)>,
}

/// The comparison as numbers.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Agent, environment, protocol, steps and seeds.
    title: String,
    /// Environment steps after which scores are taken.
    marks: Vec<u64>,
    rows: Vec<Row>,
}

/// Results of one encoder. Times are medians over its runs.
#[derive(Debug)]
struct Row {
    encoder: String,
    n_runs: usize,
    /// One score for each mark; `None` if a run had not ended an episode by then.
    scores: Vec<Option<Score>>,
    /// The last score divided by the oracle's, if that is above 0.
    share_of_oracle: Option<f64>,
    wall_s: Option<f64>,
    steps_per_s: Option<f64>,
    /// Environment steps spent on the frames of one fit.
    n_env_steps: u64,
    code_size: Option<usize>,
    /// SHA-256 of the encoder's weights in each run; empty if it has none.
    weights: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Score {
    iqm: f64,
    /// 95 % interval; `None` for a single run.
    interval: Option<(f64, f64)>,
}

impl Comparison {
    /// Reads the results of finished runs.
    ///
    /// # Errors
    /// When a file of a run cannot be read.
    ///
    /// # Panics
    /// When `encoders` is empty, or an encoder has no runs.
    pub(crate) fn read(encoders: &[EncoderRuns]) -> Result<Self> {
        let config = &encoders[0].runs[0].0;
        let marks: Vec<u64> = PARTS.iter().map(|part| config.run.steps / part).collect();
        let mut rows = encoders.iter().map(|encoder| Row::read(encoder, &marks)).collect::<Result<Vec<_>>>()?;
        let oracle = rows.iter().find(|row| row.encoder == "oracle").and_then(Row::last_iqm).filter(|&iqm| iqm > 0.0);
        for row in &mut rows {
            row.share_of_oracle = row.last_iqm().zip(oracle).map(|(iqm, oracle)| iqm / oracle);
        }
        let seeds: Vec<_> = encoders[0].runs.iter().map(|(config, _)| config.run.seed.to_string()).collect();
        let (agent, env, protocol, steps) =
            (config.agent.name(), config.env.id(), config.env.protocol(), count(config.run.steps));
        let title = format!("`{agent}` on `{env}` ({protocol}), {steps} steps, seeds {}", seeds.join(", "));
        Ok(Self { title, marks, rows })
    }

    /// Returns the table as CSV, one row for each encoder. Missing numbers are empty.
    pub(crate) fn to_csv(&self) -> String {
        let scores = self.marks.iter().flat_map(|mark| ["iqm", "low", "high"].map(|what| format!("{what}_{mark}")));
        let rest = ["share_of_oracle", "wall_s", "steps_per_s", "encoder_env_steps", "code_size", "encoder_sha256"];
        let rest = rest.map(String::from);
        let head: Vec<_> = ["encoder", "seeds"].map(String::from).into_iter().chain(scores).chain(rest).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        for record in once(head).chain(self.rows.iter().map(Row::record)) {
            writer.write_record(record).expect("a vector takes all, and rows are of one length");
        }
        String::from_utf8(writer.into_inner().expect("a vector takes all")).expect("rows are text")
    }

    /// Returns the table as Markdown, with a legend of its columns.
    pub(crate) fn to_markdown(&self) -> String {
        let marks = self.marks.iter().map(|&mark| format!("{} steps", count(mark)));
        let rest = ["of oracle", "seconds", "steps/s", "frames' steps", "code", "fits"].map(String::from);
        let head: Vec<_> = once("encoder".to_string()).chain(marks).chain(rest).collect();
        let cells: Vec<_> = once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..cells[0].len()).map(width).collect();
        let mut text = format!("{}\n\n", self.title);
        for (i, row) in cells.iter().enumerate() {
            let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            text += &format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "));
            if i == 0 {
                let rules = widths.iter().enumerate().map(|(column, &width)| match column {
                    0 => "-".repeat(width),
                    _ => format!("{}:", "-".repeat(width - 1)),
                });
                text += &format!("| {} |\n", rules.collect::<Vec<_>>().join(" | "));
            }
        }
        text + "\n"
            + LEGEND
            + &self.interval_warning().map(|warning| format!("\n{warning}\n")).unwrap_or_default()
            + &self.weights()
    }

    /// Warns of the intervals of few runs, or returns `None` if there are enough.
    pub(crate) fn interval_warning(&self) -> Option<String> {
        let fewest = self.rows.iter().map(|row| row.n_runs).min().filter(|n| (2..MIN_SAFE_RUNS).contains(n))?;
        let [three, five] = [COVERAGE_OF_THREE, COVERAGE_OF_FIVE].map(|share| format!("{:.0} %", 100.0 * share));
        Some(format!(
            "The intervals are of {fewest} seeds and too narrow: a 95 % bootstrap interval covers the true value in \
             about {three} of cases with three seeds, and {five} with five. Take {MIN_SAFE_RUNS} seeds or more to tell \
             close encoders apart."
        ))
    }

    /// Lists the weights of each encoder.
    fn weights(&self) -> String {
        let fitted: Vec<&Row> = self.rows.iter().filter(|row| !row.weights.is_empty()).collect();
        if fitted.is_empty() {
            return String::new();
        }
        let line = |row: &&Row| {
            let shown: Vec<&str> = row.fits().iter().map(|sha256| &sha256[..SHOWN_DIGITS.min(sha256.len())]).collect();
            format!("- {}: {}\n", row.encoder, shown.join(", "))
        };
        let lines: String = fitted.iter().map(line).collect();
        format!("\nFirst digits of the SHA-256 of each fit's weights, in the order of the seeds:\n\n{lines}")
    }
}

const LEGEND: &str = "\
Returns are interquartile means over seeds of the mean return of the last 100 training episodes at that step, with 95 %
bootstrap intervals (percentiles of 50,000 resamples of the seeds; fewer than four seeds are not trimmed, one has no
interval). `of oracle` is the last return divided by the oracle's. Seconds and steps/s are medians over seeds for the
training of the agent. They include neither the fit of the encoder nor the environment steps spent on its frames, which
are `frames' steps`, of one fit. `code` is the size of a frame's code. `fits` is the number of different fits of the
encoder among the runs: if it is 1 for several seeds, intervals leave out what another fit would change.
";

impl Row {
    fn read(encoder: &EncoderRuns, marks: &[u64]) -> Result<Self> {
        let curves = encoder.runs.iter().map(|(_, dir)| Ok(plot::points(dir, METRIC)?)).collect::<Result<Vec<_>>>()?;
        let times = encoder.runs.iter().filter_map(|(_, dir)| last_time(dir).transpose());
        let times = times.collect::<Result<Vec<_>>>()?;
        let transforms = encoder.runs.iter().map(|(config, dir)| ObsTransform::open(config, dir));
        let transforms = transforms.collect::<Result<Vec<_>>>()?;
        let n_env_steps: Vec<f64> = transforms.iter().map(|transform| transform.n_env_steps() as f64).collect();
        let weights = transforms.iter().filter_map(|transform| transform.sha256().transpose());
        Ok(Self {
            encoder: encoder.encoder.clone(),
            n_runs: encoder.runs.len(),
            scores: marks.iter().map(|&mark| Score::at(mark, &curves)).collect(),
            share_of_oracle: None,
            wall_s: median(&times.iter().map(|&(_, wall_s)| wall_s).collect::<Vec<_>>()),
            steps_per_s: median(&times.iter().map(|&(step, wall_s)| step / wall_s).collect::<Vec<_>>()),
            n_env_steps: median(&n_env_steps).unwrap_or_default().round() as u64,
            code_size: transforms[0].n_features(),
            weights: weights.collect::<Result<_>>()?,
        })
    }

    /// Returns the weights of different fits, in the order of the runs.
    fn fits(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.weights.iter().map(String::as_str).filter(|sha256| seen.insert(*sha256)).collect()
    }

    fn last_iqm(&self) -> Option<f64> {
        self.scores.last()?.map(|score| score.iqm)
    }

    fn record(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let scores = self.scores.iter().flat_map(|score| {
            let interval = score.and_then(|score| score.interval);
            [score.map(|score| score.iqm), interval.map(|bounds| bounds.0), interval.map(|bounds| bounds.1)]
        });
        let rest = [self.share_of_oracle, self.wall_s, self.steps_per_s];
        let code_size = self.code_size.map(|size| size.to_string()).unwrap_or_default();
        let first = [self.encoder.clone(), self.n_runs.to_string()];
        first
            .into_iter()
            .chain(scores.chain(rest).map(number))
            .chain([self.n_env_steps.to_string(), code_size, self.fits().join(" ")])
            .collect()
    }

    fn cells(&self) -> Vec<String> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_string());
        let scores = self.scores.iter().map(|score| or_none(score.map(Score::text)));
        let rest = [
            self.share_of_oracle.map(|share| format!("{share:.2}")),
            self.wall_s.map(|wall_s| format!("{wall_s:.1}")),
            self.steps_per_s.map(|steps_per_s| format!("{steps_per_s:.0}")),
            Some(self.n_env_steps).filter(|&steps| steps > 0).map(count),
            self.code_size.map(|size| size.to_string()),
            Some(self.fits().len()).filter(|&n| n > 0).map(|n| n.to_string()),
        ];
        once(self.encoder.clone()).chain(scores).chain(rest.map(or_none)).collect()
    }
}

impl Score {
    /// Returns the score of runs with these curves after `step` steps, or `None` if a run has no value by then.
    fn at(step: u64, curves: &[Vec<(f64, f64)>]) -> Option<Self> {
        let value = |curve: &Vec<(f64, f64)>| curve.iter().rfind(|point| point.0 <= step as f64).map(|point| point.1);
        let values = curves.iter().map(value).collect::<Option<Vec<_>>>()?;
        Some(Self { iqm: iqm(&values), interval: iqm_interval(&values) })
    }

    fn text(self) -> String {
        match self.interval {
            Some((low, high)) => format!("{:.2} [{low:.2}, {high:.2}]", self.iqm),
            None => format!("{:.2}", self.iqm),
        }
    }
}

/// Returns the last step in the run's `timing.csv` and the seconds up to it, or `None` if it has no row.
fn last_time(dir: &Path) -> Result<Option<(f64, f64)>> {
    Ok(plot::points(dir, "wall_s")?.last().copied().filter(|&(_, wall_s)| wall_s > 0.0))
}

#[cfg(test)]
mod tests {
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

    fn row(encoder: &str, score: Option<Score>, share_of_oracle: Option<f64>, code_size: Option<usize>) -> Row {
        let (wall_s, steps_per_s) = (Some(1.5), Some(400.0));
        let n_env_steps = if encoder == "ae" { 20_000 } else { 0 };
        Row {
            encoder: encoder.to_string(),
            n_runs: 2,
            scores: vec![score],
            share_of_oracle,
            wall_s,
            steps_per_s,
            n_env_steps,
            code_size,
            weights: code_size.map(|_| vec!["a".repeat(64), "b".repeat(64)]).unwrap_or_default(),
        }
    }

    #[test]
    fn both_forms_have_a_row_an_encoder() {
        let score = Score { iqm: 2.0, interval: Some((1.0, 3.25)) };
        let rows = vec![row("raw", None, None, None), row("ae", Some(score), Some(0.5), Some(64))];
        let table = Comparison { title: "`dqn` on `taxi`".to_string(), marks: vec![600], rows };
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
            Comparison { title: String::new(), marks: vec![600], rows }
        };
        for n_runs in [2, 5, 9] {
            let warning = table(n_runs).interval_warning().expect("a warning");
            assert!(warning.contains(&format!("of {n_runs} seeds")) && warning.contains("70 %"), "{warning}");
            assert!(table(n_runs).to_markdown().contains(&warning));
        }
        // One seed has no interval.
        assert!([1, 10].iter().all(|&n_runs| table(n_runs).interval_warning().is_none()));
    }
}
