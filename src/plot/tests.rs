use super::*;
use std::fmt::Write;

/// A run of 1M steps with a return that rises to `top`.
fn run(root: &Path, name: &str, seed: u64, agent_settings: &str, top: f64) -> PathBuf {
    let dir = root.join(name);
    let settings = format!("[env_settings]\nmax_steps = 500\n[agent_settings]\n{agent_settings}\n");
    write_config(&dir, &format!("env = \"cartpole\"\nagent = \"dqn\"\nsteps = 1000000\nseed = {seed}\n{settings}"));
    let mut rows = "step,name,value\n".to_owned();
    for step in (0..=1_000_000).step_by(2_000 + seed as usize) {
        writeln!(rows, "{step},train/return,{}", top * f64::from(step) / 1e6).expect("a string");
        writeln!(rows, "{step},train/loss,NaN").expect("a string");
    }
    std::fs::write(dir.join("metrics.csv"), rows).expect("writable");
    dir
}

fn write_config(dir: &Path, text: &str) {
    std::fs::create_dir_all(dir).expect("writable");
    std::fs::write(dir.join("config.toml"), text).expect("writable");
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn draw(runs: &[PathBuf], metric: &str) -> String {
    draw_as(runs, metric, Look::default())
}

fn draw_as(runs: &[PathBuf], metric: &str, look: Look) -> String {
    let folder = folder();
    let out = folder.path().join("plots/out.svg");
    returns(runs, metric, look, &out).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        std::fs::read_dir(out.parent().expect("plots/")).expect("readable").count(),
        1,
        "nothing is left beside it"
    );
    std::fs::read_to_string(out).expect("the plot")
}

fn error(runs: &[PathBuf], metric: &str) -> String {
    returns(runs, metric, Look::default(), Path::new("never-written.svg")).expect_err("an error").to_string()
}

/// The texts of an SVG, in order.
fn texts(svg: &str) -> Vec<&str> {
    let bodies = svg.split("<text ").skip(1).map(|rest| rest.split_once('>').expect("a tag").1);
    bodies.map(|body| body.split_once("</text>").expect("a closing tag").0.trim()).collect()
}

#[test]
fn settings_that_most_groups_have_are_not_told() {
    let folder = folder();
    let settings = ["lr = 0.1\nnoisy = false", "lr = 0.2\nnoisy = false", "lr = 0.1\nnoisy = true"];
    let runs = settings.iter().enumerate().map(|(i, settings)| run(folder.path(), &format!("r{i}"), 0, settings, 9.0));
    let svg = draw(&runs.collect::<Vec<_>>(), "train/return");
    let texts = texts(&svg);
    for label in ["dqn", "dqn lr=0.2", "dqn noisy=true"] {
        assert!(texts.contains(&label), "{label} in {texts:?}");
    }
}

#[test]
fn means_begin_where_all_runs_have_ended_an_episode() {
    let folder = folder();
    let runs: Vec<PathBuf> =
        (0..2).map(|seed| run(folder.path(), &format!("r{seed}"), seed, "lr = 0.1", 9.0)).collect();
    let late =
        |row: &&str| row.split(',').next().and_then(|step| step.parse().ok()).is_none_or(|step: u64| step > 500_000);
    let rows = std::fs::read_to_string(runs[1].join("metrics.csv")).expect("written");
    std::fs::write(runs[1].join("metrics.csv"), rows.lines().filter(late).collect::<Vec<_>>().join("\n") + "\n")
        .expect("writable");
    let runs: Vec<Run> = runs.iter().map(|dir| Run::read(dir, "train/return").expect("a run")).collect();
    let curve = series::curve(&runs, Band::Range);
    let begin = curve.line[0].0;
    assert!((490_000.0..520_000.0).contains(&begin), "{begin}");
    assert_eq!(curve.band[0].0, begin);
}

