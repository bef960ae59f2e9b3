//! MinAtar Seaquest.
//!
//! **Rules.** The player's submarine, two cells long, shoots fish and enemy submarines, and takes divers aboard, six at
//! most. Under water its air lasts for 199 steps. Coming up refills it and puts one diver ashore; with six aboard all
//! go ashore. With the ramp each time makes the enemies come more often, and every second time makes them faster.
//! **Reward.** 1 for an enemy; for six divers ashore the tenths of the air that are left. **Ending.** An enemy or its
//! bullet touches the player's front, the air is out, or the player comes up with nobody aboard. No time limit.
//! **Channels.** 0 front and 1 back of the player, 2 its shots, 3 trail (the cell behind fish, submarines and divers),
//! 4 bullets of the enemy, 5 fish, 6 enemy submarines, 7 air in tenths and 8 divers aboard (both in the bottom row), 9
//! divers in the water.
//!
//! After six divers went ashore, the number aboard is −1. The reference counts so, and only 0 ends the game.

mod player;

use super::grid::{LAST, Movers, Plane, SIZE, entry, factor_names, show};
use super::looks::{ENEMY, Look, PLAYER, SHOT, TRAIL, TREASURE};
use super::random::{below, uniform};
use super::rules::{Action, Rules};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

const N_CHANNELS: usize = 10;
/// The lowest row that the player reaches. Enemies and divers are in rows 1 to 8.
const FLOOR: i8 = 8;
/// The row of the gauges.
const GAUGES: i8 = LAST;
const FULL_AIR: i32 = 200;
/// The channels of fish, submarines and divers.
const CHANNEL_OF: [usize; 3] = [5, 6, 9];
const MAX_ABOARD: i32 = 6;
const RELOAD: i32 = 5;
/// Steps between two divers, two steps of a diver, and two bullets of a submarine.
const DIVER_GAP: i32 = 30;
const DIVER_MOVE_GAP: i8 = 5;
const BULLET_GAP: i8 = 10;
/// Steps between two enemies, and between two steps of an enemy, at first. The ramp leaves at least 1 and 2.
const FIRST_ENEMY_GAP: i32 = 20;
const FIRST_MOVE_GAP: i8 = 5;
const LAST_MOVE_GAP: i8 = 2;

/// The state of the game. Lists are in the order of arrival.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seaquest {
    /// Front of the player.
    x: i8,
    y: i8,
    /// Whether the player faces right.
    right: bool,
    air: i32,
    aboard: i32,
    /// Whether the player has been at the surface since it last dived.
    up: bool,
    /// Steps until the player can shoot.
    reload: i32,
    /// Steps until an enemy may come, and the value that it is set to.
    enemy_t: i32,
    enemy_gap: i32,
    /// Steps until a diver comes.
    diver_t: i32,
    /// Steps between two steps of an enemy.
    move_gap: i8,
    level: i32,
    over: bool,
    /// Everything that swims: the fish, then the submarines, then the divers, each in the order of arrival. They take
    /// their turns from the end.
    swimmers: Vec<Swimmer>,
    /// Shots of the player. No two meet: none is faster than the player.
    shots: Movers,
    /// Bullets of the enemy. Those of one cell and direction are alike for ever.
    bullets: Movers,
}

/// A fish, an enemy submarine or a diver.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Swimmer {
    kind: Kind,
    x: i8,
    y: i8,
    right: bool,
    /// Steps until it moves.
    t: i8,
    /// Steps until a submarine shoots.
    bullet_t: i8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Fish,
    Sub,
    Diver,
}

/// Fate of a swimmer in its turn.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Stays,
    Leaves,
    Hit,
    ComesAboard,
}

