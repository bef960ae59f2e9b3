//! Forward and backward passes, by hand, of sequential networks of 3×3 convolutions on the CPU.
//!
//! A batch is cut into blocks of sixteen images ([`Planes`]). Threads take blocks as they come, and each block has a
//! gradient of its own, added up in order at the end: the result does not depend on how many threads there were. Kept
//! for the way back is only what is small: maxima instead of what they are taken of, images before they are upsampled.

use super::planes::{Cell, Planes};
use super::planes_kernels::{self as kernels, Filters};
use crate::net::activation::Activation;
use crate::net::lanes::LANES;
use crate::net::layout::Layout;
use crate::net::operation::{Operation, Order};
use crate::net::threads;
use std::mem::swap;
use std::ops::Range;

/// The passes of a sequential network of 3×3 convolutions with any vector of parameters.
#[derive(Debug)]
pub(crate) struct Convolutions {
    /// `[channels, rows, columns]` of a flat input; `None` if the network takes images.
    input: Option<[usize; 3]>,
    /// Whether its output is flat.
    is_flat: bool,
    stages: Vec<Stage>,
    /// Blocks of the latest forward pass, and of those before that were larger.
    blocks: Vec<Block>,
    /// Memory that the threads work in, one for each.
    workspaces: Vec<Workspace>,
}

/// A convolution, its rectifier, and the operation that follows.
#[derive(Clone, Debug)]
struct Stage {
    n_in: usize,
    n_out: usize,
    /// Places of its parameters.
    weight: Range<usize>,
    bias: Range<usize>,
    relu: bool,
    then: Then,
}

/// The operation that follows the rectifier.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Nothing,
    Pool,
    Upsample([usize; 2]),
}

/// Sixteen images' values that the way back needs.
#[derive(Debug, Default)]
struct Block {
    input: Planes,
    /// After each stage's convolution, rectifier and maxima.
    kept: Vec<Planes>,
    /// Of each stage, where its maxima came from.
    from: Vec<Vec<[u8; LANES]>>,
    grads: Vec<f32>,
}

/// Values of one block that are overwritten by the next.
#[derive(Debug, Default)]
struct Workspace {
    /// Rows of a convolution before its maxima are taken.
    lines: Vec<Cell>,
    /// Gradient of a convolution's output before its maxima are taken.
    wide: Planes,
    /// Output of an upsampling.
    upsampled: Planes,
    /// Gradients of a stage's output and input.
    grads: [Planes; 2],
    /// The block where nothing is kept for the way back.
    block: Block,
}

/// Parameters in the order that kernels read them.
struct Packed {
    forward: Vec<Filters>,
    backward: Vec<Filters>,
}

impl Convolutions {
    /// The passes of `layout`; `None` where an operation is of another kind, or they come in another order than
    /// convolution, rectifier, and maximum or upsampling.
    pub(crate) fn of(layout: &Layout) -> Option<Self> {
        let (mut input, mut is_flat) = (None, false);
        let mut stages: Vec<Stage> = vec![];
        for (i, (operation, places)) in layout.placed().enumerate() {
            let last = stages.last_mut().filter(|stage| stage.then == Then::Nothing);
            match (operation, places, last) {
                _ if is_flat => return None,
                (Operation::Reshape(shape), ..) if i == 0 => input = Some(sizes(shape)?),
                (Operation::Reshape(shape), ..) if shape.len() == 1 => is_flat = true,
                (
                    &Operation::Conv { inputs, outputs, kernel: 3, stride: 1, padding: 1, order: Order::ChannelsFirst },
                    Some([weight, bias]),
                    _,
                ) => {
                    let (n_in, n_out, weight, bias) = (inputs as usize, outputs as usize, weight.clone(), bias.clone());
                    stages.push(Stage { n_in, n_out, weight, bias, relu: false, then: Then::Nothing });
                }
                (Operation::Act(Activation::Relu), _, Some(stage)) => stage.relu = true,
                (Operation::MaxPool, _, Some(stage)) if stage.relu => stage.then = Then::Pool,
                (&Operation::Upsample([rows, cols]), _, Some(stage)) => {
                    stage.then = Then::Upsample([rows as usize, cols as usize]);
                }
                _ => return None,
            }
        }
        (!stages.is_empty()).then(|| Self { input, is_flat, stages, blocks: vec![], workspaces: vec![] })
    }

