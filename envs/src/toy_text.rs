//! Small worlds with a full transition table: planning is exact, and learning can be compared with it.
//!
//! A [`TableGame`] gives its table and a picture of each state. [`TableEnv`] plays any of them.

pub mod cliff_walking;
pub mod frozen_lake;
pub mod gridworld;
pub mod taxi;

use crate::env::{Env, RestoreError, Step};
use crate::model::{Outcome, TransitionModel};
use crate::picture::Picture;
use crate::space::ObsSpace;
use rand::{Rng, RngCore};
use serde::Deserialize;
use serde_json::Value;

/// A game that is given by a transition table.
pub trait TableGame: Send {
    /// Names of the actions, in the order of their indices.
    const ACTIONS: &'static [&'static str];

    /// Names of the variables that the number of a state encodes.
    const FACTORS: &'static [&'static str];

    /// The transition table.
    fn model(&self) -> TransitionModel;

    /// Writes the variables of `state` to `out`, one for each name.
    fn factors(&self, state: usize, out: &mut [f32]);

    /// Draws `state`.
    fn picture(&self, state: usize) -> Picture;
}

/// An environment that draws outcomes from the table of a game.
///
/// Every reset and every step draws one number in [0, 1), as Gymnasium's toy text does. The table alone decides what
/// follows, also for a step after the end.
pub struct TableEnv<G> {
    game: G,
    model: TransitionModel,
    state: usize,
}

impl<G: TableGame> TableEnv<G> {
    /// The game in one of its first states. [`Env::reset`] draws another.
    pub fn new(game: G) -> Self {
        let model = game.model();
        let state = model.start.iter().position(|&p| p > 0.0).expect("a game has a first state");
        Self { game, model, state }
    }
}

/// Returns the index whose interval `u` in [0, 1) falls into; interval `i` is as long as probability `i`. No index of
/// probability 0 is returned.
fn draw(probabilities: impl Iterator<Item = f64>, u: f64) -> usize {
    let mut sum = 0.0;
    let mut last = 0;
    for (i, p) in probabilities.enumerate().filter(|&(_, p)| p > 0.0) {
        sum += p;
        if sum > u {
            return i;
        }
        last = i;
    }
    // Only reached if the sum is rounded to less than 1.
    last
}

impl<G: TableGame> Env for TableEnv<G> {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Discrete { n: self.model.n_states() }
    }

    fn action_names(&self) -> &[&'static str] {
        G::ACTIONS
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        self.state = draw(self.model.start.iter().copied(), rng.r#gen());
    }

    fn step(&mut self, action: usize, rng: &mut dyn RngCore) -> Step {
        assert!(action < self.model.n_actions, "action {action} of a game with {}", self.model.n_actions);
        let outcomes = self.model.outcomes(self.state, action);
        let Outcome { next_state, reward, terminated, .. } =
            outcomes[draw(outcomes.iter().map(|outcome| outcome.probability), rng.r#gen())];
        self.state = next_state;
        Step { reward: reward as f32, terminated }
    }

    fn observe(&self, out: &mut [u8]) {
        out.copy_from_slice(&(self.state as u32).to_le_bytes());
    }

    fn factor_names(&self) -> &[&'static str] {
        G::FACTORS
    }

    fn factors(&self, out: &mut [f32]) {
        self.game.factors(self.state, out);
    }

    fn save(&self) -> Value {
        self.state.into()
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        let state = usize::deserialize(state)?;
        if state >= self.model.n_states() {
            let n_states = self.model.n_states();
            return Err(RestoreError::unreadable(format_args!("state {state} of a game with {n_states}")));
        }
        self.state = state;
        Ok(())
    }

    fn model(&self) -> Option<&TransitionModel> {
        Some(&self.model)
    }

    fn picture(&self) -> Option<Picture> {
        Some(self.game.picture(self.state))
    }
}

/// A rectangle of cells, numbered row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    rows: usize,
    columns: usize,
}

impl Grid {
    fn n_cells(self) -> usize {
        self.rows * self.columns
    }

    /// The cell one step from `cell` in direction `(rows, columns)`, or `cell` itself if the step leaves the grid.
    fn neighbour(self, cell: usize, (down, right): (isize, isize)) -> usize {
        let row = (cell / self.columns).saturating_add_signed(down).min(self.rows - 1);
        let column = (cell % self.columns).saturating_add_signed(right).min(self.columns - 1);
        row * self.columns + column
    }

    fn factors(self, cell: usize, out: &mut [f32]) {
        out.copy_from_slice(&[(cell / self.columns) as f32, (cell % self.columns) as f32]);
    }

    /// Draws tiles with a seam between them. The tile of a cell has the colour `colour(cell)`.
    fn picture(self, colour: impl Fn(usize) -> [u8; 3]) -> Picture {
        let mut picture = Picture::filled(self.columns * TILE_PX, self.rows * TILE_PX, [250, 250, 248]);
        (0..self.n_cells()).for_each(|cell| self.mark(&mut picture, cell, 1, colour(cell)));
        picture
    }

    /// Draws a square on `cell`, `margin` pixels inside the tile.
    fn mark(self, picture: &mut Picture, cell: usize, margin: usize, colour: [u8; 3]) {
        let (row, column) = (cell / self.columns, cell % self.columns);
        let side = TILE_PX - 2 * margin;
        picture.fill_rect(column * TILE_PX + margin, row * TILE_PX + margin, side, side, colour);
    }
}

const TILE_PX: usize = 32;
const PLAYER: [u8; 3] = [196, 72, 66];
const GOAL: [u8; 3] = [104, 170, 100];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_of_probability_0_is_never_drawn() {
        let almost_1 = 1.0 - f64::EPSILON / 2.0;
        // Rounded, ten tenths sum to the largest number below 1.
        let tenths = [0.1; 10].into_iter().chain([0.0]);
        assert_eq!(draw(tenths, almost_1), 9);
        assert_eq!(draw([0.0, 1.0].into_iter(), 0.0), 1);
    }
}
