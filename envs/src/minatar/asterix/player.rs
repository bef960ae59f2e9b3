//! A player that knows where everything will be. It goes to the treasure that it can touch first, on a way on which it
//! meets no enemy, and keeps to the middle while there is none.

use super::{Action, Asterix, FIRST_LANE, LANES, LAST, LAST_LANE, Plane, Rules, lanes_of};

/// Number of steps to look ahead.
const HORIZON: usize = 30;
/// The cells where the player waits for treasure.
const MIDDLE: Plane = Plane::block([3, 6], [3, 6]);

/// Outlook of a step: cells on which an enemy may touch the player, and those on which a treasure will.
#[derive(Clone, Copy)]
struct Forecast {
    danger: Plane,
    treasure: Plane,
}

/// The action to play now.
pub(super) fn action(state: &Asterix) -> Action {
    let forecasts = forecast(*state);
    // Cells after each step from which the player can go on to the horizon; `safe[0]` is before the first.
    let mut safe = [LANES; HORIZON + 1];
    for t in (0..HORIZON).rev() {
        safe[t] = spread(safe[t + 1] & !forecasts[t].danger);
    }
    let goal = |wanted: &dyn Fn(usize) -> Plane| first_step(state, &forecasts, &safe, wanted);
    goal(&|t| forecasts[t].treasure).or_else(|| goal(&|_| MIDDLE)).or_else(|| goal(&|_| LANES)).unwrap_or(Action::Noop)
}

/// Returns the first step of the shortest safe way to a cell that is `wanted` at its time, if there is one.
fn first_step(
    state: &Asterix,
    forecasts: &[Forecast; HORIZON],
    safe: &[Plane; HORIZON + 1],
    wanted: &dyn Fn(usize) -> Plane,
) -> Option<Action> {
    let allowed = |t: usize| safe[t + 1] & !forecasts[t].danger;
    let mut reached = Plane::cell(state.x, state.y);
    let end = (0..HORIZON).find(|&t| {
        reached = spread(reached) & allowed(t);
        reached.meets(wanted(t))
    })?;
    // From the goal back to the cells after the first step.
    let mut goal = wanted(end) & allowed(end);
    for t in (0..end).rev() {
        goal = spread(goal) & allowed(t);
    }
    Asterix::MINIMAL.iter().copied().find(|action| goal.meets(after(state, *action)))
}

/// Returns what the next steps bring if the player touches nothing.
fn forecast(mut state: Asterix) -> [Forecast; HORIZON] {
    std::array::from_fn(|_| {
        let (enemies, treasures) = (state.enemies.all(), state.treasures.all());
        let mut forecast = Forecast { danger: enemies, treasure: treasures };
        let (moves, spawns) = (state.move_t == 0, state.spawn_t == 0);
        if moves {
            (state.enemies, state.treasures) = (state.enemies.moved(), state.treasures.moved());
            state.move_t = state.move_gap;
            forecast.danger |= state.enemies.all();
            forecast.treasure |= state.treasures.all();
        }
        if spawns {
            // An enemy may enter any empty lane, from either side.
            state.spawn_t = state.spawn_gap;
            let reach = i8::from(moves);
            let edges = Plane::block([0, reach], [0, LAST]) | Plane::block([LAST - reach, LAST], [0, LAST]);
            let busy = lanes_of(enemies | treasures);
            let empty = (FIRST_LANE..=LAST_LANE).filter(|lane| busy >> (lane - FIRST_LANE) & 1 == 0);
            empty.for_each(|lane| forecast.danger |= edges & Plane::row(lane));
        }
        state.spawn_t -= 1;
        state.move_t -= 1;
        forecast
    })
}

/// The cells that a player on `cells` can be on after a step.
fn spread(cells: Plane) -> Plane {
    (cells | cells.left() | cells.right() | cells.up() | cells.down()) & LANES
}

/// The player's cell after `action`.
fn after(state: &Asterix, action: Action) -> Plane {
    let (x, y) = (state.x + action.dx(), state.y + action.dy());
    Plane::cell(x.clamp(0, LAST), y.clamp(FIRST_LANE, LAST_LANE))
}
