//! The arrays of observations that a step returns.

use crate::failures::{runtime_error, without_panic};
use carom_envs::ObsSpace;
use numpy::{Element, PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;

/// Arrays kept for later steps. A loop that holds the observations before and after a step needs two.
const MAX_KEPT: usize = 3;

/// Observations as arrays of `u8` for images, of `f32` for vectors and of `i64` for states.
pub(crate) enum Observations {
    /// Images in the one array that every step returns. The games write into it.
    Shared(Py<PyArrayDyn<u8>>),
    /// Images in arrays that Python cannot write, since stacks follow from those before them.
    Images { latest: Py<PyArrayDyn<u8>>, pool: Pool<u8> },
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
                Self::Shared(PyArrayDyn::zeros(py, shape, false).unbind())
            }
            ObsSpace::Planes { .. } | ObsSpace::Pixels { .. } => {
                let mut pool = Pool::new(shape, false);
                Self::Images { latest: pool.take(py)?.unbind(), pool }
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
    /// When `work` panics.
    pub(crate) fn after<'py>(
        &mut self,
        py: Python<'py>,
        work: impl FnOnce(Option<&[u8]>, &mut [u8]) + Send,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Shared(array) => {
                let array = array.bind(py);
                // SAFETY: the array is contiguous and never resized. The package tells those who choose `copy=False` to
                // leave it alone while a step runs, as for every array that numpy itself writes without the lock.
                let bytes = unsafe { array.as_slice_mut()? };
                detached(py, || work(None, bytes))?;
                Ok(array.clone().into_any())
            }
            Self::Images { latest, pool } => {
                let before = latest.bind(py);
                if pool.holds_alone(before) {
                    // SAFETY: nothing but the pool and `latest` holds the array.
                    let bytes = unsafe { before.as_slice_mut()? };
                    detached(py, || work(None, bytes))?;
                    return Ok(before.clone().into_any());
                }
                let array = pool.take(py)?;
                // SAFETY: Python cannot write `before`, and the pool returned another array, which only it holds.
                let (before, bytes) = unsafe { (before.as_slice()?, array.as_slice_mut()?) };
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
    pub(crate) fn read<T>(&self, py: Python<'_>, read: impl FnOnce(&[u8]) -> T) -> PyResult<T> {
        match self {
            // SAFETY: the array is contiguous, and nothing writes it while this thread is attached to the interpreter:
            // a step of these games holds their lock, and the caller has it.
            Self::Shared(array) | Self::Images { latest: array, .. } => Ok(read(unsafe { array.bind(py).as_slice()? })),
            Self::Vectors(bytes, _) | Self::States(bytes, _) => Ok(read(bytes)),
        }
    }
}

/// Arrays of one shape. An array that Python still holds is never written again, so nobody who keeps an observation
/// sees it change. One that Python has let go of is written again, so a step need not allocate.
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
        // SAFETY: `take` returns an array that nothing else holds, and it is handed out only below, so no other code
        // reads or writes its elements while this slice lives.
        let elements = unsafe { array.as_slice_mut()? };
        detached(py, || write(elements))?;
        Ok(array.into_any())
    }

    /// Returns an array that only the pool holds.
    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
        if let Some(array) = self.kept.iter().find(|array| count(array.bind(py)) == 1) {
            return Ok(array.bind(py).clone());
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

    /// Whether only the pool and the owner of one further reference hold `array`.
    fn holds_alone(&self, array: &Bound<'_, PyArrayDyn<T>>) -> bool {
        count(array) == 2 && self.kept.iter().any(|kept| kept.is(array))
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
