//! Compares encoders by the returns of an agent trained with each, over seeds, in one table.

use crate::config::training::TrainConfig;
use crate::encoder::ObsTransform;
use crate::human::count;
use crate::plot;
use crate::statistics::{iqm, iqm_interval, median};
use anyhow::Result;
use std::iter::once;
use std::path::{Path, PathBuf};

/// The metric that is compared: the mean return of the last 100 training episodes.
pub(crate) const METRIC: &str = "train/return";

/// Scores are taken after a quarter, a half and all of a run's steps.
const PARTS: [u64; 3] = [4, 2, 1];

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
    /// Environment steps spent on the frames that the encoder was fitted to.
    n_env_steps: u64,
    code_size: Option<usize>,
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
        let rest = ["share_of_oracle", "wall_s", "steps_per_s", "encoder_env_steps", "code_size"].map(String::from);
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
        let rest = ["of oracle", "seconds", "steps/s", "frames' steps", "code"].map(String::from);
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
        text + "\n" + LEGEND
    }
}

const LEGEND: &str = "\
Returns are interquartile means over seeds of the mean return of the last 100 training episodes at that step, with 95 %
bootstrap intervals (percentiles of 2,000 resamples of the seeds; fewer than four seeds are not trimmed, one has no
interval). `of oracle` is the last return divided by the oracle's. Seconds and steps/s are medians over seeds for the
training of the agent. They include neither the fit of the encoder nor the environment steps spent on its frames, which
are `frames' steps`. `code` is the size of a frame's code.
";

impl Row {
    fn read(encoder: &EncoderRuns, marks: &[u64]) -> Result<Self> {
        let curves = encoder.runs.iter().map(|(_, dir)| Ok(plot::points(dir, METRIC)?)).collect::<Result<Vec<_>>>()?;
        let times = encoder.runs.iter().filter_map(|(_, dir)| last_time(dir).transpose());
        let times = times.collect::<Result<Vec<_>>>()?;
        let (config, dir) = &encoder.runs[0];
        let transform = ObsTransform::open(config, dir)?;
        Ok(Self {
            encoder: encoder.encoder.clone(),
            n_runs: encoder.runs.len(),
            scores: marks.iter().map(|&mark| Score::at(mark, &curves)).collect(),
            share_of_oracle: None,
            wall_s: median(&times.iter().map(|&(_, wall_s)| wall_s).collect::<Vec<_>>()),
            steps_per_s: median(&times.iter().map(|&(step, wall_s)| step / wall_s).collect::<Vec<_>>()),
            n_env_steps: transform.n_env_steps(),
            code_size: transform.n_features(),
        })
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
            .chain([self.n_env_steps.to_string(), code_size])
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
        }
    }

    #[test]
    fn both_forms_have_a_row_an_encoder() {
        let score = Score { iqm: 2.0, interval: Some((1.0, 3.25)) };
        let rows = vec![row("raw", None, None, None), row("ae", Some(score), Some(0.5), Some(64))];
        let table = Comparison { title: "`dqn` on `taxi`".to_string(), marks: vec![600], rows };
        let csv = "encoder,seeds,iqm_600,low_600,high_600,share_of_oracle,wall_s,steps_per_s,encoder_env_steps,\
                   code_size\nraw,2,,,,,1.5,400,0,\nae,2,2,1,3.25,0.5,1.5,400,20000,64\n";
        assert_eq!(table.to_csv(), csv);
        let markdown = table.to_markdown();
        let expected = "\
`dqn` on `taxi`

| encoder |         600 steps | of oracle | seconds | steps/s | frames' steps | code |
| ------- | ----------------: | --------: | ------: | ------: | ------------: | ---: |
| raw     |                 – |         – |     1.5 |     400 |             – |    – |
| ae      | 2.00 [1.00, 3.25] |      0.50 |     1.5 |     400 |           20k |   64 |
";
        assert!(markdown.starts_with(expected), "{markdown}");
    }
}
