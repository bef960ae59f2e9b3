//! Measures of an RBM: likelihoods, exact or estimated, and what monitors a fit.

use super::energy::{MAX_ENUMERATED, Visible};
use super::{Binarisation, Rbm, ais, tempering};
use crate::generative::images::{Data, Images};
use crate::generative::model::{Effort, Measures};
use crate::progress::Counter;
use crate::statistics;
use carom_agents::net::tensor::to_vec;
use carom_agents::net::units::Uniforms;
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Share of the temperatures of the upward chains that the ladders of parallel tempering make steps of, so that both
/// cost about as much.
const TEMPERING_SHARE: u64 = 8;

/// Temperatures and chains of the short annealing: for a point of the learning curve, and beside full measures, which
/// tell how far off it is. With 784 visible and 500 hidden units it takes a second or two.
const SHORT_AIS: (u64, i64) = (1000, 100);

/// Standard errors by which the reverse estimate must exceed the forward one for a warning.
const MAX_ERRORS: f64 = 3.0;

/// Effective number of chains, or of arrivals from the base, below which an estimate is warned of.
const MIN_EFFECTIVE: f64 = 10.0;

/// Bounds the units whose states are enumerated for a point of the curve.
const MAX_CURVE_ENUMERATED: i64 = 12;

impl Rbm {
    /// Measures the likelihood of the test images of `data`, and what needs no likelihood.
    pub(super) fn measure(&self, data: &Data, effort: Effort) -> Measures {
        let mut noise = Uniforms::from_torch();
        let mut measures = Measures::default();
        let test = self.states(&data.test, data.test.len(), &mut noise);
        let train = self.states(&data.train, data.test.len(), &mut noise);
        let mut others = Measures::default();
        let test_mean = self.monitor(&test, &train, &mut others);
        let n_enumerated = self.energy.n_enumerated();
        let most = if effort == Effort::Full { MAX_ENUMERATED } else { MAX_CURVE_ENUMERATED };
        if n_enumerated <= most {
            measures.add("test/log_likelihood", test_mean - self.energy.log_z());
            if data.test.is_binary() && self.config.visible == Visible::Bernoulli {
                measures.add("test/log_likelihood_bound", log_likelihood_bound(&data.test));
                let uniform = -(self.energy.n_visible() as f64) * std::f64::consts::LN_2;
                measures.note(
                    "bound",
                    format!(
                        "minus the entropy of the test images, which no model exceeds; coin flips have {uniform:.3}"
                    ),
                );
            }
        }
        if n_enumerated > most || effort == Effort::Full {
            self.anneal(test_mean, effort, &mut noise, &mut measures);
        }
        measures.values.append(&mut others.values);
        measures.note("binarisation", self.binarisation(&data.test));
        measures
    }

    /// Adds the measures that need no partition function; returns the mean of −F over the test images.
    fn monitor(&self, test: &Tensor, train: &Tensor, measures: &mut Measures) -> f64 {
        let log_unnormalised = |v: &Tensor| statistics::mean(&self.energy.log_unnormalised(v));
        let test_mean = log_unnormalised(test);
        measures.add("test/free_energy_gap", log_unnormalised(train) - test_mean);
        let recon = self.energy.visible_means(&self.energy.hidden_means(test));
        match self.config.visible {
            Visible::Bernoulli => {
                measures.add("monitor/pseudo_likelihood", self.pseudo_likelihood(test));
                let recon = recon.binary_cross_entropy::<Tensor>(test, None, tch::Reduction::Mean);
                measures.add("monitor/recon", recon.double_value(&[]));
            }
            Visible::Gaussian => {
                measures.add("monitor/recon", (recon - test).square().mean(Kind::Float).double_value(&[]));
            }
        }
        test_mean
    }

    /// Returns Σ_i ln p(v_i | the other visible units) of an image, estimated from one i drawn for each of `v [B, V]`
    /// (Besag 1975).
    fn pseudo_likelihood(&self, v: &Tensor) -> f64 {
        let (n, n_visible) = (v.size()[0], self.energy.n_visible());
        let which = Tensor::randint(n_visible, [n, 1], (Kind::Int64, v.device()));
        let flipped = v.scatter(1, &which, &(v.gather(1, &which, false).neg() + 1.0));
        let (as_it_is, flipped) = (self.energy.log_unnormalised(v), self.energy.log_unnormalised(&flipped));
        let log_conditionals = as_it_is.iter().zip(&flipped).map(|(a, b)| -(b - a).exp().ln_1p());
        n_visible as f64 * log_conditionals.sum::<f64>() / n as f64
    }

