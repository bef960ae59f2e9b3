//! The network of Mnih et al. 2015 from pixels, with or without layer normalisation, in plain Rust.
//!
//! A batch is cut into blocks of up to eight images, whose values stay in the cache of one core: bytes to the third
//! convolution's output is one task, and so is the way back. Dense layers are cut by panels of their outputs, on the
//! way back by panels of their inputs. Sums over the batch are cut nowhere: the gradient of a Winograd point or of a
//! block of weights is one sum in the order of the batch, and whatever is summed up for a block of images is added in
//! the order of blocks. So the number of threads changes no bit.
//!
//! Inference keeps no values: a thread works in the same memory for all of its blocks.

mod block;
mod dense;
mod features;
mod first;
mod norm;
mod weights;
mod winograd;

use super::buffer::Buffer;
use super::isa::Isa;
use super::simd::{Kernel, Simd};
use crate::net::lanes::LANES;
use crate::net::layout::Layout;
use crate::net::operation::Operation;
use crate::net::threads;
use crate::optim::{Part, sum_of_squares};
use block::{Block, BlockBackward, BlockForward, Workspace, stored_len};
use carom_envs::ObsSpace;
use dense::{Backward, Dense, PANEL, n_panels, panel_rows};
use features::{Activations, Behind, Vectors};
use std::ops::Range;
pub(crate) use weights::Prepared;
use weights::{Convolution, FEATURES, parts_of};
use winograd::{Form, Second, Third};

/// Images of a block, at most: eight images' values of a layer take half of a core's second cache.
const BLOCK: usize = 8;

/// The passes of a pixel network.
pub(crate) struct PixelPasses {
    isa: Isa,
    obs_bytes: usize,
    /// Number of parameters.
    n_params: usize,
    convolutions: [Convolution; 3],
    /// The hidden dense layers and the head.
    layers: Vec<Dense>,
    /// Values of all blocks for the way back.
    stored: Buffer,
    workspaces: Vec<Workspace>,
    /// Features of each image.
    rows: Buffer,
    /// Panels of the features.
    features: Buffer,
    d_features: Buffer,
    hidden: Vec<Hidden>,
    d_u: [Buffer; 2],
    d_first: Buffer,
    transposed: Buffer,
    row_sums: Buffer,
    squares: Buffer,
    q: Vec<f32>,
    /// Size of the latest forward pass's batch, if it was kept.
    kept: Option<usize>,
}

/// Panels of a dense layer's values.
#[derive(Default)]
struct Hidden {
    y: Buffer,
    normed: Buffer,
    inv_std: Buffer,
    grad: Buffer,
}

impl PixelPasses {
    /// The passes of `layout`; `None` where it is another network.
    pub(crate) fn of(layout: &Layout) -> Option<Self> {
        Self::with(layout, Isa::all()[0])
    }

    /// Passes on the instructions of `isa`.
    pub(crate) fn with(layout: &Layout, isa: Isa) -> Option<Self> {
        let Some(&Operation::Observe { space: ObsSpace::Pixels { shape: [84, 84] }, frames }) =
            layout.operations().first()
        else {
            return None;
        };
        let (convolutions, layers) = parts_of(layout)?;
        let hidden = layers.iter().map(|_| Hidden::default()).collect();
        Some(Self {
            isa,
            obs_bytes: frames as usize * first::SIDE * first::SIDE,
            n_params: layout.len(),
            convolutions,
            layers,
            stored: Buffer::default(),
            workspaces: vec![],
            rows: Buffer::default(),
            features: Buffer::default(),
            d_features: Buffer::default(),
            hidden,
            d_u: Default::default(),
            d_first: Buffer::default(),
            transposed: Buffer::default(),
            row_sums: Buffer::default(),
            squares: Buffer::default(),
            q: vec![],
            kept: None,
        })
    }

