//! MinAtar Breakout, step for step the game of the PyPI package `minatar` 1.0.15 (Young & Tian 2019).
//!
//! **Rules.** The paddle slides along the bottom row and returns a ball that moves one cell diagonally a step. Three
//! rows of ten bricks hang below the top row. A brick that is hit disappears and the ball turns; the next brick counts
//! only after a step that touches none. When the ball reaches the bottom row and all bricks are gone, there is a new
//! wall. **Reward.** 1 for a brick, else 0. **Ending.** The ball reaches the bottom row beside the paddle. No time
//! limit. **Channels.** 0 paddle, 1 ball, 2 trail (the ball's last cell), 3 bricks; 10×10, 0 or 1, channel last.
//!
//! With probability `sticky` a step repeats the action of the step before, also across the ends of episodes.
//! **Differences** from the reference: observations are bytes instead of booleans, and the random stream is the
//! caller's. A golden test drives this game with numpy's MT19937 words and finds every observation, reward and ending
//! equal to the reference's.

mod player;
mod rules;

use crate::bricks;
use crate::env::{Env, RestoreError, Step};
use crate::game::Game;
use crate::picture::Picture;
use crate::settings::Settings;
use crate::space::ObsSpace;
use rand::RngCore;
use rules::{BOTTOM, FIRST_BRICK_ROW, LEFT, N_BRICKS, NOOP, RIGHT, SIZE, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::LazyLock;

const N_CHANNELS: usize = 4;
const OBS_BYTES: usize = 100 * N_CHANNELS;

crate::settings! {
    /// Settings of `minatar/breakout`.
    pub struct BreakoutSettings {
        /// Probability that a step repeats the last action instead of the chosen one.
        sticky: f64 = 0.1, in 0.0..=1.0;
        /// Actions to choose from.
        action_set: ActionSet = ActionSet::Full;
        /// Time limit of an episode in steps, 0 for none.
        max_steps: u64 = 0;
    }
}

impl Settings for BreakoutSettings {}

/// Actions to choose from: MinAtar's six, or noop and the two that have an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionSet {
    /// noop, left, up, right, down, fire, as in the MinAtar paper (Gym's `-v0`).
    Full,
    /// noop, left, right (Gym's `-v1`).
    Minimal,
}

impl ActionSet {
    fn names(self) -> &'static [&'static str] {
        match self {
            ActionSet::Full => &["noop", "left", "up", "right", "down", "fire"],
            ActionSet::Minimal => &["noop", "left", "right"],
        }
    }

    /// MinAtar's own numbers of the actions, by index.
    fn codes(self) -> &'static [u8] {
        match self {
            ActionSet::Full => &[0, 1, 2, 3, 4, 5],
            ActionSet::Minimal => &[NOOP, LEFT, RIGHT],
        }
    }
}

/// The game; see the [module](self).
#[derive(Clone, Debug)]
pub struct Breakout {
    sticky: f64,
    action_set: ActionSet,
    state: State,
}

impl Breakout {
    /// A game whose ball enters from the left. [`Env::reset`] draws a side.
    pub fn new(settings: &BreakoutSettings) -> Self {
        Self { sticky: settings.sticky, action_set: settings.action_set, state: State::first(false, NOOP) }
    }
}

