//! Configuration of a fit, resolved once from defaults, preset, configuration file and flags.

use super::layers::{Form, Idle, Layer, merge};
use super::names;
use super::part::Part;
use super::training::MAX_THREADS;
use crate::device::Device;
use crate::files;
use crate::generative::data::Source;
use crate::generative::data::frames::{MAX_FRAMES, default_n_frames};
use crate::generative::gan::GanConfig;
use crate::generative::registry as models;
use crate::generative::settings::{Descent, Optimizer, Recipe, Schedule};
use crate::generative::spec::ModelSpec;
use anyhow::{Result, anyhow, ensure};
use carom_envs::registry as envs;
use carom_envs::settings::{self, Above, AtLeast, IfGiven, Schema, Settings, Values};
use serde_json::Value;
use std::path::PathBuf;

carom_envs::settings! {
    /// Settings of a fit, without those of its model and of the environment that frames are taken of.
    pub(crate) struct FitSettings {
        /// Model name.
        model: Option<String> = None;
        /// Data to fit to: a data set, `env:ID`, or a folder.
        data: Option<String> = None;
        /// Folder of the data set's files, if not the cache.
        data_dir: Option<PathBuf> = None;
        /// Frames taken of an environment.
        n_frames: Option<usize> = None, in IfGiven(1..=MAX_FRAMES);
        /// Passes over the training split; the model's own unless given.
        epochs: Option<u64> = None, in IfGiven(AtLeast(1));
        /// Updates after which the fit ends, if before the last epoch.
        steps: Option<u64> = None, in IfGiven(AtLeast(1));
        /// Images of an update; the model's own unless given.
        batch_size: Option<u64> = None, in IfGiven(AtLeast(1));
        /// Learning rate; the model's own unless given.
        lr: Option<f64> = None, in IfGiven(Above(0.0));
        /// Change of the learning rate along the fit; the model's own unless given.
        lr_schedule: Option<Schedule> = None;
        /// Optimiser of the model's networks; Adam unless given.
        optimizer: Option<Optimizer> = None;
        /// Master seed of all random streams.
        seed: u64 = 0;
        /// Device of the tensors.
        device: Device = Device::Cpu;
        /// Threads of libtorch.
        threads: usize = 1, in 1..=MAX_THREADS;
        /// Epochs between two measurements on the test split; 0 for one at the end only.
        eval_every: u64 = 1;
        /// Epochs between two checkpoints; 0 for one at the end only.
        checkpoint_every: u64 = 5;
    }
}

impl Settings for FitSettings {}

/// Resolved, valid configuration of a fit. The run's directory stores it as `config.toml`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FitConfig {
    /// The fit's own settings.
    pub run: FitSettings,
    /// The model.
    pub model: ModelSpec,
    /// Data to fit to.
    pub source: Source,
    /// Passes, batches and learning rate: from the settings, else from the model's recipe.
    pub descent: Descent,
}

/// Kinds of settings of a fit.
pub(crate) const FIT: Form = Form {
    kind: "fit",
    command: "fit",
    own: Schema { overlay: overlay_own, ..Schema::of::<FitSettings>() },
    parts: &[Part::Env, Part::Model],
    idle,
};

/// Returns the settings that have no effect beside the model and the data.
fn idle(layer: &Layer) -> Vec<Idle> {
    let mut idle = vec![];
    let model = layer.name(Part::Model).and_then(|name| models::find(name).ok());
    if let Some(model) = model.filter(|model| matches!(model.recipe, Recipe::AtOnce)) {
        let reason = format!("{} makes no updates; it is found at once", model.name);
        let of_descent = ["epochs", "steps", "batch_size", "lr", "lr_schedule", "optimizer"];
        idle.extend(of_descent.map(|key| Idle::own(key, reason.clone())));
        let usual = FitSettings::default();
        idle.push(Idle::own("eval_every", reason.clone()).fixed_at(usual.eval_every));
        idle.push(Idle::own("checkpoint_every", reason).fixed_at(usual.checkpoint_every));
    }
    idle.extend(idle_beside_optimizer(layer));
    let Some(data) = layer.own.get("data").and_then(Value::as_str) else { return idle };
    let is_env = data.starts_with("env:");
    if !is_env {
        idle.push(Idle::own("n_frames", format!("{data} is no environment, and has as many images as it has")));
    }
    let env = layer.name(Part::Env).and_then(|id| envs::find(id).ok());
    if env.is_some_and(|env| (env.schema.list)().iter().any(|setting| setting.key == "reward_clip")) {
        idle.push(Idle::of(Part::Env, "reward_clip", "frames have no rewards").fixed_at(false));
    }
    if is_env || data.parse().is_ok_and(|source: Source| source.published().is_none()) {
        idle.push(Idle::own("data_dir", format!("{data} is not read from such a folder; leave --data-dir out")));
    }
    idle
}

