//! The device that tensors are on, and loading libtorch's CUDA library.

use anyhow::{Context, Result, ensure};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use serde::{Deserialize, Serialize};

/// The device that tensors are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Device {
    /// Main memory.
    #[default]
    Cpu,
    /// The first CUDA device.
    Cuda,
}

/// Makes `device` ready and returns it as libtorch's type.
///
/// # Errors
/// When this machine has no CUDA device, or this libtorch has no CUDA library.
pub(crate) fn open(device: Device) -> Result<tch::Device> {
    if device == Device::Cuda {
        load_cuda().context("device cuda: libtorch_cuda.so cannot be loaded; use --device cpu")?;
        ensure!(tch::Cuda::is_available(), "device cuda: libtorch finds no CUDA device; use --device cpu");
        return Ok(tch::Device::Cuda(0));
    }
    Ok(tch::Device::Cpu)
}

/// Returns the device to read a run on: `asked` if it is given, else the run's own, or the CPU where that is missing.
pub(crate) fn for_reading(own: Device, asked: Option<Device>) -> Device {
    if let Some(asked) = asked {
        return asked;
    }
    if open(own).is_err() {
        tracing::info!("the run's device is not there; reading it on the cpu");
        return Device::Cpu;
    }
    own
}

/// Returns the number of threads where many are quicker: that of `OMP_NUM_THREADS`, as for torch itself, else one for
/// each core that each of `n_processes` has.
pub(crate) fn usual_threads(n_processes: usize) -> usize {
    let asked = std::env::var("OMP_NUM_THREADS").ok().and_then(|text| text.parse().ok()).filter(|&n| n > 0);
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| (n.get() / n_processes).max(1)))
}

/// Sets the number of libtorch's threads. More threads than cores are far slower than as many, so that is a warning.
pub(crate) fn set_threads(n_threads: usize) {
    let n_cores = std::thread::available_parallelism().map_or(n_threads, usize::from);
    if n_threads > n_cores {
        tracing::warn!("threads is {n_threads}, and there are {n_cores} cores: they wait for each other");
    }
    tch::set_num_threads(n_threads as i32);
}

/// Loads libtorch's CUDA library, which then registers its kernels. The program is linked against the CPU library
/// alone, so that one binary serves machines with and without CUDA.
fn load_cuda() -> Result<()> {
    // SAFETY: the initialisers of libtorch_cuda.so only register kernels and hooks, and it is never unloaded.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) }?;
    std::mem::forget(library);
    Ok(())
}
