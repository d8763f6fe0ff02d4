//! Runs of the whole system: an engine with effects on a log that crashes, and its replay.
//!
//! Beside what holds of every log: an effect happens only when its INTENT is durable and its RESULT is not on record; one
//! that must not be repeated happens once; a run that was said to have ended has ended, with the same digest; every run can
//! be finished, to the digest that it has without any fault; and replay says match.

use crate::dice::Dice;
use crate::life::{Run, options_of};
use crate::oracle::{Violation, as_disk, log_path, must, refusal};
use crate::plan::{Action, Ending, Item, Life, Plan};
use aos_disk::sim::{Policy as Left, SimDisk};
use aos_engine::Error;
use aos_engine::clock::Clock;
use aos_engine::engine::{Begun, Engine, OnConflict, Request};
use aos_engine::fault::{Code, Fault};
use aos_engine::machine::Verdict;
use aos_engine::run::Turn;
use aos_engine::seed::RootSeed;
use aos_engine::skill::{AtHand, Effect, Policy, Skill, Skills};
use aos_engine::value::Value;
use aos_engine::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_replay::Verdict as Judged;
use aos_store::{Log, LogReader};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the world outside has seen: the keys of effects, in order.
type Ledger = Vec<String>;

/// An outside that answers by the request alone, and watches what is asked of it.
struct Outside {
    policy: Policy,
    ledger: Arc<Mutex<Ledger>>,
    /// The disk of the log that the effects come from, unless it lies.
    watched: Option<SimDisk>,
    broken: Arc<Mutex<Option<Violation>>>,
}

fn answer(request: &Value) -> Result<Value, Fault> {
    if request.as_str().contains("\"n\":13") {
        return Err(Fault::new(Code::Http500, "thirteen"));
    }
    Ok(request.clone())
}

impl Effect for Outside {
    fn request(&self, arguments: &Value) -> Result<Value, Fault> {
        Ok(arguments.clone())
    }

    fn policy(&self, _request: &Value) -> Policy {
        self.policy
    }

    fn perform(&self, request: &Value, hand: &AtHand<'_>) -> Result<Value, Fault> {
        let wire_key = hand.wire_key;
        let mut ledger = self.ledger.lock();
        // A disk that has just begun to lie may do so about an INTENT.
        let honest = |disk: &&SimDisk| !disk.struck().iter().any(|s| s.fault.is_silent());
        if let Some(disk) = self.watched.as_ref().filter(honest) {
            let again = ledger.iter().any(|key| key == wire_key);
            if let Err(violation) = may_happen(disk, wire_key, self.policy, again) {
                self.broken.lock().get_or_insert(violation);
            }
        }
        ledger.push(wire_key.to_owned());
        answer(request)
    }
}

/// Whether an effect may happen now.
fn may_happen(
    disk: &SimDisk,
    wire_key: &str,
    policy: Policy,
    again: bool,
) -> Result<(), Violation> {
    must!(
        !(again && policy == Policy::Hold),
        "repeated",
        "effect {wire_key} must happen at most once"
    );
    let key = wire_key.split('@').next().unwrap_or_default();
    let durable = intents(&disk.crash_image(Left::None))?;
    must!(
        durable.iter().any(|(intent, _)| intent == key),
        "unannounced",
        "effect {wire_key} happens before its INTENT is durable"
    );
    let visible = intents(&disk.frozen_image())?;
    must!(
        visible
            .iter()
            .any(|(intent, answered)| intent == key && !answered),
        "repeated",
        "effect {wire_key} has its RESULT on record"
    );
    Ok(())
}