    /// Computes products of bf16 from now on.
    ///
    /// # Errors
    /// When this processor has none, or is slower by them.
    pub(crate) fn round_to_bf16(&mut self) -> Result<(), &'static str> {
        self.isa = Isa::bf16()?;
        Ok(())
    }

    /// `params` in the order of the passes, `into_blocks`, or back in that of the layout. Several vectors may lie one
    /// behind the other.
    pub(crate) fn reordered(&self, params: &[f32], into_blocks: bool) -> Vec<f32> {
        let mut out = params.to_vec();
        for (params, out) in params.chunks(self.n_params).zip(out.chunks_mut(self.n_params)) {
            for layer in &self.layers {
                layer.reorder(&params[layer.weight.clone()], &mut out[layer.weight.clone()], into_blocks);
            }
        }
        out
    }

    /// Makes the weights' other forms anew where the parameters have changed.
    pub(crate) fn prepare(&self, params: &[f32], prepared: &mut Prepared) {
        if prepared.is_fresh {
            return;
        }
        let [first, second, third] = &self.convolutions;
        let first = &params[first.weight.clone()];
        first::pack(first, prepared.first.first(first.len()));
        let isa = self.isa;
        let weights = [second, third].map(|convolution| &params[convolution.weight.clone()]);
        let work = weights.into_iter().zip(&mut prepared.filters).enumerate();
        threads::for_each(work, |(layer, (weight, forms))| isa.run(Filters { is_second: layer == 0, weight, forms }));
        prepared.tails.resize(self.layers.len(), vec![]);
        for (layer, tail) in self.layers.iter().zip(&mut prepared.tails) {
            layer.pad_tail(&params[layer.weight.clone()], tail);
        }
        prepared.is_fresh = true;
    }

    /// Q-values `[B, n_actions]` of `obs`, `[B * obs_bytes]`. With `keep`, [`PixelPasses::backward`] can follow, until
    /// the next forward pass.
    pub(crate) fn forward(&mut self, params: &[f32], prepared: &mut Prepared, obs: &[u8], keep: bool) -> &[f32] {
        let batch = obs.len() / self.obs_bytes;
        self.kept = (keep && batch > 0).then_some(batch);
        if batch == 0 {
            return &[];
        }
        self.prepare(params, prepared);
        self.convolve(params, prepared, obs, keep);
        let panel_len = panel_rows(batch) * PANEL;
        for (i, layer) in self.layers.iter().enumerate() {
            let (below, above) = self.hidden.split_at_mut(i);
            let x = below.last().map_or(&*self.features, |hidden| &*hidden.y);
            let Hidden { y, normed, inv_std, .. } = &mut above[0];
            let len = n_panels(layer.outputs) * panel_len;
            let weight = [&params[layer.weight.clone()], &prepared.tails[i]];
            let isa = self.isa;
            threads::for_each(y.first(len).chunks_mut(panel_len).enumerate(), |(panel, y)| {
                isa.run(DenseForward { layer, weight, panel, batch, x, y });
            });
            let is_normed = usize::from(layer.norm.is_some());
            let activations =
                Activations { y, normed: normed.first(len * is_normed), inv_std: inv_std.first(batch * is_normed) };
            isa.run(Rectify { layer, batch, params, activations });
        }
        self.read_q(batch)
    }

    /// The convolutions of all blocks, and their features in panels.
    fn convolve(&mut self, params: &[f32], prepared: &Prepared, obs: &[u8], keep: bool) {
        let batch = obs.len() / self.obs_bytes;
        let len = block_len(batch);
        let n_blocks = batch.div_ceil(len);
        let n_threads = (tch::get_num_threads().max(1) as usize).min(n_blocks);
        if self.workspaces.len() < n_threads {
            self.workspaces.resize_with(n_threads, Workspace::default);
        }
        let stored_len = stored_len(len, prepared.first.len());
        let mut stored = self.stored.first(if keep { n_blocks * stored_len } else { 0 }).chunks_exact_mut(stored_len);
        let (isa, convolutions) = (self.isa, &self.convolutions);
        let images = obs.chunks(len * self.obs_bytes).zip(self.rows.first(batch * FEATURES).chunks_mut(len * FEATURES));
        let work = images.map(|(obs, features)| (obs, features, stored.next()));
        threads::share_alone(&mut self.workspaces[..n_threads], work, |workspace, (obs, features, memory)| {
            isa.run(BlockForward { convolutions, params, prepared, workspace, memory, obs, features });
        });
        let (panel_len, rows) = (panel_rows(batch) * PANEL, &self.rows[..batch * FEATURES]);
        let panels = self.features.first(n_panels(FEATURES) * panel_len).chunks_mut(panel_len).enumerate();
        threads::for_each(panels, |(panel, features)| {
            for (features, row) in features.chunks_exact_mut(PANEL).zip(rows.chunks_exact(FEATURES)) {
                features.copy_from_slice(&row[panel * PANEL..][..PANEL]);
            }
        });
    }

    fn read_q(&mut self, batch: usize) -> &[f32] {
        let (head, y) = (self.layers.last().expect("a head"), &self.hidden.last().expect("a head").y);
        let panel_len = panel_rows(batch) * PANEL;
        self.q.resize(batch * head.outputs, 0.0);
        for (b, q) in self.q.chunks_exact_mut(head.outputs).enumerate() {
            for (panel, q) in q.chunks_mut(PANEL).enumerate() {
                q.copy_from_slice(&y[panel * panel_len + b * PANEL..][..q.len()]);
            }
        }
        &self.q
    }

    /// Overwrites `grads` with the gradient of the parameters, given the observations of the latest forward pass and
    /// the gradient of its Q-values; returns its Euclidean norm. With a `step` the parameters take it, weights of dense
    /// layers while they and their gradient are in the cache.
    ///
    /// # Panics
    /// When the latest forward pass was not kept, or `obs` or `d_q` is not of its size.
    pub(crate) fn backward(
        &mut self,
        params: &mut [f32],
        prepared: &Prepared,
        (obs, d_q): (&[u8], &[f32]),
        grads: &mut [f32],
        mut step: Option<Part>,
    ) -> f32 {
        let batch = self.kept.expect("a kept pass, and no other since");
        let head = self.layers.last().expect("a head");
        assert_eq!(
            (d_q.len(), obs.len()),
            (batch * head.outputs, batch * self.obs_bytes),
            "sizes of the latest kept pass"
        );
        let panel_len = panel_rows(batch) * PANEL;
        let grad = self.hidden.last_mut().expect("a head").grad.first(n_panels(head.outputs) * panel_len);
        grad.fill(0.0);
        for (b, d_q) in d_q.chunks_exact(head.outputs).enumerate() {
            for (panel, d_q) in d_q.chunks(PANEL).enumerate() {
                grad[panel * panel_len + b * PANEL..][..d_q.len()].copy_from_slice(d_q);
            }
        }
        let mut squares = 0.0;
        for i in (0..self.layers.len()).rev() {
            squares += self.dense_backward(i, batch, params, grads, step.as_mut());
        }
        self.convolve_backward(batch, params, prepared, obs);
        self.filters_backward(batch, grads);
        // All but the dense layers' weights. Gaps between parameters are included, where all is 0.
        let starts = self.layers.iter().map(|layer| layer.weight.start).chain([self.n_params]);
        let ends = [0].into_iter().chain(self.layers.iter().map(|layer| layer.weight.end));
        for rest in ends.zip(starts).map(|(end, start)| end..start) {
            squares += f64::from(sum_of_squares(&grads[rest.clone()]));
            if let Some(step) = &mut step {
                step.of(rest.clone()).take(&mut params[rest.clone()], &grads[rest]);
            }
        }
        squares.sqrt() as f32
    }

    /// Returns the sum of the squares of the weights' gradient. With a `step` the weights take it.
    fn dense_backward(
        &mut self,
        i: usize,
        batch: usize,
        params: &mut [f32],
        grads: &mut [f32],
        step: Option<&mut Part>,
    ) -> f64 {
        let layer = &self.layers[i];
        let panel_len = panel_rows(batch) * PANEL;
        let (below, above) = self.hidden.split_at_mut(i);
        let Hidden { y, normed, inv_std, grad } = &mut above[0];
        let activations = Activations { y, normed, inv_std };
        let to = vectors(&layer.bias, layer.norm.as_ref(), grads);
        let row_sums = self.row_sums.first(2 * batch * LANES);
        let behind = Behind { layer, batch, params, activations, row_sums };
        self.isa.run(RectifyBackward { behind, grad, to });
        let transposed = self.transposed.first(n_panels(layer.outputs) * panel_len);
        self.isa.run(TransposePanels { features: layer.outputs, batch, panels: grad, to: transposed });
        let (x, d_x) = match below.last_mut() {
            Some(hidden) => (&*hidden.y, &mut hidden.grad),
            None => (&*self.features, &mut self.d_features),
        };
        let pass = Backward { batch, x, d_y: grad, d_y_transposed: transposed };
        let (isa, len) = (self.isa, PANEL * layer.outputs);
        let squares = self.squares.first(n_panels(layer.inputs));
        let d_x = d_x.first(n_panels(layer.inputs) * panel_len).chunks_mut(panel_len);
        let weights = params[layer.weight.clone()].chunks_mut(len).zip(grads[layer.weight.clone()].chunks_mut(len));
        let mut steps = step.map(|step| step.of(layer.weight.clone()).chunks(len));
        let steps = std::iter::from_fn(|| Some(steps.as_mut().and_then(Iterator::next)));
        let work = weights.zip(d_x).zip(squares.iter_mut()).zip(steps).enumerate();
        threads::for_each(work, |(from, ((((weight, d_weight), d_x), square), step))| {
            isa.run(DenseBackward { layer, from, pass, weight, d_weight, d_x });
            // While the gradients are still in the cache.
            *square = sum_of_squares(d_weight);
            if let Some(step) = step {
                step.take(weight, d_weight);
            }
        });
        squares.iter().copied().map(f64::from).sum()
    }

    fn convolve_backward(&mut self, batch: usize, params: &[f32], prepared: &Prepared, obs: &[u8]) {
        let len = block_len(batch);
        let n_threads = (tch::get_num_threads().max(1) as usize).min(self.workspaces.len());
        let (isa, convolutions, d_features) = (self.isa, &self.convolutions, &*self.d_features);
        let blocks = self.stored.chunks_exact_mut(stored_len(len, prepared.first.len()));
        let work = blocks.zip(obs.chunks(len * self.obs_bytes)).enumerate();
        let obs_bytes = self.obs_bytes;
        threads::share_alone(&mut self.workspaces[..n_threads], work, |workspace, (i, (memory, obs))| {
            let (start, n_images) = (i * len, obs.len() / obs_bytes);
            isa.run(BlockBackward {
                convolutions,
                params,
                prepared,
                workspace,
                memory,
                obs,
                n_images,
                d_features,
                batch,
                start,
            });
        });
    }

    /// Gradients of the convolutions' parameters, of what the blocks have left.
    fn filters_backward(&mut self, batch: usize, grads: &mut [f32]) {
        let first_weights = self.convolutions[0].weight.len();
        let len = block_len(batch);
        let memory = self.stored.chunks_exact(stored_len(len, first_weights));
        let n_images = (0..batch).step_by(len).map(|start| len.min(batch - start));
        let blocks = memory.zip(n_images).map(|(memory, n_images)| Block::of(memory, n_images, first_weights));
        let blocks = &blocks.collect::<Vec<_>>()[..];
        let [second, third] = [Second::INPUTS * Second::OUTPUTS, Third::INPUTS * Third::OUTPUTS];
        let [d_u2, d_u3] = &mut self.d_u;
        let (d_u2, d_u3) = (d_u2.first(Second::POINTS * second), d_u3.first(Third::POINTS * third));
        let isa = self.isa;
        let points = d_u2.chunks_mut(second).map(|d_u| (0, d_u)).enumerate();
        let points = points.chain(d_u3.chunks_mut(third).map(|d_u| (1, d_u)).enumerate());
        threads::for_each(points, |(point, (layer, d_u))| {
            isa.run(block::PointBackward { blocks, layer, point, d_u });
        });
        let [first, second, third] = &self.convolutions;
        let places = [second.weight.clone(), third.weight.clone()];
        let d_weights = grads.get_disjoint_mut(places).expect("places apart");
        let work = [&*d_u2, &*d_u3].into_iter().zip(d_weights).enumerate();
        threads::for_each(work, |(layer, (d_u, d_weight))| {
            isa.run(FiltersAdjoint { is_second: layer == 0, d_u, d_weight });
        });
        block::first_gradient(blocks, self.d_first.first(first_weights), &mut grads[first.weight.clone()]);
        for (i, convolution) in self.convolutions.iter().enumerate() {
            let to = vectors(&convolution.bias, convolution.norm.as_ref(), grads);
            block::vector_gradients(blocks, i, to);
        }
    }
}

