//! gym-rs environments as [`Env`].

use crate::cartpole;
use crate::env::{Env, RestoreError, Step};
use crate::game::Game;
use crate::picture::Picture;
use crate::settings::Settings;
use crate::space::ObsSpace;
use gym_rs::core::{Env as GymEnv, EnvProperties};
use gym_rs::envs::classical_control::{cartpole::CartPoleEnv, mountain_car::MountainCarEnv};
use gym_rs::spaces::Discrete;
use gym_rs::utils::renderer::RenderMode;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Any gym-rs environment with numbered actions.
///
/// A reset seeds it from the caller's stream. gym-rs has no way to set a state, so a saved state is the episode's seed
/// and its actions, which [`Env::restore`] plays again. That is exact for every environment that draws from its own
/// seeded stream, and takes as long as the episode. `done` becomes `terminated`; `truncated` is ignored, since the
/// vectoriser applies time limits.
pub struct FromGym<E> {
    env: E,
    action_names: &'static [&'static str],
    obs_names: &'static [&'static str],
    draw: Option<fn(&[f32]) -> Picture>,
    obs: Vec<f32>,
    played: Played,
}

/// The episode so far, from which its state can be computed again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Played {
    seed: u64,
    actions: Vec<usize>,
}

impl<E> FromGym<E>
where
    E: GymEnv<Action = usize> + EnvProperties<ActionSpace = Discrete>,
    E::Observation: gym_rs::utils::custom::traits::Sample + Into<Vec<f64>>,
{
    /// Wraps `env`, with names for its actions and for the elements of its observations.
    ///
    /// # Panics
    /// When there are not as many names as actions or elements.
    pub fn new(env: E, action_names: &'static [&'static str], obs_names: &'static [&'static str]) -> Self {
        assert_eq!(env.action_space().0, action_names.len(), "a name for every action");
        let played = Played::default();
        let mut this = Self { env, action_names, obs_names, draw: None, obs: Vec::new(), played };
        this.begin(0);
        assert_eq!(this.obs.len(), obs_names.len(), "a name for every element of an observation");
        this
    }

    /// Sets a function that draws an observation.
    #[must_use]
    pub fn with_picture(self, draw: fn(&[f32]) -> Picture) -> Self {
        Self { draw: Some(draw), ..self }
    }

    fn begin(&mut self, seed: u64) {
        let (obs, _) = self.env.reset(Some(seed), false, None);
        self.look_at(obs);
        self.played.seed = seed;
        self.played.actions.clear();
    }

    fn play(&mut self, action: usize) -> Step {
        let outcome = self.env.step(action);
        self.look_at(outcome.observation);
        self.played.actions.push(action);
        Step { reward: outcome.reward.into_inner() as f32, terminated: outcome.done }
    }

    fn look_at(&mut self, obs: E::Observation) {
        let obs: Vec<f64> = obs.into();
        self.obs.clear();
        self.obs.extend(obs.into_iter().map(|value| value as f32));
    }
}

impl<E> Env for FromGym<E>
where
    E: GymEnv<Action = usize> + EnvProperties<ActionSpace = Discrete> + Send,
    E::Observation: gym_rs::utils::custom::traits::Sample + Into<Vec<f64>>,
{
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Vector { len: self.obs.len() }
    }

    fn action_names(&self) -> &[&'static str] {
        self.action_names
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        self.begin(rng.next_u64());
    }

    fn step(&mut self, action: usize, _rng: &mut dyn RngCore) -> Step {
        self.play(action)
    }

    fn observe(&self, out: &mut [u8]) {
        for (out, value) in out.chunks_exact_mut(4).zip(&self.obs) {
            out.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn factor_names(&self) -> &[&'static str] {
        self.obs_names
    }

    fn factors(&self, out: &mut [f32]) {
        out.copy_from_slice(&self.obs);
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.played).expect("a seed and actions are JSON")
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        let Played { seed, actions } = Played::deserialize(state)?;
        if let Some(action) = actions.iter().find(|&&action| action >= self.action_names.len()) {
            let n_actions = self.action_names.len();
            return Err(RestoreError::unreadable(format_args!("action {action} of a game with {n_actions}")));
        }
        self.begin(seed);
        for action in actions {
            self.play(action);
        }
        Ok(())
    }

    fn picture(&self) -> Option<Picture> {
        self.draw.map(|draw| draw(&self.obs))
    }
}

