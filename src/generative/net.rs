//! Sequential networks over one flat parameter vector, differentiated by autograd.

use carom_agents::optim::{OptimConfig, TensorOptimizer, read_tensor, to_vec};
use carom_agents::{Loaded, Snapshot, SnapshotError};
use rand::Rng;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// What is applied to each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(0, x)
    Relu,
    /// x where positive, else 0.2 x
    LeakyRelu,
    /// x where positive, else eˣ − 1 (Clevert et al. 2016)
    Elu,
    /// x σ(x) (Hendrycks & Gimpel 2016; also "swish")
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// x itself.
    Linear,
}

impl Activation {
    /// Applied to every element of `x`.
    pub fn of(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Relu => x.relu(),
            // Not `leaky_relu`, whose second derivative torch does not give on every kind of tensor.
            Activation::LeakyRelu => x.maximum(&(x * 0.2)),
            Activation::Elu => x.elu(),
            Activation::Silu => x.silu(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Linear => x.shallow_clone(),
        }
    }
}

/// One step of a network. Images are `[B, channels, rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// `[B, inputs]` to `[B, outputs]`: x W + b.
    Dense {
        /// Width of the input.
        inputs: i64,
        /// Width of the output.
        outputs: i64,
    },
    /// Convolution with zeros around the image.
    Conv {
        /// Channels of the input.
        inputs: i64,
        /// Filters.
        outputs: i64,
        /// Side of a filter.
        kernel: i64,
        /// Step between two applications.
        stride: i64,
        /// Rows and columns of zeros on each side.
        padding: i64,
    },
    /// The adjoint of [`Layer::Conv`]: a stride of 2 doubles rows and columns where `kernel = 2 padding + 2`.
    ConvTranspose {
        /// Channels of the input.
        inputs: i64,
        /// Channels of the output.
        outputs: i64,
        /// Side of a filter.
        kernel: i64,
        /// Step between two applications.
        stride: i64,
        /// Rows and columns cut off on each side.
        padding: i64,
    },
    /// Maximum of 2×2 cells; an odd last row or column is a cell of its own.
    MaxPool,
    /// Each pixel four times, then cut to `[rows, columns]`: the mirror of [`Layer::MaxPool`].
    Upsample([i64; 2]),
    /// Another shape of each element of the batch.
    Reshape(Vec<i64>),
    /// An activation of every element.
    Act(Activation),
}

impl Layer {
    /// A 3×3 convolution that keeps rows and columns.
    pub fn conv3(inputs: i64, outputs: i64) -> Self {
        Layer::Conv { inputs, outputs, kernel: 3, stride: 1, padding: 1 }
    }

    /// Shapes of its weight and bias, and the weight's number of inputs and outputs; nothing where it has none.
    fn params(&self) -> Option<(Vec<i64>, i64, [i64; 2])> {
        match *self {
            Layer::Dense { inputs, outputs } => Some((vec![inputs, outputs], outputs, [inputs, outputs])),
            Layer::Conv { inputs, outputs, kernel, .. } => {
                let area = kernel * kernel;
                Some((vec![outputs, inputs, kernel, kernel], outputs, [inputs * area, outputs * area]))
            }
            Layer::ConvTranspose { inputs, outputs, kernel, .. } => {
                let area = kernel * kernel;
                Some((vec![inputs, outputs, kernel, kernel], outputs, [inputs * area, outputs * area]))
            }
            Layer::MaxPool | Layer::Upsample(_) | Layer::Reshape(_) | Layer::Act(_) => None,
        }
    }

    fn apply(&self, x: &Tensor, params: &mut impl Iterator<Item = Tensor>) -> Tensor {
        let mut next = || params.next().expect("a network has the parameters of its layers");
        match self {
            Layer::Dense { .. } => {
                let (weight, bias) = (next(), next());
                bias.addmm(x, &weight)
            }
            Layer::Conv { stride, padding, .. } => {
                let (weight, bias) = (next(), next());
                x.conv2d(&weight, Some(&bias), *stride, *padding, 1, 1)
            }
            Layer::ConvTranspose { stride, padding, .. } => {
                let (weight, bias) = (next(), next());
                x.conv_transpose2d(&weight, Some(&bias), *stride, *padding, 0, 1, 1)
            }
            Layer::MaxPool => x.max_pool2d(2, 2, 0, 1, true),
            Layer::Upsample([rows, columns]) => {
                let size = x.size();
                let doubled = x.upsample_nearest2d([2 * size[2], 2 * size[3]], None, None);
                doubled.narrow(2, 0, *rows).narrow(3, 0, *columns)
            }
            Layer::Reshape(shape) => {
                let whole: Vec<i64> = [x.size()[0]].into_iter().chain(shape.iter().copied()).collect();
                x.reshape(whole)
            }
            Layer::Act(activation) => activation.of(x),
        }
    }
}

