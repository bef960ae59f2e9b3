//! Starts training runs, and goes on with those that were begun.

use crate::config::kind;
use crate::config::training::TrainConfig;
use crate::dotted::{changes, dotted};
use crate::encoder::ObsTransform;
use crate::files;
use crate::human::{count, gigabytes, shell};
use crate::interrupt;
use crate::plot::{self, Look};
use crate::ranks::{Ranks, Spent};
use crate::run::checkpoint::{self, Checkpoint, Which};
use crate::run::{self, Outcome, PLOTS, Replaces, Run, layout};
use crate::train::origin;
use crate::train::session::{Session, TrainState};
use crate::train::train;
use anyhow::{Context, Result, ensure};
use carom_agents::Player;
use carom_agents::settings::AgentKind;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of a replay from which on its size is told before a run.
const LARGE: u64 = 500_000_000;

/// Learning curve of a run, in its folder of pictures.
const CURVE: &str = "return.svg";

/// Returns the path of the learning curve of the run in `dir`.
pub(super) fn curve(dir: &Path) -> PathBuf {
    dir.join(PLOTS).join(CURVE)
}

/// Creates a run of `config` in `dir`, where it `replaces` another one. Mistakes in the settings are reported before
/// any file is written. With `init_from`, the network begins at the weights of that run; a checkpoint of step 0 has
/// them, so that the run does not need the other one.
///
/// Of several `ranks` the first calls this, and the others [`follow`].
pub(super) fn begin(
    config: TrainConfig,
    dir: &Path,
    replaces: Replaces,
    init_from: Option<&Path>,
    ranks: &Ranks,
) -> Result<(Session, Run)> {
    let transform = ObsTransform::prepare(&config)?;
    let mut session = Session::new(config, transform, ranks.clone())?;
    let origin = init_from.map(|other| origin::init_from(&mut session, other)).transpose()?;
    let protocol = session.config.env.protocol();
    // A comment, since the weights follow from the settings.
    let weights = session.transform.sha256().map(|sha256| format!("# SHA-256 of the encoder's weights: {sha256}\n"));
    let config_text = session.config.to_toml() + &weights.unwrap_or_default();
    let mut run = Run::create(dir, &config_text, Some(&protocol), replaces, |made| session.transform.save(made))?;
    if ranks.are_several() {
        run.record_ranks(ranks.n())?;
    }
    announce(&mut session, &mut run, "training")?;
    tell(ranks, Opened::New);
    check_same(&session)?;
    if let Some(origin) = origin {
        say!("{origin}");
        run.record_origin(&origin)?;
        session.save(Some(&mut run))?;
    }
    Ok((session, run))
}

/// How the first of several ranks opened a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It is finished.
    Finished,
    /// It begins.
    New,
    /// It goes on from the checkpoint of this step.
    At(u64),
}

/// Tells the other ranks how the first has opened the run, which they do by [`told`].
pub(super) fn tell(ranks: &Ranks, opened: Opened) {
    ranks.tell(match opened {
        Opened::Finished => 0,
        Opened::New => 1,
        Opened::At(step) => 2 + step,
    });
}

/// Returns how the first rank has opened the run, once it has.
fn told(ranks: &Ranks) -> Opened {
    match ranks.tell(0) {
        0 => Opened::Finished,
        1 => Opened::New,
        step => Opened::At(step - 2),
    }
}

/// Opens the part of this rank, which is not the first, in a run that the first opens. Returns `None` if the run is
/// finished.
///
/// # Errors
/// When the run's files cannot be read here, or differ from those of the first rank.
pub(super) fn follow(
    config: TrainConfig,
    dir: &Path,
    init_from: Option<&Path>,
    ranks: &Ranks,
) -> Result<Option<Session>> {
    match told(ranks) {
        Opened::Finished => Ok(None),
        Opened::New => {
            let transform = ObsTransform::prepare(&config)?;
            let mut session = Session::new(config, transform, ranks.clone())?;
            check_same(&session)?;
            if let Some(other) = init_from {
                origin::init_from(&mut session, other)?;
                session.save(None)?;
            }
            Ok(Some(session))
        }
        Opened::At(step) => {
            let saved = checkpoint::open(dir, Which::Step(step))?;
            let session = Session::at(config, dir, &saved, ranks.clone())?;
            check_same(&session)?;
            Ok(Some(session))
        }
    }
}

/// Checks that all ranks have the same settings and the same encoder.
pub(super) fn check_same(session: &Session) -> Result<()> {
    let text = session.config.to_toml() + &session.transform.sha256().unwrap_or_default();
    session.ranks.check_equal(text.as_bytes(), "the settings")
}

