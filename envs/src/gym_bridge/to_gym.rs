//! Environments of Carom as gym-rs's `Env`.

use crate::env::Env;
use crate::game::EnvSpec;
use crate::picture::Picture;
use crate::slot::sign;
use crate::space::ObsSpace;
use gym_rs::core::{ActionReward, Env as GymEnv, EnvProperties};
use gym_rs::spaces::{BoxR, Discrete};
use gym_rs::utils::custom::{structs::Metadata, traits::Sample};
use gym_rs::utils::renderer::{RenderColor, RenderFrame, RenderMode, Renders};
use gym_rs::utils::seeding::rand_random;
use rand::Rng;
use rand::distributions::uniform::{SampleBorrow, SampleUniform, UniformSampler};
use rand_pcg::Pcg64;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::fmt;

/// An environment of Carom for any program written against gym-rs.
///
/// Observations are `f64`, whatever the game writes, and stacked if the settings ask for a stack, the oldest first.
/// Rewards are clipped if the settings ask for that. The time limit of the settings is reported as `truncated`. A seed
/// starts a random stream that later resets without a seed continue, as in Gymnasium (gym-rs's own games seed those
/// from the operating system); before the first seed, the stream is seeded from the operating system. gym-rs draws
/// nothing here: `render` returns the picture of the game if a picture is asked for.
///
/// Cloning it panics if the environment does not support saving.
pub struct ToGym {
    spec: EnvSpec,
    env: Box<dyn Env>,
    rng: Pcg64,
    steps: u64,
    /// `[frame_stack, obs_bytes]`, the oldest observation first.
    stack: Vec<u8>,
    metadata: Metadata<Self>,
    action_space: Discrete,
    observation_space: BoxR<GymObs>,
}

const RENDER_MODES: &[RenderMode] = &[RenderMode::RgbArray, RenderMode::SingleRgbArray, RenderMode::None];

impl ToGym {
    /// The environment of `spec`, for instance of [`EnvSpec::evaluation`], with which episodes are whole games.
    pub fn new(spec: &EnvSpec) -> Self {
        let env = spec.make();
        let space = env.obs_space();
        let (low, high) = bounds(&space, spec.frame_stack());
        let (rng, _) = rand_random(None);
        Self {
            spec: spec.clone(),
            action_space: Discrete(env.action_names().len()),
            env,
            rng,
            steps: 0,
            stack: vec![0; spec.frame_stack() * space.n_bytes()],
            metadata: Metadata::new(RENDER_MODES, 30),
            observation_space: BoxR::new(low, high),
        }
    }

    /// Returns whether the game has reached the time limit.
    fn is_late(&self) -> bool {
        self.spec.time_limit().is_some_and(|limit| self.steps >= limit)
    }

    /// Writes the present observation to the end of the stack.
    fn observe(&mut self) {
        let older = self.stack.len() - self.env.obs_space().n_bytes();
        self.env.observe(&mut self.stack[older..]);
    }

    fn observation(&self) -> GymObs {
        let words = || self.stack.chunks_exact(4).map(|word| word.try_into().expect("four bytes a word"));
        GymObs(match self.env.obs_space() {
            ObsSpace::Discrete { .. } => words().map(|word| u32::from_le_bytes(word).into()).collect(),
            ObsSpace::Vector { .. } => words().map(|word| f32::from_le_bytes(word).into()).collect(),
            ObsSpace::Planes { .. } | ObsSpace::Pixels { .. } => self.stack.iter().copied().map(f64::from).collect(),
        })
    }
}

/// An observation as gym-rs passes it on: a flat vector, row-major.
#[derive(Clone, Debug, PartialEq, PartialOrd, serde::Serialize)]
pub struct GymObs(pub Vec<f64>);

impl From<GymObs> for Vec<f64> {
    fn from(obs: GymObs) -> Self {
        obs.0
    }
}

/// Smallest and largest values of a stack of observations.
fn bounds(space: &ObsSpace, frame_stack: usize) -> (GymObs, GymObs) {
    let (len, low, high) = match *space {
        ObsSpace::Discrete { n } => (1, 0.0, (n - 1) as f64),
        ObsSpace::Vector { len } => (len, f64::NEG_INFINITY, f64::INFINITY),
        ObsSpace::Planes { .. } => (space.n_bytes(), 0.0, 1.0),
        ObsSpace::Pixels { .. } => (space.n_bytes(), 0.0, 255.0),
    };
    (GymObs(vec![low; frame_stack * len]), GymObs(vec![high; frame_stack * len]))
}

impl GymEnv for ToGym {
    type Action = usize;
    type Observation = GymObs;
    type Info = ();
    type ResetInfo = ();

    fn step(&mut self, action: usize) -> ActionReward<GymObs, ()> {
        let step = self.env.step(action, &mut self.rng);
        self.steps += 1;
        let obs_bytes = self.env.obs_space().n_bytes();
        self.stack.rotate_left(obs_bytes);
        self.observe();
        let reward = if self.spec.reward_clip() { sign(step.reward) } else { step.reward };
        ActionReward {
            observation: self.observation(),
            reward: f64::from(reward).into(),
            done: step.terminated,
            truncated: self.is_late() && !step.terminated,
            info: None,
        }
    }

