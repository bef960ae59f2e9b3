//! Frozen lake, the table of Gymnasium's `FrozenLake-v1`.
//!
//! **Rules.** Walk over the ice from the upper left to the lower right corner. On slippery ice a move goes straight or
//! to either side with probability 1/3 each. **Reward.** 1 at the goal, else 0. **Ending.** The goal or a hole; the
//! vectoriser ends an episode after 100 (4×4) or 200 (8×8) steps. **State.** `row * columns + column`.

use super::{GOAL, Grid, PLAYER, TableEnv, TableGame};
use crate::env::Env;
use crate::game::Game;
use crate::model::{Outcome, TransitionModel};
use crate::picture::Picture;
use crate::settings::Settings;
use serde::{Deserialize, Serialize};

/// (rows, columns) of left, down, right, up. The neighbours in this list are the sides a move can slip to.
const MOVES: [(isize, isize); 4] = [(0, -1), (1, 0), (0, 1), (-1, 0)];

crate::settings! {
    /// Settings of `frozen-lake`.
    pub struct FrozenLakeSettings {
        /// Map of the lake.
        map: Map = Map::Small;
        /// Whether the ice is slippery.
        slippery: bool = true;
        /// Time limit of an episode in steps, 0 for none; unless given, 100 on the small map and 200 on the large one.
        max_steps: u64 = Map::Small.usual_limit();
    }
}

impl Settings for FrozenLakeSettings {
    const DERIVED: &'static [&'static str] = &["max_steps"];

    fn derive(&mut self, is_given: &dyn Fn(&str) -> bool) {
        if !is_given("max_steps") {
            self.max_steps = self.map.usual_limit();
        }
    }
}

/// Gymnasium's two named lakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Map {
    /// Four by four tiles, four holes.
    #[serde(rename = "4x4")]
    Small,
    /// Eight by eight tiles, ten holes.
    #[serde(rename = "8x8")]
    Large,
}

impl Map {
    /// S start, F frozen, H hole, G goal.
    fn tiles(self) -> &'static [u8] {
        match self {
            Map::Small => b"SFFFFHFHFFFHHFFG",
            Map::Large => b"SFFFFFFFFFFFFFFFFFFHFFFFFFFFFHFFFFFHFFFFFHHFFFHFFHFFHFHFFFFHFFFG",
        }
    }

    fn grid(self) -> Grid {
        let side = self.tiles().len().isqrt();
        Grid { rows: side, columns: side }
    }

    fn usual_limit(self) -> u64 {
        match self {
            Map::Small => 100,
            Map::Large => 200,
        }
    }
}

/// The game; see the [module](self).
pub struct FrozenLake {
    map: Map,
    slippery: bool,
}

impl FrozenLake {
    fn arrive(&self, from: usize, direction: usize, probability: f64) -> Outcome {
        let next_state = self.map.grid().neighbour(from, MOVES[direction]);
        let tile = self.map.tiles()[next_state];
        let reward = if tile == b'G' { 1.0 } else { 0.0 };
        Outcome { probability, next_state, reward, terminated: matches!(tile, b'G' | b'H') }
    }

    fn outcomes(&self, state: usize, action: usize) -> Vec<Outcome> {
        // As in Gymnasium, whose probability of a side is not the same `f64` as 1/3.
        const STRAIGHT: f64 = 1.0 / 3.0;
        const ASIDE: f64 = (1.0 - STRAIGHT) / 2.0;
        if matches!(self.map.tiles()[state], b'G' | b'H') {
            return vec![Outcome { probability: 1.0, next_state: state, reward: 0.0, terminated: true }];
        }
        if !self.slippery {
            return vec![self.arrive(state, action, 1.0)];
        }
        let [before, after] = [(action + 3) % 4, (action + 1) % 4];
        [(before, ASIDE), (action, STRAIGHT), (after, ASIDE)].map(|(way, p)| self.arrive(state, way, p)).to_vec()
    }
}

impl TableGame for FrozenLake {
    const ACTIONS: &'static [&'static str] = &["left", "down", "right", "up"];
    const FACTORS: &'static [&'static str] = &["row", "column"];

    fn model(&self) -> TransitionModel {
        let tiles = self.map.tiles();
        TransitionModel {
            outcomes: (0..4 * tiles.len()).map(|i| self.outcomes(i / 4, i % 4)).collect(),
            n_actions: 4,
            start: tiles.iter().map(|&tile| if tile == b'S' { 1.0 } else { 0.0 }).collect(),
        }
    }

    fn factors(&self, state: usize, out: &mut [f32]) {
        self.map.grid().factors(state, out);
    }

    fn picture(&self, state: usize) -> Picture {
        let grid = self.map.grid();
        let mut picture = grid.picture(|cell| match self.map.tiles()[cell] {
            b'H' => [52, 86, 128],
            b'G' => GOAL,
            b'S' => [196, 214, 228],
            _ => [222, 236, 244],
        });
        grid.mark(&mut picture, state, 9, PLAYER);
        picture
    }
}

impl Game for FrozenLake {
    type Settings = FrozenLakeSettings;

    fn make(&FrozenLakeSettings { map, slippery, .. }: &FrozenLakeSettings) -> Box<dyn Env> {
        Box::new(TableEnv::new(FrozenLake { map, slippery }))
    }

    fn protocol(settings: &FrozenLakeSettings) -> Option<String> {
        let name = match settings.map {
            Map::Small => "FrozenLake-v1",
            Map::Large => "FrozenLake8x8-v1",
        };
        let ice = if settings.slippery { "" } else { ", not slippery" };
        Some(format!("{name}{ice}"))
    }
}
