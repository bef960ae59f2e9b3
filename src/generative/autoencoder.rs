//! Autoencoders: an encoder from images to a code, and a decoder back (Hinton & Salakhutdinov 2006).
//!
//! `ae` is dense, 784 → 32 → 784 on MNIST: a code of 32 compresses 784 numbers by 24.5. `cnn-ae` has 3×3 convolutions
//! of 16, 8 and 8 filters with 2×2 max-pooling between them. Its code is 4×4×8, and its decoder mirrors the encoder
//! with upsampling. With these 128 numbers it reconstructs digits better. Loss: binary cross-entropy of the
//! reconstruction. It is lowest for a perfect reconstruction, but 0 only for black and white images
//! ([`pixels::entropy_floor`]). The loss is a mean over pixels. A sum, as in a vae's ELBO, would give nearly the same
//! steps under Adam, which do not depend on the loss's scale (Kingma & Ba 2015, section 2.1), but `sparsity` would
//! weigh less.

use super::difference::FrameDifference;
use super::images::Data;
use super::measures::{pca, pixels};
use super::model::{Effort, EncoderDecoder, FitError, ImageBatch, Means, Measures, Model};
use super::settings::{Descent, ModelTask, Recipe, Schedule, WIDTHS, WIDTHS_OR_NONE};
use super::spec::ModelSettings;
use super::weights::PixelWeights;
use anyhow::{Result, ensure};
use carom_agents::net::{Activation, Operation, Sequential, bce, bce_with_gradient};
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use carom_envs::settings;
use carom_envs::settings::{AtLeast, Each, Settings, validate};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

settings! {
    /// Settings of `ae`.
    pub(crate) struct AeConfig {
        /// Width of the code.
        latent_dim: i64 = 32, in WIDTHS;
        /// Widths of the layers between image and code; the decoder has them in reverse.
        hidden: Vec<i64> = vec![], in Each(WIDTHS);
        /// Activation of the hidden layers and of the code.
        activation: Activation = Activation::Relu;
        /// Standard deviation of the Gaussian noise on the input of a denoising autoencoder (Vincent et al. 2008); 0
        /// for none.
        noise: f64 = 0.0, in AtLeast(0.0);
        /// Weight of the code's mean absolute value in the loss, which makes a sparse code; 0 for none.
        sparsity: f64 = 0.0, in AtLeast(0.0);
        /// Extra weight of a pixel that is one standard deviation from its mean; 0 weights all pixels alike.
        rarity: f64 = 0.0, in AtLeast(0.0);
        /// Extra weight of a pixel, times the change of its value since the previous frame; 0 for none. Images must
        /// have at least two frames (`env.frame_stack`).
        motion: f64 = 0.0, in AtLeast(0.0);
        /// Weight of a second target, the difference between the newest frame and the previous one; 0 for none. Images
        /// must have at least two frames (`env.frame_stack`).
        difference: f64 = 0.0, in AtLeast(0.0);
    }
}

impl Settings for AeConfig {}

impl ModelSettings for AeConfig {
    const RECIPE: Recipe = Recipe::Descent(Descent {
        epochs: 50,
        batch_size: 256,
        lr: 1e-3,
        lr_schedule: Schedule::Constant,
        optimizer: None,
    });

    fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        Ok(Box::new(Autoencoder::dense(self, task, rng)?))
    }
}

