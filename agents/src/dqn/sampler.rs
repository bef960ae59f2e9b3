//! The choice of the transitions of an update: all alike, or by priority (Schaul et al. 2016).
//!
//! With priorities `p_i` (proportional variant, section 3.3 and equation 1)
//!
//! `P(i) = p_i^α / Σ_k p_k^α`, and the loss of a transition is weighted by `w_i = (N P(i))^-β / max_j w_j`
//!
//! with the maximum over the batch. A new transition has the largest priority so far. β rises in a straight line over
//! the training. The interval of all weights is cut in as many equal parts as a batch has transitions, and one is drawn
//! from each.

use super::sum_tree::SumTree;
use crate::replay::{Replay, Start};
use crate::schedule::Linear;
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::settings::{AtLeast, Settings};
use rand::Rng;
use rand_pcg::Pcg32;
use std::ops::Range;

carom_envs::settings! {
    /// Settings of the replay.
    pub struct ReplaySettings {
        /// Number of transitions that the replay keeps.
        buffer_size: usize = 100_000, in AtLeast(1);
        /// Number of steps whose rewards are summed before bootstrapping.
        n_step: usize = 1, in AtLeast(1);
        /// Draw transitions by priority.
        prioritized: bool = false;
        /// Exponent of the priorities.
        priority_alpha: f64 = 0.5, in 0.0..=1.0;
        /// Exponent of the weights that make up for the priorities, at the start of the training.
        priority_beta_start: f64 = 0.4, in 0.0..=1.0;
        /// Exponent of the weights that make up for the priorities, at the end of the training.
        priority_beta_end: f64 = 1.0, in 0.0..=1.0;
    }
}

impl Settings for ReplaySettings {
    fn unheard(&self) -> Vec<(&'static str, String)> {
        let all = ["priority_alpha", "priority_beta_start", "priority_beta_end"];
        match (self.prioritized, self.priority_alpha == 0.0) {
            (false, _) => all.map(|key| (key, "prioritized is off".to_owned())).to_vec(),
            (true, true) => all[1..].iter().map(|key| (*key, "priority_alpha is 0".to_owned())).collect(),
            (true, false) => vec![],
        }
    }
}

/// How transitions are drawn.
#[derive(Debug)]
pub(crate) enum Sampler {
    /// All alike.
    Uniform,
    /// By priority.
    Prioritized(Box<Prioritized>),
}

/// The transitions of an update.
#[derive(Debug, Default)]
pub(crate) struct Draw {
    pub(crate) starts: Vec<Start>,
    /// Factors of their losses.
    pub(crate) weights: Vec<f32>,
}

/// Added to each priority, so that none is 0.
const LEAST_PRIORITY: f32 = 1e-6;

/// Priorities to the power of α, one for each slot of the replay; 0 where no transition of n steps begins.
#[derive(Debug)]
pub(crate) struct Prioritized {
    n_step: usize,
    alpha: f32,
    beta: Linear,
    tree: SumTree,
    n_slots: usize,
    /// Largest weight that a transition ever had.
    largest: f32,
    /// Steps of each lane whose weights stand in the tree.
    known: Vec<Range<u64>>,
}

impl Sampler {
    pub(crate) fn new(settings: &ReplaySettings, replay: &Replay, total_steps: u64) -> Self {
        if !settings.prioritized {
            return Self::Uniform;
        }
        let ReplaySettings { n_step, priority_alpha, priority_beta_start, priority_beta_end, .. } = *settings;
        Self::Prioritized(Box::new(Prioritized {
            n_step,
            alpha: priority_alpha as f32,
            beta: Linear { start: priority_beta_start, end: priority_beta_end, steps: total_steps },
            tree: SumTree::new(replay.n_slots()),
            n_slots: replay.n_slots(),
            largest: 1.0,
            known: vec![0..0; replay.n_lanes()],
        }))
    }

    /// To be called when all lanes have been written to.
    pub(crate) fn wrote(&mut self, replay: &Replay) {
        if let Self::Prioritized(prioritized) = self {
            (0..replay.n_lanes()).for_each(|lane| prioritized.wrote(replay, lane));
        }
    }

    /// Draws as many transitions as `draw` has weights.
    pub(crate) fn draw(&self, replay: &Replay, n_step: usize, n_steps: u64, rng: &mut Pcg32, draw: &mut Draw) {
        match self {
            Self::Uniform => replay.draw(draw.weights.len(), n_step, rng, &mut draw.starts),
            Self::Prioritized(prioritized) => prioritized.draw(replay, n_steps, rng, draw),
        }
    }

    /// Sets the priorities of the transitions drawn last.
    pub(crate) fn learned(&mut self, replay: &Replay, draw: &Draw, priorities: &[f32]) {
        if let Self::Prioritized(prioritized) = self {
            for (start, priority) in draw.starts.iter().zip(priorities) {
                prioritized.set(replay.at(start.lane, start.index), *priority);
            }
        }
    }

