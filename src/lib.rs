//! The program `carom`: trains agents, fits generative models, and shows what they learned.
//!
//! Two items are for other programs. [`cli::main`] is the whole command line; a program with its own environments or
//! agents registers them and calls it. [`Policy`] acts with the agent of a finished run.
//!
//! Environments and agents are libraries of their own, `carom-envs` and `carom-agents`, without files or terminals.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

/// Writes a line to stderr. Errors are ignored: a run goes on when its terminal is closed. Of several processes that
/// make one run, the first writes.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        if crate::ranks::speaks() {
            let _ = writeln!(std::io::stderr(), $($argument)*);
        }
    }};
}

pub mod cli;
mod compare;
mod config;
mod device;
mod dotted;
mod encoder;
mod export;
mod files;
mod fit;
mod gallery;
mod game;
mod generative;
mod human;
mod interrupt;
mod movie;
mod plot;
mod probe;
mod progress;
mod ranks;
mod report;
mod reproduce;
mod run;
mod statistics;
mod sweep;
mod table;
mod terminal;
#[cfg(test)]
mod tests {
    mod fuzz;
}
mod train;

pub use train::policy::Policy;

#[cfg(doctest)]
#[doc = include_str!("../docs/libraries.md")]
struct Libraries;
