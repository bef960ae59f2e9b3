//! Q-networks as lists of operations.

use super::layout::{Init, Layout};
use super::operation::{Operation, Order};
use carom_envs::ObsSpace;

/// A Q-network: convolutions where the observation is planes (one, 3×3, of sixteen filters: Young & Tian 2019) or
/// pixels (three: Mnih et al. 2015, methods), then dense layers, each rectified, and a last linear layer with one
/// output for each action.
#[derive(Clone, Debug, PartialEq)]
pub struct NetSpec {
    /// Space of one frame of the observation. A discrete state is one-hot.
    pub obs_space: ObsSpace,
    /// Frames of an observation, oldest first.
    pub frame_stack: usize,
    /// Widths of the hidden dense layers.
    pub hidden: Vec<usize>,
    /// Normalise before every rectifier (Ba et al. 2016): over a cell's filters after the convolution, over the
    /// features of a dense layer, as PQN does.
    pub layer_norm: bool,
    /// Number of actions.
    pub n_actions: usize,
    /// Parts that some agents add.
    pub parts: NetParts,
}

/// Parts of a Q-network beside those of Mnih et al. 2015. By default there are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetParts {
    /// Outputs for each action: a value, or several numbers that describe the distribution of the return.
    pub atoms: usize,
    /// Whether each output is a sum of one for the state and one for the action (Wang et al. 2016).
    pub dueling: bool,
    /// Number of quantile fractions if these are inputs (Dabney et al. 2018b). Each has a row of outputs.
    pub taus: Option<usize>,
    /// First spread of the parameters of dense layers, if these are noisy (Fortunato et al. 2018).
    pub sigma: Option<f64>,
}

impl Default for NetParts {
    fn default() -> Self {
        Self { atoms: 1, dueling: false, taus: None, sigma: None }
    }
}

/// Cosines of a quantile fraction (Dabney et al. 2018b, section 4).
const N_COSINES: i64 = 64;

impl NetSpec {
    /// Network of Mnih et al. 2015 with these hidden widths: without norms and other parts.
    pub fn new(obs_space: ObsSpace, frame_stack: usize, hidden: &[usize], n_actions: usize) -> Self {
        let hidden = hidden.to_vec();
        Self { obs_space, frame_stack, hidden, layer_norm: false, n_actions, parts: NetParts::default() }
    }

    /// Bytes of one observation.
    pub fn obs_bytes(&self) -> usize {
        self.frame_stack * self.obs_space.n_bytes()
    }

    /// The network, from bytes to Q-values.
    pub fn layout(&self) -> Layout {
        Layout::aligned(self.operations())
    }

    /// How initial parameters are drawn: by He's scheme if there are norms, as in PQN, else by PyTorch's. The DQN
    /// baselines were measured with PyTorch's. On `minatar/breakout` DQN learns better with it than with He's (by half
    /// a point of return from half a million frames on).
    pub fn init(&self) -> Init {
        let is_norm = |operation: &Operation| matches!(operation, Operation::LayerNorm { .. });
        if self.operations().iter().any(is_norm) { Init::He } else { Init::FanIn }
    }

