//! The record: a frame's body, an rkyv archive read in place, and the bytes of its values after it.
//!
//! ```text
//! body:   | record (rkyv, record_len bytes) | value | value | … | pad to 16
//! record: | deterministic part | extras, where there are any | stream 16, wall clock 8, lane_seq 4, two links 12 |
//! ```
//!
//! rkyv carries the record; the canonical bytes of the deterministic part carry its meaning. Nothing here is hashed but
//! those, so an upgrade of rkyv cannot change a digest. What is the same for nearly every record (a run's stream, tenant 0,
//! lane 0, nothing volatile) takes no room.
//!
//! # Sealing and cutting off
//!
//! [`RecordView::parts`] says where everything stands in a body. A seal covers the digest of `det`, and as stored the rest of
//! `record` and the `head` of each value. `salt` and `bytes` of a value may be cut off or set to zeros: the digest in `det`
//! covers them. [`redacted`] makes the body that a log without them would hold.

use crate::Error;
use crate::digest::{Digest, RunId};
use crate::frame::FrameHeader;
use crate::wire::{align16, crc32};
use rkyv::with::{InlineAsBox, Niche};
use rkyv::{Archive, Deserialize, Serialize};
use std::mem::offset_of;
use std::ops::Range;

mod values;

pub use values::{SLOT_MAX, ValuePart};

/// `ValueEntry::start` of a value whose bytes were never recorded, or stand elsewhere.
pub const ABSENT: u32 = u32::MAX;
/// `ValueEntry::start` of a value that was cut off later; its salt is zeros.
pub const REDACTED: u32 = u32::MAX - 1;

/// A chain of records: a run, the log's control stream, or a resource shared by runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId {
    /// What kind of stream.
    pub kind: StreamKind,
    /// Its name; zeros for the control stream.
    pub id: [u8; 16],
}

/// Kinds of streams.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum StreamKind {
    /// Definitions, seeds, openings: one a log.
    Control = 0,
    /// One execution of a workflow.
    Run = 1,
    /// Decisions that several runs share.
    Resource = 2,
}

impl StreamKind {
    /// Name in exports.
    pub fn name(self) -> &'static str {
        match self {
            StreamKind::Control => "control",
            StreamKind::Run => "run",
            StreamKind::Resource => "resource",
        }
    }
}

impl StreamId {
    /// The log's one control stream.
    pub const CONTROL: StreamId = StreamId {
        kind: StreamKind::Control,
        id: [0; 16],
    };

    /// The stream of a run.
    pub fn run(run: RunId) -> StreamId {
        StreamId {
            kind: StreamKind::Run,
            id: run.0,
        }
    }

    /// The run, when it is a run's stream.
    pub fn as_run(&self) -> Option<RunId> {
        (self.kind == StreamKind::Run).then_some(RunId(self.id))
    }
}

/// Where the bytes of one value are. See `docs/format/log-v1.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValueEntry {
    /// Slot in this record: the number of its field in the deterministic part.
    pub slot: u8,
    /// Slot in the record `from_seq`.
    pub from_slot: u8,
    /// Position of the bytes behind the record, or [`ABSENT`], or [`REDACTED`].
    pub start: u32,
    /// Length in bytes where they are stored here, else 0: the deterministic part has it.
    pub len: u32,
    /// 0: stored here. Otherwise number of the record of the same stream that holds the bytes.
    pub from_seq: u64,
    /// Salt of the value's digest; zeros in a back reference, whose salt stands with the bytes, and when redacted.
    pub salt: [u8; 16],
}

/// Unhashed extra of a record.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Volatile {
    /// One of the `VOLATILE_*` tags.
    pub tag: u16,
    /// Content.
    pub bytes: Vec<u8>,
}

/// Key of a run, as text.
pub const VOLATILE_KEY: u16 = 1;
/// Generation of a run, u64.
pub const VOLATILE_GENERATION: u16 = 2;
/// Commitment of the root seed the run's seed was derived from, 32 bytes.
pub const VOLATILE_ROOT_SEED: u16 = 3;
/// Idempotency key as sent on the wire, text.
pub const VOLATILE_WIRE_KEY: u16 = 4;
/// When a timer is due, nanoseconds since 1970 as i64.
pub const VOLATILE_DUE: u16 = 5;
/// Environment of an opening, canonical JSON.
pub const VOLATILE_ENVIRONMENT: u16 = 6;

