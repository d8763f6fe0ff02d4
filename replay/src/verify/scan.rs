//! A worker's part: every frame of one chunk, its CRCs, and all that its neighbours in the chunk can tell about it.
//!
//! A chunk is read without knowing what came before it. It finds its first frame by itself (own offset, salt and CRCs leave
//! no doubt), and the joiner, who knows where the chunk before it ended, has it scanned again from there if the two
//! disagree.

use super::grid::Chunk;
use super::look::Look;
use super::record::Streams;
use super::window::Pending;
use crate::finding::{Finding, FindingKind, code, kind_name};
use aos_format::frame::{Commit, FRAME_HEADER_LEN, FrameHeader, Kind, SegmentEnd};
use aos_format::offset::{Offset, Stride, segment_file_name};
use aos_format::record::{RecordView, ValueEntry};
use aos_format::segment::{Identity, SEGMENT_HEADER_LEN, SegmentHeader};
use aos_format::sha_wide::Width;
use aos_store::Aligned;
use std::cell::Cell;

/// Gives `len` bytes of the log from an offset on, all of one segment, in memory that is given back to serve again.
pub(crate) type Read<'a> =
    dyn Fn(Offset, usize, Aligned) -> Result<Aligned, aos_store::Error> + Sync + 'a;

thread_local! {
    /// The bytes of the chunk that a worker is at.
    static CHUNK: Cell<Aligned> = Cell::default();
}

/// A frame whose header holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameSeen {
    pub(crate) offset: u64,
    pub(crate) end: u64,
    pub(crate) header_crc: u32,
    pub(crate) epoch: u32,
    pub(crate) kind: u8,
}

/// What interrupts the frames of a chunk.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// No frame, or none whose body holds, from here up to `to`.
    Bad {
        to: u64,
        expected: &'static str,
        found: String,
        /// Predecessor in its stream as the damaged header names it.
        prev: Option<u64>,
        /// The header holds, so the frame still counts in its group.
        counted: bool,
    },
    /// Zeros up to the chunk's end.
    Zeros,
}

/// What a scan found.
#[derive(Default)]
pub(crate) struct Scanned {
    /// Header of the segment, when the chunk is its first; or why there is none.
    pub(crate) segment: Option<Result<SegmentHeader, String>>,
    /// Where the first frame was found.
    pub(crate) first: Option<u64>,
    /// Where the frame after the last begins, when nothing but the chunk's end came between.
    pub(crate) end: Option<u64>,
    pub(crate) frames: Vec<FrameSeen>,
    /// Bodies of the COMMIT frames among them that hold, by offset.
    pub(crate) commits: Vec<(u64, Commit)>,
    /// Interruptions by offset, ascending.
    pub(crate) notes: Vec<(u64, Note)>,
    pub(crate) streams: Streams,
    /// Why the chunk could not be read.
    pub(crate) error: Option<aos_store::Error>,
}

impl Scanned {
    pub(crate) fn clear(&mut self) {
        self.segment = None;
        self.first = None;
        self.end = None;
        self.frames.clear();
        self.commits.clear();
        self.notes.clear();
        self.streams.clear();
        self.error = None;
    }
}

/// Scans `chunk`, from the frame at `start` where that is known.
pub(crate) fn scan(log: Look<'_>, chunk: &Chunk, start: Option<u64>, out: &mut Scanned) {
    out.clear();
    let Look {
        identity,
        read,
        width,
    } = log;
    let len = (chunk.to - chunk.from) as usize;
    let bytes = match read(Offset(chunk.from), len, CHUNK.take()) {
        Ok(bytes) => bytes,
        Err(error) => {
            out.error = Some(error);
            return;
        }
    };
    let mut scan = Scan {
        stride: identity.stride,
        salt: identity.log_id.salt(),
        chunk,
        bytes: &bytes,
        read,
        width,
        pending: Pending::default(),
        values: Vec::new(),
        out,
    };
    let scanned = scan
        .begin(identity, start)
        .and_then(|start| scan.run(start));
    scan.out.streams.settle(&mut scan.pending, width);
    if let Err(error) = scanned {
        scan.out.error = Some(error);
    }
    CHUNK.set(bytes);
}

