use crate::program::{Program, send};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Training on MinAtar's Breakout with a small fitted encoder in directory `fit`.
const TRAIN: &str =
    "train --env minatar/breakout --encoder fit --steps 600 --set log_every=100 --set env.max_steps=200";
const DQN: &str = "--agent dqn --set agent.learning_starts=100 --set agent.buffer_size=400 --set agent.hidden=[16]";

/// Returns a program whose directory has a small fit of model `name` in `fit`.
pub(crate) fn fitted(name: &str) -> Program {
    let program = Program::new();
    // Principal components are found at once, and have no epochs.
    let epochs = if name == "pca" { "" } else { "--epochs 1" };
    program.succeed(&format!(
        "fit {name} --data env:minatar/breakout --set n_frames=400 {epochs} --latent-dim 8 --out fit"
    ));
    program
}

/// Returns array `name` of the newest checkpoint in `run`, as floats.
fn array(program: &Program, run: &str, name: &str) -> Vec<f32> {
    let step = program.newest_checkpoint(run).expect("a checkpoint");
    let bytes = fs_err::read(program.path(&format!("{run}/checkpoints/{step}/arrays.safetensors"))).expect("readable");
    let arrays = safetensors::SafeTensors::deserialize(&bytes).expect("arrays");
    let values = arrays.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data().as_chunks().0.to_vec();
    values.into_iter().map(f32::from_le_bytes).collect()
}

/// Runs `line`, expects success, and returns stderr.
fn stderr(program: &Program, line: &str) -> String {
    let output = program.run(line);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "carom {line}: {stderr}");
    stderr
}

#[test]
fn a_frozen_encoder_stays_and_a_finetuned_one_is_part_of_the_agent() {
    let program = fitted("ae");
    let line = format!("{TRAIN} {DQN}");
    let frozen = stderr(&program, &format!("{line} --out frozen"));
    let tuned = stderr(&program, &format!("{line} --encoder-mode finetune --out tuned"));
    assert!(frozen.contains("seen through fit (its frames cost "), "{frozen}");
    assert!(tuned.contains("seen through fit (finetune) (its frames cost "), "{tuned}");

    let fit = array(&program, "fit", "encoder.params");
    assert_eq!(array(&program, "frozen/encoder", "encoder.params"), fit);
    let [head, all] = ["frozen", "tuned"].map(|run| array(&program, run, "network.online"));
    assert_eq!(all.len(), fit.len() + head.len(), "trunk and head");
    assert_ne!(all[..fit.len()], fit[..], "the agent's loss moves the encoder");
    // The target network has a copy of the encoder too.
    assert_eq!(array(&program, "tuned", "network.target").len(), all.len());

    let scores = |options: &str| -> Value {
        serde_json::from_str(&program.succeed(&format!("eval {options} --episodes 3 --json"))).expect("JSON")
    };
    let of_frozen = scores("frozen");
    assert_eq!(of_frozen["encoder"], "fit");
    assert!(of_frozen["encoder_env_steps"].as_u64() > Some(100), "{of_frozen}");
    assert_eq!(scores("tuned")["encoder_env_steps"], of_frozen["encoder_env_steps"]);
    assert_eq!(scores("tuned"), scores("tuned"));
    assert!(program.succeed("eval tuned --episodes 1").contains("\nencoder       fit (finetune) (its frames cost "));
}

#[test]
fn joint_training_logs_its_reconstruction_loss() {
    let program = fitted("ae");
    let line = format!("{TRAIN} {DQN} --encoder-mode joint --set agent.lr=0.01");
    program.succeed(&format!("{line} --out run"));
    assert!(program.read("run/config.toml").contains("recon_weight = 1.0"));
    let metrics = program.read("run/metrics.csv");
    let recon = metrics.lines().filter(|row| row.contains(",train/recon,"));
    let recon: Vec<f64> =
        recon.map(|row| row.rsplit(',').next().and_then(|v| v.parse().ok()).expect("a number")).collect();
    assert!(recon.len() > 3 && recon[recon.len() - 1] < 0.9 * recon[0], "{recon:?}");
}

#[test]
fn the_oracle_sees_each_brick() {
    let program = Program::new();
    program.succeed(&format!("{TRAIN} {DQN} --encoder oracle --out run").replace("--encoder fit ", ""));
    let mut facts: Value = serde_json::from_str(&program.read("run/encoder/encoder.json")).expect("JSON");
    let scales = facts["scales"].as_array_mut().expect("a list");
    assert_eq!(scales.len(), 7 + 30);
    for scale in &scales[7..] {
        let [mean, width] = [0, 1].map(|i| scale[i].as_f64().expect("a number"));
        assert!(
            width > 0.0 && mean.max(1.0 - mean) / width < 10.001,
            "a brick that stands or fell in few frames: {scale}"
        );
    }
    scales.truncate(7);
    program.write("run/encoder/encoder.json", &facts.to_string());
    assert!(
        program
            .fail("eval run --episodes 1")
            .contains("run was trained with 7 factors of minatar/breakout, which now has 37")
    );
}

