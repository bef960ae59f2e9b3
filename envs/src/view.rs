//! Environments and observations as an agent sees them, if that differs from what the environment shows.

use crate::env::{Env, RestoreError, Step};
use crate::frames::{from_text, to_text};
use crate::model::TransitionModel;
use crate::picture::Picture;
use crate::space::ObsSpace;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Transforms observations, for instance pictures into features. Each frame is transformed once, however many stacks
/// and replays contain it.
pub trait View: Send {
    /// Shape and element type of the new observations.
    fn obs_space(&self) -> ObsSpace;

    /// Transforms `frames`, `[n * frame bytes]`, and writes the result to `seen`, `[n * bytes of obs_space]`.
    fn look(&mut self, frames: &[u8], seen: &mut [u8]);
}

/// An environment that shows its true state: its factors, each brought to a comparable size.
pub struct FactorsEnv {
    env: Box<dyn Env>,
    /// For each factor an offset, which is subtracted first, and a width, which it is divided by.
    scales: Vec<(f32, f32)>,
    factors: std::cell::RefCell<Vec<f32>>,
}

impl FactorsEnv {
    /// An environment that shows the factors of `env`. `scales` has an offset, which is subtracted, and then a width,
    /// which is divided by, for each factor.
    ///
    /// # Panics
    /// When there are not as many scales as factors.
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

/// An environment that shows its latest frames as one image, the oldest at the top, for a [`View`] that takes several
/// frames at once. When an episode begins, all are its first frame.
pub struct StackEnv {
    env: Box<dyn Env>,
    obs_space: ObsSpace,
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
    /// An environment that shows the latest `n_frames` frames of `env`.
    ///
    /// # Panics
    /// When `n_frames` is 0, or the observations of `env` are no images.
    pub fn new(env: Box<dyn Env>, n_frames: usize) -> Self {
        assert_ne!(n_frames, 0, "a stack has at least one frame");
        let frame_space = env.obs_space();
        let obs_space = match frame_space {
            ObsSpace::Planes { shape: [rows, columns, channels] } => {
                ObsSpace::Planes { shape: [n_frames * rows, columns, channels] }
            }
            ObsSpace::Pixels { shape: [rows, columns] } => ObsSpace::Pixels { shape: [n_frames * rows, columns] },
            ObsSpace::Discrete { .. } | ObsSpace::Vector { .. } => panic!("{frame_space} is no image to be stacked"),
        };
        let frame_bytes = frame_space.n_bytes();
        Self { env, obs_space, frame_bytes, frames: vec![0; n_frames * frame_bytes] }
    }
}

impl Env for StackEnv {
    fn obs_space(&self) -> ObsSpace {
        self.obs_space.clone()
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
