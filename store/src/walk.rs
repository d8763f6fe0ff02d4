//! Walking a log group by group: the one reader of frames that recovery, readers, folds and checks share.
//!
//! A walk knows where the last valid group ended, and from there judges the next one completely (frames, links, CRCs, COMMIT
//! and its chain) before it says anything about it. Where it cannot go on it says why, in terms that decide between the
//! end of the log, a torn tail, and damage:
//!
//! ```text
//! what stands there                                    why
//! zeros where the next group would begin               Empty
//! a hole inside a group, or a CRC that fails           Torn
//! CRCs hold, but a rule is broken                      Broken
//! newer than this build                                Unsupported
//! no file, or one of another length                    Missing, WrongLength
//! ```

use crate::buffer::Aligned;
use crate::error::Error;
use crate::group::{Group, Position, Step, Stop, Why};
use crate::place::{SegmentFile, Segments};
use crate::rules::{broken, close_group, judge, misfit, segment_end_fault, torn};
use aos_disk::File;
use aos_format::Error as FormatError;
use aos_format::controls::{self, Control};
use aos_format::frame::{COMMIT_LEN, Commit, FRAME_HEADER_LEN, FrameHeader, GROUP_LEN_MAX, Kind};
use aos_format::offset::{Offset, Stride};
use aos_format::segment::{Identity, SEGMENT_HEADER_LEN, SegmentHeader};
use aos_format::wire::crc32;
use std::ops::Range;
use std::sync::Arc;

/// Bytes read at once while walking: more than a group has, but for one long record.
const WINDOW_LEN: u64 = 2 << 20;
/// Bytes read at once where a walk begins.
const LOOK_LEN: u64 = 256 << 10;

/// Reads groups one after the other, through a window of bytes that it keeps.
pub(crate) struct Walker {
    segments: Arc<Segments>,
    identity: Identity,
    salt: u32,
    window: Aligned,
    window_at: Offset,
    file: Option<(Offset, Arc<dyn File>)>,
    /// Bytes from here on are not read ahead.
    limit: Offset,
    /// Ranges behind the ends of segments that are not zero: start and length. Collected instead of stopping at them
    /// when there is a place for them.
    slack: Option<Vec<(Offset, u64)>>,
    /// Whether the CRCs of records' bodies are for somebody else to check.
    bodies_left: bool,
}

/// What a frame's place holds.
enum Judged {
    Frame(FrameHeader),
    Bad(Why),
}

impl Walker {
    pub(crate) fn new(segments: Arc<Segments>, identity: Identity) -> Walker {
        Walker {
            segments,
            salt: identity.log_id.salt(),
            identity,
            window: Aligned::zeroed(0),
            window_at: Offset(0),
            file: None,
            limit: Offset(u64::MAX),
            slack: None,
            bodies_left: false,
        }
    }

    /// Leaves the CRCs of records' bodies to whoever asked for the groups.
    pub(crate) fn leave_bodies(&mut self) {
        self.bodies_left = true;
    }

    /// Goes on where bytes behind the end of a segment are not zero, and collects where.
    pub(crate) fn pass_over_slack(&mut self) {
        self.slack = Some(Vec::new());
    }

    /// What was collected.
    pub(crate) fn slack(&self) -> &[(Offset, u64)] {
        self.slack.as_deref().unwrap_or_default()
    }

    /// Reads nothing ahead beyond `durable`, where a writer is at work: what is read then never goes stale.
    pub(crate) fn read_ahead_to(&mut self, durable: Offset) {
        self.limit = durable;
    }

    fn stride(&self) -> Stride {
        self.identity.stride
    }

    /// Where the segments are.
    pub(crate) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// Whose groups are walked.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Forgets bytes read before, which a writer may have changed since.
    pub(crate) fn refresh(&mut self) {
        self.window = std::mem::take(&mut self.window).reused(0);
    }

