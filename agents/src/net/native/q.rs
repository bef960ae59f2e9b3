//! Small Q-networks: dense layers, behind a convolution of sparse binary planes where the observation is planes.

use super::embed::Embed;
use super::isa::Isa;
use super::q_kernels::{self as kernels, Active, FILTERS, Taps};
use super::rows::{NormRelu, NormReluBackward};
use super::sparse::Sparse;
use crate::encoder::{Encoder, Raw};
use crate::net::activation::Activation;
use crate::net::lanes::LANES;
use crate::net::layout::Layout;
use crate::net::matrix::{Matrix, View, matmul};
use crate::net::operation::{Operation, Order};
use carom_envs::ObsSpace;
use std::ops::Range;

/// The passes of a small Q-network with any vector of parameters.
///
/// Buffers of a batch size are made when it is first met and kept.
pub(crate) struct QPasses {
    isa: Isa,
    raw: Raw,
    /// From the input to the output: the convolution where the observation is planes, the hidden dense layers, the
    /// head.
    layers: Vec<Layer>,
    taps: Option<Taps>,
    embed: Option<Box<Embed>>,
    scratch: Vec<Scratch>,
    /// Index of the scratch that the latest forward pass filled, if it was kept.
    kept: Option<usize>,
}

/// An operation with a weight, and what follows it before the next one.
struct Layer {
    /// Inputs of one output element: rows of the weight matrix, for the convolution by kernel row, column and channel.
    fan_in: usize,
    /// Outputs (filters): columns of the weight matrix.
    width: usize,
    /// Place of the `[fan_in, width]` weights.
    weight: Range<usize>,
    /// Place of the `[width]` bias.
    bias: Range<usize>,
    /// Places of the normalisation's `[width]` scale and shift, where there is one.
    norm: Option<[Range<usize>; 2]>,
    is_rectified: bool,
}

/// The activations of one batch size.
struct Scratch {
    batch: usize,
    /// Quantile fractions of an observation, 1 where there are none.
    n_taus: usize,
    active: Active,
    /// Input of the layer behind the convolution, where its zeros are left out. It is rectified, so that its zeros pass
    /// no gradient on.
    sparse: Option<Box<Sparse>>,
    /// Input of the first dense layer when there is no convolution.
    input: Matrix,
    hidden: Vec<Hidden>,
    q: Matrix,
    d_q: Matrix,
}

/// One rectified layer's activations: `[rows, width]`, where a convolution has a row for every cell.
struct Hidden {
    /// Products with the weights, then the normalised rows where the layer has a norm.
    z: Matrix,
    y: Matrix,
    /// Gradient of `y`, then of `z`.
    grad: Matrix,
    inv_std: Vec<f32>,
}

impl Hidden {
    fn new(rows: usize, width: usize) -> Self {
        let zeros = || Matrix::zeros(rows, width);
        Self { z: zeros(), y: zeros(), grad: zeros(), inv_std: vec![0.0; rows] }
    }
}

/// Largest share of features above 0, in hundredths, at which products by their lists are faster than dense ones: a
/// listed feature takes about as long as two of a dense product. With several quantile fractions it takes no longer.
const MAX_LISTED: usize = 50;
const MAX_LISTED_OF_SEVERAL: usize = 100;

/// The layers of a network that begins with single frames of `space`; `None` where they are not as [`QPasses::of`]
/// says.
fn layers_of(layout: &Layout, space: &ObsSpace) -> Option<(Vec<Layer>, Option<Embed>)> {
    let is_planes = matches!(space, ObsSpace::Planes { .. });
    let (mut layers, mut embed): (Vec<Layer>, _) = (vec![], None);
    for (operation, places) in layout.placed().skip(1) {
        let n_layers = layers.len();
        let last = layers.last_mut();
        let was_rectified = last.as_ref().is_none_or(|layer| layer.is_rectified);
        match (operation, places) {
            (
                Operation::Conv { kernel: 3, stride: 1, padding: 0, order: Order::ChannelsLast, outputs, .. },
                Some(places),
            ) if is_planes && n_layers == 0 && *outputs == FILTERS as i64 => {
                layers.push(Layer::new(operation, places)?);
            }
            (Operation::Dense { .. }, Some(places)) if was_rectified && (n_layers > 0 || !is_planes) => {
                layers.push(Layer::new(operation, places)?);
            }
            (Operation::LayerNorm { width }, Some(places))
                if !was_rectified && (*width as usize).is_multiple_of(LANES) =>
            {
                last?.norm = Some(places.clone());
            }
            (Operation::Act(Activation::Relu), None) if !was_rectified => last?.is_rectified = true,
            (Operation::Embed { .. }, Some(places)) if embed.is_none() && was_rectified => {
                embed = Some(Embed::new(operation, places, n_layers)?);
            }
            // The cells of the convolution as one vector: they lie so.
            (Operation::Reshape(_), None) if is_planes && n_layers == 1 && was_rectified => {}
            _ => return None,
        }
    }
    let head = layers.last()?;
    (head.norm.is_none() && !head.is_rectified).then_some((layers, embed))
}

