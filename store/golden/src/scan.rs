//! Going through the records of a block: leaves, heads of streams, values.
//!
//! All hashes of a block are independent but in two steps (deterministic parts and values, then leaves), so each step takes
//! several messages at a time.

use crate::block::{Block, Frame};
use crate::error::Error;
use aos_format::digest::Digest;
use aos_format::event::VALUE_LABEL;
use aos_format::frame::Kind;
use aos_format::leaf::{NamedValue, put_leaf, values};
use aos_format::offset::Offset;
use aos_format::record::{RecordView, StreamId};
use aos_format::segment::Identity;
use aos_format::sha_wide::{Message, Width, digest_messages};
use std::collections::BTreeMap;
use std::ops::Range;

/// A stream as the records of a block, or of a whole archive, say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// Its newest record.
    pub(crate) offset: Offset,
    /// Number of that record.
    pub(crate) seq: u64,
    /// Records seen.
    pub(crate) count: u64,
    /// Newest history digest of its first lane, when one was seen.
    pub(crate) digest: Option<Digest>,
}

/// What the records of a block are.
#[derive(Default)]
pub(crate) struct Scanned {
    /// Leaf hashes of the records before the first fault.
    pub(crate) leaves: Vec<Digest>,
    /// Where each of those begins: offset in the log, byte of the file.
    pub(crate) places: Vec<(Offset, u64)>,
    pub(crate) heads: BTreeMap<StreamId, Head>,
    /// Values that were cut off.
    pub(crate) redacted: u64,
    /// Records whose seed is carried.
    pub(crate) seeds: u64,
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
    let mut scanned = Scanned::default();
    let (mut found, mut all) = (Vec::new(), Vec::new());
    scanned.fault = read(block, identity, &mut found, &mut all).err();
    let width = Width::best();
    let mut messages: Vec<Message<'_>> = found
        .iter()
        .map(|record: &Found<'_>| record.view.det().into())
        .collect();
    let stored: Vec<&NamedValue<'_>> = all.iter().filter(|v| v.salted.is_some()).collect();
    messages.extend(stored.iter().map(|value| Message {
        label: Some(VALUE_LABEL),
        bytes: value.salted.unwrap_or_default(),
    }));
    let mut digests = vec![Digest::ZERO; messages.len()];
    digest_messages(width, &messages, &mut digests);
    let (histories, digests) = digests.split_at(found.len());
    let mut digests = digests.iter();
    for number in 0..found.len() {
        let wrong = all[found[number].values.clone()].iter().find(|value| {
            let named = value
                .salted
                .map(|_| digests.next() == Some(&value.name.digest));
            named == Some(false)
        });
        if let Some(value) = wrong {
            let why = "its bytes do not have the digest that its history names";
            let slot = value.slot;
            let error = aos_format::Error::BadValue { slot, why };
            scanned.fault = Some(tampered(block, &found[number].frame, number, &error));
            found.truncate(number);
            break;
        }
    }
    let (mut arena, mut ends) = (Vec::with_capacity(block.raw.len()), vec![0]);
    for (record, history) in found.iter().zip(histories) {
        put_leaf(
            &record.frame.header,
            record.frame.body(),
            &record.view,
            history,
            &mut arena,
        );
        ends.push(arena.len());
    }
    let messages: Vec<Message<'_>> = ends
        .windows(2)
        .map(|ends| arena[ends[0]..ends[1]].into())
        .collect();
    scanned.leaves = vec![Digest::ZERO; messages.len()];
    digest_messages(width, &messages, &mut scanned.leaves);
    for (record, history) in found.iter().zip(histories) {
        scanned.take(block, record, history, &all);
    }
    scanned
}

fn tampered(block: &Block, frame: &Frame<'_>, number: usize, error: &aos_format::Error) -> Error {
    let number = block.head.first + number as u64;
    Error::Tampered {
        at: block.byte(frame.at),
        place: format!("record {number} at offset {}", frame.header.offset),
        expected: "a record whose values are what its history names".into(),
        found: error.to_string(),
    }
}

/// Reads the records and checks everything but digests.
fn read<'a>(
    block: &'a Block,
    identity: Identity,
    found: &mut Vec<Found<'a>>,
    all: &mut Vec<NamedValue<'a>>,
) -> Result<(), Error> {
    let salt = identity.log_id.salt();
    let (mut at, mut after) = (0, Offset(0));
    while found.len() < block.head.count as usize {
        let number = block.head.first + found.len() as u64;
        let frame = block.frame(at, identity.stride, salt, after, number)?;
        let fault = |error| tampered(block, &frame, found.len(), &error);
        let view = RecordView::of_frame(&frame.header, frame.body()).map_err(fault)?;
        let from = all.len();
        values(&frame.header, &view, all).map_err(fault)?;
        after = frame.header.offset;
        at += frame.bytes.len();
        found.push(Found {
            frame,
            view,
            values: from..all.len(),
        });
    }
    if at != block.raw.len() {
        return Err(Error::Corrupt {
            at: block.byte(at),
            place: format!("block of record {}", block.head.first),
            expected: format!("{} records", block.head.count),
            found: format!("{} bytes more", block.raw.len() - at),
        });
    }
    Ok(())
}

impl Scanned {
    fn take(
        &mut self,
        block: &Block,
        record: &Found<'_>,
        history: &Digest,
        all: &[NamedValue<'_>],
    ) {
        let header = &record.frame.header;
        let values = &all[record.values.clone()];
        let kind = Kind::from_u8(header.kind);
        self.redacted += values.iter().filter(|value| value.redacted).count() as u64;
        let carried = values.iter().any(|value| value.salted.is_some());
        self.seeds += u64::from(kind == Some(Kind::Seed) && carried);
        let head = self.heads.entry(record.view.stream()).or_insert(Head {
            offset: Offset(0),
            seq: 0,
            count: 0,
            digest: None,
        });
        (head.offset, head.seq) = (header.offset, header.seq);
        head.count += 1;
        if record.view.lane() == 0 && kind.is_some_and(Kind::advances) {
            head.digest = Some(*history);
        }
        self.places
            .push((header.offset, block.byte(record.frame.at)));
    }
}

/// Adds what a later block says of a stream.
pub(crate) fn merge(heads: &mut BTreeMap<StreamId, Head>, later: &BTreeMap<StreamId, Head>) {
    for (stream, head) in later {
        heads
            .entry(*stream)
            .and_modify(|known| {
                *known = Head {
                    count: known.count + head.count,
                    digest: head.digest.or(known.digest),
                    ..*head
                };
            })
            .or_insert(*head);
    }
}
