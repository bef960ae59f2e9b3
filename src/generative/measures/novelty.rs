//! How well a model's reconstruction error tells images of other data from those of its own.

use crate::generative::images::Images;
use crate::generative::model::{Measures, Model};
use carom_agents::net::tensor::to_vec;
use tch::{Kind, Tensor};

/// Measures the reconstruction error of the test images `own` and of images `other` of the data `name`, and the share
/// of pairs of an own and another image of which the other has the larger error. Returns `None` if the model cannot
/// turn a code into an image.
pub(crate) fn measure(model: &dyn Model, own: &Images, other: &Images, name: &str) -> Option<Measures> {
    let (own, other) = (errors(model, own)?, errors(model, other)?);
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    let mut measures = Measures::default();
    measures.add("test/mse", mean(&own));
    measures.add("other/mse", mean(&other));
    measures.add("other/auroc", auroc(&own, &other));
    measures
        .note("other", format!("{} test images of {name} beside {} of the model's own data", other.len(), own.len()));
    measures.note("auroc", "share of pairs of which the other image has the larger error; 0.5 by chance");
    Some(measures)
}

/// Returns the mean squared error of each image's reconstruction.
fn errors(model: &dyn Model, images: &Images) -> Option<Vec<f64>> {
    let mut all = vec![];
    for x in images.chunks(1000) {
        let recon = model.decode(&model.encode(&x))?;
        let errors = (recon - &x).square().flatten(1, -1).mean_dim(1, false, Kind::Float);
        all.extend(to_vec(&errors).into_iter().map(f64::from));
    }
    Some(all)
}

/// Returns the share of pairs of a low and a high value of which the high one is larger, with a tie as half a pair: the
/// area under the curve of true against false positives (Hanley & McNeil 1982).
fn auroc(low: &[f64], high: &[f64]) -> f64 {
    let values: Vec<f64> = low.iter().chain(high).copied().collect();
    let (sorted, order) = Tensor::from_slice(&values).sort(0, false);
    let (sorted, order) =
        (Vec::<f64>::try_from(sorted).expect("values"), Vec::<i64>::try_from(order).expect("indices"));
    let (mut n_low, mut wins, mut start) = (0.0, 0.0, 0);
    // Values of a chunk are equal.
    for chunk in sorted.chunk_by(|a, b| a == b) {
        let ids = &order[start..start + chunk.len()];
        let of_low = ids.iter().filter(|&&id| (id as usize) < low.len()).count() as f64;
        wins += (chunk.len() as f64 - of_low) * (n_low + 0.5 * of_low);
        n_low += of_low;
        start += chunk.len();
    }
    wins / (low.len() * high.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0, 5.0]), 1.0);
        assert_eq!(auroc(&[3.0, 4.0], &[1.0]), 0.0);
        assert_eq!(auroc(&[2.0, 2.0], &[2.0]), 0.5);
        // Of six pairs (1, 2), (1, 3), (1, 5), (4, 5) are in order, and (3, 3) is a tie in nine pairs.
        assert_eq!(auroc(&[1.0, 4.0], &[2.0, 3.0, 5.0]), 4.0 / 6.0);
        assert_eq!(auroc(&[1.0, 4.0, 3.0], &[2.0, 3.0, 5.0]), 5.5 / 9.0);
    }
}
