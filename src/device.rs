//! Where tensors live: the loading of what libtorch needs to reach it.

use anyhow::{Context, Result, ensure};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use serde::{Deserialize, Serialize};

/// Where tensors live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Device {
    /// Main memory.
    #[default]
    Cpu,
    /// The first CUDA device.
    Cuda,
}

/// Makes `device` ready, and gives libtorch's name for it.
///
/// # Errors
/// When this machine has no CUDA device, or this libtorch no part for it.
pub(crate) fn open(device: Device) -> Result<tch::Device> {
    if device == Device::Cuda {
        load_cuda().context("device cuda: libtorch_cuda.so cannot be loaded; use --device cpu")?;
        ensure!(tch::Cuda::is_available(), "device cuda: libtorch finds no CUDA device; use --device cpu");
        return Ok(tch::Device::Cuda(0));
    }
    Ok(tch::Device::Cpu)
}

/// Loads libtorch's part for CUDA. The program is linked against the part for the CPU alone, so that one binary serves machines
/// with and without CUDA; the library registers itself with it.
fn load_cuda() -> Result<()> {
    // SAFETY: the initialisers of libtorch_cuda.so only register kernels and hooks, and it is never unloaded.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) }?;
    std::mem::forget(library);
    Ok(())
}
