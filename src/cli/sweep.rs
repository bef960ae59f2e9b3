//! `carom sweep`: searches over settings. It makes the trials, ranks them, and writes the best configuration.

mod trials;

use super::compare::{OTHER_DIR, check_possible};
use super::jobs::{Job, Report};
use super::launch::{Batch, Launch, Made, given_up};
use super::print;
use super::seeds::parse_jobs;
use super::start::{check_unchanged, has_made};
use crate::human::{count, plural, shell};
use crate::plot::trials::{self as figure, Trials};
use crate::run::layout;
use crate::sweep::file::SweepFile;
use crate::sweep::journal::{self, Event, Journal};
use crate::sweep::ranking::{Ranking, Standing};
use crate::{files, interrupt};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use trials::Trial;

/// Search over settings: make a trial of each combination that a file describes, and rank them
///
/// FILE names the settings that are varied, and how: a grid, random draws, or successive halving. Each trial is an
/// ordinary run for each seed, in DIR/trial-<number>-s<seed>, and its score is the mean over the seeds. The same
/// command goes on with a search that was stopped, from DIR/journal.jsonl. Everything is checked before the first
/// trial begins.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// File of the search
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Runs that are made at once, each in a process of its own
    #[arg(long, value_name = "J", value_parser = parse_jobs, default_value = "1")]
    jobs: usize,
    /// Directory of the runs, the journal and the results [default: runs/<name of FILE>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the ranking as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    launch: Launch,
}

const EXAMPLES: &str = "Example of a file:
  search = \"halving\"             # or \"grid\", \"random\"
  seeds = \"0..3\"                 # of each trial
  [halving]
  least = \"5k\"                   # steps of all trials; the best third goes on with 15k, then 45k
  most = \"45k\"
  [random]                       # \"halving\" uses it too, else it takes the grid
  trials = 27
  [base]
  preset = \"taxi-q-learning\"
  [axes]
  \"agent.lr\" = { min = 0.01, max = 1, log = true }
  \"agent.epsilon_start\" = [0.05, 0.1, 0.3]

Writes table.md, which is also printed, trials.svg, best.toml and journal.jsonl.";

/// Files of a search.
const JOURNAL: &str = "journal.jsonl";
const TABLE: &str = "table.md";
const FIGURE: &str = "trials.svg";
const BEST: &str = "best.toml";
/// Folder of the settings of the trials.
const SETTINGS: &str = "settings";
/// Folder of the files of a job array.
const SLURM: &str = "slurm";

const GO_ON: &str = "the same command goes on with the search";

/// A run up to a rung: its trial, its seed and its steps.
type Part = (usize, u64, u64);

/// A search that was found to be possible.
struct Sweep {
    /// Path of its file.
    path: PathBuf,
    file: SweepFile,
    dir: PathBuf,
    trials: Vec<Trial>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let sweep = Sweep::open(arguments)?;
    fs_err::create_dir_all(&sweep.dir)?;
    let journal = Journal::open(&sweep.dir.join(JOURNAL), &sweep.file.settings)?;
    sweep.write_settings()?;
    let journal = Mutex::new(journal);
    let made = sweep.make(&journal, arguments)?;
    let journal = journal.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Made::Ended(code) = made else { return Ok(ExitCode::SUCCESS) };
    let ranking = sweep.ranking(&journal);
    sweep.report(&ranking, arguments.json)?;
    let has_failed = ranking.standings.iter().any(|standing| !standing.failures.is_empty());
    Ok(if has_failed && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code })
}

