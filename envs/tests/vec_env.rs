//! Time limits, automatic reset, final observations, save and restore.

use carom_envs::{
    Autoreset, BatchEnv, Env, Episode, ObsSpace, RestoreError, Seeds, StackEnv, Step, Transition, Values, VecEnv,
    registry,
};
use rand::RngCore;
use rand_pcg::Pcg32;
use serde_json::Value;

/// Shows its episode and its step; ends by its rules after `length` steps.
struct Clock {
    length: u8,
    episode: u8,
    time: u8,
}

impl Env for Clock {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Pixels { shape: [1, 2] }
    }

    fn action_names(&self) -> &[&'static str] {
        &["wait"]
    }

    fn reset(&mut self, _rng: &mut dyn RngCore) {
        (self.episode, self.time) = (self.episode + 1, 0);
    }

    fn step(&mut self, _action: usize, _rng: &mut dyn RngCore) -> Step {
        self.time += 1;
        Step { reward: 0.5, terminated: self.time >= self.length }
    }

    fn observe(&self, out: &mut [u8]) {
        out.copy_from_slice(&[self.episode, self.time]);
    }

    fn save(&self) -> Value {
        vec![self.episode, self.time].into()
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        [self.episode, self.time] = serde_json::from_value(state.clone())?;
        Ok(())
    }
}

fn streams(n: usize) -> Vec<Pcg32> {
    Seeds::new(3).streams("env", n)
}

fn vector(id: &str, settings: Value, n: usize) -> VecEnv {
    let settings = if let Value::Object(settings) = settings { settings } else { Values::new() };
    registry::resolve(id, &settings).unwrap().make_vec(streams(n)).unwrap()
}

fn clocks(lengths: &[u8], max_steps: Option<u64>) -> VecEnv {
    let clock = |&length| -> Box<dyn Env> { Box::new(Clock { length, episode: 0, time: 0 }) };
    VecEnv::new(lengths.iter().map(clock).collect(), streams(lengths.len()), max_steps)
}

#[test]
fn vectors_can_move_to_another_thread() {
    let mut envs = clocks(&[2], None);
    let envs = std::thread::spawn(move || {
        envs.step(&[0]);
        envs
    });
    assert_eq!(envs.join().unwrap().obs(), [1, 1]);
}

#[test]
fn the_limit_truncates_and_the_game_terminates() {
    let mut envs = clocks(&[2, 3, 9], Some(3));
    let endings: Vec<_> =
        (0..3).map(|_| envs.step(&[0; 3]).iter().map(|t| (t.terminated, t.truncated)).collect::<Vec<_>>()).collect();
    let (no, terminated, truncated) = ((false, false), (true, false), (false, true));
    // The second game ends by its rules on the very step of the limit: that is a termination.
    assert_eq!(endings, [[no, no, no], [terminated, no, no], [no, terminated, truncated]]);
}

#[test]
fn without_a_limit_nothing_is_truncated() {
    let mut envs = clocks(&[200], None);
    for _ in 0..199 {
        assert!(!envs.step(&[0])[0].done());
    }
    assert!(envs.step(&[0])[0].terminated);
}

#[test]
fn the_final_observation_is_kept_apart_from_the_next_first() {
    let mut envs = clocks(&[2, 9], Some(9));
    assert_eq!(envs.obs(), [1, 0, 1, 0]);
    envs.step(&[0, 0]);
    assert_eq!((envs.obs(), envs.prev_obs()), (&[1, 1, 1, 1][..], &[1, 0, 1, 0][..]));
    assert_eq!(envs.next_obs(0), [1, 1]);
    envs.step(&[0, 0]);
    assert_eq!((envs.obs(), envs.prev_obs()), (&[2, 0, 1, 2][..], &[1, 1, 1, 1][..]));
    assert_eq!(envs.final_obs(0), [1, 2]);
    assert_eq!((envs.next_obs(0), envs.next_obs(1)), (&[1, 2][..], &[1, 2][..]));
    assert_eq!(envs.env_obs(0), [2, 0]);
    envs.step(&[0, 0]);
    assert_eq!(envs.next_obs(0), [2, 1]);
}

#[test]
fn ended_episodes_report_return_and_length() {
    let mut envs = clocks(&[2, 9], Some(4));
    let mut ended = Vec::new();
    for _ in 0..4 {
        envs.step(&[0, 0]);
        ended.push(envs.episodes().to_vec());
    }
    let episode = |env_idx, length| Episode { env_idx, episode_return: 0.5 * length as f64, length };
    assert_eq!(ended, [vec![], vec![episode(0, 2)], vec![], vec![episode(0, 2), episode(1, 4)]]);
}

