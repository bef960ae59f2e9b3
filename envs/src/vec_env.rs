//! Many environments that are stepped together.

use crate::env::{Env, RestoreError};
use crate::frames::Frames;
use crate::slot::{Episode, SavedSlot, Slot, Transition};
use crate::space::{ObsArray, ObsSpace};
use crate::view::View;
use rand_pcg::Pcg32;
use serde::Deserialize;
use serde_json::Value;

/// `N` environments with a time limit and automatic reset.
///
/// After a step that ends an episode, [`VecEnv::obs`] holds the first observation of the next episode and
/// [`VecEnv::final_obs`] the last of the one that ended. Each environment draws from its own random stream, so results
/// do not depend on how many threads step them.
///
/// With a [frame stack](VecEnv::with_frame_stack) these remain single frames, as a replay stores them.
/// [`VecEnv::stacks`], [`VecEnv::prev_stacks`] and [`VecEnv::final_stack`] are the stacks that actions are chosen on.
pub struct VecEnv {
    slots: Vec<Slot>,
    max_steps: u64,
    clips_rewards: bool,
    obs_space: ObsSpace,
    obs_bytes: usize,
    n_actions: usize,
    frames: Frames,
    final_obs: Vec<u8>,
    viewed: Option<Viewed>,
    transitions: Vec<Transition>,
    episodes: Vec<Episode>,
}

/// A view, and the environments' own observations, which are its input.
struct Viewed {
    view: Box<dyn View>,
    frame_bytes: usize,
    /// `[n_envs * frame_bytes]`
    frames: Vec<u8>,
}

impl VecEnv {
    /// A vector of `envs`, all of them reset. `rngs[i]` is the random stream of environment `i`, and `max_steps` the
    /// time limit of an episode.
    ///
    /// # Panics
    /// When there is no environment, there are not as many streams, the observations or actions differ, or the limit is
    /// 0.
    pub fn new(envs: Vec<Box<dyn Env>>, rngs: Vec<Pcg32>, max_steps: Option<u64>) -> Self {
        assert!(!envs.is_empty(), "a vector of environments needs at least one");
        assert_eq!(envs.len(), rngs.len(), "one random stream for each environment");
        assert_ne!(max_steps, Some(0), "a time limit is at least one step");
        let (n_envs, obs_space, n_actions) = (envs.len(), envs[0].obs_space(), envs[0].action_names().len());
        assert!(
            envs.iter().all(|env| env.obs_space() == obs_space && env.action_names().len() == n_actions),
            "all environments of a vector share their observations and actions"
        );
        let obs_bytes = obs_space.n_bytes();
        let slots = envs.into_iter().zip(rngs).map(|(env, rng)| Slot::new(env, rng));
        let mut vec_env = Self {
            slots: slots.collect(),
            max_steps: max_steps.unwrap_or(u64::MAX),
            clips_rewards: false,
            obs_space,
            obs_bytes,
            n_actions,
            frames: Frames::new(n_envs, obs_bytes, 1),
            final_obs: vec![0; n_envs * obs_bytes],
            viewed: None,
            transitions: vec![Transition::default(); n_envs],
            episodes: Vec::with_capacity(n_envs),
        };
        vec_env.reset();
        vec_env
    }

    /// Sets the number of observations in a stack. To be called before the first step.
    ///
    /// # Panics
    /// When `frame_stack` is 0.
    #[must_use]
    pub fn with_frame_stack(mut self, frame_stack: usize) -> Self {
        assert_ne!(frame_stack, 0, "a stack has at least one frame");
        let mut frames = Frames::new(self.n_envs(), self.obs_bytes, frame_stack);
        frames.now_mut().copy_from_slice(self.obs());
        self.frames = frames;
        self
    }

    /// Sets a view: [`VecEnv::obs`] and all that follows from it are then the view's output. To be called before the
    /// first step.
    #[must_use]
    pub fn with_view(mut self, view: Box<dyn View>) -> Self {
        let (frame_bytes, frames) = (self.obs_bytes, self.obs().to_vec());
        let mut viewed = Viewed { view, frame_bytes, frames };
        self.obs_space = viewed.view.obs_space();
        self.obs_bytes = self.obs_space.n_bytes();
        self.frames = Frames::new(self.n_envs(), self.obs_bytes, self.frame_stack());
        self.final_obs = vec![0; self.n_envs() * self.obs_bytes];
        viewed.view.look(&viewed.frames, self.frames.now_mut());
        self.viewed = Some(viewed);
        self
    }

