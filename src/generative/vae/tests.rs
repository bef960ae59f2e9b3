mod gradient;

use super::config::{Architecture, KlReduction};
use super::densities::{gaussian_kl, log_bernoulli};
use super::*;
use crate::generative::data::dataset::{Dataset, Split};
use crate::generative::model::seeded;
use crate::generative::settings::Optimizer;
use carom_agents::net::Sequential;
use carom_agents::net::tensor::to_vec;
use carom_envs::settings;
use safetensors::SafeTensors;
use serde_json::json;
use std::f64::consts::PI;
use tch::Device;

/// Data with these images for both splits; `max` is the byte that stands for 1.0.
fn data(shape: [usize; 3], max: u8, pixels: Vec<u8>) -> Data {
    let split = Split::new(shape, pixels, vec![]);
    let dataset = Dataset { name: "toy".to_string(), shape, max, n_classes: 0, train: split.clone(), test: split };
    Data::new(&dataset, Device::Cpu)
}

/// `n` images of `shape` whose pixels are 0 or `max` by chance.
fn noise(shape: [usize; 3], max: u8, n: usize) -> Data {
    let mut rng = Pcg32::seed_from_u64(7);
    let pixels = (0..n * shape.iter().product::<usize>()).map(|_| if rng.r#gen() { max } else { 0 }).collect();
    data(shape, max, pixels)
}

fn vae(config: VaeConfig, data: &Data) -> Vae {
    let task = ModelTask { data, total_steps: 100, optimizer: Optimizer::Adam, device: Device::Cpu };
    Vae::new(config, &task, &mut Pcg32::seed_from_u64(0)).expect("settings of a test")
}

/// Makes σ so small that the noise of samples vanishes in floats. Parallel tests share torch's generator, so
/// reproducible results must not depend on it.
fn silence(vae: &Vae) {
    spread(vae, -60.0);
}

/// Makes ln σ² start from `log_var`.
fn spread(vae: &Vae, log_var: f64) {
    let (params, d) = (vae.nets.encoder.params(), vae.nets.config.latent_dim);
    // The last layer's biases are the last parameters, and those of ln σ² the last half.
    let _ = tch::no_grad(|| params.narrow(0, params.size()[0] - d, d).fill_(log_var));
}

/// Updates `steps` on all training images.
fn fit(vae: &mut Vae, data: &Data, steps: std::ops::Range<u64>, lr: f64) {
    for step in steps {
        let batch = ImageBatch { x: data.train.all(), labels: None, step, lr };
        vae.fit_batch(&batch).expect("finite losses");
    }
}

fn evaluate(vae: &Vae, data: &Data, effort: Effort) -> Measures {
    tch::no_grad(|| vae.evaluate(data, effort, None))
}

#[test]
fn the_kl_divergence_is_the_integral() {
    let _torch = seeded(0);
    for (mean, log_var) in [(0.0, 0.0), (1.5, -1.0), (-0.7, 0.8)] {
        let (step, sigma) = (1e-3, f64::exp(0.5 * log_var));
        let log_density = |z: f64, mean: f64, sigma: f64| -0.5 * ((z - mean) / sigma).powi(2) - sigma.ln();
        let integral: f64 = (-15_000..15_000)
            .map(|i| {
                let z = f64::from(i) * step;
                let log_q = log_density(z, mean, sigma);
                log_q.exp() / (2.0 * PI).sqrt() * (log_q - log_density(z, 0.0, 1.0)) * step
            })
            .sum();
        // A second dimension, which agrees with the prior, adds nothing.
        let tensors = [mean, log_var].map(|value| Tensor::from_slice2(&[[value, 0.0]]));
        let kl = gaussian_kl(&tensors[0], &tensors[1]).double_value(&[0]);
        assert!((kl - integral).abs() < 1e-6, "KL of N({mean}, exp {log_var}): {kl}, integral {integral}");
    }
}

#[test]
fn bernoulli_probabilities_sum_to_one_and_agree_with_a_case_by_hand() {
    let _torch = seeded(0);
    let logits = Tensor::from_slice(&[3.0_f64.ln(), -30.0, 0.0]);
    let by_hand = log_bernoulli(&logits, &Tensor::from_slice(&[1.0, 0.0, 1.0])).double_value(&[]);
    assert!((by_hand - (0.75_f64.ln() + 0.5_f64.ln())).abs() < 1e-6, "{by_hand}");
    let all: Vec<f64> = (0..8).flat_map(|image| (0..3).map(move |pixel| f64::from(image >> pixel & 1))).collect();
    let log_p = log_bernoulli(&logits, &Tensor::from_slice(&all).view([8, 3]));
    assert!((log_p.exp().sum(Kind::Double).double_value(&[]) - 1.0).abs() < 1e-6);
}

#[test]
fn samples_of_black_and_white_pixels_have_their_gray_level_as_mean() {
    let _torch = seeded(0);
    let x = Tensor::from_slice(&[0.0_f32, 0.25, 1.0]);
    let drawn = binarised(&x.expand([20_000, 3], false), &mut Pcg32::seed_from_u64(3));
    let means = to_vec(&drawn.mean_dim(0, false, Kind::Float));
    assert_eq!((means[0], means[2]), (0.0, 1.0));
    assert!((means[1] - 0.25).abs() < 0.01, "{means:?}");
    assert!(to_vec(&drawn).iter().all(|&pixel| pixel == 0.0 || pixel == 1.0));
}

/// A linear decoder with orthogonal rows under Gaussian noise, whose ln p(x) and posterior are known: x ~ N(b, WᵀW + σ²
/// 1), and z|x ~ N(W (x − b) / m, σ² / m), with m = |row of W|² + σ² (Tipping & Bishop 1999; Bishop 2006, section
/// 12.2).
struct Linear {
    vae: Vae,
    x: Tensor,
    log_p: Vec<f64>,
}

impl Linear {
    const WEIGHT: [[f32; 3]; 2] = [[0.5, 0.5, 0.0], [0.3, -0.3, 0.4]];
    const BIAS: [f32; 3] = [0.1, 0.4, 0.6];
    const SIGMA: f64 = 0.3;

    /// Makes a model whose encoder is exact, except that `shift` is added to its ln σ².
    fn new(shift: f64) -> Self {
        let data = data([1, 1, 3], 255, vec![0, 100, 255, 200, 30, 90, 255, 255, 0, 10, 130, 150]);
        let config = VaeConfig {
            hidden: vec![],
            likelihood: Likelihood::Gaussian,
            sigma: Self::SIGMA,
            iwae_k: 5000,
            ..VaeConfig::default()
        };
        let vae = vae(config, &data);
        let x = data.test.spaced(4).all();
        let (weight, bias) = (Tensor::from_slice2(&Self::WEIGHT), Tensor::from_slice(&Self::BIAS));
        let variance = Self::SIGMA * Self::SIGMA;
        let m = weight.square().sum_dim_intlist(-1, false, Kind::Float) + variance;
        // `[3, 4]` and `[4]`: to both means, then to both log variances.
        let to_mean = weight.tr() / &m;
        let encoder_weight = Tensor::cat(&[&to_mean, &to_mean.zeros_like()], 1);
        let log_var = (m.reciprocal() * variance).log() + shift;
        let encoder_bias = Tensor::cat(&[-bias.unsqueeze(0).matmul(&to_mean).squeeze_dim(0), log_var], 0);
        let set = |network: &Sequential, weight: &Tensor, bias: &Tensor| {
            let params = Tensor::cat(&[weight.flatten(0, -1), bias.shallow_clone()], 0);
            tch::no_grad(|| network.params().shallow_clone().copy_(&params));
        };
        set(&vae.nets.decoder, &weight, &bias);
        set(&vae.nets.encoder, &encoder_weight, &encoder_bias);

        let covariance = weight.tr().matmul(&weight) + Tensor::eye(3, (Kind::Float, Device::Cpu)) * variance;
        let off = x.flatten(1, -1) - bias;
        let squares = (off.matmul(&covariance.inverse()) * &off).sum_dim_intlist(-1, false, Kind::Float);
        let constant = 3.0 * (2.0 * PI).ln() + covariance.det().log().double_value(&[]);
        let log_p = to_vec(&squares).into_iter().map(|square| -0.5 * (f64::from(square) + constant)).collect();
        Self { vae, x, log_p }
    }

    /// Returns the mean of ln p(x) over the images.
    fn exact(&self) -> f64 {
        self.log_p.iter().sum::<f64>() / self.log_p.len() as f64
    }

    /// Returns the mean of the `k`-sample bound over the images, each used `repeats` times.
    fn bound(&self, k: i64, repeats: i64) -> f64 {
        self.vae.nets.measure_bound(&self.x.repeat([repeats, 1, 1, 1]), k).mean(Kind::Double).double_value(&[])
    }
}

#[test]
fn with_the_exact_posterior_every_sample_is_the_likelihood() {
    let _torch = seeded(0);
    let linear = Linear::new(0.0);
    let bounds = to_vec(&linear.vae.nets.measure_bound(&linear.x, 1));
    for (bound, exact) in bounds.into_iter().zip(&linear.log_p) {
        assert!((f64::from(bound) - exact).abs() < 1e-4, "{bound} where ln p(x) is {exact}");
    }
}

#[test]
fn the_bound_grows_with_k_from_the_elbo_to_the_likelihood() {
    let _torch = seeded(0);
    let linear = Linear::new(1.2);
    let terms = linear.vae.nets.elbo_terms(&linear.x.repeat([20_000, 1, 1, 1]));
    let [recon, kl] = terms.map(|term| term.mean(Kind::Double).double_value(&[]));
    let (elbo, exact) = (-recon - kl, linear.exact());
    let (one, ten, many) = (linear.bound(1, 20_000), linear.bound(10, 20_000), linear.bound(5000, 4));
    assert!((one - elbo).abs() < 0.05, "one sample {one}, ELBO {elbo}");
    // Two dimensions lose ½ (e^1.2 − 1 − 1.2) each: KL of the encoder from the posterior.
    assert!((exact - elbo - (1.2_f64.exp() - 2.2)).abs() < 0.05, "ELBO {elbo}, likelihood {exact}");
    assert!(one + 0.3 < ten && ten + 0.02 < many, "{one}, {ten}, {many}");
    assert!((many - exact).abs() < 0.02, "{many}, likelihood {exact}");
}

#[test]
fn the_mean_of_the_kl_is_a_beta_of_one_over_the_width() {
    let _torch = seeded(0);
    let data = noise([1, 4, 4], 1, 8);
    let fitted = |kl, beta| {
        let mut vae = vae(VaeConfig { latent_dim: 4, hidden: vec![8], kl, beta, ..VaeConfig::default() }, &data);
        silence(&vae);
        fit(&mut vae, &data, 0..5, 1e-2);
        to_vec(vae.nets.encoder.params())
    };
    let mean = fitted(KlReduction::Mean, 1.0);
    assert_eq!(mean, fitted(KlReduction::Sum, 0.25));
    assert_ne!(mean, fitted(KlReduction::Sum, 1.0));
}

#[test]
fn eight_images_are_learned_by_heart() {
    let _torch = seeded(0);
    let eight = noise([1, 10, 10], 1, 8);
    // Each eight times, for steadier gradients.
    let pixels = Vec::<f32>::try_from(eight.train.spaced(8).all().repeat([8, 1, 1, 1]).flatten(0, -1)).expect("pixels");
    let data = data([1, 10, 10], 1, pixels.into_iter().map(|pixel| pixel as u8).collect());
    let small = VaeConfig { latent_dim: 4, hidden: vec![64], channels: vec![8, 16], iwae_k: 1, ..VaeConfig::default() };
    let cases = [
        ("dense", small.clone()),
        ("k = 5", VaeConfig { k: 5, iwae_k: 5, ..small.clone() }),
        ("conv", VaeConfig { architecture: Architecture::Conv, ..small }),
    ];
    for (name, config) in cases {
        let mut vae = vae(config, &data);
        // The bound that is fitted: after fitting with k = 5 the ELBO may still be far below it.
        let before = evaluate(&vae, &data, Effort::Full).get("test/iwae").expect("a measure");
        // Eight equally likely images known by heart have ln p(x) = −ln 8 = −2.1; fair coins −69.3.
        fit(&mut vae, &data, 0..400, 5e-3);
        let after = evaluate(&vae, &data, Effort::Full).get("test/iwae").expect("a measure");
        assert!(before < -60.0 && after > -10.0, "{name}: bound {before} before, {after} after");
    }
}

#[test]
fn gaussian_pixels_are_learned() {
    let _torch = seeded(0);
    let data = noise([1, 4, 4], 2, 8);
    let config =
        VaeConfig { latent_dim: 4, hidden: vec![32], likelihood: Likelihood::Gaussian, ..VaeConfig::default() };
    let mut vae = vae(config, &data);
    fit(&mut vae, &data, 0..400, 1e-2);
    let x = data.test.spaced(8).all();
    let recon = vae.decode(&vae.encode(&x)).expect("images");
    let mse = (recon - x).square().mean(Kind::Float).double_value(&[]);
    assert!(mse < 0.02, "mean squared error {mse} where σ² is 0.01 and no code at all leaves 0.25");
}

#[test]
fn codes_and_images_of_all_sizes_have_their_shapes() {
    let _torch = seeded(0);
    for shape in [[1, 28, 28], [4, 10, 10], [1, 84, 84], [2, 9, 7]] {
        let data = noise(shape, 1, 2);
        for architecture in [Architecture::Dense, Architecture::Conv] {
            let config = VaeConfig { latent_dim: 3, hidden: vec![5], architecture, ..VaeConfig::default() };
            let vae = vae(config, &data);
            let x = data.test.spaced(2).all();
            let code = vae.encode(&x);
            assert_eq!(code.size(), [2, 3]);
            assert_eq!(vae.decode(&code).expect("images").size(), x.size());
            let drawn = vae.sample(2).expect("images");
            assert_eq!(drawn.size(), x.size());
            let (low, high) = (drawn.min().double_value(&[]), drawn.max().double_value(&[]));
            assert!(0.0 <= low && high <= 1.0, "{low}..{high}");
        }
    }
}

#[test]
fn a_full_measurement_tells_the_bound_and_what_it_was_measured_on() {
    let _torch = seeded(0);
    let gray = data([1, 2, 2], 255, (0..48).map(|i| (i * 5) as u8).collect());
    let config = VaeConfig {
        hidden: vec![8],
        binarisation: Binarisation::Dynamic,
        iwae_k: 2100,
        iwae_images: 5,
        ..VaeConfig::default()
    };
    let vae = vae(config, &gray);
    let images = || Tensor::cat(&vae.test_images(&gray, 5).collect::<Vec<_>>(), 0);
    assert_eq!(images().size(), [12, 1, 2, 2]);
    assert_eq!(to_vec(&images()), to_vec(&images()), "one draw of the test images");
    assert!(to_vec(&images()).iter().all(|&pixel| pixel == 0.0 || pixel == 1.0));

    let measures = evaluate(&vae, &gray, Effort::Full);
    let value = |name| measures.get(name).unwrap_or_else(|| panic!("{name} is measured"));
    assert!((value("test/elbo") + value("test/recon") + value("test/kl")).abs() < 1e-9);
    assert!(value("test/iwae") > value("test/elbo") - 3.0 * value("test/iwae_se"));
    assert!(value("test/iwae_se") > 0.0 && (0.0..=2.0).contains(&value("test/active_units")));
    let json = measures.to_json();
    assert_eq!(json["iwae_k"], json!("2100"));
    assert_eq!(json["iwae_images"], json!("4 of 12 test images, the gain over 200 samples carried over to the rest"));
    assert!(json["binarisation"].as_str().is_some_and(|fact| fact.starts_with("dynamic")));
}

#[test]
fn the_bound_of_some_images_stands_for_that_of_all() {
    let _torch = seeded(0);
    let data = noise([1, 4, 4], 1, 60);
    let config = VaeConfig { hidden: vec![8], iwae_k: 1000, iwae_images: 60, ..VaeConfig::default() };
    let mut vae = vae(config, &data);
    let of_all = evaluate(&vae, &data, Effort::Full);
    vae.nets.config.iwae_images = 20;
    let of_some = evaluate(&vae, &data, Effort::Full);
    let [bound, error] = ["test/iwae", "test/iwae_se"].map(|name| of_some.get(name).expect("a measure"));
    assert_eq!(of_all.get("test/iwae_se"), Some(0.0));
    assert!(0.0 < error && error < 0.1, "{error}");
    assert!((bound - of_all.get("test/iwae").expect("a measure")).abs() < 4.0 * error);
}

#[test]
fn a_code_that_says_nothing_has_no_active_units() {
    let _torch = seeded(0);
    let data = noise([1, 4, 4], 1, 8);
    let vae = vae(VaeConfig { hidden: vec![8], iwae_k: 10, ..VaeConfig::default() }, &data);
    assert_eq!(evaluate(&vae, &data, Effort::Full).get("test/active_units"), Some(2.0));
    let _ = tch::no_grad(|| vae.nets.encoder.params().shallow_clone().zero_());
    assert_eq!(evaluate(&vae, &data, Effort::Full).get("test/active_units"), Some(0.0));
}

#[test]
fn what_was_saved_goes_on_as_if_never_stopped() {
    let _torch = seeded(0);
    let data = noise([1, 4, 4], 1, 8);
    let config = VaeConfig { hidden: vec![8], ..VaeConfig::default() };
    let mut first = vae(config.clone(), &data);
    silence(&first);
    fit(&mut first, &data, 0..5, 1e-2);
    let snapshot = first.save();
    let bytes = safetensors::serialize(snapshot.tensors(), None).expect("arrays");
    let state = snapshot.state().clone();
    drop(snapshot);
    let task = ModelTask { data: &data, total_steps: 100, optimizer: Optimizer::Adam, device: Device::Cpu };
    let mut second = Vae::new(config, &task, &mut Pcg32::seed_from_u64(99)).expect("settings of a test");
    let arrays = SafeTensors::deserialize(&bytes).expect("arrays");
    second.load(&Loaded::new(&arrays, &state)).expect("its own snapshot");
    for vae in [&mut first, &mut second] {
        fit(vae, &data, 5..8, 1e-2);
    }
    assert_eq!(first.stats(), second.stats());
    for (one, other) in [(&first.nets.encoder, &second.nets.encoder), (&first.nets.decoder, &second.nets.decoder)] {
        assert_eq!(to_vec(one.params()), to_vec(other.params()));
    }
}

#[test]
fn the_importance_weighted_bound_refuses_a_weight_of_the_kl() {
    let given = json!({"k": 5, "beta": 0.5});
    let error = settings::resolve::<VaeConfig>(given.as_object().expect("a table")).expect_err("a beta").to_string();
    assert!(error.contains("beta is 0.5") && error.contains("k is 5"), "{error}");
    let given = json!({"k": 5, "beta": 0.5, "elbo_updates": 10});
    settings::resolve::<VaeConfig>(given.as_object().expect("a table")).expect("ten updates have a KL to weigh");
}

#[test]
fn the_importance_weighted_bound_can_follow_updates_of_the_elbo() {
    let _torch = seeded(0);
    let data = noise([1, 4, 4], 1, 8);
    let plain = VaeConfig { hidden: vec![8], ..VaeConfig::default() };
    let both = VaeConfig { k: 5, elbo_updates: 3, ..plain.clone() };
    let params = |config: &VaeConfig, n_updates: u64| {
        let mut vae = vae(config.clone(), &data);
        tch::manual_seed(0);
        fit(&mut vae, &data, 0..n_updates, 1e-2);
        to_vec(vae.nets.encoder.params())
    };
    assert_eq!(params(&both, 3), params(&plain, 3));
    assert_ne!(params(&both, 4), params(&plain, 4));
    let bound = VaeConfig { elbo_updates: 0, ..both.clone() };
    assert_ne!(params(&both, 1), params(&bound, 1));
}

#[test]
fn rare_pixels_count_more_in_what_is_fitted_and_not_in_what_is_measured() {
    let _torch = seeded(0);
    let data = data([1, 1, 2], 1, vec![1, 0, 0, 0, 1, 0, 0, 1]);
    let mut vae = vae(VaeConfig { rarity: 2.0, ..VaeConfig::default() }, &data);
    let (logits, x) = (Tensor::from_slice2(&[[1.0_f32, -2.0]]), Tensor::from_slice2(&[[1.0_f32, 0.0]]));
    // 3 ln σ(1) + ln (1 − σ(−2)) = 3 · −0.313262 − 0.126928
    let by_hand =
        vae.nets.weighted_log_likelihood(&logits, &x, &Tensor::from_slice2(&[[3.0_f32, 1.0]])).double_value(&[0]);
    assert!((by_hand + 1.066_713).abs() < 1e-5, "{by_hand}");

    silence(&vae);
    let x = data.test.spaced(4).all();
    let measured = vae.nets.elbo_terms(&x);
    let rarity = vae.nets.rarity.as_ref().expect("a weight").weights(&x).flatten(1, -1);
    let output = vae.nets.output(&vae.encode(&x));
    let expected = -vae.nets.weighted_log_likelihood(&output, &x.flatten(1, -1), &rarity);
    let mean = |terms: &Tensor| terms.mean(Kind::Double).double_value(&[]);
    let [recon, kl, _] = vae.nets.elbo_gradient(&x);
    assert!((recon - mean(&expected)).abs() < 1e-4);
    assert_eq!(kl, mean(&measured[1]));
    // All weights are above 1 where each pixel varies.
    assert!(expected.gt_tensor(&(&measured[0] * 1.5)).all().int64_value(&[]) == 1);
}

#[test]
fn what_is_not_a_number_stops_the_fit_by_its_name() {
    let _torch = seeded(0);
    let data = noise([1, 4, 4], 1, 8);
    for k in [1, 5] {
        let mut vae = vae(VaeConfig { k, ..VaeConfig::default() }, &data);
        let _ = tch::no_grad(|| vae.nets.decoder.params().shallow_clone().fill_(f64::NAN));
        let batch = ImageBatch { x: data.train.spaced(8).all(), labels: None, step: 7, lr: 1e-3 };
        let error = vae.fit_batch(&batch).expect_err("a loss that is none").to_string();
        assert!(error.starts_with("fit/recon is NaN at step 7"), "{error}");
    }
}
