use crate::program::Program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Output};

const RUNS: [&str; 6] = ["oracle-s0", "oracle-s1", "pca-s0", "pca-s1", "raw-s0", "raw-s1"];

const WRITTEN: [&str; 4] = ["results.csv", "returns.svg", "table.csv", "table.md"];

/// A comparison whose runs have no more than 600 steps and 16 hidden units.
const COMPARE: &str = "compare --env minatar/breakout --agent dqn --encoders raw,oracle,pca --seeds 0..2 \
    --set n_envs=1 --set agent.hidden=[16] --set agent.learning_starts=100 --set agent.epsilon_steps=200 \
    --set agent.buffer_size=1000";

/// Runs `line` with encoders cached in the program's own folder.
fn run(program: &Program, line: &str) -> Output {
    program.run_with(line, &[("CAROM_CACHE", program.path("cache"))])
}

/// Runs `line`, expects success, and returns stdout and stderr.
fn succeed(program: &Program, line: &str) -> (String, String) {
    let output = run(program, line);
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("UTF-8"));
    assert!(output.status.success(), "carom {line}: {stderr}");
    (stdout, stderr)
}

fn fail(program: &Program, line: &str) -> String {
    let output = run(program, line);
    assert_eq!(output.status.code(), Some(1), "carom {line}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// Returns the runs that a line of `stderr` with the words `message` names.
fn runs_with(message: &str, stderr: &str) -> Vec<&'static str> {
    let is_named =
        |name: &&str| stderr.lines().any(|line| line.contains(message) && line.contains(&format!("all/{name}")));
    RUNS.into_iter().filter(is_named).collect()
}

#[test]
fn a_comparison_is_made_once_and_mended_where_it_was_cut_off() {
    let program = Program::new();
    let line = format!("{COMPARE} --steps 600 --out all");
    let (table, stderr) = succeed(&program, &line);
    assert_eq!(runs_with("training dqn", &stderr), RUNS, "{stderr}");
    let mut names =
        [&RUNS[..], &["efficiency.svg", "improvement.svg", "intervals.svg", "profile.svg"], &WRITTEN].concat();
    names.sort_unstable();
    assert_eq!(program.names("all"), names);

    assert_eq!(program.read("all/table.md"), format!("{table}\n<!-- Carom -->\n"));
    for words in ["`dqn` on `minatar/breakout`", "150 steps", "300 steps", "600 steps", "\n| raw ", "\n| pca "] {
        assert!(table.contains(words), "{words} in {table}");
    }
    let csv = program.read("all/table.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().collect::<Result<_, _>>().expect("a table");
    let number =
        |row: usize, column: &str| rows[row][column].parse::<f64>().unwrap_or_else(|_| panic!("{column}: {csv}"));
    for (row, encoder) in ["raw", "oracle", "pca"].into_iter().enumerate() {
        assert_eq!((rows[row]["encoder"].as_str(), rows[row]["seeds"].as_str()), (encoder, "2"));
        let last = |seed| last_return(&program, &format!("all/{encoder}-s{seed}"));
        assert_eq!(number(row, "iqm_600"), f64::midpoint(last(0), last(1)), "{csv}");
        assert_eq!((number(row, "low_600"), number(row, "high_600")), (last(0).min(last(1)), last(0).max(last(1))));
        assert!(number(row, "steps_per_s") > 0.0, "{csv}");
    }
    assert_eq!(number(1, "share_of_oracle"), 1.0);
    assert_eq!(rows[0]["code_size"], "");
    assert!(number(2, "code_size") > 0.0 && number(2, "encoder_env_steps") > 0.0, "{csv}");
    // A fit for each seed, told by its weights in the table and in the runs.
    let fits: Vec<&str> = rows[2]["encoder_sha256"].split(' ').collect();
    assert!(fits.len() == 2 && fits[0] != fits[1] && rows[0]["encoder_sha256"].is_empty(), "{csv}");
    for (seed, sha256) in fits.iter().enumerate() {
        let run = format!("all/pca-s{seed}");
        assert!(program.read(&format!("{run}/config.toml")).contains(&format!("weights: {sha256}\n")), "{sha256}");
        assert!(program.read(&format!("{run}/encoder/config.toml")).contains(&format!("seed = {seed}\n")));
        assert!(table.contains(&sha256[..12]), "{table}");
    }
    assert!(table.contains("intervals are of 2 seeds and too narrow"), "{table}");
    // The same numbers as JSON, of runs that are there.
    let json: Value = serde_json::from_str(&succeed(&program, &format!("{line} --json")).0).expect("JSON");
    assert_eq!(json["rows"][1]["encoder"], "oracle");
    assert_eq!(json["rows"][1]["iqm_600"].as_f64(), Some(number(1, "iqm_600")), "{json}");
    assert!(json["rows"][0]["code_size"].is_null() && json["notes"][0].is_string(), "{json}");
    assert_eq!((&json["improvement"][1]["name"], &json["improvement"][1]["over"]), (&"pca".into(), &"raw".into()));
    assert!(stderr.contains("intervals are of 2 seeds and too narrow"), "{stderr}");
    // A text stands on a line of its own between its tags.
    let texts = program.read("all/returns.svg").replace('\n', "");
    for words in [">raw<", ">oracle<", ">pca<", "mean of 2 seeds each"] {
        assert!(texts.contains(words), "{words}");
    }

    let (again, stderr) = succeed(&program, &line);
    assert_eq!(again, table);
    assert_eq!(runs_with("is finished", &stderr), RUNS, "{stderr}");
    assert!(!stderr.contains("training dqn"), "{stderr}");

    // Results alone are those of encoders too, with what they cost.
    let (kept, _) = succeed(&program, "compare --results all/results.csv --out kept");
    for words in ["of oracle", "frames' steps", &fits[0][..12]] {
        assert!(kept.contains(words), "{words} in {kept}");
    }

    // Runs that are trained again differ in their times alone.
    let metrics = |run: &str| program.read(&format!("all/{run}/metrics.csv"));
    let before = RUNS.map(metrics);
    fs_err::remove_dir_all(program.path("all/raw-s1")).expect("removed");
    fs_err::remove_dir_all(program.path("all/pca-s0/checkpoints/600")).expect("removed");
    fs_err::remove_dir_all(program.path("all/oracle-s0/checkpoints")).expect("removed");
    fs_err::create_dir(program.path("all/oracle-s0/checkpoints")).expect("made");
    program.write("all/oracle-s0/log.txt", "");
    let (_, stderr) = succeed(&program, &line);
    assert_eq!(runs_with("training dqn", &stderr), ["oracle-s0", "raw-s1"], "{stderr}");
    assert_eq!(runs_with("resuming at step", &stderr), ["pca-s0"], "{stderr}");
    assert!(before == RUNS.map(metrics));

    let error = fail(&program, &format!("{COMPARE} --steps 800 --out all"));
    for words in ["all/raw-s0 was started with other settings", "steps 600 -> 800"] {
        assert!(error.contains(words), "{words} in {error}");
    }
    assert!(fail(&program, &format!("{COMPARE} --steps 600 --out all/raw-s0")).contains("all/raw-s0 is a run"));
}

fn last_return(program: &Program, run: &str) -> f64 {
    let metrics = program.read(&format!("{run}/metrics.csv"));
    let row = metrics.lines().rfind(|row| row.contains("train/return")).expect("a return");
    row.rsplit(',').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[test]
fn encoders_that_cannot_be_compared_are_named() {
    let program = Program::new();
    let compare = "compare --env minatar/breakout --agent dqn --steps 600 --encoders";
    let error = fail(&program, &format!("{compare} raw,orcale"));
    assert!(error.contains("`orcale`") && error.contains("`oracle`"), "{error}");
    assert!(fail(&program, &format!("{compare} raw,ae,raw")).contains("names raw twice"));
    assert!(program.names(".").is_empty());
}

/// Scales of two games, so that nobody plays for them.
const SCALES: &str = "--scale cliff-walking=-1000..0 --scale taxi=-800..0";

#[test]
fn agents_are_compared_over_several_games_and_grouped_again() {
    let program = Program::new();
    let line = format!(
        "compare --envs cliff-walking,taxi --agents q-learning,sarsa --seeds 0..2 --steps 5k --jobs 2 --out all \
         {SCALES}"
    );
    let (table, stderr) = succeed(&program, &line);
    for env in ["cliff-walking", "taxi"] {
        assert!(table.contains(&format!("`{env}` (")), "{table}");
        for run in ["q-learning-s0", "q-learning-s1", "sarsa-s0", "sarsa-s1"] {
            assert!(program.names("all").contains(&format!("{env}-{run}")), "{stderr}");
        }
        assert!(program.names("all").contains(&format!("returns-{env}.svg")));
    }
    assert!(!program.names("all").contains(&"settings".to_owned()));
    for words in ["All 2 environments, normalised", "probability of improvement over q-learning", "\n| sarsa "] {
        assert!(table.contains(words), "{words} in {table}");
    }
    let last = |env: &str, seed| last_return(&program, &format!("all/{env}-sarsa-s{seed}"));
    let scores = [0, 1].map(|seed| [1.0 + last("cliff-walking", seed) / 1000.0, 1.0 + last("taxi", seed) / 800.0]);
    let mut scores = scores.concat();
    scores.sort_by(f64::total_cmp);
    let csv = program.read("all/table.csv");
    let row = csv.lines().find_map(|line| line.strip_prefix("sarsa,all,2,")).expect("a row of both games");
    let iqm: f64 = row.split(',').nth(6).and_then(|field| field.parse().ok()).expect("a number");
    // Of four scores the lowest and the highest are left out.
    assert!((iqm - f64::midpoint(scores[1], scores[2])).abs() < 1e-9, "{csv} {scores:?}");

    let (again, stderr) = succeed(&program, &line);
    assert_eq!(again, table);
    assert!(!stderr.contains("training"), "{stderr}");
    let (grouped, _) = succeed(&program, &format!("compare --runs all --by agent --out by {SCALES}"));
    assert_eq!(grouped, table);

    // A copy of a run is no further run, and a fit is no agent's run.
    let copy = ["all/taxi-sarsa-s1", "all/taxi-sarsa-s1-copy"].map(|run| program.path(run));
    assert!(Command::new("cp").arg("-r").args(copy).status().expect("cp is there").success());
    succeed(&program, "fit ae --data movies --epochs 1 --latent-dim 2 --batch-size 4 --out all/fit");
    let (grouped, stderr) = succeed(&program, &format!("compare --runs all --by agent --out by {SCALES}"));
    assert_eq!(grouped, table);
    for note in ["all/fit is a fitted ae", "all/taxi-sarsa-s1-copy is a copy of all/taxi-sarsa-s1"] {
        assert!(stderr.contains(&format!("note: {note}, and is left out")), "{note} in {stderr}");
    }
    assert!(fail(&program, "compare --runs all/fit --by agent --out by").contains("it cannot be compared"));
    // Neither the same comparison nor another takes a run as it is whose rows were lost.
    let rows = program.read("all/taxi-sarsa-s0/metrics.csv");
    program.write("all/taxi-sarsa-s0/metrics.csv", &rows[..rows.len() / 2]);
    for line in [&line, &format!("compare --runs all --by agent --out by {SCALES}")] {
        let error = fail(&program, line);
        assert!(error.contains("all/taxi-sarsa-s0/metrics.csv") && error.contains("rows are missing"), "{error}");
    }
    program.write("all/taxi-sarsa-s0/metrics.csv", &rows);
    let error = fail(&program, "compare --runs all --by agent.lrr --out by");
    assert!(error.contains("did you mean `agent.lr`?"), "{error}");
}

#[test]
fn results_are_compared_with_when_their_runs_are_gone() {
    let program = Program::new();
    let games = "--envs cliff-walking,taxi --steps 5k";
    let (table, _) =
        succeed(&program, &format!("compare {games} --agents q-learning,sarsa --seeds 0..2 --out all {SCALES}"));
    fs_err::copy(program.path("all/results.csv"), program.path("kept.csv")).expect("copied");
    fs_err::remove_dir_all(program.path("all")).expect("removed");
    let (again, _) = succeed(&program, &format!("compare --results kept.csv --out again {SCALES}"));
    // Times are rounded.
    let scores = |table: &str| -> Vec<String> {
        let rows = table.lines().filter(|line| line.contains('[')).map(|line| line.rsplitn(3, '|').last());
        rows.map(|row| row.unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(scores(&again), scores(&table));
    assert!(scores(&table).len() > 6 && again.contains("probability of improvement over q-learning"), "{again}");
    assert!(program.names("again").contains(&"returns-taxi.svg".to_owned()));

    // Further seeds of one side and another side join the results, which come first.
    let line = format!("compare {games} --agents sarsa --seeds 2..3 --results kept.csv --out more {SCALES}");
    succeed(&program, &line);
    let line_of_more = line.clone();
    let kept = |file: &str| program.read(file).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((kept("kept.csv").len(), kept("more/results.csv").len()), (9, 11));
    assert!(kept("more/results.csv")[1].starts_with("q-learning,cliff-walking,"));
    // The same command again, and one that makes a run again that is among the results.
    succeed(&program, &line);
    succeed(&program, &line.replace("2..3", "1..3"));
    assert_eq!(kept("more/results.csv").len(), 11);
    let line = format!("{} --set agent.lr=0.3", line.replace("2..3", "3..4").replace("more", "mixed"));
    let (mixed, stderr) = succeed(&program, &line);
    let note = "The runs of sarsa on taxi differ in agent.lr.";
    assert!(stderr.contains(&format!("note: {note}")) && mixed.contains(note), "{mixed}");
    // Results of runs that are gone are not replaced by fewer.
    let fewer = format!("compare --results kept.csv --out more {SCALES}");
    let error = fail(&program, &fewer);
    for words in ["more/results.csv has a run that this comparison lacks: sarsa in", "seed 2", "--out DIR writes"] {
        assert!(error.contains(words), "{words} in {error}");
    }
    assert_eq!(kept("more/results.csv").len(), 11);
    let whole = program.read("more/results.csv");
    program.write("more/results.csv", whole.trim_end());
    let error = fail(&program, &line_of_more);
    assert!(error.contains("is not replaced: remove it") && error.contains("ends within a line"), "{error}");
    program.write("more/results.csv", &whole);
    // Flags of runs have no effect where none is made.
    assert_eq!(run(&program, "compare --results kept.csv --seeds 0..1").status.code(), Some(2));
    assert!(fail(&program, "compare --results kept.csv --on print").contains("--on has no effect"));
    let line = format!("compare --env taxi --agent double-q --steps 5k --results kept.csv --out few {SCALES}");
    let error = fail(&program, &line);
    assert!(error.contains("cliff-walking has no runs of"), "{error}");
    assert!(!program.names(".").contains(&"few".to_owned()));
    // A file of the user's with that name stays.
    fs_err::create_dir(program.path("own")).expect("made");
    program.write("own/results.csv", "seed,score\n0,1\n");
    let error = fail(&program, &format!("compare --results kept.csv --out own {SCALES}"));
    assert!(error.contains("own/results.csv") && program.read("own/results.csv").contains("score"), "{error}");
    // Also where the comparison's runs are.
    program.write("more/results.csv", "seed,score\n0,1\n");
    assert!(fail(&program, &line_of_more).contains("more/results.csv"));
    assert!(program.read("more/results.csv").contains("score"));
}

#[test]
fn values_of_a_setting_are_compared() {
    let program = Program::new();
    let line = "compare --env taxi --agent sarsa --vary agent.lr=0.1,0.5 --seeds 0..1 --steps 2k --out all";
    let (table, _) = succeed(&program, line);
    assert!(table.contains("\n| lr=0.1 ") && table.contains("\n| lr=0.5 "), "{table}");
    assert!(program.read("all/agent.lr=0.5-s0/config.toml").contains("lr = 0.5\n"));
    // Rules that differ are told, and by which the reference players play.
    assert!(!table.contains("different rules"), "{table}");
    let rules = "compare --env taxi --agent sarsa --vary env.max_steps=50,100 --seeds 0..1 --steps 2k --out rules";
    let (table, _) = succeed(&program, rules);
    for words in
        ["taxi is played by different rules", "max_steps=50 (Taxi-v3, cap 50), max", "They differ in env.max_steps;"]
    {
        assert!(table.contains(words), "{words} in {table}");
    }
    // Presets are named without the environment, of which the title tells.
    let presets = "compare --presets gridworld-sarsa,gridworld-q-learning --seeds 0..1 --steps 1k --out presets";
    let (table, _) = succeed(&program, presets);
    assert!(table.contains("\n| sarsa ") && table.contains("\n| q-learning "), "{table}");
    let error = fail(&program, "compare --env taxi --vary agent=sarsa,q-learning --seeds 0..1 --out all");
    assert!(error.contains("--agents gives several"), "{error}");
}