    /// Opens the segment at `start`, if it is there and of the right length.
    fn enter(&mut self, start: Offset) -> Result<Option<Why>, Error> {
        if self.file.as_ref().is_some_and(|(at, _)| *at == start) {
            return Ok(None);
        }
        self.refresh();
        match self.segments.file(start)? {
            SegmentFile::Present(file) => {
                self.file = Some((start, file));
                Ok(None)
            }
            SegmentFile::Missing => Ok(Some(Why::Missing)),
            SegmentFile::WrongLength(found) => Ok(Some(Why::WrongLength(found))),
        }
    }

    /// `len` bytes from `at` on, all in the segment entered last. `keep` is the first byte that must stay in the window.
    fn bytes(&mut self, keep: Offset, at: Offset, len: u64) -> Result<&[u8], Error> {
        let (start, file) = self.file.as_ref().expect("a segment was entered before");
        let segment_end = start.plus(self.identity.stride.bytes());
        assert!(keep >= *start && at >= keep && at.plus(len) <= segment_end);
        let window_end = self.window_at.plus(self.window.len() as u64);
        if self.window_at > keep || at.plus(len) > window_end {
            // Who only looks at one place needs little; who goes on, or is in a long group, needs more.
            let goes_on = self.window_at <= keep && keep <= window_end && !self.window.is_empty();
            let len_ahead = if goes_on { WINDOW_LEN } else { LOOK_LEN };
            let ahead = keep.plus(len_ahead).min(self.limit).min(segment_end);
            let end = at.plus(len).max(ahead);
            let mut window = std::mem::take(&mut self.window).reused((end.0 - keep.0) as usize);
            file.read_exact_at(&mut window, keep.0 - start.0)?;
            (self.window, self.window_at) = (window, keep);
        }
        let from = (at.0 - self.window_at.0) as usize;
        Ok(&self.window[from..from + len as usize])
    }

    /// The padded body of a frame of the group read last.
    pub(crate) fn body(&mut self, frame: &FrameHeader) -> Result<&[u8], Error> {
        let frame = self.frames(frame.offset, frame.frame_len())?;
        Ok(&frame[FRAME_HEADER_LEN as usize..])
    }

    /// `len` bytes of frames of the group read last, from the one at `at` on.
    pub(crate) fn frames(&mut self, at: Offset, len: u64) -> Result<&[u8], Error> {
        let start = self.stride().segment_start(at);
        if let Some(why) = self.enter(start)? {
            let stop = Stop { at, p: start, why };
            return Err(stop.finding(self.stride()).into());
        }
        self.bytes(at, at, len)
    }

    /// Judges the group that follows `position`.
    ///
    /// # Errors
    /// Only where the disk fails; what the bytes say is a [`Step`].
    pub(crate) fn next_group(&mut self, position: &Position) -> Result<Step, Error> {
        let stride = self.stride();
        let p = position.next(stride);
        let segment = stride.segment_start(p);
        let stop = |at, why| Ok(Step::Stop(Stop { at, p, why }));
        if let Some(why) = self.enter(segment)? {
            return stop(segment, why);
        }
        let (start, header_epoch) = if p == segment {
            match self.segment_header(segment)? {
                Ok(header) => (p.plus(SEGMENT_HEADER_LEN), Some(header.epoch)),
                Err(why) => return stop(p, why),
            }
        } else {
            (p, None)
        };
        match self.group_at(position, start)? {
            Err((at, why)) => {
                // A segment header before nothing was written together with a group that is not there.
                let why = match why {
                    Why::Empty if header_epoch.is_some() => torn("a group", "zeros"),
                    why => why,
                };
                stop(at, why)
            }
            Ok(group) if header_epoch.is_some_and(|epoch| epoch != group.epoch) => stop(
                p,
                broken(
                    format!("segment header of epoch {}", group.epoch),
                    format!("epoch {}", header_epoch.unwrap_or_default()),
                ),
            ),
            Ok(group) => {
                if group.ends_segment
                    && group.end < stride.segment_end(group.start)
                    && let Some(last) = self.last_nonzero(group.end)?
                {
                    match &mut self.slack {
                        Some(slack) => slack.push((group.end, last.0 + 1 - group.end.0)),
                        None => {
                            let found = format!("bytes up to {last}");
                            let why = broken("zeros after the end of the segment", found);
                            return stop(group.end, why);
                        }
                    }
                }
                Ok(Step::Group(group))
            }
        }
    }

