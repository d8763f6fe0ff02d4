//! The leaf of a record: what a seal covers of it.
//!
//! ```text
//! leaf = SHA-256(0x00 | "aos.leaf.v1" padded to 16 | frame header from its kind on, bytes 12..64
//!                | SHA-256 of the deterministic part | the record behind that part | of each value:
//!                    stored here, or cut off:  slot << 3
//!                    anything else:            as it stands)
//! ```
//!
//! So offset, kind, links, lane, times and extras are covered and nothing is hashed twice. CRCs and the body's length follow
//! from the rest. Bytes and salts of values are covered by their digests in the deterministic part, which is why a value can be
//! cut off and the leaf stays. A record of a kind without values in this version (one that may be skipped) is covered whole:
//! zeros in the place of the digest, then the body.
//!
//! [`check_values`] is the other half: it must hold wherever a leaf is trusted.

use crate::Error;
use crate::digest::Digest;
use crate::event::{VALUE_LABEL, ValueRef, each_slot, fields};
use crate::frame::{FRAME_HEADER_LEN, FrameHeader, Kind};
use crate::record::{REDACTED, RecordView};

const LEAF_TAG: &[u8; 16] = b"aos.leaf.v1\0\0\0\0\0";
/// The frame header is covered from here on.
const COVERED_FROM: usize = 12;
/// Where it says the record's kind.
const KIND_AT: usize = 12;

/// A record's leaf and history digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Hash of the leaf.
    pub hash: Digest,
    /// SHA-256 of the deterministic part.
    pub history: Digest,
}

/// The leaf of a record. `body` is the frame's body without padding, `view` the record in it.
pub fn leaf(header: &FrameHeader, body: &[u8], view: &RecordView<'_>) -> Leaf {
    let history = view.digest();
    let mut bytes = Vec::with_capacity(256);
    put_leaf(&header.encode(), body, view, &history, &mut bytes);
    Leaf {
        hash: Digest::of(&bytes),
        history,
    }
}

/// Appends the bytes whose SHA-256 is the leaf of a record with that history digest: for whoever hashes many at a time. `head` is
/// the frame's header as it stands.
pub fn put_leaf(
    head: &[u8; FRAME_HEADER_LEN as usize],
    body: &[u8],
    view: &RecordView<'_>,
    history: &Digest,
    out: &mut Vec<u8>,
) {
    let kind = head[KIND_AT];
    out.push(0);
    out.extend_from_slice(LEAF_TAG);
    out.extend_from_slice(&head[COVERED_FROM..]);
    if !has_values(kind) {
        out.extend_from_slice(&Digest::ZERO.0);
        out.extend_from_slice(body);
        return;
    }
    out.extend_from_slice(&history.0);
    out.extend_from_slice(&body[view.det().len()..view.body_len() - view.value_area().len()]);
    for value in view.value_parts() {
        match value[0] & 7 {
            0 | 3 => out.push(value[0] & !7),
            _ => out.extend_from_slice(value),
        }
    }
}

/// Whether this version knows which fields of such a record name values.
pub fn has_values(kind: u8) -> bool {
    Kind::from_u8(kind).is_some_and(|kind| !fields(kind).is_empty())
}

/// A value of a record beside the name that the history gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedValue<'a> {
    /// Its slot.
    pub slot: u8,
    /// What the history names.
    pub name: ValueRef,
    /// Salt and bytes, where they are stored here: behind [`crate::event::VALUE_LABEL`] their SHA-256 must be the name's.
    pub salted: Option<&'a [u8]>,
    /// Whether it was cut off.
    pub redacted: bool,
}

/// Appends the values of a record, which must be the ones its deterministic part names: one for each slot and no other, of
/// the length it says. Their digests are for the caller to compare.
///
/// # Errors
/// [`Error::BadField`], [`Error::BadValue`].
pub fn values<'a>(
    header: &FrameHeader,
    view: &RecordView<'a>,
    out: &mut Vec<NamedValue<'a>>,
) -> Result<(), Error> {
    let Some(kind) = Kind::from_u8(header.kind).filter(|_| has_values(header.kind)) else {
        return Ok(());
    };
    let bad = |slot, why| Error::BadValue { slot, why };
    let mut entries = view.values();
    each_slot(kind, view.det(), |slot, name| {
        let entry = match entries.next() {
            Some(entry) if entry.slot == slot => entry,
            Some(entry) => return Err(bad(entry.slot, "no value that its history names")),
            None => return Err(bad(slot, "its history names it, the record has none")),
        };
        let salted = view.salted_bytes(&entry);
        if salted.is_some() && u64::from(entry.len) != name.len {
            return Err(bad(entry.slot, "not of the length that its history names"));
        }
        out.push(NamedValue {
            slot: entry.slot,
            name,
            salted,
            redacted: entry.start == REDACTED,
        });
        Ok(())
    })?;
    match entries.next() {
        Some(entry) => Err(bad(entry.slot, "no value that its history names")),
        None => Ok(()),
    }
}