/// Prints and logs what the run is about to do.
pub(super) fn announce(session: &mut Session, run: &mut Run, doing: &str) -> Result<()> {
    let config = &session.config;
    let protocol = config.env.protocol();
    let transform =
        session.transform.describe(config).map(|transform| format!(" seen through {transform}")).unwrap_or_default();
    let (env, agent, seed) = (config.env.id(), config.agent.name(), config.run.seed);
    let steps = length(session);
    let threads = match tch::get_num_threads() {
        1 => String::new(),
        n => format!(", {n} threads"),
    };
    let ranks = if session.ranks.are_several() { format!(", {} ranks", session.ranks.n()) } else { String::new() };
    let line = format!("{doing} {agent} on {env} ({protocol}){transform}, {steps}, seed {seed}{ranks}{threads}");
    say!("{line} -> {}", run.dir().display());
    run.log(&line)?;
    if let Some(bytes) = session.player.agent().and_then(|agent| agent.replay_bytes()).filter(|&bytes| bytes >= LARGE) {
        let disk = match session.config.run.checkpoint_replay {
            true => "and each checkpoint as much on the disk: two are kept, and a third while it is written".to_owned(),
            false => "checkpoints are without it".to_owned(),
        };
        let line = format!("the full replay takes {} of memory, {disk}", gigabytes(bytes));
        say!("{line}");
        run.log(&line)?;
    }
    match idleness(session) {
        Some(warning) => {
            say!("warning: {warning}");
            run.log(&warning)
        }
        None => Ok(()),
    }
}

/// Returns the length of the run in words. Steps come in whole numbers for all environments.
fn length(session: &Session) -> String {
    let (steps, n_envs) = (session.config.run.steps, session.config.run.n_envs);
    match session.player {
        Player::Planner(_) => format!("{} sweeps at most", count(steps)),
        Player::Learner(_) | Player::Scripted if steps.is_multiple_of(n_envs as u64) => {
            format!("{} steps", count(steps))
        }
        Player::Learner(_) | Player::Scripted => {
            let played = count(steps.next_multiple_of(n_envs as u64));
            format!("{played} steps ({}, rounded up to whole steps of {n_envs} environments)", count(steps))
        }
    }
}

/// Returns a warning if the run ends before the agent's first update.
fn idleness(session: &Session) -> Option<String> {
    let Player::Learner(learner) = &session.player else { return None };
    let run = &session.config.run;
    let (played, first) = (run.steps.next_multiple_of(run.n_envs as u64), learner.first_update());
    (played < first).then(|| {
        let (agent, played, first) = (session.config.agent.name(), count(played), count(first));
        format!("{agent} learns nothing in {played} steps: its first update is at step {first}")
    })
}

/// Trains to the end and draws the learning curve.
pub(super) fn complete(session: &mut Session, run: &mut Run) -> Result<Outcome> {
    let began = (session.ranks.spent(), Instant::now());
    let ended = train(session, Some(run));
    let outcome = run.log_end(session.progress.step, ended)?;
    draw(&session.config, run.dir());
    if session.ranks.are_several() {
        let line = price_of_sums(began.0, session.ranks.spent(), began.1.elapsed());
        say!("{line}");
        run.log(&line)?;
        agree(&session.ranks);
    }
    if outcome == Outcome::Interrupted {
        let step = count(session.progress.step);
        say!("stopped at step {step}; continue with: carom resume {}", shell(run.dir()));
    }
    Ok(outcome)
}

/// Trains this rank's part of a run to the end, beside the first rank.
pub(super) fn complete_beside(session: &mut Session) -> Result<Outcome> {
    let outcome = train(session, None)?;
    agree(&session.ranks);
    Ok(outcome)
}

/// Tells all ranks if one of them was asked to end, so that all do one thing next.
fn agree(ranks: &Ranks) {
    interrupt::adopt(ranks.largest(interrupt::signal()));
}

/// Says what sums over the ranks took of a training that took `time`.
fn price_of_sums(before: Spent, after: Spent, time: Duration) -> String {
    let (n, n_values) = (after.n_sums - before.n_sums, after.n_values - before.n_values);
    let (spent, time) = (after.seconds - before.seconds, time.as_secs_f64());
    format!(
        "the all-reduce took {:.1} % of the time: {} sums of {:.2} MB, {:.2} ms each",
        100.0 * spent / time.max(1e-9),
        count(n),
        (n_values * size_of::<f32>() as u64) as f64 / 1e6 / n.max(1) as f64,
        1e3 * spent / n.max(1) as f64,
    )
}

/// Draws the learning curve. Failing is not an error: a run may be too short for an episode.
fn draw(config: &TrainConfig, dir: &Path) {
    let metric = if config.agent.entry().kind == AgentKind::Planner { "plan/value_start" } else { "train/return" };
    let drawn = files::add_pictures(&dir.join(PLOTS), |folder| {
        plot::returns(&[dir], metric, Look::default(), &folder.join(CURVE)).map(drop)
    });
    if let Err(error) = drawn {
        say!("no {PLOTS}/{CURVE}: {error}");
    }
}

/// Checks that a run of the settings `config`, a TOML text, can be in `dir`: a new one, or where the command `goes_on`,
/// the one that is there.
///
/// # Errors
/// When what is there is in the way, or was started with other settings.
pub(super) fn check_place(config: &str, dir: &Path, goes_on: bool, force: bool) -> Result<()> {
    if goes_on && layout::is_run(dir) { check_unchanged(config, dir) } else { run::check_free(dir, force) }
}

