//! Replay: transitions by hand, and random play verified against episodes kept in full.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const GAMMA: f32 = 0.5;

fn config(capacity: usize, frame_stack: usize) -> ReplayConfig {
    ReplayConfig { capacity, n_lanes: 1, frame_bytes: 1, frame_stack }
}

fn transition(replay: &Replay, n_step: usize, index: u64) -> (Vec<u8>, f32, f32, Vec<u8>) {
    let mut batch = Batch::default();
    replay.gather(&[Start { lane: 0, index }], Horizon { n_step, gamma: GAMMA }, &mut batch);
    (batch.obs.clone(), batch.returns[0], batch.discounts[0], batch.next_obs)
}

#[test]
fn returns_stop_at_a_termination() {
    let mut replay = Replay::new(config(10, 1));
    for (frame, terminated) in [(1, false), (2, false), (3, true), (4, false), (5, false), (6, false), (7, false)] {
        replay.push(0, &[frame], 0, f32::from(frame), terminated);
    }
    assert_eq!(transition(&replay, 3, 0), (vec![1], 1.0 + 1.0 + 0.75, 0.0, vec![0]));
    assert_eq!(transition(&replay, 3, 2), (vec![3], 3.0, 0.0, vec![0]));
    assert_eq!(transition(&replay, 3, 3), (vec![4], 4.0 + 2.5 + 1.5, 0.125, vec![7]));
    assert_eq!(replay.valid(0, 3), 0..4);
}

#[test]
fn truncation_bootstraps_from_the_final_observation() {
    let mut replay = Replay::new(config(10, 1));
    replay.push(0, &[1], 0, 1.0, false);
    replay.push_truncated(0, &[2], 0, 2.0, &[99]);
    for frame in 3..8 {
        replay.push(0, &[frame], 0, 0.0, false);
    }
    assert_eq!(transition(&replay, 3, 0), (vec![1], 2.0, 0.25, vec![99]));
    assert_eq!(transition(&replay, 3, 1), (vec![2], 2.0, 0.5, vec![99]));
}

#[test]
fn stacks_never_reach_into_another_episode() {
    let mut replay = Replay::new(config(10, 3));
    replay.push(0, &[1], 0, 0.0, false);
    replay.push(0, &[2], 0, 0.0, true);
    replay.push(0, &[3], 0, 0.0, false);
    replay.push_truncated(0, &[4], 0, 0.0, &[5]);
    replay.push(0, &[6], 0, 0.0, false);
    replay.push(0, &[7], 0, 0.0, false);
    assert_eq!(transition(&replay, 1, 0).0, [1, 1, 1]);
    assert_eq!(transition(&replay, 1, 1).0, [1, 1, 2]);
    assert_eq!(transition(&replay, 1, 2), (vec![3, 3, 3], 0.0, 0.5, vec![3, 3, 4]));
    assert_eq!(transition(&replay, 1, 3), (vec![3, 3, 4], 0.0, 0.5, vec![3, 4, 5]));
    assert_eq!(transition(&replay, 1, 5).0, [6, 6, 6]);
}

#[test]
fn samples_are_whole_once_the_ring_has_turned() {
    let mut replay = Replay::new(config(8, 3));
    for frame in 0..50_u8 {
        replay.push(0, &[frame], usize::from(frame % 4), f32::from(frame), false);
    }
    assert_eq!(replay.len(), 8);
    let (mut batch, mut rng) = (Batch::default(), Pcg32::new(1, 1));
    replay.sample(500, Horizon { n_step: 2, gamma: GAMMA }, &mut rng, &mut batch);
    for b in 0..500 {
        let newest = batch.obs[3 * b + 2];
        assert_eq!(batch.obs[3 * b..3 * b + 3], [newest - 2, newest - 1, newest]);
        assert_eq!(batch.next_obs[3 * b + 2], newest + 2);
        assert_eq!(batch.actions[b], newest % 4);
        assert_eq!(batch.returns[b], f32::from(newest) + 0.5 * f32::from(newest + 1));
        assert!((44..=47).contains(&newest), "{newest} was overwritten or has no successor yet");
    }
}

