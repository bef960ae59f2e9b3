//! Breakout, frame for frame the Atari 2600 game as the Arcade Learning Environment (ALE) plays it.
//!
//! **Rules.** A knob moves the paddle along the bottom. FIRE serves a ball, which the paddle returns to a wall of six
//! rows of 18 bricks. A brick that is hit disappears, and the ball then passes through bricks until it has touched
//! paddle or ceiling. The ball gets faster with paddle hits and with hits of upper bricks. The paddle gets narrower
//! once the ball has touched the ceiling. **Reward.** 7, 7, 4, 4, 1, 1 points for a brick, by row from the top. When
//! all bricks are gone, a second wall comes; no score is above 864. **Ending.** The fifth ball is lost. There is no
//! time limit, but after 65,536 frames the game takes the ball away for good. **Observation.** 84×84 gray pixels: the
//! maximum of a step's last two frames, shrunk as OpenCV's `INTER_AREA` does it.
//!
//! The usual preprocessing is part of the game here and is set by [`BreakoutSettings`]. **Differences** from
//! Gymnasium's `AtariPreprocessing`: a step in which the game ends (or a life, if that ends an episode) plays all its
//! frames and observes its own last two. Gymnasium's stops early and shows older ones.
//!
//! Written from observations of the machine from outside; no byte of its program is here.

mod area;
mod field;
mod knob;
mod observation;
mod palette;
mod player;
mod rules;
mod screen;
mod settings;

pub use field::{BRICK_COLUMNS, BRICK_ROWS, HEIGHT, WIDTH};
pub use knob::{Knob, Stop, Turn};
pub use rules::{LastHit, State, TIME_OUT};
pub use settings::{ActionSet, BreakoutSettings, Protocol};

use crate::bricks;
use crate::env::{Env, RestoreError, Step};
use crate::game::{EvaluationRules, Game};
use crate::picture::Picture;
use crate::space::ObsSpace;
use area::SIDE;
use observation::Backdrop;
use rand::{Rng, RngCore};
use screen::Screen;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::LazyLock;

/// ALE's numbers of the actions that a reset plays.
const NOOP: u8 = 0;
const FIRE: u8 = 1;
const RIGHT: u8 = 3;

/// The factors before the single bricks.
const FACTORS: [&str; 15] = [
    "ball_x",
    "ball_y",
    "ball_vx",
    "ball_vy",
    "paddle_x",
    "paddle_width",
    "bricks_left",
    "lives",
    "score",
    "bricks_row_0",
    "bricks_row_1",
    "bricks_row_2",
    "bricks_row_3",
    "bricks_row_4",
    "bricks_row_5",
];

/// The game; see the [module](self).
#[derive(Clone)]
pub struct Breakout {
    settings: BreakoutSettings,
    memory: Memory,
    backdrop: Backdrop,
}

/// State of a saved game.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    now: State,
    /// The previous frame. The observation shows the brighter of the two in every pixel.
    before: State,
    /// ALE's number of the action that a sticky action repeats.
    last_action: u8,
    /// The latest step lost a life that counts as the end of an episode.
    life_lost: bool,
}

impl Memory {
    const START: Self = Self { now: State::START, before: State::START, last_action: NOOP, life_lost: false };

    /// Whether every part of a restored state is in its range, so that no step can fail.
    fn is_possible(&self) -> bool {
        self.now.is_possible()
            && self.before.is_possible()
            && ActionSet::Full.codes().contains(&self.last_action)
            && (!self.life_lost || self.now.lives > 0)
    }
}

impl Breakout {
    /// The game right after a reset without no-ops.
    pub fn new(settings: &BreakoutSettings) -> Self {
        let memory = Memory::START;
        Self { settings: settings.clone(), memory, backdrop: Backdrop::new(Screen::of(&memory.now)) }
    }

    /// State after the latest frame.
    pub fn state(&self) -> &State {
        &self.memory.now
    }

    /// Settings of the game.
    pub fn settings(&self) -> &BreakoutSettings {
        &self.settings
    }

    /// Sets the state after the latest frame, and after the previous one to the same.
    ///
    /// # Panics
    /// Now or in a later step, when a field of `state` is outside its range.
    pub fn set_state(&mut self, state: State) {
        (self.memory.now, self.memory.before) = (state, state);
        self.show();
    }

    /// Returns the present frame in gray, `HEIGHT * WIDTH` bytes, as ALE's `getScreenGrayscale` does.
    pub fn gray(&self) -> Vec<u8> {
        screen::paint_gray(&Screen::of(&self.memory.now))
    }

    /// Plays one frame of ALE's action `code` and returns its points. With sticky actions, the machine keeps the action
    /// of the frame before if the draw is below `sticky`.
    #[inline]
    fn frame(&mut self, code: u8, rng: &mut dyn RngCore) -> u8 {
        let sticky = self.settings.sticky;
        if sticky == 0.0 || draw(rng) >= sticky {
            self.memory.last_action = code;
        }
        let (turn, fire) = settings::effect(self.memory.last_action);
        self.memory.now.advance(turn, fire)
    }

