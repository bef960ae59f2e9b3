//! A network's layers with their parameters as PyTorch names and orders them.

use super::Network;
use carom_agents::net::{Activation, Operation, Order};
use tch::Tensor;

/// A layer. Images are `[N, channels, rows, columns]`.
pub(super) enum Module {
    /// Weight `[out, in, rows, columns]`.
    Conv { parameters: Parameters, stride: i64 },
    /// Over the channels of each cell of an image, or over all features.
    LayerNorm { parameters: Parameters, of_image: bool },
    /// Weight `[out, in]`.
    Linear(Parameters),
    /// A rectifier.
    Relu,
    /// An image as one vector: channels, then rows, then columns.
    Flatten,
}

/// A layer's name, its weight and its bias.
pub(super) struct Parameters {
    pub(super) name: String,
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl Parameters {
    /// Returns both tensors with their names in a state dictionary.
    pub(super) fn named(&self) -> [(String, &Tensor); 2] {
        [(format!("{}.weight", self.name), &self.weight), (format!("{}.bias", self.name), &self.bias)]
    }
}

impl Module {
    /// Returns the parameters, if there are any.
    pub(super) fn parameters(&self) -> Option<&Parameters> {
        match self {
            Module::Conv { parameters, .. } | Module::LayerNorm { parameters, .. } | Module::Linear(parameters) => {
                Some(parameters)
            }
            Module::Relu | Module::Flatten => None,
        }
    }
}

/// Returns the layers behind the observation.
///
/// # Panics
/// At an operation that no Q-network has.
pub(super) fn modules(network: &Network) -> Vec<Module> {
    let layout = &network.layout;
    let shapes = layout.output_shapes(&[]);
    let params = layout.split(&Tensor::from_slice(&network.params));
    let mut pairs = params.chunks_exact(2);
    let last_dense = layout.operations().iter().rposition(|operation| matches!(operation, Operation::Dense { .. }));
    let mut names = Names::default();
    // Rows, columns and channels of an image that the next dense layer has as its input.
    let mut flattened: Option<[i64; 3]> = None;
    let mut modules = vec![];
    for (i, operation) in layout.operations().iter().enumerate().skip(1) {
        let input = &shapes[i - 1];
        let mut own = || match pairs.next() {
            Some([weight, bias]) => (weight.shallow_clone(), bias.shallow_clone()),
            _ => unreachable!("two parameters for each operation that has any"),
        };
        modules.push(match operation {
            Operation::Conv { stride, padding: 0, order: Order::ChannelsLast, .. } => {
                let (weight, bias) = own();
                let weight = weight.permute([3, 2, 0, 1]).contiguous();
                Module::Conv { parameters: Parameters { name: names.next("conv"), weight, bias }, stride: *stride }
            }
            Operation::LayerNorm { .. } => {
                let (weight, bias) = own();
                let parameters = Parameters { name: names.next("norm"), weight, bias };
                Module::LayerNorm { parameters, of_image: input.len() == 3 }
            }
            Operation::Dense { inputs, outputs } => {
                let (mut weight, bias) = own();
                if let Some([rows, columns, channels]) = flattened.take() {
                    weight = weight.view([rows, columns, channels, *outputs]).permute([2, 0, 1, 3]);
                }
                let weight = weight.reshape([*inputs, *outputs]).tr().contiguous();
                let name = if Some(i) == last_dense { "head".to_owned() } else { names.next("fc") };
                Module::Linear(Parameters { name, weight, bias })
            }
            Operation::Act(Activation::Relu) => Module::Relu,
            Operation::Reshape(_) => {
                flattened = <[i64; 3]>::try_from(&input[..]).ok();
                Module::Flatten
            }
            other => panic!("no Q-network has {other:?}"),
        });
    }
    modules
}

/// Names of layers: a word and a number, counted for each word.
#[derive(Default)]
struct Names {
    convs: usize,
    norms: usize,
    denses: usize,
}

impl Names {
    fn next(&mut self, word: &str) -> String {
        let count = match word {
            "conv" => &mut self.convs,
            "norm" => &mut self.norms,
            _ => &mut self.denses,
        };
        *count += 1;
        format!("{word}{count}")
    }
}
