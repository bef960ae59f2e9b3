//! Ranks connected by MPI.

use super::{Group, Spent};
use ::mpi::Threading;
use ::mpi::collective::SystemOperation;
use ::mpi::environment::Universe;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Destination, Root, Source};
use anyhow::{Context, Result};
use carom_agents::AllReduce;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// MPI as long as it is in use; dropped, it disconnects.
static UNIVERSE: Mutex<Option<Universe>> = Mutex::new(None);

/// Bounds the bytes of a message, whose length is an `int` for MPI.
const MAX_MESSAGE: usize = 1 << 30;

/// All processes of the job. Only the main thread calls MPI, except to abort.
#[derive(Debug)]
struct World {
    rank: usize,
    n_ranks: usize,
    spent: Mutex<Spent>,
}

/// Connects the processes of the job.
///
/// # Errors
/// When MPI was in use before.
pub(super) fn connect() -> Result<Arc<dyn Group>> {
    let (universe, _) = ::mpi::initialize_with_threading(Threading::Funneled).context("MPI is in use already")?;
    let world = universe.world();
    let (rank, n_ranks) = (world.rank() as usize, world.size() as usize);
    *locked(&UNIVERSE) = Some(universe);
    Ok(Arc::new(World { rank, n_ranks, spent: Mutex::default() }))
}

/// Disconnects this process, after the other ones have asked for it too.
pub(super) fn disconnect() {
    drop(locked(&UNIVERSE).take());
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

impl AllReduce for World {
    fn n_ranks(&self) -> usize {
        self.n_ranks
    }

    fn rank(&self) -> usize {
        self.rank
    }

    fn sum(&self, values: &[f32], sums: &mut [f32]) {
        let began = Instant::now();
        world().all_reduce_into(values, sums, SystemOperation::sum());
        let mut spent = locked(&self.spent);
        spent.seconds += began.elapsed().as_secs_f64();
        spent.n_sums += 1;
        spent.n_values += values.len() as u64;
    }
}

impl Group for World {
    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let world = world();
        if self.rank > 0 {
            let first = world.process_at_rank(0);
            first.send(&(bytes.len() as u64));
            bytes.chunks(MAX_MESSAGE).for_each(|part| first.send(part));
            return vec![];
        }
        let receive = |rank: usize| {
            let other = world.process_at_rank(rank as i32);
            let (len, _) = other.receive::<u64>();
            let mut bytes = vec![0_u8; len as usize];
            for part in bytes.chunks_mut(MAX_MESSAGE) {
                other.receive_into(part);
            }
            bytes
        };
        [bytes.to_vec()].into_iter().chain((1..self.n_ranks).map(receive)).collect()
    }

    fn tell(&self, mut value: u64) -> u64 {
        world().process_at_rank(0).broadcast_into(&mut value);
        value
    }

    fn largest(&self, value: u64) -> u64 {
        let mut largest = 0;
        world().all_reduce_into(&value, &mut largest, SystemOperation::max());
        largest
    }

    fn wait(&self) {
        world().barrier();
    }

    fn spent(&self) -> Spent {
        *locked(&self.spent)
    }

    fn abort(&self, code: u8) -> ! {
        world().abort(code.into())
    }
}
