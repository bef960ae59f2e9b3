//! Sequential networks over one flat parameter vector.
//!
//! [`Network::forward`] is differentiated by autograd, whatever the layers. [`Network::pass`] and [`Network::back`] do the same
//! in two halves, which are by hand where the layers are dense with rectifiers between them (`net/dense.rs`) and on the CPU where
//! they are 3×3 convolutions and what goes with them (`net/convolutions.rs`): several times faster than torch's.

mod convolutions;
mod dense;
mod kernels;
mod loss;
mod planes;
#[cfg(test)]
mod tests;

pub use loss::{bce_rows, bce_with_gradient};

use carom_agents::net::tensor::{read_tensor, to_vec};
use carom_agents::optim::{OptimConfig, Rule, TensorOptimizer};
use carom_agents::{Loaded, Snapshot, SnapshotError};
use convolutions::Convolutions;
use rand::Rng;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
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
    /// The passes of convolutions by hand, where all layers have them.
    convolutions: Option<RefCell<Convolutions>>,
    /// Gradient of the parameters that passes by hand have left for the next step.
    grads: Option<Tensor>,
    latest: Option<Latest>,
}

/// What [`Network::back`] needs of the latest [`Network::pass`].
#[derive(Debug)]
enum Latest {
    /// A leaf of autograd's graph, and what was made of it.
    Autograd { input: Tensor, output: Tensor },
    /// Shape of the input, and whether its gradient will be asked for; the rest the passes keep themselves.
    Convolutions { input: Vec<i64>, wants_input: bool },
    /// What each layer was given.
    Dense { values: Vec<Tensor>, wants_input: bool },
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
        let convolutions = Convolutions::of(&layers).map(RefCell::new);
        let params = params.set_requires_grad(true);
        Self { layers, params, optimizer, convolutions, grads: None, latest: None }
    }

    /// A network of `layers` with these parameters, laid out as [`Network::params`] is.
    ///
    /// # Panics
    /// When there are more or fewer of them than the layers have.
    pub fn with_params(layers: Vec<Layer>, params: &Tensor) -> Self {
        let params = params.detach().copy();
        let optimizer = TensorOptimizer::new(OptimConfig::of(Rule::Adam), &params);
        let convolutions = Convolutions::of(&layers).map(RefCell::new);
        let params = params.set_requires_grad(true);
        let network = Self { layers, params, optimizer, convolutions, grads: None, latest: None };
        let n_params: i64 = network.shapes().iter().map(|shape| shape.iter().product::<i64>()).sum();
        assert_eq!(n_params as usize, network.n_params(), "as many parameters as the layers have");
        network
    }

    /// A network of the same layers with parameters `params`, which has not been trained yet.
    pub fn twin(&self, params: &Tensor) -> Self {
        Self::with_params(self.layers.clone(), params)
    }

    /// What it makes of `x`, a batch: a leaf of autograd's graph, from which [`Network::back`] leads back to the parameters, and
    /// to `x` if that requires a gradient.
    pub fn pass(&mut self, x: &Tensor) -> Tensor {
        let wants_input = x.requires_grad();
        let (output, latest) = match self.convolutions(x) {
            Some(passes) => {
                let _no_grad = tch::no_grad_guard();
                let output = run_by_hand(&mut passes.borrow_mut(), &self.params, x, true);
                (output, Latest::Convolutions { input: x.size(), wants_input })
            }
            None if dense::knows(&self.layers) => {
                let _no_grad = tch::no_grad_guard();
                let mut parts = self.split(&self.params).into_iter();
                let (mut values, mut output) = (vec![], x.detach());
                for layer in &self.layers {
                    let next = layer.apply(&output, &mut parts);
                    values.push(std::mem::replace(&mut output, next));
                }
                (output, Latest::Dense { values, wants_input })
            }
            None => {
                let input = x.detach().set_requires_grad(wants_input);
                let output = tch::with_grad(|| self.forward(&input));
                (output.detach(), Latest::Autograd { input, output })
            }
        };
        self.latest = Some(latest);
        output.set_requires_grad(true)
    }

    /// Adds the parameters' gradient to what the next [`Network::step`] follows, given that of the latest [`Network::pass`]'s
    /// output; gives that of its input, if the input required one.
    ///
    /// # Panics
    /// Without a pass since the last time.
    pub fn back(&mut self, d_output: &Tensor) -> Option<Tensor> {
        match self.latest.take().expect("a pass to go back over") {
            Latest::Autograd { input, output } => {
                tch::with_grad(|| (output * d_output).sum(Kind::Float)).backward();
                input.requires_grad().then(|| input.grad())
            }
            Latest::Convolutions { input, wants_input } => {
                let mut grads = vec![0.0; self.n_params()];
                let passes = self.convolutions.as_ref().expect("passes that went forward");
                let (params, d_output) = (to_vec(&self.params), to_vec(d_output));
                let mut passes = passes.borrow_mut();
                let d_input = passes.backward(&params, &d_output, &input[1..], &mut grads, wants_input);
                drop(passes);
                self.leave(Tensor::from_slice(&grads));
                d_input.map(|d_input| Tensor::from_slice(&d_input).view(&input[..]))
            }
            Latest::Dense { values, wants_input } => {
                let _no_grad = tch::no_grad_guard();
                let grads = self.params.empty_like();
                let (parts, d_parts) = (self.split(&self.params), self.split(&grads));
                let d_input = dense::backward(&self.layers, &parts, &values, d_output, &d_parts, wants_input);
                self.leave(grads);
                d_input
            }
        }
    }

    /// Adds a gradient by hand to what the next step follows.
    fn leave(&mut self, grads: Tensor) {
        self.grads = Some(match self.grads.take() {
            Some(before) => before + grads,
            None => grads,
        });
    }

    /// The passes by hand, if these are images that they can take.
    fn convolutions(&self, x: &Tensor) -> Option<&RefCell<Convolutions>> {
        let is_plain = x.device() == Device::Cpu && x.kind() == Kind::Float && x.numel() > 0;
        self.convolutions.as_ref().filter(|_| is_plain)
    }

    /// What it makes of `x`, a batch.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with(&self.params, x)
    }

    /// As [`Network::forward`], with other parameters, such as a running mean of its own.
    pub fn forward_with(&self, params: &Tensor, x: &Tensor) -> Tensor {
        // Where autograd does not watch, nothing that is made of the parameters requires a gradient.
        let is_watched = (params.narrow(0, 0, 1) + 1.0).requires_grad() || x.requires_grad();
        if let (false, Some(passes)) = (is_watched, self.convolutions(x)) {
            return run_by_hand(&mut passes.borrow_mut(), params, x, false);
        }
        let mut parts = self.split(params).into_iter();
        self.layers.iter().fold(x.shallow_clone(), |x, layer| layer.apply(&x, &mut parts))
    }

    /// Weights and biases by turns, as parts of `params`.
    fn split(&self, params: &Tensor) -> Vec<Tensor> {
        let shapes = self.shapes();
        let sizes: Vec<i64> = shapes.iter().map(|shape| shape.iter().product()).collect();
        // One split, whose gradient is one concatenation; a view a layer would add up as many whole vectors.
        let parts = params.split_with_sizes(sizes, 0);
        parts.into_iter().zip(shapes).map(|(part, shape)| part.view(&shape[..])).collect()
    }

    /// The flat parameters.
    pub fn params(&self) -> &Tensor {
        &self.params
    }

    /// Number of parameters.
    pub fn n_params(&self) -> usize {
        self.params.numel()
    }

    /// The gradient that the next step follows.
    #[cfg(test)]
    pub fn grads(&self) -> Tensor {
        self.grads.as_ref().map_or_else(|| self.params.grad().copy(), Tensor::copy)
    }

    /// Moves the parameters one step down their gradient, and clears it.
    pub fn step(&mut self, lr: f64) {
        let mut grads = self.params.grad();
        if let Some(by_hand) = self.grads.take() {
            grads = if grads.defined() { grads + by_hand } else { by_hand };
        }
        self.step_along(&grads, lr);
        self.params.zero_grad();
    }

    /// Moves the parameters one step down `grads`, as long as they are.
    pub fn step_along(&mut self, grads: &Tensor, lr: f64) {
        tch::no_grad(|| self.optimizer.step(&mut self.params, grads, lr));
    }

    /// Shapes of weights and biases by turns, in the order of the flat parameters.
    pub fn shapes(&self) -> Vec<Vec<i64>> {
        let params = self.layers.iter().filter_map(Layer::params);
        params.flat_map(|(weight, bias, _)| [weight, vec![bias]]).collect()
    }

    /// Parameters and optimiser.
    pub fn save(&self) -> Snapshot<'_> {
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

