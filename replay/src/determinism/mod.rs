//! Determinism at scale: the same runs again and again, on several workers, compared event by event.
//!
//! Each subject is run once for each seed by the engine, on a log in memory: only then effects are performed. That record is
//! replayed, and then every worker makes the run again many times, every second time as a replay of the record, the others by
//! a machine that starts afresh and gets the outside's answers from the record. The history digest after each event must be
//! the recorded one: a digest covers every event before it, so the first that differs names the step.
//!
//! ```
//! use aos_engine::{skill::Skills, value::Value, workflow::Definition};
//! use aos_replay::determinism::{Subject, Trial, validate};
//! use std::sync::Arc;
//!
//! let dice = Definition::load(br#"[{"skill": "compute", "params": {"op": "draw", "min": 1, "max": 6}}]"#)?;
//! let subjects = [Subject { name: "dice".into(), definition: Arc::new(dice), input: Value::null() }];
//! let skills = Arc::new(Skills::builtin());
//! let trial = Trial { workers: 2, iterations: 5, seeds: 3, stress: 0, skills, subjects: &subjects };
//! let tried = validate(&trial)?;
//! assert_eq!((tried.executions, tried.differing), (2 * 5 * 3, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod sorts;

pub use sorts::{Sort, skills};

use crate::diff::rerun::{Answers, Recipe, Stopped, clock_key, effect_key, start_info};
use crate::error::Error;
use crate::reexecute::LogValues;
use crate::replay::{Options, replay};
use crate::report::Verdict;
use crate::verify::activation;
use aos_disk::sim::SimDisk;
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, Engine, OnConflict, Request};
use aos_engine::expr::EVAL_STACK_BYTES;
use aos_engine::fault::Fault;
use aos_engine::history::{self, Fed};
use aos_engine::machine::Answer;
use aos_engine::run::Turn;
use aos_engine::seed::RootSeed;
use aos_engine::skill::Skills;
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::{Digest, LogId, RunId, log_digest};
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::record::StreamId;
use aos_store::{Log, LogReader, Source, StoredRecord};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Differences that are told in full; all are counted.
const DIFFERENCES_MAX: usize = 100;
/// Most events of one execution: beyond it, it differs.
const EVENTS_MAX: usize = 1 << 20;

/// A workflow that is to be the same every time.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name in reports.
    pub name: String,
    /// Workflow.
    pub definition: Arc<Definition>,
    /// Its input.
    pub input: Value,
}

/// What is tried.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    /// Threads that all make the same runs, from 1.
    pub workers: usize,
    /// Times that each worker makes each run.
    pub iterations: u64,
    /// Each subject is run with the seeds 1 to this number.
    pub seeds: u64,
    /// Threads that do nothing but take the processor away from the others.
    pub stress: usize,
    /// Skills that subjects call. Pure ones are called every time, effects once for each subject and seed.
    pub skills: Arc<Skills>,
    /// What is run.
    pub subjects: &'a [Subject],
}

/// An execution that differed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Difference {
    /// Subject.
    pub subject: String,
    /// Seed.
    pub seed: u64,
    /// Worker, from 0.
    pub worker: usize,
    /// Iteration, from 0.
    pub iteration: u64,
    /// Whether it was a replay of the record.
    pub replay: bool,
    /// Number of the first event that differs, from 1.
    pub event: u64,
    /// The step it belongs to, where it names one.
    pub activation: Option<String>,
    /// Digest on record; none where the record has no such event.
    pub expected: Option<Digest>,
    /// Digest made again; none where no such event was made.
    pub found: Option<Digest>,
}

/// What all executions of one subject with one seed gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Subject.
    pub subject: String,
    /// Seed.
    pub seed: u64,
    /// The run.
    pub run: RunId,
    /// Newest history digest of its record.
    pub digest: Digest,
    /// Events of its record.
    pub events: u64,
    /// Executions that differed.
    pub differing: u64,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// Executions, replays included, recordings not.
    pub executions: u64,
    /// Executions that were replays of a record.
    pub replays: u64,
    /// Executions that differed.
    pub differing: u64,
    /// Digests that were compared.
    pub compared: u64,
    /// The first differences by subject, seed, worker and iteration.
    pub differences: Vec<Difference>,
    /// What replaying the whole record said.
    pub replayed: Verdict,
    /// One row for each subject and seed.
    pub rows: Vec<Row>,
}