settings! {
    /// Settings of `cnn-ae`.
    pub(crate) struct CnnAeConfig {
        /// Channels of the code and of the layers beside it. The lecture that this follows prints 4 filters but a code
        /// of (4, 4, 8), so 8 are meant.
        filters: i64 = 8, in WIDTHS;
        /// Number of 2×2 max-poolings: 3 leave a code with an eighth of the rows and columns, 2 with a quarter.
        halvings: usize = 3, in 1..=4;
        /// Channels to which one more, linear convolution reduces the code, with the same rows and columns; 0 for none.
        bottleneck: i64 = 0, in WIDTHS_OR_NONE;
        /// `mirror` of the encoder, or `keras`, that of the lecture and of Keras's blog: it doubles the code's rows and
        /// columns (4, 8, 16), a convolution without zeros at the border leaves 14, and the last doubling 28.
        decoder: Decoder = Decoder::Mirror;
        /// Standard deviation of the Gaussian noise on the input; 0 for none.
        noise: f64 = 0.0, in AtLeast(0.0);
        /// Weight of the code's mean absolute value in the loss; 0 for none.
        sparsity: f64 = 0.0, in AtLeast(0.0);
        /// Extra weight of a pixel that is one standard deviation from its mean; 0 weights all pixels alike.
        rarity: f64 = 0.0, in AtLeast(0.0);
        /// Extra weight of a pixel, times the change of its value since the previous frame; 0 for none. Images must
        /// have at least two frames (`env.frame_stack`).
        motion: f64 = 0.0, in AtLeast(0.0);
        /// Weight of a second target, the difference between the newest frame and the previous one; 0 for none. Images
        /// must have at least two frames (`env.frame_stack`). On two frames of `breakout` 1000 raised the ball's recall
        /// from .49 to .73, but one frame without it has .83 (means of two seeds, `docs/encoders.md`).
        difference: f64 = 0.0, in AtLeast(0.0);
    }
}

impl Settings for CnnAeConfig {
    fn unheard(&self) -> Vec<(&'static str, String)> {
        match self.halvings {
            0..MIN_KERAS_HALVINGS => vec![("decoder", format!("there are fewer than {MIN_KERAS_HALVINGS} halvings"))],
            _ => vec![],
        }
    }
}

/// Halvings below which doublings and the cut of one pixel at each side cannot lead back to the image's size.
const MIN_KERAS_HALVINGS: usize = 3;

impl ModelSettings for CnnAeConfig {
    // On MNIST's test images this ends at a loss of .0982, and Adam's usual constant 1e-3 at .0999.
    const RECIPE: Recipe = Recipe::Descent(Descent {
        epochs: 12,
        batch_size: 128,
        lr: 3e-3,
        lr_schedule: Schedule::Cosine,
        optimizer: None,
    });

    fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        Ok(Box::new(Autoencoder::convolutional(self, task, rng)?))
    }
}

/// Rows and columns between code and image in the decoder of `cnn-ae`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Decoder {
    /// Those of the encoder.
    Mirror,
    /// Powers of two times the code's, until the last convolution but one takes one off at each side.
    Keras,
}

/// Filters of the widest convolutions.
const N_WIDE_FILTERS: i64 = 16;

/// An encoder and a decoder, dense or convolutional.
pub(super) struct Autoencoder {
    encoder: Sequential,
    decoder: Sequential,
    noise: f64,
    sparsity: f64,
    weights: Option<PixelWeights>,
    difference: Option<FrameDifference>,
    means: Means,
}

impl Autoencoder {
    /// Makes an autoencoder of dense layers.
    ///
    /// # Errors
    /// When a setting is out of its range, or needs two frames and images have one.
    pub(super) fn dense(config: &AeConfig, task: &ModelTask, rng: &mut Pcg32) -> Result<Self> {
        validate(config)?;
        let n_pixels = task.data.n_pixels();
        if config.latent_dim >= n_pixels {
            let (d, hint) = (config.latent_dim, "set model.noise or model.sparsity to prevent that");
            tracing::warn!("a code of {d} numbers for {n_pixels} pixels can copy the image; {hint}");
        }
        let act = Operation::Act(config.activation);
        let widths: Vec<i64> = [n_pixels].into_iter().chain(config.hidden.clone()).chain([config.latent_dim]).collect();
        let mut encoder = vec![Operation::Reshape(vec![n_pixels])];
        for pair in widths.windows(2) {
            encoder.extend([Operation::Dense { inputs: pair[0], outputs: pair[1] }, act.clone()]);
        }
        let mut decoder = vec![];
        for pair in widths.windows(2).rev() {
            decoder.extend([Operation::Dense { inputs: pair[1], outputs: pair[0] }, act.clone()]);
        }
        decoder.pop();
        decoder.push(Operation::Reshape(task.data.shape.to_vec()));
        let weights = PixelWeights::of(config.rarity, config.motion, task.data)?;
        let difference = FrameDifference::of(config.difference, task.data)?;
        Ok(Self::new([encoder, decoder], [config.noise, config.sparsity], (weights, difference), task, rng))
    }

