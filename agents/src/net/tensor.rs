//! Elements of torch tensors, copied or in place.
//!
//! Any number of tensors are handles on one piece of memory, and torch writes through shared references too (`mm_out`).
//! So no reference to a tensor proves that nothing writes to its elements, and [`slice()`] and [`slice_mut`] are
//! unsafe. A [`Matrix`](super::Matrix) owns its memory and therefore offers safe slices.
//!
//! A tensor can be sent to another thread. A write there while this thread reads is a data race, with torch's own
//! operations as with these slices. Code that sends handles across threads must rule that out; Carom sends none.

use crate::snapshot::{Loaded, SnapshotError};
use tch::{Device, Kind, Tensor};

/// All elements of a contiguous float tensor on the CPU, in place.
///
/// ```compile_fail,E0133
/// # use carom_agents::net::tensor::slice;
/// # use tch::Tensor;
/// let tensor = Tensor::from_slice(&[1.0_f32, 2.0]);
/// let mut other_handle = tensor.shallow_clone();
/// let values = slice(&tensor);
/// let _ = other_handle.fill_(0.0);
/// assert_eq!(values[0], 1.0);
/// ```
///
/// # Safety
/// While the slice lives, nothing writes to the tensor's memory, through this handle or another.
///
/// # Panics
/// When the tensor is of another kind, is on another device, or is not contiguous.
pub unsafe fn slice(tensor: &Tensor) -> &[f32] {
    assert_plain(tensor);
    if tensor.numel() == 0 {
        return &[]; // Its address may be null, which a slice must not have.
    }
    // SAFETY: checked above; the memory lives as long as the tensor, and the caller promises that nobody writes to it.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<f32>().cast_const(), tensor.numel()) }
}

/// All elements of a contiguous float tensor on the CPU, in place and to write to.
///
/// ```compile_fail,E0133
/// # use carom_agents::net::tensor::slice_mut;
/// # use tch::Tensor;
/// let mut tensor = Tensor::from_slice(&[1.0_f32, 2.0]);
/// slice_mut(&mut tensor)[0] = 0.0;
/// ```
///
/// # Safety
/// While the slice lives, nothing else reads or writes the tensor's memory, through this handle or another.
///
/// # Panics
/// When the tensor is of another kind, is on another device, or is not contiguous.
pub unsafe fn slice_mut(tensor: &mut Tensor) -> &mut [f32] {
    assert_plain(tensor);
    if tensor.numel() == 0 {
        return &mut [];
    }
    // SAFETY: checked above; the memory lives as long as the tensor, and the caller promises that nobody else uses it.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
}

fn assert_plain(tensor: &Tensor) {
    let is_plain = tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous();
    assert!(is_plain, "a contiguous float tensor on the CPU, not {tensor:?}");
}

/// Checks that `written` shares no memory with any tensor of `others`, all contiguous. Safe functions check this before
/// they take slices of a caller's tensors.
///
/// # Panics
/// When two of them overlap.
pub fn assert_apart(written: &Tensor, others: &[&Tensor]) {
    let range = |tensor: &Tensor| {
        let start = tensor.data_ptr() as usize;
        start..start + tensor.numel() * tensor.kind().elt_size_in_bytes()
    };
    let own = range(written);
    for other in others {
        let other = range(other);
        let is_apart = own.is_empty() || other.is_empty() || own.end <= other.start || other.end <= own.start;
        assert!(is_apart, "a tensor that is written shares no memory with one that is read");
    }
}

/// A copy of all elements of a tensor, wherever it lives. Numbers of another kind are converted to `f32`.
pub fn to_vec(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1).to_device(Device::Cpu)).expect("a flat tensor of numbers")
}

/// Fills `tensor`, wherever it lives, with array `name` of a snapshot.
///
/// # Errors
/// When the array is missing or of another length.
pub fn read_tensor(from: &Loaded, name: &str, tensor: &mut Tensor) -> Result<(), SnapshotError> {
    let mut values = vec![0.0_f32; tensor.numel()];
    from.read(name, &mut values)?;
    tch::no_grad(|| tensor.copy_(&Tensor::from_slice(&values).view_as(tensor)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_tensor_are_apart_only_where_they_do_not_overlap() {
        let whole = Tensor::zeros([6], (Kind::Float, Device::Cpu));
        assert_apart(&whole.narrow(0, 0, 3), &[&whole.narrow(0, 3, 3), &whole.narrow(0, 6, 0)]);
        for (start, len) in [(0, 3), (2, 2), (1, 1), (0, 6)] {
            let overlaps = || assert_apart(&whole.narrow(0, 0, 3), &[&whole.narrow(0, start, len)]);
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(overlaps)).is_err(), "{start}, {len}");
        }
    }

    #[test]
    fn nothing_is_an_empty_slice() {
        let mut nothing = Tensor::zeros([0], (Kind::Float, Device::Cpu));
        // SAFETY: nobody else has the tensor.
        let (read, written) = unsafe { (slice(&nothing).len(), slice_mut(&mut nothing).len()) };
        assert_eq!((read, written), (0, 0));
    }
}
