//! Replay: verify, then re-execute, then one report.

use crate::error::Error;
use crate::finding::{Finding, FindingKind};
use crate::pool::{self, Threads};
use crate::reexecute::{Executor, Outcome};
use crate::report::{Determinism, PrunedRuns, Report, RunReport, Verdict};
use crate::verify::{FINDINGS_MAX, Integrity, RunSeen, Verified, verify_with};
use aos_engine::expr::EVAL_STACK_BYTES;
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_format::digest::{Digest, RunId, log_digest};
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_format::sha_wide::Width;
use aos_store::{ErrorKind, LogReader, Source};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a replay is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Verifying; counted in bytes.
    Verify,
    /// Re-executing; counted in runs.
    Reexecute,
}

/// How to replay.
#[derive(Clone)]
pub struct Options<'a> {
    /// Threads, from 1.
    pub workers: usize,
    /// Leaves re-execution out.
    pub verify_only: bool,
    /// Re-executes and reports this run alone. The whole log is verified all the same.
    pub run: Option<RunId>,
    /// Root seed in place of the recorded ones.
    pub seed: Option<RootSeed>,
    /// Skills that runs may call. Only pure ones are called.
    pub skills: Arc<Skills>,
    /// Told how much of how much is done.
    pub progress: &'a dyn Fn(Phase, u64, u64),
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            workers: 1,
            verify_only: false,
            run: None,
            seed: None,
            skills: Arc::new(Skills::builtin()),
            progress: &|_, _, _| (),
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("workers", &self.workers)
            .field("verify_only", &self.verify_only)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

/// Verifies the log and makes its runs again, without writing anything anywhere.
///
/// # Errors
/// [`Error::Store`] when the disk fails; [`Error::NoRun`] when the log has no run of that id. Faults are findings.
pub fn replay(reader: &LogReader, options: &Options<'_>) -> Result<Report, Error> {
    let verify_progress = |done, total| (options.progress)(Phase::Verify, done, total);
    let verified = verify_with(reader, options.workers, Width::best(), &verify_progress)?;
    executed(reader, &verified, options)
}

/// Makes the runs of a source again that was verified in its own way, such as an archive: `integrity` says with what result.
/// Runs that it does not hold whole are not checked.
///
/// # Errors
/// As [`replay`].
pub fn reexecute(
    source: &dyn Source,
    integrity: Integrity,
    options: &Options<'_>,
) -> Result<Report, Error> {
    let index = source.index()?;
    let mut verified = Verified {
        integrity,
        findings: Vec::new(),
        finding_count: 0,
        unsupported: false,
        runs: BTreeMap::new(),
        definitions: index.rows.definitions.clone(),
        seeds: index.rows.seeds.clone(),
        records: 0,
        groups: 0,
        events: 0,
        steps: 0,
        bytes: 0,
        sealed_through: Offset(0),
        pruned: None,
    };
    for (run, row) in &index.rows.runs {
        let whole = match source.stream(StreamId::run(*run), 1) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
        };
        let started = row.definition != Digest::ZERO;
        verified.events += row.events;
        verified.steps += row.steps;
        verified.runs.insert(
            *run,
            RunSeen {
                start: started.then_some(row.start),
                head: row.head,
                seq: row.seq,
                digest: row.digest,
                ended: row.status.is_ended(),
                damaged: !whole,
                definition: started.then_some(row.definition),
                root_seed: row.root_seed,
                events: row.events,
                steps: row.steps,
            },
        );
    }
    executed(source, &verified, options)
}

