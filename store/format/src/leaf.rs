//! The leaf of a record: what a seal covers of it.
//!
//! ```text
//! leaf = SHA-256(0x00 | "aos.leaf.v1" in 16 bytes | frame header without its two CRCs, 56 bytes
//!                | position u32, length u32 and SHA-256 of the deterministic part | the record without that part)
//! ```
//!
//! So offset, kind, links, lane, times and extras are covered, nothing is hashed twice, and the bytes of values are covered
//! by their digests in the deterministic part. That a value can be cut off later, these fields of its entry stand in the
//! leaf in a form that does not change then:
//!
//! ```text
//! entry                                              start, salt in the leaf
//! stored here, or cut off (start REDACTED, salt 0)   0, zeros: place and salt follow from the digest and the rules below
//! elsewhere or not recorded                          ABSENT, SHA-256("aos.salt.v1" in 16 bytes | salt) cut to 16 bytes
//! the same, its salt cut off (start REDACTED)        ABSENT, what stands in the place of the salt, not zeros
//! ```
//!
//! A record without slots that this version knows (a kind that may be skipped) is covered whole, values included.
//! [`check_values`] is the other half: it must hold wherever a leaf is trusted.

use crate::Error;
use crate::digest::Digest;
use crate::event::{self, ValueRef};
use crate::frame::{FrameHeader, Kind};
use crate::record::{ABSENT, REDACTED, RecordView, ValueEntry};
use crate::wire::align16;
use sha2::{Digest as _, Sha256};

const LEAF_TAG: &[u8; 16] = b"aos.leaf.v1\0\0\0\0\0";
const SALT_TAG: &[u8; 16] = b"aos.salt.v1\0\0\0\0\0";

/// What stands in the place of a salt that was cut off from a value whose bytes are not in the record.
pub fn salt_cover(salt: &[u8; 16]) -> [u8; 16] {
    let digest = Digest::of_parts([SALT_TAG.as_slice(), salt]);
    let mut cover = [0; 16];
    cover.copy_from_slice(&digest.0[..16]);
    cover
}

/// A record's leaf and history digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Hash of the leaf.
    pub hash: Digest,
    /// SHA-256 of the deterministic part.
    pub history: Digest,
}

/// Computes leaves; keeps its scratch space.
#[derive(Default, Debug)]
pub struct Leaves {
    scratch: Vec<u8>,
}

impl Leaves {
    /// The leaf of a record. `body` is the frame's body without padding, `view` the record in it.
    pub fn leaf(&mut self, header: &FrameHeader, body: &[u8], view: &RecordView<'_>) -> Leaf {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update(LEAF_TAG);
        hasher.update(&header.encode()[8..]);
        if !has_slots(header.kind) {
            hasher.update([0; 40]);
            hasher.update(body);
            return Leaf {
                hash: Digest(hasher.finalize().into()),
                history: view.digest(),
            };
        }
        let parts = view.parts(body);
        let history = view.digest();
        hasher.update((parts.det.start as u32).to_le_bytes());
        hasher.update((parts.det.len() as u32).to_le_bytes());
        hasher.update(history.0);
        self.scratch.clear();
        self.scratch
            .extend_from_slice(&body[..header.record_len as usize]);
        for (entry, place) in view.values().zip(&parts.entries) {
            let (start, salt) = lasting(&entry);
            self.scratch[place.start..place.start + 4].copy_from_slice(&start.to_le_bytes());
            self.scratch[place.salt..place.salt + 16].copy_from_slice(&salt);
        }
        hasher.update(&self.scratch[..parts.det.start]);
        hasher.update(&self.scratch[parts.det.end..]);
        Leaf {
            hash: Digest(hasher.finalize().into()),
            history,
        }
    }
}

/// `start` and `salt` of an entry as the leaf covers them.
fn lasting(entry: &ValueEntry) -> (u32, [u8; 16]) {
    match (entry.start, entry.salt) {
        (ABSENT, salt) => (ABSENT, salt_cover(&salt)),
        (REDACTED, salt) if salt != [0; 16] => (ABSENT, salt),
        _ => (0, [0; 16]),
    }
}

/// Whether this version knows which fields of such a record name values.
pub fn has_slots(kind: u8) -> bool {
    Kind::from_u8(kind).is_some_and(|kind| !event::tag(kind).is_empty())
}

/// What checking the values of a record found.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Values {
    /// Values whose bytes are here and have the digest that the history names.
    pub here: u32,
    /// Values that were cut off.
    pub redacted: u32,
}

/// Checks that the values of a record are the ones its deterministic part names: a table entry for each slot and no other,
/// the bytes stored here one behind the other with nothing between them, each with its digest, and zeros where one was cut
/// off.
///
/// # Errors
/// [`Error::BadField`], [`Error::BadValue`].
pub fn check_values(
    header: &FrameHeader,
    body: &[u8],
    view: &RecordView<'_>,
) -> Result<Values, Error> {
    let mut found = Values::default();
    let Some(kind) = Kind::from_u8(header.kind).filter(|_| has_slots(header.kind)) else {
        return Ok(found);
    };
    let area = align16(header.record_len.into()) as usize;
    let gap = body.get(header.record_len as usize..area.min(body.len()));
    if gap.unwrap_or_default().iter().any(|&b| b != 0) {
        return Err(bad(0, "bytes between the record and its values"));
    }
    let slots = event::slots(kind, view.det())?;
    let mut names = slots.iter();
    let mut at = area;
    for entry in view.values() {
        match names.next() {
            Some((slot, name)) if *slot == entry.slot && name.len == u64::from(entry.len) => {
                check_value(&entry, name, body, &mut at, area, &mut found)?;
            }
            _ => return Err(bad(entry.slot, "no value that its history names")),
        }
    }
    if let Some((slot, _)) = names.next() {
        return Err(bad(
            *slot,
            "its history names it, its table of values does not",
        ));
    }
    if at < body.len() {
        return Err(bad(0, "bytes behind its values"));
    }
    Ok(found)
}

fn check_value(
    entry: &ValueEntry,
    name: &ValueRef,
    body: &[u8],
    at: &mut usize,
    area: usize,
    found: &mut Values,
) -> Result<(), Error> {
    if entry.start == ABSENT {
        return Ok(());
    }
    if entry.start == REDACTED && entry.salt != [0; 16] {
        found.redacted += 1;
        return Ok(());
    }
    if entry.from_seq != 0 {
        return Err(bad(entry.slot, "stored here and elsewhere"));
    }
    let bytes = body
        .get(*at..*at + entry.len as usize)
        .ok_or_else(|| bad(entry.slot, "cut"))?;
    if entry.start == REDACTED {
        if bytes.iter().any(|&b| b != 0) {
            return Err(bad(entry.slot, "bytes where it was cut off"));
        }
        found.redacted += 1;
    } else {
        if entry.start as usize != *at - area {
            return Err(bad(entry.slot, "not behind the value before it"));
        }
        if !name.matches(&entry.salt, bytes) {
            return Err(bad(
                entry.slot,
                "its bytes do not have the digest that its history names",
            ));
        }
        found.here += 1;
    }
    *at += entry.len as usize;
    Ok(())
}

fn bad(slot: u8, why: &'static str) -> Error {
    Error::BadValue { slot, why }
}
