//! MinAtar Asterix.
//!
//! **Rules.** The player walks about in eight lanes, the rows 1 to 8. At most one thing crosses each lane, to the left
//! or to the right: treasure or an enemy. One may enter an empty lane every 10 steps, and all move one cell every 5.
//! With the ramp both intervals get shorter, down to 1. **Reward.** 1 for a treasure that is touched, else 0.
//! **Ending.** An enemy is touched. No time limit. **Channels.** 0 player, 1 enemies, 2 trail (the cell behind each
//! mover), 3 treasures.

mod player;

use super::grid::{LAST, Movers, Plane, SIZE, entry, factor_names, show};
use super::looks::{ENEMY, Look, PLAYER, TRAIL, TREASURE};
use super::random::{below, uniform};
use super::rules::{Action, Rules};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

const N_CHANNELS: usize = 4;
const FIRST_LANE: i8 = 1;
const LAST_LANE: i8 = 8;
/// The cells of all lanes.
const LANES: Plane = Plane::block([0, LAST], [FIRST_LANE, LAST_LANE]);
/// The ramp's period is two steps longer than the value that its timer is set to.
const RAMP_TIME: i32 = 100;

/// The state of the game.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asterix {
    x: i8,
    y: i8,
    enemies: Movers,
    treasures: Movers,
    /// Steps until something may enter a lane, and the value that it is set to.
    spawn_t: i32,
    spawn_gap: i32,
    /// Steps until everything moves, and the value that it is set to.
    move_t: i32,
    move_gap: i32,
    ramp_t: i32,
    level: i32,
    over: bool,
}

impl Rules for Asterix {
    const NAME: &'static str = "asterix";
    const MINIMAL: &'static [Action] = &[Action::Noop, Action::Left, Action::Up, Action::Right, Action::Down];
    const RAMPS: bool = true;
    const N_CHANNELS: usize = N_CHANNELS;
    const LOOKS: &'static [Look] = &[
        Look { channel: 2, margin: 6, colours: &[TRAIL] },
        Look { channel: 3, margin: 3, colours: &[TREASURE] },
        Look { channel: 1, margin: 1, colours: &[ENEMY] },
        Look { channel: 0, margin: 2, colours: &[PLAYER] },
    ];

    fn new() -> Self {
        Self {
            x: 5,
            y: 5,
            enemies: Movers::default(),
            treasures: Movers::default(),
            spawn_t: 10,
            spawn_gap: 10,
            move_t: 5,
            move_gap: 5,
            ramp_t: RAMP_TIME,
            level: 0,
            over: false,
        }
    }

    fn reset(&mut self, _rng: &mut dyn RngCore) {
        *self = Self::new();
    }

    #[inline]
    fn step(&mut self, action: Action, ramping: bool, rng: &mut dyn RngCore) -> f32 {
        if self.spawn_t == 0 {
            self.spawn(rng);
            self.spawn_t = self.spawn_gap;
        }
        self.x = (self.x + action.dx()).clamp(0, LAST);
        self.y = (self.y + action.dy()).clamp(FIRST_LANE, LAST_LANE);
        let mut treasures = self.touch();
        if self.move_t == 0 {
            self.move_t = self.move_gap;
            self.enemies = self.enemies.moved();
            self.treasures = self.treasures.moved();
            treasures += self.touch();
        }
        self.spawn_t -= 1;
        self.move_t -= 1;
        if ramping && (self.spawn_gap > 1 || self.move_gap > 1) {
            self.ramp();
        }
        treasures as f32
    }

    fn is_over(&self) -> bool {
        self.over
    }

    #[inline]
    fn observe(&self, out: &mut [u8]) {
        show::<N_CHANNELS>(self.x, self.y, 0, out);
        self.enemies.show::<N_CHANNELS>(1, out);
        (self.enemies.behind() | self.treasures.behind()).show::<N_CHANNELS>(2, out);
        self.treasures.show::<N_CHANNELS>(3, out);
    }

    /// Positions are in cells. A mover is −1 to the left, 1 to the right, and 0 where there is none.
    fn factor_names() -> &'static [&'static str] {
        const NAMES: [&str; 10] = [
            "player_x",
            "player_y",
            "enemies",
            "treasures",
            "spawn_t",
            "spawn_gap",
            "move_t",
            "move_gap",
            "ramp_t",
            "level",
        ];
        static ALL: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| factor_names(&NAMES, &["enemy", "treasure"], FIRST_LANE..=LAST_LANE));
        &ALL
    }

    fn factors(&self, out: &mut [f32]) {
        let Self { spawn_t, spawn_gap, move_t, move_gap, ramp_t, level, .. } = *self;
        let counts = [self.enemies, self.treasures].map(|movers| movers.all().len() as i32);
        let numbers = [self.x.into(), self.y.into(), counts[0], counts[1]];
        let timers = [spawn_t, spawn_gap, move_t, move_gap, ramp_t, level];
        let (first, cells) = out.split_at_mut(10);
        numbers.into_iter().chain(timers).zip(first).for_each(|(number, out)| *out = number as f32);
        let (enemies, treasures) = cells.split_at_mut(cells.len() / 2);
        for (movers, out) in [(self.enemies, enemies), (self.treasures, treasures)] {
            movers.write_factors(FIRST_LANE..=LAST_LANE, out);
        }
    }

    fn is_possible(&self) -> bool {
        let planes = [self.enemies.right, self.enemies.left, self.treasures.right, self.treasures.left];
        let all = self.enemies.all() | self.treasures.all();
        (0..SIZE).contains(&self.x)
            && (FIRST_LANE..=LAST_LANE).contains(&self.y)
            && all.is_within(LANES)
            // A lane holds one mover.
            && planes.iter().map(|plane| plane.len()).sum::<u32>() == lanes_of(all).count_ones()
            && (0..=10).contains(&self.spawn_t)
            && (1..=10).contains(&self.spawn_gap)
            && (0..=5).contains(&self.move_t)
            && (1..=5).contains(&self.move_gap)
            && (-1..=RAMP_TIME).contains(&self.ramp_t)
            && (0..=9).contains(&self.level)
    }

    fn scripted_action(&self) -> Action {
        player::action(self)
    }
}

