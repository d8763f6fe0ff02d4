//! Going over a damaged log: every frame whose CRCs hold, wherever it stands, and every range that holds none.
//!
//! A frame proves itself: CRCs, own offset, salt. What a COMMIT behind it adds is that it was durable:
//!
//! ```text
//! standing   when
//! durable    its group is whole; or a later group of the log is there, which is written only after the sync of this one;
//!            or LOCK's durable word is behind it
//! unproven   none of these: it may belong to a group that was never acknowledged
//! stale      its epoch is lower than that of a group before it: left over from a life that recovery had ended
//! ```

use crate::error::{Error, Finding, FindingKind, code};
use crate::place::Segments;
use crate::walk::Walker;
use aos_format::frame::{Commit, FRAME_HEADER_LEN, FrameHeader, Kind};
use aos_format::offset::{Offset, segment_file_name};
use aos_format::segment::{DurableWord, Identity, SEGMENT_HEADER_LEN, SegmentHeader};
use aos_format::wire::crc32;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A range of a log that holds no valid frame although the log goes on behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// First byte.
    pub start: Offset,
    /// Bytes.
    pub len: u64,
    /// What is wrong with it.
    pub why: String,
}

/// What is known of a frame besides that it is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Durable,
    Unproven,
    Stale,
}

/// What a survey found, besides the records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Surveyed {
    pub(crate) lost: Vec<Lost>,
    /// Bytes behind the last valid frame that are not zero: start and length.
    pub(crate) tail: Option<(Offset, u64)>,
    /// Groups that are whole.
    pub(crate) groups: u64,
    /// Starts of groups that do not continue the whole group right before them.
    pub(crate) breaks: Vec<Offset>,
    /// End of the last valid frame.
    pub(crate) end: Offset,
    /// The largest epoch of a valid COMMIT.
    pub(crate) epoch: u32,
}

/// Who is told of each record, in order of offset: its frame, its padded body, its standing.
pub(crate) type Each<'a> = &'a mut dyn FnMut(&FrameHeader, &[u8], Standing) -> Result<(), Error>;

pub(crate) struct Survey<'a> {
    walker: Walker,
    identity: Identity,
    word: Option<DurableWord>,
    each: Each<'a>,
    found: Surveyed,
    /// Frames since the last COMMIT.
    group: Vec<FrameHeader>,
    /// Records of broken groups, until something proves them.
    held: Vec<FrameHeader>,
    /// Number, header CRC and end of the last valid COMMIT; the end only when its group was whole.
    last: (u64, u32, Option<Offset>),
    /// Where the last segment went on without a valid frame and without an end.
    open: Option<Offset>,
    /// The last byte behind the last valid frame that is not zero.
    tail_last: Option<Offset>,
    ended: bool,
}