impl Layer {
    fn new(operation: &Operation, [weight, bias]: &[Range<usize>; 2]) -> Option<Self> {
        let [fan_in, _] = operation.fans()?;
        let (weight, bias) = (weight.clone(), bias.clone());
        Some(Self { fan_in: fan_in as usize, width: bias.len(), weight, bias, norm: None, is_rectified: false })
    }

    /// End of its last parameter.
    fn end(&self) -> usize {
        self.norm.as_ref().map_or(self.bias.end, |[_, shift]| shift.end)
    }

    fn weight<'a>(&self, params: &'a Matrix) -> View<'a> {
        params.view(self.weight.start, self.fan_in, self.width)
    }
}

impl QPasses {
    /// The passes of `layout`; `None` where it is none of these: single frames of planes, a 3×3 convolution of sixteen
    /// filters and dense layers, or a vector or state and dense layers. All layers but the last are rectified, some
    /// normalised at a width of whole [`LANES`]. An embedding of quantile fractions may lie before any dense layer.
    /// Planes are no smaller than a filter, and 16 bits number their elements.
    pub(crate) fn of(layout: &Layout) -> Option<Self> {
        let Some(Operation::Observe { space, frames: 1 }) = layout.operations().first() else { return None };
        let taps = match *space {
            ObsSpace::Pixels { .. } => return None,
            ObsSpace::Planes { shape } => Some(Taps::new(shape)?),
            ObsSpace::Vector { .. } | ObsSpace::Discrete { .. } => None,
        };
        let (layers, embed) = layers_of(layout, space)?;
        let isa = Isa::all()[0];
        Some(Self {
            isa,
            raw: Raw(space.clone()),
            layers,
            taps,
            embed: embed.map(Box::new),
            scratch: vec![],
            kept: None,
        })
    }

    /// Outputs `[batch, n_outputs]` of `obs`, `[batch * obs_bytes]`. A network of quantile fractions has a row of
    /// outputs for each of `fractions`, `[batch, K]`. If these are empty, they are the midpoints of equal parts. With
    /// `keep`, [`QPasses::backward`] can follow, until the next forward pass.
    pub(crate) fn forward(&mut self, params: &Matrix, obs: &[u8], fractions: &[f32], keep: bool) -> &[f32] {
        let _no_grad = tch::no_grad_guard();
        let batch = obs.len() / self.raw.0.n_bytes();
        let n_taus = self.embed.as_ref().map_or(1, |embed| embed.n_taus(fractions, batch));
        let filled = self.scratch_of(batch, n_taus);
        self.kept = keep.then_some(filled);
        let Scratch { active, sparse, input, hidden, q, .. } = &mut self.scratch[filled];
        let p = params.as_slice();
        if self.taps.is_none() {
            self.raw.encode(obs, input.as_mut_slice());
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let (below, above) = hidden.split_at_mut(i);
            match (&self.taps, below.last()) {
                (Some(taps), None) => {
                    active.scan(obs, self.raw.0.n_bytes());
                    kernels::conv(taps, active, &p[layer.weight.clone()], above[0].z.as_mut_slice());
                }
                (_, below) => {
                    let x = below.map_or(&*input, |hidden| &hidden.y);
                    let rows = batch * n_copies(self.embed.as_deref(), i, n_taus);
                    let z = above.first_mut().map_or(&mut *q, |hidden| &mut hidden.z);
                    let sparse = sparse.as_mut().filter(|_| i == 1);
                    let embed = self.embed.as_mut().filter(|embed| embed.at == i);
                    let is_of_several = embed.is_some() && n_taus > 1;
                    let most = if is_of_several { MAX_LISTED_OF_SEVERAL } else { MAX_LISTED };
                    let listed = sparse.and_then(|sparse| sparse.list(self.isa, x.as_slice(), layer.fan_in, most));
                    match (listed, embed) {
                        (Some(x), Some(embed)) => {
                            embed.forward_listed(p, x.lists(), fractions, &layer.weight, z.as_mut_slice());
                        }
                        (Some(x), None) => x.product(self.isa, &p[layer.weight.clone()], z.as_mut_slice()),
                        (None, embed) => {
                            let x = embed.map_or(x, |embed| embed.forward(params, x.as_slice(), fractions));
                            matmul(&x.view(0, rows, layer.fan_in), &layer.weight(params), &mut z.whole_mut());
                        }
                    }
                }
            }
            if let Some(hidden) = above.first_mut() {
                rectify(self.isa, layer, p, hidden);
            }
        }
        let head = self.layers.last().expect("a network has an output layer");
        kernels::add_bias(q.as_mut_slice(), &p[head.bias.clone()]);
        q.as_slice()
    }

