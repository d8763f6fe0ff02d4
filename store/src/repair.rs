//! Repair: cutting a damaged log back to where it holds, so that it can be written again. Explicit, and for damage only.
//!
//! Nothing is destroyed. Before a byte changes, `recovered/repair-N/` has a copy of LOCK and of every segment that will be
//! changed, and a report; segments behind the damage are moved there whole. Order, so that a crash anywhere leaves a log on
//! which all of it runs again and ends the same:
//!
//! ```text
//! 1  copies and report             nothing changed yet
//! 2  segments behind, last first   the damage stands where it stood
//! 3  bytes behind segment ends     zeros; what they were is copied
//! 4  the damaged segment           replaced in one rename by its valid beginning and zeros
//! 5  LOCK                          the durable word says where the log ends now
//! 6  an opening                    OPEN, and a DECISION that says what was cut
//! ```

use crate::error::{Error, Finding};
use crate::group::{Position, Stop, Why};
use crate::lock::{self, LockFile, LockState};
use crate::log::{Log, Mode, Options};
use crate::place::{Listing, Place, Segments, copy_bytes, copy_segment};
use crate::reader::LogReader;
use crate::recovery::{create_directories, take_locks, write_new};
use crate::salvage::{Damaged, Lost};
use crate::tail::{self, End, TailState};
use crate::walk::Walker;
use aos_disk::{Disk, Kind as DiskKind, OpenMode};
use aos_format::digest::Digest;
use aos_format::event::{Decision, Event, VALUE_JSON, ValueRef};
use aos_format::frame::Kind;
use aos_format::offset::{Offset, segment_file_name};
use aos_format::record::{Draft, DraftValue, Stored, StreamId};
use aos_format::segment::{DurableWord, Identity};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the report among the originals.
const REPORT: &str = "repair.txt";

/// What a repair found and did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepairReport {
    /// Which log it is.
    pub identity: Identity,
    /// What was wrong.
    pub finding: Finding,
    /// Everything below is kept as it was, but for what stands in `cleaned`.
    pub end: Offset,
    /// Number of the last group kept.
    pub group: u64,
    /// Epoch of it.
    pub epoch: u32,
    /// Ranges behind `end` that hold valid frames: no longer in the log, but among the originals.
    pub cut: Vec<(Offset, u64)>,
    /// Valid records in them.
    pub cut_records: u64,
    /// Ranges behind `end` that hold nothing valid.
    pub lost: Vec<Lost>,
    /// Ranges behind the ends of segments that were not zero and are now.
    pub cleaned: Vec<(Offset, u64)>,
    /// Where the original bytes are, relative to the log.
    pub saved_in: String,
    /// Names there.
    pub saved: Vec<String>,
    /// Where the log ends after it was opened again.
    pub new_end: Offset,
}

/// Cuts the log at `path` back to where it holds, if it is damaged or has a gap; `None` when neither is so: what a crash
/// leaves is put right by opening. Of `options` those about the opening count.
///
/// Valid groups behind the damage go out of the log with it; [`crate::salvage()`] makes another log with their records.
///
/// # Errors
/// As [`LogReader::open`]; [`Error::Busy`]; [`Error::Finding`] when a newer version wrote in the log;
/// [`Error::Irreparable`] when not even its first group holds; [`Error::Disk`]: then the same call goes on.
pub fn repair(
    disk: Arc<dyn Disk>,
    path: &Path,
    options: &Options,
) -> Result<Option<RepairReport>, Error> {
    let reader = LogReader::open(disk.clone(), path)?;
    let place = Place::new(disk.clone(), path);
    let locks = take_locks(&place)?;
    let Some(plan) = Plan::make(&place, reader.identity())? else {
        return Ok(None);
    };
    let mut report = plan.report()?;
    plan.save(&mut report)?;
    plan.change()?;
    drop(locks);
    let options = Options {
        create: false,
        mode: Mode::Inline,
        ..options.clone()
    };
    let (log, _) = Log::open(disk, path, &options)?;
    decide(&log, &report, options.wall_ns)?;
    report.new_end = log.close()?;
    Ok(Some(report))
}

