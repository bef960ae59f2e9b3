//! The convolutions of a block of images, forward and backward.

use super::dense::{PANEL, Vectors, panel_rows};
use super::norm::{self, Kept, Rectifier, RectifierGrads};
use super::winograd::{self, Form, Place, Second, Third, point_len};
use super::{Convolution, FEATURES, Prepared, first};
use crate::net::native::buffer::Buffer;
use crate::net::native::gemm::{Size, Strides, Terms, product};
use crate::net::native::simd::{Kernel, Simd};

/// Values of the first layer's output, and its cells.
const FIRST_LEN: usize = first::CELLS * first::CELLS * first::FILTERS;
/// Values of an image after each layer.
const LENS: [usize; 3] = [FIRST_LEN, 81 * 64, FEATURES];
/// Cells of an image after each layer.
const CELLS: [usize; 3] = [first::CELLS * first::CELLS, 81, 49];
/// Filters of the widest layer.
const WIDEST: usize = 64;
/// Pixels are bytes, and the network is of numbers in 0..=1.
const UNIT: f32 = 1.0 / 255.0;
/// Factor of each layer's convolution before its bias.
const UNITS: [f32; 3] = [UNIT, 1.0, 1.0];

/// A block's output, and values that the way back needs.
#[derive(Default)]
pub(super) struct Block {
    features: Buffer,
    stored: Stored,
}

impl Block {
    /// Features of an image of the block, `[49, 64]`.
    pub(super) fn features(&self, image: usize) -> &[f32] {
        &self.features[image * FEATURES..][..FEATURES]
    }
}

#[derive(Default)]
struct Stored {
    n_images: usize,
    /// V of the second and third layer.
    inputs: [Buffer; 2],
    /// Gradients of their products.
    d_products: [Buffer; 2],
    /// Of each layer, as [`Kept`].
    kept: [Buffer; 3],
    inv_std: [Buffer; 3],
    /// Gradient of the first layer's packed weights.
    d_first: Buffer,
    /// Gradients of each layer's bias, scale and shift, `[3, 3, WIDEST]`.
    d_vectors: Buffer,
}

/// Values of one image or block, overwritten by the next.
#[derive(Default)]
pub(super) struct Workspace {
    rows: first::Rows,
    z: Buffer,
    y: Buffer,
    products: Buffer,
    stored: Stored,
}

/// The forward pass of a block.
pub(super) struct BlockForward<'a> {
    pub(super) convolutions: &'a [Convolution; 3],
    pub(super) params: &'a [f32],
    pub(super) prepared: &'a Prepared,
    pub(super) workspace: &'a mut Workspace,
    pub(super) block: &'a mut Block,
    pub(super) obs: &'a [u8],
    pub(super) obs_bytes: usize,
    pub(super) keep: bool,
}

impl Kernel for BlockForward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { convolutions, params, prepared, workspace, block, obs, obs_bytes, keep } = self;
        let n_images = obs.len() / obs_bytes;
        let Workspace { rows, z, y, products, stored } = workspace;
        let Block { features, stored: own } = block;
        let stored = if keep { own } else { stored };
        stored.n_images = n_images;
        let rectifiers: [Rectifier; 3] = std::array::from_fn(|i| rectifier(&convolutions[i], UNITS[i], params));
        let (z, y) = (z.first(FIRST_LEN), y.first(FIRST_LEN));

        let place = place::<Second, 4, 3, 2>(n_images, 0);
        let v = stored.inputs[0].first(Second::POINTS * place.point_len);
        for (i, obs) in obs.chunks_exact(obs_bytes).enumerate() {
            first::forward(s, obs, &prepared.first, rows, z);
            let kept = kept_of(&mut stored.kept[0], &mut stored.inv_std[0], 0, i, keep);
            norm::forward::<S, 2>(s, rectifiers[0], z, kept, y);
            winograd::input::<Second, S, 4, 3, 2>(s, y, self::place::<Second, 4, 3, 2>(n_images, i), v);
        }
        let products2 = products.first(
            Third::POINTS
                * point_len(Third::TILES * n_images, Third::OUTPUTS)
                    .max(Second::POINTS * point_len(Second::TILES * n_images, Second::OUTPUTS)),
        );
        points::<Second, S, 4, 3, 2>(
            s,
            n_images,
            v,
            &prepared.filters[0][0],
            products2,
            [Second::INPUTS, Second::OUTPUTS],
        );

        let place = self::place::<Third, 6, 4, 3>(n_images, 0);
        let v = stored.inputs[1].first(Third::POINTS * place.point_len);
        for i in 0..n_images {
            let (z, y) = (&mut z[..LENS[1]], &mut y[..LENS[1]]);
            winograd::output::<Second, S, 4, 3, 2>(s, products2, output_place::<Second, 4, 3, 2>(n_images, i), z);
            let kept = kept_of(&mut stored.kept[1], &mut stored.inv_std[1], 1, i, keep);
            norm::forward::<S, 4>(s, rectifiers[1], z, kept, y);
            winograd::input::<Third, S, 6, 4, 3>(s, y, self::place::<Third, 6, 4, 3>(n_images, i), v);
        }
        points::<Third, S, 6, 4, 3>(
            s,
            n_images,
            v,
            &prepared.filters[1][0],
            products2,
            [Third::INPUTS, Third::OUTPUTS],
        );
        for (i, features) in features.first(n_images * FEATURES).chunks_exact_mut(FEATURES).enumerate() {
            let z = &mut z[..FEATURES];
            winograd::output::<Third, S, 6, 4, 3>(s, products2, output_place::<Third, 6, 4, 3>(n_images, i), z);
            let kept = kept_of(&mut stored.kept[2], &mut stored.inv_std[2], 2, i, keep);
            norm::forward::<S, 4>(s, rectifiers[2], z, kept, features);
        }
    }
}

