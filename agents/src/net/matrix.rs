//! Row-major `f32` matrices that torch multiplies and plain Rust reads and writes.

use tch::{Device, Kind, Tensor};

/// A contiguous `f32` array on the CPU, seen as a torch tensor or as a slice.
///
/// The tensor is never resized, shared with autograd or handed out by value, so its storage belongs to this struct alone:
/// that is what makes the slices sound.
#[derive(Debug)]
pub struct Matrix {
    tensor: Tensor,
    len: usize,
}

impl Matrix {
    /// `rows x cols` zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        let tensor = Tensor::zeros([rows as i64, cols as i64], (Kind::Float, Device::Cpu));
        Self { tensor, len: rows * cols }
    }

    /// All elements, row by row.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: the tensor is contiguous, of kind Float, holds `len` elements, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.tensor.data_ptr() as *const f32, self.len) }
    }

    /// All elements, row by row.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as for `as_slice`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.tensor.data_ptr() as *mut f32, self.len) }
    }

    /// A view of `rows x cols` elements from `offset` on, as a torch tensor for products.
    pub fn view(&self, offset: usize, rows: usize, cols: usize) -> Tensor {
        self.tensor.view([-1]).narrow(0, offset as i64, (rows * cols) as i64).view([rows as i64, cols as i64])
    }

    /// The whole as a torch tensor for products.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }
}

impl Clone for Matrix {
    fn clone(&self) -> Self {
        Self { tensor: self.tensor.copy(), len: self.len }
    }
}

/// `out = a b`, where `out` is overwritten.
pub fn matmul(a: &Tensor, b: &Tensor, out: &Tensor) {
    // The result is a second handle on `out`.
    let _ = a.mm_out(out, b);
}
