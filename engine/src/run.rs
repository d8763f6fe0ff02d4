//! One run, live: appends what the machine makes, and says what it waits for.

use crate::chain::{Chain, Emission, Recording};
use crate::clock::Clock;
use crate::error::Error;
use crate::history::{self, Fed, Values};
use crate::machine::{
    Answer, EffectNeed, Ended, Given, Machine, Need, StartInfo, Subject, Verdict, Wait, Waiting,
};
use crate::skill::{Policy, Skills};
use crate::value::Value;
use crate::workflow::Definition;
use aos_format::digest::{Digest, LogId, RunId};
use aos_format::event::{Checkpoint, Event, Mark, slot_of};
use aos_format::frame::Kind;
use aos_format::record::{StreamId, VOLATILE_DUE, VOLATILE_WIRE_KEY, Volatile};
use aos_store::{Append, Log, StoredRecord, Ticket};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Events a run makes before it gives way to another: enough to keep the cost of switching small.
const EVENTS_A_TURN: usize = 256;
/// What a step takes in the log, in bytes, taken low: by it the room of checkpoints is measured.
const HISTORY_BYTES_A_STEP: u64 = 256;

/// What every run of an engine shares.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub log: Arc<Log>,
    pub log_id: LogId,
    pub skills: Arc<Skills>,
    pub clock: Clock,
    /// Steps between checkpoints, where the caller overrides the document.
    pub checkpoint_every: Option<u64>,
    /// Which values the records of its runs store.
    pub recording: Recording,
}

/// A run in progress.
#[derive(Debug)]
pub struct Run {
    shared: Shared,
    machine: Machine,
    started_ns: i64,
    /// Answers that came, oldest first; each is taken when every lane waits.
    answers: VecDeque<Given>,
    /// What is known of pending effects' outcomes, by number of their INTENT; nothing of one that is yet to happen.
    outcomes: BTreeMap<u64, PendingOutcome>,
    /// When timers are due, in nanoseconds since 1970, by number of their INTENT.
    due: BTreeMap<u64, i64>,
    /// Effects that were handed out, by number of their INTENT.
    handed: BTreeMap<u64, EffectNeed>,
    checkpoint_steps: u64,
    /// Length of the state when a checkpoint was last taken, in bytes.
    checkpoint_len: u64,
    ticket: Option<Ticket>,
    events: u64,
    made: Vec<Emission>,
}

/// What is known of a pending effect's outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PendingOutcome {
    /// A crash came between INTENT and RESULT.
    Unknown,
    /// It may be done, once: somebody decided so, or it was never begun. A MARK goes before it.
    RetryDecided,
}

/// What a run waits for after its turn.
#[derive(Debug)]
pub enum Turn {
    /// Another turn.
    Again,
    /// Any of these.
    Waits(Vec<Pending>),
    /// Somebody who resolves an effect whose outcome is unknown; nothing else is under way.
    Held(EffectNeed),
    /// Somebody who resumes it.
    Suspended,
    /// Nothing.
    Ended(Ended),
}

/// One thing that a run waits for.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What the answer goes to.
    pub wait: Wait,
    /// When it is due, for a timer, in nanoseconds since 1970.
    pub due_ns: i64,
    /// Whether it was told of before: an effect is to be performed once.
    pub known: bool,
}

impl Turn {
    /// The first timer to be due, if any is waited for.
    pub fn next_timer(&self) -> Option<&Pending> {
        let Turn::Waits(pending) = self else {
            return None;
        };
        let timers = pending
            .iter()
            .filter(|one| matches!(one.wait.what, Waiting::Timer { .. }));
        timers.min_by_key(|one| (one.due_ns, one.wait.seq))
    }

    /// Effects that were not told of before.
    pub fn new_effects(&self) -> impl Iterator<Item = (&Wait, &EffectNeed)> {
        let pending: &[Pending] = match self {
            Turn::Waits(pending) => pending,
            _ => &[],
        };
        pending.iter().filter_map(|one| match &one.wait.what {
            Waiting::Effect(need) if !one.known => Some((&one.wait, need)),
            _ => None,
        })
    }

    /// Whether an effect is under way.
    pub fn has_effects(&self) -> bool {
        match self {
            Turn::Waits(pending) => pending
                .iter()
                .any(|one| matches!(one.wait.what, Waiting::Effect(_))),
            _ => false,
        }
    }
}

