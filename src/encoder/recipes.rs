//! How each encoder is fitted to frames where a person says nothing else.
//!
//! What small moving things need was measured by `carom probe`: pixels that are rarely lit count more (`rarity`), and a code that
//! keeps places (`cnn-ae` with few halvings). Share of frames whose decoded ball is where it belongs, without and with
//! `rarity = 1`:
//! - `minatar/breakout`, 5,000 frames, 10 epochs: `ae` .980 and .991, `vae` .229 and .968, `cnn-ae` with two halvings .997 and
//!   1.000; with one, .994 without;
//! - `breakout`, 3,000 frames, 3 epochs: `cnn-ae` with two halvings and 4 filters .000 and .600.

use crate::generative::config::FitLayer;
use anyhow::Result;
use carom_envs::ObsSpace;

/// The settings of model `name` for frames of `obs_space`.
pub fn of(name: &str, obs_space: &ObsSpace) -> Result<FitLayer> {
    const FEW: &str = "n_frames = 5000\nepochs = 10\nbatch_size = 64";
    let (run, model) = match (name, obs_space) {
        ("ae", ObsSpace::Planes { .. }) => (FEW, "latent_dim = 64\nhidden = [256]\nrarity = 1.0"),
        ("ae", _) => ("epochs = 10", "latent_dim = 128\nhidden = [512]\nrarity = 1.0"),
        ("cnn-ae", ObsSpace::Planes { .. }) => (FEW, "filters = 8\nhalvings = 1\nrarity = 1.0"),
        ("cnn-ae", _) => {
            ("n_frames = 4000\nepochs = 6\nbatch_size = 16\nlr = 0.002", "filters = 4\nhalvings = 2\nrarity = 1.0")
        }
        ("vae", ObsSpace::Planes { .. }) => (FEW, "latent_dim = 32\nhidden = [256]\nrarity = 1.0"),
        ("vae", _) => ("epochs = 10", "latent_dim = 32\nhidden = [512]\nrarity = 1.0"),
        ("rbm", ObsSpace::Planes { .. }) => ("epochs = 20", "latent_dim = 128"),
        ("rbm", _) => ("epochs = 5", "latent_dim = 256"),
        _ => ("", ""),
    };
    let text = format!("{run}\n[model_settings]\n{model}");
    FitLayer::from_toml(&text, &format!("the recipe of encoder {name}"))
}
