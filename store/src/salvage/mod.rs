//! Salvage: a new log with all that a damaged one still holds. The damaged log is only read.
//!
//! Every valid frame of the damaged log ends in the new one, in one of two ways:
//!
//! - The **beginning of each stream**, as far as numbers, links and digests chain without a hole, is written again: the
//!   same body byte for byte, under a new frame, at a new offset. Offsets enter no digest, so histories stay the same.
//! - Everything else (records behind a hole, records that nothing proves to be durable, openings of the damaged log) is
//!   kept as it stood, frame by frame, in `recovered/salvage.frames`; `recovered/salvage.txt` says what is what.
//!
//! Nothing is invented: the records that salvage adds say that there was a salvage (a DECISION of the control stream) and
//! which runs may go on elsewhere (a MARK `gap` behind what is left of them, which keeps them from being resumed).

mod report;
mod streams;
mod survey;

use crate::append::{Prepared, check_kind};
use crate::buffer::Aligned;
use crate::error::{Error, FindingKind};
use crate::lock::{self, LockState};
use crate::log::{Log, Mode, Options};
use crate::place::{Bytes, Place, Segments};
use crate::pruned::Pruned;
use crate::reader::LogReader;
use crate::recovery::{create_directories, list_root, write_new};
use crate::renew;
use crate::stored::{ReadFrom, StoredRecord};
use aos_disk::{Disk, File, OpenMode};
use aos_format::digest::{Digest, Hasher};
use aos_format::event::{Decision, Event, Mark, VALUE_JSON, ValueRef};
use aos_format::frame::{FRAME_HEADER_LEN, FrameHeader, Kind};
use aos_format::offset::Offset;
use aos_format::record::{Draft, DraftValue, Stored, StreamId, StreamKind, Volatile};
use aos_format::segment::{DurableWord, Identity};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use report::SalvageReport;
use streams::Streams;
pub use streams::{Fate, Piece, StreamFound};
pub use survey::Lost;
pub(crate) use survey::Surveyed;
use survey::{Standing, Survey};

/// Name of the file with the frames that are not in the new log.
const FRAMES: &str = "salvage.frames";
/// Name of the report.
const REPORT: &str = "salvage.txt";
/// Bytes of frames held before they are written.
const BUFFER_LEN: usize = 1 << 20;

/// What the files of a damaged log are, however long they are.
pub(crate) struct Damaged {
    pub(crate) place: Place,
    pub(crate) identity: Identity,
    pub(crate) word: Option<DurableWord>,
    /// Length of each segment file.
    pub(crate) files: BTreeMap<Offset, u64>,
    /// Names below `segments/` that are no segment's.
    pub(crate) strangers: Vec<String>,
    pub(crate) segments: Arc<Segments>,
}

impl Damaged {
    /// # Errors
    /// As [`LogReader::open`]; [`Error::Busy`] while a writer has the log.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Damaged, Error> {
        let reader = LogReader::admit(disk.clone(), path, true)?;
        if reader.writer_alive()? {
            return Err(Error::Busy { path: path.into() });
        }
        Damaged::read(Place::new(disk, path), reader.identity())
    }

    /// The files as they are, whoever holds the log.
    pub(crate) fn read(place: Place, identity: Identity) -> Result<Damaged, Error> {
        let word = match lock::read(&place)? {
            LockState::Valid(_, word) => word,
            LockState::Missing | LockState::Garbled(_) => None,
        };
        let mut strangers = Vec::new();
        let pruned = match Pruned::of(&place, identity) {
            Err(Error::Finding(finding)) if finding.kind == FindingKind::Corruption => {
                strangers.push(format!(
                    "../PRUNED ({}, {})",
                    finding.expected, finding.found
                ));
                None
            }
            pruned => pruned?.map(Arc::new),
        };
        let listing = Segments::bare(place.clone(), identity.stride, pruned.clone()).list()?;
        strangers.extend(listing.temporary);
        strangers.extend(listing.strangers);
        let mut files = BTreeMap::new();
        for start in listing.starts {
            if start.0.is_multiple_of(identity.stride.bytes()) {
                let file = place.disk.open(&place.segment(start), OpenMode::Read)?;
                files.insert(start, file.len()?);
            } else {
                strangers.push(aos_format::offset::segment_file_name(start));
            }
        }
        let lengths = files
            .iter()
            .map(|(start, len)| (*start, (*len).min(identity.stride.bytes())))
            .collect();
        let segments = Segments::of_parts(place.clone(), identity.stride, lengths, pruned);
        let segments = Arc::new(segments);
        Ok(Damaged {
            place,
            identity,
            word,
            files,
            strangers,
            segments,
        })
    }

    /// Goes over all frames, telling `each` of the records.
    pub(crate) fn survey(&self, each: survey::Each<'_>) -> Result<Surveyed, Error> {
        Survey::new(self.segments.clone(), self.identity, self.word, each).run(&self.files)
    }
}

