//! What a network is made of and where each parameter lies in the flat vector.

use super::kernels::{FILTERS, LANES};
use crate::encoder::{Encoder, Raw};
use carom_envs::ObsSpace;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use tch::Tensor;

/// A Q-network: convolutions where the observation is planes (one, 3×3, of sixteen filters: Young & Tian 2019) or pixels
/// (three: Mnih et al. 2015, methods), then dense layers, each rectified; last a linear layer with one output an action.
#[derive(Clone, Debug, PartialEq)]
pub struct NetSpec {
    /// What the network sees: one frame of it. A discrete state is one-hot.
    pub obs_space: ObsSpace,
    /// Frames of an observation, oldest first.
    pub frame_stack: usize,
    /// Widths of the hidden dense layers.
    pub hidden: Vec<usize>,
    /// Normalise before every rectifier (Ba et al. 2016): over a cell's filters after the convolution, over the features
    /// of a dense layer, as PQN does.
    pub layer_norm: bool,
    /// Number of outputs.
    pub n_actions: usize,
}

impl NetSpec {
    /// Bytes of one observation.
    pub fn obs_bytes(&self) -> usize {
        self.frame_stack * self.obs_space.n_bytes()
    }
}

/// A convolution without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Width and height of the kernel.
    pub kernel: usize,
    /// Cells from one application to the next.
    pub stride: usize,
    /// Channels of its input.
    pub channels: usize,
}

/// A layer and the places of its parameters in the flat vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// How it slides over its input; a dense layer does not.
    pub conv: Option<Conv>,
    /// Inputs of one output element: rows of the weight matrix, for a convolution by kernel row, column and channel.
    pub fan_in: usize,
    /// Outputs (filters): columns of the weight matrix.
    pub width: usize,
    /// Start of the `[fan_in, width]` weights.
    pub weight: usize,
    /// Start of the `[width]` bias.
    pub bias: usize,
    /// Starts of the normalisation's `[width]` scale and shift, where there is one.
    pub norm: Option<(usize, usize)>,
}

impl Layer {
    /// End of its last parameter.
    pub fn end(&self) -> usize {
        self.norm.map_or(self.bias, |(_, shift)| shift) + self.width
    }
}

/// The layers of a [`NetSpec`] laid out in one vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// From the input to the output: the convolution where the observation is planes, the hidden dense layers, the head.
    pub layers: Vec<Layer>,
    /// Length of the flat vector; gaps between parameters stay 0.
    pub len: usize,
}

impl Layout {
    /// Lays out `spec`.
    ///
    /// # Panics
    /// When a hidden width is no multiple of sixteen in a normalised network.
    pub fn new(spec: &NetSpec) -> Self {
        let mut layout = Self { layers: vec![], len: 0 };
        let ([mut channels, mut rows, mut cols], convs) = input(spec);
        for &(kernel, stride, filters) in convs {
            let conv = Conv { kernel, stride, channels };
            layout.push(Some(conv), kernel * kernel * channels, filters, spec.layer_norm);
            channels = filters;
            [rows, cols] = [rows, cols].map(|cells| (cells - kernel) / stride + 1);
        }
        let mut features = channels * rows * cols;
        for &width in &spec.hidden {
            layout.push(None, features, width, spec.layer_norm);
            features = width;
        }
        layout.push(None, features, spec.n_actions, false);
        layout
    }

    fn push(&mut self, conv: Option<Conv>, fan_in: usize, width: usize, norm: bool) {
        assert!(
            !norm || width.is_multiple_of(LANES),
            "a normalised layer's width is a multiple of {LANES}, not {width}"
        );
        let mut place = |size: usize| {
            let start = self.len;
            // Every parameter starts on a cache line, where matrix products run fastest and always alike.
            self.len += size.next_multiple_of(LANES);
            start
        };
        let (weight, bias) = (place(fan_in * width), place(width));
        let norm = norm.then(|| (place(width), place(width)));
        self.layers.push(Layer { conv, fan_in, width, weight, bias, norm });
    }

    /// Weight, bias and, where there are, scale and shift of each layer, as flat parts of `params`.
    ///
    /// One split has one concatenation as its gradient. The gradient of a `narrow` is as long as all of `params`, mostly 0: one
    /// for each parameter took a third of an update of the pixel network.
    pub fn split(&self, params: &Tensor) -> Vec<Tensor> {
        let spans = self.layers.iter().flat_map(|layer| {
            let norm = layer.norm.into_iter().flat_map(|(scale, shift)| [scale, shift]);
            let vectors = [layer.bias].into_iter().chain(norm).map(|start| start..start + layer.width);
            [layer.weight..layer.weight + layer.fan_in * layer.width].into_iter().chain(vectors)
        });
        let spans: Vec<_> = spans.collect();
        let ends = spans.iter().skip(1).map(|next| next.start).chain([self.len]);
        let sizes = spans.iter().zip(ends).flat_map(|(span, end)| [span.len(), end - span.end].map(|size| size as i64));
        // By turns parameters and the gaps behind them.
        params.split_with_sizes(sizes.collect::<Vec<_>>(), 0).into_iter().step_by(2).collect()
    }

    /// The output layer.
    pub fn head(&self) -> &Layer {
        self.layers.last().expect("a network has an output layer")
    }

    /// First parameters. A normalised network's hidden weights are from N(0, 2 / fan_in) (He et al. 2015), its head's from
    /// N(0, 1 / fan_in), biases and shifts 0, scales 1. Without normalisation weights and biases are uniform in
    /// ±1 / √fan_in, as PyTorch draws them: the DQN baselines were measured so, and on `minatar/breakout` it learns better
    /// than He's (by half a point of return from half a million frames on).
    pub fn init(&self, rng: &mut impl Rng) -> Vec<f32> {
        let mut params = vec![0.0; self.len];
        let normalised = self.layers.iter().any(|layer| layer.norm.is_some());
        for layer in &self.layers {
            let fan_in = layer.fan_in as f32;
            let (weights, biases) =
                (layer.weight..layer.weight + layer.fan_in * layer.width, layer.bias..layer.bias + layer.width);
            if normalised {
                let gain: f32 = if layer == self.head() { 1.0 } else { 2.0 };
                let std = (gain / fan_in).sqrt();
                params[weights].fill_with(|| std * rng.sample::<f32, _>(StandardNormal));
            } else {
                let uniform = Uniform::new(-fan_in.sqrt().recip(), fan_in.sqrt().recip());
                params[weights].fill_with(|| uniform.sample(rng));
                params[biases].fill_with(|| uniform.sample(rng));
            }
            if let Some((scale, _)) = layer.norm {
                params[scale..scale + layer.width].fill(1.0);
            }
        }
        params
    }
}

/// Channels, rows and columns of the input (a vector is one cell), and each convolution's kernel, stride and filters.
fn input(spec: &NetSpec) -> ([usize; 3], &'static [(usize, usize, usize)]) {
    match spec.obs_space {
        ObsSpace::Planes { shape: [rows, cols, channels] } => {
            ([spec.frame_stack * channels, rows, cols], &[(3, 1, FILTERS)])
        }
        ObsSpace::Pixels { shape: [rows, cols] } => {
            ([spec.frame_stack, rows, cols], &[(8, 4, 32), (4, 2, 64), (3, 1, 64)])
        }
        ref flat => ([spec.frame_stack * Raw(flat.clone()).n_features(), 1, 1], &[]),
    }
}