    /// Sets whether rewards are replaced by their sign (Mnih et al. 2015). Returns of episodes are of the true rewards.
    #[must_use]
    pub fn with_reward_clip(mut self, clips_rewards: bool) -> Self {
        self.clips_rewards = clips_rewards;
        self
    }

    /// Number of environments.
    pub fn n_envs(&self) -> usize {
        self.slots.len()
    }

    /// Shape and element type of one observation: of a single frame.
    pub fn obs_space(&self) -> &ObsSpace {
        &self.obs_space
    }

    /// Number of actions.
    pub fn n_actions(&self) -> usize {
        self.n_actions
    }

    /// Present observations, `[n_envs * obs_bytes]`.
    pub fn obs(&self) -> &[u8] {
        self.frames.ago(0)
    }

    /// Present observations as an array, the environments along its first axis.
    pub fn obs_array(&self) -> ObsArray<'_> {
        self.obs_space.array(self.obs())
    }

    /// Present observation of environment `env_idx`.
    pub fn env_obs(&self, env_idx: usize) -> &[u8] {
        &self.obs()[self.range(env_idx)]
    }

    /// Observations that the actions of the latest step were chosen on, `[n_envs * obs_bytes]`. Meaningless before the
    /// first step. The buffers rotate, so nothing is copied.
    pub fn prev_obs(&self) -> &[u8] {
        self.frames.ago(1)
    }

    /// True successor observation of the latest step in environment `env_idx`: the final one if the episode ended, else
    /// the present one.
    pub fn next_obs(&self, env_idx: usize) -> &[u8] {
        if self.transitions[env_idx].done() { self.final_obs(env_idx) } else { self.env_obs(env_idx) }
    }

    /// Last observation of the episode that the latest step ended in environment `env_idx`. Meaningless if it ended
    /// none.
    pub fn final_obs(&self, env_idx: usize) -> &[u8] {
        &self.final_obs[self.range(env_idx)]
    }

    /// Number of frames in a stack.
    pub fn frame_stack(&self) -> usize {
        self.frames.depth()
    }

    /// Present stacks, `[n_envs, frame_stack, obs_bytes]`, oldest frame first. Frames before an episode's first are
    /// repeats of it. Stacks are gathered in `scratch`; stacks of one frame are [`VecEnv::obs`] itself.
    pub fn stacks<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        self.stacks_ago(0, scratch)
    }

    /// Stacks that the actions of the latest step were chosen on, gathered in `scratch` like [`VecEnv::stacks`].
    pub fn prev_stacks<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        self.stacks_ago(1, scratch)
    }

    fn stacks_ago<'a>(&'a self, ago: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        if self.frame_stack() == 1 {
            return self.frames.ago(ago);
        }
        let stack_bytes = self.frame_stack() * self.obs_bytes;
        scratch.resize(self.n_envs() * stack_bytes, 0);
        for (env_idx, out) in scratch.chunks_exact_mut(stack_bytes).enumerate() {
            self.frames.stack(env_idx, ago, out);
        }
        scratch
    }

    /// Last stack of the episode that the latest step ended in environment `env_idx`, `[frame_stack, obs_bytes]`,
    /// gathered in `scratch`.
    pub fn final_stack<'a>(&'a self, env_idx: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let final_obs = self.final_obs(env_idx);
        if self.frame_stack() == 1 {
            return final_obs;
        }
        scratch.resize(self.frame_stack() * self.obs_bytes, 0);
        let (older, newest) = scratch.split_at_mut((self.frame_stack() - 1) * self.obs_bytes);
        self.frames.stack(env_idx, 1, older);
        newest.copy_from_slice(final_obs);
        scratch
    }

    /// Results of the latest step.
    pub fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// Episodes that the latest step ended, in the order of their environments.
    pub fn episodes(&self) -> &[Episode] {
        &self.episodes
    }

    /// Environment `env_idx`, for its action names, factors, model or picture.
    pub fn env(&self, env_idx: usize) -> &dyn Env {
        self.slots[env_idx].env()
    }

    /// Writes the actions of the player written for the game to `actions`, one for each environment.
    ///
    /// # Panics
    /// When there is no such player.
    pub fn scripted_actions(&self, actions: &mut [usize]) {
        for (action, slot) in actions.iter_mut().zip(&self.slots) {
            *action = slot.env().scripted_action().expect("the game has a scripted player");
        }
    }

    /// Begins a new episode in each environment. The random streams are not reset.
    pub fn reset(&mut self) {
        match &mut self.viewed {
            None => {
                let observations = self.frames.now_mut().chunks_exact_mut(self.obs_bytes);
                self.slots.iter_mut().zip(observations).for_each(|(slot, obs)| slot.begin(self.max_steps, obs));
            }
            Some(Viewed { view, frame_bytes, frames }) => {
                let observations = frames.chunks_exact_mut(*frame_bytes);
                self.slots.iter_mut().zip(observations).for_each(|(slot, obs)| slot.begin(self.max_steps, obs));
                view.look(frames, self.frames.now_mut());
            }
        }
        (0..self.slots.len()).for_each(|env_idx| self.frames.begin(env_idx));
        self.transitions.fill(Transition::default());
        self.episodes.clear();
    }

    /// Plays `actions[i]` in environment `i`, and resets the environments whose episode ends.
    ///
    /// An episode that ends by its rules on the very step of the time limit is terminated, not truncated.
    ///
    /// # Panics
    /// When there are not as many actions as environments, or one is out of range.
    pub fn step(&mut self, actions: &[usize]) -> &[Transition] {
        assert_eq!(actions.len(), self.slots.len(), "one action for each environment");
        self.frames.advance();
        self.episodes.clear();
        let (seen, begun) = self.frames.now_and_begun();
        let (mut view, frames, frame_bytes) = match &mut self.viewed {
            None => (None, &mut *seen, self.obs_bytes),
            Some(Viewed { view, frame_bytes, frames }) => (Some(view), &mut frames[..], *frame_bytes),
        };
        let observations = frames.chunks_exact_mut(frame_bytes);
        let outputs = observations.zip(&mut self.transitions);
        for (env_idx, ((slot, &action), (obs, transition))) in
            self.slots.iter_mut().zip(actions).zip(outputs).enumerate()
        {
            *transition = slot.step(action, self.max_steps, self.clips_rewards, obs);
            if transition.done() {
                let final_obs = &mut self.final_obs[env_idx * self.obs_bytes..][..self.obs_bytes];
                match &mut view {
                    None => final_obs.copy_from_slice(obs),
                    Some(view) => view.look(obs, final_obs),
                }
                self.episodes.extend(slot.ended_game(env_idx, self.max_steps));
                slot.begin(self.max_steps, obs);
                begun[env_idx] = 0;
            }
        }
        if let Some(Viewed { view, frames, .. }) = &mut self.viewed {
            view.look(frames, self.frames.now_mut());
        }
        &self.transitions
    }

    /// Returns the whole state, with random streams and running episodes.
    pub fn save(&self) -> Value {
        let slots = self.slots.iter().enumerate();
        let slots: Vec<_> = slots.map(|(env_idx, slot)| slot.save(self.frames.save_older(env_idx))).collect();
        serde_json::to_value(slots).expect("saved environments are JSON")
    }

    /// Restores the state that [`VecEnv::save`] returned. The episodes continue exactly from there.
    ///
    /// # Errors
    /// When `state` is of other environments or of another number of them, or an environment does not support saving.
    /// The environments before the first that fails have been restored by then.
    pub fn restore(&mut self, state: &Value) -> Result<(), RestoreError> {
        let saved = Vec::<SavedSlot>::deserialize(state)?;
        if saved.len() != self.slots.len() {
            let (found, expected) = (saved.len(), self.slots.len());
            return Err(RestoreError::unreadable(format_args!("it is of {found} environments, not {expected}")));
        }
        for (env_idx, (slot, saved)) in self.slots.iter_mut().zip(saved).enumerate() {
            saved.check_running()?;
            self.frames.restore_older(env_idx, &saved.stack)?;
            let (frames, frame_bytes) = match &mut self.viewed {
                None => (self.frames.now_mut(), self.obs_bytes),
                Some(viewed) => (&mut viewed.frames[..], viewed.frame_bytes),
            };
            slot.restore(saved, &mut frames[env_idx * frame_bytes..][..frame_bytes])?;
        }
        if let Some(Viewed { view, frames, .. }) = &mut self.viewed {
            view.look(frames, self.frames.now_mut());
        }
        self.transitions.fill(Transition::default());
        self.episodes.clear();
        Ok(())
    }

    fn range(&self, env_idx: usize) -> std::ops::Range<usize> {
        env_idx * self.obs_bytes..(env_idx + 1) * self.obs_bytes
    }
}