/// What `passes` make of `x`, kept for the way back or not.
fn run_by_hand(passes: &mut Convolutions, params: &Tensor, x: &Tensor, keep: bool) -> Tensor {
    let size = x.size();
    let n_threads = tch::get_num_threads() as usize;
    let output = passes.forward(&to_vec(params), &to_vec(x), &size[1..], n_threads, keep);
    let shape: Vec<i64> = [size[0]].into_iter().chain(passes.output_shape(&size[1..])).collect();
    Tensor::from_slice(&output).view(&shape[..])
}

/// Goes down the gradient of `loss`, a scalar, in all of `networks`.
pub fn descend(loss: &Tensor, networks: &mut [&mut Network], lr: f64) {
    // Straight into the optimiser: gradients that tensors keep would be cleared and added up, two more passes over them.
    let params: Vec<&Tensor> = networks.iter().map(|network| network.params()).collect();
    let grads = Tensor::run_backward(&[loss], &params, false, false);
    for (network, grads) in networks.iter_mut().zip(grads) {
        network.step_along(&grads, lr);
    }
}

/// Binary cross-entropy of `logits` against `target` in 0..=1, per element: −t ln σ(l) − (1 − t) ln(1 − σ(l)).
pub fn bce(logits: &Tensor, target: &Tensor) -> Tensor {
    logits.binary_cross_entropy_with_logits::<Tensor>(target, None, None, tch::Reduction::None)
}
