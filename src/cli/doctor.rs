//! `carom doctor`: checks whether this machine can train.

use super::{Out, joined};
use crate::device::{self, Device};
use crate::generative::data::published;
use crate::human::{gigabytes, plural};
use anyhow::{Result, ensure};
use fs_err as fs;
use serde::Serialize;
use serde_json::json;
use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};
use std::{env, thread};

/// Check libtorch, CPU, CUDA, data sets and disk, and print problems with hints
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// The libtorch that tch 0.24 is generated from.
const LIBTORCH_VERSION: &str = "2.11.0";

/// Free space in bytes below which there is a warning. Runs of the presets with their checkpoints take less.
const LOW_DISK: u64 = 2 << 30;
/// Free space in bytes below which there is an error: the checkpoints of a small network do not fit.
const MIN_DISK: u64 = 64 << 20;

/// Hint for a directory that runs cannot be written to.
const GO_ELSEWHERE: &str = "go to another directory, or give --out DIR";

/// Prints the findings.
///
/// # Errors
/// When one of them prevents training.
pub(super) fn run(args: &Args) -> Result<()> {
    let findings = [
        Finding::ok("carom", env!("CARGO_PKG_VERSION")),
        libtorch(),
        threads(),
        cpu(),
        cuda(),
        data(),
        cache(published::cache()),
        disk(Path::new("."), "disk", GO_ELSEWHERE),
        runs(),
    ];
    let broken = findings.iter().filter(|finding| finding.state == State::Broken).count() as u64;
    let mut out = Out::lock();
    if args.json {
        writeln!(out, "{:#}", json!({ "ok": broken == 0, "findings": findings }))?;
    } else {
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        write!(out, "{}", table(&findings, stdout().is_terminal() && !no_colour))?;
    }
    ensure!(broken == 0, "{} that prevent{} training", plural(broken, "problem"), if broken == 1 { "s" } else { "" });
    Ok(())
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    found: String,
    /// A way to solve the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Missing, and not needed for training on the CPU.
    Absent,
    Warning,
    /// Prevents training.
    Broken,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), hint: None }
    }

    fn state(self, state: State) -> Self {
        Self { state, ..self }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Formats each finding as a line: state, name and facts. Hints are indented below.
fn table(findings: &[Finding], coloured: bool) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut lines = vec![];
    for Finding { name, state, found, hint } in findings {
        let (word, colour) = match state {
            State::Ok => ("ok", "32"),
            State::Absent => ("-", "2"),
            State::Warning => ("warn", "33"),
            State::Broken => ("WRONG", "31"),
        };
        let word = format!("{word:<5}");
        let word = if coloured { format!("\x1b[{colour}m{word}\x1b[0m") } else { word };
        lines.push(format!("{word}  {name:<width$}  {found}"));
        lines.extend(hint.as_ref().map(|hint| format!("{:7}{:width$}  -> {hint}", "", "")));
    }
    joined(&lines)
}

fn libtorch() -> Finding {
    let Some(path) = loaded_library("libtorch_cpu.so") else {
        return Finding::ok("libtorch", "loaded; this system does not tell from which file").state(State::Warning);
    };
    let version = path.parent().and_then(Path::parent).and_then(version_of);
    let found = format!("{}, {}", version.as_deref().unwrap_or("of unknown version"), path.display());
    match version {
        Some(version) if version == LIBTORCH_VERSION => Finding::ok("libtorch", found),
        version => {
            let hint = format!(
                "version {LIBTORCH_VERSION} is expected; unset LIBTORCH and LD_LIBRARY_PATH, and download it with \
                 scripts/setup"
            );
            let state = if version.is_some() { State::Broken } else { State::Warning };
            Finding::ok("libtorch", found).state(state).hint(hint)
        }
    }
}

/// Returns the file that a library of this process was loaded from.
fn loaded_library(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let paths = maps.lines().filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])));
    paths.into_iter().find(|path| path.file_name().is_some_and(|file| file == name)).map(Path::to_owned)
}

