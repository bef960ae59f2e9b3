//! The gradients written by hand, verified against autograd.

use super::super::iwae::{gradient, plain_bound_gradient, thinned};
use super::*;
use carom_agents::net::Activation;

/// Returns the terms of `elbo_gradient` and the gradients that it leaves, by autograd.
fn elbo_gradient_by_autograd(vae: &Vae, x: &Tensor) -> ([f64; 3], [Tensor; 2]) {
    let [mean, log_var] = vae.nets.posterior(x);
    let code = &mean + (&log_var * 0.5).exp() * mean.randn_like();
    let weights = vae.nets.rarity.as_ref().map_or_else(|| x.ones_like(), |rarity| rarity.weights(x));
    let log_p = vae.nets.weighted_log_likelihood(&vae.nets.output(&code), &x.flatten(1, -1), &weights.flatten(1, -1));
    let [recon, kl] = [-log_p, gaussian_kl(&mean, &log_var)].map(|term| term.mean(Kind::Float));
    let loss = &recon + &kl * vae.nets.config.kl_weight();
    let encoder_grad = gradient(&loss, vae.nets.encoder.params());
    let decoder_grad = gradient(&loss, vae.nets.decoder.params());
    ([recon, kl, loss].map(|term| term.double_value(&[])), [encoder_grad, decoder_grad])
}

#[test]
fn the_gradient_by_hand_is_autograds() {
    let _torch = seeded(0);
    let data = noise([2, 9, 7], 255, 6);
    let x = data.train.spaced(6).all() * 0.8 + 0.1;
    let plain = VaeConfig { latent_dim: 3, hidden: vec![8, 5], channels: vec![3, 4], ..VaeConfig::default() };
    let gaussian = VaeConfig { likelihood: Likelihood::Gaussian, sigma: 0.4, ..plain.clone() };
    // More samples than go through the decoder at once.
    let many = VaeConfig { k: 300, ..plain.clone() };
    let cases = [
        plain.clone(),
        VaeConfig { activation: Activation::Tanh, beta: 0.3, ..plain.clone() },
        VaeConfig { rarity: 2.0, kl: KlReduction::Mean, ..plain.clone() },
        VaeConfig { rarity: 0.5, hidden: vec![], ..gaussian.clone() },
        gaussian.clone(),
        VaeConfig { architecture: Architecture::Conv, ..plain },
        VaeConfig { architecture: Architecture::Conv, ..many.clone() },
        many,
        VaeConfig { k: 5, architecture: Architecture::Conv, ..gaussian.clone() },
        VaeConfig { k: 5, ..gaussian },
    ];
    for config in cases {
        let mut vae = vae(config.clone(), &data);
        tch::manual_seed(1);
        // Biases off 0, so that none can be forgotten.
        for network in [&vae.nets.encoder, &vae.nets.decoder] {
            let _ = tch::no_grad(|| network.params().shallow_clone().g_add_(&(network.params().randn_like() * 0.1)));
        }
        assert_gradient_is_autograds(&mut vae, &x);
    }
}

#[test]
fn the_encoders_gradient_has_the_expectation_of_the_bounds() {
    let _torch = seeded(0);
    let data = noise([2, 9, 7], 255, 6);
    // Autograd knows the way through the Gaussian likelihood alone.
    let likelihood = Likelihood::Gaussian;
    let mut vae =
        vae(VaeConfig { latent_dim: 2, hidden: vec![3], k: 4, likelihood, sigma: 1.0, ..VaeConfig::default() }, &data);
    let x = data.train.spaced(2).all().repeat([500, 1, 1, 1]);
    let (by_hand, by_autograd): (Vec<_>, Vec<_>) = (0..100)
        .map(|_| {
            vae.nets.bound_gradient(&x, MIN_CERTAIN_WEIGHT);
            let by_hand = vae.nets.encoder.grads();
            // A step of size 0 clears the gradient.
            vae.nets.encoder.step(0.0);
            let bound = vae.nets.measure_bound(&x, 4).mean(Kind::Float);
            (by_hand, gradient(&-bound, vae.nets.encoder.params()))
        })
        .unzip();
    let [by_hand, by_autograd] = [by_hand, by_autograd].map(|grads| Tensor::stack(&grads, 0));
    let difference = &by_hand - &by_autograd;
    let error = difference.std_dim([0].as_slice(), true, false) / 10.0;
    let off = difference.mean_dim([0].as_slice(), false, Kind::Float).abs();
    assert!(off.le_tensor(&(error * 5.0 + 1e-6)).all().int64_value(&[]) == 1, "{off}");
    // A zero gradient would have that expectation too.
    let size = by_autograd.mean_dim([0].as_slice(), false, Kind::Float).abs().max();
    assert!((size / off.max()).double_value(&[]) > 20.0, "{off}");
}

#[test]
fn thinned_weights_have_the_sums_that_they_had() {
    let _torch = seeded(0);
    let weights = Tensor::from_slice(&[0.7_f32, 0.2, 0.05, 0.03, 0.0199, 1e-9, 0.0, f32::NAN]);
    let (n, least) = (20_000, 0.1);
    let mut sums = weights.zeros_like();
    for _ in 0..n {
        let left = thinned(&weights, least);
        sums = sums.index_add(0, &left, &weights.index_select(0, &left).clamp_min(least));
    }
    let means = Vec::<f32>::try_from(sums / f64::from(n)).unwrap();
    let weights = Vec::<f32>::try_from(weights).unwrap();
    for (mean, weight) in means.into_iter().zip(weights) {
        // Five standard errors of w = least times the share that stays.
        let margin = 5.0 * (weight * least as f32 / n as f32).sqrt();
        assert!((mean - weight).abs() <= margin || weight.is_nan() && mean.is_nan(), "{mean} for {weight}");
    }
    assert_eq!(thinned(&Tensor::from_slice(&[0.5_f32, 0.0]), 0.0).size(), [2]);
}

/// The gradient by hand, on the same noise.
fn assert_gradient_is_autograds(vae: &mut Vae, x: &Tensor) {
    let (config, is_elbo) = (vae.nets.config.clone(), vae.nets.config.k == 1);
    tch::manual_seed(2);
    let (expected, expected_grads) =
        if is_elbo { elbo_gradient_by_autograd(vae, x) } else { plain_bound_gradient(&vae.nets, x) };
    tch::manual_seed(2);
    let found = if is_elbo { vae.nets.elbo_gradient(x) } else { vae.nets.bound_gradient(x, 0.0) };
    for (found, expected) in found.into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found} instead of {expected}: {config:?}");
    }
    for (network, expected) in [&vae.nets.encoder, &vae.nets.decoder].into_iter().zip(expected_grads) {
        let largest = |tensor: Tensor| tensor.abs().max().double_value(&[]);
        let error = largest(network.grads() - &expected);
        assert!(error < 1e-5 * largest(expected), "off by {error}: {config:?}");
    }
}
