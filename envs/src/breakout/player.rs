//! A player that knows the rules: it predicts where the ball will land and which way to return it brings the most.

use super::knob::Turn;
use super::rules::{LastHit, State};
use super::settings::{self, ActionSet, BreakoutSettings};

/// Rows in which the paddle can meet a ball that comes down.
const REACH: std::ops::RangeInclusive<i32> = 177..=183;
/// Frames in which a ball has come down again, whatever its way.
const LONGEST_FLIGHT: u32 = 1000;
/// Frames before the landing from which on all ways to move the paddle are tried.
const LOOK_AHEAD: u32 = 20;
/// Frames for which one turn of the knob is held when ways are tried; a multiple of the frame skip is.
const HOLD: u32 = 4;
/// Flights to look ahead while none brings points.
const FLIGHTS: u32 = 3;
const TURNS: [Turn; 3] = [Turn::Stay, Turn::Right, Turn::Left];
/// Any hit is better than any miss.
const HIT: f64 = 1000.0;

/// Index of the action to play now. `last_action` is ALE's number of the action that sticky actions repeat.
pub(super) fn action(state: &State, settings: &BreakoutSettings, last_action: u8) -> usize {
    let [fire, right, left] = match settings.action_set {
        ActionSet::Minimal => [1, 2, 3],
        ActionSet::Full => [1, 3, 4],
    };
    if !state.in_play() {
        return fire;
    }
    let skip = settings.frame_skip as u32;
    let (last, _) = settings::effect(last_action);
    match best_turn(state, HOLD.next_multiple_of(skip), skip, last, settings.sticky) {
        Turn::Stay => 0,
        Turn::Right => right,
        Turn::Left => left,
    }
}

fn best_turn(state: &State, hold: u32, skip: u32, last: Turn, sticky: f64) -> Turn {
    let Some((landing, _)) = land(*state) else { return Turn::Stay };
    let frames_left = landing.frame - state.frame;
    // Sticky actions double the ways.
    if frames_left > if sticky == 0.0 { LOOK_AHEAD } else { LOOK_AHEAD / 2 } {
        return approach(state, landing.column() - landing.half_width(), skip);
    }
    let mut search = Search { hold, sticky, landing: landing.frame, flights: Vec::new() };
    // A few frames more, for a paddle that comes from the side while the ball is within reach.
    let depth = (frames_left + 6).div_ceil(hold);
    let values = TURNS.map(|turn| search.value(state, last, turn, depth));
    let best = (0..TURNS.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a)));
    TURNS[best.expect("three turns")]
}

/// The turn that lets the paddle settle nearest to `paddle_x` when held for a step.
fn approach(state: &State, paddle_x: i32, skip: u32) -> Turn {
    let distance = |turn: &Turn| {
        let mut knob = state.knob;
        (0..skip).for_each(|_| knob.turn(*turn));
        (234 - i32::from(knob.reading()) - paddle_x.clamp(55, 191)).abs()
    };
    *TURNS.iter().min_by_key(|turn| distance(turn)).expect("three turns")
}

/// Flies on until the ball comes within the paddle's reach, and counts the points on the way.
fn land(mut state: State) -> Option<(State, u32)> {
    let mut points = 0;
    for _ in 0..LONGEST_FLIGHT {
        if !state.in_play() {
            return None;
        }
        if state.vy > 0 && state.row() >= *REACH.start() {
            return Some((state, points));
        }
        points += u32::from(state.advance(Turn::Stay, false));
    }
    None
}

struct Search {
    hold: u32,
    sticky: f64,
    /// Frame at which the ball comes within reach.
    landing: u32,
    /// Value of the flights that start like this.
    flights: Vec<((u16, u16, i16, i16), f64)>,
}

impl Search {
    /// What is to be expected of `turn` now, after `last`, and the best turns after it.
    fn value(&mut self, state: &State, last: Turn, turn: Turn, depth: u32) -> f64 {
        let at_once = self.value_of_delayed(*state, last, turn, 0, depth);
        if turn == last || self.sticky == 0.0 {
            return at_once;
        }
        // Longer delays are rare.
        let a_frame_late = self.value_of_delayed(*state, last, turn, 1, depth);
        (1.0 - self.sticky) * at_once + self.sticky * a_frame_late
    }

    fn value_of_delayed(&mut self, mut state: State, last: Turn, turn: Turn, delay: u32, depth: u32) -> f64 {
        for frame in 0..self.hold {
            state.advance(if frame < delay { last } else { turn }, false);
            if state.last_hit == LastHit::Paddle && state.vy < 0 {
                return HIT + self.flight(&state);
            }
            if !state.in_play() || state.row() > *REACH.end() {
                return -off(&state);
            }
        }
        if depth <= 1 {
            return -off(&state);
        }
        TURNS.map(|next| self.value(&state, turn, next, depth - 1)).into_iter().fold(f64::MIN, f64::max)
    }

    fn flight(&mut self, state: &State) -> f64 {
        let start = (state.x, state.y, state.vx, state.vy);
        if let Some((_, value)) = self.flights.iter().find(|(known, _)| *known == start) {
            return *value;
        }
        let value = flight_value(state, FLIGHTS) + whim(self.landing, state);
        self.flights.push((start, value));
        value
    }
}

/// Less than any points, and another at every hit: where no flight in sight brings points, this one is not tried for ever.
/// The same for as long as the ball comes down to land at frame `landing`, so that the paddle does not waver.
fn whim(landing: u32, hit: &State) -> f64 {
    let seed = u64::from(landing) << 32 | u64::from(hit.x) << 16 | u64::from(hit.vx as u16);
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    0.2 * mixed as f64 / f64::from(1 << 24)
}

/// How far the paddle's middle is from the ball.
fn off(state: &State) -> f64 {
    f64::from((state.column() - i32::from(state.paddle_x) - state.half_width()).abs())
}

/// Points of the flight that begins, or, where it brings none, of the best that can follow it.
fn flight_value(state: &State, flights: u32) -> f64 {
    const LATER: f64 = 0.05;
    let Some((landing, points)) = land(*state) else { return 0.0 };
    if points > 0 || flights <= 1 {
        return f64::from(points);
    }
    LATER * returns(&landing).map(|hit| flight_value(&hit, flights - 1)).fold(0.0, f64::max)
}

/// The ways to return a ball: with either side of the paddle, far from its middle or near it, or with the middle itself.
fn returns(landing: &State) -> impl Iterator<Item = State> {
    let half = landing.half_width();
    [half - 5, half - 2, half, half + 2, half + 5].into_iter().filter_map(move |dx| {
        let paddle_x = u8::try_from(landing.column() - dx).ok().filter(|x| (55..=191).contains(x))?;
        let mut hit = State { paddle_x, ..*landing };
        hit.advance(Turn::Stay, false);
        Some(hit)
    })
}
