//! Runs as a job array of Slurm.
//!
//! A task of the array makes one run, by `carom train --continue`. Ahead of its time limit Slurm signals the task: the
//! run saves, and the task is queued again. So is one whose node fails. What a task has made is found in the run
//! itself, wherever it was made.

use super::{Batch, Made, collect, command_line, waiting};
use crate::cli::jobs::Job;
use crate::cli::joined;
use crate::human::plural;
use crate::{files, interrupt};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Files in the folder of a job array.
const SCRIPT: &str = "array.sh";
const COMMANDS: &str = "commands";
const JOB: &str = "job";

/// Seconds before its time limit at which a task is told to save.
const AHEAD_S: u32 = 60;

/// Time between two looks at the queue, and for a request to stop.
const ASK_EVERY: Duration = Duration::from_secs(2);
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// Looks at the queue that may fail in a row: a controller that restarts does not answer.
const MAX_UNANSWERED: usize = 60;

/// Options of sbatch that the script needs as they are.
const OWN_OPTIONS: [&str; 5] = ["array", "output", "open-mode", "requeue", "wrap"];

/// Submits the runs that are not made, or finds those that an earlier command submitted. Waits for their end if
/// `waits`, and collects them.
pub(super) fn make(options: &[String], waits: bool, batch: &Batch) -> Result<Made> {
    let options = options.iter().map(|option| check_option(option)).collect::<Result<Vec<_>>>()?;
    let folder = PathBuf::from(files::absolute(&batch.folder.display().to_string())?);
    interrupt::listen_saying("interrupted: the runs stay in the queue; scancel removes them")?;
    if let Some(id) = queued_before(&folder)? {
        say!("an earlier command submitted job {id}");
        if !waits {
            return Ok(queued(&id));
        }
        wait(&id)?;
    }
    let waiting = waiting(batch);
    if interrupt::requested() {
        return stopped(batch);
    }
    if !waiting.is_empty() {
        let id = submit(&folder, &options, batch.n_at_once, &waiting)?;
        if !waits {
            return Ok(queued(&id));
        }
        wait(&id)?;
        if interrupt::requested() {
            return stopped(batch);
        }
        let log = |job: &Job| waiting.iter().position(|other| other.dir == job.dir).map(|task| log(&folder, &id, task));
        return collect(batch, |job| log(job).map_or_else(String::new, |log| last_words(&log))).map(Made::Ended);
    }
    collect(batch, |_| String::new()).map(Made::Ended)
}

/// Returns the job that an earlier command with this folder submitted, if it is in the queue, or may be.
///
/// # Errors
/// When Slurm does not answer.
fn queued_before(folder: &Path) -> Result<Option<String>> {
    let Ok(id) = fs_err::read_to_string(folder.join(JOB)) else { return Ok(None) };
    let has_ended = answer(&id)?.is_some_and(|states| states.is_empty());
    Ok((!has_ended).then_some(id))
}

fn queued(id: &str) -> Made {
    say!("job {id} is in the queue; the same command collects its runs");
    Made::Elsewhere
}

/// Collects the runs that have ended so far, and leaves the others in the queue.
fn stopped(batch: &Batch) -> Result<Made> {
    for job in batch.jobs.iter().filter(|job| (batch.is_made)(job)) {
        (batch.report.ended)(job, Ok(()))?;
    }
    say!("{}", batch.report.go_on);
    Ok(Made::Ended(interrupt::exit_code()))
}

/// Checks an option of sbatch, and returns it as a flag.
fn check_option(option: &str) -> Result<String> {
    let (key, value) =
        option.split_once('=').with_context(|| format!("--slurm {option}: expected KEY=VALUE, e.g. time=2:00:00"))?;
    let is_name = !key.starts_with('-') && key.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    ensure!(is_name, "--slurm {option}: expected the long name of an option of sbatch, without its dashes");
    ensure!(!OWN_OPTIONS.contains(&key), "--slurm {option}: the job array has its own {key}");
    ensure!(!value.contains(['\n', '"']), "--slurm {option}: the value cannot stand in a script");
    Ok(format!("{key}={value}"))
}

/// Writes the script of a job array, submits it, and returns its id.
fn submit(folder: &Path, options: &[String], n_at_once: usize, waiting: &[&Job]) -> Result<String> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let lines: Vec<String> = waiting.iter().map(|job| command_line(program.as_os_str(), job)).collect::<Result<_>>()?;
    let write = |name, text: &str| files::write_whole(&folder.join(name), |file| file.write_all(text.as_bytes()));
    files::check_default(&folder.join(SCRIPT), "move it away")?;
    write(COMMANDS, &joined(&lines))?;
    write(SCRIPT, &script(folder, options, n_at_once, waiting.len())?)?;
    let output = Command::new("sbatch").arg("--parsable").arg(folder.join(SCRIPT)).output();
    let output = output.context("cannot run sbatch: is this a machine of a cluster with Slurm?")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "sbatch refused {}: {}", folder.join(SCRIPT).display(), said.trim());
    // On several clusters the id is followed by `;` and the cluster.
    let id = String::from_utf8_lossy(&output.stdout).trim().split(';').next().unwrap_or_default().to_owned();
    ensure!(!id.is_empty(), "sbatch gave no job id");
    write(JOB, &id)?;
    say!("submitted job {id}, {} as an array: {}", plural(lines.len() as u64, "run"), folder.join(SCRIPT).display());
    Ok(id)
}

