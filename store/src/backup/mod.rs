//! Backups: the durable prefix of a log, copied beside its writer, continued by what is new, and restored.
//!
//! ```text
//! DIR/
//!   MANIFEST                      how far the backup counts, with the SHA-256 of each part and of itself
//!   parts/00000000000000000000.seg   the beginning of that segment, never longer than the manifest says
//!   backup.lock                   held while somebody writes the backup
//! ```
//!
//! Invariants: bytes that the manifest counts are never written again; a manifest is given its name only after everything
//! it counts was synced, read again and found whole; so a crash, a full disk or a failing sync at any point leaves the
//! backup that was there before. What stands behind the counted bytes means nothing and is overwritten.

mod fault;
mod manifest;
mod parts;
mod restore;

use crate::error::Error;
use crate::group::{Position, Step};
use crate::place::{Place, WINDOW_LEN};
use crate::pruned::{PRUNED, Pruned, read_bytes};
use crate::reader::LogReader;
use crate::recovery::{create_directories, new_directories, write_new};
use crate::scan::{Groups, Next};
use crate::tail::TailState;
use aos_disk::{Disk, Kind as DiskKind, Lock, OpenMode};
use aos_format::digest::{Digest, Hasher};
use aos_format::offset::Offset;
use aos_format::segment::Identity;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use fault::BackupFault;
use manifest::{MANIFEST, Manifest, Part, PrunedPart};
pub(crate) use parts::padded;
pub use restore::{RestoreReport, restore};

/// What a backup did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupReport {
    /// Which log it is a backup of.
    pub identity: Identity,
    /// Where the backup ended before; 0 for a new one.
    pub from: Offset,
    /// Where it ends now: everything below was durable in the log. The pending group is never in it.
    pub end: Offset,
    /// Number of its last group.
    pub group: u64,
    /// Epoch of that group.
    pub epoch: u32,
    /// Bytes copied this time.
    pub copied: u64,
    /// Bytes read again and compared this time.
    pub checked: u64,
    /// Bytes in the backup.
    pub bytes: u64,
    /// Parts in the backup.
    pub parts: u64,
    /// SHA-256 of MANIFEST: kept elsewhere it shows any later change of the backup.
    pub digest: Digest,
    /// What stood behind the last group of the log.
    pub tail: TailState,
}

/// Copies what is durable in the log at `log`, which somebody may be writing, into the backup at `out`, or makes that
/// backup. Only what is new is copied. With `all` everything that earlier backups copied is read again and checked too;
/// without it that is done for the last part only.
///
/// # Errors
/// As [`LogReader::open`]; [`Error::Finding`] when the log is damaged up to where it is durable; [`Error::Backup`];
/// [`Error::Busy`] when somebody else writes the backup; [`Error::Disk`]. The backup is then what it was before.
pub fn backup(
    disk: Arc<dyn Disk>,
    log: &Path,
    out: &Path,
    all: bool,
) -> Result<BackupReport, Error> {
    let reader = LogReader::open(disk.clone(), log)?;
    if out.components().collect::<PathBuf>().starts_with(log) {
        return Err(BackupFault::InTheWay {
            path: out.into(),
            what: "it lies inside the log".into(),
        }
        .into());
    }
    let tail = reader.tail()?;
    if let TailState::Damage(finding) | TailState::Gap(finding) = &tail.state {
        return Err(finding.clone().into());
    }
    let place = Place::of_backup(disk, out);
    let before = Manifest::read(&place)?;
    let position = match &before {
        Some(manifest) => continued(&place, &reader, manifest)?,
        None => reader.files().start(),
    };
    let (position, ends) = walk(&reader, position, tail.durable)?;
    let _lock = admit(&place, before.as_ref())?;
    if Manifest::read(&place)? != before {
        return Err(Error::Busy { path: out.into() });
    }
    let pruned = match (&before, reader.pruned()) {
        (None, Some(base)) => Some(copy_pruned(&place, &base, reader.path())?),
        (before, _) => before.as_ref().and_then(|before| before.pruned),
    };
    let mut copier = Copier {
        place: &place,
        reader: &reader,
        parts: before
            .as_ref()
            .map_or_else(BTreeMap::new, |m| m.parts.clone()),
        copied: 0,
        checked: 0,
    };
    for (&start, &end) in &ends {
        copier.copy(start, end.0 - start.0)?;
    }
    place.disk.sync_dir(&place.segments())?;
    let Copier {
        parts,
        copied,
        mut checked,
        ..
    } = copier;
    let manifest = Manifest::new(reader.identity(), &position, pruned, parts);
    checked += check(&place, &manifest, before.as_ref(), &ends, all)?;
    let text = manifest.encode();
    if before.as_ref() != Some(&manifest) {
        write_new(&place, out, MANIFEST, text.as_bytes())?;
    }
    // Also when nothing is new: the name may be one that a crash outran.
    place.disk.sync_dir(out)?;
    Ok(BackupReport {
        identity: manifest.identity,
        from: before.map_or(Offset(0), |before| before.end),
        end: manifest.end,
        group: manifest.group,
        epoch: manifest.epoch,
        copied,
        checked,
        bytes: manifest.bytes(),
        parts: manifest.parts.len() as u64,
        digest: Digest::of(text.as_bytes()),
        tail: tail.state,
    })
}