impl Rules for Seaquest {
    const NAME: &'static str = "seaquest";
    const MINIMAL: &'static [Action] = &Action::ALL;
    const RAMPS: bool = true;
    const N_CHANNELS: usize = N_CHANNELS;
    const LOOKS: &'static [Look] = &[
        Look { channel: 7, margin: 4, colours: &[[104, 200, 196]] },
        Look { channel: 8, margin: 6, colours: &[TREASURE] },
        Look { channel: 3, margin: 6, colours: &[TRAIL] },
        Look { channel: 9, margin: 4, colours: &[TREASURE] },
        Look { channel: 5, margin: 3, colours: &[[126, 190, 120]] },
        Look { channel: 6, margin: 1, colours: &[ENEMY] },
        Look { channel: 1, margin: 3, colours: &[[66, 112, 160]] },
        Look { channel: 0, margin: 1, colours: &[PLAYER] },
        Look { channel: 4, margin: 5, colours: &[[226, 148, 62]] },
        Look { channel: 2, margin: 5, colours: &[SHOT] },
    ];

    fn new() -> Self {
        Self {
            x: 5,
            y: 0,
            right: false,
            air: FULL_AIR,
            aboard: 0,
            up: true,
            reload: 0,
            enemy_t: FIRST_ENEMY_GAP,
            enemy_gap: FIRST_ENEMY_GAP,
            diver_t: DIVER_GAP,
            move_gap: FIRST_MOVE_GAP,
            level: 0,
            over: false,
            swimmers: vec![],
            shots: Movers::default(),
            bullets: Movers::default(),
        }
    }

    fn reset(&mut self, _rng: &mut dyn RngCore) {
        // The list keeps its memory.
        let mut swimmers = std::mem::take(&mut self.swimmers);
        swimmers.clear();
        *self = Self { swimmers, ..Self::new() };
    }

    /// Nothing cuts a step short: after the end everything still moves and scores.
    #[inline]
    fn step(&mut self, action: Action, ramping: bool, rng: &mut dyn RngCore) -> f32 {
        if self.enemy_t == 0 {
            self.send_enemy(rng);
            self.enemy_t = self.enemy_gap;
        }
        if self.diver_t == 0 {
            self.send_diver(rng);
            self.diver_t = DIVER_GAP;
        }
        self.act(action);
        let mut reward = self.move_shots() + self.move_swimmers();
        self.move_bullets();
        for timer in [&mut self.enemy_t, &mut self.diver_t, &mut self.reload] {
            *timer = (*timer - 1).max(0);
        }
        self.over |= self.air <= 0;
        let is_under_water = self.y > 0;
        self.air -= i32::from(is_under_water);
        self.up &= !is_under_water;
        if !is_under_water && !self.up {
            reward += self.come_up(ramping);
        }
        reward as f32
    }

    fn is_over(&self) -> bool {
        self.over
    }

    #[inline]
    fn observe(&self, out: &mut [u8]) {
        show::<N_CHANNELS>(self.x, self.y, 0, out);
        show::<N_CHANNELS>(behind(self.x, self.right), self.y, 1, out);
        self.shots.show::<N_CHANNELS>(2, out);
        self.bullets.show::<N_CHANNELS>(4, out);
        for swimmer in &self.swimmers {
            show::<N_CHANNELS>(swimmer.x, swimmer.y, CHANNEL_OF[swimmer.kind as usize], out);
            // Without a branch: a trail off the board is written as 0 to the swimmer's own cell.
            let has_trail = is_on_board(behind(swimmer.x, swimmer.right));
            let trail = swimmer.x - direction(swimmer.right) * i8::from(has_trail);
            let place = N_CHANNELS * (swimmer.y * SIZE + trail) as usize + 3;
            out[place] |= u8::from(has_trail);
        }
        let gauges = &mut out[N_CHANNELS * (GAUGES * SIZE) as usize..];
        let air = self.air_tenths();
        (0..).zip(gauges.chunks_exact_mut(N_CHANNELS)).for_each(|(x, cell)| cell[7] = u8::from(x < air));
        (9 - self.aboard..9).for_each(|x| gauges[N_CHANNELS * x as usize + 8] = 1);
    }

    /// Positions are in cells. A cell is −1 where a fish, submarine, diver, bullet or shot goes left, 1 where one goes
    /// right.
    fn factor_names() -> &'static [&'static str] {
        const NAMES: [&str; 15] = [
            "player_x",
            "player_y",
            "player_dx",
            "air",
            "aboard",
            "up",
            "reload",
            "fish",
            "subs",
            "divers",
            "enemy_t",
            "enemy_gap",
            "diver_t",
            "move_gap",
            "level",
        ];
        static ALL: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| factor_names(&NAMES, &["fish", "sub", "diver", "bullet", "shot"], 0..=FLOOR));
        &ALL
    }

    fn factors(&self, out: &mut [f32]) {
        let Self { air, aboard, reload, enemy_t, enemy_gap, diver_t, move_gap, level, .. } = *self;
        let kinds = [Kind::Fish, Kind::Sub, Kind::Diver];
        let counts = kinds.map(|kind| self.of(kind).count() as i32);
        let player = [self.x.into(), self.y.into(), direction(self.right).into(), air, aboard, self.up.into(), reload];
        let timers = [enemy_t, enemy_gap, diver_t, move_gap.into(), level];
        let (first, cells) = out.split_at_mut(15);
        let numbers = player.into_iter().chain(counts).chain(timers);
        first.iter_mut().zip(numbers).for_each(|(out, number)| *out = number as f32);
        let cells_of = |kind| {
            let mut cells = Movers::default();
            self.of(kind).for_each(|swimmer| cells.add(swimmer.cell(), swimmer.right));
            cells
        };
        let [fish, subs, divers] = kinds.map(cells_of);
        let kinds = [fish, subs, divers, self.bullets, self.shots];
        for (out, kind) in cells.chunks_mut(cells.len() / kinds.len()).zip(kinds) {
            kind.write_factors(0..=FLOOR, out);
        }
    }

    fn is_possible(&self) -> bool {
        /// Bounds the list; no game has as many.
        const MAX_SWIMMERS: usize = 200;
        /// Bounds a count without an end of its own; no game lasts as long.
        const MAX_ASHORE: i32 = 1 << 30;
        let is_swimmer = |swimmer: &Swimmer| {
            is_on_board(swimmer.x)
                && (1..=FLOOR).contains(&swimmer.y)
                && (0..=DIVER_MOVE_GAP).contains(&swimmer.t)
                && (0..=BULLET_GAP).contains(&swimmer.bullet_t)
        };
        is_on_board(self.x)
            // The player faces the way that it last moved, so its back is on the board too.
            && is_on_board(behind(self.x, self.right))
            && (0..=FLOOR).contains(&self.y)
            && (-1..=FULL_AIR).contains(&self.air)
            && (-MAX_ASHORE..=MAX_ABOARD).contains(&self.aboard)
            && (0..=RELOAD).contains(&self.reload)
            && (0..=FIRST_ENEMY_GAP).contains(&self.enemy_t)
            && (1..=FIRST_ENEMY_GAP).contains(&self.enemy_gap)
            && (0..=DIVER_GAP).contains(&self.diver_t)
            && (LAST_MOVE_GAP..=FIRST_MOVE_GAP).contains(&self.move_gap)
            && (0..=FIRST_ENEMY_GAP).contains(&self.level)
            && self.swimmers.len() <= MAX_SWIMMERS
            && self.swimmers.iter().all(is_swimmer)
            && self.swimmers.is_sorted_by_key(|swimmer| swimmer.kind)
    }

    fn scripted_action(&self) -> Action {
        player::action(self)
    }
}

