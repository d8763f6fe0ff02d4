//! The engine: starts, resumes and resolves runs on one log.

mod steer;

use crate::chain::{Chain, Recording};
use crate::clock::Clock;
use crate::control::Control;
use crate::error::Error;
use crate::history;
use crate::machine::{
    self, Answer, EMIT, EffectNeed, Ended, Given, Machine, RUN_WORKFLOW, Resolution, StartInfo,
    Verdict, Wait,
};
use crate::material::{Material, read_definition, read_seed};
use crate::resource::Resources;
use crate::run::{LogValues, Run, Shared, Turn, stream};
use crate::seed::RootSeed;
use crate::skill::{AtHand, GivenUp, Skills};
use crate::value::Value;
use crate::workflow::Definition;
use aos_format::digest::{Digest, RunId};
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_store::{Log, RunRow, RunStatus, StoredRecord, Ticket};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use steer::Letter;
pub use steer::Signalled;

/// What to do when a key was started before with something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnConflict {
    /// Refuse.
    #[default]
    Refuse,
    /// Take the run that exists, whatever it was started with.
    Existing,
    /// Start another generation of the key.
    NewGeneration,
}

/// Who cancels a run that a step of another one began and waits for no more.
pub(crate) const ITS_CALLER: &str = "its caller";

/// Longest time until a run that waits for a timer sees that it is to stop.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// A run to start.
#[derive(Clone, Debug)]
pub struct Request {
    /// Workflow.
    pub definition: Arc<Definition>,
    /// Key; without one it is a digest of input and seed.
    pub key: Option<String>,
    /// Input.
    pub input: Value,
    /// Root seed of the run.
    pub root: RootSeed,
    /// What a conflict leads to.
    pub on_conflict: OnConflict,
    /// Units that the run's effects may cost together; the document may set less.
    pub budget: Option<u64>,
}

impl Request {
    /// The budget that holds: the smaller of the request's and the document's.
    fn units(&self) -> Option<u64> {
        let document = self.definition.settings.budget;
        [self.budget, document].into_iter().flatten().min()
    }
}

/// What starting led to.
#[derive(Debug)]
pub enum Begun {
    /// A run to be driven: new, or unfinished from before.
    Run(Box<Run>),
    /// The run has ended before.
    Ended(Box<Past>),
    /// Another request of this process drives the same run.
    InProgress(RunId),
}

/// Who has a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claimed {
    /// Whoever asked, from now on.
    Now,
    /// A driver of the same run, started with the same or resumed.
    BySame,
    /// Another request under the same key, started with something else.
    ByOther,
}

/// A run that ended before.
#[derive(Clone, Debug)]
pub struct Past {
    /// Its row.
    pub row: RunRow,
    /// How it ended.
    pub ended: Ended,
}

/// Starts, resumes and resolves runs on one log.
#[derive(Debug)]
pub struct Engine {
    pub(crate) shared: Shared,
    pub(crate) control: Mutex<Control>,
    active: Mutex<BTreeMap<RunId, Digest>>,
    pub(crate) definitions: Mutex<BTreeMap<Digest, Arc<Definition>>>,
    pub(crate) workflows: Vec<Arc<Definition>>,
    /// Set when whoever drives the runs wants to stop.
    halt: Mutex<Option<Arc<AtomicBool>>>,
    resources: Resources,
    /// What somebody brings runs that are being driven.
    letters: Mutex<BTreeMap<RunId, Vec<Letter>>>,
    /// Runs that somebody asked to be driven.
    pub(crate) taken_on: Mutex<BTreeSet<RunId>>,
}

impl Engine {
    /// An engine on an open log.
    ///
    /// # Errors
    /// [`Error::Store`] when the log cannot be read.
    pub fn new(log: Arc<Log>, skills: Arc<Skills>, clock: Clock) -> Result<Engine, Error> {
        let control = match log.head(StreamId::CONTROL)? {
            Some(head) => (head.digest, head.lane_seq, head.seq),
            None => (Digest::ZERO, 0, 0),
        };
        let (head, lane_seq, seq) = control;
        let control = Control {
            head,
            lane_seq,
            seq,
            recorded: BTreeSet::new(),
        };
        let log_id = log.identity().log_id;
        let resources = Resources::new(log.clone());
        Ok(Engine {
            shared: Shared {
                log,
                log_id,
                skills,
                clock,
                checkpoint_every: None,
                recording: Recording::Values,
            },
            control: Mutex::new(control),
            active: Mutex::default(),
            definitions: Mutex::default(),
            workflows: Vec::new(),
            halt: Mutex::default(),
            resources,
            letters: Mutex::default(),
            taken_on: Mutex::default(),
        })
    }

