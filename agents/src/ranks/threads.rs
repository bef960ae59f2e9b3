//! Ranks on threads, for tests.

use super::{AllReduce, SharedRanks};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

/// A rank on a thread.
#[derive(Debug)]
struct OnThread {
    rank: usize,
    all: Arc<(Barrier, Mutex<Vec<Vec<f32>>>)>,
}

impl AllReduce for OnThread {
    fn n_ranks(&self) -> usize {
        self.all.1.lock().expect("no rank panicked").len()
    }

    fn rank(&self) -> usize {
        self.rank
    }

    fn sum(&self, values: &[f32], sums: &mut [f32]) {
        let (barrier, all) = &*self.all;
        all.lock().expect("no rank panicked")[self.rank] = values.to_vec();
        barrier.wait();
        sums.fill(0.0);
        for values in &*all.lock().expect("no rank panicked") {
            assert_eq!(values.len(), sums.len());
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        barrier.wait();
    }
}

/// Results of `work` on each of `n` ranks; a single process has none.
pub(crate) fn on_ranks<T: Send>(n: usize, work: impl Fn(Option<SharedRanks>, usize) -> T + Sync) -> Vec<T> {
    if n == 1 {
        return vec![work(None, 0)];
    }
    let all = Arc::new((Barrier::new(n), Mutex::new(vec![vec![]; n])));
    thread::scope(|scope| {
        let started: Vec<_> = (0..n)
            .map(|rank| {
                let (ranks, work): (SharedRanks, _) = (Arc::new(OnThread { rank, all: all.clone() }), &work);
                scope.spawn(move || work(Some(ranks), rank))
            })
            .collect();
        started.into_iter().map(|rank| rank.join().expect("no rank panicked")).collect()
    })
}

/// Checks that the results of 2 and 4 ranks are equal on all of them, bit for bit, and that those of one process are
/// equal to them but for rounding.
pub(crate) fn assert_one_update(work: impl Fn(Option<SharedRanks>, usize, usize) -> Vec<f32> + Sync) {
    let alone = on_ranks(1, |ranks, rank| work(ranks, rank, 1)).remove(0);
    assert!(alone.iter().any(|value| value.abs() > 0.01), "too short a step to tell");
    for n in [2, 4] {
        let together = on_ranks(n, |ranks, rank| work(ranks, rank, n));
        assert!(together.iter().all(|params| *params == together[0]), "{n} ranks differ");
        assert_eq!(alone.len(), together[0].len());
        for (i, (a, b)) in alone.iter().zip(&together[0]).enumerate() {
            assert!((a - b).abs() < 1e-5 * a.abs().max(1.0), "value {i} is {a} of one process, {b} of {n} ranks");
        }
    }
}
