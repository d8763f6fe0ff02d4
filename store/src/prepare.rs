//! Segment files: made ahead, filled ahead.
//!
//! ```text
//! segment: |--- groups ---|--- zeros written ahead ---|--- hole ---|
//!                       tail                       filled
//! ```
//!
//! Groups overwrite zeros, so that a sync has no blocks to allocate and no metadata to write. The writer writes zeros itself
//! where it must; in threaded mode the keeper does so before, and syncs them. Invariant: bytes below `filled` are the writer's,
//! and nobody writes zeros there any more; `filled` grows under one lock, after the zeros were written.

use crate::error::Error;
use crate::place::{Place, wrong_length};
use crate::shared::Shared;
use aos_disk::{Error as DiskError, File, Kind as DiskKind, OpenMode};
use aos_format::offset::{Offset, Stride, segment_file_name};
use std::sync::Arc;

/// Why a group could not be written.
pub(crate) enum Failure {
    /// Met before anything was written; the log stays usable.
    Clean(Error),
    /// Nothing is known about what was written: the writer stops.
    Poison(String),
}

/// Errors met while preparing harm nothing that was written, unless names may be lost.
fn clean(error: DiskError) -> Failure {
    Failure::Clean(error.into())
}

pub(crate) fn poison(error: DiskError) -> Failure {
    Failure::Poison(error.to_string())
}

/// Makes sure that the segment at `start` is there, and opens it.
pub(crate) fn prepare(
    place: &Place,
    stride: Stride,
    start: Offset,
) -> Result<Arc<dyn File>, Failure> {
    let path = place.segment(start);
    match place.disk.open(&path, OpenMode::ReadWrite) {
        Ok(file) => {
            let len = file.len().map_err(clean)?;
            if len != stride.bytes() {
                return Err(Failure::Clean(wrong_length(start, stride, len).into()));
            }
            return Ok(file);
        }
        Err(error) if error.kind() == DiskKind::NotFound => {}
        Err(error) => return Err(clean(error)),
    }
    let temporary = place
        .segments()
        .join(format!("{}.tmp", segment_file_name(start)));
    if place.disk.exists(&temporary).map_err(clean)? {
        place.disk.remove(&temporary).map_err(clean)?;
    }
    let file = place
        .disk
        .open(&temporary, OpenMode::CreateNew)
        .map_err(clean)?;
    file.set_len(stride.bytes()).map_err(clean)?;
    file.sync_all().map_err(clean)?;
    drop(file);
    place.disk.rename(&temporary, &path).map_err(clean)?;
    // Whether the name is durable is unknown when this fails, and a second try would prove nothing.
    place.disk.sync_dir(&place.segments()).map_err(poison)?;
    place.disk.open(&path, OpenMode::ReadWrite).map_err(clean)
}

/// Smallest and largest step in which zeros are written ahead of the tail.
const FILL_MIN: u64 = 256 << 10;
const FILL_MAX: u64 = 1 << 20;

/// Writes zeros into `[filled, need)` of a segment and some more, so that the group to come only overwrites blocks that
/// the file system has already given. Returns the new bound.
pub(crate) fn fill(
    file: &dyn File,
    start: Offset,
    stride: Stride,
    filled: u64,
    need: u64,
) -> Result<u64, Failure> {
    assert!(need <= stride.bytes());
    if need <= filled {
        return Ok(filled);
    }
    let step = filled.clamp(FILL_MIN, FILL_MAX);
    let to = need.max(filled + step).min(stride.bytes());
    let zeros = vec![0; (to - filled) as usize];
    let mut written = file.write_all_at(&zeros, filled).map(|()| to);
    if to > need && matches!(&written, Err(error) if error.kind() == DiskKind::Full) {
        // There may be room for what is needed now, if not for more.
        let least = (need - filled) as usize;
        written = file.write_all_at(&zeros[..least], filled).map(|()| need);
    }
    match written {
        Ok(to) => Ok(to),
        Err(error) if error.kind() == DiskKind::Full => Err(Failure::Clean(Error::Full {
            at: start.plus(filled),
            need: need - filled,
            source: Arc::new(error),
        })),
        Err(error) => Err(poison(error)),
    }
}

