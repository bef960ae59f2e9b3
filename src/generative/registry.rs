//! Models by name.

use super::autoencoder::{AeConfig, CnnAeConfig};
use super::classifier::ClassifierConfig;
use super::gan::GanConfig;
use super::pca::PcaConfig;
use super::random::RandomConfig;
use super::rbm::RbmConfig;
use super::spec::{ModelEntry, ModelError, ModelSpec};
use super::vae::VaeConfig;
use carom_envs::settings::Values;

/// All models.
pub(crate) const MODELS: &[ModelEntry] = &[
    ModelEntry::of::<AeConfig>("ae", "dense autoencoder: 784-32-784 on MNIST"),
    ModelEntry::of::<CnnAeConfig>("cnn-ae", "convolutional autoencoder with a 4×4×8 code"),
    ModelEntry::of::<PcaConfig>("pca", "principal components: the best linear code"),
    ModelEntry::of::<RandomConfig>("random", "features of a random network, which is not trained"),
    ModelEntry::of::<VaeConfig>("vae", "variational autoencoder, by its ELBO or the importance-weighted bound"),
    ModelEntry::of::<RbmConfig>("rbm", "restricted Boltzmann machine with 500 hidden units"),
    ModelEntry::of::<GanConfig>("gan", "generative adversarial network: dense or convolutional, four losses"),
    ModelEntry::of::<ClassifierConfig>("classifier", "small convolutional classifier, whose features judge samples"),
];

/// Returns the entry of model `name`.
///
/// # Errors
/// When there is none; the error suggests the nearest.
pub(crate) fn find(name: &str) -> Result<&'static ModelEntry, ModelError> {
    MODELS.iter().find(|entry| entry.name == name).ok_or_else(|| ModelError::UnknownName {
        name: name.to_owned(),
        known: MODELS.iter().map(|entry| entry.name).collect(),
    })
}

/// Resolves model `name` with its defaults, overridden by `overrides`.
///
/// # Errors
/// When there is no such model, or a setting does not exist, has a wrong value or has no effect.
pub(crate) fn resolve(name: &str, overrides: &Values) -> Result<ModelSpec, ModelError> {
    find(name)?.resolve(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn error(name: &str, settings: &Value) -> String {
        resolve(name, settings.as_object().expect("a table")).expect_err("a fault").to_string()
    }

    #[test]
    fn defaults_are_valid_and_resolve_to_themselves() {
        for entry in MODELS {
            let spec = entry.resolve(&Values::new()).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            assert_eq!(entry.resolve(spec.settings()).expect("resolved before"), spec);
        }
    }

    #[test]
    fn faults_name_the_model_or_the_key() {
        assert!(error("ea", &json!({})).starts_with("there is no model `ea`; did you mean `ae`?"));
        assert!(error("ae", &json!({"latent_dm": 3})).contains("model `ae` has no setting `latent_dm`; did you mean"));
        assert_eq!(error("vae", &json!({"sigma": -1})), "model.sigma is -1.0: expected a number above 0");
        assert!(
            error("ae", &json!({"latent_dim": 0}))
                .starts_with("model.latent_dim is 0: expected a whole number in 1..=")
        );
        assert_eq!(error("gan", &json!({"width": 7})), "model.width is 7: expected an even number");
        assert_eq!(error("gan", &json!({"ema": 1})), "model.ema is 1.0: expected a number from 0 to below 1");
    }

    #[test]
    fn settings_without_an_effect_are_refused_with_the_reason() {
        for (model, settings, key) in [
            ("gan", json!({"loss": "hinge", "gamma": 0.1}), "gamma"),
            ("gan", json!({"lambda": 5}), "lambda"),
            ("vae", json!({"channels": [8]}), "channels"),
            ("vae", json!({"sigma": 0.2}), "sigma"),
            ("vae", json!({"k": 5, "beta": 0.5}), "beta"),
            ("rbm", json!({"visible": "gaussian", "binarisation": "sample"}), "binarisation"),
        ] {
            let error = error(model, &settings);
            assert!(error.starts_with(&format!("model.{key} is ")) && error.contains("no effect"), "{error}");
        }
    }
}
