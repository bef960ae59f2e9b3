//! The rules of one frame, sections 0 to 7 of the description this game was written from.
//!
//! Positions and speeds are those of the machine: 8.8 fixed point, `y` down, `x` right, but `vx` positive to the LEFT.
//! Section numbers in the comments are of that description: 1 paddle, 2 launch, 3 velocities, 4 collisions, 5 walls of
//! bricks, 6 losing the ball, 7 the time-out.

use super::field::{BRICK_COLUMNS, BRICK_ROWS, Ball};
use super::knob::{Knob, Turn};
use serde::{Deserialize, Serialize};

/// The frame in which the game ends itself (section 7).
pub const TIME_OUT: u32 = 65_536;

const FULL_ROW: u32 = (1 << BRICK_COLUMNS) - 1;
/// Points of the first wall.
const WALL_POINTS: u16 = 432;
/// Points of a brick, by row from the top.
const POINTS: [u8; BRICK_ROWS] = [7, 7, 4, 4, 1, 1];
/// A pixel in 8.8 fixed point.
const ONE: i16 = 1 << 8;

/// The whole game after a frame: plain numbers, copied, saved and compared. Steps and pictures of a state whose fields
/// are outside the ranges given here can panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Frames since the reset.
    pub frame: u32,
    /// The paddle's knob.
    pub knob: Knob,
    /// Latest reading of the knob, [`Knob::reading`].
    pub reading: u8,
    /// Position of the paddle, 55 at the left to 191 at the right.
    pub paddle_x: u8,
    /// The paddle is 12 columns wide instead of 16.
    pub small: bool,
    /// Ball, rightwards.
    pub x: u16,
    /// Ball, downwards; below 256 there is no ball in play.
    pub y: u16,
    /// Speed of the ball to the left, a frame.
    pub vx: i16,
    /// Speed of the ball downwards, a frame.
    pub vy: i16,
    /// Counter of paddle hits that sets the speed: 0 to 12, or 16 once a brick of the upper three rows was hit.
    pub speed: u8,
    /// The thing that the ball touched last, which it does not touch again.
    pub last_hit: LastHit,
    /// The last paddle hit was near the paddle's middle.
    pub inner: bool,
    /// Lives left, 5 at most. At 0 the game is over and nothing changes any more.
    pub lives: u8,
    /// Points, 864 at most.
    pub score: u16,
    /// One word for each row from the top; bit `c` is set while the brick of column `c` stands.
    pub bricks: [u32; BRICK_ROWS],
    /// The next frame begins with a new wall.
    pub rebuild: bool,
    /// Score in the picture: that of the frame before.
    pub shown_score: u16,
    /// Lives in the picture.
    pub shown_lives: u8,
}

/// The thing that the ball touched last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastHit {
    /// Nothing since the launch, or the ceiling.
    Open,
    /// The paddle.
    Paddle,
    /// A brick.
    Brick,
}

impl Default for State {
    fn default() -> Self {
        Self::START
    }
}

impl State {
    /// The state after a reset: the same for every game.
    pub const START: Self = Self {
        frame: 0,
        knob: Knob::START,
        reading: Knob::START.reading(),
        paddle_x: 146,
        small: false,
        x: 0,
        y: 0,
        vx: 0,
        vy: 0,
        speed: 0,
        last_hit: LastHit::Open,
        inner: false,
        lives: 5,
        score: 0,
        bricks: [FULL_ROW; BRICK_ROWS],
        rebuild: false,
        shown_score: 0,
        shown_lives: 5,
    };

