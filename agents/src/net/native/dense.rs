//! The way back, by hand, over sequential networks of dense layers and rectifiers: torch's products without autograd's
//! graph.

use crate::net::activation::Activation;
use crate::net::layout::Layout;
use crate::net::operation::Operation;
use tch::{Kind, Tensor};

/// Whether [`backward`] has the way back over `layout`: dense layers of flat elements, rectifiers and other shapes
/// alone.
pub(crate) fn covers(layout: &Layout) -> bool {
    let mut is_flat = true;
    layout.operations().iter().all(|operation| match operation {
        Operation::Reshape(shape) => {
            is_flat = shape.len() == 1;
            true
        }
        Operation::Dense { .. } => is_flat,
        Operation::Act(Activation::Relu) => true,
        _ => false,
    })
}

/// Output for `x`, and what each operation was given, which [`backward`] needs.
pub(crate) fn forward(layout: &Layout, params: &Tensor, x: &Tensor) -> (Tensor, Vec<Tensor>) {
    let parts = layout.split(params);
    let mut pairs = parts.chunks_exact(2);
    let (mut values, mut output) = (vec![], x.shallow_clone());
    for (operation, places) in layout.placed() {
        let own = places.and_then(|_| pairs.next()).unwrap_or_default();
        let next = operation.apply(&output, own);
        values.push(std::mem::replace(&mut output, next));
    }
    (output, values)
}

/// The gradient of the parameters, flat, and that of the input, if it is wanted, given that of the output. `values` are
/// those that [`forward`] gave.
pub(crate) fn backward(
    layout: &Layout,
    params: &Tensor,
    values: &[Tensor],
    d_output: &Tensor,
    wants_input: bool,
) -> (Tensor, Option<Tensor>) {
    // Each element is written to: a packed layout, which sequential networks have, has no gaps.
    let d_params = params.empty_like();
    let (parts, d_parts) = (layout.split(params), layout.split(&d_params));
    let mut pairs = parts.chunks_exact(2).zip(d_parts.chunks_exact(2)).rev();
    let mut grad = d_output.shallow_clone();
    for (operation, x) in layout.operations().iter().zip(values).rev() {
        grad = match operation {
            Operation::Dense { .. } => {
                let (params, d_params) = pairs.next().expect("a network has the parameters of its operations");
                // Products and sums are written in place: each part is a view of the flat gradient.
                let _ = x.tr().mm_out(&d_params[0], &grad);
                let _ = grad.sum_intlist_out(&d_params[1], 0, false, Kind::Float);
                if pairs.len() == 0 && !wants_input {
                    break;
                }
                grad.mm(&params[0].tr())
            }
            Operation::Act(Activation::Relu) => x.threshold_backward(&grad, 0),
            Operation::Reshape(_) => grad.reshape(x.size()),
            other => unreachable!("{other:?} is not among the operations covered"),
        };
    }
    (d_params, wants_input.then_some(grad))
}
