//! Experience replay that stores each frame once.
//!
//! A transition needs the observation before and after it, and each observation may be a stack of frames. A copy of all
//! of them takes 56 kB for a transition of 84×84×4. Here every environment writes its frames once, in order, into a
//! ring of its own (a *lane*). Stacks, successors and n-step returns follow from the order. A transition takes 7 kB.

use crate::snapshot::{Loaded, MAX_COUNT, Snapshot, SnapshotError};
use rand::Rng;
use rand_pcg::Pcg32;
use std::ops::Range;

/// The kind of a slot of a lane.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// A step within an episode.
    Step = 0,
    /// The last step of an episode that terminated.
    Terminated = 1,
    /// The last step of an episode cut off by the time limit; the next slot holds its final observation.
    Truncated = 2,
    /// The final observation of an episode that was cut off: no action was taken from it.
    Final = 3,
}

/// Number of kinds of slots.
const N_SLOT_KINDS: usize = Slot::Final as usize + 1;

/// Sizes of a [`Replay`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplayConfig {
    /// Transitions kept, over all lanes.
    pub capacity: usize,
    /// Environments that write, one lane each.
    pub n_lanes: usize,
    /// Bytes of one frame.
    pub frame_bytes: usize,
    /// Frames of one observation, oldest first.
    pub frame_stack: usize,
}

/// How far the return of a transition reaches before it bootstraps (Sutton & Barto 2018, section 7.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Horizon {
    /// Steps whose rewards are summed.
    pub n_step: usize,
    /// Discount of one step.
    pub gamma: f32,
}

/// The step of a lane that a transition starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The lane.
    pub lane: usize,
    /// Number of slots written to the lane before it.
    pub index: u64,
}

/// A ring of transitions for each lane.
#[derive(Debug)]
pub struct Replay {
    config: ReplayConfig,
    lane_len: usize,
    /// `[n_lanes, lane_len, frame_bytes]`. The system gives zeroed pages on first use, so memory grows as it fills.
    frames: Vec<u8>,
    actions: Vec<u8>,
    rewards: Vec<f32>,
    slots: Vec<u8>,
    /// Number of slots ever written to each lane.
    written: Vec<u64>,
}

/// A batch of transitions. Sampling overwrites it.
#[derive(Debug, Default)]
pub struct Batch {
    /// Observations, `[B, frame_stack * frame_bytes]`.
    pub obs: Vec<u8>,
    /// Actions taken.
    pub actions: Vec<u8>,
    /// Sums of the discounted rewards of up to `n_step` steps.
    pub returns: Vec<f32>,
    /// γ to the power of the number of steps summed; 0 where the episode terminated.
    pub discounts: Vec<f32>,
    /// Observations after those steps, `[B, frame_stack * frame_bytes]`; zeros where the episode terminated.
    pub next_obs: Vec<u8>,
}

impl Replay {
    /// Bytes of a slot besides its frame: action, reward and kind of slot.
    pub(crate) const BYTES_BESIDE_FRAME: usize = 6;

    /// An empty replay.
    ///
    /// # Panics
    /// When a lane is too short to hold a transition of stacked frames.
    pub fn new(config: ReplayConfig) -> Self {
        let lane_len = config.capacity.div_ceil(config.n_lanes);
        assert!(lane_len > config.frame_stack + 1, "a lane of {lane_len} slots is too short");
        let len = lane_len * config.n_lanes;
        Self {
            config,
            lane_len,
            frames: vec![0; len * config.frame_bytes],
            actions: vec![0; len],
            rewards: vec![0.0; len],
            slots: vec![0; len],
            written: vec![0; config.n_lanes],
        }
    }

    /// Bytes of all slots.
    pub fn n_bytes(&self) -> usize {
        self.slots.len() * (self.config.frame_bytes + Self::BYTES_BESIDE_FRAME)
    }

    /// Stores a step of `lane`: `action` in the state that showed `frame`.
    pub fn push(&mut self, lane: usize, frame: &[u8], action: usize, reward: f32, terminated: bool) {
        self.write(lane, frame, action, reward, if terminated { Slot::Terminated } else { Slot::Step });
    }

    /// Stores the last step of `lane` before the time limit, which led to `final_frame`.
    pub fn push_truncated(&mut self, lane: usize, frame: &[u8], action: usize, reward: f32, final_frame: &[u8]) {
        self.write(lane, frame, action, reward, Slot::Truncated);
        self.write(lane, final_frame, 0, 0.0, Slot::Final);
    }