    /// Plays one frame and returns the points it brought.
    #[inline]
    pub fn advance(&mut self, turn: Turn, fire: bool) -> u8 {
        if self.lives == 0 {
            return 0;
        }
        (self.shown_score, self.shown_lives) = (self.score, self.lives);
        let paddle_was = self.paddle_x;
        self.follow_knob();
        self.knob.turn(turn);
        self.reading = self.knob.reading();
        let is_new_wall = std::mem::take(&mut self.rebuild);
        if is_new_wall {
            self.bricks = [FULL_ROW; BRICK_ROWS];
        }
        let mut points = 0;
        if self.frame >= TIME_OUT - 1 {
            self.time_out();
        } else if !self.in_play() {
            if fire {
                self.launch();
            }
        } else if self.row() >= 208 {
            self.lose_ball();
        } else {
            if !is_new_wall {
                points = self.collide(paddle_was);
            }
            self.x = self.x.wrapping_add_signed(-self.vx);
            self.y = self.y.wrapping_add_signed(self.vy);
        }
        self.frame += 1;
        points
    }

    /// Whether there is a ball.
    #[inline]
    pub fn in_play(&self) -> bool {
        self.row() != 0
    }

    /// Whether the game has ended itself (section 7).
    pub fn timed_out(&self) -> bool {
        self.frame >= TIME_OUT
    }

    /// Number of bricks that stand.
    pub fn bricks_left(&self) -> u32 {
        self.bricks.iter().map(|row| row.count_ones()).sum()
    }

    /// Whether every part is in its range and fits the others, so that no frame and no picture can fail. A ball may be
    /// anywhere: it flies back into the field or is lost.
    pub(super) fn is_possible(&self) -> bool {
        /// Bounds a count without an end of its own; no game lasts as long.
        const MAX_FRAMES: u32 = 1 << 31;
        let speeds = (self.vx.wrapping_abs(), self.vy.wrapping_abs());
        self.frame <= MAX_FRAMES
            && self.knob.is_possible()
            && self.reading == self.knob.reading()
            && (55..=191).contains(&self.paddle_x)
            && matches!(self.speed, 0..=12 | 16)
            && (speeds == self.speeds() || speeds == (0, 0) && !self.in_play())
            && (self.lives..=Self::START.lives).contains(&self.shown_lives)
            && self.shown_score <= self.score
            && self.is_wall_possible()
    }

    /// Whether the bricks are a wall's, the score is that of the bricks gone from the first or the second wall, and a
    /// new wall is due only between the two.
    fn is_wall_possible(&self) -> bool {
        let points = |(row, points): (&u32, u8)| (FULL_ROW & !row).count_ones() as u16 * u16::from(points);
        let points: u16 = self.bricks.iter().zip(POINTS).map(points).sum();
        self.bricks.iter().all(|row| row & !FULL_ROW == 0)
            && [points, WALL_POINTS + points].contains(&self.score)
            && (!self.rebuild || self.score == WALL_POINTS)
    }

    /// Whole part of the ball's `x`.
    #[inline]
    pub(super) fn column(&self) -> i32 {
        i32::from(self.x >> 8)
    }

    /// Whole part of the ball's `y`.
    #[inline]
    pub(super) fn row(&self) -> i32 {
        i32::from(self.y >> 8)
    }

    /// Half the paddle's width.
    #[inline]
    pub(super) fn half_width(&self) -> i32 {
        if self.small { 6 } else { 8 }
    }

    /// Section 1: the paddle moves half the way to the knob's position in the frame before.
    #[inline]
    fn follow_knob(&mut self) {
        let target = 234 - i32::from(self.reading);
        self.paddle_x = ((i32::from(self.paddle_x) + target + 1) >> 1).clamp(55, 191) as u8;
    }

    /// Section 2. The fractions of the position are those of the last ball when it was lost.
    fn launch(&mut self) {
        let (column, vx) = [(127, ONE), (129, -ONE), (191, ONE), (65, -ONE)][self.frame as usize & 3];
        self.x = column << 8 | self.x & 0xFF;
        self.y = 113 << 8 | self.y & 0xFF;
        (self.vx, self.vy) = (vx, ONE);
        (self.speed, self.last_hit) = (0, LastHit::Open);
    }

