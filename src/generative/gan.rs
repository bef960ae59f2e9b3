//! Generative adversarial networks (Goodfellow et al. 2014): a generator that learns from the judgement of a
//! discriminator.
//!
//! The default loss is relativistic pairing with gradient penalties on real and generated images ([`Loss::Rp`]). Huang
//! et al. 2024 show that it converges and covers the modes. Samples are drawn from a running mean of the generator.
//!
//! There is no inference network: [`Model::encode`] returns the discriminator's last hidden layer (Radford et al. 2016,
//! section 5), which is not the generator's noise. So a code cannot be decoded.

mod balance;
mod loss;
mod spectral;
mod strip;
#[cfg(test)]
mod tests;

pub(crate) use loss::Loss;

use super::images::Data;
use super::model::{Effort, EncoderDecoder, Exhibit, FitError, ImageBatch, JudgeChoice, Means, Measures, Model};
use super::settings::{BelowOne, Descent, ModelTask, Optimizer, Recipe, Schedule, WIDTHS};
use super::spec::ModelSettings;
use crate::files;
use anyhow::{Result, ensure};
use balance::Balance;
use carom_agents::net::tensor::{read_tensor, to_vec};
use carom_agents::net::{Activation, Operation, Sequential, descend};
use carom_agents::optim::OptimConfig;
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use carom_envs::settings;
use carom_envs::settings::{AtLeast, Fault, Settings, validate};
use loss::{between, slope_penalty, square_gradient};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use spectral::Spectral;
use strip::Strip;
use tch::{Device, Kind, Tensor};

settings! {
    /// Settings of `gan`.
    pub(crate) struct GanConfig {
        /// Width of the generator's noise.
        latent_dim: i64 = 64, in WIDTHS;
        /// Layers of both networks.
        architecture: Architecture = Architecture::Dense;
        /// Units of the smaller of two dense layers (the larger has twice as many), or filters of the larger of two
        /// convolutions (a dense layer has eight times as many units); an even number.
        width: i64 = 256, in WIDTHS;
        /// Loss of generator and discriminator.
        loss: Loss = Loss::Rp;
        /// Weight γ of the penalties of `rp`: γ/2 (E|∇D(x)|² + E|∇D(G(z))|²), with pixels in 0..=1.
        gamma: f64 = 0.1, in AtLeast(0.0);
        /// Weight λ of the penalty of `wgan-gp`.
        lambda: f64 = 10.0, in AtLeast(0.0);
        /// Updates of the discriminator for each of the generator (5 in Gulrajani et al. 2017).
        critic_steps: u64 = 1, in 1..=1000;
        /// Whether the discriminator's weights are divided by their largest singular value.
        spectral_norm: bool = false;
        /// Decay of the running mean of the generator's parameters, by which samples are drawn; lower in the first
        /// updates.
        ema: f64 = 0.999, in BelowOne;
        /// Adam's decay of the mean: 0, or 0.5 (Radford et al. 2016).
        beta1: f64 = 0.0, in BelowOne;
        /// Adam's decay of the mean square: 0.9 (with `wgan-gp`), 0.99 or 0.999.
        beta2: f64 = 0.99, in BelowOne;
        /// Classifier that judges the samples: a run of `carom fit classifier`, `auto` for the cached one, which is
        /// fitted on first use, or `none`.
        classifier: String = "auto".to_owned();
    }
}

impl Settings for GanConfig {
    fn derive(&mut self, _: &dyn Fn(&str) -> bool) {
        // A run means the same in every working directory then. An error is reported when it is opened.
        if !["auto", "none"].contains(&self.classifier.as_str())
            && let Ok(run) = files::absolute(&self.classifier)
        {
            self.classifier = run;
        }
    }

    fn check(&self) -> Result<(), Fault> {
        if self.width % 2 == 0 { Ok(()) } else { Err(Fault::value("width", self.width, "an even number")) }
    }

    fn unheard(&self) -> Vec<(&'static str, String)> {
        let mut unheard = vec![];
        if self.loss != Loss::Rp {
            unheard.push(("gamma", "only loss rp has these penalties".to_owned()));
        }
        if self.loss != Loss::WganGp {
            unheard.push(("lambda", "only loss wgan-gp has this penalty".to_owned()));
        }
        unheard
    }
}

impl ModelSettings for GanConfig {
    const RECIPE: Recipe = Recipe::Descent(Descent {
        epochs: 11,
        batch_size: 64,
        lr: 1e-3,
        lr_schedule: Schedule::Cosine,
        optimizer: None,
    });

    fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        Ok(Box::new(Gan::new(self, task, rng)?))
    }
}

/// Layers of generator and discriminator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Architecture {
    /// Two hidden layers each.
    Dense,
    /// Two 4×4 convolutions of stride 2 and a dense hidden layer each: with a width of 128 the layers of Chen et al.
    /// (2016, InfoGAN, table 1), without batch normalisation.
    Conv,
}

/// Lower bound of a pixel's logit, a gray level of 4e-18. Below it there is no gradient. Otherwise the logits of pixels
/// that are never lit would fall until products are subnormal numbers, whose arithmetic is so slow that late updates
/// took twice as long as early ones.
const MIN_LOGIT: f64 = -40.0;
/// Images whose distances measure the diversity of samples.
const N_DIVERSITY_IMAGES: usize = 500;

/// Generator, discriminator, and the balance between them.
pub(crate) struct Gan {
    config: GanConfig,
    device: Device,
    generator: Sequential,
    /// Running mean of the generator's parameters.
    average: Tensor,
    discriminator: Discriminator,
    balance: Balance,
    strip: Strip,
    means: Means,
}

impl Gan {
    /// Makes networks with fresh weights.
    ///
    /// # Errors
    /// When a setting is out of its range, or the images are too small, or odd, for convolutions.
    pub(crate) fn new(config: &GanConfig, task: &ModelTask, rng: &mut Pcg32) -> Result<Self> {
        validate(config)?;
        let (shape, device) = (task.data.shape, task.device);
        let [generator, body, head] = layers(config, shape)?;
        let optimizer = match task.optimizer {
            Optimizer::Adam => OptimConfig { beta1: config.beta1, beta2: config.beta2, ..task.optimizer.config() },
            other => other.config(),
        };
        let mut network = |layers| Sequential::new(layers, optimizer, device, rng);
        let (generator, body, head) = (network(generator), network(body), network(head));
        let average = generator.params().detach().copy();
        let spectral = config.spectral_norm.then(|| [Spectral::new(&body), Spectral::new(&head)]);
        Ok(Self {
            strip: Strip::new(config.latent_dim, shape, task.total_steps, device),
            config: config.clone(),
            device,
            generator,
            average,
            discriminator: Discriminator { body, head, spectral },
            balance: Balance::default(),
            means: Means::new(&["fit/loss", "fit/d_loss", "fit/g_loss", "fit/penalty", "fit/logit_gap"]),
        })
    }

    fn noise(&self, n: i64) -> Tensor {
        Tensor::randn([n, self.config.latent_dim], (Kind::Float, self.device))
    }

    /// Returns the images of noise `[n, latent_dim]` by the generator with these parameters.
    fn generate(&self, params: &Tensor, noise: &Tensor) -> Tensor {
        self.generator.forward_with(params, noise).clamp_min(MIN_LOGIT).sigmoid()
    }

    /// Updates the discriminator. Its loss with penalties is `fit/loss`.
    fn update_discriminator(&mut self, batch: &ImageBatch) -> Result<(), FitError> {
        self.discriminator.iterate();
        let n = batch.x.size()[0];
        let fake = tch::no_grad(|| self.generate(self.generator.params(), &self.noise(n)));
        let (loss, config) = (self.config.loss, &self.config);
        let both = Tensor::cat(&[&batch.x, &fake], 0).set_requires_grad(loss == Loss::Rp);
        let logits = self.discriminator.logits(&both);
        let (real, generated) = (logits.narrow(0, 0, n), logits.narrow(0, n, n));
        let d_loss = loss.discriminator(&real, &generated);
        let penalty = match loss {
            // γ/2 of a mean over each half is γ of the mean over both.
            Loss::Rp => Some(square_gradient(&logits, &both).mean(Kind::Float) * config.gamma),
            Loss::WganGp => {
                let x = between(&batch.x, &fake);
                Some(slope_penalty(&self.discriminator.logits(&x), &x) * config.lambda)
            }
            Loss::Ns | Loss::Hinge => None,
        };
        let gap = (real.mean(Kind::Float) - generated.mean(Kind::Float)).double_value(&[]);
        let d_value = d_loss.double_value(&[]);
        self.means.add("fit/d_loss", d_value, batch.step)?;
        self.means.add("fit/logit_gap", gap, batch.step)?;
        if let Some(penalty) = &penalty {
            self.means.add("fit/penalty", penalty.double_value(&[]), batch.step)?;
        }
        let total = penalty.map_or_else(|| d_loss.shallow_clone(), |penalty| &d_loss + penalty);
        self.means.add("fit/loss", total.double_value(&[]), batch.step)?;
        let Discriminator { body, head, .. } = &mut self.discriminator;
        descend(&total, &mut [body, head], batch.lr);
        if let Some(trouble) = self.balance.observe(loss, d_value, gap) {
            tracing::warn!("update {}: training is {trouble}", batch.step);
        }
        Ok(())
    }

