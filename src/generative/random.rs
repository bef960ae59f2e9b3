//! A convolutional network with random weights: a baseline that shows how much of a code's value is learned.

use super::images::Data;
use super::model::{Effort, EncoderDecoder, FitError, ImageBatch, Measures, Model};
use super::settings::{ModelTask, Recipe, WIDTHS};
use super::spec::ModelSettings;
use anyhow::{Result, ensure};
use carom_agents::net::{Operation, Sequential};
use carom_agents::optim::{OptimConfig, Rule};
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use carom_envs::settings;
use carom_envs::settings::{Settings, validate};
use rand_pcg::Pcg32;
use tch::Tensor;

settings! {
    /// Settings of `random`.
    pub(crate) struct RandomConfig {
        /// Width of the code.
        latent_dim: i64 = 256, in WIDTHS;
    }
}

impl Settings for RandomConfig {}

impl ModelSettings for RandomConfig {
    const RECIPE: Recipe = Recipe::AtOnce;

    fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        Ok(Box::new(Random::new(self, task, rng)?))
    }
}

/// A network with random weights.
pub(super) struct Random {
    network: Sequential,
}

impl Random {
    /// Makes a network of the agents' own first layers: one convolution for small images, those of Mnih et al. (2015)
    /// for large ones; then a dense layer.
    ///
    /// # Errors
    /// When a setting is out of its range, or the images are smaller than a filter.
    pub(super) fn new(config: &RandomConfig, task: &ModelTask, rng: &mut Pcg32) -> Result<Self> {
        validate(config)?;
        let [mut channels, mut rows, mut columns] = task.data.shape;
        let convolutions: &[(i64, i64, i64)] =
            if rows.min(columns) >= 64 { &[(8, 4, 32), (4, 2, 64), (3, 1, 64)] } else { &[(3, 1, 16)] };
        let mut layers = vec![];
        for &(kernel, stride, filters) in convolutions {
            ensure!(rows >= kernel && columns >= kernel, "images of {rows}x{columns} are smaller than a filter");
            layers.push(Operation::conv([channels, filters], kernel, stride, 0));
            layers.push(Operation::relu());
            channels = filters;
            [rows, columns] = [rows, columns].map(|side| (side - kernel) / stride + 1);
        }
        let width = channels * rows * columns;
        layers.push(Operation::Reshape(vec![width]));
        layers.push(Operation::Dense { inputs: width, outputs: config.latent_dim });
        layers.push(Operation::relu());
        Ok(Self { network: Sequential::new(layers, OptimConfig::of(Rule::Adam), task.device, rng) })
    }
}

impl Model for Random {
    fn fit_batch(&mut self, _batch: &ImageBatch) -> Result<(), FitError> {
        Ok(())
    }

    fn stats(&mut self) -> Vec<Stat> {
        vec![]
    }

    fn evaluate(&self, _data: &Data, _effort: Effort, _samples: Option<&Tensor>) -> Measures {
        Measures::default()
    }

    fn encode(&self, x: &Tensor) -> Tensor {
        self.network.forward(x)
    }

    fn decode(&self, _code: &Tensor) -> Option<Tensor> {
        None
    }

    fn networks(&self) -> Option<EncoderDecoder> {
        let encoder = self.network.twin(self.network.params());
        Some(EncoderDecoder { encoder, decoder: None, has_logits: false, weights: None, difference: None })
    }

    fn sample(&self, _n: usize) -> Option<Tensor> {
        None
    }

    fn save(&self) -> Snapshot<'_> {
        self.network.save()
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.network.load(from)
    }
}
