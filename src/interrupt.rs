//! Ctrl-C: the first asks the loop to save and leave, the second leaves at once.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Exit code of a program ended by Ctrl-C.
pub(crate) const EXIT_CODE: u8 = 130;

/// Listens for Ctrl-C, and for the requests to end that a system sends when it shuts down.
pub(crate) fn listen() -> anyhow::Result<()> {
    listen_saying(Some("interrupted: saving a checkpoint; once more leaves without"))
}

/// As [`listen`], with what the first Ctrl-C is answered with.
pub(crate) fn listen_saying(answer: Option<&'static str>) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        if let Some(answer) = answer {
            eprintln!("\n{answer}");
        }
    })?;
    Ok(())
}

/// Whether the program was asked to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
