//! Scores of the greedy policy over whole episodes, in environments of their own.

use crate::config::training::TrainConfig;
use crate::encoder::ObsTransform;
use crate::statistics::{iqm, mean};
use anyhow::Result;
use carom_agents::Player;
use carom_agents::tabular::exact::{expected_return, greedy_policy};
use carom_envs::{EnvSpec, ObsSpace, Seeds, VecEnv};
use rand::Rng;
use rand_pcg::Pcg32;
use serde::Serialize;

/// Environments that evaluation steps at once.
const N_ENVS: u64 = 32;

/// Time limit of the episodes played if neither the environment nor the caller sets one, since a greedy policy may
/// never end an episode.
const MAX_EPISODE_STEPS: u64 = 100_000;

/// Settings of an evaluation.
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    /// The environment.
    pub env: EnvSpec,
    /// Episodes to play.
    pub episodes: u64,
    /// Probability of a uniformly random action instead of the greedy one.
    pub epsilon: f64,
    /// Master seed. The names of its streams differ from those of training.
    pub seed: u64,
    /// Set of games that is played.
    pub games: Games,
}

/// Two sets of games of a seed. The games that choose a run's best policy are not those that score it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Games {
    /// Played during training.
    Choosing,
    /// Played after it.
    Scoring,
}

impl Games {
    /// Returns the name of their random streams.
    fn stream(self) -> &'static str {
        match self {
            Games::Choosing => "eval/choosing",
            Games::Scoring => "eval",
        }
    }
}

/// The scores of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Scores {
    /// Episodes played.
    pub episodes: u64,
    /// Mean of their returns.
    pub return_mean: f64,
    /// Standard deviation of their returns (of the sample, n − 1).
    pub return_std: f64,
    /// Mean of the middle half of their returns.
    pub return_iqm: f64,
    /// Mean of their lengths.
    pub length_mean: f64,
    /// Share of the episodes that the time limit truncated.
    pub truncated_share: f64,
    /// Expected return by the transition table, if the environment has one and the policy ends its episodes.
    pub return_exact: Option<f64>,
}

/// A policy's expected return by the transition table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Exact {
    /// The expected return.
    Return(f64),
    /// There is none: from some start the policy never ends an episode, and nothing cuts it off.
    Endless,
}

impl Evaluation {
    /// Returns the evaluation of a run after training: of whole games for true rewards.
    pub(crate) fn of_run(config: &TrainConfig) -> Self {
        let (episodes, seed) = (config.run.eval_episodes, config.run.seed);
        let epsilon = config.run.eval_epsilon.unwrap_or(config.env.evaluation_rules().epsilon);
        Self { env: config.env.evaluation(), episodes, epsilon, seed, games: Games::Scoring }
    }

    /// Returns the evaluation of a run during training: other games, and none longer than the protocol's time limit.
    pub(crate) fn during(config: &TrainConfig) -> Self {
        let mut evaluation = Self { games: Games::Choosing, ..Self::of_run(config) };
        let own = evaluation.env.time_limit();
        let protocols = config.env.evaluation_rules().max_steps.filter(|&cap| own.is_none_or(|own| cap < own));
        if let Some(cap) = config.run.eval_max_steps.or(protocols) {
            evaluation.env = evaluation.env.with_time_limit(cap);
        }
        evaluation
    }

    /// Returns the environment that is played, which has a time limit in any case.
    pub(crate) fn played(&self) -> EnvSpec {
        match self.env.time_limit() {
            Some(_) => self.env.clone(),
            None => self.env.clone().with_time_limit(MAX_EPISODE_STEPS),
        }
    }

    /// Plays the episodes, with observations made by `transform`. The number of episodes of each environment is fixed,
    /// since taking the episodes that end first would favour short ones.
    ///
    /// # Errors
    /// When the environment or a setting does not exist.
    pub(crate) fn run(&self, player: &mut Player, transform: &ObsTransform) -> Result<Scores> {
        self.run_telling(player, transform, |_| {})
    }

