//! Generative models: autoencoders, VAE, RBM and GAN, fitted to images or to frames of an environment.
//!
//! A [`Model`] takes steps on batches, measures itself on the test split, and turns images into codes and codes into
//! images. One loop (`crate::fit`) fits all of them.

mod autoencoder;
pub(crate) mod classifier;
pub(crate) mod data;
pub(crate) mod difference;
pub(crate) mod gan;
pub(crate) mod images;
pub(crate) mod measures;
pub(crate) mod model;
mod pca;
mod random;
mod rbm;
pub(crate) mod registry;
pub(crate) mod settings;
pub(crate) mod spec;
pub(crate) mod vae;
pub(crate) mod weights;
