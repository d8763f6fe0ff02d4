//! Where records can be read from: a log, or something that carries frames of one verbatim.

use crate::error::Error;
use crate::links;
use crate::near::Window;
use crate::reader::{Index, LogReader};
use crate::stored::StoredRecord;
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_format::segment::Identity;
use std::sync::Arc;

/// Records that can be read by offset and by stream: a [`LogReader`], or an archive that carries some of a log's frames.
///
/// Whoever compares or re-executes runs works on this, so that an archive answers as the log did that it was made from.
pub trait Source: Send + Sync {
    /// Which log the records are of.
    fn identity(&self) -> Identity;

    /// What is there: runs, definitions, seeds, checkpoints.
    ///
    /// # Errors
    /// [`Error::Disk`]; what keeps the fold from the end is [`Index::finding`].
    fn index(&self) -> Result<Arc<Index>, Error>;

    /// The record at `offset`, whose CRCs hold.
    ///
    /// # Errors
    /// [`Error::NoRecord`] when none stands there, or the source does not carry it; [`Error::Finding`], [`Error::Disk`].
    fn read(&self, offset: Offset) -> Result<StoredRecord, Error>;

    /// As [`Source::read`], for who follows links: `window` keeps bytes from one record to the next, where that saves reads.
    ///
    /// # Errors
    /// As [`Source::read`].
    fn read_near(&self, offset: Offset, window: &mut Window) -> Result<StoredRecord, Error> {
        let _unused = window;
        self.read(offset)
    }

    /// The records of a stream from number `from_seq` on, in order; empty when the source does not know the stream.
    ///
    /// # Errors
    /// As [`Source::read`].
    fn stream(&self, stream: StreamId, from_seq: u64) -> Result<Vec<StoredRecord>, Error> {
        match self.index()?.rows.head(stream) {
            Some(head) => {
                let mut window = Window::default();
                let read = |at| self.read_near(at, &mut window);
                links::back(read, stream, head.offset, head.seq, from_seq)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Record number `seq` of a stream, found over its skip links in O(log² n) reads; `None` when the stream is shorter.
    ///
    /// # Errors
    /// As [`Source::read`].
    fn nth(&self, stream: StreamId, seq: u64) -> Result<Option<StoredRecord>, Error> {
        let index = self.index()?;
        let Some(head) = index.rows.head(stream).filter(|head| seq <= head.seq) else {
            return Ok(None);
        };
        links::nth(|at| self.read(at), stream, head.offset, head.seq, seq)
    }

    /// The bytes of a value, wherever they are stored.
    ///
    /// # Errors
    /// [`Error::NoValue`] when they are not there; as [`Source::read`].
    fn value(&self, record: &StoredRecord, slot: u8) -> Result<Vec<u8>, Error> {
        self.stored_value(record, slot)
    }

    /// The bytes of a value that is stored; [`Source::value`] may know others.
    ///
    /// # Errors
    /// [`Error::NoValue`] when they are not there; as [`Source::read`].
    fn stored_value(&self, record: &StoredRecord, slot: u8) -> Result<Vec<u8>, Error> {
        links::value(|at| self.read(at), record, slot)
    }
}

impl Source for LogReader {
    fn identity(&self) -> Identity {
        LogReader::identity(self)
    }

    fn index(&self) -> Result<Arc<Index>, Error> {
        LogReader::index(self)
    }

    fn read_near(&self, offset: Offset, window: &mut Window) -> Result<StoredRecord, Error> {
        LogReader::read_near(self, offset, window)
    }

    fn read(&self, offset: Offset) -> Result<StoredRecord, Error> {
        LogReader::read(self, offset)
    }
}
