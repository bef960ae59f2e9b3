//! Contrastive divergence: the gradient of the log-likelihood with the model's expectation taken from short Gibbs chains.

use super::energy::Energy;
use super::ones::{FEW, Ones};
use super::units::{self, Noise};
use crate::statistics::mean;
use carom_agents::optim::{read_tensor, slice, slice_mut, to_vec};
use carom_agents::{Loaded, Snapshot, SnapshotError};
use tch::{Device, Kind, Tensor};

/// How the model's expectation is estimated, and how the parameters follow the gradient.
#[derive(Clone, Debug)]
pub struct Rule {
    /// k, the Gibbs steps of an update.
    pub gibbs_steps: u64,
    /// Whether chains go on from update to update (Tieleman 2008) or start at the data (Hinton 2002).
    pub persistent: bool,
    /// Share of the last step that the next one repeats.
    pub momentum: f64,
    /// Share of the weights that the gradient takes off.
    pub weight_decay: f64,
    /// Whether both layers are centred at their means.
    pub centring: bool,
}

/// Share of a new batch in the running mean of the hidden units (Melchior et al. 2016, section 4).
const OFFSET_RATE: f64 = 0.01;

/// What the updates carry on besides the parameters.
#[derive(Debug)]
pub struct Learner {
    rule: Rule,
    /// Hidden states of the Gibbs chains, `[n_chains, H]`: where persistent chains stand, else the last that began at data.
    pub chains: Tensor,
    /// μ and λ: what the units are centred at, `[V]` and `[H]`.
    offsets: [Tensor; 2],
    /// The last steps of weight, visible and hidden bias.
    steps: [Tensor; 3],
    buffers: Buffers,
}

/// Room for one batch. Rows of data stand over rows of the model, so that one product gives both sides of the gradient.
#[derive(Debug)]
struct Buffers {
    /// `[B + C, V]`: states, later centred.
    visible: Tensor,
    /// `[B + C, H]`: means, later centred and weighted.
    hidden: Tensor,
    /// `[C, V]`: means of the chains' visible units.
    chain_means: Tensor,
    /// `[C, H]`: states of the chains' hidden units.
    chain_states: Tensor,
    /// `[B + C]`: 1 / B for data, −1 / C for chains.
    shares: Tensor,
    /// Where visible states of data and of chains are 1.
    ones: [Ones; 2],
    /// Whether they are so few that `ones` holds them.
    are_few: [bool; 2],
    /// Share of 1s that are few.
    few: f64,
}

impl Buffers {
    fn new(energy: &Energy, n_data: i64, n_chains: i64, few: f64) -> Self {
        let options = (Kind::Float, energy.weight.device());
        let zeros = |rows, columns| Tensor::zeros([rows, columns], options);
        let share = |n: i64, sign: f64| Tensor::full([n], sign / n as f64, options);
        let (n_visible, n_hidden) = (energy.n_visible(), energy.n_hidden());
        Self {
            visible: zeros(n_data + n_chains, n_visible),
            hidden: zeros(n_data + n_chains, n_hidden),
            chain_means: zeros(n_chains, n_visible),
            chain_states: zeros(n_chains, n_hidden),
            shares: Tensor::cat(&[share(n_data, 1.0), share(n_chains, -1.0)], 0),
            ones: Default::default(),
            are_few: [false; 2],
            few,
        }
    }

    fn fits(&self, n_data: i64, n_chains: i64) -> bool {
        self.visible.size()[0] == n_data + n_chains && self.chain_means.size()[0] == n_chains
    }

    /// Turns `v`, visible states of the data (`side` 0) or the chains (1), into the hidden units' inputs vᵀW, written to `h`.
    fn send(&mut self, side: usize, v: &Tensor, weight: &Tensor, h: &mut Tensor) {
        let width = weight.size()[0] as usize;
        self.are_few[side] = v.device() == Device::Cpu && self.ones[side].find(slice(v), width, self.few);
        if self.are_few[side] {
            self.ones[side].times(slice(weight), slice_mut(h));
        } else {
            let _ = v.mm_out(h, weight);
        }
    }