/// Returns the settings that have no effect beside the optimiser, or the optimiser itself beside the model.
fn idle_beside_optimizer(layer: &Layer) -> Vec<Idle> {
    let optimizer = optimizer(&layer.own);
    match (layer.name(Part::Model), optimizer) {
        (Some("rbm"), _) => vec![Idle::own("optimizer", "rbm takes plain steps, with model.momentum")],
        (Some("classifier"), _) => vec![Idle::own("optimizer", "classifier is fitted by Adam alone")],
        (Some("gan"), Some(Optimizer::Adadelta | Optimizer::RmsProp)) => {
            let usual = settings::to_values(&GanConfig::default());
            let of_adam = |key| Idle::of(Part::Model, key, "only optimizer adam has it").fixed_at(usual[key].clone());
            ["beta1", "beta2"].map(of_adam).into()
        }
        _ => vec![],
    }
}

/// Returns the optimiser that `own`, settings of a fit, name.
fn optimizer(own: &Values) -> Option<Optimizer> {
    own.get("optimizer").and_then(|name| serde_json::from_value(name.clone()).ok())
}

impl FitConfig {
    /// Merges `layers` over the defaults (later ones win), checks every value and looks up every name.
    ///
    /// # Errors
    /// When a value or a name is not valid. The error names the layer, the key, the value and what was expected.
    pub(crate) fn resolve(layers: &[Layer]) -> Result<Self> {
        let merged = merge(layers, &FIT)?;
        let mut run: FitSettings = settings::resolve(&merged.own)?;
        let model = run.model.as_deref().ok_or_else(|| anyhow!("which model? (`carom list models` shows all)"))?;
        let model = models::resolve(model, &merged.part(Part::Model))?;
        let data = run.data.as_deref();
        let data = data.ok_or_else(|| anyhow!("which data? e.g. --data mnist (`carom fit --help` lists them)"))?;
        let source = source(data, &merged.part(Part::Env))?;
        if let Source::Folder(folder) = &source {
            run.data = Some(folder.display().to_string());
        }
        if let Some(folder) = &mut run.data_dir {
            *folder = files::absolute(&folder.display().to_string())?.into();
        }
        run.n_frames = n_frames(&source, run.n_frames)?;
        let descent = complete(&mut run, &model);
        Ok(Self { run, model, source, descent })
    }

    /// Returns this configuration with another seed.
    pub(crate) fn with_seed(&self, seed: u64) -> Self {
        Self { run: FitSettings { seed, ..self.run.clone() }, ..self.clone() }
    }

    /// Returns this configuration with `epochs` passes, if its model is fitted in passes.
    pub(crate) fn with_epochs(mut self, epochs: u64) -> Self {
        if let Some(before) = &mut self.run.epochs {
            (*before, self.descent.epochs) = (epochs, epochs);
        }
        self
    }

    /// Returns the number of frames in an image: above 1 if stacks of an environment's frames are fitted.
    pub(crate) fn frame_stack(&self) -> usize {
        match &self.source {
            Source::Env(spec) => spec.frame_stack(),
            _ => 1,
        }
    }

    /// Returns the text of a configuration file with these settings.
    pub(crate) fn to_toml(&self) -> String {
        let of_model = (Part::Model, self.model.settings());
        let own = settings::heard(&self.run);
        match &self.source {
            Source::Env(spec) => FIT.to_toml(&own, &[(Part::Env, spec.settings()), of_model]),
            _ => FIT.to_toml(&own, &[of_model]),
        }
    }

    /// Returns `<data>-<model>`, the name of presets and run directories. Characters that cannot be in a name become
    /// `-`.
    pub(crate) fn slug(&self) -> String {
        let data = self.source.to_string();
        let data = data.trim_start_matches("env:").trim_matches(['/', '.']);
        format!("{}-{}", data.replace(['/', ':', ' '], "-"), self.model.name())
    }
}

