//! Ctrl-C: the first asks the loop to save and end, the second ends the program at once.

use anyhow::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Exit code of a program that Ctrl-C ended.
pub(crate) const EXIT_CODE: u8 = 130;

/// Error of a computation that was interrupted. The message says how to continue it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(pub(crate) String);

/// Longest time that the loop of a program that has the terminal may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// Listens for Ctrl-C, and for the signals by which a system that shuts down ends its programs.
pub(crate) fn listen() -> Result<()> {
    listen_saying("interrupted: saving a checkpoint; press again to leave without")
}

/// Listens for Ctrl-C and prints `answer` at the first one.
pub(crate) fn listen_saying(answer: &'static str) -> Result<()> {
    handle(move || say!("\n{answer}"))
}

/// Listens for Ctrl-C in a program that has the terminal and nothing to save. Prints nothing. If the loop has not ended
/// after a second, calls `restore` and ends the program: a read from a terminal that was closed may never return.
pub(crate) fn listen_in_terminal(restore: fn()) -> Result<()> {
    handle(move || {
        thread::sleep(GRACE);
        restore();
        std::process::exit(EXIT_CODE.into());
    })
}

/// Calls `first` on a thread of its own at the first request, and ends the program at the second.
fn handle(first: impl Fn() + Send + 'static) -> Result<()> {
    let is_detached = hangup_is_ignored();
    ctrlc::set_handler(move || {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        first();
    })?;
    if is_detached {
        ignore_hangup();
    }
    Ok(())
}

/// Returns whether the program was started so that it outlives its terminal, as by `nohup`.
fn hangup_is_ignored() -> bool {
    #[cfg(unix)]
    // SAFETY: the action is plain data, all zeros are a valid one, and it is only read.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
    #[cfg(not(unix))]
    false
}

fn ignore_hangup() {
    #[cfg(unix)]
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
}

/// Returns whether the program was asked to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