impl Run {
    pub(crate) fn begin(
        shared: Shared,
        definition: Arc<Definition>,
        chain: Chain,
        info: StartInfo,
        input: Value,
    ) -> Run {
        let stride = shared.log.identity().stride;
        let skills = shared.skills.clone();
        let mut machine = Machine::new(definition, skills, chain, info, input, stride);
        machine.set_recording(shared.recording);
        Run {
            machine,
            started_ns: Clock::wall_ns(),
            answers: VecDeque::new(),
            outcomes: BTreeMap::new(),
            due: BTreeMap::new(),
            handed: BTreeMap::new(),
            checkpoint_steps: 0,
            checkpoint_len: 0,
            ticket: None,
            events: 0,
            made: Vec::new(),
            shared,
        }
    }

    /// Goes on with a run whose records are `records`, its START first: from its last usable checkpoint, or from its start.
    ///
    /// `fresh` makes the machine as it was before START.
    pub(crate) fn resume(
        shared: Shared,
        records: &[StoredRecord],
        fresh: &dyn Fn() -> Machine,
        started_ns: i64,
    ) -> Result<Run, Error> {
        let values = LogValues(&shared.log);
        let checkpoints = records
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, r)| r.kind() == Some(Kind::Checkpoint));
        let mut resumed = None;
        for (at, record) in checkpoints {
            let mut machine = fresh();
            if restore(&mut machine, records, at, record, &values).is_some() {
                // A checkpoint that is whole but wrong parts from what follows; then an earlier one is tried.
                if let Ok(Fed::Equal(frontier)) =
                    history::feed(&mut machine, &records[at + 1..], &values, false)
                {
                    resumed = Some((machine, frontier));
                    break;
                }
            }
        }
        let (mut machine, frontier) = match resumed {
            Some(resumed) => resumed,
            None => {
                let mut machine = fresh();
                let run = machine.chain().run();
                let fed = history::feed(&mut machine, records, &values, false)
                    .map_err(|source| Error::History { run, source })?;
                match fed {
                    Fed::Equal(frontier) => (machine, frontier),
                    Fed::Parted(parted) => {
                        let offset = records
                            .get(parted.at)
                            .or(records.last())
                            .map(StoredRecord::offset);
                        return Err(Error::Nondeterminism {
                            run,
                            offset: offset.unwrap_or_default(),
                            why: parted.why,
                        });
                    }
                }
            }
        };
        let (mut due, mut outcomes) = (BTreeMap::new(), BTreeMap::new());
        if let Need::Waits(waits) = &frontier.need {
            for wait in waits {
                match &wait.what {
                    Waiting::Timer { .. } => {
                        let at = records.partition_point(|record| record.seq() < wait.seq);
                        let record = records.get(at).filter(|r| r.seq() == wait.seq);
                        let known = record.map(StoredRecord::view).transpose()?;
                        let known = known
                            .and_then(|view| view.volatile_tag(VOLATILE_DUE)?.try_into().ok())
                            .map(i64::from_le_bytes);
                        due.extend(known.map(|ns| (wait.seq, ns)));
                    }
                    Waiting::Effect(need) => {
                        let outcome = pending_outcome(records, wait.seq, &need.activation)?;
                        outcomes.insert(wait.seq, outcome);
                    }
                    Waiting::Clock(_) | Waiting::Event { .. } | Waiting::Resumption => {}
                }
            }
        }
        let checkpoint_steps = machine.steps();
        let mut run = Run {
            started_ns,
            answers: VecDeque::new(),
            outcomes,
            due,
            handed: BTreeMap::new(),
            checkpoint_steps,
            checkpoint_len: 0,
            ticket: None,
            events: 0,
            made: Vec::new(),
            machine: {
                machine.set_skills(shared.skills.clone());
                machine
            },
            shared,
        };
        if run.machine.ended().is_none() {
            run.mark("resume", "")?;
        }
        Ok(run)
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.machine.chain().run()
    }

    /// Newest history digest.
    pub fn digest(&self) -> Digest {
        self.machine.chain().head()
    }

    /// Steps that ended so far.
    pub fn steps(&self) -> u64 {
        self.machine.steps()
    }

    /// Events of the whole history so far.
    pub fn events(&self) -> u64 {
        self.machine.chain().events()
    }

    /// Events made in this process.
    pub fn events_made(&self) -> u64 {
        self.events
    }

    /// The last record appended here; waiting for it makes everything before it durable too.
    pub fn ticket(&self) -> Option<Ticket> {
        self.ticket.clone()
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Gives an answer to something the run waits for; the next turn goes on from it.
    pub fn answer(&mut self, given: impl Into<Given>) {
        let given = given.into();
        let seq = given.seq.or_else(|| self.outcomes.keys().next().copied());
        match (&given.answer, seq) {
            (Answer::Resolved(resolution), Some(seq)) if resolution.verdict == Verdict::Retry => {
                self.outcomes.insert(seq, PendingOutcome::RetryDecided);
                self.handed.remove(&seq);
            }
            (Answer::Effect(_) | Answer::Resolved(_), Some(seq)) => {
                self.outcomes.remove(&seq);
            }
            _ => {}
        }
        self.answers.push_back(given);
    }

    /// Whether an answer is still one that the run waits for: what was cancelled or timed out needs none.
    fn wanted(&self, given: &Given) -> bool {
        if let Answer::Control(..) = given.answer {
            return true;
        }
        let Some(Need::Waits(waits)) = self.machine.need() else {
            return false;
        };
        waits.iter().any(|wait| {
            given.lane.is_none_or(|lane| lane == wait.lane)
                && given.seq.is_none_or(|seq| seq == wait.seq)
                && match (&given.answer, &wait.what) {
                    (Answer::Fired, Waiting::Timer { .. })
                    | (Answer::Effect(_) | Answer::Resolved(_), Waiting::Effect(_))
                    | (Answer::Clock(_), Waiting::Clock(_)) => true,
                    (Answer::Event { event, .. }, Waiting::Event { .. }) => {
                        self.machine.accepts(wait.lane, event)
                    }
                    _ => false,
                }
        })
    }

    /// The next answer that the machine can take, if it can take any now.
    fn next_answer(&mut self) -> Option<Given> {
        self.machine.need()?;
        loop {
            let given = self.answers.pop_front()?;
            if self.wanted(&given) {
                return Some(given);
            }
        }
    }

    /// Runs until something is needed from outside, or its turn is over. Everything made is appended, in order, before
    /// this returns; none of it need be durable yet.
    ///
    /// # Errors
    /// [`Error::Store`] when the log takes no more; the run is then as a crash would leave it.
    pub fn turn(&mut self) -> Result<Turn, Error> {
        let mut left = EVENTS_A_TURN;
        loop {
            let before = self.made.len();
            let limit = left.min(self.until_checkpoint());
            let given = self.next_answer();
            let need = self.machine.advance(given, limit, &mut self.made);
            left = left.saturating_sub(self.made.len() - before);
            match need {
                Need::More => {
                    self.checkpoint_if_due()?;
                    if left == 0 {
                        self.append()?;
                        return Ok(Turn::Again);
                    }
                }
                Need::Ended(ended) => {
                    self.append()?;
                    return Ok(Turn::Ended(ended));
                }
                Need::Waits(waits) => {
                    let clock = waits.iter().find_map(|wait| match wait.what {
                        Waiting::Clock(subject) => Some((wait, subject)),
                        _ => None,
                    });
                    if let Some((wait, subject)) = clock {
                        let reading = self.read_clock(wait.lane, subject);
                        self.answers
                            .push_front(Given::to(wait, Answer::Clock(reading)));
                    } else if !self.answers.iter().any(|given| self.wanted(given)) {
                        self.answers.clear();
                        self.append()?;
                        return self.waits(waits);
                    }
                }
            }
        }
    }

    /// What the caller has to see to.
    fn waits(&mut self, waits: Vec<Wait>) -> Result<Turn, Error> {
        let mut pending = Vec::with_capacity(waits.len());
        let mut held = None;
        let mut under_way: BTreeMap<u64, EffectNeed> = BTreeMap::new();
        for wait in waits {
            let mut one = Pending {
                due_ns: 0,
                known: false,
                wait,
            };
            match &one.wait.what {
                Waiting::Timer { .. } => one.due_ns = self.due_ns(&one.wait),
                Waiting::Effect(need) => {
                    let (seq, need) = (one.wait.seq, need.clone());
                    one.known = self.handed.contains_key(&seq);
                    match (self.outcomes.get(&seq), need.policy) {
                        (Some(PendingOutcome::Unknown), Policy::Hold) => {
                            held.get_or_insert(need);
                            continue;
                        }
                        (Some(_), _) if !one.known => self.mark("reissue", &need.activation)?,
                        _ => {}
                    }
                    self.outcomes.remove(&seq);
                    under_way.insert(seq, need);
                }
                Waiting::Clock(_) | Waiting::Event { .. } => {}
                Waiting::Resumption => continue,
            }
            pending.push(one);
        }
        // What is no longer waited for is forgotten.
        self.handed = under_way;
        let due = &mut self.due;
        due.retain(|seq, _| pending.iter().any(|one| one.wait.seq == *seq));
        match held {
            Some(need) if pending.is_empty() => Ok(Turn::Held(need)),
            _ if pending.is_empty() => Ok(Turn::Suspended),
            _ => Ok(Turn::Waits(pending)),
        }
    }

    /// When a timer is due: as its record says, or from now on.
    fn due_ns(&mut self, wait: &Wait) -> i64 {
        let Waiting::Timer {
            duration_ms,
            due_ms,
            ..
        } = &wait.what
        else {
            return 0;
        };
        let clock = self.shared.clock;
        let started_ns = self.started_ns;
        *self.due.entry(wait.seq).or_insert_with(|| {
            if clock.is_virtual {
                return clock.read(started_ns, *due_ms);
            }
            let ns = i64::try_from(duration_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
            Clock::wall_ns().saturating_add(ns)
        })
    }

    /// The effects the run waits for.
    pub fn pending(&self) -> Vec<(Wait, EffectNeed)> {
        let Some(Need::Waits(waits)) = self.machine.need() else {
            return Vec::new();
        };
        let effects = waits.into_iter().filter_map(|wait| match &wait.what {
            Waiting::Effect(need) => {
                let need = need.clone();
                Some((wait, need))
            }
            _ => None,
        });
        effects.collect()
    }

    /// Records the answers given, so that nothing that happens to the run afterwards loses them, and goes no further.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) fn record(&mut self) -> Result<(), Error> {
        while !self.answers.is_empty() {
            // An answer is taken when every lane waits; what lanes do before is theirs to do anyway.
            while self.machine.need().is_none() {
                self.machine.advance(None, EVENTS_A_TURN, &mut self.made);
            }
            let Some(given) = self.next_answer() else {
                break;
            };
            self.machine.advance(Some(given), 1, &mut self.made);
        }
        self.append()
    }

    /// Puts START on record and goes no further.
    pub(crate) fn open(&mut self) -> Result<Ticket, Error> {
        if self.ticket.is_none() {
            self.machine.advance(None, 1, &mut self.made);
            self.append()?;
        }
        Ok(self.ticket.clone().expect("START was appended"))
    }

    /// Takes an answer that somebody brings, if the run waits for it, records it and goes no further. `None` when it does
    /// not: the run is as it was.
    pub(crate) fn deliver(&mut self, answer: Answer) -> Result<Option<Ticket>, Error> {
        while self.machine.need().is_none() {
            self.machine.advance(None, EVENTS_A_TURN, &mut self.made);
        }
        let given = Given::from(answer);
        let wanted = self.wanted(&given);
        if wanted {
            self.answers.push_back(given);
        }
        self.record()?;
        Ok(self.ticket.clone().filter(|_| wanted))
    }

    /// Notes that the pending effect, whose INTENT is on record, was never begun.
    pub(crate) fn unsent(&mut self, seq: u64, need: &EffectNeed) -> Result<(), Error> {
        self.handed.remove(&seq);
        self.mark("unsent", &need.activation)
    }

    /// Records the answer given as one event and goes no further.
    pub(crate) fn decide(&mut self) -> Result<Ticket, Error> {
        self.record()?;
        Ok(self.ticket.clone().expect("the decision was appended"))
    }

    /// Idempotency key as the receiver sees it: that of the effect, and the log it is made from.
    pub fn wire_key(&self, effect: &EffectNeed) -> String {
        format!("{}@{}", effect.idempotency.hex(), self.shared.log_id)
    }

    fn read_clock(&self, lane: u64, subject: Subject) -> i64 {
        match subject {
            Subject::WorkflowStarted => self.shared.clock.started(self.started_ns),
            Subject::Now | Subject::TaskStarted => self
                .shared
                .clock
                .read(self.started_ns, self.machine.waited_ms(lane)),
        }
    }

    /// Appends what was made. The INTENT of a timer says when it is due, that of an effect the key it has on the wire.
    fn append(&mut self) -> Result<(), Error> {
        if self.made.is_empty() {
            return Ok(());
        }
        if self.made.iter().any(|one| one.kind == Kind::Intent) {
            for wait in self.machine.pending() {
                let at = self.made.iter().position(|one| one.seq == wait.seq);
                let Some(at) = at else { continue };
                let volatile = match &wait.what {
                    Waiting::Timer { .. } => Volatile {
                        tag: VOLATILE_DUE,
                        bytes: self.due_ns(&wait).to_le_bytes().to_vec(),
                    },
                    Waiting::Effect(need) => Volatile {
                        tag: VOLATILE_WIRE_KEY,
                        bytes: self.wire_key(need).into_bytes(),
                    },
                    _ => continue,
                };
                self.made[at].draft.volatile.push(volatile);
            }
        }
        self.events += self.made.len() as u64;
        let wall_ns = Clock::wall_ns();
        let items = self
            .made
            .drain(..)
            .map(|emission| item(emission, wall_ns))
            .collect();
        self.ticket = Some(self.shared.log.append_batch(items)?);
        Ok(())
    }

    /// Steps between checkpoints; 0 takes none. A document says the least: where the state is large, such as in a loop over a
    /// long list, checkpoints come seldom enough to take no more room than the history, so what a run costs grows with its
    /// steps and not with their square.
    fn checkpoint_every(&self) -> u64 {
        let documents = self.machine.definition().settings.checkpoint_every;
        match (self.shared.checkpoint_every, documents) {
            (Some(exact), _) => exact,
            (None, 0) => 0,
            (None, least) => least.max(self.checkpoint_len / HISTORY_BYTES_A_STEP),
        }
    }

    /// Events that can be made before a checkpoint may be due: a step is at least one event.
    fn until_checkpoint(&self) -> usize {
        match self.checkpoint_every() {
            0 => EVENTS_A_TURN,
            every => {
                let taken = self.machine.steps() - self.checkpoint_steps;
                usize::try_from(every.saturating_sub(taken).max(1)).unwrap_or(EVENTS_A_TURN)
            }
        }
    }

    fn checkpoint_if_due(&mut self) -> Result<(), Error> {
        let every = self.checkpoint_every();
        if every > 0 && self.machine.steps() - self.checkpoint_steps >= every {
            self.append()?;
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Writes a checkpoint of the present state, if the log can take it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn checkpoint(&mut self) -> Result<bool, Error> {
        self.checkpoint_steps = self.machine.steps();
        let Ok(state) = self.machine.save() else {
            return Ok(false);
        };
        self.checkpoint_len = state.canonical().len() as u64;
        if self.checkpoint_len > crate::machine::value_limit(self.shared.log.identity().stride) {
            return Ok(false);
        }
        let emission = self.machine.note(Kind::Checkpoint, |chain, naming, steps| {
            let slot = slot_of(Kind::Checkpoint, "state").expect("the kind's table has this slot");
            let name = chain.name(naming, slot, &crate::chain::Datum::fresh(state));
            Event::Checkpoint(Checkpoint {
                lanes: chain.lanes().to_vec(),
                state: Some(name),
                steps,
            })
        });
        self.append_note(emission)?;
        Ok(true)
    }

    fn mark(&mut self, what: &str, activation: &str) -> Result<(), Error> {
        let mark = Event::Mark(Mark {
            what: what.into(),
            activation: activation.into(),
        });
        let emission = self.machine.note(Kind::Mark, |_, _, _| mark);
        self.append_note(emission)
    }

    fn append_note(&mut self, emission: Emission) -> Result<(), Error> {
        self.ticket = Some(
            self.shared
                .log
                .append_batch(vec![item(emission, Clock::wall_ns())])?,
        );
        Ok(())
    }
}

fn item(emission: Emission, wall_ns: i64) -> Append {
    let mut draft = emission.draft;
    draft.wall_ns = wall_ns;
    Append {
        draft,
        kind: emission.kind,
        seq: emission.seq,
    }
}

/// What the records say of the effect whose INTENT is record `seq` and that has no answer: a decision to do it again counts
/// until it was acted on, which a MARK says.
fn pending_outcome(
    records: &[StoredRecord],
    seq: u64,
    activation: &str,
) -> Result<PendingOutcome, Error> {
    for record in records.iter().rev().take_while(|record| record.seq() > seq) {
        if !matches!(record.kind(), Some(Kind::Mark | Kind::Decision)) {
            continue;
        }
        match read(record)? {
            Event::Mark(mark) if mark.activation == activation => match mark.what.as_str() {
                "reissue" => return Ok(PendingOutcome::Unknown),
                "unsent" => return Ok(PendingOutcome::RetryDecided),
                _ => {}
            },
            Event::Decision(decision)
                if decision.activation == activation && decision.rule == "resolve" =>
            {
                return Ok(PendingOutcome::RetryDecided);
            }
            _ => {}
        }
    }
    Ok(PendingOutcome::Unknown)
}

fn read(record: &StoredRecord) -> Result<Event, Error> {
    let run = record.stream()?.as_run().unwrap_or(RunId([0; 16]));
    history::read_event(record).map_err(|source| Error::History { run, source })
}

/// Puts `machine` into the state of the checkpoint `records[at]`; `None` when that cannot be used.
fn restore(
    machine: &mut Machine,
    records: &[StoredRecord],
    at: usize,
    record: &StoredRecord,
    values: &dyn Values,
) -> Option<()> {
    let slot = slot_of(Kind::Checkpoint, "state")?;
    let (state, _) = history::placed_value(values, record, slot).ok()?;
    let Event::Checkpoint(checkpoint) = history::read_event(record).ok()? else {
        return None;
    };
    let before = &records[..at];
    let advancing = || {
        before
            .iter()
            .filter(|r| r.kind().is_some_and(Kind::advances))
    };
    // Each lane's head is that of its last record; a lane that a fork just opened has none.
    for head in &checkpoint.lanes {
        let mut of_lane = advancing().rev();
        let last = of_lane.find(|r| r.view().is_ok_and(|view| view.lane() == head.lane));
        let agrees = match last {
            None => head.lane_seq == 0,
            Some(record) => record
                .view()
                .is_ok_and(|view| view.digest() == head.digest && view.lane_seq() == head.lane_seq),
        };
        if !agrees {
            return None;
        }
    }
    if checkpoint.lanes.first().is_none_or(|first| first.lane != 0) {
        return None;
    }
    let chain = machine.chain();
    let chain = Chain::resume(
        chain.run(),
        chain.seed().clone(),
        checkpoint.lanes.clone(),
        record.seq(),
        advancing().count() as u64,
    );
    machine
        .restore(&state, chain, &mut |seq, slot| {
            let at = records.partition_point(|r| r.seq() < seq);
            let source = records.get(at).filter(|r| r.seq() == seq);
            let source = source.ok_or_else(|| crate::machine::StateError::missing(seq))?;
            history::placed_value(values, source, slot)
                .map_err(|error| crate::machine::StateError::from(&error))
        })
        .ok()
}

/// Values of a history as its writer reads them.
pub(crate) struct LogValues<'a>(pub &'a Log);

impl Values for LogValues<'_> {
    fn bytes(&self, record: &StoredRecord, slot: u8) -> Result<Option<Vec<u8>>, aos_store::Error> {
        stored(self.0.value(record, slot))
    }
}

/// The bytes of a value, `None` where they were never stored or were cut off.
///
/// # Errors
/// Whatever else the log said.
pub fn stored(
    bytes: Result<Vec<u8>, aos_store::Error>,
) -> Result<Option<Vec<u8>>, aos_store::Error> {
    match bytes {
        Ok(bytes) => Ok(Some(bytes)),
        Err(aos_store::Error::NoValue { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The stream of a run.
pub(crate) fn stream(run: RunId) -> StreamId {
    StreamId::run(run)
}
