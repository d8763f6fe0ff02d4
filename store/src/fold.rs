//! The fold: what a log contains, computed record by record.
//!
//! A pure function of the records in offset order and nothing else. The catalogue stores its result, a rebuild runs it from
//! the start, a reader in another process runs it in memory, and a check compares them all.

use crate::error::Error;
use crate::stored::StoredRecord;
use aos_format::digest::{Digest, RunId};
use aos_format::event::{Event, raw_fields};
use aos_format::frame::{FrameHeader, Kind};
use aos_format::offset::Offset;
use aos_format::record::{
    RecordView, StreamId, VOLATILE_GENERATION, VOLATILE_KEY, VOLATILE_ROOT_SEED,
};
use aos_format::sha_wide::digest_many;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// Where a run stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunStatus {
    /// Under way.
    Open,
    /// Its newest open intent is a timer.
    Waiting,
    /// An intent has neither result nor decision: what the effect did is unknown. Holds the intent's policy.
    Pending(String),
    /// Ended well.
    Completed,
    /// Ended with a failure.
    Faulted,
    /// Ended on request.
    Cancelled,
}

impl RunStatus {
    /// Whether the run has ended.
    pub fn is_ended(&self) -> bool {
        match self {
            RunStatus::Open | RunStatus::Waiting | RunStatus::Pending(_) => false,
            RunStatus::Completed | RunStatus::Faulted | RunStatus::Cancelled => true,
        }
    }

    /// Name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            RunStatus::Open => "open",
            RunStatus::Waiting => "waiting",
            RunStatus::Pending(_) => "pending",
            RunStatus::Completed => "completed",
            RunStatus::Faulted => "faulted",
            RunStatus::Cancelled => "cancelled",
        }
    }
}

/// An intent without result or decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outstanding {
    /// Where the INTENT stands.
    pub offset: Offset,
    /// Which occurrence of which step.
    pub activation: String,
    /// Skill, or `timer`.
    pub effect: String,
    /// What an unknown outcome leads to: `retry` or `hold`.
    pub policy: String,
}

/// What the catalogue knows of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// Namespace of its workflow.
    pub namespace: String,
    /// Name of its workflow.
    pub name: String,
    /// Version of its workflow.
    pub version: String,
    /// Key it was started under.
    pub key: String,
    /// Generation of that key.
    pub generation: u64,
    /// Its first record.
    pub start: Offset,
    /// Its newest record.
    pub head: Offset,
    /// Number of its newest record.
    pub seq: u64,
    /// Records that advanced lane 0.
    pub lane_seq: u64,
    /// Newest history digest of lane 0.
    pub digest: Digest,
    /// Where it stands.
    pub status: RunStatus,
    /// Digest of its definition.
    pub definition: Digest,
    /// Commitment to its seed.
    pub seed_commitment: Digest,
    /// Commitment of the root seed its seed was derived from.
    pub root_seed: Option<Digest>,
    /// Its newest checkpoint.
    pub checkpoint: Option<Offset>,
    /// STEP records.
    pub steps: u64,
    /// Records that advance a history, in all lanes.
    pub events: u64,
    /// Wall clock of its first record, nanoseconds since 1970.
    pub started_wall_ns: i64,
    /// Wall clock of its END.
    pub ended_wall_ns: Option<i64>,
    /// Intents without result or decision, oldest first.
    pub outstanding: Vec<Outstanding>,
}

/// The newest record of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamHead {
    /// Where it stands; [`Offset::NONE`] while it is still in the queue.
    pub offset: Offset,
    /// Its number in the stream.
    pub seq: u64,
    /// Newest history digest of lane 0.
    pub digest: Digest,
    /// Records that advanced lane 0.
    pub lane_seq: u64,
}

/// A point a run can resume from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckpointRow {
    /// Where the CHECKPOINT stands.
    pub offset: Offset,
    /// Its number in the run's stream.
    pub seq: u64,
    /// Records that had advanced its lane.
    pub lane_seq: u64,
}

/// What a log, or a part of it, contains.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Rows {
    /// Runs.
    pub runs: BTreeMap<RunId, RunRow>,
    /// Newest records of the streams that are no runs.
    pub streams: BTreeMap<StreamId, StreamHead>,
    /// Definitions by digest: the first record of each.
    pub definitions: BTreeMap<Digest, Offset>,
    /// Root seeds by commitment: the first record of each.
    pub seeds: BTreeMap<Digest, Offset>,
    /// The first root seed of the log.
    pub first_seed: Option<Offset>,
    /// Checkpoints by run and offset.
    pub checkpoints: BTreeMap<(RunId, Offset), CheckpointRow>,
    /// Newest generation by [`key_digest`].
    pub generations: BTreeMap<Digest, u64>,
    /// Records whose content could not be read although their CRC holds.
    pub unreadable: u64,
}

