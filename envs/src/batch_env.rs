//! Many environments that are stepped together in memory of the caller's.

use crate::env::{Env, RestoreError};
use crate::frames::{from_text, to_text};
use crate::slot::{Episode, SavedSlot, Slot, Transition};
use crate::space::ObsSpace;
use rand_pcg::Pcg32;
use serde::Deserialize;
use serde_json::Value;

/// When the next episode begins after one that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autoreset {
    /// In the step that ends the episode.
    SameStep,
    /// In the step after it, which ignores the action and has reward 0.
    NextStep,
    /// When [`BatchEnv::begin`] is called.
    Disabled,
}

/// `N` environments with a time limit and automatic reset, like [`VecEnv`](crate::VecEnv), whose observations are the
/// caller's: `stacks`, `[n_envs, frame_stack, obs_bytes]`, oldest frame first. Frames before an episode's first are
/// repeats of it.
///
/// A step shifts each stack and writes one frame, in place or from memory to memory. The caller gives every call the
/// stacks of the one before and changes nothing in them. A new batch has begun no episode: begin one in each
/// environment first.
pub struct BatchEnv {
    slots: Vec<Slot>,
    rules: Rules,
    obs_space: ObsSpace,
    obs_bytes: usize,
    n_actions: usize,
    /// Last stacks of the episodes that the latest step ended; empty unless resets are in the same step.
    final_stacks: Vec<u8>,
    transitions: Vec<Transition>,
    episodes: Vec<Episode>,
}

/// Rules beside the game's own.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Time limit of an episode in steps.
    pub(crate) max_steps: u64,
    /// Rewards are replaced by their sign.
    pub(crate) clips_rewards: bool,
    /// Number of frames in a stack.
    pub(crate) frame_stack: usize,
    pub(crate) autoreset: Autoreset,
}

