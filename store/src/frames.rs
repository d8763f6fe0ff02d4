//! Frames of a log, many at a time, as they stand there: for whoever copies them and hashes what was copied.

use crate::buffer::Aligned;
use crate::error::Error;
use crate::group::{Group, Position, Step};
use crate::reader::LogReader;
use crate::walk::Walker;
use aos_format::frame::FrameHeader;
use aos_format::offset::Offset;

/// Frames one behind the other, header and padded body, in memory aligned as in a log.
#[derive(Default)]
pub struct Batch {
    bytes: Aligned,
    len: usize,
    headers: Vec<FrameHeader>,
}

impl Batch {
    /// One without frames, in the memory of others.
    pub fn reused(bytes: Aligned, mut headers: Vec<FrameHeader>) -> Batch {
        headers.clear();
        Batch {
            bytes,
            len: 0,
            headers,
        }
    }

    /// Bytes of its frames.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Its frames and their headers.
    pub fn take(self) -> (Aligned, Vec<FrameHeader>) {
        (self.bytes.reused(self.len), self.headers)
    }

    /// Puts the padded bytes of frames behind the others.
    fn put(&mut self, frames: &[u8]) {
        let end = self.len + frames.len();
        if self.bytes.len() < end {
            let room = end.max(2 * self.bytes.len()).max(64 << 10);
            let mut larger = Aligned::zeroed(room);
            larger[..self.len].copy_from_slice(&self.bytes[..self.len]);
            self.bytes = larger;
        }
        self.bytes[self.len..end].copy_from_slice(frames);
        self.len = end;
    }
}

/// The padded body of a frame, for whoever must see it to choose.
pub struct Peek<'a>(Seen<'a>);

enum Seen<'a> {
    Kept(&'a [u8]),
    InGroup(&'a mut Walker, &'a FrameHeader),
}

impl Peek<'_> {
    /// The padded body.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn body(&mut self) -> Result<&[u8], Error> {
        match &mut self.0 {
            Seen::Kept(body) => Ok(body),
            Seen::InGroup(walker, header) => walker.body(header),
        }
    }
}

/// What becomes of a frame.
pub enum Choice {
    /// It goes into the batch as it stands.
    Take,
    /// It is left out.
    Leave,
    /// This one goes in its place: its header, and all its bytes.
    Instead(FrameHeader, Vec<u8>),
}

/// Frames of records from an offset up to what is durable; see [`LogReader::frames`].
pub struct Frames<'a> {
    reader: &'a LogReader,
    walker: Walker,
    position: Position,
    from: Offset,
    end: Offset,
    /// Of a pruned beginning: how many of the frames that are kept were passed.
    kept: usize,
    /// The group under way, and the next of its frames.
    group: Option<(Group, usize)>,
}

impl LogReader {
    /// Frames of records from `from` up to `end`, which must be durable; of a pruned beginning those that are kept.
    ///
    /// Groups are judged as [`LogReader::scan`] judges them, but for one thing: without `bodies` the CRCs of records' bodies are
    /// left to whoever takes the frames.
    pub fn frames(&self, from: Offset, end: Offset, bodies: bool) -> Frames<'_> {
        let mut walker = self.walker();
        walker.read_ahead_to(end);
        if !bodies {
            walker.leave_bodies();
        }
        let start = self.identity().stride.segment_start(from);
        Frames {
            reader: self,
            walker,
            position: self.files().position(start),
            from,
            end,
            kept: 0,
            group: None,
        }
    }
}

impl Frames<'_> {
    /// Puts frames into the batch until it holds `len` bytes; `choose` says of each what becomes of it. `false` at the end.
    ///
    /// # Errors
    /// [`Error::Finding`] where a group below the end is not whole, whatever the reason; [`Error::Disk`]; what `choose` says.
    pub fn fill<E: From<Error>>(
        &mut self,
        batch: &mut Batch,
        len: usize,
        choose: &mut impl FnMut(&FrameHeader, Peek<'_>) -> Result<Choice, E>,
    ) -> Result<bool, E> {
        if let Some(base) = self.reader.pruned() {
            for (header, body) in base.frames().skip(self.kept) {
                if batch.len >= len {
                    return Ok(true);
                }
                self.kept += 1;
                if header.offset < self.from {
                    continue;
                }
                match choose(header, Peek(Seen::Kept(body)))? {
                    Choice::Take => {
                        batch.put(&header.encode());
                        batch.put(body);
                        batch.headers.push(*header);
                    }
                    Choice::Leave => {}
                    Choice::Instead(header, bytes) => {
                        batch.put(&bytes);
                        batch.headers.push(header);
                    }
                }
            }
        }
        while batch.len < len {
            let (group, at) = match self.group.take() {
                Some(under_way) => under_way,
                None if self.position.end >= self.end => return Ok(false),
                None => match self.walker.next_group(&self.position).map_err(E::from)? {
                    Step::Group(group) => {
                        self.position = group.position();
                        (group, 0)
                    }
                    Step::Stop(stop) => {
                        let stride = self.reader.identity().stride;
                        return Err(Error::from(stop.finding(stride)).into());
                    }
                },
            };
            let next = self.take(&group, at, batch, len, choose)?;
            if next < group.frames.len() {
                self.group = Some((group, next));
            }
        }
        Ok(true)
    }

    /// Takes frames of a group from number `at` on; says which is next.
    fn take<E: From<Error>>(
        &mut self,
        group: &Group,
        mut at: usize,
        batch: &mut Batch,
        len: usize,
        choose: &mut impl FnMut(&FrameHeader, Peek<'_>) -> Result<Choice, E>,
    ) -> Result<usize, E> {
        if group.ends_segment {
            return Ok(group.frames.len());
        }
        while at < group.frames.len() && batch.len < len {
            // As many as are taken stand one behind the other, and are copied as one.
            let first = at;
            let mut sum = 0;
            let mut instead = None;
            while let Some(header) = group.frames.get(at)
                && batch.len + sum < len
            {
                let choice = match header.offset < self.from {
                    true => Choice::Leave,
                    false => choose(header, Peek(Seen::InGroup(&mut self.walker, header)))?,
                };
                match choice {
                    Choice::Take => sum += header.frame_len() as usize,
                    Choice::Leave => break,
                    Choice::Instead(header, bytes) => {
                        instead = Some((header, bytes));
                        break;
                    }
                }
                at += 1;
            }
            if sum > 0 {
                let frames = self.walker.frames(group.frames[first].offset, sum as u64);
                batch.put(frames.map_err(E::from)?);
                batch.headers.extend_from_slice(&group.frames[first..at]);
            }
            if at < group.frames.len() && batch.len < len {
                at += 1;
                if let Some((header, bytes)) = instead {
                    batch.put(&bytes);
                    batch.headers.push(header);
                }
            }
        }
        Ok(at)
    }
}
