//! Samples of the model by parallel tempering (Swendsen & Wang 1986; for RBMs, Desjardins et al. 2010 and Cho et al.
//! 2010).
//!
//! Gibbs steps of the model alone do not cross from one of its modes to another in any number that can be waited for.
//! So chains run at several inverse temperatures between the base-rate model, which forgets its state in one step, and
//! the model, and neighbours exchange states with the probability that leaves all distributions as they are. A state of
//! the model is a new one once it has been at the base. Such arrivals bound the number of independent samples from
//! above: a narrow mode with most of the probability may be missed by all of them. CD-1 makes such modes: with 16
//! hidden units on MNIST 188 states arrived in all steps, and the reverse estimate from those of the second half was 5
//! nats above the exact likelihood.

use super::ais;
use super::energy::Energy;
use crate::progress::Counter;
use carom_agents::net::units::{self, Uniforms};
use tch::Tensor;

/// Inverse temperatures of a ladder.
const N_RUNGS: usize = 40;

/// Ladders side by side. They share no state, so as many modes at least can be found.
pub(super) const N_LADDERS: i64 = 10;

/// Samples, and how far they are from being independent.
#[derive(Debug)]
pub(super) struct Samples {
    /// Visible states, `[n, V]`.
    pub states: Tensor,
    /// Number of times that a state came all the way from the base to the model, in the steps that are used.
    pub n_arrivals: u64,
    /// Share of accepted exchanges between the two neighbours that exchange least.
    pub least_accepted: f64,
}

/// Parallel chains at inverse temperatures from 0 to 1.
struct Ladder<'a> {
    energy: &'a Energy,
    base: &'a Tensor,
    /// `[V]`: what the visible biases have above those of the base.
    tilt: Tensor,
    betas: Vec<f64>,
    /// Visible states v of each rung, `[N_LADDERS, V]`, and the inputs vᵀW that they give, `[N_LADDERS, H]`.
    states: Vec<[Tensor; 2]>,
    /// Whether the state of a rung and a ladder has been at the base since it was last at the model.
    is_new: Vec<Vec<bool>>,
    /// Accepted exchanges of each rung with the next.
    accepted: Vec<u64>,
    n_arrivals: u64,
}

/// Draws `n` states from ladders that make `n_steps` steps each; the first half of them is not used.
pub(super) fn samples(
    energy: &Energy,
    base: &Tensor,
    n: i64,
    n_steps: u64,
    noise: &mut Uniforms,
    counter: Option<&Counter>,
) -> Samples {
    let mut ladder = Ladder::new(energy, base, noise);
    let per_ladder = (n as u64).div_ceil(N_LADDERS as u64);
    let n_steps = n_steps.max(2 * per_ladder);
    let interval = (n_steps / 2) / per_ladder;
    let n_unused = n_steps - per_ladder * interval;
    let mut kept = vec![];
    for step in 1..=n_steps {
        if let Some(counter) = counter {
            counter.set(step - 1);
        }
        ladder.step(noise);
        ladder.exchange(step, noise);
        if step == n_unused {
            ladder.n_arrivals = 0;
        }
        if step > n_unused && (n_steps - step).is_multiple_of(interval) {
            kept.push(ladder.states[N_RUNGS - 1][0].copy());
        }
    }
    // Neighbours exchange in every second step.
    let tries = (n_steps * N_LADDERS as u64) as f64 / 2.0;
    let least_accepted = ladder.accepted.iter().map(|&n| n as f64 / tries).fold(f64::INFINITY, f64::min);
    Samples { states: Tensor::cat(&kept, 0).narrow(0, 0, n), n_arrivals: ladder.n_arrivals, least_accepted }
}

impl<'a> Ladder<'a> {
    fn new(energy: &'a Energy, base: &'a Tensor, noise: &mut Uniforms) -> Self {
        let betas = (0..N_RUNGS).map(|rung| rung as f64 / (N_RUNGS - 1) as f64).collect();
        let mut first = || {
            let v = ais::base_states(energy, base, N_LADDERS, noise);
            let z = v.mm(&energy.weight);
            [v, z]
        };
        let states = (0..N_RUNGS).map(|_| first()).collect();
        let is_new = vec![vec![false; N_LADDERS as usize]; N_RUNGS];
        let tilt = &energy.visible_bias - base;
        Self { energy, base, tilt, betas, states, is_new, accepted: vec![0; N_RUNGS - 1], n_arrivals: 0 }
    }