fn rectifier<'a>(convolution: &Convolution, unit: f32, params: &'a [f32]) -> Rectifier<'a> {
    let of = |place: &std::ops::Range<usize>| &params[place.clone()];
    Rectifier { bias: of(&convolution.bias), norm: convolution.norm.as_ref().map(|norm| norm.each_ref().map(of)), unit }
}

/// Where an image's values of layer `layer` are kept.
fn kept_of<'a>(
    values: &'a mut Buffer,
    inv_std: &'a mut Buffer,
    layer: usize,
    image: usize,
    keep: bool,
) -> Option<Kept<'a>> {
    if !keep {
        return None;
    }
    let (len, cells) = (LENS[layer], CELLS[layer]);
    let values = &mut values.first((image + 1) * len)[image * len..];
    let inv_std = &mut inv_std.first((image + 1) * cells)[image * cells..];
    Some(Kept { values, inv_std })
}

/// Place of an image's V.
#[inline(always)]
fn place<F: Form<T, M, K>, const T: usize, const M: usize, const K: usize>(n_images: usize, image: usize) -> Place {
    Place { point_len: point_len(n_images * F::TILES, F::INPUTS), first: image * F::TILES }
}

/// Place of an image's products.
#[inline(always)]
fn output_place<F: Form<T, M, K>, const T: usize, const M: usize, const K: usize>(
    n_images: usize,
    image: usize,
) -> Place {
    Place { point_len: point_len(n_images * F::TILES, F::OUTPUTS), first: image * F::TILES }
}

/// The product of each point: `[tiles, from] [from, to]`.
#[inline(always)]
fn points<F: Form<T, M, K>, S: Simd, const T: usize, const M: usize, const K: usize>(
    s: S,
    n_images: usize,
    a: &[f32],
    u: &[f32],
    out: &mut [f32],
    [from, to]: [usize; 2],
) {
    let tiles = n_images * F::TILES;
    let (a_len, out_len) = (point_len(tiles, from), point_len(tiles, to));
    let size = Size { rows: tiles, groups: to / 16, depth: from };
    for point in 0..F::POINTS {
        let terms = Terms::one(&a[point * a_len..], Strides { row: from, column: 1 }, &u[point * from * to..], to);
        product(s, size, terms, &mut out[point * out_len..], to, false);
    }
}

/// The backward pass of a block.
pub(super) struct BlockBackward<'a> {
    pub(super) convolutions: &'a [Convolution; 3],
    pub(super) params: &'a [f32],
    pub(super) prepared: &'a Prepared,
    pub(super) workspace: &'a mut Workspace,
    pub(super) block: &'a mut Block,
    /// Panels of the features' gradient, of the whole batch.
    pub(super) d_features: &'a [f32],
    pub(super) batch: usize,
    /// The block's first image in the batch.
    pub(super) first: usize,
    pub(super) obs: &'a [u8],
    pub(super) obs_bytes: usize,
}

