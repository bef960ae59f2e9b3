//! One mechanism for all settings: of environments, agents, models, runs and fits.
//!
//! [`settings!`](crate::settings!) declares a group of settings as a struct. Each setting is written once, with its
//! documentation, type, default and range. Everything else follows from that declaration: [`resolve`] reads and checks
//! values, [`overlay`] overrides one layer of values by another, [`Schema::list`] describes the settings, and a
//! [`Fault`] says what is wrong with a value.

mod fault;
mod nearest;
mod ranges;

pub use fault::{Fault, SettingError};
pub use nearest::{nearest, suggest};
pub use ranges::{Above, AboveUpTo, AtLeast, Each, Finite, FromBelow, IfGiven, Range};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

#[doc(hidden)]
pub use serde;

/// Values of settings by key, as read from a file or the command line.
pub type Values = Map<String, Value>;

/// A group of settings, as a struct with a field for each.
///
/// The methods define rules over several settings, which a declaration cannot express.
pub trait Settings: Declared {
    /// Keys that [`Settings::derive`] may fill in.
    const DERIVED: &'static [&'static str] = &[];

    /// Fills in the defaults that depend on other settings. `is_given` tells whether a key has been given a value.
    fn derive(&mut self, is_given: &dyn Fn(&str) -> bool) {
        let _ = is_given;
    }

    /// Checks rules over several settings. Ranges have been checked before.
    ///
    /// # Errors
    /// On the first value that breaks a rule.
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Keys that have no effect given the other values, each with the reason. Giving one of them a value is an error.
    fn unheard(&self) -> Vec<(&'static str, String)> {
        vec![]
    }
}

/// The part of [`Settings`] that [`settings!`](crate::settings!) writes.
pub trait Declared: Default + Serialize + DeserializeOwned {
    /// Keys of all settings, in the order of declaration.
    const KEYS: &'static [&'static str];

    /// Describes each setting, in the order of declaration.
    fn list() -> Vec<Setting>;

    /// Checks each value against its range.
    ///
    /// # Errors
    /// On the first value outside its range.
    fn check_ranges(&self) -> Result<(), Fault>;
}

/// Describes one setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Key, without the prefix of its group.
    pub key: &'static str,
    /// Documentation, one paragraph.
    pub doc: String,
    /// Type and range in words, e.g. "a number in 0..=1".
    pub expected: String,
    /// Default value, or null if there is none. A derived default is the one that follows from the other defaults.
    pub default: Value,
}

impl Setting {
    /// Describes a setting of type `T` with the `range` in words, if it has one.
    pub fn new<T: DeserializeOwned>(key: &'static str, doc: &str, range: Option<String>, default: Value) -> Self {
        let doc = doc.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { key, doc, expected: range.unwrap_or_else(type_in_words::<T>), default }
    }
}

/// Declares a struct of settings: a documented line each, with type, default and, after `in`, a [`Range`].
///
/// Settings that belong together can be a struct of their own, a section. Behind `with` stand the sections of a group,
/// whose keys are then keys of the group.
///
/// ```
/// use carom_envs::settings::{self, Above, Settings};
///
/// carom_envs::settings! {
///     /// Settings of a pendulum.
///     pub struct PendulumSettings {
///         /// Length of the rod in metres.
///         length_m: f64 = 1.0, in Above(0.0);
///         /// Time limit of an episode in steps, 0 for none.
///         max_steps: u64 = 200;
///     }
/// }
/// impl Settings for PendulumSettings {}
///
/// let error = settings::resolve::<PendulumSettings>(&serde_json::from_str(r#"{"length_m": -1}"#)?).unwrap_err();
/// assert_eq!(error.to_string(), "length_m is -1.0: expected a number above 0");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident { $($own:tt)* }
    ) => {
        $crate::settings! {
            @declare [default, deny_unknown_fields] $(#[$attribute])* $vis struct $name { $($own)* } with {}
        }
    };
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident { $($own:tt)* }
        with { $($sections:tt)* }
    ) => {
        // A struct that refuses unknown keys cannot have the keys of others as its own. `resolve` checks the keys.
        $crate::settings! {
            @declare [default] $(#[$attribute])* $vis struct $name { $($own)* } with { $($sections)* }
        }
    };
    (
        @declare [$($serde:ident),*]
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $type:ty = $default:expr $(, in $range:expr)?;
            )*
        }
        with {
            $(
                $(#[doc = $section_doc:literal])+
                $section:ident: $section_type:ty;
            )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, $crate::settings::serde::Serialize, $crate::settings::serde::Deserialize)]
        #[serde(crate = "carom_envs::serde", $($serde),*)]
        $vis struct $name {
            $($(#[doc = $doc])+ $vis $key: $type,)*
            $($(#[doc = $section_doc])+ #[serde(flatten)] $vis $section: $section_type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($key: $default,)*
                    $($section: <$section_type>::default(),)*
                }
            }
        }

        impl $crate::settings::Declared for $name {
            const KEYS: &'static [&'static str] = {
                const PARTS: &[&[&str]] = &[
                    &[$(stringify!($key)),*],
                    $(<$section_type as $crate::settings::Declared>::KEYS,)*
                ];
                const ALL: [&str; $crate::settings::total_len(PARTS)] = $crate::settings::joined(PARTS);
                &ALL
            };

            fn list() -> Vec<$crate::settings::Setting> {
                #[allow(unused_mut, unused_variables, reason = "there may be no settings")]
                let mut defaults = $crate::settings::to_values(&Self::default());
                #[allow(unused_mut, reason = "there may be no sections")]
                let mut all: Vec<$crate::settings::Setting> = vec![$({
                    #[allow(unused_mut, unused_assignments, reason = "there may be no range")]
                    let mut range = None;
                    $(range = Some($crate::settings::Range::<$type>::in_words(&$range));)?
                    let default = defaults.remove(stringify!($key)).unwrap_or_default();
                    $crate::settings::Setting::new::<$type>(stringify!($key), concat!($($doc, "\n"),+), range, default)
                }),*];
                $(all.extend(<$section_type as $crate::settings::Declared>::list());)*
                all
            }

            fn check_ranges(&self) -> Result<(), $crate::settings::Fault> {
                $($($crate::settings::check_range(stringify!($key), &self.$key, &$range)?;)?)*
                $($crate::settings::Declared::check_ranges(&self.$section)?;)*
                Ok(())
            }
        }
    };
}