/// A segment that is filled with zeros ahead of the tail.
#[derive(Clone)]
pub(crate) struct Ahead {
    pub(crate) file: Arc<dyn File>,
    pub(crate) start: Offset,
    /// Bytes from its start on that were written or zeroed.
    pub(crate) filled: u64,
}

impl Ahead {
    /// Where the zeros end.
    pub(crate) fn end(&self) -> Offset {
        self.start.plus(self.filled)
    }

    /// As [`fill`], up to `need` bytes of it.
    pub(crate) fn fill(&mut self, stride: Stride, need: u64) -> Result<(), Failure> {
        self.filled = fill(&*self.file, self.start, stride, self.filled, need)?;
        Ok(())
    }
}

/// What is filled: the segment that is written to, and the next one once it is there.
pub(crate) struct Filled {
    pub(crate) active: Ahead,
    pub(crate) next: Option<Ahead>,
}

/// Bytes that the keeper writes at a time: what a group may have to wait for.
const KEEPER_STEP: u64 = 1 << 20;
/// Most that the keeper keeps filled: as much as the log is long, so that a small log stays small.
const KEPT_MAX: u64 = 16 << 20;

/// How far zeros should be written when the log ends at `tail`: where the keeper is sent, and how far it goes.
pub(crate) fn wanted(tail: Offset) -> (Offset, Offset) {
    let kept = tail.0.min(KEPT_MAX);
    (tail.plus(kept), tail.plus(2 * kept))
}

impl Filled {
    /// Where the zeros end, which follow one another from the tail on.
    pub(crate) fn end(&self, stride: Stride) -> Offset {
        match &self.next {
            Some(next) if self.active.filled == stride.bytes() => next.end(),
            _ => self.active.end(),
        }
    }

    /// Writes the next zeros up to `to`. Says which segment has them now; `None` when there are enough, or no segment.
    fn step(&mut self, stride: Stride, to: Offset) -> Result<Option<Offset>, Failure> {
        let ahead = if self.active.filled < stride.bytes() {
            &mut self.active
        } else if let Some(next) = &mut self.next {
            next
        } else {
            return Ok(None);
        };
        let to = to.min(stride.segment_end(ahead.start));
        if ahead.end() >= to {
            return Ok(None);
        }
        let len = KEEPER_STEP.min(to.0 - ahead.end().0);
        let zeros = vec![0; len as usize];
        match ahead.file.write_all_at(&zeros, ahead.filled) {
            Ok(()) => ahead.filled += len,
            // The writer meets the full disk when it needs the room.
            Err(error) if error.kind() == DiskKind::Full => return Ok(None),
            Err(error) => return Err(poison(error)),
        }
        Ok(Some(ahead.start))
    }
}

impl Shared {
    /// Fills segments with zeros up to `to`, and syncs them: what the keeper does ahead of the writer.
    pub(crate) fn fill_ahead(&self, to: Offset) {
        if let Err(Failure::Poison(why)) = self.try_fill_ahead(to) {
            self.set_poison(&why);
        }
    }

    fn try_fill_ahead(&self, to: Offset) -> Result<(), Failure> {
        let stride = self.identity.stride;
        // A handle of its own: a failed sync is told once to each, and the writer must be told too.
        let mut own: Option<(Offset, Arc<dyn File>)> = None;
        loop {
            let stepped = {
                let mut filled = self.filled.lock();
                if self.poison().is_some() {
                    return Ok(());
                }
                let end = filled.active.start.plus(stride.bytes());
                if to > end && filled.active.filled == stride.bytes() && filled.next.is_none() {
                    filled.next = Some(self.next_segment(end)?);
                }
                let stepped = filled.step(stride, to)?;
                // Where the disk is full nobody comes back before the log has gone on.
                let zeros = filled
                    .end(stride)
                    .max(if stepped.is_none() { to } else { Offset(0) });
                self.filled_up_to(zeros);
                stepped
            };
            let Some(start) = stepped else {
                return Ok(());
            };
            let handle = match own.take_if(|(at, _)| *at == start) {
                Some(own) => own,
                None => {
                    let path = self.place.segment(start);
                    let file = self.place.disk.open(&path, OpenMode::ReadWrite);
                    (start, file.map_err(clean)?)
                }
            };
            handle.1.sync_data().map_err(poison)?;
            own = Some(handle);
        }
    }

