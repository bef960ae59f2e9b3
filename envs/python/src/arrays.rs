//! The arrays of observations that a step returns.

use crate::failures::{runtime_error, without_panic};
use carom_envs::ObsSpace;
use numpy::npyffi::NPY_ARRAY_WRITEABLE;
use numpy::{Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// Arrays kept for later steps. A loop that holds the observations before and after a step needs two.
const MAX_KEPT: usize = 3;

/// Observations as arrays of `u8` for images, of `f32` for vectors and of `i64` for states.
pub(crate) enum Observations {
    /// Images in the one array that every step returns. The games write into it.
    Shared { array: Py<PyArrayDyn<u8>>, n_bytes: usize },
    /// Images in read-only arrays, since stacks follow from those before them.
    Images { latest: Py<PyArrayDyn<u8>>, n_bytes: usize, pool: Pool<u8> },
    /// Vectors, and the games' own bytes of them.
    Vectors(Vec<u8>, Pool<f32>),
    /// States, and the games' own bytes of them.
    States(Vec<u8>, Pool<i64>),
}

impl Observations {
    /// Observations of `space`, `n_bytes` in all, in arrays of `shape`. With `copies`, an array that Python holds is
    /// never written again.
    pub(crate) fn new(
        py: Python<'_>,
        space: &ObsSpace,
        n_bytes: usize,
        shape: &[usize],
        copies: bool,
    ) -> PyResult<Self> {
        Ok(match space {
            ObsSpace::Planes { .. } | ObsSpace::Pixels { .. } if !copies => {
                Self::Shared { array: PyArrayDyn::zeros(py, shape, false).unbind(), n_bytes }
            }
            ObsSpace::Planes { .. } | ObsSpace::Pixels { .. } => {
                let mut pool = Pool::new(shape, false);
                Self::Images { latest: pool.take(py)?.unbind(), n_bytes, pool }
            }
            ObsSpace::Vector { .. } => Self::Vectors(vec![0; n_bytes], Pool::new(shape, true)),
            ObsSpace::Discrete { .. } => Self::States(vec![0; n_bytes], Pool::new(shape, true)),
        })
    }

    /// Runs `work` on the games' bytes, and returns the observations after it as an array. The first argument of `work`
    /// are the bytes before it; none if they are in the second, which receives those after it. Other Python threads run
    /// meanwhile.
    ///
    /// # Errors
    /// When `work` panics, or Python has resized the array of images before it or changed its strides.
    pub(crate) fn after<'py>(
        &mut self,
        py: Python<'py>,
        work: impl FnOnce(Option<&[u8]>, &mut [u8]) + Send,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Shared { array, n_bytes } => {
                let array = array.bind(py);
                // SAFETY: these are bytes of the array. The package tells those who choose `copy=False` to leave it
                // alone while a step runs, as for every array that numpy itself writes without the lock.
                let bytes = unsafe { &mut *bytes_of(array, *n_bytes)? };
                detached(py, || work(None, bytes))?;
                Ok(array.clone().into_any())
            }
            Self::Images { latest, n_bytes, pool } => {
                let before = latest.bind(py);
                if pool.holds_alone(before) {
                    // SAFETY: nothing but the pool and `latest` holds the array, which is as it was made.
                    let bytes = unsafe { before.as_slice_mut()? };
                    detached(py, || work(None, bytes))?;
                    return Ok(before.clone().into_any());
                }
                let before = bytes_of(before, *n_bytes)?;
                let array = pool.take(py)?;
                // SAFETY: these are bytes of `latest`, which is held and read-only. Who makes it writeable has to leave
                // it alone while a step runs, like every array that numpy itself reads without the lock. The pool
                // returned another array, which only it holds.
                let (before, bytes) = unsafe { (&*before, array.as_slice_mut()?) };
                detached(py, || work(Some(before), bytes))?;
                *latest = array.clone().unbind();
                Ok(array.into_any())
            }
            Self::Vectors(bytes, pool) => pool.fill(py, |out| {
                work(None, bytes);
                out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, &word)| *out = f32::from_le_bytes(word));
            }),
            Self::States(bytes, pool) => pool.fill(py, |out| {
                work(None, bytes);
                out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, &word)| *out = u32::from_le_bytes(word).into());
            }),
        }
    }

    /// Runs `read` on the games' bytes.
    ///
    /// # Errors
    /// When Python has resized the array of images or changed its strides.
    pub(crate) fn read<T>(&self, py: Python<'_>, read: impl FnOnce(&[u8]) -> T) -> PyResult<T> {
        match self {
            Self::Shared { array, n_bytes } | Self::Images { latest: array, n_bytes, .. } => {
                let bytes = bytes_of(array.bind(py), *n_bytes)?;
                // SAFETY: these are bytes of the array, and nothing writes them while this thread is attached to the
                // interpreter: a step of these games holds their lock, and the caller has it.
                Ok(read(unsafe { &*bytes }))
            }
            Self::Vectors(bytes, _) | Self::States(bytes, _) => Ok(read(bytes)),
        }
    }
}

