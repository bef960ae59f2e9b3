//! Measures what encoders preserve of an environment's true state: probes of their codes, recall of the ball (or the
//! player, where there is no ball) in decoded frames, and cost.
//!
//! Everything is measured on newly collected frames of many short games, split by episode and by frame
//! ([`parts::split`]). Probes and the ball's detector are fitted to one part and measured on another. Only frames with
//! a ball in play are used.

mod ball;
mod mlp;
mod parts;
mod picture;
mod score;
mod world;

use crate::config::encoders::EncoderSpec;
use crate::config::training::TrainConfig;
use crate::encoder::cache;
use crate::encoder::fitted::FittedEncoder;
use crate::generative::data::frames::{self, Games};
use crate::generative::measures::probe::{linear_predictions, ridge_predictions};
use anyhow::{Result, ensure};
use ball::Finder;
use carom_agents::Encoder;
pub(crate) use parts::{Measured, Size};
use parts::{Part, Seen};
pub(crate) use picture::format as picture_format;
pub(crate) use score::Score;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use tch::{Kind, Tensor};
use world::{Asked, Question, World};

/// Frames encoded at a time, except for timing.
const CHUNK: usize = 250;
/// Frames of a timed batch; a learner's usual batch.
const TIMED_BATCH: usize = 32;
/// Number of timed batches, whose median is reported.
const N_TIMED_BATCHES: usize = 21;
/// Stacked frames whose codes the probe of the direction gets, if agents of the environment observe stacks.
pub(crate) const DIRECTION_STACK: u64 = 2;

/// Score of each question by its key: see `src/probe/world.rs`.
pub(crate) type Scores = BTreeMap<&'static str, Score>;

/// Measures of one encoder. Those it does not have are `None`.
#[derive(Clone, Debug)]
pub(crate) struct EncoderMeasures {
    /// Name or path of the encoder.
    pub encoder: String,
    /// Numbers in a code.
    pub code: usize,
    /// Scores of linear probes.
    pub linear: Scores,
    /// Scores of networks with one hidden layer.
    pub mlp: Scores,
    /// Share of measured frames in whose reconstruction the ball or the player is found; see `src/probe/ball.rs`.
    pub recall: Option<Score>,
    /// Mean squared error of the reconstruction over measured frames and pixels in 0..=1.
    pub mse: Option<f64>,
    /// Seconds of the fit.
    pub fit_s: Option<f64>,
    /// Microseconds to encode a frame, in batches of 32.
    pub encode_us: Option<f64>,
}

/// Frames to probe encoders with, and the encoders.
pub(crate) struct Probe {
    world: World,
    finder: Finder,
    fit: Part,
    measured: Part,
    n_left_out: usize,
    encoders: Vec<(String, CodeSource)>,
    /// Reconstructions of the measured frames in the picture, by name of the encoder.
    shown: Vec<(String, Tensor)>,
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
    /// Fits those of `encoders` that are not in the cache, as for a run of `config`. Collects `n_frames` frames of its
    /// environment, of which those that an encoder was fitted to are not measured, and fits the ball's detector.
    ///
    /// # Errors
    /// When the environment has neither ball nor player, there are too few frames, or an encoder cannot be fitted or
    /// takes other frames than the environment's.
    pub(crate) fn new(
        config: &TrainConfig,
        encoders: &[EncoderSpec],
        n_frames: usize,
        seed: u64,
        measured: Measured,
    ) -> Result<Self> {
        let (spec, env) = (config.env.evaluation(), config.env.id());
        let world = World::of(&spec)?;
        let sources = encoders.iter().map(|encoder| CodeSource::of(encoder, config));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let encoders: Vec<_> = encoders.iter().map(EncoderSpec::to_string).zip(sources).collect();
        let known = fitted_to(&encoders)?;
        let frames = frames::collect_from(Games::SHORT, &spec, n_frames, seed)?;
        let ([fit, measured], n_left_out) = parts::split(&frames, &world, measured, known);
        ensure!(
            fit.len() > 0 && measured.len() > 0,
            "of {n_frames} frames of {env}, {} to learn from and {} to measure on have a {} ({n_left_out} were left \
             out, since they are among the frames to learn from): take more frames",
            fit.len(),
            measured.len(),
            world.object()
        );
        let finder = Finder::new(&world, &fit.images, &fit.balls);
        Ok(Self { world, finder, fit, measured, n_left_out, encoders, shown: vec![] })
    }

