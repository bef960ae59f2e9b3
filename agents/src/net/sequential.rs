//! Sequential networks that are trained: operations, their flat parameters, an optimiser.
//!
//! [`Sequential::forward`] is differentiated by autograd, whatever the operations. [`Sequential::pass`] and
//! [`Sequential::back`] compute output and gradient separately, by an engine of [`native`](super::native) if one covers
//! the operations.

#[cfg(test)]
mod tests;

use super::layout::{Init, Layout};
use super::native::convolutions::Convolutions;
use super::native::dense;
use super::operation::Operation;
use super::tensor::{read_tensor, to_vec};
use crate::optim::{OptimConfig, Rule, TensorOptimizer};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use rand_pcg::Pcg32;
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// A sequential network with its parameters, their gradient and an optimiser.
#[derive(Debug)]
pub struct Sequential {
    layout: Layout,
    /// All parameters, one directly behind the other.
    params: Tensor,
    optimizer: TensorOptimizer,
    engine: Engine,
    /// Gradient of the parameters that native passes have added up for the next step.
    grads: Option<Tensor>,
    latest: Option<Latest>,
}

/// Implementation of [`Sequential::pass`] and [`Sequential::back`].
#[derive(Debug)]
enum Engine {
    /// Used on the CPU; on other devices autograd is used instead.
    Convolutions(RefCell<Convolutions>),
    Dense,
    Autograd,
}

/// State that [`Sequential::back`] needs of the latest [`Sequential::pass`].
#[derive(Debug)]
enum Latest {
    /// A leaf of autograd's graph, and the output computed from it.
    Autograd { input: Tensor, output: Tensor },
    /// Shape of the input, and whether its gradient is needed; the passes keep the rest.
    Convolutions { input: Vec<i64>, wants_input: bool },
    /// Input of each operation.
    Dense { values: Vec<Tensor>, wants_input: bool },
}

impl Sequential {
    /// A network on `device` whose first parameters are drawn by Glorot & Bengio's scheme.
    pub fn new(operations: Vec<Operation>, optimizer: OptimConfig, device: Device, rng: &mut Pcg32) -> Self {
        let layout = Layout::packed(operations);
        let params = Tensor::from_slice(&layout.first_params(Init::Glorot, rng)).to_device(device);
        Self::of(layout, optimizer, &params)
    }

    /// A network of `operations` with these parameters, in the order of [`Sequential::params`].
    ///
    /// # Panics
    /// When there are more or fewer of them than the operations have.
    pub fn with_params(operations: Vec<Operation>, params: &Tensor) -> Self {
        Self::of(Layout::packed(operations), OptimConfig::of(Rule::Adam), &params.detach().copy())
    }

    fn of(layout: Layout, optimizer: OptimConfig, params: &Tensor) -> Self {
        assert_eq!(layout.len(), params.numel(), "as many parameters as the operations have");
        let engine = match Convolutions::of(&layout) {
            Some(passes) => Engine::Convolutions(RefCell::new(passes)),
            None if dense::covers(&layout) => Engine::Dense,
            None => Engine::Autograd,
        };
        let optimizer = TensorOptimizer::new(optimizer, params);
        let params = params.set_requires_grad(true);
        Self { layout, params, optimizer, engine, grads: None, latest: None }
    }

    /// A network of the same operations with parameters `params`, which has not been trained yet.
    #[must_use]
    pub fn twin(&self, params: &Tensor) -> Self {
        Self::with_params(self.layout.operations().to_vec(), params)
    }

    /// Output for `x`, a batch, as a leaf of autograd's graph. [`Sequential::back`] computes the gradient in the
    /// parameters from the gradient in this output, and that in `x` if `x` requires one.
    pub fn pass(&mut self, x: &Tensor) -> Tensor {
        let wants_input = x.requires_grad();
        let (output, latest) = match &self.engine {
            Engine::Convolutions(passes) if is_native(x) => {
                let output = by_hand(&mut passes.borrow_mut(), &self.params, x, true);
                (output, Latest::Convolutions { input: x.size(), wants_input })
            }
            Engine::Dense => {
                let _no_grad = tch::no_grad_guard();
                let (output, values) = dense::forward(&self.layout, &self.params, &x.detach());
                (output, Latest::Dense { values, wants_input })
            }
            Engine::Convolutions(_) | Engine::Autograd => {
                let input = x.detach().set_requires_grad(wants_input);
                let output = tch::with_grad(|| self.forward(&input));
                (output.detach(), Latest::Autograd { input, output })
            }
        };
        self.latest = Some(latest);
        output.set_requires_grad(true)
    }