crate::settings! {
    /// Settings of `gym-rs/cartpole`.
    pub struct CartPoleSettings {
        /// Time limit of an episode in steps, 0 for none.
        max_steps: u64 = CARTPOLE_LIMIT;
    }
}

impl Settings for CartPoleSettings {}

crate::settings! {
    /// Settings of `gym-rs/mountain-car`.
    pub struct MountainCarSettings {
        /// Time limit of an episode in steps, 0 for none.
        max_steps: u64 = MOUNTAIN_CAR_LIMIT;
    }
}

impl Settings for MountainCarSettings {}

// Time limits of the namesakes in Gym. gym-rs applies none.
const CARTPOLE_LIMIT: u64 = 500;
const MOUNTAIN_CAR_LIMIT: u64 = 200;

/// gym-rs's own CartPole. It differs from `CartPole-v1`: it adds the pole's mass and length (0.6) where the equation
/// multiplies them (0.05), and begins within ±0.5 instead of ±0.05. An angle of 0.21 is a fall, so more
/// than half of the episodes begin with a fallen pole and last one step.
pub struct CartPole;

impl Game for CartPole {
    type Settings = CartPoleSettings;

    fn make(_settings: &CartPoleSettings) -> Box<dyn Env> {
        let names = &["x", "x_dot", "theta", "theta_dot"];
        let env = FromGym::new(CartPoleEnv::new(RenderMode::None), &["left", "right"], names);
        Box::new(env.with_picture(|obs| cartpole::draw(obs[0].into(), obs[2].into())))
    }

    fn protocol(_settings: &CartPoleSettings) -> Option<String> {
        Some("gym-rs CartPole".to_owned())
    }
}

/// gym-rs's mountain car: rock a car out of a valley; -1 a step until the top is reached.
pub struct MountainCar;

impl Game for MountainCar {
    type Settings = MountainCarSettings;

    fn make(_settings: &MountainCarSettings) -> Box<dyn Env> {
        let env =
            FromGym::new(MountainCarEnv::new(RenderMode::None), &["left", "coast", "right"], &["position", "velocity"]);
        Box::new(env.with_picture(|obs| draw_valley(obs[0].into())))
    }

    fn protocol(_settings: &MountainCarSettings) -> Option<String> {
        Some("gym-rs MountainCar".to_owned())
    }
}

/// Draws the valley between -1.2 and 0.6 with a flag at 0.5 and a car at `position`.
fn draw_valley(position: f64) -> Picture {
    const WIDTH: usize = 300;
    const HEIGHT: usize = 200;
    let mut picture = Picture::filled(WIDTH, HEIGHT, [214, 230, 240]);
    let ground_y = |position: f64| 150.0 - 100.0 * (0.45 * (3.0 * position).sin());
    let x = |position: f64| (position + 1.2) / 1.8 * WIDTH as f64;
    for column in 0..WIDTH {
        let top = ground_y(column as f64 / WIDTH as f64 * 1.8 - 1.2) as usize;
        picture.fill_rect(column, top, 1, HEIGHT - top, [122, 152, 96]);
    }
    let flag = (x(0.5), ground_y(0.5));
    picture.line(flag, (flag.0, flag.1 - 30.0), 2, [60, 60, 60]);
    picture.fill_rect(flag.0 as usize, flag.1 as usize - 30, 14, 9, [224, 196, 84]);
    picture.line(
        (x(position) - 8.0, ground_y(position) - 6.0),
        (x(position) + 8.0, ground_y(position) - 6.0),
        10,
        [196, 72, 66],
    );
    picture
}
