//! Work shared among torch's own threads.
//!
//! Torch runs its operations on an OpenMP library's threads, which wait for the next operation by spinning. Any other
//! threads compete with them for the cores. Two 100-500-784 products, each followed by a pass of ours, took 1.06 ms
//! with the pass on torch's two threads, and 1.66 ms with the pass on threads of its own (14 and 31 ms on busy cores;
//! medians). Between convolutions torch runs little else, and both ways took the same time.

use super::crew;
use std::ffi::{c_uint, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Entry point of GNU's OpenMP library for a parallel region: calls the function with the data on the given number of
/// threads.
type Region = unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// The entry point in the OpenMP library that torch was loaded with, if it has one by this name; LLVM's has it too.
fn region() -> Option<Region> {
    #[cfg(unix)]
    {
        static FOUND: OnceLock<Option<Region>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            // SAFETY: the name is a null-terminated string; the look-up itself runs no code of the library.
            let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"GOMP_parallel".as_ptr()) };
            // SAFETY: a symbol of this name is a function of this type, by the ABI that compilers of OpenMP code rely
            // on.
            (!symbol.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, Region>(symbol) })
        })
    }
    #[cfg(not(unix))]
    None
}

/// Does every task of `work`, on as many threads as torch uses but no more than there are `workspaces`, or on the
/// calling thread if torch's threads are not available. A thread takes the next task when it has finished the last, and
/// uses one workspace, its scratch memory, throughout.
///
/// # Panics
/// Without a workspace.
pub fn share<W: Send, T: Send>(
    workspaces: &mut [W],
    work: impl Iterator<Item = T> + Send,
    job: impl Fn(&mut W, T) + Sync,
) {
    share_on(workspaces, work, job, |n_threads, worker| match region() {
        Some(region) if n_threads > 1 => run(region, n_threads as c_uint, &worker),
        _ => worker(),
    });
}

/// Does every task of `work` on as many threads as [`share`], but on helpers of our own ([`crew`]). For stretches in
/// which torch runs nothing.
///
/// # Panics
/// Without a workspace, or when `job` panics.
pub(crate) fn share_alone<W: Send, T: Send>(
    workspaces: &mut [W],
    work: impl Iterator<Item = T> + Send,
    job: impl Fn(&mut W, T) + Sync,
) {
    share_on(workspaces, work, job, crew::run);
}

/// Does every task of `work`. `run` calls a worker on the given number of threads.
fn share_on<W: Send, T: Send>(
    workspaces: &mut [W],
    work: impl Iterator<Item = T> + Send,
    job: impl Fn(&mut W, T) + Sync,
    run: impl FnOnce(usize, &(dyn Fn() + Sync)),
) {
    assert!(!workspaces.is_empty(), "at least one workspace");
    let n_threads = (tch::get_num_threads().max(1) as usize).min(workspaces.len());
    let (workspaces, tasks) = (Mutex::new(workspaces.iter_mut()), Mutex::new(work));
    let worker = || {
        // A library may start more threads than it was asked for; these get no workspace and return.
        let Some(workspace) = workspaces.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
        loop {
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(task) = task else { break };
            job(workspace, task);
        }
    };
    run(n_threads, &worker);
}

/// Calls `work` with every task, by [`share_alone`] on no more threads than there are tasks.
pub(crate) fn for_each<T: Send>(tasks: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    let n_tasks = tasks.size_hint().1.unwrap_or(usize::MAX);
    let n_threads = n_tasks.min(tch::get_num_threads().max(1) as usize);
    if n_threads <= 1 {
        return tasks.for_each(work);
    }
    // Units, which take no memory.
    share_alone(&mut vec![(); n_threads], tasks, |(), task| work(task));
}

/// Calls `work` with the number of each chunk of `len` elements of `out`, the last of which may be shorter, and the
/// chunk.
pub fn for_each_chunk<T: Send>(out: &mut [T], len: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let n_chunks = out.len().div_ceil(len);
    let mut workspaces = vec![(); n_chunks.clamp(1, tch::get_num_threads().max(1) as usize)];
    share(&mut workspaces, out.chunks_mut(len).enumerate(), |(), (number, chunk)| work(number, chunk));
}

/// Calls `worker` on each of `n_threads` threads, and returns when all calls have.
fn run<F: Fn() + Sync>(region: Region, n_threads: c_uint, worker: &F) {
    /// # Safety
    /// `worker` points to an F.
    unsafe extern "C" fn call<F: Fn()>(worker: *mut c_void) {
        // SAFETY: the caller promises that `worker` points to an F.
        unsafe { (*worker.cast::<F>().cast_const())() }
    }
    // SAFETY: `worker` outlives the region, which ends before this returns, and may be called from several threads. A
    // panic in it cannot leave `call`: it ends the program at an `extern "C"` function.
    unsafe { region(call::<F>, std::ptr::from_ref(worker).cast_mut().cast(), n_threads, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::torch;

    #[test]
    fn each_chunk_is_worked_on_once() {
        let torch = torch();
        for n in [1, 2, 3] {
            torch.set_threads(n);
            let mut out = vec![0; 1003];
            for_each_chunk(&mut out, 10, |number, chunk| chunk.iter_mut().for_each(|value| *value += number + 1));
            assert!(out.iter().enumerate().all(|(i, &value)| value == i / 10 + 1), "{n} threads");
        }
    }

    #[test]
    fn every_task_is_done_once_and_a_single_one_by_the_caller() {
        let torch = torch();
        torch.set_threads(3);
        for n in [0, 2, 100] {
            let mut done = vec![0; n];
            for_each(done.iter_mut(), |done| *done += 1);
            assert!(done.iter().all(|&done| done == 1), "{n} tasks");
        }
        let caller = std::thread::current().id();
        for _ in 0..100 {
            for_each(std::iter::once(()), |()| assert_eq!(std::thread::current().id(), caller));
        }
    }

    #[test]
    fn workspaces_are_nobody_elses() {
        let torch = torch();
        torch.set_threads(3);
        let mut sums = [0; 5];
        share(&mut sums, 1..=1000, |sum, task| *sum += task);
        assert_eq!(sums.iter().sum::<i32>(), 500_500);
        assert_eq!(sums[3..], [0, 0], "three threads, three workspaces");
    }
}