    /// Takes a checkpoint every `steps` steps of a run, whatever its document says; 0 takes none.
    pub fn checkpoint_every(mut self, steps: u64) -> Engine {
        self.shared.checkpoint_every = Some(steps);
        self
    }

    /// Stores of what its runs compute from now on what `recording` says; all values unless told. History digests are the
    /// same in any case.
    pub fn recording(mut self, recording: Recording) -> Engine {
        self.shared.recording = recording;
        self
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.shared.log
    }

    /// What the runs of the log share.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Skills that runs can call.
    pub fn skills(&self) -> &Arc<Skills> {
        &self.shared.skills
    }

    /// The clock of its runs.
    pub fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// The seed that the log was first used with; runs without another one get it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn first_seed(&self) -> Result<Option<RootSeed>, Error> {
        match self.shared.log.first_seed()? {
            Some(offset) => self.read_seed(&self.shared.log.read(offset)?),
            None => Ok(None),
        }
    }

    /// The root seed with that commitment, if the log holds it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn seed(&self, commitment: Digest) -> Result<Option<RootSeed>, Error> {
        match self.shared.log.seed(commitment)? {
            Some(offset) => self.read_seed(&self.shared.log.read(offset)?),
            None => Ok(None),
        }
    }

    fn read_seed(&self, record: &StoredRecord) -> Result<Option<RootSeed>, Error> {
        read_seed(record, &LogValues(&self.shared.log))
    }

    /// Starts a run, or finds the one that its key has already.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the key was started with something else and the request says to refuse;
    /// [`Error::TooLarge`] when the input does not fit the log; [`Error::Document`] when the document calls unknown skills;
    /// [`Error::Store`].
    pub fn start(&self, request: &Request) -> Result<Begun, Error> {
        let definition = &request.definition;
        definition.check_skills(|name| self.shared.skills.find(name).is_some())?;
        let key = request
            .key
            .clone()
            .unwrap_or_else(|| default_key(&request.input, &request.root));
        let mut generation = 0;
        loop {
            let run = RunId::derive(&definition.namespace, &definition.name, &key, generation);
            let claim = self.claim(request);
            let row = self.shared.log.run(run)?;
            let Some(row) = row else {
                match self.claim_run(run, claim) {
                    Claimed::Now => match self.begin(request, &key, generation, run)? {
                        Some(begun) => return Ok(begun),
                        // Somebody started and finished it since the look-up.
                        None => continue,
                    },
                    Claimed::BySame => return Ok(Begun::InProgress(run)),
                    Claimed::ByOther => match request.on_conflict {
                        OnConflict::Existing => return Ok(Begun::InProgress(run)),
                        OnConflict::NewGeneration => {
                            generation += 1;
                            continue;
                        }
                        OnConflict::Refuse => {
                            return Err(Error::Conflict {
                                key,
                                run,
                                offset: Offset::NONE,
                                differs: "workflow, input, seed or budget, which is being started"
                                    .into(),
                            });
                        }
                    },
                }
            };
            let differs = self.differs(&row, request, run)?;
            if differs.is_empty() || request.on_conflict == OnConflict::Existing {
                return self.existing(row);
            }
            if request.on_conflict == OnConflict::Refuse {
                return Err(Error::Conflict {
                    key,
                    run,
                    offset: row.start,
                    differs: differs.join(" and "),
                });
            }
            generation += 1;
        }
    }

    /// What a run is started with, in one digest.
    fn claim(&self, request: &Request) -> Digest {
        Digest::labelled(
            "aos.claim",
            &[
                &request.definition.digest,
                &request.root.commitment().0,
                request.input.canonical(),
                request
                    .units()
                    .map(crate::machine::budget_flag)
                    .unwrap_or_default()
                    .as_bytes(),
            ],
        )
    }

    /// Begins a run that was claimed and that the log does not have; `None` when it has it by now.
    fn begin(
        &self,
        request: &Request,
        key: &str,
        generation: u64,
        run: RunId,
    ) -> Result<Option<Begun>, Error> {
        let limit = crate::machine::value_limit(self.shared.log.identity().stride);
        let len = request.input.canonical().len() as u64;
        if len > limit {
            self.release(run);
            return Err(Error::TooLarge {
                run,
                step: "START".into(),
                len,
                limit,
            });
        }
        // Looked up again under the claim: whoever had it before may have started the run.
        let recorded = self
            .shared
            .log
            .run(run)
            .map_err(Error::from)
            .and_then(|row| {
                if row.is_some() {
                    return Ok(None);
                }
                let pins = self.pins(&request.definition, run)?;
                self.record_definition(&request.definition)?;
                self.record_root_seed(&request.root)?;
                Ok(Some(pins))
            });
        let pins = match recorded {
            Ok(Some(pins)) => pins,
            Ok(None) => {
                self.release(run);
                return Ok(None);
            }
            Err(error) => {
                self.release(run);
                return Err(error);
            }
        };
        let info = StartInfo {
            key: key.to_owned(),
            generation,
            root_seed: request.root.commitment(),
            budget: request.units(),
            pins,
        };
        let chain = Chain::new(run, request.root.run_seed(run));
        let run = Run::begin(
            self.shared.clone(),
            request.definition.clone(),
            chain,
            info,
            request.input.clone(),
        );
        Ok(Some(Begun::Run(Box::new(run))))
    }

    fn differs(
        &self,
        row: &RunRow,
        request: &Request,
        run: RunId,
    ) -> Result<Vec<&'static str>, Error> {
        let mut differs = Vec::new();
        if row.definition.0 != request.definition.digest {
            differs.push("workflow");
        }
        let seed = request.root.run_seed(run);
        if row.seed_commitment != seed.commitment() {
            differs.push("seed");
        }
        let start = self.shared.log.read(row.start)?;
        let input =
            history::recorded_value(&LogValues(&self.shared.log), &start, Kind::Start, "input")
                .map_err(|source| Error::History { run, source })?;
        if input.canonical() != request.input.canonical() {
            differs.push("input");
        }
        // Which documents other workflows are was settled when it started.
        let recorded = match history::read_event(&start) {
            Ok(Event::Start(event)) => StartInfo::budget_of(&event.behaviour),
            _ => Vec::new(),
        };
        let asked = request.units().map(crate::machine::budget_flag);
        if recorded != asked.into_iter().collect::<Vec<_>>() {
            differs.push("budget");
        }
        Ok(differs)
    }

    fn existing(&self, row: RunRow) -> Result<Begun, Error> {
        match row.status {
            RunStatus::Completed | RunStatus::Faulted | RunStatus::Cancelled => {
                let ended = self.ended(&row)?;
                Ok(Begun::Ended(Box::new(Past { row, ended })))
            }
            _ => self.resume(row.run),
        }
    }

    /// How a run that has ended did.
    ///
    /// # Errors
    /// [`Error::History`] when its END cannot be read; [`Error::Store`].
    pub fn ended(&self, row: &RunRow) -> Result<Ended, Error> {
        let run = row.run;
        // Marks may stand behind END, so walk back to it.
        let mut record = self.shared.log.read(row.head)?;
        while record.kind() != Some(Kind::End) {
            let Some(previous) = record.header().prev.some() else {
                return Err(Error::NoRun {
                    what: format!("{run} with an END"),
                });
            };
            record = self.shared.log.read(previous)?;
        }
        let values = LogValues(&self.shared.log);
        let field = if row.status == RunStatus::Completed {
            "output"
        } else {
            "error"
        };
        let value = history::recorded_value(&values, &record, Kind::End, field)
            .map_err(|source| Error::History { run, source })?;
        Ok(match row.status {
            RunStatus::Completed => Ended::Completed(value),
            RunStatus::Cancelled => Ended::Cancelled(value),
            _ => Ended::Faulted(value),
        })
    }

    /// Goes on with a run that has not ended.
    ///
    /// # Errors
    /// [`Error::NoRun`], [`Error::NotRegistered`], [`Error::Nondeterminism`], [`Error::History`], [`Error::Store`].
    pub fn resume(&self, run: RunId) -> Result<Begun, Error> {
        let log = &self.shared.log;
        let Some(row) = log.run(run)? else {
            return Err(Error::NoRun {
                what: run.to_string(),
            });
        };
        if matches!(
            row.status,
            RunStatus::Completed | RunStatus::Faulted | RunStatus::Cancelled
        ) {
            return self.existing(row);
        }
        if self.claim_run(run, Digest::ZERO) != Claimed::Now {
            return Ok(Begun::InProgress(run));
        }
        let resumed = self.resume_claimed(&row);
        if resumed.is_err() {
            self.active.lock().remove(&run);
        }
        resumed.map(|run| Begun::Run(Box::new(run)))
    }

    fn resume_claimed(&self, row: &RunRow) -> Result<Run, Error> {
        let log = &self.shared.log;
        let records = log.stream(stream(row.run), 1)?;
        if let Some(offset) = history::gap(&records) {
            return Err(Error::Gap {
                run: row.run,
                offset,
            });
        }
        let definition = self.definition(row.run, row.definition)?;
        let root = match row.root_seed {
            Some(commitment) => self.seed(commitment)?,
            None => None,
        };
        let what = || "the root seed of its log".to_owned();
        let root = root.ok_or_else(|| Error::NotRegistered {
            run: row.run,
            what: what(),
        })?;
        let material = Material {
            definition,
            skills: self.shared.skills.clone(),
            root,
            stride: log.identity().stride,
            recording: self.shared.recording,
        };
        let values = LogValues(log);
        let Some(start) = records.first() else {
            return Err(Error::NoRun {
                what: row.run.to_string(),
            });
        };
        let started_ns = start.view()?.wall_ns();
        let first = material.machine(start, &values)?;
        let (info, input) = (first.info().clone(), first.input().clone());
        let seed = material.root.run_seed(row.run);
        let fresh = || {
            let chain = Chain::new(row.run, seed.clone());
            let (definition, skills) = (material.definition.clone(), material.skills.clone());
            let (info, input) = (info.clone(), input.clone());
            let mut machine = Machine::new(definition, skills, chain, info, input, material.stride);
            machine.set_recording(material.recording);
            machine
        };
        Run::resume(self.shared.clone(), &records, &fresh, started_ns)
    }

    /// Claims a run for one driver. A claim that stands is never replaced.
    pub(crate) fn claim_run(&self, run: RunId, claim: Digest) -> Claimed {
        let mut active = self.active.lock();
        match active.get(&run) {
            Some(held) if *held == claim || *held == Digest::ZERO => Claimed::BySame,
            Some(_) if claim == Digest::ZERO => Claimed::BySame,
            Some(_) => Claimed::ByOther,
            None => {
                active.insert(run, claim);
                Claimed::Now
            }
        }
    }

    /// Says that nobody drives `run` any more; called when its driver drops it.
    pub fn release(&self, run: RunId) {
        self.active.lock().remove(&run);
        // Whoever brings it something sees that nobody drives it.
        self.letters.lock().remove(&run);
    }

    /// The document with that digest, as the log holds it.
    pub(crate) fn definition(&self, run: RunId, digest: Digest) -> Result<Arc<Definition>, Error> {
        if let Some(known) = self.definitions.lock().get(&digest) {
            return Ok(known.clone());
        }
        let missing = || Error::NotRegistered {
            run,
            what: format!("the workflow document {digest}"),
        };
        let offset = self.shared.log.definition(digest)?.ok_or_else(missing)?;
        let record = self.shared.log.read(offset)?;
        let definition = Arc::new(read_definition(run, &record, &LogValues(&self.shared.log))?);
        self.definitions.lock().insert(digest, definition.clone());
        Ok(definition)
    }

    /// Decides about an effect whose outcome a crash left unknown. The run does not go on; resume it.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when the run does not wait for an effect at `step` (its pointer, name or activation);
    /// [`Error::NoRun`] and the errors of [`Engine::resume`].
    pub fn resolve(
        &self,
        run: RunId,
        step: &str,
        verdict: Verdict,
        actor: &str,
    ) -> Result<Ticket, Error> {
        let not_held = |why: &str| Error::NotHeld {
            run,
            step: step.into(),
            why: why.into(),
        };
        let mut driven = match self.resume(run)? {
            Begun::Run(driven) => driven,
            Begun::Ended(_) => return Err(not_held("the run has ended")),
            Begun::InProgress(_) => return Err(not_held("the run is being driven")),
        };
        let pending = driven.pending();
        let named = pending
            .iter()
            .find(|(_, effect)| names(&effect.activation, step));
        let decided = match (named, pending.first()) {
            (Some((wait, _)), _) => {
                let resolution = Resolution {
                    verdict,
                    actor: actor.into(),
                };
                driven.answer(Given::to(wait, Answer::Resolved(resolution)));
                driven.decide()
            }
            (None, Some((_, effect))) => {
                Err(not_held(&format!("it waits at {}", effect.activation)))
            }
            (None, None) => Err(not_held("it waits for no effect; resume it")),
        };
        self.release(run);
        decided
    }

    /// Writes a checkpoint of a run that has not ended.
    ///
    /// # Errors
    /// As [`Engine::resume`].
    pub fn take_checkpoint(&self, run: RunId) -> Result<Option<Ticket>, Error> {
        match self.resume(run)? {
            Begun::Run(mut driven) => {
                let taken = driven.checkpoint();
                self.release(run);
                Ok(taken?.then(|| driven.ticket()).flatten())
            }
            Begun::Ended(_) | Begun::InProgress(_) => Ok(None),
        }
    }

    /// Drives one run on the caller's thread until it ends, is held, or waits for nothing but events: timers are waited for,
    /// effects done, several at a time on threads of their own. What it begins beside itself (`await: false`) is on record,
    /// and [`Engine::next_taken_on`] names it.
    ///
    /// # Errors
    /// As [`Run::turn`].
    pub fn drive(&self, run: &mut Run) -> Result<Turn, Error> {
        self.drive_until(&GivenUp::default(), run)
    }

    /// The same, and the run is cancelled once nobody waits for it any more.
    pub(crate) fn drive_until(&self, given_up: &GivenUp, run: &mut Run) -> Result<Turn, Error> {
        let turn = std::thread::scope(|scope| self.drive_in(scope, given_up, run))?;
        if let Some(ticket) = run.ticket() {
            self.shared.log.wait(ticket)?;
        }
        self.release(run.id());
        Ok(turn)
    }

    /// Runs that steps of others run are left at their next event once `flag` is set.
    pub(crate) fn halt_on(&self, flag: Arc<AtomicBool>) {
        *self.halt.lock() = Some(flag);
    }

    fn halting(&self) -> bool {
        let flag = self.halt.lock();
        flag.as_ref()
            .is_some_and(|flag| flag.load(Ordering::Acquire))
    }

    fn drive_in<'scope>(
        &'scope self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        given_up: &GivenUp,
        run: &mut Run,
    ) -> Result<Turn, Error> {
        let (done, answers) = crossbeam::channel::unbounded();
        let mut in_flight = 0u64;
        let mut under_way = UnderWay::default();
        loop {
            if given_up.is_set() && run.machine().ended().is_none() {
                let cancel = machine::Control::Cancel;
                run.answer(Answer::Control(cancel, ITS_CALLER.into()));
            }
            self.read_letters(run);
            let turn = run.turn()?;
            under_way.keep(&turn);
            if let Turn::Again = turn {
                continue;
            }
            let effects: Vec<(Wait, EffectNeed)> = turn
                .new_effects()
                .map(|(wait, need)| (wait.clone(), need.clone()))
                .collect();
            if self.halting() && in_flight == 0 {
                // Their INTENTs are on record, and nothing was sent: say so, or they would count as unknown.
                for (wait, need) in &effects {
                    run.unsent(wait.seq, need)?;
                }
                return Ok(turn);
            }
            // One effect and nothing beside it needs no thread.
            if let ([(wait, need)], None, 0) = (effects.as_slice(), turn.next_timer(), in_flight) {
                let answer = self.perform(run.ticket(), &run.wire_key(need), need, given_up)?;
                if given_up.is_set() {
                    continue; // What was cut short has no answer.
                }
                run.answer(Given::to(wait, answer));
                continue;
            }
            for (wait, need) in effects {
                in_flight += 1;
                let (ticket, key, done) = (run.ticket(), run.wire_key(&need), done.clone());
                let given_up = under_way.begin(wait.seq);
                scope.spawn(move || {
                    let answer = self.perform(ticket, &key, &need, &given_up);
                    // The receiver is gone only when the run could not go on.
                    let _ = done.send((wait, answer));
                });
            }
            let timer = turn.next_timer().filter(|_| self.fires(in_flight));
            let left = timer.map(|timer| self.shared.clock.until(timer.due_ns));
            let answered = match (left, in_flight) {
                (None, 0) => return Ok(turn),
                (Some(left), _) if left.is_zero() => answers.try_recv().ok(),
                (Some(left), 0) => {
                    std::thread::park_timeout(left.min(LOOK_EVERY));
                    None
                }
                (left, _) => {
                    let most = left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY));
                    answers.recv_timeout(most).ok()
                }
            };
            match (answered, timer) {
                (Some((wait, answer)), _) => {
                    in_flight -= 1;
                    run.answer(Given::to(&wait, answer?));
                }
                (None, Some(timer)) if self.shared.clock.until(timer.due_ns).is_zero() => {
                    run.answer(Given::to(&timer.wait, Answer::Fired));
                }
                (None, _) => {}
            }
        }
    }

    /// Whether timers fire now: what is under way takes no time on a virtual clock, so it comes first.
    pub(crate) fn fires(&self, in_flight: u64) -> bool {
        !self.shared.clock.is_virtual || in_flight == 0
    }

    /// Performs an effect, once everything up to `ticket`, its INTENT among it, is durable.
    ///
    /// # Errors
    /// [`Error::Store`] when the log failed: the effect was then not started.
    pub(crate) fn perform(
        &self,
        ticket: Option<Ticket>,
        wire_key: &str,
        need: &EffectNeed,
        given_up: &GivenUp,
    ) -> Result<Answer, Error> {
        if let Some(ticket) = ticket {
            self.shared.log.wait(ticket)?;
        }
        // What `emit` publishes is on record with its INTENT: whoever follows the log has it.
        if need.skill == EMIT {
            return Ok(Answer::Effect(Ok(need.request.clone())));
        }
        if need.skill == RUN_WORKFLOW {
            return self.run_workflow(&need.request, wire_key, given_up);
        }
        if self.shared.skills.find(&need.skill).is_none() {
            let run = RunId([0; 16]);
            return Err(Error::NotRegistered {
                run,
                what: format!("the skill {}", need.skill),
            });
        }
        let hand = AtHand {
            wire_key,
            shared: Some(&self.resources),
            given_up: given_up.clone(),
        };
        let skills = &self.shared.skills;
        Ok(Answer::Effect(skills.perform(
            &need.skill,
            &need.request,
            &hand,
        )))
    }
}

