//! How good a policy is: scores of the greedy policy over whole episodes, apart from training.

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

/// Longest episode where neither the environment nor the caller sets a limit: a greedy policy may never end one.
const LONGEST: u64 = 100_000;

/// What is to be evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    /// The environment.
    pub env: EnvSpec,
    /// Episodes to play.
    pub episodes: u64,
    /// Probability of a uniformly random action instead of the greedy one.
    pub epsilon: f64,
    /// Master seed; the streams have names that training does not use.
    pub seed: u64,
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
    /// Share of the episodes that the time limit cut off.
    pub truncated_share: f64,
    /// Expected return by the transition table, where the environment has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_exact: Option<f64>,
}

impl Evaluation {
    /// The evaluation that a run's configuration asks for.
    pub(crate) fn of_run(config: &TrainConfig) -> Self {
        let (episodes, seed) = (config.run.eval_episodes, config.run.seed);
        Self { env: config.env.clone(), episodes, epsilon: 0.0, seed }.of_whole_games()
    }

    /// The same by whole games and true rewards, and with a limit where there was none.
    pub(crate) fn of_whole_games(mut self) -> Self {
        self.env = self.env.evaluation();
        if self.env.time_limit().is_none() {
            self.env = self.env.with_time_limit(LONGEST);
        }
        self
    }

    /// Plays the episodes, seen through `transform`. Each environment's share of them is fixed beforehand: counting whichever end first would count
    /// short episodes too often.
    ///
    /// # Errors
    /// When the environment or a setting does not exist.
    pub(crate) fn run(&self, player: &mut Player, transform: &ObsTransform) -> Result<Scores> {
        self.run_telling(player, transform, |_| {})
    }

    /// As [`Evaluation::run`], telling `progress` the number of episodes played so far whenever one has ended.
    ///
    /// # Errors
    /// As [`Evaluation::run`].
    pub(crate) fn run_telling(
        &self,
        player: &mut Player,
        transform: &ObsTransform,
        progress: impl Fn(u64),
    ) -> Result<Scores> {
        let seeds = Seeds::new(self.seed);
        let n_envs = self.episodes.min(N_ENVS);
        let rngs = (0..n_envs).map(|env_idx| seeds.stream(&format!("eval/{env_idx}"))).collect();
        let mut envs = transform.envs(&self.env, rngs)?;
        let mut explore = seeds.stream("eval/explore");
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
        Ok(scores(returns, lengths, n_truncated, self.exact(player, &envs)))
    }

    /// Puts a uniformly random action in the place of each with probability `epsilon`.
    fn explore(&self, n_actions: usize, explore: &mut Pcg32, actions: &mut [usize]) {
        if self.epsilon > 0.0 {
            for action in actions {
                if explore.gen_bool(self.epsilon) {
                    *action = explore.gen_range(0..n_actions as u32) as usize;
                }
            }
        }
    }

    /// Expected return of the policy by the transition table of `envs`; none where there is no table, or no fixed policy.
    pub(crate) fn exact(&self, player: &mut Player, envs: &VecEnv) -> Option<f64> {
        let (model, &ObsSpace::Discrete { n }) = (envs.env(0).model()?, envs.obs_space()) else { return None };
        let agent = player.agent()?;
        let policy = greedy_policy(agent, n);
        // A policy that answers differently when asked again, as `random` does, is none that a table can judge.
        let is_fixed = greedy_policy(agent, n) == policy;
        let max_steps = self.env.time_limit();
        if is_fixed { expected_return(model, &policy, self.epsilon, max_steps) } else { None }
    }
}

fn scores(mut returns: Vec<f64>, lengths: u64, n_truncated: u64, return_exact: Option<f64>) -> Scores {
    // Sums do not depend on which environment ended first.
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