/// The idempotency keys of the INTENTs of a log, and whether each has its RESULT.
fn intents(disk: &SimDisk) -> Result<Vec<(String, bool)>, Violation> {
    let unreadable = |error: aos_store::Error| Violation::new("unreadable", error.to_string());
    let reader = LogReader::open(as_disk(disk), log_path()).map_err(unreadable)?;
    let mut found = Vec::new();
    let mut open = BTreeMap::new();
    for record in reader.scan(Offset(0)).map_err(unreadable)? {
        let record = match record {
            Ok(record) => record,
            // A torn tail of the image ends it.
            Err(_) => break,
        };
        let stream = record.stream().map_err(unreadable)?;
        let view = record.view().map_err(unreadable)?;
        match record.kind() {
            Some(Kind::Intent) => {
                if let Ok((_, Event::Intent(intent))) = Event::decode(Kind::Intent, view.det()) {
                    open.insert(stream, found.len());
                    let key = intent.idempotency.map_or(String::new(), |key| key.hex());
                    found.push((key, false));
                }
            }
            Some(Kind::Result) => {
                if let Some(index) = open.remove(&stream) {
                    found[index].1 = true;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

const HEAD: &str = "document: {dsl: '1.0.3', namespace: sim, name: NAME, version: '1.0.0'}\ndo:\n";

/// Workflows that runs are made of; whether their digest is the same whatever happens.
const WORKFLOWS: [(&str, &str, bool); 6] = [
    (
        "draws",
        "  - walk:\n      for: { in: '[range(6)]' }\n      do:\n        - draw: { call: compute, with: { op: draw, min: 1, max: 1000 } }\n",
        true,
    ),
    (
        "calls",
        "  - walk:\n      for: { in: '[range(4)]' }\n      do:\n        - ask: { call: outside, with: { n: '${ $item }' } }\n",
        true,
    ),
    (
        "careful",
        "  - first: { call: careful, with: { n: 1 } }\n  - second: { set: '${ {got: .n} }' }\n  - third: { call: careful, with: { n: 2 } }\n",
        false,
    ),
    (
        "waits",
        "  - before: { call: outside, with: { n: 7 } }\n  - pause: { wait: { seconds: 3 } }\n  - after: { set: '${ {n: (.n + 1)} }' }\n",
        true,
    ),
    (
        "fails",
        "  - fine: { call: outside, with: { n: 12 } }\n  - bad: { call: outside, with: { n: 13 } }\n",
        true,
    ),
    (
        "retries",
        "  - trial:\n      try:\n        - draw: { call: compute, with: { op: draw, min: 1, max: 9 } }\n        - bad: { call: outside, with: { n: 13 } }\n      catch:\n        retry:\n          delay: { seconds: 1 }\n          backoff: { exponential: {} }\n          jitter: { from: { milliseconds: 1 }, to: { milliseconds: 900 } }\n          limit: { attempt: { count: 3 } }\n        do:\n          - rescue: { call: outside, with: { n: 5 } }\n",
        true,
    ),
];

/// Runs that a plan asks for: workflow and key.
const REQUESTS: u64 = 6;

fn request(plan: &Plan, number: u64) -> Result<Request, Violation> {
    let (name, tasks, _) = WORKFLOWS[(number % WORKFLOWS.len() as u64) as usize];
    let text = HEAD.replace("NAME", name) + tasks;
    let failed = |error: String| Violation::new("simulator", error);
    let definition = Definition::load(text.as_bytes()).map_err(|e| failed(e.to_string()))?;
    Ok(Request {
        definition: Arc::new(definition),
        key: Some(format!("key-{number}")),
        input: Value::from_json(b"{}").map_err(|e| failed(e.to_string()))?,
        root: RootSeed::from_number(plan.seed),
        on_conflict: OnConflict::Refuse,
        budget: None,
    })
}

/// The built-in skills and two effects: one that may be repeated, one that must not.
fn skills(
    watched: Option<&SimDisk>,
    ledger: &Arc<Mutex<Ledger>>,
    broken: &Arc<Mutex<Option<Violation>>>,
) -> Skills {
    let mut skills = Skills::builtin();
    for (name, policy) in [("outside", Policy::Retry), ("careful", Policy::Hold)] {
        let outside = Outside {
            policy,
            ledger: ledger.clone(),
            watched: watched.cloned(),
            broken: broken.clone(),
        };
        skills.add(name, "1", Skill::Effect(Arc::new(outside)));
    }
    skills
}

/// An engine on a disk, and the outside it acts on.
struct Machine {
    engine: Engine,
    broken: Arc<Mutex<Option<Violation>>>,
}

impl Machine {
    fn new(
        log: Log,
        disk: Option<&SimDisk>,
        ledger: &Arc<Mutex<Ledger>>,
    ) -> Result<Machine, Error> {
        let broken = Arc::new(Mutex::new(None));
        let skills = skills(disk, ledger, &broken);
        let clock = Clock {
            fixed_ns: Some(1_700_000_000_000_000_000),
            is_virtual: true,
        };
        let engine = Engine::new(Arc::new(log), Arc::new(skills), clock)?.checkpoint_every(3);
        Ok(Machine { engine, broken })
    }

    /// Drives a request until it ends; an operator resolves what is held.
    fn finish(&self, request: &Request) -> Result<(RunId, Digest), Error> {
        loop {
            let mut run = match self.engine.start(request)? {
                Begun::Run(run) => run,
                Begun::Ended(past) => return Ok((past.row.run, past.row.digest)),
                Begun::InProgress(run) => {
                    self.engine.release(run);
                    continue;
                }
            };
            match self.engine.drive(&mut run)? {
                Turn::Held(need) => {
                    let verdict = match answer(&need.request) {
                        Ok(value) => Verdict::Result(value),
                        Err(_) => Verdict::Failed,
                    };
                    let ticket = self
                        .engine
                        .resolve(run.id(), &need.activation, verdict, "sim")?;
                    self.engine.log().wait(ticket)?;
                }
                _ => return Ok((run.id(), run.digest())),
            }
        }
    }

    fn broken(&self) -> Result<(), Violation> {
        self.broken.lock().take().map_or(Ok(()), Err)
    }
}

/// What the whole system has promised so far.
#[derive(Default)]
pub(crate) struct Promised {
    ledger: Arc<Mutex<Ledger>>,
    /// Runs that were said to have ended, with their digests.
    ended: BTreeMap<RunId, Digest>,
}

impl Run<'_> {
    pub(crate) fn live_system(&mut self, number: u64, life: &Life) -> Result<(), Violation> {
        self.arm(life);
        let opened = Log::open(as_disk(&self.disk), log_path(), &options_of(self.plan));
        self.note("opening");
        let log = match opened {
            Ok((log, _)) => log,
            Err(error) => return self.may_fail("opening", &error),
        };
        let watched = (!self.law.media).then(|| self.disk.clone());
        let machine = match Machine::new(log, watched.as_ref(), &self.promised.ledger) {
            Ok(machine) => machine,
            Err(error) => return self.engine_may_fail("starting the engine", error),
        };
        for (item, what) in &life.items {
            let Item::Act(action) = what else { continue };
            let mut dice = Dice::new(self.plan.seed, "run", &[number, *item]);
            let done = self.do_run(&machine, *action, &mut dice)?;
            self.note("working");
            machine.broken()?;
            if let Err(error) = done {
                self.trace.push(format!("item {item}: {error}"));
                return self.engine_may_fail("working", error);
            }
        }
        if matches!(life.ending, Ending::Closed | Ending::ClosedThenPower) {
            let log = machine.engine.log().clone();
            drop(machine);
            let closed = Arc::into_inner(log).map(Log::close).transpose();
            self.note("closing");
            if let Err(error) = closed {
                return self.may_fail("closing", &error);
            }
        }
        Ok(())
    }

    fn do_run(
        &mut self,
        machine: &Machine,
        action: Action,
        dice: &mut Dice,
    ) -> Result<Result<(), Error>, Violation> {
        let request = request(self.plan, dice.below(REQUESTS))?;
        Ok(match action {
            Action::Append | Action::Batch(_) => machine.finish(&request).map(|(run, digest)| {
                self.trace.push(format!("run {run} ended: {digest}"));
                self.promised.ended.insert(run, digest);
            }),
            Action::Wait => machine
                .engine
                .log()
                .open_runs()
                .map_err(Error::from)
                .and_then(|rows| match rows.first() {
                    Some(row) => machine.engine.take_checkpoint(row.run).map(drop),
                    None => Ok(()),
                }),
            Action::Flush => machine.engine.log().flush().map(drop).map_err(Error::from),
            Action::LookUp | Action::Read | Action::Check => {
                machine.engine.log().rows().map(drop).map_err(Error::from)
            }
        })
    }

    fn engine_may_fail(&mut self, doing: &str, error: Error) -> Result<(), Violation> {
        match error {
            Error::Store(error) => self.may_fail(doing, &error),
            error => {
                let struck = self.disk.is_crashed() || !self.disk.struck().is_empty();
                must!(self.law.media || struck, "engine", "{doing}: {error}");
                self.tally.refused += 1;
                Ok(())
            }
        }
    }

    /// Whether what was promised is kept by an opened log.
    pub(crate) fn keeps_promises(&mut self, log: &Log) -> Result<(), Violation> {
        let rows = match log.rows() {
            Ok(rows) => rows,
            Err(error) => {
                must!(self.law.media, "unreadable", "{error}");
                return refusal(&error);
            }
        };
        for (run, digest) in &self.promised.ended {
            let kept = rows
                .runs
                .get(run)
                .is_some_and(|row| row.status.is_ended() && row.digest == *digest);
            if !kept {
                must!(self.law.media, "lost", "run {run} had ended with {digest}");
                self.tally.rolled_back_unseen += 1;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Finishes every run on a copy of a disk, and replays it.
    pub(crate) fn finish_all(&mut self, image: &SimDisk) -> Result<(), Violation> {
        let disk = image.process_crash_image();
        let ledger = Arc::new(Mutex::new(self.promised.ledger.lock().clone()));
        let requests: Vec<Request> = (0..REQUESTS)
            .map(|number| request(self.plan, number))
            .collect::<Result<_, _>>()?;
        let finished = self.finish_on(&disk, &ledger, &requests);
        let (machine, ends) = match finished {
            Ok(finished) => finished,
            Err(Error::Store(error)) if self.law.media => {
                self.tally.refused += 1;
                return refusal(&error).or(Ok(()));
            }
            Err(error) => {
                must!(self.law.media, "resume", "{error}");
                self.tally.refused += 1;
                return Ok(());
            }
        };
        machine.broken()?;
        self.tally.workflows += ends.len() as u64;
        self.tally.effects += ledger.lock().len() as u64;
        let expected = expected(self.plan)?;
        for (number, (end, expected)) in ends.iter().zip(&expected).enumerate() {
            let (_, _, fixed) = WORKFLOWS[number % WORKFLOWS.len()];
            must!(
                !fixed || end == expected,
                "digest",
                "run {number} ended with {} instead of {}",
                end.1,
                expected.1
            );
        }
        drop(machine);
        self.replays(&disk)
    }

    #[allow(clippy::type_complexity)]
    fn finish_on(
        &self,
        disk: &SimDisk,
        ledger: &Arc<Mutex<Ledger>>,
        requests: &[Request],
    ) -> Result<(Machine, Vec<(RunId, Digest)>), Error> {
        let (log, _) = Log::open(as_disk(disk), log_path(), &options_of(self.plan))?;
        let watched = (!self.law.media).then_some(disk);
        let machine = Machine::new(log, watched, ledger)?;
        let mut ends = Vec::new();
        for request in requests {
            ends.push(machine.finish(request)?);
        }
        machine.engine.log().flush()?;
        Ok((machine, ends))
    }

    fn replays(&mut self, disk: &SimDisk) -> Result<(), Violation> {
        let ledger = Arc::new(Mutex::new(Vec::new()));
        let options = aos_replay::Options {
            skills: Arc::new(skills(None, &ledger, &Arc::default())),
            ..aos_replay::Options::default()
        };
        let replayed = LogReader::open(as_disk(disk), log_path())
            .map_err(aos_replay::Error::from)
            .and_then(|reader| aos_replay::replay(&reader, &options));
        let touched = ledger.lock().len();
        must!(touched == 0, "replay", "it did {touched} effects");
        let (verdict, said) = match &replayed {
            Ok(report) => (report.verdict, report.json(0.0)),
            Err(error) => {
                must!(self.law.media, "replay", "{error}");
                return Ok(());
            }
        };
        let undetected = self.law.media && verdict != Judged::Match;
        must!(undetected || verdict == Judged::Match, "replay", "{said}");
        self.tally.replays += u64::from(verdict == Judged::Match);
        Ok(())
    }

    /// The end of a run of the whole system.
    pub(crate) fn last_system(&mut self) -> Result<(), Violation> {
        let disk = self.disk.clone();
        self.examine(&disk, &mut Dice::new(self.plan.seed, "last", &[]), 2)?;
        let ends = expected(self.plan)?;
        for (run, digest) in ends {
            self.trace.push(format!("run {run} ends with {digest}"));
        }
        Ok(())
    }
}

/// What the runs of a plan end with where nothing ever fails.
fn expected(plan: &Plan) -> Result<Vec<(RunId, Digest)>, Violation> {
    let failed = |error: Error| Violation::new("simulator", error.to_string());
    let disk = SimDisk::with_seed(plan.seed);
    let (log, _) = Log::open(as_disk(&disk), log_path(), &options_of(plan))
        .map_err(|error| failed(Error::Store(error)))?;
    let machine = Machine::new(log, None, &Arc::default()).map_err(failed)?;
    (0..REQUESTS)
        .map(|number| machine.finish(&request(plan, number)?).map_err(failed))
        .collect()
}
