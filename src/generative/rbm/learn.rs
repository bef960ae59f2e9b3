//! Contrastive divergence, CD-k (Hinton 2002): the gradient of the log-likelihood, ⟨v hᵀ⟩_data − ⟨v hᵀ⟩_model for the
//! weights, with the model's expectation taken from Gibbs chains of k steps.

use super::energy::Energy;
use super::ones::MAX_SPARSE_SHARE;
use super::phases::Phases;
use crate::statistics::mean;
use carom_agents::net::tensor::{read_tensor, to_vec};
use carom_agents::net::units::{self, Uniforms};
use carom_agents::{Loaded, Snapshot, SnapshotError};
use tch::{Kind, Tensor};

/// How the model's expectation is estimated, and how the parameters follow the gradient.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// k, the Gibbs steps of an update.
    pub gibbs_steps: u64,
    /// Whether chains continue from update to update (Tieleman 2008) or start at the data (Hinton 2002).
    pub persistent: bool,
    /// Momentum: share of the last step that is added to the next.
    pub momentum: f64,
    /// Weight decay: share of the weights that is subtracted from their gradient.
    pub weight_decay: f64,
    /// Whether both layers are centred at their means.
    pub centring: bool,
}

/// Share of a new batch in the running mean of the hidden units (Melchior et al. 2016, section 4).
const OFFSET_RATE: f64 = 0.01;

/// State of the updates besides the parameters.
#[derive(Debug)]
pub(super) struct Learner {
    rule: Rule,
    /// Hidden states of the Gibbs chains, `[n_chains, H]`: persistent ones, else the last that began at data, the
    /// newest first.
    pub chains: Tensor,
    /// μ and λ, the centres of the units, `[V]` and `[H]`.
    offsets: [Tensor; 2],
    /// The last steps of weight, visible and hidden bias.
    steps: [Tensor; 3],
    phases: Phases,
}

impl Learner {
    /// Begins learning with `chains [n_chains, H]` and the visible units' mean over the data, `[V]`.
    pub(super) fn new(rule: Rule, energy: &Energy, chains: Tensor, visible_mean: &Tensor) -> Self {
        let hidden_mean = energy.hidden_means(&visible_mean.unsqueeze(0)).squeeze_dim(0);
        let offsets = match rule.centring {
            true => [visible_mean.copy(), hidden_mean],
            false => [visible_mean.zeros_like(), hidden_mean.zeros_like()],
        };
        let steps = [&energy.weight, &energy.visible_bias, &energy.hidden_bias].map(Tensor::zeros_like);
        Self { rule, chains, offsets, steps, phases: Phases::new(energy, 1, 1, MAX_SPARSE_SHARE) }
    }

    /// Makes one update on `data`, `[B, V]`: visible states, or means that stand for them. Returns the mean of −F over
    /// the ends of the chains less that over the data; the update descends along its gradient, unless it is not finite.
    pub(super) fn update(&mut self, energy: &mut Energy, data: &Tensor, lr: f64, noise: &mut Uniforms) -> f64 {
        let n_data = data.size()[0];
        let n_chains = if self.rule.persistent { self.chains.size()[0] } else { n_data };
        if !self.phases.fits(n_data, n_chains) {
            self.phases = Phases::new(energy, n_data, n_chains, self.phases.few);
        }
        let contrast = self.sample(energy, data, noise);
        if contrast.is_finite() {
            self.descend(energy, n_data, lr);
        }
        contrast
    }

    /// Samples both phases: visible states and hidden means of the data and of the ends of the chains. Returns the
    /// contrast of [`Learner::update`].
    fn sample(&mut self, energy: &Energy, data: &Tensor, noise: &mut Uniforms) -> f64 {
        let phases = &mut self.phases;
        let (n_data, n_chains) = (data.size()[0], phases.chain_states.size()[0]);

        // Positive phase: the hidden units given the data.
        let mut v = phases.visible.narrow(0, 0, n_data);
        v.copy_(data);
        let mut h = phases.hidden.narrow(0, 0, n_data);
        phases.send(0, &v, &energy.weight, &mut h);
        let of_data = mean(&energy.log_unnormalised_given(&v, &h));
        if self.rule.persistent {
            units::means(&mut h, 1.0, &energy.hidden_bias);
            phases.chain_states.copy_(&self.chains);
        } else {
            units::draw(&mut h, 1.0, &energy.hidden_bias, &mut phases.chain_states, noise);
        }

        // Negative phase: k Gibbs steps h → v → h of the chains.
        let mut v = phases.visible.narrow(0, n_data, n_chains);
        let mut h = phases.hidden.narrow(0, n_data, n_chains);
        let mut of_chains = 0.0;
        for step in 1..=self.rule.gibbs_steps {
            let Phases { chain_states, chain_means, .. } = phases;
            energy.draw_visible(chain_states, 1.0, &energy.visible_bias, chain_means, &mut v, noise);
            phases.send(1, &v, &energy.weight, &mut h);
            if step == self.rule.gibbs_steps {
                of_chains = mean(&energy.log_unnormalised_given(&v, &h));
            }
            units::draw(&mut h, 1.0, &energy.hidden_bias, &mut phases.chain_states, noise);
        }
        // A batch may have fewer chains than are kept. The newest of those before stay.
        let n_kept = self.chains.size()[0];
        let n_new = n_chains.min(n_kept);
        let older = self.chains.narrow(0, 0, n_kept - n_new).copy();
        self.chains.narrow(0, n_new, n_kept - n_new).copy_(&older);
        self.chains.narrow(0, 0, n_new).copy_(&phases.chain_states.narrow(0, 0, n_new));
        of_chains - of_data
    }

