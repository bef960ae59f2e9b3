//! The message of each mistake names the wrong and the expected value, and no file is written.

use crate::program::Program;

/// Asserts that `line` fails with all of `words` in its message and writes no file.
fn refuses(program: &Program, line: &str, words: &[&str]) {
    let before = program.names(".");
    let error = program.fail(line);
    for word in words {
        assert!(error.contains(word), "carom {line}: no `{word}` in: {error}");
    }
    assert_eq!(program.names("."), before, "carom {line} left something behind");
}

#[test]
fn errors_about_unknown_names_name_the_nearest() {
    let program = Program::new();
    refuses(&program, "train --env minatar/breakot --agent random", &["`minatar/breakot`", "`minatar/breakout`"]);
    refuses(&program, "train --env taxi --agent q-lerning", &["`q-lerning`", "`q-learning`"]);
    refuses(&program, "train --env taxi --agent sarsa --encoder rew", &["`rew`", "`raw`"]);
    refuses(&program, "train --env taxi --agent sarsa --encoder-mode joint", &["--encoder-mode"]);
    refuses(&program, "train --preset taxi-q-lerning", &["`taxi-q-lerning`", "`taxi-q-learning`"]);
    refuses(&program, "train --env taxi --agent sarsa --set agent.gama=1", &["`gama`", "`gamma`"]);
    refuses(&program, "train --env taxi --agent sarsa --set env.max_step=1", &["`max_step`", "`max_steps`"]);
    refuses(&program, "train --env taxi --agent sarsa --set stepps=1", &["`stepps`", "`steps`"]);
    refuses(&program, "train --env taxi", &["which agent?"]);
    refuses(&program, "train --agent sarsa", &["which environment?"]);
}

#[test]
fn errors_about_fits_name_the_nearest() {
    let program = Program::new();
    refuses(&program, "fit ea --data movies", &["`ea`", "`ae`"]);
    refuses(&program, "fit ae --data moveis", &["`moveis`", "`movies`"]);
    refuses(&program, "fit ae --data movies --set model.latent_dm=3", &["`latent_dm`", "`latent_dim`"]);
    refuses(&program, "fit ae --data movies --set epoch=3", &["`epoch`", "`epochs`"]);
    refuses(&program, "fit ae --data movies --set modl.noise=1", &["`modl.`", "`model.`"]);
    refuses(&program, "fit ae --data movies --set model.activation=rellu", &["model.activation", "rellu"]);
    refuses(&program, "fit ae --data movies --data-dir here", &["data_dir is \"here\"", "leave --data-dir out"]);
    refuses(&program, "fit ae", &["which data?"]);
    refuses(&program, "fit --data movies", &["which model?"]);
    refuses(&program, "fit ae --data movies --epochs 0", &["epochs is 0"]);
    refuses(&program, "fit ae --data movies --latent-dim 0", &["model.latent_dim is 0"]);
    refuses(&program, "fit ae --data movies --lr 0", &["lr is 0"]);
    refuses(&program, "fit cnn-ae --data movies", &["1x6", "use ae"]);
    refuses(&program, "fit gan --data movies --set model.lambda=5", &["model.lambda is 5", "no effect", "wgan-gp"]);
    refuses(&program, "fit gan --data movies --set model.classifier=nosuch", &["model.classifier", "no run nosuch"]);
}

#[test]
fn errors_about_bad_values_name_value_and_expectation() {
    let program = Program::new();
    let train = "train --env taxi --agent q-learning";
    refuses(&program, &format!("{train} --steps 0"), &["steps is 0"]);
    refuses(&program, &format!("{train} --n-envs 0"), &["n_envs is 0"]);
    refuses(&program, &format!("{train} --set log_every=0"), &["log_every is 0"]);
    refuses(&program, &format!("{train} --set agent.gamma=2"), &["agent.gamma is 2"]);
    refuses(&program, &format!("{train} --set agent.lr=fast"), &["agent.lr", "a number"]);
    refuses(&program, &format!("{train} --set steps=many"), &["steps is \"many\"", "a whole number"]);
    refuses(&program, &format!("{train} --set agent.lr"), &["expected key=value"]);
    refuses(&program, &format!("{train} --device cuda"), &["cuda"]);
    for usage in ["--steps ten", "--seeds 5..5", "--seed 1 --seeds 0..2", "--device gpu"] {
        assert_eq!(program.run(&format!("{train} {usage}")).status.code(), Some(2), "{usage}");
    }
    assert!(program.names(".").is_empty());
}

#[test]
fn a_bad_configuration_file_is_named() {
    let program = Program::new();
    program.write("broken.toml", "env = taxi\n");
    program.write("unknown.toml", "env = \"taxi\"\nagent = \"sarsa\"\n[agent_settings]\nlamda = 0.9\n");
    program.write("typed.toml", "env = \"taxi\"\nagent = \"sarsa\"\nsteps = \"many\"\n");
    refuses(&program, "train --config broken.toml", &["broken.toml is not TOML", "line 1"]);
    refuses(&program, "train --config unknown.toml", &["in unknown.toml", "`lamda`"]);
    refuses(&program, "train --config typed.toml", &["in typed.toml: steps is \"many\""]);
    refuses(&program, "train --config missing.toml", &["missing.toml"]);
}

#[test]
fn an_agent_that_cannot_play_an_environment_says_why() {
    let program = Program::new();
    refuses(&program, "train --env minatar/breakout --agent q-learning", &["q-learning", "discrete", "dqn"]);
    refuses(&program, "train --env cartpole --agent value-iteration", &["value-iteration", "cartpole"]);
    refuses(&program, "train --env taxi --agent scripted", &["taxi has no scripted player"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let program = Program::new();
    program.write("file", "");
    refuses(&program, "train --env taxi --agent sarsa --out file/run", &["file/run"]);
    // Not even root can create directories there.
    refuses(&program, "train --env taxi --agent sarsa --out /proc/run", &["cannot make the run directory /proc/run"]);
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