    /// Begins a new episode. With a seed, nothing of earlier episodes has an influence. If a lost life ended the last
    /// episode, a reset without a seed continues the game.
    ///
    /// # Panics
    /// When `options` asks for other first states than the game's own.
    fn reset(&mut self, seed: Option<u64>, return_info: bool, options: Option<BoxR<GymObs>>) -> (GymObs, Option<()>) {
        assert!(
            options.is_none(),
            "the first states of {} are the game's own: options are not supported",
            self.spec.id()
        );
        if seed.is_some() {
            (self.rng, _) = rand_random(seed);
            self.env = self.spec.make();
        }
        if self.env.goes_on() && self.is_late() {
            // The time limit was reached as a life was lost: this reset continues the game, the next begins another.
            self.env.reset(&mut self.rng);
        }
        if !self.env.goes_on() {
            self.steps = 0;
        }
        self.env.reset(&mut self.rng);
        self.observe();
        let first = self.stack.len() - self.env.obs_space().n_bytes();
        let (older, first) = self.stack.split_at_mut(first);
        older.chunks_exact_mut(first.len()).for_each(|older| older.copy_from_slice(first));
        (self.observation(), return_info.then_some(()))
    }

    fn render(&mut self, mode: RenderMode) -> Renders {
        match (mode, self.env.picture()) {
            (RenderMode::SingleRgbArray, Some(picture)) => Renders::SingleRgbArray(frame(&picture)),
            (RenderMode::RgbArray, Some(picture)) => Renders::RgbArray(vec![frame(&picture)]),
            _ => Renders::None,
        }
    }

    fn close(&mut self) {}
}

fn frame(picture: &Picture) -> RenderFrame {
    let row = |row: &[u8]| row.chunks_exact(3).map(|rgb| RenderColor::RGB(rgb[0], rgb[1], rgb[2])).collect();
    RenderFrame::new(picture.rgb.chunks_exact(3 * picture.width).map(row).collect())
}

impl EnvProperties for ToGym {
    type ActionSpace = Discrete;
    type ObservationSpace = BoxR<GymObs>;

    fn metadata(&self) -> &Metadata<Self> {
        &self.metadata
    }

    fn rand_random(&self) -> &Pcg64 {
        &self.rng
    }

    fn action_space(&self) -> &Discrete {
        &self.action_space
    }

    fn observation_space(&self) -> &BoxR<GymObs> {
        &self.observation_space
    }
}

impl Clone for ToGym {
    fn clone(&self) -> Self {
        let mut env = self.spec.make();
        env.restore(&self.env.save()).expect("the state of the same environment");
        Self {
            spec: self.spec.clone(),
            env,
            rng: self.rng.clone(),
            steps: self.steps,
            stack: self.stack.clone(),
            metadata: Metadata::new(RENDER_MODES, 30),
            action_space: self.action_space.clone(),
            observation_space: self.observation_space.clone(),
        }
    }
}

impl fmt::Debug for ToGym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToGym").field("id", &self.spec.id()).field("state", &self.env.save()).finish_non_exhaustive()
    }
}

impl Serialize for ToGym {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("ToGym", 4)?;
        fields.serialize_field("id", self.spec.id())?;
        fields.serialize_field("settings", self.spec.settings())?;
        fields.serialize_field("state", &self.env.save())?;
        fields.serialize_field("steps", &self.steps)?;
        fields.end()
    }
}

/// Draws each element of an observation by itself, as gym-rs's [`Sample`] requires.
pub struct UniformGymObs {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl SampleUniform for GymObs {
    type Sampler = UniformGymObs;
}

impl UniformSampler for UniformGymObs {
    type X = GymObs;

    fn new<B1, B2>(low: B1, high: B2) -> Self
    where
        B1: SampleBorrow<GymObs> + Sized,
        B2: SampleBorrow<GymObs> + Sized,
    {
        Self { low: low.borrow().0.clone(), high: high.borrow().0.clone() }
    }

    fn new_inclusive<B1, B2>(low: B1, high: B2) -> Self
    where
        B1: SampleBorrow<GymObs> + Sized,
        B2: SampleBorrow<GymObs> + Sized,
    {
        Self::new(low, high)
    }

    fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> GymObs {
        GymObs(self.low.iter().zip(&self.high).map(|(low, high)| low + rng.r#gen::<f64>() * (high - low)).collect())
    }
}

impl Sample for GymObs {
    /// An observation between finite bounds. Without bounds it is empty, since the type does not know the game.
    fn sample_between<R: Rng>(rng: &mut R, bounds: Option<BoxR<Self>>) -> Self {
        let BoxR { low, high } = bounds.unwrap_or(BoxR::new(GymObs(Vec::new()), GymObs(Vec::new())));
        UniformGymObs::new(low, high).sample(rng)
    }
}
