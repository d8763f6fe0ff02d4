//! Reading a log from any process: segments and LOCK only, never the catalogue, never a lock, never a change.
//!
//! A reader may race a writer. What it relies on: the durable word is published after the bytes it speaks of are synced,
//! so bytes read after the word and below it must be whole. Above it a half-written group is possible, and while the
//! writer's lock is held it ends what can be read. Without a writer the word and the bytes are taken again until two passes
//! agree.

use crate::buffer::Aligned;
use crate::error::{Error, Finding, FindingKind, code};
use crate::fold::{Nothing, Rows, Tips};
use crate::group::{Group, Position, Step, Stop, Why};
use crate::lock::{self, LockState};
use crate::near::Window;
use crate::place::{Place, SegmentFile, Segments, missing_segment};
use crate::pruned::Pruned;
use crate::recovery::{check_files, identity_of_segments, list_root};
use crate::scan::{Groups, Next, Resolved, Scan};
use crate::stored::{StoredRecord, read_frame};
use crate::tail::{self, End, TailState};
use crate::walk::Walker;
use aos_disk::Disk;
use aos_format::controls::{self, Control};
use aos_format::offset::{Offset, segment_file_name};
use aos_format::segment::{DurableWord, Identity, SEGMENT_HEADER_LEN, SegmentHeader};
use parking_lot::Mutex;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Passes over a log that changes under the reader, before the last one is taken as it is.
const PASSES_MAX: usize = 1000;

/// A segment of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentInfo {
    /// Offset of its first byte.
    pub start: Offset,
    /// Name of its file below `segments/`.
    pub file: String,
    /// Length of its file in bytes.
    pub length: u64,
    /// Epoch of its first group; `None` for a spare, or when the header cannot be read.
    pub epoch: Option<u32>,
}

/// Where a log ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tail {
    /// End of the last valid group.
    pub end: Offset,
    /// Its number; 0 for an empty log.
    pub group: u64,
    /// Its epoch.
    pub epoch: u32,
    /// End of what is proven to be durable.
    pub durable: Offset,
    /// Whether the last group is not proven yet.
    pub pending: bool,
    /// Whether a writer had the log at that moment.
    pub writer_alive: bool,
    /// What stands behind the last group.
    pub state: TailState,
}

/// The groups of one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentWalk {
    /// Valid groups, in order.
    pub groups: Vec<Group>,
    /// Where they end without a SEGMENT_END: what stands there, unless it is zeros.
    pub finding: Option<Finding>,
}

/// What a log contains, folded by a reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    /// The rows: runs, definitions, seeds, checkpoints. The pending group counts.
    pub rows: Rows,
    /// End of the last group folded.
    pub end: Offset,
    /// Why the fold ended before the end of the log, or that the tail has no proof.
    pub finding: Option<Finding>,
}

/// A log opened for reading.
pub struct LogReader {
    place: Place,
    identity: Identity,
    segments: Arc<Segments>,
    /// The newest tail seen.
    tail: Mutex<Option<Tail>>,
    index: Mutex<Option<Indexed>>,
}

/// An index, and what the log looked like when it was made.
struct Indexed {
    index: Arc<Index>,
    position: Position,
    word: Option<DurableWord>,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader")
            .field("path", &self.place.root)
            .finish_non_exhaustive()
    }
}

impl LogReader {
    /// Opens the log at `path` for reading.
    ///
    /// # Errors
    /// [`Error::NoLog`] when nothing is there, or a log that was never begun; [`Error::NotALog`]; [`Error::Finding`] when
    /// neither LOCK nor a segment says which log this is, or a newer version wrote it; [`Error::Disk`].
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<LogReader, Error> {
        LogReader::admit(disk, path, false)
    }

    /// Opens what is left of a log: with `despite` also one whose PRUNED is damaged, as if there were none.
    pub(crate) fn admit(
        disk: Arc<dyn Disk>,
        path: &Path,
        despite: bool,
    ) -> Result<LogReader, Error> {
        let place = Place::new(disk, path);
        let none = || Error::NoLog {
            path: path.to_owned(),
        };
        if !place.disk.exists(path)? {
            return Err(none());
        }
        let names = list_root(&place)?;
        if !names
            .iter()
            .any(|name| name == "LOCK" || name == "segments")
        {
            return Err(Error::not_a_log(path, "it has neither LOCK nor segments"));
        }
        let identity = match lock::read(&place)? {
            LockState::Valid(identity, _) => identity,
            LockState::Missing | LockState::Garbled(_) => {
                identity_of_segments(&place, &place.list()?)?.ok_or_else(none)?
            }
        };
        let segments = match Segments::open(place.clone(), identity, false) {
            Err(Error::Finding(finding)) if despite && finding.kind == FindingKind::Corruption => {
                Segments::bare(place.clone(), identity.stride, None)
            }
            segments => segments?,
        };
        let segments = Arc::new(segments);
        Ok(LogReader {
            place,
            identity,
            segments,
            tail: Mutex::new(None),
            index: Mutex::new(None),
        })
    }

