//! The trait of generative models, and the types that its methods speak of.

use super::difference::FrameDifference;
use super::images::Data;
use super::weights::PixelWeights;
use carom_agents::net::Sequential;
use carom_agents::{Loaded, Snapshot, SnapshotError, Stat};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::path::PathBuf;
use tch::Tensor;

/// A batch of images to learn from.
#[derive(Debug)]
pub(crate) struct ImageBatch {
    /// `[B, channels, rows, columns]` in 0..=1.
    pub x: Tensor,
    /// `i64 [B]`, where the data have labels.
    pub labels: Option<Tensor>,
    /// Updates made before this one.
    pub step: u64,
    /// Learning rate.
    pub lr: f64,
}

/// How much a measurement may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// A point of the learning curve: seconds.
    Curve,
    /// All measures: minutes.
    Full,
}

/// Reason why a fit cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FitError {
    /// A loss became NaN or infinite.
    #[error("{what} is {value} at step {step}: the fit diverged; lower lr")]
    NonFinite {
        /// Name of the loss, as in `metrics.csv`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The update it was seen at.
        step: u64,
    },
}

/// Measured numbers by name, and facts that belong beside them.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    /// Name as in `metrics.csv`, and value.
    pub values: Vec<(Cow<'static, str>, f64)>,
    /// Facts that are not numbers, such as the binarisation, by name.
    pub facts: Vec<(&'static str, String)>,
}

impl Measures {
    /// Adds a number.
    pub(crate) fn add(&mut self, name: impl Into<Cow<'static, str>>, value: f64) {
        self.values.push((name.into(), value));
    }

    /// Adds a fact.
    pub(crate) fn note(&mut self, name: &'static str, fact: impl Into<String>) {
        self.facts.push((name, fact.into()));
    }

    /// Returns the number called `name`.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Appends all values and facts of `others`.
    pub(crate) fn append(&mut self, others: Self) {
        self.values.extend(others.values);
        self.facts.extend(others.facts);
    }

    /// Returns all values and facts as one JSON object.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let facts = self.facts.iter().map(|(name, fact)| ((*name).to_string(), fact.clone().into()));
        let values = self.values.iter().map(|(name, value)| (name.to_string(), (*value).into()));
        facts.chain(values).collect()
    }
}

/// Copies of a model's encoder and decoder networks.
#[derive(Debug)]
pub(crate) struct EncoderDecoder {
    /// Maps images `[B, channels, rows, columns]` to `[B, n]`; the first columns are the code.
    pub encoder: Sequential,
    /// Maps codes to images of at least the images' rows and columns. `None` if a code cannot be turned into an image.
    pub decoder: Option<Sequential>,
    /// Whether the decoder gives logits of pixels in 0..=1, else the pixels themselves.
    pub has_logits: bool,
    /// Weights of pixels in the reconstruction loss, if they are not all 1.
    pub weights: Option<PixelWeights>,
    /// Loss for the difference of frames, which is added to the reconstruction loss; of logits alone.
    pub difference: Option<FrameDifference>,
}

/// Images that a model shows besides reconstructions and samples.
#[derive(Debug)]
pub(crate) struct Exhibit {
    /// Short name in lower case, e.g. "receptive-fields".
    pub name: &'static str,
    /// `[n, channels, rows, columns]` in 0..=1.
    pub images: Tensor,
    /// Images in a row.
    pub n_columns: usize,
    /// Description in one sentence.
    pub caption: String,
    /// Label of each row, or none.
    pub row_labels: Vec<String>,
    /// Names of the pixels, if the data are no pictures. They are then drawn as a table of numbers in -1..=1.
    pub pixel_names: Option<&'static [&'static str]>,
}

/// One step of a chain from visible units to hidden ones and back.
#[derive(Debug)]
pub(crate) struct GibbsStep {
    /// Probabilities that hidden units are on, given the visible units before: `[B, hidden units]`.
    pub hidden_means: Tensor,
    /// Hidden states drawn from them.
    pub hidden: Tensor,
    /// Probabilities, or means, of the visible units given the hidden states, as images `[B, channels, rows, columns]`.
    pub visible_means: Tensor,
    /// Visible states drawn from them, from which the next step starts.
    pub visible: Tensor,
}

/// Choice of the classifier that judges a model's samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JudgeChoice {
    /// The cached classifier of the data set, fitted on first use.
    Auto,
    /// The classifier fitted in this run directory.
    Run(PathBuf),
}

/// A model of images that is fitted batch by batch.
///
/// Methods may draw random numbers from torch's generator. The caller seeds it before each call, so that they depend on
/// the run's seed and the step alone.
pub(crate) trait Model: Send {
    /// Makes one update.
    ///
    /// # Errors
    /// When a loss is no longer finite; parameters are not moved along its gradient.
    fn fit_batch(&mut self, batch: &ImageBatch) -> Result<(), FitError>;

    /// Returns means since the last call, by their names in `metrics.csv`.
    fn stats(&mut self) -> Vec<Stat>;