    pub(crate) fn save<'a>(&self, to: Snapshot<'a>) -> Snapshot<'a> {
        let Self::Prioritized(prioritized) = self else { return to };
        let weights: Vec<f32> = (0..prioritized.n_slots).map(|at| prioritized.tree.get(at) as f32).collect();
        let sampler = Snapshot::default().owned_array("weights", &weights).value("largest", &prioritized.largest);
        to.nest("sampler", sampler)
    }

    /// Restores the state that [`Sampler::save`] wrote, beside `replay`, which was loaded before. If priorities were
    /// turned on along a run, there is none, and all transitions are new.
    pub(crate) fn load(&mut self, from: &Loaded, replay: &Replay) -> Result<(), SnapshotError> {
        let Ok(from) = from.nested("sampler") else {
            self.wrote(replay);
            return Ok(());
        };
        let Self::Prioritized(prioritized) = self else { return Ok(()) };
        let possible = |weight: f32| weight.is_finite() && weight >= 0.0;
        prioritized.largest = from.value_where("largest", |largest: &f32| possible(*largest))?;
        let mut weights = vec![0.0; prioritized.n_slots];
        from.read("weights", &mut weights)?;
        if !weights.iter().all(|weight| possible(*weight)) {
            let reason = "a weight that is no number above 0".to_owned();
            return Err(SnapshotError::Value { name: "sampler.weights".to_owned(), reason });
        }
        prioritized.restore(replay, &weights);
        Ok(())
    }
}

impl Prioritized {
    /// Gives the transitions of `lane` that have become whole the largest weight, and those overwritten none.
    fn wrote(&mut self, replay: &Replay, lane: usize) {
        let now = replay.valid(lane, self.n_step);
        let known = std::mem::replace(&mut self.known[lane], now.clone());
        for index in known.start..known.end.min(now.start) {
            self.tree.set(replay.at(lane, index), 0.0);
        }
        for index in known.end.max(now.start)..now.end {
            let is_transition = replay.is_transition(Start { lane, index });
            let weight = if is_transition { self.largest } else { 0.0 };
            self.tree.set(replay.at(lane, index), weight.into());
        }
    }

    /// Sets the weights of all whole transitions. Where the number of steps of a transition was changed along a run,
    /// other transitions are whole than had weights, and those without one are new.
    fn restore(&mut self, replay: &Replay, weights: &[f32]) {
        let mut restored = vec![0.0; self.n_slots];
        for lane in 0..self.known.len() {
            self.known[lane] = replay.valid(lane, self.n_step);
            for index in self.known[lane].clone() {
                let at = replay.at(lane, index);
                restored[at] = match replay.is_transition(Start { lane, index }) {
                    true if weights[at] > 0.0 => weights[at],
                    true => self.largest,
                    false => 0.0,
                };
            }
        }
        self.tree.fill(&restored);
    }

