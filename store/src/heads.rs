//! The newest records of a log's streams, found from its end.
//!
//! Records are counted twice: each stream numbers its own, and the newest SEAL says how many there are below its end. Where
//! the numbers of the streams that were met add up to that, there is no other stream, however long the log is.
//!
//! ```text
//! … | records of all streams, `total` of them | SEAL … |
//!                                        seal.end      tail: walked back from here
//! ```

use crate::error::Error;
use crate::group::Group;
use crate::reader::{LogReader, Tail};
use crate::walk::Walker;
use aos_format::event::{Event, Seal};
use aos_format::frame::{COMMIT_LEN, FrameHeader, Kind};
use aos_format::offset::Offset;
use aos_format::record::{RecordView, StreamId};
use aos_format::segment::SEGMENT_HEADER_LEN;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The newest record of each stream that was met.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heads {
    /// By stream: where it stands, and its number.
    pub streams: BTreeMap<StreamId, (Offset, u64)>,
    /// Whether there is no other stream.
    pub complete: bool,
}

/// What was met so far, from the end of the log down.
#[derive(Default)]
struct Met {
    heads: Heads,
    /// Records from the newest SEAL's end on. Until that SEAL is met all are.
    above: u64,
    seal: Option<Seal>,
    /// The sum of the numbers of the heads: records there are of these streams.
    numbered: u64,
}

impl LogReader {
    /// The newest records of the streams, met on the way down from `tail`, at most `limit` bytes of it; as soon as a SEAL shows
    /// that there are no others, or the log's start does, the way ends. A log that is not as it must be ends it too:
    /// that is for a scan to say.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn heads(&self, tail: &Tail, limit: u64) -> Result<Heads, Error> {
        let mut walker = self.walker();
        let mut met = Met::default();
        let mut end = tail.end;
        while tail.end.0 - end.0 < limit && end > Offset(0) {
            let Some(group) = group_before(&mut walker, end)? else {
                return Ok(met.heads);
            };
            for frame in group.records().collect::<Vec<_>>().into_iter().rev() {
                let body = walker.body(frame)?;
                let body = &body[..frame.body_len as usize];
                let Ok(view) = RecordView::of_frame(frame, body) else {
                    return Ok(met.heads);
                };
                met.add(frame, &view);
            }
            let stride = self.identity().stride;
            let segment = stride.segment_start(group.start);
            let first = group.start == segment.plus(SEGMENT_HEADER_LEN);
            let below = if first { segment } else { group.start };
            if met.is_complete(below) {
                met.heads.complete = true;
                return Ok(met.heads);
            }
            end = match first {
                false => below,
                true => match end_of_segment(&mut walker, Offset(below.0 - stride.bytes()))? {
                    Some(end) => end,
                    None => return Ok(met.heads),
                },
            };
        }
        Ok(met.heads)
    }
}

impl Met {
    fn add(&mut self, frame: &FrameHeader, view: &RecordView<'_>) {
        let stream = view.stream();
        if let Entry::Vacant(unmet) = self.heads.streams.entry(stream) {
            unmet.insert((frame.offset, frame.seq));
            self.numbered = self.numbered.saturating_add(frame.seq);
        }
        if self
            .seal
            .as_ref()
            .is_none_or(|seal| frame.offset.0 >= seal.end)
        {
            self.above += 1;
        }
        if self.seal.is_none()
            && stream == StreamId::CONTROL
            && frame.kind == Kind::Seal as u8
            && let Ok((_, Event::Seal(seal))) = Event::decode(Kind::Seal, view.det())
            // Only what is durable is sealed, so a SEAL stands behind what it speaks of.
            && seal.end <= frame.offset.0
        {
            self.seal = Some(seal);
        }
    }

    /// Whether the streams met have all records that there are, everything from `below` on having been met. While records
    /// behind the seal's end are left, what is met and what is counted say nothing about each other.
    fn is_complete(&self, below: Offset) -> bool {
        let counted = match &self.seal {
            _ if below == Offset(0) => return true,
            Some(seal) if below.0 <= seal.end => seal.total.checked_add(self.above),
            _ => None,
        };
        counted == Some(self.numbered)
    }
}

/// The group that ends at `end`; none where none does.
fn group_before(walker: &mut Walker, end: Offset) -> Result<Option<Group>, Error> {
    let stride = walker.identity().stride;
    if end.0 < stride.segment_start(Offset(end.0 - 1)).0 + SEGMENT_HEADER_LEN + COMMIT_LEN {
        return Ok(None);
    }
    let Some(start) = walker.group_start(end)? else {
        return Ok(None);
    };
    let mut group = Group {
        number: 0,
        epoch: 0,
        start,
        end,
        commit_crc: 0,
        ends_segment: false,
        frames: Vec::new(),
    };
    let mut at = start;
    while at.0 + COMMIT_LEN < end.0 {
        let Ok(frame) = walker.probe(at)? else {
            return Ok(None);
        };
        at = at.plus(frame.frame_len());
        group.frames.push(frame);
    }
    Ok((at.0 + COMMIT_LEN == end.0).then_some(group))
}

/// Where the last group of the segment at `start` ends: at its last bytes that are not zero, or up to the
/// length of what a COMMIT may end with behind them.
fn end_of_segment(walker: &mut Walker, start: Offset) -> Result<Option<Offset>, Error> {
    let Some(last) = walker.last_nonzero(start)? else {
        return Ok(None);
    };
    let first = Offset((last.0 + 1).next_multiple_of(16));
    for behind in (0..COMMIT_LEN).step_by(16) {
        let end = first.plus(behind);
        if end > walker.identity().stride.segment_end(start) {
            break;
        }
        if end.0 >= start.0 + SEGMENT_HEADER_LEN + COMMIT_LEN && walker.group_start(end)?.is_some()
        {
            return Ok(Some(end));
        }
    }
    Ok(None)
}