/// Returns the version of the libtorch in `folder`, without the `+cpu` or `+cu130` of its build.
fn version_of(folder: &Path) -> Option<String> {
    let full = std::fs::read_to_string(folder.join("build-version")).ok().or_else(|| {
        // Python's torch package has the version in a header only.
        let header = std::fs::read_to_string(folder.join("include/torch/headeronly/version.h")).ok()?;
        header.lines().find_map(|line| line.strip_prefix('"')?.split('"').next()).map(str::to_owned)
    })?;
    full.trim().split('+').next().map(str::to_owned)
}

fn threads() -> Finding {
    let omp = env::var("OMP_NUM_THREADS").ok();
    let omp_text = omp.as_ref().map_or("OMP_NUM_THREADS not set".to_owned(), |n| format!("OMP_NUM_THREADS={n}"));
    let found = format!(
        "torch uses {} by default, runs use 1, pixels {}, unless `threads` is set; {omp_text}",
        tch::get_num_threads(),
        device::usual_threads(1)
    );
    let finding = Finding::ok("threads", found);
    match omp.and_then(|n| n.parse::<usize>().ok()) {
        Some(n) if n > cores() => finding.state(State::Warning).hint(format!(
            "more threads than the {} cores wait for each other and are many times slower; unset OMP_NUM_THREADS",
            cores()
        )),
        _ => finding,
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn cpu() -> Finding {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or(env::consts::ARCH, |(_, model)| model.trim());
    let cores = match cores() {
        1 => "1 core".to_owned(),
        n => format!("{n} cores"),
    };
    let simd = simd();
    let finding =
        Finding::ok("cpu", format!("{model}, {cores}, {}", if simd.is_empty() { "no wide SIMD" } else { &simd }));
    if cfg!(target_arch = "x86_64") && !simd.contains("AVX2") {
        return finding
            .state(State::Warning)
            .hint("without AVX2 libtorch and the environments run several times slower");
    }
    finding
}

#[cfg(target_arch = "x86_64")]
fn simd() -> String {
    let features = [
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("AVX-512", is_x86_feature_detected!("avx512f")),
    ];
    features.iter().filter(|(_, found)| *found).map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

#[cfg(not(target_arch = "x86_64"))]
fn simd() -> String {
    if cfg!(target_arch = "aarch64") { "NEON".to_owned() } else { String::new() }
}

fn cuda() -> Finding {
    let Err(error) = device::open(Device::Cuda) else {
        let n = tch::Cuda::device_count();
        return Finding::ok("cuda", format!("{}; use --device cuda", plural(n.unsigned_abs(), "device")));
    };
    let driver = if Path::new("/proc/driver/nvidia/version").exists() { "an NVIDIA" } else { "no NVIDIA" };
    Finding::ok("cuda", format!("not available, with {driver} driver ({})", error.root_cause())).state(State::Absent)
}

/// Lists the published data sets in the cache, without reading them.
fn data() -> Finding {
    let sets = published::ALL.iter();
    let here: Vec<String> =
        sets.filter_map(|set| Some(format!("{} in {}", set.name, set.found()?.display()))).collect();
    match (here.is_empty(), published::cache()) {
        (false, _) => Finding::ok("data", here.join(", ")),
        (true, Ok(cache)) => {
            let found = format!("none in {}; agents need none, `carom data mnist` downloads MNIST", cache.display());
            Finding::ok("data", found).state(State::Absent)
        }
        (true, Err(error)) => Finding::ok("data", error.to_string()).state(State::Absent),
    }
}

/// Checks the directory of downloaded data sets and fitted encoders. Agents need none, so there is a warning at most.
fn cache(folder: Result<PathBuf>) -> Finding {
    const REMEDY: &str = "set CAROM_CACHE to a directory that can be written";
    match folder {
        Ok(folder) if folder.is_dir() => {
            let finding = disk(&folder, "cache", REMEDY);
            let state = finding.state.min(State::Warning);
            finding.state(state)
        }
        Ok(folder) if folder.exists() => {
            let found = format!("{} is a file, not a directory", folder.display());
            Finding::ok("cache", found).state(State::Warning).hint(REMEDY)
        }
        Ok(folder) => Finding::ok("cache", format!("{}: created at first use", folder.display())).state(State::Absent),
        Err(error) => Finding::ok("cache", error.to_string()).state(State::Warning).hint(REMEDY),
    }
}

/// Checks the directory of runs, which may be on another disk or belong to another user.
fn runs() -> Finding {
    let runs = Path::new("runs");
    if runs.is_dir() {
        return disk(runs, "runs", GO_ELSEWHERE);
    }
    if runs.exists() {
        let hint = "move it away, or give --out DIR";
        return Finding::ok("runs", "`runs` is a file, not a directory").state(State::Broken).hint(hint);
    }
    Finding::ok("runs", "none here yet; the first run creates the directory").state(State::Absent)
}

/// Checks the free space in `folder` and whether files can be written there. `remedy` is the hint if not.
fn disk(folder: &Path, name: &'static str, remedy: &str) -> Finding {
    let place = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let place = place.display();
    if let Err(error) = try_to_write(folder) {
        return Finding::ok(name, format!("{place} cannot be written: {error}")).state(State::Broken).hint(remedy);
    }
    match free_bytes(folder) {
        None => Finding::ok(name, format!("{place} can be written, free space unknown")),
        Some(free) => {
            let finding = Finding::ok(name, format!("{} free in {place}, can be written", gigabytes(free)));
            match free {
                0..MIN_DISK => {
                    finding.state(State::Broken).hint(format!("no checkpoint fits; free some space, or {remedy}"))
                }
                MIN_DISK..LOW_DISK => {
                    finding.state(State::Warning).hint("checkpoints with a large replay memory take gigabytes")
                }
                _ => finding,
            }
        }
    }
}

fn try_to_write(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".carom-doctor-{}.tmp", std::process::id()));
    let written = std::fs::write(&path, "may be removed").and_then(|()| std::fs::remove_file(&path));
    if written.is_err() {
        // The first error is the one that is returned.
        let _ = fs::remove_file(&path);
    }
    written
}

/// Returns the bytes that this user can still write in `folder`.
fn free_bytes(folder: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(space.f_bavail * space.f_frsize)
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_coloured_only_on_demand() {
        let findings = [
            Finding::ok("cpu", "two cores"),
            Finding::ok("libtorch", "2.0.0").state(State::Broken).hint("fetch 2.11.0"),
        ];
        let plain = "ok     cpu       two cores\nWRONG  libtorch  2.0.0\n                 -> fetch 2.11.0\n";
        assert_eq!(table(&findings, false), plain);
        let coloured = table(&findings, true);
        assert!(coloured.starts_with("\x1b[32mok   \x1b[0m  cpu"), "{coloured:?}");
    }

    #[test]
    fn the_free_space_of_a_disk_is_found() {
        assert!(free_bytes(Path::new("/")).is_some_and(|free| free > 0));
        assert_eq!(free_bytes(Path::new("/nowhere/at/all")), None);
    }

    #[test]
    fn the_version_of_a_libtorch_is_read_from_either_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(version_of(folder.path()), None);
        let headers = folder.path().join("include/torch/headeronly");
        std::fs::create_dir_all(&headers).expect("writable");
        std::fs::write(headers.join("version.h"), "#define V \\\n\"2.11.0+cu130\"\n").expect("writable");
        assert_eq!(version_of(folder.path()).as_deref(), Some("2.11.0"));
        std::fs::write(folder.path().join("build-version"), "2.10.0+cpu\n").expect("writable");
        assert_eq!(version_of(folder.path()).as_deref(), Some("2.10.0"));
    }

    #[test]
    fn a_folder_that_is_not_there_cannot_be_written() {
        assert_eq!(disk(Path::new("/nowhere/at/all"), "disk", "").state, State::Broken);
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_ne!(disk(folder.path(), "disk", "").state, State::Broken);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_a_warning_only() {
        // Nobody can write there.
        let finding = cache(Ok("/proc".into()));
        assert!(finding.state == State::Warning && finding.found.contains("cannot be written"), "{}", finding.found);
        assert!(finding.hint.is_some_and(|hint| hint.contains("CAROM_CACHE")));
    }
}
