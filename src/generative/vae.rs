//! Variational autoencoder (Kingma & Welling 2014) and importance-weighted autoencoder (Burda, Grosse & Salakhutdinov 2016).
//!
//! A decoder p(x|z) makes images of codes z drawn from a standard Gaussian, and an encoder q(z|x) = N(μ(x), diag σ²(x)) guesses
//! the codes an image may have come from. Fitting raises a lower bound of ln p(x), in nats per image, summed over its pixels:
//! - `k = 1`: ELBO = E_q[ln p(x|z)] − KL(q(z|x) ‖ p(z)), one reparameterised sample z = μ + σ ε and the KL in closed form;
//! - `k > 1`: ln (1/k) Σ p(x|z_i) p(z_i) / q(z_i|x), whose expectation grows with k towards ln p(x).
//!
//! A bound on gray pixels and one on black and white pixels are different quantities: the binarisation stands beside each.
//! Agents and probes see μ(x).

mod config;
#[cfg(test)]
mod tests;

pub use config::{Architecture, Binarisation, KlReduction, Likelihood, VaeConfig};

use super::images::Data;
use super::model::{Batch, Effort, FitError, Halves, Means, Measures, Model};
use super::net::{Layer, Network, bce_rows, bce_with_gradient};
use super::settings::{Descent, ModelTask, Recipe, Schedule};
use super::spec::ModelSettings;
use super::weights::PixelWeights;
use anyhow::Result;
use carom_agents::optim::{OptimConfig, Rule};
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use carom_envs::settings::validate;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

/// KL(N(μ, diag σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² − 1 − ln σ²) of `mean` and `log_var`, both `[B, d]`: `[B]` nats. Kingma & Welling
/// 2014, appendix B.
pub fn gaussian_kl(mean: &Tensor, log_var: &Tensor) -> Tensor {
    (mean.square() + log_var.exp() - 1.0 - log_var).sum_dim_intlist(-1, false, Kind::Float) * 0.5
}

/// ln p(x|z) = Σ x l − ln(1 + eˡ) over the last dimension, of Bernoulli pixels with `logits` l; `x` in 0..=1.
pub fn log_bernoulli(logits: &Tensor, x: &Tensor) -> Tensor {
    (x * logits - logits.softplus()).sum_dim_intlist(-1, false, logits.kind())
}

/// ln p(x|z) = −½ Σ ((x − m) / σ)² + ln 2πσ² over the last dimension, of Gaussian pixels with `mean` m.
pub fn log_gaussian(mean: &Tensor, x: &Tensor, sigma: f64) -> Tensor {
    let n_pixels = x.size()[x.dim() - 1] as f64;
    let squares = (x - mean).square().sum_dim_intlist(-1, false, mean.kind());
    squares * (-0.5 / (sigma * sigma)) - 0.5 * n_pixels * (2.0 * PI * sigma * sigma).ln()
}

/// The importance-weighted bound ln (1/k) Σ wᵢ of `log_w`, `[k, B]`: `[B]`. Burda et al. 2016, equation 8.
pub fn iwae_bound(log_w: &Tensor) -> Tensor {
    log_w.logsumexp(0, false) - (log_w.size()[0] as f64).ln()
}

/// Rows that the decoder is given at once where there are many samples: enough for a matrix product, few enough for the cache.
const ROWS: i64 = 1000;
/// Share of an image's weights below which chance decides whether a sample goes back: see [`thinned`]. With k = 50 on MNIST
/// ln w has a standard deviation of 20 over an image's samples, so that nine in ten stay behind, and what that adds to the gradient's
/// variance is less than a hundredth of each sample's share of it.
const LEAST_WEIGHT: f64 = 0.01;
/// Variance of a code's mean over the data above which its dimension counts as active (Burda et al. 2016, section 5.3).
const ACTIVE: f64 = 0.01;
/// Seed of the test images' binarisation: one test set for all runs.
const BINARISATION_SEED: u64 = 0x6d_6e69_7374;

impl ModelSettings for VaeConfig {
    const RECIPE: Recipe =
        Recipe::Descent(Descent { epochs: 20, batch_size: 128, lr: 1e-3, lr_schedule: Schedule::Constant });

    fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        Ok(Box::new(Vae::new(self.clone(), task, rng)?))
    }
}