/// Name of (namespace, workflow name, key) in [`Rows::generations`].
pub fn key_digest(namespace: &str, name: &str, key: &str) -> Digest {
    Digest::labelled(
        "aos.key.v1",
        &[namespace.as_bytes(), name.as_bytes(), key.as_bytes()],
    )
}

/// What was known before the rows being folded.
pub(crate) trait Base {
    fn run(&self, run: RunId) -> Result<Option<RunRow>, Error>;
    fn stream(&self, stream: StreamId) -> Result<Option<StreamHead>, Error>;
    fn definition(&self, digest: Digest) -> Result<Option<Offset>, Error>;
    fn seed(&self, commitment: Digest) -> Result<Option<Offset>, Error>;
    fn first_seed(&self) -> Result<Option<Offset>, Error>;
    fn generation(&self, key: Digest) -> Result<Option<u64>, Error>;
}

/// Nothing was known before.
pub(crate) struct Nothing;

impl Base for Nothing {
    fn run(&self, _: RunId) -> Result<Option<RunRow>, Error> {
        Ok(None)
    }
    fn stream(&self, _: StreamId) -> Result<Option<StreamHead>, Error> {
        Ok(None)
    }
    fn definition(&self, _: Digest) -> Result<Option<Offset>, Error> {
        Ok(None)
    }
    fn seed(&self, _: Digest) -> Result<Option<Offset>, Error> {
        Ok(None)
    }
    fn first_seed(&self) -> Result<Option<Offset>, Error> {
        Ok(None)
    }
    fn generation(&self, _: Digest) -> Result<Option<u64>, Error> {
        Ok(None)
    }
}

/// Deterministic parts of the newest records of streams whose digests were not worked out yet: only those of the newest
/// records count, and hashing is most of what taking in a record costs.
#[derive(Default)]
pub(crate) struct Tips(HashMap<StreamId, Vec<u8>>);

impl Tips {
    /// Streams whose newest records are held at a time.
    const MAX: usize = 1024;

    fn put(&mut self, stream: StreamId, det: &[u8]) {
        let kept = self.0.entry(stream).or_default();
        kept.clear();
        kept.extend_from_slice(det);
    }

    /// Works out the digests.
    pub(crate) fn settle(&mut self, rows: &mut Rows) {
        let (streams, dets): (Vec<StreamId>, Vec<Vec<u8>>) = self.0.drain().unzip();
        let messages: Vec<&[u8]> = dets.iter().map(Vec::as_slice).collect();
        let mut digests = vec![Digest::ZERO; messages.len()];
        digest_many(&messages, &mut digests);
        for (stream, digest) in streams.iter().zip(digests) {
            rows.set_digest(stream, digest);
        }
    }
}

impl Rows {
    /// Takes in a record that was read, in order of offset: how a [`crate::Source`] that is no log makes its index.
    ///
    /// # Errors
    /// None today; reserved for rows that need a look-up.
    pub fn take(&mut self, record: &StoredRecord) -> Result<(), Error> {
        self.fold(&Nothing, record.header(), record.body())
    }

    /// Takes in one record.
    pub(crate) fn fold(
        &mut self,
        base: &impl Base,
        header: &FrameHeader,
        body: &[u8],
    ) -> Result<(), Error> {
        if let Some(view) = self.fold_view(base, header, body)? {
            self.set_digest(&view.stream(), view.digest());
        }
        Ok(())
    }

    /// Takes in one of many records. Digests are those of their streams' newest records once `tips` is settled.
    pub(crate) fn fold_many(
        &mut self,
        base: &impl Base,
        header: &FrameHeader,
        body: &[u8],
        tips: &mut Tips,
    ) -> Result<(), Error> {
        if let Some(view) = self.fold_view(base, header, body)? {
            tips.put(view.stream(), view.det());
            if tips.0.len() >= Tips::MAX {
                tips.settle(self);
            }
        }
        Ok(())
    }

