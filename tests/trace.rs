use crate::program::Program;
use std::process::Stdio;

#[test]
fn given_actions_give_a_row_each_and_an_observation_more() {
    let program = Program::new();
    // Right, right, down: from state 0 of FrozenLake's 4x4 map without slipping to state 6; down again to 10.
    program.write("actions.txt", "2\n2\n1\n1\n");
    let line = "trace --env frozen-lake --actions actions.txt --set env.slippery=false --frames frames.npy";
    let rows = program.succeed(line);
    let crc32 = |state: u32| format!("{:08x}", crc32fast::hash(&state.to_le_bytes()));
    let expected = [(1, 2, 1), (2, 2, 2), (3, 1, 6), (4, 1, 10)];
    let expected = expected.map(|(step, action, state)| format!("{step},{action},0,0,0,{}\n", crc32(state))).concat();
    assert_eq!(rows, format!("step,action,reward,terminated,truncated,obs_crc32\n{expected}"));
    assert_eq!(program.succeed(line), rows);

    let frames = fs_err::read(program.path("frames.npy")).expect("readable");
    let header_len = 10 + usize::from(u16::from_le_bytes([frames[8], frames[9]]));
    assert_eq!((&frames[..8], header_len % 64), (&b"\x93NUMPY\x01\x00"[..], 0));
    let header = String::from_utf8_lossy(&frames[10..header_len]);
    assert!(header.contains("'descr': '<u4'") && header.contains("'shape': (5,)"), "{header}");
    let states: Vec<u32> =
        frames[header_len..].chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four"))).collect();
    assert_eq!(states, [0, 1, 2, 6, 10]);
}

#[test]
fn an_ended_episode_shows_its_last_observation_and_is_followed_by_another() {
    let program = Program::new();
    program.write("actions.txt", &"1\n".repeat(60));
    let rows = program.succeed("trace --env cartpole --actions actions.txt --frames frames.npy --seed 5");
    let ends: Vec<&str> = rows.lines().filter(|row| row.split(',').nth(3) == Some("1")).collect();
    assert!(ends.len() > 3 && rows.lines().count() == 61, "{rows}");
    assert_eq!(fs_err::metadata(program.path("frames.npy")).expect("there").len(), 128 + 61 * 16);
}

#[test]
fn a_reader_that_leaves_costs_no_frame() {
    let program = Program::new();
    program.write("actions.txt", &"1\n".repeat(9_000));
    for frames in ["", " --frames frames.npy"] {
        let line = format!("trace --env cartpole --actions actions.txt{frames}");
        let mut child =
            program.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(fs_err::metadata(program.path("frames.npy")).expect("there").len(), 128 + 9_001 * 16);
}

#[test]
fn a_bad_action_is_named_with_its_line() {
    let program = Program::new();
    program.write("actions.txt", "0\n1\n7\n");
    let error = program.fail("trace --env cartpole --actions actions.txt");
    assert!(error.contains("actions.txt:3: expected an action in 0..2, found `7`"), "{error}");
    let error = program.fail("trace --env cartpole --actions actions.txt --set agent.lr=1");
    assert!(error.contains("env.KEY=VALUE"), "{error}");
    assert!(program.fail("trace --env cartpole --actions none.txt").contains("none.txt"));
}

#[test]
fn a_trace_plays_whole_games_for_true_rewards_unless_eased_on_request() {
    let program = Program::new();
    // FIRE and wait: each ball is lost, and a game has five.
    program.write("actions.txt", &"1\n0\n".repeat(150));
    let n_ends = |more: &str| {
        let rows = program.succeed(&format!("trace --env breakout --actions actions.txt {more}"));
        rows.lines().filter(|row| row.split(',').nth(3) == Some("1")).count()
    };
    let (whole, eased) = (n_ends(""), n_ends("--set env.life_loss_terminal=true"));
    assert!(whole >= 1 && eased >= 4 * whole, "{whole} games, {eased} lives");
}
