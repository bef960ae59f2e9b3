//! Restricted Boltzmann machines: one visible and one hidden layer, and an energy for every state of both (Smolensky
//! 1986; Hinton 2002).
//!
//! The model's probabilities need its partition function Z. It is exact if one layer is small, else estimated by
//! annealed importance sampling, upwards from the base rates and downwards from samples by parallel tempering. Both are
//! estimates; `src/generative/rbm/ais.rs` says in which direction they err. Reconstruction error and pseudo-likelihood
//! need no Z, but only monitor a fit: CD-1 is best by both, and loses 35 nats of likelihood on MNIST.

mod ais;
mod energy;
mod learn;
mod measure;
mod movies;
mod ones;
mod phases;
mod tempering;
#[cfg(test)]
mod tests;

use super::images::{Data, Images};
use super::model::{Effort, EncoderDecoder, Exhibit, FitError, GibbsStep, ImageBatch, Means, Measures, Model};
use super::settings::{BelowOne, Descent, ModelTask, Recipe, Schedule, WIDTHS};
use super::spec::ModelSettings;
use anyhow::Result;
use carom_agents::net::tensor::{read_tensor, to_vec};
use carom_agents::net::units::{self, Uniforms};
use carom_agents::net::{Activation, Operation, Sequential};
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use carom_envs::settings;
use carom_envs::settings::{AtLeast, Settings, validate};
use energy::{Energy, Visible};
use learn::{Learner, Rule};
use rand::Rng;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// How a binary unit treats a gray pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Binarisation {
    /// Its value is the probability of 1; a state is drawn anew whenever the image is seen (Salakhutdinov & Murray
    /// 2008).
    Sample,
    /// Its value is used as the state when the model is fitted. Likelihoods are still those of drawn states.
    Probabilities,
}

settings! {
    /// Settings of `rbm`.
    pub(crate) struct RbmConfig {
        /// Hidden units.
        latent_dim: i64 = 500, in WIDTHS;
        /// `bernoulli`, or `gaussian` with unit variance: each pixel is standardised by its mean and standard deviation
        /// (at least 0.1) over the training images.
        visible: Visible = Visible::Bernoulli;
        /// `sample` or `probabilities`, for gray pixels in Bernoulli units.
        binarisation: Binarisation = Binarisation::Sample;
        /// Gibbs steps of an update: the k of CD-k.
        gibbs_steps: u64 = 1, in 1..=10_000;
        /// Whether chains continue from update to update instead of starting at the data.
        persistent: bool = true;
        /// Number of persistent chains; if chains start at the data, number of chains that are kept to sample from.
        n_chains: i64 = 100, in 1..=10_000;
        /// Momentum: share of the last step that is added to the next.
        momentum: f64 = 0.0, in BelowOne;
        /// Weight decay: share of each weight that is subtracted from its gradient.
        weight_decay: f64 = 0.0, in AtLeast(0.0);
        /// Whether both layers are centred at their means (Montavon & Müller 2012).
        centring: bool = true;
        /// Standard deviation of the first weights.
        init_std: f64 = 0.01, in AtLeast(0.0);
        /// Gibbs steps before a sample is taken.
        sample_steps: u64 = 1000, in 1..=1_000_000;
        /// Inverse temperatures of annealed importance sampling.
        ais_temperatures: u64 = 10_000, in 1..=10_000_000;
        /// Chains of annealed importance sampling, in either direction.
        ais_chains: i64 = 200, in 1..=10_000;
    }
}

impl Settings for RbmConfig {
    fn unheard(&self) -> Vec<(&'static str, String)> {
        match self.visible {
            Visible::Bernoulli => vec![],
            Visible::Gaussian => vec![("binarisation", "Gaussian units take gray levels as they are".to_owned())],
        }
    }
}

impl ModelSettings for RbmConfig {
    const RECIPE: Recipe = Recipe::Descent(Descent {
        epochs: 20,
        batch_size: 100,
        lr: 0.02,
        lr_schedule: Schedule::Constant,
        optimizer: None,
    });

    fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        Ok(Box::new(Rbm::new(self, task, rng)?))
    }
}