    fn draw(&self, replay: &Replay, n_steps: u64, rng: &mut Pcg32, draw: &mut Draw) {
        let (batch, total) = (draw.weights.len(), self.tree.total());
        assert!(total > 0.0, "sampled from an empty replay");
        draw.starts.clear();
        let mut least = f64::INFINITY;
        for (b, weight) in draw.weights.iter_mut().enumerate() {
            let at = (b as f64 + rng.r#gen::<f64>()) / batch as f64 * total;
            let slot = self.tree.find(at);
            draw.starts.push(replay.start_at(slot));
            *weight = self.tree.get(slot) as f32;
            least = least.min(f64::from(*weight));
        }
        // N and the sum of the weights cancel.
        let beta = self.beta.at(n_steps);
        for weight in &mut draw.weights {
            *weight = (least / f64::from(*weight)).powf(beta) as f32;
        }
    }

    fn set(&mut self, slot: usize, priority: f32) {
        let weight = (priority + LEAST_PRIORITY).powf(self.alpha);
        self.largest = self.largest.max(weight);
        self.tree.set(slot, weight.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::tests::{assert_close, floats, parts};
    use crate::replay::ReplayConfig;
    use rand::SeedableRng;

    fn replay(capacity: usize, n_lanes: usize) -> Replay {
        Replay::new(ReplayConfig { capacity, n_lanes, frame_bytes: 1, frame_stack: 2 })
    }

    fn prioritized(replay: &Replay, n_step: usize) -> Prioritized {
        let settings = ReplaySettings { n_step, prioritized: true, ..ReplaySettings::default() };
        match Sampler::new(&settings, replay, 100) {
            Sampler::Prioritized(prioritized) => *prioritized,
            Sampler::Uniform => unreachable!("prioritized is on"),
        }
    }

    #[test]
    fn exactly_the_whole_transitions_have_weight() {
        let mut replay = replay(24, 2);
        let mut sampler = prioritized(&replay, 3);
        for step in 0..100_u8 {
            for lane in 0..2 {
                match step % 7 {
                    6 if lane == 0 => replay.push_truncated(lane, &[step], 0, 0.0, &[99]),
                    _ => replay.push(lane, &[step], 0, 0.0, step % 5 == 4),
                }
                sampler.wrote(&replay, lane);
            }
            let mut expected = vec![0.0; 24];
            for lane in 0..2 {
                for index in replay.valid(lane, 3) {
                    let is_transition = replay.is_transition(Start { lane, index });
                    expected[replay.at(lane, index)] = if is_transition { 1.0 } else { 0.0 };
                    assert_eq!(replay.start_at(replay.at(lane, index)), Start { lane, index });
                }
            }
            let held: Vec<f64> = (0..24).map(|slot| sampler.tree.get(slot)).collect();
            assert_eq!(held, expected, "after step {step}");
        }
    }

    #[test]
    fn weights_are_restored_for_another_number_of_steps_too() {
        let mut replay = replay(16, 1);
        let mut sampler = prioritized(&replay, 2);
        for step in 0..20 {
            replay.push(0, &[step], 0, 0.0, false);
            sampler.wrote(&replay, 0);
        }
        (0..8).for_each(|slot| sampler.set(slot, 4.0));
        let weights: Vec<f32> = (0..16).map(|slot| sampler.tree.get(slot) as f32).collect();
        for n_step in [1, 2, 4] {
            let mut other = prioritized(&replay, n_step);
            other.restore(&replay, &weights);
            let whole = replay.valid(0, n_step);
            for (slot, before) in weights.iter().enumerate() {
                let (weight, is_whole) = (other.tree.get(slot) as f32, whole.contains(&replay.start_at(slot).index));
                assert_eq!(weight > 0.0, is_whole, "slot {slot}, {n_step} steps");
                if is_whole && *before > 0.0 {
                    assert_eq!(weight, *before, "slot {slot}, {n_step} steps");
                }
            }
        }
    }

    #[test]
    fn transitions_are_drawn_by_priority_and_weighted_against_it() {
        let mut replay = replay(8, 1);
        let mut sampler = Sampler::Prioritized(Box::new(prioritized(&replay, 1)));
        for step in 0..5 {
            replay.push(0, &[step], 0, 0.0, false);
            sampler.wrote(&replay);
        }
        let starts = (0..4).map(|index| Start { lane: 0, index }).collect();
        let drawn = Draw { starts, weights: vec![] };
        // With α = 1/2 the weights are 1, 2, 3 and 4, so a tenth, two tenths, … of the draws.
        sampler.learned(&replay, &drawn, &[1.0, 4.0, 9.0, 16.0]);
        let (mut rng, mut counts) = (Pcg32::seed_from_u64(1), [0; 4]);
        let mut draw = Draw { starts: vec![], weights: vec![0.0; 10] };
        for _ in 0..1000 {
            sampler.draw(&replay, 1, 50, &mut rng, &mut draw);
            for (start, weight) in draw.starts.iter().zip(&draw.weights) {
                counts[start.index as usize] += 1;
                // β is 0.7 half-way. Each tenth of the draws is one of the least likely.
                let expected = (1.0 / (start.index as f32 + 1.0)).powf(0.7);
                assert!((weight - expected).abs() < 1e-5, "{weight} is not {expected}");
            }
        }
        assert!(
            counts.iter().zip(1..).all(|(count, share): (&i32, i32)| (count - share * 1000).abs() <= 20),
            "{counts:?}"
        );
    }

    #[test]
    fn probabilities_and_weights_agree_with_numpy() {
        let golden = parts();
        let case = &golden["prioritized"];
        let mut replay = replay(16, 1);
        let mut sampler = prioritized(&replay, 1);
        let priorities = floats(&case["priorities"]);
        for step in 0..=priorities.len() {
            replay.push(0, &[step as u8], 0, 0.0, false);
            sampler.wrote(&replay, 0);
        }
        for (slot, priority) in priorities.iter().enumerate() {
            sampler.set(slot, *priority);
        }
        let total = sampler.tree.total();
        let probs: Vec<f32> = (0..priorities.len()).map(|slot| (sampler.tree.get(slot) / total) as f32).collect();
        assert_close(&probs, &case["probabilities"]);
        let mut draw = Draw { starts: vec![], weights: vec![0.0; 64] };
        sampler.draw(&replay, 0, &mut Pcg32::seed_from_u64(1), &mut draw);
        let weights = floats(&case["weights"]);
        // The weights of all transitions are relative to the largest of them all; those of a batch to its own.
        let largest = draw.starts.iter().map(|start| weights[start.index as usize]).fold(0.0, f32::max);
        for (start, weight) in draw.starts.iter().zip(&draw.weights) {
            assert!((weight - weights[start.index as usize] / largest).abs() < 1e-5);
        }
    }
}
