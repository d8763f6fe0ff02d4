//! One stream within a chunk: where it stands, and what its earlier records of the chunk say.

use super::window::{Digests, Number};
use crate::finding::{Finding, code};
use aos_format::digest::Digest;
use aos_format::event::ValueRef;
use aos_format::frame::{FrameHeader, skip_distance};
use aos_format::record::StreamId;
use smallvec::SmallVec;

/// Lanes of a stream, of which there is rarely more than the first.
pub(crate) type Lanes<L> = SmallVec<[L; 1]>;
/// Where the skip links of later records lead: for each position of a number's lowest set bit, the newest record there.
pub(crate) type Skips = SmallVec<[u64; 6]>;

/// Head of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lane {
    pub(crate) lane: u64,
    /// Newest history digest.
    pub(crate) head: Digest,
    /// Records that advanced it.
    pub(crate) count: u64,
}

impl Lane {
    /// A stream's first lane before its first record.
    pub(crate) const FIRST: Lane = Lane {
        lane: 0,
        head: Digest::ZERO,
        count: 0,
    };
}

/// A lane within a chunk, whose newest digest may not be known yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalLane {
    pub(crate) lane: u64,
    pub(crate) head: Number,
    pub(crate) count: u64,
}

impl LocalLane {
    /// The lane, when its head was hashed.
    pub(crate) fn known(&self, digests: &Digests) -> Lane {
        Lane {
            lane: self.lane,
            head: *digests.get(self.head),
            count: self.count,
        }
    }
}

/// A value stored in a record, or named there for the first time without its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) slot: u8,
    /// Number of the newest record that refers to it.
    pub(crate) used: u64,
    name: ValueRef,
}

impl Stored {
    pub(crate) fn new(seq: u64, slot: u8, name: ValueRef) -> Stored {
        Stored {
            seq,
            slot,
            used: seq,
            name,
        }
    }
}

/// A question about what came before the chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Open {
    /// Is this the lane's head?
    Lane(Lane),
    /// Does record `seq` stand there?
    Skip { seq: u64, at: u64 },
    /// Does record `seq` store this value in `slot`?
    Back {
        slot: u8,
        seq: u64,
        from_slot: u8,
        name: ValueRef,
    },
    /// Is this the head of any lane?
    Absorbed(Digest),
}

/// Where a stream's links lead, seen from one of its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) offset: u64,
    pub(crate) seq: u64,
    pub(crate) prev: u64,
}

/// One stream within a chunk.
#[derive(Debug)]
pub(crate) struct LocalStream {
    pub(crate) id: StreamId,
    /// Its first record in the chunk.
    pub(crate) first: Link,
    pub(crate) offset: u64,
    pub(crate) seq: u64,
    /// Number of the record from which on nothing is missing in the chunk.
    pub(crate) base: u64,
    /// Records are missing within the chunk, so what came before it says nothing about the stream's end.
    pub(crate) cut: bool,
    pub(crate) lanes: Lanes<LocalLane>,
    pub(crate) skips: Skips,
    pub(crate) ended: bool,
    pub(crate) events: u64,
    pub(crate) steps: u64,
    pub(crate) open: Vec<(u64, Open)>,
    pub(crate) stored: Vec<Stored>,
    /// For each record from `base` on, where its values begin in `stored`.
    spans: Vec<u32>,
}

impl LocalStream {
    pub(crate) fn new(id: StreamId, link: Link) -> LocalStream {
        LocalStream {
            id,
            first: link,
            offset: link.offset,
            seq: link.seq,
            base: link.seq,
            cut: false,
            lanes: Lanes::new(),
            skips: Skips::new(),
            ended: false,
            events: 0,
            steps: 0,
            open: Vec::new(),
            stored: Vec::new(),
            spans: Vec::new(),
        }
    }

