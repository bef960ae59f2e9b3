//! Models by name.
//!
//! A model is one entry of [`MODELS`]: its name, what it is, the type of its settings and its constructor.

use super::autoencoder::{AeConfig, Autoencoder, CnnAeConfig};
use super::classifier::{Classifier, ClassifierConfig};
use super::config::Schedule;
use super::gan::{Gan, GanConfig};
use super::images::Data;
use super::model::Model;
use super::pca::{PcaConfig, PcaModel};
use super::random::{Random, RandomConfig};
use super::rbm::{Rbm, RbmConfig};
use super::vae::{Vae, VaeConfig};
use anyhow::{Context, Result, anyhow, bail};
use carom_envs::nearest;
use rand_pcg::Pcg32;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tch::Device;

/// Settings of a model by key (without the `model.` prefix), e.g. `latent_dim`.
pub type Settings = Map<String, Value>;

/// How a model is fitted where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Passes over the training split.
    pub epochs: u64,
    /// Images of an update.
    pub batch_size: u64,
    /// Learning rate.
    pub lr: f64,
}

/// The settings of a model: a struct that names its keys, types and defaults.
pub trait ModelConfig: Default + Serialize + DeserializeOwned {
    /// How the model is fitted where nothing else is said.
    const RECIPE: Recipe;

    /// How the learning rate changes along the fit where nothing else is said.
    const LR_SCHEDULE: Schedule = Schedule::Constant;

    /// Refuses values outside their ranges, which types do not say.
    ///
    /// # Errors
    /// On the first such value.
    fn check(&self) -> Result<()>;
}

/// Units of a layer, at most.
pub const WIDEST: i64 = carom_agents::settings::MAX_LAYER_WIDTH as i64;

/// Refuses widths of layers, given as the setting `key`, that no layer can have.
///
/// # Errors
/// On the first of them.
pub fn check_widths(key: &str, widths: &[i64]) -> Result<()> {
    match widths.iter().find(|width| !(1..=WIDEST).contains(width)) {
        Some(width) => bail!("model.{key} is {width}: expected a number in 1..={WIDEST}"),
        None => Ok(()),
    }
}

/// What a model is made for.
#[derive(Debug)]
pub struct ModelTask<'a> {
    /// What it is to be fitted to.
    pub data: &'a Data,
    /// Updates of the whole fit, where a schedule spans it.
    pub total_steps: u64,
    /// Where tensors live.
    pub device: Device,
}

/// One line of the registry.
pub struct ModelEntry {
    /// Name as typed on the command line.
    pub name: &'static str,
    /// One line for `carom list models`.
    pub summary: &'static str,
    /// How it is fitted where nothing else is said.
    pub recipe: Recipe,
    /// How its learning rate changes along the fit where nothing else is said.
    pub lr_schedule: Schedule,
    resolve: fn(&Settings) -> Result<Settings>,
    make: fn(&Settings, &ModelTask, &mut Pcg32) -> Result<Box<dyn Model>>,
}

/// All models.
pub const MODELS: &[ModelEntry] = &[
    entry::<AeConfig>("ae", "dense autoencoder: 784-32-784 on MNIST", |settings, task, rng| {
        Ok(Box::new(Autoencoder::dense(&parse(settings)?, task, rng)?))
    }),
    entry::<CnnAeConfig>("cnn-ae", "convolutional autoencoder with a 4×4×8 code", |settings, task, rng| {
        Ok(Box::new(Autoencoder::convolutional(&parse(settings)?, task, rng)?))
    }),
    entry::<PcaConfig>("pca", "principal components: the best linear code", |settings, task, _| {
        Ok(Box::new(PcaModel::new(&parse(settings)?, task)?))
    }),
    entry::<RandomConfig>("random", "features of a random network: learns nothing", |settings, task, rng| {
        Ok(Box::new(Random::new(&parse(settings)?, task, rng)?))
    }),
    entry::<VaeConfig>(
        "vae",
        "variational autoencoder, by its ELBO or the importance-weighted bound",
        |settings, task, rng| Ok(Box::new(Vae::new(parse(settings)?, task, rng))),
    ),
    entry::<RbmConfig>("rbm", "restricted Boltzmann machine with 500 hidden units", |settings, task, rng| {
        Ok(Box::new(Rbm::new(&parse(settings)?, task, rng)?))
    }),
    entry::<GanConfig>(
        "gan",
        "generator and discriminator at play: dense or convolutional, four losses",
        |settings, task, rng| Ok(Box::new(Gan::new(&parse(settings)?, task, rng)?)),
    ),
    entry::<ClassifierConfig>(
        "classifier",
        "small convolutional classifier, whose features judge samples",
        |settings, task, rng| Ok(Box::new(Classifier::new(&parse(settings)?, task, rng)?)),
    ),
];

const fn entry<C: ModelConfig>(
    name: &'static str,
    summary: &'static str,
    make: fn(&Settings, &ModelTask, &mut Pcg32) -> Result<Box<dyn Model>>,
) -> ModelEntry {
    ModelEntry { name, summary, recipe: C::RECIPE, lr_schedule: C::LR_SCHEDULE, resolve: resolve_as::<C>, make }
}

/// The entry of model `name`.
///
/// # Errors
/// When there is none; the nearest is told.
pub fn find(name: &str) -> Result<&'static ModelEntry> {
    MODELS.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let nearest = nearest(name, MODELS.iter().map(|entry| entry.name));
        anyhow!("there is no model `{name}`; the nearest is `{nearest}` (`carom list models` shows all)")
    })
}

/// All settings of model `name`: its defaults, overridden by `overrides`.
///
/// # Errors
/// When there is no such model, when it has no such setting, or when a value is of another type or out of range.
pub fn resolve(name: &str, overrides: &Settings) -> Result<Settings> {
    (find(name)?.resolve)(overrides).with_context(|| format!("model `{name}`"))
}

/// Makes the model called `name` from resolved settings.
///
/// # Errors
/// As [`resolve`], and when the model cannot be fitted to the data.
pub fn make(name: &str, settings: &Settings, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
    (find(name)?.make)(settings, task, rng).with_context(|| format!("model `{name}` on {}", task.data.name))
}

/// The defaults of settings type `C`, overridden one by one, so that an error names its key.
fn resolve_as<C: ModelConfig>(overrides: &Settings) -> Result<Settings> {
    let mut settings = to_settings(&C::default());
    for (key, value) in overrides {
        if !settings.contains_key(key) {
            let nearest = nearest(key, settings.keys().map(String::as_str));
            let all: Vec<&str> = settings.keys().map(String::as_str).collect();
            bail!("there is no setting `{key}`; the nearest is `{nearest}` (there are {})", all.join(", "));
        }
        settings.insert(key.clone(), value.clone());
        C::deserialize(&settings).with_context(|| format!("model.{key} is {value}"))?;
    }
    let config: C = parse(&settings)?;
    config.check()?;
    Ok(to_settings(&config))
}

fn to_settings(config: &impl Serialize) -> Settings {
    match serde_json::to_value(config) {
        Ok(Value::Object(settings)) => settings,
        other => panic!("a configuration is a table of settings, found {other:?}"),
    }
}

fn parse<C: ModelConfig>(settings: &Settings) -> Result<C> {
    C::deserialize(settings).context("the model's settings cannot be read")
}
