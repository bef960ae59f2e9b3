//! Results of runs in one CSV file, to compare others with when the runs are gone.
//!
//! A row for each run: the name of what is compared, the run's settings, what its encoder cost, its seconds, and the
//! mean return of the last 100 episodes along the run.

use super::entrant::Side;
use super::results::{Encoding, Results, RunResults};
use crate::config::layers::Layer;
use crate::config::training::{TRAINING, TrainConfig};
use crate::dotted::Dotted;
use crate::plot::{MAX_VALUE, Run};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;

/// Columns before those of the returns.
const COLUMNS: [&str; 9] =
    ["name", "env", "seed", "steps", "settings", "wall_s", "encoder_env_steps", "code_size", "encoder_sha256"];
/// Prefix of the columns of returns. The step follows.
const RETURN: &str = "return_";
/// Points of each run.
const N_POINTS: u64 = 100;
/// What stands between settings.
const BETWEEN: &str = "; ";

/// Returns whether the file `path` is one of [`to_csv`].
pub(crate) fn is_ours(path: &Path) -> bool {
    fs_err::read_to_string(path).is_ok_and(|text| text.starts_with(&COLUMNS.join(",")))
}

/// Returns the results as CSV. A return is empty before a run's first episode has ended, and after its steps.
pub(crate) fn to_csv(results: &[Results]) -> String {
    let runs = || results.iter().flat_map(|results| results.runs.iter().map(|run| (&results.name, run)));
    let steps = |(_, run): (_, &RunResults)| run.config.run.steps;
    let points = |steps: u64| (1..=N_POINTS).map(move |i| steps / N_POINTS * i + steps % N_POINTS * i / N_POINTS);
    let points: BTreeSet<u64> = runs().map(steps).collect::<BTreeSet<_>>().into_iter().flat_map(points).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = COLUMNS.map(str::to_owned).into_iter().chain(points.iter().map(|step| format!("{RETURN}{step}")));
    writer.write_record(head).expect("a vector takes all");
    for (name, run) in runs() {
        let settings: Vec<String> = run.settings().map(|(key, value)| format!("{key}={value}")).collect();
        let of_run = [
            name.clone(),
            run.config.env.id().to_owned(),
            run.config.run.seed.to_string(),
            run.config.run.steps.to_string(),
            settings.join(BETWEEN),
            run.time.map(|(_, wall_s)| format!("{wall_s:.3}")).unwrap_or_default(),
            run.encoder.n_env_steps.to_string(),
            run.encoder.code_size.map(|size| size.to_string()).unwrap_or_default(),
            run.encoder.sha256.clone().unwrap_or_default(),
        ];
        let value = |&step: &u64| {
            let is_made = step <= run.config.run.steps;
            let point = run.run.points.iter().rfind(|point| is_made && point.0 <= step as f64);
            point.map(|point| point.1.to_string()).unwrap_or_default()
        };
        writer.write_record(of_run.into_iter().chain(points.iter().map(value))).expect("rows are of one length");
    }
    String::from_utf8(writer.into_inner().expect("a vector takes all")).expect("rows are text")
}

/// Returns whether both are of one run, or of two that only chance tells apart.
fn is_same(a: &RunResults, b: &RunResults) -> bool {
    let of = |run: &RunResults| (run.config.run.seed, run.config.run.steps);
    of(a) == of(b) && a.settings().eq(b.settings())
}

/// Reads the results in the file `path`.
///
/// # Errors
/// When it cannot be read, is not a whole file of [`to_csv`], names an environment or a setting of it that does not
/// exist, or has two runs with the same settings.
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
    ensure!(text.ends_with('\n'), "{} ends within a line: the rest of it was lost", path.display());
    let mut all = vec![];
    for record in reader.records() {
        let record = record.with_context(|| path.display().to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let place = || format!("{} line {line}", path.display());
        let (name, run) = parse(&record, &steps).with_context(place)?;
        add(&mut all, Results { name, runs: vec![run] }).with_context(place)?;
    }
    ensure!(!all.is_empty(), "{} has no runs", path.display());
    Ok(all)
}

