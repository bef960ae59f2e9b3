//! CartPole, in the arithmetic of Gymnasium's `CartPole-v1` (Barto, Sutton & Anderson 1983).
//!
//! **Rules.** A cart on a track is pushed left or right with 10 N, so that the pole hinged on it stays up. A step is
//! one Euler step of 0.02 s. **Reward.** 1 a step, also for the last. **Ending.** The pole leans more than 12° or the
//! cart leaves ±2.4. The vectoriser cuts an episode off after 500 steps. **Observation.** Cart position (m) and
//! velocity (m/s), pole angle (rad) and angular velocity (rad/s), `f32` rounded from the `f64` state.
//!
//! The only known difference from the reference is the last bit of sine and cosine, where platforms round differently.

use crate::env::{Env, RestoreError, Step};
use crate::game::Game;
use crate::picture::Picture;
use crate::settings::Settings;
use crate::space::ObsSpace;
use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const GRAVITY: f64 = 9.8;
const POLE_MASS: f64 = 0.1;
const TOTAL_MASS: f64 = POLE_MASS + 1.0;
const HALF_POLE_LENGTH: f64 = 0.5;
const POLE_MASS_LENGTH: f64 = POLE_MASS * HALF_POLE_LENGTH;
const FORCE: f64 = 10.0;
const STEP_S: f64 = 0.02;
const MAX_ANGLE_RAD: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;
const MAX_X: f64 = 2.4;
/// Every variable starts uniformly in ± this.
const START_SPREAD: f64 = 0.05;
/// Bounds the size of each variable of a restored state; no episode comes near.
const MAX_RESTORED: f64 = 1e6;
const USUAL_LIMIT: u64 = 500;

crate::settings! {
    /// Settings of `cartpole`.
    pub struct CartPoleSettings {
        /// Time limit of an episode in steps, 0 for none.
        max_steps: u64 = USUAL_LIMIT;
    }
}

impl Settings for CartPoleSettings {}

/// The task; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CartPole {
    x: f64,
    x_dot: f64,
    theta: f64,
    theta_dot: f64,
    /// The episode has ended; further steps give no reward.
    fallen: bool,
}

impl CartPole {
    fn variables(&self) -> [f32; 4] {
        [self.x, self.x_dot, self.theta, self.theta_dot].map(|v| v as f32)
    }
}

impl Env for CartPole {
    fn obs_space(&self) -> ObsSpace {
        ObsSpace::Vector { len: 4 }
    }

    fn action_names(&self) -> &[&'static str] {
        &["left", "right"]
    }

    fn reset(&mut self, rng: &mut dyn RngCore) {
        let mut draw = || -START_SPREAD + 2.0 * START_SPREAD * rng.r#gen::<f64>();
        *self = Self { x: draw(), x_dot: draw(), theta: draw(), theta_dot: draw(), fallen: false };
    }

    fn step(&mut self, action: usize, _rng: &mut dyn RngCore) -> Step {
        assert!(action < 2, "cartpole has actions 0 and 1, not {action}");
        let force = if action == 1 { FORCE } else { -FORCE };
        let (sin, cos) = (self.theta.sin(), self.theta.cos());
        let temp = (force + POLE_MASS_LENGTH * (self.theta_dot * self.theta_dot) * sin) / TOTAL_MASS;
        let theta_acc =
            (GRAVITY * sin - cos * temp) / (HALF_POLE_LENGTH * (4.0 / 3.0 - POLE_MASS * (cos * cos) / TOTAL_MASS));
        let x_acc = temp - POLE_MASS_LENGTH * theta_acc * cos / TOTAL_MASS;
        self.x += STEP_S * self.x_dot;
        self.x_dot += STEP_S * x_acc;
        self.theta += STEP_S * self.theta_dot;
        self.theta_dot += STEP_S * theta_acc;

        let reward = if self.fallen { 0.0 } else { 1.0 };
        let terminated = self.x.abs() > MAX_X || self.theta.abs() > MAX_ANGLE_RAD;
        self.fallen |= terminated;
        Step { reward, terminated }
    }

    fn observe(&self, out: &mut [u8]) {
        for (out, value) in out.chunks_exact_mut(4).zip(self.variables()) {
            out.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn factor_names(&self) -> &[&'static str] {
        &["x", "x_dot", "theta", "theta_dot"]
    }

    fn factors(&self, out: &mut [f32]) {
        out.copy_from_slice(&self.variables());
    }

    fn save(&self) -> Value {
        serde_json::to_value(self).expect("a state of plain numbers is JSON")
    }

    fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        let state = Self::deserialize(state)?;
        let variables = [state.x, state.x_dot, state.theta, state.theta_dot];
        if !variables.iter().all(|variable| variable.abs() <= MAX_RESTORED) {
            return Err(RestoreError::unreadable("a number out of range"));
        }
        *self = state;
        Ok(())
    }

    fn picture(&self) -> Option<Picture> {
        Some(draw(self.x, self.theta))
    }
}

/// Draws a cart at `x` (m) with a pole at `theta` (rad) from upright.
pub(crate) fn draw(x: f64, theta: f64) -> Picture {
    const WIDTH: usize = 300;
    const TRACK_Y: f64 = 150.0;
    const POLE_PX: f64 = 100.0;
    let mut picture = Picture::filled(WIDTH, 200, [248, 246, 240]);
    picture.fill_rect(0, TRACK_Y as usize + 12, WIDTH, 2, [120, 120, 120]);
    let cart_x = WIDTH as f64 * (x / (2.0 * MAX_X) + 0.5);
    picture.fill_rect((cart_x - 25.0).max(0.0) as usize, TRACK_Y as usize - 12, 50, 24, [52, 60, 76]);
    let tip = (cart_x + POLE_PX * theta.sin(), TRACK_Y - 12.0 - POLE_PX * theta.cos());
    picture.line((cart_x, TRACK_Y - 12.0), tip, 6, [202, 152, 101]);
    picture.fill_rect((cart_x - 4.0).max(0.0) as usize, TRACK_Y as usize - 16, 8, 8, [129, 132, 203]);
    picture
}

impl Game for CartPole {
    type Settings = CartPoleSettings;

    fn make(_settings: &CartPoleSettings) -> Box<dyn Env> {
        Box::new(CartPole::default())
    }

    fn protocol(_settings: &CartPoleSettings) -> Option<String> {
        Some("CartPole-v1".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_all_play_are_refused_and_the_largest_are_drawn() {
        let mut env = CartPole::default();
        for key in ["x", "x_dot", "theta", "theta_dot"] {
            let mut state = CartPole::default().save();
            for value in [1.1e6, -1e300] {
                state[key] = value.into();
                assert!(env.restore(&state).is_err(), "{key} is {value}");
            }
            for value in [1e6, -1e6] {
                state[key] = value.into();
                env.restore(&state).unwrap();
                env.picture().expect("a picture");
            }
        }
    }
}
