//! The networks' forward and backward passes, derived by hand.

use super::NetSpec;
use super::kernels::{self, Active, FILTERS, NormGrads, Taps};
use super::layout::{Layer, Layout};
use super::matrix::{Matrix, View, matmul};
use crate::encoder::{Encoder, Raw};
use carom_envs::ObsSpace;

/// A network without its parameters: what it computes with any vector of them.
///
/// Buffers of a batch size are made when it is first met and kept.
pub struct Network {
    raw: Raw,
    layout: Layout,
    taps: Option<Taps>,
    scratch: Vec<Scratch>,
    /// Which scratch the latest forward pass filled.
    latest: usize,
}

/// The activations of one batch size.
struct Scratch {
    batch: usize,
    active: Active,
    /// Input of the first dense layer when there is no convolution.
    input: Matrix,
    hidden: Vec<Hidden>,
    q: Matrix,
    d_q: Matrix,
}

/// One rectified layer's activations: `[rows, width]`, where a convolution has a row for every cell.
struct Hidden {
    /// Before the rectifier; normalised in place where the layer has a norm.
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

impl Network {
    /// Whether a network of `spec` has its passes here: all but those of pixels or of stacked frames.
    pub fn covers(spec: &NetSpec) -> bool {
        spec.frame_stack == 1 && !matches!(spec.obs_space, ObsSpace::Pixels { .. })
    }

    /// The network of `spec`.
    ///
    /// # Panics
    /// When it is not [covered](Network::covers).
    pub fn new(spec: NetSpec) -> Self {
        assert!(Self::covers(&spec), "the passes of {spec:?} are autograd's");
        let layout = Layout::new(&spec);
        let taps = match spec.obs_space {
            ObsSpace::Planes { shape } => Some(Taps::new(shape)),
            _ => None,
        };
        Self { raw: Raw(spec.obs_space), layout, taps, scratch: vec![], latest: 0 }
    }

    /// Where its parameters lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Q-values `[batch, n_actions]` of `obs`, `[batch * obs_bytes]`.
    pub fn forward(&mut self, params: &Matrix, obs: &[u8]) -> &[f32] {
        let _no_grad = tch::no_grad_guard();
        let batch = obs.len() / self.raw.0.n_bytes();
        self.latest = self.scratch_of(batch);
        let Scratch { active, input, hidden, q, .. } = &mut self.scratch[self.latest];
        let p = params.as_slice();
        if self.taps.is_none() {
            self.raw.encode(obs, input.as_mut_slice());
        }
        for (i, layer) in self.layout.layers.iter().enumerate() {
            let (below, above) = hidden.split_at_mut(i);
            match (&self.taps, below.last()) {
                (Some(taps), None) => {
                    active.scan(obs, self.raw.0.n_bytes());
                    let weight = &p[layer.weight..layer.weight + layer.fan_in * FILTERS];
                    kernels::conv(taps, active, weight, above[0].z.as_mut_slice());
                }
                (_, below) => {
                    let x = below.map_or(&*input, |hidden| &hidden.y).view(0, batch, layer.fan_in);
                    let z = above.first_mut().map_or(&mut *q, |hidden| &mut hidden.z);
                    matmul(&x, &weight(params, layer), &mut z.whole_mut());
                }
            }
            if let Some(hidden) = above.first_mut() {
                rectify(layer, p, hidden);
            }
        }
        let head = self.layout.head();
        kernels::add_bias(q.as_mut_slice(), &p[head.bias..head.bias + head.width]);
        q.as_slice()
    }