#[test]
fn a_million_atari_transitions_fit_in_seven_gigabytes() {
    let capacity = 1_000;
    let replay = Replay::new(ReplayConfig { frame_bytes: 84 * 84, ..config(capacity, 4) });
    // Every field is named, so that a buffer that comes to it is counted.
    let Replay { config: _, lane_len: _, frames, actions, rewards, slots, written } = replay;
    let bytes = frames.capacity()
        + actions.capacity()
        + rewards.capacity() * size_of::<f32>()
        + slots.capacity()
        + written.capacity() * size_of::<u64>();
    assert!(bytes / capacity * 1_000_000 < 7_100_000_000, "{} bytes a transition", bytes / capacity);
}

/// Effect of a step on its episode.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    GoesOn,
    Terminated,
    Truncated,
}

/// An episode kept in full. Its frames are `[lane + 1, episode, step]`: none is all zeros, and none occurs twice.
struct Episode {
    tag: [u8; 2],
    /// Frames its lane had been given before its first.
    first_slot: usize,
    actions: Vec<usize>,
    rewards: Vec<f32>,
    end: End,
}

/// A row of a [`Batch`].
#[derive(Debug, PartialEq)]
struct Row {
    obs: Vec<u8>,
    action: usize,
    n_step_return: f32,
    discount: f32,
    next_obs: Vec<u8>,
}

impl Episode {
    fn new(lane: usize, episode: usize, first_slot: usize) -> Self {
        let tag = [lane as u8 + 1, u8::try_from(episode).expect("few episodes")];
        Self { tag, first_slot, actions: vec![], rewards: vec![], end: End::GoesOn }
    }

    fn frame(&self, t: usize) -> [u8; 3] {
        [self.tag[0], self.tag[1], u8::try_from(t).expect("few steps")]
    }

    /// Frames its lane has been given by now.
    fn end_slot(&self) -> usize {
        self.first_slot + self.rewards.len() + usize::from(self.end == End::Truncated)
    }

    fn stack(&self, t: usize, frame_stack: usize) -> Vec<u8> {
        (0..frame_stack).rev().flat_map(|age| self.frame(t.saturating_sub(age))).collect()
    }

    /// The transition from step `t`; none while its steps have not all been seen.
    fn row(&self, t: usize, config: &ReplayConfig, n_step: usize) -> Option<Row> {
        let n_steps = n_step.min(self.rewards.len().checked_sub(t).filter(|&left| left > 0)?);
        let after = t + n_steps;
        let (discount, next_obs) = match self.end {
            // The frame after the latest step is not known.
            End::GoesOn if after == self.rewards.len() => return None,
            End::Terminated if after == self.rewards.len() => (0.0, vec![0; config.frame_stack * config.frame_bytes]),
            _ => (GAMMA.powi(n_steps as i32), self.stack(after, config.frame_stack)),
        };
        let n_step_return = (0..n_steps).map(|k| GAMMA.powi(k as i32) * self.rewards[t + k]).sum();
        let obs = self.stack(t, config.frame_stack);
        Some(Row { obs, action: self.actions[t], n_step_return, discount, next_obs })
    }
}

/// A replay and, for each of its lanes, every episode it was shown.
struct Shown {
    replay: Replay,
    config: ReplayConfig,
    n_step: usize,
    lanes: Vec<Vec<Episode>>,
    n_steps: usize,
    batch: Batch,
}

impl Shown {
    fn new(config: ReplayConfig, n_step: usize) -> Self {
        let lanes = (0..config.n_lanes).map(|lane| vec![Episode::new(lane, 0, 0)]).collect();
        Self { replay: Replay::new(config), config, n_step, lanes, n_steps: 0, batch: Batch::default() }
    }

    /// Has one more step seen in `lane`, of an action and a reward that no step close to it shares.
    fn step(&mut self, lane: usize, end: End) {
        self.n_steps += 1;
        let (action, reward) = (self.n_steps % 251, self.n_steps as f32);
        let (n_episodes, episode) = (self.lanes[lane].len(), self.lanes[lane].last_mut().expect("a running episode"));
        let t = episode.rewards.len();
        let (frame, next_frame) = (episode.frame(t), episode.frame(t + 1));
        match end {
            End::Truncated => self.replay.push_truncated(lane, &frame, action, reward, &next_frame),
            _ => self.replay.push(lane, &frame, action, reward, end == End::Terminated),
        }
        episode.actions.push(action);
        episode.rewards.push(reward);
        episode.end = end;
        if end != End::GoesOn {
            let next = Episode::new(lane, n_episodes, episode.end_slot());
            self.lanes[lane].push(next);
        }
    }

