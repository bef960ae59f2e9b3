//! The importance-weighted bound (Burda, Grosse & Salakhutdinov 2016): ln (1/k) Σ wᵢ with wᵢ = p(x|zᵢ) p(zᵢ) / q(zᵢ|x),
//! whose expectation grows with k towards ln p(x).

use super::config::Likelihood;
use super::densities::log_gaussian;
use super::networks::{Networks, mean_and_log_var, uncropped};
use carom_agents::net::{bce_rows, bce_with_gradient};
use tch::{Kind, Tensor};

/// Rows that are decoded at once: enough for a fast matrix product, few enough for the cache.
pub(super) const ROWS_AT_ONCE: i64 = 1000;
/// Share of an image's weights below which a sample is differentiated only by chance: see [`thinned`]. On average no
/// more than twenty samples of an image are then differentiated, whatever k is, and far fewer where weights are as
/// uneven as those of a young encoder. That adds at most a twentieth of a sample's squared gradient to the variance.
pub(super) const MIN_CERTAIN_WEIGHT: f64 = 0.05;

/// Returns the importance-weighted bound ln (1/k) Σ wᵢ of `log_w`, `[k, B]`: `[B]`. Burda et al. 2016, equation 8.
pub(super) fn iwae_bound(log_w: &Tensor) -> Tensor {
    log_w.logsumexp(0, false) - (log_w.size()[0] as f64).ln()
}

impl Networks {
    /// Computes the gradient of the negative bound in both networks. Returns means over the batch of −ln p(x|z) and −ln
    /// p(z) / q(z|x), over the samples too, and of the negative bound.
    ///
    /// With w̃ᵢ = wᵢ / Σ wⱼ the decoder's gradient of the bound is Σ w̃ᵢ ∇ ln wᵢ (Burda et al. 2016, equation 13). The
    /// encoder's is doubly reparameterised (Tucker et al. 2019, section 4): Σ w̃ᵢ² ∂ln wᵢ/∂zᵢ · ∂zᵢ/∂φ with zᵢ = μ + σ
    /// ε, which has the expectation of equation 13 and, with many samples, far less variance. All samples are decoded
    /// to find w̃; then those that [`thinned`] keeps are decoded again and differentiated.
    pub(super) fn bound_gradient(&mut self, x: &Tensor, least_weight: f64) -> [f64; 3] {
        let _no_grad = tch::no_grad_guard();
        let [mean, log_var] = mean_and_log_var(&self.encoder.pass(x).detach());
        let (n_images, k, d) = (x.size()[0], self.config.k, self.config.latent_dim);
        let noise = Tensor::randn([k, n_images, d], (Kind::Float, self.device));
        let flat = x.flatten(1, -1);
        // Some samples at a time, so that what the decoder computes stays in the cache.
        let terms = noise.split(samples_at_once(n_images), 0);
        let terms = terms.iter().map(|noise| self.weight_terms(&flat, [&mean, &log_var], noise).into());
        let (log_p, log_ratio): (Vec<Tensor>, Vec<Tensor>) = terms.unzip();
        let [log_p, log_ratio] = [log_p, log_ratio].map(|terms| Tensor::cat(&terms, 0));
        let log_w = &log_p + &log_ratio;

        let weights = log_w.softmax(0, Kind::Double).flatten(0, -1).to_kind(Kind::Float);
        let counted = thinned(&weights, least_weight);
        let image = counted.remainder(n_images);
        let weights = weights.index_select(0, &counted).unsqueeze(1);
        // A sample that `thinned` kept by chance stands for those it dropped.
        let shares = weights.clamp_min(least_weight) / n_images as f64;
        let (noise, sigma) =
            (noise.view([-1, d]).index_select(0, &counted), (log_var * 0.5).exp().index_select(0, &image));
        let spread = &noise * &sigma;
        let code = mean.index_select(0, &image) + &spread;
        // −∂ln w/∂z = −∂ln p(x|z)/∂z + z − ε / σ, times w̃².
        let d_code = (self.code_gradient(&code, x, &image, &shares) + (code - noise / sigma) * shares) * weights;
        // ∂z/∂μ = 1 and ∂z/∂ln σ² = ½ σ ε, summed over an image's samples.
        let sums = |rows: &Tensor| mean.zeros_like().index_add(0, &image, rows);
        self.encoder.back(&Tensor::cat(&[sums(&d_code), sums(&(d_code * spread)) * 0.5], 1));
        [-log_p, -log_ratio, -iwae_bound(&log_w)].map(|term| term.mean(Kind::Double).double_value(&[]))
    }

    /// Returns the gradient in `code`, `[n, latent_dim]`, of −Σ `weights` ln p(x|z), and leaves that in the parameters
    /// in the decoder. `image`, `[n]`, is the index in the batch `x` of each code's image; the weights are `[n, 1]`.
    fn code_gradient(&mut self, code: &Tensor, x: &Tensor, image: &Tensor, weights: &Tensor) -> Tensor {
        let pieces = code
            .split(ROWS_AT_ONCE, 0)
            .into_iter()
            .zip(image.split(ROWS_AT_ONCE, 0))
            .zip(weights.split(ROWS_AT_ONCE, 0));
        let pieces = pieces.map(|((code, image), weights)| {
            let x = x.index_select(0, &image);
            let images = self.decoder.pass(&code.set_requires_grad(true));
            let output = self.cropped(&images);
            let mut grad = match self.config.likelihood {
                Likelihood::Bernoulli => bce_with_gradient(&output, &x, 1.0).1,
                Likelihood::Gaussian => (output - x) / (self.config.sigma * self.config.sigma),
            };
            grad *= weights.view([-1, 1, 1, 1]);
            self.decoder.back(&uncropped(grad, &images)).expect("a code requires a gradient")
        });
        Tensor::cat(&pieces.collect::<Vec<_>>(), 0)
    }

