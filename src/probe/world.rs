//! The true state of environments on which encoders are probed: position of the ball, and classes of positions.

use crate::generative::data::image_space::images;
use anyhow::{Result, bail};
use carom_envs::{EnvSpec, ObsSpace};
use tch::{Kind, Tensor};

/// Rows and columns of Atari's screen, the unit of the factors of `breakout`.
const SCREEN: [f32; 2] = [210.0, 160.0];
/// From the ball's upper left corner, its position in the factors of `breakout`, to its middle. It has 4 rows and 2
/// columns.
const BALL_MIDDLE: [f32; 2] = [2.0, 1.0];
/// Rows of the screen in which the ball is visible. A lost ball is in play for some frames below them.
const SHOWN_ROWS: std::ops::RangeInclusive<f32> = 30.0..=193.0;

/// Factors and image format of an environment.
pub(super) struct World {
    env: String,
    space: ObsSpace,
    /// Indices of factors.
    ball_x: usize,
    ball_y: usize,
    velocity: [usize; 2],
    paddle_x: usize,
    bricks: usize,
}

impl World {
    /// Returns the world of environment `env`.
    ///
    /// # Errors
    /// When the environment has no ball, paddle and bricks.
    pub(super) fn of(env: &EnvSpec) -> Result<Self> {
        let (made, env) = (env.make(), env.id());
        let names = made.factor_names();
        let at = |name: &str| names.iter().position(|known| *known == name);
        let velocity = at("ball_dx").zip(at("ball_dy")).or(at("ball_vx").zip(at("ball_vy")));
        let found = (at("ball_x"), at("ball_y"), velocity, at("paddle_x"), at("bricks_left"));
        let (Some(ball_x), Some(ball_y), Some((dx, dy)), Some(paddle_x), Some(bricks)) = found else {
            bail!("{env} has no ball, paddle and bricks to look for: use minatar/breakout or breakout");
        };
        let space = made.obs_space();
        Ok(Self { env: env.to_string(), space, ball_x, ball_y, velocity: [dx, dy], paddle_x, bricks })
    }

    /// Converts frames to images `[n, channels, rows, columns]` in 0..=1.
    pub(super) fn images(&self, frames: &[u8]) -> Tensor {
        let space = self.space.image().expect("frames are images");
        images(space, 1, &Tensor::from_slice(frames)).contiguous()
    }

    /// Returns the plane of the ball, or `None` for gray images.
    pub(super) fn ball_plane(&self) -> Option<i64> {
        matches!(self.space, ObsSpace::Planes { .. }).then_some(1)
    }

    /// Returns row and column of the ball's middle in pixels of the image (the first pixel's middle is at ½), or `None`
    /// if no ball is in play or visible.
    pub(super) fn ball(&self, factors: &[f32]) -> Option<[f32; 2]> {
        let [y, x] = [factors[self.ball_y], factors[self.ball_x]];
        match self.space {
            ObsSpace::Pixels { shape } => SHOWN_ROWS.contains(&y).then(|| {
                let place = |i: usize, at: f32| (at + BALL_MIDDLE[i]) * shape[i] as f32 / SCREEN[i];
                [place(0, y), place(1, x)]
            }),
            _ => Some([y + 0.5, x + 0.5]),
        }
    }

    /// Returns the tolerance of the ball's position in rows and in columns: a cell, or 2 pixels.
    pub(super) fn tolerance(&self) -> f32 {
        if self.ball_plane().is_some() { 1.0 } else { 2.0 }
    }

    /// Returns the classes of the ball's column, `i64 [n]`, and the number of classes.
    pub(super) fn ball_x(&self, factors: &Tensor) -> (Tensor, i64) {
        self.binned(factors, self.ball_x, 1)
    }

    /// Returns the classes of the ball's row, and the number of classes.
    pub(super) fn ball_y(&self, factors: &Tensor) -> (Tensor, i64) {
        self.binned(factors, self.ball_y, 0)
    }

    /// Returns the classes of the paddle's column, and the number of classes.
    pub(super) fn paddle_x(&self, factors: &Tensor) -> (Tensor, i64) {
        self.binned(factors, self.paddle_x, 1)
    }

    /// Returns the classes of the ball's direction (right or left, down or up), and the number of classes.
    pub(super) fn direction(&self, factors: &Tensor) -> (Tensor, i64) {
        let is_positive = |factor: usize| factors.select(1, factor as i64).gt(0.0).to_kind(Kind::Int64);
        (is_positive(self.velocity[0]) * 2 + is_positive(self.velocity[1]), 4)
    }