    /// Makes an autoencoder of 3×3 convolutions.
    ///
    /// # Errors
    /// When a setting is out of its range or needs two frames where images have one, or when the images are too small
    /// for so many halvings.
    pub(super) fn convolutional(config: &CnnAeConfig, task: &ModelTask, rng: &mut Pcg32) -> Result<Self> {
        validate(config)?;
        let [channels, rows, columns] = task.data.shape;
        let (filters, halvings) = (config.filters, config.halvings);
        let least = 1 << halvings;
        ensure!(
            rows >= least && columns >= least,
            "images of {rows}x{columns} cannot be halved {halvings} times: use ae"
        );
        let act = Operation::relu;
        // Rows and columns after each halving: 28, 14, 7, 4.
        let halved = |times: usize| [rows, columns].map(|side| (0..times).fold(side, |side, _| (side + 1) / 2));
        // Channels between one halving and the next.
        let mut widths = vec![channels, N_WIDE_FILTERS];
        widths.resize(halvings + 1, filters);
        widths[halvings] = filters;
        let [code_rows, code_columns] = halved(halvings);
        let mut encoder = vec![];
        for pair in widths.windows(2) {
            encoder.extend([Operation::conv3(pair[0], pair[1]), act(), Operation::MaxPool]);
        }
        let code_channels = if config.bottleneck > 0 { config.bottleneck } else { filters };
        let mut decoder = vec![Operation::Reshape(vec![code_channels, code_rows, code_columns])];
        if config.bottleneck > 0 {
            encoder.push(Operation::conv3(filters, code_channels));
            decoder.extend([Operation::conv3(code_channels, filters), act()]);
        }
        encoder.push(Operation::Reshape(vec![code_channels * code_rows * code_columns]));
        let mut sides = [code_rows, code_columns];
        for left in (0..halvings).rev() {
            let outputs = if left == 0 { N_WIDE_FILTERS } else { filters };
            let (padding, doubled) = match (config.decoder, left) {
                (Decoder::Mirror, _) => (1, halved(left)),
                (Decoder::Keras, 0) => (0, sides.map(|side| 2 * (side - 2))),
                (Decoder::Keras, _) => (1, sides.map(|side| 2 * side)),
            };
            let convolution = Operation::conv([filters, outputs], 3, 1, padding);
            decoder.extend([convolution, act(), Operation::Upsample(doubled)]);
            sides = doubled;
        }
        let [to_rows, to_columns] = sides;
        ensure!(
            sides == [rows, columns],
            "model.decoder=keras makes images of {to_rows}x{to_columns} instead of {rows}x{columns}: use mirror"
        );
        decoder.push(Operation::conv3(N_WIDE_FILTERS, channels));
        let weights = PixelWeights::of(config.rarity, config.motion, task.data)?;
        let difference = FrameDifference::of(config.difference, task.data)?;
        Ok(Self::new([encoder, decoder], [config.noise, config.sparsity], (weights, difference), task, rng))
    }

    fn new(
        layers: [Vec<Operation>; 2],
        [noise, sparsity]: [f64; 2],
        (weights, difference): (Option<PixelWeights>, Option<FrameDifference>),
        task: &ModelTask,
        rng: &mut Pcg32,
    ) -> Self {
        let [encoder, decoder] =
            layers.map(|layers| Sequential::new(layers, task.optimizer.config(), task.device, rng));
        let means = Means::new(&["fit/loss", "fit/bce"]);
        Self { encoder, decoder, noise, sparsity, weights, difference, means }
    }
}

