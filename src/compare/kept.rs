//! Results of runs in one CSV file, to compare others with when the runs are gone.
//!
//! A row for each run: the name of what is compared, the environment with its settings, the seed, the steps, the
//! seconds, and the mean return of the last 100 episodes along the
//! run.

use super::entrant::Side;
use super::results::{Encoding, Results, RunResults};
use crate::config::layers::Layer;
use crate::config::training::{TRAINING, TrainConfig};
use crate::dotted::dotted;
use crate::plot::Run;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;

/// Columns before those of the returns.
const COLUMNS: [&str; 6] = ["name", "env", "env_settings", "seed", "steps", "wall_s"];
/// Prefix of the columns of returns. The step follows.
const RETURN: &str = "return_";
/// Points of each run.
const N_POINTS: u64 = 20;
/// Prefix of the keys of an environment's settings.
const ENV: &str = "env.";
/// What stands between settings.
const BETWEEN: &str = "; ";

/// Returns whether the file `path` is one of [`to_csv`].
pub(crate) fn is_kept(path: &Path) -> bool {
    fs_err::read_to_string(path).is_ok_and(|text| text.starts_with(&COLUMNS.join(",")))
}

/// Returns the results as CSV. A return is empty before a run's first episode has ended, and after its steps.
pub(crate) fn to_csv(results: &[Results]) -> String {
    let runs = || results.iter().flat_map(|results| results.runs.iter().map(|run| (&results.name, run)));
    let steps = |(_, run): (_, &RunResults)| run.config.run.steps;
    let points = |steps: u64| (1..=N_POINTS).map(move |i| steps * i / N_POINTS);
    let points: BTreeSet<u64> = runs().map(steps).collect::<BTreeSet<_>>().into_iter().flat_map(points).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = COLUMNS.map(str::to_owned).into_iter().chain(points.iter().map(|step| format!("{RETURN}{step}")));
    writer.write_record(head).expect("a vector takes all");
    for (name, run) in runs() {
        let run_config = &run.config.run;
        let settings = dotted(&run.config.to_toml());
        let settings = settings.iter().filter_map(|(key, value)| Some((key.strip_prefix(ENV)?, value)));
        let settings: Vec<String> = settings.map(|(key, value)| format!("{key}={value}")).collect();
        let wall_s = run.time.map(|(_, wall_s)| format!("{wall_s:.3}")).unwrap_or_default();
        let of_run = [
            name.clone(),
            run.config.env.id().to_owned(),
            settings.join(BETWEEN),
            run_config.seed.to_string(),
            run_config.steps.to_string(),
            wall_s,
        ];
        let value = |&step: &u64| {
            let is_made = step <= run_config.steps;
            let point = run.run.points.iter().rfind(|point| is_made && point.0 <= step as f64);
            point.map(|point| point.1.to_string()).unwrap_or_default()
        };
        writer.write_record(of_run.into_iter().chain(points.iter().map(value))).expect("rows are of one length");
    }
    String::from_utf8(writer.into_inner().expect("a vector takes all")).expect("rows are text")
}