    pub(crate) fn restart(&mut self, id: StreamId, link: Link) {
        self.lanes.clear();
        self.skips.clear();
        self.open.clear();
        self.stored.clear();
        self.spans.clear();
        (self.id, self.first) = (id, link);
        (self.offset, self.seq, self.base) = (link.offset, link.seq, link.seq);
        (self.cut, self.ended, self.events, self.steps) = (false, false, 0, 0);
    }

    /// Forgets what the records before number `base` said: some are missing.
    pub(crate) fn cut_at(&mut self, base: u64) {
        (self.cut, self.base) = (true, base);
        self.lanes.clear();
        self.stored.clear();
        self.spans.clear();
    }

    /// The next record's values come now.
    pub(crate) fn begin_values(&mut self) {
        self.spans.push(self.stored.len() as u32);
    }

    /// Position of a lane that is not known yet: it is taken to be as `assumed`, and the joiner is asked.
    #[cold]
    pub(crate) fn assume(&mut self, offset: u64, assumed: Lane, digests: &mut Digests) -> usize {
        if !self.cut {
            self.open.push((offset, Open::Lane(assumed)));
        }
        self.lanes.push(LocalLane {
            lane: assumed.lane,
            head: digests.read(assumed.head),
            count: assumed.count,
        });
        self.lanes.len() - 1
    }

    pub(crate) fn follow_skip(&mut self, header: &FrameHeader, findings: &mut Vec<Finding>) {
        let seq = header.seq;
        let target = seq - skip_distance(seq);
        let skip = header.skip.0;
        let expected = if target == 0 {
            Some(0)
        } else if target >= self.base {
            self.skips.get(target.trailing_zeros() as usize).copied()
        } else {
            if !self.cut {
                self.open.push((
                    header.offset.0,
                    Open::Skip {
                        seq: target,
                        at: skip,
                    },
                ));
            }
            None
        };
        if let Some(expected) = expected
            && expected != skip
        {
            findings.push(wrong_skip(header.offset.0, self.id, target, expected, skip));
        }
        note_skip(&mut self.skips, seq, header.offset.0);
    }

    pub(crate) fn find_stored(&mut self, seq: u64, slot: u8) -> Option<&mut Stored> {
        let span = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        let from = *self.spans.get(span)? as usize;
        let to = self
            .spans
            .get(span + 1)
            .map_or(self.stored.len(), |&to| to as usize);
        self.stored
            .get_mut(from..to)?
            .iter_mut()
            .find(|stored| stored.slot == slot)
    }
}

/// Notes where record `seq` stands, for the skip links of later ones.
pub(crate) fn note_skip(skips: &mut Skips, seq: u64, offset: u64) {
    let bit = seq.trailing_zeros() as usize;
    if bit < 64 {
        if skips.len() <= bit {
            skips.resize(bit + 1, 0);
        }
        skips[bit] = offset;
    }
}

pub(crate) fn wrong_skip(
    offset: u64,
    stream: StreamId,
    target: u64,
    expected: u64,
    found: u64,
) -> Finding {
    Finding::at(
        code::LINK,
        offset,
        format!("record {target} at offset {expected}"),
        format!("offset {found}"),
    )
    .field("skip")
    .stream(stream)
}

/// What is wrong with a back reference to record `seq`, in words: expected and found.
pub(crate) fn differs(
    stored: Option<&Stored>,
    name: &ValueRef,
    seq: u64,
    slot: u8,
) -> Option<(String, String)> {
    match stored {
        None => Some((
            format!("a value stored in slot {slot} of record {seq}"),
            "none is stored there".into(),
        )),
        Some(stored) if stored.name != *name => Some((
            format!("the value {} in slot {slot} of record {seq}", name.digest),
            format!("the value {}", stored.name.digest),
        )),
        Some(_) => None,
    }
}

pub(crate) fn lane_name(lane: &Lane) -> String {
    format!(
        "lane {} at {} after {} records",
        lane.lane, lane.head, lane.count
    )
}
