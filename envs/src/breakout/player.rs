//! A player that knows the rules. It predicts where the ball will land, and returns it the way that brings the most
//! points.

use super::knob::Turn;
use super::rules::{LastHit, State};
use super::settings::{self, ActionSet, BreakoutSettings};

/// Rows of the ball in which the paddle can return it.
const REACH: std::ops::RangeInclusive<i32> = 177..=183;
/// Bound on the frames until a ball comes down again.
const LONGEST_FLIGHT: u32 = 1000;
/// Number of frames before the landing at which the player begins to try all ways to move the paddle.
const LOOK_AHEAD: u32 = 20;
/// Minimum number of frames for which a tried turn of the knob is held. It is rounded up to whole steps.
const HOLD: u32 = 4;
/// Number of flights to look ahead while none brings points.
const FLIGHTS: u32 = 3;
const TURNS: [Turn; 3] = [Turn::Stay, Turn::Right, Turn::Left];
/// Value of a hit: above all points, so that any hit is better than any miss.
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
    // Sticky actions double the number of ways.
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

/// Plays on until the ball comes within the paddle's reach. Returns that state and the points on the way.
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
    /// Expected value of playing `turn` now, after `last`, and the best turns after it.
    fn value(&mut self, state: &State, last: Turn, turn: Turn, depth: u32) -> f64 {
        let at_once = self.value_of_delayed(*state, last, turn, 0, depth);
        if turn == last || self.sticky == 0.0 {
            return at_once;
        }
        // Longer delays are rare, and ignored.
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
                return -distance_to_ball(&state);
            }
        }
        if depth <= 1 {
            return -distance_to_ball(&state);
        }
        TURNS.map(|next| self.value(&state, turn, next, depth - 1)).into_iter().fold(f64::MIN, f64::max)
    }

    fn flight(&mut self, state: &State) -> f64 {
        let start = (state.x, state.y, state.vx, state.vy);
        if let Some((_, value)) = self.flights.iter().find(|(known, _)| *known == start) {
            return *value;
        }
        let value = flight_value(state, FLIGHTS) + tie_break(self.landing, state);
        self.flights.push((start, value));
        value
    }
}

/// Returns a pseudo-random value below that of any points, which differs between hits. Without it, the player would
/// repeat the same flight for ever if none in sight brings points. It is the same for all frames before a landing at
/// frame `landing`, so that the paddle does not waver.
fn tie_break(landing: u32, hit: &State) -> f64 {
    let seed = u64::from(landing) << 32 | u64::from(hit.x) << 16 | u64::from(hit.vx as u16);
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    0.2 * mixed as f64 / f64::from(1 << 24)
}

/// Distance between the paddle's middle and the ball.
fn distance_to_ball(state: &State) -> f64 {
    f64::from((state.column() - i32::from(state.paddle_x) - state.half_width()).abs())
}

/// Points of the flight that begins, or, if it brings none, discounted points of the best flight after it.
fn flight_value(state: &State, flights: u32) -> f64 {
    const DISCOUNT: f64 = 0.05;
    let Some((landing, points)) = land(*state) else { return 0.0 };
    if points > 0 || flights <= 1 {
        return f64::from(points);
    }
    DISCOUNT * returns(&landing).map(|hit| flight_value(&hit, flights - 1)).fold(0.0, f64::max)
}

/// States after each way to return the ball: with either side of the paddle, near its edge or near its middle, or with
/// the middle itself.
fn returns(landing: &State) -> impl Iterator<Item = State> {
    let half = landing.half_width();
    [half - 5, half - 2, half, half + 2, half + 5].into_iter().filter_map(move |dx| {
        let paddle_x = u8::try_from(landing.column() - dx).ok().filter(|x| (55..=191).contains(x))?;
        let mut hit = State { paddle_x, ..*landing };
        hit.advance(Turn::Stay, false);
        Some(hit)
    })
}
