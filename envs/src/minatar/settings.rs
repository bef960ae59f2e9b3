//! Settings of the games.

use super::rules::{Action, Rules};
use crate::settings::{Declared, Fault, Setting, Settings};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

crate::settings! {
    /// Settings of a MinAtar game.
    pub struct MinatarSettings {
        /// Probability that a step repeats the last action instead of the chosen one.
        sticky: f64 = 0.1, in 0.0..=1.0;
        /// Actions to choose from.
        action_set: ActionSet = ActionSet::Full;
        /// Whether the game gets faster as it goes on.
        ramping: bool = true;
        /// Time limit of an episode in steps, 0 for none.
        max_steps: u64 = 0;
    }
}

/// Actions to choose from: MinAtar's six, or noop and those that have an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionSet {
    /// noop, left, up, right, down, fire, as in the MinAtar paper (Gym's `-v0`).
    Full,
    /// noop and the actions that have an effect (Gym's `-v1`).
    Minimal,
}

impl ActionSet {
    /// The actions of game `R`, by index.
    pub(super) fn actions<R: Rules>(self) -> &'static [Action] {
        match self {
            ActionSet::Full => &Action::ALL,
            ActionSet::Minimal => R::MINIMAL,
        }
    }
}

/// Settings of game `R`. A game without a ramp has no setting for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GameSettings<R>(pub MinatarSettings, #[serde(skip)] PhantomData<fn() -> R>);

impl<R> Default for GameSettings<R> {
    fn default() -> Self {
        MinatarSettings::default().into()
    }
}

impl<R> From<MinatarSettings> for GameSettings<R> {
    fn from(settings: MinatarSettings) -> Self {
        Self(settings, PhantomData)
    }
}

const RAMPING: &str = "ramping";

impl<R: Rules> Declared for GameSettings<R> {
    const KEYS: &'static [&'static str] =
        if R::RAMPS { MinatarSettings::KEYS } else { &["sticky", "action_set", "max_steps"] };

    fn list() -> Vec<Setting> {
        MinatarSettings::list().into_iter().filter(|setting| Self::KEYS.contains(&setting.key)).collect()
    }

    fn check_ranges(&self) -> Result<(), Fault> {
        self.0.check_ranges()
    }
}

impl<R: Rules> Settings for GameSettings<R> {
    fn unheard(&self) -> Vec<(&'static str, String)> {
        let mut unheard = vec![];
        if !R::RAMPS {
            unheard.push((RAMPING, "the game has no ramp".to_owned()));
        }
        if self.0.action_set == ActionSet::Minimal && R::MINIMAL.len() == Action::ALL.len() {
            unheard.push(("action_set", "every action has an effect, so the full set is the minimal one".to_owned()));
        }
        unheard
    }
}
