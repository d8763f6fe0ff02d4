//! A log open for writing.

use crate::catalogue::{Catalogue, CatalogueState};
use crate::error::Error;
use crate::place::Place;
use crate::prepare::{Ahead, Failure, prepare};
use crate::queue::Encoded;
use crate::recovery::{TailCut, recover};
use crate::shared::Shared;
use crate::streams::Tip;
use crate::writer::Writer;
use aos_disk::{Disk, Lock};
use aos_format::digest::{Digest, LogId};
use aos_format::event::{Event, Open};
use aos_format::frame::Kind;
use aos_format::offset::{Offset, Stride};
use aos_format::record::{Draft, StreamId, VOLATILE_ENVIRONMENT, Volatile};
use std::path::Path;
use std::sync::Arc;

/// Who writes groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// No threads: whoever waits, flushes, or finds the queue full writes.
    Inline,
    /// One thread writes, another prepares segments and keeps the catalogue; a waiting caller that finds the writer idle
    /// takes its role.
    Threaded,
}

/// How to open a log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of each segment of a new log; an existing one keeps its own.
    pub stride: Stride,
    /// Name of a new log; an existing one keeps its own.
    pub log_id: LogId,
    /// Whether to make a new log where there is none.
    pub create: bool,
    /// Who writes groups.
    pub mode: Mode,
    /// Records between two commits of the catalogue.
    pub catalogue_every_records: u64,
    /// Bytes between two commits of the catalogue.
    pub catalogue_every_bytes: u64,
    /// Most records in the queue; appends wait beyond it.
    pub queue_records_max: u64,
    /// Most bytes in the queue; appends wait beyond it. One larger record passes an empty queue.
    pub queue_bytes_max: u64,
    /// Environment of this opening as canonical JSON; kept beside the OPEN record where it fits.
    pub environment: Option<Vec<u8>>,
    /// Wall clock for the OPEN record, nanoseconds since 1970.
    pub wall_ns: i64,
    /// Whether the log seals itself: each segment once it has ended, and the rest when it is idle and when it is closed.
    pub seal: bool,
    /// Version of the writing build, for the OPEN record.
    pub build: String,
    /// Target it was compiled for, for the OPEN record.
    pub target: String,
}

impl Options {
    /// Usual options; `log_id` names the log if it is created.
    pub fn new(log_id: LogId) -> Options {
        Options {
            stride: Stride::DEFAULT,
            log_id,
            create: false,
            mode: Mode::Inline,
            catalogue_every_records: 65_536,
            catalogue_every_bytes: 64 << 20,
            queue_records_max: 16_384,
            queue_bytes_max: 64 << 20,
            environment: None,
            wall_ns: 0,
            seal: false,
            build: String::new(),
            target: String::new(),
        }
    }
}

/// What an opening found and did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// Epoch of this opening, from 1.
    pub epoch: u32,
    /// Whether the log was made.
    pub created: bool,
    /// Everything below is durable, the OPEN record included.
    pub durable: Offset,
    /// What was cut off behind the last valid group.
    pub tail_cut: Option<TailCut>,
    /// What became of the catalogue.
    pub catalogue: CatalogueState,
}

/// One record of [`Log::append_batch`].
#[derive(Clone, Debug)]
pub struct Append {
    /// The record.
    pub draft: Draft,
    /// Its kind.
    pub kind: Kind,
    /// Its number in the stream: the head's plus one.
    pub seq: u64,
}

