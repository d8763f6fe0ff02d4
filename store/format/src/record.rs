//! The record: a frame's body, an rkyv archive read in place, and the bytes of its values after it.
//!
//! ```text
//! body: | record (rkyv, record_len bytes) | pad to 16 | value | value | … | pad to 16
//! ```
//!
//! rkyv carries the record; the canonical bytes of the deterministic part carry its meaning. Nothing here is hashed but
//! those, so an upgrade of rkyv cannot change a digest.

use crate::Error;
use crate::digest::{Digest, RunId};
use crate::wire::{align16, crc32};
use rkyv::{Archive, Deserialize, Serialize};

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
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValueEntry {
    /// Slot in this record: the number of its field in the deterministic part.
    pub slot: u8,
    /// Slot in the record `from_seq`.
    pub from_slot: u8,
    /// Position in the value area, or [`ABSENT`].
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
    /// 0: stored here. Otherwise number of the record of the same stream that holds the bytes.
    pub from_seq: u64,
    /// Salt of the value's digest.
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

#[derive(Archive, Serialize, Deserialize)]
struct Record {
    stream_kind: u8,
    stream_id: [u8; 16],
    tenant: u32,
    lane: u64,
    lane_seq: u64,
    wall_ns: i64,
    det: Vec<u8>,
    volatile: Vec<Volatile>,
    values: Vec<ValueEntry>,
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
    /// Salt of its digest.
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
        let mut start = 0u64;
        let values = self
            .values
            .iter()
            .map(|value| {
                let (at, from_seq, from_slot) = match &value.stored {
                    Stored::Here(bytes) => {
                        assert_eq!(bytes.len(), value.len as usize, "a value's length");
                        let at = u32::try_from(start).expect("bodies stay below 4 GiB");
                        start += bytes.len() as u64;
                        (at, 0, 0)
                    }
                    Stored::Back { seq, slot } => (ABSENT, *seq, *slot),
                    Stored::Absent => (ABSENT, 0, 0),
                };
                ValueEntry {
                    slot: value.slot,
                    from_slot,
                    start: at,
                    len: value.len,
                    from_seq,
                    salt: value.salt,
                }
            })
            .collect();
        let record = Record {
            stream_kind: self.stream.kind as u8,
            stream_id: self.stream.id,
            tenant: self.tenant,
            lane: self.lane,
            lane_seq: self.lane_seq,
            wall_ns: self.wall_ns,
            det: self.det.clone(),
            volatile: self.volatile.clone(),
            values,
        };
        let mut bytes =
            rkyv::util::AlignedVec::<16>::with_capacity(256 + self.det.len() + start as usize);
        bytes = rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(&record, bytes)
            .expect("writing into memory cannot fail");
        let record_len = u32::try_from(bytes.len()).expect("bodies stay below 4 GiB");
        if start > 0 {
            bytes.resize(align16(bytes.len() as u64) as usize, 0);
            for value in &self.values {
                if let Stored::Here(content) = &value.stored {
                    bytes.extend_from_slice(content);
                }
            }
        }
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

/// A record read in place.
#[derive(Clone, Copy)]
pub struct RecordView<'a> {
    record: &'a ArchivedRecord,
    values: &'a [u8],
    stream: StreamId,
}

impl<'a> RecordView<'a> {
    /// Reads the body of a frame whose CRC holds. `body` must be aligned to 16 bytes; padding after it is ignored.
    ///
    /// # Errors
    /// [`Error::BadRecord`]: not an archive of this version, an unknown stream kind, or a value outside the body.
    pub fn open(body: &'a [u8], record_len: u32) -> Result<RecordView<'a>, Error> {
        let bad = |why: String| Error::BadRecord { why };
        let record_bytes = body.get(..record_len as usize).ok_or_else(|| {
            bad(format!(
                "record of {record_len} bytes in a body of {}",
                body.len()
            ))
        })?;
        let record = rkyv::access::<ArchivedRecord, rkyv::rancor::Error>(record_bytes)
            .map_err(|error| bad(error.to_string()))?;
        let values = body
            .get(align16(record_len.into()) as usize..)
            .unwrap_or(&[]);
        let kind = match record.stream_kind {
            0 => StreamKind::Control,
            1 => StreamKind::Run,
            2 => StreamKind::Resource,
            other => return Err(bad(format!("unknown stream kind {other}"))),
        };
        let mut last_slot = None;
        for value in record.values.iter() {
            if last_slot.is_some_and(|last| last >= value.slot) {
                return Err(bad("values out of order".into()));
            }
            last_slot = Some(value.slot);
            let (start, len) = (value.start.to_native(), value.len.to_native());
            let stored_here = value.from_seq.to_native() == 0 && start < REDACTED;
            if stored_here && u64::from(start) + u64::from(len) > values.len() as u64 {
                return Err(bad(format!(
                    "value in slot {} lies outside the body",
                    value.slot
                )));
            }
        }
        Ok(RecordView {
            record,
            values,
            stream: StreamId {
                kind,
                id: record.stream_id,
            },
        })
    }

    /// Stream it belongs to.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Owner of the stream; 0 without tenants.
    pub fn tenant(&self) -> u32 {
        self.record.tenant.to_native()
    }

    /// Lane; 0 is the first.
    pub fn lane(&self) -> u64 {
        self.record.lane.to_native()
    }

    /// Records that advance the lane's history up to and including this one.
    pub fn lane_seq(&self) -> u64 {
        self.record.lane_seq.to_native()
    }

    /// Wall clock when it was made, nanoseconds since 1970; not hashed.
    pub fn wall_ns(&self) -> i64 {
        self.record.wall_ns.to_native()
    }

    /// Deterministic part.
    pub fn det(&self) -> &'a [u8] {
        &self.record.det
    }

    /// History digest of this record.
    pub fn digest(&self) -> Digest {
        Digest::of(self.det())
    }

    /// Unhashed extras, in the order written.
    pub fn volatile(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        self.record
            .volatile
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
        self.record.values.iter().map(|v| ValueEntry {
            slot: v.slot,
            from_slot: v.from_slot,
            start: v.start.to_native(),
            len: v.len.to_native(),
            from_seq: v.from_seq.to_native(),
            salt: v.salt,
        })
    }

    /// Bytes of a value stored in this record; `None` for a back reference or an absent value.
    pub fn value_bytes(&self, value: &ValueEntry) -> Option<&'a [u8]> {
        if value.from_seq != 0 || value.start >= REDACTED {
            return None;
        }
        let start = value.start as usize;
        self.values.get(start..start + value.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draft() -> Draft {
        Draft {
            tenant: 3,
            lane: 5,
            lane_seq: 7,
            wall_ns: -1,
            volatile: vec![Volatile {
                tag: VOLATILE_KEY,
                bytes: b"order-7".to_vec(),
            }],
            values: vec![
                DraftValue {
                    slot: 3,
                    len: 0,
                    salt: [1; 16],
                    stored: Stored::Back { seq: 4, slot: 9 },
                },
                DraftValue {
                    slot: 4,
                    len: 5,
                    salt: [2; 16],
                    stored: Stored::Here(b"hello"[..].into()),
                },
                DraftValue {
                    slot: 5,
                    len: 2,
                    salt: [3; 16],
                    stored: Stored::Here(b"hi"[..].into()),
                },
                DraftValue {
                    slot: 6,
                    len: 9,
                    salt: [4; 16],
                    stored: Stored::Absent,
                },
            ],
            ..Draft::new(StreamId::run(RunId([9; 16])), b"deterministic".to_vec())
        }
    }

    #[test]
    fn a_record_round_trips_with_its_values() {
        let body = draft().encode();
        assert_eq!(body.bytes.len() % 16, 0);
        let view = RecordView::open(&body.bytes, body.record_len).unwrap();
        assert_eq!(view.stream(), StreamId::run(RunId([9; 16])));
        assert_eq!(
            (view.tenant(), view.lane(), view.lane_seq(), view.wall_ns()),
            (3, 5, 7, -1)
        );
        assert_eq!(view.det(), b"deterministic");
        assert_eq!(view.volatile_tag(VOLATILE_KEY), Some(b"order-7".as_slice()));
        let values: Vec<_> = view.values().collect();
        let bytes: Vec<_> = values.iter().map(|value| view.value_bytes(value)).collect();
        assert_eq!(
            bytes,
            [
                None,
                Some(b"hello".as_slice()),
                Some(b"hi".as_slice()),
                None
            ]
        );
        assert_eq!((values[0].from_seq, values[0].from_slot), (4, 9));
    }

    #[test]
    fn the_same_draft_gives_the_same_bytes() {
        assert_eq!(
            draft().encode().bytes.as_slice(),
            draft().encode().bytes.as_slice()
        );
    }

    #[test]
    fn a_value_outside_the_body_is_refused() {
        let body = draft().encode();
        let cut = align16(body.record_len.into()) as usize;
        assert!(RecordView::open(&body.bytes[..cut], body.record_len).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_record_panic(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
            let mut body = draft().encode();
            for (at, byte) in flips {
                let at = at.index(body.bytes.len());
                body.bytes[at] ^= byte;
            }
            if let Ok(view) = RecordView::open(&body.bytes, body.record_len) {
                let _ = view.volatile().count();
                for value in view.values() {
                    let _ = view.value_bytes(&value);
                }
            }
        }
    }
}
