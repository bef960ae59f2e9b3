//! Losses and penalties by hand, spectral norm, the running mean, and mode coverage on a toy data set.

use super::super::data::dataset::{Dataset, Split};
use super::super::model::{copy, seeded};
use super::*;
use carom_envs::Seeds;
use std::f64::consts::TAU;

/// Eight Gaussians on a ring as images of 1×1×2 (Metz et al. 2017, section 3.1).
fn ring() -> Data {
    const N: usize = 2048;
    tch::manual_seed(7);
    let scatter = Vec::<f64>::try_from(Tensor::randn([2 * N as i64], (Kind::Double, Device::Cpu))).unwrap();
    let point = |idx: usize| {
        let angle = TAU * (idx % 8) as f64 / 8.0;
        let at = |unit: f64, noise: f64| (128.0 + 96.0 * unit + 4.0 * noise).round() as u8;
        [at(angle.cos(), scatter[2 * idx]), at(angle.sin(), scatter[2 * idx + 1])]
    };
    data([1, 1, 2], (0..N).flat_map(point).collect())
}

fn data(shape: [usize; 3], pixels: Vec<u8>) -> Data {
    let split = Split::new(shape, pixels, vec![]);
    let (train, test) = (split.clone(), split);
    Data::new(&Dataset { name: "toy".to_owned(), shape, max: 255, n_classes: 0, train, test }, Device::Cpu)
}

fn toy(config: &GanConfig, data: &Data, total_steps: u64) -> Gan {
    tch::manual_seed(0);
    let task = ModelTask { data, total_steps, optimizer: Optimizer::Adam, device: Device::Cpu };
    Gan::new(config, &task, &mut Seeds::new(0).stream("init")).unwrap()
}

fn small() -> GanConfig {
    GanConfig { latent_dim: 4, width: 64, classifier: "none".to_owned(), ..GanConfig::default() }
}

/// Makes update `step` on images drawn by `step`.
fn update(gan: &mut Gan, data: &Data, step: u64, lr: f64) -> Result<(), FitError> {
    tch::manual_seed(step as i64);
    let indices = Tensor::randint(data.train.len() as i64, [64], (Kind::Int64, Device::Cpu));
    gan.fit_batch(&ImageBatch { x: data.train.gather(&indices), labels: None, step, lr })
}

fn softplus(x: f64) -> f64 {
    (1.0 + x.exp()).ln()
}

#[test]
fn losses_by_hand() {
    let _torch = seeded(0);
    let (real, fake) = (Tensor::from_slice(&[2.0, -1.0]), Tensor::from_slice(&[0.5, -3.0]));
    let mean = |a: f64, b: f64| f64::midpoint(a, b);
    let cases = [
        (
            Loss::Ns,
            mean(softplus(-2.0), softplus(1.0)) + mean(softplus(0.5), softplus(-3.0)),
            mean(softplus(-0.5), softplus(3.0)),
        ),
        // Real logits above 1 and generated ones below −1 cost nothing.
        (Loss::Hinge, mean(0.0, 2.0) + mean(1.5, 0.0), 1.25),
        (Loss::WganGp, -1.25 - 0.5, 1.25),
        (Loss::Rp, mean(softplus(-1.5), softplus(-2.0)), mean(softplus(1.5), softplus(2.0))),
    ];
    for (loss, discriminator, generator) in cases {
        let found = [loss.discriminator(&real, &fake), loss.generator(&real, &fake)].map(|loss| loss.double_value(&[]));
        // Losses are means in single precision.
        assert!((found[0] - discriminator).abs() < 1e-6, "{loss:?}: {found:?}, {discriminator}");
        assert!((found[1] - generator).abs() < 1e-6, "{loss:?}: {found:?}, {generator}");
    }
}

