//! The units of an RBM in one update, and the three products with their states.
//!
//! Binary states that are mostly 0 are multiplied by summing over the places of their 1s ([`Ones`]), others densely.

use super::energy::Energy;
use super::ones::Ones;
use carom_agents::net::tensor::{assert_apart, slice, slice_mut, to_vec};
use tch::{Device, Kind, Tensor};

/// Units in the two phases of an update. Rows of data are above rows of the chains, so that one product gives both
/// phases of the gradient.
#[derive(Debug)]
pub(super) struct Phases {
    /// `[B + C, V]`: states, later centred.
    pub(super) visible: Tensor,
    /// `[B + C, H]`: means, later centred and weighted.
    pub(super) hidden: Tensor,
    /// `[C, V]`: means of the chains' visible units.
    pub(super) chain_means: Tensor,
    /// `[C, H]`: states of the chains' hidden units.
    pub(super) chain_states: Tensor,
    /// `[B + C]`: 1 / B for data, −1 / C for chains.
    pub(super) shares: Tensor,
    /// The 1s of the visible states of data and of chains.
    ones: [Ones; 2],
    /// Whether few enough states are 1 that `ones` is used.
    are_few: [bool; 2],
    /// Share of 1s up to which products sum over them.
    pub(super) few: f64,
}

impl Phases {
    pub(super) fn new(energy: &Energy, n_data: i64, n_chains: i64, few: f64) -> Self {
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

    pub(super) fn fits(&self, n_data: i64, n_chains: i64) -> bool {
        self.visible.size()[0] == n_data + n_chains && self.chain_means.size()[0] == n_chains
    }

    /// Writes the hidden units' inputs vᵀW to `h`. `v` are visible states of the data (`side` 0) or of the chains (1).
    pub(super) fn send(&mut self, side: usize, v: &Tensor, weight: &Tensor, h: &mut Tensor) {
        let width = weight.size()[0] as usize;
        // SAFETY: nothing is written to `v` while its 1s are found.
        let find = |ones: &mut Ones| ones.find(unsafe { slice(v) }, width, self.few);
        self.are_few[side] = v.device() == Device::Cpu && find(&mut self.ones[side]);
        if self.are_few[side] {
            assert_apart(h, &[weight]);
            // SAFETY: the two share no memory, and only the product runs while the slices live.
            let (weight, h) = unsafe { (slice(weight), slice_mut(h)) };
            self.ones[side].times(weight, h);
        } else {
            let _ = v.mm_out(h, weight);
        }
    }

    /// Returns whether the last products summed over 1s.
    #[cfg(test)]
    pub(super) fn sums_ones(&self) -> bool {
        self.are_few == [true; 2]
    }

    /// Subtracts `mu` from the visible states.
    pub(super) fn centre(&mut self, mu: &Tensor) -> Centred<'_> {
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
pub(super) enum Centred<'a> {
    Dense(&'a Tensor),
    /// By the positions of 1s before centring. States are not changed; the contribution of μ is subtracted from each
    /// product.
    Few {
        by_row: &'a [Ones; 2],
        by_column: Ones,
        mu: Tensor,
    },
}

impl Centred<'_> {
    /// Returns X μ, `[B + C]`.
    pub(super) fn times(&self, mu: &Tensor) -> Tensor {
        match self {
            Self::Dense(x) => x.mv(mu),
            Self::Few { by_row, mu: centre, .. } => {
                let values = to_vec(mu);
                let products: Vec<f32> = by_row.iter().flat_map(|ones| ones.times_vector(&values)).collect();
                Tensor::from_slice(&products) - centre.dot(mu)
            }
        }
    }

    /// Returns Xᵀ `values`, `[V]`.
    pub(super) fn transposed_times(&self, values: &Tensor) -> Tensor {
        match self {
            Self::Dense(x) => x.tr().mv(values),
            Self::Few { by_column, mu, .. } => {
                let products: Vec<f32> = by_column.times_vector(&to_vec(values)).collect();
                Tensor::from_slice(&products) - mu * values.sum(Kind::Float)
            }
        }
    }

    /// Adds Xᵀ `hidden`, `[V, H]`, to `to`.
    pub(super) fn add_transposed_times(&self, hidden: &Tensor, to: &mut Tensor) {
        match self {
            Self::Dense(x) => _ = to.addmm_(&x.tr(), hidden),
            Self::Few { by_column, mu, .. } => {
                let sums = hidden.sum_dim_intlist(0, false, Kind::Float);
                assert_apart(to, &[hidden]);
                // SAFETY: the two share no memory, and only the product runs while the slices live.
                let (hidden, to) = unsafe { (slice(hidden), slice_mut(to)) };
                by_column.add_centred_times(&to_vec(mu), hidden, &to_vec(&sums), to);
            }
        }
    }
}
