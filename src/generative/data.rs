//! The data that models are fitted to: images and small tables, in memory as bytes.
//!
//! [`open`](open()) reads a data set by its name, and downloads it first where it has to:
//!
//! ```no_run
//! use carom::generative::data;
//!
//! let mnist = data::open(&"mnist".parse()?, None, 0)?;
//! assert_eq!((mnist.shape, mnist.train.len(), mnist.test.len()), ([1, 28, 28], 60_000, 10_000));
//! # anyhow::Ok(())
//! ```

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