impl Kernel for BlockBackward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { convolutions, params, prepared, workspace, block, d_features, batch, first, obs, obs_bytes } = self;
        let Block { stored, .. } = block;
        let Workspace { rows, y: grad, products, .. } = workspace;
        let Stored { n_images, d_products: [d_second, d_third], kept, inv_std, d_first, d_vectors, .. } = stored;
        let n_images = *n_images;
        let d_vectors = d_vectors.first(9 * WIDEST);
        d_vectors.fill(0.0);
        let rectifiers: [Rectifier; 3] = std::array::from_fn(|i| rectifier(&convolutions[i], UNITS[i], params));
        let mut rectify = RectifyBackward { rectifiers, kept, inv_std, d_vectors };
        let grad = grad.first(FIRST_LEN);
        let products = products.first(
            Second::POINTS
                * point_len(Second::TILES * n_images, Second::INPUTS)
                    .max(Third::POINTS * point_len(Third::TILES * n_images, Third::INPUTS)),
        );

        let d_third = d_third.first(Third::POINTS * point_len(Third::TILES * n_images, Third::OUTPUTS));
        for i in 0..n_images {
            let grad = &mut grad[..FEATURES];
            for (panel, grad) in grad.chunks_exact_mut(PANEL).enumerate() {
                grad.copy_from_slice(&d_features[(panel * panel_rows(batch) + first + i) * PANEL..][..PANEL]);
            }
            rectify.of(s, 2, i, grad);
            winograd::output_adjoint::<Third, S, 6, 4, 3>(
                s,
                grad,
                output_place::<Third, 6, 4, 3>(n_images, i),
                d_third,
            );
        }
        points::<Third, S, 6, 4, 3>(
            s,
            n_images,
            d_third,
            &prepared.filters[1][1],
            products,
            [Third::OUTPUTS, Third::INPUTS],
        );

        let d_second = d_second.first(Second::POINTS * point_len(Second::TILES * n_images, Second::OUTPUTS));
        for i in 0..n_images {
            let grad = &mut grad[..LENS[1]];
            winograd::input_adjoint::<Third, S, 6, 4, 3>(s, products, place::<Third, 6, 4, 3>(n_images, i), grad);
            rectify.of(s, 1, i, grad);
            winograd::output_adjoint::<Second, S, 4, 3, 2>(
                s,
                grad,
                output_place::<Second, 4, 3, 2>(n_images, i),
                d_second,
            );
        }
        points::<Second, S, 4, 3, 2>(
            s,
            n_images,
            d_second,
            &prepared.filters[0][1],
            products,
            [Second::OUTPUTS, Second::INPUTS],
        );

        let d_first = d_first.first(prepared.first.len());
        d_first.fill(0.0);
        for (i, obs) in obs.chunks_exact(obs_bytes).enumerate() {
            winograd::input_adjoint::<Second, S, 4, 3, 2>(s, products, place::<Second, 4, 3, 2>(n_images, i), grad);
            rectify.of(s, 0, i, grad);
            first::backward(s, obs, grad, rows, d_first);
        }
    }
}

/// The backward passes of a block's rectifiers.
struct RectifyBackward<'a> {
    rectifiers: [Rectifier<'a>; 3],
    kept: &'a [Buffer; 3],
    inv_std: &'a [Buffer; 3],
    /// `[3, 3, WIDEST]`
    d_vectors: &'a mut [f32],
}

impl RectifyBackward<'_> {
    #[inline(always)]
    fn of<S: Simd>(&mut self, s: S, layer: usize, image: usize, grad: &mut [f32]) {
        let (len, cells) = (LENS[layer], CELLS[layer]);
        let inv_std = self.inv_std[layer].get(image * cells..(image + 1) * cells).unwrap_or_default();
        let kept = &self.kept[layer][image * len..][..len];
        let (bias, rest) = self.d_vectors[3 * WIDEST * layer..].split_at_mut(WIDEST);
        let (scale, shift) = rest.split_at_mut(WIDEST);
        let to = RectifierGrads { bias, scale, shift };
        match layer {
            0 => norm::backward::<S, 2>(s, self.rectifiers[layer], kept, inv_std, grad, to),
            _ => norm::backward::<S, 4>(s, self.rectifiers[layer], kept, inv_std, grad, to),
        }
    }
}

/// The gradient of a point's U over all blocks.
pub(super) struct PointBackward<'a> {
    pub(super) blocks: &'a [Block],
    /// 0 for the second layer, 1 for the third.
    pub(super) layer: usize,
    pub(super) point: usize,
    pub(super) d_u: &'a mut [f32],
}

impl Kernel for PointBackward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { blocks, layer, point, d_u } = self;
        let (inputs, outputs, tiles) = match layer {
            0 => (Second::INPUTS, Second::OUTPUTS, Second::TILES),
            _ => (Third::INPUTS, Third::OUTPUTS, Third::TILES),
        };
        for (i, block) in blocks.iter().enumerate() {
            let stored = &block.stored;
            let tiles = tiles * stored.n_images;
            let v = &stored.inputs[layer][point * point_len(tiles, inputs)..];
            let d_products = &stored.d_products[layer][point * point_len(tiles, outputs)..];
            let size = Size { rows: inputs, groups: outputs / 16, depth: tiles };
            let terms = Terms::one(v, Strides { row: 1, column: inputs }, d_products, outputs);
            product(s, size, terms, d_u, outputs, i > 0);
        }
    }
}

/// Overwrites the gradient of the first layer's weights with the blocks' sum.
pub(super) fn first_gradient(blocks: &[Block], d_weight: &mut [f32]) {
    let mut sum = vec![0.0; d_weight.len()];
    for block in blocks {
        sum.iter_mut().zip(&*block.stored.d_first).for_each(|(sum, grad)| *sum += grad);
    }
    first::unpack(&sum, UNIT, d_weight);
}

/// Adds the blocks' gradients of a layer's bias, scale and shift.
pub(super) fn vector_gradients(blocks: &[Block], layer: usize, mut to: Vectors<&mut [f32]>) {
    for block in blocks {
        let from = block.stored.d_vectors[3 * WIDEST * layer..].chunks_exact(WIDEST);
        let to = [&mut to.bias].into_iter().chain(to.norm.iter_mut().flatten());
        for (to, from) in to.zip(from) {
            to.iter_mut().zip(from).for_each(|(sum, grad)| *sum += grad);
        }
    }
}
