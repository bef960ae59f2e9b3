//! Every setting is heard, or refused with the reason; messages say what is really played and learned.

use crate::program::Program;

#[test]
fn settings_that_other_choices_make_idle_are_refused_with_the_reason() {
    let program = Program::new();
    let plan = "train --env gridworld --agent value-iteration";
    program.refuses(&format!("{plan} --n-envs 4"), &["n_envs is 4, which has no effect", "steps no environments"]);
    program.refuses(&format!("{plan} --set log_every=9"), &["log_every is 9, which has no effect"]);
    let table = "train --env taxi --agent sarsa";
    program.refuses(&format!("{table} --device cuda"), &["device is \"cuda\", which has no effect", "no network"]);
    program.refuses(&format!("{table} --set threads=2"), &["threads is 2, which has no effect"]);
    program.refuses(&format!("{table} --set eval_episodes=9"), &["eval_episodes is 9", "eval_every is 0"]);
    program.refuses(&format!("{table} --encoder-mode joint"), &["encoder_mode", "leave --encoder-mode out"]);
    let oracle = "train --env breakout --agent dqn --encoder oracle --set env.frame_stack=8";
    program.refuses(oracle, &["env.frame_stack is 8, which has no effect", "velocities"]);
    program.refuses("fit pca --data movies --epochs 3", &["epochs is 3, which has no effect", "found at once"]);
    program.refuses("fit vae --preset mnist-gan", &["preset mnist-gan is of gan", "not for vae"]);
    program.refuses("train --preset taxi-sarsa --agent dqn", &["preset taxi-sarsa is of sarsa"]);
    let eased = "watch --env breakout --gif a.gif --set env.reward_clip=true";
    program.refuses(eased, &["env.reward_clip is true, which has no effect", "rewards true"]);
    assert!(program.names(".").is_empty());
}

#[test]
fn a_file_with_a_setting_without_effect_is_refused_though_flags_follow() {
    let program = Program::new();
    program.write("idle.toml", "env = \"taxi\"\nagent = \"sarsa\"\n[agent_settings]\nepsilon_end = 0.01\n");
    program.refuses("train --config idle.toml --steps 10", &["in idle.toml", "agent.epsilon_end is 0.01", "no effect"]);
    program.write("flat.toml", "env = \"taxi\"\nagent = \"sarsa\"\n[agent_settings]\nepsilon_steps = 9\n");
    program.refuses("train --config flat.toml", &["agent.epsilon_steps is 9", "epsilon_end is epsilon_start"]);
    program.write("plan.toml", "env = \"taxi\"\nagent = \"value-iteration\"\nn_envs = 3\n");
    program.refuses("train --config plan.toml --seed 1", &["in plan.toml", "n_envs is 3"]);
}

#[test]
fn what_another_choice_makes_idle_goes_and_config_says_what_is_played() {
    let program = Program::new();
    program.write("many.toml", "env = \"gridworld\"\nagent = \"sarsa\"\nn_envs = 3\nlog_every = 9\n");
    program.succeed("train --config many.toml --agent value-iteration --out plan");
    let config = program.read("plan/config.toml");
    assert!(config.contains("n_envs = 1\n") && config.contains("log_every = 1\n"), "{config}");
    program.succeed("train --env breakout --agent random --encoder oracle --steps 8 --out seen");
    let config = program.read("seen/config.toml");
    assert!(config.contains("frame_stack = 1\n"), "{config}");
    program.succeed("eval seen --episodes 1 --max-steps 8");
}

#[test]
fn a_run_of_before_whose_file_has_settings_without_effect_is_read() {
    let program = Program::new();
    program.succeed("train --env gridworld --agent value-iteration --out run");
    let config = program.read("run/config.toml").replace("n_envs = 1", "n_envs = 3\neval_episodes = 20");
    program.write("run/config.toml", &config.replace("log_every = 1", "log_every = 200"));
    program.succeed("eval run --episodes 1");
}

/// Runs `carom`, and returns stderr.
fn told(program: &Program, line: &str) -> String {
    let output = program.run(line);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "carom {line}: {stderr}");
    stderr
}

