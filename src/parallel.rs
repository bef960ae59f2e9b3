//! Work shared among torch's own threads.
//!
//! Torch runs its operations on an OpenMP library's threads, which wait for the next one by spinning: threads of any other kind would
//! have to share the cores with them, and take longer than one thread alone.

use std::ffi::{c_uint, c_void};
use std::sync::{Mutex, OnceLock};

/// A parallel region of GNU's OpenMP library: calls the function with the data on so many threads.
type Region = unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// The entry point of whatever OpenMP library torch was loaded with, if that has it; LLVM's has it too.
fn region() -> Option<Region> {
    #[cfg(unix)]
    {
        static FOUND: OnceLock<Option<Region>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            // SAFETY: a symbol of this name is the function of this type, by the ABI that compilers count on.
            unsafe {
                let symbol = libc::dlsym(libc::RTLD_DEFAULT, c"GOMP_parallel".as_ptr());
                (!symbol.is_null()).then(|| std::mem::transmute::<*mut c_void, Region>(symbol))
            }
        })
    }
    #[cfg(not(unix))]
    None
}

/// Calls `work` with the number of each chunk of `len` elements of `out`, the last of which may be shorter, and the chunk itself; on as
/// many threads as torch uses, or on this one where torch's cannot be had.
pub(crate) fn for_each_chunk<T: Send>(out: &mut [T], len: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let is_short = out.len() <= len;
    let chunks = Mutex::new(out.chunks_mut(len).enumerate());
    let next = || chunks.lock().expect("nothing panics while it holds the lock").next();
    let share = || {
        while let Some((number, chunk)) = next() {
            work(number, chunk);
        }
    };
    let n_threads = tch::get_num_threads();
    match region() {
        Some(region) if n_threads > 1 && !is_short => run(region, n_threads as c_uint, &share),
        _ => share(),
    }
}

/// Calls `share` on each of so many threads, and returns when all have.
fn run<F: Fn() + Sync>(region: Region, n_threads: c_uint, share: &F) {
    /// # Safety
    /// `share` points to an F.
    unsafe extern "C" fn call<F: Fn()>(share: *mut c_void) {
        // SAFETY: as promised.
        unsafe { (*share.cast::<F>().cast_const())() }
    }
    // SAFETY: `share` outlives the region, which ends before this returns, and may be called from several threads.
    unsafe { region(call::<F>, std::ptr::from_ref(share).cast_mut().cast(), n_threads, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generative::model::seeded;

    #[test]
    fn each_chunk_is_worked_on_once() {
        let _torch = seeded(0);
        let n_threads = tch::get_num_threads();
        for n in [1, 2, 3] {
            tch::set_num_threads(n);
            let mut out = vec![0; 1003];
            for_each_chunk(&mut out, 10, |number, chunk| chunk.iter_mut().for_each(|value| *value += number + 1));
            assert!(out.iter().enumerate().all(|(i, &value)| value == i / 10 + 1), "{n} threads");
        }
        tch::set_num_threads(n_threads);
    }
}