impl Model for Autoencoder {
    fn fit_batch(&mut self, batch: &ImageBatch) -> Result<(), FitError> {
        let seen = match self.noise {
            0.0 => batch.x.shallow_clone(),
            noise => (&batch.x + batch.x.randn_like() * noise).clamp(0.0, 1.0),
        };
        let code = self.encoder.pass(&seen);
        let logits = self.decoder.pass(&code);
        let (plain, mut d_logits) = bce_with_gradient(&logits, &batch.x, 1.0 / logits.numel() as f64);
        let weighted = match &self.weights {
            None => plain,
            Some(weights) => tch::no_grad(|| {
                let weights = weights.weights(&batch.x);
                d_logits *= &weights;
                (bce(&logits, &batch.x) * weights).mean(Kind::Double).double_value(&[])
            }),
        };
        let missed = match &self.difference {
            None => 0.0,
            Some(difference) => difference.loss_with_gradient(&logits, &batch.x, &mut d_logits),
        };
        let penalty = match self.sparsity {
            0.0 => 0.0,
            weight => weight * code.abs().mean(Kind::Double).double_value(&[]),
        };
        self.means.add("fit/bce", plain, batch.step)?;
        self.means.add("fit/loss", weighted + missed + penalty, batch.step)?;
        let mut d_code = self.decoder.back(&d_logits).expect("a code requires a gradient");
        if self.sparsity > 0.0 {
            d_code += tch::no_grad(|| code.sign() * (self.sparsity / code.numel() as f64));
        }
        self.encoder.back(&d_code);
        self.encoder.step(batch.lr);
        self.decoder.step(batch.lr);
        Ok(())
    }

    fn stats(&mut self) -> Vec<Stat> {
        self.means.take()
    }

    fn evaluate(&self, data: &Data, effort: Effort, _samples: Option<&Tensor>) -> Measures {
        let (mut bce_sum, mut square_sum, mut code_width) = (0.0, 0.0, 0);
        for x in data.test.chunks(1000) {
            let code = self.encoder.forward(&x);
            code_width = code.size()[1];
            let logits = self.decoder.forward(&code);
            bce_sum += bce(&logits, &x).sum(Kind::Double).double_value(&[]);
            square_sum += (logits.sigmoid() - &x).square().sum(Kind::Double).double_value(&[]);
        }
        let n = (data.test.len() as i64 * data.n_pixels()) as f64;
        let mut measures = Measures::default();
        measures.add("test/bce", bce_sum / n);
        measures.add("test/mse", square_sum / n);
        if effort == Effort::Full {
            measures.add("test/bce_floor", pixels::entropy_floor(&data.test));
            measures.add("test/psnr", pixels::psnr(square_sum / n));
            measures.add("test/pca_mse", pca::test_mse(data, code_width));
        }
        measures
    }

    fn encode(&self, x: &Tensor) -> Tensor {
        self.encoder.forward(x)
    }

    fn decode(&self, code: &Tensor) -> Option<Tensor> {
        Some(self.decoder.forward(code).sigmoid())
    }

    fn networks(&self) -> Option<EncoderDecoder> {
        let [encoder, decoder] = [&self.encoder, &self.decoder].map(|network| network.twin(network.params()));
        let weights = self.weights.as_ref().map(PixelWeights::share);
        let difference = self.difference;
        Some(EncoderDecoder { encoder, decoder: Some(decoder), has_logits: true, weights, difference })
    }

    fn sample(&self, _n: usize) -> Option<Tensor> {
        None
    }

    fn save(&self) -> Snapshot<'_> {
        let snapshot = Snapshot::default()
            .value("means", &self.means.save())
            .nest("encoder", self.encoder.save())
            .nest("decoder", self.decoder.save());
        match &self.weights {
            Some(weights) => snapshot.nest("rarity", weights.save()),
            None => snapshot,
        }
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.means.load(from)?;
        if let Some(weights) = &mut self.weights {
            weights.load(&from.nested("rarity")?)?;
        }
        self.encoder.load(&from.nested("encoder")?)?;
        self.decoder.load(&from.nested("decoder")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};
    use crate::generative::settings::Optimizer;
    use rand::SeedableRng;
    use tch::Device;

