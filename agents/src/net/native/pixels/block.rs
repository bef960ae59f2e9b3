//! The convolutions of a block of images, forward and backward.

use super::dense::{PANEL, panel_rows};
use super::features::Vectors;
use super::first;
use super::norm::{self, Kept, Rectifier, RectifierGrads};
use super::weights::{Convolution, FEATURES, Prepared};
use super::winograd::{self, Form, Place, Second, Third, point_len};
use crate::net::lanes::LANES;
use crate::net::native::buffer::Buffer;
use crate::net::native::gemm::{Size, Strides, Terms, product};
use crate::net::native::simd::{Kernel, Simd};

/// Values of an image after the first layer.
const FIRST_LEN: usize = first::CELLS * first::CELLS * first::FILTERS;
/// Values of an image after each layer.
const LENS: [usize; 3] = [FIRST_LEN, Second::SIDE * Second::SIDE * Second::OUTPUTS, FEATURES];
/// Cells of an image after each layer.
const CELLS: [usize; 3] = [first::CELLS * first::CELLS, Second::SIDE * Second::SIDE, Third::SIDE * Third::SIDE];
/// Filters of the widest layer.
const WIDEST: usize = 64;
/// Pixels are bytes, and the network is of numbers in 0..=1.
const UNIT: f32 = 1.0 / 255.0;
/// Factor of each layer's convolution before its bias.
const UNITS: [f32; 3] = [UNIT, 1.0, 1.0];

/// A block's values that the way back needs, as parts of one piece of memory: the parts, or their lengths.
struct Parts<T> {
    /// V of the second and third layer.
    inputs: [T; 2],
    /// Gradients of their products.
    d_products: [T; 2],
    /// Of each layer, as [`Kept`].
    kept: [T; 3],
    inv_std: [T; 3],
    /// Gradient of the first layer's packed weights.
    d_first: T,
    /// Gradients of each layer's bias, scale and shift, `[3, 3, WIDEST]`.
    d_vectors: T,
}

/// Elements that a block of so many images stores.
pub(super) fn stored_len(n_images: usize, first_weights: usize) -> usize {
    let mut sum = 0;
    Parts::lens(n_images, first_weights).map(|len| sum += len);
    sum
}

impl Parts<usize> {
    /// Lengths for so many images.
    fn lens(n_images: usize, first_weights: usize) -> Self {
        let [second, third] = [Second::TILES, Third::TILES].map(|tiles| tiles * n_images);
        let per_image = |len: usize| (n_images * len).next_multiple_of(LANES);
        Self {
            inputs: [
                Second::POINTS * point_len(second, Second::INPUTS),
                Third::POINTS * point_len(third, Third::INPUTS),
            ],
            d_products: [
                Second::POINTS * point_len(second, Second::OUTPUTS),
                Third::POINTS * point_len(third, Third::OUTPUTS),
            ],
            kept: LENS.map(per_image),
            inv_std: CELLS.map(per_image),
            d_first: first_weights,
            d_vectors: 9 * WIDEST,
        }
    }
}

impl<T> Parts<T> {
    /// Results of `of` for each part, in the order of the memory.
    fn map<U>(self, mut of: impl FnMut(T) -> U) -> Parts<U> {
        Parts {
            inputs: self.inputs.map(&mut of),
            d_products: self.d_products.map(&mut of),
            kept: self.kept.map(&mut of),
            inv_std: self.inv_std.map(&mut of),
            d_first: of(self.d_first),
            d_vectors: of(self.d_vectors),
        }
    }
}

impl<'a> Parts<&'a mut [f32]> {
    /// The parts of `memory`, to be written.
    fn of(memory: &'a mut [f32], n_images: usize, first_weights: usize) -> Self {
        let mut rest = memory;
        Parts::lens(n_images, first_weights).map(|len| {
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(len);
            rest = behind;
            part
        })
    }