fn executed(
    source: &dyn Source,
    verified: &Verified,
    options: &Options<'_>,
) -> Result<Report, Error> {
    if let Some(run) = options.run.filter(|run| !verified.runs.contains_key(run)) {
        // What is gone says so when it is read.
        if let Some(row) = source.index()?.rows.runs.get(&run) {
            source.read(row.head)?;
        }
        return Err(Error::NoRun { run });
    }
    let executor = Executor::new(
        source,
        verified,
        options.skills.clone(),
        options.seed.clone(),
    )?;
    let mut replay = Replay::new(verified, options);
    replay.add(executor.false_definitions(verified));
    let runs: Vec<(RunId, &RunSeen)> = verified
        .runs
        .iter()
        .filter(|(run, _)| options.run.is_none_or(|only| only == **run))
        .map(|(run, seen)| (*run, seen))
        .collect();
    if options.verify_only {
        for (run, seen) in &runs {
            replay.row(*run, seen, None);
        }
        return Ok(replay.report());
    }
    let work = |index: usize, out: &mut Option<Result<Outcome, Error>>| {
        *out = runs.get(index).map(|(run, seen)| executor.run(*run, seen));
    };
    let stack = Threads::Stack(EVAL_STACK_BYTES);
    pool::in_order(
        stack,
        options.workers,
        runs.len(),
        &work,
        |index, out| -> Result<(), Error> {
            let (run, seen) = runs[index];
            if let Some(outcome) = out.take() {
                replay.row(run, seen, Some(outcome?));
            }
            (options.progress)(Phase::Reexecute, index as u64 + 1, runs.len() as u64);
            Ok(())
        },
    )?;
    Ok(replay.report())
}

/// A report in the making.
struct Replay<'a> {
    verified: &'a Verified,
    options: &'a Options<'a>,
    findings: Vec<Finding>,
    finding_count: u64,
    integrity: Integrity,
    rows: Vec<RunReport>,
}

impl<'a> Replay<'a> {
    fn new(verified: &'a Verified, options: &'a Options<'a>) -> Replay<'a> {
        Replay {
            verified,
            options,
            findings: verified.findings.clone(),
            finding_count: verified.finding_count,
            integrity: verified.integrity,
            rows: Vec::new(),
        }
    }

    fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            self.finding_count += 1;
            if finding.kind == FindingKind::Corruption {
                self.integrity = Integrity::Corrupt;
            }
            // Verifying may have filled the list; what re-execution says must not get lost behind it.
            if self.findings.len() < 2 * FINDINGS_MAX {
                self.findings.push(finding);
            }
        }
    }

    fn row(&mut self, run: RunId, seen: &RunSeen, outcome: Option<Outcome>) {
        let (determinism, finding) = match outcome {
            None => (Determinism::NotChecked, None),
            Some(Outcome::Match) => (Determinism::Match, None),
            Some(Outcome::Mismatch(finding)) => (Determinism::Mismatch, Some(*finding)),
            Some(Outcome::NotChecked(finding)) => (Determinism::NotChecked, Some(*finding)),
        };
        self.add(finding);
        self.rows.push(RunReport {
            run,
            determinism,
            open: !seen.ended,
            events: seen.events,
            steps: seen.steps,
            history_digest: seen.digest,
        });
    }

    fn report(mut self) -> Report {
        let any = |wanted: Determinism| self.rows.iter().any(|row| row.determinism == wanted);
        let determinism = if any(Determinism::Mismatch) {
            Determinism::Mismatch
        } else if self.options.verify_only || any(Determinism::NotChecked) {
            Determinism::NotChecked
        } else {
            Determinism::Match
        };
        self.findings.sort_by_key(|finding| finding.offset);
        let sum = |field: fn(&RunReport) -> u64| self.rows.iter().map(field).sum();
        Report {
            verdict: Verdict::of(
                self.integrity,
                determinism,
                self.options.verify_only,
                !self.verified.unsupported,
            ),
            integrity: self.integrity,
            determinism,
            sealed_through: self.verified.sealed_through.0,
            runs: self.rows.len() as u64,
            open: sum(|row| row.open.into()),
            events: sum(|row| row.events),
            steps: sum(|row| row.steps),
            bytes: self.verified.bytes,
            mismatches: sum(|row| (row.determinism == Determinism::Mismatch).into()),
            findings: self.findings,
            finding_count: self.finding_count,
            digest: match self.options.run {
                None => self.verified.digest(),
                Some(_) => log_digest(self.rows.iter().map(|row| (&row.run, &row.history_digest))),
            },
            pruned: self.verified.pruned.as_ref().map(|part| PrunedRuns {
                below: part.end.0,
                runs: part.runs.len() as u64,
            }),
            rows: self.rows,
            workers: self.options.workers.max(1),
        }
    }
}