impl Seaquest {
    fn of(&self, kind: Kind) -> impl Iterator<Item = &Swimmer> {
        self.swimmers.iter().filter(move |swimmer| swimmer.kind == kind)
    }

    /// Lets a fish or a submarine enter a random row, unless an enemy in that row goes the other way.
    fn send_enemy(&mut self, rng: &mut dyn RngCore) {
        let right = uniform(rng) < 1.0 / 2.0;
        let kind = if uniform(rng) < 1.0 / 3.0 { Kind::Sub } else { Kind::Fish };
        let y = 1 + below(8, rng) as i8;
        let opposes = |other: &Swimmer| other.kind != Kind::Diver && other.y == y && other.right != right;
        if !self.swimmers.iter().any(opposes) {
            self.send(kind, y, right, self.move_gap);
        }
    }

    fn send_diver(&mut self, rng: &mut dyn RngCore) {
        let right = uniform(rng) < 1.0 / 2.0;
        let y = 1 + below(8, rng) as i8;
        self.send(Kind::Diver, y, right, DIVER_MOVE_GAP);
    }

    fn send(&mut self, kind: Kind, y: i8, right: bool, t: i8) {
        let swimmer = Swimmer { kind, x: entry(right), y, right, t, bullet_t: BULLET_GAP };
        let place = self.swimmers.partition_point(|other| other.kind <= kind);
        self.swimmers.insert(place, swimmer);
    }

    #[inline]
    fn act(&mut self, action: Action) {
        // Values instead of a branch: who plays at random fires unpredictably.
        let fires = action == Action::Fire && self.reload == 0;
        self.shots.add(if fires { Plane::cell(self.x, self.y) } else { Plane::EMPTY }, self.right);
        self.reload = if fires { RELOAD } else { self.reload };
        self.right = (self.right || action == Action::Right) && action != Action::Left;
        self.x = (self.x + action.dx()).clamp(0, LAST);
        self.y = (self.y + action.dy()).clamp(0, FLOOR);
    }

    /// Moves the player's shots. Each takes the oldest fish on its cell, or else the oldest submarine. Returns the
    /// number of those.
    #[inline]
    fn move_shots(&mut self) -> i32 {
        self.shots = self.shots.moved();
        if self.shots.is_empty() | self.swimmers.is_empty() {
            return 0;
        }
        let n_before = self.swimmers.len();
        self.swimmers.retain(|swimmer| swimmer.kind == Kind::Diver || !self.shots.take(swimmer.cell()));
        (n_before - self.swimmers.len()) as i32
    }