/// Images of each block of a batch but the last. A small batch is cut in two, for two threads.
fn block_len(batch: usize) -> usize {
    batch.div_ceil(2).clamp(1, BLOCK)
}

/// The gradients of a bias and of a norm, set to 0.
fn vectors<'a>(bias: &Range<usize>, norm: Option<&[Range<usize>; 2]>, grads: &'a mut [f32]) -> Vectors<&'a mut [f32]> {
    let mut vectors = match norm {
        None => Vectors { bias: &mut grads[bias.clone()], norm: None },
        Some([scale, shift]) => {
            let [bias, scale, shift] =
                grads.get_disjoint_mut([bias.clone(), scale.clone(), shift.clone()]).expect("places apart");
            Vectors { bias, norm: Some([scale, shift]) }
        }
    };
    vectors.bias.fill(0.0);
    vectors.norm.iter_mut().flatten().for_each(|vector| vector.fill(0.0));
    vectors
}

/// A kernel that calls a function with its fields.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? } => |$s:ident| $body:expr) => {
        $(#[$doc])*
        struct $name<'a> { $($field: $type),* }

        impl Kernel for $name<'_> {
            #[inline(always)]
            fn run<S: Simd>(self, $s: S) {
                let Self { $($field),* } = self;
                $body
            }
        }
    };
}

