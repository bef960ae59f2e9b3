//! Noise on the parameters of dense layers, by which an agent explores (Fortunato et al. 2018).
//!
//! A noisy network has a mean μ and a spread σ of each parameter. It computes with
//!
//! `θ = μ + σ ∘ ε`, so that `∂L/∂μ = ∂L/∂θ` and `∂L/∂σ = ∂L/∂θ ∘ ε`
//!
//! (equation 9 and below). The noise is factorised (section 3, b): a dense layer of p inputs and q outputs draws p + q
//! normal numbers, and with `f(x) = sgn(x) √|x|`
//!
//! `ε^w_ij = f(ε_i) f(ε_j)`, `ε^b_j = f(ε_j)`.
//!
//! The trained vector is `[μ, σ]`. σ is as long as μ, so that one product serves all parameters. Where a parameter has
//! no noise (convolutions, norms), ε is 0, and σ stays 0.

use super::layout::Layout;
use super::operation::Operation;
use multiversion::multiversion;
use rand::Rng;
use rand_distr::StandardNormal;
use std::ops::Range;

/// The noise of a network's dense layers.
#[derive(Clone, Debug)]
pub struct Noise {
    layers: Vec<Noisy>,
    len: usize,
    /// σ₀ of the paper.
    sigma: f32,
    factors: Vec<f32>,
}

/// A dense layer with the places of its weight and bias.
#[derive(Clone, Debug)]
struct Noisy {
    inputs: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

impl Noise {
    /// The noise of all dense layers of `layout`; σ starts at `sigma / √p`.
    pub fn new(layout: &Layout, sigma: f64) -> Self {
        let noisy = |(operation, places): (&Operation, Option<&[Range<usize>; 2]>)| match (operation, places) {
            (Operation::Dense { inputs, .. }, Some([weight, bias])) => {
                Some(Noisy { inputs: *inputs as usize, weight: weight.clone(), bias: bias.clone() })
            }
            _ => None,
        };
        let layers = layout.placed().filter_map(noisy).collect();
        Self { layers, len: layout.len(), sigma: sigma as f32, factors: vec![] }
    }

    /// The first σ of all parameters.
    pub fn first_sigmas(&self) -> Vec<f32> {
        let mut sigmas = vec![0.0; self.len];
        for Noisy { inputs, weight, bias } in &self.layers {
            let sigma = self.sigma / (*inputs as f32).sqrt();
            sigmas[weight.clone()].fill(sigma);
            sigmas[bias.clone()].fill(sigma);
        }
        sigmas
    }

    /// Draws ε of all parameters.
    pub fn draw(&mut self, rng: &mut impl Rng, epsilon: &mut Vec<f32>) {
        epsilon.resize(self.len, 0.0);
        for Noisy { inputs, weight, bias } in &self.layers {
            self.factors.clear();
            let normal = (0..inputs + bias.len()).map(|_| rng.sample::<f32, _>(StandardNormal));
            self.factors.extend(normal.map(|x| x.abs().sqrt().copysign(x)));
            let (of_inputs, of_outputs) = self.factors.split_at(*inputs);
            outer(of_inputs, of_outputs, &mut epsilon[weight.clone()]);
            epsilon[bias.clone()].copy_from_slice(of_outputs);
        }
    }
}

/// `out = a bᵀ`
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn outer(a: &[f32], b: &[f32], out: &mut [f32]) {
    for (a, row) in a.iter().zip(out.chunks_exact_mut(b.len())) {
        for (out, b) in row.iter_mut().zip(b) {
            *out = a * b;
        }
    }
}

/// `out = μ + σ ∘ ε`
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn perturb(mean: &[f32], sigma: &[f32], epsilon: &[f32], out: &mut [f32]) {
    for (((out, mean), sigma), epsilon) in out.iter_mut().zip(mean).zip(sigma).zip(epsilon) {
        *out = mean + sigma * epsilon;
    }
}

/// `out = a ∘ b`
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
pub(crate) fn product(a: &[f32], b: &[f32], out: &mut [f32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a * b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::tests::{assert_close, floats, parts};
    use rand::SeedableRng;
    use rand_pcg::Pcg32;

    fn layout() -> Layout {
        let norm = Operation::LayerNorm { width: 3 };
        Layout::packed(vec![Operation::Dense { inputs: 4, outputs: 3 }, norm, Operation::relu()])
    }

    #[test]
    fn spreads_start_by_the_number_of_inputs_and_only_in_dense_layers() {
        let sigmas = Noise::new(&layout(), 0.5).first_sigmas();
        assert_eq!(sigmas[..15], [0.25; 15]);
        assert_eq!(sigmas[15..], [0.0; 6]);
    }

    #[test]
    fn noise_is_of_rank_one_and_its_factors_are_those_of_the_bias() {
        let (mut noise, mut epsilon) = (Noise::new(&layout(), 0.5), vec![]);
        noise.draw(&mut Pcg32::seed_from_u64(1), &mut epsilon);
        let (weight, rest) = epsilon.split_at(12);
        assert_eq!(rest[3..], [0.0; 6], "norms have no noise");
        for row in weight.chunks(3) {
            for j in 0..3 {
                // ε_ij ε_k = ε_ik ε_j.
                assert!((row[j] * rest[0] - row[0] * rest[j]).abs() < 1e-6);
            }
        }
        let before = epsilon.clone();
        noise.draw(&mut Pcg32::seed_from_u64(2), &mut epsilon);
        assert_ne!(before, epsilon);
    }

    #[test]
    fn factors_have_the_moments_of_the_root_of_a_normal_number() {
        let layout = Layout::packed(vec![Operation::Dense { inputs: 1, outputs: 200_000 }]);
        let (mut noise, mut epsilon) = (Noise::new(&layout, 0.5), vec![]);
        noise.draw(&mut Pcg32::seed_from_u64(3), &mut epsilon);
        let bias = &epsilon[200_000..];
        let mean = bias.iter().sum::<f32>() / bias.len() as f32;
        // E f(x)² = E |x| = √(2/π).
        let square = bias.iter().map(|x| x * x).sum::<f32>() / bias.len() as f32;
        assert!(mean.abs() < 0.01 && (square - (2.0 / std::f32::consts::PI).sqrt()).abs() < 0.01, "{mean}, {square}");
    }

    #[test]
    fn a_noisy_layer_agrees_with_pytorch() {
        let golden = parts();
        let case = &golden["noisy"];
        let get = |name: &str| floats(&case[name]);
        let (mut epsilon, mut params) = (vec![0.0; 12], vec![0.0; 15]);
        let factors = |name: &str| get(name).into_iter().map(|x| x.abs().sqrt().copysign(x)).collect::<Vec<f32>>();
        let (of_inputs, of_outputs) = (factors("normal_in"), factors("normal_out"));
        outer(&of_inputs, &of_outputs, &mut epsilon);
        epsilon.extend(of_outputs);
        perturb(&get("mean"), &get("sigma"), &epsilon, &mut params);
        assert_close(&params, &case["params"]);
        let mut d_sigma = vec![0.0; 15];
        product(&get("d_mean"), &epsilon, &mut d_sigma);
        assert_close(&d_sigma, &case["d_sigma"]);
    }
}
