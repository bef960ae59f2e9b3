//! The whole state of an agent as named arrays and a JSON value. It is data alone, never code.

use bytemuck::{NoUninit, Pod};
use safetensors::{Dtype, SafeTensors, View};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Named arrays and state values, borrowed from the agent wherever they are large.
#[derive(Debug, Default)]
pub struct Snapshot<'a> {
    arrays: Vec<(String, Array<'a>)>,
    state: Map<String, Value>,
}

#[derive(Debug)]
struct Array<'a> {
    dtype: Dtype,
    len: usize,
    bytes: Cow<'a, [u8]>,
}

/// Bounds counts of steps and updates; no run is as long, and one more is never too large for its type.
pub(crate) const MAX_COUNT: u64 = 1 << 53;

/// An element type of arrays.
pub trait Element: Pod {
    /// Name of the type in the file.
    const DTYPE: Dtype;
}

macro_rules! elements {
    ($($element:ty => $dtype:ident),*) => { $(impl Element for $element { const DTYPE: Dtype = Dtype::$dtype; })* };
}
elements!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, f32 => F32, f64 => F64);

impl<'a> Snapshot<'a> {
    /// Adds an array without copying it.
    #[must_use]
    pub fn array<T: Element + NoUninit>(mut self, name: impl Into<String>, data: &'a [T]) -> Self {
        let bytes = Cow::Borrowed(bytemuck::cast_slice(data));
        self.arrays.push((name.into(), Array { dtype: T::DTYPE, len: data.len(), bytes }));
        self
    }

    /// Adds a copy of an array.
    #[must_use]
    pub fn owned_array<T: Element + NoUninit>(mut self, name: impl Into<String>, data: &[T]) -> Self {
        let bytes = Cow::Owned(bytemuck::cast_slice(data).to_vec());
        self.arrays.push((name.into(), Array { dtype: T::DTYPE, len: data.len(), bytes }));
        self
    }

    /// The snapshot whose arrays and state these are, without a copy of the arrays.
    pub fn of(arrays: &SafeTensors<'a>, state: Map<String, Value>) -> Self {
        let array = |(name, array): (String, safetensors::tensor::TensorView<'a>)| {
            let (dtype, bytes) = (array.dtype(), Cow::Borrowed(array.data()));
            (name, Array { dtype, len: array.shape().iter().product(), bytes })
        };
        Self { arrays: arrays.tensors().into_iter().map(array).collect(), state }
    }

    /// Adds a value to the state.
    ///
    /// # Panics
    /// When `value` has no JSON form.
    #[must_use]
    pub fn value(mut self, name: &str, value: &impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("state values have a JSON form");
        self.state.insert(name.to_owned(), value);
        self
    }

    /// Adds all of `part`, its names prefixed with `prefix` and a dot.
    #[must_use]
    pub fn nest(mut self, prefix: &str, part: Snapshot<'a>) -> Self {
        self.arrays.extend(part.arrays.into_iter().map(|(name, array)| (format!("{prefix}.{name}"), array)));
        self.state.insert(prefix.to_owned(), Value::Object(part.state));
        self
    }

    /// The arrays with their names, for safetensors to write.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, impl View)> {
        self.arrays.iter().map(|(name, array)| (name.as_str(), array))
    }

    /// The state values as one JSON object.
    pub fn state(&self) -> &Map<String, Value> {
        &self.state
    }
}

impl View for &Array<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        std::slice::from_ref(&self.len)
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// A part of a snapshot is missing or does not fit.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no such array.
    #[error("the checkpoint has no array `{0}`")]
    MissingArray(String),
    /// An array has another length or element type.
    #[error("array `{name}` of the checkpoint holds {found}, expected {expected}")]
    Mismatch {
        /// Name of the array.
        name: String,
        /// Its length and element type.
        found: String,
        /// The length and element type that the agent needs.
        expected: String,
    },
    /// A state value is missing or has another form.
    #[error("value `{name}` of the checkpoint: {reason}")]
    Value {
        /// Name of the value.
        name: String,
        /// The fault.
        reason: String,
    },
}