/// A restricted Boltzmann machine.
pub(super) struct Rbm {
    config: RbmConfig,
    shape: [i64; 3],
    energy: Energy,
    learner: Learner,
    /// Visible biases of the model without hidden units that fits the training images, `[V]`: 0 for Gaussian units,
    /// whose data have mean 0.
    base: Tensor,
    /// Mean and divisor of each pixel in the data that the model was fitted to, for Gaussian units.
    standard: [Tensor; 2],
    means: Means,
}

impl Rbm {
    /// Makes an RBM with weights from N(0, `init_std`²), hidden biases of 0, and visible biases that give each pixel
    /// its mean over the training images (Hinton 2010, section 8).
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub(super) fn new(config: &RbmConfig, task: &ModelTask, rng: &mut Pcg32) -> Result<Self> {
        validate(config)?;
        let (n_visible, n_hidden) = (task.data.n_pixels(), config.latent_dim);
        let (mean, std) = moments(&task.data.train, n_visible);
        let (base, visible_mean) = match config.visible {
            // Adds half an image of ones and half an image of zeros, so that no bias is infinite.
            Visible::Bernoulli => {
                let n = task.data.train.len() as f64;
                (((&mean * n + 0.5) / (n + 1.0)).logit(None), mean.copy())
            }
            Visible::Gaussian => (mean.zeros_like(), mean.zeros_like()),
        };
        let mut normal = || {
            // Box & Muller 1958.
            let (u, angle): (f64, f64) =
                (rng.gen_range(f64::MIN_POSITIVE..1.0), rng.gen_range(0.0..std::f64::consts::TAU));
            ((-2.0 * u.ln()).sqrt() * angle.cos() * config.init_std) as f32
        };
        let weight: Vec<f32> = (0..n_visible * n_hidden).map(|_| normal()).collect();
        let weight = Tensor::from_slice(&weight).view([n_visible, n_hidden]).to_device(task.device);
        let hidden_bias = Tensor::zeros([n_hidden], (Kind::Float, task.device));
        let energy = Energy { visible: config.visible, weight, visible_bias: base.copy(), hidden_bias };
        let rule = Rule {
            gibbs_steps: config.gibbs_steps,
            persistent: config.persistent,
            momentum: config.momentum,
            weight_decay: config.weight_decay,
            centring: config.centring,
        };
        let chains: Vec<f32> =
            (0..config.n_chains * n_hidden).map(|_| f32::from(u8::from(rng.r#gen::<bool>()))).collect();
        let chains = Tensor::from_slice(&chains).view([config.n_chains, n_hidden]).to_device(task.device);
        let learner = Learner::new(rule, &energy, chains, &visible_mean);
        let means = Means::new(&["fit/contrast"]);
        let standard = [mean, std.clamp_min(0.1)];
        Ok(Self { config: config.clone(), shape: task.data.shape, energy, learner, base, standard, means })
    }

    /// Returns values of the visible units, `[B, V]`, for images `[B, channels, rows, columns]`: gray levels as they
    /// are, standardised for Gaussian units.
    fn visible_of(&self, x: &Tensor) -> Tensor {
        let x = x.reshape([-1, self.energy.n_visible()]);
        match self.config.visible {
            Visible::Bernoulli => x,
            Visible::Gaussian => (x - &self.standard[0]) / &self.standard[1],
        }
    }

    /// Returns the images of values of the visible units.
    fn images_of(&self, v: &Tensor) -> Tensor {
        let x = match self.config.visible {
            Visible::Bernoulli => v.shallow_clone(),
            Visible::Gaussian => (v * &self.standard[1] + &self.standard[0]).clamp(0.0, 1.0),
        };
        let [channels, rows, columns] = self.shape;
        x.view([-1, channels, rows, columns])
    }

    /// Draws states of the visible units, `[n, V]`, for `n` images (or all, if fewer). Likelihoods are those of states.
    fn states(&self, images: &Images, n: usize, noise: &mut Uniforms) -> Tensor {
        let v = self.visible_of(&images.spaced(n).all());
        if self.config.visible == Visible::Gaussian || images.is_binary() {
            return v;
        }
        let mut states = v.zeros_like();
        units::binarise(&v, &mut states, noise);
        states
    }

    /// Returns hidden states of the chains, repeated until there are `n`.
    fn repeat_chains(&self, n: i64) -> Tensor {
        let chains = &self.learner.chains;
        chains.index_select(0, &repeated(chains.size()[0], n, chains.device()))
    }

    /// Returns the indices of the `n` units with the largest weights, or of all, if fewer.
    fn strongest_units(&self, n: i64) -> Tensor {
        let norms = self.energy.weight.square().sum_dim_intlist(0, false, Kind::Float);
        norms.topk(n.min(self.energy.n_hidden()), 0, true, true).1
    }

    /// Returns the weights of the units `which`, as images `[n, channels, rows, columns]` in 0..=1: 0 is middle gray,
    /// and each unit's largest weight is black or white.
    fn receptive_fields(&self, which: &Tensor) -> Tensor {
        let fields = self.energy.weight.tr().index_select(0, which);
        let largest = fields.abs().amax(1, true).clamp_min(f64::MIN_POSITIVE);
        let [channels, rows, columns] = self.shape;
        (fields / largest * 0.5 + 0.5).reshape([-1, channels, rows, columns])
    }
}

/// Returns indices 0, 1, … `n_there` − 1, repeated until there are `n`.
fn repeated(n_there: i64, n: i64, device: Device) -> Tensor {
    Tensor::arange(n, (Kind::Int64, device)).remainder(n_there)
}

/// Returns mean and standard deviation of each pixel, `[V]` each.
fn moments(images: &Images, n_pixels: i64) -> (Tensor, Tensor) {
    let (mut sum, mut squares) = (None::<Tensor>, None::<Tensor>);
    for x in images.chunks(1000) {
        let x = x.view([-1, n_pixels]).to_kind(Kind::Double);
        let add = |to: Option<Tensor>, x: Tensor| {
            let x = x.sum_dim_intlist(0, false, Kind::Double);
            Some(to.map_or(x.shallow_clone(), |to| to + x))
        };
        squares = add(squares, x.square());
        sum = add(sum, x);
    }
    let n = images.len() as f64;
    let mean = sum.expect("there are images") / n;
    let variance = squares.expect("there are images") / n - mean.square();
    (mean.to_kind(Kind::Float), variance.clamp_min(0.0).sqrt().to_kind(Kind::Float))
}

impl Model for Rbm {
    fn fit_batch(&mut self, batch: &ImageBatch) -> Result<(), FitError> {
        let mut noise = Uniforms::from_torch();
        let v = self.visible_of(&batch.x);
        let is_drawn = self.config.visible == Visible::Bernoulli && self.config.binarisation == Binarisation::Sample;
        let contrast = if is_drawn {
            let mut states = v.empty_like();
            units::binarise(&v, &mut states, &mut noise);
            self.learner.update(&mut self.energy, &states, batch.lr, &mut noise)
        } else {
            self.learner.update(&mut self.energy, &v, batch.lr, &mut noise)
        };
        self.means.add("fit/contrast", contrast, batch.step)
    }

    fn stats(&mut self) -> Vec<Stat> {
        self.means.take()
    }

    fn evaluate(&self, data: &Data, effort: Effort, _samples: Option<&Tensor>) -> Measures {
        self.measure(data, effort)
    }

    fn encode(&self, x: &Tensor) -> Tensor {
        self.energy.hidden_means(&self.visible_of(x))
    }

    fn decode(&self, code: &Tensor) -> Option<Tensor> {
        Some(self.images_of(&self.energy.visible_means(code)))
    }

    /// The encoder is a dense layer and the logistic function. The decoder starts as its transpose, but has weights of
    /// its own.
    fn networks(&self) -> Option<EncoderDecoder> {
        let Energy { visible, weight, visible_bias, hidden_bias } = &self.energy;
        let (n_visible, n_hidden) = (self.energy.n_visible(), self.energy.n_hidden());
        // The layers include mean and divisor of Gaussian units.
        let (mean, std) = match visible {
            Visible::Bernoulli => (visible_bias.zeros_like(), visible_bias.ones_like()),
            Visible::Gaussian => (self.standard[0].view([-1]), self.standard[1].view([-1])),
        };
        let flat = |weight: &Tensor, bias: &Tensor| Tensor::cat(&[weight.flatten(0, -1), bias.flatten(0, -1)], 0);
        let narrowed = weight / std.unsqueeze(1);
        let up = flat(&narrowed, &(hidden_bias - mean.unsqueeze(0).mm(&narrowed).view([-1])));
        let down = flat(&(weight.tr() * &std), &(visible_bias * &std + &mean));
        let dense = |inputs, outputs| Operation::Dense { inputs, outputs };
        let encoder =
            vec![Operation::Reshape(vec![n_visible]), dense(n_visible, n_hidden), Operation::Act(Activation::Sigmoid)];
        let decoder = vec![dense(n_hidden, n_visible), Operation::Reshape(self.shape.to_vec())];
        Some(EncoderDecoder {
            encoder: Sequential::with_params(encoder, &up),
            decoder: Some(Sequential::with_params(decoder, &down)),
            has_logits: *visible == Visible::Bernoulli,
            weights: None,
            difference: None,
        })
    }

    fn sample(&self, n: usize) -> Option<Tensor> {
        let mut h = self.repeat_chains(n as i64);
        let (means, _) = self.energy.walk(&mut h, self.config.sample_steps, &mut Uniforms::from_torch());
        Some(self.images_of(&means))
    }

    /// Starts from states drawn of the pixels, which gray pixels of Bernoulli units have none of.
    fn chains(&self, x: &Tensor, n_steps: u64) -> Option<Vec<GibbsStep>> {
        let mut noise = Uniforms::from_torch();
        let mut v = self.visible_of(x);
        if self.config.visible == Visible::Bernoulli {
            // The values are a view of `x`, which stays as it is.
            let mut states = v.zeros_like();
            units::binarise(&v, &mut states, &mut noise);
            v = states;
        }
        let Energy { weight, visible_bias, hidden_bias, .. } = &self.energy;
        let step = |_| {
            let mut hidden_means = v.mm(weight);
            let mut hidden = hidden_means.zeros_like();
            units::draw(&mut hidden_means, 1.0, hidden_bias, &mut hidden, &mut noise);
            let (mut means, mut next) = (v.zeros_like(), v.zeros_like());
            self.energy.draw_visible(&hidden, 1.0, visible_bias, &mut means, &mut next, &mut noise);
            v = next;
            GibbsStep { hidden_means, hidden, visible_means: self.images_of(&means), visible: self.images_of(&v) }
        };
        Some((0..n_steps).map(step).collect())
    }

    fn exhibits(&self, data: &Data) -> Vec<Exhibit> {
        // Units on a side of the square.
        const SIDE: i64 = 10;
        let name = "receptive-fields";
        if let Some(names) = data.pixel_names() {
            let caption = "Weights of hidden units; 1 is the largest of a unit.".to_owned();
            let n_units = movies::MAX_UNITS.min(self.energy.n_hidden());
            let first = Tensor::arange(n_units, (Kind::Int64, self.energy.weight.device()));
            let images = self.receptive_fields(&first);
            return vec![Exhibit { name, images, n_columns: 1, caption, row_labels: vec![], pixel_names: Some(names) }];
        }
        let caption = "Weights of the hidden units with the largest weights: 0 is middle gray, and a unit's largest \
                       weight is black or white.";
        let images = self.receptive_fields(&self.strongest_units(SIDE * SIDE));
        let (n_columns, caption, row_labels) = (SIDE as usize, caption.to_owned(), vec![]);
        vec![Exhibit { name, images, n_columns, caption, row_labels, pixel_names: None }]
    }

    fn report(&self, data: &Data) -> Option<String> {
        if data.name != super::data::movies::NAME || self.config.visible == Visible::Gaussian {
            return None;
        }
        movies::report(&self.energy)
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .value("means", &self.means.save())
            .owned_array("mean", &to_vec(&self.standard[0]))
            .owned_array("deviation", &to_vec(&self.standard[1]))
            .owned_array("weight", &to_vec(&self.energy.weight))
            .owned_array("visible_bias", &to_vec(&self.energy.visible_bias))
            .owned_array("hidden_bias", &to_vec(&self.energy.hidden_bias))
            .nest("learner", self.learner.save())
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.means.load(from)?;
        let [mean, deviation] = &mut self.standard;
        read_tensor(from, "mean", mean)?;
        read_tensor(from, "deviation", deviation)?;
        read_tensor(from, "weight", &mut self.energy.weight)?;
        read_tensor(from, "visible_bias", &mut self.energy.visible_bias)?;
        read_tensor(from, "hidden_bias", &mut self.energy.hidden_bias)?;
        self.learner.load(&from.nested("learner")?)
    }
}