    fn segment_header(&mut self, start: Offset) -> Result<Result<SegmentHeader, Why>, Error> {
        let identity = self.identity;
        let bytes = self.bytes(start, start, SEGMENT_HEADER_LEN)?;
        if bytes.iter().all(|&b| b == 0) {
            return Ok(Err(Why::Empty));
        }
        let header = match SegmentHeader::decode(bytes) {
            Ok(header) => header,
            Err(error @ FormatError::Reserved { .. }) => {
                return Ok(Err(broken("a segment header", error)));
            }
            Err(error) => return Ok(Err(judge("a segment header", error))),
        };
        Ok(if header.identity != identity {
            Err(broken(
                format!(
                    "log {} with stride {}",
                    identity.log_id,
                    identity.stride.bytes()
                ),
                format!(
                    "log {} with stride {}",
                    header.identity.log_id,
                    header.identity.stride.bytes()
                ),
            ))
        } else if header.offset != start {
            Err(broken(
                format!("the segment at {start}"),
                format!("the segment at {}", header.offset),
            ))
        } else {
            Ok(header)
        })
    }

    /// The group whose first frame stands at `start`.
    fn group_at(
        &mut self,
        position: &Position,
        start: Offset,
    ) -> Result<Result<Group, (Offset, Why)>, Error> {
        let mut frames: Vec<FrameHeader> = Vec::new();
        let mut at = start;
        loop {
            let epoch = frames.first().map(|frame| frame.epoch);
            let frame = match self.frame_at(start, at, epoch.unwrap_or(position.epoch.max(1)))? {
                Judged::Frame(frame) => frame,
                Judged::Bad(Why::Empty) if at != start => {
                    return Ok(Err((at, torn("a frame of the group", "a hole"))));
                }
                Judged::Bad(why) => return Ok(Err((at, why))),
            };
            if let Some(why) = misfit(&frame, epoch, &frames) {
                return Ok(Err((at, why)));
            }
            if frame.kind == Kind::SegmentEnd as u8 {
                let stride = self.stride();
                let len = frame.frame_len() - FRAME_HEADER_LEN;
                let body = self.bytes(start, at.plus(FRAME_HEADER_LEN), len)?;
                if let Some(why) = segment_end_fault(stride, &frame, body) {
                    return Ok(Err((at, why)));
                }
            }
            if frame.kind != Kind::Commit as u8 {
                // No writer makes such a group; following it would read the same bytes again and again.
                if !frames.is_empty()
                    && at.0 + frame.frame_len() - start.0 > GROUP_LEN_MAX + COMMIT_LEN
                {
                    let found = format!("a frame {} bytes behind its start", at.0 - start.0);
                    return Ok(Err((
                        at,
                        broken(format!("a group of at most {GROUP_LEN_MAX} bytes"), found),
                    )));
                }
                at = at.plus(frame.frame_len());
                frames.push(frame);
                continue;
            }
            let stride = self.stride();
            let len = frame.frame_len() - FRAME_HEADER_LEN;
            let body = self.bytes(start, at.plus(FRAME_HEADER_LEN), len)?;
            return Ok(match Commit::decode(body) {
                Ok(commit) => close_group(position, stride, start, &frame, &commit, frames)
                    .map_err(|why| (at, why)),
                Err(error) => Err((at, broken("a commit", error))),
            });
        }
    }

