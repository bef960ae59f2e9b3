//! Scales by which codes and true factors are standardised.

use crate::config::training::TrainConfig;
use crate::files;
use crate::fit::session::FitSession;
use crate::generative::data::frames;
use crate::generative::images::ImageFormat;
use crate::run::layout;
use crate::statistics;
use anyhow::{Context, Result, ensure};
use carom_envs::EnvSpec;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use tch::{Kind, Tensor};

/// Bounds the frames that features are standardised over.
const MAX_SCALE_FRAMES: usize = 5_000;

/// Features whose deviation is below this share of the largest carry no information, and are scaled to 0.
const MIN_RELATIVE_WIDTH: f64 = 1e-3;

/// Bounds a standardised number over the frames that its scale is of. Otherwise a brick that was hit in one frame of
/// two thousand would be 45 deviations off and dominate the network's input.
const MAX_SCALED: f64 = 10.0;

/// Width of features without information in the file, which has no infinity.
const IDLE_WIDTH: f32 = 1e30;

/// Scales and cost of an encoder, stored beside its weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Offset and width of each feature.
    pub(super) scales: Vec<(f32, f32)>,
    /// Environment steps spent on the frames that it was fitted to.
    pub(super) n_env_steps: u64,
    /// The images that it was fitted to; older versions of Carom did not store this.
    pub(super) images: Option<ImageFormat>,
    /// Digest of frames that the environment played when it was fitted; only in the cache and in copies of it.
    pub(super) frames: Option<String>,
}

impl Facts {
    /// Reads the file in the encoder's directory `dir`.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(layout::ENCODER_FACTS);
        serde_json::from_str(&fs::read_to_string(&path)?).with_context(|| format!("in {}", path.display()))
    }

    /// Writes the file in the encoder's directory `dir`.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)?;
        Ok(files::write_whole(&dir.join(layout::ENCODER_FACTS), |file| file.write_all(&text))?)
    }

    /// Returns offsets and widths. The width of a feature without information is infinite, so that the feature is
    /// exactly 0: products with numbers of 1e-31 may be subnormal, which processors compute slowly.
    pub(super) fn offsets_and_widths(&self) -> (Vec<f32>, Vec<f32>) {
        let width = |width: f32| if width < IDLE_WIDTH { width } else { f32::INFINITY };
        self.scales.iter().map(|scale| (scale.0, width(scale.1))).unzip()
    }

    /// Measures the codes of the frames that the model of `session` was fitted to.
    pub(super) fn of(session: &FitSession) -> Self {
        let codes = tch::no_grad(|| session.model.encode(&session.data.train.spaced(MAX_SCALE_FRAMES).all()));
        let codes = codes.to_kind(Kind::Double);
        let (mean, std) = (codes.mean_dim(0, false, Kind::Double), codes.std_dim(0, false, false));
        let least = (std.max().double_value(&[]) * MIN_RELATIVE_WIDTH).max(f64::MIN_POSITIVE);
        let rows = |tensor: &Tensor| Vec::<f64>::try_from(tensor).expect("a vector of doubles");
        let farthest = rows(&(codes - &mean).abs().amax(0, false));
        let widths = rows(&std).into_iter().zip(farthest);
        let widths = widths.map(|(std, farthest)| if std < least { IDLE_WIDTH } else { width(std, farthest) });
        let scales = rows(&mean).into_iter().map(|mean| mean as f32).zip(widths).collect();
        Self { scales, n_env_steps: session.n_env_steps, images: Some(session.data.format()), frames: None }
    }
}

/// Returns the width of a number with deviation `std` whose farthest value is as far from the mean. It is the
/// deviation, but large enough that no value is beyond ±[`MAX_SCALED`] widths: codes and true factors are treated
/// alike.
fn width(std: f64, farthest: f64) -> f32 {
    std.max(farthest / MAX_SCALED) as f32
}

/// Returns offset and width of each factor of the run's environment over frames of play.
pub(super) fn factor_scales(config: &TrainConfig) -> Result<Vec<(f32, f32)>> {
    const N_FRAMES: usize = 2_000;
    let frames = frames::collect(&config.env.evaluation(), N_FRAMES, 0)?;
    let n_factors = frames.factor_names.len();
    let moments = |i: usize| {
        let values = frames.factors.iter().skip(i).step_by(n_factors).map(|&value| f64::from(value));
        let values: Vec<f64> = values.collect();
        let mean = statistics::mean(&values);
        let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
        let std = statistics::mean(&squares).sqrt();
        let farthest = values.iter().map(|value| (value - mean).abs()).fold(0.0, f64::max);
        let width = width(std, farthest);
        // A constant factor is not scaled.
        (mean as f32, if width > 0.0 { width } else { 1.0 })
    };
    Ok((0..n_factors).map(moments).collect())
}

/// Writes the scales of encoder `oracle` to the run in `dir`.
pub(super) fn write_scales(dir: &Path, scales: &[(f32, f32)]) -> Result<()> {
    let to = dir.join(layout::ENCODER);
    Facts { scales: scales.to_vec(), n_env_steps: 0, images: None, frames: None }.write(&to)
}

/// Reads the scales of encoder `oracle` from a run of environment `env`.
pub(super) fn read_scales(dir: &Path, env: &EnvSpec) -> Result<Vec<(f32, f32)>> {
    let facts = Facts::read(&dir.join(layout::ENCODER))?;
    let (n, expected) = (facts.scales.len(), env.make().factor_names().len());
    let id = env.id();
    ensure!(
        n == expected,
        "{} was trained with {n} factors of {id}, which now has {expected}: train again",
        dir.display()
    );
    Ok(facts.scales)
}
