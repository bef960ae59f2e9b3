//! One environment that is played step by step and drawn. Unlike in [`carom_envs::VecEnv`], the last state of an
//! episode stays visible until the next episode is started.

use crate::encoder::ObsTransform;
use anyhow::{Result, anyhow};
use carom_envs::{Env, EnvSpec, ObsSpace, Picture, View};
use rand_pcg::Pcg32;
use serde_json::Value;

/// An environment that is played and drawn.
pub(crate) struct LiveGame {
    /// Id of the environment.
    pub id: String,
    /// Protocol of the episodes' returns.
    pub protocol: String,
    /// Episodes started.
    pub episode: u64,
    /// Steps of this episode.
    pub step: u64,
    /// Sum of this episode's rewards.
    pub episode_return: f64,
    /// The last action and its reward; `None` before the first.
    pub last: Option<(usize, f32)>,
    /// How this episode ended; `None` while it goes on.
    pub end: Option<End>,
    env: Box<dyn Env>,
    /// Observations of the environment itself, which tell what kind of game it is.
    env_obs: ObsSpace,
    /// View of frames as codes, if the agent observes codes.
    view: Option<Box<dyn View>>,
    /// One frame, if there is a view.
    frame: Vec<u8>,
    rng: Pcg32,
    frame_skip: u64,
    max_steps: Option<u64>,
    /// Stack of observations that an agent acts on, the oldest first.
    stack: Vec<u8>,
    obs_bytes: usize,
}

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By the game's rules.
    Terminated,
    /// By the time limit.
    Truncated,
}

impl LiveGame {
    /// Starts the first episode, in the environment's version for evaluation.
    ///
    /// # Errors
    /// When the environment cannot draw itself.
    pub(crate) fn new(spec: &EnvSpec, rng: Pcg32) -> Result<Self> {
        Self::seen_through(&ObsTransform::Raw, spec, rng)
    }

    /// Starts the first episode for an agent whose observations are made by `transform`, in the environment's version
    /// for evaluation.
    ///
    /// # Errors
    /// When the environment cannot draw itself, or `transform` does not suit it.
    pub(crate) fn seen_through(transform: &ObsTransform, spec: &EnvSpec, rng: Pcg32) -> Result<Self> {
        let (spec, id) = (transform.seen(spec)?.evaluation(), spec.id());
        let env = spec.make();
        let env_obs = env.obs_space();
        let (env, view) = (transform.wrap(env), transform.view());
        let frame = vec![0; if view.is_some() { env.obs_space().n_bytes() } else { 0 }];
        let obs_bytes = view.as_ref().map_or_else(|| env.obs_space(), |view| view.obs_space()).n_bytes();
        let mut game = Self {
            id: id.to_owned(),
            protocol: spec.protocol(),
            episode: 0,
            step: 0,
            episode_return: 0.0,
            last: None,
            end: None,
            env,
            env_obs,
            view,
            frame,
            rng,
            frame_skip: spec.settings().get("frame_skip").and_then(Value::as_u64).unwrap_or(1),
            max_steps: spec.time_limit(),
            stack: vec![0; spec.frame_stack() * obs_bytes],
            obs_bytes,
        };
        game.begin();
        game.env.picture().ok_or_else(|| anyhow!("environment `{id}` cannot draw itself: there is nothing to see"))?;
        Ok(game)
    }

    /// Starts the next episode.
    pub(crate) fn begin(&mut self) {
        self.env.reset(&mut self.rng);
        self.observe();
        let newest = self.stack.len() - self.obs_bytes;
        let (older, newest) = self.stack.split_at_mut(newest);
        older.chunks_exact_mut(self.obs_bytes).for_each(|seen| seen.copy_from_slice(newest));
        self.episode += 1;
        (self.step, self.episode_return, self.last, self.end) = (0, 0.0, None, None);
    }

    /// Cuts episodes off after `max_steps` steps, if nothing ends them before.
    pub(crate) fn shorten(&mut self, max_steps: u64) {
        self.max_steps = Some(self.max_steps.map_or(max_steps, |own| own.min(max_steps)));
    }

    /// Plays `action`.
    pub(crate) fn play(&mut self, action: usize) {
        let step = self.env.step(action, &mut self.rng);
        self.stack.rotate_left(self.obs_bytes);
        self.observe();
        self.step += 1;
        self.episode_return += f64::from(step.reward);
        self.last = Some((action, step.reward));
        self.end = if step.terminated {
            Some(End::Terminated)
        } else {
            self.max_steps.is_some_and(|max_steps| self.step >= max_steps).then_some(End::Truncated)
        };
    }