/// Adds results to `all`: to those of the same name and environment, if there are such.
///
/// # Errors
/// When two runs have the same seed and settings, and other results.
pub(crate) fn add(all: &mut Vec<Results>, more: Results) -> Result<()> {
    let Some(results) = all.iter_mut().find(|old| old.name == more.name && old.env() == more.env()) else {
        all.push(more);
        return Ok(());
    };
    for run in more.runs {
        let Some(same) = results.runs.iter_mut().find(|other| is_same(other, &run)) else {
            results.runs.push(run);
            continue;
        };
        ensure!(
            at_end(same) == at_end(&run),
            "there are two runs of {} in {} with seed {} and the same settings, which ended with different returns",
            more.name,
            run.config.env.id(),
            run.config.run.seed
        );
        // The later one may be the run itself, with all of its points.
        *same = run;
    }
    results.runs.sort_by_key(|run| run.config.run.seed);
    Ok(())
}

fn at_end(run: &RunResults) -> Option<f64> {
    run.run.points.last().map(|point| point.1)
}

/// Returns a run of `old` that `new` lacks, if there is one: its name, its environment and its seed.
pub(crate) fn lost(old: &[Results], new: &[(&str, &TrainConfig)]) -> Option<String> {
    let is_there = |name: &str, run: &RunResults| {
        let of = |config: &TrainConfig| (config.env.id().to_owned(), config.run.seed);
        new.iter().any(|(other, config)| *other == name && of(config) == of(&run.config))
    };
    let lost = |results: &Results| {
        let run = results.runs.iter().find(|run| !is_there(&results.name, run))?;
        Some(format!("{} in {}, seed {}", results.name, results.env(), run.config.run.seed))
    };
    old.iter().find_map(lost)
}

