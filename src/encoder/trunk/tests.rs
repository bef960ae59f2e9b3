//! Encoders and decoders give the codes and images of their models, and each loss trains its own parameters.

use super::*;
use crate::generative::data::dataset::{Dataset, Split};
use crate::generative::difference::FrameDifference;
use crate::generative::images::Data;
use crate::generative::model::Model;
use crate::generative::registry::{self, MODELS};
use crate::generative::settings::{ModelTask, Optimizer};
use carom_agents::losses::Loss;
use carom_agents::net::NetSpec;
use carom_agents::optim::{OptimConfig, Rule};
use carom_agents::{QNetwork, SharedTrunk, Stat, Update, Weights};
use carom_envs::{ObsSpace, Seeds};
use rand::Rng;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tch::Device;

const SPACE: ObsSpace = ObsSpace::Planes { shape: [12, 9, 2] };
const FRAME_BYTES: usize = 12 * 9 * 2;

fn image_space() -> ImageSpace {
    SPACE.image().expect("planes are images")
}

/// 60 frames in which a few cells are set.
fn frames() -> Vec<u8> {
    let mut rng = Seeds::new(4).stream("frames");
    (0..60 * FRAME_BYTES).map(|_| u8::from(rng.gen_bool(0.1))).collect()
}

fn data() -> Data {
    let images = images(image_space(), 1, &Tensor::from_slice(&frames())).to_kind(Kind::Uint8);
    let pixels = Vec::try_from(images.flatten(0, -1)).expect("bytes");
    let split = Split::new([2, 12, 9], pixels, vec![]);
    let (train, test) = (split.clone(), split);
    Data::new(&Dataset { name: "cells".into(), shape: [2, 12, 9], max: 1, n_classes: 10, train, test }, Device::Cpu)
}

fn model(name: &str, settings: &Value) -> Box<dyn Model> {
    tch::manual_seed(1);
    let settings = settings.as_object().expect("a table").clone();
    let settings = registry::resolve(name, &settings).unwrap_or_else(|e| panic!("{e:#}"));
    let data = data();
    let task = ModelTask { data: &data, total_steps: 10, optimizer: Optimizer::Adam, device: Device::Cpu };
    settings.make(&task, &mut Seeds::new(0).stream("init")).unwrap_or_else(|e| panic!("{name}: {e:#}"))
}

fn trunk(model: &dyn Model, recon_weight: Option<f64>) -> EncoderTrunk {
    let mut networks = model.networks().expect("an encoder");
    if recon_weight.is_none() {
        networks.decoder = None;
    }
    let code = tch::no_grad(|| model.encode(&data().test.spaced(60).all()));
    let scales = [code.mean_dim(0, false, Kind::Float), code.std_dim(0, false, false) + 0.1];
    EncoderTrunk { networks, space: image_space(), n_frames: 1, scales, recon_weight }
}

fn assert_close(what: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.size(), theirs.size(), "shapes of {what}");
    let difference = (ours - theirs).abs().max().double_value(&[]);
    assert!(difference < 1e-5, "{what}: {difference} apart");
}

#[test]
fn networks_give_what_their_models_give() {
    let spectral = json!({"architecture": "dense", "width": 16, "spectral_norm": true, "classifier": "none"});
    let cases = [
        ("ae", json!({"latent_dim": 5, "hidden": [7]})),
        ("cnn-ae", json!({"filters": 3})),
        ("vae", json!({"latent_dim": 3, "hidden": [8]})),
        ("vae", json!({"latent_dim": 3, "hidden": [8], "architecture": "conv", "likelihood": "gaussian"})),
        ("rbm", json!({"latent_dim": 6})),
        ("rbm", json!({"latent_dim": 6, "visible": "gaussian"})),
        ("gan", spectral),
        ("random", json!({"latent_dim": 6})),
    ];
    for (name, settings) in cases {
        let (model, what) = (model(name, &settings), format!("{name} {settings}"));
        let trunk = trunk(&*model, Some(1.0));
        let (x, bytes) = (data().test.spaced(60).all(), Tensor::from_slice(&frames()).view([60, -1]));
        let _no_grad = tch::no_grad_guard();
        let code = model.encode(&x);
        let [mean, width] = &trunk.scales;
        let params = Tensor::from_slice(&trunk.params());
        assert_close(&what, &trunk.features(&params, &bytes), &((&code - mean) / width));

        let Some(image) = model.decode(&code) else {
            assert!(trunk.loss(&params, &bytes).is_none(), "{what}");
            continue;
        };
        let (loss, weight) = trunk.loss(&params, &bytes).expect("a decoder");
        assert_eq!(weight, 1.0);
        let has_logits = trunk.networks.has_logits;
        let expected = match has_logits {
            true => image.binary_cross_entropy::<Tensor>(&x, None, tch::Reduction::Mean),
            // `decode` clamps to 0..=1; the trunk does not.
            false => (&image - &x).square().mean(Kind::Float),
        };
        match has_logits {
            true => assert_close(&what, &loss, &expected),
            false => assert!(loss.double_value(&[]) >= expected.double_value(&[]) - 1e-6, "{what}"),
        }
    }
}

