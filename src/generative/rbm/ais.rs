//! The partition function by annealed importance sampling (Neal 2001; Salakhutdinov & Murray 2008), in both directions.
//!
//! Between the base-rate model, β = 0, whose hidden units have no effect and whose Z is known, and the model itself, β
//! = 1, lie ln p*_β(v) = ((1 − β) b₀ + β b)·v + Σ_j ln(1 + exp(β (c_j + (vᵀW)_j))) (− ½|v|² for Gaussian units). A
//! chain that goes up starts from the base and tends to miss part of the model, so it tends to give too small a Z and
//! too high a likelihood. A chain that goes down from samples of the model errs in the other direction (Burda et al.
//! 2015; Grosse et al. 2015). In expectation, and with exact samples, the true value is between the two. Neither
//! estimate is a bound: few chains may all miss the part of the model that has most of its probability, and samples
//! are exact for small models only.

use super::energy::{Energy, Visible};
use crate::progress::Counter;
use crate::statistics;
use carom_agents::net::units::{self, Uniforms};
use tch::{Device, Kind, Tensor};

/// An estimate of ln Z.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogZ {
    /// In nats.
    pub value: f64,
    /// Standard error, from the spread of the chains' weights.
    pub se: f64,
    /// Effective number of chains, (Σ w)² / Σ w²: 1 if one chain has all the weight.
    pub n_effective: f64,
}

/// Returns inverse temperatures from 0 to 1 for `n` steps: a thirtieth of the steps up to 0.5, a quarter up to 0.9, the
/// rest close to the model, where it changes most. The proportions of Salakhutdinov & Murray 2008, section 5: 500, 4000
/// and 10,000.
pub(super) fn temperatures(n: u64) -> Vec<f64> {
    let n = n.max(3);
    let first = (n * 500).div_ceil(14_500);
    let second = (n * 4_000).div_ceil(14_500).min(n - first - 1).max(1);
    let part = |from: f64, to: f64, n: u64| (1..=n).map(move |i| from + (to - from) * i as f64 / n as f64);
    [0.0]
        .into_iter()
        .chain(part(0.0, 0.5, first))
        .chain(part(0.5, 0.9, second))
        .chain(part(0.9, 1.0, n - first - second))
        .collect()
}

/// Estimates ln Z by `n_chains` chains upwards through `betas`, from the model of visible biases `base [V]` without
/// hidden units.
pub(super) fn upwards(
    energy: &Energy,
    base: &Tensor,
    betas: &[f64],
    n_chains: i64,
    noise: &mut Uniforms,
    counter: Option<&Counter>,
) -> LogZ {
    let v = base_states(energy, base, n_chains, noise);
    let weights = anneal(energy, base, betas.iter().copied(), v, noise, counter);
    let (log_mean, se, n_effective) = log_mean_exp(&weights);
    LogZ { value: log_z_of_base(energy, base) + log_mean, se, n_effective }
}

/// Draws `n` visible states, `[n, V]`, of the model of visible biases `base [V]` without hidden units.
pub(super) fn base_states(energy: &Energy, base: &Tensor, n: i64, noise: &mut Uniforms) -> Tensor {
    let mut means = Tensor::zeros([n, energy.n_visible()], (Kind::Float, base.device()));
    let mut v = means.zeros_like();
    match energy.visible {
        Visible::Bernoulli => units::draw(&mut means, 1.0, base, &mut v, noise),
        Visible::Gaussian => v.copy_(&(base + means.randn_like())),
    }
    v
}

/// Returns ln p*_β of each row of `v [n, V]`, with its inputs `z` = vᵀW, without the part that does not depend on β.
/// `tilt` is b − b₀.
pub(super) fn log_unnormalised_at(energy: &Energy, tilt: &Tensor, [v, z]: &[Tensor; 2], beta: f64) -> Vec<f64> {
    let mut out = units::softplus_sums(z, &energy.hidden_bias, beta);
    let linear = Vec::<f32>::try_from(v.mv(tilt).to_device(Device::Cpu)).expect("floats");
    out.iter_mut().zip(linear).for_each(|(out, linear)| *out += beta * f64::from(linear));
    out
}