/// Returns the name and the run of a row whose returns were taken after `steps`.
fn parse(record: &csv::StringRecord, steps: &[f64]) -> Result<(String, RunResults)> {
    let [name, env, seed, n_steps, settings, wall_s, n_env_steps, code_size, sha256] =
        std::array::from_fn(|i| &record[i]);
    ensure!(!name.trim().is_empty(), "name is empty");
    ensure!(!name.contains(char::is_control), "name is {name:?}, expected one line of text");
    let count = |column: &str, text: &str| {
        text.parse::<u64>().map_err(|_| anyhow::anyhow!("{column} is `{text}`, expected a whole number"))
    };
    let number = |column: &str, text: &str| match text.parse::<f64>() {
        Ok(value) if value.abs() <= MAX_VALUE => Ok(value),
        Ok(value) if value.is_finite() => bail!("{column} is `{text}`, expected a number up to {MAX_VALUE:e}"),
        _ => bail!("{column} is `{text}`, expected a number"),
    };
    let setting = |text: &str| {
        let (key, value) = text.split_once('=').with_context(|| format!("settings: `{text}` is not KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    let settings = settings.split(BETWEEN).filter(|text| !text.is_empty()).map(setting);
    let mut settings = settings.collect::<Result<Dotted>>()?;
    // Any agent serves: results are not made again. That of the run may be unknown here.
    let mut layer = Layer::default().with("env", Some(env)).with("agent", Some("random"));
    layer = layer.with("seed", Some(count("seed", seed)?)).with("steps", Some(count("steps", n_steps)?));
    for (key, value) in settings.iter().filter(|(key, _)| key.starts_with("env.")) {
        layer.assign(&format!("{key}={value}"), &TRAINING)?;
    }
    let config = TrainConfig::resolve(&[layer])?;
    let if_given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let time = if_given(wall_s).map(|text| number("wall_s", &text)).transpose()?;
    let values = steps.iter().zip(record.iter().skip(COLUMNS.len())).filter(|(_, text)| !text.is_empty());
    let points = values.map(|(&step, text)| Ok((step, number(&format!("{RETURN}{step}"), text)?)));
    let mut points = points.collect::<Result<Vec<_>>>()?;
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let encoder = Encoding {
        n_env_steps: count("encoder_env_steps", n_env_steps)?,
        code_size: if_given(code_size).map(|text| count("code_size", &text)).transpose()?.map(|size| size as usize),
        sha256: if_given(sha256),
    };
    settings.insert("env".to_owned(), env.to_owned());
    Ok((
        name.to_owned(),
        RunResults {
            run: Run::of_points(settings, config.env.protocol(), config.run.seed, points),
            time: time.filter(|&wall_s| wall_s > 0.0).map(|wall_s| (config.run.steps as f64, wall_s)),
            config,
            encoder,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "name,env,seed,steps,settings,wall_s,encoder_env_steps,code_size,encoder_sha256,return_100,return_200\n";
    const SARSA: &str = "agent=sarsa; agent.lr=0.5; env.max_steps=200";

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
            format!("sarsa,taxi,0,200,{SARSA},1.500,0,,,-90,8.25\n"),
            format!("sarsa,taxi,1,200,{SARSA},2.000,500,32,ab12,,-7\n"),
            "q,taxi,0,100,agent=not-here,,0,,,-100.5,\n".to_owned(),
        ];
        let results = read_text(&(HEAD.to_owned() + &rows.concat())).expect("whole");
        let [sarsa, q] = &results[..] else { panic!("two sides: {results:?}") };
        assert_eq!((sarsa.name(), sarsa.env(), sarsa.runs.len()), ("sarsa", "taxi", 2));
        assert_eq!(sarsa.runs[0].run.points, [(100.0, -90.0), (200.0, 8.25)]);
        assert_eq!((&sarsa.runs[1].run.points[..], sarsa.runs[1].time), (&[(200.0, -7.0)][..], Some((200.0, 2.0))));
        assert_eq!((q.runs[0].config.run.steps, q.runs[0].time), (100, None));
        let Encoding { n_env_steps, code_size, sha256 } = &sarsa.runs[1].encoder;
        assert_eq!((*n_env_steps, *code_size, sha256.as_deref()), (500, Some(32), Some("ab12")));
        assert_eq!((sarsa.runs[0].run.actor(), q.runs[0].run.actor()), (Some("sarsa"), Some("not-here")));
        // Written on the grid of a hundred points of each length, which has those steps too.
        let text = to_csv(&results);
        assert!(text.contains(",encoder_sha256,return_1,return_2,return_3,") && text.contains(SARSA), "{text}");
        let again = read_text(&text).expect("whole");
        assert_eq!(to_csv(&again), text);
        let last =
            |results: &[Results]| results.iter().map(|r| r.runs[0].run.points.last().copied()).collect::<Vec<_>>();
        assert_eq!(last(&again), last(&results));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let row = |row: &str| read_text(&format!("{HEAD}{row}\n")).map(drop).expect_err("a fault");
        let good = format!("sarsa,taxi,0,200,{SARSA},1,0,,,-90,8");
        for (bad, words) in [
            (good.replace(",-90,", ",often,"), "line 2: return_100 is `often`, expected a number"),
            (good.replace(",-90,", ",1.7e308,"), "return_100 is `1.7e308`, expected a number up to 1e100"),
            (good.replace("sarsa,taxi", "\"sar\nsa\",taxi"), "name is \"sar\\nsa\", expected one line of text"),
            (good.replace(",0,200,", ",0,2.5,"), "line 2: steps is `2.5`, expected a whole number"),
            (good.replace("taxi", "taxy"), "line 2: "),
            (good.replace("env.max_steps", "env.max_step"), "max_step"),
            (good.replace("agent=sarsa", "sarsa"), "line 2: settings: `sarsa` is not KEY=VALUE"),
            (good.replace("sarsa,taxi", ",taxi"), "line 2: name is empty"),
            (good.replace(",8", ""), "found record with 10 fields"),
            (
                format!("{good}\n{}", good.replace(",8", ",9")),
                "line 3: there are two runs of sarsa in taxi with seed 0",
            ),
        ] {
            let error = format!("{:#}", row(&bad));
            assert!(error.contains(words), "{words} in {error}");
        }
        let cut = read_text(&format!("{HEAD}{good}")).expect_err("the last number is not whole").to_string();
        assert!(cut.contains("ends within a line"), "{cut}");
        assert!(read_text(&format!("{HEAD}{good}\n")).expect("whole")[0].differing().is_empty());
        // The same run twice counts once, and one with other settings is another run.
        let other = good.replace("lr=0.5", "lr=0.1");
        let results = read_text(&format!("{HEAD}{good}\n{good}\n{other}\n")).expect("two runs");
        assert_eq!((results.len(), results[0].runs.len()), (1, 2));
        assert!(results[0].differing().into_iter().eq(["agent.lr"]));
        let shorter = good.replace(",0,200,", ",1,100,").replace(",-90,8", ",-90,");
        let results = read_text(&format!("{HEAD}{good}\n{shorter}\n")).expect("two runs");
        assert!(results[0].differing().into_iter().eq(["steps"]));
        for text in ["", "name,env,seed\n", "algorithm,env,seeds,iqm_250\nsarsa,taxi,2,8\n"] {
            let error = read_text(text).expect_err("no such file").to_string();
            assert!(error.contains("is not a results.csv of `carom compare`"), "{error}");
        }
        assert!(read_text(HEAD).expect_err("no runs").to_string().contains("has no runs"));
    }
}