    /// Judges one frame alone.
    fn frame_at(&mut self, group: Offset, at: Offset, epoch_min: u32) -> Result<Judged, Error> {
        let stride = self.stride();
        let salt = self.salt;
        let segment_end = stride.segment_end(group);
        if at.0 + FRAME_HEADER_LEN > segment_end.0 {
            return Ok(Judged::Bad(broken(
                "a group that ends inside its segment",
                "frames up to the segment's end",
            )));
        }
        let bytes = self.bytes(group, at, FRAME_HEADER_LEN)?;
        if bytes.iter().all(|&b| b == 0) {
            return Ok(Judged::Bad(Why::Empty));
        }
        let header = match FrameHeader::decode(bytes, stride) {
            Ok(header) => header,
            Err(error) => return Ok(Judged::Bad(judge("a frame", error))),
        };
        // Whatever it says of itself, a frame must end inside the segment that it stands in.
        if at.0 + header.frame_len() > segment_end.0 {
            return Ok(Judged::Bad(broken(
                "a frame inside its segment",
                "one that leaves it",
            )));
        }
        let bodies_left = self.bodies_left;
        let body = self.bytes(
            group,
            at.plus(FRAME_HEADER_LEN),
            header.frame_len() - FRAME_HEADER_LEN,
        )?;
        let is_left = bodies_left && !Kind::from_u8(header.kind).is_some_and(Kind::is_structural);
        if !is_left && let Err(error) = header.check_body(body) {
            return Ok(Judged::Bad(judge("a frame", error)));
        }
        if let Err(error) = header.belongs(at, salt, epoch_min) {
            return Ok(Judged::Bad(broken("a frame of this place", error)));
        }
        if Kind::from_u8(header.kind).is_none() && header.kind < 128 {
            let error = FormatError::UnknownKind { kind: header.kind };
            return Ok(Judged::Bad(judge("a frame", error)));
        }
        Ok(Judged::Frame(header))
    }

    /// The valid frame at `at`, whatever stands around it; else why it is not one this build may judge, if that is so.
    pub(crate) fn probe(
        &mut self,
        at: Offset,
    ) -> Result<Result<FrameHeader, Option<String>>, Error> {
        if let Some(why) = self.enter(self.stride().segment_start(at))? {
            let stop = Stop { at, p: at, why };
            return Err(stop.finding(self.stride()).into());
        }
        Ok(match self.frame_at(at, at, 1)? {
            Judged::Frame(frame) => Ok(frame),
            Judged::Bad(Why::Unsupported { found }) => Err(Some(found)),
            Judged::Bad(_) => Err(None),
        })
    }

    /// A copy of `len` bytes from `at` on, all of one segment.
    pub(crate) fn copy(&mut self, at: Offset, len: u64) -> Result<Vec<u8>, Error> {
        if let Some(why) = self.enter(self.stride().segment_start(at))? {
            let stop = Stop { at, p: at, why };
            return Err(stop.finding(self.stride()).into());
        }
        Ok(self.bytes(at, at, len)?.to_vec())
    }

    /// The first byte from `from` to the end of its segment that is not zero.
    pub(crate) fn first_nonzero(&mut self, from: Offset) -> Result<Option<Offset>, Error> {
        self.nonzero(from, 4096, |bytes| {
            bytes
                .iter()
                .position(|&b| b != 0)
                .map(|first| (first, true))
        })
    }

    /// The last byte from `from` to the end of its segment that is not zero.
    pub(crate) fn last_nonzero(&mut self, from: Offset) -> Result<Option<Offset>, Error> {
        self.nonzero(from, WINDOW_LEN, |bytes| {
            bytes
                .iter()
                .rposition(|&b| b != 0)
                .map(|last| (last, false))
        })
    }

    /// Looks through what is not zero from `from` to the end of its segment, `step` bytes at a time. `found` is given bytes that
    /// are not all zero and says which is meant, and whether that is the answer. Holes are not read: they are zeros.
    fn nonzero(
        &mut self,
        from: Offset,
        step: u64,
        found: impl Fn(&[u8]) -> Option<(usize, bool)>,
    ) -> Result<Option<Offset>, Error> {
        let start = self.stride().segment_start(from);
        if self.enter(start)?.is_some() {
            return Ok(None);
        }
        let end = self.stride().segment_end(from);
        let (mut at, mut answer) = (from, None);
        while at < end {
            let (_, file) = self.file.as_ref().expect("a segment was entered before");
            match file.data_from(at.0 - start.0)? {
                Some(data) => at = start.plus(data),
                None => break,
            }
            if at >= end {
                break;
            }
            let len = (end.0 - at.0).min(step);
            let bytes = self.bytes(at, at, len)?;
            if !is_zero(bytes) {
                let Some((index, is_it)) = found(bytes) else {
                    break;
                };
                answer = Some(at.plus(index as u64));
                if is_it {
                    break;
                }
            }
            at = at.plus(len);
        }
        Ok(answer)
    }

