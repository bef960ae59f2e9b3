//! The training loop: act, step, observe, log, evaluate, checkpoint.

pub(crate) mod evaluation;
pub(crate) mod origin;
pub(crate) mod policy;
pub(crate) mod session;

use crate::human::count;
use crate::interrupt;
use crate::run::stopwatch::Stopwatch;
use crate::run::{MetricsFile, Outcome, Run};
use crate::train::evaluation::Evaluation;
use crate::train::session::Session;
use anyhow::Result;
use carom_agents::Player;

/// Trains `session` to its last step, or to its pause. Rows and checkpoints are written at fixed steps, independent of
/// time.
///
/// # Errors
/// When a loss is no longer finite (no checkpoint is written then), or a file cannot be written.
pub(crate) fn train(session: &mut Session, run: &mut Run) -> Result<Outcome> {
    let (steps, has_network) = (session.config.run.steps, session.config.agent.entry().has_network);
    let mut watch = Stopwatch::new(steps, session.progress.step, session.progress.wall_s, has_network);
    let (mut actions, mut stacks) = (vec![0; session.config.run.n_envs], Vec::new());
    while !session.progress.is_finished(session.config.run.steps) {
        if session.is_at_pause() {
            session.progress.wall_s = watch.wall_s();
            session.save(run)?;
            return Ok(Outcome::Interrupted);
        }
        let before = session.progress.step;
        let trained = advance(session, &mut actions, &mut stacks);
        if trained.is_err() {
            run.metrics.flush()?;
        }
        trained?;
        run.metrics.episodes(session.progress.step, session.envs.episodes())?;

        let step = session.progress.step;
        let is_due = |every: u64| every > 0 && step / every > before / every;
        // A planner makes few sweeps, so each gets a row.
        if is_due(session.config.run.log_every) || matches!(session.player, Player::Planner(_)) {
            log(session, run, &mut watch)?;
        }
        if is_due(session.config.run.eval_every) {
            evaluate(session, run)?;
        }
        let interrupted = interrupt::requested();
        if is_due(session.config.run.checkpoint_every) || interrupted {
            session.progress.wall_s = watch.wall_s();
            session.save(run)?;
        }
        if interrupted {
            return Ok(Outcome::Interrupted);
        }
    }
    session.progress.wall_s = watch.wall_s();
    session.save(run)?;
    Ok(Outcome::Finished)
}

/// Makes one step in every environment, or one sweep of a planner.
pub(crate) fn advance(session: &mut Session, actions: &mut [usize], stacks: &mut Vec<u8>) -> Result<()> {
    let Session { envs, player, progress, .. } = session;
    match player {
        Player::Learner(learner) => {
            let obs = envs.stacks(stacks);
            if let Some(codes) = &mut progress.codes {
                codes.visit(obs);
            }
            learner.act(obs, actions);
            envs.step(actions);
            learner.observe(envs, actions)?;
            progress.advance(actions.len(), envs.episodes());
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
fn log(session: &mut Session, run: &mut Run, watch: &mut Stopwatch) -> Result<()> {
    let step = session.progress.step;
    let means = session.progress.recent_means();
    let means = means.map(|(episode_return, length)| [("train/return", episode_return), ("train/length", length)]);
    let stats = session.player.agent().map(carom_agents::Agent::stats).unwrap_or_default();
    let codes = session.progress.codes.as_ref().map(|codes| ("train/codes", codes.n_visited as f64));
    for &(name, value) in means.iter().flatten().chain(&stats).chain(&codes) {
        run.metrics.row(MetricsFile::Metrics, step, name, value)?;
    }
    let place = format!("step {} of {}", count(step), count(session.config.run.steps));
    let score = means.map(|[(_, episode_return), _]| format!("return {episode_return:.2}"));
    watch.row(run, step, &stats, place, score)
}
