//! A trained network in files that other programs read.
//!
//! Layers have the names and orders of PyTorch: `conv1`, `norm1`, ..., `fc1`, ..., `head`, weights `[out, in, ...]`.
//! The input is what the agent observes, as its environment gives it; the output are Q-values. Of a distribution of the
//! return, the graph's last operations take the mean.

mod modules;
mod onnx;
mod safetensors;
mod torchscript;

use crate::train::policy::{self, Policy};
use anyhow::{Context, Result, bail};
use carom_agents::net::Layout;
use carom_agents::{Dqn, QNetwork};
use carom_envs::ObsSpace;
use carom_envs::settings::Values;
use clap::ValueEnum;
use serde_json::Value;
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
    head: Head,
    /// Description of its training, as names and values.
    facts: Vec<(String, String)>,
}

/// How the network's last layer becomes Q-values.
#[derive(Clone, Debug, PartialEq)]
enum Head {
    /// It is the Q-values.
    Scalar,
    /// It is the logits of the probabilities of these returns, for each action.
    C51 { support: Vec<f32> },
    /// It is so many quantiles of the return, for each action.
    Qr { quantiles: usize },
}

impl Head {
    /// Reads the head from the agent's settings.
    ///
    /// # Errors
    /// When it is one that is not exported.
    fn of(settings: &Values) -> Result<Self> {
        let number = |key: &str| settings.get(key).and_then(Value::as_f64).with_context(|| format!("no agent.{key}"));
        match settings.get("head").and_then(Value::as_str).unwrap_or("scalar") {
            "scalar" => Ok(Head::Scalar),
            "c51" => {
                let (atoms, v_min, v_max) = (number("atoms")? as usize, number("v_min")?, number("v_max")?);
                let delta = (v_max - v_min) / (atoms - 1) as f64;
                Ok(Head::C51 { support: (0..atoms).map(|i| (v_min + i as f64 * delta) as f32).collect() })
            }
            "qr" => Ok(Head::Qr { quantiles: number("quantiles")? as usize }),
            head => bail!(
                "the network of agent.head={head} has quantile fractions as inputs beside the observation: only \
                 networks of the heads scalar, c51 and qr are exported"
            ),
        }
    }

    /// Returns its name in the settings.
    fn name(&self) -> &'static str {
        match self {
            Head::Scalar => "scalar",
            Head::C51 { .. } => "c51",
            Head::Qr { .. } => "qr",
        }
    }

    /// Returns by what the outputs of an action are weighted and summed: the returns of its probabilities, or equal
    /// shares of its quantiles. `None` if its only output is the value.
    fn weights(&self) -> Option<Vec<f32>> {
        match self {
            Head::Scalar => None,
            Head::C51 { support } => Some(support.clone()),
            Head::Qr { quantiles } => Some(vec![1.0 / *quantiles as f32; *quantiles]),
        }
    }
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
    /// When the agent has no network, one whose first part is a trained encoder, or one with more inputs.
    pub(crate) fn of(policy: &mut Policy) -> Result<Self> {
        let head = Head::of(policy.config.agent.settings())?;
        let (layout, params) = q_network(policy)?.acting().context(
            "the network's first part is an encoder that was trained with it: such a network is not exported",
        )?;
        let facts = [
            ("env", policy.config.env.id().to_owned()),
            ("protocol", policy.config.env.protocol()),
            ("encoder", policy.config.encoder.to_string()),
            ("agent", policy.config.agent.name().to_owned()),
            ("head", head.name().to_owned()),
            ("n_actions", policy.n_actions().to_string()),
            ("step", policy.step.to_string()),
            ("carom", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok(Self { layout, params, input: Input::of(policy.obs_space(), policy.frame_stack()), head, facts })
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

/// Returns the Q-values of observations, by which the agent acts.
///
/// # Errors
/// When the agent has no network.
pub(crate) fn acting_values(policy: &mut Policy, obs: &[u8]) -> Result<Vec<f32>> {
    let agent: Option<&mut dyn Any> = policy.player.agent().map(|agent| agent as _);
    if let Some(dqn) = agent.and_then(|agent| agent.downcast_mut::<Dqn>()) {
        return Ok(dqn.acting_values(obs).to_vec());
    }
    Ok(q_network(policy)?.acting_q(obs).to_vec())
}

/// Returns the network of an agent.
///
/// # Errors
/// When the agent has none.
fn q_network(policy: &mut Policy) -> Result<&mut QNetwork> {
    let none = format!("agent `{}` has no network: only `dqn` and `pqn` are exported", policy.config.agent.name());
    policy::network(&mut policy.player).context(none)
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
