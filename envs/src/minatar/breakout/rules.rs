//! The rules of one step: how the ball moves and what it hits.

use serde::{Deserialize, Serialize};

/// Rows and columns of the field.
pub(super) const SIZE: i8 = 10;
/// The row of the paddle.
pub(super) const BOTTOM: i8 = SIZE - 1;
/// Bricks hang in rows 1..=3; bit `10 * (row - 1) + column` is set while a brick is left.
pub(super) const FIRST_BRICK_ROW: i8 = 1;
pub(super) const N_BRICKS: usize = 30;
pub(super) const ALL_BRICKS: u32 = (1 << N_BRICKS) - 1;

/// MinAtar's numbers of the two actions that do anything, and of one that does nothing.
pub(super) const NOOP: u8 = 0;
pub(super) const LEFT: u8 = 1;
pub(super) const RIGHT: u8 = 3;

/// All that changes while playing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) x: i8,
    pub(super) y: i8,
    pub(super) dx: i8,
    pub(super) dy: i8,
    pub(super) last_x: i8,
    pub(super) last_y: i8,
    pub(super) paddle: i8,
    pub(super) bricks: u32,
    /// The last step struck a brick, so the next brick that is touched does not count.
    pub(super) strike: bool,
    pub(super) terminal: bool,
    pub(super) last_action: u8,
}

impl State {
    /// The first state of an episode: the ball enters from the right or from the left.
    pub(super) fn first(from_right: bool, last_action: u8) -> Self {
        let (x, dx) = if from_right { (BOTTOM, -1) } else { (0, 1) };
        let (y, dy) = (3, 1);
        Self {
            x,
            y,
            dx,
            dy,
            last_x: x,
            last_y: y,
            paddle: 4,
            bricks: ALL_BRICKS,
            strike: false,
            terminal: false,
            last_action,
        }
    }

    /// Returns whether everything is in its range.
    pub(super) fn is_possible(&self) -> bool {
        let cells = [self.x, self.y, self.last_x, self.last_y, self.paddle];
        let speeds = [self.dx, self.dy];
        cells.iter().all(|cell| (0..SIZE).contains(cell))
            && speeds.iter().all(|speed| (-1..=1).contains(speed))
            && self.bricks & !ALL_BRICKS == 0
    }

    /// The bit of the brick at a cell, or 0 if there is none.
    #[inline]
    pub(super) fn brick_at(&self, x: i8, y: i8) -> u32 {
        let row = y - FIRST_BRICK_ROW;
        if (0..3).contains(&row) { self.bricks & (1 << (row * SIZE + x)) } else { 0 }
    }

    /// Moves the ball by one cell and returns the reward.
    #[inline]
    pub(super) fn move_ball(&mut self) -> f32 {
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
                self.terminal = true;
            }
        }
        self.strike = brick != 0;
        (self.x, self.y) = (x, y);
        reward
    }
}