    /// Plays `code` for the frames of one step.
    #[inline]
    fn play(&mut self, code: u8, rng: &mut dyn RngCore) -> u32 {
        let mut points = 0;
        for _ in 1..self.settings.frame_skip {
            points += u32::from(self.frame(code, rng));
        }
        self.memory.before = self.memory.now;
        points += u32::from(self.frame(code, rng));
        if self.settings.frame_skip == 1 {
            self.memory.before = self.memory.now;
        }
        points
    }

    fn new_game(&mut self, rng: &mut dyn RngCore) {
        self.memory = Memory::START;
        if self.settings.noop_max > 0 {
            for _ in 0..rng.gen_range(1..=self.settings.noop_max) {
                self.frame(NOOP, rng);
            }
        }
        self.memory.before = self.memory.now;
    }

    #[inline]
    fn show(&mut self) {
        let Memory { now, before, .. } = &self.memory;
        self.backdrop.show(Screen::of(before), Screen::of(now));
    }
}

/// Draws uniformly from [0, 1) as ALE does. ALE draws twice a frame, the second time for an idle second player.
fn draw(rng: &mut dyn RngCore) -> f64 {
    let word = rng.next_u32();
    rng.next_u32();
    f64::from(word) / 4_294_967_296.0
}

impl Env for Breakout {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Pixels { shape: [SIDE, SIDE] }
    }

    fn action_names(&self) -> &[&'static str] {
        self.settings.action_set.names()
    }

    /// Starts a new game. After a lost life that ended the episode, continues the same game after a step of no-op.
    fn reset(&mut self, rng: &mut dyn RngCore) {
        if self.goes_on() {
            self.memory.life_lost = false;
            self.play(NOOP, rng);
        } else {
            self.new_game(rng);
        }
        if self.settings.fire_reset {
            self.play(FIRE, rng);
            self.play(RIGHT, rng);
        }
        self.show();
    }

    fn step(&mut self, action: usize, rng: &mut dyn RngCore) -> Step {
        let code = self.settings.action_set.codes()[action];
        let lives = self.memory.now.lives;
        let points = self.play(code, rng);
        self.show();
        let left = self.memory.now.lives;
        self.memory.life_lost = self.settings.life_loss_terminal && left < lives && left > 0;
        Step { reward: points as f32, terminated: left == 0 || self.memory.life_lost }
    }

    fn goes_on(&self) -> bool {
        self.memory.life_lost
    }

    fn observe(&self, out: &mut [u8]) {
        self.backdrop.observe(out.try_into().expect("an observation of breakout has 84 * 84 bytes"));
    }

    /// Positions are on the screen, with fractions: `ball_x` and `paddle_x` are the left column, `ball_y` is the top
    /// row. Speeds are pixels a frame, to the right and down. Without a ball its four factors are 0. A brick is 1 while
    /// it stands, else 0.
    fn factor_names(&self) -> &[&'static str] {
        static NAMES: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| bricks::factor_names(&FACTORS, BRICK_ROWS, BRICK_COLUMNS));
        &NAMES
    }

    fn factors(&self, out: &mut [f32]) {
        let state = &self.memory.now;
        let pixels = |fixed: i32| fixed as f32 / 256.0;
        if state.in_play() {
            out[0] = pixels(i32::from(state.x)) - 49.0;
            out[1] = pixels(i32::from(state.y)) + 9.0;
            out[2] = pixels(-i32::from(state.vx));
            out[3] = pixels(i32::from(state.vy));
        } else {
            out[..4].fill(0.0);
        }
        out[4] = f32::from(state.paddle_x) - 47.0;
        out[5] = 2.0 * state.half_width() as f32;
        out[6] = state.bricks_left() as f32;
        out[7] = f32::from(state.lives);
        out[8] = f32::from(state.score);
        let (rows, bricks) = out[9..].split_at_mut(BRICK_ROWS);
        for ((out, bricks), row) in rows.iter_mut().zip(bricks.chunks_exact_mut(BRICK_COLUMNS)).zip(state.bricks) {
            *out = row.count_ones() as f32;
            bricks.iter_mut().enumerate().for_each(|(column, out)| *out = (row >> column & 1) as f32);
        }
    }

    fn save(&self) -> Value {
        serde_json::to_value(self.memory).expect("a state of plain numbers is JSON")
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        let memory = Memory::deserialize(state)?;
        if !memory.is_possible() {
            return Err(RestoreError::unreadable("a number out of range"));
        }
        self.memory = memory;
        self.show();
        Ok(())
    }

    fn picture(&self) -> Option<Picture> {
        let rgb = screen::paint_rgb(&Screen::of(&self.memory.now));
        Some(Picture { width: WIDTH, height: HEIGHT, rgb })
    }

    fn scripted_action(&self) -> Option<usize> {
        Some(player::action(&self.memory.now, &self.settings, self.memory.last_action))
    }
}

impl Game for Breakout {
    type Settings = BreakoutSettings;

    const TRAINING_ONLY: &'static [&'static str] = &["life_loss_terminal", "reward_clip"];

    fn make(settings: &BreakoutSettings) -> Box<dyn Env> {
        Box::new(Breakout::new(settings))
    }

    fn protocol(settings: &BreakoutSettings) -> Option<String> {
        Some(settings.protocol_name())
    }

    fn evaluation_rules(settings: &BreakoutSettings) -> EvaluationRules {
        settings.evaluation_rules()
    }
}

#[cfg(test)]
mod tests;
