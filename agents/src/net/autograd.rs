//! The same networks from torch's own operations, differentiated by autograd, on any device.

use super::NetSpec;
use super::kernels::NORM_EPSILON;
use super::layout::{Conv, Layer, Layout};
use carom_envs::ObsSpace;
use tch::{Kind, Tensor};

/// Q-values `[B, n_actions]` of `obs`, a `u8` tensor `[B, obs_bytes]`, as a function of the flat vector `params`.
pub fn forward(spec: &NetSpec, layout: &Layout, params: &Tensor, obs: &Tensor) -> Tensor {
    forward_from(features(spec, obs), layout, params)
}

/// As [`forward`], of input `x` as floats: `[B, channels, rows, columns]` where it is an image, else `[B, n_features]`.
pub fn forward_from(mut x: Tensor, layout: &Layout, params: &Tensor) -> Tensor {
    let mut parts = layout.split(params).into_iter();
    let mut next = || parts.next().expect("a network has the parameters of its layers");
    for layer in &layout.layers {
        let (weight, bias) = (next().view([layer.fan_in as i64, layer.width as i64]), next());
        let z = match layer.conv {
            Some(Conv { kernel, stride, channels }) => {
                // [row, column, channel, filter] -> [filter, channel, row, column]
                let shape = [kernel, kernel, channels, layer.width].map(|size| size as i64);
                let weight = weight.view(shape).permute([3, 2, 0, 1]);
                x.conv2d(&weight, Some(&bias), stride as i64, 0, 1, 1)
            }
            // Cells in order, each with its channels: as the passes by hand have them.
            None if x.dim() == 4 => x.permute([0, 2, 3, 1]).flatten(1, -1).matmul(&weight) + bias,
            None => x.matmul(&weight) + bias,
        };
        let norm = layer.norm.map(|_| [next(), next()]);
        x = if layer == layout.head() { z } else { rectify(layer, norm, &z) };
    }
    x
}

fn rectify(layer: &Layer, norm: Option<[Tensor; 2]>, z: &Tensor) -> Tensor {
    let Some([scale, shift]) = norm else { return z.relu() };
    let norm = |z: &Tensor| {
        z.layer_norm([layer.width as i64], Some(&scale), Some(&shift), f64::from(NORM_EPSILON), false).relu()
    };
    match layer.conv {
        Some(_) => norm(&z.permute([0, 2, 3, 1])).permute([0, 3, 1, 2]),
        None => norm(z),
    }
}

/// The input as floats: `[B, channels, rows, columns]` where it is an image, else `[B, n_features]`.
fn features(spec: &NetSpec, obs: &Tensor) -> Tensor {
    match spec.obs_space {
        ObsSpace::Vector { .. } => obs.view_dtype(Kind::Float),
        ObsSpace::Discrete { n } => {
            obs.view_dtype(Kind::Int).to_kind(Kind::Int64).squeeze_dim(1).one_hot(n as i64).to_kind(Kind::Float)
        }
        ObsSpace::Planes { shape: [rows, cols, channels] } => {
            let shape = [spec.frame_stack, rows, cols, channels].map(|size| size as i64);
            let [frames, rows, cols, channels] = shape;
            let planes = obs.view([-1, frames, rows, cols, channels]).permute([0, 1, 4, 2, 3]);
            planes.flatten(1, 2).to_kind(Kind::Float)
        }
        ObsSpace::Pixels { shape: [rows, cols] } => {
            obs.view([-1, spec.frame_stack as i64, rows as i64, cols as i64]).to_kind(Kind::Float) / 255.0
        }
    }
}