/// What is to be done.
struct Plan {
    place: Place,
    identity: Identity,
    listing: Listing,
    finding: Finding,
    position: Position,
    /// Ranges behind the ends of segments that are not zero.
    behind: Vec<(Offset, u64)>,
    /// Where the originals go, relative to the log.
    saved_in: String,
}

impl Plan {
    /// Walks the whole log. `None` when there is no damage.
    fn make(place: &Place, identity: Identity) -> Result<Option<Plan>, Error> {
        let segments = Arc::new(Segments::open(place.clone(), identity, false)?);
        let listing = segments.list()?;
        let mut walker = Walker::new(segments.clone(), identity);
        let word = match lock::read(place)? {
            LockState::Valid(_, word) => word,
            LockState::Missing | LockState::Garbled(_) => None,
        };
        walker.pass_over_slack();
        let start = segments.start();
        let end = tail::find_end(&mut walker, start)?;
        let behind = walker.slack().to_vec();
        let Some(finding) = fault(
            &mut walker,
            &segments,
            &listing,
            word.as_ref(),
            &end,
            &behind,
        )?
        else {
            return Ok(None);
        };
        if matches!(end.stop.why, Why::Unsupported { .. }) {
            return Err(end.stop.finding(identity.stride).into());
        }
        if end.position == start {
            return Err(Error::Irreparable {
                why: format!("not even the first group holds: {finding}"),
            });
        }
        let number = (1u64..)
            .find_map(|number| {
                let name = format!("recovered/repair-{number}");
                match place.disk.exists(&place.root.join(&name)) {
                    Ok(true) => None,
                    Ok(false) => Some(Ok(name)),
                    Err(error) => Some(Err(error)),
                }
            })
            .expect("numbers do not end");
        Ok(Some(Plan {
            place: place.clone(),
            identity,
            listing,
            finding,
            position: end.position,
            behind,
            saved_in: number?,
        }))
    }

    /// First byte that goes out of the log.
    fn cut(&self) -> Offset {
        self.position.next(self.identity.stride)
    }

    /// The segment that is cut, and those that go out whole.
    fn segments(&self) -> (Offset, Vec<Offset>) {
        let stride = self.identity.stride;
        let damaged = stride.segment_start(self.cut());
        let whole = self
            .listing
            .starts
            .iter()
            .copied()
            .filter(|&start| start > damaged || !start.0.is_multiple_of(stride.bytes()));
        (damaged, whole.collect())
    }

    /// What will be kept, cut and lost.
    fn report(&self) -> Result<RepairReport, Error> {
        let cut = self.cut();
        let damaged = Damaged::read(self.place.clone(), self.identity)?;
        let mut cut_records = 0;
        let surveyed = damaged.survey(&mut |frame, _, _| {
            cut_records += u64::from(frame.offset >= cut);
            Ok(())
        })?;
        let end = surveyed.end.max(cut);
        let lost: Vec<Lost> = surveyed
            .lost
            .into_iter()
            .filter(|lost| lost.start.plus(lost.len) > cut)
            .collect();
        let mut kept_apart = Vec::new();
        let mut at = cut;
        for lost in &lost {
            if lost.start > at && at < end {
                kept_apart.push((at, lost.start.min(end).0 - at.0));
            }
            at = at.max(lost.start.plus(lost.len));
        }
        if at < end {
            kept_apart.push((at, end.0 - at.0));
        }
        Ok(RepairReport {
            identity: self.identity,
            finding: self.finding.clone(),
            end: self.position.end,
            group: self.position.group,
            epoch: self.position.epoch,
            cut: kept_apart,
            cut_records,
            lost,
            cleaned: self.behind.clone(),
            saved_in: self.saved_in.clone(),
            saved: Vec::new(),
            new_end: self.position.end,
        })
    }