    /// Who the log is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// What the log keeps of a beginning that was pruned; `None` for a log that begins at offset 0.
    pub fn pruned(&self) -> Option<Arc<Pruned>> {
        self.segments.pruned()
    }

    /// Directory of the log.
    pub fn path(&self) -> &Path {
        &self.place.root
    }

    /// How far the log is said to be synced; `None` when LOCK is lost, garbled or has no word yet.
    ///
    /// # Errors
    /// [`Error::Finding`] when a newer version wrote LOCK, or it is another log's; [`Error::Disk`].
    pub fn durable_word(&self) -> Result<Option<DurableWord>, Error> {
        match lock::read(&self.place)? {
            LockState::Valid(identity, word) if identity == self.identity => Ok(word),
            LockState::Valid(identity, _) => Err(Finding {
                kind: FindingKind::Corruption,
                code: code::DAMAGED,
                offset: Offset(0),
                length: None,
                file: "LOCK".into(),
                expected: format!("log {}", self.identity.log_id),
                found: format!("log {}", identity.log_id),
            }
            .into()),
            LockState::Garbled(bytes) => {
                Ok(DurableWord::newest(&bytes, self.identity.log_id.salt()))
            }
            LockState::Missing => Ok(None),
        }
    }

    /// Whether somebody has the log open for writing at this moment.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn writer_alive(&self) -> Result<bool, Error> {
        Ok(self.place.disk.is_locked(&self.place.lock())?)
    }

    /// The segments there are, by offset.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn segments(&self) -> Result<Vec<SegmentInfo>, Error> {
        let mut infos = Vec::new();
        for start in self.segments.list()?.starts {
            let (length, epoch) = match self.segments.file(start)? {
                SegmentFile::Present(file) => {
                    let mut header = [0; SEGMENT_HEADER_LEN as usize];
                    file.read_exact_at(&mut header, 0)?;
                    let epoch = SegmentHeader::decode(&header).ok().map(|h| h.epoch);
                    (self.identity.stride.bytes(), epoch)
                }
                SegmentFile::WrongLength(found) => (found, None),
                SegmentFile::Missing => continue,
            };
            infos.push(SegmentInfo {
                start,
                file: segment_file_name(start),
                length,
                epoch,
            });
        }
        Ok(infos)
    }

    /// The valid groups of the segment at `start`, judged by themselves: whether they continue the segment before is for
    /// [`LogReader::scan`] and checks.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn walk(&self, start: Offset) -> Result<SegmentWalk, Error> {
        let stride = self.identity.stride;
        let mut walker = self.walker();
        let mut position = self.segments.position(start);
        let mut groups = Vec::new();
        loop {
            match walker.next_group(&position)? {
                Step::Group(group) => {
                    position = group.position();
                    groups.push(group);
                    if position.ended {
                        return Ok(SegmentWalk {
                            groups,
                            finding: None,
                        });
                    }
                }
                Step::Stop(stop) => {
                    let clean = stop.why == Why::Empty && walker.last_nonzero(stop.p)?.is_none();
                    return Ok(SegmentWalk {
                        groups,
                        finding: (!clean).then(|| stop.finding(stride)),
                    });
                }
            }
        }
    }

    /// A copy of the bytes of `range`, which must lie in one segment, aligned to 16 bytes where its start is.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Finding`] when the segment is missing or of another length, [`Error::Disk`].
    pub fn read_range(&self, range: Range<u64>) -> Result<Aligned, Error> {
        let mut bytes = Aligned::default();
        self.read_range_into(range, &mut bytes)?;
        Ok(bytes)
    }

    /// As [`LogReader::read_range`], into memory that was used before; after an error its bytes are of no use.
    ///
    /// # Errors
    /// As [`LogReader::read_range`].
    pub fn read_range_into(&self, range: Range<u64>, bytes: &mut Aligned) -> Result<(), Error> {
        let end = self.identity.stride.segment_end(Offset(range.start));
        if range.start > range.end || range.end > end.0 {
            return Err(Error::invalid(format!(
                "bytes {} to {} do not lie in one segment",
                range.start, range.end
            )));
        }
        *bytes = std::mem::take(bytes).reused((range.end - range.start) as usize);
        self.segments.fill(Offset(range.start), bytes)
    }

    pub(crate) fn files(&self) -> &Arc<Segments> {
        &self.segments
    }

    pub(crate) fn walker(&self) -> Walker {
        Walker::new(self.segments.clone(), self.identity)
    }

    /// Where the log ends now, and what stands there.
    ///
    /// # Errors
    /// [`Error::Disk`]; faults of the log are a [`TailState`].
    pub fn tail(&self) -> Result<Tail, Error> {
        let mut before = None;
        for _ in 0..PASSES_MAX {
            let word = self.durable_word()?;
            let tail = self.tail_once()?;
            // Zeros where the next group belongs were the end when they were read, and a word that is still the same says that
            // nobody has gone on since. What is not clean may be half of what a writer was at: two passes must agree.
            let clean = tail.state == TailState::Clean
                && (tail.writer_alive || self.durable_word()? == word);
            if clean || before.as_ref() == Some(&tail) {
                *self.tail.lock() = Some(tail.clone());
                return Ok(tail);
            }
            before = Some(tail);
        }
        before.ok_or_else(|| Error::invalid("no pass over the log was made"))
    }

    fn tail_once(&self) -> Result<Tail, Error> {
        let stride = self.identity.stride;
        let writer_alive = self.writer_alive()?;
        let word = self.durable_word()?;
        let listing = self.segments.list()?;
        let mut walker = self.walker();
        let promised = word.map_or(Offset(0), |word| word.durable);
        let (end, lies) = tail::find_end_from_word(&mut walker, word.as_ref())?;
        let state = if let Some(finding) = lies {
            TailState::of(finding)
        } else if let Err(error) = check_files(&self.segments, &listing) {
            match error {
                Error::Finding(finding) => TailState::of(*finding),
                error => return Err(error),
            }
        } else if writer_alive && promised <= end.position.end {
            TailState::Clean
        } else {
            tail::judge(&mut walker, &listing, stride, word.as_ref(), &end)?
        };
        let state = match state {
            TailState::Clean if word.is_none() && end.position.group > 0 && !writer_alive => {
                match lock::read(&self.place)? {
                    LockState::Missing | LockState::Garbled(_) => {
                        TailState::Unproven(self.unproven(&end))
                    }
                    // A power cut outran the words: the last group is pending, nothing is lost.
                    LockState::Valid(..) => TailState::Clean,
                }
            }
            state => state,
        };
        let proven = match end.last.as_slice() {
            [.., last] if controls::on(Control::TrustLastGroup) => last.end,
            [before, _] => before.end,
            _ => Offset(0),
        };
        let pruned = self.segments.start().end;
        let durable = promised.max(proven).max(pruned).min(end.position.end);
        Ok(Tail {
            end: end.position.end,
            group: end.position.group,
            epoch: end.position.epoch,
            durable,
            pending: durable < end.position.end,
            writer_alive,
            state,
        })
    }

    fn unproven(&self, end: &End) -> Finding {
        Finding {
            kind: FindingKind::TailUnproven,
            code: code::UNPROVEN,
            offset: end.last.last().map_or(Offset(0), |group| group.start),
            length: None,
            file: "LOCK".into(),
            expected: "a durable word that covers the last group".into(),
            found: "no LOCK that can be read".into(),
        }
    }

    /// All records from `from` on, in order of offset; of a pruned beginning those that are kept. Ends after the last valid group; where that is not a clean end, the
    /// last item is an [`Error::Finding`] that says why (for a torn tail of kind `TailUnproven`).
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn scan(&self, from: Offset) -> Result<Scan<'_>, Error> {
        let stride = self.identity.stride;
        let listing = self.segments.list()?;
        let start = stride.segment_start(from);
        let beyond = listing.starts.last().is_none_or(|last| start > *last);
        let done = beyond && start > listing.first;
        Ok(Scan::new(self, from, done))
    }

    /// All valid groups from the start of segment `start` on, with the same end as [`LogReader::scan`].
    pub(crate) fn groups(&self, start: Offset) -> Groups<'_> {
        Groups::new(self, self.segments.position(start))
    }

    /// What the log contains. Kept, and carried on from where it was when the log has grown.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn index(&self) -> Result<Arc<Index>, Error> {
        let mut kept = self.index.lock();
        let word = self.durable_word()?;
        let (position, mut rows) = match kept.as_ref() {
            Some(before) => {
                // A look at the next frame's place, no more.
                let mut walker = self.walker();
                walker.read_ahead_to(before.position.end);
                let next = walker.next_group(&before.position)?;
                if before.word == word && matches!(next, Step::Stop(_)) {
                    return Ok(before.index.clone());
                }
                (before.position, before.index.rows.clone())
            }
            None => (self.segments.start(), self.segments.rows()),
        };
        let mut groups = Groups::new(self, position);
        let mut tips = Tips::default();
        let finding = loop {
            match groups.next()? {
                Next::Group(group) => {
                    for frame in group.records() {
                        rows.fold_many(&Nothing, frame, groups.walker.body(frame)?, &mut tips)?;
                    }
                }
                Next::End(finding) => break finding,
            }
        };
        tips.settle(&mut rows);
        let index = Arc::new(Index {
            rows,
            end: groups.position.end,
            finding,
        });
        *kept = Some(Indexed {
            index: index.clone(),
            position: groups.position,
            word,
        });
        Ok(index)
    }

    /// The record at `offset`; its CRCs are checked. Whether it is pending is as of the reader's last look at the tail.
    ///
    /// # Errors
    /// [`Error::NoRecord`] when none stands there; [`Error::Finding`], [`Error::Disk`].
    pub fn read(&self, offset: Offset) -> Result<StoredRecord, Error> {
        self.read_near(offset, &mut Window::default())
    }

    /// As [`LogReader::read`], for who follows links: `window` keeps bytes from one record to the next.
    ///
    /// # Errors
    /// As [`LogReader::read`].
    pub fn read_near(&self, offset: Offset, window: &mut Window) -> Result<StoredRecord, Error> {
        let known = self
            .tail
            .lock()
            .as_ref()
            .map(|tail| (tail.end, tail.durable));
        let (end, durable) = match known {
            Some(known) if offset < known.0 => known,
            _ => self.tail().map(|tail| (tail.end, tail.durable))?,
        };
        let salt = self.identity.log_id.salt();
        let record = match window.record(&self.segments, salt, offset, end) {
            Some(record) => record,
            None => read_frame(&self.segments, salt, offset, end)?,
        };
        if offset < durable {
            return Ok(record);
        }
        let word = self.durable_word()?;
        Ok(if word.is_some_and(|word| offset < word.durable) {
            record
        } else {
            record.into_pending()
        })
    }

    /// Judges a stop of a walk at `position`: `None` when the walk can go on after all.
    pub(crate) fn resolve(
        &self,
        walker: &mut Walker,
        position: &Position,
    ) -> Result<Resolved, Error> {
        let stride = self.identity.stride;
        let mut before: Option<(Option<DurableWord>, Stop)> = None;
        for _ in 0..PASSES_MAX {
            let alive = self.writer_alive()?;
            let word = self.durable_word()?;
            walker.refresh();
            let stop = match walker.next_group(position)? {
                Step::Group(group) => return Ok(Resolved::Group(group)),
                Step::Stop(stop) => stop,
            };
            let promised = word.map_or(Offset(0), |word| word.durable);
            if alive && promised <= position.end {
                return Ok(Resolved::End(None));
            }
            if alive {
                return Ok(Resolved::End(Some(stop.finding(stride))));
            }
            let pass = (word, stop);
            if before.as_ref() == Some(&pass) {
                let finding = self.finding_at(walker, position, pass.clone())?;
                // A writer that opened the log meanwhile has changed what was judged.
                walker.refresh();
                let unchanged = !self.writer_alive()?
                    && self.durable_word()? == pass.0
                    && matches!(walker.next_group(position)?, Step::Stop(stop) if stop == pass.1);
                if finding.is_none() || unchanged {
                    return Ok(Resolved::End(finding));
                }
                before = None;
                continue;
            }
            before = Some(pass);
        }
        Ok(Resolved::End(before.map(|(_, stop)| stop.finding(stride))))
    }

    /// What is wrong at the end of a log that nobody writes, if anything.
    fn finding_at(
        &self,
        walker: &mut Walker,
        position: &Position,
        (word, stop): (Option<DurableWord>, Stop),
    ) -> Result<Option<Finding>, Error> {
        let stride = self.identity.stride;
        let listing = self.segments.list()?;
        if let Some(finding) = listing.fault(stride) {
            // A hole elsewhere is met by whoever walks into it.
            if stop.why == Why::Missing {
                return Ok(Some(missing_segment(stop.p, stride)));
            }
            if finding.kind != FindingKind::Gap {
                return Ok(Some(finding));
            }
        }
        let end = End {
            position: *position,
            stop,
            last: Vec::new(),
        };
        let state = tail::judge(walker, &listing, stride, word.as_ref(), &end)?;
        Ok(state.finding().cloned())
    }
}
