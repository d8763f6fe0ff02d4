//! Going through the records of a block: leaves, heads of streams, values.

use crate::block::Block;
use crate::error::Error;
use aos_format::digest::Digest;
use aos_format::frame::Kind;
use aos_format::leaf::{check_values, leaf};
use aos_format::offset::Offset;
use aos_format::record::{RecordView, StreamId};
use aos_format::segment::Identity;
use std::collections::BTreeMap;

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
    /// Values that were cut off, and records that have some.
    pub(crate) redacted: u64,
    /// Records whose seed is carried.
    pub(crate) seeds: u64,
    /// The first fault.
    pub(crate) fault: Option<Error>,
}

/// Scans a block, up to the first fault.
pub(crate) fn scan(block: &Block, identity: Identity) -> Scanned {
    let mut scanned = Scanned::default();
    if let Err(fault) = records(block, identity, &mut scanned) {
        scanned.fault = Some(fault);
    }
    scanned
}

fn records(block: &Block, identity: Identity, out: &mut Scanned) -> Result<(), Error> {
    let salt = identity.log_id.salt();
    let (mut at, mut after) = (0, Offset(0));
    while out.leaves.len() < block.head.count as usize {
        let number = block.head.first + out.leaves.len() as u64;
        let frame = block.frame(at, identity.stride, salt, after, number)?;
        let tampered = |error: aos_format::Error| Error::Tampered {
            at: block.byte(at),
            place: format!("record {number} at offset {}", frame.header.offset),
            expected: "a record whose values are what its history names".into(),
            found: error.to_string(),
        };
        let body = frame.body();
        let view = RecordView::of_frame(&frame.header, body).map_err(tampered)?;
        let values = check_values(&frame.header, &view).map_err(tampered)?;
        let leaf = leaf(&frame.header, body, &view);
        let kind = Kind::from_u8(frame.header.kind);
        out.redacted += u64::from(values.redacted);
        out.seeds += u64::from(kind == Some(Kind::Seed) && values.here > 0);
        let head = out.heads.entry(view.stream()).or_insert(Head {
            offset: Offset(0),
            seq: 0,
            count: 0,
            digest: None,
        });
        (head.offset, head.seq) = (frame.header.offset, frame.header.seq);
        head.count += 1;
        if view.lane() == 0 && kind.is_some_and(Kind::advances) {
            head.digest = Some(leaf.history);
        }
        out.leaves.push(leaf.hash);
        out.places.push((frame.header.offset, block.byte(frame.at)));
        after = frame.header.offset;
        at += frame.bytes.len();
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
