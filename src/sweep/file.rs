//! The file that describes a search.

use super::metric::{Metric, Of};
use super::space::{self, Axis, Combination, MAX_TRIALS, Range, Values};
use crate::compare::METRIC;
use crate::dotted::{Dotted, of_table};
use crate::human::{MAX_SEED, parse_count, parse_seeds};
use anyhow::{Context, Result, anyhow, bail, ensure};
use carom_envs::settings::suggest;
use std::collections::BTreeSet;
use toml::{Table, Value};

/// Default of `eta` of successive halving: of three trials one goes on.
const ETA: u64 = 3;

/// Default number of values that `of = "mean"` takes.
const WINDOW: u64 = 10;

/// Keys of the file, and of its tables with keys of their own.
const KEYS: [&str; 7] = ["search", "seeds", "base", "axes", "metric", "random", "halving"];
const METRIC_KEYS: [&str; 4] = ["name", "of", "window", "goal"];
const RANDOM_KEYS: [&str; 2] = ["trials", "seed"];
const HALVING_KEYS: [&str; 3] = ["eta", "least", "most"];
const RANGE_KEYS: [&str; 4] = ["min", "max", "log", "integer"];

/// Tables of settings that may be written as in a configuration file, and their prefix in `--set`.
const PARTS: [(&str, &str); 4] =
    [("env_settings", "env"), ("agent_settings", "agent"), ("env", "env"), ("agent", "agent")];

/// A search over settings.
#[derive(Debug)]
pub(crate) struct SweepFile {
    /// How combinations are chosen.
    pub search: Search,
    /// Seeds of each trial.
    pub seeds: Vec<u64>,
    /// Measure of a trial.
    pub metric: Metric,
    /// Settings of all trials, by the keys of `--set`.
    pub base: Vec<(String, String)>,
    /// Settings that are varied.
    pub axes: Vec<Axis>,
    /// All that the file says, by dotted keys.
    pub settings: Dotted,
}

/// How combinations are chosen, and for how many steps they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// How many combinations are drawn, and the seed of the draws; all are tried if `None`.
    pub draws: Option<(usize, u64)>,
    /// How trials are given up early; all are made to the end if `None`.
    pub halving: Option<Halving>,
}

/// Successive halving (Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter
/// Optimization", Algorithm 1 with a factor `eta` for 2, as in Li et al. 2018): after each rung of steps the best share
/// of 1/`eta` goes on to the next, which has `eta` times as many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Halving {
    /// Trials of which one goes on, and the factor from the steps of a rung to those of the next.
    pub eta: u64,
    /// Steps of a trial in the first rung.
    pub least: u64,
    /// Steps of a trial in the last rung, for which its schedules are made.
    pub most: u64,
}

impl Halving {
    /// Returns the steps of each rung.
    pub(crate) fn rungs(&self) -> Vec<u64> {
        let next = |steps: &u64| Some(steps.saturating_mul(self.eta)).filter(|&steps| steps < self.most);
        let below = std::iter::successors(Some(self.least).filter(|&least| least < self.most), next);
        below.chain([self.most]).collect()
    }

    /// Returns how many of `n_trials` go on from a rung.
    pub(crate) fn n_kept(&self, n_trials: usize) -> usize {
        (n_trials / self.eta as usize).max(1)
    }
}

impl SweepFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it is not TOML, a key is unknown or missing, or a value is not what is expected there.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        // TOML takes agent.lr for a key of a table `agent`, which cannot be a name too.
        let clashes = |error: &toml::de::Error| {
            ["duplicate key", "dotted key"].iter().any(|words| error.message().contains(words))
        };
        let table: Table = toml::from_str(text).map_err(|error| match clashes(&error) {
            true => anyhow!("{error}a setting beside `agent` or `env` has quotes: \"agent.lr\" = 0.1"),
            false => error.into(),
        })?;
        check_keys(&table, &KEYS, "")?;
        let part = |key: &str| part(&table, key);
        let axes = flat(&part("axes")?.unwrap_or_default());
        let axes: Vec<Axis> = axes.into_iter().map(axis).collect::<Result<_>>()?;
        ensure!(!axes.is_empty(), "there is nothing to vary: [axes] needs a key, e.g. \"agent.lr\" = [0.1, 0.3]");
        let base = flat(&part("base")?.unwrap_or_default());
        let base = base.into_iter().map(|(key, value)| Ok((key.clone(), text_of(&key, &value)?)));
        let base: Vec<(String, String)> = base.collect::<Result<_>>()?;
        if let Some((key, _)) = base.iter().find(|(key, _)| axes.iter().any(|axis| axis.key == *key)) {
            bail!("`{key}` is in [base] and in [axes]");
        }
        let search = search(&table, &axes)?;
        let own = |key: &str| axes.iter().any(|axis| axis.key == key) || base.iter().any(|(other, _)| other == key);
        ensure!(
            !own("seed"),
            "`seed` is no setting here: seeds = \"0..3\", above all tables, gives those of each trial"
        );
        if search.halving.is_some() {
            ensure!(!own("steps"), "`steps` has no effect: [halving] least and most give the steps of trials");
        }
        let seeds = seeds(table.get("seeds"))?;
        let metric = metric(&part("metric")?.unwrap_or_default())?;
        Ok(Self { search, seeds, metric, base, axes, settings: of_table(&table) })
    }

    /// Returns the combinations that are tried, one value for each axis.
    ///
    /// # Errors
    /// When there are too many, or too few for the draws.
    pub(crate) fn combinations(&self) -> Result<Vec<Combination>> {
        match self.search.draws {
            Some((n_trials, seed)) => space::draw(&self.axes, n_trials, seed),
            None => space::grid(&self.axes),
        }
    }
}