/// Estimates ln Z by chains downwards through `betas` from `samples [n, V]` of the model.
pub(super) fn downwards(
    energy: &Energy,
    base: &Tensor,
    betas: &[f64],
    samples: Tensor,
    noise: &mut Uniforms,
    counter: Option<&Counter>,
) -> LogZ {
    let weights = anneal(energy, base, betas.iter().rev().copied(), samples, noise, counter);
    let (log_mean, se, n_effective) = log_mean_exp(&weights);
    LogZ { value: log_z_of_base(energy, base) - log_mean, se, n_effective }
}

/// Returns the logarithms of the weights of chains that start at states `v [n, V]` of the first of `betas` and end at
/// the last.
fn anneal(
    energy: &Energy,
    base: &Tensor,
    betas: impl Iterator<Item = f64>,
    mut v: Tensor,
    noise: &mut Uniforms,
    counter: Option<&Counter>,
) -> Vec<f64> {
    let mut log_weights = vec![0.0; v.size()[0] as usize];
    let (mut means, mut z) = (v.zeros_like(), v.mm(&energy.weight));
    let mut h = z.zeros_like();
    let tilt = &energy.visible_bias - base;
    let mut betas = betas.peekable();
    let mut n_done = 0;
    while let (Some(beta), Some(&next)) = (betas.next(), betas.peek()) {
        if let Some(counter) = counter {
            counter.set(n_done);
        }
        n_done += 1;
        // ln p* at the next temperature less that at this one. The term ½|v|² of Gaussian units cancels.
        let linear = Vec::<f32>::try_from(v.mv(&tilt).to_device(Device::Cpu)).expect("floats");
        let after = units::softplus_sums(&z, &energy.hidden_bias, next);
        let before = units::softplus_sums(&z, &energy.hidden_bias, beta);
        for (i, log_weight) in log_weights.iter_mut().enumerate() {
            *log_weight += (next - beta) * f64::from(linear[i]) + after[i] - before[i];
        }
        // A Gibbs step that leaves the distribution at the next temperature invariant.
        units::draw(&mut z, next, &(&energy.hidden_bias * next), &mut h, noise);
        let bias = base + &tilt * next;
        energy.draw_visible(&h, next, &bias, &mut means, &mut v, noise);
        let _ = v.mm_out(&z, &energy.weight);
    }
    log_weights
}

/// Returns ln Z at β = 0: H ln 2 + Σ_i ln(1 + exp b₀_i), or H ln 2 + ½ (V ln 2π + |b₀|²) for Gaussian units.
fn log_z_of_base(energy: &Energy, base: &Tensor) -> f64 {
    let base = base.to_kind(Kind::Double);
    let visible = match energy.visible {
        Visible::Bernoulli => base.softplus().sum(Kind::Double).double_value(&[]),
        Visible::Gaussian => {
            let normal = energy.n_visible() as f64 * std::f64::consts::TAU.ln();
            0.5 * (normal + base.square().sum(Kind::Double).double_value(&[]))
        }
    };
    energy.n_hidden() as f64 * std::f64::consts::LN_2 + visible
}

/// Returns the logarithm of the mean of e^x, its standard error to first order (that of the mean over the mean), and
/// the effective number of terms, (Σ e^x)² / Σ e^2x.
fn log_mean_exp(x: &[f64]) -> (f64, f64, f64) {
    let n = x.len() as f64;
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = x.iter().map(|x| (x - largest).exp()).collect();
    let mean = statistics::mean(&weights);
    let variance = weights.iter().map(|weight| (weight - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
    (largest + mean.ln(), (variance / n).sqrt() / mean, (n * mean).powi(2) / squares)
}
