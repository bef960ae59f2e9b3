//! Processes that make one run together. `mpirun` starts them; each is a rank. The first writes the run's files.

#[cfg(feature = "mpi")]
mod mpi;

use anyhow::{Result, bail, ensure};
use carom_agents::{AllReduce, SharedRanks};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The ranks of this process, if there are several.
static STARTED: OnceLock<Arc<dyn Group>> = OnceLock::new();

/// Whether this process prints nothing, since another one does.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// Variables in which launchers tell a process how many they started: those of Open MPI, of MPICH and its relatives,
/// and of Slurm's `srun`.
const N_LAUNCHED: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Variables in which launchers tell a process how many of them are on its machine.
const N_HERE: [&str; 2] = ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"];

/// Time after which a rank that is not the first reports an error. All ranks make a user's mistake at the same time,
/// and the first ends them all.
const REPORTS_AFTER: Duration = Duration::from_secs(1);

/// Messages between ranks. All of them make the same calls in the same order.
trait Group: AllReduce {
    /// Returns the bytes of all ranks on the first, and nothing on the others.
    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>>;

    /// Returns the value of the first rank.
    fn tell(&self, value: u64) -> u64;

    /// Returns the largest of the ranks' values.
    fn largest(&self, value: u64) -> u64;

    /// Returns once all ranks have called it.
    fn wait(&self);

    /// Returns what the sums took so far.
    fn spent(&self) -> Spent;

    /// Ends all ranks.
    fn abort(&self, code: u8) -> !;
}

/// Time and size of sums over the ranks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Seconds, with those in which a rank waited for others.
    pub seconds: f64,
    pub n_sums: u64,
    /// Values that were summed.
    pub n_values: u64,
}

/// The processes that make a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranks(Option<Arc<dyn Group>>);

impl Ranks {
    /// Returns the ranks of a run that one process makes.
    pub(crate) fn alone() -> Self {
        Self(None)
    }

    /// Returns their number.
    pub(crate) fn n(&self) -> usize {
        self.0.as_ref().map_or(1, |group| group.n_ranks())
    }

    /// Returns the number of this one, from 0.
    pub(crate) fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |group| group.rank())
    }

    /// Returns whether this is the one that writes.
    pub(crate) fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Returns whether there are several.
    pub(crate) fn are_several(&self) -> bool {
        self.n() > 1
    }

    /// Returns them as an agent sees them.
    pub(crate) fn shared(&self) -> Option<SharedRanks> {
        self.0.clone().map(|group| group as SharedRanks)
    }

    /// Returns the bytes of all ranks on the first, and nothing on the others.
    pub(crate) fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.0.as_ref().map_or_else(|| vec![bytes.to_vec()], |group| group.gather(bytes))
    }

    /// Returns the value of the first rank.
    pub(crate) fn tell(&self, value: u64) -> u64 {
        self.0.as_ref().map_or(value, |group| group.tell(value))
    }

    /// Returns the largest of the ranks' values.
    pub(crate) fn largest(&self, value: u64) -> u64 {
        self.0.as_ref().map_or(value, |group| group.largest(value))
    }

    /// Returns once all ranks have called it.
    pub(crate) fn wait(&self) {
        if let Some(group) = &self.0 {
            group.wait();
        }
    }

    /// Returns what the sums took so far.
    pub(crate) fn spent(&self) -> Spent {
        self.0.as_ref().map_or_else(Spent::default, |group| group.spent())
    }

    /// Checks that `bytes` are those of the first rank on all ranks; `what` names them.
    ///
    /// # Errors
    /// On the first rank, when they are not.
    pub(crate) fn check_equal(&self, bytes: &[u8], what: &str) -> Result<()> {
        if !self.are_several() {
            return Ok(());
        }
        let all = self.gather(bytes);
        match all.iter().position(|other| *other != all[0]) {
            Some(rank) => bail!(
                "{what} of rank {rank} differ from those of rank 0. All ranks need the same build of carom, processors \
                 of one kind and the same files"
            ),
            None => Ok(()),
        }
    }
}

/// Returns the number of processes that a launcher such as `mpirun` started as one job.
pub(crate) fn n_launched() -> usize {
    N_LAUNCHED.iter().find_map(|name| number_in(name)).unwrap_or(1)
}

/// Returns the number of processes of the job on this machine.
pub(crate) fn n_here() -> usize {
    N_HERE.iter().find_map(|name| number_in(name)).unwrap_or(1)
}

fn number_in(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok().filter(|&n| n > 0)
}

/// Connects the processes of the job. Of several, all but the first print nothing from here on.
///
/// # Errors
/// When there are several, and this build has no MPI or the MPI library does not connect them.
pub(crate) fn start() -> Result<Ranks> {
    if n_launched() == 1 {
        return Ok(Ranks::alone());
    }
    if STARTED.get().is_none() {
        let group = connected()?;
        let (found, launched) = (group.n_ranks(), n_launched());
        ensure!(
            found == launched,
            "the launcher started {launched} processes, but MPI connects {found}: it is the launcher of another MPI"
        );
        IS_SILENT.store(group.rank() > 0, Ordering::Relaxed);
        // It is set once: this is called by the main thread.
        let _ = STARTED.set(group);
        abort_on_panic();
    }
    Ok(Ranks(STARTED.get().cloned()))
}

#[cfg(feature = "mpi")]
fn connected() -> Result<Arc<dyn Group>> {
    mpi::connect()
}

#[cfg(not(feature = "mpi"))]
fn connected() -> Result<Arc<dyn Group>> {
    bail!(
        "{} processes were started as one job, and this carom is built without MPI: build it by `cargo build --release \
         --features mpi`",
        n_launched()
    )
}

/// Returns whether this process prints messages.
pub(crate) fn speaks() -> bool {
    !IS_SILENT.load(Ordering::Relaxed)
}

/// Ends the job with `code` if this process is one of several, once `report` has told why. Otherwise only calls
/// `report`.
pub(crate) fn give_up(code: u8, report: impl FnOnce()) {
    let Some(group) = STARTED.get() else { return report() };
    if group.rank() > 0 {
        std::thread::sleep(REPORTS_AFTER);
        IS_SILENT.store(false, Ordering::Relaxed);
        say!("rank {} of {}:", group.rank(), group.n_ranks());
    }
    report();
    group.abort(code);
}

/// Disconnects the processes of the job. Nothing may be said between them after this.
pub(crate) fn finish() {
    #[cfg(feature = "mpi")]
    if STARTED.get().is_some() {
        mpi::disconnect();
    }
}

/// Ends all ranks when one of them panics: the others would wait for it.
fn abort_on_panic() {
    /// Exit code of a Rust program that panicked.
    const PANICKED: u8 = 101;
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        if let Some(group) = STARTED.get() {
            group.abort(PANICKED);
        }
    }));
}
