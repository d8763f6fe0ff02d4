//! Looking things up in a log that is being written: exact answers.

use crate::error::Error;
use crate::fold::{CheckpointRow, Rows, RunRow, StreamHead};
use crate::links;
use crate::log::Log;
use crate::reader::LogReader;
use crate::stored::{StoredRecord, read_frame};
use crate::streams::Tip;
use aos_format::digest::{Digest, RunId};
use aos_format::offset::Offset;
use aos_format::record::StreamId;
use aos_format::segment::Identity;

impl Log {
    /// Makes what is queued for a stream durable, and folds everything durable where that may hold records of it. A stream
    /// that is not in memory is one of which the catalogue has folded all there is; so looking for a run that nobody has
    /// started yet folds nothing.
    fn settle(&self, stream: StreamId) -> Result<(), Error> {
        let Some(cell) = self.shared.streams.find(&stream) else {
            return Ok(());
        };
        let (empty, settled) = {
            let state = cell.state.lock();
            (state.queued.seq == 0, state.is_settled(self.durable()))
        };
        if empty {
            return Ok(());
        }
        if !settled {
            self.drain()?;
        }
        self.shared.catalogue.catch_up(self.durable())
    }

    fn settle_all(&self) -> Result<(), Error> {
        if self.shared.queue.is_in_use() {
            self.drain()?;
        }
        self.shared.catalogue.catch_up(self.durable())
    }

    /// The newest record of a stream, queued ones included; `None` for a stream without records. Does not wait.
    ///
    /// # Errors
    /// [`Error::Catalogue`], [`Error::Finding`], [`Error::Disk`].
    pub fn head(&self, stream: StreamId) -> Result<Option<StreamHead>, Error> {
        let cell = self.shared.cell(stream)?;
        let needs_log = {
            let mut state = cell.state.lock();
            if state.queued.seq == 0 {
                return Ok(None);
            }
            if let Tip::Bytes(det) = &state.queued.tip {
                state.queued.tip = Tip::Digest(Digest::of(det));
            }
            let placed = state.is_settled(self.durable());
            match state.queued.tip {
                Tip::Digest(digest) => {
                    return Ok(Some(StreamHead {
                        offset: if placed {
                            state.written.offset()
                        } else {
                            Offset::NONE
                        },
                        seq: state.queued.seq,
                        digest,
                        lane_seq: state.queued.lane_seq,
                    }));
                }
                Tip::Bytes(_) | Tip::InLog => true,
            }
        };
        assert!(needs_log, "a known tip was answered above");
        self.settle(stream)?;
        self.shared.catalogue.head(stream)
    }

    /// A run, exactly as it stands: waits for its queued records.
    ///
    /// # Errors
    /// As [`Log::wait`] and [`Log::head`].
    pub fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        self.settle(StreamId::run(run))?;
        self.shared.catalogue.run(run)
    }

    /// Up to `limit` runs after `after`, by ascending id.
    ///
    /// # Errors
    /// As [`Log::run`].
    pub fn runs(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunRow>, Error> {
        self.settle_all()?;
        self.shared.catalogue.runs(after, limit)
    }

    /// All runs that have not ended, by ascending id.
    ///
    /// # Errors
    /// As [`Log::run`].
    pub fn open_runs(&self) -> Result<Vec<RunRow>, Error> {
        self.settle_all()?;
        self.shared.catalogue.open_runs()
    }

    /// The newest generation of a key, `None` when it was never used.
    ///
    /// # Errors
    /// As [`Log::run`].
    pub fn generations(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<Option<u64>, Error> {
        self.settle_all()?;
        self.shared.catalogue.generation(namespace, name, key)
    }

    /// Where the first DEFINITION with that digest stands.
    ///
    /// # Errors
    /// As [`Log::run`].
    pub fn definition(&self, digest: Digest) -> Result<Option<Offset>, Error> {
        self.settle(StreamId::CONTROL)?;
        self.shared.catalogue.definition(digest)
    }

    /// Where the first SEED with that commitment stands.
    ///
    /// # Errors
    /// As [`Log::run`].
    pub fn seed(&self, commitment: Digest) -> Result<Option<Offset>, Error> {
        self.settle(StreamId::CONTROL)?;
        self.shared.catalogue.seed(commitment)
    }

    /// Where the log's first SEED stands.
    ///
    /// # Errors
    /// As [`Log::run`].
    pub fn first_seed(&self) -> Result<Option<Offset>, Error> {
        self.settle(StreamId::CONTROL)?;
        self.shared.catalogue.first_seed()
    }

    /// Checkpoints of a run, oldest first.
    ///
    /// # Errors
    /// As [`Log::run`].
    pub fn checkpoints(&self, run: RunId) -> Result<Vec<CheckpointRow>, Error> {
        self.settle(StreamId::run(run))?;
        self.shared.catalogue.checkpoints(run)
    }

    /// Everything the catalogue knows, as exact as [`Log::run`].
    ///
    /// # Errors
    /// As [`Log::run`].
    pub fn rows(&self) -> Result<Rows, Error> {
        self.settle_all()?;
        self.shared.catalogue.all()
    }

    /// The durable record at `offset`; its CRCs are checked.
    ///
    /// # Errors
    /// [`Error::NoRecord`] when none stands there or it is not durable yet; [`Error::Finding`], [`Error::Disk`].
    pub fn read(&self, offset: Offset) -> Result<StoredRecord, Error> {
        let shared = &*self.shared;
        read_frame(&shared.segments, shared.salt, offset, self.durable())
    }

    /// The records of a stream from number `from_seq` on, in order; waits for its queued records.
    ///
    /// # Errors
    /// As [`Log::run`] and [`Log::read`].
    pub fn stream(&self, stream: StreamId, from_seq: u64) -> Result<Vec<StoredRecord>, Error> {
        self.settle(stream)?;
        match self.shared.catalogue.head(stream)? {
            Some(head) => links::back(|at| self.read(at), stream, head.offset, head.seq, from_seq),
            None => Ok(Vec::new()),
        }
    }

    /// The bytes of a value, wherever they are stored.
    ///
    /// # Errors
    /// [`Error::NoValue`] when the log does not have them; as [`Log::read`].
    pub fn value(&self, record: &StoredRecord, slot: u8) -> Result<Vec<u8>, Error> {
        links::value(|at| self.read(at), record, slot)
    }

    /// Who the log is.
    pub fn identity(&self) -> Identity {
        self.shared.identity
    }

    /// Streams held in memory.
    pub fn streams_in_memory(&self) -> usize {
        self.shared.streams.len()
    }

    /// A reader of this log, as another process would have it.
    ///
    /// # Errors
    /// As [`LogReader::open`].
    pub fn reader(&self) -> Result<LogReader, Error> {
        LogReader::open(self.disk.clone(), &self.shared.place.root)
    }
}