    /// The operations; the first turns bytes into numbers.
    pub fn operations(&self) -> Vec<Operation> {
        let (space, frames) = match self.obs_space {
            // A stack of vectors is one longer vector.
            ObsSpace::Vector { len } => (ObsSpace::Vector { len: self.frame_stack * len }, 1),
            ref space => (space.clone(), self.frame_stack as i64),
        };
        let convolutions: &[[i64; 3]] = match space {
            ObsSpace::Planes { .. } => &[[3, 1, 16]],
            ObsSpace::Pixels { .. } => &[[8, 4, 32], [4, 2, 64], [3, 1, 64]],
            ObsSpace::Vector { .. } | ObsSpace::Discrete { .. } => &[],
        };
        let observe = Operation::Observe { space, frames };
        let mut shape = observe.output_shape(&[self.obs_bytes() as i64]);
        let mut operations = vec![observe];
        for &[kernel, stride, outputs] in convolutions {
            let inputs = shape[2];
            let conv = Operation::Conv { inputs, outputs, kernel, stride, padding: 0, order: Order::ChannelsLast };
            shape = conv.output_shape(&shape);
            operations.push(conv);
            self.rectify(outputs, &mut operations);
        }
        let mut inputs = shape.iter().product();
        if !convolutions.is_empty() {
            operations.push(Operation::Reshape(vec![inputs]));
        }
        // Fractions join the features of the convolutions, as in the paper, or those of the first dense layer.
        let embed_at = usize::from(convolutions.is_empty()).min(self.hidden.len());
        for (i, outputs) in self.hidden.iter().map(|&width| width as i64).enumerate() {
            if i == embed_at {
                self.embed(inputs, &mut operations);
            }
            operations.push(Operation::Dense { inputs, outputs });
            self.rectify(outputs, &mut operations);
            inputs = outputs;
        }
        if embed_at == self.hidden.len() {
            self.embed(inputs, &mut operations);
        }
        self.push_outputs(inputs, &mut operations);
        operations
    }

    fn embed(&self, width: i64, operations: &mut Vec<Operation>) {
        if let Some(taus) = self.parts.taus {
            operations.push(Operation::Embed { cosines: N_COSINES, width, taus: taus as i64 });
        }
    }

    fn push_outputs(&self, inputs: i64, operations: &mut Vec<Operation>) {
        let (actions, atoms) = (self.n_actions as i64, self.parts.atoms as i64);
        let n_streams = actions + i64::from(self.parts.dueling);
        operations.push(Operation::Dense { inputs, outputs: n_streams * atoms });
        if self.parts.dueling {
            operations.push(Operation::Duel { actions, atoms });
        }
    }

    fn rectify(&self, width: i64, operations: &mut Vec<Operation>) {
        if self.layer_norm {
            operations.push(Operation::LayerNorm { width });
        }
        operations.push(Operation::relu());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::torch;
    use rand::SeedableRng;
    use rand_pcg::Pcg32;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn the_atari_network_is_that_of_mnih_et_al_2015() {
        let _torch = torch();
        let obs_space = ObsSpace::Pixels { shape: [84, 84] };
        let spec = NetSpec::new(obs_space, 4, &[512], 4);
        let layout = spec.layout();
        let sizes: Vec<_> = layout.shapes().chunks(2).map(|pair| (&pair[0][..], &pair[1][..])).collect();
        let expected: [(&[i64], &[i64]); 5] = [
            (&[8, 8, 4, 32], &[32]),
            (&[4, 4, 32, 64], &[64]),
            (&[3, 3, 64, 64], &[64]),
            (&[7 * 7 * 64, 512], &[512]),
            (&[512, 4], &[4]),
        ];
        assert_eq!(sizes, expected);
        let params = Tensor::from_slice(&layout.first_params(spec.init(), &mut Pcg32::seed_from_u64(1)));
        let obs = Tensor::zeros([2, 4 * 84 * 84], (Kind::Uint8, Device::Cpu));
        assert_eq!(layout.forward(&params, &obs).size(), [2, 4]);
        // Convolutions of 400, 81 and 49 places, dense layers, 28,224 pixels over 255, rectifiers.
        let products = 400 * 32 * 256 + 81 * 64 * 512 + 49 * 64 * 576 + 3136 * 512 + 512 * 4;
        let others = 28_224 + 400 * 32 + 81 * 64 + 49 * 64 + 512;
        assert_eq!(layout.flops(&[4 * 84 * 84]), 2 * products + others);
    }

    #[test]
    fn the_minatar_papers_network_has_its_size() {
        let obs_space = ObsSpace::Planes { shape: [10, 10, 4] };
        let spec = NetSpec::new(obs_space, 1, &[128], 6);
        let n_params: i64 = spec.layout().shapes().iter().map(|shape| shape.iter().product::<i64>()).sum();
        assert_eq!(n_params, (36 + 1) * 16 + (1024 + 1) * 128 + (128 + 1) * 6);
    }
}