/// A sequential network with what training it needs.
#[derive(Debug)]
pub struct Network {
    layers: Vec<Layer>,
    /// All weights and biases, one after the other, in the order of the layers.
    params: Tensor,
    optimizer: TensorOptimizer,
}

impl Network {
    /// A network on `device` whose weights are drawn uniformly from ±√(6 / (fan_in + fan_out)) (Glorot & Bengio 2010), biases 0.
    pub fn new(layers: Vec<Layer>, optimizer: OptimConfig, device: Device, rng: &mut Pcg32) -> Self {
        let mut values = Vec::new();
        for (weight, bias, [fan_in, fan_out]) in layers.iter().filter_map(Layer::params) {
            let bound = (6.0 / (fan_in + fan_out) as f32).sqrt();
            values.extend((0..weight.iter().product()).map(|_| rng.gen_range(-bound..bound)));
            values.extend((0..bias).map(|_| 0.0_f32));
        }
        let params = Tensor::from_slice(&values).to_device(device);
        let optimizer = TensorOptimizer::new(optimizer, &params);
        Self { layers, params: params.set_requires_grad(true), optimizer }
    }

    /// What it makes of `x`, a batch.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with(&self.params, x)
    }

    /// As [`Network::forward`], with other parameters, such as a running mean of its own.
    pub fn forward_with(&self, params: &Tensor, x: &Tensor) -> Tensor {
        let shapes: Vec<Vec<i64>> =
            self.layers.iter().filter_map(Layer::params).flat_map(|(weight, bias, _)| [weight, vec![bias]]).collect();
        let sizes: Vec<i64> = shapes.iter().map(|shape| shape.iter().product()).collect();
        // One split, whose gradient is one concatenation; a view a layer would add up as many whole vectors.
        let parts = params.split_with_sizes(sizes, 0);
        let mut parts = parts.into_iter().zip(shapes).map(|(part, shape)| part.view(&shape[..]));
        self.layers.iter().fold(x.shallow_clone(), |x, layer| layer.apply(&x, &mut parts))
    }

    /// The flat parameters.
    pub fn params(&self) -> &Tensor {
        &self.params
    }

    /// Number of parameters.
    pub fn n_params(&self) -> usize {
        self.params.numel()
    }

    /// Moves the parameters one step down their gradient, and clears it.
    pub fn step(&mut self, lr: f64) {
        let grads = self.params.grad();
        tch::no_grad(|| self.optimizer.step(&mut self.params, &grads, lr));
        self.params.zero_grad();
    }

    /// Parameters and optimiser.
    pub fn save(&self) -> Snapshot<'static> {
        Snapshot::default().owned_array("params", &to_vec(&self.params)).nest("optimizer", self.optimizer.save())
    }

    /// Takes up what [`Network::save`] gave.
    ///
    /// # Errors
    /// When it was saved from another network.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        read_tensor(from, "params", &mut self.params)?;
        self.optimizer.load(&from.nested("optimizer")?)
    }
}

/// Goes down the gradient of `loss`, a scalar, in all of `networks`.
pub fn descend(loss: &Tensor, networks: &mut [&mut Network], lr: f64) {
    loss.backward();
    for network in networks {
        network.step(lr);
    }
}

/// Binary cross-entropy of `logits` against `target` in 0..=1, per element: −t ln σ(l) − (1 − t) ln(1 − σ(l)).
pub fn bce(logits: &Tensor, target: &Tensor) -> Tensor {
    logits.binary_cross_entropy_with_logits::<Tensor>(target, None, None, tch::Reduction::None)
}

/// Mean over the batch of the sum over everything else: a loss in nats per image.
pub fn per_image(loss: &Tensor) -> Tensor {
    loss.sum(Kind::Float) / loss.size()[0] as f64
}
