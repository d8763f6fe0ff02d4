//! Pruning: segments at the beginning of a log go, once archives hold their records. `docs/format/pruned.md` says what may
//! go, what is kept, and what a crash leaves.
//!
//! ```text
//! 1  PRUNED.tmp, synced and read back    the log as it was
//! 2  renamed to PRUNED, directory synced the segments below are looked at by nobody
//! 3  segments removed, directory synced  what a crash leaves of them the next prune removes
//! ```

use crate::buffer::Aligned;
use crate::error::{Error, Finding, FindingKind, code};
use crate::fold::{Nothing, Rows, RunRow};
use crate::group::{Position, Step};
use crate::place::{Bytes, Place};
use crate::pruned::{LEN_MAX, PRUNED, Pruned, PrunedArchive, read_bytes};
use crate::reader::LogReader;
use crate::recovery::{take_locks, write_new};
use crate::stored::{ReadFrom, StoredRecord};
use crate::tail::{End, TailState, judge};
use aos_disk::Disk;
use aos_format::digest::{Digest, RunId};
use aos_format::event::{Event, Seal};
use aos_format::frame::{FrameHeader, Kind};
use aos_format::leaf::leaf;
use aos_format::merkle::Peaks;
use aos_format::offset::{Offset, Stride, segment_file_name};
use aos_format::record::RecordView;
use aos_format::segment::Identity;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What to prune.
pub struct Pruning<'a> {
    /// Nothing at or behind this offset goes.
    pub upto: Offset,
    /// The archives, which the caller has verified.
    pub archives: Vec<PrunedArchive>,
    /// Whether one of them holds a record: with the same leaf and, unless it is kept for ever (the second argument), the same
    /// bytes.
    #[allow(clippy::type_complexity)]
    pub holds: &'a mut dyn FnMut(&StoredRecord, bool) -> Result<bool, Error>,
    /// Says what would be done, and changes nothing.
    pub dry_run: bool,
}

/// Why pruning does not go further.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoppedBy {
    /// First segment that stays.
    pub segment: Offset,
    /// Where what keeps it stands.
    pub offset: Offset,
    /// What keeps it.
    pub why: String,
}

/// What was pruned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PruneReport {
    /// Which log it is.
    pub identity: Identity,
    /// The pruned point before.
    pub from: Offset,
    /// The pruned point now.
    pub end: Offset,
    /// Segment files removed.
    pub segments: Vec<String>,
    /// Records that are gone from the log.
    pub records: u64,
    /// Runs that are gone, those of earlier prunings included; their rows are kept.
    pub runs: u64,
    /// Records of the pruned part that are kept, in PRUNED.
    pub kept: u64,
    /// Length of PRUNED.
    pub pruned_len: u64,
    /// SHA-256 of PRUNED.
    pub pruned_sha256: Digest,
    /// Why it does not go further, unless all ended segments went.
    pub stopped: Option<StoppedBy>,
}

