//! The data that models are fitted to: images and small tables, in memory as bytes.
//!
//! [`open`](open()) reads a data set by its name and downloads it if it is missing.

mod dataset;
mod fetch;
pub mod frames;
pub mod idx;
pub mod image_space;
pub mod movies;
mod open;
pub mod published;
mod source;
mod stacked;

pub use dataset::{Dataset, Split};
pub use open::open;
pub use source::Source;