/// Makes a new log at `out`, where nothing may be, with everything that the log at `log` still holds.
///
/// The new log has the id and the stride of the old one, offsets of its own, and begins again at epoch 1. It is built at
/// `out` with `.salvaging` behind its name and renamed when it is whole and synced. Memory grows with the number of streams
/// and of lost ranges, not with that of records. Of `options` those about the opening count: environment, wall clock,
/// build, target.
///
/// # Errors
/// As [`LogReader::open`]: when nothing says which log this was, nothing can be salvaged. [`Error::Busy`] while a writer
/// has it; an `Unsupported` finding when a newer version wrote in it; [`Error::Backup`] when `out` is in the way;
/// [`Error::Disk`]. There is nothing at `out` then.
pub fn salvage(
    disk: Arc<dyn Disk>,
    log: &Path,
    out: &Path,
    options: &Options,
) -> Result<SalvageReport, Error> {
    let damaged = Damaged::open(disk.clone(), log)?;
    let out: &Path = &out.components().collect::<PathBuf>();
    if disk.exists(out)? {
        return Err(crate::BackupFault::InTheWay {
            path: out.into(),
            what: "what is salvaged becomes a log where nothing is".into(),
        }
        .into());
    }
    let place = Place::new(disk.clone(), &beside(out));
    clear(&place)?;
    let options = Options {
        stride: damaged.identity.stride,
        log_id: damaged.identity.log_id,
        create: true,
        mode: Mode::Inline,
        ..options.clone()
    };
    let (new, _) = Log::open(disk.clone(), &place.root, &options)?;
    let report = Salvage::new(&damaged, &place, new)?.run(options.wall_ns)?;
    disk.sync_dir(&place.root)?;
    disk.rename(&place.root, out)?;
    disk.sync_dir(out.parent().unwrap_or(Path::new("")))?;
    Ok(report)
}

fn beside(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".salvaging");
    name.into()
}

/// An empty directory: what a salvage that was broken off left there is taken away, anything else is left alone.
fn clear(place: &Place) -> Result<(), Error> {
    let disk = &place.disk;
    create_directories(place, &place.root)?;
    let in_the_way = |name: &str| crate::BackupFault::InTheWay {
        path: place.root.clone(),
        what: format!("it holds {name}, which no salvage left there"),
    };
    let (segments, recovered) = (place.segments(), place.recovered());
    if !disk.exists(&segments)? {
        renew::take_back(place, &segments)?;
    }
    let mut remove = Vec::new();
    for name in list_root(place)? {
        match name.as_str() {
            "LOCK" | "catalog.redb" | "catalog.redb.tmp" => remove.push(place.root.join(name)),
            "segments" => {
                let listing = place.list()?;
                if let Some(stranger) = listing.strangers.first() {
                    return Err(in_the_way(stranger).into());
                }
                remove.extend(listing.starts.iter().map(|start| place.segment(*start)));
                remove.extend(listing.temporary.iter().map(|name| segments.join(name)));
            }
            "recovered" => {
                for name in disk.list(&recovered)? {
                    if !name.starts_with("salvage.") {
                        return Err(in_the_way(&name).into());
                    }
                    remove.push(recovered.join(name));
                }
            }
            stranger => return Err(in_the_way(stranger).into()),
        }
    }
    for path in remove {
        disk.remove(&path)?;
    }
    create_directories(place, &recovered)?;
    Ok(())
}

/// A salvage under way.
struct Salvage<'a> {
    damaged: &'a Damaged,
    place: &'a Place,
    log: Log,
    streams: Streams,
    frames: Frames,
    kept: u64,
    renewed: u64,
    unproven: u64,
    stale: u64,
}