/// Prunes the log at `path`, which nobody may be writing. The same call goes on where one was broken off.
///
/// # Errors
/// As [`LogReader::open`]; [`Error::Busy`]; [`Error::Finding`] when the log or one of its seals does not hold;
/// [`Error::Invalid`] when PRUNED would be too long; what `holds` says; [`Error::Disk`]: nothing is removed before PRUNED is
/// durable.
pub fn prune(
    disk: Arc<dyn Disk>,
    path: &Path,
    pruning: &mut Pruning<'_>,
) -> Result<PruneReport, Error> {
    LogReader::open(disk.clone(), path)?;
    let place = Place::new(disk.clone(), path);
    let _locks = take_locks(&place)?;
    // What was pruned before is as it is now that nobody else can prune.
    let reader = LogReader::open(disk, path)?;
    let survey = Survey::take(&reader, pruning)?;
    let (end, stopped) = survey.choose(pruning.upto);
    let before = reader.pruned();
    let from = before.as_ref().map_or(Offset(0), |base| base.end());
    let listing = place.list()?;
    let mut report = PruneReport {
        identity: reader.identity(),
        from,
        end: from,
        segments: Vec::new(),
        records: 0,
        runs: 0,
        kept: 0,
        pruned_len: 0,
        pruned_sha256: Digest::ZERO,
        stopped,
    };
    let bytes = match (end, &before) {
        (Some(end), _) => survey.keep(&reader, end, &pruning.archives, &mut report)?,
        // Written again: the name that an earlier process gave it may not be durable.
        (None, Some(_)) if listing.starts.first() < Some(&from) => {
            read_bytes(&place)?.unwrap_or_default()
        }
        (None, _) => {
            if let Some(base) = &before {
                report.describe(base);
            }
            return Ok(report);
        }
    };
    let base = Pruned::decode(&bytes).map_err(|fault| Error::from(fault.finding()))?;
    report.describe(&base);
    let gone = listing.starts.iter().filter(|start| **start < report.end);
    report.segments = gone
        .clone()
        .map(|start| segment_file_name(*start))
        .collect();
    if pruning.dry_run {
        return Ok(report);
    }
    write_new(&place, &place.root, PRUNED, &bytes)?;
    place.disk.sync_dir(&place.root)?;
    if read_bytes(&place)?.as_deref() != Some(&bytes[..]) {
        return Err(Error::invalid(
            "PRUNED does not read back as it was written; no segment was removed",
        ));
    }
    for start in gone {
        place.disk.remove(&place.segment(*start))?;
    }
    place.disk.sync_dir(&place.segments())?;
    Ok(report)
}

impl PruneReport {
    fn describe(&mut self, base: &Pruned) {
        self.end = base.end();
        self.runs = base.gone.len() as u64;
        self.kept = base.frames().len() as u64;
        (self.pruned_sha256, self.pruned_len) = base.file();
    }
}

/// A segment's end, where pruning may end.
struct Boundary {
    position: Position,
    /// The SEAL that ends there and its digest, when there is one.
    seal: Option<(Seal, Digest)>,
}

/// The log as a whole, for choosing what goes.
struct Survey {
    /// By pruned point.
    boundaries: BTreeMap<Offset, Boundary>,
    rows: Rows,
    /// Runs of which an earlier pruning kept records that no archive holds.
    unheld: BTreeSet<RunId>,
    /// The first record that no archive holds.
    missing: Option<(Offset, String)>,
    stride: Stride,
}

impl Survey {
    /// Walks the log to its end.
    fn take(reader: &LogReader, pruning: &mut Pruning<'_>) -> Result<Survey, Error> {
        let (files, stride) = (reader.files(), reader.identity().stride);
        let (mut walker, word) = (reader.walker(), reader.durable_word()?);
        let mut survey = Survey {
            boundaries: BTreeMap::new(),
            rows: files.rows(),
            unheld: BTreeSet::new(),
            missing: None,
            stride,
        };
        let mut position = files.start();
        let mut seals = Vec::new();
        // A group is durable when another follows it, or LOCK says so.
        let mut proven = position.end;
        loop {
            let group = match walker.next_group(&position)? {
                Step::Group(group) => group,
                Step::Stop(stop) => {
                    let last = Vec::new();
                    let end = End {
                        position,
                        stop,
                        last,
                    };
                    let listing = files.list()?;
                    match judge(&mut walker, &listing, stride, word.as_ref(), &end)? {
                        TailState::Damage(finding) | TailState::Gap(finding) => {
                            return Err(finding.into());
                        }
                        _ => break,
                    }
                }
            };
            proven = proven.max(position.end);
            if word.is_some_and(|word| group.end <= word.durable) {
                proven = group.end;
            }
            for frame in group.records() {
                let body = walker.body(frame)?;
                survey.rows.fold(&Nothing, frame, body)?;
                if frame.kind == Kind::Seal as u8 {
                    seals.extend(seal_of(frame, body).map(|seal| (frame.end(), seal)));
                }
                if survey.missing.is_none() && frame.offset < pruning.upto {
                    survey.missing = missing(frame, body, pruning)?;
                }
            }
            position = group.position();
            if group.ends_segment {
                let boundary = Boundary {
                    position,
                    seal: None,
                };
                survey.boundaries.insert(position.next(stride), boundary);
            }
        }
        // Something durable must stand behind.
        survey.boundaries.retain(|end, _| *end < proven);
        for (end, (seal, digest)) in seals {
            if end <= proven
                && let Some(boundary) = survey.boundaries.get_mut(&Offset(seal.end))
            {
                boundary.seal = Some((seal, digest));
            }
        }
        for (frame, body) in reader.pruned().iter().flat_map(|base| base.frames()) {
            if let Some(run) = view_of(frame, body)?.stream().as_run()
                && missing(frame, body, pruning)?.is_some()
            {
                survey.unheld.insert(run);
            }
        }
        Ok(survey)
    }