    /// Overwrites `grads` with the gradient of the parameters, given that of the latest forward pass's Q-values.
    ///
    /// # Panics
    /// When the latest forward pass was not kept, or `d_q` is not of its size.
    pub(crate) fn backward(&mut self, params: &Matrix, d_q: &[f32], grads: &mut Matrix) {
        let _no_grad = tch::no_grad_guard();
        let kept = self.kept.expect("a kept pass, and no other since");
        let Scratch { batch, n_taus, active, sparse, input, hidden, d_q: d_q_matrix, .. } = &mut self.scratch[kept];
        d_q_matrix.as_mut_slice().copy_from_slice(d_q);
        for layer in &self.layers {
            // Products overwrite the weights' gradients; everything else is added to.
            grads.as_mut_slice()[layer.bias.start..layer.end()].fill(0.0);
        }
        let head = self.layers.last().expect("a network has an output layer");
        kernels::add_column_sums(d_q, &mut grads.as_mut_slice()[head.bias.clone()]);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let (below, above) = hidden.split_at_mut(i);
            let grad = above.first().map_or(&*d_q_matrix, |hidden| &hidden.grad);
            if let (Some(taps), 0) = (&self.taps, i) {
                let d_weight = &mut grads.as_mut_slice()[layer.weight.clone()];
                d_weight.fill(0.0);
                kernels::conv_backward(taps, active, grad.as_slice(), d_weight);
                break;
            }
            let rows = *batch * n_copies(self.embed.as_deref(), i, *n_taus);
            let mut sparse = sparse.as_mut().filter(|_| i == 1).and_then(|sparse| sparse.listed());
            let mut embed = self.embed.as_mut().filter(|embed| embed.at == i);
            if let (Some(sparse), Some(embed)) = (&sparse, &mut embed) {
                let hidden = below.last_mut().expect("features are listed behind the convolution");
                let (p, d_z, d_x) = (params.as_slice(), grad.as_slice(), hidden.grad.as_mut_slice());
                embed.backward_listed(p, sparse.lists(), &layer.weight, d_z, d_x, grads.as_mut_slice());
                rectify_backward(self.isa, &self.layers[i - 1], p, hidden, grads);
                continue;
            }
            let x = below.last().map_or(&*input, |hidden| &hidden.y);
            let x = embed.as_ref().map_or(x, |embed| embed.merged());
            if let Some(sparse) = &mut sparse {
                let x = &x.as_slice()[..rows * layer.fan_in];
                let d_weight = &mut grads.as_mut_slice()[layer.weight.clone()];
                sparse.weight_gradient(self.isa, x, grad.as_slice(), d_weight);
            } else {
                let mut d_weight = grads.view_mut(layer.weight.start, layer.fan_in, layer.width);
                matmul(&x.view(0, rows, layer.fan_in).transposed(), &grad.whole(), &mut d_weight);
            }
            let isa = self.isa;
            let input_gradient = |d_x: &mut Matrix| {
                if let Some(x) = sparse {
                    let weight = &params.as_slice()[layer.weight.clone()];
                    x.input_gradient(isa, weight, grad.as_slice(), d_x.as_mut_slice());
                } else {
                    let mut d_x = d_x.view_mut(0, rows, layer.fan_in);
                    matmul(&grad.whole(), &layer.weight(params).transposed(), &mut d_x);
                }
            };
            if let Some(embed) = embed {
                input_gradient(&mut embed.d_merged);
                match below.last_mut() {
                    Some(Hidden { y, grad, .. }) => {
                        embed.backward(y.as_slice(), Some(grad.as_mut_slice()), grads);
                    }
                    None => embed.backward(input.as_slice(), None, grads),
                }
                if let Some(hidden) = below.last_mut() {
                    rectify_backward(self.isa, &self.layers[i - 1], params.as_slice(), hidden, grads);
                }
            } else if let Some(hidden) = below.last_mut() {
                input_gradient(&mut hidden.grad);
                rectify_backward(self.isa, &self.layers[i - 1], params.as_slice(), hidden, grads);
            }
        }
    }

    fn scratch_of(&mut self, batch: usize, n_taus: usize) -> usize {
        let is_of = |scratch: &Scratch| (scratch.batch, scratch.n_taus) == (batch, n_taus);
        if let Some(found) = self.scratch.iter().position(is_of) {
            return found;
        }
        let (head, hidden_layers) = self.layers.split_last().expect("a network has an output layer");
        let n_cells = |i: usize| self.taps.as_ref().filter(|_| i == 0).map_or(1, Taps::n_cells);
        let rows = |i: usize| batch * n_cells(i) * n_copies(self.embed.as_deref(), i, n_taus);
        let hidden = hidden_layers.iter().enumerate().map(|(i, layer)| Hidden::new(rows(i), layer.width)).collect();
        let n_features = if self.taps.is_some() { 0 } else { self.layers[0].fan_in };
        let rows = rows(hidden_layers.len());
        let (q, d_q) = (Matrix::zeros(rows, head.width), Matrix::zeros(rows, head.width));
        let input = Matrix::zeros(batch, n_features);
        let is_whole = self.layers.get(1).is_some_and(|layer| layer.width.is_multiple_of(LANES))
            && self.embed.as_ref().is_none_or(|embed| embed.is_whole());
        let sparse = (self.taps.is_some() && is_whole).then(Box::default);
        self.scratch.push(Scratch { batch, n_taus, active: Active::default(), sparse, input, hidden, q, d_q });
        self.scratch.len() - 1
    }
}