impl BatchEnv {
    /// A batch of `envs` of one kind. `rngs[i]` is the random stream of environment `i`.
    pub(crate) fn new(envs: Vec<Box<dyn Env>>, rngs: Vec<Pcg32>, rules: Rules) -> Self {
        let (n_envs, obs_space, n_actions) = (envs.len(), envs[0].obs_space(), envs[0].action_names().len());
        let obs_bytes = obs_space.n_bytes();
        let n_final = if rules.autoreset == Autoreset::SameStep { n_envs } else { 0 };
        Self {
            slots: envs.into_iter().zip(rngs).map(|(env, rng)| Slot::new(env, rng)).collect(),
            final_stacks: vec![0; n_final * rules.frame_stack * obs_bytes],
            rules,
            obs_space,
            obs_bytes,
            n_actions,
            transitions: vec![Transition::default(); n_envs],
            episodes: Vec::with_capacity(n_envs),
        }
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

    /// Number of bytes of one environment's stack.
    pub fn stack_bytes(&self) -> usize {
        self.rules.frame_stack * self.obs_bytes
    }

    /// When the next episode begins after one that ended.
    pub fn autoreset(&self) -> Autoreset {
        self.rules.autoreset
    }

    /// Environment `env_idx`, for its action names, factors, model or picture.
    pub fn env(&self, env_idx: usize) -> &dyn Env {
        self.slots[env_idx].env()
    }

    /// Whether the episode of environment `env_idx` ended and the next one has not begun.
    pub fn is_over(&self, env_idx: usize) -> bool {
        self.slots[env_idx].is_over()
    }

    /// Results of the latest step.
    pub fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// Episodes that the latest step ended, in the order of their environments.
    pub fn episodes(&self) -> &[Episode] {
        &self.episodes
    }

    /// Last stack, `[frame_stack, obs_bytes]`, of the episode that the latest step ended in environment `env_idx` if
    /// [`Autoreset::SameStep`] has begun another. Meaningless if the step ended none; empty in other modes.
    pub fn final_stack(&self, env_idx: usize) -> &[u8] {
        let stack_bytes = self.stack_bytes();
        self.final_stacks.chunks_exact(stack_bytes).nth(env_idx).unwrap_or_default()
    }

    /// Begins an episode in environment `env_idx`.
    ///
    /// # Panics
    /// When `stacks` has another length.
    pub fn begin(&mut self, env_idx: usize, stacks: &mut [u8]) {
        self.check(stacks);
        let stack = &mut stacks[env_idx * self.stack_bytes()..][..self.stack_bytes()];
        begin(&mut self.slots[env_idx], self.rules.max_steps, self.obs_bytes, stack);
        self.transitions[env_idx] = Transition::default();
        self.episodes.retain(|episode| episode.env_idx != env_idx);
    }

    /// Replaces environment `env_idx` by `env` of the same kind, which draws from `rng`, and begins an episode in it.
    /// So nothing of earlier episodes has an influence.
    ///
    /// # Panics
    /// When the observations or actions of `env` differ from those of the others, or `stacks` has another length.
    pub fn replace(&mut self, env_idx: usize, env: Box<dyn Env>, rng: Pcg32, stacks: &mut [u8]) {
        let is_alike = env.obs_space() == self.obs_space && env.action_names().len() == self.n_actions;
        assert!(is_alike, "all environments of a batch share their observations and actions");
        self.slots[env_idx] = Slot::new(env, rng);
        self.begin(env_idx, stacks);
    }

    /// Plays `actions[i]` in environment `i`. The stacks before the step are in `before` if that is given, else in
    /// `stacks`. The stacks after it are in `stacks`.
    ///
    /// An episode that ends by its rules on the very step of the time limit is terminated, not truncated.
    ///
    /// # Panics
    /// When there are not as many actions as environments, one is out of range, an episode is over with
    /// [`Autoreset::Disabled`], or `before` or `stacks` has another length.
    pub fn step(&mut self, actions: &[usize], before: Option<&[u8]>, stacks: &mut [u8]) -> &[Transition] {
        if let Some(before) = before {
            self.check(before);
        }
        self.check(stacks);
        assert_eq!(actions.len(), self.n_envs(), "one action for each environment");
        let Rules { max_steps, clips_rewards, frame_stack, autoreset } = self.rules;
        let (obs_bytes, stack_bytes) = (self.obs_bytes, self.stack_bytes());
        let newest = (frame_stack - 1) * obs_bytes;
        self.episodes.clear();
        let played = self.slots.iter_mut().zip(actions).zip(&mut self.transitions);
        for (env_idx, (((slot, &action), transition), stack)) in
            played.zip(stacks.chunks_exact_mut(stack_bytes)).enumerate()
        {
            if slot.is_over() {
                assert_eq!(autoreset, Autoreset::NextStep, "the episode of environment {env_idx} is over");
                begin(slot, max_steps, obs_bytes, stack);
                *transition = Transition::default();
                continue;
            }
            match before {
                Some(before) => {
                    let before = &before[env_idx * stack_bytes..][..stack_bytes];
                    stack[..newest].copy_from_slice(&before[obs_bytes..]);
                }
                None => stack.copy_within(obs_bytes.., 0),
            }
            *transition = slot.step(action, max_steps, clips_rewards, &mut stack[newest..]);
            if transition.done() {
                self.episodes.extend(slot.ended_game(env_idx, max_steps));
                if autoreset == Autoreset::SameStep {
                    self.final_stacks[env_idx * stack_bytes..][..stack_bytes].copy_from_slice(stack);
                    begin(slot, max_steps, obs_bytes, stack);
                }
            }
        }
        &self.transitions
    }

    /// Returns the whole state, with random streams, running episodes and `stacks`.
    ///
    /// # Panics
    /// When `stacks` has another length.
    pub fn save(&self, stacks: &[u8]) -> Value {
        self.check(stacks);
        let older = |stack: &[u8]| stack.chunks_exact(self.obs_bytes).rev().skip(1).map(to_text).collect();
        let saved = self.slots.iter().zip(stacks.chunks_exact(self.stack_bytes()));
        let saved: Vec<_> = saved.map(|(slot, stack)| slot.save(older(stack))).collect();
        serde_json::to_value(saved).expect("saved environments are JSON")
    }

    /// Restores the state that [`BatchEnv::save`] returned. The episodes continue exactly from there.
    ///
    /// # Errors
    /// When `state` is of other environments or of another number of them, or an environment does not support saving.
    /// The environments before the first that fails have been restored by then.
    ///
    /// # Panics
    /// When `stacks` has another length.
    pub fn restore(&mut self, state: &Value, stacks: &mut [u8]) -> Result<(), RestoreError> {
        self.check(stacks);
        let saved = Vec::<SavedSlot>::deserialize(state)?;
        let (found, expected) = (saved.len(), self.n_envs());
        if found != expected {
            return Err(RestoreError::unreadable(format_args!("it is of {found} environments, not {expected}")));
        }
        let (obs_bytes, stack_bytes) = (self.obs_bytes, self.stack_bytes());
        for ((slot, saved), stack) in self.slots.iter_mut().zip(saved).zip(stacks.chunks_exact_mut(stack_bytes)) {
            let mut frames = stack.chunks_exact_mut(obs_bytes).rev();
            let newest = frames.next().expect("a stack has a frame");
            if saved.stack.len() != frames.len() {
                let (found, expected) = (saved.stack.len(), frames.len());
                return Err(RestoreError::unreadable(format_args!("{found} older frames, not {expected}")));
            }
            if self.rules.autoreset == Autoreset::SameStep {
                saved.check_running()?;
            }
            for (frame, text) in frames.zip(&saved.stack) {
                from_text(text, frame)
                    .ok_or_else(|| RestoreError::unreadable(format_args!("a frame does not have {obs_bytes} bytes")))?;
            }
            slot.restore(saved, newest)?;
        }
        self.transitions.fill(Transition::default());
        self.episodes.clear();
        Ok(())
    }

    fn check(&self, stacks: &[u8]) {
        assert_eq!(stacks.len(), self.n_envs() * self.stack_bytes(), "a stack for each environment");
    }
}

/// Begins an episode in `slot`, whose first frame fills the whole `stack`.
fn begin(slot: &mut Slot, max_steps: u64, obs_bytes: usize, stack: &mut [u8]) {
    let (older, newest) = stack.split_at_mut(stack.len() - obs_bytes);
    slot.begin(max_steps, newest);
    older.chunks_exact_mut(obs_bytes).for_each(|frame| frame.copy_from_slice(newest));
}
