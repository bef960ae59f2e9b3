//! What an agent sees in place of an environment's own observations.

use crate::env::{Env, RestoreError, Step};
use crate::frames::{from_text, to_text};
use crate::model::TransitionModel;
use crate::picture::Picture;
use crate::space::ObsSpace;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Turns observations into others, such as features of a picture. Each frame is turned once, whatever stacks and replays it
/// then appears in.
pub trait View {
    /// Shape and element type of what is seen.
    fn obs_space(&self) -> ObsSpace;

    /// Writes what is seen of `frames`, `[n * frame bytes]`, to `seen`, `[n * bytes of obs_space]`.
    fn look(&mut self, frames: &[u8], seen: &mut [u8]);
}

/// An environment that shows its true state: its factors, each brought to a comparable size.
pub struct FactorsEnv {
    env: Box<dyn Env>,
    /// What is subtracted from each factor, and what it is divided by then.
    scales: Vec<(f32, f32)>,
    factors: std::cell::RefCell<Vec<f32>>,
}

impl FactorsEnv {
    /// `env` seen by its factors. `scales` holds an offset, which is subtracted, and a width, which is divided by, for each.
    ///
    /// # Panics
    /// When there is not one scale a factor.
    pub fn new(env: Box<dyn Env>, scales: Vec<(f32, f32)>) -> Self {
        assert_eq!(env.factor_names().len(), scales.len(), "one scale a factor");
        let factors = vec![0.0; scales.len()].into();
        Self { env, scales, factors }
    }
}

impl Env for FactorsEnv {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Vector { len: self.scales.len() }
    }

    fn observe(&self, out: &mut [u8]) {
        let mut factors = self.factors.borrow_mut();
        self.env.factors(&mut factors);
        for ((bytes, factor), (offset, width)) in out.as_chunks_mut().0.iter_mut().zip(&*factors).zip(&self.scales) {
            *bytes = ((factor - offset) / width).to_le_bytes();
        }
    }

    fn action_names(&self) -> &[&'static str] {
        self.env.action_names()
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        self.env.reset(rng);
    }

    fn step(&mut self, action: usize, rng: &mut dyn RngCore) -> Step {
        self.env.step(action, rng)
    }

    fn factor_names(&self) -> &[&'static str] {
        self.env.factor_names()
    }

    fn factors(&self, out: &mut [f32]) {
        self.env.factors(out);
    }

    fn save(&self) -> Value {
        self.env.save()
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        self.env.restore(state)
    }

    fn goes_on(&self) -> bool {
        self.env.goes_on()
    }

    fn scripted_action(&self) -> Option<usize> {
        self.env.scripted_action()
    }

    fn model(&self) -> Option<&TransitionModel> {
        self.env.model()
    }

    fn picture(&self) -> Option<Picture> {
        self.env.picture()
    }
}

/// An environment that shows its latest frames below each other, the oldest at the top: one picture for a [`View`] that takes
/// several frames at once. At an episode's start all are its first.
pub struct StackEnv {
    env: Box<dyn Env>,
    n_frames: usize,
    frame_bytes: usize,
    /// `[n_frames, frame_bytes]`
    frames: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedStack {
    env: Value,
    /// The frames before the present one.
    older: String,
}

impl StackEnv {
    /// `env` seen by its latest `n_frames` frames.
    ///
    /// # Panics
    /// When `n_frames` is 0.
    pub fn new(env: Box<dyn Env>, n_frames: usize) -> Self {
        assert_ne!(n_frames, 0, "a stack has at least one frame");
        let frame_bytes = env.obs_space().n_bytes();
        Self { env, n_frames, frame_bytes, frames: vec![0; n_frames * frame_bytes] }
    }
}

impl Env for StackEnv {
    fn obs_space(&self) -> ObsSpace {
        let n = self.n_frames;
        match self.env.obs_space() {
            ObsSpace::Planes { shape: [rows, columns, channels] } => {
                ObsSpace::Planes { shape: [n * rows, columns, channels] }
            }
            ObsSpace::Pixels { shape: [rows, columns] } => ObsSpace::Pixels { shape: [n * rows, columns] },
            other => unreachable!("frames are of planes or pixels, not {other:?}"),
        }
    }

    fn observe(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.frames);
    }

    fn action_names(&self) -> &[&'static str] {
        self.env.action_names()
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        self.env.reset(rng);
        let (first, others) = self.frames.split_at_mut(self.frame_bytes);
        self.env.observe(first);
        others.chunks_exact_mut(self.frame_bytes).for_each(|frame| frame.copy_from_slice(first));
    }

    fn step(&mut self, action: usize, rng: &mut dyn RngCore) -> Step {
        let step = self.env.step(action, rng);
        self.frames.rotate_left(self.frame_bytes);
        let older = self.frames.len() - self.frame_bytes;
        self.env.observe(&mut self.frames[older..]);
        step
    }

    fn factor_names(&self) -> &[&'static str] {
        self.env.factor_names()
    }

    fn factors(&self, out: &mut [f32]) {
        self.env.factors(out);
    }

    fn save(&self) -> Value {
        let older = to_text(&self.frames[..self.frames.len() - self.frame_bytes]);
        serde_json::to_value(SavedStack { env: self.env.save(), older }).expect("a state and a text are JSON")
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        let saved = SavedStack::deserialize(state)?;
        self.env.restore(&saved.env)?;
        let older = self.frames.len() - self.frame_bytes;
        let (older, newest) = self.frames.split_at_mut(older);
        from_text(&saved.older, older).ok_or_else(|| RestoreError::unreadable("older frames of another size"))?;
        self.env.observe(newest);
        Ok(())
    }

    fn goes_on(&self) -> bool {
        self.env.goes_on()
    }

    fn scripted_action(&self) -> Option<usize> {
        self.env.scripted_action()
    }

    fn model(&self) -> Option<&TransitionModel> {
        self.env.model()
    }

    fn picture(&self) -> Option<Picture> {
        self.env.picture()
    }
}