    /// Returns the number of bricks left, `[n]`.
    pub(super) fn bricks(&self, factors: &Tensor) -> Tensor {
        factors.select(1, self.bricks as i64)
    }

    /// Bins a position along rows (0) or columns (1).
    fn binned(&self, factors: &Tensor, factor: usize, along: usize) -> (Tensor, i64) {
        let Bins { first, width, n } = self.bins(along);
        let bins = ((factors.select(1, factor as i64) - first) / width).floor();
        (bins.clamp(0.0, (n - 1) as f64).to_kind(Kind::Int64), n)
    }

    fn bins(&self, along: usize) -> Bins {
        match self.space {
            ObsSpace::Planes { shape } => Bins { first: 0.0, width: 1.0, n: shape[along] as i64 },
            // The play field: columns 8..152 and rows 32..196 of the screen.
            _ => [Bins { first: 32.0, width: 12.0, n: 14 }, Bins { first: 8.0, width: 12.0, n: 12 }][along],
        }
    }

    /// Describes the classes.
    pub(super) fn classes(&self) -> String {
        let [rows, columns] = [0, 1].map(|along| self.bins(along).n);
        match self.space {
            ObsSpace::Planes { .. } => format!("{columns} columns and {rows} rows of {}, four diagonals", self.env),
            _ => format!(
                "{columns} columns and {rows} rows of 12x12 pixels of {}'s 210x160 screen, four diagonals from two \
                 frames",
                self.env
            ),
        }
    }
}

#[derive(Clone, Copy)]
struct Bins {
    first: f64,
    width: f64,
    n: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::{Values, registry};

    fn spec(env: &str) -> EnvSpec {
        registry::resolve(env, &Values::new()).expect("an environment")
    }

    fn world(env: &str) -> World {
        World::of(&spec(env)).expect("an environment with a ball")
    }

    #[test]
    fn a_ball_is_where_the_frame_shows_it() {
        let planes = world("minatar/breakout");
        assert_eq!(planes.ball(&[3.0, 7.0, 1.0, 1.0, 0.0, 30.0, 0.0]), Some([7.5, 3.5]));
        let pixels = world("breakout");
        // Its middle is in column 81 of 160 and row 102 of 210.
        let mut factors = [0.0; 15];
        assert_eq!(pixels.ball(&factors), None, "none is in play");
        factors[..2].copy_from_slice(&[80.0, 100.0]);
        let [row, column] = pixels.ball(&factors).expect("a ball");
        assert!((row - 102.0 * 0.4).abs() < 1e-4 && (column - 81.0 * 0.525).abs() < 1e-4, "{row}, {column}");
    }

    #[test]
    fn places_are_binned_over_the_field_and_directions_by_their_signs() {
        let pixels = world("breakout");
        let factors = |x: f32, y: f32, vx: f32, vy: f32| {
            let mut factors = [0.0; 15];
            factors[..5].copy_from_slice(&[x, y, vx, vy, x]);
            Tensor::from_slice(&factors).view([1, 15])
        };
        for (x, y, column, row) in [(8.0, 32.0, 0, 0), (19.9, 44.0, 0, 1), (20.0, 195.0, 1, 13), (151.0, 30.0, 11, 0)] {
            let factors = factors(x, y, 0.0, 0.0);
            let class = |(labels, _): (Tensor, i64)| labels.int64_value(&[0]);
            assert_eq!((class(pixels.ball_x(&factors)), class(pixels.ball_y(&factors))), (column, row), "at {x}, {y}");
            assert_eq!(class(pixels.paddle_x(&factors)), column);
        }
        for (vx, vy, expected) in [(-1.0, -1.0, 0), (-1.0, 1.0, 1), (1.0, -1.0, 2), (1.0, 1.0, 3)] {
            let (labels, n) = pixels.direction(&factors(0.0, 0.0, vx, vy));
            assert_eq!((labels.int64_value(&[0]), n), (expected, 4));
        }
    }

    #[test]
    fn without_a_ball_there_is_nothing_to_look_for() {
        let message = World::of(&spec("taxi")).err().expect("no ball").to_string();
        assert!(message.contains("taxi has no ball"), "{message}");
    }
}
