//! Modules of TorchScript, traced from the network in torch's operations.

use super::{Element, Head, Network};
use crate::files::Scratch;
use anyhow::{Context, Result};
use carom_agents::net::{Layout, Operation};
use carom_envs::ObsSpace;
use fs_err as fs;
use tch::{CModule, Device, Kind, Tensor};

/// Returns a file of the module, whose method `forward` maps observations to Q-values. The parameters are constants.
pub(super) fn network(network: &Network) -> Result<Vec<u8>> {
    let kind = match network.input.element {
        Element::U8 => Kind::Uint8,
        Element::I32 => Kind::Int,
        Element::F32 => Kind::Float,
    };
    let shape: Vec<i64> = [2].iter().chain(&network.input.shape).copied().collect();
    let obs = Tensor::zeros(shape, (kind, Device::Cpu));
    let params = Tensor::from_slice(&network.params);
    // Observations of numbers skip the first operation: it reads their bytes, and tracing has no such view.
    let behind = Layout::aligned(network.layout.operations()[1..].to_vec());
    // Made before the trace, which would keep an empty tensor: it does not see how Rust fills one.
    let weights = network.head.weights().map(|weights| Tensor::from_slice(&weights));
    let mut forward = |obs: &[Tensor]| {
        let obs = obs[0].flatten(1, -1);
        let outputs = match network.layout.operations()[0] {
            Operation::Observe { space: ObsSpace::Vector { .. }, .. } => behind.forward(&params, &obs),
            Operation::Observe { space: ObsSpace::Discrete { n }, .. } => {
                let states = obs.to_kind(Kind::Int64).one_hot(n as i64).to_kind(Kind::Float);
                behind.forward(&params, &states.flatten(1, -1))
            }
            _ => network.layout.forward(&params, &obs),
        };
        vec![values(&network.head, weights.as_ref(), outputs)]
    };
    let module = tch::no_grad(|| CModule::create_by_tracing("QNetwork", "forward", &[obs], &mut forward))?;
    let scratch = Scratch::beside(&std::env::temp_dir().join("carom-export"))?;
    let path = scratch.path().join("module.pt");
    module.save(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::read(&path)?)
}

/// Returns the Q-values `[B, n_actions]` of the last layer's `outputs`.
fn values(head: &Head, weights: Option<&Tensor>, outputs: Tensor) -> Tensor {
    let Some(weights) = weights else { return outputs };
    let of_actions = outputs.unflatten(1, [-1, weights.size()[0]]);
    let shares = if matches!(head, Head::C51 { .. }) { of_actions.softmax(-1, Kind::Float) } else { of_actions };
    shares.matmul(weights)
}