/// An encoder, a decoder, and what they are fitted by.
pub struct Vae {
    /// Images to `[B, 2 latent_dim]`: μ, then ln σ².
    encoder: Network,
    /// Codes to the images' logits or means, of at least the images' rows and columns.
    decoder: Network,
    config: VaeConfig,
    /// `[channels, rows, columns]`
    shape: [i64; 3],
    device: Device,
    rarity: Option<PixelWeights>,
    means: Means,
}

impl Vae {
    /// Makes a VAE with fresh weights.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn new(config: VaeConfig, task: &ModelTask, rng: &mut Pcg32) -> Result<Self> {
        validate(&config)?;
        let (shape, device) = (task.data.shape, task.device);
        let [encoder, decoder] =
            layers(&config, shape).map(|layers| Network::new(layers, OptimConfig::of(Rule::Adam), device, rng));
        let means = Means::new(&["fit/loss", "fit/recon", "fit/kl"]);
        let rarity = PixelWeights::of(config.rarity, 0.0, task.data).expect("no motion is asked for");
        Ok(Self { encoder, decoder, config, shape, device, rarity, means })
    }

    /// μ and ln σ² of q(z|x), each `[B, latent_dim]`.
    fn posterior(&self, x: &Tensor) -> [Tensor; 2] {
        halves(&self.encoder.forward(x))
    }

    /// What the likelihood needs of codes `[.., latent_dim]`: logits or means `[.., pixels]`.
    fn output(&self, code: &Tensor) -> Tensor {
        let [channels, rows, columns] = self.shape;
        let mut shape = code.size();
        *shape.last_mut().expect("codes have a width") = channels * rows * columns;
        self.cropped(&self.decoder.forward(&code.reshape([-1, self.config.latent_dim]))).reshape(&shape[..])
    }

    /// The part of the decoder's images that has the images' rows and columns: a view of them.
    fn cropped(&self, images: &Tensor) -> Tensor {
        let [_, rows, columns] = self.shape;
        images.narrow(2, 0, rows).narrow(3, 0, columns)
    }

    /// ln p(x|z) of `output`, `[.., B, pixels]`, and `x`, `[B, pixels]`: `[.., B]`.
    fn log_likelihood(&self, output: &Tensor, x: &Tensor) -> Tensor {
        match self.config.likelihood {
            Likelihood::Bernoulli => log_bernoulli(output, x),
            Likelihood::Gaussian => log_gaussian(output, x, self.config.sigma),
        }
    }

    /// The same with each pixel's part times its weight, `[B, pixels]`.
    fn weighted_log_likelihood(&self, output: &Tensor, x: &Tensor, weights: &Tensor) -> Tensor {
        // Pixel by pixel: each is a row of one.
        let parts = self.log_likelihood(&output.unsqueeze(-1), &x.unsqueeze(-1));
        (parts * weights).sum_dim_intlist(-1, false, Kind::Float)
    }

    /// −ln p(x|z) of one sample and KL(q ‖ p), each `[B]`.
    fn elbo_terms(&self, x: &Tensor) -> [Tensor; 2] {
        let [mean, log_var] = self.posterior(x);
        let code = &mean + (&log_var * 0.5).exp() * mean.randn_like();
        [-self.log_likelihood(&self.output(&code), &x.flatten(1, -1)), gaussian_kl(&mean, &log_var)]
    }

    /// −ln p(x|z) as it is fitted, with the weights of what is rare, its mean over the batch; and the gradient of that in
    /// `output`. Both `output` and `x` are `[B, channels, rows, columns]`.
    fn recon_with_gradient(&self, output: &Tensor, x: &Tensor) -> (f64, Tensor) {
        let _no_grad = tch::no_grad_guard();
        let share = 1.0 / x.size()[0] as f64;
        let mean = |log_p: Tensor| -log_p.mean(Kind::Double).double_value(&[]);
        let (flat_output, flat_x) = (output.flatten(1, -1), x.flatten(1, -1));
        let (recon, grad) = match self.config.likelihood {
            Likelihood::Bernoulli => bce_with_gradient(output, x, share),
            Likelihood::Gaussian => {
                let grad = (output - x) * (share / (self.config.sigma * self.config.sigma));
                (mean(self.log_likelihood(&flat_output, &flat_x)), grad)
            }
        };
        let Some(rarity) = &self.rarity else { return (recon, grad) };
        let weights = rarity.weights(x);
        let weighted = self.weighted_log_likelihood(&flat_output, &flat_x, &weights.flatten(1, -1));
        (mean(weighted), grad * weights)
    }

    /// Means over the batch of −ln p(x|z), of KL(q ‖ p) and of what is descended for k = 1, whose gradient it leaves in both
    /// networks. By hand, ∂KL/∂μ = μ and ∂KL/∂ln σ² = ½ (σ² − 1); autograd takes as long again as all else.
    fn elbo_gradient(&mut self, x: &Tensor) -> [f64; 3] {
        let _no_grad = tch::no_grad_guard();
        let [mean, log_var] = halves(&self.encoder.pass(x).detach());
        let (noise, sigma) = (mean.randn_like(), (&log_var * 0.5).exp());
        let spread = noise * &sigma;
        let images = self.decoder.pass(&(&mean + &spread).set_requires_grad(true));
        let (recon, grad) = self.recon_with_gradient(&self.cropped(&images), x);
        let d_code = self.decoder.back(&uncropped(grad, &images)).expect("a code requires a gradient");

        let weight = self.config.kl_weight();
        let share = weight / x.size()[0] as f64;
        let d_mean = &d_code + &mean * share;
        let d_log_var = (d_code * spread + (sigma.square() - 1.0) * share) * 0.5;
        self.encoder.back(&Tensor::cat(&[d_mean, d_log_var], 1));
        let kl = gaussian_kl(&mean, &log_var).mean(Kind::Double).double_value(&[]);
        [recon, kl, recon + weight * kl]
    }

    /// The same for k > 1, with means over the samples too.
    ///
    /// With w̃ᵢ = wᵢ / Σ wⱼ the decoder's gradient of the bound is Σ w̃ᵢ ∇ ln wᵢ (Burda et al. 2016, equation 13). The encoder's is
    /// doubly reparameterised (Tucker et al. 2019, section 4): Σ w̃ᵢ² ∂ln wᵢ/∂zᵢ · ∂zᵢ/∂φ with zᵢ = μ + σ ε, which has the
    /// expectation of equation 13 and, with many samples, far less variance. All samples go forward; once w̃ is known, those that
    /// are left by [`thinned`] above `least_weight` do so again, and back.
    fn bound_gradient(&mut self, x: &Tensor, least_weight: f64) -> [f64; 3] {
        let _no_grad = tch::no_grad_guard();
        let [mean, log_var] = halves(&self.encoder.pass(x).detach());
        let (n_images, k, d) = (x.size()[0], self.config.k, self.config.latent_dim);
        let noise = Tensor::randn([k, n_images, d], (Kind::Float, self.device));
        let flat = x.flatten(1, -1);
        let terms = noise.split(samples_at_once(n_images), 0);
        let terms = terms.iter().map(|noise| self.weight_terms(&flat, [&mean, &log_var], noise).into());
        let (log_p, log_ratio): (Vec<Tensor>, Vec<Tensor>) = terms.unzip();
        let [log_p, log_ratio] = [log_p, log_ratio].map(|terms| Tensor::cat(&terms, 0));
        let log_w = &log_p + &log_ratio;

        let weights = log_w.softmax(0, Kind::Double).flatten(0, -1).to_kind(Kind::Float);
        let counted = thinned(&weights, least_weight);
        let image = counted.remainder(n_images);
        let weights = weights.index_select(0, &counted).unsqueeze(1);
        let shares = weights.clamp_min(least_weight) / n_images as f64;
        let (noise, sigma) =
            (noise.view([-1, d]).index_select(0, &counted), (log_var * 0.5).exp().index_select(0, &image));
        let spread = &noise * &sigma;
        let code = mean.index_select(0, &image) + &spread;
        let d_code = (self.code_gradient(&code, x, &image, &shares) + (code - noise / sigma) * shares) * weights;
        let sums = |rows: &Tensor| mean.zeros_like().index_add(0, &image, rows);
        self.encoder.back(&Tensor::cat(&[sums(&d_code), sums(&(d_code * spread)) * 0.5], 1));
        [-log_p, -log_ratio, -iwae_bound(&log_w)].map(|term| term.mean(Kind::Double).double_value(&[]))
    }

    /// The gradient in `code`, `[n, latent_dim]`, of −Σ `weights` ln p(x|z); that in the parameters is left in the decoder. Of the
    /// batch `x`, `image`, `[n]`, tells which belongs to a code; the weights are `[n, 1]`.
    fn code_gradient(&mut self, code: &Tensor, x: &Tensor, image: &Tensor, weights: &Tensor) -> Tensor {
        let pieces = code.split(ROWS, 0).into_iter().zip(image.split(ROWS, 0)).zip(weights.split(ROWS, 0));
        let pieces = pieces.map(|((code, image), weights)| {
            let x = x.index_select(0, &image);
            let images = self.decoder.pass(&code.set_requires_grad(true));
            let output = self.cropped(&images);
            let mut grad = match self.config.likelihood {
                Likelihood::Bernoulli => bce_with_gradient(&output, &x, 1.0).1,
                Likelihood::Gaussian => (output - x) / (self.config.sigma * self.config.sigma),
            };
            grad *= weights.view([-1, 1, 1, 1]);
            self.decoder.back(&uncropped(grad, &images)).expect("a code requires a gradient")
        });
        Tensor::cat(&pieces.collect::<Vec<_>>(), 0)
    }

    /// ln p(x|z) and ln p(z) / q(z|x), each `[k, B]`, of the codes that `noise`, `[k, B, latent_dim]`, makes for images
    /// `[B, pixels]` with this posterior.
    fn weight_terms(&self, x: &Tensor, [mean, log_var]: [&Tensor; 2], noise: &Tensor) -> [Tensor; 2] {
        let code = mean + (log_var * 0.5).exp() * noise;
        let log_ratio = (noise.square() + log_var - code.square()).sum_dim_intlist(-1, false, Kind::Float) * 0.5;
        let output = self.output(&code);
        let log_p = match self.config.likelihood {
            Likelihood::Bernoulli => -bce_rows(output, x),
            Likelihood::Gaussian => log_gaussian(&output, x, self.config.sigma),
        };
        [log_p, log_ratio]
    }

    /// The `k`-sample bound of each image, `[B]`.
    fn measure_bound(&self, x: &Tensor, k: i64) -> Tensor {
        let [mean, log_var] = self.posterior(x);
        let (n_images, at_once) = (x.size()[0], samples_at_once(x.size()[0]));
        let x = x.flatten(1, -1);
        let pieces = (0..k).step_by(at_once as usize).map(|start| {
            let size = [at_once.min(k - start), n_images, self.config.latent_dim];
            let noise = Tensor::randn(size, (Kind::Float, self.device));
            let [log_p, log_ratio] = self.weight_terms(&x, [&mean, &log_var], &noise);
            log_p + log_ratio
        });
        iwae_bound(&Tensor::cat(&pieces.collect::<Vec<_>>(), 0))
    }

    /// Test images, `size` at a time, as the model is to see them.
    fn test_images<'a>(&self, data: &'a Data, size: usize) -> impl Iterator<Item = Tensor> + use<'a> {
        let mut rng = Pcg32::seed_from_u64(BINARISATION_SEED);
        let binarisation = self.config.binarisation;
        data.test.chunks(size).map(move |x| match binarisation {
            Binarisation::None => x,
            Binarisation::Dynamic => binarised(&x, &mut rng),
        })
    }

    /// Adds the importance-weighted bound and what else takes long; `elbo` is each test image's.
    ///
    /// The bound takes `iwae_k` samples an image. It is measured on evenly spaced images, and what these gain over their ELBO is
    /// added to the mean ELBO of all: images differ far less in that gain than in their likelihood. The standard error is that of
    /// having measured these images and not others, 0 where all were.
    fn measure_fully(&self, data: &Data, elbo: &Tensor, measures: &mut Measures) {
        let (k, all) = (self.config.iwae_k, data.test.len());
        let stride = all.div_ceil(self.config.iwae_images);
        // Whole strides, so that each chunk's first image is among those that are measured.
        let chunk = (ROWS as usize).div_ceil(stride) * stride;
        let (mut bounds, mut means) = (vec![], vec![]);
        for x in self.test_images(data, chunk) {
            means.push(self.encode(&x));
            let spaced = x.slice(0, None, None, stride as i64);
            bounds.extend(spaced.split((ROWS / k).max(1), 0).iter().map(|x| self.measure_bound(x, k)));
        }
        let bounds = Tensor::cat(&bounds, 0).to_kind(Kind::Double);
        let gains = bounds - elbo.slice(0, None, None, stride as i64);
        let n = gains.size()[0] as usize;
        let left_out = 1.0 - n as f64 / all as f64;
        measures.add("test/iwae", (elbo.mean(Kind::Double) + gains.mean(Kind::Double)).double_value(&[]));
        if n > 1 {
            measures.add("test/iwae_se", (left_out * gains.var(true).double_value(&[]) / n as f64).sqrt());
        }
        let active = Tensor::cat(&means, 0).var_dim(0, false, false).gt(ACTIVE).sum(Kind::Int64);
        measures.add("test/active_units", active.int64_value(&[]) as f64);
        measures.note("iwae_k", k.to_string());
        measures
            .note("iwae_images", format!("{n} of {all} test images, the gain over the ELBO carried over to the rest"));
    }
}

