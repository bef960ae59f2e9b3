//! Games with settings, and environments made from them.

use crate::batch_env::{Autoreset, BatchEnv, Rules};
use crate::env::Env;
use crate::settings::{self, Fault, Schema, SettingError, Settings, Values, suggest};
use crate::vec_env::VecEnv;
use rand_pcg::Pcg32;
use serde_json::Value;

/// A kind of environment, with its settings and constructor.
///
/// Three settings have a meaning outside the game, if it has them: `max_steps` is the time limit of an episode in steps
/// (0 for none), `frame_stack` the number of observations that an agent sees at once, and `reward_clip` replaces
/// rewards by their sign. A [`VecEnv`] applies them, so [`Game::make`] can ignore them.
pub trait Game {
    /// Its settings.
    type Settings: Settings;

    /// Switches that make training easier. They are off in evaluation.
    const TRAINING_ONLY: &'static [&'static str] = &[];

    /// Makes the environment.
    fn make(settings: &Self::Settings) -> Box<dyn Env>;

    /// Name of the protocol that the settings amount to, without the time limit, e.g. "minatar-v1" or "CartPole-v1". By
    /// default there is none, and [`EnvSpec::protocol`] lists the settings that differ from their defaults.
    fn protocol(settings: &Self::Settings) -> Option<String> {
        let _ = settings;
        None
    }

    /// How a policy is evaluated while it learns. By default it plays greedily to the end of each episode.
    fn evaluation_rules(settings: &Self::Settings) -> EvaluationRules {
        let _ = settings;
        EvaluationRules::default()
    }
}

/// Rules of a protocol for evaluating a policy while it learns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EvaluationRules {
    /// Probability of a random action in place of the greedy one.
    pub epsilon: f64,
    /// Time limit of an episode in steps, where the environment's own is longer.
    pub max_steps: Option<u64>,
}

/// An environment's name, description, settings and constructor: a row in a table of environments.
#[derive(Clone, Copy, Debug)]
pub struct EnvEntry {
    /// Id as typed on the command line.
    pub id: &'static str,
    /// Description of one line.
    pub summary: &'static str,
    /// Its settings.
    pub schema: Schema,
    training_only: &'static [&'static str],
    make: fn(&Values) -> Result<Box<dyn Env>, Fault>,
    protocol: fn(&Values) -> Result<Option<String>, Fault>,
    evaluation_rules: fn(&Values) -> Result<EvaluationRules, Fault>,
}

impl EnvEntry {
    /// The entry of game `G`.
    pub const fn of<G: Game>(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            schema: Schema::of::<G::Settings>(),
            training_only: G::TRAINING_ONLY,
            make: |values| Ok(G::make(&settings::resolve(values)?)),
            protocol: |values| Ok(G::protocol(&settings::resolve(values)?)),
            evaluation_rules: |values| Ok(G::evaluation_rules(&settings::resolve(values)?)),
        }
    }

    /// Resolves the environment with the settings in `given`, and defaults for the rest.
    ///
    /// # Errors
    /// When a setting does not exist or has a wrong value.
    pub fn resolve(&self, given: &Values) -> Result<EnvSpec, EnvError> {
        let settings = (self.schema.resolve)(given).map_err(|fault| self.blame(fault))?;
        let mut spec = EnvSpec { entry: *self, settings, time_limit: None };
        spec.time_limit = spec.number(MAX_STEPS).filter(|&max_steps| max_steps > 0);
        Ok(spec)
    }

    /// Refuses those of `given` that turn on what only makes training easier: a policy is judged without it.
    ///
    /// # Errors
    /// When there is one.
    pub fn refuse_easing(&self, given: &Values) -> Result<(), EnvError> {
        let easing = self.training_only.iter().find(|&&key| given.get(key) == Some(&Value::Bool(true)));
        easing.map_or(Ok(()), |&key| {
            let reason = "it is for training, and here games are whole and rewards true".to_owned();
            Err(self.blame(Fault::Unheard { key: key.to_owned(), found: Value::Bool(true), reason }).into())
        })
    }

    fn blame(&self, fault: Fault) -> SettingError {
        fault.of("env", format_args!("environment `{}`", self.id))
    }
}

/// Keys of the settings that a [`VecEnv`] applies.
const MAX_STEPS: &str = "max_steps";
const FRAME_STACK: &str = "frame_stack";
const REWARD_CLIP: &str = "reward_clip";

/// Says why an environment was not resolved or made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EnvError {
    /// There is no environment of this id.
    #[error("there is no environment `{id}`; {}", suggest(id, known.iter().copied()))]
    UnknownId {
        /// The id given.
        id: String,
        /// The ids that exist.
        known: Vec<&'static str>,
    },
    /// A setting does not exist or has a wrong value.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A vector of environments was asked for without a random stream.
    #[error("a vector of environments needs at least one, and a random stream for each")]
    NoStreams,
    /// The id of a new environment is in use.
    #[error("there is already an environment `{0}`")]
    IdTaken(&'static str),
}

/// An environment resolved by name, with its whole settings, all of them valid.
#[derive(Clone, Debug)]
pub struct EnvSpec {
    entry: EnvEntry,
    settings: Values,
    time_limit: Option<u64>,
}

impl PartialEq for EnvSpec {
    fn eq(&self, other: &Self) -> bool {
        (self.entry.id, &self.settings, self.time_limit) == (other.entry.id, &other.settings, other.time_limit)
    }
}

