//! MinAtar Space Invaders.
//!
//! **Rules.** A cannon in the bottom row shoots at a block of 24 aliens, once in five steps at most. The block walks to
//! a side wall, comes down one row, and walks back; the fewer aliens, the faster. Every ten steps the alien nearest to
//! the cannon's column shoots. When all are gone, a new block comes; with the ramp each block is faster, six times.
//! **Reward.** 1 for an alien, else 0. **Ending.** A shot or an alien touches the cannon, or the block would come down
//! from the bottom row. No time limit. **Channels.** 0 cannon, 1 aliens, 2 aliens again while they walk left, 3 while
//! they walk right, 4 the cannon's shots, 5 the aliens'.

mod player;

use super::grid::{HALF_ROW, LAST, Plane, SIZE, factor_names, show};
use super::looks::{Look, PLAYER, SHOT, TREASURE};
use super::rules::{Action, Rules};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

const N_CHANNELS: usize = 6;
/// The row of the cannon.
const BOTTOM: i8 = LAST;
/// The aliens of a new wave.
const WAVE: Plane = Plane::block([2, 7], [0, 3]);
/// Steps between two shots of the aliens, and of the cannon.
const SHOOT_GAP: i32 = 10;
const RELOAD: i32 = 5;
/// Steps between two moves of a whole first wave, and the least that the ramp leaves.
const FIRST_MOVE_GAP: i32 = 12;
const LAST_MOVE_GAP: i32 = 6;
/// Observations of five cells by the aliens in them, as bits, that walk left or right. Two dozen aliens are shown twice
/// as fast by twenty copies as one by one.
static ALIENS: [[[u8; HALF_ROW * N_CHANNELS]; 1 << HALF_ROW]; 2] = {
    let mut all = [[[0; HALF_ROW * N_CHANNELS]; 1 << HALF_ROW]; 2];
    let (mut right, mut cells, mut x) = (0, 0, 0);
    while right < 2 {
        while cells < 1 << HALF_ROW {
            while x < HALF_ROW {
                let is_alien = (cells >> x & 1) as u8;
                all[right][cells][N_CHANNELS * x + 1] = is_alien;
                all[right][cells][N_CHANNELS * x + 2 + right] = is_alien;
                x += 1;
            }
            (cells, x) = (cells + 1, 0);
        }
        (right, cells) = (right + 1, 0);
    }
    all
};

/// The state of the game.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceInvaders {
    /// The cannon's column.
    x: i8,
    aliens: Plane,
    /// Shots of the cannon, and of the aliens.
    shots: Plane,
    bombs: Plane,
    /// Whether the aliens walk to the right.
    right: bool,
    /// Steps until the aliens move, and the most that it is set to.
    move_t: i32,
    move_gap: i32,
    /// Steps until the aliens shoot, and until the cannon can.
    shoot_t: i32,
    reload: i32,
    level: i32,
    over: bool,
}

