//! The energy function, its consequences in closed form, and Gibbs steps.
//!
//! Bernoulli-Bernoulli: E(v, h) = −b·v − c·h − vᵀWh. Gaussian-Bernoulli with unit variance: E(v, h) = ½|v|² − b·v − c·h
//! − vᵀWh, so that v given h is N(b + Wh, 1). In both, F(v) = −ln Σ_h exp(−E(v, h)) = ½|v|² − b·v − Σ_j ln(1 + exp(c_j
//! + (vᵀW)_j)), the square only for Gaussian units, and p(v) = exp(−F(v)) / Z.

use carom_agents::net::units::{self, Uniforms};
use serde::{Deserialize, Serialize};
use tch::{Device, IndexOp, Kind, Tensor};

/// Values of a visible unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Visible {
    /// 0 or 1.
    Bernoulli,
    /// A real number, of unit variance given the hidden units.
    Gaussian,
}

/// Parameters of the energy function.
#[derive(Debug)]
pub(super) struct Energy {
    /// Values of the visible units.
    pub visible: Visible,
    /// W, `[V, H]`.
    pub weight: Tensor,
    /// b, `[V]`.
    pub visible_bias: Tensor,
    /// c, `[H]`.
    pub hidden_bias: Tensor,
}

/// Bounds the units whose states are enumerated in full measurements.
pub(super) const MAX_ENUMERATED: i64 = 20;

impl Energy {
    /// Returns V, the number of visible units.
    pub(super) fn n_visible(&self) -> i64 {
        self.weight.size()[0]
    }

    /// Returns H, the number of hidden units.
    pub(super) fn n_hidden(&self) -> i64 {
        self.weight.size()[1]
    }

    /// Returns the means of the hidden units given the visible ones, `v [B, V]`.
    pub(super) fn hidden_means(&self, v: &Tensor) -> Tensor {
        let mut z = v.mm(&self.weight);
        units::means(&mut z, 1.0, &self.hidden_bias);
        z
    }

    /// Returns the means of the visible units given the hidden ones, `h [B, H]`.
    pub(super) fn visible_means(&self, h: &Tensor) -> Tensor {
        let mut z = h.mm(&self.weight.tr());
        match self.visible {
            Visible::Bernoulli => units::means(&mut z, 1.0, &self.visible_bias),
            Visible::Gaussian => z += &self.visible_bias,
        }
        z
    }

    /// Draws `v [B, V]` given hidden states `h [B, H]`, each with the input `scale` (W h) + `bias`. Writes the means to
    /// `means`, of the shape of `v`.
    pub(super) fn draw_visible(
        &self,
        h: &Tensor,
        scale: f64,
        bias: &Tensor,
        means: &mut Tensor,
        v: &mut Tensor,
        noise: &mut Uniforms,
    ) {
        let _ = h.mm_out(means, &self.weight.tr());
        match self.visible {
            Visible::Bernoulli => units::draw(means, scale, bias, v, noise),
            Visible::Gaussian => {
                *means *= scale;
                *means += bias;
                v.copy_(&(&*means + means.randn_like()));
            }
        }
    }

    /// Makes `n` Gibbs steps h → v → h from hidden states `h [B, H]`, which it replaces by the last ones. Returns the
    /// last means of the visible units and their states, both `[B, V]`.
    pub(super) fn walk(&self, h: &mut Tensor, n: u64, noise: &mut Uniforms) -> (Tensor, Tensor) {
        let mut means = Tensor::zeros([h.size()[0], self.n_visible()], (Kind::Float, h.device()));
        let (mut v, mut z) = (means.zeros_like(), h.zeros_like());
        for _ in 0..n.max(1) {
            self.draw_visible(h, 1.0, &self.visible_bias, &mut means, &mut v, noise);
            let _ = v.mm_out(&z, &self.weight);
            units::draw(&mut z, 1.0, &self.hidden_bias, h, noise);
        }
        (means, v)
    }

    /// Returns −F of each row of `v [B, V]`, in nats: the logarithm of its unnormalised probability.
    pub(super) fn log_unnormalised(&self, v: &Tensor) -> Vec<f64> {
        self.log_unnormalised_given(v, &v.mm(&self.weight))
    }

    /// Returns −F of each row of `v [B, V]`, given the `inputs` vᵀW, `[B, H]`.
    pub(super) fn log_unnormalised_given(&self, v: &Tensor, inputs: &Tensor) -> Vec<f64> {
        let mut linear = v.mv(&self.visible_bias);
        if self.visible == Visible::Gaussian {
            linear -= v.square().sum_dim_intlist(1, false, Kind::Float) * 0.5;
        }
        let mut out = units::softplus_sums(inputs, &self.hidden_bias, 1.0);
        let linear = Vec::<f64>::try_from(linear.to_kind(Kind::Double).to_device(Device::Cpu)).expect("doubles");
        for (out, linear) in out.iter_mut().zip(linear) {
            *out += linear;
        }
        out
    }

    /// Returns the number of units of the layer that [`Energy::log_z`] enumerates: the smaller one, or the hidden one
    /// if visible units are real numbers.
    pub(super) fn n_enumerated(&self) -> i64 {
        match self.visible {
            Visible::Bernoulli => self.n_visible().min(self.n_hidden()),
            Visible::Gaussian => self.n_hidden(),
        }
    }

    /// Returns ln Z, by a sum over all states of one layer; the other layer is summed out in closed form.
    ///
    /// # Panics
    /// When that layer has more than [`MAX_ENUMERATED`] units.
    pub(super) fn log_z(&self) -> f64 {
        let n = self.n_enumerated();
        assert!(n <= MAX_ENUMERATED, "{n} units have too many states to be summed over");
        let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
        let (weight, b, c) = (double(&self.weight), double(&self.visible_bias), double(&self.hidden_bias));
        let by_hidden = n == self.n_hidden();
        let mut sums = Vec::new();
        for states in all_states(n, b.device()) {
            let exponents = match (by_hidden, self.visible) {
                (true, Visible::Bernoulli) => {
                    states.mv(&c) + (states.mm(&weight.tr()) + &b).softplus().sum_dim_intlist(1, false, Kind::Double)
                }
                (true, Visible::Gaussian) => {
                    let squares = (states.mm(&weight.tr()) + &b).square().sum_dim_intlist(1, false, Kind::Double);
                    let normal = self.n_visible() as f64 * std::f64::consts::TAU.ln();
                    states.mv(&c) + (squares + normal) * 0.5
                }
                (false, _) => {
                    states.mv(&b) + (states.mm(&weight) + &c).softplus().sum_dim_intlist(1, false, Kind::Double)
                }
            };
            sums.push(exponents.logsumexp(0, false));
        }
        Tensor::stack(&sums, 0).logsumexp(0, false).double_value(&[])
    }
}

/// Returns all 2ⁿ states of `n` binary units as doubles, some thousand at a time.
fn all_states(n: i64, device: Device) -> impl Iterator<Item = Tensor> {
    const AT_ONCE: i64 = 1 << 12;
    let bits = Tensor::arange(n, (Kind::Int64, device));
    (0..1_i64 << n).step_by(AT_ONCE as usize).map(move |start| {
        let end = (start + AT_ONCE).min(1 << n);
        let codes = Tensor::arange_start(start, end, (Kind::Int64, device));
        let shifted = codes.unsqueeze(1).bitwise_right_shift(&bits.unsqueeze(0));
        shifted.bitwise_and(1).to_kind(Kind::Double).i(..)
    })
}
