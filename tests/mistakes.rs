//! The message of each mistake names the wrong and the expected value, and no file is written.

use crate::encoder;
use crate::program::{PROGRAM, Program};
use std::path::Path;
use std::process::Command;

#[cfg(not(feature = "mpi"))]
#[test]
fn processes_of_one_job_need_a_build_with_mpi_and_a_command_that_shares_its_work() {
    let program = Program::new();
    let refused = |line: &str| {
        let output = program.run_with(line, &[("OMPI_COMM_WORLD_SIZE", "2".into())]);
        assert!(!output.status.success(), "{line}");
        String::from_utf8(output.stderr).expect("text")
    };
    let error = refused("train --env cartpole --agent dqn --steps 100 --out run");
    assert!(error.contains("2 processes were started as one job") && error.contains("--features mpi"), "{error}");
    let error = refused("list envs");
    assert!(error.contains("`train` and `resume` alone share their work"), "{error}");
    assert_eq!(program.names("."), [""; 0]);
}

#[test]
fn errors_about_unknown_names_name_the_nearest() {
    let program = Program::new();
    program.refuses("train --env minatar/breakot --agent random", &["`minatar/breakot`", "`minatar/breakout`"]);
    program.refuses("train --env taxi --agent q-lerning", &["`q-lerning`", "`q-learning`"]);
    program.refuses("train --env taxi --agent sarsa --encoder rew", &["`rew`", "`raw`"]);
    program.refuses("train --env taxi --agent sarsa --encoder-mode joint", &["--encoder-mode"]);
    program.refuses("train --preset taxi-q-lerning", &["`taxi-q-lerning`", "`taxi-q-learning`"]);
    program.refuses("train --env taxi --agent sarsa --set agent.gama=1", &["`gama`", "`gamma`"]);
    program.refuses("train --env taxi --agent sarsa --set env.max_step=1", &["`max_step`", "`max_steps`"]);
    program.refuses("train --env taxi --agent sarsa --set stepps=1", &["`stepps`", "`steps`"]);
    program.refuses("train --env taxi", &["which agent?"]);
    program.refuses("train --agent sarsa", &["which environment?"]);
}

#[test]
fn errors_about_fits_name_the_nearest() {
    let program = Program::new();
    program.refuses("fit ea --data movies", &["`ea`", "`ae`"]);
    program.refuses("fit ae --data moveis", &["`moveis`", "`movies`"]);
    program.refuses("fit ae --data movies --set model.latent_dm=3", &["`latent_dm`", "`latent_dim`"]);
    program.refuses("fit ae --data movies --set epoch=3", &["`epoch`", "`epochs`"]);
    program.refuses("fit ae --data movies --set modl.noise=1", &["`modl.`", "`model.`"]);
    program.refuses("fit ae --data movies --set model.activation=rellu", &["model.activation", "rellu"]);
    program.refuses("fit ae --data movies --data-dir here", &["data_dir is \"here\"", "leave --data-dir out"]);
    program.refuses("fit ae", &["which data?"]);
    program.refuses("fit --data movies", &["which model?"]);
    program.refuses("fit ae --data movies --epochs 0", &["epochs is 0"]);
    program.refuses("fit ae --data movies --latent-dim 0", &["model.latent_dim is 0"]);
    program.refuses("fit ae --data movies --lr 0", &["lr is 0"]);
    program.refuses("fit cnn-ae --data movies", &["1x6", "use ae"]);
    program.refuses("fit gan --data movies --set model.lambda=5", &["model.lambda is 5", "no effect", "wgan-gp"]);
    program.refuses("fit gan --data movies --set model.classifier=nosuch", &["model.classifier", "no run nosuch"]);
}