    /// Four images of two pixels: one lit half the time, one lit once.
    fn lamps() -> Data {
        let split = Split::new([1, 1, 2], vec![1, 0, 0, 0, 1, 0, 0, 1], vec![]);
        let (train, test) = (split.clone(), split);
        let dataset = Dataset { name: "lamps".into(), shape: [1, 1, 2], max: 1, n_classes: 0, train, test };
        Data::new(&dataset, Device::Cpu)
    }

    fn autoencoder(rarity: f64, data: &Data) -> Autoencoder {
        of(&AeConfig { rarity, ..AeConfig::default() }, data)
    }

    fn of(config: &AeConfig, data: &Data) -> Autoencoder {
        let config = AeConfig { latent_dim: 1, activation: Activation::Sigmoid, ..config.clone() };
        let task = ModelTask { data, total_steps: 1, optimizer: Optimizer::Adam, device: Device::Cpu };
        Autoencoder::dense(&config, &task, &mut Pcg32::seed_from_u64(0)).expect("a model")
    }

    fn stat(stats: &[Stat], name: &str) -> f64 {
        stats.iter().find(|(known, _)| *known == name).expect("a loss").1
    }

    #[test]
    fn rare_pixels_count_more_by_hand() {
        let data = lamps();
        let mut model = autoencoder(2.0, &data);
        let x = data.train.spaced(4).all();
        let p = model.decode(&model.encode(&x)).expect("images");
        model.fit_batch(&ImageBatch { x, labels: None, step: 0, lr: 0.0 }).expect("a finite loss");
        // Mean and deviation are 1/2 and 1/2, and 1/4 and √3/4: 1 + 2 |x − mean| / deviation is 3 for the first pixel,
        // and for the second 1 + 2 √3 where it is lit and 1 + 2 / √3 where it is not.
        let root = 3.0_f64.sqrt();
        let lit = [[true, false], [false, false], [true, false], [false, true]];
        let (mut expected, mut plain) = (0.0, 0.0);
        for (i, lit) in lit.into_iter().enumerate() {
            let weights = [3.0, 1.0 + if lit[1] { 2.0 * root } else { 2.0 / root }];
            for pixel in 0..2 {
                let p = p.double_value(&[i as i64, 0, 0, pixel as i64]);
                let bce = -(if lit[pixel] { p } else { 1.0 - p }).ln();
                expected += weights[pixel] * bce / 8.0;
                plain += bce / 8.0;
            }
        }
        let stats = model.stats();
        for (name, expected) in [("fit/loss", expected), ("fit/bce", plain)] {
            let value = stat(&stats, name);
            assert!((value - expected).abs() < 1e-5, "{name} is {value} instead of {expected}");
        }
    }

    #[test]
    fn frames_that_differ_are_fitted_to_differ() {
        // Two frames of one pixel: lit and out, out and out, lit and lit, out and out. A code of one number cannot
        // encode both differences and levels.
        let split = Split::new([2, 1, 1], vec![1, 0, 0, 0, 1, 1, 0, 0], vec![]);
        let (train, test) = (split.clone(), split);
        let dataset = Dataset { name: "lamp".into(), shape: [2, 1, 1], max: 1, n_classes: 0, train, test };
        let data = Data { n_frames: 2, ..Data::new(&dataset, Device::Cpu) };
        let error = |model: &Autoencoder| {
            let x = data.train.spaced(4).all();
            let missed = model.decode(&model.encode(&x)).expect("images") - x;
            (missed.select(1, 1) - missed.select(1, 0)).square().mean(Kind::Double).double_value(&[])
        };
        let errors = [0.0, 20.0].map(|difference| {
            let mut model = of(&AeConfig { difference, ..AeConfig::default() }, &data);
            for step in 0..300 {
                let (x, before) = (data.train.spaced(4).all(), error(&model));
                model.fit_batch(&ImageBatch { x, labels: None, step, lr: 0.03 }).expect("a finite loss");
                let stats = model.stats();
                let beside_bce = stat(&stats, "fit/loss") - stat(&stats, "fit/bce");
                assert!((beside_bce - difference * before).abs() < 1e-4, "{beside_bce} for {before}");
            }
            error(&model)
        });
        assert!(errors[1] < 0.9 * errors[0], "{errors:?}");
    }

