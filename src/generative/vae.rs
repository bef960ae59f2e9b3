//! Variational autoencoder (Kingma & Welling 2014) and importance-weighted autoencoder (Burda, Grosse & Salakhutdinov
//! 2016).
//!
//! A decoder p(x|z) makes images of codes z drawn from a standard Gaussian, and an encoder q(z|x) = N(μ(x), diag σ²(x))
//! guesses the codes an image may have come from. Fitting raises a lower bound of ln p(x), in nats per image, summed
//! over its pixels:
//! - `k = 1`: ELBO = E_q[ln p(x|z)] − KL(q(z|x) ‖ p(z)), one reparameterised sample z = μ + σ ε and the KL in closed
//!   form;
//! - `k > 1`: ln (1/k) Σ p(x|z_i) p(z_i) / q(z_i|x), whose expectation grows with k towards ln p(x). `elbo_updates` of
//!   the ELBO may come first (Burda et al. 2016, table 2).
//!
//! Bounds on gray pixels and on black and white pixels are different quantities, so the binarisation is printed beside
//! each. Agents and probes get μ(x).

mod config;
mod densities;
mod elbo;
mod iwae;
mod networks;
#[cfg(test)]
mod tests;

pub(crate) use config::VaeConfig;

use super::images::Data;
use super::model::{Effort, EncoderDecoder, FitError, ImageBatch, Means, Measures, Model};
use super::settings::{Descent, ModelTask, Recipe, Schedule};
use super::spec::ModelSettings;
use super::weights::PixelWeights;
use anyhow::Result;
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use config::{Binarisation, Likelihood};
use iwae::{MIN_CERTAIN_WEIGHT, ROWS_AT_ONCE};
use networks::Networks;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use tch::{Kind, Tensor};

/// Variance of a code's mean over the data above which its dimension counts as active (Burda et al. 2016, section 5.3).
const ACTIVE_VARIANCE: f64 = 0.01;
/// Seed of the test images' binarisation, which is the same for all runs.
const BINARISATION_SEED: u64 = 0x6d_6e69_7374;
/// Samples of each test image, from which the bound of many samples is carried over to the images that are left out.
const FEW_SAMPLES: i64 = 200;

impl ModelSettings for VaeConfig {
    const RECIPE: Recipe = Recipe::Descent(Descent {
        epochs: 20,
        batch_size: 128,
        lr: 1e-3,
        lr_schedule: Schedule::Constant,
        optimizer: None,
    });

    fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        Ok(Box::new(Vae::new(self.clone(), task, rng)?))
    }
}

/// A variational autoencoder.
pub(crate) struct Vae {
    nets: Networks,
    means: Means,
}

impl Vae {
    /// Makes a VAE with fresh weights.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub(crate) fn new(config: VaeConfig, task: &ModelTask, rng: &mut Pcg32) -> Result<Self> {
        let means = Means::new(&["fit/loss", "fit/recon", "fit/kl"]);
        Ok(Self { nets: Networks::new(config, task, rng)?, means })
    }

    /// Returns test images, `size` at a time, binarised as the settings say.
    fn test_images<'a>(&self, data: &'a Data, size: usize) -> impl Iterator<Item = Tensor> + use<'a> {
        let mut rng = Pcg32::seed_from_u64(BINARISATION_SEED);
        let binarisation = self.nets.config.binarisation;
        data.test.chunks(size).map(move |x| match binarisation {
            Binarisation::None => x,
            Binarisation::Dynamic => binarised(&x, &mut rng),
        })
    }

    /// Adds the importance-weighted bound and the number of active units.
    ///
    /// The bound takes `iwae_k` samples an image. It is measured on evenly spaced images, and their mean gain over the
    /// bound of [`FEW_SAMPLES`] is added to the mean of that bound over all: images differ far less in this gain than
    /// in their likelihood, or in the gain over the ELBO. The standard error is that of the choice of images, 0 if all
    /// were measured.
    fn measure_fully(&self, data: &Data, measures: &mut Measures) {
        let (k, all) = (self.nets.config.iwae_k, data.test.len());
        let stride = all.div_ceil(self.nets.config.iwae_images);
        // A multiple of the stride, so that each chunk's first image is measured.
        let chunk = (ROWS_AT_ONCE as usize).div_ceil(stride) * stride;
        let few = k.min(FEW_SAMPLES);
        let (mut by_few, mut bounds, mut means) = (vec![], vec![], vec![]);
        for x in self.test_images(data, chunk) {
            means.push(self.encode(&x));
            by_few.push(self.nets.measure_bound(&x, few));
            let spaced = x.slice(0, None, None, stride as i64);
            bounds.extend(spaced.split((ROWS_AT_ONCE / k).max(1), 0).iter().map(|x| self.nets.measure_bound(x, k)));
        }
        let [by_few, bounds] = [by_few, bounds].map(|pieces| Tensor::cat(&pieces, 0).to_kind(Kind::Double));
        let gains = bounds - by_few.slice(0, None, None, stride as i64);
        let n = gains.size()[0] as usize;
        let left_out = 1.0 - n as f64 / all as f64;
        measures.add("test/iwae", (by_few.mean(Kind::Double) + gains.mean(Kind::Double)).double_value(&[]));
        if n > 1 {
            measures.add("test/iwae_se", (left_out * gains.var(true).double_value(&[]) / n as f64).sqrt());
        }
        let active = Tensor::cat(&means, 0).var_dim(0, false, false).gt(ACTIVE_VARIANCE).sum(Kind::Int64);
        measures.add("test/active_units", active.int64_value(&[]) as f64);
        measures.note("iwae_k", k.to_string());
        let carried = format!("{n} of {all} test images, the gain over {few} samples carried over to the rest");
        measures.note("iwae_images", carried);
    }
}

