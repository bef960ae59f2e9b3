//! A small convolutional classifier, whose features judge the images that other models generate.
//!
//! Fréchet and kernel distances, precision and recall are measured between features of a network that knows the data.
//! An Inception network trained on photographs knows less about digits than this one, which takes seconds per epoch. It
//! has three convolutions of stride 2 (5×5, 3×3, 3×3 with 16, 32 and 64 filters), a dense layer of
//! [`ClassifierConfig::latent_dim`] units, whose activations are the features, and a layer of logits. Training images
//! are slightly rotated, shifted and scaled.

use super::images::Data;
use super::model::{Effort, FitError, ImageBatch, Means, Measures, Model};
use super::settings::{BelowOne, Descent, ModelTask, Recipe, Schedule, WIDTHS};
use super::spec::ModelSettings;
use crate::files::hex;
use anyhow::{Result, ensure};
use carom_agents::net::tensor::to_vec;
use carom_agents::net::{Operation, Sequential, descend};
use carom_agents::optim::{OptimConfig, Rule};
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use carom_envs::settings;
use carom_envs::settings::{Settings, validate};
use rand_pcg::Pcg32;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

settings! {
    /// Settings of `classifier`.
    pub(crate) struct ClassifierConfig {
        /// Width of the layer before the logits: the features.
        latent_dim: i64 = 64, in WIDTHS;
        /// Share of the target probability that is spread over all classes (Szegedy et al. 2016).
        label_smoothing: f64 = 0.1, in BelowOne;
        /// Largest angle in degrees by which a training image is turned, either way.
        rotation_deg: f64 = 12.0, in 0.0..=180.0;
        /// Largest share of its side by which a training image is shifted, in any direction.
        shift: f64 = 0.06, in BelowOne;
        /// Largest share by which a training image is scaled, up or down.
        zoom: f64 = 0.12, in BelowOne;
    }
}

impl Settings for ClassifierConfig {}

impl ModelSettings for ClassifierConfig {
    const RECIPE: Recipe = Recipe::Descent(Descent {
        epochs: 10,
        batch_size: 128,
        lr: 3e-3,
        lr_schedule: Schedule::Cosine,
        optimizer: None,
    });

    fn make(&self, task: &ModelTask, rng: &mut Pcg32) -> Result<Box<dyn Model>> {
        Ok(Box::new(Classifier::new(self, task, rng)?))
    }
}

/// Filters of the three convolutions.
const FILTERS: [i64; 3] = [16, 32, 64];

/// A network that classifies images.
pub(crate) struct Classifier {
    config: ClassifierConfig,
    n_classes: i64,
    /// Images to features.
    body: Sequential,
    /// Features to logits.
    head: Sequential,
    means: Means,
}

impl Classifier {
    /// Makes an unfitted classifier.
    ///
    /// # Errors
    /// When the data have fewer than two classes.
    pub(crate) fn new(config: &ClassifierConfig, task: &ModelTask, rng: &mut Pcg32) -> Result<Self> {
        Self::of(config, task.data.shape, task.data.n_classes, task.device, rng)
    }

    /// Makes an unfitted classifier of images `[channels, rows, columns]` into `n_classes` classes.
    ///
    /// # Errors
    /// When there are fewer than two classes.
    pub(crate) fn of(
        config: &ClassifierConfig,
        [channels, rows, columns]: [i64; 3],
        n_classes: i64,
        device: Device,
        rng: &mut Pcg32,
    ) -> Result<Self> {
        validate(config)?;
        ensure!(n_classes >= 2, "a classifier needs labels of two classes or more, and these data have {n_classes}");
        let act = Operation::relu;
        let [first, second, third] = FILTERS;
        let conv = |inputs, outputs, kernel| Operation::conv([inputs, outputs], kernel, 2, kernel / 2);
        // A side after three strides of 2: 28, 14, 7, 4.
        let [rows, columns] = [rows, columns].map(|side| (0..3).fold(side, |side, _| (side + 1) / 2));
        let flat = third * rows * columns;
        let body = vec![
            conv(channels, first, 5),
            act(),
            conv(first, second, 3),
            act(),
            conv(second, third, 3),
            act(),
            Operation::Reshape(vec![flat]),
            Operation::Dense { inputs: flat, outputs: config.latent_dim },
            act(),
        ];
        let head = vec![Operation::Dense { inputs: config.latent_dim, outputs: n_classes }];
        let mut network = |layers| Sequential::new(layers, OptimConfig::of(Rule::Adam), device, rng);
        let (body, head) = (network(body), network(head));
        Ok(Self { config: config.clone(), n_classes, body, head, means: Means::new(&["fit/loss", "fit/accuracy"]) })
    }

