//! The fit loop: shuffle, take a batch, update, log, measure, checkpoint.

use super::session::FitSession;
use crate::generative::model::Effort;
use crate::interrupt;
use crate::run::stopwatch::Stopwatch;
use crate::run::{MetricsFile, Outcome, Run};
use anyhow::Result;

/// Approximate number of rows of a metric in a fit.
const N_ROWS: u64 = 500;

/// Fits from the session's step to the last one.
///
/// # Errors
/// When the judge that the settings name cannot be opened, a loss is no longer finite (no checkpoint is written then),
/// or a file cannot be written.
pub(crate) fn fit(session: &mut FitSession, run: &mut Run) -> Result<Outcome> {
    session.check_judge()?;
    let (total, per_epoch) = (session.total_steps(), session.steps_per_epoch());
    let log_every = (total / N_ROWS).max(1);
    let mut watch = Stopwatch::new(total, session.progress.step, session.progress.wall_s, false);
    let mut order = session.order(session.progress.step / per_epoch);
    if session.progress.to_measure {
        measure(session, run)?;
    }
    while session.progress.step < total && !interrupt::requested() {
        let step = session.progress.step;
        if step.is_multiple_of(per_epoch) {
            order = session.order(step / per_epoch);
        }
        let updated = session.update(&order);
        if updated.is_err() {
            run.metrics.flush()?;
        }
        updated?;

        let step = session.progress.step;
        if step.is_multiple_of(log_every) {
            log(session, run, &mut watch)?;
        }
        let epoch = step / per_epoch;
        let ends_epoch = step.is_multiple_of(per_epoch);
        let is_due = |every: u64| step == total || (ends_epoch && every > 0 && epoch.is_multiple_of(every));
        if is_due(session.config.run.eval_every) {
            session.progress.to_measure = true;
            measure(session, run)?;
        }
        if is_due(session.config.run.checkpoint_every) {
            session.progress.wall_s = watch.wall_s();
            session.save(run)?;
        }
    }
    if !interrupt::requested() {
        return Ok(Outcome::Finished);
    }
    session.progress.wall_s = watch.wall_s();
    session.save(run)?;
    Ok(Outcome::Interrupted)
}

/// Writes a point of the learning curve. If a stop was requested, it is postponed to the resumed run, since the fit of
/// the judge may have been stopped too.
fn measure(session: &mut FitSession, run: &mut Run) -> Result<()> {
    let measured = session.evaluate(Effort::Curve);
    if interrupt::requested() {
        return Ok(());
    }
    session.progress.to_measure = false;
    session.measured = measured;
    for (name, value) in &session.measured.values {
        run.metrics.row(MetricsFile::Metrics, session.progress.step, name, *value)?;
    }
    Ok(())
}

/// Writes the rows of this step and updates the progress display.
fn log(session: &mut FitSession, run: &mut Run, watch: &mut Stopwatch) -> Result<()> {
    let step = session.progress.step;
    let stats = session.model.stats();
    let epoch = step as f64 / session.steps_per_epoch() as f64;
    for &(name, value) in stats.iter().chain(&[("fit/epoch", epoch)]) {
        run.metrics.row(MetricsFile::Metrics, step, name, value)?;
    }
    let place = format!("epoch {epoch:.1} of {}", session.config.descent.epochs);
    let headline = session.measured.values.first().map(|(name, value)| format!("{name} {value:.4}"));
    watch.row(run, step, &stats, place, headline)
}
