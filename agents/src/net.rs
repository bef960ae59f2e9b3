//! Small networks: lists of operations over one flat parameter vector.
//!
//! A network's parameters are one contiguous array, so that an optimiser is one pass, a target update one copy and a
//! checkpoint one buffer. Each [`Operation`] defines its shapes, its cost and its implementation in torch. A [`Layout`]
//! places the parameters of a list in the vector, draws their initial values and computes the whole network in torch on
//! any device ([`Layout::forward`]). The `native` engines compute a few lists by kernels written by hand, and are
//! tested against it.
//!
//! [`NetSpec`] describes a Q-network, and [`Sequential`] is a network that models train. [`Matrix`] and [`tensor`] give
//! plain Rust access to torch's memory. [`lanes`] and [`threads`] provide sums, an exponential and threads for kernels,
//! and [`units`] draws the states of layers of binary units.

mod activation;
mod cosines;
mod crew;
mod cross_entropy;
mod duel;
pub mod lanes;
mod layout;
mod matrix;
mod native;
mod noise;
mod operation;
mod sequential;
mod spec;
pub mod tensor;
pub mod threads;
pub mod units;

pub use activation::Activation;
pub use cosines::midpoints;
pub use cross_entropy::{bce, bce_rows, bce_with_gradient};
pub(crate) use duel::Duel;
pub use layout::{Init, Layout};
pub use matrix::{Matrix, View, ViewMut, matmul};
pub(crate) use native::pixels::{PixelPasses, Prepared};
pub(crate) use native::q::QPasses;
pub use noise::Noise;
pub(crate) use noise::{perturb, product};
pub use operation::{NORM_EPSILON, Operation, Order};
pub use sequential::{Sequential, descend};
pub use spec::{NetParts, NetSpec};

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use carom_envs::ObsSpace;
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg32;
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use tch::Tensor;

    /// Torch's number of threads and generator, which all tests of the process share. One test at a time holds the lock
    /// on them; the number of threads is restored after it.
    pub(crate) struct Torch {
        n_threads: i32,
        _held: MutexGuard<'static, ()>,
    }

    impl Torch {
        #[allow(clippy::unused_self, reason = "the test that holds torch sets it")]
        pub(crate) fn set_threads(&self, n: i32) {
            tch::set_num_threads(n);
        }
    }

    impl Drop for Torch {
        fn drop(&mut self) {
            tch::set_num_threads(self.n_threads);
        }
    }

    /// Torch with a fresh generator.
    pub(crate) fn torch() -> Torch {
        static HELD: Mutex<()> = Mutex::new(());
        // A test that fails while it holds the lock must not make others fail.
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(0);
        Torch { n_threads: tch::get_num_threads(), _held: held }
    }

    fn spec(obs_space: ObsSpace, hidden: &[usize], layer_norm: bool) -> NetSpec {
        NetSpec { layer_norm, ..NetSpec::new(obs_space, 1, hidden, 3) }
    }

    /// Observations of `space`: sparse planes, standard normal vectors, any state.
    fn observations(space: &ObsSpace, batch: usize, rng: &mut Pcg32) -> Vec<u8> {
        (0..batch)
            .flat_map(|_| match *space {
                ObsSpace::Planes { .. } => {
                    (0..space.n_bytes()).map(|_| u8::from(rng.gen_bool(0.1))).collect::<Vec<_>>()
                }
                ObsSpace::Vector { len } => (0..len).flat_map(|_| rng.gen_range(-1.0_f32..1.0).to_le_bytes()).collect(),
                ObsSpace::Discrete { n } => rng.gen_range(0..n as u32).to_le_bytes().to_vec(),
                ObsSpace::Pixels { .. } => (0..space.n_bytes()).map(|_| rng.r#gen()).collect(),
            })
            .collect()
    }

    fn assert_close(what: &str, ours: &[f32], theirs: &Tensor) {
        let theirs = tensor::to_vec(theirs);
        assert_eq!(ours.len(), theirs.len());
        let largest = theirs.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
        for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
            assert!((a - b).abs() <= 1e-5 * largest, "{what}[{i}]: {a} by hand, {b} by autograd");
        }
    }

    #[test]
    fn passes_by_hand_agree_with_autograd() {
        let _torch = torch();
        let planes = ObsSpace::Planes { shape: [10, 10, 4] };
        let specs = [
            spec(planes.clone(), &[128], false),
            spec(planes.clone(), &[128], true),
            spec(planes, &[], true),
            spec(ObsSpace::Vector { len: 4 }, &[120, 84], false),
            spec(ObsSpace::Vector { len: 4 }, &[64, 32], true),
            spec(ObsSpace::Discrete { n: 16 }, &[], false),
        ];
        let mut rng = Pcg32::seed_from_u64(3);
        for spec in specs {
            let layout = spec.layout();
            let mut network = QPasses::of(&layout).expect("a small network");
            let mut params = Matrix::zeros(1, layout.len());
            let init = layout.first_params(spec.init(), &mut rng);
            // Moves biases, scales and shifts off their initial values, so that a pass that omits one fails.
            let shaken = init.iter().map(|p| p + rng.gen_range(-0.1..0.1));
            params.as_mut_slice().iter_mut().zip(shaken).for_each(|(p, value)| *p = value);
            for batch in [32, 5] {
                let obs = observations(&spec.obs_space, batch, &mut rng);
                let d_q: Vec<f32> = (0..batch * 3).map(|_| rng.gen_range(-1.0..1.0)).collect();
                let flat = Tensor::from_slice(params.as_slice()).set_requires_grad(true);
                let obs_tensor = Tensor::from_slice(&obs).view([batch as i64, -1]);
                let q = layout.forward(&flat, &obs_tensor);
                (&q * Tensor::from_slice(&d_q).view([batch as i64, 3])).sum(tch::Kind::Float).backward();

                assert_close("q", network.forward(&params, &obs, &[], true), &q);
                let mut grads = Matrix::zeros(1, layout.len());
                network.backward(&params, &d_q, &mut grads);
                assert_close("gradient", grads.as_slice(), &flat.grad());
            }
        }
    }

    #[test]
    fn passes_with_quantile_fractions_agree_with_autograd() {
        let _torch = torch();
        // Few features: where one is 0 but for rounding, a rectifier's gradient is anything.
        let planes = ObsSpace::Planes { shape: [5, 5, 2] };
        let vector = || ObsSpace::Vector { len: 4 };
        let specs = [
            spec(planes.clone(), &[32], false),
            spec(planes, &[32], true),
            spec(vector(), &[32, 16], true),
            spec(vector(), &[32], false),
            spec(vector(), &[], false),
        ];
        let mut rng = Pcg32::seed_from_u64(4);
        for spec in specs {
            let spec = NetSpec { parts: NetParts { taus: Some(5), atoms: 2, ..NetParts::default() }, ..spec };
            let layout = spec.layout();
            let mut network = QPasses::of(&layout).expect("a small network");
            let mut params = Matrix::zeros(1, layout.len());
            let init = layout.first_params(spec.init(), &mut rng);
            params.as_mut_slice().iter_mut().zip(init).for_each(|(p, v)| *p = v + rng.gen_range(-0.1..0.1));
            let flat = || Tensor::from_slice(params.as_slice()).set_requires_grad(true);
            for (batch, n_taus) in [(7, 3), (4, 5)] {
                let obs = observations(&spec.obs_space, batch, &mut rng);
                let obs_tensor = Tensor::from_slice(&obs).view([batch as i64, -1]);
                let by_default = layout.forward(&flat(), &obs_tensor);
                assert_close("outputs at midpoints", network.forward(&params, &obs, &[], false), &by_default);

                let taus: Vec<f32> = (0..batch * n_taus).map(|_| rng.r#gen()).collect();
                let d_q: Vec<f32> = (0..batch * n_taus * 6).map(|_| rng.gen_range(-1.0..1.0)).collect();
                let (flat, of_taus) = (flat(), Tensor::from_slice(&taus).view([batch as i64, -1]));
                let q = layout.forward_at(&flat, &obs_tensor, Some(&of_taus));
                (&q * Tensor::from_slice(&d_q).view([batch as i64, n_taus as i64, 6])).sum(tch::Kind::Float).backward();
                assert_close("outputs", network.forward(&params, &obs, &taus, true), &q);
                let mut grads = Matrix::zeros(1, layout.len());
                network.backward(&params, &d_q, &mut grads);
                assert_close("gradient", grads.as_slice(), &flat.grad());
            }
        }
    }

    #[test]
    #[should_panic(expected = "a kept pass")]
    fn inference_ends_a_pass_that_was_kept() {
        let _torch = torch();
        let layout = spec(ObsSpace::Vector { len: 4 }, &[8], false).layout();
        let mut network = QPasses::of(&layout).expect("a small network");
        let (params, mut grads) = (Matrix::zeros(1, layout.len()), Matrix::zeros(1, layout.len()));
        network.forward(&params, &[0; 16], &[], true);
        network.forward(&params, &[0; 32], &[], false);
        network.backward(&params, &[0.0; 3], &mut grads);
    }

    #[test]
    fn planes_that_16_bits_number_and_a_filter_fits_have_passes_by_hand() {
        for (shape, expected) in [([64, 64, 16], true), ([64, 64, 17], false), ([3, 3, 1], true), ([2, 10, 4], false)] {
            let layout = spec(ObsSpace::Planes { shape }, &[16], false).layout();
            assert_eq!(QPasses::of(&layout).is_some(), expected, "{shape:?}");
        }
    }

    #[test]
    fn larger_networks_have_no_passes_by_hand() {
        let planes = || ObsSpace::Planes { shape: [10, 10, 4] };
        let stacked = NetSpec { frame_stack: 2, ..spec(planes(), &[16], false) };
        let narrow = spec(planes(), &[24], true);
        for spec in [stacked, narrow, spec(ObsSpace::Pixels { shape: [84, 84] }, &[16], false)] {
            assert!(QPasses::of(&spec.layout()).is_none(), "{spec:?}");
        }
        let stacked = NetSpec { frame_stack: 3, ..spec(ObsSpace::Vector { len: 4 }, &[16], false) };
        assert!(QPasses::of(&stacked.layout()).is_some(), "a stack of vectors is a longer one");
    }
}