impl<'a> Salvage<'a> {
    fn new(damaged: &'a Damaged, place: &'a Place, log: Log) -> Result<Salvage<'a>, Error> {
        Ok(Salvage {
            damaged,
            place,
            log,
            streams: Streams::default(),
            frames: Frames::create(place)?,
            kept: 0,
            renewed: 0,
            unproven: 0,
            stale: 0,
        })
    }

    fn run(mut self, wall_ns: i64) -> Result<SalvageReport, Error> {
        let damaged = self.damaged;
        let surveyed =
            damaged.survey(&mut |frame, body, standing| self.take(frame, body, standing))?;
        self.log.flush()?;
        let frames = self.frames.finish()?;
        let lost_to = surveyed
            .lost
            .last()
            .map_or(Offset(0), |lost| lost.start.plus(lost.len));
        let (streams, heads) = std::mem::take(&mut self.streams).finish(lost_to);
        let mut marked = 0;
        for (found, head) in streams.iter().zip(heads) {
            if found.is_run() && found.fate != Fate::Whole && found.kept > 0 {
                self.mark(found.stream, head, wall_ns)?;
                marked += 1;
            }
        }
        let mut report = SalvageReport {
            identity: damaged.identity,
            lost: surveyed.lost,
            tail: surveyed.tail,
            breaks: surveyed.breaks,
            strangers: damaged.strangers.clone(),
            groups: surveyed.groups,
            end: surveyed.end,
            kept: self.kept,
            renewed: self.renewed,
            unproven: self.unproven,
            stale: self.stale,
            marked,
            frames: frames.0,
            frames_len: frames.1,
            frames_sha256: frames.2,
            streams,
            new_end: Offset(0),
        };
        let text = report.text();
        write_new(self.place, &self.place.recovered(), REPORT, text.as_bytes())?;
        self.place.disk.sync_dir(&self.place.recovered())?;
        self.decide(&report, Digest::of(text.as_bytes()), wall_ns)?;
        report.new_end = self.log.close()?;
        Ok(report)
    }

    /// Puts one valid record of the damaged log where it belongs.
    fn take(&mut self, frame: &FrameHeader, body: &[u8], standing: Standing) -> Result<(), Error> {
        let record = StoredRecord::new(
            *frame,
            Bytes::Owned(Aligned::copy_of(body)),
            ReadFrom::Named(self.damaged.place.root.display().to_string().into()),
            false,
        );
        match standing {
            Standing::Durable => {}
            Standing::Unproven => self.unproven += 1,
            Standing::Stale => self.stale += 1,
        }
        let kept = standing == Standing::Durable && self.keep(&record, body)?;
        if !kept {
            self.frames.push(frame, body)?;
        }
        Ok(())
    }

    /// Writes a durable record into the new log, if it has a place there.
    fn keep(&mut self, record: &StoredRecord, body: &[u8]) -> Result<bool, Error> {
        let (Some(kind), Ok(view)) = (record.kind(), record.view()) else {
            return Ok(false);
        };
        if view.stream().kind == StreamKind::Control {
            return self.renew(record, kind);
        }
        if check_kind(kind, view.stream().kind).is_err()
            || !self.streams.follows(record.header(), kind, &view)
        {
            return Ok(false);
        }
        // Flushing tells of appends that failed.
        let prepared = Prepared::stored(record.header(), kind, &view, body);
        self.log.append_prepared(prepared).map(drop)?;
        self.kept += 1;
        Ok(true)
    }

    /// Writes a record of the control stream with the same content behind the new log's own openings.
    fn renew(&mut self, record: &StoredRecord, kind: Kind) -> Result<bool, Error> {
        let view = record.view()?;
        if !matches!(kind, Kind::Definition | Kind::Seed | Kind::Decision) {
            return Ok(false);
        }
        let Ok((_, event)) = Event::decode(kind, view.det()) else {
            return Ok(false);
        };
        let mut values = Vec::new();
        for value in view.values() {
            // A back reference counts records, which stand under other numbers now.
            let Some(bytes) = view.value_bytes(&value) else {
                return Ok(false);
            };
            values.push(DraftValue {
                slot: value.slot,
                len: bytes.len() as u32,
                salt: value.salt,
                stored: Stored::Here(bytes.into()),
            });
        }
        let volatile = view.volatile().map(|(tag, bytes)| Volatile {
            tag,
            bytes: bytes.to_vec(),
        });
        let (mut draft, seq) = self.control(&event)?;
        draft.tenant = view.tenant();
        draft.wall_ns = view.wall_ns();
        draft.volatile = volatile.collect();
        draft.values = values;
        self.append(draft, kind, seq)?;
        self.renewed += 1;
        Ok(true)
    }

    /// A draft that continues the new log's control stream, and its number.
    fn control(&self, event: &Event) -> Result<(Draft, u64), Error> {
        let head = self.log.head(StreamId::CONTROL)?;
        let previous = head.map_or(Digest::ZERO, |head| head.digest);
        let mut draft = Draft::new(StreamId::CONTROL, event.encode(&previous));
        draft.lane_seq = head.map_or(0, |head| head.lane_seq) + 1;
        Ok((draft, head.map_or(0, |head| head.seq) + 1))
    }

    fn append(&self, draft: Draft, kind: Kind, seq: u64) -> Result<(), Error> {
        self.log.append(draft, kind, seq).map(drop)
    }

    /// Says behind what is left of a run that it may go on elsewhere.
    fn mark(
        &self,
        stream: StreamId,
        (seq, lane_seq, digest): (u64, u64, Digest),
        wall_ns: i64,
    ) -> Result<(), Error> {
        let mark = Event::Mark(Mark {
            what: "gap".into(),
            activation: String::new(),
        });
        let mut draft = Draft::new(stream, mark.encode(&digest));
        draft.lane_seq = lane_seq;
        draft.wall_ns = wall_ns;
        self.append(draft, Kind::Mark, seq + 1)
    }

    /// Records that this log was salvaged, from what, and where the report is.
    fn decide(&self, report: &SalvageReport, text: Digest, wall_ns: i64) -> Result<(), Error> {
        let inputs = format!(
            "{{\"frames\":\"{}\",\"gaps\":{},\"lost\":{},\"report\":\"{}\"}}",
            report.frames_sha256.hex(),
            report.marked,
            report.lost.len(),
            text.hex()
        );
        let salt = [0; 16];
        let decision = Event::Decision(Decision {
            activation: String::new(),
            subject: "salvage".into(),
            rule: "aos.salvage".into(),
            rule_version: 1,
            inputs: Some(ValueRef::of(VALUE_JSON, &salt, inputs.as_bytes())),
            verdict: if report.is_whole() { "whole" } else { "gaps" }.into(),
            value: None,
            actor: "aos".into(),
            key_id: String::new(),
        });
        let (mut draft, seq) = self.control(&decision)?;
        draft.wall_ns = wall_ns;
        draft.values = vec![DraftValue {
            slot: aos_format::event::slot_of(Kind::Decision, "inputs").unwrap_or_default(),
            len: inputs.len() as u32,
            salt,
            stored: Stored::Here(inputs.into_bytes().into()),
        }];
        self.append(draft, Kind::Decision, seq)
    }
}