#[test]
fn a_plot_of_six_runs_says_what_it_shows() {
    let folder = folder();
    let runs = (0..6).map(|i| {
        let (lr, top) = if i < 3 { ("lr = 0.001", 200.0) } else { ("lr = 0.01", 100.0) };
        run(folder.path(), &format!("r{i}"), i % 3, lr, top + i as f64)
    });
    let svg = draw(&runs.collect::<Vec<_>>(), "train/return");
    let texts = texts(&svg);
    for text in ["dqn on cartpole", "dqn lr=0.001", "dqn lr=0.01", "environment steps", "200k", "1M"] {
        assert!(texts.contains(&text), "{text} in {texts:?}");
    }
    assert!(texts.contains(&"return, mean of the last 100 episodes"), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("mean of 3 seeds each, bands from lowest to highest")), "{texts:?}");
    assert_eq!(svg.matches("<polygon ").count(), 2, "a band each");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "coordinates are numbers");
    assert!(svg.starts_with("<svg width=\"800\" height=\"480\""), "{}", &svg[..80]);
    assert!(svg.len() < 60_000, "{} bytes", svg.len());
}

#[test]
fn curves_over_time_smoothed_and_with_intervals_say_so() {
    let folder = folder();
    let runs: Vec<_> = (0..3).map(|i| run(folder.path(), &format!("r{i}"), i, "lr = 0.1", 100.0 + i as f64)).collect();
    for dir in &runs {
        // A million steps take two hours.
        std::fs::write(dir.join("timing.csv"), "step,name,value\n0,wall_s,0\n1000000,wall_s,7200\n").expect("writable");
    }
    let look = Look { along: Along::Wall, smooth: 20, band: Band::Ci };
    let svg = draw_as(&runs, "train/return", look);
    let texts = texts(&svg);
    assert!(texts.contains(&"minutes") && texts.contains(&"100"), "{texts:?}");
    let note = "mean of 3 seeds, band: 95 % interval of the mean (t) · each point the mean of 20 logged ones";
    assert!(texts.iter().any(|text| text.contains(note)), "{texts:?}");
    std::fs::remove_file(runs[0].join("timing.csv")).expect("removed");
    let error = returns(&runs, "train/return", look, Path::new("never-written.svg")).expect_err("no times");
    assert!(error.to_string().contains("timing.csv"), "{error}");
}

#[test]
fn a_metric_that_is_logged_seldom_is_drawn_at_the_times_of_its_steps() {
    let folder = folder();
    let dir = run(folder.path(), "run", 0, "lr = 0.1", 1.0);
    // The run becomes slower: step n is reached after n² / 100 seconds.
    let row = |step: u32| format!("{step},wall_s,{}", step * step / 100);
    let times: Vec<String> = (10..=190).step_by(10).map(row).collect();
    std::fs::write(dir.join("timing.csv"), format!("step,name,value\n{}\n", times.join("\n"))).expect("writable");
    let evaluations = "step,name,value\n5,eval/return,1\n100,eval/return,2\n155,eval/return,3\n200,eval/return,4\n";
    std::fs::write(dir.join("eval.csv"), evaluations).expect("writable");
    let look = Look { along: Along::Wall, ..Look::default() };
    let drawn = prepare(&[dir], "eval/return", look).unwrap_or_else(|error| panic!("{error}"));
    // Steps 150 and 160 are reached after 225 and 256 seconds; before and after all times the nearest one is taken.
    let minutes = [1.0, 100.0, 240.5, 361.0].map(|seconds| seconds / 60.0);
    let points: Vec<_> = minutes.into_iter().zip([1.0, 2.0, 3.0, 4.0]).collect();
    assert_eq!((drawn.x_name, &drawn.runs[0].points), ("minutes", &points));
}

#[test]
fn smoothing_and_intervals_are_as_worked_by_hand() {
    let mut points = [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 9.0)];
    series::smooth(&mut points, 3);
    assert_eq!(points.map(|point| point.1), [1.0, 2.0, 3.0, 17.0 / 3.0]);
    series::smooth(&mut points, 1);
    assert_eq!(points[3].1, 17.0 / 3.0);
    // Of 1, 2, 3: the standard error is 1 / √3, and t for two degrees of freedom is 4.303.
    let half = crate::statistics::t_half_width(&[1.0, 2.0, 3.0]).expect("three values");
    assert!((half - 4.303 / 3f64.sqrt()).abs() < 1e-12);
    // Of n = 21 the quantile is 2.086 (Abramowitz & Stegun, table 26.10).
    let values: Vec<f64> = (0..21).map(f64::from).collect();
    let error = (21.0 * 22.0 / 12.0 / 21.0f64).sqrt();
    let half = crate::statistics::t_half_width(&values).expect("values");
    assert!((half / error - 2.086).abs() < 5e-4, "{}", half / error);
    assert_eq!(crate::statistics::t_half_width(&[1.0]), None);
}

