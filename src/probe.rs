//! Measures what encoders preserve of an environment's true state: linear probes of their codes, recall of the ball (or
//! the player, where there is no ball) in decoded frames, and cost.
//!
//! Everything is measured on newly collected frames ([`frames::collect`]), split by episode. Probes and the ball's
//! detector are fitted to the training part and measured on the test part. Only frames with a ball in play are used.

mod ball;
mod picture;
mod world;

use crate::config::encoders::EncoderSpec;
use crate::config::training::TrainConfig;
use crate::encoder::fitted::{self, FittedEncoder};
use crate::generative::data::frames::{self, Frames};
use crate::generative::measures::probe::{linear_predictions, macro_f1, ridge_r2};
use anyhow::{Result, ensure};
use ball::Finder;
use carom_agents::Encoder;
pub(crate) use picture::format as picture_format;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use tch::{Kind, Tensor};
use world::{Asked, World};

/// Frames encoded at a time, except for timing.
const CHUNK: usize = 250;
/// Frames of a timed batch; a learner's usual batch.
const TIMED_BATCH: usize = 32;
/// Number of timed batches, whose median is reported.
const N_TIMED_BATCHES: usize = 21;
/// Stacked frames whose codes the probe of the direction gets, if agents of the environment observe stacks.
pub(crate) const DIRECTION_STACK: u64 = 2;

/// Measures of one encoder. Those it does not have are omitted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct EncoderMeasures {
    /// Name or path of the encoder.
    pub encoder: String,
    /// Numbers in a code.
    pub code: usize,
    /// Score of each question by its key: see `src/probe/world.rs`.
    #[serde(flatten)]
    pub scores: BTreeMap<&'static str, f64>,
    /// Share of test frames in whose reconstruction the ball is found in its place; see `src/probe/ball.rs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ball_recall: Option<f64>,
    /// The share in which the player is found, in games without a ball.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub player_recall: Option<f64>,
    /// Mean squared error of the reconstruction over test frames and pixels in 0..=1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mse: Option<f64>,
    /// Seconds of the fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit_s: Option<f64>,
    /// Microseconds to encode a frame, in batches of 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode_us: Option<f64>,
}

/// Frames to probe encoders with.
pub(crate) struct Probe {
    config: TrainConfig,
    world: World,
    finder: Finder,
    train: Part,
    test: Part,
    /// Reconstructions of the test frames in the picture, by name of the encoder.
    shown: Vec<(String, Tensor)>,
}

/// Frames of one split.
struct Part {
    /// `[n, frame bytes]` of each place in the stack, the newest last.
    stack: Vec<Vec<u8>>,
    /// `[n, n_factors]`
    factors: Tensor,
    /// `[n, channels, rows, columns]` in 0..=1, the newest of each stack.
    images: Tensor,
    /// Row and column of the middle of the ball or the player in the images.
    balls: Vec<[f32; 2]>,
}

/// A source of codes.
enum CodeSource {
    /// The pixels themselves.
    Raw,
    /// The true state.
    Oracle,
    Model(Box<FittedEncoder>),
}

impl Probe {
    /// Collects `n_frames` frames of the environment of `config`, and fits the ball's detector to a part of them.
    /// Encoders are fitted as for a run of `config`.
    ///
    /// # Errors
    /// When the environment has neither ball nor player, or there are too few frames.
    pub(crate) fn new(config: TrainConfig, n_frames: usize, seed: u64) -> Result<Self> {
        let (spec, env) = (config.env.evaluation(), config.env.id());
        let world = World::of(&spec)?;
        let frames = frames::collect(&spec, n_frames, seed)?;
        let [train, test] = [false, true].map(|is_test| Part::of(&frames, &world, is_test));
        let counts = [&train, &test].map(|part| part.balls.len());
        ensure!(
            counts[0] > 0 && counts[1] > 0,
            "of {n_frames} frames of {env}, {} to learn from and {} to test with have a {}: take more frames",
            counts[0],
            counts[1],
            world.object()
        );
        let finder = Finder::new(&world, &train.images, &train.balls);
        Ok(Self { config, world, finder, train, test, shown: vec![] })
    }

    /// Returns the numbers of training and test frames with a ball in play, or a player.
    pub(crate) fn n_frames(&self) -> [usize; 2] {
        [&self.train, &self.test].map(|part| part.balls.len())
    }

    /// Returns heading and key of each question's score.
    pub(crate) fn questions(&self) -> Vec<(&'static str, &'static str)> {
        self.world.questions().map(|question| (question.name, question.key)).collect()
    }