/// The file of frames that are not in the new log.
struct Frames {
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    written: u64,
    count: u64,
    hasher: Hasher,
}

impl Frames {
    fn create(place: &Place) -> Result<Frames, Error> {
        let path = place.recovered().join(FRAMES);
        Ok(Frames {
            file: place.disk.open(&path, OpenMode::CreateNew)?,
            buffer: Vec::new(),
            written: 0,
            count: 0,
            hasher: Hasher::default(),
        })
    }

    fn push(&mut self, frame: &FrameHeader, body: &[u8]) -> Result<(), Error> {
        let header = frame.encode();
        assert!(
            header.len() as u64 == FRAME_HEADER_LEN
                && header[..4] == frame.header_crc.to_le_bytes(),
            "a frame whose CRC holds is encoded to the same bytes"
        );
        self.buffer.extend_from_slice(&header);
        self.buffer.extend_from_slice(body);
        self.count += 1;
        if self.buffer.len() >= BUFFER_LEN {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.hasher.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// How many frames and bytes, and their SHA-256.
    fn finish(&mut self) -> Result<(u64, u64, Digest), Error> {
        self.write()?;
        self.file.sync_all()?;
        let digest = std::mem::take(&mut self.hasher).finish();
        Ok((self.count, self.written, digest))
    }
}
