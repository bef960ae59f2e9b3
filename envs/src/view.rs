//! What an agent sees in place of an environment's own observations.

use crate::{Env, ObsSpace, Picture, RestoreError, Step, TransitionModel};
use rand::RngCore;
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
