//! Cutting values off a frame: bytes and salts go, every length and digest stays.

use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader};
use aos_format::leaf::salt_cover;
use aos_format::record::{ABSENT, REDACTED, RecordView};
use aos_format::wire::{align16, crc32};
use aos_store::Aligned;

/// Cuts the values in `slots` off the frame with that header; `frame` is its header and padded body. Returns how many of
/// them were still there.
///
/// The lengths of frame and values stay, so that links and offsets do; CRCs are made anew, which no leaf covers.
pub(crate) fn cut(
    header: &FrameHeader,
    frame: &mut [u8],
    slots: &[u8],
) -> Result<u32, aos_format::Error> {
    let start = FRAME_HEADER_LEN as usize;
    // A copy that is aligned as records are, whatever `frame` is.
    let body = Aligned::copy_of(&frame[start..]);
    let view = RecordView::open(&body[..header.body_len as usize], header.record_len)?;
    let parts = view.parts(&body);
    let mut at = start + align16(header.record_len.into()) as usize;
    let mut count = 0;
    for (entry, place) in view.values().zip(&parts.entries) {
        let elsewhere = entry.from_seq != 0
            || entry.start == ABSENT
            || entry.start == REDACTED && entry.salt != [0; 16];
        let len = if elsewhere { 0 } else { entry.len as usize };
        if slots.contains(&entry.slot) && entry.start != REDACTED {
            let salt = match elsewhere {
                true => salt_cover(&entry.salt),
                false => [0; 16],
            };
            frame[start + place.start..][..4].copy_from_slice(&REDACTED.to_le_bytes());
            frame[start + place.salt..][..16].copy_from_slice(&salt);
            frame[at..at + len].fill(0);
            count += 1;
        }
        at += len;
    }
    let header = FrameHeader {
        body_crc: crc32(&frame[start..]),
        ..*header
    };
    frame[..start].copy_from_slice(&header.encode());
    Ok(count)
}