/// A fit of 3 epochs of 100 updates with a loss that falls from 3.
fn fitted(root: &Path, name: &str, lr: &str, test_loss: &str) -> PathBuf {
    let dir = root.join(name);
    write_config(&dir, &format!("model = \"ae\"\ndata = \"mnist\"\nlr = {lr}\nseed = 0\ndata_dir = \"/{name}\"\n"));
    let row = |step: u32| {
        let loss = 3.0 - f64::from(step) / 100.0;
        format!(
            "{step},fit/loss,{loss}\n{step},fit/bce,{loss}\n{step},{test_loss},1\n{step},fit/epoch,{}\n",
            3.0 - loss
        )
    };
    let rows: String = (10..=300).step_by(10).map(row).collect();
    std::fs::write(dir.join("metrics.csv"), format!("step,name,value\n{rows}")).expect("writable");
    dir
}

#[test]
fn fits_are_compared_over_epochs() {
    let folder = folder();
    let runs = [("a", "0.1"), ("b", "0.2")].map(|(name, lr)| fitted(folder.path(), name, lr, "test/bce"));
    let svg = draw(&runs, "test/bce");
    let texts = texts(&svg);
    for text in ["ae on mnist", "ae lr=0.1", "ae lr=0.2", "epochs", "3", "test BCE per pixel, nats"] {
        assert!(texts.contains(&text), "{text} in {texts:?}");
    }
    assert!(!texts.contains(&"300"), "{texts:?}");
}

#[test]
fn a_fit_without_epochs_counts_updates() {
    let folder = folder();
    write_config(folder.path(), "model = \"ae\"\ndata = \"mnist\"\nseed = 0\n");
    std::fs::write(folder.path().join("metrics.csv"), "step,name,value\n1,fit/loss,3\n2,fit/loss,2\n")
        .expect("writable");
    assert!(texts(&draw(&[folder.path().to_owned()], "fit/loss")).contains(&"updates"));
}

#[test]
fn a_loss_known_on_both_splits_is_two_lines() {
    let folder = folder();
    let texts_of = |test_loss: &str| {
        let out = folder.path().join("loss.svg");
        losses(&fitted(folder.path(), "a", "0.1", test_loss), &out).unwrap_or_else(|error| panic!("{error}"));
        let svg = std::fs::read_to_string(out).expect("the plot");
        texts(&svg).join("|")
    };
    let both = texts_of("test/bce");
    for text in ["ae on mnist", "training|test|", "epochs", "BCE per pixel, nats"] {
        assert!(both.contains(text), "{text} in {both}");
    }
    let bounds = texts_of("test/elbo");
    assert!(bounds.contains("training: minus the loss|test: ELBO|"), "{bounds}");
    assert!(bounds.contains("bound of ln p per image, nats") && bounds.contains("\u{2212}3"), "{bounds}");
    assert!(texts_of("fit/g_loss").contains("discriminator, with penalties|generator|"));
    assert!(texts_of("test/ais_short").contains("ln p of test images, nats"));
    let one = texts_of("test/mse");
    assert!(!one.contains("test") && one.contains("|training loss"), "{one}");
}