impl Model for Vae {
    fn fit_batch(&mut self, batch: &Batch) -> Result<(), FitError> {
        let x = match self.config.binarisation {
            Binarisation::None => batch.x.shallow_clone(),
            Binarisation::Dynamic => batch.x.bernoulli(),
        };
        let terms = if self.config.k == 1 { self.elbo_gradient(&x) } else { self.bound_gradient(&x, LEAST_WEIGHT) };
        for (name, value) in ["fit/recon", "fit/kl", "fit/loss"].into_iter().zip(terms) {
            self.means.add(name, value, batch.step)?;
        }
        self.encoder.step(batch.lr);
        self.decoder.step(batch.lr);
        Ok(())
    }

    fn stats(&mut self) -> Vec<Stat> {
        self.means.take()
    }

    fn evaluate(&self, data: &Data, effort: Effort, _samples: Option<&Tensor>) -> Measures {
        let terms = self.test_images(data, ROWS as usize).map(|x| self.elbo_terms(&x));
        let (recon, kl): (Vec<Tensor>, Vec<Tensor>) = terms.map(|[recon, kl]| (recon, kl)).unzip();
        let [recon, kl] = [recon, kl].map(|terms| Tensor::cat(&terms, 0).to_kind(Kind::Double));
        let elbo = -(&recon + &kl);
        let mut measures = Measures::default();
        for (name, values) in [("test/elbo", &elbo), ("test/recon", &recon), ("test/kl", &kl)] {
            measures.add(name, values.mean(Kind::Double).double_value(&[]));
        }
        if effort == Effort::Full {
            self.measure_fully(data, &elbo, &mut measures);
        }
        let binarisation = match self.config.binarisation {
            Binarisation::None => "none: pixels as they are",
            Binarisation::Dynamic => "dynamic: each batch drawn anew, the test images drawn once",
        };
        measures.note("binarisation", binarisation);
        measures
    }

