//! Optimisers of parameters that are a tensor, on any device.

use super::cpu::Optimizer;
use super::rule::{OptimConfig, Rule, adam_rate, second_moment_correction};
use crate::net::tensor::{assert_apart, read_tensor, slice, slice_mut, to_vec};
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use tch::{Device, Tensor};

/// An optimiser of parameters that are a tensor, on any device.
#[derive(Debug)]
pub struct TensorOptimizer(Place);

/// Device of the parameters.
#[derive(Debug)]
enum Place {
    /// One pass over the CPU's memory instead of a dozen operations.
    Cpu(Optimizer),
    Accelerator(Operations),
}

impl TensorOptimizer {
    /// An optimiser of parameters like `params` that has taken no step.
    pub fn new(config: OptimConfig, params: &Tensor) -> Self {
        Self(match params.device() {
            Device::Cpu => Place::Cpu(Optimizer::new(config, params.numel())),
            _ => Place::Accelerator(Operations::new(config, params)),
        })
    }

    /// Moves `params` one step against `grads`. Call it where autograd does not watch.
    ///
    /// # Panics
    /// When the lengths differ from the optimiser's, or `params` and `grads` share memory.
    pub fn step(&mut self, params: &mut Tensor, grads: &Tensor, lr: f64) {
        match &mut self.0 {
            Place::Cpu(optimizer) => {
                let grads = grads.contiguous();
                assert_apart(params, &[&grads]);
                // SAFETY: the two share no memory, and nothing but the optimiser's arithmetic runs before both slices
                // end.
                let (params, grads) = unsafe { (slice_mut(params), slice(&grads)) };
                optimizer.step(params, grads, lr);
            }
            Place::Accelerator(operations) => operations.step(params, grads, lr),
        }
    }

    /// Its moments and step count: the same arrays wherever the parameters are.
    pub fn save(&self) -> Snapshot<'_> {
        match &self.0 {
            Place::Cpu(optimizer) => optimizer.save(),
            Place::Accelerator(operations) => operations.save(),
        }
    }

    /// Restores the state that either optimiser saved.
    ///
    /// # Errors
    /// When it belongs to another number of parameters.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        match &mut self.0 {
            Place::Cpu(optimizer) => optimizer.load(from),
            Place::Accelerator(Operations { n_steps, mean, mean_sq, .. }) => {
                *n_steps = from.count("n_steps")?;
                read_tensor(from, "mean", mean)?;
                read_tensor(from, "mean_sq", mean_sq)
            }
        }
    }
}

/// The rules in tensor operations.
#[derive(Debug)]
pub(super) struct Operations {
    config: OptimConfig,
    n_steps: u64,
    /// Running mean of the gradient; Adadelta's running mean of its squared steps; 0 with RMSProp, which has none.
    mean: Tensor,
    mean_sq: Tensor,
}

impl Operations {
    pub(super) fn new(config: OptimConfig, params: &Tensor) -> Self {
        Self { config, n_steps: 0, mean: params.zeros_like(), mean_sq: params.zeros_like() }
    }

    pub(super) fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .owned_array("mean", &to_vec(&self.mean))
            .owned_array("mean_sq", &to_vec(&self.mean_sq))
            .value("n_steps", &self.n_steps)
    }

    pub(super) fn step(&mut self, params: &mut Tensor, grads: &Tensor, lr: f64) {
        self.n_steps += 1;
        let OptimConfig { rule, beta1, beta2, .. } = self.config;
        let epsilon = self.config.f32_epsilon();
        let mean_decay = match rule {
            Rule::Adam | Rule::RAdam => Some(beta1),
            Rule::RmsPropCentered => Some(beta2),
            Rule::RmsProp | Rule::Adadelta => None,
        };
        if let Some(decay) = mean_decay {
            self.mean = &self.mean * decay + grads * (1.0 - decay);
        }
        self.mean_sq = &self.mean_sq * beta2 + grads * grads * (1.0 - beta2);
        let [under, beside] = self.config.rms_prop_epsilons();
        let step = match rule {
            Rule::RmsProp => grads / ((&self.mean_sq + under).sqrt() + beside) * lr,
            Rule::RmsPropCentered => {
                let variance = (&self.mean_sq - &self.mean * &self.mean).clamp_min(0.0);
                grads / ((variance + under).sqrt() + beside) * lr
            }
            Rule::Adadelta => {
                let step = grads * (&self.mean + epsilon).sqrt() / (&self.mean_sq + epsilon).sqrt();
                self.mean = &self.mean * beta2 + &step * &step * (1.0 - beta2);
                step * lr
            }
            Rule::Adam | Rule::RAdam => {
                let (rate, adaptive) = adam_rate(self.config, self.n_steps, lr);
                let root = second_moment_correction(beta2, self.n_steps);
                let epsilon = if rule == Rule::RAdam { epsilon * root } else { epsilon };
                match adaptive {
                    true => &self.mean / (self.mean_sq.sqrt() * root + epsilon) * rate,
                    false => &self.mean * rate,
                }
            }
        };
        *params -= step;
    }
}
