//! Dense layers behind the convolutions.
//!
//! Activations lie in panels of 64 features, `[panels, batch, 64]`, and weights in blocks of 64 inputs and 64 outputs,
//! `[panels of inputs][panels of outputs][inputs, outputs]`. A block is contiguous, fits the nearest cache, and serves
//! all passes: forward as rows of outputs, backward as numbers that multiply rows of a batch. So the weights stay in
//! this order in the flat vector, and nothing is packed.

use super::winograd::transpose;
use crate::net::lanes::LANES;
use crate::net::native::gemm::{Size, Strides, Terms, product};
use crate::net::native::simd::Simd;
use std::ops::Range;

/// Features of a panel.
pub(super) const PANEL: usize = 64;

/// A dense layer, with the places of its parameters.
#[derive(Debug)]
pub(super) struct Dense {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) weight: Range<usize>,
    pub(super) bias: Range<usize>,
    /// Scale and shift.
    pub(super) norm: Option<[Range<usize>; 2]>,
    /// Whether it is hidden. The last layer is not, and its products are never rounded.
    pub(super) is_rectified: bool,
}

/// Panels of so many features.
pub(super) fn n_panels(features: usize) -> usize {
    features.div_ceil(PANEL)
}

/// Features of panel `panel` of `features`.
fn width(panel: usize, features: usize) -> usize {
    PANEL.min(features - panel * PANEL)
}

/// Rows of a panel for a batch, whole lanes.
pub(super) fn panel_rows(batch: usize) -> usize {
    batch.next_multiple_of(LANES)
}

impl Dense {
    /// The block of weights from panel `from` of the inputs to panel `to` of the outputs.
    fn block(&self, from: usize, to: usize) -> Range<usize> {
        let rows = width(from, self.inputs);
        let start = from * PANEL * self.outputs + rows * PANEL * to;
        start..start + rows * width(to, self.outputs)
    }

    /// Rows of the weights in blocks, or blocks in rows.
    pub(super) fn reorder(&self, from: &[f32], to: &mut [f32], into_blocks: bool) {
        for row in 0..self.inputs {
            for panel in 0..n_panels(self.outputs) {
                let width = width(panel, self.outputs);
                let in_row = row * self.outputs + panel * PANEL;
                let in_block = self.block(row / PANEL, panel).start + row % PANEL * width;
                let (source, target) = if into_blocks { (in_row, in_block) } else { (in_block, in_row) };
                to[target..target + width].copy_from_slice(&from[source..source + width]);
            }
        }
    }

    /// Width of the last panel's rows in memory, where they are no whole lanes and need a copy that is.
    fn tail_width(&self) -> Option<usize> {
        let tail = width(n_panels(self.outputs) - 1, self.outputs);
        (!tail.is_multiple_of(LANES)).then_some(tail.next_multiple_of(LANES))
    }

    /// Copies the last panel's weights with zeros behind each row, where [`Dense::tail_width`] asks for it.
    pub(super) fn pad_tail(&self, weight: &[f32], tail: &mut Vec<f32>) {
        let Some(tail_width) = self.tail_width() else { return };
        tail.resize(self.inputs * tail_width, 0.0);
        let last = n_panels(self.outputs) - 1;
        let width = width(last, self.outputs);
        for from in 0..n_panels(self.inputs) {
            let rows = weight[self.block(from, last)].chunks_exact(width);
            let padded = tail[from * PANEL * tail_width..].chunks_exact_mut(tail_width);
            rows.zip(padded).for_each(|(row, padded)| padded[..width].copy_from_slice(row));
        }
    }

    /// Panel `panel` of `x W`, `[batch, 64]`.
    #[inline(always)]
    pub(super) fn forward<S: Simd>(
        &self,
        s: S,
        [weight, tail]: [&[f32]; 2],
        panel: usize,
        batch: usize,
        x: &[f32],
        y: &mut [f32],
    ) {
        let panel_len = panel_rows(batch) * PANEL;
        let width = width(panel, self.outputs);
        let is_tail = !width.is_multiple_of(LANES);
        let n_from = n_panels(self.inputs);
        let mut from = 0;
        while from < n_from {
            let rows = self.inputs.min((from + 1) * PANEL) - from * PANEL;
            // Two blocks at once halve the loads and stores of sums.
            let n = if self.inputs >= (from + 2) * PANEL { 2 } else { 1 };
            let (b, b_row, b_step) = match is_tail {
                true => (
                    &tail[from * PANEL * width.next_multiple_of(LANES)..],
                    width.next_multiple_of(LANES),
                    PANEL * width.next_multiple_of(LANES),
                ),
                false => (&weight[self.block(from, panel).start..], width, PANEL * self.outputs),
            };
            let a_strides = Strides { row: PANEL, column: 1 };
            let ahead = [0, 1].map(|i| match from + n + i < n_from && !is_tail {
                true => &weight[self.block(from + n + i, panel)],
                false => &[],
            });
            let terms = Terms {
                n,
                a_step: panel_len,
                b_step,
                ahead,
                may_round: self.is_rectified,
                ..Terms::one(&x[from * panel_len..], a_strides, b, b_row)
            };
            let size = Size { rows: batch, groups: width.div_ceil(LANES), depth: rows };
            product(s, size, terms, y, PANEL, from > 0);
            from += n;
        }
    }