/// Number of all keys of `parts`.
#[doc(hidden)]
pub const fn total_len(parts: &[&[&str]]) -> usize {
    let (mut i, mut len) = (0, 0);
    while i < parts.len() {
        len += parts[i].len();
        i += 1;
    }
    len
}

/// All keys of `parts`, in order.
#[doc(hidden)]
pub const fn joined<const N: usize>(parts: &[&[&'static str]]) -> [&'static str; N] {
    let (mut all, mut len, mut i) = ([""; N], 0, 0);
    while i < parts.len() {
        let mut j = 0;
        while j < parts[i].len() {
            all[len] = parts[i][j];
            len += 1;
            j += 1;
        }
        i += 1;
    }
    all
}

/// Reads `given`, with defaults for the rest, and checks it.
///
/// # Errors
/// When a key does not exist, a value is of another type or out of range, breaks a rule, or has no effect.
pub fn resolve<S: Settings>(given: &Values) -> Result<S, Fault> {
    let settings = read::<S>(given)?;
    validate(&settings)?;
    let is_given = |key: &str| given.get(key).is_some_and(|value| !value.is_null());
    match settings.unheard().into_iter().find(|(key, _)| is_given(key)) {
        Some((key, reason)) => {
            Err(Fault::Unheard { key: key.to_owned(), found: to_values(&settings)[key].clone(), reason })
        }
        None => Ok(settings),
    }
}

/// Checks settings that were built as a struct.
///
/// # Errors
/// When a value is out of range or breaks a rule.
pub fn validate<S: Settings>(settings: &S) -> Result<(), Fault> {
    settings.check_ranges()?;
    settings.check()
}

/// Values of all settings that have a value and an effect, as a run stores them. [`resolve`] reads them back.
pub fn heard<S: Settings>(settings: &S) -> Values {
    let mut values = to_values(settings);
    for (key, _) in settings.unheard() {
        values.remove(key);
    }
    values
}

/// Returns `below`, overridden by `above`. Values of `below` are dropped if they are derived defaults, which `above`
/// may change, or if they no longer have an effect. A value that had none before is a mistake, and stays to be
/// reported.
pub fn overlay<S: Settings>(below: &Values, above: &Values) -> Values {
    let mistaken = unheard::<S>(below);
    let mut merged = explicit::<S>(below);
    merged.extend(above.clone());
    for key in unheard::<S>(&merged) {
        if !above.contains_key(key) && !mistaken.contains(&key) {
            merged.remove(key);
        }
    }
    merged
}

/// Keys that have no effect beside the values of `given`; none where a value is not valid.
fn unheard<S: Settings>(given: &Values) -> Vec<&'static str> {
    let settings = read::<S>(given);
    settings.map(|settings| settings.unheard().into_iter().map(|(key, _)| key).collect()).unwrap_or_default()
}

/// `given` without the derived keys whose values follow from the other keys.
fn explicit<S: Settings>(given: &Values) -> Values {
    let is_derived = |key: &str| S::DERIVED.contains(&key);
    let others: Values =
        given.iter().filter(|(key, _)| !is_derived(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    // Mistakes are reported when the layers are resolved.
    let (Ok(whole), Ok(implied)) = (read::<S>(given), read::<S>(&others)) else { return given.clone() };
    let (whole, implied) = (to_values(&whole), to_values(&implied));
    given
        .iter()
        .filter(|(key, _)| !is_derived(key) || whole.get(*key) != implied.get(*key))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// Reads `given` with all defaults, and checks keys and types but no ranges.
fn read<S: Settings>(given: &Values) -> Result<S, Fault> {
    let is_given = |key: &str| given.get(key).is_some_and(|value| !value.is_null());
    for (key, value) in given {
        if !S::KEYS.contains(&key.as_str()) {
            return Err(Fault::Unknown { key: key.clone(), known: S::KEYS.to_vec() });
        }
        check_size(key, value)?;
        // Reads each key alone, so that an error is known to be about this key.
        let alone = Values::from_iter([(key.clone(), value.clone())]);
        if S::deserialize(Value::Object(alone)).is_err() {
            let setting = S::list().into_iter().find(|setting| setting.key == key).expect("the key is known");
            return Err(Fault::value(key, value, setting.expected));
        }
    }
    let mut settings = S::deserialize(Value::Object(given.clone())).expect("each key was read by itself");
    settings.derive(&is_given);
    Ok(settings)
}

/// Refuses whole numbers that a configuration file, which is TOML, cannot hold, and numbers that become 0 or infinite
/// where they are computed with in 32 bits.
fn check_size(key: &str, value: &Value) -> Result<(), Fault> {
    const LARGEST: u64 = i64::MAX as u64;
    const SIZES: std::ops::RangeInclusive<f64> = 1e-37..=1e38;
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| check_size(key, value)),
        _ if value.as_u64().is_some_and(|n| n > LARGEST) => {
            Err(Fault::value(key, value, format!("a whole number up to {LARGEST}")))
        }
        _ if value.as_f64().is_some_and(|x| x != 0.0 && !SIZES.contains(&x.abs())) => {
            Err(Fault::value(key, value, "0 or a number of a size from 1e-37 to 1e38"))
        }
        _ => Ok(()),
    }
}

/// All settings that have a value, by key.
///
/// # Panics
/// When a setting has no JSON form.
pub fn to_values(settings: &impl Serialize) -> Values {
    match serde_json::to_value(settings) {
        Ok(Value::Object(mut values)) => {
            values.retain(|_, value| !value.is_null());
            values
        }
        other => panic!("settings are a struct of plain values, not {other:?}"),
    }
}

/// A group of settings without its type, for tables of names.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Describes each setting. A default that other settings determine is the one that their defaults give.
    pub list: fn() -> Vec<Setting>,
    /// [`resolve`], then [`heard`].
    pub resolve: fn(&Values) -> Result<Values, Fault>,
    /// [`overlay`].
    pub overlay: fn(&Values, &Values) -> Values,
    /// Keys that have no effect beside the given values.
    pub unheard: fn(&Values) -> Vec<&'static str>,
}

impl Schema {
    /// The schema of `S`.
    pub const fn of<S: Settings>() -> Self {
        let resolve = |given: &Values| Ok(heard(&resolve::<S>(given)?));
        Self { list: list::<S>, resolve, overlay: overlay::<S>, unheard: unheard::<S> }
    }
}

fn list<S: Settings>() -> Vec<Setting> {
    let mut defaults = to_values(&read::<S>(&Values::new()).expect("defaults are of their types"));
    let derived = |setting: Setting| match S::DERIVED.contains(&setting.key) {
        true => Setting { default: defaults.remove(setting.key).unwrap_or_default(), ..setting },
        false => setting,
    };
    S::list().into_iter().map(derived).collect()
}

settings! {
    /// Settings of an environment, agent or model that has none.
    pub struct NoSettings {}
}

impl Settings for NoSettings {}

/// Checks `value` against `range`.
///
/// # Errors
/// When it is outside.
pub fn check_range<T: Serialize>(key: &str, value: &T, range: &impl Range<T>) -> Result<(), Fault> {
    if range.holds(value) { Ok(()) } else { Err(Fault::value(key, value, range.in_words())) }
}

/// Words for the values of type `T`.
fn type_in_words<T: DeserializeOwned>() -> String {
    // No variant has this name, so serde's error lists the valid ones.
    match T::deserialize(Value::String("\0".to_owned())) {
        Ok(_) => "text".to_owned(),
        Err(error) => expected(&error),
    }
}

/// The end of serde's "invalid type: …, expected …", in plain words.
fn expected(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let tail = message.split_once("expected ").map_or(message.as_str(), |(_, tail)| tail);
    match tail {
        "f32" | "f64" => "a number",
        "u8" | "u32" | "u64" | "usize" => "a whole number, 0 or above",
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list, e.g. [128]",
        other => other,
    }
    .to_owned()
}

// After the macro, which the tests declare settings with.
#[cfg(test)]
mod tests;
