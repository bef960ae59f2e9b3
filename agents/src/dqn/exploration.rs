//! How a deep Q-network finds actions that it does not think the best: at random with probability ε, or by noise on its
//! parameters (Fortunato et al. 2018; see `net/noise.rs`).
//!
//! With noise, each step of the environments has noise of its own, and each update has other noise for the online
//! network and for the target (section 3.1). With `double` the online network chooses actions by the noise of its loss;
//! the paper draws a third noise for that. Evaluations act without noise.

use crate::agent::Stat;
use crate::q_network::QNetwork;
use crate::schedule::Linear;
use crate::settings::flat_schedule;
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use carom_envs::Seeds;
use carom_envs::settings::{Above, Settings};
use rand::Rng;
use rand_pcg::Pcg32;

carom_envs::settings! {
    /// Settings of exploration.
    pub struct ExplorationSettings {
        /// Probability of a random action at the start.
        epsilon_start: f64 = 1.0, in 0.0..=1.0;
        /// Probability of a random action after `epsilon_steps`.
        epsilon_end: f64 = 0.05, in 0.0..=1.0;
        /// Steps over which the probability of a random action falls; with 0 it stays at `epsilon_start`.
        epsilon_steps: u64 = 100_000;
        /// Steps before the probability of a random action begins to fall.
        epsilon_delay: u64 = 0;
        /// Explore by noise on the parameters of dense layers, and not by random actions.
        noisy: bool = false;
        /// First spread of the noise, before it is divided by the root of a layer's inputs.
        noisy_sigma: f64 = 0.5, in Above(0.0);
    }
}

impl Settings for ExplorationSettings {
    fn unheard(&self) -> Vec<(&'static str, String)> {
        if self.noisy {
            let keys = ["epsilon_start", "epsilon_end", "epsilon_steps", "epsilon_delay"];
            return keys.map(|key| (key, "noisy is on, so no action is random".to_owned())).to_vec();
        }
        let mut unheard = vec![("noisy_sigma", "noisy is off".to_owned())];
        if self.epsilon_steps == 0 {
            unheard.push(("epsilon_end", "epsilon_steps is 0, so epsilon stays at epsilon_start".to_owned()));
        } else if self.epsilon_start == self.epsilon_end {
            unheard.push(("epsilon_steps", flat_schedule("epsilon_start", "epsilon_end")));
        }
        if unheard.len() > 1 {
            unheard.push(("epsilon_delay", "epsilon does not change".to_owned()));
        }
        unheard
    }
}

/// Marks an action that the network is to choose.
pub(crate) const GREEDY: usize = usize::MAX;

/// How it explores.
#[derive(Debug)]
pub(crate) enum Exploration {
    /// Random actions with probability ε, which begins to fall after `delay` steps.
    Epsilon { epsilon: Linear, delay: u64, rng: Pcg32 },
    /// Noise on the parameters.
    Noise { rng: Pcg32 },
}

impl Exploration {
    pub(crate) fn new(settings: &ExplorationSettings, seeds: &Seeds) -> Self {
        let ExplorationSettings { epsilon_start, epsilon_end, epsilon_steps, epsilon_delay: delay, .. } = *settings;
        if settings.noisy {
            return Self::Noise { rng: seeds.stream("noise") };
        }
        let epsilon = Linear::new(epsilon_start, epsilon_end, epsilon_steps);
        Self::Epsilon { epsilon, delay, rng: seeds.stream("explore") }
    }

    /// Fills in the random actions of a step, and [`GREEDY`] for the others.
    pub(crate) fn begin_step(&mut self, n_steps: u64, network: &mut QNetwork, n_actions: usize, actions: &mut [usize]) {
        let now = self.epsilon(n_steps);
        match self {
            Self::Epsilon { rng, .. } => {
                for action in actions {
                    let explores = rng.r#gen::<f64>() < now;
                    *action = if explores { rng.gen_range(0..n_actions) } else { GREEDY };
                }
            }
            Self::Noise { rng } => {
                network.draw_noise(false, rng);
                actions.fill(GREEDY);
            }
        }
    }

    /// Draws the noise of an update.
    pub(crate) fn begin_update(&mut self, network: &mut QNetwork) {
        if let Self::Noise { rng } = self {
            network.draw_noise(true, rng);
        }
    }

    fn epsilon(&self, n_steps: u64) -> f64 {
        match self {
            Self::Epsilon { epsilon, delay, .. } => epsilon.at(n_steps.saturating_sub(*delay)),
            Self::Noise { .. } => 0.0,
        }
    }

    pub(crate) fn stat(&self, n_steps: u64) -> Stat {
        ("train/epsilon", self.epsilon(n_steps))
    }

    fn parts(&mut self) -> (&'static str, &mut Pcg32) {
        match self {
            Self::Epsilon { rng, .. } => ("explore", rng),
            Self::Noise { rng } => ("noise", rng),
        }
    }

    pub(crate) fn save<'a>(&self, to: Snapshot<'a>) -> Snapshot<'a> {
        match self {
            Self::Epsilon { rng, .. } => to.value("explore", rng),
            Self::Noise { rng } => to.value("noise", rng),
        }
    }

    pub(crate) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        let (name, rng) = self.parts();
        *rng = from.value(name)?;
        Ok(())
    }
}
