//! The environment around the rules of a game.

use super::grid::SIZE;
use super::looks;
use super::random::uniform;
use super::rules::{Action, Rules};
use super::settings::{ActionSet, GameSettings, MinatarSettings};
use crate::env::{Env, RestoreError, Step};
use crate::game::Game;
use crate::picture::Picture;
use crate::space::ObsSpace;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A MinAtar game as an environment; see the [module](super).
#[derive(Clone, Debug)]
pub struct Minatar<R> {
    sticky: f64,
    ramping: bool,
    actions: &'static [Action],
    action_names: Vec<&'static str>,
    state: State<R>,
}

/// All that changes while playing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State<R> {
    /// The action that a sticky action repeats. A reset keeps it.
    last_action: Action,
    game: R,
}

impl<R: Rules> Minatar<R> {
    /// A game that waits for its first [`Env::reset`].
    pub fn new(settings: &MinatarSettings) -> Self {
        let actions = settings.action_set.actions::<R>();
        Self {
            sticky: settings.sticky,
            ramping: settings.ramping,
            actions,
            action_names: actions.iter().map(|action| NAMES[*action as usize]).collect(),
            state: State { last_action: Action::Noop, game: R::new() },
        }
    }

    /// The rules and their state.
    pub fn game(&self) -> &R {
        &self.state.game
    }
}

/// Names of the actions, by MinAtar's numbers.
const NAMES: [&str; 6] = ["noop", "left", "up", "right", "down", "fire"];

impl<R: Rules> Env for Minatar<R> {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Planes { shape: [SIZE as usize, SIZE as usize, R::N_CHANNELS] }
    }

    fn action_names(&self) -> &[&'static str] {
        &self.action_names
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        self.state.game.reset(rng);
    }

    fn step(&mut self, action: usize, rng: &mut dyn RngCore) -> Step {
        let chosen = self.actions[action];
        let State { last_action, game } = &mut self.state;
        // The reference draws at every step, also if the probability is 0 or the game is over.
        let repeats = uniform(rng) < self.sticky;
        let action = if repeats { *last_action } else { chosen };
        *last_action = action;
        if game.is_over() {
            return Step { reward: 0.0, terminated: true };
        }
        let reward = game.step(action, self.ramping, rng);
        Step { reward, terminated: game.is_over() }
    }

    fn observe(&self, out: &mut [u8]) {
        let n_bytes = SIZE as usize * SIZE as usize * R::N_CHANNELS;
        assert_eq!(out.len(), n_bytes, "an observation of minatar/{} has {n_bytes} bytes", R::NAME);
        out.fill(0);
        self.state.game.observe(out);
    }

    fn factor_names(&self) -> &[&'static str] {
        R::factor_names()
    }

    fn factors(&self, out: &mut [f32]) {
        self.state.game.factors(out);
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.state).expect("a state of plain numbers is JSON")
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        let state = State::<R>::deserialize(state)?;
        if !state.game.is_possible() {
            return Err(RestoreError::unreadable("a number out of range"));
        }
        self.state = state;
        Ok(())
    }

    fn scripted_action(&self) -> Option<usize> {
        let wanted = if self.state.game.is_over() { Action::Noop } else { self.state.game.scripted_action() };
        self.actions.iter().position(|&action| action == wanted)
    }

    fn picture(&self) -> Option<Picture> {
        let mut obs = vec![0; self.obs_space().n_bytes()];
        self.observe(&mut obs);
        Some(looks::picture(&obs, R::LOOKS, R::N_CHANNELS))
    }
}

impl<R: Rules> Game for Minatar<R> {
    type Settings = GameSettings<R>;

    fn make(settings: &GameSettings<R>) -> Box<dyn Env> {
        Box::new(Self::new(&settings.0))
    }

    fn protocol(settings: &GameSettings<R>) -> Option<String> {
        let settings = &settings.0;
        let name = match (settings.sticky, settings.action_set, settings.max_steps) {
            (0.1, ActionSet::Full, _) => "minatar-v0".to_owned(),
            (0.1, ActionSet::Minimal, _) => "minatar-v1".to_owned(),
            // Only gymnax's Breakout was compared with MinAtar's.
            (0.0, ActionSet::Minimal, 1000) if R::NAME == "breakout" => "gymnax".to_owned(),
            (sticky, set, _) => format!("minatar {}, sticky {sticky}, {} actions", R::NAME, set.actions::<R>().len()),
        };
        Some(if R::RAMPS && !settings.ramping { name + ", no ramp" } else { name })
    }
}