    /// The first whole group between `from` and `to` that cannot be the one that follows `position`: proof that something
    /// before it was written and is gone.
    pub(crate) fn later_group(
        &mut self,
        position: &Position,
        from: Offset,
        to: Offset,
    ) -> Result<Option<Offset>, Error> {
        let stride = self.stride();
        let p = position.next(stride);
        let allowed = if p == stride.segment_start(p) {
            p.plus(SEGMENT_HEADER_LEN)
        } else {
            p
        };
        if self.enter(stride.segment_start(from))?.is_some() {
            return Ok(None);
        }
        let torn = self.bodies(allowed, position.epoch)?;
        let mut at = Offset(from.0.next_multiple_of(16));
        while at.0 + COMMIT_LEN <= to.0 {
            // A value may hold the image of a commit; it proves nothing.
            if let Some(body) = torn.iter().find(|body| body.contains(&at)) {
                at = body.end;
                continue;
            }
            if let Some(commit) = self.commit_at(at)? {
                let later = commit.start > allowed
                    && commit.number > position.group
                    && self.is_whole(at, &commit, position.epoch)?
                    || controls::on(Control::CommitIsProof);
                if later {
                    return Ok(Some(commit.start));
                }
            }
            at = at.plus(16);
        }
        Ok(None)
    }

    /// Where the bodies of the frames stand that follow each other from `at` on, as far as their headers are whole.
    fn bodies(&mut self, mut at: Offset, epoch_min: u32) -> Result<Vec<Range<Offset>>, Error> {
        let (stride, salt) = (self.stride(), self.salt);
        let segment_end = stride.segment_end(at);
        let mut bodies = Vec::new();
        while at.0 + FRAME_HEADER_LEN <= segment_end.0 {
            let bytes = self.bytes(at, at, FRAME_HEADER_LEN)?;
            let header = match FrameHeader::decode(bytes, stride) {
                Ok(header) if header.belongs(at, salt, epoch_min.max(1)).is_ok() => header,
                _ => break,
            };
            // The commit of the torn group: what stands behind it is judged by itself.
            if header.kind == Kind::Commit as u8 {
                break;
            }
            let end = at.plus(header.frame_len());
            bodies.push(at.plus(FRAME_HEADER_LEN)..end);
            at = end;
        }
        Ok(bodies)
    }

    /// The largest epoch in frame headers of this log whose CRC holds between `from` and `to`.
    pub(crate) fn epoch_max(&mut self, from: Offset, to: Offset) -> Result<u32, Error> {
        let (stride, salt) = (self.stride(), self.salt);
        if self.enter(stride.segment_start(from))?.is_some() {
            return Ok(0);
        }
        let mut epoch = 0;
        let mut at = Offset(from.0.next_multiple_of(16));
        while at.0 + FRAME_HEADER_LEN <= to.0 {
            let bytes = self.bytes(at, at, FRAME_HEADER_LEN)?;
            if let Ok(header) = FrameHeader::decode(bytes, stride)
                && header.belongs(at, salt, 1).is_ok()
            {
                epoch = epoch.max(header.epoch);
            }
            at = at.plus(16);
        }
        Ok(epoch)
    }

