//! Files of named arrays: <https://huggingface.co/docs/safetensors>.

use super::modules::{Module, Parameters, modules};
use super::{Element, Head, Input, Network};
use anyhow::Result;
use carom_agents::net::NORM_EPSILON;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use tch::Tensor;

/// Returns a file of the parameters, with the facts as its metadata.
pub(super) fn network(network: &Network) -> Result<Vec<u8>> {
    let modules = modules(network);
    let named = modules.iter().filter_map(Module::parameters).flat_map(Parameters::named);
    let mut arrays: Vec<_> = named.map(|(name, tensor)| (name, shape(tensor), bytes(tensor))).collect();
    if let Head::C51 { support } = &network.head {
        let returns = support.iter().flat_map(|value| value.to_le_bytes()).collect();
        arrays.push(("support".to_owned(), vec![support.len()], returns));
    }
    let views = arrays
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>>>()?;
    let mut metadata: HashMap<String, String> = network.facts.iter().cloned().collect();
    metadata.insert("format".to_owned(), "pt".to_owned());
    metadata.insert("observation".to_owned(), network.input.to_string());
    if modules.iter().any(|module| matches!(module, Module::LayerNorm { .. })) {
        metadata.insert("layer_norm_epsilon".to_owned(), format!("{NORM_EPSILON:e}"));
    }
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// Returns a file of the arrays `obs` and `q`.
pub(super) fn examples(input: &Input, obs: &[u8], q: &[f32]) -> Result<Vec<u8>> {
    let n = input.count(obs);
    let dtype = match input.element {
        Element::U8 => Dtype::U8,
        Element::I32 => Dtype::I32,
        Element::F32 => Dtype::F32,
    };
    let obs_shape = [n].iter().chain(&input.shape).map(|&size| size as usize).collect();
    let q_bytes: Vec<u8> = q.iter().flat_map(|q| q.to_le_bytes()).collect();
    let q_shape = vec![n as usize, q.len() / n.max(1) as usize];
    let views =
        [("obs", TensorView::new(dtype, obs_shape, obs)?), ("q", TensorView::new(Dtype::F32, q_shape, &q_bytes)?)];
    Ok(safetensors::serialize(views, None)?)
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.size().iter().map(|&size| size as usize).collect()
}

/// The elements of a tensor as the files of all formats hold them: in order, little-endian.
pub(super) fn bytes(tensor: &Tensor) -> Vec<u8> {
    let values = Vec::<f32>::try_from(tensor.contiguous().view(-1)).expect("a tensor of floats");
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