/// Original bytes of an imported event.
pub const VOLATILE_FOREIGN: u16 = 7;
/// Extension fields, canonical JSON.
pub const VOLATILE_EXTENSION: u16 = 8;
/// Id of an imported event in its source, text.
pub const VOLATILE_FOREIGN_ID: u16 = 9;

/// Name of a volatile tag in exports.
pub fn volatile_name(tag: u16) -> &'static str {
    match tag {
        VOLATILE_KEY => "key",
        VOLATILE_GENERATION => "generation",
        VOLATILE_ROOT_SEED => "root_seed",
        VOLATILE_WIRE_KEY => "wire_key",
        VOLATILE_DUE => "due_ns",
        VOLATILE_ENVIRONMENT => "environment",
        VOLATILE_FOREIGN => "foreign",
        VOLATILE_EXTENSION => "extension",
        VOLATILE_FOREIGN_ID => "foreign_id",
        _ => "unknown",
    }
}

#[derive(Archive, Serialize)]
struct Record<'a> {
    stream_id: [u8; 16],
    wall_ns: i64,
    lane_seq: u32,
    #[rkyv(with = InlineAsBox)]
    det: &'a [u8],
    #[rkyv(with = Niche)]
    extras: Option<Box<Extras>>,
}

/// What few records need.
#[derive(Archive, Serialize, Deserialize)]
struct Extras {
    stream_kind: u8,
    tenant: u32,
    lane: u64,
    lane_seq_high: u32,
    volatile: Vec<Volatile>,
}

impl Extras {
    /// Those of a draft; none when they say nothing.
    fn of(draft: &Draft) -> Option<Box<Extras>> {
        let lane_seq_high = (draft.lane_seq >> 32) as u32;
        let usual = draft.stream.kind == StreamKind::Run
            && (draft.tenant, draft.lane, lane_seq_high) == (0, 0, 0)
            && draft.volatile.is_empty();
        (!usual).then(|| {
            Box::new(Extras {
                stream_kind: draft.stream.kind as u8,
                tenant: draft.tenant,
                lane: draft.lane,
                lane_seq_high,
                volatile: draft.volatile.clone(),
            })
        })
    }
}

impl ArchivedExtras {
    fn say_nothing(&self) -> bool {
        self.stream_kind == StreamKind::Run as u8
            && (self.tenant, self.lane, self.lane_seq_high) == (0.into(), 0.into(), 0.into())
            && self.volatile.is_empty()
    }
}

/// Bytes of one value of a draft.
#[derive(Clone, Debug)]
pub enum Stored {
    /// Stored in this record.
    Here(std::sync::Arc<[u8]>),
    /// Stored in an earlier record of the stream.
    Back {
        /// Number of that record.
        seq: u64,
        /// Slot there.
        slot: u8,
    },
    /// Only the digest is kept.
    Absent,
}

/// One value of a draft.
#[derive(Clone, Debug)]
pub struct DraftValue {
    /// Slot in this record.
    pub slot: u8,
    /// Length in bytes.
    pub len: u32,
    /// Salt of its digest; not written for a back reference.
    pub salt: [u8; 16],
    /// The bytes.
    pub stored: Stored,
}

/// A record about to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Stream it extends.
    pub stream: StreamId,
    /// Owner of the stream; 0 without tenants.
    pub tenant: u32,
    /// Lane; 0 is the first.
    pub lane: u64,
    /// Records that advance the lane's history, this one included if it does.
    pub lane_seq: u64,
    /// Wall clock when it was made, nanoseconds since 1970; not hashed.
    pub wall_ns: i64,
    /// Deterministic part, from [`crate::event::Event::encode`].
    pub det: Vec<u8>,
    /// Unhashed extras.
    pub volatile: Vec<Volatile>,
    /// Values, in ascending order of slot.
    pub values: Vec<DraftValue>,
}