/// Where the log goes on after what the backup has; refused when it is not the log that the backup was made from.
fn continued(place: &Place, reader: &LogReader, manifest: &Manifest) -> Result<Position, Error> {
    let other = |why: String| -> Error {
        BackupFault::OtherHistory {
            path: place.root.clone(),
            why,
        }
        .into()
    };
    let (ours, theirs) = (manifest.identity, reader.identity());
    if ours != theirs {
        return Err(other(format!(
            "it is of log {} with stride {}, not of log {} with stride {}",
            ours.log_id,
            ours.stride.bytes(),
            theirs.log_id,
            theirs.stride.bytes()
        )));
    }
    let start = reader.files().start();
    if manifest.end < start.end {
        return Err(other(format!(
            "it ends at offset {}, and the log was pruned up to {} since",
            manifest.end, start.end
        )));
    }
    if manifest.end == Offset(0) {
        return Ok(Position::START);
    }
    let found = reader
        .walker()
        .position_at(manifest.end, manifest.group, manifest.epoch)?;
    if let Some(position) = found.filter(|found| found.commit_crc == manifest.commit_crc) {
        return Ok(position);
    }
    Err(match parted(place, reader, manifest)? {
        Parted::At(at) => other(format!(
            "backup and log have the same groups up to offset {at} and then part: both went on from there"
        )),
        Parted::Shorter(at) => other(format!(
            "the log ends at offset {at}, before the backup's end at {}",
            manifest.end
        )),
        Parted::Damaged(error) => return Err(error),
    })
}

enum Parted {
    At(Offset),
    Shorter(Offset),
    Damaged(Error),
}

/// Walks both from the start: every group is chained to the one before, so the first difference is where they part.
fn parted(place: &Place, reader: &LogReader, manifest: &Manifest) -> Result<Parted, Error> {
    let mut ours = parts::walker(place, manifest)?;
    let start = reader.files().start();
    let mut theirs = Groups::new(reader, start);
    let mut position = ours.segments().start();
    // Up to where the log was pruned it says no more than how it went.
    let (before, _) = parts::walk(&mut ours, position, start.end)?;
    if before.end >= start.end {
        if before != start && start != Position::START && before.end == start.end {
            return Ok(Parted::At(position.end));
        }
        position = before;
    }
    while position.end < manifest.end {
        let group = match ours.next_group(&position)? {
            Step::Group(group) => group,
            Step::Stop(stop) => {
                let at = manifest.identity.stride.segment_start(stop.p);
                let found = stop.finding(manifest.identity.stride).to_string();
                return Ok(Parted::Damaged(parts::damaged(
                    place,
                    at,
                    "valid groups",
                    found,
                )));
            }
        };
        match theirs.next()? {
            Next::Group(there) if there == group => position = group.position(),
            Next::Group(_) => return Ok(Parted::At(position.end)),
            Next::End(Some(finding)) => return Ok(Parted::Damaged(finding.into())),
            Next::End(None) => return Ok(Parted::Shorter(position.end)),
        }
    }
    // The same groups, but not the end that the manifest names.
    let found = format!("group {} at {}", position.group, position.end);
    Ok(Parted::Damaged(
        BackupFault::Damaged {
            path: place.root.clone(),
            file: MANIFEST.into(),
            expected: found,
            found: format!("group {} at {}", manifest.group, manifest.end),
        }
        .into(),
    ))
}

/// Judges the groups of the log from `position` to `durable`; returns where they end, and where in each segment.
fn walk(
    reader: &LogReader,
    position: Position,
    durable: Offset,
) -> Result<(Position, BTreeMap<Offset, Offset>), Error> {
    let stride = reader.identity().stride;
    let mut groups = Groups::new(reader, position);
    let mut ends = BTreeMap::new();
    while groups.position.end < durable {
        match groups.next()? {
            Next::Group(group) => {
                ends.insert(stride.segment_start(group.start), group.end);
            }
            Next::End(Some(finding)) => return Err(finding.into()),
            Next::End(None) => {
                let why = format!("the log ended before offset {durable}, where it was durable");
                return Err(Error::invalid(why));
            }
        }
    }
    Ok((groups.position, ends))
}