    /// Updates the generator and its running mean.
    fn update_generator(&mut self, batch: &ImageBatch) -> Result<(), FitError> {
        let loss = self.config.loss;
        let params = self.generator.params();
        let fake = self.discriminator.logits(&self.generate(params, &self.noise(batch.x.size()[0])));
        let real = loss.pairs().then(|| tch::no_grad(|| self.discriminator.logits(&batch.x)));
        let g_loss = loss.generator(real.as_ref().unwrap_or(&fake), &fake);
        self.means.add("fit/g_loss", g_loss.double_value(&[]), batch.step)?;
        // Not by `backward`, which would compute the discriminator's gradients too.
        let grads = Tensor::run_backward(&[&g_loss], &[params], false, false);
        self.generator.step_along(&grads[0], batch.lr);
        follow(&mut self.average, self.generator.params(), self.config.ema, batch.step);
        Ok(())
    }

    /// Draws `n` samples of the running mean, some at a time.
    fn samples(&self, n: usize) -> Tensor {
        let chunk = |start: usize| self.generate(&self.average, &self.noise(n.saturating_sub(start).min(1000) as i64));
        Tensor::cat(&(0..n).step_by(1000).map(chunk).collect::<Vec<_>>(), 0)
    }
}

/// Moves `average` towards `params`: average ← d average + (1 − d) params, with d = min(`decay`, (1 + step) / (10 +
/// step)), so that it forgets the untrained parameters soon.
fn follow(average: &mut Tensor, params: &Tensor, decay: f64, step: u64) {
    let decay = decay.min((1 + step) as f64 / (10 + step) as f64);
    let _ = tch::no_grad(|| average.lerp_(params, 1.0 - decay));
}

/// Returns the mean distance of two images, over all pairs of `x`.
fn mean_distance(x: &Tensor) -> f64 {
    let flat = x.flatten(1, -1);
    Tensor::cdist(&flat, &flat, 2.0, None).mean(Kind::Double).double_value(&[])
}

impl Model for Gan {
    fn fit_batch(&mut self, batch: &ImageBatch) -> Result<(), FitError> {
        self.update_discriminator(batch)?;
        if (batch.step + 1).is_multiple_of(self.config.critic_steps) {
            self.update_generator(batch)?;
        }
        if self.strip.is_due(batch.step + 1) {
            let images = tch::no_grad(|| self.generate(&self.average, &self.strip.noise));
            self.strip.add(batch.step + 1, &images);
        }
        Ok(())
    }

    fn stats(&mut self) -> Vec<Stat> {
        self.means.take()
    }

    fn judge(&self) -> Option<JudgeChoice> {
        match self.config.classifier.as_str() {
            "none" => None,
            "auto" => Some(JudgeChoice::Auto),
            run => Some(JudgeChoice::Run(run.into())),
        }
    }

    fn evaluate(&self, data: &Data, _effort: Effort, samples: Option<&Tensor>) -> Measures {
        let n = N_DIVERSITY_IMAGES.min(data.test.len());
        let samples = samples.map_or_else(|| self.samples(n), Tensor::shallow_clone);
        let mut measures = Measures::default();
        // A single image has no distances.
        let diversity =
            (n > 1).then(|| mean_distance(&samples.narrow(0, 0, n as i64)) / mean_distance(&data.test.spaced(n).all()));
        if let Some(diversity) = diversity {
            measures.add("test/diversity", diversity);
        }
        measures.note("balance", self.balance.diagnosis(self.config.loss, diversity));
        measures
    }

    fn encode(&self, x: &Tensor) -> Tensor {
        self.discriminator.features(x)
    }

    fn decode(&self, _code: &Tensor) -> Option<Tensor> {
        None
    }

    /// Copies the discriminator's layers below its logit, with normalised weights.
    fn networks(&self) -> Option<EncoderDecoder> {
        let Discriminator { body, spectral, .. } = &self.discriminator;
        let encoder = match spectral {
            Some([spectral, _]) => body.twin(&spectral.normalised(body)),
            None => body.twin(body.params()),
        };
        Some(EncoderDecoder { encoder, decoder: None, has_logits: false, weights: None, difference: None })
    }

