//! Environments by id: what there is, its settings, and the name of the protocol that a score was reached under.

use crate::breakout::Breakout;
use crate::cartpole::CartPole;
use crate::toy_text::{cliff_walking::CliffWalking, frozen_lake::FrozenLake, gridworld::Gridworld, taxi::Taxi};
use crate::{Env, VecEnv, gym_bridge, minatar};
use rand_pcg::Pcg32;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Settings of an environment by key (without the `env.` prefix), e.g. `sticky`, `action_set`, `max_steps`.
pub type Settings = Map<String, Value>;

/// All environments, in the order of `carom list envs`.
pub const ENVS: &[EnvEntry] = &[
    entry::<Breakout>("breakout", "Atari's Breakout in 84x84 gray pixels, frame-exact with the Atari 2600 game in ALE"),
    entry::<minatar::breakout::Breakout>("minatar/breakout", "Breakout on a 10x10 grid, step-exact with MinAtar"),
    entry::<CartPole>("cartpole", "balance a pole on a cart; Gymnasium's CartPole-v1"),
    entry::<FrozenLake>("frozen-lake", "cross slippery ice between holes; Gymnasium's FrozenLake-v1"),
    entry::<CliffWalking>("cliff-walking", "walk along a cliff; Gymnasium's CliffWalking-v1"),
    entry::<Taxi>("taxi", "fetch a passenger and set them down; Gymnasium's Taxi-v3"),
    entry::<Gridworld>("gridworld", "the 4x4 grid of Sutton & Barto, Example 4.1"),
    entry::<gym_bridge::CartPole>("gym-rs/cartpole", "gym-rs's CartPole, heavier than CartPole-v1"),
    entry::<gym_bridge::MountainCar>("gym-rs/mountain-car", "rock a car out of a valley; gym-rs's mountain car"),
];

/// One line of the registry.
pub struct EnvEntry {
    /// Id as typed on the command line.
    pub id: &'static str,
    /// One line for `carom list envs`.
    pub summary: &'static str,
    resolve: fn(&Settings) -> Result<Settings, BadSetting>,
    make: fn(&Settings) -> Result<Box<dyn Env>, BadSetting>,
    protocol: fn(&Settings) -> String,
    training_only: &'static [&'static str],
}

/// An id or a setting that does not exist or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    /// No environment of this id.
    #[error("there is no environment `{id}`; did you mean `{nearest}`? (`carom list envs` shows all)")]
    UnknownId {
        /// The id asked for.
        id: String,
        /// The nearest one that exists.
        nearest: &'static str,
    },
    /// The environment has no setting of this name.
    #[error("environment `{id}` has no setting `{key}`; did you mean `{nearest}`? (it has {all})")]
    UnknownKey {
        /// The environment.
        id: &'static str,
        /// The key asked for.
        key: String,
        /// The nearest key that exists.
        nearest: String,
        /// All its keys, comma-separated.
        all: String,
    },
    /// A setting's value is of the wrong kind or out of range.
    #[error("setting `{key}` of environment `{id}` is {found}, expected {expected}")]
    BadValue {
        /// The environment.
        id: &'static str,
        /// The key.
        key: String,
        /// The value found.
        found: Value,
        /// What it should be.
        expected: String,
    },
}

/// All settings of `id`, defaults overridden by `overrides`, checked. Contains `max_steps` (0 = no limit) for every
/// environment.
///
/// # Errors
/// When the id, a key or a value does not exist.
pub fn resolve(id: &str, overrides: &Settings) -> Result<Settings, EnvError> {
    let entry = find(id)?;
    (entry.resolve)(overrides).map_err(|bad| bad.at(entry.id))
}

/// Makes one environment from its settings; those left out have their defaults.
///
/// # Errors
/// When the id, a key or a value does not exist.
pub fn make(id: &str, settings: &Settings) -> Result<Box<dyn Env>, EnvError> {
    let entry = find(id)?;
    (entry.make)(settings).map_err(|bad| bad.at(entry.id))
}

/// Makes a vector of environments, one for each of `rngs`, with the time limit of the settings.
///
/// # Errors
/// When the id, a key or a value does not exist.
pub fn make_vec(id: &str, settings: &Settings, rngs: Vec<Pcg32>) -> Result<VecEnv, EnvError> {
    make_vec_of(id, settings, rngs, |env| env)
}

/// As [`make_vec`], of what `wrap` makes of each environment.
///
/// # Errors
/// When the id, a key or a value does not exist.
pub fn make_vec_of(
    id: &str,
    settings: &Settings,
    rngs: Vec<Pcg32>,
    wrap: impl Fn(Box<dyn Env>) -> Box<dyn Env>,
) -> Result<VecEnv, EnvError> {
    let settings = resolve(id, settings)?;
    let envs = rngs.iter().map(|_| make(id, &settings).map(&wrap)).collect::<Result<_, _>>()?;
    let frame_stack = settings.get("frame_stack").and_then(Value::as_u64).unwrap_or(1) as usize;
    let reward_clip = settings.get("reward_clip").and_then(Value::as_bool).unwrap_or(false);
    Ok(VecEnv::new(envs, rngs, time_limit(&settings)).with_frame_stack(frame_stack).with_reward_clip(reward_clip))
}