    /// Plays the episodes as [`Evaluation::run`] does, and calls `progress` with the number of finished episodes after
    /// each.
    ///
    /// # Errors
    /// When the environment or a setting does not exist.
    pub(crate) fn run_telling(
        &self,
        player: &mut Player,
        transform: &ObsTransform,
        progress: impl Fn(u64),
    ) -> Result<Scores> {
        let seeds = Seeds::new(self.seed);
        let n_envs = self.episodes.min(N_ENVS);
        let rngs = seeds.streams(self.games.stream(), n_envs as usize);
        let mut envs = transform.envs(&self.played(), rngs)?;
        let mut explore = seeds.streams(&format!("{}/explore", self.games.stream()), n_envs as usize);
        let mut left: Vec<u64> =
            (0..n_envs).map(|env_idx| self.episodes / n_envs + u64::from(env_idx < self.episodes % n_envs)).collect();
        let (mut actions, mut stacks) = (vec![0; envs.n_envs()], Vec::new());
        let (mut returns, mut lengths, mut n_truncated) = (Vec::new(), 0, 0);
        while (returns.len() as u64) < self.episodes {
            player.greedy(&envs, &mut stacks, &mut actions);
            self.explore(envs.n_actions(), &mut explore, &mut actions);
            envs.step(&actions);
            for episode in envs.episodes() {
                if left[episode.env_idx] > 0 {
                    left[episode.env_idx] -= 1;
                    returns.push(episode.episode_return);
                    progress(returns.len() as u64);
                    lengths += episode.length;
                    n_truncated += u64::from(envs.transitions()[episode.env_idx].truncated);
                }
            }
        }
        let exact = self.exact(player, &envs).and_then(Exact::finite);
        Ok(scores(returns, lengths, n_truncated, exact))
    }

    /// Replaces each action with probability `epsilon` by a uniformly random one. Each environment has its own stream.
    fn explore(&self, n_actions: usize, explore: &mut [Pcg32], actions: &mut [usize]) {
        if self.epsilon > 0.0 {
            for (action, explore) in actions.iter_mut().zip(explore) {
                if explore.gen_bool(self.epsilon) {
                    *action = explore.gen_range(0..n_actions as u32) as usize;
                }
            }
        }
    }

    /// Returns the expected return of the policy by the transition table of `envs`, or `None` if there is no table or
    /// the policy is not deterministic. Only a time limit of the environment's own cuts episodes off.
    pub(crate) fn exact(&self, player: &mut Player, envs: &VecEnv) -> Option<Exact> {
        let (model, &ObsSpace::Discrete { n }) = (envs.env(0).model()?, envs.obs_space()) else { return None };
        let agent = player.agent()?;
        let policy = greedy_policy(agent, n);
        // Two calls of a random policy differ; its expected return is not computed.
        let is_fixed = greedy_policy(agent, n) == policy;
        is_fixed.then(|| {
            let exact = expected_return(model, &policy, self.epsilon, self.env.time_limit());
            exact.map_or(Exact::Endless, Exact::Return)
        })
    }
}

impl Exact {
    fn finite(self) -> Option<f64> {
        match self {
            Exact::Return(value) => Some(value),
            Exact::Endless => None,
        }
    }
}

fn scores(mut returns: Vec<f64>, lengths: u64, n_truncated: u64, return_exact: Option<f64>) -> Scores {
    // Sorted, so that rounding does not depend on the order in which environments end.
    returns.sort_by(f64::total_cmp);
    let n = returns.len() as f64;
    let return_mean = mean(&returns);
    let variance = returns.iter().map(|value| (value - return_mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    Scores {
        episodes: returns.len() as u64,
        return_mean,
        return_std: variance.sqrt(),
        return_iqm: iqm(&returns),
        length_mean: lengths as f64 / n,
        truncated_share: n_truncated as f64 / n,
        return_exact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_as_worked_by_hand() {
        let scores = scores(vec![8.0, 0.0, 2.0, 100.0], 40, 1, None);
        assert_eq!((scores.return_mean, scores.return_iqm), (27.5, 5.0));
        assert_eq!((scores.length_mean, scores.truncated_share), (10.0, 0.25));
        // Squared deviations 756.25 + 650.25 + 380.25 + 5256.25, over 3.
        assert!((scores.return_std - (7_043.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