/// Checks that the values of a record are the ones its deterministic part names, each that is stored here with its digest.
///
/// # Errors
/// [`Error::BadField`], [`Error::BadValue`].
pub fn check_values(header: &FrameHeader, view: &RecordView<'_>) -> Result<(), Error> {
    let mut found = Vec::new();
    values(header, view, &mut found)?;
    for value in found {
        let Some(salted) = value.salted else { continue };
        if Digest::of_parts([VALUE_LABEL.as_slice(), salted]) != value.name.digest {
            return Err(Error::BadValue {
                slot: value.slot,
                why: "its bytes do not have the digest that its history names",
            });
        }
    }
    Ok(())
}

/// Whether a value can be cut off: its bytes are here. The salt of one that was never recorded is covered by the leaf.
pub fn can_be_cut(view: &RecordView<'_>, slot: u8) -> bool {
    view.values()
        .any(|entry| entry.slot == slot && entry.from_seq == 0 && entry.start < REDACTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::RunId;
    use crate::event::{Event, Step, VALUE_JSON};
    use crate::offset::Offset;
    use crate::record::{Draft, DraftValue, Stored, StreamId, redacted};

    fn draft() -> (FrameHeader, Draft) {
        let salt = [9; 16];
        let name = |bytes: &[u8]| Some(ValueRef::of(VALUE_JSON, &salt, bytes));
        let event = Event::Step(Step {
            activation: "/do/0/a".into(),
            attempt: 1,
            outcome: "completed".into(),
            input: name(b"1"),
            output: name(b"\"secret\""),
            context: name(b"{}"),
            error: None,
            next: String::new(),
            draws: 0,
            words: 0,
            reads: Vec::new(),
        });
        let value = |slot, len, stored| DraftValue {
            slot,
            len,
            salt,
            stored,
        };
        let mut draft = Draft::new(StreamId::run(RunId([1; 16])), event.encode(&Digest::ZERO));
        draft.lane_seq = 3;
        draft.values = vec![
            value(3, 1, Stored::Back { seq: 1, slot: 9 }),
            value(4, 8, Stored::Here(b"\"secret\""[..].into())),
            value(5, 2, Stored::Absent),
        ];
        let body = draft.encode();
        let header = FrameHeader {
            header_crc: 0,
            body_crc: body.body_crc,
            body_len: body.body_len,
            kind: Kind::Step as u8,
            epoch: 1,
            salt: 5,
            offset: Offset(4096),
            prev: Offset(640),
            skip: Offset(320),
            seq: 4,
            record_len: body.record_len,
        };
        (header, draft)
    }

    fn of(header: &FrameHeader, body: &[u8]) -> Option<Digest> {
        let view = RecordView::of_frame(header, body).ok()?;
        check_values(header, &view).ok()?;
        Some(leaf(header, &body[..header.body_len as usize], &view).hash)
    }

    #[test]
    fn a_value_that_is_cut_off_leaves_the_leaf_as_it_was() {
        let (header, draft) = draft();
        let body = draft.encode();
        let before = of(&header, &body.bytes).unwrap();
        let cut = redacted(
            &body.bytes[..header.body_len as usize],
            header.record_len,
            &[4],
        )
        .unwrap();
        assert!(!cut.bytes.windows(8).any(|window| window == b"\"secret\""));
        let header = FrameHeader {
            body_len: cut.body_len,
            body_crc: cut.body_crc,
            ..header
        };
        assert_eq!(of(&header, &cut.bytes), Some(before));
    }

    #[test]
    fn every_flipped_bit_of_a_record_changes_its_leaf_or_breaks_a_rule() {
        let (header, draft) = draft();
        let body = draft.encode().bytes.to_vec();
        let good = of(&header, &body).unwrap();
        for bit in 0..header.body_len as usize * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&header, &bad), Some(good), "bit {bit}");
        }
        for change in [
            FrameHeader {
                kind: Kind::Mark as u8,
                ..header
            },
            FrameHeader { epoch: 2, ..header },
            FrameHeader { salt: 6, ..header },
            FrameHeader {
                offset: Offset(8192),
                ..header
            },
            FrameHeader {
                prev: Offset(656),
                ..header
            },
            FrameHeader {
                skip: Offset(16),
                ..header
            },
            FrameHeader { seq: 5, ..header },
        ] {
            assert_ne!(of(&change, &body), Some(good), "{change:?}");
        }
    }
}
