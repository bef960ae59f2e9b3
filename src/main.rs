//! The program `carom`: parses, dispatches, and turns the outcome into an exit code.

use carom::interrupt::{self, Interrupted};
use clap::Parser;
use std::io::{ErrorKind, Write, stderr};
use std::process::ExitCode;

fn main() -> ExitCode {
    keep_memory();
    match carom::cli::run(carom::cli::Cli::parse()) {
        Ok(code) => code,
        // Whoever read our output, such as `head`, has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            let _ = writeln!(stderr(), "{error}");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            let _ = writeln!(stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Lets glibc's allocator keep what it has been given. Otherwise every tensor of more than 128 kB is mapped anew at each step, and
/// the system clears its pages one by one: up to a third of the time of a step of autograd.
fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both parameters take any number; one that is not accepted is left as it was.
    unsafe {
        // The largest that is accepted.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == ErrorKind::BrokenPipe)
}