    /// Memory of an image's values of a layer.
    fn kept(&mut self, layer: usize, image: usize) -> Kept<'_> {
        let (len, cells) = (LENS[layer], CELLS[layer]);
        Kept {
            values: &mut self.kept[layer][image * len..][..len],
            inv_std: &mut self.inv_std[layer][image * cells..][..cells],
        }
    }
}

/// A block that was stored, to be read.
pub(super) struct Block<'a> {
    parts: Parts<&'a [f32]>,
    n_images: usize,
}

impl<'a> Block<'a> {
    /// The block of so many images that `memory` holds.
    pub(super) fn of(memory: &'a [f32], n_images: usize, first_weights: usize) -> Self {
        let mut rest = memory;
        let parts = Parts::lens(n_images, first_weights).map(|len| {
            let (part, behind) = rest.split_at(len);
            rest = behind;
            part
        });
        Self { parts, n_images }
    }
}

/// Values of one image or block, overwritten by the next.
#[derive(Default)]
pub(super) struct Workspace {
    rows: first::Rows,
    z: Buffer,
    y: Buffer,
    products: Buffer,
    stored: Buffer,
}

/// The forward pass of a block.
pub(super) struct BlockForward<'a> {
    pub(super) convolutions: &'a [Convolution; 3],
    pub(super) params: &'a [f32],
    pub(super) prepared: &'a Prepared,
    pub(super) workspace: &'a mut Workspace,
    /// Memory of the values for the way back, where there will be one.
    pub(super) memory: Option<&'a mut [f32]>,
    pub(super) obs: &'a [u8],
    /// `[images, 49, 64]`
    pub(super) features: &'a mut [f32],
}

impl Kernel for BlockForward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { convolutions, params, prepared, workspace, memory, obs, features } = self;
        let n = features.len() / FEATURES;
        let Workspace { rows, z, y, products, stored } = workspace;
        let (keep, first_weights) = (memory.is_some(), prepared.first.len());
        let memory = memory.unwrap_or_else(|| stored.first(stored_len(n, first_weights)));
        let mut stored = Parts::of(memory, n, first_weights);
        let rectifiers = rectifiers(convolutions, params);
        let (z, y, products) = (z.first(FIRST_LEN), y.first(FIRST_LEN), products.first(products_len(n)));
        let obs_bytes = obs.len() / n;
        for i in 0..n {
            first::forward(s, &obs[i * obs_bytes..], obs_bytes, &prepared.first, rows, z);
            let kept = keep.then(|| stored.kept(0, i));
            norm::forward::<S, 2>(s, rectifiers[0], z, kept, y);
            winograd::input::<Second, S, 4, 3, 2>(
                s,
                y,
                Place::new(n, i, Second::TILES, Second::INPUTS),
                stored.inputs[0],
            );
        }
        points::<Second, S, 4, 3, 2>(s, n, stored.inputs[0], &prepared.filters[0][0], products, false);
        for i in 0..n {
            let (z, y) = (&mut z[..LENS[1]], &mut y[..LENS[1]]);
            winograd::output::<Second, S, 4, 3, 2>(s, products, Place::new(n, i, Second::TILES, Second::OUTPUTS), z);
            let kept = keep.then(|| stored.kept(1, i));
            norm::forward::<S, 4>(s, rectifiers[1], z, kept, y);
            winograd::input::<Third, S, 6, 4, 3>(s, y, Place::new(n, i, Third::TILES, Third::INPUTS), stored.inputs[1]);
        }
        points::<Third, S, 6, 4, 3>(s, n, stored.inputs[1], &prepared.filters[1][0], products, false);
        for (i, features) in features.chunks_exact_mut(FEATURES).enumerate() {
            let z = &mut z[..FEATURES];
            winograd::output::<Third, S, 6, 4, 3>(s, products, Place::new(n, i, Third::TILES, Third::OUTPUTS), z);
            let kept = keep.then(|| stored.kept(2, i));
            norm::forward::<S, 4>(s, rectifiers[2], z, kept, features);
        }
    }
}

