//! The operations that networks consist of, with their shapes, parameters, costs and implementations in torch.

use super::activation::Activation;
use super::cosines::{self, midpoints};
use super::duel::Duel;
use carom_envs::ObsSpace;
use tch::{Kind, Tensor};

/// Added to a variance before its root is taken (the default of flax and purejaxql).
pub const NORM_EPSILON: f32 = 1e-6;

/// One step of a network. Sizes are those of one element of the batch, which is the first dimension of every tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Bytes of observations, `u8 [B, frames * bytes]`, as numbers: `[B, rows, columns, frames * channels]` where a
    /// frame is planes or pixels, else `[B, frames * features]`. A discrete state becomes one-hot, pixels are divided
    /// by 255.
    Observe {
        /// Space of one frame.
        space: ObsSpace,
        /// Frames of an observation, oldest first.
        frames: i64,
    },
    /// `[.., inputs]` to `[.., outputs]`: x W + b.
    Dense {
        /// Width of the input.
        inputs: i64,
        /// Width of the output.
        outputs: i64,
    },
    /// Convolution, with zeros around the image.
    Conv {
        /// Channels of the input.
        inputs: i64,
        /// Filters.
        outputs: i64,
        /// Side of a filter.
        kernel: i64,
        /// Step between two applications.
        stride: i64,
        /// Rows and columns of zeros on each side.
        padding: i64,
        /// Order of the dimensions of its images and weight.
        order: Order,
    },
    /// The adjoint of [`Operation::Conv`] on images `[B, channels, rows, columns]`: a stride of 2 doubles rows and
    /// columns where `kernel = 2 padding + 2`.
    ConvTranspose {
        /// Channels of the input.
        inputs: i64,
        /// Channels of the output.
        outputs: i64,
        /// Side of a filter.
        kernel: i64,
        /// Step between two applications.
        stride: i64,
        /// Rows and columns cut off on each side.
        padding: i64,
    },
    /// Brings the last dimension to mean 0 and variance 1, then scales and shifts it (Ba et al. 2016, equation 3).
    LayerNorm {
        /// Size of the last dimension.
        width: i64,
    },
    /// Maximum of 2×2 cells of `[B, channels, rows, columns]`; an odd last row or column is a cell of its own.
    MaxPool,
    /// Each pixel of `[B, channels, rows, columns]` four times, then cut to these rows and columns: the mirror of
    /// [`Operation::MaxPool`].
    Upsample([i64; 2]),
    /// Another shape of each element of the batch.
    Reshape(Vec<i64>),
    /// A function of each element.
    Act(Activation),
    /// Adds a value and advantages up, `[.., (1 + actions) * atoms]` to `[.., actions * atoms]`.
    Duel {
        /// Number of actions.
        actions: i64,
        /// Outputs of each action.
        atoms: i64,
    },
    /// Multiplies `[B, width]` by features of quantile fractions, for each of them: `[B, taus, width]`. The features
    /// are rectified sums of cosines of the fractions. Fractions that are not given to the network are the midpoints of
    /// equal parts of 0..1.
    Embed {
        /// Cosines of a fraction.
        cosines: i64,
        /// Number of features.
        width: i64,
        /// Number of fractions where none are given.
        taus: i64,
    },
}

/// Order of dimensions, of a convolution's images and of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `[B, channels, rows, columns]`, weights `[filters, channels, rows, columns]`: torch's own.
    ChannelsFirst,
    /// `[B, rows, columns, channels]`, weights `[rows, columns, channels, filters]`: a cell's filters are one vector,
    /// for layer normalisation and sums over few set cells.
    ChannelsLast,
}

impl Operation {
    /// A convolution of `[B, channels, rows, columns]`, given input and output channels.
    pub fn conv([inputs, outputs]: [i64; 2], kernel: i64, stride: i64, padding: i64) -> Self {
        Operation::Conv { inputs, outputs, kernel, stride, padding, order: Order::ChannelsFirst }
    }

    /// A 3×3 convolution of `[B, channels, rows, columns]` that keeps rows and columns.
    pub fn conv3(inputs: i64, outputs: i64) -> Self {
        Self::conv([inputs, outputs], 3, 1, 1)
    }

    /// A rectifier.
    pub fn relu() -> Self {
        Operation::Act(Activation::Relu)
    }

    /// Whether parameters of `other` mean the same to it. The number of fractions where none are given is no matter of
    /// theirs.
    pub(crate) fn is_like(&self, other: &Operation) -> bool {
        match (self, other) {
            (Operation::Embed { cosines, width, .. }, Operation::Embed { cosines: others, width: other, .. }) => {
                (cosines, width) == (others, other)
            }
            _ => self == other,
        }
    }

