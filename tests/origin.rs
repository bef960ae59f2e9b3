use crate::program::Program;
use serde_json::Value;

const DQN: &str = "train --env cartpole --agent dqn --set agent.learning_starts=200 --set agent.buffer_size=1000 \
                   --steps";

fn meta(program: &Program, run: &str) -> Value {
    serde_json::from_str(&program.read(&format!("{run}/meta.json"))).expect("JSON")
}

#[test]
fn a_run_begins_at_the_weights_of_another_and_does_not_need_it_afterwards() {
    let program = Program::new();
    program.succeed(&format!("{DQN} 1500 --out first"));
    let line = format!("{DQN} 1500 --seed 1 --init-from first");
    program.succeed(&format!("{line} --out whole"));
    program.succeed(&format!("{line} --set checkpoint_every=1000 --out cut"));
    let origin = &meta(&program, "cut")["init_from"];
    assert_eq!((&origin["step"], origin["sha256"].as_str().map(str::len)), (&1500.into(), Some(64)), "{origin}");
    assert!(origin["run"].as_str().is_some_and(|run| run.starts_with('/') && run.ends_with("/first")), "{origin}");
    assert!(program.read("cut/log.txt").contains("/first at step 1.5k (SHA-256 "), "{}", program.read("cut/log.txt"));
    // Another course than without.
    program.succeed(&format!("{DQN} 1500 --seed 1 --out without"));
    assert_ne!(program.read("without/metrics.csv"), program.read("whole/metrics.csv"));
    // Stopped before its first checkpoint but that of step 0, and the other run gone.
    program.succeed(&format!("{line} --set checkpoint_every=0 --out part"));
    assert_eq!(program.names("part/checkpoints"), ["0", "1500"]);
    fs_err::remove_dir_all(program.path("part/checkpoints/1500")).expect("removable");
    fs_err::remove_dir_all(program.path("first")).expect("removable");
    program.succeed(&format!("{line} --set checkpoint_every=0 --continue --out part"));
    program.assert_same("part", "whole");
    fs_err::remove_dir_all(program.path("cut/checkpoints/1500")).expect("removable");
    program.succeed("resume cut");
    program.assert_same("cut", "whole");
}

#[test]
fn networks_that_differ_are_refused_with_the_first_difference() {
    let program = Program::new();
    program.succeed(&format!("{DQN} 500 --out first"));
    // The preset of the pair sets epsilon, which noisy layers do not hear.
    program.write("noisy.toml", "kind = \"training\"\n[agent_settings]\nnoisy = true\nhidden = [128, 128]\n");
    program.succeed("train --env cartpole --agent random --steps 100 --out random");
    let line = format!("{DQN} 500 --out second --init-from");
    for (rest, words) in [
        (
            "first --set agent.hidden=[64]",
            ["first: its network is another one", "Dense { inputs: 4, outputs: 64 } here"],
        ),
        ("first --config noisy.toml", ["its layers are noisy here", "and not noisy there"]),
        ("random", ["agent `random`", "no network"]),
        ("nowhere", ["there is no run", "nowhere"]),
    ] {
        program.refuses(&format!("{line} {rest}"), &words);
    }
    // Equal shapes may stand for other things; the number of fractions is not one of the weights.
    program.succeed(&format!("{DQN} 500 --set agent.head=c51 --set agent.atoms=8 --out c51"));
    for (head, meaning) in
        [("qr --set agent.quantiles=8", "quantiles"), ("c51 --set agent.atoms=8 --set agent.v_max=3", "-10.0..=3.0")]
    {
        let words = ["c51: its outputs have another meaning", "probabilities of returns in -10.0..=10.0", meaning];
        program.refuses(&format!("{line} c51 --set agent.head={head}"), &words);
    }
    program.succeed(&format!("{DQN} 500 --set agent.head=iqn --out iqn"));
    program.succeed(&format!("{DQN} 500 --set agent.head=iqn --set agent.taus=4 --init-from iqn --out fewer"));
    let taxi = "train --env taxi --agent q-learning --steps 100 --out second --init-from first";
    program.refuses(taxi, &["agent `q-learning`", "no network"]);
    // A run that goes on began where it began.
    program.succeed(&format!("{DQN} 500 --out own"));
    let error = program.fail(&format!("{DQN} 500 --out own --continue --init-from first"));
    assert!(error.contains("own began at weights of its own"), "{error}");
    // Of another agent with the same network.
    program.succeed(
        "train --env cartpole --agent pqn --steps 500 --set agent.hidden=[128,128] --set agent.layer_norm=false \
                     --init-from first --out pqn",
    );
}
