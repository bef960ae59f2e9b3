//! The quantile function of the return as a network: IQN (Dabney et al. 2018b).
//!
//! The network has a quantile fraction τ as an input and its quantile as the output (see `net/cosines.rs`). Fractions
//! of the loss and of the target are drawn uniformly for each update, as many of each. The loss is
//!
//! `Σ_i mean_j |τ_i - 1{u_ij < 0}| L(u_ij)`, `u_ij = 𝒯_j - θ(τ_i)`,
//! `𝒯_j = r_t + discount_t Σ_a π(a) (θ_t(τ'_j, a) + bonus(a))` (equation 3, with κ = 1).
//!
//! Two differences from the paper. Actions are chosen by the mean over fixed fractions, the midpoints of equal parts.
//! So a greedy policy draws no numbers. In the target, π follows from the mean over the fractions of the target, which
//! saves a pass. The choice of the online network (`double`) and the policy whose logarithm is added to the reward
//! (`munchausen`) follow from the midpoints.

use super::quantile::{mean_quantile_loss, quantile_targets};
use crate::dqn::head::{Head, Taken};
use crate::dqn::policy::Next;
use crate::q_network::Fitted;
use crate::snapshot::{Loaded, Snapshot, SnapshotError};
use rand::Rng;
use rand_pcg::Pcg32;

/// Quantiles at fractions that are drawn. Outputs are `[B, K, n_actions]`.
pub(super) struct Implicit {
    n_actions: usize,
    n_taus: usize,
    batch: usize,
    taus: Vec<f32>,
    taus_t: Vec<f32>,
    rng: Pcg32,
}

impl Implicit {
    pub(super) fn new(n_actions: usize, n_taus: usize, batch: usize, rng: Pcg32) -> Self {
        Self { n_actions, n_taus, batch, taus: vec![], taus_t: vec![], rng }
    }

    fn strides(&self) -> [usize; 3] {
        [self.n_taus * self.n_actions, 1, self.n_actions]
    }
}

impl Head for Implicit {
    fn n_taus(&self) -> Option<usize> {
        Some(self.n_taus)
    }

    fn draw(&mut self) {
        for taus in [&mut self.taus, &mut self.taus_t] {
            taus.clear();
            taus.extend((0..self.batch * self.n_taus).map(|_| self.rng.r#gen::<f32>()));
        }
    }

    fn taus(&self) -> &[f32] {
        &self.taus
    }

    fn taus_t(&self) -> &[f32] {
        &self.taus_t
    }

    fn values(&self, outputs: &[f32], values: &mut Vec<f32>) {
        values.clear();
        for outputs in outputs.chunks_exact(self.n_taus * self.n_actions) {
            let quantiles = |a: usize| outputs.iter().skip(a).step_by(self.n_actions);
            values.extend((0..self.n_actions).map(|a| quantiles(a).sum::<f32>() / self.n_taus as f32));
        }
    }

    fn targets(&self, outputs_t: &[f32], next: &Next, targets: &mut Vec<f32>) {
        quantile_targets(outputs_t, self.strides(), self.n_taus, next, targets);
    }

    fn loss(&self, outputs: &[f32], taken: &Taken, d_outputs: &mut [f32], priorities: &mut Vec<f32>) -> Fitted {
        let taus = |b: usize| &self.taus[b * self.n_taus..(b + 1) * self.n_taus];
        mean_quantile_loss(outputs, self.strides(), taus, taken, d_outputs, priorities)
    }

    fn save(&self) -> Snapshot<'_> {
        Snapshot::default().value("taus", &self.rng)
    }

    fn load(&mut self, from: &Loaded) -> Result<(), SnapshotError> {
        self.rng = from.value("taus")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dqn::policy::Policy;
    use crate::losses::tests::{assert_close, floats, parts};
    use rand::SeedableRng;

    fn head() -> Implicit {
        Implicit::new(2, 3, 2, Pcg32::seed_from_u64(1))
    }

    #[test]
    fn values_are_means_over_fractions_by_hand() {
        let mut values = vec![];
        head().values(&[1.0, 10.0, 2.0, 20.0, 3.0, 60.0], &mut values);
        assert_eq!(values, [2.0, 30.0]);
    }

    #[test]
    fn fractions_are_drawn_anew_for_loss_and_target() {
        let mut head = head();
        head.draw();
        let before = [head.taus.clone(), head.taus_t.clone()];
        assert!(before.iter().flatten().all(|tau| (0.0..1.0).contains(tau)) && before[0] != before[1]);
        head.draw();
        assert_ne!(before[0], head.taus);
        assert_eq!((head.taus.len(), head.taus_t.len()), (6, 6));
    }

    #[test]
    fn targets_loss_and_gradient_agree_with_pytorch() {
        let golden = parts();
        let case = &golden["implicit"];
        let [outputs, outputs_t, returns, discounts, weights] =
            ["quantiles", "quantiles_t", "returns", "discounts", "weights"].map(|name| floats(&case[name]));
        let mut head = Implicit { taus: floats(&case["taus"]), ..head() };
        head.batch = 2;
        let (mut values, mut targets, mut policy) = (vec![], vec![], Policy::default());
        head.values(&outputs_t, &mut values);
        policy.be_greedy(&values, 2);
        head.targets(&outputs_t, &Next { returns: &returns, discounts: &discounts, policy: &policy }, &mut targets);
        assert_close(&targets, &case["targets"]);
        let (mut d_outputs, mut priorities) = (vec![0.0; outputs.len()], vec![]);
        let taken = Taken { actions: &[1, 0], targets: &targets, weights: &weights };
        let fitted = head.loss(&outputs, &taken, &mut d_outputs, &mut priorities);
        assert_close(&[fitted.loss as f32], &case["loss"]);
        assert_close(&d_outputs, &case["gradient"]);
    }
}