kernel!(DenseForward {
    layer: &'a Dense, weight: [&'a [f32]; 2], panel: usize, batch: usize, x: &'a [f32], y: &'a mut [f32],
} => |s| layer.forward(s, weight, panel, batch, x, y));

kernel!(DenseBackward {
    layer: &'a Dense, from: usize, pass: Backward<'a>, weight: &'a [f32], d_weight: &'a mut [f32], d_x: &'a mut [f32],
} => |s| layer.backward(s, from, pass, weight, d_weight, d_x));

kernel!(Rectify { layer: &'a Dense, batch: usize, params: &'a [f32], activations: Activations<'a> } =>
    |s| features::rectify(s, layer, batch, params, activations));

kernel!(RectifyBackward { behind: Behind<'a>, grad: &'a mut [f32], to: Vectors<&'a mut [f32]> } =>
    |s| features::rectify_backward(s, behind, grad, to));

kernel!(TransposePanels { features: usize, batch: usize, panels: &'a [f32], to: &'a mut [f32] } =>
    |s| dense::transpose_panels(s, features, batch, panels, to));

kernel!(Filters { is_second: bool, weight: &'a [f32], forms: &'a mut [Buffer; 2] } => |s| if is_second {
    let len = Second::POINTS * Second::INPUTS * Second::OUTPUTS;
    let [u, transposed] = forms.each_mut().map(|form| form.first(len));
    winograd::filters::<Second, S, 4, 3, 2>(s, weight, u, transposed);
} else {
    let len = Third::POINTS * Third::INPUTS * Third::OUTPUTS;
    let [u, transposed] = forms.each_mut().map(|form| form.first(len));
    winograd::filters::<Third, S, 6, 4, 3>(s, weight, u, transposed);
});

kernel!(FiltersAdjoint { is_second: bool, d_u: &'a [f32], d_weight: &'a mut [f32] } => |s| if is_second {
    winograd::filters_adjoint::<Second, S, 4, 3, 2>(s, d_u, d_weight);
} else {
    winograd::filters_adjoint::<Third, S, 6, 4, 3>(s, d_u, d_weight);
});

#[cfg(test)]
mod tests;
