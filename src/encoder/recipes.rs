//! Default settings of each encoder's fit to frames.
//!
//! `carom probe` measured which settings preserve small moving objects: larger weights for pixels that are rarely lit
//! (`rarity`), and a code with spatial positions (`cnn-ae` with few halvings). Share of test frames whose decoded ball
//! is in its place, of any brightness, with most test frames among those that the encoder was fitted to (so the shares
//! are too high; settings are chosen by `carom probe --choose`):
//! - `minatar/breakout`, 5,000 frames, 10 epochs, without rarity and with 1: `ae` .980 and .991, `vae` .229 and .968,
//!   `cnn-ae` with one halving .994 and 1.000;
//! - `breakout`, `cnn-ae` with two halvings: .000 without rarity (4 filters, 3,000 frames, 3 epochs), .912 with 5 (8
//!   filters, 4,000 frames, 6 epochs). With one channel, a number for each 4×4 pixels, it is .928 (8 epochs), and an
//!   agent makes three times as many steps a second as on pixels (`docs/encoders.md`). A
//!   dense `ae` loses the ball even with a rarity of 1, so its rarity is 0.
//! - `breakout`, this `cnn-ae` on two frames (`env.frame_stack=2`): .516, and .833 with a `motion` of 250; with 2
//!   filters .519 and .610 (one frame: .491); with 1 filter .594 and .352; with a bottleneck of one channel .519, and
//!   .802 with a `difference` of 1000. None beats one frame without motion and difference.

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