    /// Shapes of its two parameters, weight and bias or scale and shift; `None` if it has none.
    pub fn param_shapes(&self) -> Option<[Vec<i64>; 2]> {
        match *self {
            Operation::Dense { inputs, outputs } => Some([vec![inputs, outputs], vec![outputs]]),
            Operation::Conv { inputs, outputs, kernel, order, .. } => {
                let weight = match order {
                    Order::ChannelsFirst => vec![outputs, inputs, kernel, kernel],
                    Order::ChannelsLast => vec![kernel, kernel, inputs, outputs],
                };
                Some([weight, vec![outputs]])
            }
            Operation::ConvTranspose { inputs, outputs, kernel, .. } => {
                Some([vec![inputs, outputs, kernel, kernel], vec![outputs]])
            }
            Operation::LayerNorm { width } => Some([vec![width], vec![width]]),
            Operation::Embed { cosines, width, .. } => Some([vec![cosines, width], vec![width]]),
            _ => None,
        }
    }

    /// Fan-in and fan-out of its weight; `None` if it has no weight.
    pub fn fans(&self) -> Option<[i64; 2]> {
        match *self {
            Operation::Dense { inputs, outputs } => Some([inputs, outputs]),
            Operation::Embed { cosines, width, .. } => Some([cosines, width]),
            Operation::Conv { inputs, outputs, kernel, .. }
            | Operation::ConvTranspose { inputs, outputs, kernel, .. } => {
                Some([inputs, outputs].map(|channels| channels * kernel * kernel))
            }
            _ => None,
        }
    }

    /// Shape of the output, given that of the input.
    ///
    /// # Panics
    /// When an image is expected and `input` has other than three dimensions.
    pub fn output_shape(&self, input: &[i64]) -> Vec<i64> {
        let image = || <[i64; 3]>::try_from(input).expect("an image has three dimensions");
        match self {
            Operation::Observe { space: ObsSpace::Discrete { n: len } | ObsSpace::Vector { len }, frames } => {
                vec![frames * *len as i64]
            }
            Operation::Observe { space: ObsSpace::Planes { shape: [rows, columns, channels] }, frames } => {
                vec![*rows as i64, *columns as i64, frames * *channels as i64]
            }
            Operation::Observe { space: ObsSpace::Pixels { shape: [rows, columns] }, frames } => {
                vec![*rows as i64, *columns as i64, *frames]
            }
            Operation::Dense { outputs, .. } => with_last(input, *outputs),
            Operation::Duel { actions, atoms } => with_last(input, actions * atoms),
            Operation::Embed { width, taus, .. } => vec![*taus, *width],
            Operation::Conv { outputs, kernel, stride, padding, order, .. } => {
                let side = |side: i64| (side + 2 * padding - kernel) / stride + 1;
                match (order, image()) {
                    (Order::ChannelsFirst, [_, rows, columns]) => vec![*outputs, side(rows), side(columns)],
                    (Order::ChannelsLast, [rows, columns, _]) => vec![side(rows), side(columns), *outputs],
                }
            }
            Operation::ConvTranspose { outputs, kernel, stride, padding, .. } => {
                let [_, rows, columns] = image();
                let side = |side: i64| (side - 1) * stride + kernel - 2 * padding;
                vec![*outputs, side(rows), side(columns)]
            }
            Operation::MaxPool => {
                let [channels, rows, columns] = image();
                vec![channels, (rows + 1) / 2, (columns + 1) / 2]
            }
            Operation::Upsample([rows, columns]) => vec![image()[0], *rows, *columns],
            Operation::Reshape(shape) => shape.clone(),
            Operation::LayerNorm { .. } | Operation::Act(_) => input.to_vec(),
        }
    }

    /// Floating-point operations of the forward pass of one element of the batch, given its input's shape: two for each
    /// product of an input and a weight, of which the last addition is the bias. Zeros around an image count too.
    pub fn flops(&self, input: &[i64]) -> i64 {
        let n_outputs: i64 = self.output_shape(input).iter().product();
        let n_inputs: i64 = input.iter().product();
        match self {
            Operation::Dense { inputs, .. } => 2 * n_outputs * inputs,
            Operation::Conv { inputs, kernel, .. } => 2 * n_outputs * inputs * kernel * kernel,
            Operation::ConvTranspose { outputs, kernel, .. } => 2 * n_inputs * outputs * kernel * kernel,
            // Sums of the values and of their squares take three, centring, dividing, scaling and shifting four.
            Operation::LayerNorm { .. } => 7 * n_outputs,
            // Of a duel a mean, a difference and a sum.
            Operation::MaxPool | Operation::Duel { .. } => 3 * n_outputs,
            // The embedding's products, its rectifier and the product of both features.
            Operation::Embed { cosines, .. } => (2 * cosines + 2) * n_outputs,
            Operation::Act(Activation::Linear) | Operation::Upsample(_) | Operation::Reshape(_) => 0,
            // A function such as the logistic one counts as one operation, and so does the division of a pixel.
            Operation::Act(_) | Operation::Observe { space: ObsSpace::Pixels { .. }, .. } => n_outputs,
            Operation::Observe { .. } => 0,
        }
    }

