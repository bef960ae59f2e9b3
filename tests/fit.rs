use crate::program::Program;
use serde_json::Value;

/// A fit with 2 updates per epoch.
const FIT: &str = "fit ae --data movies --epochs 20 --latent-dim 2 --batch-size 4 --lr 0.01";

#[test]
fn a_fit_has_all_its_files() {
    let program = Program::new();
    let summary = program.succeed(FIT);
    let run = "runs/movies-ae-s0";
    assert!(summary.contains("test/bce") && summary.contains(&format!("carom eval {run}")), "{summary}");
    // Nothing plays, so there are no rows of episodes and evaluations.
    let expected = ["checkpoints", "config.toml", "log.txt", "meta.json", "metrics.csv", "plots", "timing.csv"];
    assert_eq!(program.names(run), expected);
    let plots = ["latent.svg", "loss.svg", "manifold.png", "reconstructions.png"];
    assert_eq!(program.names(&format!("{run}/plots")), plots);
    let loss = program.read(&format!("{run}/plots/loss.svg"));
    for text in ["ae on movies", "epochs", "training", "test", "BCE per pixel, nats"] {
        assert!(loss.contains(&format!("\n{text}\n")), "{text} in {loss}");
    }
    let metrics = program.read(&format!("{run}/metrics.csv"));
    for row in ["1,fit/loss,", "40,fit/bce,", "40,fit/epoch,20.0", "2,test/bce,", "40,test/mse,"] {
        assert!(metrics.contains(&format!("\n{row}")), "{row} in {metrics}");
    }
    assert!(program.read(&format!("{run}/timing.csv")).contains("40,steps_per_s,"));
}

#[test]
fn a_wider_code_has_traversals_and_interpolations() {
    let program = Program::new();
    program.succeed("fit ae --data movies --epochs 2 --latent-dim 3 --out run");
    let plots = ["interpolations.png", "loss.svg", "reconstructions.png", "traversals.png"];
    assert_eq!(program.names("run/plots"), plots);
    // 11 columns and a row for each of 3 dimensions, of images of 6x1 pixels enlarged 8 times, 2 apart.
    let (width, height) = png_size(&program, "run/plots/traversals.png");
    assert!(width == 11 * 50 + 2 && height > 3 * 10 + 2, "{width}x{height}: the caption is below the images");
}

#[test]
fn the_same_seed_gives_the_same_fit_and_another_seed_another() {
    let program = Program::new();
    for (seed, out) in [(3, "a"), (3, "b"), (4, "c")] {
        program.succeed(&format!("{FIT} --set model.noise=0.3 --seed {seed} --out {out}"));
    }
    program.assert_same("a", "b");
    assert_ne!(program.read("a/metrics.csv"), program.read("c/metrics.csv"));
    program.succeed("fit --config a/config.toml --out again");
    program.assert_same("a", "again");
}

#[test]
fn more_epochs_make_a_fit_longer() {
    let program = Program::new();
    program.succeed(&format!("{FIT} --out whole"));
    program.succeed(&format!("{FIT} --epochs 7 --out longer").replacen("--epochs 20 ", "", 1));
    program.succeed("resume longer --epochs 20");
    program.assert_same("whole", "longer");
    assert_eq!(program.read("whole/config.toml"), program.read("longer/config.toml"));
    assert!(program.fail("resume longer --epochs 3").contains("less than the 20"));
}

#[test]
fn measures_have_the_names_of_the_contract_and_repeat() {
    let program = Program::new();
    program.succeed(&format!("{FIT} --out run"));
    let text = program.succeed("eval run --json");
    assert_eq!(text, program.succeed("eval run --json"));
    let measures: Value = serde_json::from_str(&text).expect("one JSON object");
    assert_eq!(
        (&measures["model"], &measures["data"], &measures["step"]),
        (&"ae".into(), &"movies".into(), &40.into())
    );
    let number = |name: &str| measures[name].as_f64().unwrap_or_else(|| panic!("{name} in {measures}"));
    let mse = number("test/mse");
    assert!(number("test/bce") > 0.0 && number("test/bce_floor") == 0.0, "{measures}");
    assert!((number("test/psnr") + 10.0 * mse.log10()).abs() < 1e-9, "{measures}");
    assert!((0.0..mse).contains(&number("test/pca_mse")), "the best linear code of six rows: {measures}");
}

#[test]
fn a_fitted_model_has_pictures_and_curves() {
    let program = Program::new();
    program.succeed(&format!("{FIT} --out run"));
    fs_err::remove_dir_all(program.path("run/plots")).expect("removed");
    assert_eq!(program.succeed("reconstruct run"), "run/plots/reconstructions.png\n");
    // Six columns, inputs above outputs.
    let wide = png_size(&program, "run/plots/reconstructions.png");
    assert!(wide.0 >= 6 * 50 + 2 && wide.1 > 2 * 10 + 2, "{wide:?}: the caption is below the images");
    let caption = "ae on movies after 40 updates. Test images, each above its reconstruction. Pixels, from left to \
                   right: Harry Potter";
    let bytes = fs_err::read(program.path("run/plots/reconstructions.png")).expect("readable");
    assert!(String::from_utf8_lossy(&bytes).contains(caption), "the file's description is the caption");
    assert_eq!(program.succeed("reconstruct run -n 2 -o two.png"), "two.png\n");
    assert_eq!(png_size(&program, "two.png").0, wide.0, "a caption needs some width");
    assert_eq!(program.succeed("plot run"), "run/plots/fit-loss.svg\n");
    let curve = program.read("run/plots/fit-loss.svg");
    assert!(curve.contains("\nepochs\n") && curve.contains("\nae on movies\n") && curve.contains("\ntraining loss\n"));

    let refusal = program.fail("sample run");
    assert!(refusal.contains("model `ae`") && refusal.contains("use vae, rbm or gan"), "{refusal}");
    assert!(program.fail("reconstruct run -n 0").contains("-n is 0"));
    assert!(program.fail("reconstruct run -o a.jpg").contains(".png"));
    assert!(program.fail("sample nowhere").contains("there is no run nowhere"));
    program.succeed("train --env taxi --agent value-iteration --out agent");
    assert!(program.fail("reconstruct agent").contains("an agent (value-iteration)"));
    assert!(program.fail("watch run").contains("a fitted ae, not an agent"));
}

