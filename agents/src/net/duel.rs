//! A value of the state and advantages of the actions, added up (Wang et al. 2016, equation 9).
//!
//! `q(s, a) = v(s) + adv(s, a) - mean_a' adv(s, a')`
//!
//! Both streams are columns of one dense layer, the value's first. So the network has two linear streams behind the
//! last hidden layer, as Dopamine's Rainbow does; the paper's streams have a hidden layer each. With distributions the
//! sum is one of each atom's outputs (Hessel et al. 2018, section "Distributional RL").

use tch::Tensor;

/// The sum's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duel {
    pub(crate) actions: usize,
    /// Outputs of each action.
    pub(crate) atoms: usize,
}

impl Duel {
    /// Numbers that the streams have for an observation.
    fn n_streams(self) -> usize {
        (1 + self.actions) * self.atoms
    }

    /// Writes the outputs `[rows, actions * atoms]` of `streams`, `[rows, (1 + actions) * atoms]`.
    pub(crate) fn join(self, streams: &[f32], outputs: &mut Vec<f32>) {
        outputs.clear();
        for streams in streams.chunks_exact(self.n_streams()) {
            let (value, advantages) = streams.split_at(self.atoms);
            let start = outputs.len();
            outputs.extend(advantages);
            self.add_per_atom(value, advantages, &mut outputs[start..]);
        }
    }

    /// Writes the gradient of the streams, given that of the outputs.
    pub(crate) fn join_backward(self, d_outputs: &[f32], d_streams: &mut Vec<f32>) {
        d_streams.clear();
        for d_outputs in d_outputs.chunks_exact(self.actions * self.atoms) {
            for n in 0..self.atoms {
                d_streams.push(d_outputs.iter().skip(n).step_by(self.atoms).sum());
            }
            let start = d_streams.len();
            d_streams.extend(d_outputs);
            self.add_per_atom(&[], d_outputs, &mut d_streams[start..]);
        }
    }

    /// Adds `value[n]`, or 0 without values, less the mean over the actions of `of` to each atom n of `to`.
    fn add_per_atom(self, value: &[f32], of: &[f32], to: &mut [f32]) {
        for n in 0..self.atoms {
            let mean = of.iter().skip(n).step_by(self.atoms).sum::<f32>() / self.actions as f32;
            let shift = value.get(n).copied().unwrap_or(0.0) - mean;
            to.iter_mut().skip(n).step_by(self.atoms).for_each(|to| *to += shift);
        }
    }

    /// Outputs in torch, of streams `[.., (1 + actions) * atoms]`.
    pub(crate) fn apply(self, streams: &Tensor) -> Tensor {
        let (actions, atoms) = (self.actions as i64, self.atoms as i64);
        let mut shape = streams.size();
        let last = shape.len() as i64 - 1;
        shape.pop();
        // The batch is inferred, so that a traced network takes batches of any size.
        shape[0] = -1;
        let by_action = |x: Tensor, actions: i64| x.reshape([&shape[..], &[actions, atoms]].concat());
        let value = by_action(streams.narrow(last, 0, atoms), 1);
        let advantages = by_action(streams.narrow(last, atoms, actions * atoms), actions);
        let mean = advantages.mean_dim(last, true, tch::Kind::Float);
        (value + advantages - mean).flatten(last, last + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::torch;

    #[test]
    fn a_duel_by_hand() {
        let duel = Duel { actions: 3, atoms: 1 };
        let (mut outputs, mut d_streams) = (vec![], vec![]);
        duel.join(&[10.0, 1.0, 2.0, 6.0], &mut outputs);
        assert_eq!(outputs, [8.0, 9.0, 13.0]);
        duel.join_backward(&[0.0, 3.0, 0.0], &mut d_streams);
        assert_eq!(d_streams, [3.0, -1.0, 2.0, -1.0]);
    }

    #[test]
    fn both_ways_agree_with_autograd() {
        let _torch = torch();
        let duel = Duel { actions: 3, atoms: 2 };
        let streams: Vec<f32> = (0..16).map(|i| (i as f32 * 1.7).sin()).collect();
        let d_outputs: Vec<f32> = (0..12).map(|i| (i as f32 * 0.7).cos()).collect();
        let tensor = Tensor::from_slice(&streams).view([2, 8]).set_requires_grad(true);
        let joined = duel.apply(&tensor);
        (&joined * Tensor::from_slice(&d_outputs).view([2, 6])).sum(tch::Kind::Float).backward();
        let (mut outputs, mut d_streams) = (vec![], vec![]);
        duel.join(&streams, &mut outputs);
        duel.join_backward(&d_outputs, &mut d_streams);
        let close = |ours: &[f32], theirs: &Tensor| {
            let theirs = crate::net::tensor::to_vec(theirs);
            assert_eq!(ours.len(), theirs.len());
            assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-6));
        };
        close(&outputs, &joined);
        close(&d_streams, &tensor.grad());
    }
}
