//! The true state of environments on which encoders are probed: what is asked of a code, and where the ball is, or the
//! player of a game without a ball.

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

/// Questions to a code, as far as an environment has the factors.
const QUESTIONS: [Question; 14] = [
    Question { name: "ball x", key: "ball_x_f1", factors: &["ball_x"], kind: Asked::Place(1) },
    Question { name: "ball y", key: "ball_y_f1", factors: &["ball_y"], kind: Asked::Place(0) },
    Question { name: "direction", key: "direction_f1", factors: &["ball_dx", "ball_dy"], kind: Asked::Direction },
    Question { name: "direction", key: "direction_f1", factors: &["ball_vx", "ball_vy"], kind: Asked::Direction },
    Question { name: "paddle", key: "paddle_x_f1", factors: &["paddle_x"], kind: Asked::Place(1) },
    Question { name: "player x", key: "player_x_f1", factors: &["player_x"], kind: Asked::Place(1) },
    Question { name: "player y", key: "player_y_f1", factors: &["player_y"], kind: Asked::Place(0) },
    Question { name: "aliens x", key: "aliens_x_f1", factors: &["aliens_x"], kind: Asked::Place(1) },
    Question { name: "car 4 x", key: "car_4_x_f1", factors: &["car_4_x"], kind: Asked::Place(1) },
    Question { name: "bricks", key: "bricks_r2", factors: &["bricks_left"], kind: Asked::Amount },
    Question { name: "aliens", key: "aliens_r2", factors: &["aliens_left"], kind: Asked::Amount },
    Question { name: "enemies", key: "enemies_r2", factors: &["enemies"], kind: Asked::Amount },
    Question { name: "fish", key: "fish_r2", factors: &["fish"], kind: Asked::Amount },
    Question { name: "air", key: "air_r2", factors: &["air"], kind: Asked::Amount },
];

/// A question to a code.
#[derive(Clone, Copy)]
pub(super) struct Question {
    /// Heading of its column.
    pub name: &'static str,
    /// Name of its score in JSON.
    pub key: &'static str,
    factors: &'static [&'static str],
    pub kind: Asked,
}

/// The kind of an answer.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Asked {
    /// A binned position along rows (0) or columns (1). Its score is macro F1.
    Place(usize),
    /// One of four diagonals. Its score is macro F1. The codes of two frames answer it.
    Direction,
    /// A number. Its score is R².
    Amount,
}

/// Factors and image format of an environment.
pub(super) struct World {
    env: String,
    space: ObsSpace,
    /// Questions, each with the indices of its factors.
    questions: Vec<(Question, Vec<usize>)>,
    /// Indices of the ball's column and row, if there is a ball.
    ball: Option<[usize; 2]>,
}

impl World {
    /// Returns the world of environment `env`.
    ///
    /// # Errors
    /// When the environment has neither a ball nor a player on a board.
    pub(super) fn of(env: &EnvSpec) -> Result<Self> {
        let (made, env) = (env.make(), env.id());
        let names = made.factor_names();
        let at = |name: &str| names.iter().position(|known| *known == name);
        let known = QUESTIONS.iter().filter_map(|question| {
            let factors: Option<Vec<usize>> = question.factors.iter().map(|name| at(name)).collect();
            Some((*question, factors?))
        });
        let questions: Vec<_> = known.collect();
        let (space, ball) = (made.obs_space(), at("ball_x").zip(at("ball_y")).map(|(x, y)| [x, y]));
        let is_board = matches!(space, ObsSpace::Planes { .. }) && (at("player_x").or(at("player_y"))).is_some();
        if ball.is_none() && !is_board || space.image().is_none() {
            bail!("{env} has no ball and no player to look for: use breakout or a MinAtar game, e.g. minatar/breakout");
        }
        Ok(Self { env: env.to_string(), space, questions, ball })
    }

    /// Returns the questions, in the order of their columns.
    pub(super) fn questions(&self) -> impl Iterator<Item = Question> {
        self.questions.iter().map(|(question, _)| *question)
    }