#[test]
fn a_run_that_is_too_short_to_learn_says_so() {
    let program = Program::new();
    let learns = |line: &str| !told(&program, line).contains("learns nothing");
    let dqn = "train --env cartpole --agent dqn --set agent.learning_starts=64 --n-envs 4 --force --out dqn";
    assert!(!learns(&format!("{dqn} --steps 60")) && learns(&format!("{dqn} --steps 64")));
    let pqn = "train --env cartpole --agent pqn --set agent.n_minibatches=4 --n-envs 4 --force --out pqn";
    assert!(!learns(&format!("{pqn} --steps 124")) && learns(&format!("{pqn} --steps 125")));
    assert!(program.read("pqn/metrics.csv").contains("train/loss"), "the last run made an update");
}

#[test]
fn more_environments_than_steps_play_a_step_each_and_the_message_says_so() {
    let program = Program::new();
    let stderr = told(&program, "train --env gridworld --agent sarsa --steps 10 --n-envs 64 --out run");
    assert!(stderr.contains("64 steps (10, rounded up to whole steps of 64 environments)"), "{stderr}");
}

#[test]
fn more_threads_than_cores_are_a_warning() {
    let program = Program::new();
    let n = std::thread::available_parallelism().expect("known").get() + 1;
    let stderr = told(&program, &format!("train --env cartpole --agent dqn --steps 8 --set threads={n} --out run"));
    assert!(stderr.contains(&format!("warning: threads is {n}, and there are ")), "{stderr}");
}

#[test]
fn a_policy_that_never_ends_has_no_expected_return_and_the_cap_of_its_episodes_is_named() {
    let program = Program::new();
    let summary = program.succeed("train --env cliff-walking --agent q-learning --steps 1 --out run");
    assert!(summary.contains("no expected return: the greedy policy never ends some episodes"), "{summary}");
    let report = program.succeed("eval run --episodes 1");
    assert!(report.contains("CliffWalking-v1, cap 100000") && !report.contains("return_exact"), "{report}");
    assert!(report.contains("100.0 % of the episodes were cut off by the time limit"), "{report}");
}

/// Changes the device of `run`, as if it had been trained on a machine with CUDA.
fn on_cuda(program: &Program, run: &str) {
    for (file, [cpu, cuda]) in [
        ("config.toml", ["device = \"cpu\"", "device = \"cuda\""]),
        ("meta.json", ["\"device\": \"cpu\"", "\"device\": \"cuda\""]),
    ] {
        let path = format!("{run}/{file}");
        let text = program.read(&path);
        assert!(text.contains(cpu), "{text}");
        program.write(&path, &text.replace(cpu, cuda));
    }
}

#[test]
fn a_run_trained_on_another_device_is_read_on_the_cpu_and_goes_on_there_on_request() {
    if tch::Cuda::is_available() {
        return eprintln!("skipped: this machine has what the test takes away");
    }
    let program = Program::new();
    program.succeed("train --env cartpole --agent dqn --steps 64 --set agent.learning_starts=8 --out run");
    on_cuda(&program, "run");
    assert!(told(&program, "eval run --episodes 1").contains("reading it on the cpu"));
    told(&program, "watch run --gif a.gif --max-steps 3");
    program.refuses("eval run --device cuda", &["--device cpu"]);
    program.refuses("resume run --steps 128", &["--device cpu"]);
    told(&program, "resume run --steps 128 --device cpu");
    assert!(program.read("run/config.toml").contains("device = \"cpu\""));

    program.succeed("fit ae --data movies --epochs 1 --out fit");
    on_cuda(&program, "fit");
    for line in ["eval fit", "reconstruct fit"] {
        assert!(told(&program, line).contains("reading it on the cpu"), "{line}");
    }
    program.refuses("resume fit --epochs 2", &["--device cpu"]);
    told(&program, "resume fit --epochs 2 --device cpu");
}

#[test]
fn a_device_for_a_run_without_tensors_is_refused() {
    let program = Program::new();
    program.succeed("train --env taxi --agent q-learning --steps 200 --out run");
    for line in ["eval run --episodes 1", "watch run --gif a.gif --max-steps 3", "resume run --steps 300"] {
        program.refuses(&format!("{line} --device cuda"), &["--device has no effect", "q-learning has no network"]);
        told(&program, &format!("{line} --device cpu"));
    }
}

