//! Settings of runs: layers resolved into whole configurations, of trainings and of fits.

pub mod encoders;
pub mod fit;
pub mod kind;
pub mod layers;
pub mod presets;
pub mod training;
