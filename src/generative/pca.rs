//! Principal components (Pearson 1901): the linear code of a given width that reconstructs best in the squared error; the
//! control that an autoencoder should beat.

use super::images::Data;
use super::model::{Batch, Effort, FitError, Measures, Model};
use super::registry::{ModelConfig, ModelTask, Recipe};
use anyhow::{Result, ensure};
use carom_agents::optim::{read_tensor, to_vec};
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Kind, Tensor};

/// Settings of `pca`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PcaConfig {
    /// Number of components.
    pub latent_dim: i64,
}

impl Default for PcaConfig {
    fn default() -> Self {
        Self { latent_dim: 32 }
    }
}

impl ModelConfig for PcaConfig {
    const RECIPE: Recipe = Recipe { epochs: 1, batch_size: 4096, lr: 1.0 };

    fn check(&self) -> Result<()> {
        ensure!(self.latent_dim > 0, "model.latent_dim is {}: expected a number above 0", self.latent_dim);
        Ok(())
    }
}

/// Images that components are found from, at most, where images have more pixels than that: the matrix to be decomposed has
/// as many rows.
const WIDE_SAMPLE: usize = 2_000;

/// A mean image and directions from it.
pub struct Pca {
    shape: [i64; 3],
    /// `[n_pixels]`
    mean: Tensor,
    /// `[n_pixels, latent_dim]`, orthonormal, the widest first.
    components: Tensor,
}

impl Pca {
    /// The components of the training images, found at once: there is nothing to iterate.
    ///
    /// # Errors
    /// When there are more components than pixels.
    pub fn new(config: &PcaConfig, task: &ModelTask) -> Result<Self> {
        let (d, n_pixels) = (config.latent_dim, task.data.n_pixels());
        ensure!(d <= n_pixels, "model.latent_dim is {d}: images of {n_pixels} pixels have no more components");
        let wide = n_pixels as usize > WIDE_SAMPLE;
        let n = if wide { WIDE_SAMPLE } else { 5 * WIDE_SAMPLE };
        // Frames of one episode lie together: every so-many-th stands for all.
        let stride = task.data.train.len().div_ceil(n) as i64;
        let indices = Tensor::arange_start_step(0, task.data.train.len() as i64, stride, (Kind::Int64, task.device));
        let x = task.data.train.gather(&indices).flatten(1, -1).to_kind(Kind::Double);
        let mean = x.mean_dim(0, false, Kind::Double);
        let x = x - &mean;
        let (rows, mut components) = (x.size()[0], Tensor::zeros([n_pixels, d], (Kind::Double, task.device)));
        if wide {
            // The eigenvectors of x xᵀ, which is smaller, are those of xᵀ x seen from the images.
            let (values, vectors) = x.matmul(&x.transpose(0, 1)).linalg_eigh("L");
            let kept = d.min(rows - 1).max(0);
            let (values, vectors) = (values.narrow(0, rows - kept, kept), vectors.narrow(1, rows - kept, kept));
            let directions = x.transpose(0, 1).matmul(&vectors) / values.clamp_min(1e-12).sqrt();
            components.narrow(1, 0, kept).copy_(&directions.flip([1]));
        } else {
            let (_, vectors) = x.transpose(0, 1).matmul(&x).linalg_eigh("L");
            components.copy_(&vectors.narrow(1, n_pixels - d, d).flip([1]));
        }
        let single = |tensor: Tensor| tensor.to_kind(Kind::Float).contiguous();
        Ok(Self { shape: task.data.shape, mean: single(mean), components: single(components) })
    }
}

impl Model for Pca {
    fn fit_batch(&mut self, _batch: &Batch) -> Result<(), FitError> {
        Ok(())
    }

    fn stats(&mut self) -> Vec<Stat> {
        vec![]
    }

    fn evaluate(&self, data: &Data, _effort: Effort) -> Measures {
        let squares = data.test.chunks(1000).map(|x| {
            let again = self.components.transpose(0, 1);
            let again = (self.encode(&x).matmul(&again) + &self.mean).view_as(&x);
            (again - x).square().sum(Kind::Double).double_value(&[])
        });
        let n = data.test.len() as f64 * data.n_pixels() as f64;
        let mut measures = Measures::default();
        measures.add("test/mse", squares.sum::<f64>() / n);
        measures
    }

    fn encode(&self, x: &Tensor) -> Tensor {
        (x.flatten(1, -1) - &self.mean).matmul(&self.components)
    }

    fn decode(&self, code: &Tensor) -> Option<Tensor> {
        let [channels, rows, columns] = self.shape;
        let pixels = code.matmul(&self.components.transpose(0, 1)) + &self.mean;
        Some(pixels.clamp(0.0, 1.0).view([-1, channels, rows, columns]))
    }

    fn sample(&self, _n: usize) -> Option<Tensor> {
        None
    }

    fn draw(&self, _data: &Data, _dir: &Path) -> Result<()> {
        Ok(())
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .owned_array("mean", &to_vec(&self.mean))
            .owned_array("components", &to_vec(&self.components))
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        read_tensor(from, "mean", &mut self.mean)?;
        read_tensor(from, "components", &mut self.components)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::{Dataset, Split};

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
        // 60 x 60 pixels are more than the sample, and are decomposed the other way round.
        for side in [6, 60] {
            let data = two_patterns(side);
            let task = ModelTask { data: &data, total_steps: 1, device: tch::Device::Cpu };
            let mse = |latent_dim| {
                let pca = Pca::new(&PcaConfig { latent_dim }, &task).expect("components");
                pca.evaluate(&data, Effort::Curve).get("test/mse").expect("a measure")
            };
            assert!(mse(2) < 1e-9, "{}", mse(2));
            assert!(mse(1) > 1e-4, "{}", mse(1));
        }
    }
}