fn rectifiers<'a>(convolutions: &[Convolution; 3], params: &'a [f32]) -> [Rectifier<'a>; 3] {
    let of = |place: &std::ops::Range<usize>| &params[place.clone()];
    std::array::from_fn(|i| Rectifier {
        bias: of(&convolutions[i].bias),
        norm: convolutions[i].norm.as_ref().map(|norm| norm.each_ref().map(of)),
        unit: UNITS[i],
    })
}

/// Elements of the products of either layer, forward or backward.
fn products_len(n_images: usize) -> usize {
    let second = Second::POINTS * point_len(Second::TILES * n_images, Second::INPUTS);
    second.max(Third::POINTS * point_len(Third::TILES * n_images, Third::INPUTS))
}

/// The product of each point: `[tiles, inputs] [inputs, outputs]`, or `[tiles, outputs] [outputs, inputs]` backward.
#[inline(always)]
fn points<F: Form<T, M, K>, S: Simd, const T: usize, const M: usize, const K: usize>(
    s: S,
    n_images: usize,
    a: &[f32],
    filters: &[f32],
    out: &mut [f32],
    backward: bool,
) {
    let (from, to) = if backward { (F::OUTPUTS, F::INPUTS) } else { (F::INPUTS, F::OUTPUTS) };
    let tiles = n_images * F::TILES;
    let (a_len, out_len) = (point_len(tiles, from), point_len(tiles, to));
    let size = Size { rows: tiles, groups: to / LANES, depth: from };
    for point in 0..F::POINTS {
        let filters = &filters[point * from * to..];
        let mut terms = Terms::one(&a[point * a_len..], Strides { row: from, column: 1 }, filters, to);
        terms.may_round = F::MAY_ROUND;
        product(s, size, terms, &mut out[point * out_len..], to, false);
    }
}

/// The backward pass of a block.
pub(super) struct BlockBackward<'a> {
    pub(super) convolutions: &'a [Convolution; 3],
    pub(super) params: &'a [f32],
    pub(super) prepared: &'a Prepared,
    pub(super) workspace: &'a mut Workspace,
    pub(super) memory: &'a mut [f32],
    pub(super) obs: &'a [u8],
    pub(super) n_images: usize,
    /// Panels of the features' gradient, of the whole batch.
    pub(super) d_features: &'a [f32],
    pub(super) batch: usize,
    /// The block's first image in the batch.
    pub(super) start: usize,
}

impl Kernel for BlockBackward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { convolutions, params, prepared, workspace, memory, obs, n_images: n, d_features, batch, start } =
            self;
        let Workspace { rows, y: grad, products, .. } = workspace;
        let stored = Parts::of(memory, n, prepared.first.len());
        let Parts { d_products: [d_second, d_third], kept, inv_std, d_first, d_vectors, .. } = stored;
        d_vectors.fill(0.0);
        let mut rectify = RectifyBackward { rectifiers: rectifiers(convolutions, params), kept, inv_std, d_vectors };
        let (grad, products) = (grad.first(FIRST_LEN), products.first(products_len(n)));
        for i in 0..n {
            let grad = &mut grad[..FEATURES];
            for (panel, grad) in grad.chunks_exact_mut(PANEL).enumerate() {
                grad.copy_from_slice(&d_features[(panel * panel_rows(batch) + start + i) * PANEL..][..PANEL]);
            }
            rectify.of(s, 2, i, grad);
            let place = Place::new(n, i, Third::TILES, Third::OUTPUTS);
            winograd::output_adjoint::<Third, S, 6, 4, 3>(s, grad, place, d_third);
        }
        points::<Third, S, 6, 4, 3>(s, n, d_third, &prepared.filters[1][1], products, true);
        for i in 0..n {
            let grad = &mut grad[..LENS[1]];
            let place = Place::new(n, i, Third::TILES, Third::INPUTS);
            winograd::input_adjoint::<Third, S, 6, 4, 3>(s, products, place, grad);
            rectify.of(s, 1, i, grad);
            let place = Place::new(n, i, Second::TILES, Second::OUTPUTS);
            winograd::output_adjoint::<Second, S, 4, 3, 2>(s, grad, place, d_second);
        }
        points::<Second, S, 4, 3, 2>(s, n, d_second, &prepared.filters[0][1], products, true);
        d_first.fill(0.0);
        let obs_bytes = obs.len() / n;
        for i in 0..n {
            let place = Place::new(n, i, Second::TILES, Second::INPUTS);
            winograd::input_adjoint::<Second, S, 4, 3, 2>(s, products, place, grad);
            rectify.of(s, 0, i, grad);
            first::backward(s, &obs[i * obs_bytes..], obs_bytes, grad, rows, d_first);
        }
    }
}