/// Reads the results in the file `path`.
///
/// # Errors
/// When it cannot be read, is not a file of [`to_csv`], names an environment or a setting that does not exist, or has
/// one run twice.
pub(crate) fn read(path: &Path) -> Result<Vec<Results>> {
    let text = fs_err::read_to_string(path)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().cloned().unwrap_or_default();
    let steps = head.iter().skip(COLUMNS.len()).map(|column| column.strip_prefix(RETURN)?.parse().ok());
    let steps: Option<Vec<f64>> = steps.collect();
    let Some(steps) = steps.filter(|_| head.iter().take(COLUMNS.len()).eq(COLUMNS)) else {
        bail!(
            "{} is not a results.csv of `carom compare`: the first line is not {},{RETURN}<step>...",
            path.display(),
            COLUMNS.join(",")
        );
    };
    let mut all = vec![];
    for record in reader.records() {
        let record = record.with_context(|| path.display().to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let (name, run) = parse(&record, &steps).with_context(|| format!("{} line {line}", path.display()))?;
        add(&mut all, Results { name, runs: vec![run] }).with_context(|| path.display().to_string())?;
    }
    ensure!(!all.is_empty(), "{} has no runs", path.display());
    Ok(all)
}

/// Adds results to `all`: to those of the same name and environment, if there are such.
///
/// # Errors
/// When a seed is among them already.
pub(crate) fn add(all: &mut Vec<Results>, more: Results) -> Result<()> {
    more.runs.iter().try_for_each(|run| check_new(all, &more, run.config.run.seed))?;
    let Some(results) = all.iter_mut().find(|old| old.name == more.name && old.env() == more.env()) else {
        all.push(more);
        return Ok(());
    };
    results.runs.extend(more.runs);
    results.runs.sort_by_key(|run| run.config.run.seed);
    Ok(())
}

/// Checks that `all` have no run of this seed of `side`.
///
/// # Errors
/// When they have.
pub(crate) fn check_new(all: &[Results], side: &impl Side, seed: u64) -> Result<()> {
    let same = all.iter().filter(|old| old.name == side.name() && old.env() == side.env());
    let is_new = same.flat_map(|old| &old.runs).all(|run| run.config.run.seed != seed);
    ensure!(is_new, "there are two runs of {} in {} with seed {seed}", side.name(), side.env());
    Ok(())
}

/// Returns the name and the run of a row whose returns were taken after `steps`.
fn parse(record: &csv::StringRecord, steps: &[f64]) -> Result<(String, RunResults)> {
    let [name, env, settings, seed, n_steps, wall_s] = [0, 1, 2, 3, 4, 5].map(|i| &record[i]);
    let count = |column: &str, text: &str| {
        text.parse::<u64>().map_err(|_| anyhow::anyhow!("{column} is `{text}`, expected a whole number"))
    };
    let number = |column: &str, text: &str| match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => bail!("{column} is `{text}`, expected a number"),
    };
    // Any agent serves: results are not made again.
    let mut layer = Layer::default().with("env", Some(env)).with("agent", Some("random"));
    layer = layer.with("seed", Some(count("seed", seed)?)).with("steps", Some(count("steps", n_steps)?));
    for setting in settings.split(BETWEEN).filter(|setting| !setting.is_empty()) {
        layer.assign(&format!("{ENV}{setting}"), &TRAINING)?;
    }
    let config = TrainConfig::resolve(&[layer])?;
    let time = (!wall_s.is_empty()).then(|| number("wall_s", wall_s)).transpose()?;
    let values = steps.iter().zip(record.iter().skip(COLUMNS.len())).filter(|(_, text)| !text.is_empty());
    let points = values.map(|(&step, text)| Ok((step, number(&format!("{RETURN}{step}"), text)?)));
    let points = points.collect::<Result<Vec<_>>>()?;
    Ok((
        name.to_owned(),
        RunResults {
            run: Run::kept(env, config.env.protocol(), config.run.seed, points),
            time: time.filter(|&wall_s| wall_s > 0.0).map(|wall_s| (config.run.steps as f64, wall_s)),
            config,
            encoder: Encoding::default(),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name,env,env_settings,seed,steps,wall_s,return_100,return_200\n";
    const TAXI: &str = "max_steps=200";

    fn read_text(text: &str) -> Result<Vec<Results>> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.csv");
        fs_err::write(&path, text).expect("written");
        read(&path)
    }

    #[test]
    fn results_are_read_as_they_were_written() {
        // A shorter run, one without an episode by the first step, and one whose time is not known.
        let rows = [
            format!("sarsa,taxi,{TAXI},0,200,1.500,-90,8.25\n"),
            format!("sarsa,taxi,{TAXI},1,200,2.000,,-7\n"),
            format!("q,taxi,{TAXI},0,100,,-100.5,\n"),
        ];
        let results = read_text(&(HEAD.to_owned() + &rows.concat())).expect("whole");
        let [sarsa, q] = &results[..] else { panic!("two sides: {results:?}") };
        assert_eq!((sarsa.name(), sarsa.env(), sarsa.runs.len()), ("sarsa", "taxi", 2));
        assert_eq!(sarsa.runs[0].run.points, [(100.0, -90.0), (200.0, 8.25)]);
        assert_eq!((&sarsa.runs[1].run.points[..], sarsa.runs[1].time), (&[(200.0, -7.0)][..], Some((200.0, 2.0))));
        assert_eq!((q.runs[0].config.run.steps, q.runs[0].time), (100, None));
        // Written on the grid of twenty points of each length, which has those steps too.
        let text = to_csv(&results);
        assert!(text.starts_with("name,env,env_settings,seed,steps,wall_s,return_5,return_10,"), "{text}");
        let again = read_text(&text).expect("whole");
        assert_eq!(to_csv(&again), text);
        let last =
            |results: &[Results]| results.iter().map(|r| r.runs[0].run.points.last().copied()).collect::<Vec<_>>();
        assert_eq!(last(&again), last(&results));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let row = |row: &str| read_text(&format!("{HEAD}{row}\n")).map(drop).expect_err("a fault");
        let good = format!("sarsa,taxi,{TAXI},0,200,1,-90,8");
        for (bad, words) in [
            (good.replace(",-90,", ",often,"), "line 2: return_100 is `often`, expected a number"),
            (good.replace(",0,200,", ",0,2.5,"), "line 2: steps is `2.5`, expected a whole number"),
            (good.replace("taxi", "taxy"), "line 2: "),
            (good.replace("max_steps", "max_step"), "max_step"),
            (good.replace(",8", ""), "found record with 7 fields"),
            (format!("{good}\n{good}"), "there are two runs of sarsa in taxi with seed 0"),
        ] {
            let error = format!("{:#}", row(&bad));
            assert!(error.contains(words), "{words} in {error}");
        }
        for text in ["", "name,env,seed\n", "algorithm,env,seeds,iqm_250\nsarsa,taxi,2,8\n"] {
            let error = read_text(text).expect_err("no such file").to_string();
            assert!(error.contains("is not a results.csv of `carom compare`"), "{error}");
        }
        assert!(read_text(HEAD).expect_err("no runs").to_string().contains("has no runs"));
    }
}