/// Returns the bytes of an array of images, also if Python has given it another shape or type of elements.
///
/// # Errors
/// When they are not `n_bytes` bytes side by side, since Python has resized the array or changed its strides.
fn bytes_of(array: &Bound<'_, PyArrayDyn<u8>>, n_bytes: usize) -> PyResult<*mut [u8]> {
    if array.is_c_contiguous() && array.len() * array.dtype().itemsize() == n_bytes {
        return Ok(std::ptr::slice_from_raw_parts_mut(array.data(), n_bytes));
    }
    Err(runtime_error("the latest array of observations was resized or has other strides: change a copy of it instead"))
}

/// Arrays of one shape. An array that Python still holds is never written again, so nobody who keeps an observation
/// sees it change. One that Python has let go of is written again, so a step need not allocate, unless its shape, type
/// or flags were changed.
pub(crate) struct Pool<T> {
    shape: Vec<usize>,
    is_writeable: bool,
    kept: Vec<Py<PyArrayDyn<T>>>,
}

impl<T: Element> Pool<T> {
    fn new(shape: &[usize], is_writeable: bool) -> Self {
        Self { shape: shape.to_vec(), is_writeable, kept: Vec::with_capacity(MAX_KEPT) }
    }

    /// Returns an array that `write` has filled. Other Python threads run meanwhile.
    fn fill<'py>(&mut self, py: Python<'py>, write: impl FnOnce(&mut [T]) + Send) -> PyResult<Bound<'py, PyAny>> {
        let array = self.take(py)?;
        // SAFETY: `take` returns an array as it was made that nothing else holds, and it is handed out only below, so
        // no other code reads or writes its elements while this slice lives.
        let elements = unsafe { array.as_slice_mut()? };
        detached(py, || write(elements))?;
        Ok(array.into_any())
    }

    /// Returns an array that only the pool holds, as it was made.
    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
        let mut kept = self.kept.iter().map(|array| array.bind(py));
        if let Some(array) = kept.find(|array| count(array) == 1 && self.is_as_made(array)) {
            return Ok(array.clone());
        }
        let array = PyArrayDyn::zeros(py, self.shape.as_slice(), false);
        if !self.is_writeable {
            array.getattr("flags")?.setattr("writeable", false)?;
        }
        if self.kept.len() == MAX_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(array.clone().unbind());
        Ok(array)
    }

    /// Whether only the pool and the owner of one further reference hold `array`, and it is as it was made.
    fn holds_alone(&self, array: &Bound<'_, PyArrayDyn<T>>) -> bool {
        count(array) == 2 && self.kept.iter().any(|kept| kept.is(array)) && self.is_as_made(array)
    }

    /// Whether `array` has the shape, type and flags that it was made with. Python can change all of them in place.
    fn is_as_made(&self, array: &Bound<'_, PyArrayDyn<T>>) -> bool {
        // SAFETY: the pointer is of a live array, and a `Bound` means that this thread is attached to the interpreter.
        let flags = unsafe { (*array.as_array_ptr()).fields.flags };
        let is_writeable = flags & NPY_ARRAY_WRITEABLE != 0;
        array.shape() == self.shape
            && array.is_c_contiguous()
            && array.dtype().is_equiv_to(&numpy::dtype::<T>(array.py()))
            && is_writeable == self.is_writeable
    }
}

/// Number of references to `array`. Views of it, tensors on it and buffers have one each.
fn count<T>(array: &Bound<'_, PyArrayDyn<T>>) -> isize {
    // SAFETY: the pointer is of a live object, and a `Bound` means that this thread is attached to the interpreter.
    unsafe { pyo3::ffi::Py_REFCNT(array.as_ptr()) }
}

/// Runs `work` while other Python threads run.
///
/// # Errors
/// When it panics.
fn detached(py: Python<'_>, work: impl FnOnce() + Send) -> PyResult<()> {
    let done = py.detach(|| without_panic(work));
    done.map_err(|message| runtime_error(format_args!("this is a bug of carom_envs: {message}")))
}
