//! Going through the records of a block: leaves, heads of streams, values.
//!
//! All hashes of a block are independent but in two steps (deterministic parts and values, then leaves), so each step takes
//! several messages at a time. A block is gone through in pieces that stay in a core's cache from the CRC to the leaf.

use crate::block::{Block, Frame};
use crate::error::Error;
use crate::seals::Placed;
use aos_format::digest::Digest;
use aos_format::event::{Event, VALUE_LABEL};
use aos_format::frame::{FrameHeader, Kind};
use aos_format::leaf::{NamedValue, put_leaf, values};
use aos_format::offset::Offset;
use aos_format::record::{RecordView, StreamId};
use aos_format::segment::Identity;
use aos_format::sha_wide::{Message, Width, digest_messages};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of frames that are gone through at a time.
const PIECE: usize = 128 << 10;

/// A stream as the records of a block, or of a whole archive, say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// Its newest record.
    pub(crate) offset: Offset,
    /// Number of that record.
    pub(crate) seq: u64,
    /// Records seen.
    pub(crate) count: u64,
    /// Those of them that advance a history.
    pub(crate) events: u64,
    /// Newest history digest of its first lane, when one was seen.
    pub(crate) digest: Option<Digest>,
}

/// Streams by id.
pub(crate) type Heads = HashMap<StreamId, Head>;

/// What the records of a block are.
#[derive(Default)]
pub(crate) struct Scanned {
    /// Leaf hashes of the records before the first fault.
    pub(crate) leaves: Vec<Digest>,
    /// Where each of those begins: offset in the log, byte of the file.
    pub(crate) places: Vec<(Offset, u64)>,
    pub(crate) heads: Heads,
    /// Values that were cut off.
    pub(crate) redacted: u64,
    /// Records whose seed is carried.
    pub(crate) seeds: u64,
    /// The log's own seals.
    pub(crate) seals: Vec<Placed>,
    /// The first fault.
    pub(crate) fault: Option<Error>,
}

/// A record of the block.
struct Found<'a> {
    frame: Frame<'a>,
    view: RecordView<'a>,
    /// Its values, in the list of all.
    values: Range<usize>,
}

/// Scans a block, up to the first fault.
pub(crate) fn scan(block: &Block, identity: Identity) -> Scanned {
    scan_with(block, identity, None)
}

/// The same for a block whose frames' headers were read and checked already.
pub(crate) fn scan_with(
    block: &Block,
    identity: Identity,
    headers: Option<&[FrameHeader]>,
) -> Scanned {
    let count = block.head.count as usize;
    let mut reader = Reader {
        block,
        identity,
        headers,
        salt: identity.log_id.salt(),
        at: 0,
        after: Offset(0),
        number: 0,
    };
    let mut scanned = Scanned {
        leaves: Vec::with_capacity(count.min(block.raw.len() / 64)),
        places: Vec::with_capacity(count.min(block.raw.len() / 64)),
        ..Scanned::default()
    };
    let mut piece = Piece::default();
    while scanned.fault.is_none() && reader.number < count {
        piece.clear();
        scanned.fault = reader.read(&mut piece).err();
        scanned.take(block, &mut piece);
    }
    if scanned.fault.is_none() && reader.at != block.raw.len() {
        scanned.fault = Some(Error::Corrupt {
            at: block.byte(reader.at),
            place: format!("block of record {}", block.head.first),
            expected: format!("{} records", block.head.count),
            found: format!("{} bytes more", block.raw.len() - reader.at),
        });
    }
    scanned
}

/// Some records of a block, and what is computed of them.
#[derive(Default)]
struct Piece<'a> {
    found: Vec<Found<'a>>,
    /// Values of all of them.
    all: Vec<NamedValue<'a>>,
    messages: Vec<Message<'a>>,
    digests: Vec<Digest>,
    arena: Vec<u8>,
    ends: Vec<usize>,
}

impl Piece<'_> {
    fn clear(&mut self) {
        self.found.clear();
        self.all.clear();
        self.messages.clear();
        self.arena.clear();
        self.ends.clear();
    }

    /// Digests of the deterministic parts, then of the values that are stored, in order.
    fn hash(&mut self) {
        let dets = self
            .found
            .iter()
            .map(|record| Message::from(record.view.det()));
        self.messages.extend(dets);
        let salted = self.all.iter().filter_map(|value| value.salted);
        self.messages.extend(salted.map(|bytes| Message {
            label: Some(VALUE_LABEL),
            bytes,
        }));
        self.digests.clear();
        self.digests.resize(self.messages.len(), Digest::ZERO);
        digest_messages(Width::best(), &self.messages, &mut self.digests);
    }

    /// The first record with a value that is not the one its history names, and the value's slot.
    fn wrong(&self) -> Option<(usize, u8)> {
        let mut digests = self.digests[self.found.len()..].iter();
        let mut stored = self.all.iter().filter(|value| value.salted.is_some());
        let wrong = stored.position(|value| digests.next() != Some(&value.name.digest))?;
        let stored = self.all.iter().enumerate();
        let mut stored = stored.filter(|(_, value)| value.salted.is_some());
        let (place, value) = stored.nth(wrong)?;
        let number = self
            .found
            .iter()
            .position(|record| record.values.contains(&place))?;
        Some((number, value.slot))
    }

    /// Appends the leaves of the first `count` records.
    fn leaves(&mut self, count: usize, leaves: &mut Vec<Digest>) {
        self.ends.push(0);
        for (record, history) in self.found[..count].iter().zip(&self.digests) {
            let body = record.frame.body();
            put_leaf(
                record.frame.head(),
                body,
                &record.view,
                history,
                &mut self.arena,
            );
            self.ends.push(self.arena.len());
        }
        let messages: Vec<Message<'_>> = self
            .ends
            .windows(2)
            .map(|ends| self.arena[ends[0]..ends[1]].into())
            .collect();
        let first = leaves.len();
        leaves.resize(first + count, Digest::ZERO);
        digest_messages(Width::best(), &messages, &mut leaves[first..]);
    }
}