impl Tried {
    /// Whether everything was the same.
    pub fn is_deterministic(&self) -> bool {
        self.differing == 0 && self.replayed == Verdict::Match
    }

    /// SHA-256 over (run id, newest digest), sorted by run id.
    pub fn digest(&self) -> Digest {
        let heads: BTreeMap<RunId, Digest> =
            self.rows.iter().map(|row| (row.run, row.digest)).collect();
        log_digest(&heads)
    }
}

/// One recorded run, and what it is made again from.
struct Recorded<'a> {
    subject: &'a Subject,
    seed: u64,
    recipe: Recipe,
    records: Vec<StoredRecord>,
    /// History digest and place of each event.
    digests: Vec<(Digest, Option<String>)>,
}

/// Runs, replays and compares.
///
/// # Errors
/// [`Error::Unusable`] when a subject does not run to its end by itself; [`Error::Store`].
pub fn validate(trial: &Trial<'_>) -> Result<Tried, Error> {
    assert!(trial.workers > 0, "somebody has to work");
    let disk = Arc::new(SimDisk::new());
    let path = Path::new("trial.aos");
    let options = aos_store::Options {
        create: true,
        ..aos_store::Options::new(LogId([0; 16]))
    };
    let log = Arc::new(Log::open(disk.clone(), path, &options)?.0);
    let (recorded, replayed) = on_stack(|| {
        let runs = record(trial, &log)?;
        let reader = LogReader::open(disk, path)?;
        let options = Options {
            workers: trial.workers,
            skills: trial.skills.clone(),
            ..Options::default()
        };
        let verdict = replay(&reader, &options)?.verdict;
        let recorded = runs
            .into_iter()
            .map(|(subject, seed, request, run)| {
                gather(&reader, trial, subject, seed, &request, run)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok::<_, Error>((recorded, verdict))
    })?;
    let over = AtomicBool::new(false);
    let parts = std::thread::scope(|scope| {
        for number in 0..trial.stress {
            let over = &over;
            scope.spawn(move || burn(number, over));
        }
        let work = |worker| {
            let recorded = &recorded;
            std::thread::Builder::new()
                .stack_size(EVAL_STACK_BYTES)
                .spawn_scoped(scope, move || execute(trial, recorded, worker))
                .expect("the operating system gives a thread")
        };
        let threads: Vec<_> = (0..trial.workers).map(work).collect();
        let parts: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        over.store(true, Ordering::Release);
        parts
    });
    let mut tried = Tried {
        executions: 0,
        replays: 0,
        differing: 0,
        compared: 0,
        differences: Vec::new(),
        replayed,
        rows: recorded.iter().map(Recorded::row).collect(),
    };
    for part in parts {
        let part = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        tried.add(part?);
    }
    tried.differences.sort();
    tried.differences.truncate(DIFFERENCES_MAX);
    Ok(tried)
}

/// What one worker found.
#[derive(Default)]
struct Part {
    executions: u64,
    replays: u64,
    compared: u64,
    differing: BTreeMap<usize, u64>,
    differences: Vec<Difference>,
}

impl Tried {
    fn add(&mut self, part: Part) {
        self.executions += part.executions;
        self.replays += part.replays;
        self.compared += part.compared;
        for (row, count) in part.differing {
            self.rows[row].differing += count;
            self.differing += count;
        }
        self.differences.extend(part.differences);
    }
}

/// Runs every subject with every seed on `log`.
fn record<'a>(
    trial: &Trial<'a>,
    log: &Arc<Log>,
) -> Result<Vec<(&'a Subject, u64, Request, RunId)>, Error> {
    // Waits are skipped, and the clock always answers the same: what `now` says is recorded anyway.
    let clock = Clock {
        fixed_ns: Some(0),
        is_virtual: true,
    };
    let failed = |subject: &Subject, seed: u64, why: String| Error::Unusable {
        what: format!("{} with seed {seed}: {why}", subject.name),
    };
    let engine =
        Engine::new(log.clone(), trial.skills.clone(), clock).map_err(|error| Error::Unusable {
            what: error.to_string(),
        })?;
    let mut runs = Vec::new();
    for subject in trial.subjects {
        for seed in 1..=trial.seeds {
            let request = Request {
                definition: subject.definition.clone(),
                key: Some(format!("{} {seed}", subject.name)),
                input: subject.input.clone(),
                root: RootSeed::from_number(seed),
                on_conflict: OnConflict::Refuse,
                budget: None,
            };
            let said = |error: aos_engine::Error| failed(subject, seed, error.to_string());
            let run = match engine.start(&request).map_err(said)? {
                Begun::Run(mut run) => match engine.drive(&mut run).map_err(said)? {
                    Turn::Ended(_) => run.id(),
                    _ => return Err(failed(subject, seed, "it waits for somebody".into())),
                },
                Begun::Ended(_) | Begun::InProgress(_) => {
                    return Err(failed(subject, seed, "it is named twice".into()));
                }
            };
            engine.release(run);
            runs.push((subject, seed, request, run));
        }
    }
    log.flush()?;
    Ok(runs)
}

/// What a recorded run is made again from and compared with.
fn gather<'a>(
    reader: &LogReader,
    trial: &Trial<'_>,
    subject: &'a Subject,
    seed: u64,
    request: &Request,
    run: RunId,
) -> Result<Recorded<'a>, Error> {
    let records = reader.stream(StreamId::run(run), 1)?;
    let Some(first) = records.first() else {
        return Err(Error::NoRun { run });
    };
    let values = LogValues(reader);
    let mut answers = Answers::default();
    let mut digests = Vec::with_capacity(records.len());
    let unreadable = |error: history::HistoryError| Error::Unusable {
        what: error.to_string(),
    };
    for record in &records {
        let Some(kind) = record.kind().filter(|kind| kind.advances()) else {
            continue;
        };
        let view = record.view()?;
        digests.push((view.digest(), activation(kind, view.det())));
        let value = |field| history::recorded_value(&values, record, kind, field);
        match history::read_event(record).map_err(unreadable)? {
            Event::Result(result) => {
                let answer = if result.outcome == "ok" {
                    Ok(value("response").map_err(unreadable)?)
                } else {
                    let problem = value("error").map_err(unreadable)?;
                    Err(
                        Fault::from_problem(&problem).ok_or_else(|| Error::Unusable {
                            what: "an error that is no problem details".into(),
                        })?,
                    )
                };
                answers.put(effect_key(&result.activation), Answer::Effect(answer));
            }
            Event::Time(time) => {
                let ns = time.time_ns.parse().map_err(|_| Error::Unusable {
                    what: "a time that is no number".into(),
                })?;
                answers.put(
                    clock_key(&time.activation, &time.subject),
                    Answer::Clock(ns),
                );
            }
            _ => {}
        }
    }
    let recipe = Recipe {
        definition: subject.definition.clone(),
        skills: trial.skills.clone(),
        run,
        seed: request.root.run_seed(run),
        info: start_info(first),
        input: subject.input.clone(),
        stride: reader.identity().stride,
        answers,
        substitutes: BTreeMap::new(),
        resume: None,
    };
    Ok(Recorded {
        subject,
        seed,
        recipe,
        records,
        digests,
    })
}