    /// `[channels, rows, columns]` of each stage's input, given those of the network's (without the batch); last its
    /// output's.
    ///
    /// # Panics
    /// When it is no input of this network's.
    fn shapes(&self, input: &[i64]) -> Vec<[usize; 3]> {
        let first = self.input.or_else(|| sizes(input)).expect("images of channels, rows and columns");
        let mut shapes = vec![first];
        for stage in &self.stages {
            let [channels, rows, cols] = shapes[shapes.len() - 1];
            assert_eq!(channels, stage.n_in, "channels of the input of a convolution");
            let shape = [stage.n_out, rows, cols];
            shapes.push(match stage.then {
                Then::Nothing => shape,
                Then::Pool => kernels::pooled(shape),
                Then::Upsample([large_rows, large_cols]) => {
                    assert!(large_rows <= 2 * rows && large_cols <= 2 * cols, "upsampling doubles rows and columns");
                    [stage.n_out, large_rows, large_cols]
                }
            });
        }
        shapes
    }

    /// Shape of the output without the batch, given the input's.
    pub(crate) fn output_shape(&self, input: &[i64]) -> Vec<i64> {
        let output = self.shapes(input)[self.stages.len()].map(|size| size as i64);
        if self.is_flat { vec![output.iter().product()] } else { output.to_vec() }
    }

    /// Output for the images `x`, each of shape `input`. With `keep`, [`Convolutions::backward`] can follow.
    pub(crate) fn forward(&mut self, params: &[f32], x: &[f32], input: &[i64], keep: bool) -> Vec<f32> {
        let shapes = self.shapes(input);
        let [size, out_size] = [shapes[0], shapes[self.stages.len()]].map(|shape| shape.iter().product::<usize>());
        let n_images = x.len() / size;
        let n_blocks = n_images.div_ceil(LANES);
        let packed = self.pack(params, false);
        let Self { stages, blocks, workspaces, .. } = self;
        let n_threads = tch::get_num_threads().max(1) as usize;
        workspaces.resize_with(n_threads.min(n_blocks.max(1)), Workspace::default);
        if keep && blocks.len() < n_blocks {
            blocks.resize_with(n_blocks, Block::default);
        }
        let mut output = vec![0.0; n_images * out_size];
        let chunks = x.chunks(LANES * size).zip(output.chunks_mut(LANES * out_size));
        let mut places = blocks.iter_mut().map(Some).chain(std::iter::repeat_with(|| None));
        let work = chunks.map(|(x, y)| (if keep { places.next().flatten() } else { None }, x, y));
        threads::share(workspaces, work, |workspace, (block, x, y)| {
            let mut own = std::mem::take(&mut workspace.block);
            forward(stages, &packed, &shapes, workspace, block.unwrap_or(&mut own), x, y);
            workspace.block = own;
        });
        output
    }

    /// Adds the gradient of the parameters to `grads`, given that of the latest kept forward pass's output. Returns the
    /// gradient of its input if `wants_input`.
    pub(crate) fn backward(
        &mut self,
        params: &[f32],
        d_output: &[f32],
        input: &[i64],
        grads: &mut [f32],
        wants_input: bool,
    ) -> Option<Vec<f32>> {
        let shapes = self.shapes(input);
        let [size, out_size] = [shapes[0], shapes[self.stages.len()]].map(|shape| shape.iter().product::<usize>());
        let n_images = d_output.len() / out_size;
        let packed = self.pack(params, true);
        let Self { stages, blocks, workspaces, .. } = self;
        let mut d_input = vec![0.0; if wants_input { n_images * size } else { 0 }];
        let mut parts = d_input.chunks_mut(LANES * size).map(Some).chain(std::iter::repeat_with(|| None));
        let work = blocks.iter_mut().zip(d_output.chunks(LANES * out_size));
        let work: Vec<_> = work.map(|(block, d_y)| (block, d_y, parts.next().flatten())).collect();
        let n_blocks = work.len();
        threads::share(workspaces, work.into_iter(), |workspace, (block, d_y, d_x)| {
            block.grads.clear();
            block.grads.resize(params.len(), 0.0);
            backward(stages, &packed, &shapes, workspace, block, d_y, d_x);
        });
        for block in &blocks[..n_blocks] {
            grads.iter_mut().zip(&block.grads).for_each(|(sum, grad)| *sum += grad);
        }
        wants_input.then_some(d_input)
    }