    fn write(&mut self, lane: usize, frame: &[u8], action: usize, reward: f32, slot: Slot) {
        let at = self.at(lane, self.written[lane]);
        let bytes = self.config.frame_bytes;
        self.frames[at * bytes..(at + 1) * bytes].copy_from_slice(frame);
        self.actions[at] = u8::try_from(action).expect("at most 256 actions");
        self.rewards[at] = reward;
        self.slots[at] = slot as u8;
        self.written[lane] += 1;
    }

    /// Place of the `index`-th slot ever written to `lane`.
    pub(crate) fn at(&self, lane: usize, index: u64) -> usize {
        lane * self.lane_len + (index % self.lane_len as u64) as usize
    }

    /// The step whose slot is at place `at` now.
    pub(crate) fn start_at(&self, at: usize) -> Start {
        let (lane, place, len) = (at / self.lane_len, (at % self.lane_len) as u64, self.lane_len as u64);
        // The latest slot has the index `written - 1`. How far before it the place lies, by the ring.
        let latest = self.written[lane] - 1;
        Start { lane, index: latest - (latest % len + len - place) % len }
    }

    fn slot(&self, at: usize) -> Slot {
        match self.slots[at] {
            0 => Slot::Step,
            1 => Slot::Terminated,
            2 => Slot::Truncated,
            _ => Slot::Final,
        }
    }

    /// Transitions kept.
    pub fn len(&self) -> usize {
        self.written.iter().map(|&w| w.min(self.lane_len as u64) as usize).sum()
    }

    /// Number of lanes.
    pub(crate) fn n_lanes(&self) -> usize {
        self.config.n_lanes
    }

    /// Number of slots of all lanes.
    pub(crate) fn n_slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there are transitions of `n_step` steps to sample.
    pub fn has_whole(&self, n_step: usize) -> bool {
        (0..self.config.n_lanes).any(|lane| !self.valid(lane, n_step).is_empty())
    }

    /// Indices of `lane` whose stack is whole and whose `n_step` steps are all stored.
    pub(crate) fn valid(&self, lane: usize, n_step: usize) -> Range<u64> {
        let written = self.written[lane];
        let oldest = written.saturating_sub(self.lane_len as u64);
        // Where old frames were overwritten, the oldest slots lack part of their stack.
        let first = if oldest == 0 { 0 } else { oldest + self.config.frame_stack as u64 - 1 };
        first..written.saturating_sub(n_step as u64).max(first)
    }

    /// Whether an action was taken at the start. A final observation is not a transition.
    pub(crate) fn is_transition(&self, start: Start) -> bool {
        self.slot(self.at(start.lane, start.index)) != Slot::Final
    }

    /// Draws `batch_size` transitions uniformly, with replacement.
    ///
    /// # Panics
    /// When none is whole ([`Replay::has_whole`]).
    pub fn sample(&self, batch_size: usize, horizon: Horizon, rng: &mut Pcg32, batch: &mut Batch) {
        let mut starts = vec![];
        self.draw(batch_size, horizon.n_step, rng, &mut starts);
        self.gather(&starts, horizon, batch);
    }

    /// Draws the starts of `batch_size` transitions of `n_step` steps uniformly, with replacement.
    ///
    /// # Panics
    /// When none is whole ([`Replay::has_whole`]).
    pub fn draw(&self, batch_size: usize, n_step: usize, rng: &mut Pcg32, starts: &mut Vec<Start>) {
        let ranges: Vec<_> = (0..self.config.n_lanes).map(|lane| self.valid(lane, n_step)).collect();
        let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        assert!(total > 0, "sampled from an empty replay");
        starts.clear();
        while starts.len() < batch_size {
            let mut draw = rng.gen_range(0..total);
            let lane = ranges.iter().position(|range| {
                let len = range.end - range.start;
                let here = draw < len;
                if !here {
                    draw -= len;
                }
                here
            });
            let lane = lane.expect("the draw lies in one of the lanes");
            let start = Start { lane, index: ranges[lane].start + draw };
            // An episode has at most one final observation, so a second draw is rare.
            if self.is_transition(start) {
                starts.push(start);
            }
        }
    }

    /// Copies the transitions from `starts` on to `batch`.
    pub fn gather(&self, starts: &[Start], horizon: Horizon, batch: &mut Batch) {
        batch.resize(starts.len(), self.config.frame_bytes * self.config.frame_stack);
        for (b, start) in starts.iter().enumerate() {
            self.gather_one(*start, horizon, b, batch);
        }
    }