    /// The visible states less `mu`.
    fn centre(&mut self, mu: &Tensor) -> Centred<'_> {
        if self.are_few == [true; 2] {
            let [data, chains] = &self.ones;
            return Centred::Few {
                by_row: &self.ones,
                by_column: Ones::transposed(data, chains),
                mu: mu.shallow_clone(),
            };
        }
        self.visible -= mu;
        Centred::Dense(&self.visible)
    }
}

/// Centred states X of the visible units, `[B + C, V]`.
enum Centred<'a> {
    Dense(&'a Tensor),
    /// Where they were 1 before μ was taken off.
    Few {
        by_row: &'a [Ones; 2],
        by_column: Ones,
        mu: Tensor,
    },
}

impl Centred<'_> {
    /// X μ, `[B + C]`.
    fn times(&self, mu: &Tensor) -> Tensor {
        match self {
            Self::Dense(x) => x.mv(mu),
            Self::Few { by_row, mu: centre, .. } => {
                let products: Vec<f32> = by_row.iter().flat_map(|ones| ones.times_vector(slice(mu))).collect();
                Tensor::from_slice(&products) - centre.dot(mu)
            }
        }
    }

    /// Xᵀ `values`, `[V]`.
    fn transposed_times(&self, values: &Tensor) -> Tensor {
        match self {
            Self::Dense(x) => x.tr().mv(values),
            Self::Few { by_column, mu, .. } => {
                let products: Vec<f32> = by_column.times_vector(slice(values)).collect();
                Tensor::from_slice(&products) - mu * values.sum(Kind::Float)
            }
        }
    }

    /// Adds Xᵀ `hidden`, `[V, H]`, to `to`.
    fn add_transposed_times(&self, hidden: &Tensor, to: &mut Tensor) {
        match self {
            Self::Dense(x) => _ = to.addmm_(&x.tr(), hidden),
            Self::Few { by_column, mu, .. } => {
                let sums = hidden.sum_dim_intlist(0, false, Kind::Float);
                by_column.add_centred_times(slice(mu), slice(hidden), slice(&sums), slice_mut(to));
            }
        }
    }
}

impl Learner {
    /// Begins with `chains [n_chains, H]` and the visible units' mean over the data, `[V]`.
    pub fn new(rule: Rule, energy: &Energy, chains: Tensor, visible_mean: &Tensor) -> Self {
        let hidden_mean = energy.hidden_means(&visible_mean.unsqueeze(0)).squeeze_dim(0);
        let offsets = match rule.centring {
            true => [visible_mean.copy(), hidden_mean],
            false => [visible_mean.zeros_like(), hidden_mean.zeros_like()],
        };
        let steps = [&energy.weight, &energy.visible_bias, &energy.hidden_bias].map(Tensor::zeros_like);
        Self { rule, chains, offsets, steps, buffers: Buffers::new(energy, 1, 1, FEW) }
    }

    /// One update on `data`, `[B, V]`: visible states, or means that stand for them. Gives the mean of −F over the chains' ends less that over
    /// the data; its gradient is what was descended.
    pub fn update(&mut self, energy: &mut Energy, data: &Tensor, lr: f64, noise: &mut Noise) -> f64 {
        let n_data = data.size()[0];
        let n_chains = if self.rule.persistent { self.chains.size()[0] } else { n_data };
        if !self.buffers.fits(n_data, n_chains) {
            self.buffers = Buffers::new(energy, n_data, n_chains, self.buffers.few);
        }
        let n = [n_data, n_chains];
        let contrast = self.fill(energy, data, n, noise);
        if contrast.is_finite() {
            self.descend(energy, n_data, lr);
        }
        contrast
    }