    /// Computes the gradient from states and means, and follows it.
    ///
    /// Centred at μ and λ, ∇W = ⟨(v − μ)(h − λ)ᵀ⟩_data − ⟨(v − μ)(h − λ)ᵀ⟩_model, ∇b = ⟨v⟩_data − ⟨v⟩_model − ∇W λ, ∇c
    /// = ⟨h⟩_data − ⟨h⟩_model − ∇Wᵀ μ (Montavon & Müller 2012, written for the parameters of the usual energy by
    /// Melchior et al. 2016, equations 21 to 23). Without centring μ and λ are 0.
    ///
    /// ∇W is never stored, to spare a pass over a matrix of the size of W: its product is added to the weights, and ∇W
    /// λ and ∇Wᵀ μ are sums over the rows.
    fn descend(&mut self, energy: &mut Energy, n_data: i64, lr: f64) {
        let [mu, lambda] = &mut self.offsets;
        let mut hidden = self.phases.hidden.shallow_clone();
        if self.rule.centring {
            let h_mean = hidden.narrow(0, 0, n_data).mean_dim(0, false, Kind::Float);
            *lambda += (h_mean - &*lambda) * OFFSET_RATE;
            hidden -= &*lambda;
        }
        // Chains have negative shares, so that one product is the difference of both expectations.
        let rates = &self.phases.shares * lr;
        hidden *= rates.unsqueeze(1);
        let visible = self.phases.centre(mu);
        let d_visible = visible.transposed_times(&(rates - hidden.mv(lambda)));
        let d_hidden = hidden.tr().mv(&(1.0 - visible.times(mu)));

        let [weight_step, visible_step, hidden_step] = &mut self.steps;
        let Rule { momentum, weight_decay, .. } = self.rule;
        let add_gradient = |to: &mut Tensor| visible.add_transposed_times(&hidden, to);
        follow(&mut energy.weight, weight_step, add_gradient, momentum, lr * weight_decay);
        follow(&mut energy.visible_bias, visible_step, |to| *to += &d_visible, momentum, 0.0);
        follow(&mut energy.hidden_bias, hidden_step, |to| *to += &d_hidden, momentum, 0.0);
    }

    /// Returns μ and λ of the last update.
    #[cfg(test)]
    pub(super) fn offsets(&self) -> &[Tensor; 2] {
        &self.offsets
    }

    /// Returns whether the last update summed over 1s.
    #[cfg(test)]
    pub(super) fn sums_ones(&self) -> bool {
        self.phases.sums_ones()
    }

    /// Uses dense products from now on, even for states that are mostly 0.
    #[cfg(test)]
    pub(super) fn dense(mut self) -> Self {
        self.phases.few = 0.0;
        self
    }

    /// Saves chains, offsets and last steps.
    pub(super) fn save(&self) -> Snapshot<'static> {
        let named = self.named();
        named.into_iter().fold(Snapshot::default(), |to, (name, tensor)| to.owned_array(name, &to_vec(tensor)))
    }

    /// Restores the state that `save` wrote.
    ///
    /// # Errors
    /// When a part is missing or of another size.
    pub(super) fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        let [mu, lambda] = &mut self.offsets;
        let [weight, visible, hidden] = &mut self.steps;
        read_tensor(from, "chains", &mut self.chains)?;
        read_tensor(from, "visible_offset", mu)?;
        read_tensor(from, "hidden_offset", lambda)?;
        read_tensor(from, "weight_step", weight)?;
        read_tensor(from, "visible_step", visible)?;
        read_tensor(from, "hidden_step", hidden)
    }

    fn named(&self) -> [(&'static str, &Tensor); 6] {
        [
            ("chains", &self.chains),
            ("visible_offset", &self.offsets[0]),
            ("hidden_offset", &self.offsets[1]),
            ("weight_step", &self.steps[0]),
            ("visible_step", &self.steps[1]),
            ("hidden_step", &self.steps[2]),
        ]
    }
}