/// Makes the directories where they are missing, and locks the backup.
fn admit(place: &Place, before: Option<&Manifest>) -> Result<Lock, Error> {
    let (disk, root) = (&place.disk, &place.root);
    if before.is_none() && disk.exists(root)? {
        let names = crate::recovery::list_root(place)?;
        let ours = [
            "parts",
            "parts.renaming",
            "backup.lock",
            "MANIFEST.tmp",
            "PRUNED",
            "PRUNED.tmp",
        ];
        if let Some(stranger) = names.iter().find(|name| !ours.contains(&name.as_str())) {
            return Err(BackupFault::InTheWay {
                path: root.clone(),
                what: format!("a new backup needs an empty directory, found {stranger}"),
            }
            .into());
        }
    }
    match before {
        None => new_directories(place)?,
        // Whoever wrote MANIFEST had synced them, unless they were moved since.
        Some(_) => {
            create_directories(place, &place.segments())?;
            disk.sync_dir(root)?;
        }
    }
    disk.lock(&root.join("backup.lock")).map_err(|error| {
        if error.kind() == DiskKind::Locked {
            return Error::Busy { path: root.clone() };
        }
        error.into()
    })
}

/// Copies PRUNED into a new backup.
fn copy_pruned(place: &Place, base: &Pruned, log: &Path) -> Result<PrunedPart, Error> {
    let from = Place::new(place.disk.clone(), log);
    let bytes = read_bytes(&from)?.unwrap_or_default();
    let (sha256, len) = base.file();
    if Digest::of(&bytes) != sha256 {
        // Pruned again since it was opened.
        return Err(Error::Busy { path: log.into() });
    }
    write_new(place, &place.root, PRUNED, &bytes)?;
    place.disk.sync_dir(&place.root)?;
    Ok(PrunedPart {
        end: base.end(),
        len,
        sha256,
    })
}

struct Copier<'a> {
    place: &'a Place,
    reader: &'a LogReader,
    parts: BTreeMap<Offset, Part>,
    copied: u64,
    checked: u64,
}

impl Copier<'_> {
    /// Brings the part of the segment at `start` to `len` bytes, and syncs it.
    fn copy(&mut self, start: Offset, len: u64) -> Result<(), Error> {
        let disk = &self.place.disk;
        let known = self.parts.get(&start).copied();
        let from = known.map_or(0, |part| part.len);
        let mut hasher = Hasher::default();
        if let Some(part) = known {
            hasher = parts::hash(self.place, start, part.len)?;
            parts::same(self.place, start, part.sha256, hasher.clone().finish())?;
            self.checked += part.len;
        }
        let file = disk.open(&self.place.segment(start), OpenMode::CreateOrOpen)?;
        if file.len()? > from {
            file.set_len(from)?; // left by a backup that was broken off
        }
        let mut at = from;
        while at < len {
            let until = len.min(at + WINDOW_LEN);
            let bytes = self.reader.read_range(start.0 + at..start.0 + until)?;
            file.write_all_at(&bytes, at)?;
            hasher.update(&bytes);
            self.copied += until - at;
            at = until;
        }
        file.sync_all()?;
        let sha256 = hasher.finish();
        self.parts.insert(start, Part { len, sha256 });
        Ok(())
    }
}

/// Reads what was copied again, and with `all` what was copied before; looks whether the rest is there. Returns how many
/// bytes were read.
fn check(
    place: &Place,
    manifest: &Manifest,
    before: Option<&Manifest>,
    touched: &BTreeMap<Offset, Offset>,
    all: bool,
) -> Result<u64, Error> {
    let mut checked = 0;
    let last = manifest.parts.keys().next_back();
    for (start, part) in &manifest.parts {
        if all || touched.contains_key(start) || Some(start) == last {
            parts::check(place, *start, part)?;
            checked += part.len;
        } else {
            parts::open(place, *start, part.len)?;
        }
    }
    let from = match before {
        Some(before) if !all && before.end > Offset(0) => {
            let position = parts::walker(place, manifest)?
                .position_at(before.end, before.group, before.epoch)?
                .filter(|position| position.commit_crc == before.commit_crc);
            let at = manifest
                .identity
                .stride
                .segment_start(Offset(before.end.0 - 1));
            position.ok_or_else(|| {
                let expected = format!("the end of group {} at {}", before.group, before.end);
                parts::damaged(place, at, expected, "no such group")
            })?
        }
        _ => parts::walker(place, manifest)?.segments().start(),
    };
    parts::check_groups(place, manifest, from)?;
    Ok(checked)
}