    /// Gradients of the weights from panel `from` of the inputs, all their blocks, and of that panel. `weight` are
    /// these blocks.
    #[inline(always)]
    pub(super) fn backward<S: Simd>(
        &self,
        s: S,
        from: usize,
        pass: Backward,
        weight: &[f32],
        d_weight: &mut [f32],
        d_x: &mut [f32],
    ) {
        let Backward { batch, x, d_y, d_y_transposed } = pass;
        let (rows, panel_len) = (width(from, self.inputs), panel_rows(batch) * PANEL);
        let first = self.block(from, 0).start;
        for to in 0..n_panels(self.outputs) {
            let (block, width) = (self.block(from, to), width(to, self.outputs));
            let d_weight = &mut d_weight[block.start - first..block.end - first];
            let d_y = &d_y[to * panel_len..(to + 1) * panel_len];
            let mut terms = Terms::one(&x[from * panel_len..], Strides { row: 1, column: PANEL }, d_y, PANEL);
            terms.may_round = self.is_rectified;
            let size = Size { rows, groups: width.div_ceil(LANES), depth: batch };
            if width.is_multiple_of(LANES) {
                product(s, size, terms, d_weight, width, false);
            } else {
                let mut wide = [0.0; PANEL * PANEL];
                product(s, size, terms, &mut wide, PANEL, false);
                let rows = d_weight.chunks_exact_mut(width).zip(wide.chunks_exact(PANEL));
                rows.for_each(|(row, wide)| row.copy_from_slice(&wide[..width]));
            }
        }
        for (part, (d_y, d_x)) in
            parts(d_y_transposed, self.outputs, batch).zip(d_x.chunks_mut(PANEL * PANEL)).enumerate()
        {
            let columns = PANEL.min(panel_rows(batch) - part * PANEL);
            let mut d_x_transposed = [0.0; PANEL * PANEL];
            for to in 0..n_panels(self.outputs) {
                let (block, width) = (self.block(from, to), width(to, self.outputs));
                let a_strides = Strides { row: width, column: 1 };
                let mut terms =
                    Terms::one(&weight[block.start - first..], a_strides, &d_y[to * PANEL * columns..], columns);
                terms.may_round = self.is_rectified;
                if to + 1 < n_panels(self.outputs) {
                    let next = self.block(from, to + 1);
                    terms.ahead[0] = &weight[next.start - first..next.end - first];
                }
                let size = Size { rows, groups: columns / LANES, depth: width };
                product(s, size, terms, &mut d_x_transposed, columns, to > 0);
            }
            transpose(s, &d_x_transposed, PANEL, columns, d_x, PANEL);
        }
    }
}

/// Inputs of [`Dense::backward`].
#[derive(Clone, Copy)]
pub(super) struct Backward<'a> {
    pub(super) batch: usize,
    /// Panels of the layer's input.
    pub(super) x: &'a [f32],
    /// Panels of its output's gradient.
    pub(super) d_y: &'a [f32],
    /// Its transpose, as [`transpose_panels`] writes it.
    pub(super) d_y_transposed: &'a [f32],
}

/// Parts of 64 samples of a transposed gradient: `[outputs, samples]` each, outputs in whole panels.
fn parts(transposed: &[f32], outputs: usize, batch: usize) -> impl Iterator<Item = &[f32]> {
    let len = n_panels(outputs) * PANEL;
    transposed[..len * panel_rows(batch)].chunks(len * PANEL)
}

/// Transposes panels `[batch, 64]` into parts of 64 samples, `[features, samples]`.
#[inline(always)]
pub(super) fn transpose_panels<S: Simd>(s: S, features: usize, batch: usize, panels: &[f32], to: &mut [f32]) {
    let (rows, len) = (panel_rows(batch), n_panels(features) * PANEL);
    for (panel, values) in panels.chunks_exact(rows * PANEL).take(n_panels(features)).enumerate() {
        for (values, to) in values.chunks(PANEL * PANEL).zip(to.chunks_mut(len * PANEL)) {
            let samples = values.len() / PANEL;
            transpose(s, values, samples, PANEL, &mut to[panel * PANEL * samples..], samples);
        }
    }
}