fn tampered(block: &Block, frame: &Frame<'_>, number: u64, error: &aos_format::Error) -> Error {
    Error::Tampered {
        at: block.byte(frame.at),
        place: format!("record {number} at offset {}", frame.header.offset),
        expected: "a record whose values are what its history names".into(),
        found: error.to_string(),
    }
}

/// Reads the records of a block and checks everything but digests.
struct Reader<'a> {
    block: &'a Block,
    identity: Identity,
    headers: Option<&'a [FrameHeader]>,
    salt: u32,
    /// Where the next frame begins.
    at: usize,
    after: Offset,
    /// Records read.
    number: usize,
}

impl<'a> Reader<'a> {
    /// Reads the next records.
    fn read(&mut self, piece: &mut Piece<'a>) -> Result<(), Error> {
        let (block, end) = (self.block, self.at + PIECE);
        while self.number < block.head.count as usize && self.at < end {
            let number = block.head.first + self.number as u64;
            let (stride, salt) = (self.identity.stride, self.salt);
            let frame = match self.headers.and_then(|headers| headers.get(self.number)) {
                Some(header) => block.framed(*header, self.at, salt, self.after, number)?,
                None => block.frame(self.at, stride, salt, self.after, number)?,
            };
            let fault = |error| tampered(block, &frame, number, &error);
            let view = RecordView::of_frame(&frame.header, frame.body()).map_err(fault)?;
            let from = piece.all.len();
            if let Err(error) = values(&frame.header, &view, &mut piece.all) {
                piece.all.truncate(from);
                return Err(fault(error));
            }
            self.after = frame.header.offset;
            self.at += frame.bytes.len();
            self.number += 1;
            piece.found.push(Found {
                frame,
                view,
                values: from..piece.all.len(),
            });
        }
        Ok(())
    }
}

impl Scanned {
    /// Takes in the records of a piece, up to the first that has a wrong value.
    fn take(&mut self, block: &Block, piece: &mut Piece<'_>) {
        piece.hash();
        let mut count = piece.found.len();
        if let Some((number, slot)) = piece.wrong() {
            let why = "its bytes do not have the digest that its history names";
            let error = aos_format::Error::BadValue { slot, why };
            let name = block.head.first + (self.leaves.len() + number) as u64;
            self.fault = Some(tampered(block, &piece.found[number].frame, name, &error));
            count = number;
        }
        piece.leaves(count, &mut self.leaves);
        for (record, history) in piece.found[..count].iter().zip(&piece.digests) {
            self.count(block, record, history, &piece.all[record.values.clone()]);
        }
    }

    fn count(
        &mut self,
        block: &Block,
        record: &Found<'_>,
        history: &Digest,
        values: &[NamedValue<'_>],
    ) {
        let header = &record.frame.header;
        let kind = Kind::from_u8(header.kind);
        self.redacted += values.iter().filter(|value| value.redacted).count() as u64;
        let carried = values.iter().any(|value| value.salted.is_some());
        self.seeds += u64::from(kind == Some(Kind::Seed) && carried);
        let head = self.heads.entry(record.view.stream()).or_insert(Head {
            offset: Offset(0),
            seq: 0,
            count: 0,
            events: 0,
            digest: None,
        });
        (head.offset, head.seq) = (header.offset, header.seq);
        head.count += 1;
        if kind.is_some_and(Kind::advances) {
            head.events += 1;
            if record.view.lane() == 0 {
                head.digest = Some(*history);
            }
        }
        let at = block.byte(record.frame.at);
        if kind == Some(Kind::Seal) {
            let seal = match Event::decode(Kind::Seal, record.view.det()) {
                Ok((_, Event::Seal(seal))) => Ok(seal),
                Ok(_) => Err("another event".into()),
                Err(error) => Err(error.to_string()),
            };
            self.seals.push(Placed {
                number: block.head.first + self.places.len() as u64,
                offset: header.offset,
                at,
                digest: *history,
                seal,
            });
        }
        self.places.push((header.offset, at));
    }
}

/// Adds what a later block says of a stream.
pub(crate) fn merge(heads: &mut Heads, later: &Heads) {
    for (stream, head) in later {
        heads
            .entry(*stream)
            .and_modify(|known| {
                *known = Head {
                    count: known.count + head.count,
                    events: known.events + head.events,
                    digest: head.digest.or(known.digest),
                    ..*head
                };
            })
            .or_insert(*head);
    }
}
