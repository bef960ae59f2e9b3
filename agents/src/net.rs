//! Q-networks over one flat parameter vector.
//!
//! A network's parameters are one contiguous array, so that an optimiser is one pass, a target update one copy and a
//! checkpoint one buffer. [`native`] writes the passes of the few fixed networks by hand around torch's matrix products;
//! [`autograd`] builds the same networks from torch's operations, for accelerators and to hold the first against.

pub mod autograd;
mod kernels;
mod layout;
mod matrix;
pub mod native;
pub mod tensor;

pub use layout::{Layout, NetSpec};
pub use matrix::{Matrix, View, ViewMut, matmul};

#[cfg(test)]
mod tests {
    use super::*;
    use carom_envs::ObsSpace;
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg32;
    use tch::Tensor;

    fn spec(obs_space: ObsSpace, hidden: &[usize], layer_norm: bool) -> NetSpec {
        NetSpec { obs_space, frame_stack: 1, hidden: hidden.to_vec(), layer_norm, n_actions: 3 }
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
        let theirs = Vec::<f32>::try_from(theirs.flatten(0, -1)).unwrap();
        assert_eq!(ours.len(), theirs.len());
        let largest = theirs.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
        for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
            assert!((a - b).abs() <= 1e-5 * largest, "{what}[{i}]: {a} by hand, {b} by autograd");
        }
    }

    #[test]
    fn passes_by_hand_agree_with_autograd() {
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
            let mut network = native::Network::new(spec.clone());
            let layout = network.layout().clone();
            let mut params = Matrix::zeros(1, layout.len);
            let init = layout.init(&mut rng);
            // Biases, scales and shifts off their first values, so that none can be forgotten.
            let shaken = init.iter().map(|p| p + rng.gen_range(-0.1..0.1));
            params.as_mut_slice().iter_mut().zip(shaken).for_each(|(p, value)| *p = value);
            for batch in [32, 5] {
                let obs = observations(&spec.obs_space, batch, &mut rng);
                let d_q: Vec<f32> = (0..batch * 3).map(|_| rng.gen_range(-1.0..1.0)).collect();
                let flat = Tensor::from_slice(params.as_slice()).set_requires_grad(true);
                let obs_tensor = Tensor::from_slice(&obs).view([batch as i64, -1]);
                let q = autograd::forward(&spec, &layout, &flat, &obs_tensor);
                (&q * Tensor::from_slice(&d_q).view([batch as i64, 3])).sum(tch::Kind::Float).backward();

                assert_close("q", network.forward(&params, &obs), &q);
                let mut grads = Matrix::zeros(1, layout.len);
                network.backward(&params, &d_q, &mut grads);
                assert_close("gradient", grads.as_slice(), &flat.grad());
            }
        }
    }

    #[test]
    fn the_atari_network_is_that_of_mnih_et_al_2015() {
        let spec =
            NetSpec { frame_stack: 4, n_actions: 4, ..spec(ObsSpace::Pixels { shape: [84, 84] }, &[512], false) };
        let layout = Layout::new(&spec);
        let sizes: Vec<_> = layout.layers.iter().map(|layer| (layer.fan_in, layer.width)).collect();
        assert_eq!(sizes, [(8 * 8 * 4, 32), (4 * 4 * 32, 64), (3 * 3 * 64, 64), (7 * 7 * 64, 512), (512, 4)]);
        let params = Tensor::from_slice(&layout.init(&mut Pcg32::seed_from_u64(1)));
        let obs = Tensor::zeros([2, 4 * 84 * 84], (tch::Kind::Uint8, tch::Device::Cpu));
        assert_eq!(autograd::forward(&spec, &layout, &params, &obs).size(), [2, 4]);
    }

    #[test]
    fn the_minatar_papers_network_has_its_size() {
        let spec = NetSpec { n_actions: 6, ..spec(ObsSpace::Planes { shape: [10, 10, 4] }, &[128], false) };
        let n_params: usize = Layout::new(&spec).layers.iter().map(|layer| (layer.fan_in + 1) * layer.width).sum();
        assert_eq!(n_params, (36 + 1) * 16 + (1024 + 1) * 128 + (128 + 1) * 6);
    }
}
