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
const MAX_ABOARD: i32 = 6;
const RELOAD: i32 = 5;
/// Steps between two divers, two steps of a diver, and two bullets of a submarine.
const DIVER_GAP: i32 = 30;
const DIVER_MOVE_GAP: i32 = 5;
const BULLET_GAP: i32 = 10;
/// Steps between two enemies, and between two steps of an enemy, at first. The ramp leaves at least 1 and 2.
const FIRST_ENEMY_GAP: i32 = 20;
const FIRST_MOVE_GAP: i32 = 5;
const LAST_MOVE_GAP: i32 = 2;

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
    move_gap: i32,
    level: i32,
    over: bool,
    fish: Vec<Swimmer>,
    subs: Vec<Sub>,
    divers: Vec<Swimmer>,
    /// Shots of the player. No two meet: none is faster than the player.
    shots: Movers,
    /// Bullets of the enemy. Those of one cell and direction are alike for ever.
    bullets: Movers,
}

/// A fish, an enemy submarine or a diver.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Swimmer {
    x: i8,
    y: i8,
    right: bool,
    /// Steps until it moves.
    t: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sub {
    swimmer: Swimmer,
    /// Steps until it shoots.
    bullet_t: i32,
}

/// What became of an enemy in its turn.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Stays,
    Left,
    Shot,
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
            fish: vec![],
            subs: vec![],
            divers: vec![],
            shots: Movers::default(),
            bullets: Movers::default(),
        }
    }

    fn reset(&mut self, _rng: &mut dyn RngCore) {
        // The lists keep their memory.
        let Self { mut fish, mut subs, mut divers, .. } = std::mem::replace(self, Self::new());
        fish.clear();
        subs.clear();
        divers.clear();
        *self = Self { fish, subs, divers, ..Self::new() };
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
        let mut reward = self.move_shots();
        self.move_divers();
        reward += self.move_subs();
        self.move_bullets();
        reward += self.move_fish();
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
        self.shots.all().show::<N_CHANNELS>(2, out);
        self.bullets.all().show::<N_CHANNELS>(4, out);
        let mut swim = |channel: usize, swimmer: &Swimmer| {
            show::<N_CHANNELS>(swimmer.x, swimmer.y, channel, out);
            let trail = behind(swimmer.x, swimmer.right);
            if is_on_board(trail) {
                show::<N_CHANNELS>(trail, swimmer.y, 3, out);
            }
        };
        self.fish.iter().for_each(|fish| swim(5, fish));
        self.subs.iter().for_each(|sub| swim(6, &sub.swimmer));
        self.divers.iter().for_each(|diver| swim(9, diver));
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
        let counts = [self.fish.len(), self.subs.len(), self.divers.len()].map(|n| n as i32);
        let player = [self.x.into(), self.y.into(), direction(self.right).into(), air, aboard, self.up.into(), reload];
        let timers = [enemy_t, enemy_gap, diver_t, move_gap, level];
        let (first, cells) = out.split_at_mut(15);
        let numbers = player.into_iter().chain(counts).chain(timers);
        first.iter_mut().zip(numbers).for_each(|(out, number)| *out = number as f32);
        let subs: Vec<Swimmer> = self.subs.iter().map(|sub| sub.swimmer).collect();
        let [fish, subs, divers] = [&self.fish, &subs, &self.divers].map(|list| cells_of(list));
        let kinds = [fish, subs, divers, self.bullets, self.shots];
        for (out, kind) in cells.chunks_mut(cells.len() / kinds.len()).zip(kinds) {
            kind.write_factors(0..=FLOOR, out);
        }
    }

    fn is_possible(&self) -> bool {
        /// Bounds each list; no game has as many.
        const MAX_LEN: usize = 200;
        /// Bounds counts without an end of their own; no game lasts as long.
        const MAX_COUNT: i32 = 1 << 30;
        let is_inside = |swimmer: &Swimmer, gap: i32| {
            is_on_board(swimmer.x) && (1..=FLOOR).contains(&swimmer.y) && (0..=gap).contains(&swimmer.t)
        };
        let lengths = [self.fish.len(), self.subs.len(), self.divers.len()];
        is_on_board(self.x)
            && (0..=FLOOR).contains(&self.y)
            && (-1..=FULL_AIR).contains(&self.air)
            && (-MAX_COUNT..=MAX_ABOARD).contains(&self.aboard)
            && (0..=RELOAD).contains(&self.reload)
            && (0..=FIRST_ENEMY_GAP).contains(&self.enemy_t)
            && (1..=FIRST_ENEMY_GAP).contains(&self.enemy_gap)
            && (0..=DIVER_GAP).contains(&self.diver_t)
            && (LAST_MOVE_GAP..=FIRST_MOVE_GAP).contains(&self.move_gap)
            && (0..=FIRST_ENEMY_GAP).contains(&self.level)
            && lengths.iter().all(|&length| length <= MAX_LEN)
            && self.fish.iter().all(|fish| is_inside(fish, FIRST_MOVE_GAP))
            && self.subs.iter().all(|sub| is_inside(&sub.swimmer, FIRST_MOVE_GAP))
            && self.subs.iter().all(|sub| (0..=BULLET_GAP).contains(&sub.bullet_t))
            && self.divers.iter().all(|diver| is_inside(diver, DIVER_MOVE_GAP))
    }

    fn scripted_action(&self) -> Action {
        player::action(self)
    }
}

