//! The training loop: act, step, observe, log, evaluate, checkpoint.

pub(crate) mod evaluation;
pub(crate) mod origin;
pub(crate) mod policy;
pub(crate) mod session;
mod together;

use crate::human::count;
use crate::interrupt;
use crate::run::stopwatch::Stopwatch;
use crate::run::{MetricsFile, Outcome, Run};
use crate::train::evaluation::Evaluation;
use crate::train::session::Session;
use anyhow::Result;
use carom_agents::Player;
use std::time::Instant;

/// Steps of each environment between two looks for a stop that one of several ranks was asked for.
const LOOK_EVERY: u64 = 32;

/// Writer of a training. Of several ranks the first has one.
struct Writer<'a> {
    run: &'a mut Run,
    watch: Stopwatch,
    /// Seconds that the sums over the ranks took up to the last row, and when that was.
    summed: (f64, Instant),
}

/// Trains `session` to its last step, or to its pause. Rows and checkpoints are written at fixed steps, independent of
/// time. Of several ranks all train, and the first has the run.
///
/// # Errors
/// When a loss is no longer finite (no checkpoint is written then), or a file cannot be written.
pub(crate) fn train(session: &mut Session, run: Option<&mut Run>) -> Result<Outcome> {
    let (steps, has_network) = (session.config.run.steps, session.config.agent.entry().kind.has_network());
    let (step, wall_s) = (session.progress.step, session.progress.wall_s);
    let mut writer = run.map(|run| {
        let watch = Stopwatch::new(steps, step, wall_s, has_network);
        Writer { run, watch, summed: (session.ranks.spent().seconds, Instant::now()) }
    });
    let (mut actions, mut stacks) = (vec![0; session.envs.n_envs()], Vec::new());
    while !session.progress.is_finished(session.config.run.steps) {
        if session.is_at_pause() {
            save(session, &mut writer)?;
            return Ok(Outcome::Interrupted);
        }
        let before = session.progress.step;
        let trained = advance(session, &mut actions, &mut stacks);
        if let (Err(_), Some(writer)) = (&trained, &mut writer) {
            writer.run.metrics.flush()?;
        }
        trained?;
        session.note_episodes(writer.as_mut().map(|writer| &mut *writer.run))?;

        let step = session.progress.step;
        let is_due = |every: u64| every > 0 && step / every > before / every;
        // A planner makes few sweeps, so each gets a row.
        if is_due(session.config.run.log_every) || matches!(session.player, Player::Planner(_)) {
            log(session, &mut writer)?;
        }
        if let Some(writer) = writer.as_mut().filter(|_| is_due(session.config.run.eval_every)) {
            evaluate(session, writer.run)?;
        }
        let interrupted = is_to_stop(session, is_due(LOOK_EVERY * session.config.run.n_envs as u64));
        if is_due(session.config.run.checkpoint_every) || interrupted {
            save(session, &mut writer)?;
        }
        if interrupted {
            return Ok(Outcome::Interrupted);
        }
    }
    save(session, &mut writer)?;
    Ok(Outcome::Finished)
}

/// Returns whether the program was asked to end. Several ranks agree on it where they look, since they must end at one
/// step.
fn is_to_stop(session: &Session, looks: bool) -> bool {
    if session.ranks.are_several() {
        if looks {
            interrupt::adopt(session.ranks.largest(interrupt::signal()));
        }
        return looks && interrupt::requested();
    }
    interrupt::requested()
}

fn save(session: &mut Session, writer: &mut Option<Writer>) -> Result<()> {
    session.tell_episodes(writer.as_mut().map(|writer| &mut *writer.run))?;
    if let Some(writer) = writer {
        session.progress.wall_s = writer.watch.wall_s();
    }
    session.save(writer.as_mut().map(|writer| &mut *writer.run))
}

/// Makes one step in every environment, or one sweep of a planner.
pub(crate) fn advance(session: &mut Session, actions: &mut [usize], stacks: &mut Vec<u8>) -> Result<()> {
    let Session { envs, player, progress, ranks, .. } = session;
    let n_steps = actions.len() * ranks.n();
    match player {
        Player::Learner(learner) => {
            let obs = envs.stacks(stacks);
            if let Some(codes) = &mut progress.codes {
                codes.visit(obs);
            }
            learner.act(obs, actions);
            envs.step(actions);
            learner.observe(envs, actions)?;
            // Those of several ranks are added when they are told.
            progress.advance(n_steps, if ranks.are_several() { &[] } else { envs.episodes() });
        }
        Player::Planner(planner) => {
            progress.converged = planner.sweep();
            progress.advance(1, &[]);
        }
        Player::Scripted => {
            envs.scripted_actions(actions);
            envs.step(actions);
            progress.advance(actions.len(), envs.episodes());
        }
    }
    Ok(())
}

fn evaluate(session: &mut Session, run: &mut Run) -> Result<()> {
    let scores = Evaluation::during(&session.config).run(&mut session.player, &session.transform)?;
    let rows = [("eval/return", scores.return_mean), ("eval/return_std", scores.return_std)];
    let rows = rows.into_iter().chain([("eval/return_iqm", scores.return_iqm), ("eval/length", scores.length_mean)]);
    let rows = rows.chain([("eval/truncated", scores.truncated_share)]);
    for (name, value) in rows.chain(scores.return_exact.map(|exact| ("eval/return_exact", exact))) {
        run.metrics.row(MetricsFile::Eval, session.progress.step, name, value)?;
    }
    session.keep_if_best(scores.return_mean, run)
}

/// Writes the rows of this step and updates the progress display.
fn log(session: &mut Session, writer: &mut Option<Writer>) -> Result<()> {
    session.tell_episodes(writer.as_mut().map(|writer| &mut *writer.run))?;
    let stats = session.player.agent().map(carom_agents::Agent::stats).unwrap_or_default();
    let Some(Writer { run, watch, summed }) = writer else { return Ok(()) };
    let step = session.progress.step;
    let means = session.progress.recent_means();
    let means = means.map(|(episode_return, length)| [("train/return", episode_return), ("train/length", length)]);
    let codes = session.progress.codes.as_ref().map(|codes| ("train/codes", codes.n_visited as f64));
    for &(name, value) in means.iter().flatten().chain(&stats).chain(&codes) {
        run.metrics.row(MetricsFile::Metrics, step, name, value)?;
    }
    if session.ranks.are_several() {
        let before = std::mem::replace(summed, (session.ranks.spent().seconds, Instant::now()));
        let share = (summed.0 - before.0) / (summed.1 - before.1).as_secs_f64().max(1e-9);
        run.metrics.row(MetricsFile::Timing, step, "allreduce_share", share)?;
    }
    let place = format!("step {} of {}", count(step), count(session.config.run.steps));
    let score = means.map(|[(_, episode_return), _]| format!("return {episode_return:.2}"));
    watch.row(run, step, &stats, place, score)
}