/// A log open for writing: the only writer there is.
///
/// Appends go through a queue into groups; one write and one sync make a group durable. Everything that is looked up is
/// exact: what is queued, written and folded counts. Dropping a log without [`Log::close`] is like a crash: what was waited
/// for is there at the next opening.
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    // Given back last: dropped after the threads have ended.
    _locks: Vec<Lock>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("path", &self.shared.place.root)
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log at `path` for writing, after whatever happened to it, or makes it.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::NoLog`], [`Error::NotALog`]; [`Error::Finding`] when the log is damaged, has a gap or is
    /// newer than this build: nothing but the catalogue, which is derived, was changed then, read it with [`crate::LogReader`]; [`Error::Disk`].
    pub fn open(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &Options,
    ) -> Result<(Log, Opening), Error> {
        let place = Place::new(disk.clone(), path);
        let recovered = recover(place.clone(), options)?;
        let identity = recovered.identity;
        let (catalogue, catalogue_state) = Catalogue::open(
            &place,
            recovered.segments.clone(),
            identity,
            &recovered.position,
            recovered.created,
        )?;
        let next = recovered.position.next(identity.stride);
        let file = match prepare(&place, identity.stride, identity.stride.segment_start(next)) {
            Ok(file) => file,
            Err(Failure::Clean(error)) => return Err(error),
            Err(Failure::Poison(why)) => return Err(Error::OutcomeUnknown { why }),
        };
        let start = identity.stride.segment_start(next);
        let active = Ahead {
            file: file.clone(),
            start,
            filled: next.0 - start.0,
        };
        let writer = Writer::new(
            identity,
            recovered.epoch,
            &recovered.position,
            file,
            recovered.lock_file,
        );
        let shared = Arc::new(Shared::new(
            place,
            identity,
            recovered.segments,
            catalogue,
            (writer, active),
            recovered.position.end,
            options,
        ));
        // From here on a failure drops the log, which gives everything back.
        let log = Log {
            shared,
            disk,
            _locks: recovered.locks,
        };
        log.write_open(recovered.epoch, recovered.cut.as_ref(), options)?;
        if catalogue_state != (CatalogueState::CaughtUp { records: 0 }) {
            log.shared.keep_catalogue();
        }
        if let Some(threads) = &log.shared.threads {
            threads.start(&log.shared);
        }
        let opening = Opening {
            epoch: recovered.epoch,
            created: recovered.created,
            durable: log.durable(),
            tail_cut: recovered.cut,
            catalogue: catalogue_state,
        };
        Ok((log, opening))
    }

    /// Step 5 of an opening: the OPEN record, as a group of its own.
    fn write_open(
        &self,
        epoch: u32,
        cut: Option<&TailCut>,
        options: &Options,
    ) -> Result<(), Error> {
        let shared = &*self.shared;
        let cell = shared.cell(StreamId::CONTROL)?;
        let head = self.head(StreamId::CONTROL)?;
        let open = Event::Open(Open {
            epoch: epoch.into(),
            cut_start: cut.map_or(0, |cut| cut.start.0),
            cut_len: cut.map_or(0, |cut| cut.len),
            cut_digest: cut.map(|cut| cut.sha256),
            build: options.build.clone(),
            target: options.target.clone(),
        });
        let previous = head.map_or(Digest::ZERO, |head| head.digest);
        let mut draft = Draft::new(StreamId::CONTROL, open.encode(&previous));
        draft.lane_seq = head
            .map_or(0, |head| head.lane_seq)
            .checked_add(1)
            .ok_or(Error::Exhausted { what: "numbers" })?;
        draft.wall_ns = options.wall_ns;
        if let Some(environment) = &options.environment {
            draft.volatile.push(Volatile {
                tag: VOLATILE_ENVIRONMENT,
                bytes: environment.clone(),
            });
        }
        let limit = shared.identity.stride.record_limit();
        let mut body = draft.encode();
        if u64::from(body.body_len) > limit {
            draft.volatile.clear();
            body = draft.encode();
        }
        if u64::from(body.body_len) > limit {
            return Err(Error::TooLarge {
                stream: StreamId::CONTROL,
                found: body.body_len.into(),
                limit,
            });
        }
        let record = {
            let mut state = cell.state.lock();
            state.queued.seq += 1;
            state.queued.lane_seq = draft.lane_seq;
            state.queued.tip = Tip::Bytes(draft.det);
            Encoded {
                cell: cell.clone(),
                kind: Kind::Open,
                seq: state.queued.seq,
                lane_seq: state.queued.lane_seq,
                body,
            }
        };
        let mut baton = shared.baton.lock();
        let writer = baton.as_mut().expect("a new log has its writer");
        writer.write_alone(shared, &record)
    }

    // --- ending ----------------------------------------------------------------------------------------------------

    /// Writes what is queued, proves it with an empty group, and brings the catalogue up to date.
    ///
    /// # Errors
    /// As [`Log::flush`]; [`Error::Catalogue`] when only the catalogue failed, which the next opening makes again.
    pub fn close(self) -> Result<Offset, Error> {
        let shared = &*self.shared;
        if let Some(threads) = &shared.threads {
            threads.stop();
        }
        self.drain()?;
        shared.seal(true)?;
        self.drain()?;
        {
            let mut baton = shared.baton.lock();
            let writer = baton.as_mut().expect("only dropping the log takes it away");
            writer.write_empty(shared)?;
            writer.sync_lock(shared)?;
        }
        if let Some(error) = shared.catalogue_fault() {
            return Err(error);
        }
        shared.catalogue.commit(self.durable())?;
        match shared.take_failure() {
            Some(error) => Err(error),
            None => Ok(self.durable()),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(threads) = &self.shared.threads {
            threads.stop();
        }
        // Nothing can be written any more, whoever still holds what is shared.
        *self.shared.baton.lock() = None;
    }
}