/// Returns the script of an array of `n_tasks`.
fn script(folder: &Path, options: &[String], n_at_once: usize, n_tasks: usize) -> Result<String> {
    let limit = if n_at_once > 1 { format!("%{n_at_once}") } else { String::new() };
    let folder_text = folder.to_str().with_context(|| format!("{} is not UTF-8", folder.display()))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The folder is in that of a search or a comparison, or beside runs.
    let above = || folder.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name = name.strip_suffix("-slurm").map(str::to_owned).or_else(above).unwrap_or_default();
    let mut flags = vec![format!("job-name=\"{name}\""), format!("array=0-{}{limit}", n_tasks - 1)];
    flags.push(format!("output=\"{}/%A_%a.log\"", folder_text.replace('%', "%%")));
    flags.extend(["open-mode=append".to_owned(), "requeue".to_owned()]);
    if !options.iter().any(|option| option.starts_with("signal=")) {
        flags.push(format!("signal=B:USR1@{AHEAD_S}"));
    }
    flags.extend(options.iter().map(|option| match option.split_once('=') {
        Some((key, value)) => format!("{key}=\"{value}\""),
        None => option.clone(),
    }));
    let flags: Vec<String> = flags.iter().map(|flag| format!("#SBATCH --{flag}")).collect();
    let flags = joined(&flags);
    let commands = folder.join(COMMANDS);
    let commands = shlex::try_quote(commands.to_str().context("a path that is text")?)?.into_owned();
    Ok(format!("#!/bin/bash\n{flags}{}", BODY.replace("COMMANDS", &commands) + &files::line_mark()))
}

/// Commands of a task.
const BODY: &str = r#"
# A line for each task.
command=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" COMMANDS)
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
eval "exec $command" &
run=$!
trap 'signalled=1; kill -USR1 $run' USR1
trap 'signalled=1; kill -TERM $run' TERM
# A signal ends `wait` before the run has saved.
while signalled=0; wait $run; code=$?; [ $signalled = 1 ]; do :; done
# 128 + USR1: the time limit was near.
if [ $code = 138 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit $code
"#;

/// Waits until no task of a job is in the queue, or a stop is requested.
fn wait(id: &str) -> Result<()> {
    let mut said = String::new();
    while let Some(states) = answer(id)?.filter(|states| !states.is_empty()) {
        let words: Vec<String> = states.iter().map(|(state, n)| format!("{n} {}", state.to_lowercase())).collect();
        let words = format!("job {id}: {}", words.join(", "));
        if words != said {
            say!("{words}");
        }
        said = words;
        if !pause() {
            break;
        }
    }
    Ok(())
}

/// Returns how many tasks of a job are in each state; none when all have ended. Asks again while Slurm does not answer.
/// Returns `None` if a stop is requested meanwhile.
fn answer(id: &str) -> Result<Option<BTreeMap<String, usize>>> {
    let mut n_unanswered = 0;
    loop {
        match states(id) {
            Ok(states) => return Ok(Some(states)),
            Err(error) if n_unanswered == MAX_UNANSWERED => return Err(error),
            Err(error) if n_unanswered == 0 => say!("{error:#}; asking again"),
            Err(_) => {}
        }
        n_unanswered += 1;
        if !pause() {
            return Ok(None);
        }
    }
}

/// Waits until the next look at the queue. Returns whether no stop is requested.
fn pause() -> bool {
    let asked = Instant::now();
    while asked.elapsed() < ASK_EVERY {
        if interrupt::requested() {
            return false;
        }
        thread::sleep(LOOK_AFTER);
    }
    true
}

/// Returns how many tasks of a job are in each state; none when all have ended.
fn states(id: &str) -> Result<BTreeMap<String, usize>> {
    let output = Command::new("squeue").args(["--noheader", "--array", "--format=%T", "--jobs", id]).output();
    let output = output.context("cannot run squeue")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // The controller forgets jobs some minutes after their end.
        if said.contains("Invalid job id") {
            return Ok(BTreeMap::new());
        }
        bail!("squeue failed: {}", said.trim());
    }
    let mut states = BTreeMap::new();
    for state in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        *states.entry(state.to_owned()).or_default() += 1;
    }
    Ok(states)
}

fn log(folder: &Path, id: &str, task: usize) -> PathBuf {
    folder.join(format!("{id}_{task}.log"))
}

/// Returns the last line of a task's log.
fn last_words(log: &Path) -> String {
    let text = fs_err::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    match text.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("{} ({})", line.trim(), log.display()),
        None => "its task did not begin".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_the_options_and_its_own_ones_are_refused() {
        let options = ["time=0:10:00", "mem=2G"].map(|option| check_option(option).expect("an option"));
        let text = script(Path::new("/data/my runs/slurm"), &options, 4, 24).expect("text");
        for line in [
            "#SBATCH --job-name=\"my runs\"",
            "#SBATCH --array=0-23%4",
            "#SBATCH --output=\"/data/my runs/slurm/%A_%a.log\"",
            "#SBATCH --signal=B:USR1@60",
            "#SBATCH --time=\"0:10:00\"",
            "command=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" '/data/my runs/slurm/commands')",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let own = script(Path::new("/r/slurm"), &["signal=B:USR1@30".to_owned()], 1, 2).expect("text");
        assert!(!own.contains("USR1@60") && own.contains("--array=0-1\n"), "{own}");
        for (option, words) in [("time", "KEY=VALUE"), ("array=1-2", "its own array"), ("-t=3", "long name")] {
            assert!(check_option(option).expect_err("refused").to_string().contains(words));
        }
    }
}