    /// Computes the operation in torch as [`Operation::apply`] does, with the fractions `taus`, `[B, K]`, if it has
    /// any.
    pub(crate) fn apply_at(&self, x: &Tensor, params: &[Tensor], taus: Option<&Tensor>) -> Tensor {
        match (self, params, taus) {
            (Operation::Embed { .. }, [weight, bias], Some(taus)) => cosines::apply(x, taus, weight, bias),
            _ => self.apply(x, params),
        }
    }

    /// Computes the operation in torch, differentiable by autograd. `params` are its own two, or none.
    ///
    /// # Panics
    /// When shapes do not fit.
    pub fn apply(&self, x: &Tensor, params: &[Tensor]) -> Tensor {
        match (self, params) {
            (Operation::Observe { space, frames }, []) => observe(space, *frames, x),
            (Operation::Dense { .. }, [weight, bias]) if x.dim() > 2 => x.matmul(weight) + bias,
            (Operation::Dense { .. }, [weight, bias]) => bias.addmm(x, weight),
            (Operation::Conv { stride, padding, order: Order::ChannelsFirst, .. }, [weight, bias]) => {
                x.conv2d(weight, Some(bias), *stride, *padding, 1, 1)
            }
            (Operation::Conv { stride, padding, order: Order::ChannelsLast, .. }, [weight, bias]) => {
                let (x, weight) = (x.permute([0, 3, 1, 2]), weight.permute([3, 2, 0, 1]));
                x.conv2d(&weight, Some(bias), *stride, *padding, 1, 1).permute([0, 2, 3, 1])
            }
            (Operation::ConvTranspose { stride, padding, .. }, [weight, bias]) => {
                x.conv_transpose2d(weight, Some(bias), *stride, *padding, 0, 1, 1)
            }
            (Operation::LayerNorm { width }, [scale, shift]) => {
                x.layer_norm([*width], Some(scale), Some(shift), f64::from(NORM_EPSILON), false)
            }
            (Operation::MaxPool, []) => x.max_pool2d(2, 2, 0, 1, true),
            (Operation::Upsample([rows, columns]), []) => {
                let size = x.size();
                let doubled = x.upsample_nearest2d([2 * size[2], 2 * size[3]], None, None);
                doubled.narrow(2, 0, *rows).narrow(3, 0, *columns)
            }
            (Operation::Reshape(shape), []) => {
                // The batch is inferred, not named, so that a traced network takes batches of any size.
                let whole: Vec<i64> = [-1].into_iter().chain(shape.iter().copied()).collect();
                x.reshape(whole)
            }
            (Operation::Act(activation), []) => activation.of(x),
            (Operation::Duel { actions, atoms }, []) => {
                Duel { actions: *actions as usize, atoms: *atoms as usize }.apply(x)
            }
            (Operation::Embed { taus, .. }, [weight, bias]) => {
                let taus = Tensor::from_slice(&midpoints(*taus as usize)).to_device(x.device());
                cosines::apply(x, &taus, weight, bias)
            }
            (operation, params) => panic!("{operation:?} does not take {} parameters", params.len()),
        }
    }
}

/// The shape with another last dimension.
fn with_last(shape: &[i64], last: i64) -> Vec<i64> {
    [&shape[..shape.len().saturating_sub(1)], &[last]].concat()
}

