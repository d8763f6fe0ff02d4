//! `aosctl resume`

use super::steer;
use crate::args::Resume;
use crate::drive::Drive;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host::{self, Stop, progress};
use crate::logs;
use crate::output::{Output, talk};
use crate::tally::{Name, Tally};
use aos_engine::machine::{Answer, Control};
use aos_engine::pool::Job;
use aos_engine::subflow::is_within;
use aos_store::RunRow;
use std::cell::RefCell;

/// Finishes the runs that a crash left open, or one of them; where another process has the log open, that one goes on with it.
///
/// # Errors
/// What keeps the whole from going on; runs that fail are in the exit code.
pub fn resume(args: &Resume, out: &mut Output) -> Result<Exit, Failure> {
    let stop = Stop::listen()?;
    let log = loop {
        match (logs::writer(&args.log, None), &args.run) {
            (Ok(log), _) => break log,
            (Err(busy), Some(run)) if busy.code == "AOS-S002" => {
                if steer::go_on(&args.log, run, out)? {
                    return Ok(Exit::Yes);
                }
            }
            (Err(busy), None) if busy.code == "AOS-S002" => {
                let name = failure::argument(&args.log);
                return Err(busy.next(format!(
                    "wait until the other writer has ended, or name one run, and that writer goes on with it; reading works meanwhile: aosctl runs {name}"
                )));
            }
            (Err(other), _) => return Err(other),
        }
    };
    let failed = failure::store(&args.log);
    let rows = match &args.run {
        Some(name) => vec![logs::find(
            &args.log,
            log.rows().map_err(&failed)?.runs.values(),
            name,
        )?],
        None => logs::not_imported(&log, log.open_runs().map_err(&failed)?).map_err(&failed)?,
    };
    if rows.is_empty() {
        talk(&format!("no run of {} is open", failure::shown(&args.log)));
    }
    let single = args.run.is_some();
    let engine = args.driving.engine(&args.log, log)?;
    // A run that is named goes on even if somebody suspended it.
    let named = rows.first().filter(|row| single && !row.status.is_ended());
    if let Some(row) = named {
        let failed = failure::engine(&args.log);
        if engine.is_suspended(row.run).map_err(&failed)? {
            let go_on = Answer::Control(Control::Resume, host::user());
            engine.signal(row.run, go_on).map_err(&failed)?;
        }
    }
    let bar = progress::bar(rows.len() as u64);
    let tally = RefCell::new(Tally::new(&args.log, out, bar.clone(), single));
    let job = |(row, tag): (&RunRow, u64)| {
        bar.inc(1);
        tally.borrow_mut().begin(
            tag,
            Name {
                line: None,
                key: Some(row.key.clone()),
            },
        );
        Job::Resume { tag, run: row.run }
    };
    // What a step of another run runs is that run's to finish. Whose caller has ended waits for nobody: it is cancelled.
    let (within, outer): (Vec<_>, Vec<_>) = rows
        .iter()
        .zip(0..)
        .partition(|(row, _)| is_within(&row.key) && !single);
    let drive = Drive {
        path: &args.log,
        engine,
        driving: &args.driving,
        single,
        stop: &stop,
    };
    let job = &job;
    let driven = drive.both(&tally, outer.into_iter().map(job), |engine| {
        let orphans = engine.end_orphans()?;
        let left = within.into_iter();
        Ok(left
            .filter(|(row, _)| orphans.contains(&row.run))
            .map(job)
            .collect())
    });
    driven.finish(&args.log, tally.into_inner(), None, &stop)
}