    /// Returns the name of what is looked for in decoded frames: the ball, or the player.
    pub(crate) fn object(&self) -> &'static str {
        self.world.object()
    }

    /// Describes the probes' classes.
    pub(crate) fn classes(&self) -> String {
        self.world.classes()
    }

    /// Returns the share of the test frames in which the detector finds the ball in its place. Reconstructions cannot
    /// be expected to do better.
    pub(crate) fn ceiling(&self) -> f64 {
        self.finder.recall(&self.test.images, &self.test.balls)
    }

    /// Measures `encoder`, which is fitted first if it is not in the cache.
    ///
    /// # Errors
    /// When it cannot be fitted, or takes other frames than the environment's.
    pub(crate) fn measure(&mut self, encoder: &EncoderSpec) -> Result<EncoderMeasures> {
        let source = match encoder {
            EncoderSpec::Raw => CodeSource::Raw,
            EncoderSpec::Oracle => CodeSource::Oracle,
            EncoderSpec::Model(_) | EncoderSpec::Run(_) => {
                let config = TrainConfig { encoder: encoder.clone(), ..self.config.clone() };
                CodeSource::Model(Box::new(fitted::prepare(&config)?))
            }
        };
        if let CodeSource::Model(fitted) = &source {
            let (n, n_stacked) = (fitted.n_frames(), self.test.stack.len());
            ensure!(
                n <= n_stacked,
                "encoder `{encoder}` takes {n} frames at once, not {n_stacked}: --set env.frame_stack={n}"
            );
        }
        let _no_grad = tch::no_grad_guard();
        let [train, test] = [&self.train, &self.test].map(|part| part.codes(&source));
        let (newest, n) = (train.len() - 1, train[0].size()[1]);
        let mut found = EncoderMeasures {
            encoder: encoder.to_string(),
            code: n as usize,
            scores: self.scores([&train, &test], newest),
            ball_recall: None,
            player_recall: None,
            mse: None,
            fit_s: None,
            encode_us: None,
        };
        if let CodeSource::Model(fitted) = &source {
            (found.fit_s, found.encode_us) = (Some(fitted.fit_s()), Some(self.test.encode_us(fitted)));
            if let Some(decoded) = self.test.decode(fitted) {
                let recall = Some(self.finder.recall(&decoded, &self.test.balls));
                match self.object() {
                    "ball" => found.ball_recall = recall,
                    _ => found.player_recall = recall,
                }
                let error = (&decoded - &self.test.images).square();
                found.mse = Some(error.mean(Kind::Double).double_value(&[]));
                self.shown.push((encoder.to_string(), self.pick(&decoded)));
            }
        }
        Ok(found)
    }

    /// Returns the scores of linear probes, fitted to the codes of training frames and measured on those of test
    /// frames.
    fn scores(&self, [train, test]: [&[Tensor]; 2], newest: usize) -> BTreeMap<&'static str, f64> {
        let classes = |question| [&self.train, &self.test].map(|part| self.world.classes_of(question, &part.factors));
        let f1 = |predicted: &Tensor, expected: &Tensor| macro_f1(&integers(predicted), &integers(expected));
        let mut scores = BTreeMap::new();
        let places: Vec<_> =
            self.world.questions().filter(|question| matches!(question.kind, Asked::Place(_))).collect();
        let labels: Vec<_> = places.iter().map(|question| classes(*question)).collect();
        let targets: Vec<_> = labels.iter().map(|[(train, n_classes), _]| (train, *n_classes)).collect();
        let predicted = linear_predictions(&train[newest], &targets, &test[newest]);
        for ((question, [_, (expected, _)]), predicted) in places.iter().zip(&labels).zip(&predicted) {
            scores.insert(question.key, f1(predicted, expected));
        }
        for question in self.world.questions() {
            match question.kind {
                Asked::Place(_) => {}
                // Two positions of the ball give its direction.
                Asked::Direction => {
                    let [train_stack, test_stack] = [train, test].map(|codes| Tensor::cat(codes, 1));
                    let [(turns, n_turns), (expected, _)] = classes(question);
                    let turned = linear_predictions(&train_stack, &[(&turns, n_turns)], &test_stack);
                    scores.insert(question.key, f1(&turned[0], &expected));
                }
                Asked::Amount => {
                    let amounts = [&self.train, &self.test].map(|part| self.world.amounts_of(question, &part.factors));
                    let r2 = ridge_r2([&train[newest], &amounts[0]], [&test[newest], &amounts[1]]);
                    scores.insert(question.key, r2);
                }
            }
        }
        scores
    }

    /// Writes test frames and their reconstructions by the measured encoders, with the true ball or player framed, as a
    /// PNG or, with names, as an SVG.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn draw(&self, path: &Path) -> Result<()> {
        let balls: Vec<[f32; 2]> = self.shown_frames().map(|i| self.test.balls[i as usize]).collect();
        let mut rows = vec![("frames".to_string(), self.pick(&self.test.images))];
        rows.extend(self.shown.iter().map(|(name, images)| (name.clone(), images.shallow_clone())));
        picture::write(path, self.object(), &rows, &balls)
    }

    /// Returns indices of the test frames in the picture, evenly spaced.
    fn shown_frames(&self) -> impl Iterator<Item = i64> + use<> {
        let (all, n) = (self.test.balls.len(), picture::COLUMNS.min(self.test.balls.len()));
        (0..n).map(move |i| ((2 * i + 1) * all / (2 * n)) as i64)
    }

    fn pick(&self, images: &Tensor) -> Tensor {
        images.index_select(0, &Tensor::from_slice(&self.shown_frames().collect::<Vec<_>>()))
    }
}