    /// Estimates ln p of the test images by annealed importance sampling; `test_mean` is their mean of −F. A point of
    /// the learning curve has a short annealing alone. Full measures have the same one too, under the same name.
    fn anneal(&self, test_mean: f64, effort: Effort, noise: &mut Uniforms, measures: &mut Measures) {
        let upwards = |n_temperatures: u64, n_chains, noise: &mut Uniforms, counter: Option<&Counter>| {
            let betas = ais::temperatures(n_temperatures);
            ais::upwards(&self.energy, &self.base, &betas, n_chains, noise, counter)
        };
        let short = upwards(SHORT_AIS.0, SHORT_AIS.1, noise, None);
        measures.add("test/ais_short", test_mean - short.value);
        measures.add("test/ais_short_se", short.se);
        if effort == Effort::Curve {
            return;
        }
        let (n_temperatures, n_chains) = (self.config.ais_temperatures, self.config.ais_chains);
        let counter = |n, what| Some(Counter::new(n, what));
        let up = upwards(n_temperatures, n_chains, noise, counter(n_temperatures, "temperatures upwards").as_ref());
        let n_steps = (n_temperatures / TEMPERING_SHARE).max(1);
        let tempering = counter(n_steps, "steps of tempering");
        let samples = tempering::samples(&self.energy, &self.base, n_chains, n_steps, noise, tempering.as_ref());
        drop(tempering);
        let (n_arrivals, least_accepted) = (samples.n_arrivals, samples.least_accepted);
        let counter = counter(n_temperatures, "temperatures downwards");
        let betas = ais::temperatures(n_temperatures);
        let mut down = ais::downwards(&self.energy, &self.base, &betas, samples.states, noise, counter.as_ref());
        drop(counter);
        // As many chains as there are independent starts.
        down.se *= (n_chains as f64 / (n_arrivals as f64).clamp(1.0, n_chains as f64)).sqrt();
        measures.add("test/ais", test_mean - up.value);
        measures.add("test/ais_se", up.se);
        measures.add("test/reverse_ais", test_mean - down.value);
        measures.add("test/reverse_ais_se", down.se);
        measures.note(
            "ais",
            format!(
                "estimates, no bounds; forward: {n_chains} chains worth {:.0}, {n_temperatures} temperatures; reverse: \
                 {n_chains} chains from {} ladders of parallel tempering, {n_arrivals} arrivals from the base in the \
                 steps used, least share of exchanges {least_accepted:.2}; short: {} chains, {} temperatures, {:+.2} \
                 nats off",
                up.n_effective,
                tempering::N_LADDERS,
                SHORT_AIS.1,
                SHORT_AIS.0,
                up.value - short.value,
            ),
        );
        if let Some(warning) = ais_warning(up, down, n_arrivals) {
            tracing::warn!("{warning}");
            measures.note("ais_warning", warning);
        }
    }

    fn binarisation(&self, images: &Images) -> &'static str {
        match (self.config.visible, images.is_binary(), self.config.binarisation) {
            (Visible::Gaussian, ..) => "none: densities of standardised pixels",
            (_, true, _) => "none: the data are binary",
            (_, _, Binarisation::Sample) => "sampled: a pixel is 1 with the probability of its gray level",
            (_, _, Binarisation::Probabilities) => {
                "gray levels when fitted; sampled when measured: a pixel is 1 with the probability of its gray level"
            }
        }
    }
}

/// Says why the estimates of ln Z upwards and downwards are not to be believed, or returns `None` if nothing speaks
/// against them. `n_arrivals` is the number of independent states that the downward chains started from.
pub(super) fn ais_warning(up: ais::LogZ, down: ais::LogZ, n_arrivals: u64) -> Option<String> {
    // The likelihood falls as Z grows, so the forward estimate should be the higher likelihood.
    let excess = up.value - down.value;
    let mut reasons = vec![];
    if excess > MAX_ERRORS * up.se.hypot(down.se) {
        reasons.push(format!(
            "the reverse estimate exceeds the forward one by {excess:.2} nats, so chains miss a part of the model, and \
             the likelihood may be lower than either says"
        ));
    }
    if up.n_effective < MIN_EFFECTIVE {
        reasons.push(format!("the forward chains are worth {:.1}: take more temperatures or chains", up.n_effective));
    }
    if (n_arrivals as f64) < MIN_EFFECTIVE {
        reasons.push(format!(
            "tempering brought {n_arrivals} states from the base to the model, so the reverse chains start from \
             states that may not be the model's: take more temperatures"
        ));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Returns the largest mean log-likelihood that any model can have on `images`: the negative entropy of their
/// frequencies.
fn log_likelihood_bound(images: &Images) -> f64 {
    let rows = to_vec(&images.all());
    let mut counts: HashMap<Vec<u32>, f64> = HashMap::new();
    for row in rows.chunks(rows.len() / images.len()) {
        *counts.entry(row.iter().map(|pixel| pixel.to_bits()).collect()).or_default() += 1.0;
    }
    let n = images.len() as f64;
    // Sorted, since the order of the map varies.
    let mut counts: Vec<f64> = counts.into_values().collect();
    counts.sort_by(f64::total_cmp);
    counts.iter().map(|count| count / n * (count / n).ln()).sum()
}
