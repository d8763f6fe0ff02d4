//! The values behind a record.
//!
//! ```text
//! value = head u8 (slot << 3 | state) |
//!         state 0, stored:   varint length | salt 16 | bytes
//!         state 1, earlier:  varint seq | slot u8       stored by record seq of the stream, in that slot
//!         state 2, absent:   salt 16                    only the digest was recorded
//!         state 3, redacted:                            cut off later, with its salt
//! ```
//!
//! In ascending order of slot, from 1 to 31; so a head of zero is padding. Salt and bytes stand together as they are hashed.

use super::{ABSENT, DraftValue, REDACTED, Stored, ValueEntry};
use crate::wire::{put_varint, take_varint};
use std::ops::Range;

/// Largest number of a slot.
pub const SLOT_MAX: u8 = 31;

const STORED: u8 = 0;
const EARLIER: u8 = 1;
const WITHOUT_BYTES: u8 = 2;
const CUT_OFF: u8 = 3;

/// Where one value of a record stands in its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValuePart {
    /// Slot.
    pub slot: u8,
    /// What says where the value is: all of it but salt and bytes.
    pub head: Range<usize>,
    /// Its salt; empty for a back reference or a redacted value.
    pub salt: Range<usize>,
    /// Its bytes; empty when they are not stored here, or when there are none.
    pub bytes: Range<usize>,
}

pub(super) fn put(out: &mut rkyv::util::AlignedVec<16>, values: &[DraftValue]) {
    let mut head = Vec::with_capacity(if values.is_empty() { 0 } else { 16 });
    for value in values {
        assert!((1..=SLOT_MAX).contains(&value.slot), "slots from 1 to 31");
        head.clear();
        let state = |state| value.slot << 3 | state;
        match &value.stored {
            Stored::Here(bytes) => {
                assert_eq!(bytes.len(), value.len as usize, "a value's length");
                head.push(state(STORED));
                put_varint(&mut head, value.len.into());
                out.extend_from_slice(&head);
                out.extend_from_slice(&value.salt);
                out.extend_from_slice(bytes);
            }
            Stored::Back { seq, slot } => {
                head.push(state(EARLIER));
                put_varint(&mut head, *seq);
                head.push(*slot);
                out.extend_from_slice(&head);
            }
            Stored::Absent => {
                out.extend_from_slice(&[state(WITHOUT_BYTES)]);
                out.extend_from_slice(&value.salt);
            }
        }
    }
}

/// The values of a record, one after the other.
#[derive(Clone)]
pub(super) struct Entries<'a> {
    area: &'a [u8],
    at: usize,
    last: u8,
}

impl<'a> Entries<'a> {
    pub(super) fn new(area: &'a [u8]) -> Entries<'a> {
        Entries {
            area,
            at: 0,
            last: 0,
        }
    }

    /// How far it is read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next value and the end of its head; `None` at the end of the area or at its padding.
    pub(super) fn next(&mut self) -> Result<Option<(ValueEntry, usize)>, &'static str> {
        let mut rest = &self.area[self.at..];
        let Some((&head, after)) = rest.split_first().filter(|(head, _)| **head != 0) else {
            return Ok(None);
        };
        rest = after;
        let slot = head >> 3;
        if slot <= self.last {
            return Err("values out of order");
        }
        let mut entry = ValueEntry {
            slot,
            from_slot: 0,
            start: ABSENT,
            len: 0,
            from_seq: 0,
            salt: [0; 16],
        };
        let mut salted = true;
        match head & 7 {
            STORED => {
                let len = take_varint(&mut rest).ok_or("no length of a value")?;
                entry.len = u32::try_from(len).map_err(|_| "value outside the body")?;
            }
            EARLIER => {
                entry.from_seq = take_varint(&mut rest)
                    .filter(|seq| *seq != 0)
                    .ok_or("no number of an earlier record")?;
                let (from_slot, after) = rest.split_first().ok_or("values are cut")?;
                (entry.from_slot, rest, salted) = (*from_slot, after, false);
            }
            WITHOUT_BYTES => {}
            CUT_OFF => (entry.start, salted) = (REDACTED, false),
            _ => return Err("unknown state of a value"),
        }
        let head_end = self.area.len() - rest.len();
        if salted {
            let (salt, after) = rest.split_first_chunk().ok_or("values are cut")?;
            (entry.salt, rest) = (*salt, after);
        }
        if head & 7 == STORED {
            let start = self.area.len() - rest.len();
            entry.start = u32::try_from(start).map_err(|_| "value outside the body")?;
            rest = rest
                .get(entry.len as usize..)
                .ok_or("value outside the body")?;
        }
        (self.at, self.last) = (self.area.len() - rest.len(), slot);
        Ok(Some((entry, head_end)))
    }
}

/// The values in `area`, which was read before, without those in `slots`.
pub(super) fn redacted(area: &[u8], slots: &[u8], out: &mut rkyv::util::AlignedVec<16>) {
    let mut entries = Entries::new(area);
    loop {
        let from = entries.at();
        let Ok(Some((entry, _))) = entries.next() else {
            return;
        };
        if entry.from_seq == 0 && slots.contains(&entry.slot) {
            out.extend_from_slice(&[entry.slot << 3 | CUT_OFF]);
        } else {
            out.extend_from_slice(&area[from..entries.at()]);
        }
    }
}