impl Sweep {
    /// Reads the file and checks everything that it asks for.
    fn open(arguments: &Arguments) -> Result<Self> {
        let path = &arguments.file;
        let source = || format!("in {}", path.display());
        let file = SweepFile::parse(&fs_err::read_to_string(path)?).with_context(source)?;
        let default = || Some(Path::new("runs").join(path.file_stem()?));
        let dir = arguments.out.clone().or_else(default).context("a file has a name")?;
        ensure!(!layout::is_run(&dir), "{} is a run; give a directory for the runs of a search", dir.display());
        let is_begun = journal::check(&dir.join(JOURNAL), &file.settings)?;
        let trials = trials::resolve(&file).with_context(source)?;
        let sweep = Self { path: path.clone(), file, dir, trials };
        if !is_begun {
            [TABLE, FIGURE, BEST, SETTINGS]
                .iter()
                .try_for_each(|name| files::check_default(&sweep.dir.join(name), OTHER_DIR))?;
        }
        let is_elsewhere = arguments.launch.is_elsewhere()?;
        for trial in &sweep.trials {
            let what = || format!("trial {} of {} ({})", trial.number, path.display(), sweep.words(&trial.values));
            for seed in &sweep.file.seeds {
                check_unchanged(&trial.config.with_seed(*seed).to_toml(), &sweep.run_dir(trial.number, *seed))?;
            }
            if !sweep.run_dir(trial.number, sweep.file.seeds[0]).exists() {
                check_possible(&trial.config, is_elsewhere).with_context(what)?;
            }
        }
        Ok(sweep)
    }

    /// Returns the directory of the run of a trial.
    fn run_dir(&self, trial: usize, seed: u64) -> PathBuf {
        self.dir.join(format!("{}-s{seed}", self.trial_name(trial)))
    }

    /// Returns the name of a trial. Names sort as numbers do.
    fn trial_name(&self, trial: usize) -> String {
        let width = (self.trials.len() - 1).to_string().len();
        format!("trial-{trial:0width$}")
    }

    fn settings_path(&self, trial: usize) -> PathBuf {
        self.dir.join(SETTINGS).join(format!("{}.toml", self.trial_name(trial)))
    }

    /// Writes the file of settings of each trial, which its processes read.
    fn write_settings(&self) -> Result<()> {
        for trial in &self.trials {
            let (path, text) = (self.settings_path(trial.number), trial.config.to_toml());
            if fs_err::read_to_string(&path).ok().as_deref() != Some(&text) {
                files::write_whole(&path, |file| file.write_all(text.as_bytes()))?;
            }
        }
        Ok(())
    }

    /// Returns the steps after which trials are judged; `None` stands for the end of a run.
    fn rungs(&self) -> Vec<Option<u64>> {
        let rungs = self.file.search.halving.map(|halving| halving.rungs()).unwrap_or_default();
        let before_last = &rungs[..rungs.len().saturating_sub(1)];
        before_last.iter().copied().map(Some).chain([None]).collect()
    }

    /// Returns the steps of a trial in a rung.
    fn steps(&self, trial: usize, rung: Option<u64>) -> u64 {
        rung.unwrap_or(self.trials[trial].config.run.steps)
    }

    /// Makes all runs that the journal lacks, rung by rung. It stops after a rung where runs failed for the first time:
    /// the cause may be gone when the same command goes on.
    fn make(&self, journal: &Mutex<Journal>, arguments: &Arguments) -> Result<Made> {
        let (mut alive, mut code): (Vec<usize>, _) = ((0..self.trials.len()).collect(), ExitCode::SUCCESS);
        for rung in self.rungs() {
            let decided = rung.and_then(|steps| lock(journal).promoted(steps).map(<[usize]>::to_vec));
            if let Some(promoted) = decided {
                alive = promoted;
                continue;
            }
            let failed_before = self.failed(&alive, rung, &lock(journal));
            let Made::Ended(made) = self.make_rung(&alive, rung, journal, arguments)? else {
                return Ok(Made::Elsewhere);
            };
            code = made;
            let Some(steps) = rung.filter(|_| !interrupt::requested()) else { break };
            let failed = self.failed(&alive, rung, &lock(journal));
            let is_final = |part: &Part| given_up(&self.run_dir(part.0, part.1)).is_some();
            let n_new = failed.difference(&failed_before).filter(|part| !is_final(part)).count();
            if n_new > 0 {
                let (runs, steps) = (plural(n_new as u64, "run"), count(steps));
                say!("{runs} failed: the same command tries again before it decides who goes on after {steps} steps");
                break;
            }
            alive = self.promote(&alive, steps, &mut lock(journal))?;
        }
        Ok(Made::Ended(code))
    }