#[test]
fn a_run_that_cannot_be_made_longer_says_so() {
    let program = Program::new();
    program.succeed("train --env gridworld --agent value-iteration --out plan");
    assert!(told(&program, "resume plan --steps 900k").contains("converged at sweep"));
    program.succeed("fit pca --data movies --latent-dim 2 --out fit");
    program.refuses("resume fit --epochs 3", &["--epochs has no effect", "pca", "found at once"]);
    let stderr = told(&program, "resume fit");
    assert!(stderr.contains("pca is found at once") && !stderr.contains("--epochs"), "{stderr}");
}

#[test]
fn a_comparison_refuses_what_none_of_its_encoders_hears_and_names_what_one_does_not() {
    let program = Program::new();
    let compare = "compare --env breakout --agent random --steps 8 --seeds 0..1 --out all --encoders";
    let stack = "--set env.frame_stack=8";
    for (line, word) in [
        (format!("{compare} oracle {stack}"), "env.frame_stack is 8, which has no effect: the true state"),
        (format!("{compare} raw,oracle --encoder-mode joint"), "encoder_mode is \"joint\", which has no effect"),
        (format!("{compare} raw --set recon_weight=2"), "recon_weight is 2"),
        (format!("{compare} raw --set encoder=ae"), "--encoders determines it"),
        (format!("{compare} raw --set seed=3"), "--seeds determines it"),
        (format!("{compare} raw,oracle --device cuda"), "device is \"cuda\", which has no effect"),
    ] {
        program.refuses(&line, &[word]);
        assert!(program.names(".").is_empty(), "{line}");
    }
    let stderr = told(&program, &format!("{compare} raw,oracle {stack}"));
    assert!(stderr.contains("note: encoder oracle: env.frame_stack is 8, which has no effect"), "{stderr}");
    for (run, n) in [("raw", 8), ("oracle", 1)] {
        let config = program.read(&format!("all/{run}-s0/config.toml"));
        assert!(config.contains(&format!("frame_stack = {n}\n")), "{config}");
    }
    program.refuses(
        "probe pca --env breakout --set env.reward_clip=true",
        &["env.reward_clip is true, which has no effect"],
    );
}

#[test]
fn two_values_of_a_setting_in_one_command_are_refused() {
    let program = Program::new();
    let taxi = "train --env taxi --agent q-learning --out run";
    let twice = |what: &str| format!("{what} is given twice");
    program.refuses(&format!("{taxi} --steps 1k --set steps=2k"), &[&twice("steps"), "1000", "2000"]);
    program.refuses(&format!("{taxi} --set agent.lr=0.1 --set agent.lr=0.2"), &[&twice("agent.lr")]);
    program.refuses(&format!("{taxi} --set agent=sarsa"), &[&twice("agent"), "sarsa"]);
    program.refuses(&format!("{taxi} --seeds 0..2 --set seed=7"), &["--set seed=7", "--seeds determines it"]);
    program.refuses("fit ae --data movies --latent-dim 3 --set model.latent_dim=4", &[&twice("model.latent_dim")]);
    program.refuses("fit ae --data movies --seeds 0..2 --set seed=7", &["--seeds determines it"]);
    program.refuses("watch --env taxi --gif a.gif --epsilon 0.5", &["--epsilon has no effect", "random"]);
    program.refuses("watch --env taxi --gif a.gif --max-steps 3 --set env.max_steps=4", &["given twice"]);
    program.refuses("play --env taxi --set env.max_steps=3 --set env.max_steps=4", &[&twice("env.max_steps")]);
    assert!(program.names(".").is_empty());
    told(&program, &format!("{taxi} --steps 200 --set steps=200"));
}

#[test]
fn a_name_of_another_kind_is_recognised() {
    let program = Program::new();
    program.refuses("train --env mnist --agent dqn", &["no environment `mnist`", "a data set is called `mnist`"]);
    program.refuses("train --env taxi --agent vae", &["no agent `vae`", "a model is called `vae`"]);
    program.refuses("fit cnn --data movies", &["did you mean `cnn-ae`?"]);
    program.refuses("fit ae --data dqn", &["an agent is called `dqn`"]);
    program.refuses("watch --env gan --gif a.gif", &["a model is called `gan`"]);
}
