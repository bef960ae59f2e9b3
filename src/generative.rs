//! The generative half: autoencoders, VAE, RBM and GAN, fitted to images or to frames of an environment.
//!
//! A [`Model`] takes steps on batches, measures itself on the test split, and turns images into codes and codes into
//! images. One loop ([`fit`]) fits them all, in the run directory that agents have.

mod autoencoder;
pub mod classifier;
pub mod data;
pub mod difference;
pub mod gan;
pub mod images;
pub mod measures;
pub mod model;
pub mod net;
mod pca;
mod random;
mod rbm;
pub mod registry;
pub mod settings;
pub mod spec;
pub mod vae;
pub mod weights;
