//! The way back, by hand, over sequential networks of dense layers and rectifiers: torch's products without autograd's graph.

use super::{Activation, Layer};
use tch::{Kind, Tensor};

/// Whether [`backward`] knows all of `layers`.
pub fn knows(layers: &[Layer]) -> bool {
    let is_known =
        |layer: &Layer| matches!(layer, Layer::Dense { .. } | Layer::Reshape(_) | Layer::Act(Activation::Relu));
    layers.iter().all(is_known)
}

/// Fills `d_params` given the gradient of the output; gives that of the input, if it is wanted.
///
/// `values` are what each layer was given; `params` and `d_params` weights and biases by turns.
pub fn backward(
    layers: &[Layer],
    params: &[Tensor],
    values: &[Tensor],
    d_output: &Tensor,
    d_params: &[Tensor],
    wants_input: bool,
) -> Option<Tensor> {
    let mut pairs = params.chunks_exact(2).zip(d_params.chunks_exact(2)).rev();
    let mut grad = d_output.shallow_clone();
    for (layer, x) in layers.iter().zip(values).rev() {
        grad = match layer {
            Layer::Dense { .. } => {
                let (params, d_params) = pairs.next().expect("a network has the parameters of its layers");
                let _ = x.tr().mm_out(&d_params[0], &grad);
                let _ = grad.sum_intlist_out(&d_params[1], 0, false, Kind::Float);
                if pairs.len() == 0 && !wants_input {
                    return None;
                }
                grad.mm(&params[0].tr())
            }
            Layer::Act(Activation::Relu) => x.threshold_backward(&grad, 0),
            Layer::Reshape(_) => grad.reshape(x.size()),
            other => unreachable!("{other:?} is not among the layers known here"),
        };
    }
    wants_input.then_some(grad)
}