/// Looks up the data `name`. Frames of an environment are single unless its settings in `given` ask for a stack, since
/// an agent stacks their codes.
///
/// # Errors
/// When there is no such data set or environment, or `given` are not settings of it.
pub(crate) fn source(name: &str, given: &Values) -> Result<Source> {
    let Some(id) = name.strip_prefix("env:") else {
        ensure!(
            given.is_empty(),
            "{name} is no environment and has no settings; env.KEY goes with --data env:ID alone"
        );
        ensure!(
            envs::find(name).is_err(),
            "there is no data set `{name}`; did you mean `env:{name}`, frames of the environment?"
        );
        return names::or_elsewhere(name.parse(), name);
    };
    let spec = envs::resolve(id, given)?;
    let is_stacked = spec.settings().contains_key("frame_stack") && !given.contains_key("frame_stack");
    Ok(Source::Env(if is_stacked { spec.with("frame_stack", 1)? } else { spec }))
}

/// Returns the number of frames to take of an environment, or `None` for other data.
fn n_frames(source: &Source, given: Option<usize>) -> Result<Option<usize>> {
    match source {
        Source::Env(spec) => Ok(Some(given.map_or_else(|| default_n_frames(spec), Ok)?)),
        _ => Ok(None),
    }
}

/// Returns how the model is fitted, and stores in `run` the settings that its recipe gives.
fn complete(run: &mut FitSettings, model: &ModelSpec) -> Descent {
    let Recipe::Descent(mut usual) = model.recipe() else { return Descent::SINGLE_PASS };
    if let Some(optimizer) = run.optimizer.filter(|&optimizer| optimizer != usual.rule()) {
        // The recipe's were chosen for its own optimiser.
        (usual.lr, usual.lr_schedule) = (optimizer.lr(), Schedule::Constant);
    }
    Descent {
        optimizer: run.optimizer,
        epochs: *run.epochs.get_or_insert(usual.epochs),
        batch_size: *run.batch_size.get_or_insert(usual.batch_size),
        lr: *run.lr.get_or_insert(usual.lr),
        lr_schedule: *run.lr_schedule.get_or_insert(usual.lr_schedule),
    }
}

