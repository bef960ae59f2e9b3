//! The layers of a pixel network: where their parameters lie, and the forms of their weights that the passes read.

use super::dense::Dense;
use crate::net::activation::Activation;
use crate::net::lanes::LANES;
use crate::net::layout::Layout;
use crate::net::native::buffer::Buffer;
use crate::net::operation::{Operation, Order};
use std::ops::Range;

/// Rectified features of the third convolution.
pub(super) const FEATURES: usize = 7 * 7 * 64;

/// Kernel, stride and filters of each convolution (Mnih et al. 2015, methods).
const CONVOLUTIONS: [[i64; 3]; 3] = [[8, 4, 32], [4, 2, 64], [3, 1, 64]];

/// A convolution with the places of its parameters.
#[derive(Debug)]
pub(super) struct Convolution {
    pub(super) weight: Range<usize>,
    pub(super) bias: Range<usize>,
    /// Scale and shift.
    pub(super) norm: Option<[Range<usize>; 2]>,
    /// Whether a rectifier follows, as it must.
    is_rectified: bool,
}

/// Weights in the forms that the passes read, made of the parameters by `PixelPasses::prepare`.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(super) first: Buffer,
    /// U of the second and third layer, and its transpose.
    pub(super) filters: [[Buffer; 2]; 2],
    /// Last panels of dense layers whose width is no multiple of sixteen.
    pub(super) tails: Vec<Vec<f32>>,
    pub(super) is_fresh: bool,
}

impl Prepared {
    /// To be called when the parameters have changed.
    pub(crate) fn expire(&mut self) {
        self.is_fresh = false;
    }
}

/// The layers behind the observation; `None` where they are not those of a pixel network: three convolutions, and dense
/// layers of their features. All but the last layer are rectified, some normalised before.
pub(super) fn parts_of(layout: &Layout) -> Option<([Convolution; 3], Vec<Dense>)> {
    let (mut convolutions, mut layers): (Vec<Convolution>, Vec<Dense>) = (vec![], vec![]);
    for (operation, places) in layout.placed().skip(1) {
        // Of the part before; the observation takes neither norm nor rectifier.
        let (is_normed, is_rectified) = match (layers.last(), convolutions.last()) {
            (Some(layer), _) => (layer.norm.is_some(), layer.is_rectified),
            (None, Some(convolution)) => (convolution.norm.is_some(), convolution.is_rectified),
            (None, None) => (false, true),
        };
        match (operation, places) {
            (
                &Operation::Conv { inputs: _, outputs, kernel, stride, padding: 0, order: Order::ChannelsLast },
                Some([weight, bias]),
            ) if is_rectified
                && layers.is_empty()
                && CONVOLUTIONS.get(convolutions.len()) == Some(&[kernel, stride, outputs]) =>
            {
                let (weight, bias) = (weight.clone(), bias.clone());
                convolutions.push(Convolution { weight, bias, norm: None, is_rectified: false });
            }
            (Operation::LayerNorm { width }, Some(places))
                if !is_normed && !is_rectified && (*width as usize).is_multiple_of(LANES) =>
            {
                match layers.last_mut() {
                    Some(layer) => layer.norm = Some(places.clone()),
                    None => convolutions.last_mut()?.norm = Some(places.clone()),
                }
            }
            (Operation::Act(Activation::Relu), _) if !is_rectified => match layers.last_mut() {
                Some(layer) => layer.is_rectified = true,
                None => convolutions.last_mut()?.is_rectified = true,
            },
            (Operation::Reshape(shape), _) if is_rectified && layers.is_empty() && shape[..] == [FEATURES as i64] => {}
            (&Operation::Dense { inputs, outputs }, Some([weight, bias]))
                if is_rectified && inputs as usize == layers.last().map_or(FEATURES, |layer| layer.outputs) =>
            {
                let (inputs, outputs, weight, bias) = (inputs as usize, outputs as usize, weight.clone(), bias.clone());
                layers.push(Dense { inputs, outputs, weight, bias, norm: None, is_rectified: false });
            }
            _ => return None,
        }
    }
    let convolutions = convolutions.try_into().ok()?;
    layers.last().is_some_and(|head| !head.is_rectified && head.norm.is_none()).then_some((convolutions, layers))
}