    /// Moves the divers, the enemy's submarines and the fish, of each kind the newest first, and lets the submarines
    /// shoot, also those that have just gone. Returns the number of enemies that swam into a shot.
    #[inline]
    fn move_swimmers(&mut self) -> i32 {
        let mut hits = 0;
        for i in (0..self.swimmers.len()).rev() {
            let mut swimmer = self.swimmers[i];
            let gap = if swimmer.kind == Kind::Diver { DIVER_MOVE_GAP } else { self.move_gap };
            let mut fate = if swimmer.is_at(self.x, self.y) { self.meet(swimmer) } else { Fate::Stays };
            if fate == Fate::Stays && swimmer.is_due(gap) {
                fate = self.arrive(swimmer);
            }
            swimmer.bullet_t -= i8::from(swimmer.kind == Kind::Sub);
            if swimmer.bullet_t < 0 {
                swimmer.bullet_t = BULLET_GAP;
                if is_on_board(swimmer.x) {
                    self.bullets.add(swimmer.cell(), swimmer.right);
                }
            }
            self.swimmers[i] = swimmer;
            if fate != Fate::Stays {
                self.swimmers.remove(i);
                hits += i32::from(fate == Fate::Hit);
            }
        }
        hits
    }

    /// Lets the player meet a swimmer: an enemy ends the game, and a diver comes aboard if there is room.
    fn meet(&mut self, swimmer: Swimmer) -> Fate {
        if swimmer.kind != Kind::Diver {
            self.over = true;
        } else if self.aboard < MAX_ABOARD {
            self.aboard += 1;
            return Fate::ComesAboard;
        }
        Fate::Stays
    }

    /// Returns what becomes of a swimmer on the cell that it moved to.
    fn arrive(&mut self, swimmer: Swimmer) -> Fate {
        if !is_on_board(swimmer.x) {
            Fate::Leaves
        } else if swimmer.is_at(self.x, self.y) {
            self.meet(swimmer)
        } else if swimmer.kind != Kind::Diver && self.shots.take(swimmer.cell()) {
            Fate::Hit
        } else {
            Fate::Stays
        }
    }

    /// Moves the enemy's bullets. The game is over if one meets the player before or after.
    #[inline]
    fn move_bullets(&mut self) {
        if self.bullets.is_empty() {
            return;
        }
        let here = Plane::cell(self.x, self.y);
        self.over |= self.bullets.all().meets(here);
        self.bullets = self.bullets.moved();
        self.over |= self.bullets.all().meets(here);
    }

    /// Comes to the surface after a dive. Returns the reward.
    fn come_up(&mut self, ramping: bool) -> i32 {
        self.over |= self.aboard == 0;
        if self.aboard == 0 {
            return 0;
        }
        self.up = true;
        let mut reward = 0;
        if self.aboard == MAX_ABOARD {
            reward = self.air_tenths();
            self.aboard = 0;
        }
        self.air = FULL_AIR;
        self.aboard -= 1;
        if ramping && (self.enemy_gap > 1 || self.move_gap > LAST_MOVE_GAP) {
            if self.level % 2 == 1 {
                self.move_gap = (self.move_gap - 1).max(LAST_MOVE_GAP);
            }
            self.enemy_gap = (self.enemy_gap - 1).max(1);
            self.level += 1;
        }
        reward
    }

    /// Tenths of the air that are left.
    #[inline]
    fn air_tenths(&self) -> i32 {
        self.air.max(0) * 10 / FULL_AIR
    }
}

impl Swimmer {
    #[inline]
    fn is_at(&self, x: i8, y: i8) -> bool {
        (self.x, self.y) == (x, y)
    }

    #[inline]
    fn cell(&self) -> Plane {
        Plane::cell(self.x, self.y)
    }

    /// Counts down. When it is time, moves by one cell and returns true.
    #[inline]
    fn is_due(&mut self, gap: i8) -> bool {
        let is_due = self.t == 0;
        if is_due {
            self.t = gap;
            self.x += direction(self.right);
        } else {
            self.t -= 1;
        }
        is_due
    }
}

#[inline]
fn direction(right: bool) -> i8 {
    if right { 1 } else { -1 }
}

#[inline]
fn behind(x: i8, right: bool) -> i8 {
    x - direction(right)
}

#[inline]
fn is_on_board(x: i8) -> bool {
    (0..SIZE).contains(&x)
}