/// Checks that the run in `dir`, if there is one, was started with the settings `config`, a TOML text.
///
/// # Errors
/// When it was started with others, or its `config.toml` was edited.
pub(super) fn check_unchanged(config: &str, dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let resolved = kind::config(dir)?.to_toml();
    let mut changes = changes(&dotted(&resolved), &dotted(config));
    if changes.is_empty() {
        changes = run::changes_to(dir, config, &resolved);
    }
    let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
    ensure!(
        changes.is_empty(),
        "{} was started with other settings, and this command changes {}. Choose another --out, or remove it",
        dir.display(),
        shown.join(", ")
    );
    Ok(())
}

/// Starts the run, or opens it at its newest checkpoint. Returns `None` if it is finished.
///
/// # Errors
/// When it has checkpoints and all are damaged, or it cannot be started.
pub(super) fn begin_or_continue(config: &TrainConfig, dir: &Path) -> Result<Option<(Session, Run)>> {
    begin_from_or_continue(config, dir, None, &Ranks::alone())
}

/// Starts the run at the weights of `init_from`, if that is given, or opens it at its newest checkpoint. Returns `None`
/// if it is finished.
///
/// # Errors
/// When it began at other weights, it has checkpoints and all are damaged, or it cannot be started.
pub(super) fn begin_from_or_continue(
    config: &TrainConfig,
    dir: &Path,
    init_from: Option<&Path>,
    ranks: &Ranks,
) -> Result<Option<(Session, Run)>> {
    if is_begun(dir)? {
        check_origin(dir, init_from)?;
        let lock = run::lock(dir)?;
        let saved = newest::<TrainState>(dir)?;
        if saved.state.loop_state.progress.is_finished(config.run.steps) {
            run::check_tables(dir, &saved)?;
            // It may have been stopped between its last step and its curve.
            if !curve(dir).exists() {
                draw(config, dir);
            }
            say!("{} is finished", dir.display());
            tell(ranks, Opened::Finished);
            return Ok(None);
        }
        let mut session = Session::at(config.clone(), dir, &saved, ranks.clone())?;
        let mut run = Run::reopen(dir, lock, &saved)?;
        tell(ranks, Opened::At(saved.state.step));
        check_same(&session)?;
        announce(&mut session, &mut run, &format!("resuming at step {}:", count(saved.state.step)))?;
        return Ok(Some((session, run)));
    }
    begin(config.clone(), dir, Replaces::Unsaved, init_from, ranks).map(Some)
}

/// Checks that the run in `dir` began at the weights of the run `init_from`, if that is given.
fn check_origin(dir: &Path, init_from: Option<&Path>) -> Result<()> {
    let Some(asked) = init_from else { return Ok(()) };
    let facts = run::facts(dir)?;
    let found = facts[run::ORIGIN]["run"].as_str();
    ensure!(
        found == Some(&*files::absolute(&asked.to_string_lossy())?),
        "{} began {}, and --init-from asks for those of {}",
        dir.display(),
        found.map_or_else(|| "at weights of its own".to_owned(), |run| format!("at the weights of {run}")),
        asked.display()
    );
    Ok(())
}

/// Returns whether there is a run in `dir` that has made all its steps.
///
/// # Errors
/// As those of [`has_made`].
pub(super) fn is_finished(config: &TrainConfig, dir: &Path) -> Result<bool> {
    has_made(config.run.steps, dir)
}

/// Returns whether there is a run in `dir` that has made `steps` steps, or has converged before.
///
/// # Errors
/// When it has checkpoints and all are damaged, or has lost rows of its tables since it has made them.
pub(super) fn has_made(steps: u64, dir: &Path) -> Result<bool> {
    if !layout::is_run(dir) || !checkpoint::is_there(dir)? {
        return Ok(false);
    }
    let saved = newest::<TrainState>(dir)?;
    let has_made = saved.state.loop_state.progress.is_finished(steps);
    if has_made {
        run::check_tables(dir, &saved)?;
    }
    Ok(has_made)
}

/// Returns whether there is a run in `dir` that has a checkpoint.
///
/// # Errors
/// When it had one that is gone.
pub(super) fn is_begun(dir: &Path) -> Result<bool> {
    if !layout::is_run(dir) {
        return Ok(false);
    }
    let is_begun = run::is_saved(dir)?;
    if !is_begun {
        say!("{} was stopped before its first checkpoint; starting it again", dir.display());
    }
    Ok(is_begun)
}

/// Opens the newest checkpoint of the run in `dir`.
pub(super) fn newest<S: DeserializeOwned>(dir: &Path) -> Result<Checkpoint<S>> {
    let name = dir.display();
    let advice = || format!("{name} cannot go on; when it is moved away, the same command starts it anew");
    checkpoint::newest(dir).with_context(advice)
}