    /// Whether a run is gone from a log that goes on at `end`: it has ended below, and archives hold it.
    fn is_gone(&self, run: RunId, end: Offset) -> bool {
        let row = self.rows.runs.get(&run);
        row.is_some_and(|row| row.status.is_ended() && row.head < end)
            && !self.unheld.contains(&run)
    }

    /// What keeps the log from being pruned up to `end`.
    fn obstacle(&self, end: Offset, upto: Offset) -> Option<(Offset, String)> {
        if end > upto {
            return Some((upto, "that much is to be kept".into()));
        }
        if let Some((at, what)) = self.missing.as_ref().filter(|(at, _)| *at < end) {
            return Some((*at, what.clone()));
        }
        if self.boundaries.get(&end).is_some_and(|b| b.seal.is_none()) {
            return Some((end, "no seal ends there".into()));
        }
        None
    }

    /// Where to prune to, and what stands behind that.
    fn choose(&self, upto: Offset) -> (Option<Offset>, Option<StoppedBy>) {
        let mut ends = self.boundaries.keys().rev();
        let chosen = ends
            .find(|end| self.obstacle(**end, upto).is_none())
            .copied();
        let behind = self
            .boundaries
            .keys()
            .find(|end| chosen.is_none_or(|chosen| **end > chosen));
        let stopped = behind.and_then(|end| {
            let (offset, why) = self.obstacle(*end, upto)?;
            let last = self.boundaries[end].position.end;
            Some(StoppedBy {
                segment: self.stride.segment_start(Offset(last.0 - 1)),
                offset,
                why,
            })
        });
        (chosen, stopped)
    }

