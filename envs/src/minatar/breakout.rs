//! MinAtar Breakout.
//!
//! **Rules.** The paddle slides along the bottom row and returns a ball that moves one cell diagonally a step. Three
//! rows of ten bricks hang below the top row. A brick that is hit disappears and the ball turns; the next brick counts
//! only after a step that touches none. When the ball reaches the bottom row and all bricks are gone, there is a new
//! wall. **Reward.** 1 for a brick, else 0. **Ending.** The ball reaches the bottom row beside the paddle. No time
//! limit. **Channels.** 0 paddle, 1 ball, 2 trail (the ball's last cell), 3 bricks.

mod player;

use super::grid::{LAST, SIZE, show};
use super::looks::{Look, PLAYER, SHOT, TRAIL};
use super::rules::{Action, Rules};
use crate::bricks;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// The row of the paddle.
const BOTTOM: i8 = LAST;
/// Bricks hang in rows 1..=3; bit `10 * (row - 1) + column` is set while a brick is left.
const FIRST_BRICK_ROW: i8 = 1;
const N_BRICKS: usize = 30;
const ALL_BRICKS: u32 = (1 << N_BRICKS) - 1;
const N_CHANNELS: usize = 4;

/// The state of the game.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breakout {
    x: i8,
    y: i8,
    dx: i8,
    dy: i8,
    last_x: i8,
    last_y: i8,
    paddle: i8,
    bricks: u32,
    /// The last step struck a brick, so the next brick that is touched does not count.
    strike: bool,
    over: bool,
}

impl Rules for Breakout {
    const NAME: &'static str = "breakout";
    const MINIMAL: &'static [Action] = &[Action::Noop, Action::Left, Action::Right];
    const RAMPS: bool = false;
    const N_CHANNELS: usize = N_CHANNELS;
    const LOOKS: &'static [Look] = &[
        Look { channel: 3, margin: 1, colours: &[[224, 196, 84], [214, 84, 72], [226, 148, 62]] },
        Look { channel: 2, margin: 5, colours: &[TRAIL] },
        Look { channel: 0, margin: 1, colours: &[PLAYER] },
        Look { channel: 1, margin: 3, colours: &[SHOT] },
    ];

    fn new() -> Self {
        Self::first(false)
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        *self = Self::first(rng.next_u32() & 1 == 1);
    }

    #[inline]
    fn step(&mut self, action: Action, _ramping: bool, _rng: &mut dyn RngCore) -> f32 {
        self.paddle = (self.paddle + action.dx()).clamp(0, LAST);
        self.move_ball()
    }

    fn is_over(&self) -> bool {
        self.over
    }

    #[inline]
    fn observe(&self, out: &mut [u8]) {
        let bricks = &mut out[N_CHANNELS * (FIRST_BRICK_ROW * SIZE) as usize..][..N_BRICKS * N_CHANNELS];
        for (i, brick) in bricks.chunks_exact_mut(N_CHANNELS).enumerate() {
            // One word a cell, its highest byte the brick channel: this compiles to vector compares and stores.
            let word = if self.bricks & (1 << i) != 0 { 1_u32 << 24 } else { 0 };
            brick.copy_from_slice(&word.to_le_bytes());
        }
        show::<N_CHANNELS>(self.paddle, BOTTOM, 0, out);
        show::<N_CHANNELS>(self.x, self.y, 1, out);
        show::<N_CHANNELS>(self.last_x, self.last_y, 2, out);
    }

    /// Positions are in cells, speeds in cells a step. A brick is 1 while it stands, else 0.
    fn factor_names() -> &'static [&'static str] {
        const NAMES: [&str; 7] = ["ball_x", "ball_y", "ball_dx", "ball_dy", "paddle_x", "bricks_left", "strike"];
        static ALL: LazyLock<Vec<&'static str>> = LazyLock::new(|| bricks::factor_names(&NAMES, 3, SIZE as usize));
        &ALL
    }

    fn factors(&self, out: &mut [f32]) {
        let Self { x, y, dx, dy, paddle, .. } = *self;
        out[..5].copy_from_slice(&[x, y, dx, dy, paddle].map(f32::from));
        out[5] = self.bricks.count_ones() as f32;
        out[6] = f32::from(u8::from(self.strike));
        out[7..].iter_mut().enumerate().for_each(|(i, out)| *out = (self.bricks >> i & 1) as f32);
    }

    fn is_possible(&self) -> bool {
        let cells = [self.x, self.y, self.last_x, self.last_y, self.paddle];
        let speeds = [self.dx, self.dy];
        cells.iter().all(|cell| (0..SIZE).contains(cell))
            && speeds.iter().all(|speed| [-1, 1].contains(speed))
            && self.bricks & !ALL_BRICKS == 0
            // A ball in the bottom row is lost, and no other is.
            && self.over == (self.y == BOTTOM)
    }

    fn scripted_action(&self) -> Action {
        player::action(self)
    }
}

impl Breakout {
    /// The first state of an episode: the ball enters from the right or from the left.
    fn first(from_right: bool) -> Self {
        let (x, dx) = if from_right { (LAST, -1) } else { (0, 1) };
        let (y, dy) = (3, 1);
        Self { x, y, dx, dy, last_x: x, last_y: y, paddle: 4, bricks: ALL_BRICKS, strike: false, over: false }
    }

    /// The bit of the brick at a cell, or 0 if there is none.
    #[inline]
    fn brick_at(&self, x: i8, y: i8) -> u32 {
        let row = y - FIRST_BRICK_ROW;
        if (0..3).contains(&row) { self.bricks & (1 << (row * SIZE + x)) } else { 0 }
    }

    /// Moves the ball by one cell and returns the reward.
    #[inline]
    fn move_ball(&mut self) -> f32 {
        let (old_x, old_y) = (self.x, self.y);
        (self.last_x, self.last_y) = (old_x, old_y);
        let (mut x, mut y) = (old_x + self.dx, old_y + self.dy);
        if !(0..SIZE).contains(&x) {
            x = x.clamp(0, SIZE - 1);
            self.dx = -self.dx;
        }
        let mut reward = 0.0;
        let brick = self.brick_at(x, y);
        if y < 0 {
            y = 0;
            self.dy = -self.dy;
        } else if brick != 0 {
            if !self.strike {
                reward = 1.0;
                self.bricks &= !brick;
                y = old_y;
                self.dy = -self.dy;
            }
        } else if y == BOTTOM {
            if self.bricks == 0 {
                self.bricks = ALL_BRICKS;
            }
            if old_x == self.paddle {
                self.dy = -self.dy;
                y = old_y;
            } else if x == self.paddle {
                (self.dx, self.dy) = (-self.dx, -self.dy);
                y = old_y;
            } else {
                self.over = true;
            }
        }
        self.strike = brick != 0;
        (self.x, self.y) = (x, y);
        reward
    }
}
