//! Undoing a changed byte in thought: a CRC that fails by one byte says which byte it was.
//!
//! CRC-32 is linear, so the difference between the CRC stored and the one computed depends only on where a byte changed and
//! by what. Stepping that difference back over the bytes finds the one place that explains it: with n bytes another place
//! would explain it by chance in about n of 17 million cases.

use super::look::{Look, activation};
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader, Kind};
use aos_format::offset::Offset;
use aos_format::record::{RecordView, StreamId};
use aos_format::wire::crc32;
use aos_store::Aligned;

/// What the CRC of one byte is worth, bit by bit as the polynomial has it.
const TABLE: [u32; 256] = table();
/// The byte whose entry in [`TABLE`] has a given highest byte.
const BY_TOP: [u8; 256] = by_top();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

const fn by_top() -> [u8; 256] {
    let mut tops = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        tops[(TABLE[byte] >> 24) as usize] = byte as u8;
        byte += 1;
    }
    tops
}

/// The one byte of `bytes` whose change explains that their CRC is not `stored`: its position, and the bits to flip back.
pub(crate) fn changed_byte(bytes: &[u8], stored: u32) -> Option<(usize, u8)> {
    let mut difference = crc32(bytes) ^ stored;
    for at in (0..bytes.len()).rev() {
        let byte = BY_TOP[(difference >> 24) as usize];
        if difference == 0 {
            return None;
        }
        if TABLE[usize::from(byte)] == difference {
            return Some((at, byte));
        }
        difference = (difference ^ TABLE[usize::from(byte)]) << 8 | u32::from(byte);
    }
    None
}

/// What a damaged frame was before one of its bytes changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Repaired {
    /// In words.
    pub(crate) change: String,
    /// Kind of the frame.
    pub(crate) kind: u8,
    /// Stream and activation of its record.
    pub(crate) record: Option<(StreamId, Option<String>)>,
}

/// Finds out what the damaged frame at `offset` was, if only one of its bytes changed.
pub(crate) fn repair(look: &Look<'_>, offset: u64) -> Option<Repaired> {
    let stride = look.identity.stride;
    let room = stride.segment_end(Offset(offset)).0.checked_sub(offset)?;
    if !offset.is_multiple_of(16) || room < FRAME_HEADER_LEN {
        return None;
    }
    let mut bytes = look.bytes(offset, FRAME_HEADER_LEN).ok()?;
    let changed = repair_header(&mut bytes);
    let header = FrameHeader::decode(&bytes, stride).ok()?;
    header
        .belongs(Offset(offset), look.identity.log_id.salt(), 1)
        .ok()?;
    let body_at = offset + FRAME_HEADER_LEN;
    let mut body = look
        .bytes(body_at, header.frame_len() - FRAME_HEADER_LEN)
        .ok()?;
    let change = match changed {
        Some((at, was)) => change(offset + at as u64, was, bytes[at]),
        None => {
            let (at, mask) = changed_byte(&body, header.body_crc)?;
            body[at] ^= mask;
            change(body_at + at as u64, body[at] ^ mask, body[at])
        }
    };
    header.check_body(&body).ok()?;
    Some(Repaired {
        change,
        kind: header.kind,
        record: record(&header, &body),
    })
}

/// Sets the one changed byte of a header back; says where, and what it had become.
fn repair_header(bytes: &mut Aligned) -> Option<(usize, u8)> {
    let stored = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
    let computed = crc32(&bytes[4..]);
    if stored == computed {
        return None;
    }
    // The CRC itself may be what changed.
    let differing = (stored ^ computed).to_le_bytes();
    let (at, mask) = match differing.iter().filter(|&&byte| byte != 0).count() {
        1 => differing
            .iter()
            .copied()
            .enumerate()
            .find(|(_, byte)| *byte != 0)?,
        _ => changed_byte(&bytes[4..], stored).map(|(at, mask)| (at + 4, mask))?,
    };
    let found = bytes[at];
    bytes[at] ^= mask;
    Some((at, found))
}

fn change(offset: u64, found: u8, was: u8) -> String {
    format!("whole but for the byte at offset {offset}: {found:#04x} instead of {was:#04x}")
}

fn record(header: &FrameHeader, body: &[u8]) -> Option<(StreamId, Option<String>)> {
    let kind = Kind::from_u8(header.kind).filter(|kind| !kind.is_structural())?;
    let view = RecordView::of_frame(header, body).ok()?;
    let named = activation(kind, view.det()).unwrap_or_else(|| kind.name().to_owned());
    Some((view.stream(), Some(named)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_one_changed_byte_is_found_again() {
        for len in [1, 2, 60, 999] {
            let good: Vec<u8> = (0..len).map(|n: usize| (n * 31 % 251) as u8).collect();
            let stored = crc32(&good);
            for at in [0, len / 2, len - 1] {
                for mask in [1, 0x80, 0xff, 0x5a] {
                    let mut bad = good.clone();
                    bad[at] ^= mask;
                    assert_eq!(
                        changed_byte(&bad, stored),
                        Some((at, mask)),
                        "byte {at} of {len}, {mask:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn whole_bytes_and_two_changed_ones_are_not_explained_by_one() {
        let mut bytes = *b"two of these bytes will be changed";
        let stored = crc32(&bytes);
        assert_eq!(changed_byte(&bytes, stored), None);
        (bytes[3], bytes[30]) = (0, 0);
        assert_eq!(changed_byte(&bytes, stored), None);
    }
}
