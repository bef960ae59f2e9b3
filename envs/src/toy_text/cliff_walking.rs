//! Cliff walking (Sutton & Barto 2018, Example 6.6), the table of Gymnasium's `CliffWalking-v1`.
//!
//! **Rules.** Walk from the lower left to the lower right corner of 4×12 cells. The cells between them are a cliff: a
//! step over it leads back to the start. If the ground is slippery, a move goes straight or to either side with
//! probability 1/3 each. **Reward.** -1 a step, -100 for the cliff. **Ending.** The goal; no time limit. **State.**
//! `row * 12 + column`.

use super::{GOAL, Grid, PLAYER, TableEnv, TableGame};
use crate::env::Env;
use crate::game::Game;
use crate::model::{Outcome, TransitionModel};
use crate::picture::Picture;
use crate::settings::Settings;

const GRID: Grid = Grid { rows: 4, columns: 12 };
const START: usize = 36;
const END: usize = 47;
const CLIFF: std::ops::Range<usize> = START + 1..END;
/// (rows, columns) of up, right, down, left. The neighbours in this list are the sides a move can slip to.
const MOVES: [(isize, isize); 4] = [(-1, 0), (0, 1), (1, 0), (0, -1)];

crate::settings! {
    /// Settings of `cliff-walking`.
    pub struct CliffWalkingSettings {
        /// Whether moves slip to the side.
        slippery: bool = false;
        /// Time limit of an episode in steps, 0 for none.
        max_steps: u64 = 0;
    }
}

impl Settings for CliffWalkingSettings {}

/// The game; see the [module](self).
pub struct CliffWalking {
    slippery: bool,
}

fn arrive(from: usize, direction: usize, probability: f64) -> Outcome {
    let cell = GRID.neighbour(from, MOVES[direction]);
    if CLIFF.contains(&cell) {
        return Outcome { probability, next_state: START, reward: -100.0, terminated: false };
    }
    Outcome { probability, next_state: cell, reward: -1.0, terminated: cell == END }
}

impl TableGame for CliffWalking {
    const ACTIONS: &'static [&'static str] = &["up", "right", "down", "left"];
    const FACTORS: &'static [&'static str] = &["row", "column"];

    fn model(&self) -> TransitionModel {
        let outcomes = |state: usize, action: usize| {
            if self.slippery {
                [action + 3, action, action + 1].map(|way| arrive(state, way % 4, 1.0 / 3.0)).to_vec()
            } else {
                vec![arrive(state, action, 1.0)]
            }
        };
        TransitionModel {
            outcomes: (0..4 * GRID.n_cells()).map(|i| outcomes(i / 4, i % 4)).collect(),
            n_actions: 4,
            start: (0..GRID.n_cells()).map(|cell| if cell == START { 1.0 } else { 0.0 }).collect(),
        }
    }

    fn factors(&self, state: usize, out: &mut [f32]) {
        GRID.factors(state, out);
    }

    fn picture(&self, state: usize) -> Picture {
        let mut picture = GRID.picture(|cell| match cell {
            END => GOAL,
            cell if CLIFF.contains(&cell) => [74, 62, 58],
            _ => [214, 206, 178],
        });
        GRID.mark(&mut picture, state, 9, PLAYER);
        picture
    }
}

impl Game for CliffWalking {
    type Settings = CliffWalkingSettings;

    fn make(settings: &CliffWalkingSettings) -> Box<dyn Env> {
        Box::new(TableEnv::new(CliffWalking { slippery: settings.slippery }))
    }

    fn protocol(settings: &CliffWalkingSettings) -> Option<String> {
        let name = if settings.slippery { "CliffWalkingSlippery-v1" } else { "CliffWalking-v1" };
        Some(name.to_owned())
    }
}
