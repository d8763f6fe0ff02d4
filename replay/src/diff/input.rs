//! The two sides: where records come from, and whether they may be trusted.

use super::locate::Track;
use super::report::{Authenticated, Class, Fault, Side};
use super::sealed::Sealed;
use crate::error::Error;
use crate::finding::{Finding, FindingKind, code};
use crate::rederive::Rederived;
use crate::verify::verify;
use aos_engine::skill::Skills;
use aos_format::digest::{Digest, RunId};
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::{StreamId, VOLATILE_GENERATION, VOLATILE_KEY};
use aos_format::segment::Identity;
use aos_store::{Index, LogReader, RunRow, Source, StoredRecord, Tail, TailState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Logs up to this size are verified whole before anything is compared, unless the caller asks for something else.
pub const VERIFIED_BYTES: u64 = 64 << 20;
/// How much of the end of a log is looked at before the whole is read.
const LOOKED_AT_BYTES: u64 = 32 << 20;
/// Records of the control stream that are looked at before the whole log is read.
const CONTROL_MAX: u64 = 10_000;

/// How a log is authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Authenticate {
    /// Every byte of logs up to [`VERIFIED_BYTES`]; of larger ones as [`Authenticate::Sealed`].
    #[default]
    Auto,
    /// Of any log what is read: records must hold together, and the ranges of seals that hold those on which the verdict
    /// rests must have the roots that the seals give them.
    Sealed,
    /// Every byte.
    Full,
}

/// One side of a comparison.
pub struct Input<'a> {
    name: String,
    source: &'a dyn Source,
    log: Option<&'a LogReader>,
    authenticated: Authenticated,
    findings: Vec<Finding>,
    damage: Option<Class>,
    reads: AtomicU64,
    indexed: AtomicBool,
    tail: Option<Tail>,
    recent: OnceLock<Recent>,
    sealed: Sealed,
    made: Option<Rederived>,
}

/// What the end of a log shows without the rest being read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    /// Runs whose newest record stands there.
    runs: Vec<RunAt>,
    /// Whether there are no others.
    complete: bool,
    /// The newest record of the control stream, if it stands there, and its number.
    pub control: Option<(Offset, u64)>,
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("name", &self.name)
            .field("authenticated", &self.authenticated)
            .field("damage", &self.damage)
            .finish_non_exhaustive()
    }
}

