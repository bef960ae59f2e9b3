//! The frames of a probe: a part to fit it to, and a part to measure it on whose frames it has not seen.
//!
//! Parts are of different episodes. That alone does not separate them: most games begin alike, so frames recur from
//! episode to episode. A frame is therefore left out of the measured part if its bytes occur in the part that probes
//! are fitted to, or in the frames that one of the encoders was fitted to.

use super::world::World;
use crate::generative::data::frames::Frames;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use tch::Tensor;

/// Of this many episodes, one is for tests, one for validation, and the others are to fit probes to.
const CYCLE: u32 = 5;

/// The frames that probes are measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// Frames to choose settings by.
    Validation,
    /// Frames that no choice was made by.
    Test,
}

/// Use of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Fit,
    Measure(Measured),
}

/// Frames of one part that show the ball or the player.
pub(super) struct Part {
    /// `[n, frame bytes]` of each place in the stack, the newest last.
    pub(super) stack: Vec<Vec<u8>>,
    /// `[n, n_factors]`
    pub(super) factors: Tensor,
    /// `[n, channels, rows, columns]` in 0..=1, the newest of each stack.
    pub(super) images: Tensor,
    /// Row and column of the middle of the ball or the player in the images.
    pub(super) balls: Vec<[f32; 2]>,
    /// The episode of each frame, in ascending order.
    pub(super) episodes: Vec<u32>,
    n_distinct: usize,
}

/// Size of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Frames.
    pub frames: usize,
    /// Frames with different bytes.
    pub distinct: usize,
    /// Episodes that the frames are of.
    pub episodes: usize,
}

/// Frames by their bytes.
#[derive(Default)]
pub(super) struct Seen(HashSet<[u8; 32]>);

impl Seen {
    /// Adds a frame. Returns whether it is new.
    pub(super) fn add(&mut self, frame: &[u8]) -> bool {
        self.0.insert(Sha256::digest(frame).into())
    }

    /// Adds all frames of all stacks of the training split.
    pub(super) fn add_training(&mut self, frames: &Frames) {
        let stacks = frames.obs.chunks_exact(frames.frame_stack * frames.space.n_bytes());
        for (stack, _) in stacks.zip(&frames.is_test).filter(|(_, is_test)| !**is_test) {
            self.add_stack(stack, frames.space.n_bytes());
        }
    }

    fn add_stack(&mut self, stack: &[u8], n_bytes: usize) {
        stack.chunks_exact(n_bytes).for_each(|frame| _ = self.add(frame));
    }

    fn contains(&self, frame: &[u8]) -> bool {
        self.0.contains(&<[u8; 32]>::from(Sha256::digest(frame)))
    }
}

/// Returns the part to fit probes to and the part to measure them on. `seen` are frames that encoders were fitted to.
/// The number of frames that were left out of the measured part comes last.
pub(super) fn split(frames: &Frames, world: &World, measured: Measured, mut seen: Seen) -> ([Part; 2], usize) {
    let n_bytes = frames.space.n_bytes();
    let stacks: Vec<&[u8]> = frames.obs.chunks_exact(frames.frame_stack * n_bytes).collect();
    let of = |wanted: Use| (0..frames.len()).filter(move |&i| use_of(frames.episode[i]) == wanted);
    of(Use::Fit).for_each(|i| seen.add_stack(stacks[i], n_bytes));
    if measured == Measured::Test {
        of(Use::Measure(Measured::Validation)).for_each(|i| seen.add_stack(stacks[i], n_bytes));
    }
    let all: Vec<usize> = of(Use::Measure(measured)).collect();
    let newest = |i: usize| &stacks[i][stacks[i].len() - n_bytes..];
    let unseen: Vec<usize> = all.iter().copied().filter(|&i| !seen.contains(newest(i))).collect();
    let n_left_out = all.len() - unseen.len();
    let fit = of(Use::Fit).collect::<Vec<_>>();
    ([fit, unseen].map(|indices| Part::of(frames, world, &indices)), n_left_out)
}

fn use_of(episode: u32) -> Use {
    match episode % CYCLE {
        0 => Use::Measure(Measured::Test),
        1 => Use::Measure(Measured::Validation),
        _ => Use::Fit,
    }
}