#[test]
fn a_restored_vector_goes_on_as_if_nothing_had_happened() {
    let vector = |id| vector(id, Value::Null, 5);
    for id in registry::ENVS.iter().map(|entry| entry.id) {
        let mut envs = vector(id);
        let mut choices = Seeds::new(0).stream("choices");
        let n_actions = envs.n_actions();
        let mut choose = || -> [usize; 5] { std::array::from_fn(|_| choices.next_u32() as usize % n_actions) };
        for _ in 0..137 {
            envs.step(&choose());
        }
        let saved = serde_json::from_str(&envs.save().to_string()).unwrap();
        let mut restored = vector(id);
        restored.restore(&saved).unwrap();
        assert_eq!(restored.obs(), envs.obs(), "{id}");
        for _ in 0..300 {
            let actions = choose();
            assert_eq!(restored.step(&actions), envs.step(&actions), "{id}");
            assert_eq!(restored.episodes(), envs.episodes(), "{id}");
            assert_eq!((restored.obs(), restored.prev_obs()), (envs.obs(), envs.prev_obs()), "{id}");
        }
    }
}

#[test]
fn each_environment_draws_from_its_own_stream() {
    let play = |n: usize| {
        let mut envs = vector("minatar/breakout", Value::Null, n);
        (0..200).map(|_| envs.step(&vec![1; n])[0]).collect::<Vec<_>>()
    };
    assert_eq!(play(1), play(7));
}

#[test]
fn a_vector_of_another_size_is_refused() {
    let error = clocks(&[2, 2], None).restore(&clocks(&[2], None).save()).unwrap_err();
    assert!(error.to_string().ends_with("it is of 1 environments, not 2"), "{error}");
}

#[test]
fn a_state_in_which_an_episode_is_over_is_refused() {
    let mut envs = clocks(&[2], None);
    let mut state = envs.save();
    state[0]["is_over"] = true.into();
    let error = envs.restore(&state).unwrap_err().to_string();
    assert!(error.ends_with("an episode is over, which none is with resets in the same step"), "{error}");
}

#[test]
fn stacks_hold_the_latest_frames_and_never_those_of_another_episode() {
    let mut envs = clocks(&[3, 9], Some(9)).with_frame_stack(3);
    let (mut scratch, mut prev, mut last) = (Vec::new(), Vec::new(), Vec::new());
    assert_eq!(envs.frame_stack(), 3);
    assert_eq!(envs.stacks(&mut scratch), [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]);
    envs.step(&[0, 0]);
    envs.step(&[0, 0]);
    assert_eq!(envs.obs(), [1, 2, 1, 2], "the present observations stay single frames");
    assert_eq!(envs.stacks(&mut scratch)[..6], [1, 0, 1, 1, 1, 2]);
    assert_eq!(envs.prev_stacks(&mut prev)[..6], [1, 0, 1, 0, 1, 1]);
    envs.step(&[0, 0]);
    assert_eq!(envs.final_stack(0, &mut last), [1, 1, 1, 2, 1, 3]);
    assert_eq!(envs.prev_stacks(&mut prev), [1, 0, 1, 1, 1, 2, 1, 0, 1, 1, 1, 2]);
    assert_eq!(envs.stacks(&mut scratch), [2, 0, 2, 0, 2, 0, 1, 1, 1, 2, 1, 3]);
    envs.step(&[0, 0]);
    assert_eq!(envs.stacks(&mut scratch)[..6], [2, 0, 2, 0, 2, 1]);
}

#[test]
fn a_stack_of_one_is_the_observation_itself() {
    let mut envs = clocks(&[2], None);
    envs.step(&[0]);
    envs.step(&[0]);
    let mut scratch = Vec::new();
    assert_eq!(envs.stacks(&mut scratch).as_ptr(), envs.obs().as_ptr());
    assert_eq!(envs.prev_stacks(&mut scratch).as_ptr(), envs.prev_obs().as_ptr());
    assert_eq!(envs.final_stack(0, &mut scratch).as_ptr(), envs.final_obs(0).as_ptr());
    assert!(scratch.is_empty());
}

#[test]
fn a_restored_vector_has_its_stacks_again() {
    let vector = || vector("breakout", Value::Null, 3);
    let mut envs = vector();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for t in 0..150 {
        envs.step(&[t % 4, 1, t / 9 % 4]);
        if t % 30 < 3 {
            let mut restored = vector();
            restored.restore(&envs.save()).unwrap();
            assert_eq!(restored.stacks(&mut ours), envs.stacks(&mut theirs), "step {t}");
            restored.step(&[1, 2, 3]);
            envs.step(&[1, 2, 3]);
            assert_eq!(restored.stacks(&mut ours), envs.stacks(&mut theirs), "after step {t}");
            assert_eq!(restored.prev_stacks(&mut ours), envs.prev_stacks(&mut theirs), "after step {t}");
        }
    }
}

