//! The generative half: models fitted to images, and the data they are fitted to.

pub mod data;
