//! Data sets: images and small tables, in memory as bytes.
//!
//! [`open`](open()) reads a data set by its name and downloads it if it is missing.

pub(crate) mod dataset;
mod fetch;
pub(crate) mod frames;
pub(crate) mod idx;
pub(crate) mod image_space;
pub(crate) mod movies;
mod open;
pub(crate) mod published;
mod source;
mod stacked;

pub(crate) use open::open;
pub(crate) use source::Source;
