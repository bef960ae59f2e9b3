//! Default settings of each encoder's fit to frames.
//!
//! `carom probe` measured which settings preserve small moving objects: larger weights for pixels that are rarely lit
//! (`rarity`), and a code with spatial positions (`cnn-ae` with few halvings). Share of frames whose decoded ball is in
//! its place:
//! - `breakout`, `cnn-ae` as below, seeds 0 and 1: .870 and .782; without rarity .284 and .184; with one filter and no
//!   bottleneck .152 and .577; of two frames .500 and .487, with a `difference` of 1000 .801 and .655
//!   (`docs/encoders.md`). A dense `ae` loses the ball even with a rarity of 1, so its rarity is 0.
//! - `minatar/breakout`, 5,000 frames, 10 epochs, without rarity and with 1: `ae` .980 and .991, `vae` .229 and .968,
//!   `cnn-ae` with one halving .994 and 1.000. There a ball of any brightness counted, and most frames were among those
//!   of the fit, so these shares are too high.

use crate::config::fit::FIT;
use crate::config::layers::Layer;
use anyhow::Result;
use carom_envs::ObsSpace;

/// Returns the settings of model `name` for frames of `obs_space`.
pub(crate) fn of(name: &str, obs_space: &ObsSpace) -> Result<Layer> {
    const PLANES: &str = "n_frames = 5000\nepochs = 10\nbatch_size = 64";
    let (run, model) = match (name, obs_space) {
        ("ae", ObsSpace::Planes { .. }) => (PLANES, "latent_dim = 64\nhidden = [256]\nrarity = 1.0"),
        ("ae", _) => ("epochs = 10", "latent_dim = 128\nhidden = [512]"),
        ("cnn-ae", ObsSpace::Planes { .. }) => (PLANES, "filters = 8\nhalvings = 1\nrarity = 1.0"),
        ("cnn-ae", _) => (
            "n_frames = 4000\nepochs = 8\nbatch_size = 16\nlr = 0.003",
            "filters = 8\nhalvings = 2\nbottleneck = 1\nrarity = 5.0",
        ),
        ("vae", ObsSpace::Planes { .. }) => (PLANES, "latent_dim = 32\nhidden = [256]\nrarity = 1.0"),
        ("vae", _) => ("epochs = 10", "latent_dim = 32\nhidden = [512]"),
        ("rbm", ObsSpace::Planes { .. }) => ("epochs = 20", "latent_dim = 128"),
        ("rbm", _) => ("epochs = 5", "latent_dim = 256"),
        _ => ("", ""),
    };
    let text = format!("{run}\n[model_settings]\n{model}");
    Layer::from_toml(&text, &format!("the recipe of encoder {name}"), &FIT)
}
