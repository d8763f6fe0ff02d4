//! A record as it stands in a log.

use crate::buffer::Aligned;
use crate::error::{Error, Finding, FindingKind, code};
use crate::place::{Bytes, Segments};
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader, Kind};
use aos_format::offset::{Offset, segment_file_name};
use aos_format::record::{RecordView, StreamId};
use aos_format::segment::Identity;
use std::fmt;

/// A record read from a log: its frame's header and its body, whose CRCs hold.
pub struct StoredRecord {
    header: FrameHeader,
    bytes: Bytes,
    file: ReadFrom,
    pending: bool,
}

/// The file a record was read from, for messages: its name is made only when somebody asks.
pub(crate) enum ReadFrom {
    /// The segment that begins there.
    Segment(Offset),
    /// A file of that name.
    Named(Box<str>),
}

impl StoredRecord {
    /// `bytes` is the padded body, already checked against the header.
    pub(crate) fn new(header: FrameHeader, bytes: Bytes, file: ReadFrom, pending: bool) -> Self {
        StoredRecord {
            header,
            bytes,
            file,
            pending,
        }
    }

    /// The record of a frame that was carried away from its log: `frame` is its header and padded body, verbatim, which
    /// stood at `offset` of a log with that identity. `file` is where it is read from now, for messages.
    ///
    /// # Errors
    /// A corruption finding when the frame is not whole, or not the one of that log and place.
    pub fn carried(
        identity: Identity,
        offset: Offset,
        frame: &[u8],
        file: &str,
    ) -> Result<StoredRecord, Error> {
        let damaged = |error: aos_format::Error| -> Error {
            Finding {
                kind: FindingKind::Corruption,
                code: code::DAMAGED,
                offset,
                length: Some(frame.len() as u64),
                file: file.into(),
                expected: "a frame of a record".into(),
                found: error.to_string(),
            }
            .into()
        };
        let header = FrameHeader::decode(frame, identity.stride).map_err(damaged)?;
        header
            .belongs(offset, identity.log_id.salt(), 1)
            .map_err(damaged)?;
        if Kind::from_u8(header.kind).is_some_and(Kind::is_structural) {
            return Err(Error::NoRecord {
                what: format!("at offset {offset}"),
            });
        }
        let body = frame.get(FRAME_HEADER_LEN as usize..header.frame_len() as usize);
        let body = body.unwrap_or_default();
        header.check_body(body).map_err(damaged)?;
        let bytes = Bytes::Owned(Aligned::copy_of(body));
        let file = ReadFrom::Named(file.into());
        Ok(StoredRecord::new(header, bytes, file, false))
    }

    /// The same record, known to be in the last group.
    pub(crate) fn into_pending(mut self) -> Self {
        self.pending = true;
        self
    }

    /// Header of its frame.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// Where it stands.
    pub fn offset(&self) -> Offset {
        self.header.offset
    }

    /// Number in its stream, from 1.
    pub fn seq(&self) -> u64 {
        self.header.seq
    }

    /// Its kind; `None` for one this build does not know and may skip.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_u8(self.header.kind)
    }

    /// Whether it stands in the last group, which nothing proves to be durable yet.
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// The body without padding, aligned to 16 bytes.
    pub fn body(&self) -> &[u8] {
        let bytes = self.bytes.get();
        &bytes[..bytes.len().min(self.header.body_len as usize)]
    }

    /// The record, read in place.
    ///
    /// # Errors
    /// A corruption finding when the bytes, whose CRC holds, are no record of this version.
    pub fn view(&self) -> Result<RecordView<'_>, Error> {
        RecordView::of_frame(&self.header, self.body()).map_err(|error| {
            self.finding("a record of version 1", error.to_string())
                .into()
        })
    }

    /// The stream it belongs to.
    ///
    /// # Errors
    /// As [`StoredRecord::view`].
    pub fn stream(&self) -> Result<StreamId, Error> {
        Ok(self.view()?.stream())
    }

    pub(crate) fn finding(&self, expected: &str, found: String) -> Finding {
        Finding {
            kind: FindingKind::Corruption,
            code: code::DAMAGED,
            offset: self.header.offset,
            length: Some(self.header.frame_len()),
            file: match &self.file {
                ReadFrom::Segment(start) => segment_file_name(*start),
                ReadFrom::Named(name) => name.to_string(),
            },
            expected: expected.into(),
            found,
        }
    }
}

impl fmt::Debug for StoredRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRecord")
            .field("header", &self.header)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

/// Reads the frame at `at`, which must end at or below `end`.
pub(crate) fn read_frame(
    segments: &Segments,
    salt: u32,
    at: Offset,
    end: Offset,
) -> Result<StoredRecord, Error> {
    let none = || Error::NoRecord {
        what: format!("at offset {at}"),
    };
    let stride = segments.stride;
    let segment_end = stride.segment_end(at);
    let start = stride.segment_start(at);
    if !at.0.is_multiple_of(16)
        || at.0 < start.0 + FRAME_HEADER_LEN
        || at.0 + FRAME_HEADER_LEN > end.0.min(segment_end.0)
    {
        return Err(none());
    }
    let head = segments.durable_bytes(at, FRAME_HEADER_LEN as usize, end)?;
    let damaged = |error: aos_format::Error| -> Error {
        Finding {
            kind: FindingKind::Corruption,
            code: code::DAMAGED,
            offset: at,
            length: None,
            file: segment_file_name(start),
            expected: "a frame".into(),
            found: error.to_string(),
        }
        .into()
    };
    let header = FrameHeader::decode(head.get(), stride).map_err(damaged)?;
    header.belongs(at, salt, 1).map_err(damaged)?;
    if header.end() > end {
        return Err(none());
    }
    if Kind::from_u8(header.kind).is_some_and(Kind::is_structural) {
        return Err(none());
    }
    let body_len = (header.frame_len() - FRAME_HEADER_LEN) as usize;
    let bytes = segments.durable_bytes(at.plus(FRAME_HEADER_LEN), body_len, end)?;
    header.check_body(bytes.get()).map_err(damaged)?;
    Ok(StoredRecord::new(
        header,
        bytes,
        ReadFrom::Segment(start),
        false,
    ))
}