    /// Measures the model on the test split of `data`. `samples`, `[n, channels, rows, columns]` in 0..=1, are images
    /// that the model drew for its judge, if it has one.
    fn evaluate(&self, data: &Data, effort: Effort, samples: Option<&Tensor>) -> Measures;

    /// Returns the codes `[B, latent_dim]` of images `[B, channels, rows, columns]`. An agent that uses this encoder
    /// observes them.
    fn encode(&self, x: &Tensor) -> Tensor;

    /// Returns the images of codes, or `None` if the model cannot turn a code into an image.
    fn decode(&self, code: &Tensor) -> Option<Tensor>;

    /// Returns copies of encoder and decoder as networks that an agent can train further, or `None` if codes are not
    /// made by a network.
    fn networks(&self) -> Option<EncoderDecoder> {
        None
    }

    /// Draws `n` new images `[n, channels, rows, columns]` in 0..=1. Returns `None` if the model has no distribution to
    /// draw from.
    fn sample(&self, n: usize) -> Option<Tensor>;

    /// Returns the steps of Gibbs chains, one from each image of `x`; `None` if the model has no stochastic units.
    fn chains(&self, _x: &Tensor, _n_steps: u64) -> Option<Vec<GibbsStep>> {
        None
    }

    /// Returns whether codes have the standard normal distribution as their prior; pictures of the code then span its
    /// quantiles.
    fn has_normal_prior(&self) -> bool {
        false
    }

    /// Returns images that only this kind of model has to show, such as its weights. By default there are none.
    fn exhibits(&self, _data: &Data) -> Vec<Exhibit> {
        vec![]
    }

    /// Returns which classifier judges images that the model draws, or `None` if they are not judged.
    fn judge(&self) -> Option<JudgeChoice> {
        None
    }

    /// Returns a report in words, if the model has one for `data`.
    fn report(&self, _data: &Data) -> Option<String> {
        None
    }

    /// Saves the whole state, from which a fit continues bit for bit.
    fn save(&self) -> Snapshot<'_>;

    /// Restores the state that `save` wrote.
    ///
    /// # Errors
    /// When a part is missing or has another shape than this model's.
    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError>;
}

/// Running means of named quantities.
#[derive(Debug)]
pub(crate) struct Means {
    names: &'static [&'static str],
    /// Sum and number of values, by name.
    sums: Vec<(f64, u64)>,
}

impl Means {
    /// Makes means without values of `names`, as in `metrics.csv`.
    pub(crate) fn new(names: &'static [&'static str]) -> Self {
        Self { names, sums: vec![(0.0, 0); names.len()] }
    }

    /// Adds one value of `name`, seen at `step`.
    ///
    /// # Errors
    /// When it is not finite.
    ///
    /// # Panics
    /// When there is no such name.
    pub(crate) fn add(&mut self, name: &'static str, value: f64, step: u64) -> Result<(), FitError> {
        if !value.is_finite() {
            return Err(FitError::NonFinite { what: name, value, step });
        }
        let slot = self.names.iter().position(|known| *known == name).expect("a name given at the start");
        let (sum, n) = self.sums[slot];
        self.sums[slot] = (sum + value, n + 1);
        Ok(())
    }

    /// Returns the means since the last call.
    pub(crate) fn take(&mut self) -> Vec<Stat> {
        let means = self.names.iter().zip(&self.sums).filter(|(_, sum)| sum.1 > 0);
        let means = means.map(|(&name, &(sum, n))| (name, sum / n as f64)).collect();
        self.sums.fill((0.0, 0));
        means
    }

    /// Returns the sums, for a checkpoint between two rows.
    pub(crate) fn save(&self) -> &[(f64, u64)] {
        &self.sums
    }

    /// Restores the sums that `save` returned, from the value `means`.
    ///
    /// # Errors
    /// When there is not one for each name, or a count is one that no run reaches.
    pub(crate) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        const MAX_COUNT: u64 = 1 << 53;
        let n = self.names.len();
        let is_possible = |sums: &Vec<(f64, u64)>| sums.len() == n && sums.iter().all(|sum| sum.1 <= MAX_COUNT);
        self.sums = from.value_where("means", is_possible)?;
        Ok(())
    }
}

/// Copies the whole state of `from` to `to`, through a snapshot.
#[cfg(test)]
pub(super) fn copy(from: &dyn Model, to: &mut dyn Model) {
    let snapshot = from.save();
    let arrays = safetensors::serialize(snapshot.tensors(), None).expect("named arrays");
    let arrays = safetensors::SafeTensors::deserialize(&arrays).expect("arrays just written");
    to.load(&Loaded::new(&arrays, snapshot.state())).expect("the same model");
}

/// Seeds torch's generator, which all threads share, and locks it against other tests while the result lives.
#[cfg(test)]
pub(crate) fn seeded(seed: i64) -> std::sync::MutexGuard<'static, ()> {
    static GENERATOR: std::sync::Mutex<()> = std::sync::Mutex::new(());
    // A test that panics while it holds the lock must not make others fail.
    let held = GENERATOR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    tch::manual_seed(seed);
    held
}
