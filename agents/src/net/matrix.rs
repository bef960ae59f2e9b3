//! Row-major `f32` matrices that torch multiplies and plain Rust reads and writes.

use std::marker::PhantomData;
use tch::{Device, Kind, Tensor};

/// A contiguous `f32` array on the CPU, to be read and written as a slice and multiplied by torch.
///
/// It owns its memory: the tensor behind it is made here and no handle on it leaves, except by [`Matrix::into_tensor`],
/// which ends the matrix. Products go through views that borrow it, so Rust's rules hold for torch's writes too:
///
/// ```
/// # use carom_agents::net::{Matrix, matmul};
/// let (mut a, mut product) = (Matrix::zeros(2, 2), Matrix::zeros(2, 2));
/// a.as_mut_slice().copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
/// matmul(&a.whole(), &a.whole().transposed(), &mut product.whole_mut());
/// let values = product.as_slice();
/// assert_eq!(values, [5.0, 11.0, 11.0, 25.0]);
/// ```
///
/// A product that would write under a live slice does not compile:
///
/// ```compile_fail,E0502
/// # use carom_agents::net::{Matrix, matmul};
/// let (mut a, mut product) = (Matrix::zeros(2, 2), Matrix::zeros(2, 2));
/// let values = product.as_slice();
/// matmul(&a.whole(), &a.whole(), &mut product.whole_mut());
/// assert_eq!(values, [0.0; 4]);
/// ```
#[derive(Debug)]
pub struct Matrix {
    tensor: Tensor,
    len: usize,
}

/// A part of a [`Matrix`] as a factor of products.
#[derive(Debug)]
pub struct View<'a> {
    tensor: Tensor,
    matrix: PhantomData<&'a Matrix>,
}

/// A part of a [`Matrix`] that a product is written to.
#[derive(Debug)]
pub struct ViewMut<'a> {
    tensor: Tensor,
    matrix: PhantomData<&'a mut Matrix>,
}

impl Matrix {
    /// `rows x cols` zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        let tensor = Tensor::zeros([rows as i64, cols as i64], (Kind::Float, Device::Cpu));
        Self { tensor, len: rows * cols }
    }

    /// A copy of a float tensor: a row for each element of its first dimension.
    ///
    /// # Panics
    /// When the tensor is of another kind or has no dimension.
    pub fn copy_of(tensor: &Tensor) -> Self {
        assert_eq!(tensor.kind(), Kind::Float, "kind of a tensor that becomes a matrix");
        let tensor = tch::no_grad(|| tensor.to_device(Device::Cpu).reshape([tensor.size()[0], -1]).copy().contiguous());
        Self { len: tensor.numel(), tensor }
    }

    /// All elements, row by row.
    pub fn as_slice(&self) -> &[f32] {
        if self.len == 0 {
            return &[]; // Its address may be null, which a slice must not have.
        }
        // SAFETY: the tensor is contiguous, of kind Float, holds `len` elements, and lives as long as `self`. It is
        // written to through `&mut self` and through a `ViewMut`, which holds `&mut self`: neither exists beside
        // `&self`.
        unsafe { std::slice::from_raw_parts(self.tensor.data_ptr().cast::<f32>().cast_const(), self.len) }
    }

    /// All elements, row by row.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: the tensor is contiguous, of kind Float, holds `len` elements, and lives as long as `self`. All other
        // access is through `&self`, `&mut self` or a view that holds one of them: none exists beside this `&mut self`.
        unsafe { std::slice::from_raw_parts_mut(self.tensor.data_ptr().cast(), self.len) }
    }

    /// `rows x cols` elements from `offset` on.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn view(&self, offset: usize, rows: usize, cols: usize) -> View<'_> {
        View { tensor: self.part(offset, rows, cols), matrix: PhantomData }
    }

    /// `rows x cols` elements from `offset` on, to write to.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn view_mut(&mut self, offset: usize, rows: usize, cols: usize) -> ViewMut<'_> {
        ViewMut { tensor: self.part(offset, rows, cols), matrix: PhantomData }
    }

    /// The whole matrix.
    pub fn whole(&self) -> View<'_> {
        View { tensor: self.tensor.shallow_clone(), matrix: PhantomData }
    }

    /// The whole matrix, to write to.
    pub fn whole_mut(&mut self) -> ViewMut<'_> {
        ViewMut { tensor: self.tensor.shallow_clone(), matrix: PhantomData }
    }

    /// Turns the matrix into a tensor `[rows, cols]`. This consumes the matrix, so no safe slice of its memory remains.
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }

    fn part(&self, offset: usize, rows: usize, cols: usize) -> Tensor {
        self.tensor.view([-1]).narrow(0, offset as i64, (rows * cols) as i64).view([rows as i64, cols as i64])
    }
}

impl Clone for Matrix {
    fn clone(&self) -> Self {
        Self { tensor: self.tensor.copy(), len: self.len }
    }
}

impl<'a> View<'a> {
    /// The transposed view.
    #[must_use]
    pub fn transposed(self) -> View<'a> {
        View { tensor: self.tensor.tr(), ..self }
    }
}

/// Computes `out = a b`, overwriting `out`.
///
/// # Panics
/// When the sizes do not fit.
pub fn matmul(a: &View, b: &View, out: &mut ViewMut) {
    let (left, right) = (a.tensor.size2().expect("a matrix"), b.tensor.size2().expect("a matrix"));
    // Torch would move `out` to other memory if its size were wrong.
    assert_eq!(out.tensor.size2().expect("a matrix"), (left.0, right.1), "rows and columns of a product");
    // The result is a second handle on `out`.
    let _ = a.tensor.mm_out(&out.tensor, &b.tensor);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_written_in_place() {
        let mut out = Matrix::zeros(1, 7);
        let mut a = Matrix::copy_of(&Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([3, 2]));
        matmul(&a.view(2, 2, 2), &a.view(0, 1, 2).transposed(), &mut out.view_mut(3, 2, 1));
        // [3 4; 5 6] [1 2]ᵀ
        assert_eq!(out.as_slice(), [0.0, 0.0, 0.0, 11.0, 17.0, 0.0, 0.0]);
        a.as_mut_slice()[0] = 9.0;
        assert_eq!(a.into_tensor().double_value(&[0, 0]), 9.0);
    }

    #[test]
    #[should_panic(expected = "rows and columns of a product")]
    fn a_product_of_another_size_is_refused() {
        let (a, mut out) = (Matrix::zeros(2, 3), Matrix::zeros(2, 3));
        matmul(&a.whole(), &a.whole().transposed(), &mut out.whole_mut());
    }
}