    fn encode(&self, x: &Tensor) -> Tensor {
        let [mean, _] = self.posterior(x);
        mean
    }

    fn decode(&self, code: &Tensor) -> Option<Tensor> {
        let output = self.output(code);
        let means = match self.config.likelihood {
            Likelihood::Bernoulli => output.sigmoid(),
            Likelihood::Gaussian => output.clamp(0.0, 1.0),
        };
        let [channels, rows, columns] = self.shape;
        Some(means.view([-1, channels, rows, columns]))
    }

    fn halves(&self) -> Option<Halves> {
        let [encoder, decoder] = [&self.encoder, &self.decoder].map(|network| network.twin(network.params()));
        let has_logits = self.config.likelihood == Likelihood::Bernoulli;
        let weights = self.rarity.as_ref().map(PixelWeights::share);
        Some(Halves { encoder, decoder: Some(decoder), has_logits, weights, difference: None })
    }

    fn sample(&self, n: usize) -> Option<Tensor> {
        self.decode(&Tensor::randn([n as i64, self.config.latent_dim], (Kind::Float, self.device)))
    }

    fn has_normal_prior(&self) -> bool {
        true
    }

    fn save(&self) -> Snapshot<'_> {
        let snapshot = Snapshot::default()
            .value("means", &self.means.save())
            .nest("encoder", self.encoder.save())
            .nest("decoder", self.decoder.save());
        match &self.rarity {
            Some(rarity) => snapshot.nest("rarity", rarity.save()),
            None => snapshot,
        }
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.means.load(from.value("means")?);
        if let Some(rarity) = &mut self.rarity {
            rarity.load(&from.nested("rarity")?)?;
        }
        self.encoder.load(&from.nested("encoder")?)?;
        self.decoder.load(&from.nested("decoder")?)
    }
}

