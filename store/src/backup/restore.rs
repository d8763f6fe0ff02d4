//! Making a log from a backup: built and checked beside its place, then given its name in one step.

use crate::backup::fault::BackupFault;
use crate::backup::manifest::Manifest;
use crate::backup::parts;
use crate::error::Error;
use crate::group::Position;
use crate::lock::LockFile;
use crate::place::{Place, Segments, copy_segment};
use crate::pruned::PRUNED;
use crate::recovery::{list_root, new_directories, take_locks, write_new};
use crate::walk::Walker;
use aos_disk::Disk;
use aos_format::offset::Offset;
use aos_format::segment::{DurableWord, Identity};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a restore made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoreReport {
    /// Which log it is: the one that the backup was made from.
    pub identity: Identity,
    /// Where the restored log ends: at the last group that ends at or below the offset asked for.
    pub end: Offset,
    /// Number of its last group.
    pub group: u64,
    /// Epoch of that group; the next opening for writing takes the one after it.
    pub epoch: u32,
    /// Bytes copied.
    pub bytes: u64,
    /// Segment files made.
    pub segments: u64,
    /// Where the backup ends.
    pub backup_end: Offset,
}

/// Makes a log at `log`, where nothing may be, from the backup at `dir`: all of it, or the groups that end at or below
/// `upto`.
///
/// The log is built at `log` with `.restoring` behind its name and renamed when it is whole and synced; what a broken-off
/// restore left there is overwritten. It has the id of the log that the backup was made from: see
/// `docs/format/backup-v1.md` for what follows when both are written on.
///
/// # Errors
/// [`Error::Backup`] when the backup is missing, changed, too short or newer than this build, or something is in the way;
/// [`Error::Busy`] when somebody else restores to this place; [`Error::Disk`]. There is no log at `log` then.
pub fn restore(
    disk: Arc<dyn Disk>,
    dir: &Path,
    log: &Path,
    upto: Option<Offset>,
) -> Result<RestoreReport, Error> {
    let source = Place::of_backup(disk.clone(), dir);
    // Without a slash at its end.
    let log: &Path = &log.components().collect::<PathBuf>();
    let manifest =
        Manifest::read(&source)?.ok_or_else(|| BackupFault::Missing { path: dir.into() })?;
    let limit = upto.unwrap_or(manifest.end);
    if limit > manifest.end {
        return Err(BackupFault::Beyond {
            asked: limit,
            end: manifest.end,
        }
        .into());
    }
    if disk.exists(log)? {
        return Err(BackupFault::InTheWay {
            path: log.into(),
            what: "a log is restored to a place where nothing is".into(),
        }
        .into());
    }
    let pruned = parts::pruned(&source, &manifest)?;
    if let Some((base, _)) = pruned.as_ref().filter(|(base, _)| limit < base.end()) {
        return Err(base.refuse(limit));
    }
    let end = judge(&source, &manifest, limit)?;
    let place = Place::new(disk.clone(), &beside(log));
    let locks = clear(&place)?;
    if let Some((_, bytes)) = &pruned {
        write_new(&place, &place.root, PRUNED, bytes)?;
    }
    let (bytes, segments) = build(&source, &place, &manifest, &end)?;
    check(&place, &manifest, &end)?;
    disk.rename(&place.root, log)?;
    disk.sync_dir(log.parent().unwrap_or(Path::new("")))?;
    drop(locks);
    Ok(RestoreReport {
        identity: manifest.identity,
        end: end.end,
        group: end.group,
        epoch: end.epoch,
        bytes,
        segments,
        backup_end: manifest.end,
    })
}

/// Where the log is built.
fn beside(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".restoring");
    name.into()
}

/// Reads all parts that are needed and judges their groups; returns the last one's end.
fn judge(source: &Place, manifest: &Manifest, limit: Offset) -> Result<Position, Error> {
    for (start, part) in manifest.parts.range(..limit) {
        parts::check(source, *start, part)?;
    }
    if limit == manifest.end {
        let start = parts::walker(source, manifest)?.segments().start();
        return parts::check_groups(source, manifest, start);
    }
    let mut walker = parts::walker(source, manifest)?;
    let start = walker.segments().start();
    let (end, why) = parts::walk(&mut walker, start, limit)?;
    match why {
        None => Ok(end),
        Some(found) => {
            let at = manifest.identity.stride.segment_start(end.end);
            Err(parts::damaged(source, at, "valid groups", found))
        }
    }
}

/// An empty directory for the log, with its locks: what a broken-off restore left is taken away.
fn clear(place: &Place) -> Result<Vec<aos_disk::Lock>, Error> {
    new_directories(place)?;
    let in_the_way = |what: String| BackupFault::InTheWay {
        path: place.root.clone(),
        what,
    };
    let names = list_root(place)?;
    let ours = ["LOCK", "segments", PRUNED, "PRUNED.tmp"];
    if let Some(name) = names.iter().find(|name| !ours.contains(&name.as_str())) {
        return Err(in_the_way(format!("it holds {name}, which no restore left there")).into());
    }
    let locks = take_locks(place)?;
    let listing = place.list()?;
    if let Some(name) = listing.strangers.first() {
        return Err(in_the_way(format!("it holds segments/{name}")).into());
    }
    for name in names.iter().filter(|name| name.starts_with(PRUNED)) {
        place.disk.remove(&place.root.join(name))?;
    }
    for start in listing.starts {
        place.disk.remove(&place.segment(start))?;
    }
    for name in listing.temporary {
        place.disk.remove(&place.segments().join(name))?;
    }
    Ok(locks)
}

/// Copies the groups up to `end`; returns how many bytes and segments.
fn build(
    source: &Place,
    place: &Place,
    manifest: &Manifest,
    end: &Position,
) -> Result<(u64, u64), Error> {
    let (disk, stride) = (&place.disk, manifest.identity.stride);
    let (mut bytes, mut segments) = (0, 0);
    let mut make = |start: Offset, len: u64| -> Result<(), Error> {
        let (from, to) = (source.segment(start), place.segment(start));
        copy_segment(&**disk, &from, &to, stride, len)?;
        bytes += len;
        segments += 1;
        Ok(())
    };
    for (&start, part) in manifest.parts.range(..end.end) {
        make(start, part.len.min(end.end.0 - start.0))?;
    }
    if end.ended {
        // An ended segment has a next one, if only a spare.
        make(end.next(stride), 0)?;
    }
    disk.sync_dir(&place.segments())?;
    let word = (end.group > 0).then_some(DurableWord {
        durable: end.end,
        group: end.group,
        epoch: end.epoch,
    });
    LockFile::open(place, manifest.identity, false, word)?;
    disk.sync_dir(&place.root)?;
    Ok((bytes, segments))
}

/// Reads the log that was built and judges it once more.
fn check(place: &Place, manifest: &Manifest, expected: &Position) -> Result<(), Error> {
    let segments = Arc::new(Segments::open(place.clone(), manifest.identity, false)?);
    let start = segments.start();
    let mut walker = Walker::new(segments, manifest.identity);
    let (found, why) = parts::walk(&mut walker, start, expected.end)?;
    if why.is_none() && found == *expected {
        return Ok(());
    }
    Err(BackupFault::Damaged {
        path: place.root.clone(),
        file: "segments".into(),
        expected: format!("what was written, up to group {}", expected.group),
        found: why.unwrap_or_else(|| format!("group {} at {}", found.group, found.end)),
    }
    .into())
}