#[test]
fn errors_about_bad_values_name_value_and_expectation() {
    let program = Program::new();
    let train = "train --env taxi --agent q-learning";
    program.refuses(&format!("{train} --steps 0"), &["steps is 0"]);
    program.refuses(&format!("{train} --n-envs 0"), &["n_envs is 0"]);
    program.refuses(&format!("{train} --set log_every=0"), &["log_every is 0"]);
    program.refuses(&format!("{train} --set agent.gamma=2"), &["agent.gamma is 2"]);
    program.refuses(&format!("{train} --set agent.lr=fast"), &["agent.lr", "a number"]);
    program.refuses(&format!("{train} --set steps=many"), &["steps is \"many\"", "a whole number"]);
    program.refuses(&format!("{train} --set agent.lr"), &["expected key=value"]);
    program.refuses(&format!("{train} --device cuda"), &["cuda"]);
    program.refuses(&format!("{train} --set precision=bf16"), &["precision", "bf16", "q-learning has no network"]);
    let small = "train --env minatar/breakout --agent dqn --set precision=bf16";
    program.refuses(small, &["precision is bf16", "only the network of 84x84 pixels"]);
    let dqn = "train --env cartpole --agent dqn --set agent.";
    for (setting, words) in [
        ("lr=1e-320", "1e-37 to 1e38"),
        ("n_updates=1000000000000", "n_updates is 1000000000000"),
        ("gamma=0 --set agent.n_step=3", "n_step is 3, which has no effect: gamma is 0"),
        ("munchausen=true --set agent.munchausen_alpha=0 --set agent.munchausen_floor=-2", "munchausen_alpha is 0"),
    ] {
        program.refuses(&format!("{dqn}{setting}"), &[words]);
    }
    let rbm = "fit rbm --data movies --set model.";
    for setting in ["n_chains", "ais_chains", "ais_temperatures", "gibbs_steps", "sample_steps"] {
        program.refuses(&format!("{rbm}{setting}=1000000000000"), &[&format!("model.{setting} is 1000000000000")]);
    }
    program.refuses("fit vae --data movies --set model.k=1000000000000", &["model.k is 1000000000000"]);
    for usage in ["--steps ten", "--steps 9223372036854775808", "--seeds 5..5", "--seed 1 --seeds 0..2", "--device gpu"]
    {
        assert_eq!(program.run(&format!("{train} {usage}")).status.code(), Some(2), "{usage}");
    }
    assert!(program.names(".").is_empty());
}

#[test]
fn flags_without_effect_or_sense_are_refused_before_anything_is_made() {
    let program = Program::new();
    program.succeed("train --env taxi --agent random --steps 400 --out random");
    program.refuses("eval random --epsilon 0.5", &["--epsilon has no effect", "`random`"]);
    program.refuses("plot random --smooth 0", &["--smooth is 0"]);
    program.refuses("compare --runs random --by agent,agent --out new", &["--by names agent twice"]);
    let compare = "compare --envs taxi,cartpole --agents random,dqn --steps 100 --out new";
    for (flags, words) in [
        ("--scale taxi=1..0", "--scale taxi=ZERO..ONE"),
        ("--scale taxi=0..1 --scale taxi=0..2", "given twice"),
        ("--reference scripted", "no scripted player"),
    ] {
        program.refuses(&format!("{compare} {flags}"), &[words]);
    }
    for usage in ["--scale taxi=0..inf", "--scale taxi=0", "--scale taxi=a..1"] {
        assert_eq!(program.run(&format!("{compare} {usage}")).status.code(), Some(2), "{usage}");
    }
    assert_eq!(program.names("."), ["random"]);
}

#[test]
fn a_bad_configuration_file_is_named() {
    let program = Program::new();
    program.write("broken.toml", "env = taxi\n");
    program.write("unknown.toml", "env = \"taxi\"\nagent = \"sarsa\"\n[agent_settings]\nlamda = 0.9\n");
    program.write("typed.toml", "env = \"taxi\"\nagent = \"sarsa\"\nsteps = \"many\"\n");
    program.refuses("train --config broken.toml", &["broken.toml is not TOML", "line 1"]);
    program.refuses("train --config unknown.toml", &["in unknown.toml", "`lamda`"]);
    program.refuses("train --config typed.toml", &["in typed.toml: steps is \"many\""]);
    program.refuses("train --config missing.toml", &["missing.toml"]);
    program.succeed("fit ae --data movies --epochs 1 --out fit");
    program.refuses("train --config fit/config.toml", &["fit/config.toml", "kind is \"fit\"", "`carom train`"]);
}