    fn pack(&self, params: &[f32], both_ways: bool) -> Packed {
        let weight = |stage: &Stage| &params[stage.weight.clone()];
        let forward = |stage: &Stage| Filters::forward(weight(stage), &params[stage.bias.clone()]);
        let backward = |stage: &Stage| Filters::backward(weight(stage), stage.n_out);
        let backward = if both_ways { self.stages.iter().map(backward).collect() } else { vec![] };
        Packed { forward: self.stages.iter().map(forward).collect(), backward }
    }
}

/// The three sizes of `shape`; `None` if it has more or fewer.
fn sizes(shape: &[i64]) -> Option<[usize; 3]> {
    <[i64; 3]>::try_from(shape).ok().map(|shape| shape.map(|size| size as usize))
}

fn forward(
    stages: &[Stage],
    packed: &Packed,
    shapes: &[[usize; 3]],
    workspace: &mut Workspace,
    block: &mut Block,
    x: &[f32],
    y: &mut [f32],
) {
    let Block { input, kept, from, .. } = block;
    input.reshape(shapes[0]);
    input.load(x);
    kept.resize_with(stages.len(), Planes::default);
    from.resize_with(stages.len(), Vec::new);
    for (i, stage) in stages.iter().enumerate() {
        let (below, above) = kept.split_at_mut(i);
        let x = input_of(stages, i, shapes[i], input, below, &mut workspace.upsampled);
        let shape = [stage.n_out, shapes[i][1], shapes[i][2]];
        let floor = if stage.relu { 0.0 } else { f32::NEG_INFINITY };
        let out = &mut above[0];
        if stage.then == Then::Pool {
            out.reshape(kernels::pooled(shape));
            from[i].resize(kernels::pooled(shape).iter().product(), [0; LANES]);
            kernels::conv_pool(x, &packed.forward[i], &mut workspace.lines, out, &mut from[i]);
        } else {
            out.reshape(shape);
            kernels::conv(x, &packed.forward[i], floor, out);
        }
    }
    let n_stages = stages.len();
    if upsamples(stages, n_stages) {
        workspace.upsampled.reshape(shapes[n_stages]);
        kernels::upsample(&kept[n_stages - 1], &mut workspace.upsampled);
        workspace.upsampled.store(y);
    } else {
        kept[n_stages - 1].store(y);
    }
}

/// The input of stage `i`. An upsampled one is computed again: it is four times as large as the values kept.
fn input_of<'a>(
    stages: &[Stage],
    i: usize,
    shape: [usize; 3],
    input: &'a Planes,
    below: &'a [Planes],
    upsampled: &'a mut Planes,
) -> &'a Planes {
    let Some(last) = below.last() else { return input };
    if !upsamples(stages, i) {
        return last;
    }
    upsampled.reshape(shape);
    kernels::upsample(last, upsampled);
    upsampled
}

/// Whether stage `i` takes an upsampled input.
fn upsamples(stages: &[Stage], i: usize) -> bool {
    i > 0 && matches!(stages[i - 1].then, Then::Upsample(_))
}

fn backward(
    stages: &[Stage],
    packed: &Packed,
    shapes: &[[usize; 3]],
    workspace: &mut Workspace,
    block: &mut Block,
    d_y: &[f32],
    d_x: Option<&mut [f32]>,
) {
    let Block { input, kept, from, grads } = block;
    let Workspace { wide, upsampled, grads: [above, below], .. } = workspace;
    above.reshape(shapes[stages.len()]);
    above.load(d_y);
    for (i, stage) in stages.iter().enumerate().rev() {
        if let Then::Upsample(_) = stage.then {
            below.reshape(kept[i].shape());
            kernels::upsample_backward(above, below);
            swap(above, below);
        }
        let d_z = if stage.then == Then::Pool {
            wide.reshape([stage.n_out, shapes[i][1], shapes[i][2]]);
            kernels::max_pool_backward(&kept[i], &from[i], above, wide);
            &*wide
        } else {
            if stage.relu {
                kernels::relu_backward(&kept[i], above);
            }
            &*above
        };
        let x = input_of(stages, i, shapes[i], input, &kept[..i], upsampled);
        let [d_weight, d_bias] =
            grads.get_disjoint_mut([stage.weight.clone(), stage.bias.clone()]).expect("places apart");
        kernels::conv_backward(x, d_z, d_weight, d_bias);
        if i > 0 || d_x.is_some() {
            below.reshape(shapes[i]);
            kernels::conv(d_z, &packed.backward[i], f32::NEG_INFINITY, below);
            swap(above, below);
        }
    }
    if let Some(d_x) = d_x {
        above.store(d_x);
    }
}