    /// Returns ln p(x|z) and ln p(z) / q(z|x), each `[k, B]`, of the codes that `noise`, `[k, B, latent_dim]`, makes
    /// for images `[B, pixels]` with this posterior.
    fn weight_terms(&self, x: &Tensor, [mean, log_var]: [&Tensor; 2], noise: &Tensor) -> [Tensor; 2] {
        let code = mean + (log_var * 0.5).exp() * noise;
        let log_ratio = (noise.square() + log_var - code.square()).sum_dim_intlist(-1, false, Kind::Float) * 0.5;
        let output = self.output(&code);
        let log_p = match self.config.likelihood {
            Likelihood::Bernoulli => -bce_rows(output, x),
            Likelihood::Gaussian => log_gaussian(&output, x, self.config.sigma),
        };
        [log_p, log_ratio]
    }

    /// Returns the `k`-sample bound of each image, `[B]`.
    pub(super) fn measure_bound(&self, x: &Tensor, k: i64) -> Tensor {
        let [mean, log_var] = self.posterior(x);
        let (n_images, at_once) = (x.size()[0], samples_at_once(x.size()[0]));
        let x = x.flatten(1, -1);
        let pieces = (0..k).step_by(at_once as usize).map(|start| {
            let size = [at_once.min(k - start), n_images, self.config.latent_dim];
            let noise = Tensor::randn(size, (Kind::Float, self.device));
            let [log_p, log_ratio] = self.weight_terms(&x, [&mean, &log_var], &noise);
            log_p + log_ratio
        });
        iwae_bound(&Tensor::cat(&pieces.collect::<Vec<_>>(), 0))
    }
}

/// Drops each w below `least` with the probability 1 − w / `least`, and returns the indices of the `weights`, `[n]`,
/// that are left. If those below `least` are given that weight, every sum keeps its expectation.
pub(super) fn thinned(weights: &Tensor, least: f64) -> Tensor {
    // Not `>=`, so that NaN is kept too.
    let dropped = weights.less_tensor(&(weights.rand_like() * least));
    dropped.logical_not().nonzero().squeeze_dim(1)
}

/// Returns the number of samples of each of `n_images` that the decoder is given at once.
fn samples_at_once(n_images: i64) -> i64 {
    (ROWS_AT_ONCE / n_images).max(1)
}

/// Differentiates all samples at once by autograd: a plain form by which [`Networks::bound_gradient`] is tested. It
/// computes in double precision, since ln w in floats gives weights a relative error of 1e-5. Returns the terms and the
/// gradients in both networks.
#[cfg(test)]
pub(super) fn plain_bound_gradient(nets: &Networks, x: &Tensor) -> ([f64; 3], [Tensor; 2]) {
    let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
    let (x, k) = (double(x), nets.config.k);
    let [mean, log_var] = mean_and_log_var(&nets.encoder.forward_with(&double(nets.encoder.params()), &x));
    let noise = double(&Tensor::randn([k, mean.size()[0], mean.size()[1]], (Kind::Float, nets.device)));
    let code = &mean + (&log_var * 0.5).exp() * &noise;
    let images = nets.decoder.forward_with(&double(nets.decoder.params()), &code.flatten(0, 1));
    let output = nets.cropped(&images).reshape([k, mean.size()[0], -1]);
    let log_p = nets.log_likelihood(&output, &x.flatten(1, -1));
    let log_ratio = (noise.square() + &log_var - code.square()).sum_dim_intlist(-1, false, Kind::Double) * 0.5;
    let log_w = &log_p + &log_ratio;
    // The encoder's gradient is that of ln w through the code alone: posterior and squared weights are constants.
    let score = (&code - mean.detach()) / (log_var.detach() * 0.5).exp();
    let log_w_of_code = &log_p + (score.square() - code.square()).sum_dim_intlist(-1, false, Kind::Double) * 0.5;
    let encoders =
        (log_w.softmax(0, Kind::Double).square().detach() * log_w_of_code).sum_dim_intlist(0, false, Kind::Double);
    let encoder_grad = gradient(&-encoders.mean(Kind::Double), nets.encoder.params());

    let terms = [-log_p, -log_ratio, -iwae_bound(&log_w)].map(|term| term.mean(Kind::Double));
    let decoder_grad = gradient(&terms[2], nets.decoder.params());
    (terms.map(|term| term.double_value(&[])), [encoder_grad, decoder_grad])
}

/// Returns the gradient of `loss` in `params`, and keeps the graph for another.
#[cfg(test)]
pub(super) fn gradient(loss: &Tensor, params: &Tensor) -> Tensor {
    Tensor::run_backward(&[loss], &[params], true, false).remove(0)
}