impl Env for Breakout {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Planes { shape: [SIZE as usize, SIZE as usize, N_CHANNELS] }
    }

    fn action_names(&self) -> &[&'static str] {
        self.action_set.names()
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        self.state = State::first(rng.next_u32() & 1 == 1, self.state.last_action);
    }

    fn step(&mut self, action: usize, rng: &mut dyn RngCore) -> Step {
        let chosen = self.action_set.codes()[action];
        // The reference draws at every step, also if the probability is 0 or the game is over.
        let repeat = numpy_uniform(rng.next_u32(), rng.next_u32()) < self.sticky;
        let state = &mut self.state;
        let action = if repeat { state.last_action } else { chosen };
        state.last_action = action;
        if state.terminal {
            return Step { reward: 0.0, terminated: true };
        }
        let shift = i8::from(action == RIGHT) - i8::from(action == LEFT);
        state.paddle = (state.paddle + shift).clamp(0, SIZE - 1);
        let reward = state.move_ball();
        Step { reward, terminated: state.terminal }
    }

    fn observe(&self, out: &mut [u8]) {
        let out: &mut [u8; OBS_BYTES] = out.try_into().expect("an observation of minatar/breakout has 400 bytes");
        let state = &self.state;
        let cell = |x: i8, y: i8| N_CHANNELS * (y as usize * SIZE as usize + x as usize);
        out.fill(0);
        let bricks = &mut out[cell(0, FIRST_BRICK_ROW)..][..N_BRICKS * N_CHANNELS];
        for (i, brick) in bricks.chunks_exact_mut(N_CHANNELS).enumerate() {
            // One word a cell, its highest byte the brick channel: this compiles to vector compares and stores.
            let word = if state.bricks & (1 << i) != 0 { 1_u32 << 24 } else { 0 };
            brick.copy_from_slice(&word.to_le_bytes());
        }
        out[cell(state.paddle, BOTTOM)] = 1;
        out[cell(state.x, state.y) + 1] = 1;
        out[cell(state.last_x, state.last_y) + 2] = 1;
    }

    /// Positions are in cells, speeds in cells a step. A brick is 1 while it stands, else 0.
    fn factor_names(&self) -> &[&'static str] {
        const NAMES: [&str; 7] = ["ball_x", "ball_y", "ball_dx", "ball_dy", "paddle_x", "bricks_left", "strike"];
        static ALL: LazyLock<Vec<&'static str>> = LazyLock::new(|| bricks::factor_names(&NAMES, 3, SIZE as usize));
        &ALL
    }

    fn factors(&self, out: &mut [f32]) {
        let State { x, y, dx, dy, paddle, .. } = self.state;
        out[..5].copy_from_slice(&[x, y, dx, dy, paddle].map(f32::from));
        out[5] = self.state.bricks.count_ones() as f32;
        out[6] = f32::from(u8::from(self.state.strike));
        out[7..].iter_mut().enumerate().for_each(|(i, out)| *out = (self.state.bricks >> i & 1) as f32);
    }

    fn save(&self) -> Value {
        serde_json::to_value(self.state).expect("a state of plain numbers is JSON")
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        let state = State::deserialize(state)?;
        if !state.is_possible() {
            return Err(RestoreError::unreadable("a position or speed out of range"));
        }
        self.state = state;
        Ok(())
    }

    fn scripted_action(&self) -> Option<usize> {
        let code = player::action(&self.state);
        self.action_set.codes().iter().position(|&known| known == code)
    }

    fn picture(&self) -> Option<Picture> {
        const CELL: usize = 16;
        const BRICK_ROWS: [[u8; 3]; 3] = [[214, 84, 72], [226, 148, 62], [224, 196, 84]];
        let side = SIZE as usize * CELL;
        let mut picture = Picture::filled(side, side, [24, 26, 34]);
        let mut draw = |x: i8, y: i8, margin: usize, colour| {
            let (left, top) = (x as usize * CELL + margin, y as usize * CELL + margin);
            picture.fill_rect(left, top, CELL - 2 * margin, CELL - 2 * margin, colour);
        };
        let state = &self.state;
        for (row, colour) in (FIRST_BRICK_ROW..).zip(BRICK_ROWS) {
            (0..SIZE).filter(|&x| state.brick_at(x, row) != 0).for_each(|x| draw(x, row, 1, colour));
        }
        draw(state.last_x, state.last_y, 5, [92, 98, 116]);
        draw(state.paddle, BOTTOM, 1, [96, 164, 226]);
        draw(state.x, state.y, 3, [244, 244, 240]);
        Some(picture)
    }
}

/// Computes numpy's `RandomState.rand` from two words of its generator: 53 bits in [0, 1).
#[inline]
fn numpy_uniform(first: u32, second: u32) -> f64 {
    (f64::from(first >> 5) * 67_108_864.0 + f64::from(second >> 6)) / 9_007_199_254_740_992.0
}

impl Game for Breakout {
    type Settings = BreakoutSettings;

    fn make(settings: &BreakoutSettings) -> Box<dyn Env> {
        Box::new(Breakout::new(settings))
    }

    fn protocol(settings: &BreakoutSettings) -> Option<String> {
        Some(match (settings.sticky, settings.action_set, settings.max_steps) {
            (0.1, ActionSet::Full, _) => "minatar-v0".to_owned(),
            (0.1, ActionSet::Minimal, _) => "minatar-v1".to_owned(),
            (0.0, ActionSet::Minimal, 1000) => "gymnax".to_owned(),
            (sticky, actions, _) => format!("minatar breakout, sticky {sticky}, {} actions", actions.names().len()),
        })
    }
}