#[test]
fn an_existing_fit_is_replaced_only_by_force() {
    let program = Program::new();
    program.succeed(&format!("{FIT} --out run"));
    let before = program.read("run/metrics.csv");
    assert!(program.fail(&format!("{FIT} --out run --seed 1")).contains("run exists; --force replaces it"));
    assert_eq!(program.read("run/metrics.csv"), before);
    program.succeed(&format!("{FIT} --out run --seed 1 --force"));
    assert_ne!(program.read("run/metrics.csv"), before);
}

#[test]
fn divergence_stops_with_the_name_of_the_loss_and_is_not_saved() {
    let program = Program::new();
    let diverging = FIT.replace("--lr 0.01", "--lr 1e38");
    let error = program.fail(&format!("{diverging} --out run --set checkpoint_every=1"));
    assert!(error.contains("fit/bce is ") && error.contains(" at step ") && error.contains("diverged"), "{error}");
    assert!(program.read("run/log.txt").contains("diverged"));
    let metrics = program.read("run/metrics.csv");
    assert!(!metrics.contains("NaN") && !metrics.contains("fit/loss,inf"), "{metrics}");
    assert!(program.names("run/checkpoints").is_empty());
}

fn png_size(program: &Program, name: &str) -> (u32, u32) {
    let bytes = fs_err::read(program.path(name)).expect("readable");
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{name} is no PNG");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
    (number(16), number(20))
}

#[test]
fn frames_are_fitted_as_the_encoder_flag_fits_them_unless_something_else_is_given() {
    let program = Program::new();
    let fit = "fit ae --data env:minatar/breakout --set n_frames=300 --epochs 1";
    program.succeed(&format!("{fit} --out recipe"));
    let config = program.read("recipe/config.toml");
    for line in ["batch_size = 64", "latent_dim = 64", "hidden = [256]", "rarity = 1.0"] {
        assert!(config.lines().any(|found| found == line), "{line} in {config}");
    }
    program.succeed(&format!("{fit} --latent-dim 8 --out other"));
    assert!(program.read("other/config.toml").contains("latent_dim = 8\n"));
    program.succeed("train --env minatar/breakout --agent dqn --encoder ae --steps 8 --set n_envs=4 --out agent");
    let encoder = program.read("agent/encoder/config.toml");
    program.succeed("fit ae --data env:minatar/breakout --steps 1 --out alone");
    let alone = program.read("alone/config.toml").replace("steps = 1\n", "");
    assert_eq!(alone, encoder);
}

#[test]
fn an_optimiser_is_chosen_by_name_and_changes_the_fit() {
    let program = Program::new();
    let fit = |optimizer: &str| {
        program.succeed(&format!("fit ae --data movies --epochs 20 --optimizer {optimizer} --out {optimizer}"));
        program.read(&format!("{optimizer}/metrics.csv"))
    };
    let (adam, adadelta, rmsprop) = (fit("adam"), fit("adadelta"), fit("rmsprop"));
    assert!(adam != adadelta && adam != rmsprop && adadelta != rmsprop);
    assert!(program.read("adadelta/config.toml").contains("lr = 1.0\n"));
    program.succeed("fit ae --data movies --epochs 20 --out usual");
    assert_eq!(program.read("usual/metrics.csv"), adam, "adam is the usual one");
    program.succeed("fit ae --data movies --epochs 7 --optimizer adadelta --out part");
    program.succeed("resume part --epochs 20");
    program.assert_same("adadelta", "part");
}

#[test]
fn other_data_are_reconstructed_and_told_apart_by_their_error() {
    let program = Program::new();
    program.succeed(&format!("{FIT} --out run"));
    assert!(program.succeed("reconstruct run --data movies").contains("run/plots/reconstructions.png"));
    program.succeed("reconstruct run --noise 0.4 --seed 3 -o noisy.png");
    program.succeed("reconstruct run --noise 0.4 --seed 4 -o other.png");
    let bytes = |name: &str| fs_err::read(program.path(name)).expect("a picture");
    assert_ne!(bytes("noisy.png"), bytes("other.png"));
    let text = program.succeed("eval run --data movies --json");
    let measures: Value = serde_json::from_str(&text).expect("one JSON object");
    assert_eq!(measures["other/auroc"], 0.5, "the same images: {measures}");
    assert_eq!(measures["test/mse"], measures["other/mse"]);
    for (line, why) in [
        ("reconstruct run --data env:taxi", "taxi"),
        ("reconstruct run --data env:minatar/breakout", "and the model takes 1x1x6"),
        ("reconstruct run --seed 3", "--seed has no effect without --noise or --chain"),
        ("reconstruct run --noise=-1", "--noise is -1: expected a number of at least 0"),
        ("reconstruct run --chain 2", "--chain is for rbm"),
    ] {
        let error = program.fail(line);
        assert!(error.contains(why), "carom {line}: {error}");
    }
}

#[test]
fn a_full_measurement_of_a_fit_says_what_it_is_at() {
    let program = Program::new();
    program.succeed("fit rbm --data movies --epochs 2 --set model.ais_temperatures=500 --out fit");
    let output = program.run("eval fit");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("measuring 6 test images\n"), "{stderr}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("measuring"));
}