impl EnvSpec {
    /// Id of the environment.
    pub fn id(&self) -> &'static str {
        self.entry.id
    }

    /// All settings that have a value and an effect, by key.
    pub fn settings(&self) -> &Values {
        &self.settings
    }

    /// Overrides one setting. Settings that the environment derived from its old value are derived again.
    ///
    /// # Errors
    /// When the setting does not exist or has a wrong value.
    pub fn with(&self, key: &str, value: impl Into<Value>) -> Result<Self, EnvError> {
        self.with_all(&Values::from_iter([(key.to_owned(), value.into())]))
    }

    /// Overrides the settings in `above`. Settings that the environment derived from their old values are derived
    /// again.
    ///
    /// # Errors
    /// When a setting does not exist or has a wrong value.
    pub fn with_all(&self, above: &Values) -> Result<Self, EnvError> {
        let mut spec = self.entry.resolve(&(self.entry.schema.overlay)(&self.settings, above))?;
        if !spec.settings.contains_key(MAX_STEPS) {
            spec.time_limit = self.time_limit;
        }
        Ok(spec)
    }

    /// Sets the time limit of an episode in steps, also of an environment that has no setting for it.
    ///
    /// # Panics
    /// When `max_steps` is 0.
    #[must_use]
    pub fn with_time_limit(mut self, max_steps: u64) -> Self {
        assert_ne!(max_steps, 0, "a time limit is at least one step");
        self.time_limit = Some(max_steps);
        if let Some(value) = self.settings.get_mut(MAX_STEPS) {
            *value = max_steps.into();
        }
        self
    }

    /// The environment as used in evaluation: switches that make training easier are off.
    #[must_use]
    pub fn evaluation(&self) -> Self {
        let off = self.entry.training_only.iter().map(|&key| (key.to_owned(), Value::Bool(false)));
        self.with_all(&off.collect()).expect("a switch can be off")
    }

    /// Makes one environment, without time limit, stacked observations and clipped rewards, which [`VecEnv`] adds.
    pub fn make(&self) -> Box<dyn Env> {
        (self.entry.make)(&self.settings).expect("the settings were checked")
    }

    /// Makes a vector of environments, one for each of `rngs`, with time limit, stacks and clipped rewards as set.
    ///
    /// # Errors
    /// When there are no `rngs`.
    pub fn make_vec(&self, rngs: Vec<Pcg32>) -> Result<VecEnv, EnvError> {
        self.make_vec_of(rngs, |env| env)
    }

    /// Makes environments that write their stacks into memory of the caller's, one for each of `rngs`, with time limit,
    /// stacks and clipped rewards as set.
    ///
    /// # Errors
    /// When there are no `rngs`.
    pub fn make_batch(&self, rngs: Vec<Pcg32>, autoreset: Autoreset) -> Result<BatchEnv, EnvError> {
        if rngs.is_empty() {
            return Err(EnvError::NoStreams);
        }
        let rules = Rules {
            max_steps: self.time_limit.unwrap_or(u64::MAX),
            clips_rewards: self.reward_clip(),
            frame_stack: self.frame_stack(),
            autoreset,
        };
        let envs = rngs.iter().map(|_| self.make()).collect();
        Ok(BatchEnv::new(envs, rngs, rules))
    }

    /// Makes a vector of environments, each of which is passed through `wrap` first.
    ///
    /// # Errors
    /// When there are no `rngs`.
    pub fn make_vec_of(
        &self,
        rngs: Vec<Pcg32>,
        wrap: impl Fn(Box<dyn Env>) -> Box<dyn Env>,
    ) -> Result<VecEnv, EnvError> {
        if rngs.is_empty() {
            return Err(EnvError::NoStreams);
        }
        let envs = rngs.iter().map(|_| wrap(self.make())).collect();
        let envs = VecEnv::new(envs, rngs, self.time_limit);
        Ok(envs.with_frame_stack(self.frame_stack()).with_reward_clip(self.reward_clip()))
    }

    /// Time limit of an episode in steps, if there is one.
    pub fn time_limit(&self) -> Option<u64> {
        self.time_limit
    }

    /// Number of observations that an agent sees at once.
    pub fn frame_stack(&self) -> usize {
        self.number(FRAME_STACK).map_or(1, |n| n.max(1) as usize)
    }

    /// Whether rewards are replaced by their sign.
    pub fn reward_clip(&self) -> bool {
        self.settings.get(REWARD_CLIP).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Name of the protocol that the settings amount to, with the time limit, printed beside every score: scores under
    /// different limits cannot be compared. If the game names none, it is the id and the settings that differ from
    /// their defaults.
    pub fn protocol(&self) -> String {
        let named = (self.entry.protocol)(&self.settings).expect("the settings were checked");
        let name = named.unwrap_or_else(|| {
            let defaults = (self.entry.schema.resolve)(&Values::new()).unwrap_or_default();
            let is_changed = |key: &str, value| key != MAX_STEPS && defaults.get(key) != Some(value);
            let changed = self.settings.iter().filter(|(key, value)| is_changed(key, value));
            let changed = changed.map(|(key, value)| match value.as_str() {
                Some(text) => format!(", {key} {text}"),
                None => format!(", {key} {value}"),
            });
            self.entry.id.to_owned() + &changed.collect::<String>()
        });
        match self.time_limit {
            Some(cap) => format!("{name}, cap {cap}"),
            None => format!("{name}, no cap"),
        }
    }

    /// How a policy is evaluated while it learns.
    pub fn evaluation_rules(&self) -> EvaluationRules {
        (self.entry.evaluation_rules)(&self.settings).expect("the settings were checked")
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.settings.get(key).and_then(Value::as_u64)
    }
}