impl Model for Vae {
    fn fit_batch(&mut self, batch: &ImageBatch) -> Result<(), FitError> {
        let x = match self.nets.config.binarisation {
            Binarisation::None => batch.x.shallow_clone(),
            Binarisation::Dynamic => batch.x.bernoulli(),
        };
        let terms = if self.nets.config.k == 1 || batch.step < self.nets.config.elbo_updates {
            self.nets.elbo_gradient(&x)
        } else {
            self.nets.bound_gradient(&x, MIN_CERTAIN_WEIGHT)
        };
        for (name, value) in ["fit/recon", "fit/kl", "fit/loss"].into_iter().zip(terms) {
            self.means.add(name, value, batch.step)?;
        }
        self.nets.encoder.step(batch.lr);
        self.nets.decoder.step(batch.lr);
        Ok(())
    }

    fn stats(&mut self) -> Vec<Stat> {
        self.means.take()
    }

    fn evaluate(&self, data: &Data, effort: Effort, _samples: Option<&Tensor>) -> Measures {
        let terms = self.test_images(data, ROWS_AT_ONCE as usize).map(|x| self.nets.elbo_terms(&x));
        let (recon, kl): (Vec<Tensor>, Vec<Tensor>) = terms.map(|[recon, kl]| (recon, kl)).unzip();
        let [recon, kl] = [recon, kl].map(|terms| Tensor::cat(&terms, 0).to_kind(Kind::Double));
        let elbo = -(&recon + &kl);
        let mut measures = Measures::default();
        for (name, values) in [("test/elbo", &elbo), ("test/recon", &recon), ("test/kl", &kl)] {
            measures.add(name, values.mean(Kind::Double).double_value(&[]));
        }
        if effort == Effort::Full {
            self.measure_fully(data, &mut measures);
        }
        let binarisation = match self.nets.config.binarisation {
            Binarisation::None => "none: pixels as they are",
            Binarisation::Dynamic => "dynamic: each batch drawn anew, the test images drawn once",
        };
        measures.note("binarisation", binarisation);
        measures
    }

    fn encode(&self, x: &Tensor) -> Tensor {
        let [mean, _] = self.nets.posterior(x);
        mean
    }

    fn decode(&self, code: &Tensor) -> Option<Tensor> {
        let output = self.nets.output(code);
        let means = match self.nets.config.likelihood {
            Likelihood::Bernoulli => output.sigmoid(),
            Likelihood::Gaussian => output.clamp(0.0, 1.0),
        };
        let [channels, rows, columns] = self.nets.shape;
        Some(means.view([-1, channels, rows, columns]))
    }

    fn networks(&self) -> Option<EncoderDecoder> {
        let [encoder, decoder] = [&self.nets.encoder, &self.nets.decoder].map(|network| network.twin(network.params()));
        let has_logits = self.nets.config.likelihood == Likelihood::Bernoulli;
        let weights = self.nets.rarity.as_ref().map(PixelWeights::share);
        Some(EncoderDecoder { encoder, decoder: Some(decoder), has_logits, weights, difference: None })
    }

    fn sample(&self, n: usize) -> Option<Tensor> {
        self.decode(&Tensor::randn([n as i64, self.nets.config.latent_dim], (Kind::Float, self.nets.device)))
    }

    fn has_normal_prior(&self) -> bool {
        true
    }

    fn save(&self) -> Snapshot<'_> {
        let snapshot = Snapshot::default()
            .value("means", &self.means.save())
            .nest("encoder", self.nets.encoder.save())
            .nest("decoder", self.nets.decoder.save());
        match &self.nets.rarity {
            Some(rarity) => snapshot.nest("rarity", rarity.save()),
            None => snapshot,
        }
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.means.load(from)?;
        if let Some(rarity) = &mut self.nets.rarity {
            rarity.load(&from.nested("rarity")?)?;
        }
        self.nets.encoder.load(&from.nested("encoder")?)?;
        self.nets.decoder.load(&from.nested("decoder")?)
    }
}

/// Draws black or white pixels. Each is white with its gray level as the probability.
fn binarised(x: &Tensor, rng: &mut Pcg32) -> Tensor {
    let thresholds: Vec<f32> = (0..x.numel()).map(|_| rng.r#gen()).collect();
    Tensor::from_slice(&thresholds).to_device(x.device()).view_as(x).less_tensor(x).to_kind(Kind::Float)
}
