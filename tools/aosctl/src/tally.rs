//! What became of a command's runs: rows as they end, and the summary.

use crate::args::Form;
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::output::{Cell, Object, Output, talk};
use aos_engine::machine::Ended;
use aos_engine::pool::{Done, Outcome, TAKEN_ON};
use aos_format::digest::{Digest, RunId, log_digest};
use aos_format::offset::Offset;
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Failures told one by one; the others are counted.
const TOLD_MAX: u64 = 20;

/// Where a run stands when its command is done with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    Completed,
    Faulted,
    Cancelled,
    Suspended,
    Waiting,
    Held,
    Open,
}

impl Standing {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Completed => "completed",
            Standing::Faulted => "faulted",
            Standing::Cancelled => "cancelled",
            Standing::Suspended => "suspended",
            Standing::Waiting => "waiting",
            Standing::Held => "held",
            Standing::Open => "open",
        }
    }
}

/// One run as it stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    digest: Digest,
    standing: Standing,
    steps: u64,
    events: u64,
}

/// The name of a job: its line and key.
#[derive(Clone, Debug, Default)]
pub struct Name {
    /// Line of the inputs, from 1.
    pub line: Option<u64>,
    /// Key of the run.
    pub key: Option<String>,
}

/// Counts a command's runs and writes their rows.
pub struct Tally<'o> {
    log: PathBuf,
    out: &'o mut Output,
    bar: ProgressBar,
    started: Instant,
    /// 48 bytes a run and some: what the digest over all runs needs.
    runs: BTreeMap<RunId, Entry>,
    /// Jobs under way.
    names: BTreeMap<u64, Name>,
    failed: u64,
    told: u64,
    exit: Exit,
    /// Row of the only run, when the command is about one.
    single: Option<Option<Object>>,
}

