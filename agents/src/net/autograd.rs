//! The same networks from torch's own operations, differentiated by autograd, on any device.

use super::NetSpec;
use super::kernels::{FILTERS, NORM_EPSILON};
use super::layout::{Layer, Layout};
use carom_envs::ObsSpace;
use tch::{Kind, Tensor};

/// Q-values `[B, n_actions]` of `obs`, a `u8` tensor `[B, obs_bytes]`, as a function of the flat vector `params`.
pub fn forward(spec: &NetSpec, layout: &Layout, params: &Tensor, obs: &Tensor) -> Tensor {
    let mut x = features(&spec.obs_space, obs);
    for layer in &layout.layers {
        let bias = vector(params, layer.bias, layer.width);
        let z = match spec.obs_space {
            ObsSpace::Planes { shape: [_, _, channels] } if x.dim() == 4 => {
                // [ky, kx, channel, filter] -> [filter, channel, ky, kx]
                let kernel = [3, 3, channels as i64, FILTERS as i64];
                let weight = weight(params, layer).view(kernel).permute([3, 2, 0, 1]);
                x.permute([0, 3, 1, 2]).conv2d(&weight, Some(&bias), 1, 0, 1, 1).permute([0, 2, 3, 1])
            }
            _ => x.matmul(&weight(params, layer)) + bias,
        };
        x = if layer == layout.head() { z } else { rectify(params, layer, &z).flatten(1, -1) };
    }
    x
}

fn rectify(params: &Tensor, layer: &Layer, z: &Tensor) -> Tensor {
    let Some((scale, shift)) = layer.norm else { return z.relu() };
    let (scale, shift) = (vector(params, scale, layer.width), vector(params, shift, layer.width));
    z.layer_norm([layer.width as i64], Some(&scale), Some(&shift), f64::from(NORM_EPSILON), false).relu()
}

fn weight(params: &Tensor, layer: &Layer) -> Tensor {
    vector(params, layer.weight, layer.fan_in * layer.width).view([layer.fan_in as i64, layer.width as i64])
}

fn vector(params: &Tensor, start: usize, len: usize) -> Tensor {
    params.narrow(0, start as i64, len as i64)
}

fn features(space: &ObsSpace, obs: &Tensor) -> Tensor {
    match *space {
        ObsSpace::Vector { .. } => obs.view_dtype(Kind::Float),
        ObsSpace::Discrete { n } => {
            obs.view_dtype(Kind::Int).to_kind(Kind::Int64).squeeze_dim(1).one_hot(n as i64).to_kind(Kind::Float)
        }
        ObsSpace::Planes { shape: [rows, cols, channels] } => {
            obs.view([-1, rows as i64, cols as i64, channels as i64]).to_kind(Kind::Float)
        }
        ObsSpace::Pixels { .. } => obs.to_kind(Kind::Float) / 255.0,
    }
}
