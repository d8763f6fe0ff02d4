//! The two sides: where records come from, and whether they may be trusted.

use super::report::{Authenticated, Class, Fault, Side};
use crate::error::Error;
use crate::finding::{Finding, FindingKind, code};
use crate::verify::verify;
use aos_format::digest::{Digest, RunId};
use aos_format::event::Event;
use aos_format::frame::Kind;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_format::segment::Identity;
use aos_store::{Index, LogReader, RunRow, Source, StoredRecord, TailState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Logs up to this size are verified whole before anything is compared, unless the caller asks for something else.
pub const VERIFIED_BYTES: u64 = 64 << 20;

/// How a log is authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Authenticate {
    /// Every byte of logs up to [`VERIFIED_BYTES`]; of larger ones the runs that are compared, or the records read.
    #[default]
    Auto,
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
        let whole = how == Authenticate::Full || tail.end.0 <= VERIFIED_BYTES;
        if whole {
            let verified = verify(reader, workers)?;
            input.authenticated = Authenticated::Full;
            input.findings = verified.findings;
        } else if let Some(finding) = tail.state.finding() {
            input.findings.push(finding.into());
        }
        input.damage = judge(reader, &tail.state, &input.findings)?;
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
        }
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
    /// Of a log too large to be folded in a moment its last segment is looked at first: a run whose newest record stands
    /// there is found without reading the rest.
    ///
    /// # Errors
    /// [`Error::NoRun`], [`Error::Store`].
    pub fn run(&self, run: RunId) -> Result<RunAt, Error> {
        if let Some(found) = self.newest()?.into_iter().find(|at| at.run == run) {
            return Ok(found);
        }
        let index = self.source.index()?;
        let row = index.rows.runs.get(&run).ok_or(Error::NoRun { run })?;
        Ok(RunAt::of(row))
    }

    /// Runs whose newest record stands in the last segment of a log beyond [`VERIFIED_BYTES`]; none of other sources.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn newest(&self) -> Result<Vec<RunAt>, Error> {
        let Some(log) = self.log else {
            return Ok(Vec::new());
        };
        let tail = log.tail()?;
        if tail.end.0 <= VERIFIED_BYTES || self.damage.is_some() {
            return Ok(Vec::new());
        }
        // A segment that has just begun holds few heads; the one before it too, then.
        let stride = log.identity().stride;
        let last = stride.segment_start(Offset(tail.end.0 - 1));
        let from = Offset(last.0.saturating_sub(stride.bytes()));
        let mut newest: Vec<RunAt> = Vec::new();
        for record in log.scan(from)? {
            let record = match record {
                Ok(record) => record,
                Err(aos_store::Error::Finding(_)) => break,
                Err(error) => return Err(error.into()),
            };
            let Some(run) = record.stream()?.as_run() else {
                continue;
            };
            let at = RunAt {
                run,
                head: record.offset(),
                records: record.seq(),
            };
            match newest.last_mut().filter(|known| known.run == run) {
                Some(known) => *known = at,
                None => {
                    newest.retain(|known| known.run != run);
                    newest.push(at);
                }
            }
        }
        Ok(newest)
    }

    /// The row of a run, from the index.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn row(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        Ok(self.source.index()?.rows.runs.get(&run).cloned())
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
        self.source.index()
    }

    fn read(&self, offset: Offset) -> Result<StoredRecord, aos_store::Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.source.read(offset)
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
    /// The DEFINITION of that digest, for a run whose START stands at `start`.
    pub(crate) fn definition(
        &self,
        digest: Digest,
        start: Offset,
    ) -> Result<Option<StoredRecord>, Error> {
        self.control(
            start,
            |index| index.rows.definitions.get(&digest).copied(),
            |event| matches!(event, Event::Definition(definition) if definition.digest == digest),
        )
    }

    /// The SEED of that commitment, for a run whose START stands at `start`.
    pub(crate) fn seed(
        &self,
        commitment: Digest,
        start: Offset,
    ) -> Result<Option<StoredRecord>, Error> {
        self.control(
            start,
            |index| index.rows.seeds.get(&commitment).copied(),
            |event| matches!(event, Event::Seed(seed) if seed.commitment == commitment),
        )
    }

    /// Of a large log whose run began in its first segment only what stands before the run is read.
    fn control(
        &self,
        start: Offset,
        indexed: impl Fn(&Index) -> Option<Offset>,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Option<StoredRecord>, Error> {
        let large = match self.log {
            Some(log) => log.tail()?.end.0 > VERIFIED_BYTES,
            None => false,
        };
        if let Some(log) = self
            .log
            .filter(|log| large && start < log.identity().stride.segment_end(Offset(0)))
        {
            for record in log.scan(Offset(0))? {
                let record = record?;
                if record.offset() >= start {
                    break;
                }
                let control = matches!(record.kind(), Some(Kind::Definition | Kind::Seed));
                if let Some(kind) = record.kind().filter(|_| control)
                    && let Ok((_, event)) = Event::decode(kind, record.view()?.det())
                    && wanted(&event)
                {
                    return Ok(Some(record));
                }
            }
        }
        let Some(at) = indexed(&*self.source.index()?) else {
            return Ok(None);
        };
        match self.read(at) {
            Ok(record) => Ok(Some(record)),
            Err(aos_store::Error::NoRecord { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