/// Effects on their way, by number of their INTENT: those that the run waits for no more are given up.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(BTreeMap<u64, GivenUp>);

impl UnderWay {
    /// One more is on its way.
    pub(crate) fn begin(&mut self, seq: u64) -> GivenUp {
        self.0.entry(seq).or_default().clone()
    }

    /// One has answered.
    pub(crate) fn end(&mut self, seq: u64) {
        self.0.remove(&seq);
    }

    /// Gives up what the run does not wait for after this turn.
    pub(crate) fn keep(&mut self, turn: &Turn) {
        let wanted = |seq: &u64| match turn {
            Turn::Again => true,
            Turn::Waits(pending) => pending.iter().any(|one| one.wait.seq == *seq),
            Turn::Held(_) | Turn::Suspended | Turn::Ended(_) => false,
        };
        self.0.retain(|seq, given_up| {
            let keep = wanted(seq);
            if !keep {
                given_up.set();
            }
            keep
        });
    }
}

/// The key of a run that was given none: a digest of input and seed.
pub fn default_key(input: &Value, root: &RootSeed) -> String {
    let digest = Digest::labelled(
        "aos.default-key.v1",
        &[input.canonical(), &root.commitment().0],
    );
    digest.hex()[..32].to_owned()
}

/// Whether `step` means the step of this activation: the activation itself, its pointer, or the step's name.
fn names(activation: &str, step: &str) -> bool {
    let pointer = activation
        .rsplit_once(';')
        .map_or(activation, |(pointer, _)| pointer);
    activation == step || pointer == step || pointer.rsplit('/').next() == Some(step)
}