/// An encoded body: what a frame needs besides its place.
#[derive(Clone, Debug)]
pub struct Body {
    /// The body with its padding; a multiple of 16 bytes.
    pub bytes: rkyv::util::AlignedVec<16>,
    /// Length without padding.
    pub body_len: u32,
    /// Length of the record.
    pub record_len: u32,
    /// CRC of `bytes`.
    pub body_crc: u32,
}

impl Body {
    /// The body of a record that stands in a log: `padded` is the padded body of the frame with that header, whose CRC
    /// holds. Nothing in a body depends on where it stands.
    pub fn stored(header: &FrameHeader, padded: &[u8]) -> Body {
        let mut bytes = rkyv::util::AlignedVec::<16>::with_capacity(padded.len());
        bytes.extend_from_slice(padded);
        Body {
            bytes,
            body_len: header.body_len,
            record_len: header.record_len,
            body_crc: header.body_crc,
        }
    }
}

impl Draft {
    /// A draft with nothing but a stream and a deterministic part.
    pub fn new(stream: StreamId, det: Vec<u8>) -> Draft {
        Draft {
            stream,
            tenant: 0,
            lane: 0,
            lane_seq: 0,
            wall_ns: 0,
            det,
            volatile: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Bytes of the body, ready for a frame.
    ///
    /// # Panics
    /// When the body would exceed 4 GiB, far beyond the largest record limit, which callers check first with
    /// [`Draft::value_bytes`].
    pub fn encode(&self) -> Body {
        let room = self.value_bytes() as usize + 32 * self.values.len();
        let mut bytes = rkyv::util::AlignedVec::<16>::with_capacity(128 + self.det.len() + room);
        match Extras::of(self) {
            None => self.put_usual(&mut bytes),
            extras => bytes = self.archive(extras, bytes),
        }
        let record_len = u32::try_from(bytes.len()).expect("bodies stay below 4 GiB");
        values::put(&mut bytes, &self.values);
        Body::new(bytes, record_len)
    }

    /// The record as rkyv writes it, behind what is in `bytes`.
    fn archive(
        &self,
        extras: Option<Box<Extras>>,
        bytes: rkyv::util::AlignedVec<16>,
    ) -> rkyv::util::AlignedVec<16> {
        let record = Record {
            stream_id: self.stream.id,
            wall_ns: self.wall_ns,
            lane_seq: self.lane_seq as u32,
            det: &self.det,
            extras,
        };
        rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(&record, bytes)
            .expect("writing into memory cannot fail")
    }

    /// The same bytes for a record without extras, of which nothing depends on what rkyv finds out.
    fn put_usual(&self, bytes: &mut rkyv::util::AlignedVec<16>) {
        let det_len = u32::try_from(self.det.len()).expect("bodies stay below 4 GiB");
        let mut root = [0; ROOT_LEN];
        let mut put = |at: usize, field: &[u8]| root[at..at + field.len()].copy_from_slice(field);
        put(STREAM_AT, &self.stream.id);
        put(WALL_AT, &self.wall_ns.to_le_bytes());
        put(LANE_SEQ_AT, &(self.lane_seq as u32).to_le_bytes());
        put(DET_AT, &leads_back(det_len).to_le_bytes());
        put(DET_AT + 4, &det_len.to_le_bytes());
        put(EXTRAS_AT, &NO_EXTRAS.to_le_bytes());
        bytes.extend_from_slice(&self.det);
        bytes.extend_from_slice(&root);
    }

    /// Bytes of values stored in this record.
    pub fn value_bytes(&self) -> u64 {
        self.values
            .iter()
            .map(|value| match &value.stored {
                Stored::Here(bytes) => bytes.len() as u64,
                Stored::Back { .. } | Stored::Absent => 0,
            })
            .sum()
    }
}

impl Body {
    fn new(mut bytes: rkyv::util::AlignedVec<16>, record_len: u32) -> Body {
        let body_len = u32::try_from(bytes.len()).expect("bodies stay below 4 GiB");
        bytes.resize(align16(bytes.len() as u64) as usize, 0);
        let body_crc = crc32(&bytes);
        Body {
            bytes,
            body_len,
            record_len,
            body_crc,
        }
    }
}

/// The body without the bytes and salts of the values in `slots`; back references stay.
///
/// # Errors
/// As [`RecordView::open`].
pub fn redacted(body: &[u8], record_len: u32, slots: &[u8]) -> Result<Body, Error> {
    let view = RecordView::open(body, record_len)?;
    let mut bytes = rkyv::util::AlignedVec::<16>::with_capacity(body.len());
    bytes.extend_from_slice(&body[..view.record_len]);
    values::redacted(view.values, slots, &mut bytes);
    Ok(Body::new(bytes, record_len))
}

/// Where everything stands in a body, in bytes from its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// The record, the deterministic part included.
    pub record: Range<usize>,
    /// The deterministic part, at the record's start.
    pub det: Range<usize>,
    /// Its values, in ascending order of slot; they follow the record without holes.
    pub values: Vec<ValuePart>,
}

/// A record read in place.
#[derive(Clone, Copy)]
pub struct RecordView<'a> {
    det: &'a [u8],
    extras: Option<&'a ArchivedExtras>,
    wall_ns: i64,
    /// The lower half of its number in its lane.
    lane_seq: u32,
    record_len: usize,
    values: &'a [u8],
    stream: StreamId,
}