/// Takes in records that stand alone: those that are kept of a pruned beginning.
pub(crate) fn kept<'a>(
    frames: impl Iterator<Item = (&'a FrameHeader, &'a [u8])>,
    width: Width,
    mut each: impl FnMut(&mut Scanned),
) {
    let mut frames = frames.peekable();
    let (mut out, mut values) = (Scanned::default(), Vec::new());
    while frames.peek().is_some() {
        let mut pending = Pending::default();
        out.clear();
        while !pending.is_full()
            && let Some((header, body)) = frames.next()
        {
            let kind = Kind::from_u8(header.kind);
            values.clear();
            let record = RecordView::of_frame_with(header, body, |value| values.push(value));
            if let (false, Ok(view)) = (kind.is_some_and(Kind::is_structural), record) {
                out.streams
                    .take(header, kind, &view, &values, &mut pending, width);
            }
        }
        out.streams.settle(&mut pending, width);
        each(&mut out);
    }
}

struct Scan<'a> {
    stride: Stride,
    salt: u32,
    chunk: &'a Chunk,
    bytes: &'a [u8],
    read: &'a Read<'a>,
    width: Width,
    pending: Pending<'a>,
    /// Values of the record at hand.
    values: Vec<ValueEntry>,
    out: &'a mut Scanned,
}

/// A place where a frame should stand, judged.
enum Judged {
    /// A frame up to here, and taken in.
    Good(u64),
    /// The header holds, the body does not.
    BadBody(FrameHeader, String),
    /// No frame here, or one that cannot be.
    Bad(u64, String),
}

impl<'a> Scan<'a> {
    /// Where the first frame is looked for, and the segment's header.
    fn begin(&mut self, identity: Identity, start: Option<u64>) -> Result<u64, aos_store::Error> {
        if !self.chunk.is_first() {
            return match start {
                Some(start) => Ok(start),
                None => self.next_frame(self.chunk.from),
            };
        }
        if is_zero(self.bytes) {
            return Ok(self.chunk.from + SEGMENT_HEADER_LEN);
        }
        let header = match self.bytes.get(..SEGMENT_HEADER_LEN as usize) {
            Some(bytes) => SegmentHeader::decode(bytes).map_err(|error| error.to_string()),
            None => Err("a cut segment header".into()),
        };
        let header = header.and_then(|header| {
            if header.identity != identity || header.offset.0 != self.chunk.segment {
                Err(format!(
                    "the header of segment {} of log {} with stride {}",
                    header.offset,
                    header.identity.log_id,
                    header.identity.stride.bytes()
                ))
            } else {
                Ok(header)
            }
        });
        self.out.segment = Some(header);
        Ok(self.chunk.from + SEGMENT_HEADER_LEN)
    }

    fn run(&mut self, start: u64) -> Result<(), aos_store::Error> {
        let mut at = start;
        self.out.first = (at < self.chunk.to).then_some(at);
        if at > self.chunk.from && !self.chunk.is_first() && self.out.first.is_none() {
            // Nothing begins here: the inside of a long frame, zeros, or garbage. The joiner knows which.
            self.rest(self.chunk.from);
            return Ok(());
        }
        while at < self.chunk.to {
            let judged = match self.whole_frame(at) {
                Some((header, body)) => self.take_whole(&header, body),
                None if self.is_zero_from(at) => {
                    self.out.notes.push((at, Note::Zeros));
                    return Ok(());
                }
                None => self.judge_one(at)?,
            };
            at = match judged {
                Judged::Good(end) => end,
                Judged::BadBody(header, found) => {
                    self.see(&header);
                    let to = header.end().0;
                    let prev = Some(header.prev.0);
                    let expected = "the body of a frame";
                    let note = Note::Bad {
                        to,
                        expected,
                        found,
                        prev,
                        counted: true,
                    };
                    self.out.notes.push((at, note));
                    to
                }
                Judged::Bad(at, found) => {
                    let prev = self.bytes_at(at, FRAME_HEADER_LEN).map(|b| u64_at(b, 32));
                    self.bad(at, found, prev)?
                }
            };
            if at == self.chunk.to && self.is_open() {
                return Ok(());
            }
        }
        self.out.end = Some(at);
        Ok(())
    }

