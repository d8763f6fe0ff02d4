//! Cutting values off a frame: bytes and salts go, every digest stays.

use aos_format::frame::FrameHeader;
use aos_format::leaf::can_be_cut;
use aos_format::record::{RecordView, redacted};

/// The frame without the values in `slots` whose bytes it stores, and how many those are. `body` is its body without padding.
///
/// The frame gets shorter and keeps its offset and links; lengths of bodies and CRCs are nothing a leaf covers.
pub(crate) fn cut(
    header: &FrameHeader,
    body: &[u8],
    slots: &[u8],
) -> Result<(Vec<u8>, u32), aos_format::Error> {
    let view = RecordView::of_frame(header, body)?;
    let there: Vec<u8> = slots
        .iter()
        .copied()
        .filter(|slot| can_be_cut(&view, *slot))
        .collect();
    let body = redacted(body, header.record_len, &there)?;
    let header = FrameHeader {
        body_crc: body.body_crc,
        body_len: body.body_len,
        ..*header
    };
    let mut frame = header.encode().to_vec();
    frame.extend_from_slice(&body.bytes);
    Ok((frame, there.len() as u32))
}