impl<'a> Input<'a> {
    /// A log, authenticated as asked for on `workers` threads. Damage is no error: it becomes the verdict.
    ///
    /// # Errors
    /// [`Error::Store`] when the disk fails.
    pub fn log(
        name: &str,
        reader: &'a LogReader,
        how: Authenticate,
        workers: usize,
    ) -> Result<Input<'a>, Error> {
        let mut input = Input::new(name, reader);
        input.log = Some(reader);
        let tail = reader.tail()?;
        let whole = match how {
            Authenticate::Full => true,
            Authenticate::Auto => tail.end.0 <= VERIFIED_BYTES,
            Authenticate::Sealed => false,
        };
        if whole {
            let verified = verify(reader, workers)?;
            input.authenticated = Authenticated::Full;
            input.findings = verified.findings;
        } else if let Some(finding) = tail.state.finding() {
            input.findings.push(finding.into());
        }
        input.damage = judge(reader, &tail.state, &input.findings)?;
        input.tail = Some(tail);
        Ok(input)
    }

    /// An archive or anything else that carries frames, which its own checks vouch for: `findings` are what they found.
    pub fn carrier(name: &str, source: &'a dyn Source, findings: Vec<Finding>) -> Input<'a> {
        let damage = findings.iter().filter_map(class_of).min();
        Input {
            authenticated: Authenticated::Carrier,
            findings,
            damage,
            ..Input::new(name, source)
        }
    }

    fn new(name: &str, source: &'a dyn Source) -> Input<'a> {
        Input {
            name: name.to_owned(),
            source,
            log: None,
            authenticated: Authenticated::Probes,
            findings: Vec::new(),
            damage: None,
            reads: AtomicU64::new(0),
            indexed: AtomicBool::new(false),
            tail: None,
            recent: OnceLock::new(),
            sealed: Sealed::default(),
            made: None,
        }
    }

    /// With the skills that make values again which it names and does not store.
    pub fn with_skills(mut self, skills: Arc<Skills>) -> Input<'a> {
        self.made = Some(Rederived::new(skills));
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong with it as a whole, if anything.
    pub fn damage(&self) -> Option<Class> {
        self.damage
    }

    /// What its checks found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How much of it was checked.
    pub fn authenticated(&self) -> Authenticated {
        self.authenticated
    }

    /// Records read through it so far.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// The run with that id.
    ///
    /// Of a log that is not verified whole its end is looked at first: a run whose newest record stands there is found without
    /// reading the rest.
    ///
    /// # Errors
    /// [`Error::NoRun`], [`Error::Store`].
    pub fn run(&self, run: RunId) -> Result<RunAt, Error> {
        let recent = self.recent()?;
        if let Some(found) = recent.runs.iter().find(|at| at.run == run) {
            return Ok(*found);
        }
        if recent.complete {
            return Err(Error::NoRun { run });
        }
        let index = self.index()?;
        let row = index.rows.runs.get(&run).ok_or(Error::NoRun { run })?;
        Ok(RunAt::of(row))
    }

    /// All runs of a log that is not verified whole, where its end shows that there are no others; `None` where only
    /// the index tells.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn all(&self) -> Result<Option<&[RunAt]>, Error> {
        let recent = self.recent()?;
        Ok(recent.complete.then_some(&recent.runs))
    }

    /// What a run is known by, as its START says; as the index says where there is one anyway.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when the run does not begin with one; [`Error::Store`].
    pub fn called(&self, at: RunAt) -> Result<Called, Error> {
        let none = Error::NoRun { run: at.run };
        if self.authenticated != Authenticated::Probes {
            return self.row(at.run)?.map(Called::of).ok_or(none);
        }
        let record = Track::new(self, at).nth(1)?.ok_or(none)?;
        let view = record.view()?;
        let Ok((_, Event::Start(start))) = Event::decode(Kind::Start, view.det()) else {
            let found = Finding::at(code::LINK, record.offset().0, "a START", "another record");
            return Err(Error::Unreadable(Box::new(found.stream(at.stream()))));
        };
        let key = view.volatile_tag(VOLATILE_KEY).map(String::from_utf8_lossy);
        let generation = view.volatile_tag(VOLATILE_GENERATION);
        let generation = generation.and_then(|bytes| bytes.try_into().ok());
        Ok(Called {
            run: at.run,
            namespace: start.namespace,
            name: start.name,
            key: key.unwrap_or_default().into_owned(),
            generation: generation.map(u64::from_le_bytes).unwrap_or_default(),
        })
    }

    /// What the end of a log that is not verified whole shows; nothing of other sources.
    fn recent(&self) -> Result<&Recent, Error> {
        if let Some(known) = self.recent.get() {
            return Ok(known);
        }
        let found = self.look_at_the_end()?;
        Ok(self.recent.get_or_init(|| found))
    }

    fn look_at_the_end(&self) -> Result<Recent, Error> {
        let mut recent = Recent::default();
        let (Some(log), Some(tail)) = (self.log, &self.tail) else {
            return Ok(recent);
        };
        if self.authenticated == Authenticated::Full || self.damage.is_some() {
            return Ok(recent);
        }
        let heads = log.heads(tail, LOOKED_AT_BYTES)?;
        recent.complete = heads.complete;
        for (stream, (head, records)) in heads.streams {
            if stream == StreamId::CONTROL {
                recent.control = Some((head, records));
            }
            recent
                .runs
                .extend(stream.as_run().map(|run| RunAt { run, head, records }));
        }
        Ok(recent)
    }

    /// Whether each of these records stands in a sealed range that has the root its seal gives it. What is verified whole
    /// needs no seal.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when a range has another root; [`Error::Store`].
    pub(crate) fn sealed(&self, offsets: &[Offset]) -> Result<bool, Error> {
        let Some(log) = self
            .log
            .filter(|_| self.authenticated == Authenticated::Probes)
        else {
            return Ok(false);
        };
        let recent = self.recent()?;
        let mut all = true;
        for offset in offsets {
            all &= self.sealed.covers(log, recent, *offset)?;
        }
        Ok(all)
    }

    /// The row of a run, from the index.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn row(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        Ok(self.index()?.rows.runs.get(&run).cloned())
    }

    /// What a report says of this side, without a run.
    pub fn side(&self) -> Side {
        Side {
            source: self.name.clone(),
            authenticated: self.authenticated,
            findings: self.findings.iter().map(fault).collect(),
            ..Side::default()
        }
    }
}

impl Source for Input<'_> {
    fn identity(&self) -> Identity {
        self.source.identity()
    }

    fn index(&self) -> Result<Arc<Index>, aos_store::Error> {
        self.indexed.store(true, Ordering::Relaxed);
        self.source.index()
    }

    fn read(&self, offset: Offset) -> Result<StoredRecord, aos_store::Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.source.read(offset)
    }

    fn value(&self, record: &StoredRecord, slot: u8) -> Result<Vec<u8>, aos_store::Error> {
        let stored = self.stored_value(record, slot);
        let Err(aos_store::Error::NoValue { .. }) = &stored else {
            return stored;
        };
        let made = self.made.as_ref();
        let made = made
            .map(|made| made.value(self, record, slot))
            .transpose()?;
        made.flatten().map_or(stored, Ok)
    }
}

/// What a run is known by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Called {
    /// The run.
    pub run: RunId,
    /// Namespace of its workflow.
    pub namespace: String,
    /// Name of its workflow.
    pub name: String,
    /// Key it was started under.
    pub key: String,
    /// Generation of that key.
    pub generation: u64,
}

