//! Pictures of any model: reconstructions, samples, its code in the plane or along its dimensions.
//!
//! Pictures use [`Model::encode`], [`Model::decode`] and [`Model::sample`]; a model without one of them lacks those
//! pictures. [`Model::exhibits`] gives images that only one kind of model has.

mod caption;
mod chain;
pub(crate) mod grid;
mod latent;

pub(crate) use caption::Captions;
pub(crate) use chain::{chain, chain_text};

use crate::generative::images::Data;
use crate::generative::model::{Exhibit, Model};
use crate::plot::table::{self, Table};
use anyhow::Result;
use carom_envs::Picture;
use grid::{Channels, GAP, grid, stack};
use std::path::Path;
use tch::{Kind, Tensor};

/// Images in a row of reconstructions and samples.
const COLUMNS: usize = 16;
/// Pairs of rows in the picture of reconstructions.
const DOUBLE_ROWS: usize = 4;
/// Caption of reconstructions.
pub(crate) const RECONSTRUCTIONS: &str = "Test images, each above its reconstruction.";
/// Samples in the picture of samples.
const N_SAMPLES: usize = 256;

/// Writes all pictures of `model` to folder `dir`: `reconstructions.png`, `samples.png`, and its exhibits. A code of
/// two numbers gives `latent.svg` and `manifold.png`, others `traversals.png` and `interpolations.png`.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn draw(model: &dyn Model, data: &Data, captions: &Captions, dir: &Path) -> Result<()> {
    if let Some(picture) = reconstructions(model, data, COLUMNS * DOUBLE_ROWS) {
        let caption = captions.of(RECONSTRUCTIONS);
        grid::write_captioned(&dir.join("reconstructions.png"), &picture, &caption)?;
    }
    if let Some(picture) = samples(model, data, N_SAMPLES) {
        let caption = captions.of(&format!("{N_SAMPLES} images drawn from the model."));
        grid::write_captioned(&dir.join("samples.png"), &picture, &caption)?;
    }
    latent::draw(model, data, captions, dir)?;
    let channels = Channels::of(data);
    for Exhibit { name, images, n_columns, caption, row_labels, pixel_names } in model.exhibits(data) {
        match pixel_names {
            None => {
                let picture = if row_labels.is_empty() {
                    grid(&images, channels, n_columns, GAP)
                } else {
                    let rows = images.split(n_columns as i64, 0);
                    let rows = rows.iter().map(|row| grid(row, channels, n_columns, GAP));
                    caption::labelled(&row_labels.into_iter().zip(rows).collect::<Vec<_>>(), 0)
                };
                grid::write_captioned(&dir.join(format!("{name}.png")), &picture, &captions.of(&caption))?;
            }
            Some(names) => {
                let columns = images.flatten(1, -1) * 2.0 - 1.0;
                let columns = Vec::<Vec<f64>>::try_from(columns.to_kind(Kind::Double)).expect("a matrix");
                let title = format!("{}. {caption}", captions.subject());
                table::write_file(&Table { title, rows: names, columns }, &dir.join(format!("{name}.svg")))?;
            }
        }
    }
    Ok(())
}

/// Draws double rows: `n` evenly spaced test images (or all, if fewer) above their reconstructions. Returns `None` if
/// the model cannot turn a code into an image.
pub(crate) fn reconstructions(model: &dyn Model, data: &Data, n: usize) -> Option<Picture> {
    let inputs = data.test.spaced(n).all();
    let outputs = model.decode(&model.encode(&inputs))?;
    Some(multiple_rows(&[inputs, outputs], Channels::of(data)))
}

/// Draws triple rows: `n` evenly spaced test images (or all, if fewer), the images with Gaussian noise of deviation
/// `noise`, and the reconstructions of these. Returns `None` if the model cannot turn a code into an image.
pub(crate) fn denoised(model: &dyn Model, data: &Data, n: usize, noise: f64) -> Option<Picture> {
    let clean = data.test.spaced(n).all();
    let seen = (&clean + clean.randn_like() * noise).clamp(0.0, 1.0);
    let outputs = model.decode(&model.encode(&seen))?;
    Some(multiple_rows(&[clean, seen, outputs], Channels::of(data)))
}

/// Draws rows of the images of each of `kinds` in turn, below one another.
fn multiple_rows(kinds: &[Tensor], channels: Channels) -> Picture {
    let rows: Vec<Vec<Tensor>> = kinds.iter().map(|images| images.split(COLUMNS as i64, 0)).collect();
    let pictures: Vec<Picture> = (0..rows[0].len())
        .map(|i| {
            let of_all: Vec<&Tensor> = rows.iter().map(|rows| &rows[i]).collect();
            grid(&Tensor::cat(&of_all, 0), channels, of_all[0].size()[0] as usize, GAP)
        })
        .collect();
    stack(&pictures, 4 * GAP)
}

/// Draws `n` samples of the model of `data`. Returns `None` if it has no distribution to draw from.
pub(crate) fn samples(model: &dyn Model, data: &Data, n: usize) -> Option<Picture> {
    // A square, unless it would be too narrow.
    let columns = ((n as f64).sqrt().ceil() as usize).clamp(n.min(COLUMNS / 2), COLUMNS.max(n / 32));
    Some(grid(&model.sample(n)?, Channels::of(data), columns, GAP))
}
