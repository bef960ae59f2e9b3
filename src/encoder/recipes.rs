//! How each encoder is fitted to frames where a person says nothing else.

use crate::generative::config::FitLayer;
use anyhow::Result;
use carom_envs::ObsSpace;

/// The settings of model `name` for frames of `obs_space`.
pub fn of(name: &str, obs_space: &ObsSpace) -> Result<FitLayer> {
    let text = match (name, obs_space) {
        ("ae", ObsSpace::Planes { .. }) => "epochs = 30\n[model_settings]\nlatent_dim = 64\nhidden = [256]",
        ("ae", _) => "epochs = 10\n[model_settings]\nlatent_dim = 128\nhidden = [512]",
        ("cnn-ae", ObsSpace::Planes { .. }) => "epochs = 30\n[model_settings]\nfilters = 16",
        ("cnn-ae", _) => "epochs = 4\n[model_settings]\nfilters = 4",
        ("vae", ObsSpace::Planes { .. }) => "epochs = 30\n[model_settings]\nlatent_dim = 32\nhidden = [256]",
        ("vae", _) => "epochs = 10\n[model_settings]\nlatent_dim = 32\nhidden = [512]",
        ("rbm", ObsSpace::Planes { .. }) => "epochs = 20\n[model_settings]\nlatent_dim = 128",
        ("rbm", _) => "epochs = 5\n[model_settings]\nlatent_dim = 256",
        _ => "",
    };
    FitLayer::from_toml(text, &format!("the recipe of encoder {name}"))
}