    /// Step 1: copies of what will be changed, and the report.
    fn save(&self, report: &mut RepairReport) -> Result<(), Error> {
        let (place, disk) = (&self.place, &self.place.disk);
        let dir = place.root.join(&self.saved_in);
        create_directories(place, &dir)?;
        let (damaged, whole) = self.segments();
        let stride = self.identity.stride;
        let mut copies = vec![(place.lock(), "LOCK".to_owned())];
        let mut changed: Vec<Offset> = self
            .behind
            .iter()
            .map(|(at, _)| stride.segment_start(*at))
            .collect();
        changed.push(damaged);
        changed.dedup();
        for start in changed {
            copies.push((place.segment(start), segment_file_name(start)));
        }
        for (from, name) in copies {
            if disk.exists(&from)? {
                copy(place, &from, &dir, &name)?;
                report.saved.push(name);
            }
        }
        report
            .saved
            .extend(whole.into_iter().map(segment_file_name));
        write_new(place, &dir, REPORT, report.text().as_bytes())?;
        disk.sync_dir(&dir)?;
        disk.sync_dir(&place.recovered())?;
        Ok(disk.sync_dir(&place.root)?)
    }

    /// Steps 2 to 5.
    fn change(&self) -> Result<(), Error> {
        let (place, disk) = (&self.place, &self.place.disk);
        let dir = place.root.join(&self.saved_in);
        let (damaged, whole) = self.segments();
        for &start in whole.iter().rev() {
            disk.rename(&place.segment(start), &dir.join(segment_file_name(start)))?;
            // One after the other: a gap behind the damage would be no worse, but this way there is none.
            disk.sync_dir(&dir)?;
            disk.sync_dir(&place.segments())?;
        }
        let stride = self.identity.stride;
        for &(at, _) in &self.behind {
            let start = stride.segment_start(at);
            if start != damaged {
                self.replace(start, at.0 - start.0)?;
            }
        }
        self.replace(damaged, self.cut().0 - damaged.0)?;
        for name in &self.listing.temporary {
            let path = place.segments().join(name);
            if disk.exists(&path)? {
                disk.remove(&path)?;
            }
        }
        disk.sync_dir(&place.segments())?;
        let word = DurableWord {
            durable: self.position.end,
            group: self.position.group,
            epoch: self.position.epoch,
        };
        LockFile::open(place, self.identity, false, Some(word)).map(drop)
    }

    /// Puts a new file in a segment's place: its first `len` bytes and zeros.
    fn replace(&self, start: Offset, len: u64) -> Result<(), Error> {
        let (place, disk) = (&self.place, &self.place.disk);
        let path = place.segment(start);
        let temporary = place
            .segments()
            .join(format!("{}.tmp", segment_file_name(start)));
        if disk.exists(&temporary)? {
            disk.remove(&temporary)?;
        }
        copy_segment(&**disk, &path, &temporary, self.identity.stride, len)?;
        disk.rename(&temporary, &path)?;
        Ok(disk.sync_dir(&place.segments())?)
    }
}

/// What is wrong with a log that was walked to `end`; `None` for what an opening puts right.
fn fault(
    walker: &mut Walker,
    segments: &Segments,
    listing: &Listing,
    word: Option<&DurableWord>,
    end: &End,
    behind: &[(Offset, u64)],
) -> Result<Option<Finding>, Error> {
    let stride = segments.stride;
    let state = tail::judge(walker, listing, stride, word, end)?;
    if let TailState::Damage(finding) | TailState::Gap(finding) = state {
        return Ok(Some(finding));
    }
    if let Err(error) = crate::recovery::check_files(segments, listing) {
        return match error {
            Error::Finding(finding) => Ok(Some(*finding)),
            error => Err(error),
        };
    }
    if let Some(&(at, len)) = behind.first() {
        let why = Why::Broken {
            expected: "zeros after the end of the segment".into(),
            found: format!("bytes up to {}", at.0 + len - 1),
        };
        return Ok(Some(Stop { at, p: at, why }.finding(stride)));
    }
    // A word that names no group's end although the log goes on beyond it.
    Ok(tail::find_end_from_word(walker, word)?.1)
}