    /// Notes that no frame stands at `at`, and goes on to the next that does.
    fn bad(&mut self, at: u64, found: String, prev: Option<u64>) -> Result<u64, aos_store::Error> {
        let to = self.next_frame(at + 16)?;
        let note = Note::Bad {
            to,
            expected: "a frame",
            found,
            prev,
            counted: false,
        };
        self.out.notes.push((at, note));
        Ok(to)
    }

    /// Whether bytes that are no frame reach up to the chunk's end: where the next frame begins is for others to find.
    fn is_open(&self) -> bool {
        let last = self.out.notes.last();
        matches!(last, Some((_, Note::Bad { to, counted: false, .. })) if *to == self.chunk.to)
    }

    /// A chunk in which no frame begins.
    fn rest(&mut self, at: u64) {
        if self.is_zero_from(at) {
            self.out.notes.push((at, Note::Zeros));
        } else {
            let to = self.chunk.to;
            let found = "bytes that are no frame".into();
            let note = Note::Bad {
                to,
                expected: "zeros or a frame",
                found,
                prev: None,
                counted: false,
            };
            self.out.notes.push((at, note));
        }
    }

    /// Bytes that reach out of the chunk.
    fn more(&self, at: u64, len: u64) -> Result<Aligned, aos_store::Error> {
        (self.read)(Offset(at), len as usize, Aligned::default())
    }

    fn bytes_at(&self, at: u64, len: u64) -> Option<&[u8]> {
        let from = (at - self.chunk.from) as usize;
        self.bytes.get(from..from + len as usize)
    }

    fn is_zero_from(&self, at: u64) -> bool {
        is_zero(&self.bytes[(at - self.chunk.from) as usize..])
    }

    /// The first place from `at` on where a frame of this log stands; the chunk's end or beyond when there is none.
    fn next_frame(&self, at: u64) -> Result<u64, aos_store::Error> {
        let mut at = at.next_multiple_of(16);
        while at < self.chunk.to.min(self.chunk.segment_end - FRAME_HEADER_LEN) {
            let found = match self.bytes_at(at, FRAME_HEADER_LEN) {
                Some(header) => self.is_frame(header, at),
                None => self.is_frame(&self.more(at, FRAME_HEADER_LEN)?, at),
            };
            if found {
                return Ok(at);
            }
            at += 16;
        }
        Ok(self.chunk.to)
    }

    fn is_frame(&self, header: &[u8], at: u64) -> bool {
        u64_at(header, 24) == at
            && header[20..24] == self.salt.to_le_bytes()
            && FrameHeader::decode(header, self.stride).is_ok()
    }

    /// The frame at `at`, when it is good and lies in the chunk.
    fn whole_frame(&self, at: u64) -> Option<(FrameHeader, &'a [u8])> {
        if self.chunk.segment_end - at < FRAME_HEADER_LEN {
            return None;
        }
        let bytes: &'a [u8] = self.bytes;
        let from = (at - self.chunk.from) as usize;
        let body_at = from + FRAME_HEADER_LEN as usize;
        let header = self.header(bytes.get(from..body_at)?, at).ok()?;
        let body_len = (header.frame_len() - FRAME_HEADER_LEN) as usize;
        let body = bytes.get(body_at..body_at + body_len)?;
        header.check_body(body).is_ok().then_some((header, body))
    }

    /// Judges the frame at `at`, which may be bad or reach out of the chunk, and takes it in if it is good.
    fn judge_one(&mut self, at: u64) -> Result<Judged, aos_store::Error> {
        let room = self.chunk.segment_end - at;
        if room < FRAME_HEADER_LEN {
            return Ok(Judged::Bad(at, "the end of the segment".into()));
        }
        let header = match self.bytes_at(at, FRAME_HEADER_LEN) {
            Some(bytes) => self.header(bytes, at),
            None => self.header(&self.more(at, FRAME_HEADER_LEN)?, at),
        };
        let header = match header {
            Ok(header) => header,
            Err(error) => return Ok(Judged::Bad(at, error.to_string())),
        };
        let body_len = header.frame_len() - FRAME_HEADER_LEN;
        let body_at = at + FRAME_HEADER_LEN;
        let more;
        let from = (body_at - self.chunk.from) as usize;
        let body = match self.bytes.get(from..from + body_len as usize) {
            Some(body) => body,
            None => {
                more = self.more(body_at, body_len)?;
                &more
            }
        };
        if let Err(error) = header.check_body(body) {
            return Ok(Judged::BadBody(header, error.to_string()));
        }
        self.out.streams.settle(&mut self.pending, self.width);
        let mut pending = Pending::default();
        let taken = self.take(&header, body, &mut pending);
        self.out.streams.settle(&mut pending, self.width);
        Ok(match taken {
            Ok(()) => Judged::Good(header.end().0),
            Err(found) => Judged::Bad(at, found),
        })
    }