    /// Takes in all of a record but its digest; the record if that is its stream's newest now.
    fn fold_view<'a>(
        &mut self,
        base: &impl Base,
        header: &FrameHeader,
        body: &'a [u8],
    ) -> Result<Option<RecordView<'a>>, Error> {
        let Ok(view) = RecordView::of_frame(header, body) else {
            self.unreadable += 1;
            return Ok(None);
        };
        match view.stream().as_run() {
            Some(run) => self.fold_run(base, run, header, &view)?,
            None => self.fold_stream(base, header, &view)?,
        }
        Ok(Some(view).filter(|view| advances_first_lane(header, view)))
    }

    fn set_digest(&mut self, stream: &StreamId, digest: Digest) {
        let known = match stream.as_run() {
            Some(run) => self.runs.get_mut(&run).map(|row| &mut row.digest),
            None => self.streams.get_mut(stream).map(|head| &mut head.digest),
        };
        if let Some(known) = known {
            *known = digest;
        }
    }

    fn fold_stream(
        &mut self,
        base: &impl Base,
        header: &FrameHeader,
        view: &RecordView<'_>,
    ) -> Result<(), Error> {
        let stream = view.stream();
        let before = match self.streams.get(&stream) {
            Some(head) => Some(*head),
            None => base.stream(stream)?,
        };
        let mut head = before.unwrap_or(StreamHead {
            offset: Offset::NONE,
            seq: 0,
            digest: Digest::ZERO,
            lane_seq: 0,
        });
        (head.offset, head.seq) = (header.offset, header.seq);
        if advances_first_lane(header, view) {
            head.lane_seq = view.lane_seq();
        }
        self.streams.insert(stream, head);
        if let Some(kind @ (Kind::Definition | Kind::Seed)) = Kind::from_u8(header.kind) {
            match Event::decode(kind, view.det()) {
                Ok((_, Event::Definition(definition))) => {
                    let digest = definition.digest;
                    if !self.definitions.contains_key(&digest) && base.definition(digest)?.is_none()
                    {
                        self.definitions.insert(digest, header.offset);
                    }
                }
                Ok((_, Event::Seed(seed))) => {
                    let commitment = seed.commitment;
                    if !self.seeds.contains_key(&commitment) && base.seed(commitment)?.is_none() {
                        self.seeds.insert(commitment, header.offset);
                    }
                    if self.first_seed.is_none() && base.first_seed()?.is_none() {
                        self.first_seed = Some(header.offset);
                    }
                }
                Ok(_) => {}
                Err(_) => self.unreadable += 1,
            }
        }
        Ok(())
    }

    fn fold_run(
        &mut self,
        base: &impl Base,
        run: RunId,
        header: &FrameHeader,
        view: &RecordView<'_>,
    ) -> Result<(), Error> {
        let row = match self.runs.entry(run) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(row) => {
                // The first record of a stream follows nothing that could be looked up.
                let known = match header.seq {
                    0 | 1 => None,
                    _ => base.run(run)?,
                };
                let first = || RunRow::first(run, header.offset, view.wall_ns());
                row.insert(known.unwrap_or_else(first))
            }
        };
        (row.head, row.seq) = (header.offset, header.seq);
        let kind = Kind::from_u8(header.kind);
        if kind.is_some_and(Kind::advances) {
            row.events += 1;
        }
        if advances_first_lane(header, view) {
            row.lane_seq = view.lane_seq();
        }
        let others = (&mut self.checkpoints, &mut self.generations);
        if let Some(kind) = kind
            && fold_event(base, row, others, kind, header, view)?.is_none()
        {
            self.unreadable += 1;
        }
        Ok(())
    }

    /// Adds rows that were folded after these.
    pub(crate) fn merge(&mut self, later: Rows) {
        self.runs.extend(later.runs);
        self.streams.extend(later.streams);
        self.definitions.extend(later.definitions);
        self.seeds.extend(later.seeds);
        self.first_seed = self.first_seed.or(later.first_seed);
        self.checkpoints.extend(later.checkpoints);
        self.generations.extend(later.generations);
        self.unreadable += later.unreadable;
    }

    /// The newest record of any stream.
    pub fn head(&self, stream: StreamId) -> Option<StreamHead> {
        match stream.as_run() {
            Some(run) => self.runs.get(&run).map(RunRow::stream_head),
            None => self.streams.get(&stream).copied(),
        }
    }

    /// Checkpoints of a run, oldest first.
    pub fn checkpoints_of(&self, run: RunId) -> impl Iterator<Item = &CheckpointRow> {
        self.checkpoints
            .range((run, Offset(0))..=(run, Offset(u64::MAX)))
            .map(|(_, row)| row)
    }
}

impl RunRow {
    fn first(run: RunId, start: Offset, wall_ns: i64) -> RunRow {
        RunRow {
            run,
            namespace: String::new(),
            name: String::new(),
            version: String::new(),
            key: String::new(),
            generation: 0,
            start,
            head: start,
            seq: 0,
            lane_seq: 0,
            digest: Digest::ZERO,
            status: RunStatus::Open,
            definition: Digest::ZERO,
            seed_commitment: Digest::ZERO,
            root_seed: None,
            checkpoint: None,
            steps: 0,
            events: 0,
            started_wall_ns: wall_ns,
            ended_wall_ns: None,
            outstanding: Vec::new(),
        }
    }

