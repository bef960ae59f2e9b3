//! The 4×4 gridworld of Sutton & Barto 2018, Example 4.1.
//!
//! **Rules.** Walk to the upper left or the lower right corner. A move off the grid has no effect. **Reward.** -1 a
//! step. **Ending.** Either corner. **State.** `row * 4 + column`. **Differences.** The two corners are one terminal
//! state in the book and two here (0 and 15). The book gives no first state; here an episode begins in any other cell
//! with equal probability, and the vectoriser ends it after 100 steps. The values of the uniformly random policy are
//! those of the book's Figure 4.1 (0, -14, -20, -22, ...).

use super::{GOAL, Grid, PLAYER, TableEnv, TableGame};
use crate::env::Env;
use crate::game::Game;
use crate::model::{Outcome, TransitionModel};
use crate::picture::Picture;
use crate::settings::Settings;

const GRID: Grid = Grid { rows: 4, columns: 4 };
const ENDS: [usize; 2] = [0, 15];
/// (rows, columns) of up, down, right, left, the book's order.
const MOVES: [(isize, isize); 4] = [(-1, 0), (1, 0), (0, 1), (0, -1)];
const USUAL_LIMIT: u64 = 100;

crate::settings! {
    /// Settings of `gridworld`.
    pub struct GridworldSettings {
        /// Time limit of an episode in steps, 0 for none.
        max_steps: u64 = USUAL_LIMIT;
    }
}

impl Settings for GridworldSettings {}

/// The game; see the [module](self).
pub struct Gridworld;

fn outcome(state: usize, action: usize) -> Outcome {
    if ENDS.contains(&state) {
        return Outcome { probability: 1.0, next_state: state, reward: 0.0, terminated: true };
    }
    let next_state = GRID.neighbour(state, MOVES[action]);
    Outcome { probability: 1.0, next_state, reward: -1.0, terminated: ENDS.contains(&next_state) }
}

impl TableGame for Gridworld {
    const ACTIONS: &'static [&'static str] = &["up", "down", "right", "left"];
    const FACTORS: &'static [&'static str] = &["row", "column"];

    fn model(&self) -> TransitionModel {
        let n_states = GRID.n_cells();
        let start = 1.0 / (n_states - ENDS.len()) as f64;
        TransitionModel {
            outcomes: (0..4 * n_states).map(|i| vec![outcome(i / 4, i % 4)]).collect(),
            n_actions: 4,
            start: (0..n_states).map(|cell| if ENDS.contains(&cell) { 0.0 } else { start }).collect(),
        }
    }

    fn factors(&self, state: usize, out: &mut [f32]) {
        GRID.factors(state, out);
    }

    fn picture(&self, state: usize) -> Picture {
        let mut picture = GRID.picture(|cell| if ENDS.contains(&cell) { GOAL } else { [226, 226, 220] });
        GRID.mark(&mut picture, state, 9, PLAYER);
        picture
    }
}

impl Game for Gridworld {
    type Settings = GridworldSettings;

    fn make(_settings: &GridworldSettings) -> Box<dyn Env> {
        Box::new(TableEnv::new(Gridworld))
    }

    fn protocol(_settings: &GridworldSettings) -> Option<String> {
        Some("Sutton & Barto Example 4.1".to_owned())
    }
}