#[test]
fn five_thousand_points_have_a_legend_and_stay_a_small_file() {
    let folder = folder();
    let point = |i: usize| ((i as f64 * 2.4).cos() * i as f64, (i as f64 * 2.4).sin() * 1e3);
    let mut scatter = scatter::Scatter {
        title: "codes".to_owned(),
        points: (0..5000).map(point).collect(),
        classes: (0..5000).map(|i| i % 10).collect(),
    };
    let mut svg = || {
        let out = folder.path().join("latent.svg");
        scatter::write_file(&scatter, &out).unwrap_or_else(|error| panic!("{error}"));
        scatter.classes.clear();
        scatter.points[0] = (f64::NAN, 0.0);
        std::fs::read_to_string(out).expect("the plot")
    };
    let labelled = svg();
    assert_eq!(labelled.matches("<circle ").count(), 5010);
    assert!(texts(&labelled).contains(&"second number of the code"), "axes have names");
    assert!(labelled.len() < 700_000, "{} bytes", labelled.len());
    assert_eq!(texts(&labelled)[..11], ["codes", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let plain = svg();
    assert_eq!(plain.matches("<circle ").count(), 4999, "no legend, and no point at NaN");
    assert!(!plain.contains("NaN"));
}

#[test]
fn players_that_do_not_learn_are_levels_beside_a_curve() {
    let folder = folder();
    let unlearned = |agent: &str, returns: [u32; 2]| {
        let dir = folder.path().join(agent);
        write_config(
            &dir,
            &format!("env = \"cartpole\"\nagent = \"{agent}\"\nseed = 0\n[env_settings]\nmax_steps = 500\n"),
        );
        // The first episode is contained in two logged means, and counts once.
        std::fs::write(
            dir.join("metrics.csv"),
            format!("step,name,value\n5,train/return,{0}\n6,train/return,{0}\n", returns[0]),
        )
        .expect("writable");
        let [first, second] = returns;
        std::fs::write(
            dir.join("episodes.csv"),
            format!("step,env_idx,return,length\n4,0,{first},4\n9,0,{second},5\n7,"),
        )
        .expect("writable");
        dir
    };
    let runs = [
        unlearned("random", [20, 23]),
        run(folder.path(), "dqn", 0, "lr = 0.1", 50.0),
        unlearned("scripted", [90, 110]),
    ];
    let svg = draw(&runs, "train/return");
    let texts = texts(&svg);
    for text in ["dqn on cartpole", "dqn", "random (mean 21.5)", "scripted (mean 100)"] {
        assert!(texts.contains(&text), "{text} in {texts:?}");
    }
    assert!(texts.iter().any(|text| text.ends_with("seed 0")), "{texts:?}");

    let far = [run(folder.path(), "dqn", 0, "lr = 0.1", 50.0), unlearned("scripted", [1800, 1934])];
    let far = draw(&far, "train/return");
    assert!(far.contains("scripted (mean 1870), above this figure"), "{far}");
    assert!(!far.contains("1800") && !far.contains(">\n2000\n<"), "the curve has the figure to itself: {far}");
    let alone = draw(&[runs[0].clone()], "train/return");
    assert!(alone.contains("random on cartpole") && !alone.contains("(mean "), "{alone}");
}

#[test]
fn a_panel_may_have_levels_alone() {
    let folder = folder();
    let learner = run(folder.path(), "dqn", 0, "lr = 0.1", 50.0);
    let random = folder.path().join("random");
    write_config(&random, "env = \"cartpole\"\nagent = \"random\"\nseed = 0\n[env_settings]\nmax_steps = 500\n");
    let rows = "step,name,value\n5,train/return,20\n5,eval/return,21\n";
    std::fs::write(random.join("metrics.csv"), rows).expect("writable");
    let (metrics, out) = (["eval/return", "train/return"].map(str::to_owned), folder.path().join("out.svg"));
    let left_out = panels(&[learner.clone(), random], &metrics, Look::default(), &out);
    assert_eq!(left_out.unwrap_or_else(|error| panic!("{error}")), [("eval/return", learner)]);
    let svg = std::fs::read_to_string(out).expect("the plot");
    let texts = texts(&svg);
    assert!(texts.contains(&"random (mean 21)") && !svg.contains("mean of 0") && !svg.contains("NaN"), "{texts:?}");
}

#[test]
fn a_single_point_is_drawn_and_named() {
    let folder = folder();
    write_config(folder.path(), "env = \"taxi\"\nagent = \"value-iteration\"\nseed = 0\n");
    std::fs::write(folder.path().join("metrics.csv"), "step,name,value\n12,plan/value_start,7.93\n").expect("writable");
    let svg = draw(&[folder.path().to_owned()], "plan/value_start");
    assert!(
        svg.contains("a single point: 7.93 at 12 sweeps") && svg.contains("<circle ") && svg.contains("sweeps"),
        "{svg}"
    );
}

#[test]
fn lines_that_leave_the_frame_are_cut_at_its_edge() {
    let folder = folder();
    write_config(folder.path(), "env = \"cliff-walking\"\nagent = \"sarsa\"\nseed = 0\n");
    let value = |step: u32| if step < 3 { -2000 } else { -20 - i64::from(step % 5) };
    let mut rows = "step,name,value\n".to_owned();
    for step in 0..100 {
        writeln!(rows, "{step},train/return,{}", value(step)).expect("a string");
    }
    std::fs::write(folder.path().join("metrics.csv"), rows).expect("writable");
    let svg = draw(&[folder.path().to_owned()], "train/return");
    assert!(svg.contains("cut off: values down to \u{2212}2000"), "{svg}");
    assert!(!texts(&svg).contains(&"\u{2212}1000"), "{svg}");
}

#[test]
fn half_a_line_at_the_end_is_left_for_the_next_time() {
    let folder = folder();
    write_config(folder.path(), "env = \"taxi\"\nagent = \"sarsa\"\nseed = 0\n");
    std::fs::write(folder.path().join("metrics.csv"), "step,name,value\n1,train/return,2\n2,train/ret")
        .expect("writable");
    let run = Run::read(folder.path(), "train/return").expect("readable");
    assert_eq!(run.points, [(1.0, 2.0)]);
}

#[test]
fn errors_name_what_is_missing() {
    let folder = folder();
    let run = run(folder.path(), "run", 0, "lr = 0.1", 1.0);
    let unknown = error(std::slice::from_ref(&run), "train/retrun");
    assert!(unknown.contains("did you mean `train/return`? (there is train/loss, train/return)"), "{unknown}");
    let prefix = error(std::slice::from_ref(&run), "return");
    assert!(prefix.contains("did you mean `train/return`?"), "{prefix}");
    let no_run = find_runs(&[folder.path().join("nowhere")]).expect_err("an error").to_string();
    assert!(no_run.contains("nowhere` is not a run: there is no such folder"), "{no_run}");
    let file = find_runs(&[run.join("metrics.csv")]).expect_err("an error").to_string();
    assert!(file.contains("it is a file"), "{file}");

    let unlike = error(std::slice::from_ref(&run), "colour");
    assert!(unlike.contains("no metric `colour`, or none yet (there is train/loss, train/return)"), "{unlike}");
    // A range of the largest numbers is infinite.
    let rows = "1,train/return,1e308\n2,train/return,-1e308\n";
    std::fs::write(run.join("metrics.csv"), format!("step,name,value\n{rows}")).expect("writable");
    let infinite = error(std::slice::from_ref(&run), "train/return");
    assert!(infinite.contains("NaN or infinite"), "{infinite}");
    std::fs::write(run.join("metrics.csv"), "step,name,value\n1,train/return,NaN\n").expect("writable");
    let diverged = error(std::slice::from_ref(&run), "train/return");
    assert!(diverged.contains("no finite value of `train/return`: all that were logged are NaN"), "{diverged}");
    std::fs::write(run.join("metrics.csv"), "step,name,value\n1,train/return,many\n").expect("writable");
    let bad = error(std::slice::from_ref(&run), "train/return");
    assert!(bad.contains("metrics.csv`, line 2: value is `many`, expected a number"), "{bad}");
    std::fs::write(run.join("metrics.csv"), "step,name,value\n").expect("writable");
    assert!(error(&[run], "train/return").contains("has no data points yet"));
}

#[test]
fn runs_are_found_in_folders_each_once() {
    let folder = folder();
    let runs = [run(folder.path(), "a", 0, "", 1.0), run(folder.path(), "sweep/b", 1, "", 1.0)];
    // A killed process leaves such folders.
    for left in [".a.new-12", "sweep/.b.old-12-1"] {
        run(folder.path(), left, 2, "", 1.0);
    }
    let found = find_runs(&[folder.path().to_owned(), runs[1].clone()]).expect("runs");
    assert_eq!(found, runs);
}

#[test]
fn only_the_seed_and_how_often_is_logged_may_differ_within_a_group() {
    let config = |text: &str| {
        let folder = folder();
        write_config(folder.path(), text);
        Run::read(folder.path(), "train/return").expect("readable")
    };
    let dqn = |seed: u32, log_every: u32, lr: &str| {
        let head = format!("agent = \"dqn\"\nenv = \"cartpole\"\nseed = {seed}\nlog_every = {log_every}\n");
        config(&format!("{head}[agent_settings]\nlr = {lr}\nreplay_capacity = 100000\n"))
    };
    let pqn = config("agent = \"pqn\"\nenv = \"cartpole\"\nseed = 0\n[agent_settings]\nlr = 0.5\nlambda = 0.65\n");
    let groups = groups::group(vec![dqn(0, 100, "0.1"), dqn(1, 250, "0.1"), dqn(0, 100, "0.2"), pqn]);
    let labels: Vec<_> = groups.iter().map(|group| (group.label.as_str(), group.runs.len())).collect();
    assert_eq!(labels, [("dqn lr=0.1", 2), ("dqn lr=0.2", 1), ("pqn", 1)]);
}

#[test]
fn keys_that_would_read_alike_are_written_in_full() {
    let config = |max_steps: u32| {
        let folder = folder();
        let settings = format!("[env_settings]\nmax_steps = {max_steps}\n[agent_settings]\nmax_steps = {max_steps}\n");
        write_config(folder.path(), &format!("agent = \"dqn\"\nenv = \"cartpole\"\n{settings}"));
        Run::read(folder.path(), "train/return").expect("readable")
    };
    let groups = groups::group(vec![config(500), config(20_000)]);
    assert_eq!(groups[0].label, "dqn agent.max_steps=500 env.max_steps=500");
    assert_eq!(groups[1].label, "dqn agent.max_steps=20k env.max_steps=20k");
}

#[test]
fn runs_logged_at_different_steps_meet_on_one_grid() {
    let points = [(10.0, 1.0), (20.0, 3.0), (30.0, 5.0)];
    let grid = [0.0, 10.0, 15.0, 20.0, 27.5, 30.0, 40.0, 50.0];
    let values = [Some(1.0), Some(1.0), Some(2.0), Some(3.0), Some(4.5), Some(5.0), Some(5.0), None];
    assert_eq!(series::resample(&points, &grid), values);
    assert_eq!(series::resample(&points, &[15.0, 30.0]), [Some(2.0), Some(5.0)], "the mean of the points of a cell");
}

#[test]
fn counts_and_values_have_short_labels() {
    let counts =
        [(0.0, "0"), (500.0, "500"), (2_500.0, "2.5k"), (250e3, "250k"), (1e6, "1M"), (1.5e6, "1.5M"), (2e9, "2G")];
    for (count, label) in counts {
        assert_eq!(axis::count_label(count), label);
    }
    let labels = |lo, hi| axis::value_labels(&axis::ticks(lo, hi, 5)).join(" ");
    assert_eq!(labels(0.0, 15.0), "0 5 10 15");
    assert_eq!(labels(-0.5, 0.5), "\u{2212}0.4 \u{2212}0.2 0.0 0.2 0.4");
    assert_eq!(labels(-2000.0, -13.0), "\u{2212}2000 \u{2212}1500 \u{2212}1000 \u{2212}500");
    assert_eq!(labels(0.0, 3e-6), "0 1e-6 2e-6 3e-6");
    assert_eq!(labels(0.0, 90_000.0), "0 20k 40k 60k 80k");
    assert_eq!(axis::step_ticks(13.0, 6), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
    assert_eq!(axis::step_ticks(2.0, 6), [0.0, 1.0, 2.0]);
}

#[test]
fn ranges_have_air_and_begin_at_zero_where_that_is_near() {
    let range = |values: &[f64]| {
        let range = axis::value_range(values.to_vec(), &[]);
        (range.lo, range.hi)
    };
    assert_eq!(range(&[1.0, 21.0]), (0.0, 22.0));
    assert_eq!(range(&[-21.0, -1.0]), (-22.0, 0.0));
    assert_eq!(range(&[100.0, 120.0]), (99.0, 121.0));
    assert_eq!(range(&[0.0, 0.0]), (-1.0, 1.0));
    assert_eq!(range(&[]), (0.0, 1.05));
    assert_eq!(axis::value_range(vec![], &[20.0, 30.0]), axis::value_range(vec![20.0, 30.0], &[]));
    // A twentieth is cut off, a level beside a flat curve is not.
    let mut spiked = vec![1.0; 99];
    spiked.push(1000.0);
    assert_eq!(axis::value_range(spiked.clone(), &[]).cut_above, Some(1000.0));
    let with_level = axis::value_range(spiked, &[50.0]);
    assert_eq!((with_level.lo, with_level.hi.round(), with_level.cut_above), (0.0, 52.0, Some(1000.0)));
    assert_eq!(axis::value_range(vec![0.0, 10.0], &[30.0]).hi, 31.5);
    assert_eq!(axis::step_end(99_900.0, 6), 100_000.0);
    assert_eq!(axis::step_end(90_000.0, 6), 90_000.0);
}
