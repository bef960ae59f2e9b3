//! Names of cached fits. A fit in the cache is used again only if the code that made it would make it again.

use crate::config::fit::FitConfig;
use crate::config::kind::{self, Config};
use crate::files::hex;
use crate::generative::data::{Source, frames};
use anyhow::{Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Revision of the code that shapes a fit: frames, initial weights, losses, optimisers and scales of codes. Raise it
/// with each change of these; a test in `src/encoder/cache.rs` fails otherwise.
const REVISION: u32 = 2;

/// Frames whose digest tells whether an environment plays as it did.
const N_DIGESTED_FRAMES: usize = 40;

/// Returns the name in the cache of the fit of `config`, which has a hash of its settings and of the revision.
pub(crate) fn cache_name(config: &FitConfig) -> String {
    name_at(REVISION, config)
}

fn name_at(revision: u32, config: &FitConfig) -> String {
    let hash = Sha256::digest(format!("revision {revision}\n{}", config.to_toml()));
    format!("{}-{}", config.slug(), hex(&hash[..4]))
}

/// Returns a digest of frames that the environment of `config` plays now, or `None` if the fit is to other data. The
/// revision is of Carom's own code; this tells of an environment from elsewhere that was changed.
///
/// # Errors
/// When its observations are not images.
pub(crate) fn frames_digest(config: &FitConfig) -> Result<Option<String>> {
    let Source::Env(env) = &config.source else { return Ok(None) };
    let frames = frames::collect(env, N_DIGESTED_FRAMES, config.run.seed)?;
    Ok(Some(hex(&Sha256::digest(&frames.obs)[..8])))
}

/// Checks that the run in `dir` is a fit of `config`.
///
/// # Errors
/// When its settings are others, or cannot be read.
pub(crate) fn check_settings(dir: &Path, config: &FitConfig) -> Result<()> {
    let Config::Fit(found) = kind::config(dir)? else { bail!("{} is no fit", dir.display()) };
    ensure!(found == *config, "{} has other settings", dir.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layer;

    #[test]
    fn fits_of_other_settings_or_other_code_have_other_names() {
        let config = |seed: u64| {
            let layer = Layer::default().with("model", Some("ae")).with("data", Some("movies"));
            FitConfig::resolve(&[layer.with("seed", Some(seed))]).expect("valid")
        };
        assert_eq!(cache_name(&config(0)), cache_name(&config(0)));
        assert_ne!(cache_name(&config(0)), cache_name(&config(1)));
        assert_ne!(cache_name(&config(0)), name_at(REVISION - 1, &config(0)));
    }

    #[test]
    fn other_frames_have_another_digest() {
        let digest = |data: &str, seed: u64| {
            let layer = Layer::default().with("model", Some("ae")).with("data", Some(data));
            let config = FitConfig::resolve(&[layer.with("seed", Some(seed))]).expect("valid");
            frames_digest(&config).expect("frames")
        };
        assert_eq!(digest("movies", 0), None);
        let found = digest("env:minatar/breakout", 0);
        assert!(found.is_some() && found == digest("env:minatar/breakout", 0));
        assert_ne!(found, digest("env:minatar/breakout", 1));
    }
}