    /// Writes the transition from `start` on to row `b` of `batch`.
    fn gather_one(&self, Start { lane, index }: Start, horizon: Horizon, b: usize, batch: &mut Batch) {
        let obs_bytes = self.config.frame_bytes * self.config.frame_stack;
        let row = b * obs_bytes..(b + 1) * obs_bytes;
        self.copy_stack(lane, index, &mut batch.obs[row.clone()]);
        batch.actions[b] = self.actions[self.at(lane, index)];
        let (mut sum, mut discount, mut next) = (0.0, 1.0, index);
        for _ in 0..horizon.n_step {
            let at = self.at(lane, next);
            sum += discount * self.rewards[at];
            discount *= horizon.gamma;
            next += 1;
            match self.slot(at) {
                Slot::Step => {}
                Slot::Terminated => {
                    discount = 0.0;
                    break;
                }
                // The slot after a truncated step holds the final observation, which bootstraps.
                Slot::Truncated | Slot::Final => break,
            }
        }
        batch.returns[b] = sum;
        batch.discounts[b] = discount;
        match discount == 0.0 {
            true => batch.next_obs[row].fill(0),
            false => self.copy_stack(lane, next, &mut batch.next_obs[row]),
        }
    }

    /// Copies the stack of frames up to `index`, oldest first. Before the episode's first frame it repeats that frame.
    fn copy_stack(&self, lane: usize, index: u64, out: &mut [u8]) {
        let bytes = self.config.frame_bytes;
        let mut source = index;
        for (age, out) in out.chunks_exact_mut(bytes).rev().enumerate() {
            if age > 0 && source > 0 {
                let before = self.at(lane, source - 1);
                let same_episode = match self.slot(before) {
                    // Behind a truncated step is the final observation of the episode itself.
                    Slot::Step | Slot::Truncated => true,
                    Slot::Terminated | Slot::Final => false,
                };
                source -= u64::from(same_episode);
            }
            let at = self.at(lane, source);
            out.copy_from_slice(&self.frames[at * bytes..(at + 1) * bytes]);
        }
    }

    /// The contents, without slots that were never written.
    pub fn save(&self) -> Snapshot<'_> {
        let mut snapshot = Snapshot::default().value("written", &self.written);
        for lane in 0..self.config.n_lanes {
            let slots = self.filled(lane);
            let frames = slots.start * self.config.frame_bytes..slots.end * self.config.frame_bytes;
            snapshot = snapshot
                .array(format!("frames.{lane}"), &self.frames[frames])
                .array(format!("actions.{lane}"), &self.actions[slots.clone()])
                .array(format!("rewards.{lane}"), &self.rewards[slots.clone()])
                .array(format!("slots.{lane}"), &self.slots[slots]);
        }
        snapshot
    }

    /// Restores the state that [`Replay::save`] wrote.
    ///
    /// # Errors
    /// When it was saved from a replay of other sizes.
    pub fn load(&mut self, from: &Loaded, n_actions: usize) -> Result<(), SnapshotError> {
        let possible = |written: &Vec<u64>| written.iter().all(|&n| n <= MAX_COUNT);
        let written = from.value_where("written", possible)?;
        if written.len() != self.config.n_lanes {
            let reason = format!("{} lanes, expected {}", written.len(), self.config.n_lanes);
            return Err(SnapshotError::Value { name: "replay.written".to_owned(), reason });
        }
        self.written = written;
        for lane in 0..self.config.n_lanes {
            let slots = self.filled(lane);
            let frames = slots.start * self.config.frame_bytes..slots.end * self.config.frame_bytes;
            from.read(&format!("frames.{lane}"), &mut self.frames[frames])?;
            from.read_indices(&format!("actions.{lane}"), &mut self.actions[slots.clone()], n_actions)?;
            from.read(&format!("rewards.{lane}"), &mut self.rewards[slots.clone()])?;
            from.read_indices(&format!("slots.{lane}"), &mut self.slots[slots], N_SLOT_KINDS)?;
        }
        Ok(())
    }

    /// Places of `lane` that have been written.
    fn filled(&self, lane: usize) -> Range<usize> {
        let start = lane * self.lane_len;
        start..start + self.written[lane].min(self.lane_len as u64) as usize
    }
}

impl Batch {
    fn resize(&mut self, batch_size: usize, obs_bytes: usize) {
        self.obs.resize(batch_size * obs_bytes, 0);
        self.next_obs.resize(batch_size * obs_bytes, 0);
        self.actions.resize(batch_size, 0);
        self.returns.resize(batch_size, 0.0);
        self.discounts.resize(batch_size, 0.0);
    }
}

#[cfg(test)]
mod tests;