    fn sample(&self, n: usize) -> Option<Tensor> {
        Some(self.samples(n))
    }

    fn exhibits(&self, _data: &Data) -> Vec<Exhibit> {
        self.strip.exhibit().into_iter().collect()
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .value("means", &self.means.save())
            .value("balance", &self.balance)
            .owned_array("average", &to_vec(&self.average))
            .nest("generator", self.generator.save())
            .nest("discriminator", self.discriminator.save())
            .nest("strip", self.strip.save())
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.means.load(from)?;
        self.balance = from.value("balance")?;
        read_tensor(from, "average", &mut self.average)?;
        self.generator.load(&from.nested("generator")?)?;
        self.discriminator.load(&from.nested("discriminator")?)?;
        self.strip.load(&from.nested("strip")?)
    }
}

/// The network that gives real images higher logits than generated ones.
struct Discriminator {
    /// Images to features.
    body: Sequential,
    /// Features to a logit.
    head: Sequential,
    /// Singular vectors of both, if weights are divided by singular values.
    spectral: Option<[Spectral; 2]>,
}

impl Discriminator {
    /// `[B, width]`
    fn features(&self, x: &Tensor) -> Tensor {
        match &self.spectral {
            Some([body, _]) => self.body.forward_with(&body.normalised(&self.body), x),
            None => self.body.forward(x),
        }
    }

    /// `[B, 1]`
    fn logits(&self, x: &Tensor) -> Tensor {
        let features = self.features(x);
        match &self.spectral {
            Some([_, head]) => self.head.forward_with(&head.normalised(&self.head), &features),
            None => self.head.forward(&features),
        }
    }

    /// One power iteration.
    fn iterate(&mut self) {
        if let Some([body, head]) = &mut self.spectral {
            body.iterate(&self.body);
            head.iterate(&self.head);
        }
    }

    fn save(&self) -> Snapshot<'_> {
        let snapshot = Snapshot::default().nest("body", self.body.save()).nest("head", self.head.save());
        match &self.spectral {
            Some([body, head]) => snapshot.nest("spectral_body", body.save()).nest("spectral_head", head.save()),
            None => snapshot,
        }
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.body.load(&from.nested("body")?)?;
        self.head.load(&from.nested("head")?)?;
        if let Some([body, head]) = &mut self.spectral {
            body.load(&from.nested("spectral_body")?)?;
            head.load(&from.nested("spectral_head")?)?;
        }
        Ok(())
    }
}

/// Returns the layers of the generator, and of the discriminator's body and head.
fn layers(config: &GanConfig, shape: [i64; 3]) -> Result<[Vec<Operation>; 3]> {
    let [channels, rows, columns] = shape;
    let (latent_dim, width, n_pixels) = (config.latent_dim, config.width, shape.iter().product());
    let dense = |inputs, outputs| Operation::Dense { inputs, outputs };
    let act = || Operation::Act(Activation::LeakyRelu);
    if config.architecture == Architecture::Dense {
        let generator = vec![
            dense(latent_dim, width),
            act(),
            dense(width, 2 * width),
            act(),
            dense(2 * width, n_pixels),
            Operation::Reshape(shape.to_vec()),
        ];
        let body =
            vec![Operation::Reshape(vec![n_pixels]), dense(n_pixels, 2 * width), act(), dense(2 * width, width), act()];
        return Ok([generator, body, vec![dense(width, 1)]]);
    }
    let fits = rows % 4 == 0 && columns % 4 == 0;
    ensure!(fits, "images of {rows}x{columns} cannot be halved twice: use model.architecture=dense");
    let (rows, columns) = (rows / 4, columns / 4);
    let (flat, hidden) = (width * rows * columns, 8 * width);
    let down = |inputs, outputs| Operation::conv([inputs, outputs], 4, 2, 1);
    let up = |inputs, outputs| Operation::ConvTranspose { inputs, outputs, kernel: 4, stride: 2, padding: 1 };
    let generator = vec![
        dense(latent_dim, hidden),
        act(),
        dense(hidden, flat),
        act(),
        Operation::Reshape(vec![width, rows, columns]),
        up(width, width / 2),
        act(),
        up(width / 2, channels),
    ];
    let body = vec![
        down(channels, width / 2),
        act(),
        down(width / 2, width),
        act(),
        Operation::Reshape(vec![flat]),
        dense(flat, hidden),
        act(),
    ];
    Ok([generator, body, vec![dense(hidden, 1)]])
}