/// A snapshot that was read back: the arrays of one safetensors file and the state beside it.
#[derive(Debug)]
pub struct Loaded<'a> {
    arrays: &'a SafeTensors<'a>,
    state: &'a Map<String, Value>,
    prefix: String,
}

impl<'a> Loaded<'a> {
    /// Joins arrays and state that were read.
    pub fn new(arrays: &'a SafeTensors<'a>, state: &'a Map<String, Value>) -> Self {
        Self { arrays, state, prefix: String::new() }
    }

    /// The part that [`Snapshot::nest`] stored under `prefix`.
    ///
    /// # Errors
    /// When there is no such part.
    pub fn nested(&self, prefix: &str) -> Result<Loaded<'a>, SnapshotError> {
        let state = self.state.get(prefix).and_then(Value::as_object).ok_or_else(|| SnapshotError::Value {
            name: format!("{}{prefix}", self.prefix),
            reason: "missing".to_owned(),
        })?;
        Ok(Loaded { arrays: self.arrays, state, prefix: format!("{}{prefix}.", self.prefix) })
    }

    /// Fills `out` with array `name`.
    ///
    /// # Errors
    /// When it is missing, or of another length or element type.
    pub fn read<T: Element>(&self, name: &str, out: &mut [T]) -> Result<(), SnapshotError> {
        let name = format!("{}{name}", self.prefix);
        let array = self.arrays.tensor(&name).map_err(|_| SnapshotError::MissingArray(name.clone()))?;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
        if array.dtype() != T::DTYPE || array.data().len() != bytes.len() {
            return Err(SnapshotError::Mismatch {
                name,
                found: format!("{:?} x {:?}", array.shape(), array.dtype()),
                expected: format!("[{}] x {:?}", out.len(), T::DTYPE),
            });
        }
        bytes.copy_from_slice(array.data());
        Ok(())
    }

    /// Fills `out` with array `name`, indices below `n`.
    ///
    /// # Errors
    /// When it is missing, of another length or element type, or holds another index.
    pub fn read_indices<T: Element + Into<u64>>(
        &self,
        name: &str,
        out: &mut [T],
        n: usize,
    ) -> Result<(), SnapshotError> {
        self.read(name, out)?;
        match out.iter().find(|&&index| index.into() >= n as u64) {
            Some(&index) => Err(self.fault(name, format!("index {} of {n}", index.into()))),
            None => Ok(()),
        }
    }

    /// State value `name`, a count.
    ///
    /// # Errors
    /// When it is missing or not one that a run can reach.
    pub fn count(&self, name: &str) -> Result<u64, SnapshotError> {
        self.value_where(name, |&count: &u64| count <= MAX_COUNT)
    }

    /// State value `name`, which must be one that `is_possible`.
    ///
    /// # Errors
    /// When it is missing, of another form, or not possible.
    pub fn value_where<T: DeserializeOwned>(
        &self,
        name: &str,
        is_possible: impl FnOnce(&T) -> bool,
    ) -> Result<T, SnapshotError> {
        let value = self.value(name)?;
        if is_possible(&value) { Ok(value) } else { Err(self.fault(name, "out of range".to_owned())) }
    }

    fn fault(&self, name: &str, reason: String) -> SnapshotError {
        SnapshotError::Value { name: format!("{}{name}", self.prefix), reason }
    }

    /// State value `name`.
    ///
    /// # Errors
    /// When it is missing or of another form.
    pub fn value<T: DeserializeOwned>(&self, name: &str) -> Result<T, SnapshotError> {
        let value = self.state.get(name).ok_or_else(|| self.fault(name, "missing".to_owned()))?;
        T::deserialize(value).map_err(|e| self.fault(name, e.to_string()))
    }
}