    /// Returns features `[B, latent_dim]` and the most probable classes `i64 [B]` of images `[B, channels, rows,
    /// columns]`.
    pub(crate) fn judge(&self, x: &Tensor) -> (Tensor, Tensor) {
        let features = self.body.forward(x);
        let classes = self.head.forward(&features).argmax(1, false);
        (features, classes)
    }

    /// Returns the number of classes.
    pub(crate) fn n_classes(&self) -> i64 {
        self.n_classes
    }

    /// Returns the SHA-256 of all weights. It is printed beside figures, since those of different classifiers are not
    /// comparable.
    pub(crate) fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for network in [&self.body, &self.head] {
            for value in to_vec(network.params()) {
                hasher.update(value.to_le_bytes());
            }
        }
        hex(&hasher.finalize())
    }

    /// Rotates, shifts and scales each image by its own random amounts.
    fn augment(&self, x: &Tensor) -> Tensor {
        let ClassifierConfig { rotation_deg, shift, zoom, .. } = self.config;
        if rotation_deg == 0.0 && shift == 0.0 && zoom == 0.0 {
            return x.shallow_clone();
        }
        let n = x.size()[0];
        let uniform = |largest: f64| (Tensor::rand([n], (Kind::Float, x.device())) * 2.0 - 1.0) * largest;
        let (angle, scale) = (uniform(rotation_deg.to_radians()), uniform(zoom) + 1.0);
        // Coordinates of the grid are in −1..=1, so a side is 2 long.
        let (right, down) = (uniform(2.0 * shift), uniform(2.0 * shift));
        let (cos, sin) = (angle.cos() * &scale, angle.sin() * &scale);
        let rows = [Tensor::stack(&[&cos, &-&sin, &right], 1), Tensor::stack(&[&sin, &cos, &down], 1)];
        let grid = Tensor::affine_grid_generator(&Tensor::stack(&rows, 1), x.size(), false);
        // Bilinear, with zeros around the image.
        x.grid_sampler(&grid, 0, 0, false)
    }
}

impl Model for Classifier {
    fn fit_batch(&mut self, batch: &ImageBatch) -> Result<(), FitError> {
        let labels = batch.labels.as_ref().expect("data with classes have labels");
        let logits = self.head.forward(&self.body.forward(&self.augment(&batch.x)));
        let smoothing = self.config.label_smoothing;
        let loss = logits.cross_entropy_loss::<Tensor>(labels, None, tch::Reduction::Mean, -100, smoothing);
        let hits = logits.argmax(1, false).eq_tensor(labels).to_kind(Kind::Float).mean(Kind::Float);
        self.means.add("fit/loss", loss.double_value(&[]), batch.step)?;
        self.means.add("fit/accuracy", hits.double_value(&[]), batch.step)?;
        descend(&loss, &mut [&mut self.body, &mut self.head], batch.lr);
        Ok(())
    }

    fn stats(&mut self) -> Vec<Stat> {
        self.means.take()
    }

    fn evaluate(&self, data: &Data, _effort: Effort, _samples: Option<&Tensor>) -> Measures {
        let n = data.test.len();
        let labels = data.test.labels().expect("data with classes have labels");
        let predicted: Vec<Tensor> = data.test.chunks(1000).map(|x| self.judge(&x).1).collect();
        let hits = Tensor::cat(&predicted, 0).eq_tensor(labels).sum(Kind::Int64).int64_value(&[]);
        let mut measures = Measures::default();
        measures.add("test/accuracy", hits as f64 / n as f64);
        measures.note("classifier", self.sha256());
        measures
    }

    fn encode(&self, x: &Tensor) -> Tensor {
        self.body.forward(x)
    }

    fn decode(&self, _code: &Tensor) -> Option<Tensor> {
        None
    }