    /// Returns the runs of a rung, seed by seed: if it is stopped, each trial has about the same number of runs.
    fn parts(&self, alive: &[usize], rung: Option<u64>) -> impl Iterator<Item = Part> {
        let of_seed = move |&seed: &u64| alive.iter().map(move |&trial| (trial, seed, self.steps(trial, rung)));
        self.file.seeds.iter().flat_map(of_seed)
    }

    /// Returns the runs of a rung whose latest result is a failure.
    fn failed(&self, alive: &[usize], rung: Option<u64>, journal: &Journal) -> BTreeSet<Part> {
        let has_failed = |part: &Part| matches!(journal.result(part.0, part.1, part.2), Some(Err(_)));
        self.parts(alive, rung).filter(has_failed).collect()
    }

    fn make_rung(
        &self,
        alive: &[usize],
        rung: Option<u64>,
        journal: &Mutex<Journal>,
        arguments: &Arguments,
    ) -> Result<Made> {
        let (mut waiting, mut of_dir) = (vec![], BTreeMap::new());
        for part in self.parts(alive, rung) {
            let (trial, seed, steps) = part;
            if matches!(lock(journal).result(trial, seed, steps), Some(Ok(_))) {
                continue;
            }
            let dir = self.run_dir(trial, seed);
            of_dir.insert(dir.clone(), part);
            // The process of a run whose checkpoints are damaged says so.
            if has_made(steps, &dir).unwrap_or(false) {
                self.judge(part, Ok(()), &mut lock(journal))?;
                continue;
            }
            waiting.push(self.job(trial, seed, rung));
        }
        if waiting.is_empty() {
            return Ok(Made::Ended(ExitCode::SUCCESS));
        }
        let ended = |job: &Job, result| self.judge(of_dir[&job.dir], result, &mut lock(journal));
        arguments.launch.make(Batch {
            jobs: waiting,
            n_at_once: arguments.jobs,
            folder: &self.dir.join(SLURM),
            is_made: &|job| has_made(of_dir[&job.dir].2, &job.dir).unwrap_or(false),
            report: Report { summaries: false, go_on: GO_ON, ended: &ended },
        })
    }

    /// Returns the process that makes a run up to a rung.
    fn job(&self, trial: usize, seed: u64, rung: Option<u64>) -> Job {
        let dir = self.run_dir(trial, seed);
        let mut arguments = vec!["train".into(), "--continue".into()];
        arguments.extend(["--config".into(), self.settings_path(trial).into()]);
        arguments.extend(["--seed".into(), seed.to_string().into(), "--out".into(), dir.clone().into()]);
        arguments.extend(rung.into_iter().flat_map(|steps| ["--pause-at".into(), steps.to_string().into()]));
        Job { dir, arguments }
    }

    /// Writes the score of a run to the journal, or that it failed.
    fn judge(&self, (trial, seed, steps): Part, ended: Result<(), String>, journal: &mut Journal) -> Result<()> {
        // Steps come in whole numbers for all environments.
        let last = steps.next_multiple_of(self.trials[trial].config.run.n_envs as u64);
        let metric = &self.file.metric;
        let score = ended.and_then(|()| match metric.of_run(&self.run_dir(trial, seed), last) {
            Ok(Some(score)) => Ok(score),
            Ok(None) => Err(format!("it has no `{}` by step {}", metric.name, count(last))),
            Err(error) => Err(error.to_string()),
        });
        journal.write(match score {
            Ok(score) => Event::Score { trial, seed, steps, score },
            Err(error) => Event::Failure { trial, seed, steps, error },
        })
    }

    /// Decides which trials go on after `steps` steps.
    fn promote(&self, alive: &[usize], steps: u64, journal: &mut Journal) -> Result<Vec<usize>> {
        let halving = self.file.search.halving.context("only halving has rungs")?;
        let values: Vec<Vec<String>> = self.trials.iter().map(|trial| trial.values.clone()).collect();
        let ranking = Ranking::new(&self.file, journal, &values, &vec![vec![steps]; values.len()]);
        let scored = ranking.standings.iter().filter(|standing| standing.score.is_some());
        let scored = scored.map(|standing| standing.trial).filter(|trial| alive.contains(trial));
        let promoted: Vec<usize> = scored.take(halving.n_kept(alive.len())).collect();
        ensure!(
            !promoted.is_empty(),
            "no trial has a score after {} steps: {} names the errors",
            count(steps),
            journal.path().display()
        );
        let trials = plural(alive.len() as u64, "trial");
        say!("{} of {trials} go on after {} steps", promoted.len(), count(steps));
        journal.write(Event::Promotion { steps, trials: promoted.clone() })?;
        Ok(promoted)
    }

