//! Checking a log completely: every frame, group, link and row. Changes nothing.

use crate::backend::Overlay;
use crate::error::{Error, Finding, FindingKind, code};
use crate::fold::{Nothing, Rows};
use crate::group::Position;
use crate::place::{Place, SegmentFile, wrong_length};
use crate::pruned::PRUNED;
use crate::reader::{LogReader, Tail};
use crate::rebuild::{builder, rebuild_alone, unfit};
use crate::scan::Next;
use crate::tables::{Db, View, guard, read_meta};
use crate::walk::Walker;
use aos_disk::{Disk, Kind as DiskKind, OpenMode};
use aos_format::event;
use aos_format::frame::{FrameHeader, Kind};
use aos_format::offset::{Offset, segment_file_name};
use aos_format::record::{RecordView, StreamId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What a check says of the catalogue, which can always be made again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CatalogueCheck {
    /// There is none.
    Missing,
    /// It says what the log says, as far as it is folded.
    Matches {
        /// End of the last group it knows.
        folded: Offset,
    },
    /// It cannot be used, and why.
    Unusable(String),
    /// It can be read and says something else: the tables that differ.
    Differs(Vec<&'static str>),
    /// A writer has the log; its catalogue is not looked at.
    InUse,
    /// The log could not be read as far as the catalogue goes.
    NotCompared,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Everything that is wrong, in order of offset; empty for a log that is whole.
    pub findings: Vec<Finding>,
    /// Where the log ends.
    pub tail: Tail,
    /// Segment files.
    pub segments: u64,
    /// Valid groups.
    pub groups: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// What the log contains.
    pub rows: Rows,
    /// Where the log begins, when it was pruned.
    pub pruned: Option<Offset>,
    /// Segments below it that a prune which was broken off left; nobody reads them, the next prune removes them.
    pub left_over: Vec<String>,
    /// What the catalogue is worth.
    pub catalogue: CatalogueCheck,
    /// Names below `segments/` that do not belong there.
    pub strangers: Vec<String>,
}

/// Checks the log at `path` from its first byte to its last.
///
/// # Errors
/// As [`LogReader::open`]; [`Error::Disk`]. Faults of the log are in the report.
pub fn check(disk: Arc<dyn Disk>, path: &Path) -> Result<Report, Error> {
    let reader = LogReader::open(disk.clone(), path)?;
    let place = Place::new(disk, path);
    let listing = reader.files().list()?;
    let stride = reader.identity().stride;
    let pruned = reader.pruned();
    let mut report = Report {
        findings: Vec::new(),
        tail: reader.tail()?,
        segments: listing.starts.len() as u64,
        groups: 0,
        records: 0,
        bytes: 0,
        rows: reader.files().rows(),
        pruned: pruned.as_ref().map(|base| base.end()),
        left_over: listing
            .pruned
            .iter()
            .map(|at| segment_file_name(*at))
            .collect(),
        catalogue: CatalogueCheck::NotCompared,
        strangers: [listing.temporary.clone(), listing.strangers.clone()].concat(),
    };
    report.findings.extend(listing.fault(stride));
    for &start in &listing.starts {
        if let SegmentFile::WrongLength(found) = reader.files().file(start)? {
            report.findings.push(wrong_length(start, stride, found));
        }
    }
    let mut catalogue = Suspect::open(&place, &reader, &report.tail)?;
    walk(&reader, &mut report, &mut catalogue)?;
    report.catalogue = catalogue.verdict;
    report.findings.extend(report.tail.state.finding().cloned());
    let severity =
        |finding: &Finding| (finding.offset, finding.file.clone(), finding.found.clone());
    report.findings.sort_by_key(severity);
    report.findings.dedup_by_key(|finding| severity(finding));
    Ok(report)
}

/// Walks the whole log, checking each record and comparing the catalogue when the fold is where it is.
fn walk(reader: &LogReader, report: &mut Report, catalogue: &mut Suspect) -> Result<(), Error> {
    let mut groups = reader.groups(Offset(0));
    let mut links = Links::default();
    let kept = reader.pruned();
    for (frame, body) in kept.iter().flat_map(|base| base.frames()) {
        report.records += 1;
        if let Err((expected, found)) = links.check(frame, body) {
            report.findings.push(Finding {
                kind: FindingKind::Corruption,
                code: code::DAMAGED,
                offset: frame.offset,
                length: Some(frame.frame_len()),
                file: PRUNED.into(),
                expected,
                found,
            });
        }
    }
    loop {
        catalogue.compare(groups.position.end, &report.rows);
        let group = match groups.next()? {
            Next::Group(group) => group,
            Next::End(finding) => {
                report.findings.extend(finding);
                return Ok(());
            }
        };
        report.groups += 1;
        report.bytes += group.end.0 - group.start.0;
        for frame in group.records() {
            report.records += 1;
            let body = groups.walker.body(frame)?;
            if let Err((expected, found)) = links.check(frame, body) {
                let segment = reader.identity().stride.segment_start(frame.offset);
                report.findings.push(Finding {
                    kind: FindingKind::Corruption,
                    code: code::DAMAGED,
                    offset: frame.offset,
                    length: Some(frame.frame_len()),
                    file: segment_file_name(segment),
                    expected,
                    found,
                });
            }
            report.rows.fold(&Nothing, frame, body)?;
        }
    }
}

/// Offsets that the next record of each stream must name.
#[derive(Default)]
struct Links {
    streams: BTreeMap<StreamId, Vec<(u64, Offset)>>,
}

impl Links {
    /// Checks a record and its links; else what was expected and found.
    fn check(&mut self, frame: &FrameHeader, body: &[u8]) -> Result<(), (String, String)> {
        let view = RecordView::of_frame(frame, body)
            .map_err(|error| ("a record of version 1".to_owned(), error.to_string()))?;
        let chain = self.streams.entry(view.stream()).or_default();
        let seq = chain.last().map_or(0, |(seq, _)| *seq) + 1;
        let prev = chain.last().map_or(Offset::NONE, |(_, at)| *at);
        let below = seq & (seq - 1);
        while chain.last().is_some_and(|(number, _)| *number > below) {
            chain.pop();
        }
        let skip = chain.last().map_or(Offset::NONE, |(_, at)| *at);
        let found = (frame.seq, frame.prev, frame.skip);
        // Go on from what stands there, so that one fault is one finding.
        chain.push((frame.seq, frame.offset));
        if found != (seq, prev, skip) {
            return Err((
                format!("record {seq} of its stream, after {prev}, skipping to {skip}"),
                format!(
                    "record {}, after {}, skipping to {}",
                    frame.seq, frame.prev, frame.skip
                ),
            ));
        }
        if let Some(kind) = Kind::from_u8(frame.kind) {
            event::previous(kind, view.det())
                .map_err(|error| (format!("a {}", kind.name()), error.to_string()))?;
        }
        Ok(())
    }
}

/// A catalogue that is looked at through an overlay: redb never writes to the file.
struct Suspect {
    verdict: CatalogueCheck,
    rows: Option<(Offset, Rows)>,
}

impl Suspect {
    fn open(place: &Place, reader: &LogReader, tail: &Tail) -> Result<Suspect, Error> {
        let verdict = |verdict| {
            Ok(Suspect {
                verdict,
                rows: None,
            })
        };
        if tail.writer_alive {
            return verdict(CatalogueCheck::InUse);
        }
        let file = match place.disk.open(&place.catalogue(), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == DiskKind::NotFound => {
                return verdict(CatalogueCheck::Missing);
            }
            Err(error) => return Err(error.into()),
        };
        let len = file.len()?;
        if len == 0 {
            return verdict(CatalogueCheck::Unusable("it is empty".into()));
        }
        let overlay = Overlay::new(file)?;
        let loaded = guard(|| {
            let mut db = builder().create_with_backend(overlay)?;
            let whole = db.check_integrity()?;
            Ok((Db::new(db), whole))
        });
        let (db, whole) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return verdict(CatalogueCheck::Unusable(error.to_string())),
        };
        if !whole {
            return verdict(CatalogueCheck::Unusable(
                "its pages failed their checksums".into(),
            ));
        }
        let read = read_meta(&db).and_then(|meta| Ok((meta, View::open(&db)?.all()?)));
        let (meta, rows) = match read {
            Ok((Some(meta), rows)) => (meta, rows),
            Ok((None, _)) => {
                return verdict(CatalogueCheck::Unusable("it is of another schema".into()));
            }
            Err(error) => return verdict(CatalogueCheck::Unusable(error.to_string())),
        };
        let end = Position {
            end: tail.end,
            ..Position::START
        };
        let mut walker = Walker::new(reader.files().clone(), reader.identity());
        match unfit(&meta, reader.identity(), &mut walker, &end)? {
            Some(why) => verdict(CatalogueCheck::Unusable(why)),
            None => Ok(Suspect {
                verdict: CatalogueCheck::NotCompared,
                rows: Some((meta.position.end, rows)),
            }),
        }
    }

    /// Compares when the fold of the log has come as far as the catalogue is.
    fn compare(&mut self, end: Offset, log: &Rows) {
        if self.rows.as_ref().is_none_or(|(folded, _)| *folded != end) {
            return;
        }
        let Some((folded, rows)) = self.rows.take() else {
            return;
        };
        let tables = [
            ("runs", rows.runs == log.runs),
            ("streams", rows.streams == log.streams),
            ("definitions", rows.definitions == log.definitions),
            (
                "seeds",
                (rows.seeds, rows.first_seed) == (log.seeds.clone(), log.first_seed),
            ),
            ("checkpoints", rows.checkpoints == log.checkpoints),
            ("generations", rows.generations == log.generations),
        ];
        let differ: Vec<_> = tables
            .into_iter()
            .filter_map(|(table, same)| (!same).then_some(table))
            .collect();
        self.verdict = if differ.is_empty() {
            CatalogueCheck::Matches { folded }
        } else {
            CatalogueCheck::Differs(differ)
        };
    }
}

/// Makes the catalogue of a log again from its segments, up to what is proven durable. Needs the log to itself and changes
/// nothing else.
///
/// # Errors
/// [`Error::Busy`]; [`Error::Finding`] when the log cannot be read to its end; [`Error::Disk`]; [`Error::Catalogue`].
pub fn rebuild_catalogue(disk: Arc<dyn Disk>, path: &Path) -> Result<Offset, Error> {
    let reader = LogReader::open(disk.clone(), path)?;
    let place = Place::new(disk, path);
    rebuild_alone(&place, &reader)
}
