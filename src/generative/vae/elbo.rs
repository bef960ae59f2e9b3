//! The evidence lower bound (Kingma & Welling 2014): ELBO = E_q[ln p(x|z)] − KL(q(z|x) ‖ p(z)), by one reparameterised
//! sample z = μ + σ ε and the KL in closed form.

use super::config::Likelihood;
use super::densities::gaussian_kl;
use super::networks::{Networks, mean_and_log_var, uncropped};
use carom_agents::net::bce_with_gradient;
use tch::{Kind, Tensor};

impl Networks {
    /// Returns −ln p(x|z) of one sample and KL(q ‖ p), each `[B]`.
    pub(super) fn elbo_terms(&self, x: &Tensor) -> [Tensor; 2] {
        let [mean, log_var] = self.posterior(x);
        let code = &mean + (&log_var * 0.5).exp() * mean.randn_like();
        [-self.log_likelihood(&self.output(&code), &x.flatten(1, -1)), gaussian_kl(&mean, &log_var)]
    }

    /// Computes the gradient of the loss, −ln p(x|z) + β KL(q ‖ p), in both networks. Returns means over the batch of
    /// −ln p(x|z), the KL divergence and the loss. The gradient is written by hand, since autograd would double the
    /// time of an update: with z = μ + σ ε, ∂z/∂μ = 1 and ∂z/∂ln σ² = ½ σ ε, and ∂KL/∂μ = μ and ∂KL/∂ln σ² = ½ (σ² −
    /// 1).
    pub(super) fn elbo_gradient(&mut self, x: &Tensor) -> [f64; 3] {
        let _no_grad = tch::no_grad_guard();
        let [mean, log_var] = mean_and_log_var(&self.encoder.pass(x).detach());
        let (noise, sigma) = (mean.randn_like(), (&log_var * 0.5).exp());
        let spread = noise * &sigma;
        let images = self.decoder.pass(&(&mean + &spread).set_requires_grad(true));
        let (recon, grad) = self.recon_with_gradient(&self.cropped(&images), x);
        let d_code = self.decoder.back(&uncropped(grad, &images)).expect("a code requires a gradient");

        let weight = self.config.kl_weight();
        let share = weight / x.size()[0] as f64;
        let d_mean = &d_code + &mean * share;
        let d_log_var = (d_code * spread + (sigma.square() - 1.0) * share) * 0.5;
        self.encoder.back(&Tensor::cat(&[d_mean, d_log_var], 1));
        let kl = gaussian_kl(&mean, &log_var).mean(Kind::Double).double_value(&[]);
        [recon, kl, recon + weight * kl]
    }

    /// Returns the mean over the batch of −ln p(x|z) under the weights of rare pixels, and its gradient in `output`.
    /// Both `output` and `x` are `[B, channels, rows, columns]`.
    fn recon_with_gradient(&self, output: &Tensor, x: &Tensor) -> (f64, Tensor) {
        let _no_grad = tch::no_grad_guard();
        let share = 1.0 / x.size()[0] as f64;
        let mean = |log_p: Tensor| -log_p.mean(Kind::Double).double_value(&[]);
        let (flat_output, flat_x) = (output.flatten(1, -1), x.flatten(1, -1));
        let (recon, grad) = match self.config.likelihood {
            Likelihood::Bernoulli => bce_with_gradient(output, x, share),
            Likelihood::Gaussian => {
                let grad = (output - x) * (share / (self.config.sigma * self.config.sigma));
                (mean(self.log_likelihood(&flat_output, &flat_x)), grad)
            }
        };
        let Some(rarity) = &self.rarity else { return (recon, grad) };
        let weights = rarity.weights(x);
        let weighted = self.weighted_log_likelihood(&flat_output, &flat_x, &weights.flatten(1, -1));
        (mean(weighted), grad * weights)
    }

    /// Returns ln p(x|z) with each pixel's part times its weight: `output` `[.., B, pixels]`, `x` and `weights` `[B,
    /// pixels]`.
    pub(super) fn weighted_log_likelihood(&self, output: &Tensor, x: &Tensor, weights: &Tensor) -> Tensor {
        // Each pixel is a row of length 1.
        let parts = self.log_likelihood(&output.unsqueeze(-1), &x.unsqueeze(-1));
        (parts * weights).sum_dim_intlist(-1, false, Kind::Float)
    }
}