impl Asterix {
    /// Lets something enter an empty lane, if there is one.
    fn spawn(&mut self, rng: &mut dyn RngCore) {
        let goes_right = uniform(rng) < 1.0 / 2.0;
        let is_treasure = uniform(rng) < 1.0 / 3.0;
        let mut empty = !lanes_of(self.enemies.all() | self.treasures.all());
        if empty == 0 {
            return;
        }
        // The k-th empty lane from the top.
        for _ in 0..below(empty.count_ones(), rng) {
            empty &= empty - 1;
        }
        let lane = FIRST_LANE + empty.trailing_zeros() as i8;
        let movers = if is_treasure { &mut self.treasures } else { &mut self.enemies };
        movers.add(Plane::cell(entry(goes_right), lane), goes_right);
    }

    /// Takes the treasure on the player's cell and returns 1 if there is one. An enemy there ends the game.
    #[inline]
    fn touch(&mut self) -> u32 {
        let here = Plane::cell(self.x, self.y);
        self.over |= self.enemies.all().meets(here);
        u32::from(self.treasures.take(here))
    }

    /// Counts down to the next shorter intervals. Timers that run are not shortened.
    #[inline]
    fn ramp(&mut self) {
        if self.ramp_t >= 0 {
            self.ramp_t -= 1;
            return;
        }
        if self.level % 2 == 1 {
            self.move_gap = (self.move_gap - 1).max(1);
        }
        self.spawn_gap = (self.spawn_gap - 1).max(1);
        self.level += 1;
        self.ramp_t = RAMP_TIME;
    }
}

/// The lanes that have one of `cells`, as bits from lane 1 on.
#[inline]
fn lanes_of(cells: Plane) -> u8 {
    (FIRST_LANE..=LAST_LANE)
        .fold(0, |lanes, lane| lanes | u8::from(cells.meets(Plane::row(lane))) << (lane - FIRST_LANE))
}