/// One worker's executions: all runs once in each iteration. Workers begin at different runs, so that they are rarely at the
/// same one at once.
fn execute(trial: &Trial<'_>, recorded: &[Recorded<'_>], worker: usize) -> Result<Part, Error> {
    let mut part = Part::default();
    for iteration in 0..trial.iterations {
        for turn in 0..recorded.len() {
            let row = (turn + worker) % recorded.len();
            let one = &recorded[row];
            // Each run is replayed by some worker in every iteration where there is more than one.
            let is_replay = (iteration + worker as u64) % 2 == 1;
            let parted = if is_replay {
                one.replay()?
            } else {
                one.afresh()
            };
            part.executions += 1;
            part.replays += u64::from(is_replay);
            part.compared += match &parted {
                Some((at, _)) => *at as u64 + 1,
                None => one.digests.len() as u64,
            };
            if let Some((at, found)) = parted {
                *part.differing.entry(row).or_default() += 1;
                if part.differences.len() < DIFFERENCES_MAX {
                    let known = one.digests.get(at);
                    part.differences.push(Difference {
                        subject: one.subject.name.clone(),
                        seed: one.seed,
                        worker,
                        iteration,
                        replay: is_replay,
                        event: at as u64 + 1,
                        activation: known.and_then(|(_, activation)| activation.clone()),
                        expected: known.map(|(digest, _)| *digest),
                        found,
                    });
                }
            }
        }
    }
    Ok(part)
}