/// Indices of those `weights`, `[n]`, that are left when each w below `least` is dropped with the probability 1 − w / `least`. Those that stay
/// below it stand for the dropped ones, too: with the weight `least` each, every sum has the expectation that it had.
fn thinned(weights: &Tensor, least: f64) -> Tensor {
    // Not "at least", so that NaN is among them.
    let dropped = weights.less_tensor(&(weights.rand_like() * least));
    dropped.logical_not().nonzero().squeeze_dim(1)
}

/// Samples of each of `n_images` that the decoder is given at once.
fn samples_at_once(n_images: i64) -> i64 {
    (ROWS / n_images).max(1)
}

/// μ and ln σ² of the encoder's output, each `[B, latent_dim]`.
fn halves(stats: &Tensor) -> [Tensor; 2] {
    stats.chunk(2, 1).try_into().expect("two halves")
}

/// The gradient in all of `images`, given that in the part that [`Vae::cropped`] leaves.
fn uncropped(grad: Tensor, images: &Tensor) -> Tensor {
    let cut = |dim: usize| images.size()[dim] - grad.size()[dim];
    match [cut(2), cut(3)] {
        [0, 0] => grad,
        [rows, columns] => grad.constant_pad_nd([0, columns, 0, rows]),
    }
}

/// The encoder's layers and the decoder's, for images of `shape`.
fn layers(config: &VaeConfig, shape: [i64; 3]) -> [Vec<Layer>; 2] {
    let act = || Layer::Act(config.activation);
    let channels = match config.architecture {
        Architecture::Dense => &[],
        Architecture::Conv => &config.channels[..],
    };
    let mut planes = vec![shape];
    for &filters in channels {
        let [_, rows, columns] = planes[planes.len() - 1];
        planes.push([filters, (rows + 1) / 2, (columns + 1) / 2]);
    }
    let top = planes[planes.len() - 1];
    let flat: i64 = top.iter().product();
    let widths: Vec<i64> = [flat].into_iter().chain(config.hidden.iter().copied()).collect();
    let widest = widths[widths.len() - 1];

    let mut encoder = vec![];
    for pair in planes.windows(2) {
        let ([inputs, ..], [outputs, ..]) = (pair[0], pair[1]);
        encoder.extend([Layer::Conv { inputs, outputs, kernel: 3, stride: 2, padding: 1 }, act()]);
    }
    encoder.push(Layer::Reshape(vec![flat]));
    for pair in widths.windows(2) {
        encoder.extend([Layer::Dense { inputs: pair[0], outputs: pair[1] }, act()]);
    }
    encoder.push(Layer::Dense { inputs: widest, outputs: 2 * config.latent_dim });

    let mut decoder = vec![Layer::Dense { inputs: config.latent_dim, outputs: widest }];
    for pair in widths.windows(2).rev() {
        decoder.extend([act(), Layer::Dense { inputs: pair[1], outputs: pair[0] }]);
    }
    decoder.push(Layer::Reshape(top.to_vec()));
    for pair in planes.windows(2).rev() {
        let ([outputs, ..], [inputs, ..]) = (pair[0], pair[1]);
        // It doubles rows and columns: where the convolution met an odd number, there is one too many, cut off at the end.
        decoder.extend([act(), Layer::ConvTranspose { inputs, outputs, kernel: 4, stride: 2, padding: 1 }]);
    }
    [encoder, decoder]
}

/// Black or white pixels, each white with its gray level as the probability.
fn binarised(x: &Tensor, rng: &mut Pcg32) -> Tensor {
    let thresholds: Vec<f32> = (0..x.numel()).map(|_| rng.r#gen()).collect();
    Tensor::from_slice(&thresholds).to_device(x.device()).view_as(x).less_tensor(x).to_kind(Kind::Float)
}
