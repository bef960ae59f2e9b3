//! Scales on which returns of different games are comparable: 0 and 1 stand for two returns of each game.

use crate::config::layers::Layer;
use crate::config::part::Part;
use crate::config::training::TrainConfig;
use crate::encoder::ObsTransform;
use crate::ranks::Ranks;
use crate::train::evaluation::{Evaluation, Games};
use crate::train::session::Session;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// Episodes of the random player.
const RANDOM_EPISODES: u64 = 100;

/// Episodes of the scripted player. They are long where it plays well.
const SCRIPTED_EPISODES: u64 = 20;

/// Returns that scores of 0 and 1 stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    pub zero: f64,
    pub one: f64,
}

/// Choice of the returns that scores of 1 stand for. A score of 0 is the return of random play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Reference {
    /// Return of the player that was written for the game
    Scripted,
    /// Return of the best of those compared
    Best,
}

/// Scales by environment, with what they mean in words.
#[derive(Debug)]
pub(crate) struct Scales {
    pub by_env: BTreeMap<String, Scale>,
    pub meaning: String,
}

impl Scale {
    /// Returns the score of a return.
    pub(crate) fn score(self, value: f64) -> f64 {
        (value - self.zero) / (self.one - self.zero)
    }
}

/// Makes the scale of each environment: as `given`, else from the random player's return to that of `reference`. Each
/// environment has a run's settings and the return of its best entrant. The default is the scripted player, or the best
/// entrant if an environment has no scripted player.
///
/// # Errors
/// When a reference player cannot play, or the return of a score of 1 is not above that of 0 in an environment.
pub(crate) fn scales(
    envs: &[(&TrainConfig, Option<f64>)],
    given: &BTreeMap<String, Scale>,
    reference: Option<Reference>,
) -> Result<Scales> {
    let open: Vec<_> = envs.iter().filter(|(config, _)| !given.contains_key(config.env.id())).collect();
    let all_have_script = || open.iter().all(|(config, _)| player(config, "scripted").is_ok());
    let reference = reference.unwrap_or_else(|| if all_have_script() { Reference::Scripted } else { Reference::Best });
    let mut by_env = given.clone();
    for (config, best) in &open {
        let env = config.env.id();
        let one = match reference {
            Reference::Scripted => mean_return(config, "scripted", SCRIPTED_EPISODES)?,
            Reference::Best => best.with_context(|| format!("no entrant has ended an episode of {env}"))?,
        };
        by_env.insert(env.to_owned(), Scale { zero: mean_return(config, "random", RANDOM_EPISODES)?, one });
    }
    by_env.iter().try_for_each(check_rises)?;
    let one = match reference {
        Reference::Scripted => format!("the scripted player's ({SCRIPTED_EPISODES} episodes)"),
        Reference::Best => "that of the best of those compared".to_owned(),
    };
    let meaning = match open.is_empty() {
        true => "0 and 1 are the returns given by --scale".to_owned(),
        false => format!("0 is the random player's return ({RANDOM_EPISODES} episodes), 1 {one}"),
    };
    Ok(Scales { by_env, meaning })
}

/// Checks what can be known of scales before the runs are made: that those `given` rise, and that the `reference` plays
/// in the environments of `configs` that have none.
///
/// # Errors
/// When it is not so.
pub(crate) fn check(
    configs: &[&TrainConfig],
    given: &BTreeMap<String, Scale>,
    reference: Option<Reference>,
) -> Result<()> {
    given.iter().try_for_each(check_rises)?;
    let mut open = configs.iter().filter(|config| !given.contains_key(config.env.id()));
    match reference {
        Some(Reference::Scripted) => open.try_for_each(|config| player(config, "scripted").map(drop)),
        Some(Reference::Best) | None => Ok(()),
    }
}

fn check_rises((env, Scale { zero, one }): (&String, &Scale)) -> Result<()> {
    ensure!(
        one > zero && (one - zero).is_finite(),
        "returns of {env} have no scale: 1 would stand for {one}, which is not above the {zero} of 0; give --scale \
         {env}=ZERO..ONE"
    );
    Ok(())
}

/// Returns the mean return of the agent called `name` over `episodes` in the environment of `config`.
fn mean_return(config: &TrainConfig, name: &str, episodes: u64) -> Result<f64> {
    let mut session = player(config, name)?;
    let env = session.config.env.clone();
    let evaluation = Evaluation { env, episodes, epsilon: 0.0, seed: 0, games: Games::Scoring };
    Ok(evaluation.run(&mut session.player, &ObsTransform::Raw)?.return_mean)
}

/// Returns a session of the agent called `name` in the environment of `config`.
fn player(config: &TrainConfig, name: &str) -> Result<Session> {
    let mut layer = Layer::default().with("env", Some(config.env.id())).with("agent", Some(name));
    for (key, value) in config.env.settings() {
        layer = layer.with_part(Part::Env, key, Some(value));
    }
    Session::new(TrainConfig::resolve(&[layer])?, ObsTransform::Raw, Ranks::alone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_players_have_0_and_1() {
        let layer = Layer::default().with("env", Some("minatar/breakout")).with("agent", Some("dqn"));
        // Games of this length have some thirty points at most: the players play by the settings of those compared.
        let layer = layer.with_part(Part::Env, "max_steps", Some(200));
        let config = TrainConfig::resolve(&[layer]).expect("valid");
        let scales = scales(&[(&config, None)], &BTreeMap::new(), None).expect("both play");
        let scale = scales.by_env["minatar/breakout"];
        assert!((0.2..1.0).contains(&scale.zero) && (10.0..40.0).contains(&scale.one), "{scale:?}");
        assert_eq!((scale.score(scale.zero), scale.score(scale.one)), (0.0, 1.0));
        assert!(scales.meaning.contains("the scripted player's"), "{}", scales.meaning);
    }

    #[test]
    fn a_given_scale_is_taken_and_one_that_does_not_rise_refused() {
        let layer = Layer::default().with("env", Some("taxi")).with("agent", Some("sarsa"));
        let config = TrainConfig::resolve(&[layer]).expect("valid");
        let given = |one| BTreeMap::from([("taxi".to_owned(), Scale { zero: -10.0, one })]);
        let found = scales(&[(&config, None)], &given(10.0), None).expect("given");
        assert_eq!(found.by_env["taxi"].score(5.0), 0.75);
        for one in [-10.0, -20.0, f64::NAN] {
            let error = scales(&[(&config, None)], &given(one), None).expect_err("no scale");
            assert!(error.to_string().contains("--scale taxi=ZERO..ONE"), "{error}");
        }
    }

    #[test]
    fn a_reference_below_random_play_is_refused() {
        let layer = Layer::default().with("env", Some("taxi")).with("agent", Some("sarsa"));
        let config = TrainConfig::resolve(&[layer]).expect("valid");
        // Random play loses some 800 points.
        let best = |value| scales(&[(&config, Some(value))], &BTreeMap::new(), Some(Reference::Best));
        assert!(best(0.0).is_ok());
        let error = best(-5000.0).expect_err("worse than random play").to_string();
        assert!(error.contains("would stand for -5000, which is not above the -"), "{error}");
    }
}