impl Recorded<'_> {
    fn row(&self) -> Row {
        Row {
            subject: self.subject.name.clone(),
            seed: self.seed,
            run: self.recipe.run,
            digest: self
                .digests
                .last()
                .map_or(Digest::ZERO, |(digest, _)| *digest),
            events: self.digests.len() as u64,
            differing: 0,
        }
    }

    /// Makes the run by a fresh machine. Where it parts from the record: position of the event, and the digest made.
    fn afresh(&self) -> Option<(usize, Option<Digest>)> {
        let mut at = 0;
        let mut parted = None;
        let stopped = self.recipe.emissions(EVENTS_MAX, &mut |emission| {
            let known = self.digests.get(at).map(|(digest, _)| *digest);
            if parted.is_none() && known != Some(emission.digest) {
                parted = Some((at, Some(emission.digest)));
            }
            at += 1;
        });
        let whole = stopped == Stopped::Ended && at == self.digests.len();
        parted.or_else(|| (!whole).then_some((at, None)))
    }

    /// Replays the record. Where it parts: as [`Recorded::afresh`].
    fn replay(&self) -> Result<Option<(usize, Option<Digest>)>, Error> {
        let mut machine = self.recipe.machine();
        let values = Stored(&self.records);
        match history::feed(&mut machine, &self.records, &values, true) {
            Ok(Fed::Equal(_)) if machine.ended().is_some() => Ok(None),
            Ok(Fed::Equal(_)) => Ok(Some((self.digests.len(), None))),
            Ok(Fed::Parted(parted)) => {
                let before = self.records[..parted.at].iter();
                let at = before
                    .filter(|r| r.kind().is_some_and(Kind::advances))
                    .count();
                Ok(Some((at, parted.made.map(|made| made.digest))))
            }
            Err(error) => Err(Error::Unusable {
                what: error.to_string(),
            }),
        }
    }
}

/// Values of a run whose records are all at hand.
struct Stored<'a>(&'a [StoredRecord]);

impl history::Values for Stored<'_> {
    fn bytes(&self, record: &StoredRecord, slot: u8) -> Result<Option<Vec<u8>>, aos_store::Error> {
        let mut at = (record, slot);
        // A back reference leads to what stores the bytes itself.
        for _ in 0..2 {
            let view = at.0.view()?;
            let Some(entry) = view.values().find(|entry| entry.slot == at.1) else {
                return Ok(None);
            };
            if entry.from_seq == 0 {
                return Ok(view.value_bytes(&entry).map(<[u8]>::to_vec));
            }
            let earlier = self.0.partition_point(|r| r.seq() < entry.from_seq);
            match self.0.get(earlier) {
                Some(source) if source.seq() == entry.from_seq => at = (source, entry.from_slot),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Takes processor time until it is over.
fn burn(number: usize, over: &AtomicBool) {
    let mut digest = Digest::of(&number.to_le_bytes());
    while !over.load(Ordering::Acquire) {
        for _ in 0..1000 {
            digest = Digest::of(&digest.0);
        }
        std::hint::black_box(&digest);
    }
}

/// Runs `f` where expressions fit.
fn on_stack<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(EVAL_STACK_BYTES)
            .spawn_scoped(scope, f)
            .expect("the operating system gives a thread");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