    /// The bytes of PRUNED for a log that goes on at `end`.
    fn keep(
        &self,
        reader: &LogReader,
        end: Offset,
        archives: &[PrunedArchive],
        report: &mut PruneReport,
    ) -> Result<Vec<u8>, Error> {
        let before = reader.pruned();
        let boundary = &self.boundaries[&end];
        let (seal, digest) = boundary
            .seal
            .as_ref()
            .ok_or_else(|| Error::invalid("no seal"))?;
        let mut tree = before
            .as_ref()
            .map_or_else(Peaks::default, |b| b.tree.clone());
        let mut rows = reader.files().rows();
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let mut len = 0;
        let mut keep = |header: &FrameHeader, body: &[u8], run: Option<RunId>| {
            if run.is_some_and(|run| self.is_gone(run, end)) {
                report.records += 1;
            } else {
                len += header.frame_len();
                frames.push([&header.encode()[..], body].concat());
            }
            len <= LEN_MAX
        };
        for (header, body) in before.iter().flat_map(|base| base.frames()) {
            keep(header, body, view_of(header, body)?.stream().as_run());
        }
        let mut walker = reader.walker();
        let mut position = reader.files().start();
        while position.end < boundary.position.end {
            let group = match walker.next_group(&position)? {
                Step::Group(group) => group,
                Step::Stop(stop) => return Err(stop.finding(reader.identity().stride).into()),
            };
            for frame in group.records() {
                let body = walker.body(frame)?;
                rows.fold(&Nothing, frame, body)?;
                let view = view_of(frame, body)?;
                tree.push(leaf(frame, &body[..frame.body_len as usize], &view).hash);
                if !keep(frame, body, view.stream().as_run()) {
                    let why =
                        "what is to be kept of that beginning is longer than 1 GiB: prune less";
                    return Err(Error::invalid(why));
                }
            }
            position = group.position();
        }
        if (tree.size(), tree.hashes()) != (seal.total, &seal.peaks[..]) {
            return Err(Finding {
                kind: FindingKind::Corruption,
                code: code::DAMAGED,
                offset: Offset(seal.start),
                length: Some(seal.end - seal.start),
                file: segment_file_name(reader.identity().stride.segment_start(Offset(seal.start))),
                expected: format!(
                    "{} records, as the seal that ends at {end} says",
                    seal.total
                ),
                found: format!("{} records with root {}", tree.size(), tree.root()),
            }
            .into());
        }
        let mut named = before
            .as_ref()
            .map_or_else(Vec::new, |b| b.archives.clone());
        for archive in archives.iter().filter(|archive| archive.start < end) {
            if !named.iter().any(|known| known.sha256 == archive.sha256) {
                named.push(archive.clone());
            }
        }
        let identity = reader.identity();
        let head = (&tree, *digest);
        let gone = |row: &&RunRow| self.is_gone(row.run, end);
        let gone: Vec<&RunRow> = rows.runs.values().filter(gone).collect();
        let bytes = Pruned::encode(
            identity,
            &boundary.position,
            head,
            &named,
            (&gone, &rows),
            &frames,
        );
        if bytes.len() as u64 > LEN_MAX {
            let why = "what is to be kept of that beginning is longer than 1 GiB: prune less";
            return Err(Error::invalid(why));
        }
        let made = Pruned::decode(&bytes).map_err(|fault| Error::from(fault.finding()))?;
        if made.rows != rows {
            let why =
                "the rows of its runs cannot be kept as they are: a record below cannot be read";
            return Err(Error::invalid(why));
        }
        Ok(bytes)
    }
}

fn view_of<'a>(frame: &FrameHeader, body: &'a [u8]) -> Result<RecordView<'a>, Error> {
    let body = &body[..frame.body_len as usize];
    RecordView::of_frame(frame, body).map_err(|error| {
        Finding {
            kind: FindingKind::Corruption,
            code: code::DAMAGED,
            offset: frame.offset,
            length: Some(frame.frame_len()),
            file: "segments".into(),
            expected: "a record of version 1".into(),
            found: error.to_string(),
        }
        .into()
    })
}

fn seal_of(frame: &FrameHeader, body: &[u8]) -> Option<(Seal, Digest)> {
    let view = view_of(frame, body).ok()?;
    match Event::decode(Kind::Seal, view.det()).ok()? {
        (_, Event::Seal(seal)) => Some((seal, view.digest())),
        _ => None,
    }
}

/// Whether a record stands in no archive: where, and whose it is.
fn missing(
    frame: &FrameHeader,
    body: &[u8],
    pruning: &mut Pruning<'_>,
) -> Result<Option<(Offset, String)>, Error> {
    let view = view_of(frame, body)?;
    let run = view.stream().as_run();
    let bytes = Bytes::Owned(Aligned::copy_of(body));
    let record = StoredRecord::new(*frame, bytes, ReadFrom::Named("segments".into()), false);
    if (pruning.holds)(&record, run.is_none())? {
        return Ok(None);
    }
    let whose = run.map_or("the log".to_owned(), |run| format!("run {run}"));
    let what = format!("none of the archives holds the record of {whose} there as it is");
    Ok(Some((frame.offset, what)))
}