/// Length of a record's root, which ends it.
const ROOT_LEN: usize = size_of::<ArchivedRecord<'static>>();
const STREAM_AT: usize = offset_of!(ArchivedRecord<'static>, stream_id);
const WALL_AT: usize = offset_of!(ArchivedRecord<'static>, wall_ns);
const LANE_SEQ_AT: usize = offset_of!(ArchivedRecord<'static>, lane_seq);
/// Where the root says where the deterministic part is: distance and length.
const DET_AT: usize = offset_of!(ArchivedRecord<'static>, det);
/// Where the root says where the extras are.
const EXTRAS_AT: usize = offset_of!(ArchivedRecord<'static>, extras);
/// Distance of extras that are not there: into the pointer itself.
const NO_EXTRAS: u32 = 1;

/// Distance from a root's pointer to a deterministic part of that length right before the root.
fn leads_back(det_len: u32) -> u32 {
    det_len.wrapping_add(DET_AT as u32).wrapping_neg()
}

/// The usual record, a deterministic part with its root behind it and nothing else, without the pointer checks that rkyv makes
/// of any archive: what the root must say is known here. `None` for every other record, good or bad.
#[inline]
fn usual(record: &[u8]) -> Option<RecordView<'_>> {
    let (det, root) = record.split_at(record.len().checked_sub(ROOT_LEN)?);
    let root: &[u8; ROOT_LEN] = root.try_into().ok()?;
    let word = |at: usize| u32::from_le_bytes(*root[at..].first_chunk().expect("within the root"));
    let det_len = u32::try_from(det.len()).ok()?;
    let is_usual = !det.is_empty()
        && word(DET_AT) == leads_back(det_len)
        && word(DET_AT + 4) == det_len
        && word(EXTRAS_AT) == NO_EXTRAS;
    let wall_ns = *root[WALL_AT..].first_chunk().expect("within the root");
    let id = *root[STREAM_AT..].first_chunk().expect("within the root");
    is_usual.then(|| RecordView {
        det,
        extras: None,
        wall_ns: i64::from_le_bytes(wall_ns),
        lane_seq: word(LANE_SEQ_AT),
        record_len: record.len(),
        values: &[],
        stream: StreamId {
            kind: StreamKind::Run,
            id,
        },
    })
}

/// Any record, as rkyv checks it.
fn checked(record_bytes: &[u8]) -> Result<RecordView<'_>, String> {
    let record = rkyv::access::<ArchivedRecord<'static>, rkyv::rancor::Error>(record_bytes)
        .map_err(|error| error.to_string())?;
    let det: &[u8] = &record.det;
    if det.is_empty() || !std::ptr::eq(det.as_ptr(), record_bytes.as_ptr()) {
        return Err("it does not begin with its deterministic part".into());
    }
    let kind = match record.extras.as_ref() {
        None if record_bytes.len() != det.len() + ROOT_LEN => {
            return Err("bytes that belong to nothing".into());
        }
        None => StreamKind::Run,
        Some(extras) if extras.say_nothing() => return Err("extras that say nothing".into()),
        Some(extras) => match extras.stream_kind {
            0 => StreamKind::Control,
            1 => StreamKind::Run,
            2 => StreamKind::Resource,
            other => return Err(format!("unknown stream kind {other}")),
        },
    };
    let high = record.extras.as_ref().map(|extras| extras.lane_seq_high);
    if high.is_some_and(|high| high.to_native() > i32::MAX as u32) {
        return Err("a number in its lane that nothing can follow".into());
    }
    Ok(RecordView {
        det,
        extras: record.extras.as_ref().map(|extras| &**extras),
        wall_ns: record.wall_ns.to_native(),
        lane_seq: record.lane_seq.to_native(),
        record_len: record_bytes.len(),
        values: &[],
        stream: StreamId {
            kind,
            id: record.stream_id,
        },
    })
}

impl<'a> RecordView<'a> {
    /// Reads the body of a frame whose CRC holds. Padding after it, up to a multiple of 16, is ignored; who knows the body's
    /// length compares it with [`RecordView::body_len`].
    ///
    /// # Errors
    /// [`Error::BadRecord`]: not an archive of this version, an unknown stream kind, extras that say nothing, or values that
    /// are cut, out of order or in no known state.
    pub fn open(body: &'a [u8], record_len: u32) -> Result<RecordView<'a>, Error> {
        RecordView::open_with(body, record_len, &mut |_| ())
    }

    fn open_with(
        body: &'a [u8],
        record_len: u32,
        each: &mut impl FnMut(ValueEntry),
    ) -> Result<RecordView<'a>, Error> {
        let bad = |why: String| Error::BadRecord { why };
        let record_len = record_len as usize;
        let record_bytes = body.get(..record_len).ok_or_else(|| {
            bad(format!(
                "record of {record_len} bytes in a body of {}",
                body.len()
            ))
        })?;
        let view = match usual(record_bytes) {
            Some(view) => view,
            None => checked(record_bytes).map_err(bad)?,
        };
        let area = &body[record_len..];
        let mut entries = values::Entries::new(area);
        while let Some((entry, _)) = entries.next().map_err(|why| bad(why.into()))? {
            each(entry);
        }
        let (values, padding) = area.split_at(entries.at());
        let padded = padding.len() < 16 && (padding.is_empty() || body.len().is_multiple_of(16));
        if !padded || padding.iter().any(|byte| *byte != 0) {
            return Err(bad("bytes after the last value".into()));
        }
        Ok(RecordView { values, ..view })
    }

    /// Reads the body of a frame whose CRCs hold, with or without its padding.
    ///
    /// # Errors
    /// As [`RecordView::open`], and when the body has not the length that the header says.
    pub fn of_frame(header: &FrameHeader, body: &'a [u8]) -> Result<RecordView<'a>, Error> {
        RecordView::of_frame_with(header, body, |_| ())
    }

    /// As [`RecordView::of_frame`]; `each` is told of the values on the way, in ascending order of slot, also where an error
    /// comes after them.
    ///
    /// # Errors
    /// As [`RecordView::of_frame`].
    pub fn of_frame_with(
        header: &FrameHeader,
        body: &'a [u8],
        mut each: impl FnMut(ValueEntry),
    ) -> Result<RecordView<'a>, Error> {
        let len = header.body_len as usize;
        let body = &body[..body.len().min(len)];
        let view = RecordView::open_with(body, header.record_len, &mut each)?;
        if view.body_len() != len {
            let why = format!("a body of {len} bytes that ends after {}", view.body_len());
            return Err(Error::BadRecord { why });
        }
        Ok(view)
    }

    /// Length of the body without padding, in bytes.
    pub fn body_len(&self) -> usize {
        self.record_len + self.values.len()
    }

    /// Where everything stands in the body.
    pub fn parts(&self) -> Parts {
        let base = self.record_len;
        let mut parts = Parts {
            record: 0..base,
            det: 0..self.det().len(),
            values: Vec::new(),
        };
        let mut entries = values::Entries::new(self.values);
        loop {
            let from = entries.at();
            let Ok(Some((entry, head_end))) = entries.next() else {
                return parts;
            };
            let end = base + entries.at();
            let bytes = end - entry.len as usize..end;
            parts.values.push(ValuePart {
                slot: entry.slot,
                head: base + from..base + head_end,
                salt: base + head_end..bytes.start,
                bytes,
            });
        }
    }

    /// Stream it belongs to.
    #[inline]
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    fn extras(&self) -> Option<&'a ArchivedExtras> {
        self.extras
    }

    /// Owner of the stream; 0 without tenants.
    pub fn tenant(&self) -> u32 {
        self.extras().map_or(0, |extras| extras.tenant.to_native())
    }

    /// Lane; 0 is the first.
    #[inline]
    pub fn lane(&self) -> u64 {
        self.extras().map_or(0, |extras| extras.lane.to_native())
    }

    /// Records that advance the lane's history up to and including this one.
    #[inline]
    pub fn lane_seq(&self) -> u64 {
        let high = self
            .extras()
            .map_or(0, |extras| extras.lane_seq_high.to_native());
        u64::from(high) << 32 | u64::from(self.lane_seq)
    }

    /// Wall clock when it was made, nanoseconds since 1970; not hashed.
    pub fn wall_ns(&self) -> i64 {
        self.wall_ns
    }

    /// Deterministic part.
    #[inline]
    pub fn det(&self) -> &'a [u8] {
        self.det
    }

    /// History digest of this record.
    pub fn digest(&self) -> Digest {
        Digest::of(self.det())
    }

    /// Unhashed extras, in the order written.
    pub fn volatile(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        self.extras()
            .map_or(&[][..], |extras| extras.volatile.as_slice())
            .iter()
            .map(|v| (v.tag.to_native(), v.bytes.as_slice()))
    }

    /// The first extra with that tag.
    pub fn volatile_tag(&self, tag: u16) -> Option<&'a [u8]> {
        self.volatile()
            .find(|(t, _)| *t == tag)
            .map(|(_, bytes)| bytes)
    }

    /// Values, in ascending order of slot.
    pub fn values(&self) -> impl Iterator<Item = ValueEntry> + use<'a> {
        let mut entries = values::Entries::new(self.values);
        std::iter::from_fn(move || entries.next().ok().flatten().map(|(entry, _)| entry))
    }

    /// The values as they stand behind the record.
    pub fn value_area(&self) -> &'a [u8] {
        self.values
    }

    /// Of each value what a seal covers unless it is stored here: its head, and the salt of one that was never recorded.
    pub fn value_parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let area = self.values;
        let mut entries = values::Entries::new(area);
        std::iter::from_fn(move || {
            let from = entries.at();
            let (entry, _) = entries.next().ok().flatten()?;
            Some(&area[from..entries.at() - entry.len as usize])
        })
    }

    /// Salt and bytes of a value stored in this record, as they are hashed behind [`crate::event::VALUE_LABEL`].
    #[inline]
    pub fn salted_bytes(&self, value: &ValueEntry) -> Option<&'a [u8]> {
        let bytes = self.value_bytes(value)?;
        let start = value.start as usize;
        self.values
            .get(start.checked_sub(value.salt.len())?..start + bytes.len())
    }

    /// Bytes of a value stored in this record; `None` for a back reference or an absent value.
    #[inline]
    pub fn value_bytes(&self, value: &ValueEntry) -> Option<&'a [u8]> {
        if value.from_seq != 0 || value.start >= REDACTED {
            return None;
        }
        let start = value.start as usize;
        self.values.get(start..start + value.len as usize)
    }
}

#[cfg(test)]
mod tests;