    /// Writes the present observation to the newest place of the stack.
    fn observe(&mut self) {
        let newest = self.stack.len() - self.obs_bytes;
        let seen = &mut self.stack[newest..];
        match &mut self.view {
            None => self.env.observe(seen),
            Some(view) => {
                self.env.observe(&mut self.frame);
                view.look(&self.frame, seen);
            }
        }
    }

    /// Returns the space of one observation in the stack.
    pub(crate) fn obs_space(&self) -> ObsSpace {
        self.view.as_ref().map_or_else(|| self.env.obs_space(), |view| view.obs_space())
    }

    /// Returns the environment.
    pub(crate) fn env(&self) -> &dyn Env {
        &*self.env
    }

    /// Returns the stack of observations to act on, the oldest first.
    pub(crate) fn stack(&self) -> &[u8] {
        &self.stack
    }

    /// Returns the number of observations in the stack.
    pub(crate) fn frame_stack(&self) -> usize {
        self.stack.len() / self.obs_bytes
    }

    /// Draws the present state.
    pub(crate) fn picture(&self) -> Picture {
        self.env.picture().expect("an environment that has a picture always has one")
    }

    /// Returns the names of the actions.
    pub(crate) fn action_names(&self) -> &[&'static str] {
        self.env.action_names()
    }

    /// Returns the lives left, or `None` if the game has no lives.
    pub(crate) fn lives(&self) -> Option<u64> {
        let names = self.env.factor_names();
        let at = names.iter().position(|&name| name == "lives")?;
        let mut factors = vec![0.0; names.len()];
        self.env.factors(&mut factors);
        Some(factors[at] as u64)
    }

    /// Returns whether nothing happens until the player acts.
    pub(crate) fn is_turn_based(&self) -> bool {
        matches!(self.env_obs, ObsSpace::Discrete { .. })
    }

    /// Returns the steps per second at which the game is good to watch: 60 frames of an Atari, CartPole's own 50, a few
    /// cells of a grid.
    pub(crate) fn speed(&self) -> f64 {
        match self.env_obs {
            ObsSpace::Pixels { .. } => 60.0 / self.frame_skip as f64,
            ObsSpace::Vector { .. } => 50.0,
            ObsSpace::Planes { .. } => 6.0,
            ObsSpace::Discrete { .. } => 4.0,
        }
    }

    /// Returns a pixel's width divided by its height. Pixels of an Atari fill a screen of 4:3.
    pub(crate) fn pixel_aspect(picture: &Picture) -> f64 {
        if (picture.width, picture.height) == (160, 210) { 1.75 } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::{Seeds, registry as envs};
    use serde_json::json;

    fn game(id: &str, settings: &Value) -> LiveGame {
        let spec = envs::resolve(id, &settings.as_object().cloned().unwrap_or_default()).expect("valid");
        LiveGame::new(&spec, Seeds::new(3).stream("eval/0")).unwrap_or_else(|e| panic!("{e:#}"))
    }

    #[test]
    fn episodes_are_those_of_the_vectoriser_and_their_end_stays() {
        let id = "breakout";
        let spec = envs::resolve(id, &carom_envs::Values::new()).expect("valid").with_time_limit(12).evaluation();
        let mut envs = spec.make_vec(vec![Seeds::new(3).stream("eval/0")]).expect("valid");
        let mut game = game(id, &Value::Object(spec.settings().clone()));
        let mut scratch = Vec::new();
        for step in 0..40 {
            assert_eq!(game.stack(), envs.stacks(&mut scratch), "step {step}");
            let action = [1, 2, 3, 3][step % 4];
            game.play(action);
            envs.step(&[action]);
            let end = envs.transitions()[0].truncated.then_some(End::Truncated);
            assert_eq!((game.end, game.last), (end, Some((action, envs.transitions()[0].reward))));
            if game.end.is_some() {
                assert_eq!((game.step, game.stack()), (12, envs.final_stack(0, &mut scratch)));
                game.begin();
            }
        }
        assert_eq!((game.episode, game.frame_stack(), game.lives()), (4, 4, Some(5)));
    }

    #[test]
    fn speeds_suit_the_game() {
        assert_eq!(game("breakout", &json!({})).speed(), 15.0);
        assert_eq!(game("breakout", &json!({"frame_skip": 1})).speed(), 60.0);
        assert_eq!(game("cartpole", &json!({})).speed(), 50.0);
        assert!(game("taxi", &json!({})).is_turn_based() && !game("cartpole", &json!({})).is_turn_based());
        assert_eq!(game("cartpole", &json!({})).lives(), None);
    }
}