    /// Returns the name of what is looked for in images.
    pub(super) fn object(&self) -> &'static str {
        if self.ball.is_some() { "ball" } else { "player" }
    }

    /// Converts frames to images `[n, channels, rows, columns]` in 0..=1.
    pub(super) fn images(&self, frames: &[u8]) -> Tensor {
        let space = self.space.image().expect("frames are images");
        images(space, 1, &Tensor::from_slice(frames)).contiguous()
    }

    /// Returns the plane of the ball or the player, or `None` for gray images.
    pub(super) fn plane(&self) -> Option<i64> {
        matches!(self.space, ObsSpace::Planes { .. }).then_some(i64::from(self.ball.is_some()))
    }

    /// Returns row and column of the middle of the ball or the player in pixels of the image (the first pixel's middle
    /// is at ½), or `None` if none is in play or visible.
    pub(super) fn place(&self, factors: &[f32], frame: &[u8]) -> Option<[f32; 2]> {
        match (&self.space, self.ball) {
            (&ObsSpace::Planes { shape: [_, columns, channels] }, _) => {
                let plane = self.plane()? as usize;
                let cell = frame.iter().skip(plane).step_by(channels).position(|&value| value != 0)?;
                Some([(cell / columns) as f32 + 0.5, (cell % columns) as f32 + 0.5])
            }
            (&ObsSpace::Pixels { shape }, Some([x, y])) => SHOWN_ROWS.contains(&factors[y]).then(|| {
                let place = |i: usize, at: f32| (at + BALL_MIDDLE[i]) * shape[i] as f32 / SCREEN[i];
                [place(0, factors[y]), place(1, factors[x])]
            }),
            _ => None,
        }
    }

    /// Returns the tolerance of a place in rows and in columns: a cell, or 2 pixels.
    pub(super) fn tolerance(&self) -> f32 {
        if self.plane().is_some() { 1.0 } else { 2.0 }
    }

    /// Returns the classes that `factors`, `[n, n_factors]`, answer a question with, `i64 [n]`, and the number of
    /// classes. A direction's classes are: right or left, each down or up.
    ///
    /// # Panics
    /// When the question asks for an amount.
    pub(super) fn classes_of(&self, question: Question, factors: &Tensor) -> (Tensor, i64) {
        let at = self.factors_of(question);
        match question.kind {
            Asked::Place(along) => self.binned(factors, at[0], along),
            Asked::Direction => {
                let is_positive = |factor: usize| factors.select(1, factor as i64).gt(0.0).to_kind(Kind::Int64);
                (is_positive(at[0]) * 2 + is_positive(at[1]), 4)
            }
            Asked::Amount => panic!("{} is not asked by classes", question.name),
        }
    }

    /// Returns the amounts that `factors` answer a question with, `[n]`.
    pub(super) fn amounts_of(&self, question: Question, factors: &Tensor) -> Tensor {
        factors.select(1, self.factors_of(question)[0] as i64)
    }

    fn factors_of(&self, question: Question) -> &[usize] {
        let found = self.questions.iter().find(|(known, _)| known.key == question.key);
        found.map(|(_, factors)| factors.as_slice()).expect("a question of this world")
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
            ObsSpace::Planes { .. } if self.ball.is_none() => {
                format!("{columns} columns and {rows} rows of {}", self.env)
            }
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
        let mut frame = [0; 400];
        frame[4 * 73 + 1] = 1;
        assert_eq!((planes.place(&[], &frame), planes.object()), (Some([7.5, 3.5]), "ball"));
        let pixels = world("breakout");
        // Its middle is in column 81 of 160 and row 102 of 210.
        let mut factors = [0.0; 15];
        assert_eq!(pixels.place(&factors, &[]), None, "none is in play");
        factors[..2].copy_from_slice(&[80.0, 100.0]);
        let [row, column] = pixels.place(&factors, &[]).expect("a ball");
        assert!((row - 102.0 * 0.4).abs() < 1e-4 && (column - 81.0 * 0.525).abs() < 1e-4, "{row}, {column}");
    }

    #[test]
    fn games_without_a_ball_are_asked_for_their_player() {
        for (env, keys) in [
            ("minatar/asterix", vec!["player_x_f1", "player_y_f1", "enemies_r2"]),
            ("minatar/freeway", vec!["player_y_f1", "car_4_x_f1"]),
            ("minatar/seaquest", vec!["player_x_f1", "player_y_f1", "fish_r2", "air_r2"]),
            ("minatar/space-invaders", vec!["player_x_f1", "aliens_x_f1", "aliens_r2"]),
        ] {
            let world = world(env);
            assert_eq!(world.questions().map(|question| question.key).collect::<Vec<_>>(), keys, "{env}");
            assert_eq!((world.object(), world.plane()), ("player", Some(0)));
        }
    }

    #[test]
    fn places_are_binned_over_the_field_and_directions_by_their_signs() {
        let pixels = world("breakout");
        let [ball_x, ball_y, direction, paddle] = [0, 1, 2, 3].map(|i| pixels.questions[i].0);
        let factors = |x: f32, y: f32, vx: f32, vy: f32| {
            let mut factors = [0.0; 15];
            factors[..5].copy_from_slice(&[x, y, vx, vy, x]);
            Tensor::from_slice(&factors).view([1, 15])
        };
        for (x, y, column, row) in [(8.0, 32.0, 0, 0), (19.9, 44.0, 0, 1), (20.0, 195.0, 1, 13), (151.0, 30.0, 11, 0)] {
            let factors = factors(x, y, 0.0, 0.0);
            let class = |question| pixels.classes_of(question, &factors).0.int64_value(&[0]);
            assert_eq!((class(ball_x), class(ball_y)), (column, row), "at {x}, {y}");
            assert_eq!(class(paddle), column);
        }
        for (vx, vy, expected) in [(-1.0, -1.0, 0), (-1.0, 1.0, 1), (1.0, -1.0, 2), (1.0, 1.0, 3)] {
            let (labels, n) = pixels.classes_of(direction, &factors(0.0, 0.0, vx, vy));
            assert_eq!((labels.int64_value(&[0]), n), (expected, 4));
        }
    }

    #[test]
    fn without_a_ball_there_is_nothing_to_look_for() {
        let message = World::of(&spec("taxi")).err().expect("no ball").to_string();
        assert!(message.contains("taxi has no ball"), "{message}");
    }
}