    /// Slots that `lane` has overwritten.
    fn n_overwritten(&self, lane: usize) -> usize {
        self.written(lane).saturating_sub(self.config.capacity.div_ceil(self.config.n_lanes))
    }

    fn written(&self, lane: usize) -> usize {
        self.lanes[lane].last().expect("a running episode").end_slot()
    }

    /// Draws `n` transitions and returns their frames. Each must have been written and not yet overwritten.
    fn sample(&mut self, n: usize, rng: &mut Pcg32) -> Result<HashSet<[u8; 3]>, TestCaseError> {
        self.replay.sample(n, Horizon { n_step: self.n_step, gamma: GAMMA }, rng, &mut self.batch);
        let batch = &self.batch;
        let obs_bytes = self.config.frame_stack * self.config.frame_bytes;
        let rows = batch.obs.chunks_exact(obs_bytes).zip(batch.next_obs.chunks_exact(obs_bytes));
        let mut seen = HashSet::new();
        for (b, (obs, next_obs)) in rows.enumerate() {
            let frame: [u8; 3] = obs[obs_bytes - 3..].try_into().expect("three bytes");
            let [lane, number, t] = frame.map(usize::from);
            prop_assert!(lane > 0, "a frame that was never shown");
            let episode = &self.lanes[lane - 1][number];
            let row = Row {
                obs: obs.to_vec(),
                action: batch.actions[b].into(),
                n_step_return: batch.returns[b],
                discount: batch.discounts[b],
                next_obs: next_obs.to_vec(),
            };
            prop_assert_eq!(Some(row), episode.row(t, &self.config, self.n_step));
            let oldest_slot = episode.first_slot + (t + 1).saturating_sub(self.config.frame_stack);
            prop_assert!(oldest_slot >= self.n_overwritten(lane - 1), "{:?} was overwritten", frame);
            seen.insert(frame);
        }
        Ok(seen)
    }

    /// Frames of the steps followed by `n_step` more slots whose stack, were it of one episode, is not overwritten.
    fn whole(&self) -> HashSet<[u8; 3]> {
        let mut whole = HashSet::new();
        for (lane, episodes) in self.lanes.iter().enumerate() {
            let n_overwritten = self.n_overwritten(lane);
            let oldest = if n_overwritten == 0 { 0 } else { n_overwritten + self.config.frame_stack - 1 };
            for episode in episodes {
                let steps = (0..episode.rewards.len()).filter(|t| {
                    let slot = episode.first_slot + t;
                    slot >= oldest && slot + self.n_step < self.written(lane)
                });
                whole.extend(steps.map(|t| episode.frame(t)));
            }
        }
        whole
    }
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![8 => Just(End::GoesOn), 1 => Just(End::Terminated), 1 => Just(End::Truncated)]
}

proptest! {
    /// The least capacity makes the shortest lanes there may be; with a few slots to spare, the ring turns many times.
    #[test]
    fn samples_are_transitions_that_were_shown_and_all_that_are_whole(
        (frame_stack, n_step, n_lanes, to_spare) in (1_usize..=4, 1_usize..=4, 1_usize..=3, 0_usize..30),
        steps in prop::collection::vec((0_usize..3, ends()), 1..250),
        seed: u64,
    ) {
        let capacity = n_lanes * (n_step + frame_stack) + 1 + to_spare;
        let config = ReplayConfig { n_lanes, frame_bytes: 3, ..config(capacity, frame_stack) };
        let (mut shown, mut rng) = (Shown::new(config, n_step), Pcg32::new(seed, 1));
        for (lane, end) in steps {
            shown.step(lane % n_lanes, end);
            if shown.replay.has_whole(n_step) {
                shown.sample(4, &mut rng)?;
            }
        }
        let whole = shown.whole();
        if !whole.is_empty() {
            // One of fifty at most: two thousand draws miss it once in 10^15 times.
            let sampled = shown.sample(2_000, &mut rng)?;
            prop_assert!(whole.is_subset(&sampled), "{:?} are never drawn", whole.difference(&sampled));
        }
    }
}