impl Part {
    /// Returns those of the frames `indices` that show the ball or the player.
    fn of(frames: &Frames, world: &World, indices: &[usize]) -> Self {
        let (n_factors, n_bytes) = (frames.factor_names.len(), frames.space.n_bytes());
        let factors_of = |i: usize| &frames.factors[i * n_factors..][..n_factors];
        let frame = |i: usize, age: usize| &frames.obs[(i * frames.frame_stack + age) * n_bytes..][..n_bytes];
        let newest = frames.frame_stack - 1;
        let shown = indices.iter().filter_map(|&i| Some((i, world.place(factors_of(i), frame(i, newest))?)));
        let (rows, balls): (Vec<usize>, Vec<[f32; 2]>) = shown.unzip();
        let stack: Vec<Vec<u8>> =
            (0..frames.frame_stack).map(|age| rows.iter().flat_map(|&i| frame(i, age)).copied().collect()).collect();
        let factors: Vec<f32> = rows.iter().flat_map(|&i| factors_of(i)).copied().collect();
        let mut distinct = Seen::default();
        let n_distinct = rows.iter().filter(|&&i| distinct.add(frame(i, newest))).count();
        Self {
            images: world.images(&stack[newest]),
            stack,
            factors: Tensor::from_slice(&factors).view([-1, n_factors as i64]),
            balls,
            episodes: rows.iter().map(|&i| frames.episode[i]).collect(),
            n_distinct,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.balls.len()
    }

    pub(super) fn size(&self) -> Size {
        let episodes = self.episodes.chunk_by(|a, b| a == b).count();
        Size { frames: self.len(), distinct: self.n_distinct, episodes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::frames::{self, Games};
    use carom_envs::{EnvSpec, Values, registry};

    fn spec() -> EnvSpec {
        registry::resolve("minatar/breakout", &Values::new()).expect("an environment")
    }

    fn newest(part: &Part) -> Vec<&[u8]> {
        part.stack.last().expect("a frame").chunks_exact(part.stack[0].len() / part.len()).collect()
    }

    #[test]
    fn measured_frames_are_in_no_frames_that_probes_or_encoders_were_fitted_to() {
        let spec = spec();
        let (frames, world) =
            (frames::collect_from(Games::SHORT, &spec, 3000, 1).expect("frames"), World::of(&spec).expect("a ball"));
        let fitted_to = frames::collect(&spec, 2000, 0).expect("frames");
        let mut seen = Seen::default();
        seen.add_training(&fitted_to);
        let ([_, alone], n_repeated) = split(&frames, &world, Measured::Test, Seen::default());
        let ([fit, test], n_left_out) = split(&frames, &world, Measured::Test, seen);
        assert!(n_repeated > 100, "most games begin alike: {n_repeated}");
        assert!(n_left_out > n_repeated && test.len() < alone.len(), "{n_left_out}");
        let known: HashSet<&[u8]> = newest(&fit).into_iter().collect();
        assert!(newest(&test).iter().all(|frame| !known.contains(frame)));
        let known: HashSet<&[u8]> =
            fitted_to.obs.chunks(400).zip(&fitted_to.is_test).filter(|(_, test)| !**test).map(|(obs, _)| obs).collect();
        assert!(newest(&test).iter().all(|frame| !known.contains(frame)));
        assert!(newest(&alone).iter().any(|frame| known.contains(frame)));
        let Size { frames, distinct, episodes } = test.size();
        assert!(frames >= distinct && distinct > episodes && episodes > 20, "{:?}", test.size());
    }

    #[test]
    fn what_settings_are_chosen_by_is_not_what_they_are_reported_on() {
        let spec = spec();
        let (frames, world) =
            (frames::collect_from(Games::SHORT, &spec, 3000, 1).expect("frames"), World::of(&spec).expect("a ball"));
        let of = |measured| split(&frames, &world, measured, Seen::default()).0;
        let ([fit, validation], [_, test]) = (of(Measured::Validation), of(Measured::Test));
        let chosen_by: HashSet<&[u8]> = newest(&validation).into_iter().collect();
        assert!(newest(&test).iter().all(|frame| !chosen_by.contains(frame)));
        for (a, b) in [(&fit, &validation), (&fit, &test), (&validation, &test)] {
            let episodes: HashSet<u32> = a.episodes.iter().copied().collect();
            assert!(b.episodes.iter().all(|episode| !episodes.contains(episode)));
        }
    }
}