    /// Returns the trials in the order of their scores so far.
    fn ranking(&self, journal: &Journal) -> Ranking<'_> {
        let values: Vec<Vec<String>> = self.trials.iter().map(|trial| trial.values.clone()).collect();
        let rungs = self.rungs();
        let of_trial = |trial: usize| rungs.iter().map(|&rung| self.steps(trial, rung)).collect();
        let steps: Vec<Vec<u64>> = (0..values.len()).map(of_trial).collect();
        Ranking::new(&self.file, journal, &values, &steps)
    }

    /// Writes the table, the figure and the best configuration, and prints the ranking.
    fn report(&self, ranking: &Ranking, json: bool) -> Result<()> {
        let table = ranking.to_markdown();
        files::write_whole(&self.dir.join(TABLE), |file| file.write_all(table.as_bytes()))?;
        if let Some(best) = ranking.best() {
            figure::write_file(&self.figure(ranking), &self.dir.join(FIGURE))?;
            let path = self.dir.join(BEST);
            let text = self.best_config(best, ranking, &path)?;
            files::write_whole(&path, |file| file.write_all(text.as_bytes()))?;
            let what = self.words(&best.values);
            say!("best: trial {} ({what}), score {}", best.trial, best.score_text());
            say!("-> {}: {TABLE}, {FIGURE}, {BEST}", self.dir.display());
        } else {
            say!("no trial has a score yet");
        }
        print(&if json { format!("{}\n", ranking.to_json()) } else { table })
    }

    /// Returns the best trial's settings as a preset file. Its seed is left to the command line.
    fn best_config(&self, best: &Standing, ranking: &Ranking, path: &Path) -> Result<String> {
        let (metric, score) = (&self.file.metric, best.score_text());
        let mut table: toml::Table = toml::from_str(&self.trials[best.trial].config.to_toml())?;
        table.remove("seed");
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        Ok(format!(
            "# {metric} {score}: the best of {} of {file} ({})\n# carom train --config {} --seeds 0..10\n{}",
            plural(ranking.n_scored() as u64, "trial"),
            self.words(&best.values),
            shell(path),
            toml::to_string(&table)?
        ))
    }

    /// Returns the values on the axes in words.
    fn words(&self, values: &[String]) -> String {
        let words = self.file.axes.iter().zip(values).map(|(axis, value)| format!("{}={value}", axis.key));
        words.collect::<Vec<_>>().join(" ")
    }

    fn figure(&self, ranking: &Ranking) -> Trials {
        let scored = ranking.standings.iter().filter_map(|standing| Some((standing, standing.score?)));
        let trials: Vec<_> = scored
            .map(|(standing, score)| figure::Trial {
                values: standing.values.clone(),
                score,
                scores: standing.scores.iter().map(|&(_, score)| score).collect(),
                is_given_up: ranking.is_given_up(standing),
            })
            .collect();
        let mut notes = vec!["orange: the best".to_owned(), "the darker, the better by rank".to_owned()];
        notes.extend(
            trials.iter().any(|trial| trial.is_given_up).then(|| "gray: given up after fewer steps".to_owned()),
        );
        let n_seeds = self.file.seeds.len();
        notes.extend((n_seeds > 1).then(|| format!("scores are means over {n_seeds} seeds")));
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        Trials {
            title: format!("{} of {file}", plural(trials.len() as u64, "trial")),
            notes,
            axes: self.file.axes.iter().map(|axis| axis.key.clone()).collect(),
            score: self.file.metric.to_string(),
            best_first: trials,
        }
    }
}

fn lock(journal: &Mutex<Journal>) -> std::sync::MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}