impl Seaquest {
    /// Lets a fish or a submarine enter a random row, unless an enemy in that row goes the other way.
    fn send_enemy(&mut self, rng: &mut dyn RngCore) {
        let right = uniform(rng) < 1.0 / 2.0;
        let is_sub = uniform(rng) < 1.0 / 3.0;
        let y = 1 + below(8, rng) as i8;
        let opposes = |enemy: &Swimmer| enemy.y == y && enemy.right != right;
        if self.fish.iter().any(opposes) || self.subs.iter().any(|sub| opposes(&sub.swimmer)) {
            return;
        }
        let swimmer = Swimmer { x: entry(right), y, right, t: self.move_gap };
        if is_sub {
            self.subs.push(Sub { swimmer, bullet_t: BULLET_GAP });
        } else {
            self.fish.push(swimmer);
        }
    }

    fn send_diver(&mut self, rng: &mut dyn RngCore) {
        let right = uniform(rng) < 1.0 / 2.0;
        let y = 1 + below(8, rng) as i8;
        self.divers.push(Swimmer { x: entry(right), y, right, t: DIVER_MOVE_GAP });
    }

    #[inline]
    fn act(&mut self, action: Action) {
        if action == Action::Fire && self.reload == 0 {
            self.shots.add(Plane::cell(self.x, self.y), self.right);
            self.reload = RELOAD;
        }
        self.right = (self.right || action == Action::Right) && action != Action::Left;
        self.x = (self.x + action.dx()).clamp(0, LAST);
        self.y = (self.y + action.dy()).clamp(0, FLOOR);
    }

    /// Moves the player's shots. Each takes the oldest fish on its cell, or else the oldest submarine. Returns the
    /// number of those.
    #[inline]
    fn move_shots(&mut self) -> i32 {
        self.shots = self.shots.moved();
        let n_before = self.fish.len() + self.subs.len();
        if !self.shots.all().is_empty() {
            self.fish.retain(|fish| !self.shots.take(fish.cell()));
            self.subs.retain(|sub| !self.shots.take(sub.swimmer.cell()));
        }
        (n_before - self.fish.len() - self.subs.len()) as i32
    }

    /// Moves the divers, the newest first, and takes those aboard that the player meets.
    #[inline]
    fn move_divers(&mut self) {
        for i in (0..self.divers.len()).rev() {
            let has_room = self.aboard < MAX_ABOARD;
            let diver = &mut self.divers[i];
            let mut comes = has_room && diver.is_at(self.x, self.y);
            if !comes && diver.is_due(DIVER_MOVE_GAP) {
                comes = has_room && diver.is_at(self.x, self.y);
            }
            let is_gone = !is_on_board(diver.x);
            self.aboard += i32::from(comes);
            if comes || is_gone {
                self.divers.remove(i);
            }
        }
    }

    /// Moves the enemy's submarines, the newest first, and lets them shoot. Returns the number of those that swam into
    /// a shot.
    #[inline]
    fn move_subs(&mut self) -> i32 {
        let mut hits = 0;
        for i in (0..self.subs.len()).rev() {
            let mut sub = self.subs[i];
            let fate = self.move_enemy(&mut sub.swimmer);
            sub.bullet_t -= 1;
            // It shoots also if it has just gone.
            if sub.bullet_t < 0 {
                sub.bullet_t = BULLET_GAP;
                self.shoot(sub.swimmer);
            }
            self.subs[i] = sub;
            if fate != Fate::Stays {
                self.subs.remove(i);
            }
            hits += i32::from(fate == Fate::Shot);
        }
        hits
    }

    /// Moves the fish, the newest first. Returns the number of those that swam into a shot.
    #[inline]
    fn move_fish(&mut self) -> i32 {
        let mut hits = 0;
        for i in (0..self.fish.len()).rev() {
            let mut fish = self.fish[i];
            let fate = self.move_enemy(&mut fish);
            self.fish[i] = fish;
            if fate != Fate::Stays {
                self.fish.remove(i);
            }
            hits += i32::from(fate == Fate::Shot);
        }
        hits
    }

    /// Moves an enemy that is due. The game is over if it meets the player before or after.
    #[inline]
    fn move_enemy(&mut self, enemy: &mut Swimmer) -> Fate {
        self.over |= enemy.is_at(self.x, self.y);
        if !enemy.is_due(self.move_gap) {
            return Fate::Stays;
        }
        if !is_on_board(enemy.x) {
            return Fate::Left;
        }
        if enemy.is_at(self.x, self.y) {
            self.over = true;
            return Fate::Stays;
        }
        if self.shots.take(enemy.cell()) { Fate::Shot } else { Fate::Stays }
    }

    /// Sets a bullet on the cell of a submarine. One off the board would be gone before it is seen.
    fn shoot(&mut self, Swimmer { x, y, right, .. }: Swimmer) {
        if is_on_board(x) {
            self.bullets.add(Plane::cell(x, y), right);
        }
    }

    /// Moves the enemy's bullets. The game is over if one meets the player before or after.
    #[inline]
    fn move_bullets(&mut self) {
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
    fn is_due(&mut self, gap: i32) -> bool {
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

/// The cells of those that go left, and of those that go right.
fn cells_of(swimmers: &[Swimmer]) -> Movers {
    let mut cells = Movers::default();
    swimmers.iter().for_each(|swimmer| cells.add(swimmer.cell(), swimmer.right));
    cells
}
