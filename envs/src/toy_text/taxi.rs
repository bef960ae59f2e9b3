//! Taxi (Dietterich 2000), the table of Gymnasium's `Taxi-v3`.
//!
//! **Rules.** On 5×5 cells with a few walls, fetch the passenger at one of four stands and set them down at another.
//! **Reward.** -1 a step, 20 for the ride, -10 for a pick-up or drop-off that is not possible. **Ending.** The
//! passenger is at the destination; the vectoriser ends an episode after 200 steps.
//! **State.** `((row * 5 + column) * 5 + passenger) * 4 + destination`; passenger 0..=3 waits at a stand, 4 rides.
//! First states are the 300 whose passenger does not wait at the destination, with equal probability.

use super::{Grid, TILE_PX, TableEnv, TableGame};
use crate::env::Env;
use crate::game::Game;
use crate::model::{Outcome, TransitionModel};
use crate::picture::Picture;
use crate::settings::Settings;

const GRID: Grid = Grid { rows: 5, columns: 5 };
const N_STATES: usize = 500;
const N_ACTIONS: usize = 6;
const PICK_UP: usize = 4;
/// Cells of the stands red, green, yellow, blue.
const STANDS: [usize; 4] = [0, 4, 20, 23];
const STAND_COLOURS: [[u8; 3]; 4] = [[214, 84, 72], [104, 170, 100], [226, 196, 84], [84, 132, 200]];
/// The passenger's place while riding.
const IN_TAXI: usize = 4;
/// (rows, columns) of down, up, right, left.
const MOVES: [(isize, isize); 4] = [(1, 0), (-1, 0), (0, 1), (0, -1)];
/// Cells with a wall on their right.
const WALL_ON_THE_RIGHT: [usize; 6] = [1, 6, 15, 17, 20, 22];
const USUAL_LIMIT: u64 = 200;

crate::settings! {
    /// Settings of `taxi`.
    pub struct TaxiSettings {
        /// Time limit of an episode in steps, 0 for none.
        max_steps: u64 = USUAL_LIMIT;
    }
}

impl Settings for TaxiSettings {}

/// The game; see the [module](self).
pub struct Taxi;

/// The variables that the number of a state encodes.
#[derive(Clone, Copy)]
struct Scene {
    taxi: usize,
    passenger: usize,
    destination: usize,
}

impl Scene {
    fn of(state: usize) -> Self {
        Self { taxi: state / 20, passenger: state / 4 % 5, destination: state % 4 }
    }

    fn state(self) -> usize {
        (self.taxi * 5 + self.passenger) * 4 + self.destination
    }

    /// Returns the scene after `action`, the reward, and whether the ride is over.
    fn after(self, action: usize) -> (Self, f64, bool) {
        let Self { taxi, passenger, destination } = self;
        if action < PICK_UP {
            let to = GRID.neighbour(taxi, MOVES[action]);
            let is_blocked = to.abs_diff(taxi) == 1 && WALL_ON_THE_RIGHT.contains(&taxi.min(to));
            return (Self { taxi: if is_blocked { taxi } else { to }, ..self }, -1.0, false);
        }
        let stand = STANDS.iter().position(|&cell| cell == taxi);
        match stand {
            Some(stand) if action == PICK_UP && passenger == stand => {
                (Self { passenger: IN_TAXI, ..self }, -1.0, false)
            }
            Some(stand) if action != PICK_UP && passenger == IN_TAXI => {
                let arrived = stand == destination;
                (Self { passenger: stand, ..self }, if arrived { 20.0 } else { -1.0 }, arrived)
            }
            _ => (self, -10.0, false),
        }
    }
}

fn outcome(state: usize, action: usize) -> Outcome {
    let (scene, reward, terminated) = Scene::of(state).after(action);
    Outcome { probability: 1.0, next_state: scene.state(), reward, terminated }
}

impl TableGame for Taxi {
    const ACTIONS: &'static [&'static str] = &["down", "up", "right", "left", "pick-up", "drop-off"];
    const FACTORS: &'static [&'static str] = &["row", "column", "passenger", "destination"];

    fn model(&self) -> TransitionModel {
        let is_start = |state: usize| {
            let Scene { passenger, destination, .. } = Scene::of(state);
            passenger != IN_TAXI && passenger != destination
        };
        let n_starts = (0..N_STATES).filter(|&state| is_start(state)).count() as f64;
        TransitionModel {
            outcomes: (0..N_STATES * N_ACTIONS).map(|i| vec![outcome(i / N_ACTIONS, i % N_ACTIONS)]).collect(),
            n_actions: N_ACTIONS,
            start: (0..N_STATES).map(|state| if is_start(state) { 1.0 / n_starts } else { 0.0 }).collect(),
        }
    }

    fn factors(&self, state: usize, out: &mut [f32]) {
        let Scene { taxi, passenger, destination } = Scene::of(state);
        GRID.factors(taxi, &mut out[..2]);
        out[2..].copy_from_slice(&[passenger as f32, destination as f32]);
    }

    fn picture(&self, state: usize) -> Picture {
        const PASSENGER: [u8; 3] = [60, 40, 90];
        let Scene { taxi, passenger, destination } = Scene::of(state);
        let mut picture = GRID.picture(|_| [228, 226, 220]);
        for (cell, colour) in STANDS.into_iter().zip(STAND_COLOURS) {
            GRID.mark(&mut picture, cell, 2, colour);
        }
        GRID.mark(&mut picture, STANDS[destination], 13, [255, 255, 255]);
        GRID.mark(&mut picture, taxi, 7, [240, 180, 40]);
        GRID.mark(&mut picture, STANDS.get(passenger).copied().unwrap_or(taxi), 12, PASSENGER);
        for cell in WALL_ON_THE_RIGHT {
            let (row, column) = (cell / GRID.columns, cell % GRID.columns);
            picture.fill_rect((column + 1) * TILE_PX - 2, row * TILE_PX, 4, TILE_PX, [60, 60, 66]);
        }
        picture
    }
}

impl Game for Taxi {
    type Settings = TaxiSettings;

    fn make(_settings: &TaxiSettings) -> Box<dyn Env> {
        Box::new(TableEnv::new(Taxi))
    }

    fn protocol(_settings: &TaxiSettings) -> Option<String> {
        Some("Taxi-v3".to_owned())
    }
}
