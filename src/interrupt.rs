//! Ctrl-C: the first asks the loop to save and leave, the second leaves at once.

use anyhow::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Exit code of a program ended by Ctrl-C.
pub const EXIT_CODE: u8 = 130;

/// Why there is no result: it was asked to stop on the way there. What it says is how to go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

/// How long the loop of a program that has the terminal may take to leave.
const GRACE: Duration = Duration::from_secs(1);

/// Listens for Ctrl-C, and for the requests to end that a system sends when it shuts down.
pub(crate) fn listen() -> Result<()> {
    listen_saying("interrupted: saving a checkpoint; once more leaves without")
}

/// As [`listen`], with what the first Ctrl-C is answered with.
pub(crate) fn listen_saying(answer: &'static str) -> Result<()> {
    handle(move || eprintln!("\n{answer}"))
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
    ctrlc::set_handler(move || {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        first();
    })?;
    Ok(())
}

/// Whether the program was asked to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
