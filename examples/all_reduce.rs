//! Time of a sum over all ranks, by its size: `mpirun -n 2 target/release/examples/all_reduce`
//!
//! Prints a line for each size on the first rank: bytes, and the median of the times in microseconds.

use mpi::collective::SystemOperation;
use mpi::traits::{Communicator, CommunicatorCollectives};
use std::time::Instant;

/// Sizes in numbers of four bytes: one, and up to 2²¹, of which a network for pixels has about as many.
const SIZES: [usize; 8] = [1, 1 << 8, 1 << 12, 1 << 16, 1 << 18, 1 << 19, 1 << 20, 1 << 21];

const N_TIMES: usize = 101;

#[allow(clippy::print_stdout, reason = "its output is for people and scripts")]
fn main() {
    let universe = mpi::initialize().expect("nothing else has initialised MPI");
    let world = universe.world();
    for size in SIZES {
        let (values, mut sums) = (vec![1.0_f32; size], vec![0.0_f32; size]);
        let mut times: Vec<u128> = (0..N_TIMES)
            .map(|_| {
                world.barrier();
                let began = Instant::now();
                world.all_reduce_into(&values[..], &mut sums[..], SystemOperation::sum());
                began.elapsed().as_nanos()
            })
            .collect();
        assert!(sums.iter().all(|sum| *sum == world.size() as f32), "the sum of a one of each rank");
        times.sort_unstable();
        if world.rank() == 0 {
            println!("{} {:.1}", 4 * size, times[N_TIMES / 2] as f64 / 1e3);
        }
    }
}