    /// Returns the sizes of the part that probes are fitted to and of the part that they are measured on.
    pub(crate) fn sizes(&self) -> [Size; 2] {
        [&self.fit, &self.measured].map(Part::size)
    }

    /// Returns the number of frames that are not measured since probes or encoders were fitted to the same bytes.
    pub(crate) fn n_left_out(&self) -> usize {
        self.n_left_out
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

    /// Returns the share of the measured frames in which the detector finds the ball. Reconstructions cannot be
    /// expected to do better.
    pub(crate) fn ceiling(&self) -> Score {
        self.recall(&self.measured.images)
    }

    fn recall(&self, images: &Tensor) -> Score {
        let found = self.finder.found(images, &self.measured.images, &self.measured.balls);
        Score::share(&found, &self.measured.episodes)
    }

    /// Measures each encoder.
    ///
    /// # Errors
    /// When it takes more frames at once than the environment's stack has.
    pub(crate) fn measure(&mut self) -> Result<Vec<EncoderMeasures>> {
        let _no_grad = tch::no_grad_guard();
        for (encoder, source) in &self.encoders {
            let CodeSource::Model(fitted) = source else { continue };
            let (n, n_stacked) = (fitted.n_frames(), self.measured.stack.len());
            ensure!(
                n <= n_stacked,
                "encoder `{encoder}` takes {n} frames at once, not {n_stacked}: --set env.frame_stack={n}"
            );
        }
        let mut found = vec![];
        for (encoder, source) in &self.encoders {
            tracing::info!("probing {encoder}");
            let codes = [&self.fit, &self.measured].map(|part| part.codes(source));
            let [linear, mlp] = self.scores(&codes);
            let code = codes[0][0].size()[1] as usize;
            let encoder = encoder.clone();
            let mut measures =
                EncoderMeasures { encoder, code, linear, mlp, recall: None, mse: None, fit_s: None, encode_us: None };
            if let CodeSource::Model(fitted) = source {
                (measures.fit_s, measures.encode_us) = (Some(fitted.fit_s()), Some(self.measured.encode_us(fitted)));
                if let Some(decoded) = self.measured.decode(fitted) {
                    measures.recall = Some(self.recall(&decoded));
                    let error = (&decoded - &self.measured.images).square();
                    measures.mse = Some(error.mean(Kind::Double).double_value(&[]));
                    self.shown.push((measures.encoder.clone(), self.pick(&decoded)));
                }
            }
            found.push(measures);
        }
        Ok(found)
    }

    /// Returns the scores of linear probes and of networks, fitted to the codes of one part and measured on those of
    /// the other. The codes are of each place in the stack, the newest last.
    fn scores(&self, codes: &[Vec<Tensor>; 2]) -> [Scores; 2] {
        let newest = codes.each_ref().map(|codes| codes[codes.len() - 1].shallow_clone());
        // Two positions of the ball give its direction.
        let stack = codes.each_ref().map(|codes| Tensor::cat(codes, 1));
        let (mut linear, mut mlp) = (self.linear_places(&newest), Scores::new());
        for question in self.world.questions() {
            let (key, codes) = (question.key, if question.kind == Asked::Direction { &stack } else { &newest });
            if question.kind == Asked::Amount {
                let y = self.amounts(question, &self.fit);
                linear.insert(key, self.r2(question, &ridge_predictions(&codes[0], &y, &codes[1])));
                mlp.insert(key, self.r2(question, &mlp::amounts(&codes[0], &y, &codes[1])));
                continue;
            }
            let (labels, n_classes) = self.world.classes_of(question, &self.fit.factors);
            if question.kind == Asked::Direction {
                let predicted = linear_predictions(&codes[0], &[(&labels, n_classes)], &codes[1]);
                linear.insert(key, self.f1(question, &predicted[0]));
            }
            mlp.insert(key, self.f1(question, &mlp::classes(&codes[0], &labels, n_classes, &codes[1])));
        }
        [linear, mlp]
    }

    /// Returns the scores of linear probes of places, whose products with the codes are shared.
    fn linear_places(&self, [fit, measured]: &[Tensor; 2]) -> Scores {
        let places = self.world.questions().filter(|question| matches!(question.kind, Asked::Place(_)));
        let places: Vec<Question> = places.collect();
        let labels: Vec<_> = places.iter().map(|&place| self.world.classes_of(place, &self.fit.factors)).collect();
        let targets: Vec<_> = labels.iter().map(|(labels, n_classes)| (labels, *n_classes)).collect();
        let predicted = linear_predictions(fit, &targets, measured);
        places.iter().zip(&predicted).map(|(&place, predicted)| (place.key, self.f1(place, predicted))).collect()
    }

    fn amounts(&self, question: Question, part: &Part) -> Tensor {
        self.world.amounts_of(question, &part.factors)
    }

    fn f1(&self, question: Question, predicted: &Tensor) -> Score {
        let (expected, _) = self.world.classes_of(question, &self.measured.factors);
        Score::macro_f1(&integers(predicted), &integers(&expected), &self.measured.episodes)
    }

    fn r2(&self, question: Question, predicted: &[f64]) -> Score {
        let expected = self.amounts(question, &self.measured).to_kind(Kind::Double);
        let expected = Vec::<f64>::try_from(expected).expect("a vector of doubles");
        Score::r2(predicted, &expected, &self.measured.episodes)
    }

    /// Writes measured frames and their reconstructions by the measured encoders, with the true ball or player framed,
    /// as a PNG or, with names, as an SVG.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn draw(&self, path: &Path) -> Result<()> {
        let balls: Vec<[f32; 2]> = self.shown_frames().map(|i| self.measured.balls[i as usize]).collect();
        let mut rows = vec![("frames".to_string(), self.pick(&self.measured.images))];
        rows.extend(self.shown.iter().map(|(name, images)| (name.clone(), images.shallow_clone())));
        picture::write(path, self.object(), &rows, &balls)
    }