impl Part {
    fn of(frames: &Frames, world: &World, is_test: bool) -> Self {
        let (n_factors, n_bytes) = (frames.factor_names.len(), frames.space.n_bytes());
        let factors_of = |i: usize| &frames.factors[i * n_factors..][..n_factors];
        let kept = || (0..frames.len()).filter(|&i| frames.is_test[i] == is_test);
        let frame = |i: usize, age: usize| &frames.obs[(i * frames.frame_stack + age) * n_bytes..][..n_bytes];
        let newest = frames.frame_stack - 1;
        let (rows, balls): (Vec<usize>, Vec<[f32; 2]>) =
            kept().filter_map(|i| Some((i, world.place(factors_of(i), frame(i, newest))?))).unzip();
        let stack: Vec<Vec<u8>> =
            (0..frames.frame_stack).map(|age| rows.iter().flat_map(|&i| frame(i, age)).copied().collect()).collect();
        let factors: Vec<f32> = rows.iter().flat_map(|&i| factors_of(i)).copied().collect();
        let images = world.images(stack.last().expect("at least one frame"));
        Self { stack, factors: Tensor::from_slice(&factors).view([-1, n_factors as i64]), images, balls }
    }

    /// Returns codes `[n, d]` for each place in the stack, the newest last.
    fn codes(&self, source: &CodeSource) -> Vec<Tensor> {
        let n = self.balls.len();
        match source {
            // The true state contains the direction.
            CodeSource::Oracle => vec![self.factors.shallow_clone()],
            CodeSource::Raw => self
                .stack
                .iter()
                .map(|frames| Tensor::from_slice(frames).view([n as i64, -1]).to_kind(Kind::Float))
                .collect(),
            CodeSource::Model(fitted) => (fitted.n_frames() - 1..self.stack.len())
                .map(|newest| {
                    let mut codes = vec![0.0; n * fitted.n_features()];
                    let chunks = self.chunks(fitted.n_frames(), newest);
                    for (frames, codes) in chunks.zip(codes.chunks_mut(CHUNK * fitted.n_features())) {
                        fitted.encode(&frames, codes);
                    }
                    Tensor::from_slice(&codes).view([n as i64, -1])
                })
                .collect(),
        }
    }

    /// Returns the inputs of a model that takes `n_frames` at once, `[n, n_frames, frame bytes]` in chunks of
    /// [`CHUNK`]. `newest` is the place of the newest one in the stack.
    fn chunks(&self, n_frames: usize, newest: usize) -> impl Iterator<Item = Vec<u8>> {
        let (n, window) = (self.balls.len(), &self.stack[newest + 1 - n_frames..=newest]);
        let n_bytes = window[0].len() / n;
        let seen = move |i: usize| window.iter().flat_map(move |frames| &frames[i * n_bytes..][..n_bytes]).copied();
        (0..n).step_by(CHUNK).map(move |first| (first..n.min(first + CHUNK)).flat_map(seen).collect())
    }

    /// Returns the reconstructions of the newest frames, or `None` if the model cannot decode.
    fn decode(&self, fitted: &FittedEncoder) -> Option<Tensor> {
        let (model, channels) = (fitted.model(), self.images.size()[1]);
        let decode = |frames: Vec<u8>| {
            let decoded = model.decode(&model.encode(&fitted.images(&frames)))?;
            Some(decoded.narrow(1, decoded.size()[1] - channels, channels))
        };
        let chunks: Option<Vec<Tensor>> = self.chunks(fitted.n_frames(), self.stack.len() - 1).map(decode).collect();
        Some(Tensor::cat(&chunks?, 0))
    }

    /// Returns the microseconds to encode a frame: the median over batches.
    fn encode_us(&self, fitted: &FittedEncoder) -> f64 {
        let frames = self.chunks(fitted.n_frames(), self.stack.len() - 1).next().expect("at least one frame");
        let n_bytes = frames.len() / self.balls.len().min(CHUNK);
        let batch: Vec<u8> = frames.iter().copied().cycle().take(TIMED_BATCH * n_bytes).collect();
        let mut features = vec![0.0; TIMED_BATCH * fitted.n_features()];
        let mut times: Vec<f64> = (0..N_TIMED_BATCHES)
            .map(|_| {
                let began = Instant::now();
                fitted.encode(&batch, &mut features);
                began.elapsed().as_secs_f64() * 1e6 / TIMED_BATCH as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[N_TIMED_BATCHES / 2]
    }
}

fn integers(labels: &Tensor) -> Vec<i64> {
    Vec::try_from(labels).expect("a vector of integers")
}