/// The backward passes of a block's rectifiers.
struct RectifyBackward<'a> {
    rectifiers: [Rectifier<'a>; 3],
    kept: [&'a mut [f32]; 3],
    inv_std: [&'a mut [f32]; 3],
    /// `[3, 3, WIDEST]`
    d_vectors: &'a mut [f32],
}

impl RectifyBackward<'_> {
    #[inline(always)]
    fn of<S: Simd>(&mut self, s: S, layer: usize, image: usize, grad: &mut [f32]) {
        let (len, cells) = (LENS[layer], CELLS[layer]);
        let kept = &self.kept[layer][image * len..][..len];
        let inv_std = &self.inv_std[layer][image * cells..][..cells];
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
    pub(super) blocks: &'a [Block<'a>],
    /// 0 for the second layer, 1 for the third.
    pub(super) layer: usize,
    pub(super) point: usize,
    pub(super) d_u: &'a mut [f32],
}

impl<'a> Kernel for PointBackward<'a> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { blocks, layer, point, d_u } = self;
        let (inputs, outputs, tiles, may_round) = match layer {
            0 => (Second::INPUTS, Second::OUTPUTS, Second::TILES, Second::MAY_ROUND),
            _ => (Third::INPUTS, Third::OUTPUTS, Third::TILES, Third::MAY_ROUND),
        };
        let factors = |block: &Block<'a>| {
            let tiles = tiles * block.n_images;
            let (v, d_products) = (block.parts.inputs[layer], block.parts.d_products[layer]);
            let v = &v[point * point_len(tiles, inputs)..][..tiles * inputs];
            (tiles, v, &d_products[point * point_len(tiles, outputs)..][..tiles * outputs])
        };
        for (i, block) in blocks.iter().enumerate() {
            let (tiles, v, d_products) = factors(block);
            let mut terms = Terms::one(v, Strides { row: 1, column: inputs }, d_products, outputs);
            terms.may_round = may_round;
            if let Some(next) = blocks.get(i + 1) {
                let (_, v, d_products) = factors(next);
                terms.ahead = [v, d_products];
            }
            let size = Size { rows: inputs, groups: outputs / LANES, depth: tiles };
            product(s, size, terms, d_u, outputs, i > 0);
        }
    }
}

/// Overwrites the gradient of the first layer's weights with the blocks' sum, which is added up in `sum`.
pub(super) fn first_gradient(blocks: &[Block], sum: &mut [f32], d_weight: &mut [f32]) {
    sum.fill(0.0);
    for block in blocks {
        sum.iter_mut().zip(block.parts.d_first).for_each(|(sum, grad)| *sum += grad);
    }
    first::unpack(sum, UNIT, d_weight);
}

/// Adds the blocks' gradients of a layer's bias, scale and shift.
pub(super) fn vector_gradients(blocks: &[Block], layer: usize, mut to: Vectors<&mut [f32]>) {
    for block in blocks {
        let from = block.parts.d_vectors[3 * WIDEST * layer..].chunks_exact(WIDEST);
        let to = [&mut to.bias].into_iter().chain(to.norm.iter_mut().flatten());
        for (to, from) in to.zip(from) {
            to.iter_mut().zip(from).for_each(|(sum, grad)| *sum += grad);
        }
    }
}