#[test]
fn an_agent_that_cannot_play_an_environment_says_why() {
    let program = Program::new();
    program.refuses("train --env minatar/breakout --agent q-learning", &["q-learning", "discrete", "dqn"]);
    program.refuses("train --env cartpole --agent value-iteration", &["value-iteration", "cartpole"]);
    program.refuses("train --env taxi --agent scripted", &["taxi has no scripted player"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let program = Program::new();
    program.write("file", "");
    program.refuses("train --env taxi --agent sarsa --out file/run", &["file/run"]);
    // Not even root can create directories there.
    program.refuses("train --env taxi --agent sarsa --out /proc/run", &["cannot make the run directory /proc/run"]);
}

#[test]
fn divergence_stops_with_the_name_of_the_loss_and_keeps_the_checkpoint() {
    let program = Program::new();
    let error = program.fail(
        "train --env cartpole --agent dqn --steps 20k --out run --set agent.lr=1e38 --set agent.learning_starts=250 \
         --set checkpoint_every=100",
    );
    assert!(error.contains(" at step ") && error.contains("diverged"), "{error}");
    let log = program.read("run/log.txt");
    assert!(log.contains("diverged"), "{log}");
    assert_eq!(program.names("run/checkpoints"), ["100", "200"]);
}

#[test]
fn a_comparison_with_an_encoder_that_does_not_fit_is_refused_before_anything_is_trained() {
    let program = encoder::fitted("ae");
    let compare = "compare --agent dqn --seeds 0..1 --steps 200 --out all --encoders";
    for (line, word) in [
        (format!("{compare} raw,fit --env breakout"), "fit was fitted to images of 4x10x10"),
        (format!("{compare} raw,nosuch --env minatar/breakout"), "there is no encoder `nosuch`"),
        (format!("{compare} raw,oracle --env taxi"), "taxi"),
        (format!("{compare} raw,ae --env cartpole"), "cartpole"),
        (
            format!("{compare} oracle,raw --env minatar/breakout").replace("dqn", "q-learning"),
            "oracle on minatar/breakout: a table",
        ),
    ] {
        let error = program.fail(&line);
        assert!(error.contains(word), "{line}: no `{word}` in {error}");
        assert_eq!(program.names("."), ["fit"], "{line}");
    }
}

#[test]
fn the_doctor_says_how_many_threads_runs_take() {
    let output = Program::new().run_with("doctor", &[("OMP_NUM_THREADS", "1".into())]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("runs use 1, pixels 1, unless"), "{report}");
}

#[test]
fn the_doctor_says_what_keeps_the_program_from_starting() {
    let program = Program::new();
    program.write("library.c", "int gone(void) { return 0; }\n");
    program.write("main.c", "int gone(void); int main(void) { return gone(); }\n");
    let cc = |line: &str| {
        let mut cc = Command::new("cc");
        assert!(
            cc.current_dir(program.path(".")).args(line.split(' ')).status().expect("a compiler").success(),
            "{line}"
        );
    };
    cc("-shared -o libgone.so library.c");
    cc("-o main main.c -L. -lgone -Wl,-rpath,/no/such -Wl,--enable-new-dtags");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/doctor");
    let doctor = |path: &Path| {
        let output = Command::new(&script).arg(path).output().expect("bash is there");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = doctor(&program.path("main"));
    assert!(code == Some(1) && stderr.contains("does not find libgone.so") && stderr.contains("/no/such"), "{stderr}");
    let (code, stderr) = doctor(Path::new(PROGRAM));
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn a_judge_that_is_not_there_is_named_before_data_are_fetched() {
    let program = Program::new();
    let line = "fit gan --data mnist --set model.classifier=/nosuch";
    let output = program.run_with(line, &[("CAROM_CACHE", program.path("cache"))]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && stderr.contains("model.classifier: there is no run /nosuch"),
        "{stderr}"
    );
    assert!(program.names(".").is_empty());
}
