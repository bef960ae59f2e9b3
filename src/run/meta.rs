//! `meta.json`: the program, the machine and the settings of a run.

use super::{CONFIG, META};
use crate::dotted::{AtStep, Change, History, changes, dotted, of_table};
use crate::files;
use anyhow::Result;
use fs_err as fs;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Returns versions, CPU, command line, git commit, the environment's `protocol` and the settings in `config`, a TOML
/// text, as JSON. There is no time in it, so two runs of one command have equal files.
pub(super) fn describe(protocol: Option<&str>, config: &str) -> String {
    let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let meta = json!({
        "carom": env!("CARGO_PKG_VERSION"),
        "libtorch": option_env!("CAROM_LIBTORCH_VERSION"),
        "cpu": cpu.map(|(_, model)| model.trim()),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "os": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "command": std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "git": git(&["rev-parse", "HEAD"]),
        "protocol": protocol,
        "git_changes": git(&["status", "--porcelain", "--untracked-files=no"]).map(|changes| !changes.is_empty()),
        "settings": dotted(config),
    });
    format!("{meta:#}\n")
}

/// Returns the settings in which `config` differs from those that the run in `dir` was made with. `resolved` are those
/// of its file as this version reads them; both are TOML texts. A setting that the version of the run did not have yet
/// is no difference at its default.
pub(super) fn changes_to(dir: &Path, config: &str, resolved: &str) -> Vec<Change> {
    let file = fs::read_to_string(dir.join(CONFIG)).ok().and_then(|text| Some(of_table(&text.parse().ok()?)));
    let (file, resolved) = (file.unwrap_or_default(), dotted(resolved));
    let recorded = read(dir).ok().and_then(|meta| serde_json::from_value::<History>(meta).ok());
    // An older version recorded no settings.
    let known = recorded.map_or_else(|| file.clone(), |history| history.settings);
    let is_new = |change: &Change| {
        change.from.is_none() && !file.contains_key(&change.key) && resolved.get(&change.key) == change.to.as_ref()
    };
    let mut changes = changes(&known, &dotted(config));
    changes.retain(|change| !is_new(change));
    changes
}

/// Adds `changed` settings, in force from `step` on, to the file of the run in `dir`.
///
/// # Errors
/// When it cannot be read or written.
pub(super) fn add(dir: &Path, step: u64, config: &str, changed: &[Change]) -> Result<()> {
    let mut meta = read(dir)?;
    let mut history: History = serde_json::from_value(meta.clone()).unwrap_or_default();
    history.settings = dotted(config);
    history.changes.extend(changed.iter().map(|change| AtStep { step, change: change.clone() }));
    let Value::Object(history) = serde_json::to_value(history)? else { unreachable!("a history is an object") };
    if let Value::Object(meta) = &mut meta {
        meta.extend(history);
    }
    files::write_whole(&dir.join(META), |file| Ok(writeln!(file, "{meta:#}")?))
}

/// Adds `value` under `key` to the file of the run in `dir`.
///
/// # Errors
/// When it cannot be read or written.
pub(super) fn insert(dir: &Path, key: &str, value: Value) -> Result<()> {
    let mut meta = read(dir)?;
    meta[key] = value;
    files::write_whole(&dir.join(META), |file| Ok(writeln!(file, "{meta:#}")?))
}

/// Reads the file of the run in `dir`.
///
/// # Errors
/// When it cannot be read, or is no JSON.
pub(super) fn read(dir: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(dir.join(META))?)?)
}

/// Returns git's answer about the working directory, or `None` without git or a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}