/// Updates `step = momentum step + gradient − decay param` and `param += step` (Hinton 2010, sections 9 and 10). The
/// step is stored only if momentum needs it.
fn follow(param: &mut Tensor, step: &mut Tensor, add_gradient: impl Fn(&mut Tensor), momentum: f64, decay: f64) {
    if momentum > 0.0 {
        *step *= momentum;
        *step -= &*param * decay;
        add_gradient(step);
        *param += &*step;
    } else {
        if decay > 0.0 {
            *param *= 1.0 - decay;
        }
        add_gradient(param);
    }
}

/// CD-k as in the literature, without momentum and weight decay: a plain form by which [`Learner::update`] is tested.
/// `chains`, `[n_chains, H]`, are hidden states of persistent chains, and `None` starts chains at the data; `mu` and
/// `lambda` are the offsets.
#[cfg(test)]
pub(super) fn plain_update(
    energy: &mut Energy,
    data: &Tensor,
    chains: Option<&Tensor>,
    [mu, lambda]: [&Tensor; 2],
    gibbs_steps: u64,
    lr: f64,
    noise: &mut Uniforms,
) {
    // Means of units given the other layer, and states drawn from them.
    let mut drawn = |inputs: Tensor, bias: &Tensor| {
        let (mut means, mut states) = (inputs.copy(), inputs.zeros_like());
        units::draw(&mut means, 1.0, bias, &mut states, noise);
        (means, states)
    };
    let h_data = energy.hidden_means(data);
    let mut h = match chains {
        Some(chains) => chains.copy(),
        None => drawn(data.mm(&energy.weight), &energy.hidden_bias).1,
    };
    let (mut v, mut h_means) = (data.copy(), h_data.copy());
    for _ in 0..gibbs_steps {
        v = drawn(h.mm(&energy.weight.tr()), &energy.visible_bias).1;
        (h_means, h) = drawn(v.mm(&energy.weight), &energy.hidden_bias);
    }

    // ⟨(v − μ)(h − λ)ᵀ⟩, ⟨v⟩ and ⟨h⟩.
    let correlation = |v: &Tensor, h: &Tensor| (v - mu).tr().mm(&(h - lambda)) / v.size()[0] as f64;
    let mean = |x: &Tensor| x.mean_dim(0, false, Kind::Float);
    let d_weight = correlation(data, &h_data) - correlation(&v, &h_means);
    let d_visible = mean(data) - mean(&v) - d_weight.mv(lambda);
    let d_hidden = mean(&h_data) - mean(&h_means) - d_weight.tr().mv(mu);
    energy.weight += d_weight * lr;
    energy.visible_bias += d_visible * lr;
    energy.hidden_bias += d_hidden * lr;
}

#[cfg(test)]
mod tests {
    use super::super::energy::Visible;
    use super::*;
    use crate::generative::model::seeded;
    use tch::Device;

    #[test]
    fn batches_with_fewer_chains_than_are_kept_replace_them_all_in_turn() {
        let _torch = seeded(0);
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let mut energy = Energy {
            visible: Visible::Bernoulli,
            weight: zeros(&[3, 2]),
            visible_bias: zeros(&[3]),
            hidden_bias: zeros(&[2]),
        };
        let rule = Rule { gibbs_steps: 1, persistent: false, momentum: 0.0, weight_decay: 0.0, centring: true };
        // No unit has this state, so that what is left of the first chains is seen.
        let first = zeros(&[5, 2]) + 0.5;
        let mut learner = Learner::new(rule, &energy, first, &zeros(&[3]));
        let mut noise = Uniforms::new(1);
        for n_left in [3, 1, 0, 0] {
            let newest = learner.chains.narrow(0, 0, 2).copy();
            learner.update(&mut energy, &zeros(&[2, 3]), 0.1, &mut noise);
            let is_first = |state: &&f32| **state == 0.5;
            assert_eq!(to_vec(&learner.chains).iter().filter(is_first).count(), 2 * n_left);
            assert_eq!(to_vec(&learner.chains.narrow(0, 2, 2)), to_vec(&newest), "the newest of those before stay");
        }
    }
}
