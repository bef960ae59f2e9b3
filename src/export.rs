//! A trained network in files that other programs read.
//!
//! Layers have the names and orders of PyTorch: `conv1`, `norm1`, ..., `fc1`, ..., `head`, weights `[out, in, ...]`.
//! The input is what the agent observes, as its environment gives it; the output are Q-values.

mod modules;
mod onnx;
mod safetensors;
mod torchscript;

use crate::train::policy::Policy;
use anyhow::{Context, Result, ensure};
use carom_agents::net::Layout;
use carom_agents::{Dqn, Pqn, QNetwork};
use carom_envs::ObsSpace;
use clap::ValueEnum;
use std::any::Any;

/// A file format for a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Named arrays, for PyTorch and others
    Safetensors,
    /// A traced module that torch.jit.load and LibTorch run
    Torchscript,
    /// A graph that onnxruntime and others run
    Onnx,
}

impl Format {
    /// Returns the extension of its files.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Torchscript => "pt",
            Format::Onnx => "onnx",
        }
    }
}

/// A network from observations to Q-values.
pub(crate) struct Network {
    layout: Layout,
    params: Vec<f32>,
    input: Input,
    /// What it was trained on, as names and values.
    facts: Vec<(String, String)>,
}

/// The shape and element type of the observations, behind the batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    shape: Vec<i64>,
    element: Element,
}

/// Type of an observation's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    U8,
    I32,
    F32,
}

impl Network {
    /// Returns the network of `policy`.
    ///
    /// # Errors
    /// When the agent has no network, one whose first part is a trained encoder, or one of distributions.
    pub(crate) fn of(policy: &mut Policy) -> Result<Self> {
        let head = policy.config.agent.settings().get("head").and_then(|head| head.as_str()).unwrap_or("scalar");
        ensure!(
            head == "scalar",
            "the network's outputs are distributions (agent.head={head}): only values are exported"
        );
        let (layout, params) = q_network(policy)?.acting().context(
            "the network's first part is an encoder that was trained with it: such a network is not exported",
        )?;
        let facts = [
            ("env", policy.config.env.id().to_owned()),
            ("protocol", policy.config.env.protocol()),
            ("encoder", policy.config.encoder.to_string()),
            ("agent", policy.config.agent.name().to_owned()),
            ("step", policy.step.to_string()),
            ("carom", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok(Self { layout, params, input: Input::of(policy.obs_space(), policy.frame_stack()), facts })
    }

    /// Returns the bytes of a file of the network.
    ///
    /// # Errors
    /// When torch cannot write a module.
    pub(crate) fn to_bytes(&self, format: Format) -> Result<Vec<u8>> {
        match format {
            Format::Safetensors => safetensors::network(self),
            Format::Torchscript => torchscript::network(self),
            Format::Onnx => Ok(onnx::network(self)),
        }
    }

    /// Returns the shape and element type of the observations.
    pub(crate) fn input(&self) -> &Input {
        &self.input
    }
}

/// Returns the network of an agent.
///
/// # Errors
/// When the agent has none.
pub(crate) fn q_network(policy: &mut Policy) -> Result<&mut QNetwork> {
    let agent: Option<&mut dyn Any> = policy.player.agent().map(|agent| agent as _);
    let network = match agent {
        Some(agent) if agent.is::<Dqn>() => agent.downcast_mut().map(Dqn::network),
        Some(agent) => agent.downcast_mut().map(Pqn::network),
        None => None,
    };
    network.with_context(|| {
        format!("agent `{}` has no network: only `dqn` and `pqn` are exported", policy.config.agent.name())
    })
}

/// Returns the bytes of a file of observations, whose bytes `obs` are, and their Q-values.
///
/// # Errors
/// When the arrays cannot be written.
pub(crate) fn examples(input: &Input, obs: &[u8], q: &[f32]) -> Result<Vec<u8>> {
    safetensors::examples(input, obs, q)
}

impl Input {
    fn of(space: &ObsSpace, frame_stack: usize) -> Self {
        let frames = [frame_stack as i64];
        let of = |element, frame: &[usize]| {
            let frame = frame.iter().map(|&size| size as i64);
            Self { shape: frames.into_iter().chain(frame).collect(), element }
        };
        match space {
            ObsSpace::Discrete { .. } => of(Element::I32, &[]),
            ObsSpace::Vector { len } => of(Element::F32, &[*len]),
            ObsSpace::Planes { shape } => of(Element::U8, shape),
            ObsSpace::Pixels { shape } => of(Element::U8, shape),
        }
    }

    /// Returns the number of observations whose bytes are `obs`.
    fn count(&self, obs: &[u8]) -> i64 {
        let size = if self.element == Element::U8 { 1 } else { 4 };
        obs.len() as i64 / (size * self.shape.iter().product::<i64>())
    }
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let element = match self.element {
            Element::U8 => "u8",
            Element::I32 => "i32",
            Element::F32 => "f32",
        };
        let shape: Vec<String> = self.shape.iter().map(i64::to_string).collect();
        write!(f, "{element} [N, {}]", shape.join(", "))
    }
}

#[cfg(test)]
mod tests;
