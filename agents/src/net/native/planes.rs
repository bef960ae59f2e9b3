//! Sixteen images side by side: each channel a plane of cells, each cell sixteen numbers, one an image.
//!
//! However few the channels or columns, an operation then fills the vector unit. A rim of zero cells around each plane
//! is the convolutions' padding.

use crate::net::lanes::{LANES, Lanes};

/// One pixel of one channel, of sixteen images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Cell(pub(super) Lanes);

/// Sixteen images: `[channels, rows + 2, cols + 2]` cells, of which the rim is 0.
#[derive(Debug, Default)]
pub(super) struct Planes {
    /// Planes of an image.
    pub(super) channels: usize,
    /// Rows, without the rim.
    pub(super) rows: usize,
    /// Columns, without the rim.
    pub(super) cols: usize,
    cells: Vec<Cell>,
}

impl Planes {
    /// Changes the shape. The rim is 0 afterwards; the cells inside hold old values and must be overwritten.
    pub(super) fn reshape(&mut self, [channels, rows, cols]: [usize; 3]) {
        if self.shape() == [channels, rows, cols] {
            return;
        }
        (self.channels, self.rows, self.cols) = (channels, rows, cols);
        let (stride, area) = (self.stride(), self.area());
        // Never shorter: growing again would write zeros all over.
        self.cells.resize(self.cells.len().max(channels * area), Cell::default());
        for plane in self.cells_mut().chunks_exact_mut(area) {
            plane[..stride].fill(Cell::default());
            plane[area - stride..].fill(Cell::default());
            for row in plane.chunks_exact_mut(stride) {
                (row[0], row[stride - 1]) = (Cell::default(), Cell::default());
            }
        }
    }

    /// `[channels, rows, cols]`
    pub(super) fn shape(&self) -> [usize; 3] {
        [self.channels, self.rows, self.cols]
    }

    /// Cells of a row, with the rim.
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.cols + 2
    }

    /// Cells of a plane, with the rim.
    #[inline(always)]
    pub(super) fn area(&self) -> usize {
        (self.rows + 2) * (self.cols + 2)
    }

    /// All cells, rims included, plane by plane.
    #[inline(always)]
    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells[..self.channels * self.area()]
    }

    /// All cells, rims included, plane by plane. Whoever writes to a rim writes 0.
    #[inline(always)]
    pub(super) fn cells_mut(&mut self) -> &mut [Cell] {
        let len = self.channels * self.area();
        &mut self.cells[..len]
    }

    /// One plane, its rim included.
    #[inline(always)]
    pub(super) fn plane(&self, channel: usize) -> &[Cell] {
        &self.cells[channel * self.area()..][..self.area()]
    }

    /// One plane, its rim included.
    #[inline(always)]
    pub(super) fn plane_mut(&mut self, channel: usize) -> &mut [Cell] {
        let area = self.area();
        &mut self.cells[channel * area..][..area]
    }

    /// Reads up to sixteen images `[n, channels, rows, cols]` of the present shape; lanes without an image become 0.
    pub(super) fn load(&mut self, images: &[f32]) {
        let [channels, rows, cols] = self.shape();
        let (size, stride, area) = (channels * rows * cols, self.stride(), self.area());
        let n_images = images.len() / size;
        for line in 0..channels * rows {
            let at = line / rows * area + (line % rows + 1) * stride + 1;
            let cells = &mut self.cells[at..at + cols];
            if n_images < LANES {
                cells.fill(Cell::default());
            }
            for (lane, image) in images.chunks_exact(size).enumerate() {
                for (cell, value) in cells.iter_mut().zip(&image[line * cols..][..cols]) {
                    cell.0[lane] = *value;
                }
            }
        }
    }

    /// Writes up to sixteen images `[n, channels, rows, cols]`: the inverse of [`Planes::load`].
    pub(super) fn store(&self, images: &mut [f32]) {
        let [channels, rows, cols] = self.shape();
        let (size, stride, area) = (channels * rows * cols, self.stride(), self.area());
        for line in 0..channels * rows {
            let at = line / rows * area + (line % rows + 1) * stride + 1;
            let cells = &self.cells[at..at + cols];
            for (lane, image) in images.chunks_exact_mut(size).enumerate() {
                for (value, cell) in image[line * cols..][..cols].iter_mut().zip(cells) {
                    *value = cell.0[lane];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_back_as_they_went_in_and_rims_stay_zero() {
        let mut planes = Planes::default();
        for (n, shape) in [(16, [2, 3, 4]), (5, [3, 2, 2])] {
            let images: Vec<f32> = (1..=n * shape.iter().product::<usize>()).map(|i| i as f32).collect();
            planes.reshape(shape);
            planes.load(&images);
            let sum: f32 = planes.cells().iter().flat_map(|cell| cell.0).sum();
            assert_eq!(sum, images.iter().sum::<f32>(), "nothing but the images");
            assert!(planes.plane(1)[..planes.stride()].iter().all(|cell| *cell == Cell::default()));
            let mut back = vec![0.0; images.len()];
            planes.store(&mut back);
            assert_eq!(back, images);
        }
    }
}