    fn sample(&self, _n: usize) -> Option<Tensor> {
        None
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default()
            .value("means", &self.means.save())
            .nest("body", self.body.save())
            .nest("head", self.head.save())
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.means.load(from)?;
        self.body.load(&from.nested("body")?)?;
        self.head.load(&from.nested("head")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::data::dataset::{Dataset, Split};
    use crate::generative::model::seeded;
    use crate::generative::settings::Optimizer;
    use carom_envs::Seeds;

    /// Sixteen images of 8×8 of two classes: bright above, bright below.
    fn halves() -> Data {
        let image = |label: usize, idx: usize| {
            (0..64).map(move |pixel| if (pixel / 32 == label) == (pixel % 7 != idx % 7) { 255 } else { 0 })
        };
        let pixels = (0..16).flat_map(|idx| image(idx % 2, idx)).collect::<Vec<u8>>();
        let split = Split::new([1, 8, 8], pixels, (0..16).map(|idx| idx % 2).collect());
        let dataset = Dataset {
            name: "halves".to_owned(),
            shape: [1, 8, 8],
            max: 255,
            n_classes: 2,
            train: split.clone(),
            test: split,
        };
        Data::new(&dataset, Device::Cpu)
    }

    fn classifier(config: &ClassifierConfig, data: &Data) -> Classifier {
        let task = ModelTask { data, total_steps: 30, optimizer: Optimizer::Adam, device: Device::Cpu };
        Classifier::new(config, &task, &mut Seeds::new(0).stream("init")).unwrap()
    }

    fn batch(data: &Data, step: u64) -> ImageBatch {
        ImageBatch {
            x: data.train.spaced(16).all(),
            labels: data.train.spaced(16).labels().map(Tensor::shallow_clone),
            step,
            lr: 3e-3,
        }
    }

    #[test]
    fn it_learns_two_classes_and_its_hash_tells_the_weights() {
        let _torch = seeded(0);
        let data = halves();
        let config = ClassifierConfig { rotation_deg: 0.0, ..ClassifierConfig::default() };
        let mut classifier = classifier(&config, &data);
        let untrained = classifier.sha256();
        for step in 0..30 {
            tch::manual_seed(step);
            classifier.fit_batch(&batch(&data, step as u64)).unwrap();
        }
        let measures = classifier.evaluate(&data, Effort::Curve, None);
        assert_eq!(measures.get("test/accuracy"), Some(1.0));
        assert!(classifier.sha256() != untrained && classifier.sha256().len() == 64);
        assert_eq!(classifier.encode(&data.test.spaced(3).all()).size(), [3, 64]);
    }

    #[test]
    fn augmentation_moves_and_keeps_ink() {
        let _torch = seeded(0);
        let data = halves();
        let x = data.train.spaced(16).all();
        let still = ClassifierConfig { rotation_deg: 0.0, shift: 0.0, zoom: 0.0, ..ClassifierConfig::default() };
        assert_eq!(classifier(&still, &data).augment(&x), x);
        // A shift by up to an eighth of the side is one pixel of eight.
        tch::manual_seed(0);
        let shifted = ClassifierConfig { shift: 0.125, ..still };
        let moved = classifier(&shifted, &data).augment(&x);
        let (before, after) = (x.mean(Kind::Float).double_value(&[]), moved.mean(Kind::Float).double_value(&[]));
        assert!(moved != x && (after / before - 1.0).abs() < 0.15, "{before} {after}");
    }

    #[test]
    fn saved_and_loaded_it_goes_on_exactly() {
        let _torch = seeded(0);
        let data = halves();
        let config = ClassifierConfig::default();
        let (mut one, mut other) = (classifier(&config, &data), classifier(&config, &data));
        let step = |model: &mut Classifier, step: u64| {
            tch::manual_seed(step as i64);
            model.fit_batch(&batch(&data, step)).unwrap();
        };
        (0..3).for_each(|n| step(&mut one, n));
        crate::generative::model::copy(&one, &mut other);
        assert_eq!(one.sha256(), other.sha256());
        (3..5).for_each(|n| [&mut one, &mut other].into_iter().for_each(|model| step(model, n)));
        assert_eq!(one.sha256(), other.sha256());
    }

    #[test]
    fn data_without_classes_are_refused() {
        let _torch = seeded(0);
        let data = Data { n_classes: 0, ..halves() };
        let task = ModelTask { data: &data, total_steps: 1, optimizer: Optimizer::Adam, device: Device::Cpu };
        let made = Classifier::new(&ClassifierConfig::default(), &task, &mut Seeds::new(0).stream("init"));
        assert!(made.err().unwrap().to_string().contains("two classes"));
    }
}
