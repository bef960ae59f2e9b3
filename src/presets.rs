//! The presets of `presets/`, built into the program so that it works from anywhere.

use crate::config::Layer;
use crate::human::nearest;
use anyhow::{Result, anyhow};

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

    /// Its settings.
    ///
    /// # Errors
    /// When the file holds an unknown key or a value of the wrong kind.
    pub fn layer(&self) -> Result<Layer> {
        Layer::from_toml(self.text, &format!("preset {}", self.name))
    }
}

/// The preset called `name`.
///
/// # Errors
/// When there is none of this name; the nearest is told.
pub fn find(name: &str) -> Result<Preset> {
    get(name).ok_or_else(|| {
        let nearest = nearest(name, PRESETS.iter().map(|preset| preset.name));
        anyhow!("there is no preset `{name}`; the nearest is `{nearest}` (`carom list presets` shows all)")
    })
}

/// The preset of an environment and an agent, where there is one.
pub fn of(env: &str, agent: &str) -> Option<Preset> {
    get(&format!("{}-{agent}", env.replace('/', "-")))
}

fn get(name: &str) -> Option<Preset> {
    PRESETS.iter().copied().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;

    #[test]
    fn every_preset_is_valid_and_named_after_what_it_runs() {
        for preset in PRESETS {
            let layer = preset.layer().unwrap_or_else(|e| panic!("{e:#}"));
            let config = RunConfig::resolve(&[layer]).unwrap_or_else(|e| panic!("{e:#}"));
            let name = format!("{}-{}", config.env.replace('/', "-"), config.agent);
            assert!(preset.name.starts_with(&name), "{} runs {name}", preset.name);
            assert!(!preset.summary().is_empty(), "{} begins with a comment that says what it is for", preset.name);
        }
    }
}