    /// Fills the buffers with visible states and hidden means, of the data and of the chains' ends; returns as
    /// [`Learner::update`].
    fn fill(&mut self, energy: &Energy, data: &Tensor, [n_data, n_chains]: [i64; 2], noise: &mut Noise) -> f64 {
        let buffers = &mut self.buffers;
        let mut v = buffers.visible.narrow(0, 0, n_data);
        v.copy_(data);
        let mut h = buffers.hidden.narrow(0, 0, n_data);
        buffers.send(0, &v, &energy.weight, &mut h);
        let of_data = mean(&energy.log_unnormalised_given(&v, &h));
        if self.rule.persistent {
            units::means(&mut h, 1.0, &energy.hidden_bias);
            buffers.chain_states.copy_(&self.chains);
        } else {
            units::draw(&mut h, 1.0, &energy.hidden_bias, &mut buffers.chain_states, noise);
        }

        let mut v = buffers.visible.narrow(0, n_data, n_chains);
        let mut h = buffers.hidden.narrow(0, n_data, n_chains);
        let mut of_chains = 0.0;
        for step in 1..=self.rule.gibbs_steps {
            let Buffers { chain_states, chain_means, .. } = buffers;
            energy.draw_visible(chain_states, 1.0, &energy.visible_bias, chain_means, &mut v, noise);
            buffers.send(1, &v, &energy.weight, &mut h);
            if step == self.rule.gibbs_steps {
                of_chains = mean(&energy.log_unnormalised_given(&v, &h));
            }
            units::draw(&mut h, 1.0, &energy.hidden_bias, &mut buffers.chain_states, noise);
        }
        let kept = n_chains.min(self.chains.size()[0]);
        self.chains.narrow(0, 0, kept).copy_(&buffers.chain_states.narrow(0, 0, kept));
        of_chains - of_data
    }

    /// Turns the buffers into the gradient and follows it.
    ///
    /// Centred at μ and λ, ∇W = ⟨(v − μ)(h − λ)ᵀ⟩_data − ⟨(v − μ)(h − λ)ᵀ⟩_model, ∇b = ⟨v⟩_data − ⟨v⟩_model − ∇W λ,
    /// ∇c = ⟨h⟩_data − ⟨h⟩_model − ∇Wᵀ μ (Montavon & Müller 2012, written for the parameters of the usual energy by Melchior
    /// et al. 2016, equations 21 to 23). Without centring μ and λ are 0.
    ///
    /// ∇W itself is never there: its product is added to the weights, and ∇W λ and ∇Wᵀ μ are sums over the rows.
    fn descend(&mut self, energy: &mut Energy, n_data: i64, lr: f64) {
        let [mu, lambda] = &mut self.offsets;
        let mut hidden = self.buffers.hidden.shallow_clone();
        if self.rule.centring {
            let h_mean = hidden.narrow(0, 0, n_data).mean_dim(0, false, Kind::Float);
            *lambda += (h_mean - &*lambda) * OFFSET_RATE;
            hidden -= &*lambda;
        }
        let rates = &self.buffers.shares * lr;
        hidden *= rates.unsqueeze(1);
        let visible = self.buffers.centre(mu);
        let d_visible = visible.transposed_times(&(rates - hidden.mv(lambda)));
        let d_hidden = hidden.tr().mv(&(1.0 - visible.times(mu)));

        let [weight_step, visible_step, hidden_step] = &mut self.steps;
        let Rule { momentum, weight_decay, .. } = self.rule;
        let add_gradient = |to: &mut Tensor| visible.add_transposed_times(&hidden, to);
        follow(&mut energy.weight, weight_step, add_gradient, momentum, lr * weight_decay);
        follow(&mut energy.visible_bias, visible_step, |to| *to += &d_visible, momentum, 0.0);
        follow(&mut energy.hidden_bias, hidden_step, |to| *to += &d_hidden, momentum, 0.0);
    }

    /// μ and λ of the last update.
    #[cfg(test)]
    pub fn offsets(&self) -> &[Tensor; 2] {
        &self.offsets
    }

    /// Whether the last update summed over 1s.
    #[cfg(test)]
    pub fn sums_ones(&self) -> bool {
        self.buffers.are_few == [true; 2]
    }

    /// With dense products whatever the states are.
    #[cfg(test)]
    pub fn dense(mut self) -> Self {
        self.buffers.few = 0.0;
        self
    }

    /// Chains, offsets and last steps.
    pub fn save(&self) -> Snapshot<'static> {
        let named = self.named();
        named.into_iter().fold(Snapshot::default(), |to, (name, tensor)| to.owned_array(name, &to_vec(tensor)))
    }

    /// Takes up what [`Learner::save`] gave.
    ///
    /// # Errors
    /// When a part is missing or of another size.
    pub fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
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

/// `step = momentum step + gradient − decay param`, and `param += step` (Hinton 2010, sections 9 and 10). The step is kept only
/// for a momentum to repeat.
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