#[test]
fn penalties_of_a_linear_discriminator_are_its_weights_norm() {
    let _torch = seeded(0);
    // D(x) = w·x + 5: |∇ₓ D|² = |w|² = 25 everywhere, whose gradient in w is 2 w.
    let w = Tensor::from_slice(&[3.0_f32, 4.0]).set_requires_grad(true);
    let x = Tensor::rand([6, 1, 1, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let logits = x.view([6, 2]).mv(&w) + 5.0;
    let squares = square_gradient(&logits, &x);
    assert!(squares.allclose(&Tensor::full([6], 25.0, (Kind::Float, Device::Cpu)), 1e-5, 1e-5, false));
    squares.mean(Kind::Float).backward();
    assert!(w.grad().allclose(&Tensor::from_slice(&[6.0_f32, 8.0]), 1e-5, 1e-5, false));
    // (5 − 1)²
    let slope = slope_penalty(&(x.view([6, 2]).mv(&w) + 5.0), &x).double_value(&[]);
    assert!((slope - 16.0).abs() < 1e-3, "{slope}");
}

#[test]
fn points_of_wgan_lie_between_their_pairs() {
    let _torch = seeded(0);
    let (zeros, ones) = (
        Tensor::zeros([5, 1, 2, 2], (Kind::Float, Device::Cpu)),
        Tensor::ones([5, 1, 2, 2], (Kind::Float, Device::Cpu)),
    );
    let x = between(&zeros, &ones);
    let pixels = x.flatten(1, -1);
    assert!(x.requires_grad() && pixels.std_dim(1, false, false).max().double_value(&[]) < 1e-6, "one share an image");
    assert!(pixels.min().double_value(&[]) > 0.0 && pixels.max().double_value(&[]) < 1.0);
}

#[test]
fn spectral_norm_makes_the_largest_singular_value_one() {
    let _torch = seeded(0);
    let data = data([1, 8, 8], (0..8 * 64).map(|pixel| (pixel % 251) as u8).collect());
    for (architecture, n_features) in [(Architecture::Dense, 16), (Architecture::Conv, 8 * 16)] {
        let config = GanConfig { architecture, width: 16, spectral_norm: true, ..small() };
        let mut gan = toy(&config, &data, 10);
        (0..200).for_each(|_| gan.discriminator.iterate());
        let Discriminator { body, spectral: Some([spectral, _]), .. } = &gan.discriminator else {
            panic!("normalised")
        };
        for weight in body.layout().split(&spectral.normalised(body)).iter().step_by(2) {
            let shape = weight.size();
            let matrix = weight.view([shape[0], -1]);
            let largest = matrix.matmul(&matrix.tr()).linalg_eigvalsh("L").max().double_value(&[]).sqrt();
            assert!((largest - 1.0).abs() < 1e-2, "{architecture:?} {shape:?}: {largest}");
        }
        update(&mut gan, &data, 0, 1e-3).unwrap();
        assert_eq!(gan.encode(&data.test.spaced(3).all()).size(), [3, n_features]);
    }
}

#[test]
fn the_running_mean_follows_faster_at_first() {
    let _torch = seeded(0);
    let (mut average, params) =
        (Tensor::zeros([1], (Kind::Float, Device::Cpu)), Tensor::ones([1], (Kind::Float, Device::Cpu)));
    follow(&mut average, &params, 0.9, 0);
    assert!((average.double_value(&[0]) - 0.9).abs() < 1e-6, "a decay of 1/10");
    follow(&mut average, &params, 0.9, 1_000_000);
    assert!((average.double_value(&[0]) - 0.91).abs() < 1e-6, "a decay of 0.9");
}

#[test]
fn pairing_covers_a_ring_of_gaussians() {
    let _torch = seeded(0);
    let data = ring();
    let mut gan = toy(&GanConfig { gamma: 0.1, ema: 0.99, ..small() }, &data, 1500);
    (0..1500)
        .for_each(|step| update(&mut gan, &data, step, 2e-3 * Schedule::Cosine.factor(step as f64 / 1500.0)).unwrap());
    tch::manual_seed(0);
    let samples = tch::no_grad(|| gan.sample(1000)).unwrap();
    let points = Vec::<f32>::try_from(samples.flatten(0, -1)).unwrap();
    let mut counts = [0; 8];
    for xy in points.chunks_exact(2) {
        let [x, y] = [xy[0], xy[1]].map(|value| (f64::from(value) * 255.0 - 128.0) / 96.0);
        if (x.hypot(y) - 1.0).abs() < 0.2 {
            counts[((y.atan2(x) / TAU * 8.0).round() as i64).rem_euclid(8) as usize] += 1;
        }
    }
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
    let measures = tch::no_grad(|| gan.evaluate(&data, Effort::Curve, None));
    assert!((measures.get("test/diversity").unwrap() - 1.0).abs() < 0.1, "{measures:?}");
}

#[test]
fn every_loss_goes_on_exactly_after_loading() {
    let _torch = seeded(0);
    let data = ring();
    for loss in [Loss::Ns, Loss::Hinge, Loss::WganGp, Loss::Rp] {
        let config = GanConfig { loss, spectral_norm: loss == Loss::Hinge, critic_steps: 2, ..small() };
        let (mut one, mut other) = (toy(&config, &data, 10), toy(&config, &data, 10));
        (0..4).for_each(|step| update(&mut one, &data, step, 1e-3).unwrap());
        copy(&one, &mut other);
        for gan in [&mut one, &mut other] {
            (4..8).for_each(|step| update(gan, &data, step, 1e-3).unwrap());
        }
        let arrays = |gan: &Gan| safetensors::serialize(gan.save().tensors(), None).unwrap();
        assert!(arrays(&one) == arrays(&other) && one.save().state() == other.save().state(), "{loss:?}");
        assert_eq!(one.strip.steps, [1, 3, 5, 7], "of ten updates");
    }
}

/// After the strip's fixed steps a longer fit has one row more, that of its end.
#[test]
fn the_strip_of_a_long_fit_is_restored() {
    let _torch = seeded(0);
    let data = ring();
    let (mut one, mut other) = (toy(&small(), &data, 20_000), toy(&small(), &data, 20_000));
    for step in one.strip.due.clone() {
        let images = one.generate(&one.average, &one.strip.noise);
        one.strip.add(step, &images);
    }
    copy(&one, &mut other);
    assert_eq!(other.strip.steps, [1000, 3000, 5000, 7000, 9000, 10_000, 20_000]);
    assert_eq!(other.strip.pixels, one.strip.pixels);
}

#[test]
fn the_strip_of_a_fit_that_was_made_longer_has_the_rows_of_both_ends() {
    let _torch = seeded(0);
    let data = ring();
    let [mut short, mut long, mut other] = [10_318, 20_636, 20_636].map(|steps| toy(&small(), &data, steps));
    let add = |gan: &mut Gan, step| {
        let images = gan.generate(&gan.average, &gan.strip.noise);
        gan.strip.add(step, &images);
    };
    short.strip.due.clone().into_iter().for_each(|step| add(&mut short, step));
    copy(&short, &mut long);
    assert!(long.strip.is_due(20_636));
    add(&mut long, 20_636);
    copy(&long, &mut other);
    assert_eq!(other.strip.steps, [1000, 3000, 5000, 7000, 9000, 10_000, 10_318, 20_636]);
    assert_eq!(other.strip.pixels, long.strip.pixels);
}

#[test]
fn a_loss_that_is_no_number_is_named() {
    let _torch = seeded(0);
    let data = ring();
    let mut gan = toy(&small(), &data, 10);
    let x = Tensor::full([4, 1, 1, 2], f64::NAN, (Kind::Float, Device::Cpu));
    let error = gan.fit_batch(&ImageBatch { x, labels: None, step: 3, lr: 1e-3 }).unwrap_err().to_string();
    assert!(error.contains("fit/d_loss") && error.contains("step 3"), "{error}");
}