    /// Computes the gradient in the parameters, given the gradient `d_output` in the output of the latest
    /// [`Sequential::pass`], and adds it to the gradient of the next [`Sequential::step`]. Returns the gradient in the
    /// input, if the input requires one.
    ///
    /// # Panics
    /// Without a pass since the last call.
    pub fn back(&mut self, d_output: &Tensor) -> Option<Tensor> {
        let _no_grad = tch::no_grad_guard();
        match (self.latest.take().expect("a pass before each call"), &self.engine) {
            (Latest::Convolutions { input, wants_input }, Engine::Convolutions(passes)) => {
                let mut grads = vec![0.0; self.n_params()];
                let (params, d_output) = (to_vec(&self.params), to_vec(d_output));
                let d_input = passes.borrow_mut().backward(&params, &d_output, &input[1..], &mut grads, wants_input);
                self.leave(Tensor::from_slice(&grads));
                d_input.map(|d_input| Tensor::from_slice(&d_input).view(&input[..]))
            }
            (Latest::Dense { values, wants_input }, _) => {
                let (grads, d_input) = dense::backward(&self.layout, &self.params, &values, d_output, wants_input);
                self.leave(grads);
                d_input
            }
            (Latest::Autograd { input, output }, _) => {
                tch::with_grad(|| (output * d_output).sum(Kind::Float)).backward();
                input.requires_grad().then(|| input.grad())
            }
            (Latest::Convolutions { .. }, engine) => unreachable!("{engine:?} did not make that pass"),
        }
    }

    /// Adds a native gradient to that of the next step.
    fn leave(&mut self, grads: Tensor) {
        self.grads = Some(match self.grads.take() {
            Some(before) => before + grads,
            None => grads,
        });
    }

    /// Output for `x`, a batch.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with(&self.params, x)
    }

    /// Output for `x` with other parameters, such as a running mean of the network's own.
    pub fn forward_with(&self, params: &Tensor, x: &Tensor) -> Tensor {
        // While autograd is off, nothing computed from the parameters requires a gradient.
        let is_watched = || (params.narrow(0, 0, 1) + 1.0).requires_grad() || x.requires_grad();
        match &self.engine {
            Engine::Convolutions(passes) if is_native(x) && !is_watched() => {
                by_hand(&mut passes.borrow_mut(), params, x, false)
            }
            _ => self.layout.forward(params, x),
        }
    }

    /// The flat parameters.
    pub fn params(&self) -> &Tensor {
        &self.params
    }

    /// Number of parameters.
    pub fn n_params(&self) -> usize {
        self.layout.len()
    }

    /// The operations and the places of their parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The gradient that the next step follows: that of native passes and that of autograd, added up.
    ///
    /// # Panics
    /// When there is none.
    pub fn grads(&self) -> Tensor {
        let by_autograd = self.params.grad();
        match &self.grads {
            Some(by_hand) if by_autograd.defined() => &by_autograd + by_hand,
            Some(by_hand) => by_hand.copy(),
            None => by_autograd.copy(),
        }
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

    /// Parameters and optimiser.
    pub fn save(&self) -> Snapshot<'_> {
        Snapshot::default().owned_array("params", &to_vec(&self.params)).nest("optimizer", self.optimizer.save())
    }

    /// Restores the state that [`Sequential::save`] wrote.
    ///
    /// # Errors
    /// When it was saved from another network.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        read_tensor(from, "params", &mut self.params)?;
        self.optimizer.load(&from.nested("optimizer")?)
    }
}

/// Whether the native convolutions support `x`.
fn is_native(x: &Tensor) -> bool {
    x.device() == Device::Cpu && x.kind() == Kind::Float && x.numel() > 0
}

/// Output of `passes` for `x`. If `keep`, the passes store the values that the backward pass needs.
fn by_hand(passes: &mut Convolutions, params: &Tensor, x: &Tensor, keep: bool) -> Tensor {
    let _no_grad = tch::no_grad_guard();
    let size = x.size();
    let output = passes.forward(&to_vec(params), &to_vec(x), &size[1..], keep);
    let shape: Vec<i64> = [size[0]].into_iter().chain(passes.output_shape(&size[1..])).collect();
    Tensor::from_slice(&output).view(&shape[..])
}

/// Moves all of `networks` one step down the gradient of `loss`, a scalar.
pub fn descend(loss: &Tensor, networks: &mut [&mut Sequential], lr: f64) {
    // Gradients go straight to the optimiser. Storing them in the tensors would clear and add them, two more passes.
    let params: Vec<&Tensor> = networks.iter().map(|network| network.params()).collect();
    let grads = Tensor::run_backward(&[loss], &params, false, false);
    for (network, grads) in networks.iter_mut().zip(grads) {
        network.step_along(&grads, lr);
    }
}
