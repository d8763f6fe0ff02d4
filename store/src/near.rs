//! Reading records that stand near each other, as those of one run often do.

use crate::buffer::Aligned;
use crate::place::{Bytes, Segments};
use crate::stored::{ReadFrom, StoredRecord};
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader, Kind};
use aos_format::offset::Offset;

/// Fewest and most bytes read at a time.
const LEN: (u64, u64) = (8 << 10, 64 << 10);

/// Bytes of a log around the records that were read last through it, for those who follow links: see
/// [`crate::Source::read_near`]. What it holds is what the log held when it was read.
#[derive(Default, Debug)]
pub struct Window {
    from: u64,
    bytes: Aligned,
    /// The record asked for last.
    last: Option<Offset>,
    /// Bytes read last.
    len: u64,
}

impl Window {
    /// The record at `at`, which must end at or below `end`, when it is near the last one and nothing is wrong with it.
    pub(crate) fn record(
        &mut self,
        segments: &Segments,
        salt: u32,
        at: Offset,
        end: Offset,
    ) -> Option<StoredRecord> {
        let found = self.bytes(segments, at, end).and_then(|bytes| {
            let (head, rest) = bytes.split_at_checked(FRAME_HEADER_LEN as usize)?;
            let header = FrameHeader::decode(head, segments.stride).ok()?;
            let body = rest.get(..(header.frame_len() - FRAME_HEADER_LEN) as usize)?;
            header.belongs(at, salt, 1).ok()?;
            header.check_body(body).ok()?;
            let structural = Kind::from_u8(header.kind).is_some_and(Kind::is_structural);
            (header.end() <= end && !structural).then(|| {
                let file = ReadFrom::Segment(segments.stride.segment_start(at));
                let body = Bytes::Owned(Aligned::copy_of(body));
                StoredRecord::new(header, body, file, false)
            })
        });
        self.last = Some(at);
        found
    }

    /// The bytes from `at` on, as far as they are here; none when that is too far from the last record.
    fn bytes(&mut self, segments: &Segments, at: Offset, end: Offset) -> Option<&[u8]> {
        let ahead = self.from + self.bytes.len() as u64;
        if at.0 < self.from || at.0 >= ahead {
            self.fill(segments, at, end)?;
        }
        self.bytes.get((at.0 - self.from) as usize..)
    }

    fn fill(&mut self, segments: &Segments, at: Offset, end: Offset) -> Option<()> {
        let last = self.last?;
        let start = segments.stride.segment_start(at);
        let len = (2 * self.len).clamp(LEN.0, LEN.1);
        if segments.stride.segment_start(last) != start || last.0.abs_diff(at.0) > len / 2 {
            return None;
        }
        let (from, to) = if at < last {
            (last.0.saturating_sub(len).max(start.0), last.0)
        } else {
            let segment_end = segments.stride.segment_end(at);
            (at.0, (at.0 + len).min(segment_end.0).min(end.0))
        };
        let bytes = to.checked_sub(from).filter(|len| *len > 0)?;
        self.bytes = std::mem::take(&mut self.bytes).reused(bytes as usize);
        if segments.fill(Offset(from), &mut self.bytes).is_err() {
            // Reading the record alone says what is wrong.
            self.bytes = Aligned::default();
            return None;
        }
        (self.from, self.len) = (from, len);
        Some(())
    }
}
