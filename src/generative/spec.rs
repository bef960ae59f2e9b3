//! Kinds of models with settings, and models resolved by name.

use super::model::Model;
use super::settings::{ModelTask, Recipe};
use anyhow::{Context, Result};
use carom_envs::settings::{self, Schema, SettingError, Settings, Values, suggest};
use rand_pcg::Pcg32;

/// The settings of a kind of model, and how such a model is made and fitted.
pub(crate) trait ModelSettings: Settings {
    /// How the model is fitted by default.
    const RECIPE: Recipe;

    /// Makes an unfitted model.
    ///
    /// # Errors
    /// When the model cannot be fitted to the data.
    fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>>;
}

/// A model's name, description, settings, recipe and constructor: a row in a table of models.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelEntry {
    /// Name as typed on the command line.
    pub name: &'static str,
    /// Description of one line.
    pub summary: &'static str,
    /// Settings of the model.
    pub schema: Schema,
    /// How it is fitted by default.
    pub recipe: Recipe,
    make: fn(&Values, &ModelTask, &mut Pcg32) -> Result<Box<dyn Model>>,
}

impl ModelEntry {
    /// Makes the entry of the model with settings `S`.
    pub(crate) const fn of<S: ModelSettings>(name: &'static str, summary: &'static str) -> Self {
        Self {
            name,
            summary,
            schema: Schema::of::<S>(),
            recipe: S::RECIPE,
            make: |values, task, rng| settings::resolve::<S>(values)?.make(task, rng),
        }
    }

    /// Resolves the model with the settings in `given`, and defaults for the rest.
    ///
    /// # Errors
    /// When a setting does not exist, has a wrong value or has no effect.
    pub(crate) fn resolve(&self, given: &Values) -> Result<ModelSpec, ModelError> {
        let settings = (self.schema.resolve)(given);
        let settings = settings.map_err(|fault| fault.of("model", format_args!("model `{}`", self.name)))?;
        Ok(ModelSpec { entry: *self, settings })
    }
}

/// Says why a model was not resolved.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum ModelError {
    /// There is no model of this name.
    #[error("there is no model `{name}`; {}", suggest(name, known.iter().copied()))]
    UnknownName {
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// A setting does not exist, has a wrong value or has no effect.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// A model resolved by name, with its whole settings, all of them valid.
#[derive(Clone, Debug)]
pub(crate) struct ModelSpec {
    entry: ModelEntry,
    settings: Values,
}

impl ModelSpec {
    /// Returns the name of the model.
    pub(crate) fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Returns all settings that have a value and an effect, by key.
    pub(crate) fn settings(&self) -> &Values {
        &self.settings
    }

    /// How the model is fitted by default.
    pub(crate) fn recipe(&self) -> Recipe {
        self.entry.recipe
    }

    /// Makes the unfitted model.
    ///
    /// # Errors
    /// When the model cannot be fitted to the data.
    pub(crate) fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        let made = (self.entry.make)(&self.settings, task, rng);
        made.with_context(|| format!("model `{}` on {}", self.entry.name, task.data.name))
    }
}

impl PartialEq for ModelSpec {
    fn eq(&self, other: &Self) -> bool {
        (self.entry.name, &self.settings) == (other.entry.name, &other.settings)
    }
}
