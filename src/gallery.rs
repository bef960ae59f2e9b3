//! Pictures of any model: reconstructions, samples, its code in the plane or along its dimensions.
//!
//! Pictures use [`Model::encode`], [`Model::decode`] and [`Model::sample`]; a model without one of them lacks those
//! pictures. [`Model::exhibits`] gives images that only one kind of model has.

pub(crate) mod grid;
mod latent;

use crate::generative::images::{Data, Images};
use crate::generative::model::Model;
use anyhow::Result;
use carom_envs::Picture;
use grid::{GAP, grid, stack};
use std::path::Path;
use tch::Tensor;

/// Images in a row of reconstructions and samples.
const COLUMNS: usize = 16;
/// Pairs of rows in the picture of reconstructions.
const DOUBLE_ROWS: usize = 4;
/// Samples in the picture of samples.
const N_SAMPLES: usize = 256;

/// Writes all pictures of `model` to folder `dir`: `reconstructions.png`, `samples.png`, and its exhibits. A code of
/// two numbers gives `latent.svg` and `manifold.png`, others `traversals.png` and `interpolations.png`.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn draw(model: &dyn Model, data: &Data, dir: &Path) -> Result<()> {
    if let Some(picture) = reconstructions(model, &data.test, COLUMNS * DOUBLE_ROWS) {
        grid::write_png(&dir.join("reconstructions.png"), &picture)?;
    }
    if let Some(picture) = samples(model, N_SAMPLES) {
        grid::write_png(&dir.join("samples.png"), &picture)?;
    }
    latent::draw(model, data, dir)?;
    for exhibit in model.exhibits() {
        let picture = grid(&exhibit.images, exhibit.n_columns, GAP);
        grid::write_captioned(&dir.join(format!("{}.png", exhibit.name)), &picture, &exhibit.caption)?;
    }
    Ok(())
}

/// Draws double rows: `n` evenly spaced test images (or all, if fewer) above their reconstructions. Returns `None` if
/// the model cannot turn a code into an image.
pub(crate) fn reconstructions(model: &dyn Model, test: &Images, n: usize) -> Option<Picture> {
    let inputs = test.spaced(n).all();
    let outputs = model.decode(&model.encode(&inputs))?;
    let double_rows = inputs.split(COLUMNS as i64, 0).into_iter().zip(outputs.split(COLUMNS as i64, 0));
    let pictures: Vec<Picture> = double_rows
        .map(|(above, below)| grid(&Tensor::cat(&[&above, &below], 0), above.size()[0] as usize, GAP))
        .collect();
    Some(stack(&pictures, 4 * GAP))
}

/// Draws `n` samples of the model. Returns `None` if it has no distribution to draw from.
pub(crate) fn samples(model: &dyn Model, n: usize) -> Option<Picture> {
    // A square, unless it would be too narrow.
    let columns = ((n as f64).sqrt().ceil() as usize).clamp(n.min(COLUMNS / 2), COLUMNS.max(n / 32));
    Some(grid(&model.sample(n)?, columns, GAP))
}
