//! The command line, one file for each command: its arguments, actions and output. Data goes to stdout, messages to
//! stderr.

mod choices;
mod compare;
mod data;
mod doctor;
mod eval;
mod export;
mod fit;
mod jobs;
mod launch;
mod list;
mod play;
mod plot;
mod probe;
mod reconstruct;
mod report;
mod reproduce;
mod resume;
mod sample;
mod seeds;
mod start;
mod sweep;
mod table;
mod talk;
pub(crate) mod trace;
mod train;
mod watch;

use crate::files;
use crate::interrupt::{self, Interrupted};
use crate::ranks;
use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use std::io::{self, ErrorKind, StdoutLock, Write, stdout};
use std::process::ExitCode;

/// Reinforcement learning: environments, Bellman agents, and generative models as learned state representations.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  carom train --preset minatar-breakout-dqn        learn Breakout in a few minutes
  carom train --env taxi --agent q-learning        uses the preset for this pair
  carom eval runs/taxi-q-learning-s0               score the greedy policy
  carom watch runs/taxi-q-learning-s0              watch it play, in the terminal or as a GIF
  carom play --env breakout                        play yourself
  carom list envs                                  list the environments";

#[derive(Subcommand)]
enum Command {
    Train(train::Arguments),
    Fit(fit::Arguments),
    Resume(resume::Arguments),
    Eval(eval::Arguments),
    Sample(sample::Arguments),
    Reconstruct(reconstruct::Arguments),
    Plot(plot::Args),
    Report(report::Arguments),
    Probe(probe::Arguments),
    Table(table::Arguments),
    Watch(watch::Arguments),
    Play(play::Arguments),
    Trace(trace::Arguments),
    Export(export::Arguments),
    Compare(compare::Arguments),
    Reproduce(reproduce::Arguments),
    Sweep(sweep::Arguments),
    List(list::Arguments),
    Data(data::Args),
    Doctor(doctor::Args),
}

/// Parses the command line, runs the command, and returns the exit code. A program that registers environments or
/// agents of its own calls this from its `main`.
pub fn main() -> ExitCode {
    keep_memory();
    end_at_once();
    interrupt::outlive_file_limit();
    let code = match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            ranks::give_up(interrupt::code_of_end(), || say!("{error}"));
            interrupt::exit_code()
        }
        Err(error) => {
            ranks::give_up(1, || say!("error: {error:#}"));
            ExitCode::FAILURE
        }
    };
    ranks::finish();
    code
}

/// Runs the command and returns its exit code.
fn run(cli: Cli) -> Result<ExitCode> {
    talk::begin();
    interrupt::tidy_by(files::remove_scratches)?;
    ensure!(
        ranks::n_launched() == 1 || matches!(cli.command, Command::Train(_) | Command::Resume(_)),
        "{} processes were started as one job, and each would do the same: `train` and `resume` alone share their work",
        ranks::n_launched()
    );
    match cli.command {
        Command::Train(arguments) => train::run(&arguments),
        Command::Fit(arguments) => fit::run(&arguments),
        Command::Resume(arguments) => resume::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Sample(arguments) => sample::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Reconstruct(arguments) => reconstruct::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Plot(arguments) => plot::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Report(arguments) => report::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Probe(arguments) => probe::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Table(arguments) => table::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Play(arguments) => play::run(&arguments).map(|()| interrupt::exit_code()),
        Command::Trace(arguments) => trace::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Export(arguments) => export::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::List(arguments) => list::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Data(arguments) => data::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Doctor(arguments) => doctor::run(&arguments).map(|()| ExitCode::SUCCESS),
    }
}

/// Standard output. If its reader has closed the pipe, as `head` does, nothing more is written, which is not an error:
/// a command may have other work to do.
struct Out {
    stdout: StdoutLock<'static>,
    is_closed: bool,
}

impl Out {
    fn lock() -> Self {
        Self { stdout: stdout().lock(), is_closed: false }
    }

    /// Returns the result of a write, and `done` in place of the error of a closed pipe.
    fn unless_closed<T>(&mut self, written: io::Result<T>, done: T) -> io::Result<T> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(done)
            }
            written => written,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.stdout.write(bytes);
        self.unless_closed(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.stdout.flush();
        self.unless_closed(flushed, ())
    }
}

/// Writes `text` to stdout.
fn print(text: &str) -> Result<()> {
    let mut out = Out::lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Joins lines, each with a line break at its end.
fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// Lets glibc's allocator keep freed memory. By default it maps each tensor of more than 128 kB anew, and the system
/// then clears its pages one by one: up to a third of the time of a step of autograd.
fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes any number; it ignores values that it does not accept.
    unsafe {
        // The largest value that is accepted.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}

/// Makes the end of the process skip the destructors of libraries. Those of libtorch unregister its operators one by
/// one, a third of the processor time of a command that only prints. Output is flushed where it is written.
fn end_at_once() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::{c_int, c_void};
        unsafe extern "C" {
            fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        }
        extern "C" fn end(code: c_int, _: *mut c_void) {
            // SAFETY: `_exit` takes any code and returns to nobody.
            unsafe { libc::_exit(code) }
        }
        // SAFETY: the handler is a function that uses no argument. Handlers run in reverse order of their registration,
        // so this one runs before those of the libraries that were loaded before `main`.
        unsafe { on_exit(end, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn each_command_explains_itself() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        for command in cli.get_subcommands_mut() {
            let (name, help) = (command.get_name().to_owned(), command.render_long_help().to_string());
            assert!(help.contains("Usage: "), "{name}: {help}");
            assert!(command.get_about().is_some() || name == "help", "{name} says not what it does");
        }
    }
}