impl Called {
    fn of(row: RunRow) -> Called {
        Called {
            run: row.run,
            namespace: row.namespace,
            name: row.name,
            key: row.key,
            generation: row.generation,
        }
    }
}

/// Where a run ends in its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunAt {
    /// The run.
    pub run: RunId,
    /// Its newest record.
    pub head: Offset,
    /// Number of that record in the stream.
    pub records: u64,
}

impl RunAt {
    /// As the index says.
    pub fn of(row: &RunRow) -> RunAt {
        RunAt {
            run: row.run,
            head: row.head,
            records: row.seq,
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        StreamId::run(self.run)
    }
}

/// A finding as a report has it.
pub(crate) fn fault(finding: &Finding) -> Fault {
    Fault {
        code: finding.code.into(),
        kind: finding.kind.name().into(),
        offset: finding.offset.map(|offset| offset.0),
        expected: finding.expected.clone(),
        found: finding.found.clone(),
    }
}

/// The verdict that a finding means; none for one that leaves what was read whole.
pub(crate) fn class_of(finding: &Finding) -> Option<Class> {
    match (finding.kind, finding.code) {
        (FindingKind::Gap, _) => Some(Class::Truncated),
        (
            FindingKind::TailUnproven
            | FindingKind::Unsupported
            | FindingKind::NotChecked
            | FindingKind::Mismatch,
            _,
        ) => None,
        (
            FindingKind::Corruption,
            code::UNREADABLE
            | code::HISTORY
            | code::VALUE
            | code::VALUE_TABLE
            | code::BACK_REFERENCE
            | code::LANES
            | code::IDENTITY
            | code::STREAM
            | code::SEAL
            | code::LINK,
        ) => Some(Class::Tamper),
        (FindingKind::Corruption, _) => Some(Class::LogCorruption),
    }
}

/// What is wrong with a log, by its findings and its tail.
fn judge(
    reader: &LogReader,
    tail: &TailState,
    findings: &[Finding],
) -> Result<Option<Class>, Error> {
    let worst = findings.iter().filter_map(class_of).min();
    if worst == Some(Class::LogCorruption) && ends_too_early(reader, tail)? {
        return Ok(Some(Class::Truncated));
    }
    Ok(worst)
}

/// Whether a log that is damaged at its end is so because bytes are missing: a file is too short, or the durable word speaks
/// of bytes where only zeros stand.
fn ends_too_early(reader: &LogReader, tail: &TailState) -> Result<bool, Error> {
    let stride = reader.identity().stride;
    let segments = reader.segments()?;
    if segments
        .iter()
        .any(|segment| segment.length < stride.bytes())
    {
        return Ok(true);
    }
    let (TailState::Damage(finding), Some(word)) = (tail, reader.durable_word()?) else {
        return Ok(false);
    };
    let from = finding.offset;
    if from >= word.durable {
        return Ok(false);
    }
    let to = stride.segment_end(from).0.min(word.durable.0);
    match reader.read_range(from.0..to) {
        Ok(bytes) => Ok(bytes.iter().all(|byte| *byte == 0)),
        Err(aos_store::Error::Finding(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Records of the control stream.
impl Input<'_> {
    /// The DEFINITION of that digest.
    pub(crate) fn definition(&self, digest: Digest) -> Result<Option<StoredRecord>, Error> {
        self.control(
            |index| index.rows.definitions.get(&digest).copied(),
            |event| matches!(event, Event::Definition(definition) if definition.digest == digest),
        )
    }

    /// The SEED of that commitment.
    pub(crate) fn seed(&self, commitment: Digest) -> Result<Option<StoredRecord>, Error> {
        self.control(
            |index| index.rows.seeds.get(&commitment).copied(),
            |event| matches!(event, Event::Seed(seed) if seed.commitment == commitment),
        )
    }

    /// Where a short control stream was met at the end of a log, and nobody needed the index yet, it is gone through; else
    /// the index knows.
    fn control(
        &self,
        indexed: impl Fn(&Index) -> Option<Offset>,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Option<StoredRecord>, Error> {
        let control = self.recent()?.control;
        let short =
            |at: &(Offset, u64)| at.1 <= CONTROL_MAX && !self.indexed.load(Ordering::Relaxed);
        if let Some((head, records)) = control.filter(short) {
            let mut at = head;
            for _ in 0..records {
                let record = self.read(at)?;
                at = record.header().prev;
                let control = matches!(record.kind(), Some(Kind::Definition | Kind::Seed));
                if let Some(kind) = record.kind().filter(|_| control)
                    && let Ok((_, event)) = Event::decode(kind, record.view()?.det())
                    && wanted(&event)
                {
                    return Ok(Some(record));
                }
            }
            return Ok(None);
        }
        let Some(at) = indexed(&*self.index()?) else {
            return Ok(None);
        };
        match self.read(at) {
            Ok(record) => Ok(Some(record)),
            Err(aos_store::Error::NoRecord { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