    /// Prepares the segment at `start`, of which nothing is filled yet.
    pub(crate) fn next_segment(&self, start: Offset) -> Result<Ahead, Failure> {
        Ok(Ahead {
            file: self.prepare(start)?,
            start,
            filled: 0,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::log::{Append, Log, Options};
    use aos_disk::sim::{Fault, Persistence, SimDisk};
    use aos_format::digest::{Digest, LogId, RunId};
    use aos_format::event::{Event, Mark};
    use aos_format::frame::Kind;
    use aos_format::record::{Draft, StreamId};
    use std::path::Path;
    use std::sync::atomic::Ordering;

    const STRIDE: u64 = 4 << 20;

    fn open(disk: &SimDisk) -> Log {
        let options = Options {
            create: true,
            stride: Stride::from_log2(22).unwrap(),
            ..Options::new(LogId([3; 16]))
        };
        Log::open(Arc::new(disk.clone()), Path::new("a.aos"), &options)
            .unwrap()
            .0
    }

    fn append(log: &Log, seq: u64, len: usize) -> Result<(), Error> {
        let mark = Event::Mark(Mark {
            what: "x".repeat(len),
            activation: String::new(),
        });
        let stream = StreamId::run(RunId([1; 16]));
        let draft = Draft::new(stream, mark.encode(&Digest::ZERO));
        let item = Append {
            draft,
            kind: Kind::Mark,
            seq,
        };
        let ticket = log.append(item.draft, item.kind, item.seq)?;
        log.wait(ticket).map(drop)
    }

    #[test]
    fn zeros_are_written_ahead_into_the_next_segment_too_and_over_no_group() {
        let disk = SimDisk::new();
        let log = open(&disk);
        append(&log, 1, 100).unwrap();
        let before = disk.allocated();
        log.shared.fill_ahead(Offset(STRIDE + 100_000));
        assert!(disk.allocated() >= before + STRIDE - (1 << 20));
        assert_eq!(
            log.shared.filled.lock().end(log.shared.identity.stride),
            Offset(STRIDE + 100_000)
        );
        for seq in 2..60 {
            append(&log, seq, 100_000).unwrap();
            log.shared.fill_ahead(log.durable().plus(3 << 20));
        }
        assert!(log.durable().0 > STRIDE);
        log.close().unwrap();
        let report = crate::check(Arc::new(disk), Path::new("a.aos")).unwrap();
        assert_eq!((report.findings, report.records), (Vec::new(), 60));
    }

    #[test]
    fn zeros_that_fail_stop_the_writer() {
        let mut struck = Vec::new();
        for ahead in 0..4 {
            let disk = SimDisk::new();
            let log = open(&disk);
            append(&log, 1, 100).unwrap();
            disk.fail_op(disk.ops() + ahead, Fault::Io, Persistence::Once);
            log.shared.fill_ahead(Offset(1 << 20));
            let hit = disk.struck();
            assert_eq!(log.shared.poison().is_some(), !hit.is_empty(), "{hit:?}");
            if !hit.is_empty() {
                assert!(matches!(append(&log, 2, 100), Err(Error::Poisoned { .. })));
            }
            struck.extend(hit);
        }
        assert!(
            struck.len() >= 2,
            "the write and the sync of it: {struck:?}"
        );
    }

    #[test]
    fn a_disk_without_room_for_zeros_stops_nobody() {
        let disk = SimDisk::new();
        let log = open(&disk);
        append(&log, 1, 100).unwrap();
        disk.set_capacity(Some(disk.allocated() + (1 << 20) + 8192));
        log.shared.fill_ahead(Offset(3 << 20));
        let sent = log.shared.zeros_end.load(Ordering::Acquire);
        assert_eq!((log.shared.poison(), sent), (None, 3 << 20));
        append(&log, 2, 100_000).unwrap();
    }

    #[test]
    fn a_small_log_is_filled_a_little_ahead_and_a_long_one_more() {
        assert_eq!(wanted(Offset(1000)), (Offset(2000), Offset(3000)));
        let long = Offset(1 << 30);
        assert_eq!(wanted(long), (long.plus(16 << 20), long.plus(32 << 20)));
    }
}