#[test]
fn an_interrupted_fit_ends_as_other_commands_do_and_the_same_command_continues_it() {
    let program = Program::new();
    let line = format!("{TRAIN} {DQN} --encoder ae --out run").replace("--encoder fit ", "");
    let mut child = program
        .command(&line)
        .env("CAROM_CACHE", program.path("cache"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map(|line| line.expect("UTF-8"));
    assert!(lines.any(|line| line.starts_with("fitting encoder ae")));
    send("INT", &child);
    let last = lines.last().expect("a last message");
    assert_eq!((child.wait().expect("it ends").code(), program.path("run").exists()), (Some(130), false), "{last}");
    assert_eq!(last, "stopped while encoder ae was fitted; the same command resumes it");

    // Facts of the fit are cached with it, so that its frames need not be played again.
    let cached = |line: &str| program.run_with(line, &[("CAROM_CACHE", program.path("cache"))]);
    assert!(cached(&line).status.success());
    let facts = format!("cache/encoders/{}/encoder.json", program.names("cache/encoders")[0]);
    assert_eq!(program.read(&facts), program.read("run/encoder/encoder.json"));
    let mut fit: Value = serde_json::from_str(&program.read(&facts)).expect("JSON");
    fit["n_env_steps"] = 7.into();
    program.write(&facts, &fit.to_string());
    let stderr = cached(&line.replace("--out run", "--out again")).stderr;
    assert!(String::from_utf8(stderr).expect("UTF-8").contains("seen through ae (its frames cost 7 steps)"));
    program.assert_same("run", "again");

    // A fit in the cache whose settings are not those asked for is not used.
    let config = facts.replace("encoder.json", "config.toml");
    program.write(&config, &program.read(&config).replace("seed = 0\n", "seed = 5\n"));
    let stderr = String::from_utf8(cached(&line.replace("--out run", "--out third")).stderr).expect("UTF-8");
    assert!(stderr.contains("has other settings; fitting it again"), "{stderr}");
    program.assert_same("run", "third");
}

#[test]
fn a_table_logs_how_many_codes_were_visited() {
    let program = fitted("pca");
    let summary = program.succeed(&format!("{TRAIN} --agent q-learning --out run"));
    let metrics = program.read("run/metrics.csv");
    let codes: Vec<f64> = metrics
        .lines()
        .filter(|row| row.contains(",train/codes,"))
        .map(|row| row.rsplit(',').next().and_then(|value| value.parse().ok()).expect("a number"))
        .collect();
    assert!(codes.is_sorted() && codes.len() == 6 && codes[0] >= 2.0 && codes[5] <= 256.0, "{codes:?}");
    assert!(summary.contains(&format!("\n{} of 256 codes visited\n", codes[5])), "{summary}");
}

#[test]
fn a_fit_of_stacks_is_given_as_many_frames() {
    let program = Program::new();
    let fit = "fit pca --data env:breakout --set n_frames=60 --latent-dim 8 --set env.frame_stack=2 --out pair";
    program.succeed(fit);
    program.succeed(&format!(
        "train --env breakout --encoder pair {DQN} --steps 300 --n-envs 2 --set env.frame_stack=1 --out run"
    ));
    program.succeed("eval run --episodes 1 --max-steps 50");
    program.succeed("watch run --gif a.gif --max-steps 20");
    assert!(program.fail("train --env minatar/breakout --agent dqn --encoder pair").contains("images of 2x84x84"));

    let probe = "probe pair --env breakout --frames 40 --json";
    assert!(program.fail(&format!("{probe} --set env.frame_stack=1")).contains("takes 2 frames at once, not 1"));
    let output = program.run_with(probe, &[("CAROM_CACHE", program.path("cache"))]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((&report["encoders"][0]["encoder"], &report["encoders"][0]["code"]), (&"pair".into(), &8.into()));
}

#[test]
fn impossible_modes_say_why() {
    let program = fitted("pca");
    let refuses = |line: &str, words: &[&str]| {
        let error = program.fail(&format!("train --env minatar/breakout {line} --out no"));
        for word in words {
            assert!(error.contains(word), "carom {line}: no `{word}` in: {error}");
        }
        assert_eq!(program.names("."), ["fit"]);
    };
    for mode in ["finetune", "joint"] {
        let refuses = |line: &str, words: &[&str]| refuses(&format!("{line} --encoder-mode {mode}"), words);
        refuses("--agent q-learning --encoder ae", &["table", mode]);
        refuses("--agent random --encoder ae", &["random learns nothing"]);
        refuses("--agent dqn --encoder oracle", &["no weights to train"]);
        refuses("--agent dqn --encoder raw", &["the agent's own network"]);
        refuses("--agent dqn --encoder pca", &["closed form"]);
        refuses("--agent dqn --encoder fit", &["`pca`", "closed form"]);
    }
    refuses("--agent dqn --encoder gan --encoder-mode joint", &["discriminator", "finetune"]);
    refuses("--agent pqn --encoder random --encoder-mode joint", &["no decoder"]);
    refuses("--agent dqn --encoder ae --encoder-mode finetune --set recon_weight=1", &["recon_weight", "joint"]);
    refuses("--agent dqn --encoder ae --encoder-mode joint --set recon_weight=-1", &["recon_weight is -1"]);
}
