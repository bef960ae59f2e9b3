//! The presets of `presets/`, built into the program so that it works from anywhere.

use crate::config::training::Layer;
use anyhow::{Result, bail};
use carom_envs::nearest;

include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// A named configuration that reproduces a number in the README.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// `<env>-<agent>[-variant]`, with `/` as `-`.
    pub name: &'static str,
    /// The file's text.
    pub text: &'static str,
}

impl Preset {
    /// Its first comment line.
    pub fn summary(&self) -> &'static str {
        self.text.lines().next().and_then(|line| line.strip_prefix('#')).unwrap_or_default().trim()
    }

    /// What it configures: a fit names a model.
    pub fn kind(&self) -> Kind {
        match self.text.lines().any(|line| line.starts_with("model = ")) {
            true => Kind::Fit,
            false => Kind::Training,
        }
    }

    /// Its settings, where it is of [`Kind::Training`].
    ///
    /// # Errors
    /// When the file holds an unknown key or a value of the wrong kind.
    pub fn layer(&self) -> Result<Layer> {
        Layer::from_toml(self.text, &format!("preset {}", self.name))
    }
}

/// What a preset configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `carom train`
    Training,
    /// `carom fit`
    Fit,
}

/// The preset called `name`, of this kind.
///
/// # Errors
/// When there is none of this name, where the nearest is told, or it is of the other kind.
pub fn find(name: &str, kind: Kind) -> Result<Preset> {
    let Some(preset) = get(name) else {
        let nearest = nearest(name, PRESETS.iter().filter(|preset| preset.kind() == kind).map(|preset| preset.name));
        bail!("there is no preset `{name}`; the nearest is `{nearest}` (`carom list presets` shows all)");
    };
    match preset.kind() {
        found if found == kind => Ok(preset),
        Kind::Training => bail!("preset `{name}` trains an agent: carom train --preset {name}"),
        Kind::Fit => bail!("preset `{name}` fits a model: carom fit --preset {name}"),
    }
}

/// The preset of an environment and an agent, or of data and a model, where there is one.
pub fn of(task: &str, learner: &str) -> Option<Preset> {
    get(&format!("{}-{learner}", task.replace('/', "-")))
}

fn get(name: &str) -> Option<Preset> {
    PRESETS.iter().copied().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fit::{FitConfig, FitLayer};
    use crate::config::training::RunConfig;

    #[test]
    fn every_preset_is_valid_and_named_after_what_it_runs() {
        for preset in PRESETS {
            let name = match preset.kind() {
                Kind::Training => preset.layer().and_then(|layer| RunConfig::resolve(&[layer])).map(|run| run.slug()),
                Kind::Fit => FitLayer::from_toml(preset.text, preset.name)
                    .and_then(|layer| FitConfig::resolve(&[layer]))
                    .map(|fit| fit.slug()),
            };
            let name = name.unwrap_or_else(|e| panic!("{}: {e:#}", preset.name));
            assert!(preset.name.starts_with(&name), "{} runs {name}", preset.name);
            assert!(!preset.summary().is_empty(), "{} begins with a comment that says what it is for", preset.name);
        }
    }
}