    /// A valid COMMIT frame at `at`, whatever stands before it.
    fn commit_at(&mut self, at: Offset) -> Result<Option<Commit>, Error> {
        let (stride, salt) = (self.stride(), self.salt);
        let bytes = self.bytes(at, at, COMMIT_LEN)?;
        if bytes[12] != Kind::Commit as u8 || bytes[8..12] != 32u32.to_le_bytes() {
            return Ok(None);
        }
        let valid = FrameHeader::decode(bytes, stride).is_ok_and(|header| {
            header.belongs(at, salt, 1).is_ok() && header.check_body(&bytes[64..]).is_ok()
        });
        if !valid {
            return Ok(None);
        }
        Ok(Commit::decode(&bytes[64..]).ok())
    }

    /// First frame of the group that ends at `end`, by its COMMIT.
    pub(crate) fn group_start(&mut self, end: Offset) -> Result<Option<Offset>, Error> {
        let at = Offset(end.0 - COMMIT_LEN);
        let segment = self.stride().segment_start(at);
        if self.enter(segment)?.is_some() {
            return Ok(None);
        }
        Ok(self
            .commit_at(at)?
            .map(|commit| commit.start)
            .filter(|start| *start >= segment.plus(SEGMENT_HEADER_LEN) && *start <= at))
    }

    /// Whether all frames of the group that a COMMIT at `at` ends are there.
    fn is_whole(&mut self, at: Offset, commit: &Commit, epoch_min: u32) -> Result<bool, Error> {
        let segment = self.stride().segment_start(at);
        if commit.start < segment.plus(SEGMENT_HEADER_LEN)
            || commit.start > at
            || !commit.start.0.is_multiple_of(16)
            || commit.count > 1 && at.0 - commit.start.0 > GROUP_LEN_MAX
        {
            return Ok(false);
        }
        let mut crcs = Vec::new();
        let mut next = commit.start;
        while next < at {
            match self.frame_at(commit.start, next, epoch_min)? {
                Judged::Frame(frame) => {
                    crcs.extend_from_slice(&frame.header_crc.to_le_bytes());
                    next = next.plus(frame.frame_len());
                }
                Judged::Bad(_) => return Ok(false),
            }
        }
        Ok(next == at
            && crcs.len() == 4 * commit.count as usize
            && crc32(&crcs) == commit.frames_crc)
    }

    /// Where a walk may begin that trusts the durable word: right after the group that ends at `end`. `None` when no such
    /// group ends there.
    pub(crate) fn position_at(
        &mut self,
        end: Offset,
        number: u64,
        epoch: u32,
    ) -> Result<Option<Position>, Error> {
        let stride = self.stride();
        if let Some(base) = self.segments.pruned()
            && end < base.end()
        {
            let last = base.position;
            let same = (last.end, last.group, last.epoch) == (end, number, epoch);
            return Ok(same.then_some(last));
        }
        if !end.0.is_multiple_of(16) || end.0 < SEGMENT_HEADER_LEN + COMMIT_LEN {
            return Ok(None);
        }
        let at = Offset(end.0 - COMMIT_LEN);
        let segment = stride.segment_start(at);
        if at < segment.plus(SEGMENT_HEADER_LEN)
            || end > stride.segment_end(at)
            || self.enter(segment)?.is_some()
        {
            return Ok(None);
        }
        let header = self.bytes(at, at, FRAME_HEADER_LEN)?;
        let header = FrameHeader::decode(header, stride).ok();
        let commit = self.commit_at(at)?;
        let (Some(header), Some(commit)) = (header, commit) else {
            return Ok(None);
        };
        if commit.number != number
            || header.epoch != epoch
            || commit.start < segment.plus(SEGMENT_HEADER_LEN)
            || commit.start > at
        {
            return Ok(None);
        }
        let first = self.bytes(commit.start, commit.start, FRAME_HEADER_LEN)?;
        let ended = FrameHeader::decode(first, stride)
            .is_ok_and(|first| first.kind == Kind::SegmentEnd as u8);
        Ok(Some(Position {
            end,
            group: number,
            epoch,
            commit_crc: header.header_crc,
            ended,
            chained: true,
        }))
    }
}

/// Whether all bytes are zero, eight at a time.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks
        .iter()
        .all(|chunk| chunk.iter().fold(0, |any, &b| any | b) == 0)
        && rest.iter().all(|&b| b == 0)
}
