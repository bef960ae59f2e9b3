//! Ctrl-C and its siblings: the first asks the loop to save and end, a second Ctrl-C ends the program at once.

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

/// The signal that asked the program to end; 0 before.
static REQUESTED: AtomicI32 = AtomicI32::new(0);

/// Whether a loop of the program ends when a stop is [`requested`].
static IS_HEARD: AtomicBool = AtomicBool::new(false);

/// Function that tidies up before a signal ends the program.
static TIDY: OnceLock<fn()> = OnceLock::new();

/// Error of a computation that was interrupted. The message says how to continue it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(pub(crate) String);

/// Longest time that the loop of a program that has the terminal may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// Calls `tidy` before a signal ends the program. As long as nothing else listens, the first one does.
pub(crate) fn tidy_by(tidy: fn()) -> Result<()> {
    let mut signals = Signals::new(signals())?;
    if TIDY.set(tidy).is_err() {
        return Ok(());
    }
    thread::spawn(move || {
        for signal in signals.forever() {
            if !IS_HEARD.load(Ordering::Relaxed) {
                tidy();
                // A shell learns that the signal ended the program.
                let _ = emulate_default_handler(signal);
            }
        }
    });
    Ok(())
}

/// Makes a write beyond the largest size of a file an error of that write, as on a full disk. By default the system
/// ends the program there.
pub(crate) fn outlive_file_limit() {
    // SAFETY: ignoring a signal touches no memory.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Listens for Ctrl-C, for the signals by which a system that shuts down ends its programs, and for those by which
/// the scheduler of a cluster announces that time is up.
pub(crate) fn listen() -> Result<()> {
    listen_saying("interrupted: saving a checkpoint; another Ctrl-C leaves without")
}

/// Listens for Ctrl-C and prints `answer` at the first one.
pub(crate) fn listen_saying(answer: &'static str) -> Result<()> {
    handle(move |_| say!("\n{answer}"), |second| second == SIGINT)
}

/// Listens for Ctrl-C in a program that has the terminal and nothing to save. Prints nothing. If the loop has not ended
/// after a second, calls `restore` and ends the program: a read from a terminal that was closed may never return.
pub(crate) fn listen_in_terminal(restore: fn()) -> Result<()> {
    handle(
        move |signal| {
            thread::sleep(GRACE);
            restore();
            leave(signal);
        },
        |_| true,
    )
}

/// Calls `first` on a thread of its own at the first request, and ends the program at the next that `is_urgent`.
/// Schedulers repeat their request, which must not cut off the saving.
fn handle(first: impl Fn(i32) + Send + 'static, is_urgent: fn(i32) -> bool) -> Result<()> {
    // A second listener would take the first request for a second one.
    if IS_HEARD.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    for signal in signals() {
        // The thread below may learn of two signals at once, and then not in their order.
        let request = move || {
            let _ = REQUESTED.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
        };
        // SAFETY: an exchange of an atomic number may happen in a signal handler.
        unsafe { signal_hook::low_level::register(signal, request) }?;
    }
    let mut signals = Signals::new(signals())?;
    thread::spawn(move || {
        let mut is_first = true;
        for signal in signals.forever() {
            if std::mem::take(&mut is_first) {
                first(signal);
            } else if is_urgent(signal) {
                leave(signal);
            }
        }
    });
    Ok(())
}

/// Returns the signals that ask the program to end.
fn signals() -> impl Iterator<Item = i32> {
    // A program that outlives its terminal, as by `nohup`, was started so that it ignores the end of it.
    let hangup = (!hangup_is_ignored()).then_some(SIGHUP);
    [SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU].into_iter().chain(hangup)
}

/// Asks the process `id`, a child of this one, to save and end.
pub(crate) fn ask_to_end(id: u32) {
    // SAFETY: sending a signal touches no memory. A child that was not waited for keeps its number.
    unsafe { libc::kill(id as libc::pid_t, SIGTERM) };
}

/// Makes the process that `command` starts save and end when this one is killed, which cannot ask it to. Only Linux
/// can do so.
pub(crate) fn end_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        // SAFETY: between fork and exec only `prctl` and `getppid` are called, which are safe there.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(command, move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, SIGTERM);
                // The parent may have been killed before.
                match libc::getppid() as u32 == parent {
                    true => Ok(()),
                    false => Err(std::io::ErrorKind::NotFound.into()),
                }
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// Ends the program, which `signal` asked for.
fn leave(signal: i32) -> ! {
    if let Some(tidy) = TIDY.get() {
        tidy();
    }
    std::process::exit(code(signal).into())
}

/// Returns whether the program was started so that it outlives its terminal.
fn hangup_is_ignored() -> bool {
    // SAFETY: the action is plain data, all zeros are a valid one, and it is only read.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Returns whether the program was asked to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed) != 0
}

/// Returns the signal that asked the program to end; 0 if there was none.
pub(crate) fn signal() -> u64 {
    REQUESTED.load(Ordering::Relaxed) as u64
}

/// Makes `signal`, which another process of the job received, a request to this one; 0 is none.
pub(crate) fn adopt(signal: u64) {
    let _ = REQUESTED.compare_exchange(0, signal as i32, Ordering::Relaxed, Ordering::Relaxed);
}

/// Returns the exit code of a program that a signal ended: 128 and the signal's number, as shells have it. Success if
/// there was none.
pub(crate) fn exit_code() -> ExitCode {
    code_of_end().into()
}

/// Returns the number of [`exit_code`].
pub(crate) fn code_of_end() -> u8 {
    match REQUESTED.load(Ordering::Relaxed) {
        0 => 0,
        signal => code(signal),
    }
}

fn code(signal: i32) -> u8 {
    128 + signal as u8
}