/// Frames below each other in one observation are the vector's stacks, at the ends of episodes and after a restore too.
#[test]
fn an_environment_of_stacks_shows_what_a_vector_stacks() {
    let lengths = [2, 5, 9];
    let stacked = || -> VecEnv {
        let clock =
            |&length| -> Box<dyn Env> { Box::new(StackEnv::new(Box::new(Clock { length, episode: 0, time: 0 }), 3)) };
        VecEnv::new(lengths.iter().map(clock).collect(), streams(lengths.len()), Some(6))
    };
    let (mut envs, mut expected) = (stacked(), clocks(&lengths, Some(6)).with_frame_stack(3));
    assert_eq!(envs.obs_space(), &ObsSpace::Pixels { shape: [3, 2] });
    let scratch = &mut Vec::new();
    for step in 0..20 {
        assert_eq!(envs.obs(), expected.stacks(scratch), "step {step}");
        envs.step(&[0; 3]);
        expected.step(&[0; 3]);
        for env_idx in (0..3).filter(|&env_idx| envs.transitions()[env_idx].done()) {
            assert_eq!(envs.final_obs(env_idx), expected.final_stack(env_idx, scratch), "step {step}");
        }
        if step == 10 {
            let saved = serde_json::from_str(&envs.save().to_string()).unwrap();
            envs = stacked();
            envs.restore(&saved).unwrap();
        }
    }
    let message = envs.restore(&clocks(&lengths, Some(6)).save()).expect_err("no stacks").to_string();
    assert!(message.contains("saved environment state"), "{message}");
}

#[test]
fn a_stack_of_another_size_is_refused() {
    let saved = |n_steps| {
        let mut envs = vector("breakout", Value::Null, 1);
        (0..n_steps).for_each(|_| drop(envs.step(&[0]).to_vec()));
        envs.save()
    };
    let mut state = saved(3);
    state[0]["stack"][1] = "000100".into();
    let mut envs = vector("breakout", Value::Null, 1);
    let error = envs.restore(&state).unwrap_err();
    assert!(error.to_string().ends_with("a frame does not have 7056 bytes"), "{error}");
}

#[test]
fn clipped_rewards_leave_returns_true() {
    let mut envs = clocks(&[3], None).with_reward_clip(true);
    let rewards: Vec<_> = (0..3).map(|_| envs.step(&[0])[0].reward).collect();
    assert_eq!(rewards, [1.0; 3]);
    assert_eq!(envs.episodes()[0].episode_return, 1.5);
}

/// A game of Breakout played by no one but the button: five lives.
#[test]
fn a_lost_life_ends_an_episode_for_the_learner_but_not_the_game() {
    let play = |life_loss_terminal: bool| {
        let settings = serde_json::json!({"life_loss_terminal": life_loss_terminal, "noop_max": 0});
        let mut envs = vector("breakout", settings, 1);
        let (mut n_terminated, mut lives) = (0, vec![]);
        loop {
            n_terminated += usize::from(envs.step(&[1])[0].terminated);
            let mut factors = vec![0.0; envs.env(0).factor_names().len()];
            envs.env(0).factors(&mut factors);
            lives.push(factors[7]);
            if let [episode] = *envs.episodes() {
                assert_eq!(*lives.last().unwrap(), 5.0, "a new game");
                return (n_terminated, *lives.iter().min_by(|a, b| a.total_cmp(b)).unwrap(), episode.length);
            }
        }
    };
    let (n_terminated, least_lives, length) = play(true);
    assert_eq!((n_terminated, least_lives), (5, 1.0));
    let (n_terminated, least_lives, whole) = play(false);
    assert_eq!((n_terminated, least_lives), (1, 1.0));
    // Resets between lives play a step of their own, which no episode counts.
    assert!(length.abs_diff(whole) <= 8, "{length} and {whole}");
}

/// Every time limit there can be within the first lives, that of a step that loses one among them.
#[test]
fn no_game_outlasts_the_limit_because_a_life_was_lost_on_its_last_step() {
    let mut n_coincidences = 0;
    for max_steps in 10..60 {
        let settings = serde_json::json!({"life_loss_terminal": true, "noop_max": 0, "max_steps": max_steps});
        let mut envs = vector("breakout", settings, 1);
        let mut n_games = 0;
        while n_games < 2 {
            let terminated = envs.step(&[1])[0].terminated;
            if let [episode] = *envs.episodes() {
                assert_eq!(episode.length, max_steps);
                n_coincidences += usize::from(terminated);
                n_games += 1;
            }
        }
    }
    assert!(n_coincidences > 0, "no life was lost on the last step of any limit");
}

