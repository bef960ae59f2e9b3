//! The presets of `presets/`, which are compiled into the program.

use super::fit::FIT;
use super::layers::{Form, Layer};
use super::part::Part;
use super::training::TRAINING;
use anyhow::{Result, bail, ensure};
use carom_envs::settings::nearest;

include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// A named configuration that reproduces a number in the README.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preset {
    /// `<env>-<agent>[-variant]`, with `/` as `-`.
    pub name: &'static str,
    /// The file's text.
    pub text: &'static str,
}

impl Preset {
    /// Returns the first comment line.
    pub(crate) fn summary(&self) -> &'static str {
        self.text.lines().next().and_then(|line| line.strip_prefix('#')).unwrap_or_default().trim()
    }

    /// Returns the settings as a layer for a kind of run.
    ///
    /// # Errors
    /// When the preset is for another kind of run, or has an unknown key.
    pub(crate) fn layer(&self, form: &Form) -> Result<Layer> {
        Layer::from_toml(self.text, &format!("preset {}", self.name), form)
    }

    /// Returns the settings as a layer for a kind of run. `actor` is the name of the run's agent or model, `part`, if
    /// it is given.
    ///
    /// # Errors
    /// When the preset is of another agent or model, for which its settings were chosen.
    pub(crate) fn of_actor(&self, form: &Form, part: Part, actor: Option<&str>) -> Result<Layer> {
        let layer = self.layer(form)?;
        if let (Some(own), Some(actor)) = (layer.name(part), actor) {
            let name = self.name;
            ensure!(
                own == actor,
                "preset {name} is of {own}, and its settings are not for {actor}; leave --preset out"
            );
        }
        Ok(layer)
    }

    /// Returns whether the preset is for this kind of run.
    pub(crate) fn is_of(&self, form: &Form) -> bool {
        let table: Option<toml::Table> = toml::from_str(self.text).ok();
        table.is_some_and(|table| table.get("kind").and_then(toml::Value::as_str) == Some(form.kind))
    }
}

/// Finds the preset `name` for a kind of run.
///
/// # Errors
/// When there is no such preset, or it is for another kind of run.
pub(crate) fn find(name: &str, form: &Form) -> Result<Preset> {
    let Some(preset) = get(name) else {
        let known = PRESETS.iter().filter(|preset| preset.is_of(form)).map(|preset| preset.name);
        let near = nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        bail!("there is no preset `{name}`{near} (`carom list presets` shows all)");
    };
    let of_other = [(&TRAINING, "trains an agent"), (&FIT, "fits a model")]
        .into_iter()
        .find(|(other, _)| !preset.is_of(form) && preset.is_of(other));
    match of_other {
        Some((other, what)) => bail!("preset `{name}` {what}: carom {} --preset {name}", other.command),
        None => Ok(preset),
    }
}

/// Returns the preset for an environment and an agent, or for data and a model, if there is one.
pub(crate) fn of(task: &str, learner: &str) -> Option<Preset> {
    get(&format!("{}-{learner}", task.replace('/', "-")))
}

fn get(name: &str) -> Option<Preset> {
    PRESETS.iter().copied().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use super::super::fit::FitConfig;
    use super::super::training::TrainConfig;
    use super::*;

    #[test]
    fn every_preset_is_valid_and_named_after_its_run() {
        for preset in PRESETS {
            let name = match preset.is_of(&TRAINING) {
                true => preset.layer(&TRAINING).and_then(|layer| TrainConfig::resolve(&[layer])).map(|run| run.slug()),
                false => preset.layer(&FIT).and_then(|layer| FitConfig::resolve(&[layer])).map(|fit| fit.slug()),
            };
            let name = name.unwrap_or_else(|e| panic!("{}: {e:#}", preset.name));
            assert!(preset.name.starts_with(&name), "{} runs {name}", preset.name);
            assert!(!preset.summary().is_empty(), "{} begins with a comment that says what it is for", preset.name);
        }
    }
}
