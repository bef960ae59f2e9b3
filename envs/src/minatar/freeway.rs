//! MinAtar Freeway.
//!
//! **Rules.** The player climbs column 4 from the bottom row to the top, through eight lanes of traffic that wraps
//! around. It can move once in three steps. A car drives one cell once in two to six steps, by its speed. A car that
//! touches the player sends it back to the bottom. At the top the player starts again, in new traffic. **Reward.** 1
//! for a crossing, else 0. **Ending.** After 2501 steps, as a termination. **Channels.** 0 player, 1 cars, 2 to 6 the
//! cell behind each car, by the steps that it waits between two moves.

mod player;

use super::grid::{LAST, SIZE, show};
use super::looks::{ENEMY, Look, PLAYER};
use super::random::{below, uniform};
use super::rules::{Action, Rules};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

const N_CHANNELS: usize = 7;
const N_CARS: usize = 8;
/// Steps between two moves of a car, at most.
const MAX_DELAY: i8 = 5;
/// The player's column.
const COLUMN: i8 = 4;
/// The player moves once in as many steps.
const WAIT: i8 = 3;
const EPISODE: i32 = 2500;

/// The state of the game.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeway {
    /// The player's row.
    y: i8,
    /// Steps until the player can move.
    wait: i8,
    steps_left: i32,
    /// Column of the car in each row from 1 on.
    car_x: [i8; N_CARS],
    /// Its direction: 1 to the right, −1 to the left.
    car_dx: [i8; N_CARS],
    /// Steps that it waits between two moves.
    car_delay: [i8; N_CARS],
    /// Steps until it moves.
    car_t: [i8; N_CARS],
    over: bool,
}

impl Rules for Freeway {
    const NAME: &'static str = "freeway";
    const MINIMAL: &'static [Action] = &[Action::Noop, Action::Up, Action::Down];
    const RAMPS: bool = false;
    const N_CHANNELS: usize = N_CHANNELS;
    /// The trail is the darker, the slower the car.
    const LOOKS: &'static [Look] = &[
        Look { channel: 2, margin: 5, colours: &[[156, 162, 180]] },
        Look { channel: 3, margin: 5, colours: &[[124, 130, 148]] },
        Look { channel: 4, margin: 5, colours: &[[96, 102, 120]] },
        Look { channel: 5, margin: 5, colours: &[[72, 78, 94]] },
        Look { channel: 6, margin: 5, colours: &[[52, 57, 70]] },
        Look { channel: 1, margin: 1, colours: &[ENEMY, [226, 148, 62]] },
        Look { channel: 0, margin: 2, colours: &[PLAYER] },
    ];

    fn new() -> Self {
        Self {
            y: LAST,
            wait: WAIT,
            steps_left: EPISODE,
            car_x: [0; N_CARS],
            car_dx: [1; N_CARS],
            car_delay: [1; N_CARS],
            car_t: [1; N_CARS],
            over: false,
        }
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        *self = Self::new();
        self.change_traffic(rng);
    }

    #[inline]
    fn step(&mut self, action: Action, _ramping: bool, rng: &mut dyn RngCore) -> f32 {
        if self.wait == 0 && action.dy() != 0 {
            self.wait = WAIT;
            self.y = (self.y + action.dy()).clamp(0, LAST);
        }
        let wins = self.y == 0;
        if wins {
            self.change_traffic(rng);
            self.y = LAST;
        }
        self.drive();
        self.wait = (self.wait - 1).max(0);
        self.steps_left -= 1;
        self.over = self.steps_left < 0;
        f32::from(u8::from(wins))
    }

    fn is_over(&self) -> bool {
        self.over
    }

    #[inline]
    fn observe(&self, out: &mut [u8]) {
        show::<N_CHANNELS>(COLUMN, self.y, 0, out);
        for i in 0..N_CARS {
            let (x, dx, delay) = (self.car_x[i], self.car_dx[i], self.car_delay[i]);
            show::<N_CHANNELS>(x, 1 + i as i8, 1, out);
            show::<N_CHANNELS>(wrapped(x - dx), 1 + i as i8, 1 + delay as usize, out);
        }
    }

    /// Positions are in cells. A car's direction is −1 to the left, 1 to the right; its delay and timer are in steps.
    fn factor_names() -> &'static [&'static str] {
        static ALL: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
            let cars = ["x", "dx", "delay", "t"].into_iter().flat_map(|part| (1..=N_CARS).map(move |row| (part, row)));
            let cars = cars.map(|(part, row)| &*format!("car_{row}_{part}").leak());
            ["player_y", "wait", "steps_left"].into_iter().chain(cars).collect()
        });
        &ALL
    }

    fn factors(&self, out: &mut [f32]) {
        let (first, cars) = out.split_at_mut(3);
        first.copy_from_slice(&[f32::from(self.y), f32::from(self.wait), self.steps_left as f32]);
        let numbers = [self.car_x, self.car_dx, self.car_delay, self.car_t];
        cars.iter_mut().zip(numbers.as_flattened()).for_each(|(out, &number)| *out = number.into());
    }

    fn is_possible(&self) -> bool {
        // No car is in the top row, and the player leaves it at once.
        (1..SIZE).contains(&self.y)
            && (0..=WAIT).contains(&self.wait)
            && (-1..=EPISODE).contains(&self.steps_left)
            && self.car_x.iter().all(|x| (0..SIZE).contains(x))
            && self.car_dx.iter().all(|dx| [-1, 1].contains(dx))
            && self.car_delay.iter().all(|delay| (1..=MAX_DELAY).contains(delay))
            && self.car_t.iter().all(|t| (0..=MAX_DELAY).contains(t))
    }

    fn scripted_action(&self) -> Action {
        player::action(self)
    }
}

impl Freeway {
    /// Draws each car's speed and direction. The cars stay where they are.
    fn change_traffic(&mut self, rng: &mut dyn RngCore) {
        self.car_delay = std::array::from_fn(|_| 1 + below(MAX_DELAY as u32, rng) as i8);
        self.car_dx = std::array::from_fn(|_| if uniform(rng) > 0.5 { 1 } else { -1 });
        self.car_t = self.car_delay;
    }

    /// Moves the cars that are due. The player goes back to the bottom if a car is on its cell before or after.
    #[inline]
    fn drive(&mut self) {
        let before = self.car_x;
        // Without branches, which no processor could predict.
        for i in 0..N_CARS {
            let is_due = i8::from(self.car_t[i] == 0);
            self.car_x[i] = wrapped(self.car_x[i] + is_due * self.car_dx[i]);
            self.car_t[i] += is_due * (self.car_delay[i] + 1) - 1;
        }
        // Each car has its own row; the bottom row has none.
        let car = self.y as usize - 1;
        if car < N_CARS && (before[car] == COLUMN || self.car_x[car] == COLUMN) {
            self.y = LAST;
        }
    }
}

/// The column that a car is in after it left the board by one cell.
#[inline]
fn wrapped(x: i8) -> i8 {
    x + SIZE * (i8::from(x < 0) - i8::from(x == SIZE))
}
