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

/// Loads libtorch's CUDA library, which then registers its kernels. The program is linked against the CPU library
/// alone, so that one binary serves machines with and without CUDA.
fn load_cuda() -> Result<()> {
    // SAFETY: the initialisers of libtorch_cuda.so only register kernels and hooks, and it is never unloaded.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) }?;
    std::mem::forget(library);
    Ok(())
}