    /// Section 3: the size of `vx` and `vy`.
    #[inline]
    fn speeds(&self) -> (i16, i16) {
        const HALF: i16 = ONE / 2;
        match (self.speed, self.inner) {
            (0, _) => (ONE, ONE),
            (1..=3, false) => (3 * HALF, ONE),
            (1..=3, true) => (ONE, 3 * HALF),
            (4..=7, false) => (3 * HALF, 2 * ONE),
            (4..=7, true) => (HALF, 2 * ONE),
            (8..=11, _) => (2 * ONE, ONE),
            (12, _) => (2 * ONE, 2 * ONE),
            _ => (2 * ONE, 864),
        }
    }

    /// Section 4: paddle, bricks or ceiling, which are in different rows, and then the side walls. All collisions
    /// depend on the last picture.
    #[inline]
    fn collide(&mut self, paddle_was: u8) -> u8 {
        let (x, y) = (self.column(), self.row());
        let mut points = 0;
        match y {
            177..=183 if self.last_hit != LastHit::Paddle => self.hit_paddle(x - i32::from(paddle_was)),
            46..=84 if self.last_hit != LastHit::Brick => points = self.hit_brick(x, y),
            ..25 => self.hit_ceiling(),
            _ => {}
        }
        self.hit_walls(x, y);
        points
    }

    fn hit_paddle(&mut self, dx: i32) {
        let half = self.half_width();
        if !(1..=2 * half + 1).contains(&dx) {
            return;
        }
        if self.speed < 12 {
            self.speed += 1;
        }
        self.last_hit = LastHit::Paddle;
        self.inner = (dx - half).abs() <= 4;
        if dx == half {
            self.x = self.x.wrapping_add_signed(if self.vx > 0 { 4 * ONE } else { -4 * ONE });
        }
        let (vx, vy) = self.speeds();
        self.vx = if dx <= half { vx } else { -vx };
        self.vy = if self.vy > 0 { -vy } else { vy };
        self.rebuild = self.score == WALL_POINTS;
    }

    fn hit_brick(&mut self, x: i32, y: i32) -> u8 {
        let row = ((y - 50).max(0) / 6) as usize;
        // Bricks of the top row are hit one pixel further right than they are drawn.
        let column = (x - if row == 0 { 58 } else { 57 }).max(0) as usize / 8;
        let stands = x >= 56 && column < BRICK_COLUMNS && self.bricks[row] >> column & 1 == 1;
        if !stands || !Ball::at(x, y).is_some_and(|ball| ball.meets(&self.bricks)) {
            return 0;
        }
        self.bricks[row] &= !(1 << column);
        if row <= 2 {
            self.speed = 16;
        }
        self.last_hit = LastHit::Brick;
        let (vx, vy) = self.speeds();
        self.vx = if self.vx > 0 { vx } else { -vx };
        self.vy = if self.vy > 0 { -vy } else { vy };
        self.score += u16::from(POINTS[row]);
        POINTS[row]
    }

    fn hit_ceiling(&mut self) {
        self.vy = -self.vy;
        self.last_hit = LastHit::Open;
        self.small = true;
    }

    /// Below the rows tested here the ball is not drawn, and passes the walls.
    #[inline]
    fn hit_walls(&mut self, x: i32, y: i32) {
        let left = x <= 56 && self.vx > 0 && y <= 186;
        let right = x >= 200 && self.vx < 0 && y <= 185;
        if left || right {
            self.vx = -self.vx;
        }
    }

    /// Section 6.
    fn lose_ball(&mut self) {
        self.y &= 0xFF;
        (self.vx, self.vy, self.speed, self.last_hit, self.small) = (0, 0, 0, LastHit::Open, false);
        self.lives -= 1;
    }

    /// Section 7: there is no ball any more.
    fn time_out(&mut self) {
        self.y &= 0xFF;
        (self.vx, self.vy, self.small) = (0, 0, false);
    }
}