fn search(table: &Table, axes: &[Axis]) -> Result<Search> {
    let kind = match table.get("search") {
        None => "grid",
        Some(Value::String(kind)) if ["grid", "random", "halving"].contains(&kind.as_str()) => kind,
        Some(other) => bail!("search is {other}: expected \"grid\", \"random\" or \"halving\""),
    };
    let (random, halving) = (part(table, "random")?, part(table, "halving")?);
    ensure!(random.is_none() || kind != "grid", "[random] has no effect with search = \"grid\"");
    ensure!(halving.is_none() || kind == "halving", "[halving] has no effect with search = \"{kind}\"");
    let draws = match random {
        Some(random) => {
            check_keys(&random, &RANDOM_KEYS, "random")?;
            let trials = number(&random, "random", "trials", 1)?.context("[random] needs trials, a number")?;
            ensure!(trials <= MAX_TRIALS as u64, "[random] trials is {trials}: expected at most {MAX_TRIALS}");
            Some((trials as usize, number(&random, "random", "seed", 0)?.unwrap_or(0)))
        }
        None if kind == "random" => bail!("search = \"random\" needs a table [random] with trials, a number"),
        None => {
            let ranges = axes.iter().find(|axis| kind == "halving" && matches!(axis.values, Values::Range(_)));
            if let Some(Axis { key, .. }) = ranges {
                bail!("[axes] {key} is a range: a table [random] with trials, a number, draws from it");
            }
            None
        }
    };
    let halving = match kind {
        "halving" => {
            Some(halving_of(&halving.context("search = \"halving\" needs a table [halving] with least and most")?)?)
        }
        _ => None,
    };
    Ok(Search { draws, halving })
}

fn halving_of(table: &Table) -> Result<Halving> {
    check_keys(table, &HALVING_KEYS, "halving")?;
    let eta = number(table, "halving", "eta", 2)?.unwrap_or(ETA);
    let [least, most] = ["least", "most"].map(|key| {
        number(table, "halving", key, 1)?.with_context(|| format!("[halving] needs {key}, a number of steps"))
    });
    let (least, most) = (least?, most?);
    ensure!(least < most, "[halving] least is {least}: expected a number below most, {most}");
    Ok(Halving { eta, least, most })
}

fn seeds(value: Option<&Value>) -> Result<Vec<u64>> {
    let expected = || "expected a range such as \"0..3\", or a list of different seeds such as [0, 1, 2]";
    let seed = |value: &Value| value.as_integer().and_then(|seed| u64::try_from(seed).ok());
    match value {
        None => Ok(vec![0]),
        Some(Value::String(text)) => {
            Ok(parse_seeds(text).map_err(|error| anyhow!("seeds is \"{text}\": {error}"))?.collect())
        }
        Some(Value::Array(values)) => {
            let seeds: Option<Vec<u64>> = values.iter().map(seed).collect();
            let is_good =
                |seeds: &Vec<u64>| !seeds.is_empty() && seeds.iter().collect::<BTreeSet<_>>().len() == seeds.len();
            seeds.filter(is_good).with_context(|| format!("seeds is {}: {}", Value::Array(values.clone()), expected()))
        }
        Some(other) => bail!("seeds is {other}: {}", expected()),
    }
}

