//! What a fit is: every setting, resolved once from defaults, preset, configuration file and flags.

use super::layers::{Settings, check_integers, check_keys, parse_assignments};
use crate::device::Device;
use crate::generative::data::Source;
use crate::generative::data::frames::default_n_frames;
use crate::generative::registry;
use crate::generative::settings::{Descent, Recipe, Schedule};
use crate::generative::spec::ModelSpec;
use anyhow::{Context, Result, anyhow, ensure};
use carom_envs::registry as envs;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A whole fit, resolved and valid: what `config.toml` in its directory holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitConfig {
    /// The model with its settings, as `model` and `model_settings`.
    #[serde(flatten)]
    pub model: ModelSpec,
    /// What it is fitted to: a data set, `env:ID`, or a folder.
    pub data: String,
    /// Where the data set's files lie, if not in the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// All settings of the environment, where frames of one are fitted.
    #[serde(skip_serializing_if = "Settings::is_empty")]
    pub env_settings: Settings,
    /// How many frames are taken of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_frames: Option<usize>,
    /// Passes over the training split.
    pub epochs: u64,
    /// Updates after which the fit ends, if before the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Images of an update.
    pub batch_size: u64,
    /// Learning rate.
    pub lr: f64,
    /// How the learning rate changes along the fit.
    pub lr_schedule: Schedule,
    /// Master seed of all random streams.
    pub seed: u64,
    /// Where tensors live.
    pub device: Device,
    /// Threads of libtorch.
    pub threads: usize,
    /// Epochs between two measurements on the test split; 0: only at the end.
    pub eval_every: u64,
    /// Epochs between two checkpoints; 0: only at the end.
    pub checkpoint_every: u64,
}

/// The settings that one source names: a preset, a file or the command line. Those left out are the layers' below.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FitLayer {
    /// See [`FitConfig::model`].
    pub model: Option<String>,
    /// See [`FitConfig::data`].
    pub data: Option<String>,
    /// See [`FitConfig::data_dir`].
    pub data_dir: Option<PathBuf>,
    /// Settings of the environment that this source names.
    pub env_settings: Settings,
    /// See [`FitConfig::n_frames`].
    pub n_frames: Option<usize>,
    /// See [`FitConfig::epochs`].
    pub epochs: Option<u64>,
    /// See [`FitConfig::steps`].
    pub steps: Option<u64>,
    /// See [`FitConfig::batch_size`].
    pub batch_size: Option<u64>,
    /// See [`FitConfig::lr`].
    pub lr: Option<f64>,
    /// See [`FitConfig::lr_schedule`].
    pub lr_schedule: Option<Schedule>,
    /// See [`FitConfig::seed`].
    pub seed: Option<u64>,
    /// See [`FitConfig::device`].
    pub device: Option<Device>,
    /// See [`FitConfig::threads`].
    pub threads: Option<usize>,
    /// See [`FitConfig::eval_every`].
    pub eval_every: Option<u64>,
    /// See [`FitConfig::checkpoint_every`].
    pub checkpoint_every: Option<u64>,
    /// Settings of the model that this source names.
    pub model_settings: Settings,
}

/// Keys of a fit's configuration file.
const KEYS: [&str; 16] = [
    "model",
    "data",
    "data_dir",
    "env_settings",
    "n_frames",
    "epochs",
    "steps",
    "batch_size",
    "lr",
    "lr_schedule",
    "seed",
    "device",
    "threads",
    "eval_every",
    "checkpoint_every",
    "model_settings",
];

impl FitConfig {
    /// Lays `layers` over the defaults, the later over the earlier, and checks every value.
    ///
    /// # Errors
    /// Names the key at fault, the value found and what was expected.
    pub fn resolve(layers: &[FitLayer]) -> Result<Self> {
        let merged = layers.iter().cloned().fold(FitLayer::default(), |below, above| above.over(below));
        let model = merged.model.ok_or_else(|| anyhow!("which model? (`carom list models` shows all)"))?;
        let data =
            merged.data.ok_or_else(|| anyhow!("which data? e.g. --data mnist (`carom fit --help` tells more)"))?;
        let model = registry::resolve(&model, &merged.model_settings)?;
        let recipe = match model.recipe() {
            Recipe::Descent(descent) => descent,
            Recipe::AtOnce => Descent::SINGLE_PASS,
        };
        let source: Source = data.parse()?;
        let (env_settings, n_frames) = of_env(&source, merged.env_settings, merged.n_frames)?;
        let config = Self {
            model,
            data: source.to_string(),
            env_settings,
            n_frames,
            data_dir: merged.data_dir,
            epochs: merged.epochs.unwrap_or(recipe.epochs),
            steps: merged.steps,
            batch_size: merged.batch_size.unwrap_or(recipe.batch_size),
            lr: merged.lr.unwrap_or(recipe.lr),
            lr_schedule: merged.lr_schedule.unwrap_or(recipe.lr_schedule),
            seed: merged.seed.unwrap_or(0),
            device: merged.device.unwrap_or_default(),
            threads: merged.threads.unwrap_or(1),
            eval_every: merged.eval_every.unwrap_or(1),
            checkpoint_every: merged.checkpoint_every.unwrap_or(5),
        };
        config.check()?;
        Ok(config)
    }