#[test]
fn rare_pixels_count_as_they_did_in_the_fit() {
    let losses = [0.0, 0.5].map(|rarity| {
        let trunk = trunk(&*model("ae", &json!({"latent_dim": 5, "rarity": rarity})), Some(1.0));
        let params = Tensor::from_slice(&trunk.params());
        let frames = Tensor::from_slice(&frames()).view([60, -1]);
        let code = trunk.code(&trunk.parts(&params)[0], &data().test.spaced(60).all());
        let logits = trunk.networks.decoder.as_ref().expect("a decoder").forward(&code);
        (trunk.loss(&params, &frames).expect("a loss").0, bce(&logits, &data().test.spaced(60).all()))
    });
    let x = data().train.spaced(60).all();
    let (mean, deviation) = (x.mean_dim(0, true, Kind::Float), x.std_dim(0, false, true).clamp_min(0.02));
    let weights = (x - mean).abs() / deviation * 0.5 + 1.0;
    let [(plain, per_pixel), (weighted, _)] = losses;
    assert_close("without weights", &plain, &per_pixel.mean(Kind::Float));
    assert_close("with weights", &weighted, &(per_pixel * weights).mean(Kind::Float));
}

#[test]
fn the_difference_of_frames_counts_as_it_did_in_the_fit() {
    let mut trunk = trunk(&*model("ae", &json!({"latent_dim": 5})), Some(1.0));
    let params = Tensor::from_slice(&trunk.params());
    let frames = Tensor::from_slice(&frames()).view([60, -1]);
    let plain = trunk.loss(&params, &frames).expect("a loss").0;
    // The two planes as two frames.
    trunk.networks.difference = FrameDifference::of(3.0, &Data { n_frames: 2, ..data() }).expect("two frames");
    let x = data().test.spaced(60).all();
    let decoder = trunk.networks.decoder.as_ref().expect("a decoder");
    let p = decoder.forward(&trunk.code(&trunk.parts(&params)[0], &x)).sigmoid();
    let [seen, true_one] = [p, x].map(|frames| frames.select(1, 1) - frames.select(1, 0));
    let expected = plain + (seen - true_one).square().mean(Kind::Float) * 3.0;
    assert_close("with differences", &trunk.loss(&params, &frames).expect("a loss").0, &expected);
}

#[test]
fn a_model_is_refused_exactly_where_it_lacks_a_half() {
    for entry in MODELS {
        let settings =
            if entry.name == "gan" { json!({"architecture": "dense", "classifier": "none"}) } else { json!({}) };
        let networks = model(entry.name, &settings).networks();
        assert_eq!(refuse(entry.name, EncoderMode::Finetune).is_ok(), networks.is_some(), "{}", entry.name);
        let has_decoder = networks.is_some_and(|networks| networks.decoder.is_some());
        assert_eq!(refuse(entry.name, EncoderMode::Joint).is_ok(), has_decoder, "{}", entry.name);
        assert!(refuse(entry.name, EncoderMode::Frozen).is_ok());
    }
}

