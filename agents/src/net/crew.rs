//! Threads of our own, for stretches in which torch runs nothing.
//!
//! Whoever has work does it, and helpers that happen to run join in. One that does not, since other programs have its
//! core, is not waited for: on two busy cores torch's threads took five times as long as one thread. Helpers wait for
//! the next work by spinning for a moment, then they sleep.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a helper spins before it sleeps: longer than what is done between two stages of a network's update.
const SPIN: Duration = Duration::from_micros(200);
/// Looks at a number that another thread will change, before the core is offered to others.
const LOOKS: usize = 1_000;

/// A function of several threads' work, whose lifetime [`run`] guards.
#[derive(Clone, Copy)]
struct Job(&'static (dyn Fn() + Sync));

/// The open job, and what helpers do.
struct State {
    job: Option<Job>,
    /// Helpers that may still join the open job.
    wanted: usize,
    n_helpers: usize,
    n_asleep: usize,
}

static STATE: Mutex<State> = Mutex::new(State { job: None, wanted: 0, n_helpers: 0, n_asleep: 0 });
static WAKE: Condvar = Condvar::new();
/// Number of jobs so far.
static N_JOBS: AtomicU64 = AtomicU64::new(0);
/// Helpers at work on the latest job.
static N_ACTIVE: AtomicUsize = AtomicUsize::new(0);
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);
/// Held by the thread whose job it is.
static IN_USE: Mutex<()> = Mutex::new(());

fn state() -> MutexGuard<'static, State> {
    // Nothing that holds the lock can panic half-way.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `worker` on this thread, and on up to `n_threads - 1` others that are free meanwhile; returns when no thread
/// is in it.
///
/// # Panics
/// When `worker` panics on any thread.
pub(super) fn run(n_threads: usize, worker: &(dyn Fn() + Sync)) {
    // Another thread that trains beside this one has the helpers.
    let in_use = if n_threads > 1 { IN_USE.try_lock().ok() } else { None };
    if in_use.is_none() {
        return worker();
    }
    open(n_threads - 1, worker);
    let result = catch_unwind(AssertUnwindSafe(worker));
    close();
    let has_panicked = HAS_PANICKED.swap(false, Ordering::Relaxed);
    drop(in_use);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    assert!(!has_panicked, "a helper panicked");
}

fn open(n_helpers: usize, worker: &(dyn Fn() + Sync)) {
    let mut state = state();
    while state.n_helpers < n_helpers {
        let helper = thread::Builder::new().name("carom-helper".to_owned()).spawn(help);
        if helper.is_err() {
            break; // The system gives no more threads: fewer do the work.
        }
        state.n_helpers += 1;
    }
    // SAFETY: only the lifetime changes. Helpers take the job while it is open and count as active until they have left
    // it; `close` shuts it and waits for them before `run` returns, also when `worker` panics.
    let job = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(worker) };
    (state.job, state.wanted) = (Some(Job(job)), n_helpers);
    N_JOBS.fetch_add(1, Ordering::Release);
    if state.n_asleep > 0 {
        WAKE.notify_all();
    }
}

/// Lets no helper in any more, and waits for those within.
fn close() {
    state().job = None;
    let mut looks = 0;
    while N_ACTIVE.load(Ordering::Acquire) > 0 {
        looks += 1;
        if looks % LOOKS == 0 {
            thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

/// The life of a helper.
fn help() {
    let mut seen = 0;
    loop {
        let start = Instant::now();
        while N_JOBS.load(Ordering::Acquire) == seen && start.elapsed() < SPIN {
            (0..LOOKS / 10).for_each(|_| std::hint::spin_loop());
        }
        let mut state = state();
        while N_JOBS.load(Ordering::Acquire) == seen {
            state.n_asleep += 1;
            state = WAKE.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.n_asleep -= 1;
        }
        seen = N_JOBS.load(Ordering::Acquire);
        let Some(Job(worker)) = state.job.filter(|_| state.wanted > 0) else { continue };
        state.wanted -= 1;
        N_ACTIVE.fetch_add(1, Ordering::Relaxed);
        drop(state);
        if catch_unwind(AssertUnwindSafe(worker)).is_err() {
            HAS_PANICKED.store(true, Ordering::Relaxed);
        }
        N_ACTIVE.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_join_and_have_left_when_the_job_ends() {
        for _ in 0..1_000 {
            let (done, tasks) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let worker = || {
                while tasks.fetch_add(1, Ordering::Relaxed) < 20 {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            };
            run(3, &worker);
            assert_eq!(done.into_inner(), 20);
        }
    }

    #[test]
    fn a_panic_reaches_whoever_has_the_work() {
        let panics = || catch_unwind(|| run(2, &|| panic!("in a worker"))).is_err();
        assert!(panics() && panics());
        run(2, &|| ());
    }
}