    #[test]
    fn a_bottleneck_narrows_the_code_and_keeps_its_places() {
        let split = Split::new([1, 8, 8], (0..=255).collect(), vec![]);
        let (train, test) = (split.clone(), split);
        let dataset = Dataset { name: "shades".into(), shape: [1, 8, 8], max: 255, n_classes: 0, train, test };
        let data = Data::new(&dataset, Device::Cpu);
        let task = ModelTask { data: &data, total_steps: 1, optimizer: Optimizer::Adam, device: Device::Cpu };
        for (bottleneck, code_width) in [(0, 8 * 4), (1, 4), (3, 3 * 4)] {
            let config = CnnAeConfig { halvings: 2, bottleneck, ..CnnAeConfig::default() };
            let mut model = Autoencoder::convolutional(&config, &task, &mut Pcg32::seed_from_u64(0)).expect("a model");
            let x = data.train.spaced(4).all();
            let code = model.encode(&x);
            assert_eq!(code.size(), [4, code_width]);
            assert_eq!(model.decode(&code).expect("images").size(), x.size());
            model.fit_batch(&ImageBatch { x, labels: None, step: 0, lr: 1e-3 }).expect("a finite loss");
        }
    }

    #[test]
    fn the_gradient_has_the_weights_too() {
        let data = lamps();
        let rare_pixel = |rarity: f64| {
            let mut model = autoencoder(rarity, &data);
            for step in 0..300 {
                let x = data.train.spaced(4).all();
                model.fit_batch(&ImageBatch { x, labels: None, step, lr: 0.03 }).expect("a finite loss");
            }
            let seen = model.decode(&model.encode(&data.train.spaced(4).all())).expect("images");
            seen.double_value(&[3, 0, 0, 1])
        };
        // The rare pixel is lit in the last image, in which the other pixel is dark. A code of one number cannot encode
        // both pixels.
        assert!(rare_pixel(5.0) > rare_pixel(0.0) + 0.02, "{} and {}", rare_pixel(5.0), rare_pixel(0.0));
    }

    #[test]
    fn the_decoder_of_keras_makes_images_of_28_and_is_refused_for_others() {
        let make = |side: usize, halvings: usize| {
            let split = Split::new([1, side, side], vec![0; side * side], vec![]);
            let (train, test) = (split.clone(), split);
            let dataset = Dataset { name: "squares".into(), shape: [1, side, side], max: 1, n_classes: 0, train, test };
            let data = Data::new(&dataset, Device::Cpu);
            let task = ModelTask { data: &data, total_steps: 1, optimizer: Optimizer::Adam, device: Device::Cpu };
            let config = CnnAeConfig { halvings, decoder: Decoder::Keras, ..CnnAeConfig::default() };
            Autoencoder::convolutional(&config, &task, &mut Pcg32::seed_from_u64(0))
        };
        let of_28 = make(28, 3).expect("a decoder");
        let upsampled = of_28.decoder.layout().operations().iter().filter_map(|operation| match operation {
            Operation::Upsample(sides) => Some(*sides),
            _ => None,
        });
        assert_eq!(upsampled.collect::<Vec<_>>(), [[8, 8], [16, 16], [28, 28]]);
        let code = of_28.encode(&Tensor::zeros([2, 1, 28, 28], (Kind::Float, Device::Cpu)));
        assert_eq!(code.size(), [2, 128]);
        assert_eq!(of_28.decode(&code).expect("images").size(), [2, 1, 28, 28]);
        let error = make(32, 3).err().expect("32 is a power of two").to_string();
        assert!(error.contains("28x28 instead of 32x32: use mirror"), "{error}");
        assert!(make(8, 2).is_err(), "no image can be halved twice and have this decoder");
    }
}
