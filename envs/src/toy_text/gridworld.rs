//! The 4×4 gridworld of Sutton & Barto 2018, Example 4.1.
//!
//! **Rules.** Walk to the upper left or the lower right corner; a move off the grid stays where it is. **Reward.** -1 a step.
//! **Ending.** Either corner. **State.** `row * 4 + column`. The book's two shaded corners are one terminal state, here they
//! are two (0 and 15); it gives no first state, here an episode begins on any of the other cells alike, and the vectoriser
//! ends it after 100 steps. Under the uniformly random policy the values are the book's Figure 4.1 (0, -14, -20, -22, ...).

use super::{GOAL, Grid, PLAYER, TableEnv, TableGame};
use crate::model::{Outcome, TransitionModel};
use crate::registry::{EnvSettings, Game, cap_suffix};
use crate::{Env, Picture};
use serde::{Deserialize, Serialize};

const GRID: Grid = Grid { rows: 4, columns: 4 };
const ENDS: [usize; 2] = [0, 15];
/// (rows, columns) of up, down, right, left, the book's order.
const MOVES: [(isize, isize); 4] = [(-1, 0), (1, 0), (0, 1), (0, -1)];
const USUAL_LIMIT: u64 = 100;

/// Settings of `gridworld`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Time limit of an episode in steps, 0 for none.
    pub max_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_steps: USUAL_LIMIT }
    }
}

impl EnvSettings for Settings {}

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
    type Settings = Settings;

    fn make(_settings: Settings) -> Box<dyn Env> {
        Box::new(TableEnv::new(Gridworld))
    }

    fn protocol(settings: &Settings) -> String {
        format!("Sutton & Barto Example 4.1{}", cap_suffix(settings.max_steps, USUAL_LIMIT))
    }
}