impl<'a> Survey<'a> {
    /// A survey of the segments whose lengths are `files`, by their first offsets.
    pub(crate) fn new(
        segments: Arc<Segments>,
        identity: Identity,
        word: Option<DurableWord>,
        each: Each<'a>,
    ) -> Survey<'a> {
        Survey {
            walker: Walker::new(segments, identity),
            identity,
            word,
            each,
            found: Surveyed::default(),
            group: Vec::new(),
            held: Vec::new(),
            last: (0, 0, None),
            open: None,
            tail_last: None,
            ended: false,
        }
    }

    /// Goes over all segments.
    ///
    /// # Errors
    /// [`Error::Disk`]; an `Unsupported` finding for frames of a newer version, which this build must not judge; what
    /// `each` says.
    pub(crate) fn run(mut self, files: &BTreeMap<Offset, u64>) -> Result<Surveyed, Error> {
        let stride = self.identity.stride.bytes();
        let start = self.walker.segments().start();
        let mut expected = start.next(self.identity.stride);
        if let Some(base) = self.walker.segments().pruned() {
            for (frame, body) in base.frames() {
                (self.each)(frame, body, Standing::Durable)?;
            }
            (self.found.epoch, self.found.end) = (start.epoch, start.end);
            self.last = (start.group, start.commit_crc, Some(start.end));
        }
        for (&start, &len) in files {
            if start > expected {
                self.close(expected);
                self.lose(expected, start, "no file of that segment");
            }
            let before = self.found.end;
            let open = self.open.take();
            self.segment(start)?;
            if self.found.end > before {
                // The log goes on here, so what was open before is missing.
                if let Some(open) = open {
                    self.lose(open, start, "no valid frame before the segment's end");
                }
            } else {
                self.open = open.or(self.open);
            }
            if len < stride && self.open.is_some() {
                let whole = start.plus(stride);
                self.lose(start.plus(len), whole, "the file is too short");
            }
            expected = start.plus(stride);
        }
        self.finish()
    }

    fn close(&mut self, at: Offset) {
        if let Some(open) = self.open.take() {
            self.lose(open, at, "no valid frame before the segment's end");
        }
    }

    fn lose(&mut self, from: Offset, to: Offset, why: &str) {
        if from >= to {
            return;
        }
        match self.found.lost.last_mut() {
            Some(last) if last.start.plus(last.len) >= from => {
                let end = to.max(last.start.plus(last.len));
                last.start = last.start.min(from);
                last.len = end.0 - last.start.0;
            }
            _ => self.found.lost.push(Lost {
                start: from,
                len: to.0 - from.0,
                why: why.into(),
            }),
        }
    }

    fn segment(&mut self, start: Offset) -> Result<(), Error> {
        let end = self.identity.stride.segment_end(start);
        self.ended = false;
        let header = self.walker.copy(start, SEGMENT_HEADER_LEN)?;
        let header_holds = SegmentHeader::decode(&header)
            .is_ok_and(|header| header.identity == self.identity && header.offset == start);
        if let Err(
            error @ (aos_format::Error::NewerVersion { .. }
            | aos_format::Error::UnknownFeatures { .. }),
        ) = SegmentHeader::decode(&header)
        {
            return Err(self.unsupported(start, &error.to_string()).into());
        }
        let mut at = start.plus(SEGMENT_HEADER_LEN);
        let mut bad = None;
        let mut first = true;
        while at.0 + FRAME_HEADER_LEN <= end.0 {
            match self.walker.probe(at)? {
                Ok(frame) => {
                    if first && !header_holds {
                        self.lose(
                            start,
                            start.plus(SEGMENT_HEADER_LEN),
                            "no valid segment header",
                        );
                    }
                    first = false;
                    if let Some(bad) = bad.take() {
                        self.lose(bad, at, "no valid frame");
                    }
                    self.frame(&frame)?;
                    at = frame.end();
                }
                Err(Some(newer)) => return Err(self.unsupported(at, &newer).into()),
                Err(None) => {
                    bad.get_or_insert(at);
                    at = match self.walker.first_nonzero(at)? {
                        Some(next) if next.0 >= at.0 + 16 => Offset(next.0 / 16 * 16),
                        Some(_) => at.plus(16),
                        None => end,
                    };
                }
            }
        }
        let bad = bad.unwrap_or(at).min(end);
        if self.ended {
            if let Some(last) = self.walker.last_nonzero(bad.min(Offset(end.0 - 1)))? {
                self.lose(bad, last.plus(1), "bytes behind the end of the segment");
            }
        } else {
            let from = if first { start } else { bad };
            self.open = Some(from);
            let last = self.walker.last_nonzero(from.min(Offset(end.0 - 1)))?;
            self.tail_last = last.filter(|last| *last >= from).or(self.tail_last);
        }
        Ok(())
    }

    fn unsupported(&self, at: Offset, found: &str) -> Finding {
        Finding {
            kind: FindingKind::Unsupported,
            code: code::UNSUPPORTED,
            offset: at,
            length: None,
            file: segment_file_name(self.identity.stride.segment_start(at)),
            expected: "what this build knows".into(),
            found: found.into(),
        }
    }

    fn frame(&mut self, frame: &FrameHeader) -> Result<(), Error> {
        self.found.end = self.found.end.max(frame.end());
        self.tail_last = None;
        if frame.kind != Kind::Commit as u8 {
            self.group.push(*frame);
            return Ok(());
        }
        let body = self.walker.body(frame)?;
        let Ok(commit) = Commit::decode(body) else {
            self.held.append(&mut self.group);
            return Ok(());
        };
        self.commit(frame, &commit)
    }

    fn commit(&mut self, frame: &FrameHeader, commit: &Commit) -> Result<(), Error> {
        let mut frames = std::mem::take(&mut self.group);
        let split = frames.partition_point(|frame| frame.offset < commit.start);
        let own = frames.split_off(split);
        let stale = frame.epoch < self.found.epoch;
        if stale || commit.number <= self.last.0 {
            if !stale {
                self.found.breaks.push(commit.start);
            }
            self.held.extend(frames);
            let standing = if stale {
                Standing::Stale
            } else {
                Standing::Unproven
            };
            return self.tell(&own, standing);
        }
        self.held.extend(frames);
        let held = std::mem::take(&mut self.held);
        self.tell(&held, Standing::Durable)?;
        let mut next = commit.start;
        let mut crcs = Vec::with_capacity(own.len() * 4);
        let mut whole = own.len() == commit.count as usize;
        for own in &own {
            whole &= own.offset == next && own.epoch == frame.epoch;
            next = own.end();
            crcs.extend_from_slice(&own.header_crc.to_le_bytes());
        }
        whole &= next == frame.offset && crc32(&crcs) == commit.frames_crc;
        let (number, crc, end) = self.last;
        let stride = self.identity.stride;
        let follows = end.is_some_and(|end| {
            end == commit.start
                || commit.start.0 == stride.segment_start(commit.start).0 + SEGMENT_HEADER_LEN
                    && number + 1 == commit.number
        });
        if whole && follows && (number + 1, crc) != (commit.number, commit.prev_commit) {
            self.found.breaks.push(commit.start);
        }
        self.found.epoch = frame.epoch;
        self.last = (
            commit.number,
            frame.header_crc,
            whole.then_some(frame.end()),
        );
        self.ended = whole && own.iter().any(|own| own.kind == Kind::SegmentEnd as u8);
        if whole {
            self.found.groups += 1;
            self.tell(&own, Standing::Durable)
        } else {
            self.held = own;
            Ok(())
        }
    }

    /// Hands the records among `frames` on.
    fn tell(&mut self, frames: &[FrameHeader], standing: Standing) -> Result<(), Error> {
        for frame in frames {
            if frame.kind == Kind::SegmentEnd as u8 {
                continue;
            }
            let body = self.walker.body(frame)?;
            let standing = if frame.epoch < self.found.epoch && standing == Standing::Unproven {
                Standing::Stale
            } else {
                standing
            };
            (self.each)(frame, body, standing)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Surveyed, Error> {
        let mut rest = std::mem::take(&mut self.held);
        rest.append(&mut self.group);
        let word = self.word.filter(|word| word.epoch >= self.found.epoch);
        let promised = word.map_or(Offset(0), |word| word.durable);
        let split = rest.partition_point(|frame| frame.end() <= promised);
        self.tell(&rest[..split], Standing::Durable)?;
        self.tell(&rest[split..], Standing::Unproven)?;
        if promised > self.found.end {
            let end = self.found.end;
            self.lose(end, promised, "acknowledged, and not there");
        } else if let (Some(open), Some(last)) = (self.open, self.tail_last) {
            self.found.tail = Some((open, last.0 + 1 - open.0));
        }
        Ok(self.found)
    }
}