/// Copies a file of any length under a temporary name, syncs it, and gives it its name.
fn copy(place: &Place, from: &Path, dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let disk = &place.disk;
    let (path, temporary) = (dir.join(name), dir.join(format!("{name}.tmp")));
    let source = match disk.open(from, OpenMode::Read) {
        Ok(source) => source,
        Err(error) if error.kind() == DiskKind::NotFound => return Ok(path),
        Err(error) => return Err(error.into()),
    };
    let len = source.len()?;
    let to = disk.open(&temporary, OpenMode::CreateNew)?;
    copy_bytes(&*source, &*to, len)?;
    to.sync_all()?;
    disk.rename(&temporary, &path)?;
    Ok(path)
}

/// Records in the log that it was repaired, and where the report is.
fn decide(log: &Log, report: &RepairReport, wall_ns: i64) -> Result<(), Error> {
    let inputs = format!(
        "{{\"cut_records\":{},\"end\":{},\"report\":\"{}\",\"saved_in\":\"{}\"}}",
        report.cut_records,
        report.end,
        Digest::of(report.text().as_bytes()).hex(),
        report.saved_in
    );
    let salt = [0; 16];
    let decision = Event::Decision(Decision {
        activation: String::new(),
        subject: "repair".into(),
        rule: "aos.repair".into(),
        rule_version: 1,
        inputs: Some(ValueRef::of(VALUE_JSON, &salt, inputs.as_bytes())),
        verdict: "cut".into(),
        value: None,
        actor: "aos".into(),
        key_id: String::new(),
    });
    let head = log.head(StreamId::CONTROL)?;
    let previous = head.map_or(Digest::ZERO, |head| head.digest);
    let mut draft = Draft::new(StreamId::CONTROL, decision.encode(&previous));
    draft.lane_seq = head.map_or(0, |head| head.lane_seq) + 1;
    draft.wall_ns = wall_ns;
    draft.values = vec![DraftValue {
        slot: aos_format::event::slot_of(Kind::Decision, "inputs").unwrap_or_default(),
        len: inputs.len() as u32,
        salt,
        stored: Stored::Here(inputs.into_bytes().into()),
    }];
    let ticket = log.append(draft, Kind::Decision, head.map_or(0, |head| head.seq) + 1)?;
    log.wait(ticket).map(drop)
}

impl RepairReport {
    /// Bytes that are no longer in the log although they are valid.
    pub fn cut_bytes(&self) -> u64 {
        self.cut.iter().map(|(_, len)| len).sum()
    }

    /// Bytes that hold nothing valid.
    pub fn lost_bytes(&self) -> u64 {
        self.lost.iter().map(|lost| lost.len).sum()
    }

    /// The report as text, one fact a line; see `docs/recovery.md`.
    fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "aos.repair.v1\nlog {} stride {}\nfinding {}\nkept 0 {} group {} epoch {}\n",
            self.identity.log_id,
            self.identity.stride.bytes(),
            self.finding,
            self.end,
            self.group,
            self.epoch
        );
        // Writing into a string cannot fail.
        for (at, len) in &self.cut {
            let _ = writeln!(text, "cut {at} {len}");
        }
        let _ = writeln!(text, "cut_records {}", self.cut_records);
        for lost in &self.lost {
            let _ = writeln!(text, "lost {} {} {}", lost.start, lost.len, lost.why);
        }
        for (at, len) in &self.cleaned {
            let _ = writeln!(text, "cleaned {at} {len}");
        }
        for name in &self.saved {
            let _ = writeln!(text, "saved {name}");
        }
        text
    }
}