fn metric(table: &Table) -> Result<Metric> {
    check_keys(table, &METRIC_KEYS, "metric")?;
    let text = |key: &str, default: &'static str| match table.get(key) {
        None => Ok(default.to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => bail!("[metric] {key} is {other}: expected a text"),
    };
    let window = number(table, "metric", "window", 1)?;
    let of = match text("of", "last")?.as_str() {
        "last" => Of::Last,
        "best" => Of::Best,
        "mean" => Of::Mean(window.unwrap_or(WINDOW) as usize),
        other => bail!("[metric] of is \"{other}\": expected \"last\", \"mean\" or \"best\""),
    };
    ensure!(window.is_none() || matches!(of, Of::Mean(_)), "[metric] window has no effect without of = \"mean\"");
    let is_lower_better = match text("goal", "max")?.as_str() {
        "max" => false,
        "min" => true,
        other => bail!("[metric] goal is \"{other}\": expected \"max\" or \"min\""),
    };
    Ok(Metric { name: text("name", METRIC)?, of, is_lower_better })
}

fn axis((key, value): (String, Value)) -> Result<Axis> {
    let values = match &value {
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(|value| text_of(&key, value)).collect::<Result<_>>()?;
            ensure!(!texts.is_empty(), "[axes] {key} is empty: expected a list of values");
            let number = |text: &str| text.parse::<f64>().ok();
            let is_same = |a: &str, b: &str| a == b || number(a).is_some_and(|a| number(b) == Some(a));
            let repeated = texts.iter().enumerate().find(|(i, a)| texts[..*i].iter().any(|b| is_same(a, b)));
            if let Some((_, text)) = repeated {
                bail!("[axes] {key} names {text} twice");
            }
            Values::List(texts)
        }
        Value::Table(table) => Values::Range(range(&key, table)?),
        other => {
            bail!("[axes] {key} is {other}: expected a list of values, or a range such as {{ min = 0.1, max = 1 }}")
        }
    };
    Ok(Axis { key, values })
}

fn range(key: &str, table: &Table) -> Result<Range> {
    let place = format!("axes.\"{key}\"");
    check_keys(table, &RANGE_KEYS, &place)?;
    let bound = |name: &str| {
        let value = table
            .get(name)
            .with_context(|| format!("[axes] {key}: a range has min and max, and may have log and integer"))?;
        let count = value.as_str().and_then(|text| parse_count(text).ok()).map(|count| count as f64);
        let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64)).or(count);
        let number = number.filter(|number| number.is_finite());
        number.with_context(|| format!("[axes] {key}: {name} is {value}: expected a number"))
    };
    let flag = |name: &str| match table.get(name) {
        None => Ok(false),
        Some(Value::Boolean(flag)) => Ok(*flag),
        Some(other) => bail!("[axes] {key}: {name} is {other}: expected true or false"),
    };
    let range = Range { min: bound("min")?, max: bound("max")?, log: flag("log")?, integer: flag("integer")? };
    let Range { min, max, log, integer } = range;
    ensure!(min < max, "[axes] {key}: min is {min}: expected a number below max, {max}");
    ensure!(!log || min > 0.0, "[axes] {key}: min is {min}: a logarithmic range lies above 0");
    let is_whole = min.fract() == 0.0 && max.fract() == 0.0;
    ensure!(!integer || is_whole, "[axes] {key}: the bounds of whole numbers are whole");
    Ok(range)
}

/// Returns the table `key`, if there is one.
fn part(table: &Table, key: &str) -> Result<Option<Table>> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::Table(part)) => Ok(Some(part.clone())),
        Some(other) => bail!("{key} is {other}: expected a table, [{key}]"),
    }
}

/// Returns the settings of a table by the keys of `--set`. Those of parts may have a table of their own.
fn flat(table: &Table) -> Vec<(String, Value)> {
    let mut all = vec![];
    for (key, value) in table {
        match (PARTS.iter().find(|(name, _)| name == key), value) {
            (Some((_, prefix)), Value::Table(inner)) => {
                all.extend(inner.iter().map(|(key, value)| (format!("{prefix}.{key}"), value.clone())));
            }
            _ => all.push((key.clone(), value.clone())),
        }
    }
    all
}

/// Returns a setting's value as `--set` spells it.
fn text_of(key: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Table(_) => bail!("{key} is a table: a setting has one value"),
        other => Ok(other.to_string()),
    }
}

