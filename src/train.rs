//! The training loop: act, step, observe, log, evaluate, checkpoint.

use crate::bar::Bar;
use crate::evaluate::Evaluation;
use crate::human::count;
use crate::interrupt;
use crate::run::{Run, Table};
use crate::session::Session;
use anyhow::Result;
use carom_agents::Trainer;
use std::time::Instant;

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were made, or a planner found nothing left to change.
    Finished,
    /// It was asked to stop, and saved a checkpoint.
    Interrupted,
}

/// Trains from where `session` stands to its last step. Rows and checkpoints fall on fixed steps, whatever the clock says.
///
/// # Errors
/// When a loss is no longer finite (no checkpoint is written then), or a file cannot be.
pub fn train(session: &mut Session, run: &mut Run) -> Result<Outcome> {
    let mut watch = Watch::new(session);
    let (mut actions, mut stacks) = (vec![0; session.config.n_envs], Vec::new());
    while !session.progress.is_finished(session.config.steps) {
        let before = session.progress.step;
        let trained = advance(session, &mut actions, &mut stacks);
        if trained.is_err() {
            run.metrics.flush()?;
        }
        trained?;
        run.metrics.episodes(session.progress.step, session.envs.episodes())?;

        let step = session.progress.step;
        let is_due = |every: u64| every > 0 && step / every > before / every;
        // A planner makes few sweeps, and each is worth a row.
        if is_due(session.config.log_every) || matches!(session.trainer, Trainer::Planner(_)) {
            watch.log(session, run)?;
        }
        if is_due(session.config.eval_every) {
            evaluate(session, run)?;
        }
        let interrupted = interrupt::requested();
        if is_due(session.config.checkpoint_every) || interrupted {
            watch.stop(session);
            session.save(run)?;
        }
        if interrupted {
            return Ok(Outcome::Interrupted);
        }
    }
    watch.stop(session);
    session.save(run)?;
    Ok(Outcome::Finished)
}

/// One step of every environment, or one sweep.
fn advance(session: &mut Session, actions: &mut [usize], stacks: &mut Vec<u8>) -> Result<()> {
    let Session { envs, trainer, progress, .. } = session;
    match trainer {
        Trainer::Learner(learner) => {
            let obs = envs.stacks(stacks);
            if let Some(codes) = &mut progress.codes {
                codes.visit(obs);
            }
            learner.act(obs, actions);
            envs.step(actions);
            learner.observe(envs, actions)?;
            progress.advance(actions.len(), envs.episodes());
        }
        Trainer::Planner(planner) => {
            progress.converged = planner.sweep();
            progress.advance(1, &[]);
        }
        Trainer::Scripted => {
            envs.scripted_actions(actions);
            envs.step(actions);
            progress.advance(actions.len(), envs.episodes());
        }
    }
    Ok(())
}

fn evaluate(session: &mut Session, run: &mut Run) -> Result<()> {
    let scores = Evaluation::of_run(&session.config).run(&mut session.trainer, &session.sight)?;
    let rows = [("eval/return", scores.return_mean), ("eval/return_std", scores.return_std)];
    let rows = rows.into_iter().chain([("eval/return_iqm", scores.return_iqm), ("eval/length", scores.length_mean)]);
    for (name, value) in rows.chain(scores.return_exact.map(|exact| ("eval/return_exact", exact))) {
        run.metrics.row(Table::Eval, session.progress.step, name, value)?;
    }
    Ok(())
}

/// Rows, the bar, and the clock.
struct Watch {
    bar: Bar,
    /// When the process took the run up, and how many seconds had been spent before.
    began: (Instant, f64),
    /// When the last row was written, and at which step.
    last_row: (Instant, u64),
}

impl Watch {
    fn new(session: &Session) -> Self {
        let (step, now) = (session.progress.step, Instant::now());
        Self { bar: Bar::new(session.config.steps, step), began: (now, session.progress.wall_s), last_row: (now, step) }
    }

    fn log(&mut self, session: &mut Session, run: &mut Run) -> Result<()> {
        let step = session.progress.step;
        let means = session.progress.recent_means();
        let means = means.map(|(episode_return, length)| [("train/return", episode_return), ("train/length", length)]);
        let stats = session.trainer.agent().map(|agent| agent.stats()).unwrap_or_default();
        let codes = session.progress.codes.as_ref().map(|codes| ("train/codes", codes.n_visited as f64));
        for &(name, value) in means.iter().flatten().chain(&stats).chain(&codes) {
            run.metrics.row(Table::Metrics, step, name, value)?;
        }
        let (row_began, row_step) = std::mem::replace(&mut self.last_row, (Instant::now(), step));
        let row_s = row_began.elapsed().as_secs_f64().max(1e-9);
        self.stop(session);
        run.metrics.row(Table::Timing, step, "wall_s", session.progress.wall_s)?;
        run.metrics.row(Table::Timing, step, "steps_per_s", (step - row_step) as f64 / row_s)?;
        run.metrics.flush_if_due()?;
        self.bar.note(&stats);
        let place = format!("step {} of {}", count(step), count(session.config.steps));
        let score = means.map(|[(_, episode_return), _]| format!("return {episode_return:.2}"));
        self.bar.show(step, place, score);
        Ok(())
    }

    /// Brings the time spent up to date.
    fn stop(&self, session: &mut Session) {
        session.progress.wall_s = self.began.1 + self.began.0.elapsed().as_secs_f64();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bar.clear();
    }
}