    /// What it is fitted to.
    pub fn source(&self) -> Source {
        self.data.parse().expect("a resolved source can be read again")
    }

    /// Frames in an image: more than 1 where stacks of an environment's frames are fitted.
    pub fn frame_stack(&self) -> usize {
        self.env_settings.get("frame_stack").and_then(Value::as_u64).unwrap_or(1) as usize
    }

    fn check(&self) -> Result<()> {
        ensure!(self.epochs > 0, "epochs is 0: a fit passes over the data at least once");
        ensure!(self.steps != Some(0), "steps is 0: a fit has at least one update");
        ensure!(self.batch_size > 0, "batch_size is 0: an update needs at least one image");
        ensure!(self.lr > 0.0 && self.lr.is_finite(), "lr is {}: expected a number above 0", self.lr);
        ensure!((1..=1024).contains(&self.threads), "threads is {}: expected a number in 1..=1024", self.threads);
        check_integers(self)
    }

    /// The settings as TOML, which is itself a configuration file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }

    /// `<data>-<model>` with what cannot be in a name as `-`: what presets and run directories are named after.
    pub fn slug(&self) -> String {
        let data = self.data.trim_start_matches("env:").trim_matches(['/', '.']);
        format!("{}-{}", data.replace(['/', ':', ' '], "-"), self.model.name())
    }
}

/// The environment's whole settings and the number of frames, where `source` is one. Single frames, unless a stack is asked
/// for: an agent stacks their codes.
fn of_env(source: &Source, given: Settings, n_frames: Option<usize>) -> Result<(Settings, Option<usize>)> {
    let Source::Env(env_id) = source else {
        ensure!(
            given.is_empty(),
            "{source} is no environment and has no settings; give env.KEY with --data env:ID alone"
        );
        ensure!(n_frames.is_none(), "n_frames is of environments; {source} has as many images as it has");
        return Ok((given, n_frames));
    };
    let mut spec = envs::resolve(env_id, &given)?;
    if !given.contains_key("frame_stack") && spec.settings().contains_key("frame_stack") {
        spec = spec.with("frame_stack", 1)?;
    }
    Ok((spec.settings().clone(), Some(n_frames.map_or_else(|| default_n_frames(env_id), Ok)?)))
}

impl FitLayer {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or holds an unknown key or a value of the wrong kind.
    pub fn from_file(path: &Path) -> Result<Self> {
        Self::from_toml(&fs_err::read_to_string(path)?, &path.display().to_string())
    }

    /// Reads the text of a configuration file; `source` names it in messages.
    ///
    /// # Errors
    /// When it is not TOML, or holds an unknown key or a value of the wrong kind.
    pub fn from_toml(text: &str, source: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text).with_context(|| format!("{source} is not TOML"))?;
        check_keys(table.keys(), &KEYS).with_context(|| format!("in {source}"))?;
        toml::from_str(text).with_context(|| format!("in {source}"))
    }

    /// Reads the `key=value` pairs of `--set`: `model.KEY` or a key of the fit itself.
    ///
    /// # Errors
    /// When there is no `=`, the key does not exist, or a value is of the wrong kind.
    pub fn from_assignments(assignments: &[String]) -> Result<Self> {
        parse_assignments(assignments, &[("env", "env_settings"), ("model", "model_settings")], &KEYS)
    }

    /// This layer laid over `below`. Settings belong to the model they were written for: where this layer names another, those
    /// below are dropped.
    fn over(self, below: Self) -> Self {
        let keeps_model = self.model.is_none() || below.model.is_none() || self.model == below.model;
        let below_model_settings = if keeps_model { below.model_settings } else { Settings::new() };
        let model = self.model.or(below.model);
        // Without a known model there is nothing to say which values others make void; the error comes when it is resolved.
        let model_settings = match model.as_deref().map(registry::find) {
            Some(Ok(entry)) => (entry.schema.overlay)(&below_model_settings, &self.model_settings),
            _ => below_model_settings.into_iter().chain(self.model_settings).collect(),
        };
        let keeps_data = self.data.is_none() || below.data.is_none() || self.data == below.data;
        let mut env_settings = if keeps_data { below.env_settings } else { Settings::new() };
        env_settings.extend(self.env_settings);
        Self {
            model,
            data: self.data.or(below.data),
            data_dir: self.data_dir.or(below.data_dir),
            env_settings,
            n_frames: self.n_frames.or(below.n_frames),
            epochs: self.epochs.or(below.epochs),
            steps: self.steps.or(below.steps),
            batch_size: self.batch_size.or(below.batch_size),
            lr: self.lr.or(below.lr),
            lr_schedule: self.lr_schedule.or(below.lr_schedule),
            seed: self.seed.or(below.seed),
            device: self.device.or(below.device),
            threads: self.threads.or(below.threads),
            eval_every: self.eval_every.or(below.eval_every),
            checkpoint_every: self.checkpoint_every.or(below.checkpoint_every),
            model_settings,
        }
    }
}