/// The settings that switch off what eases training alone (`life_loss_terminal`, `reward_clip`), to be laid over those of a run
/// that is evaluated, watched or traced. Empty for an environment that has none, or does not exist.
pub fn evaluation_overrides(id: &str) -> Settings {
    let keys = find(id).map_or(&[][..], |entry| entry.training_only);
    keys.iter().map(|&key| (key.to_owned(), Value::Bool(false))).collect()
}

/// The time limit that resolved settings state, in steps.
pub fn time_limit(settings: &Settings) -> Option<u64> {
    settings.get("max_steps").and_then(Value::as_u64).filter(|&max_steps| max_steps > 0)
}

/// Name of the protocol that the settings amount to, printed beside every score, e.g. "minatar-v1", "gymnax", "CartPole-v1".
pub fn protocol(id: &str, settings: &Settings) -> String {
    find(id).map_or_else(|_| id.to_owned(), |entry| (entry.protocol)(settings))
}

/// What an environment tells the registry.
pub(crate) trait Game {
    type Settings: EnvSettings;

    fn make(settings: Self::Settings) -> Box<dyn Env>;

    fn protocol(settings: &Self::Settings) -> String;
}

/// The settings of an environment: a small struct that names its keys, types and defaults.
pub(crate) trait EnvSettings: Serialize + DeserializeOwned + Default {
    /// Switches that ease training and are off where a policy is judged.
    const TRAINING_ONLY: &'static [&'static str] = &[];

    /// Ranges, which types do not say: the key at fault and what was expected.
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        Ok(())
    }

    /// Defaults that depend on other settings; `is_given` tells which keys were given.
    fn complete(&mut self, _is_given: &dyn Fn(&str) -> bool) {}
}

/// ", cap 1000" where the time limit is not the usual one of the protocol.
pub(crate) fn cap_suffix(max_steps: u64, usual: u64) -> String {
    match max_steps {
        cap if cap == usual => String::new(),
        0 => ", no cap".to_owned(),
        cap => format!(", cap {cap}"),
    }
}

const fn entry<G: Game>(id: &'static str, summary: &'static str) -> EnvEntry {
    EnvEntry {
        id,
        summary,
        resolve: |overrides| Ok(to_map(&read::<G::Settings>(overrides)?)),
        make: |settings| Ok(G::make(read(settings)?)),
        protocol: |settings| G::protocol(&read(settings).unwrap_or_default()),
        training_only: G::Settings::TRAINING_ONLY,
    }
}

fn find(id: &str) -> Result<&'static EnvEntry, EnvError> {
    ENVS.iter().find(|entry| entry.id == id).ok_or_else(|| EnvError::UnknownId {
        id: id.to_owned(),
        nearest: nearest(id, ENVS.iter().map(|entry| entry.id)),
    })
}

/// The one of `known` most like `word`, for messages about what is not there; empty where nothing is known.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    known.into_iter().min_by_key(|known| strsim::damerau_levenshtein(word, known)).unwrap_or_default()
}

/// A fault in the settings, before it is known which environment they are of.
struct BadSetting {
    key: String,
    found: Value,
    fault: Fault,
}

enum Fault {
    /// The key does not exist; these do.
    Unknown(Vec<String>),
    /// The value is not what was expected.
    Value(String),
}

impl BadSetting {
    fn at(self, id: &'static str) -> EnvError {
        let Self { key, found, fault } = self;
        match fault {
            Fault::Value(expected) => EnvError::BadValue { id, key, found, expected },
            Fault::Unknown(keys) => {
                let nearest = nearest(&key, keys.iter().map(String::as_str)).to_owned();
                EnvError::UnknownKey { id, key, nearest, all: keys.join(", ") }
            }
        }
    }
}

fn to_map(settings: &impl Serialize) -> Settings {
    match serde_json::to_value(settings) {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("settings are structs of plain values"),
    }
}

fn read<S: EnvSettings>(given: &Settings) -> Result<S, BadSetting> {
    let known = to_map(&S::default());
    for (key, value) in given {
        let fault = if known.contains_key(key) {
            // Alone, so that an error is known to be about this key.
            let alone = Settings::from_iter([(key.clone(), value.clone())]);
            serde_json::from_value::<S>(Value::Object(alone)).err().map(|error| Fault::Value(expectation(&error)))
        } else {
            Some(Fault::Unknown(known.keys().cloned().collect()))
        };
        if let Some(fault) = fault {
            return Err(BadSetting { key: key.clone(), found: value.clone(), fault });
        }
    }
    let mut settings: S = serde_json::from_value(Value::Object(given.clone())).expect("each key was read by itself");
    settings.complete(&|key| given.contains_key(key));
    settings.check().map_err(|(key, expected)| BadSetting {
        key: key.to_owned(),
        found: to_map(&settings)[key].clone(),
        fault: Fault::Value(expected.to_owned()),
    })?;
    Ok(settings)
}

/// What serde expected, in the words of a person.
fn expectation(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let expected = message.split_once("expected ").map_or(message.as_str(), |(_, expected)| expected);
    match expected {
        "u64" => "a whole number, 0 or more".to_owned(),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    }
}