/// Merges a fit's own settings over those of the layer below. If `above` names another model, settings that the recipe
/// of the old one gave are dropped; if it names another optimiser, the usual learning rate of the old one.
fn overlay_own(below: &Values, above: &Values) -> Values {
    let mut below = below.clone();
    let name = |values: &Values| values.get("model").and_then(Value::as_str).map(str::to_owned);
    if let (Some(old), Some(new)) = (name(&below), name(above))
        && old != new
        && let Ok(Recipe::Descent(usual)) = models::find(&old).map(|entry| entry.recipe)
    {
        let implied = settings::to_values(&usual);
        below.retain(|key, value| implied.get(key) != Some(value));
    }
    let (old, new) = (optimizer(&below).unwrap_or_default(), optimizer(above));
    if new.is_some_and(|new| new != old) && below.get("lr") == Some(&old.lr().into()) {
        below.remove("lr");
    }
    settings::overlay::<FitSettings>(&below, above)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Layer {
        Layer::from_toml(text, "test.toml", &FIT).unwrap_or_else(|e| panic!("{e:#}"))
    }

    fn resolve(layers: &[Layer]) -> FitConfig {
        FitConfig::resolve(layers).unwrap_or_else(|e| panic!("{e:#}"))
    }

    #[test]
    fn a_resolved_fit_resolves_to_itself_and_another_model_has_its_own_recipe() {
        let vae =
            resolve(&[layer("model = \"vae\"\ndata = \"movies\"\nbatch_size = 3\n[model_settings]\nlatent_dim = 5")]);
        assert_eq!(resolve(&[layer(&vae.to_toml())]), vae);
        let ae = resolve(&[layer(&vae.to_toml()), layer("model = \"ae\"")]);
        let Recipe::Descent(usual) = ae.model.recipe() else { panic!("an autoencoder is fitted step by step") };
        assert_eq!(ae.descent, Descent { batch_size: 3, ..usual });
        assert_ne!(ae.model.settings()["latent_dim"], 5);
    }

    #[test]
    fn an_optimiser_has_its_own_learning_rate_unless_one_is_given() {
        let fit = |layers: &[&str]| {
            let layers: Vec<Layer> = layers.iter().map(|text| layer(text)).collect();
            let fit = resolve(&layers);
            assert_eq!(resolve(&[layer(&fit.to_toml())]), fit);
            (fit.descent.rule(), fit.descent.lr, fit.descent.lr_schedule)
        };
        let (cnn, vae) = ("model = \"cnn-ae\"\ndata = \"movies\"", "model = \"vae\"\ndata = \"movies\"\nlr = 0.001");
        let adadelta = "optimizer = \"adadelta\"";
        assert_eq!(fit(&[cnn]), (Optimizer::Adam, 3e-3, Schedule::Cosine));
        assert_eq!(fit(&[cnn, adadelta]), (Optimizer::Adadelta, 1.0, Schedule::Constant));
        assert_eq!(fit(&[cnn, "optimizer = \"adam\""]), (Optimizer::Adam, 3e-3, Schedule::Cosine));
        assert_eq!(fit(&[vae, adadelta]), (Optimizer::Adadelta, 1.0, Schedule::Constant));
        assert_eq!(fit(&[vae, adadelta, "optimizer = \"rmsprop\""]), (Optimizer::RmsProp, 1e-3, Schedule::Constant));
        assert_eq!(fit(&[vae, "optimizer = \"adadelta\"\nlr = 0.5"]), (Optimizer::Adadelta, 0.5, Schedule::Constant));
    }

    #[test]
    fn paths_are_stored_so_that_they_mean_the_same_in_every_directory() {
        let typed =
            "model = \"gan\"\ndata = \"mnist\"\ndata_dir = \"./no/such/\"\n[model_settings]\nclassifier = \"b/../run\"";
        let stored = resolve(&[layer(typed)]).to_toml();
        let here = std::env::current_dir().expect("a working directory").display().to_string();
        for line in [format!("data_dir = \"{here}/no/such\""), format!("classifier = \"{here}/b/../run\"")] {
            assert!(stored.lines().any(|found| found == line), "{line} in {stored}");
        }
        let auto = resolve(&[layer("model = \"gan\"\ndata = \"mnist\"")]).to_toml();
        assert!(auto.contains("classifier = \"auto\""), "{auto}");
    }

    #[test]
    fn single_frames_are_fitted_unless_a_stack_is_asked_for() {
        let fit = |more: &str| resolve(&[layer(&format!("model = \"pca\"\ndata = \"env:breakout\"\n{more}"))]);
        assert_eq!((fit("").frame_stack(), fit("[env_settings]\nframe_stack = 2").frame_stack()), (1, 2));
    }

    #[test]
    fn settings_without_an_effect_are_refused() {
        let fault = |text: &str| format!("{:#}", FitConfig::resolve(&[layer(text)]).expect_err("a fault"));
        assert!(
            fault("model = \"pca\"\ndata = \"movies\"\nlr = 0.1")
                .contains("lr is 0.1, which has no effect: pca makes no")
        );
        assert!(
            fault("model = \"ae\"\ndata = \"movies\"\nn_frames = 9").contains("n_frames is 9, which has no effect")
        );
        assert!(fault("model = \"rbm\"\ndata = \"movies\"\noptimizer = \"adam\"").contains("rbm takes plain steps"));
        let beta = "model = \"gan\"\ndata = \"mnist\"\noptimizer = \"rmsprop\"\n[model_settings]\nbeta1 = 0.5";
        assert!(fault(beta).contains("model.beta1 is 0.5, which has no effect: only optimizer adam has it"));
        let clipped = fault("model = \"ae\"\ndata = \"env:breakout\"\n[env_settings]\nreward_clip = true");
        assert!(clipped.contains("env.reward_clip is true, which has no effect: frames have no rewards"), "{clipped}");
        assert!(fault("model = \"ae\"\ndata = \"breakout\"").contains("did you mean `env:breakout`"));
        let many = fault("model = \"ae\"\ndata = \"env:breakout\"\nn_frames = 1000000000000000");
        assert!(many.contains("n_frames") && many.contains("in 1..=10000000"), "{many}");
    }
}