impl Rules for SpaceInvaders {
    const NAME: &'static str = "space-invaders";
    const MINIMAL: &'static [Action] = &[Action::Noop, Action::Left, Action::Right, Action::Fire];
    const RAMPS: bool = true;
    const N_CHANNELS: usize = N_CHANNELS;
    const LOOKS: &'static [Look] = &[
        Look { channel: 1, margin: 2, colours: &[[126, 190, 120]] },
        Look { channel: 4, margin: 5, colours: &[SHOT] },
        Look { channel: 5, margin: 5, colours: &[TREASURE] },
        Look { channel: 0, margin: 1, colours: &[PLAYER] },
    ];

    fn new() -> Self {
        Self {
            x: 5,
            aliens: WAVE,
            shots: Plane::EMPTY,
            bombs: Plane::EMPTY,
            right: false,
            move_t: FIRST_MOVE_GAP,
            move_gap: FIRST_MOVE_GAP,
            shoot_t: SHOOT_GAP,
            reload: 0,
            level: 0,
            over: false,
        }
    }

    fn reset(&mut self, _rng: &mut dyn RngCore) {
        *self = Self::new();
    }

    #[inline]
    fn step(&mut self, action: Action, ramping: bool, _rng: &mut dyn RngCore) -> f32 {
        if action == Action::Fire && self.reload == 0 {
            self.shots |= Plane::cell(self.x, BOTTOM);
            self.reload = RELOAD;
        }
        self.x = (self.x + action.dx()).clamp(0, LAST);
        let cannon = Plane::cell(self.x, BOTTOM);
        self.shots = self.shots.up();
        self.bombs = self.bombs.down();
        self.over |= self.bombs.meets(cannon) || self.aliens.meets(cannon);
        if self.move_t == 0 {
            self.move_t = self.move_gap.min(self.aliens.len() as i32);
            self.walk();
            self.over |= self.aliens.meets(cannon);
        }
        if self.shoot_t == 0 {
            self.shoot_t = SHOOT_GAP;
            self.bombs |= self.shooter();
        }
        let hit = self.aliens & self.shots;
        self.aliens &= !hit;
        self.shots &= !hit;
        self.reload = (self.reload - 1).max(0);
        self.move_t -= 1;
        self.shoot_t -= 1;
        if self.aliens.is_empty() {
            if ramping && self.move_gap > LAST_MOVE_GAP {
                self.move_gap -= 1;
                self.level += 1;
            }
            self.aliens = WAVE;
        }
        hit.len() as f32
    }

    fn is_over(&self) -> bool {
        self.over
    }

    #[inline]
    fn observe(&self, out: &mut [u8]) {
        let halves = self.aliens.half_rows().zip(out.chunks_exact_mut(HALF_ROW * N_CHANNELS));
        halves.for_each(|(cells, out)| out.copy_from_slice(&ALIENS[usize::from(self.right)][cells]));
        show::<N_CHANNELS>(self.x, BOTTOM, 0, out);
        self.shots.show::<N_CHANNELS>(4, out);
        self.bombs.show::<N_CHANNELS>(5, out);
    }

    /// Positions are in cells. The aliens' column is the first that has one, their row the lowest; their direction is
    /// −1 to the left, 1 to the right. A cell is 1 where there is an alien, a shot or a bomb (a shot of the aliens).
    fn factor_names() -> &'static [&'static str] {
        const NAMES: [&str; 10] = [
            "player_x",
            "aliens_x",
            "aliens_y",
            "aliens_dx",
            "aliens_left",
            "move_t",
            "move_gap",
            "shoot_t",
            "reload",
            "level",
        ];
        static ALL: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| factor_names(&NAMES, &["alien", "shot", "bomb"], 0..=LAST));
        &ALL
    }

    fn factors(&self, out: &mut [f32]) {
        let Self { move_t, move_gap, shoot_t, reload, level, .. } = *self;
        let lowest = (0..=LAST).rev().find(|&y| self.aliens.meets(Plane::row(y))).unwrap_or_default();
        let (column, dx) = (self.aliens.columns().trailing_zeros() as i32, if self.right { 1 } else { -1 });
        let n_aliens = self.aliens.len() as i32;
        let numbers = [self.x.into(), column, lowest.into(), dx, n_aliens, move_t, move_gap, shoot_t, reload, level];
        let (first, cells) = out.split_at_mut(numbers.len());
        first.iter_mut().zip(numbers).for_each(|(out, number)| *out = number as f32);
        let planes = [self.aliens, self.shots, self.bombs];
        cells.chunks_mut(100).zip(planes).for_each(|(out, plane)| plane.write_factors(0..=LAST, out));
    }

    fn is_possible(&self) -> bool {
        (0..SIZE).contains(&self.x)
            && !self.aliens.is_empty()
            && (0..=FIRST_MOVE_GAP).contains(&self.move_t)
            && (LAST_MOVE_GAP..=FIRST_MOVE_GAP).contains(&self.move_gap)
            && (0..=SHOOT_GAP).contains(&self.shoot_t)
            && (0..=RELOAD).contains(&self.reload)
            && (0..=FIRST_MOVE_GAP - LAST_MOVE_GAP).contains(&self.level)
    }

    fn scripted_action(&self) -> Action {
        player::action(self)
    }
}

impl SpaceInvaders {
    /// Moves the aliens by one column or, at a side wall, by one row.
    fn walk(&mut self) {
        let wall = Plane::column(if self.right { LAST } else { 0 });
        if self.aliens.meets(wall) {
            self.right = !self.right;
            // An alien that would leave the board ends the game. The last picture shows it in the top row.
            self.over |= self.aliens.meets(Plane::row(BOTTOM));
            self.aliens = self.aliens.down_around();
        } else {
            self.aliens = if self.right { self.aliens.right() } else { self.aliens.left() };
        }
    }

    /// The cell of the alien that shoots: the lowest in the column nearest to the cannon, the left one of two. Empty if
    /// there is no alien.
    fn shooter(&self) -> Plane {
        let columns = self.aliens.columns();
        let has_alien = |x: i8| (0..SIZE).contains(&x) && columns >> x & 1 == 1;
        let near =
            (0..SIZE).find_map(|distance| [self.x - distance, self.x + distance].into_iter().find(|&x| has_alien(x)));
        near.map_or(Plane::EMPTY, |x| (self.aliens & Plane::column(x)).last())
    }
}
