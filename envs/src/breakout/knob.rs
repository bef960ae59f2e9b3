//! Section 1: the paddle's knob. Its travel is not a whole number of steps, so the positions reached from each stop
//! differ.

use serde::{Deserialize, Serialize};

/// Direction in which a frame turns the knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// One step left.
    Left,
    /// None.
    Stay,
    /// One step right.
    Right,
}

/// Position of the knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knob {
    /// Position that its steps are counted from.
    pub from: Stop,
    /// Number of steps away from there: -16 to 16, to the right, from [`Stop::Start`], else 0 to 33.
    pub steps: i8,
}

/// Position that the knob's steps are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// Its position at the reset.
    Start,
    /// The left stop.
    Left,
    /// The right stop.
    Right,
}

/// Steps from the start to either stop.
const FROM_START: i8 = 16;
/// Steps from one stop to the other.
const FROM_STOP: i8 = 33;

/// Readings of the machine, from 16 steps left of the start to 16 steps right of it.
const START_READINGS: [u8; 33] = [
    180, 174, 168, 164, 158, 152, 146, 140, 134, 128, 122, 116, 112, 106, 100, 94, 88, 82, 76, 72, 66, 60, 54, 48, 44,
    38, 32, 26, 22, 16, 0, 0, 0,
];
/// Readings from the right stop leftwards.
const RIGHT_READINGS: [u8; 34] = [
    0, 0, 0, 12, 18, 24, 28, 34, 40, 46, 50, 56, 62, 68, 74, 80, 84, 90, 96, 102, 108, 114, 120, 126, 130, 136, 142,
    148, 154, 160, 166, 172, 178, 182,
];
/// Readings from the left stop rightwards.
const LEFT_READINGS: [u8; 34] = [
    184, 178, 172, 166, 160, 154, 150, 144, 138, 132, 126, 120, 114, 108, 104, 98, 92, 86, 80, 74, 68, 64, 58, 52, 46,
    40, 34, 30, 24, 18, 12, 0, 0, 0,
];

impl Knob {
    /// Position after a reset.
    pub const START: Self = Self { from: Stop::Start, steps: 0 };

    /// Whether the steps are within the knob's travel.
    pub(super) fn is_possible(self) -> bool {
        let travel = match self.from {
            Stop::Start => -FROM_START..=FROM_START,
            Stop::Left | Stop::Right => 0..=FROM_STOP,
        };
        travel.contains(&self.steps)
    }

    /// Reading of the machine: large at the left.
    ///
    /// # Panics
    /// When the steps are outside the knob's travel.
    #[inline]
    pub const fn reading(self) -> u8 {
        match self.from {
            Stop::Start => START_READINGS[(FROM_START + self.steps) as usize],
            Stop::Left => LEFT_READINGS[self.steps as usize],
            Stop::Right => RIGHT_READINGS[self.steps as usize],
        }
    }

    /// Turns it by one step. After a step that reaches a stop, steps are counted from that stop.
    #[inline]
    pub fn turn(&mut self, turn: Turn) {
        let Self { from, steps } = *self;
        let (outwards, inwards, other) = match from {
            Stop::Start => return self.turn_from_start(turn),
            Stop::Left => (Turn::Left, Turn::Right, Stop::Right),
            Stop::Right => (Turn::Right, Turn::Left, Stop::Left),
        };
        if turn == outwards {
            self.steps = (steps - 1).max(0);
        } else if turn == inwards {
            *self = if steps == FROM_STOP { Self { from: other, steps: 0 } } else { Self { from, steps: steps + 1 } };
        }
    }

    fn turn_from_start(&mut self, turn: Turn) {
        match (turn, self.steps) {
            (Turn::Right, FROM_START) => *self = Self { from: Stop::Right, steps: 0 },
            (Turn::Right, _) => self.steps += 1,
            (Turn::Left, steps) if steps == -FROM_START => *self = Self { from: Stop::Left, steps: 0 },
            (Turn::Left, _) => self.steps -= 1,
            (Turn::Stay, _) => {}
        }
    }
}
