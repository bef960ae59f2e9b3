//! One environment of a vector, with its random stream and its time limit.

use crate::env::{Env, RestoreError};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Result of one step in one environment of a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transition {
    /// Reward of the step, or its sign where rewards are clipped.
    pub reward: f32,
    /// The episode ended by the game's own rules: nothing follows, so the value of the next state is 0.
    pub terminated: bool,
    /// The time limit cut the episode off: the next state keeps its value.
    pub truncated: bool,
}

impl Transition {
    /// Whether the episode ended with this step, for either reason.
    pub fn done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// An episode that ended. If a lost life ends an episode for the learner, this is still the whole game.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// Index of the environment that played it.
    pub env_idx: usize,
    /// Undiscounted sum of its rewards, which are not clipped.
    pub episode_return: f64,
    /// Number of its steps.
    pub length: u64,
}

/// Bounds the length of an episode that is restored; none is as long.
const MAX_LENGTH: u64 = 1 << 53;

/// One environment, its random stream, and return and length of its running game.
pub(crate) struct Slot {
    env: Box<dyn Env>,
    rng: Pcg32,
    episode_return: f64,
    length: u64,
    /// The episode ended, and the next one has not begun.
    is_over: bool,
}

/// State of a saved environment.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedSlot {
    env: Value,
    rng: Pcg32,
    episode_return: f64,
    length: u64,
    /// The frames of its stack before the present one, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stack: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_over: bool,
}

impl SavedSlot {
    /// Checks that an episode runs, as it always does where the step that ends one begins the next.
    ///
    /// # Errors
    /// When the episode is over.
    pub(crate) fn check_running(&self) -> Result<(), RestoreError> {
        if self.is_over {
            return Err(RestoreError::unreadable("an episode is over, which none is with resets in the same step"));
        }
        Ok(())
    }
}

impl Slot {
    pub(crate) fn new(env: Box<dyn Env>, rng: Pcg32) -> Self {
        Self { env, rng, episode_return: 0.0, length: 0, is_over: false }
    }

    pub(crate) fn env(&self) -> &dyn Env {
        &*self.env
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Begins an episode. If the last one is over and its game goes on, return and length go on as well.
    pub(crate) fn begin(&mut self, max_steps: u64, obs: &mut [u8]) {
        let goes_on = self.is_over && self.env.goes_on() && self.length < max_steps;
        if self.is_over && self.env.goes_on() && !goes_on {
            // The time limit was reached when a life was lost: the first reset continues the game, the second begins a
            // new one.
            self.env.reset(&mut self.rng);
        }
        self.env.reset(&mut self.rng);
        self.env.observe(obs);
        if !goes_on {
            (self.episode_return, self.length) = (0.0, 0);
        }
        self.is_over = false;
    }

    pub(crate) fn step(&mut self, action: usize, max_steps: u64, clips_rewards: bool, obs: &mut [u8]) -> Transition {
        let step = self.env.step(action, &mut self.rng);
        self.env.observe(obs);
        self.episode_return += f64::from(step.reward);
        self.length += 1;
        let truncated = !step.terminated && self.length >= max_steps;
        self.is_over = step.terminated || truncated;
        let reward = if clips_rewards { sign(step.reward) } else { step.reward };
        Transition { reward, terminated: step.terminated, truncated }
    }

    /// Returns the whole game, if its end is the end of the episode that is over.
    pub(crate) fn ended_game(&self, env_idx: usize, max_steps: u64) -> Option<Episode> {
        let &Self { episode_return, length, .. } = self;
        let has_ended = self.is_over && (!self.env.goes_on() || length >= max_steps);
        has_ended.then_some(Episode { env_idx, episode_return, length })
    }

    pub(crate) fn save(&self, stack: Vec<String>) -> SavedSlot {
        let &Self { episode_return, length, is_over, .. } = self;
        SavedSlot { env: self.env.save(), rng: self.rng.clone(), episode_return, length, stack, is_over }
    }

    pub(crate) fn restore(&mut self, saved: SavedSlot, obs: &mut [u8]) -> Result<(), RestoreError> {
        if saved.length > MAX_LENGTH {
            return Err(RestoreError::unreadable(format_args!("an episode of {} steps", saved.length)));
        }
        self.env.restore(&saved.env)?;
        self.env.observe(obs);
        let SavedSlot { rng, episode_return, length, is_over, .. } = saved;
        (self.rng, self.episode_return, self.length, self.is_over) = (rng, episode_return, length, is_over);
        Ok(())
    }
}

/// Returns −1, 0 or 1; 0 for 0, unlike [`f32::signum`].
pub(crate) fn sign(reward: f32) -> f32 {
    if reward == 0.0 { 0.0 } else { reward.signum() }
}