impl<'o> Tally<'o> {
    /// Nothing yet. `single` says that the command is about one run, whose row is in the summary.
    pub fn new(log: &Path, out: &'o mut Output, bar: ProgressBar, single: bool) -> Tally<'o> {
        Tally {
            log: log.to_owned(),
            out,
            bar,
            started: Instant::now(),
            runs: BTreeMap::new(),
            names: BTreeMap::new(),
            failed: 0,
            told: 0,
            exit: Exit::Yes,
            single: single.then_some(None),
        }
    }

    /// A job is about to be handed out under that number.
    pub fn begin(&mut self, tag: u64, name: Name) {
        self.names.insert(tag, name);
    }

    /// Something failed that is no run: a line that is not JSON, a conflict.
    pub fn fail(&mut self, name: &Name, failure: &Failure) -> Result<(), Failure> {
        self.failed += 1;
        self.exit = self.exit.worst(failure.exit);
        self.told += 1;
        if self.told <= TOLD_MAX {
            self.bar.suspend(|| failure.print());
        } else if self.told == TOLD_MAX + 1 {
            self.bar.suspend(|| {
                talk("more failures follow; the summary counts them, -o jsonl names them all")
            });
        }
        let error = Object::new()
            .with("code", failure.code)
            .with("message", failure.message.as_str())
            .with("place", failure.place.clone());
        if let Some(single) = &mut self.single {
            *single = Some(
                Object::new()
                    .with("status", "failed")
                    .with("error", error.clone()),
            );
        }
        if self.out.form() == Form::Jsonl {
            let row = Object::new()
                .with("line", name.line)
                .with("key", name.key.clone())
                .with("status", "failed");
            self.out.json_line(&row.with("error", error))?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// A job is done.
    pub fn done(&mut self, done: Done) -> Result<(), Failure> {
        let asked = done.tag < TAKEN_ON;
        let name = self.names.remove(&done.tag).unwrap_or_default();
        self.bar
            .set_message(format!("{} runs", self.runs.len() + 1));
        let (standing, output, error) = match done.outcome {
            Outcome::Ended(Ended::Completed(output)) => (Standing::Completed, Some(output), None),
            Outcome::Ended(Ended::Faulted(error)) => (Standing::Faulted, None, Some(error)),
            Outcome::Ended(Ended::Cancelled(error)) => (Standing::Cancelled, None, Some(error)),
            Outcome::Waiting => (Standing::Waiting, None, None),
            Outcome::Suspended => (Standing::Suspended, None, None),
            Outcome::Held(need) => {
                if let Some(run) = done.run {
                    self.bar
                        .suspend(|| talk(&held(&self.log, run, &need.activation, &need.skill)));
                }
                (Standing::Held, None, None)
            }
            // Stopped before its first event: not begun, and nothing of it is in the log.
            Outcome::Stopped if done.events == 0 => return Ok(()),
            Outcome::Stopped => (Standing::Open, None, None),
            // The job that drives it tells of it.
            Outcome::Duplicate => return Ok(()),
            Outcome::Failed(error) => {
                let mut failure = failure::engine(&self.log)(*error);
                if let Some(line) = name.line {
                    failure.message = format!("line {line}: {}", failure.message);
                }
                return self.fail(&name, &failure);
            }
        };
        let Some(run) = done.run else { return Ok(()) };
        let json = |value: Option<aos_engine::value::Value>| {
            value.map_or(Cell::Null, |v| Cell::Json(v.as_str().into()))
        };
        let row = Object::new()
            .with("run", run.to_string())
            .with("status", standing.name())
            .with("output", json(output))
            .with("error", json(error))
            .with("history_digest", done.digest.hex());
        let entry = Entry {
            digest: done.digest,
            standing,
            steps: done.steps,
            events: done.events,
        };
        self.runs.insert(run, entry);
        if self.out.form() == Form::Jsonl {
            let named = Object::new().with("line", name.line).with("key", name.key);
            let counts = Object::new()
                .with("steps", done.steps)
                .with("events", done.events);
            self.out.json_line(&named.and(row.clone()).and(counts))?;
            self.out.flush()?;
        }
        if let Some(single) = self.single.as_mut().filter(|_| asked) {
            *single = Some(row);
        }
        Ok(())
    }

    fn count(&self, standing: Standing) -> usize {
        self.runs
            .values()
            .filter(|entry| entry.standing == standing)
            .count()
    }

    /// Digest over all runs.
    pub fn digest(&self) -> Digest {
        log_digest(self.runs.iter().map(|(run, entry)| (run, &entry.digest)))
    }

    /// Runs that have ended, and those that have not.
    pub fn ended_and_open(&self) -> (usize, usize) {
        let open = self
            .runs
            .values()
            .filter(|entry| entry.standing >= Standing::Suspended)
            .count();
        (self.runs.len() - open, open)
    }

    /// Writes the summary; returns the exit code.
    pub fn finish(mut self, durable: Offset) -> Result<Exit, Failure> {
        self.bar.finish_and_clear();
        if self.count(Standing::Faulted) > 0 {
            self.exit = self.exit.worst(Exit::No);
        }
        let total = |of: fn(&Entry) -> u64| self.runs.values().map(of).sum::<u64>();
        let summary = Object::new()
            .with("schema", "aos.run.v1")
            .with("log", self.log.display().to_string())
            .with("runs", self.runs.len())
            .with("completed", self.count(Standing::Completed))
            .with("faulted", self.count(Standing::Faulted))
            .with("waiting", self.count(Standing::Waiting))
            .with("held", self.count(Standing::Held))
            .with("cancelled", self.count(Standing::Cancelled))
            .with(
                "open",
                self.count(Standing::Open) + self.count(Standing::Suspended),
            )
            .with("failed", self.failed)
            .with("steps", total(|entry| entry.steps))
            .with("events", total(|entry| entry.events))
            .with("digest", self.digest().hex())
            .with("durable_offset", durable.0)
            .with("elapsed_s", crate::host::seconds(self.started));
        let single = self.single.take().flatten().unwrap_or_default();
        self.out.object(&summary.and(single))?;
        self.out.flush()?;
        Ok(self.exit)
    }
}

/// What to do about a run that is held.
fn held(log: &Path, run: RunId, activation: &str, skill: &str) -> String {
    let log = failure::argument(log);
    let step = failure::quoted(activation);
    format!(
        "run {run} is held: whether {skill} at {activation} happened before the crash is not known\n  \
         try: aosctl resolve {log} {run} {step} --retry, --failed, or --result JSON; then aosctl resume {log} {run}"
    )
}