fn batch(autoreset: Autoreset, max_steps: u64) -> (BatchEnv, Vec<u8>) {
    let spec = registry::resolve("breakout", &Values::new()).unwrap().with("max_steps", max_steps).unwrap();
    let mut envs = spec.make_batch(streams(3), autoreset).unwrap();
    let mut stacks = vec![0; 3 * envs.stack_bytes()];
    (0..3).for_each(|env_idx| envs.begin(env_idx, &mut stacks));
    (envs, stacks)
}

/// The actions of step `t`: the ball is served, and the paddle moves to and fro.
fn actions_at(t: usize) -> [usize; 3] {
    [0, 1, 2].map(|env_idx| (t * t / 7 + env_idx) % 4)
}

#[test]
fn a_batch_plays_what_a_vector_plays_in_place_and_from_memory_to_memory() {
    for in_place in [true, false] {
        let mut envs = vector("breakout", serde_json::json!({"max_steps": 90}), 3);
        let (mut batch, mut stacks) = batch(Autoreset::SameStep, 90);
        let (mut scratch, mut n_ends) = (vec![], 0);
        assert!(envs.stacks(&mut scratch) == stacks);
        for t in 0..400 {
            let before = if in_place { None } else { Some(stacks.clone()) };
            batch.step(&actions_at(t), before.as_deref(), &mut stacks);
            assert_eq!(envs.step(&actions_at(t)), batch.transitions(), "step {t}");
            assert_eq!(envs.episodes(), batch.episodes(), "step {t}");
            assert!(envs.stacks(&mut scratch) == stacks, "step {t}");
            for env_idx in (0..3).filter(|&env_idx| batch.transitions()[env_idx].done()) {
                assert!(envs.final_stack(env_idx, &mut scratch) == batch.final_stack(env_idx), "step {t}");
                n_ends += 1;
            }
        }
        assert!(n_ends > 20, "{n_ends} episodes ended");
    }
}

#[test]
fn a_reset_in_the_next_step_or_by_hand_plays_the_same_episodes() {
    let (mut same, mut same_stacks) = batch(Autoreset::SameStep, 60);
    let (mut next, mut next_stacks) = batch(Autoreset::NextStep, 60);
    let (mut by_hand, mut by_hand_stacks) = batch(Autoreset::Disabled, 60);
    for t in 0..300 {
        let actions = actions_at(t);
        same.step(&actions, None, &mut same_stacks);
        by_hand.step(&actions, None, &mut by_hand_stacks);
        assert_eq!((same.transitions(), same.episodes()), (by_hand.transitions(), by_hand.episodes()), "step {t}");
        for env_idx in 0..3 {
            if !by_hand.is_over(env_idx) {
                continue;
            }
            let stack_bytes = by_hand.stack_bytes();
            assert!(same.final_stack(env_idx) == &by_hand_stacks[env_idx * stack_bytes..][..stack_bytes]);
            by_hand.begin(env_idx, &mut by_hand_stacks);
        }
        assert!(same_stacks == by_hand_stacks, "step {t}");
        let were_over = [0, 1, 2].map(|env_idx| next.is_over(env_idx));
        next.step(&actions, None, &mut next_stacks);
        for (env_idx, _) in were_over.iter().enumerate().filter(|(_, was_over)| **was_over) {
            assert_eq!(next.transitions()[env_idx], Transition::default());
            assert!(!next.is_over(env_idx));
        }
    }
}

#[test]
fn a_restored_batch_continues_exactly() {
    for autoreset in [Autoreset::SameStep, Autoreset::NextStep] {
        let (mut envs, mut stacks) = batch(autoreset, 50);
        for t in 0..120 {
            envs.step(&actions_at(t), None, &mut stacks);
        }
        let saved = envs.save(&stacks);
        let (mut other, mut other_stacks) = batch(autoreset, 50);
        other.restore(&saved, &mut other_stacks).unwrap();
        assert!(stacks == other_stacks);
        for t in 120..240 {
            let played = envs.step(&actions_at(t), None, &mut stacks);
            assert_eq!(played, other.step(&actions_at(t), None, &mut other_stacks));
            assert!(stacks == other_stacks, "step {t}");
        }
        assert!(envs.save(&stacks) == other.save(&other_stacks));
        let (mut two, mut two_stacks) = batch(autoreset, 50);
        assert!(two.restore(&serde_json::json!([saved[0]]), &mut two_stacks).is_err());
    }
}