    fn read_extras(&mut self, view: &RecordView<'_>) {
        if let Some(key) = view.volatile_tag(VOLATILE_KEY) {
            self.key = String::from_utf8_lossy(key).into_owned();
        }
        if let Some(generation) = view
            .volatile_tag(VOLATILE_GENERATION)
            .and_then(|bytes| bytes.try_into().ok())
        {
            self.generation = u64::from_le_bytes(generation);
        }
        self.root_seed = view
            .volatile_tag(VOLATILE_ROOT_SEED)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Digest);
    }

    /// Status of a run that has not ended, from its open intents.
    fn restate(&mut self) {
        if self.status.is_ended() {
            return;
        }
        let effect = self
            .outstanding
            .iter()
            .rfind(|intent| intent.effect != "timer");
        self.status = match effect {
            Some(intent) => RunStatus::Pending(intent.policy.clone()),
            None if self.outstanding.is_empty() => RunStatus::Open,
            None => RunStatus::Waiting,
        };
    }

    /// The newest record of its stream.
    pub fn stream_head(&self) -> StreamHead {
        StreamHead {
            offset: self.head,
            seq: self.seq,
            digest: self.digest,
            lane_seq: self.lane_seq,
        }
    }
}

type Checkpoints = BTreeMap<(RunId, Offset), CheckpointRow>;

/// Takes in what a record means for its run; `None` when that cannot be read.
fn fold_event(
    base: &impl Base,
    row: &mut RunRow,
    (checkpoints, generations): (&mut Checkpoints, &mut BTreeMap<Digest, u64>),
    kind: Kind,
    header: &FrameHeader,
    view: &RecordView<'_>,
) -> Result<Option<()>, Error> {
    match kind {
        Kind::Step | Kind::Result | Kind::Decision => {
            row.steps += u64::from(kind == Kind::Step);
            if !row.outstanding.is_empty() {
                let Ok(fields) = raw_fields(kind, view.det()) else {
                    return Ok(None);
                };
                row.outstanding
                    .retain(|intent| intent.activation.as_bytes() != fields[0]);
                row.restate();
            }
        }
        Kind::Checkpoint => {
            row.checkpoint = Some(header.offset);
            checkpoints.insert(
                (row.run, header.offset),
                CheckpointRow {
                    offset: header.offset,
                    seq: header.seq,
                    lane_seq: view.lane_seq(),
                },
            );
        }
        Kind::Start | Kind::Intent | Kind::End => match Event::decode(kind, view.det()) {
            Ok((_, Event::Start(start))) => {
                row.namespace = start.namespace;
                row.name = start.name;
                row.version = start.version;
                row.definition = start.definition;
                row.seed_commitment = start.seed_commitment;
                row.read_extras(view);
                let key = key_digest(&row.namespace, &row.name, &row.key);
                let known = match generations.get(&key) {
                    Some(known) => Some(*known),
                    None => base.generation(key)?,
                };
                if known.is_none_or(|known| known < row.generation) {
                    generations.insert(key, row.generation);
                }
            }
            // A timeout runs beside what it times: the run does not wait for it.
            Ok((_, Event::Intent(intent))) if intent.effect == "timeout" => {}
            Ok((_, Event::Intent(intent))) => {
                row.outstanding.push(Outstanding {
                    offset: header.offset,
                    activation: intent.activation,
                    effect: intent.effect,
                    policy: intent.policy,
                });
                row.restate();
            }
            Ok((_, Event::End(end))) => {
                row.status = match end.outcome.as_str() {
                    "completed" => RunStatus::Completed,
                    "cancelled" => RunStatus::Cancelled,
                    _ => RunStatus::Faulted,
                };
                row.ended_wall_ns = Some(view.wall_ns());
                row.outstanding.clear();
            }
            Ok(_) => {}
            Err(_) => return Ok(None),
        },
        Kind::Commit
        | Kind::SegmentEnd
        | Kind::Open
        | Kind::Definition
        | Kind::Seed
        | Kind::Signal
        | Kind::Fork
        | Kind::Join
        | Kind::Time
        | Kind::Seal
        | Kind::Foreign
        | Kind::Mark => {}
    }
    Ok(Some(()))
}

fn advances_first_lane(header: &FrameHeader, view: &RecordView<'_>) -> bool {
    view.lane() == 0 && Kind::from_u8(header.kind).is_some_and(Kind::advances)
}
