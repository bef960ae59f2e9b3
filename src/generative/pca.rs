//! Principal components (Pearson 1901): the linear code of a given width that reconstructs best in the squared error;
//! the control that an autoencoder should beat.

use super::images::Data;
use super::measures::pca::Pca;
use super::model::{Effort, FitError, ImageBatch, Measures, Model};
use super::settings::{ModelTask, Recipe, WIDTHS};
use super::spec::ModelSettings;
use anyhow::{Result, ensure};
use carom_agents::net::tensor::{read_tensor, to_vec};
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use carom_envs::settings;
use carom_envs::settings::{Settings, validate};
use rand_pcg::Pcg32;
use tch::Tensor;

settings! {
    /// Settings of `pca`.
    pub(crate) struct PcaConfig {
        /// Number of components.
        latent_dim: i64 = 32, in WIDTHS;
    }
}

impl Settings for PcaConfig {}

impl ModelSettings for PcaConfig {
    const RECIPE: Recipe = Recipe::AtOnce;

    fn make(&self, task: &ModelTask, _rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        Ok(Box::new(PcaModel::new(self, task)?))
    }
}

/// Principal components as a model.
pub(super) struct PcaModel {
    shape: [i64; 3],
    pca: Pca,
}

impl PcaModel {
    /// Finds the components of the training images.
    ///
    /// # Errors
    /// When a setting is out of its range, or there are more components than pixels.
    pub(super) fn new(config: &PcaConfig, task: &ModelTask) -> Result<Self> {
        validate(config)?;
        let (d, n_pixels) = (config.latent_dim, task.data.n_pixels());
        ensure!(d <= n_pixels, "model.latent_dim is {d}: images of {n_pixels} pixels have no more components");
        Ok(Self { shape: task.data.shape, pca: Pca::fit(&task.data.train, d) })
    }
}

impl Model for PcaModel {
    fn fit_batch(&mut self, _batch: &ImageBatch) -> Result<(), FitError> {
        Ok(())
    }

    fn stats(&mut self) -> Vec<Stat> {
        vec![]
    }

    fn evaluate(&self, data: &Data, _effort: Effort, _samples: Option<&Tensor>) -> Measures {
        let mut measures = Measures::default();
        measures.add("test/mse", self.pca.mse(&data.test));
        measures
    }

    fn encode(&self, x: &Tensor) -> Tensor {
        self.pca.encode(x)
    }

    fn decode(&self, code: &Tensor) -> Option<Tensor> {
        let [channels, rows, columns] = self.shape;
        Some(self.pca.decode(code).clamp(0.0, 1.0).view([-1, channels, rows, columns]))
    }

    fn sample(&self, _n: usize) -> Option<Tensor> {
        None
    }

    fn save(&self) -> Snapshot<'_> {
        let Pca { mean, components } = &self.pca;
        Snapshot::default().owned_array("mean", &to_vec(mean)).owned_array("components", &to_vec(components))
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        read_tensor(from, "mean", &mut self.pca.mean)?;
        read_tensor(from, "components", &mut self.pca.components)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};
    use crate::generative::settings::Optimizer;

    /// Images whose pixels are multiples of two patterns: two components hold all of them.
    fn two_patterns(side: usize) -> Data {
        let n_pixels = side * side;
        let image = |i: usize| {
            let (a, b) = ((i * 7 % 11) as u8, (i * 5 % 13) as u8);
            (0..n_pixels).map(move |p| if p % 2 == 0 { 10 * a } else { 5 * b + 3 }).collect::<Vec<u8>>()
        };
        let split = |from: usize| Split::new([1, side, side], (from..from + 60).flat_map(image).collect(), vec![]);
        let (train, test) = (split(0), split(60));
        Data::new(
            &Dataset { name: "patterns".into(), shape: [1, side, side], max: 255, n_classes: 0, train, test },
            tch::Device::Cpu,
        )
    }

    #[test]
    fn as_many_components_as_there_are_patterns_lose_nothing_and_fewer_lose_something() {
        // For 60 x 60 pixels the Gram matrix is decomposed.
        for side in [6, 60] {
            let data = two_patterns(side);
            let task = ModelTask { data: &data, total_steps: 1, optimizer: Optimizer::Adam, device: tch::Device::Cpu };
            let mse = |latent_dim| {
                let pca = PcaModel::new(&PcaConfig { latent_dim }, &task).expect("components");
                pca.evaluate(&data, Effort::Curve, None).get("test/mse").expect("a measure")
            };
            assert!(mse(2) < 1e-9, "{}", mse(2));
            assert!(mse(1) > 1e-4, "{}", mse(1));
        }
    }
}
