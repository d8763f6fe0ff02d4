//! Driving runs: what `run` and `resume` share.

use crate::args::{ClockKind, Driving, Record};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::host::{self, Stop};
use crate::tally::Tally;
use crate::{logs, mail};
use aos_engine::chain::Recording;
use aos_engine::clock::Clock;
use aos_engine::engine::Engine;
use aos_engine::pool::{Job, PoolOptions, run_all};
use aos_format::offset::Offset;
use aos_store::Log;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

/// Runs in memory for each worker: enough that none waits for another's disk.
const IN_FLIGHT_A_WORKER: usize = 64;
/// Effects at a time, and of a command that is about one run.
const EFFECTS: usize = 32;
const EFFECTS_OF_ONE: usize = 8;

impl Driving {
    /// The clock that runs see.
    pub fn clock(&self) -> Clock {
        Clock {
            fixed_ns: self.now,
            is_virtual: self.clock == ClockKind::Virtual,
        }
    }

    /// An engine on `log`.
    ///
    /// # Errors
    /// As [`logs::engine`].
    pub fn engine(&self, path: &Path, log: Arc<Log>) -> Result<Engine, Failure> {
        let recording = match self.record {
            Record::Values => Recording::Values,
            Record::Digests => Recording::Digests,
        };
        let engine = logs::engine(path, log, self.clock())?.recording(recording);
        Ok(match self.checkpoint_every {
            Some(steps) => engine.checkpoint_every(steps),
            None => engine,
        })
    }

    fn pool(&self, single: bool, stop: &Stop) -> PoolOptions {
        let workers = if single {
            1
        } else {
            self.workers.map_or_else(host::cores, usize::from)
        };
        let in_flight = if single {
            1
        } else {
            workers * IN_FLIGHT_A_WORKER
        };
        PoolOptions {
            workers,
            in_flight,
            // The branches of one run have effects in flight together too.
            effects: EFFECTS.min(in_flight.max(EFFECTS_OF_ONE)),
            stop: stop.flag(),
        }
    }
}

/// What drives the runs of one command.
pub struct Drive<'a> {
    /// Path of the log.
    pub path: &'a Path,
    /// The engine; its log is closed in the end.
    pub engine: Engine,
    /// How.
    pub driving: &'a Driving,
    /// Whether there is only one run.
    pub single: bool,
    /// When to stop.
    pub stop: &'a Stop,
}

/// How driving ended, before the summary is written.
pub struct Driven {
    durable: Offset,
    failure: Option<Failure>,
}

impl Drive<'_> {
    /// Runs all jobs, tells `tally` of each, and closes the log.
    pub fn all(self, tally: &RefCell<Tally<'_>>, jobs: impl Iterator<Item = Job>) -> Driven {
        self.both(tally, jobs, |_| Ok(Vec::new()))
    }

    /// Runs all jobs, then those that `later` finds, tells `tally` of each, and closes the log.
    pub fn both(
        self,
        tally: &RefCell<Tally<'_>>,
        jobs: impl Iterator<Item = Job>,
        later: impl FnOnce(&Engine) -> Result<Vec<Job>, aos_engine::Error>,
    ) -> Driven {
        let mut failure = None;
        let pool = self.driving.pool(self.single, self.stop);
        let mut told = |done| {
            if let Err(unwritten) = tally.borrow_mut().done(done) {
                failure.get_or_insert(unwritten);
            }
        };
        let ran = mail::during(self.path, &self.engine, || {
            run_all(&self.engine, jobs, &pool, &mut told)?;
            let jobs = later(&self.engine)?;
            run_all(&self.engine, jobs.into_iter(), &pool, &mut told)
        });
        if let Err(error) = ran {
            failure = Some(failure::engine(self.path)(error));
        }
        let durable = self.engine.log().durable();
        match logs::close(self.path, self.engine) {
            Ok(durable) => Driven { durable, failure },
            Err(closing) => Driven {
                durable,
                failure: failure.or(Some(closing)),
            },
        }
    }
}

impl Driven {
    /// Writes the summary. `broken` is what ended the input before its time.
    ///
    /// # Errors
    /// What failed as a whole; [`failure::STOPPED`] after a signal.
    pub fn finish(
        self,
        path: &Path,
        tally: Tally<'_>,
        broken: Option<Failure>,
        stop: &Stop,
    ) -> Result<Exit, Failure> {
        let (ended, open) = tally.ended_and_open();
        let exit = tally.finish(self.durable)?;
        if let Some(failure) = self.failure.or(broken) {
            return Err(Failure {
                exit: failure.exit.worst(exit),
                ..failure
            });
        }
        match stop.exit() {
            Some(signal) => {
                let message =
                    format!("stopped by a signal: {ended} runs have ended, {open} are left open");
                let next = format!(
                    "the same command again, or aosctl resume {}",
                    failure::argument(path)
                );
                Err(Failure::new(failure::STOPPED, signal.worst(exit), message)
                    .place(failure::shown(path))
                    .next(next))
            }
            None => Ok(exit),
        }
    }
}
