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

/// A convolution with the places of its parameters.
#[derive(Debug)]
pub(super) struct Convolution {
    pub(super) weight: Range<usize>,
    pub(super) bias: Range<usize>,
    /// Scale and shift.
    pub(super) norm: Option<[Range<usize>; 2]>,
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

/// The layers behind the observation; `None` where they are not those of a pixel network.
pub(super) fn parts_of(layout: &Layout) -> Option<([Convolution; 3], Vec<Dense>)> {
    let (mut convolutions, mut layers): (Vec<Convolution>, Vec<Dense>) = (vec![], vec![]);
    for (operation, places) in layout.placed().skip(1) {
        let last = layers.last_mut();
        let takes_norm = match &last {
            Some(layer) => !layer.is_rectified && layer.norm.is_none(),
            None => convolutions.last().is_some_and(|convolution| convolution.norm.is_none()),
        };
        match (operation, places, last) {
            (
                &Operation::Conv { inputs: _, outputs, kernel, stride, padding: 0, order: Order::ChannelsLast },
                Some([weight, bias]),
                None,
            ) if [[8, 4, 32], [4, 2, 64], [3, 1, 64]].get(convolutions.len()) == Some(&[kernel, stride, outputs]) => {
                convolutions.push(Convolution { weight: weight.clone(), bias: bias.clone(), norm: None });
            }
            (Operation::LayerNorm { width }, Some(places), last)
                if takes_norm && (*width as usize).is_multiple_of(LANES) =>
            {
                match last {
                    Some(layer) => layer.norm = Some(places.clone()),
                    None => convolutions.last_mut()?.norm = Some(places.clone()),
                }
            }
            (Operation::Act(Activation::Relu), _, Some(layer)) if !layer.is_rectified => layer.is_rectified = true,
            (Operation::Act(Activation::Relu), _, None) => {}
            (Operation::Reshape(shape), _, None) if shape[..] == [FEATURES as i64] => {}
            (&Operation::Dense { inputs, outputs }, Some([weight, bias]), last)
                if last.as_ref().is_none_or(|layer| layer.is_rectified) =>
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
