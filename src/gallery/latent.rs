//! Pictures of the code: the plane of a code of two numbers, traversals and interpolations of larger codes.

use super::caption::Captions;
use super::grid::{Channels, GAP, grid, write_captioned};
use crate::generative::images::Data;
use crate::generative::model::Model;
use crate::plot::scatter::{self, Scatter};
use anyhow::Result;
use carom_agents::net::tensor::to_vec;
use std::path::Path;
use tch::{Kind, Tensor};

/// Bounds the points of the scatter plot.
const MAX_POINTS: usize = 5000;
/// Rows and columns of the manifold.
const MANIFOLD_SIDE: i64 = 20;
/// Bounds the images for quantiles and variances of the code's dimensions.
const MAX_ENCODED: usize = 2000;
/// Bounds the dimensions that are traversed.
const MAX_TRAVERSED: i64 = 10;
/// Images of a traversal or an interpolation.
const IMAGES_ALONG: i64 = 11;
/// Share of codes below the first image of a traversal, and above the last.
const LOWEST_SHARE: f64 = 0.02;
/// Pairs of test images.
const N_PAIRS: usize = 10;

/// Writes the pictures of the code that suit its width.
///
/// # Errors
/// When one cannot be written.
pub(super) fn draw(model: &dyn Model, data: &Data, captions: &Captions, dir: &Path) -> Result<()> {
    let codes = model.encode(&data.test.spaced(MAX_ENCODED).all()).flatten(1, -1);
    if codes.size()[1] == 2 {
        scatter(model, data, captions, dir)?;
    }
    // `decode` returns `None` if the model cannot decode.
    if model.decode(&codes.narrow(0, 0, 1)).is_none() {
        return Ok(());
    }
    let of_what = if model.has_normal_prior() { "the normal prior" } else { "the codes of test images" };
    if codes.size()[1] == 2 {
        let caption = captions.of(&format!(
            "Images of codes on a grid: the first number rises from left to right, the second from bottom to top, in \
             equal shares of {of_what}."
        ));
        let images = model.decode(&plane(model, &codes));
        write_grid(images, Channels::of(data), (MANIFOLD_SIDE, 0), &caption, &dir.join("manifold.png"))
    } else {
        let percent = 100.0 * LOWEST_SHARE;
        let caption = captions.of(&format!(
            "In each row one number of a test image's code goes from the {percent} % to the {} % quantile of \
             {of_what}; rows are the numbers that vary most.",
            100.0 - percent
        ));
        let images = model.decode(&sweeps(model, &codes));
        write_grid(images, Channels::of(data), (IMAGES_ALONG, GAP), &caption, &dir.join("traversals.png"))?;
        interpolations(model, data, captions, &dir.join("interpolations.png"))
    }
}

/// Writes `images`, if there are any, in columns, a gap apart.
fn write_grid(
    images: Option<Tensor>,
    channels: Channels,
    (columns, gap): (i64, usize),
    caption: &str,
    path: &Path,
) -> Result<()> {
    let Some(images) = images else { return Ok(()) };
    write_captioned(path, &grid(&images, channels, columns as usize, gap), caption)
}

/// Draws test codes in the plane, coloured by label if there are labels.
fn scatter(model: &dyn Model, data: &Data, captions: &Captions, dir: &Path) -> Result<()> {
    let shown = data.test.spaced(MAX_POINTS);
    let n = shown.len();
    let chunks = shown.chunks(1000).map(|x| model.encode(&x).flatten(1, -1));
    let values = to_vec(&Tensor::cat(&chunks.collect::<Vec<_>>(), 0));
    let points = values.chunks_exact(2).map(|pair| (f64::from(pair[0]), f64::from(pair[1]))).collect();
    let labels = shown.labels().map_or_else(Vec::new, integers);
    let classes = labels.into_iter().map(|label| label as usize).collect();
    let title = format!("{}: codes of {n} test images", captions.subject());
    Ok(scatter::write_file(&Scatter { title, points, classes }, &dir.join("latent.svg"))?)
}

