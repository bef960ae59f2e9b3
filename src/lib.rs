//! The program's parts: what a run is ([`config`]), how it goes ([`train`], [`evaluate`]), what it leaves behind ([`run`]) and
//! how that looks ([`plot`]), what models are fitted to ([`generative`]), and the commands over them ([`cli`]).
//!
//! Environments and agents live in `carom-envs` and `carom-agents`, which know nothing of files or terminals.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

/// Writes a line to stderr. Nobody may be reading any more, say since a terminal was closed: what goes on is not to end by that.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}

pub mod cli;
pub mod compare;
pub mod config;
pub mod device;
pub mod encoder;
mod files;
pub mod fit;
pub mod gallery;
mod game;
pub mod generative;
pub mod human;
pub mod interrupt;
mod movie;
mod parallel;
pub mod plot;
pub mod probe;
pub mod run;
pub mod statistics;
mod terminal;
pub mod train;
