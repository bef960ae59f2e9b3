//! `meta.json`: the program and the machine of a run.

use serde_json::json;
use std::process::Command;

/// Returns versions, CPU, command line, git commit and the environment's `protocol` as JSON. There is no time in it, so
/// two runs of one command have equal files.
pub(super) fn describe(protocol: Option<&str>) -> String {
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
    });
    format!("{meta:#}\n")
}

/// Returns git's answer about the working directory, or `None` without git or a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}