/// Returns the count `key` of the table called `place`, which is at least `least`.
fn number(table: &Table, place: &str, key: &str, least: u64) -> Result<Option<u64>> {
    let Some(value) = table.get(key) else { return Ok(None) };
    let number = match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::String(text) => parse_count(text).ok(),
        _ => None,
    };
    let number = number.filter(|number| (least..=MAX_SEED).contains(number));
    number.map(Some).with_context(|| format!("[{place}] {key} is {value}: expected a whole number, {least} or above"))
}

fn check_keys(table: &Table, known: &[&str], place: &str) -> Result<()> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let place = if place.is_empty() { String::new() } else { format!(" in [{place}]") };
    bail!("there is no key `{key}`{place}; {}", suggest(key, known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "search = \"halving\"\nseeds = \"0..2\"\n[halving]\nleast = 100\nmost = \"1k\"\n\
        [base]\nenv = \"taxi\"\n[base.agent_settings]\ngamma = 0.9\n\
        [axes]\nagent = [\"sarsa\", \"q-learning\"]\n\"agent.lr\" = [0.1, 1]\n";

    #[test]
    fn settings_have_the_keys_of_set_however_they_are_written() {
        let file = SweepFile::parse(FILE).expect("valid");
        let texts: Vec<String> = file.base.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(texts, ["env=taxi", "agent.gamma=0.9"]);
        assert_eq!(file.axes.iter().map(|axis| axis.key.as_str()).collect::<Vec<_>>(), ["agent", "agent.lr"]);
        assert_eq!(file.combinations().expect("a grid").len(), 4);
        assert_eq!((file.seeds, file.search.draws), (vec![0, 1], None));
        assert_eq!(file.settings["axes.agent.lr"], "[0.1, 1]");
    }

    #[test]
    fn each_rung_has_eta_times_the_steps_for_a_share_of_the_trials() {
        let halving = Halving { eta: 3, least: 100, most: 1000 };
        assert_eq!(halving.rungs(), [100, 300, 900, 1000]);
        assert_eq!(Halving { most: 900, ..halving }.rungs(), [100, 300, 900]);
        assert_eq!([27, 9, 3, 2, 1].map(|n| halving.n_kept(n)), [9, 3, 1, 1, 1]);
    }

    #[test]
    fn mistakes_name_the_key_and_what_was_expected() {
        let axes = "[axes]\n\"agent.lr\" = ";
        let cases = [
            ("serch = \"grid\"".to_owned(), "did you mean `search`?"),
            (String::new(), "[axes] needs a key"),
            (format!("search = \"tpe\"\n{axes}[1]"), "search is \"tpe\": expected"),
            (format!("search = \"random\"\n{axes}[1]"), "needs a table [random]"),
            (format!("search = \"random\"\n[random]\ntrial = 3\n{axes}[1]"), "did you mean `trials`?"),
            (format!("search = \"random\"\n[random]\ntrials = 0\n{axes}[1]"), "[random] trials is 0"),
            (format!("search = \"halving\"\n[halving]\nleast = 5\nmost = 5\n{axes}[1]"), "below most"),
            (format!("{axes}0.1"), "agent.lr is 0.1: expected a list"),
            (format!("{axes}[1, 1]"), "names 1 twice"),
            (format!("{axes}[1, 1.0]"), "names 1.0 twice"),
            (format!("{axes}{{ min = 1, maxx = 2 }}"), "did you mean `max`?"),
            (format!("{axes}{{ min = 2, max = 1 }}"), "below max"),
            (format!("{axes}{{ min = 0, max = 1, log = true }}"), "above 0"),
            (format!("{axes}[1]\nseed = [1, 2]"), "seeds = \"0..3\""),
            (format!("seeds = [0, 0]\n{axes}[1]"), "different seeds"),
            (format!("{axes}[1]\n[metric]\nof = \"first\""), "expected \"last\""),
            (format!("{axes}[1]\n[metric]\nwindow = 3"), "without of = \"mean\""),
            (format!("{axes}[1]\n[base]\n\"agent.lr\" = 3"), "in [base] and in [axes]"),
            ("[base]\nagent = \"dqn\"\nagent.lr = 1".to_owned(), "has quotes"),
            ("[base]\nagent.lr = 1\nagent = \"dqn\"".to_owned(), "has quotes"),
        ];
        for (text, words) in cases {
            let error = format!("{:#}", SweepFile::parse(&text).expect_err(&text));
            assert!(error.contains(words), "{text}: {error}");
        }
        let grid = SweepFile::parse(&format!("{axes}{{ min = 1, max = 2 }}")).expect("well-formed");
        assert!(grid.combinations().expect_err("a range").to_string().contains("is a range"));
    }
}