    /// Returns indices of the measured frames in the picture, evenly spaced.
    fn shown_frames(&self) -> impl Iterator<Item = i64> + use<> {
        let (all, n) = (self.measured.len(), picture::COLUMNS.min(self.measured.len()));
        (0..n).map(move |i| ((2 * i + 1) * all / (2 * n)) as i64)
    }

    fn pick(&self, images: &Tensor) -> Tensor {
        images.index_select(0, &Tensor::from_slice(&self.shown_frames().collect::<Vec<_>>()))
    }
}

/// Returns the frames that one of the encoders was fitted to. They are played again, since fits do not store them.
fn fitted_to(encoders: &[(String, CodeSource)]) -> Result<Seen> {
    let (mut seen, mut played) = (Seen::default(), vec![]);
    for (_, source) in encoders {
        let CodeSource::Model(fitted) = source else { continue };
        let Some(of) = fitted.fitted_to().filter(|of| !played.contains(of)) else { continue };
        seen.add_training(&frames::collect(&of.env, of.n_frames, of.seed)?);
        played.push(of);
    }
    Ok(seen)
}

impl CodeSource {
    fn of(encoder: &EncoderSpec, config: &TrainConfig) -> Result<Self> {
        Ok(match encoder {
            EncoderSpec::Raw => Self::Raw,
            EncoderSpec::Oracle => Self::Oracle,
            EncoderSpec::Model(_) | EncoderSpec::Run(_) => {
                let config = TrainConfig { encoder: encoder.clone(), ..config.clone() };
                Self::Model(Box::new(cache::prepare(&config)?))
            }
        })
    }
}

impl Part {
    /// Returns codes `[n, d]` for each place in the stack, the newest last.
    fn codes(&self, source: &CodeSource) -> Vec<Tensor> {
        let n = self.len();
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
        let (n, window) = (self.len(), &self.stack[newest + 1 - n_frames..=newest]);
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
        let n_bytes = frames.len() / self.len().min(CHUNK);
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