    /// Makes a Gibbs step v → h → v on each rung.
    fn step(&mut self, noise: &mut Uniforms) {
        let Self { energy, base, tilt, betas, states, .. } = self;
        for (&beta, [v, z]) in betas.iter().zip(states) {
            let (mut h, mut means) = (z.zeros_like(), v.zeros_like());
            units::draw(z, beta, &(&energy.hidden_bias * beta), &mut h, noise);
            energy.draw_visible(&h, beta, &(*base + &*tilt * beta), &mut means, v, noise);
            let _ = v.mm_out(z, &energy.weight);
        }
        self.is_new[0].fill(true);
    }

    /// Lets every second rung exchange states with the next, from the first or the second one in turn, which carries a
    /// state in one direction until it is refused (Okabe et al. 2001; Syed et al. 2022). By the rule of Metropolis:
    /// with probability min(1, p_a(v_b) p_b(v_a) / (p_a(v_a) p_b(v_b))).
    fn exchange(&mut self, step: u64, noise: &mut Uniforms) {
        for a in ((step % 2) as usize..N_RUNGS - 1).step_by(2) {
            let b = a + 1;
            let log_p = |state: usize, rung: usize| {
                ais::log_unnormalised_at(self.energy, &self.tilt, &self.states[state], self.betas[rung])
            };
            let (own, crossed) = ([log_p(a, a), log_p(b, b)], [log_p(b, a), log_p(a, b)]);
            let mut swaps = vec![];
            for i in 0..N_LADDERS as usize {
                let log_ratio = crossed[0][i] + crossed[1][i] - own[0][i] - own[1][i];
                let is_swapped = noise.uniform() < log_ratio.exp();
                if is_swapped {
                    let (low, high) = self.is_new.split_at_mut(b);
                    std::mem::swap(&mut low[a][i], &mut high[0][i]);
                    self.accepted[a] += 1;
                }
                swaps.push(is_swapped);
            }
            let swaps = Tensor::from_slice(&swaps).unsqueeze(1).to_device(self.base.device());
            let (below, above) = self.states.split_at_mut(b);
            for (low, high) in below[a].iter_mut().zip(&mut above[0]) {
                (*low, *high) = (high.where_self(&swaps, low), low.where_self(&swaps, high));
            }
        }
        for is_new in &mut self.is_new[N_RUNGS - 1] {
            self.n_arrivals += u64::from(std::mem::take(is_new));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::energy::Visible;
    use super::*;
    use crate::generative::model::seeded;
    use std::ops::RangeInclusive;
    use tch::{Device, Kind};

    /// Two modes of about equal weight, all of 20 visible units off and all on, between which Gibbs steps do not cross.
    fn two_modes() -> Energy {
        let floats = |values: Vec<f32>| Tensor::from_slice(&values);
        Energy {
            visible: Visible::Bernoulli,
            weight: floats(vec![6.0; 40]).view([20, 2]),
            visible_bias: floats(vec![-6.0; 20]),
            hidden_bias: floats(vec![-60.0; 2]),
        }
    }

    #[test]
    fn ladders_cross_between_modes_that_gibbs_steps_do_not_leave() {
        let _torch = seeded(0);
        let (energy, base) = (two_modes(), Tensor::zeros([20], (Kind::Float, Device::Cpu)));
        let share_on = |v: &Tensor| v.mean_dim(1, false, Kind::Float).gt(0.5).to_kind(Kind::Float);
        let mut noise = Uniforms::new(1);
        let mut h = Tensor::zeros([100, 2], (Kind::Float, Device::Cpu));
        let (_, stuck) = energy.walk(&mut h, 1000, &mut noise);
        assert_eq!(share_on(&stuck).mean(Kind::Float).double_value(&[]), 0.0);
        let found = samples(&energy, &base, 400, 2000, &mut noise, None);
        assert_eq!(found.states.size(), [400, 20]);
        // By symmetry each mode has half of the probability.
        let share = share_on(&found.states).mean(Kind::Float).double_value(&[]);
        assert!((share - 0.5).abs() < 0.15, "{share}, {} arrivals", found.n_arrivals);
        assert!(found.n_arrivals > 30 && found.least_accepted > 0.1, "{found:?}");
    }

    #[test]
    fn arrivals_count_in_the_half_of_the_steps_that_states_are_kept_of() {
        let _torch = seeded(0);
        let (energy, base) = (two_modes(), Tensor::zeros([20], (Kind::Float, Device::Cpu)));
        let found = samples(&energy, &base, 400, 2000, &mut Uniforms::new(1), None);
        let mut noise = Uniforms::new(1);
        let mut ladder = Ladder::new(&energy, &base, &mut noise);
        let mut after = |steps: RangeInclusive<u64>| {
            for step in steps {
                ladder.step(&mut noise);
                ladder.exchange(step, &mut noise);
            }
            ladder.n_arrivals
        };
        let (first, all) = (after(1..=1000), after(1001..=2000));
        assert!(first > 0);
        assert_eq!(found.n_arrivals, all - first);
    }
}