/// A network of two frames behind `trunk`, its first parameters, and those after `n` updates; first and last
/// statistics.
fn train(trunk: EncoderTrunk, n: usize) -> ([Vec<f32>; 2], [Vec<Stat>; 2]) {
    let before = trunk.params();
    let spec = NetSpec::new(SPACE, 2, &[16], 3);
    let mut rng = Seeds::new(2).stream("init");
    let trunk = Arc::new(Mutex::new(trunk));
    let mut network = QNetwork::new(spec, Some(trunk), OptimConfig::of(Rule::Adam), Device::Cpu, &mut rng);
    let obs = frames();
    let actions: Vec<u8> = (0..30).map(|b| b % 3).collect();
    let targets: Vec<f32> = (0..30).map(|_| rng.gen_range(-1.0..1.0)).collect();
    let how = Update { loss: Loss::Squared, lr: 3e-3, max_grad_norm: 0.0 };
    let mut stats = vec![];
    for _ in 0..n {
        network.fit(&obs, &actions, &targets, &how).expect("finite losses");
        stats.push(network.stats());
    }
    let snapshot = network.save();
    let arrays = safetensors::serialize(snapshot.tensors(), None).expect("named arrays");
    let arrays = safetensors::SafeTensors::deserialize(&arrays).expect("arrays just written");
    let online = arrays.tensor("online").expect("parameters").data().as_chunks().0.to_vec();
    let online: Vec<f32> = online.into_iter().map(f32::from_le_bytes).collect();
    let after = online[..before.len()].to_vec();
    ([before, after], [stats.swap_remove(0), stats.pop().expect("updates")])
}

fn stat(stats: &[Stat], name: &str) -> Option<f64> {
    stats.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

#[test]
fn the_td_loss_reaches_the_encoder_and_the_reconstruction_both_halves() {
    let model = model("ae", &json!({"latent_dim": 8, "hidden": [24], "activation": "elu"}));
    let n_encoder = model.networks().expect("networks").encoder.n_params();
    let moved = |[before, after]: &[Vec<f32>; 2], part: std::ops::Range<usize>| before[part.clone()] != after[part];

    let (params, [first, last]) = train(trunk(&*model, None), 40);
    assert_eq!(params[0].len(), n_encoder, "without reconstruction there is no decoder");
    assert!(moved(&params, 0..n_encoder));
    assert!(stat(&last, "train/loss") < stat(&first, "train/loss").map(|loss| 0.5 * loss), "{first:?} {last:?}");
    assert_eq!(stat(&last, "train/recon"), None);

    // With a reconstruction weight of 0 only the TD loss is left, which must not train the decoder.
    let ([before, after], [first, last]) = train(trunk(&*model, Some(0.0)), 40);
    let n_params = before.len();
    let params = [before, after];
    assert!(n_params > n_encoder && moved(&params, 0..n_encoder) && !moved(&params, n_encoder..n_params));
    let unweighted = stat(&last, "train/recon");
    assert!(unweighted.is_some() && stat(&first, "train/recon").is_some());

    let (params, [first, last]) = train(trunk(&*model, Some(1.0)), 40);
    assert!(moved(&params, 0..n_encoder) && moved(&params, n_encoder..n_params));
    for name in ["train/recon", "train/loss"] {
        assert!(stat(&last, name) < stat(&first, name).map(|loss| 0.9 * loss), "{name}: {first:?} {last:?}");
    }
    assert!(stat(&last, "train/recon") < unweighted);
}

#[test]
fn a_stack_is_the_codes_of_its_frames_oldest_first() {
    let model = model("ae", &json!({"latent_dim": 4}));
    let trunk = Arc::new(Mutex::new(trunk(&*model, None)));
    let params = Tensor::from_slice(&trunk.params());
    let bytes = frames();
    let q = |trunk: Option<SharedTrunk>, obs_space: ObsSpace, obs: &[u8]| {
        let spec = NetSpec::new(obs_space, 2, &[16], 3);
        let mut rng = Seeds::new(2).stream("init");
        QNetwork::new(spec, trunk, OptimConfig::of(Rule::Adam), Device::Cpu, &mut rng).q(Weights::Online, obs).to_vec()
    };
    let features = tch::no_grad(|| trunk.features(&params, &Tensor::from_slice(&bytes).view([60, -1])));
    let features: Vec<u8> = to_vec(&features).iter().flat_map(|feature| feature.to_le_bytes()).collect();
    let ours = q(Some(trunk), SPACE, &bytes);
    let theirs = q(None, ObsSpace::Vector { len: 4 }, &features);
    assert_close("Q-values", &Tensor::from_slice(&ours), &Tensor::from_slice(&theirs));
}