/// Observations `u8 [B, frames * bytes]` as floats.
fn observe(space: &ObsSpace, frames: i64, obs: &Tensor) -> Tensor {
    match *space {
        ObsSpace::Vector { .. } => obs.view_dtype(Kind::Float),
        ObsSpace::Discrete { n } => {
            obs.view_dtype(Kind::Int).to_kind(Kind::Int64).one_hot(n as i64).to_kind(Kind::Float).flatten(1, -1)
        }
        ObsSpace::Planes { shape: [rows, columns, channels] } => {
            let [rows, columns, channels] = [rows, columns, channels].map(|size| size as i64);
            let planes = obs.view([-1, frames, rows, columns, channels]).permute([0, 1, 4, 2, 3]);
            planes.flatten(1, 2).to_kind(Kind::Float).permute([0, 2, 3, 1])
        }
        ObsSpace::Pixels { shape: [rows, columns] } => {
            let pixels = obs.view([-1, frames, rows as i64, columns as i64]).to_kind(Kind::Float) / 255.0;
            pixels.permute([0, 2, 3, 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::torch;
    use tch::Device;

    /// Each operation, and the shape of an input of it.
    fn cases() -> Vec<(Operation, Vec<i64>)> {
        let conv =
            |stride, padding, order| Operation::Conv { inputs: 2, outputs: 5, kernel: 3, stride, padding, order };
        vec![
            (Operation::Dense { inputs: 7, outputs: 3 }, vec![7]),
            (conv(2, 1, Order::ChannelsFirst), vec![2, 8, 7]),
            (conv(1, 0, Order::ChannelsLast), vec![8, 7, 2]),
            (Operation::ConvTranspose { inputs: 2, outputs: 3, kernel: 4, stride: 2, padding: 1 }, vec![2, 3, 5]),
            (Operation::LayerNorm { width: 6 }, vec![4, 6]),
            (Operation::MaxPool, vec![2, 5, 4]),
            (Operation::Upsample([5, 4]), vec![2, 3, 2]),
            (Operation::Reshape(vec![3, 4]), vec![12]),
            (Operation::Act(Activation::Elu), vec![3, 2]),
            (Operation::Duel { actions: 3, atoms: 2 }, vec![8]),
            (Operation::Duel { actions: 3, atoms: 1 }, vec![5, 4]),
            (Operation::Embed { cosines: 6, width: 4, taus: 5 }, vec![4]),
            (Operation::Dense { inputs: 7, outputs: 3 }, vec![5, 7]),
        ]
    }

    #[test]
    fn outputs_have_the_shape_they_say() {
        let _torch = torch();
        for (operation, shape) in cases() {
            let params = operation.param_shapes().into_iter().flatten();
            let params: Vec<Tensor> = params.map(|shape| Tensor::ones(shape, (Kind::Float, Device::Cpu))).collect();
            let x = Tensor::ones([&[3], &shape[..]].concat(), (Kind::Float, Device::Cpu));
            let output = operation.apply(&x, &params).size();
            assert_eq!(output, [&[3], &operation.output_shape(&shape)[..]].concat(), "{operation:?}");
        }
    }

    #[test]
    fn observations_become_numbers() {
        let _torch = torch();
        let observe = |space: ObsSpace, frames: i64, bytes: &[u8]| {
            let operation = Operation::Observe { space, frames };
            let numbers = operation.apply(&Tensor::from_slice(bytes).view([1, -1]), &[]);
            assert_eq!(numbers.size()[1..], operation.output_shape(&[bytes.len() as i64]));
            Vec::<f32>::try_from(numbers.flatten(0, -1)).expect("floats")
        };
        let floats = [0.5_f32, -2.0].map(f32::to_le_bytes).concat();
        assert_eq!(observe(ObsSpace::Vector { len: 1 }, 2, &floats), [0.5, -2.0]);
        assert_eq!(observe(ObsSpace::Discrete { n: 3 }, 2, &[1, 0, 0, 0, 0, 0, 0, 0]), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        // Two frames of two cells with one channel: of each cell both frames.
        assert_eq!(observe(ObsSpace::Planes { shape: [1, 2, 1] }, 2, &[1, 0, 0, 1]), [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(observe(ObsSpace::Pixels { shape: [1, 2] }, 2, &[255, 51, 0, 102]), [1.0, 0.0, 0.2, 0.4]);
    }

    #[test]
    fn operations_are_counted_as_by_hand() {
        // 20×20 places of 32 filters of 8×8×4: 400 · 32 · 256 · 2.
        let first =
            Operation::Conv { inputs: 4, outputs: 32, kernel: 8, stride: 4, padding: 0, order: Order::ChannelsLast };
        assert_eq!(first.flops(&[84, 84, 4]), 6_553_600);
        assert_eq!(Operation::Dense { inputs: 3136, outputs: 512 }.flops(&[3136]), 3_211_264);
        // Each of 6 numbers meets 4×4 weights of 3 output channels.
        let up = Operation::ConvTranspose { inputs: 2, outputs: 3, kernel: 4, stride: 2, padding: 1 };
        assert_eq!(up.flops(&[2, 3, 1]), 6 * 48 * 2);
        assert_eq!(Operation::MaxPool.flops(&[1, 4, 4]), 12);
    }
}