    /// Takes in a frame that lies in the chunk.
    #[inline]
    fn take_whole(&mut self, header: &FrameHeader, body: &'a [u8]) -> Judged {
        let mut pending = std::mem::take(&mut self.pending);
        let taken = self.take(header, body, &mut pending);
        if pending.is_full() {
            self.out.streams.settle(&mut pending, self.width);
        }
        self.pending = pending;
        match taken {
            Ok(()) => Judged::Good(header.end().0),
            Err(found) => Judged::Bad(header.offset.0, found),
        }
    }

    fn header(&self, bytes: &[u8], at: u64) -> Result<FrameHeader, aos_format::Error> {
        let header = FrameHeader::decode(bytes, self.stride)?;
        header.belongs(Offset(at), self.salt, 1)?;
        Ok(header)
    }

    fn see(&mut self, header: &FrameHeader) {
        self.out.frames.push(FrameSeen {
            offset: header.offset.0,
            end: header.end().0,
            header_crc: header.header_crc,
            epoch: header.epoch,
            kind: header.kind,
        });
    }

    /// Takes in a frame whose CRCs hold; else says in words why it cannot be.
    fn take<'b>(
        &mut self,
        header: &FrameHeader,
        body: &'b [u8],
        pending: &mut Pending<'b>,
    ) -> Result<(), String> {
        let structural = header.seq == 0 && header.prev == Offset::NONE && header.record_len == 0;
        match Kind::from_u8(header.kind) {
            Some(Kind::Commit) => match Commit::decode(&body[..header.body_len as usize]) {
                Ok(commit) if structural => self.out.commits.push((header.offset.0, commit)),
                Ok(_) => return Err("a commit with links".into()),
                Err(error) => return Err(error.to_string()),
            },
            Some(Kind::SegmentEnd) => {
                let next = Offset(self.chunk.segment_end);
                match SegmentEnd::decode(&body[..header.body_len as usize]) {
                    Ok(end) if structural && end.next == next => {}
                    Ok(end) => {
                        return Err(format!(
                            "a segment end that leads to {}, not to {next}",
                            end.next
                        ));
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
            None if header.kind < 128 => {
                let finding = Finding::at(
                    code::UNREADABLE,
                    header.offset.0,
                    "a kind this build knows",
                    kind_name(header.kind),
                );
                self.out.streams.findings.push(Finding {
                    file: Some(segment_file_name(Offset(self.chunk.segment))),
                    length: Some(header.frame_len()),
                    ..finding.kind(FindingKind::Unsupported).field("kind")
                });
            }
            kind => {
                self.values.clear();
                let values = &mut self.values;
                match RecordView::of_frame_with(header, body, |value| values.push(value)) {
                    Ok(view) => {
                        let streams = &mut self.out.streams;
                        streams.take(header, kind, &view, values, pending, self.width);
                    }
                    // Whose record it is cannot be told, so its stream goes on without it.
                    Err(error) => {
                        let note = Note::Bad {
                            to: header.end().0,
                            expected: "a record of version 1",
                            found: error.to_string(),
                            prev: Some(header.prev.0),
                            counted: true,
                        };
                        self.out.notes.push((header.offset.0, note));
                    }
                }
            }
        }
        self.see(header);
        Ok(())
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks
        .iter()
        .all(|chunk| chunk.iter().fold(0, |any, &b| any | b) == 0)
        && rest.iter().all(|&b| b == 0)
}
