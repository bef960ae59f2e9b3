//! Settings of runs: layers resolved into whole configurations, of trainings and of fits.

pub(crate) mod encoders;
pub(crate) mod fit;
#[cfg(test)]
mod heard;
pub(crate) mod kind;
pub(crate) mod layers;
pub(crate) mod names;
pub(crate) mod part;
pub(crate) mod presets;
#[cfg(test)]
mod tests;
pub(crate) mod training;
mod values;
