//! Ctrl-C: the first asks the loop to save and leave, the second leaves at once.

use anyhow::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Exit code of a program ended by Ctrl-C.
pub(crate) const EXIT_CODE: u8 = 130;

/// Why there is no result: it was asked to stop on the way there. What it says is how to go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(pub String);

/// How long the loop of a program that has the terminal may take to leave.
const GRACE: Duration = Duration::from_secs(1);

/// Listens for Ctrl-C, and for the requests to end that a system sends when it shuts down.
pub(crate) fn listen() -> Result<()> {
    listen_saying("interrupted: saving a checkpoint; once more leaves without")
}

/// As [`listen`], with what the first Ctrl-C is answered with.
pub(crate) fn listen_saying(answer: &'static str) -> Result<()> {
    handle(move || say!("\n{answer}"))
}

/// As [`listen`], for a program that has the terminal and nothing to save: says nothing, and ends it before long whatever it
/// does, since a read from a terminal that was closed may never return.
pub(crate) fn listen_in_terminal(restore: fn()) -> Result<()> {
    handle(move || {
        thread::sleep(GRACE);
        restore();
        std::process::exit(EXIT_CODE.into());
    })
}

/// Does `first` on a thread of its own at the first request, and leaves at the second.
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

/// Whether the program was started so that it outlives its terminal, as by `nohup`.
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

/// Whether the program was asked to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