/// Rows of layer `i` for each observation.
fn n_copies(embed: Option<&Embed>, i: usize, n_taus: usize) -> usize {
    if embed.is_some_and(|embed| embed.at <= i) { n_taus } else { 1 }
}

fn rectify(isa: Isa, layer: &Layer, p: &[f32], hidden: &mut Hidden) {
    let bias = &p[layer.bias.clone()];
    match &layer.norm {
        None => {
            // The way back reads the output alone, which may take the place of the products.
            std::mem::swap(&mut hidden.z, &mut hidden.y);
            kernels::bias_relu(hidden.y.as_mut_slice(), bias);
        }
        Some([scale, shift]) => {
            let (scale, shift) = (&p[scale.clone()], &p[shift.clone()]);
            let Hidden { z, y, inv_std, .. } = hidden;
            isa.run(NormRelu { z: z.as_mut_slice(), bias, scale, shift, inv_std, y: y.as_mut_slice() });
        }
    }
}

fn rectify_backward(isa: Isa, layer: &Layer, p: &[f32], hidden: &mut Hidden, grads: &mut Matrix) {
    let Hidden { z, y, grad, inv_std } = hidden;
    let g = grads.as_mut_slice();
    match &layer.norm {
        None => {
            kernels::relu_backward(y.as_slice(), grad.as_mut_slice());
            kernels::add_column_sums(grad.as_slice(), &mut g[layer.bias.clone()]);
        }
        Some([scale, shift]) => {
            let [d_bias, d_scale, d_shift] =
                g.get_disjoint_mut([layer.bias.clone(), scale.clone(), shift.clone()]).expect("places apart");
            let (normed, y, scale, grad) = (z.as_slice(), y.as_slice(), &p[scale.clone()], grad.as_mut_slice());
            isa.run(NormReluBackward { normed, y, inv_std, scale, grad, d_bias, d_scale, d_shift });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetSpec;
    use rand::SeedableRng;
    use rand_pcg::Pcg32;

    #[test]
    fn features_are_listed_where_they_are_mostly_zeros() {
        let spec = NetSpec::new(ObsSpace::Planes { shape: [10, 10, 4] }, 1, &[32], 3);
        let layout = spec.layout();
        let first = layout.first_params(spec.init(), &mut Pcg32::seed_from_u64(1));
        let mut params = Matrix::zeros(1, first.len());
        params.as_mut_slice().copy_from_slice(&first);
        let mut passes = QPasses::of(&layout).expect("planes");
        let bias = passes.layers[0].bias.clone();
        let mut obs = [0; 400];
        obs[201] = 1;
        for (of_all_cells, is_listed) in [(0.0, true), (1.0, false), (-1.0, true)] {
            params.as_mut_slice()[bias.clone()].fill(of_all_cells);
            passes.forward(&params, &obs, &[], true);
            let sparse = passes.scratch[0].sparse.as_mut().expect("a width of whole lanes");
            assert_eq!(sparse.listed().is_some(), is_listed, "a bias of {of_all_cells}");
        }
    }
}