    /// Overwrites `grads` with the gradient of the parameters, given that of the latest forward pass's Q-values.
    ///
    /// # Panics
    /// When `d_q` is not of the latest forward pass's size.
    pub fn backward(&mut self, params: &Matrix, d_q: &[f32], grads: &mut Matrix) {
        let _no_grad = tch::no_grad_guard();
        let Scratch { batch, active, input, hidden, d_q: d_q_matrix, .. } = &mut self.scratch[self.latest];
        d_q_matrix.as_mut_slice().copy_from_slice(d_q);
        for layer in &self.layout.layers {
            // Products overwrite the weights' gradients; everything else is added to.
            grads.as_mut_slice()[layer.bias..layer.end()].fill(0.0);
        }
        let head = self.layout.head();
        kernels::add_column_sums(d_q, &mut grads.as_mut_slice()[head.bias..head.bias + head.width]);
        for (i, layer) in self.layout.layers.iter().enumerate().rev() {
            let (below, above) = hidden.split_at_mut(i);
            let grad = above.first().map_or(&*d_q_matrix, |hidden| &hidden.grad);
            if let (Some(taps), 0) = (&self.taps, i) {
                let d_weight = &mut grads.as_mut_slice()[layer.weight..layer.weight + layer.fan_in * FILTERS];
                d_weight.fill(0.0);
                kernels::conv_backward(taps, active, grad.as_slice(), d_weight);
                break;
            }
            let x = below.last().map_or(&*input, |hidden| &hidden.y).view(0, *batch, layer.fan_in);
            let mut d_weight = grads.view_mut(layer.weight, layer.fan_in, layer.width);
            matmul(&x.transposed(), &grad.whole(), &mut d_weight);
            if let Some(hidden) = below.last_mut() {
                let mut d_x = hidden.grad.view_mut(0, *batch, layer.fan_in);
                matmul(&grad.whole(), &weight(params, layer).transposed(), &mut d_x);
                rectify_backward(&self.layout.layers[i - 1], params.as_slice(), hidden, grads);
            }
        }
    }

    fn scratch_of(&mut self, batch: usize) -> usize {
        if let Some(found) = self.scratch.iter().position(|scratch| scratch.batch == batch) {
            return found;
        }
        let (head, hidden_layers) = self.layout.layers.split_last().expect("a network has an output layer");
        let rows = |i: usize| self.taps.as_ref().filter(|_| i == 0).map_or(batch, |taps| batch * taps.n_cells());
        let hidden = hidden_layers.iter().enumerate().map(|(i, layer)| Hidden::new(rows(i), layer.width)).collect();
        let n_features = if self.taps.is_some() { 0 } else { self.layout.layers[0].fan_in };
        let (q, d_q) = (Matrix::zeros(batch, head.width), Matrix::zeros(batch, head.width));
        let input = Matrix::zeros(batch, n_features);
        self.scratch.push(Scratch { batch, active: Active::default(), input, hidden, q, d_q });
        self.scratch.len() - 1
    }
}

fn weight<'a>(params: &'a Matrix, layer: &Layer) -> View<'a> {
    params.view(layer.weight, layer.fan_in, layer.width)
}

fn rectify(layer: &Layer, p: &[f32], hidden: &mut Hidden) {
    let bias = &p[layer.bias..layer.bias + layer.width];
    match layer.norm {
        None => kernels::bias_relu(hidden.z.as_slice(), bias, hidden.y.as_mut_slice()),
        Some((scale, shift)) => {
            let (scale, shift) = (&p[scale..scale + layer.width], &p[shift..shift + layer.width]);
            let Hidden { z, y, inv_std, .. } = hidden;
            kernels::norm_relu(z.as_mut_slice(), bias, scale, shift, inv_std, y.as_mut_slice());
        }
    }
}

fn rectify_backward(layer: &Layer, p: &[f32], hidden: &mut Hidden, grads: &mut Matrix) {
    let Hidden { z, y, grad, inv_std } = hidden;
    let g = &mut grads.as_mut_slice()[layer.bias..];
    match layer.norm {
        None => {
            kernels::relu_backward(y.as_slice(), grad.as_mut_slice());
            kernels::add_column_sums(grad.as_slice(), &mut g[..layer.width]);
        }
        Some((scale, shift)) => {
            let (d_bias, g) = g.split_at_mut(scale - layer.bias);
            let (d_scale, d_shift) = g.split_at_mut(shift - scale);
            let width = layer.width;
            let to =
                NormGrads { bias: &mut d_bias[..width], scale: &mut d_scale[..width], shift: &mut d_shift[..width] };
            let scale = &p[scale..scale + width];
            kernels::norm_relu_backward(z.as_slice(), y.as_slice(), inv_std, scale, grad.as_mut_slice(), to);
        }
    }
}