/// Returns `n` levels for each column of `codes`, `[n, columns]`: quantiles from `lowest` to `1 - lowest` of the
/// standard normal distribution if that is the model's prior, else of the column.
fn quantiles(model: &dyn Model, codes: &Tensor, n: i64, lowest: f64) -> Tensor {
    let shares = Tensor::linspace(lowest, 1.0 - lowest, n, (Kind::Float, codes.device()));
    match model.has_normal_prior() {
        true => shares.special_ndtri().unsqueeze(1).repeat([1, codes.size()[1]]),
        false => codes.quantile(&shares, 0, false, "linear"),
    }
}

/// Returns codes on a grid over the plane, `[side², 2]`. The first number rises from left to right, the second from
/// bottom to top.
fn plane(model: &dyn Model, codes: &Tensor) -> Tensor {
    let side = MANIFOLD_SIDE;
    let levels = quantiles(model, codes, side, 0.5 / side as f64);
    let first = levels.select(1, 0).repeat([side]);
    let second = levels.select(1, 1).flip([0]).repeat_interleave_self_int(side, 0, None);
    Tensor::stack(&[first, second], 1)
}

/// Returns traversals of the dimensions that vary most, `[n_swept * IMAGES_ALONG, d]`: the code of one test image in
/// which one dimension varies.
fn sweeps(model: &dyn Model, codes: &Tensor) -> Tensor {
    let activity = codes.var_dim(0, false, false);
    let (_, dims) = activity.topk(MAX_TRAVERSED.min(activity.size()[0]), 0, true, true);
    let levels = quantiles(model, &codes.index_select(1, &dims), IMAGES_ALONG, LOWEST_SHARE);
    let rows = dims.iter::<i64>().expect("a vector of integers").enumerate().map(|(row, dim)| {
        let swept = codes.narrow(0, 0, 1).repeat([IMAGES_ALONG, 1]);
        swept.select(1, dim).copy_(&levels.select(1, row as i64));
        swept
    });
    Tensor::cat(&rows.collect::<Vec<_>>(), 0)
}

/// Draws rows from one test image to another, of another class if there are labels: the image, images decoded along the
/// straight line between their codes, the other image.
fn interpolations(model: &dyn Model, data: &Data, captions: &Captions, path: &Path) -> Result<()> {
    let images = data.test.spaced(4 * N_PAIRS);
    let labels = images.labels().map(integers);
    let shares = Tensor::linspace(0.0, 1.0, IMAGES_ALONG, (Kind::Float, data.device())).unsqueeze(1);
    let mut rows = Vec::new();
    for (from, to) in pairs(images.len(), labels.as_deref()) {
        let ends = images.gather(&Tensor::from_slice(&[from as i64, to as i64]));
        let codes = model.encode(&ends).flatten(1, -1);
        let Some(decoded) = model.decode(&codes.get(0).lerp_tensor(&codes.get(1), &shares)) else { return Ok(()) };
        rows.extend([ends.narrow(0, 0, 1), decoded, ends.narrow(0, 1, 1)]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let caption = captions.of(
        "Rows lead from a test image to another: between them are the images of codes on the straight line between \
         their codes.",
    );
    let picture = grid(&Tensor::cat(&rows, 0), Channels::of(data), IMAGES_ALONG as usize + 2, GAP);
    write_captioned(path, &picture, &caption)
}

/// Returns at most [`N_PAIRS`] pairs of indices below `n`. Both are of different classes while such pairs are left.
fn pairs(n: usize, labels: Option<&[i64]>) -> Vec<(usize, usize)> {
    let label = |at: usize| labels.map(|labels| labels[at]);
    let mut left: Vec<usize> = (0..n).collect();
    let mut pairs = Vec::new();
    while left.len() > 1 && pairs.len() < N_PAIRS {
        let from = left.remove(0);
        let other = left.iter().position(|&to| label(to) != label(from)).unwrap_or(0);
        pairs.push((from, left.remove(other)));
    }
    pairs
}

fn integers(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor).expect("a vector of integers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_of_two_classes_while_there_are_two() {
        assert_eq!(pairs(5, Some(&[1, 1, 1, 2, 1])), [(0, 3), (1, 2)]);
        assert_eq!(pairs(3, None), [(0, 1)]);
        assert!(pairs(1, None).is_empty());
        assert_eq!(pairs(100, None).len(), N_PAIRS);
    }
}
