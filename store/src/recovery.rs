//! Opening a log for writing: from whatever a crash left to a log that can be appended to.
//!
//! Steps 1 to 4 of the format page's "Opening for writing"; the fifth, the OPEN record, is the first group of the new
//! writer. Nothing is changed before the whole tail is judged, and a crash anywhere in here leaves a log on which all of it
//! runs again.

use crate::error::{Error, Finding, FindingKind, code};
use crate::group::Position;
use crate::lock::{self, LockFile, LockState};
use crate::log::Options;
use crate::place::{Listing, Place, SegmentFile, Segments, wrong_length};
use crate::pruned::Pruned;
use crate::renew;
use crate::tail::{self, End, TailState};
use crate::walk::{Walker, is_zero};
use aos_disk::{File, Kind as DiskKind, Lock, OpenMode};
use aos_format::Error as FormatError;
use aos_format::digest::{Digest, hex};
use aos_format::offset::{Offset, segment_file_name};
use aos_format::segment::{DurableWord, Identity, SEGMENT_HEADER_LEN, SegmentHeader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that an opening cut off behind the last valid group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TailCut {
    /// First byte cut off.
    pub start: Offset,
    /// Bytes cut off.
    pub len: u64,
    /// SHA-256 of them.
    pub sha256: Digest,
    /// The copy kept below the log, relative to it.
    pub saved_as: String,
}

/// A log that is ready for its next group.
pub(crate) struct Recovered {
    pub(crate) locks: Vec<Lock>,
    pub(crate) lock_file: LockFile,
    pub(crate) identity: Identity,
    pub(crate) segments: Arc<Segments>,
    pub(crate) position: Position,
    /// Epoch of the opening under way.
    pub(crate) epoch: u32,
    pub(crate) cut: Option<TailCut>,
    pub(crate) created: bool,
}

/// Locks the log at `place` and makes it usable.
pub(crate) fn recover(place: Place, options: &Options) -> Result<Recovered, Error> {
    let made = admit(&place, options.create)?;
    let mut locks = take_locks(&place)?;
    let is_lock_made = place.disk.exists(&place.lock())?;
    let listing = place.list()?;
    let state = lock::read(&place)?;
    let (identity, word, created) = identify(&place, &listing, &state, options)?;
    if created {
        made.renew_the_others(&place)?;
        sync_parents(&place)?;
    }
    let segments = Arc::new(Segments::open(place.clone(), identity, true)?);
    // A fresh log has removed what stood there, and what is pruned does not count.
    let listing = segments.list()?;
    let mut walker = Walker::new(segments.clone(), identity);

    let (end, torn) = judge(&mut walker, &segments, &listing, identity, word.as_ref())?;
    let epochs = [
        end.position.epoch,
        word.map_or(0, |word| word.epoch),
        match torn {
            Some((start, len)) => walker.epoch_max(start, start.plus(len))?,
            None => 0,
        },
    ];
    let epoch = epochs
        .into_iter()
        .max()
        .and_then(|epoch| epoch.checked_add(1))
        .ok_or(Error::Exhausted { what: "epochs" })?;

    // From here on the disk is changed.
    if !is_lock_made {
        locks.push(lock(&place, &place.lock())?);
    }
    remove_leftovers(&place, &listing)?;
    let good = matches!(state, LockState::Valid(..)) && !created;
    let lock_file = LockFile::open(&place, identity, good, word)?;
    let cut = match torn {
        Some((start, len)) => Some(save(&place, &segments, epoch, start, len)?),
        None => None,
    };
    renew::spares(&place, &listing, end.position.next(identity.stride))?;
    settle(&place, &segments, &mut walker, &end.position, torn)?;
    Ok(Recovered {
        locks,
        lock_file,
        identity,
        segments,
        position: end.position,
        epoch,
        cut,
        created,
    })
}

/// Which directories of the log this process made, and so knows to be durable.
#[derive(Default)]
struct Made {
    root: bool,
    segments: bool,
}

impl Made {
    /// Names the directories of a new log anew that were there already.
    fn renew_the_others(&self, place: &Place) -> Result<(), Error> {
        if !self.segments {
            renew::directory(place, &place.segments())?;
        }
        if !self.root {
            renew::directory(place, &place.root)?;
        }
        Ok(())
    }
}

/// Step 0: is there a log at this path, or may one be made there?
fn admit(place: &Place, create: bool) -> Result<Made, Error> {
    let (disk, root) = (&place.disk, &place.root);
    let mut made = Made::default();
    if !disk.exists(root)? && !renew::take_back(place, root)? {
        if !create {
            return Err(Error::NoLog { path: root.clone() });
        }
        made.root = create_directories(place, root)?;
    }
    let names = list_root(place)?;
    let has = |name: &str| names.iter().any(|n| n == name);
    if !has("LOCK") && !has("segments") {
        let ours = |name: &String| {
            matches!(
                name.as_str(),
                "recovered" | "catalog.redb" | "catalog.redb.tmp" | "segments.renaming"
            )
        };
        if !create {
            return Err(Error::not_a_log(root, "it has neither LOCK nor segments"));
        }
        if let Some(stranger) = names.iter().find(|name| !ours(name)) {
            return Err(Error::not_a_log(
                root,
                format!("a new log needs an empty directory, found {stranger}"),
            ));
        }
    }
    if !has("segments") && create {
        made.segments = create_directories(place, &place.segments())?;
    }
    Ok(made)
}

/// The names in the log's directory.
pub(crate) fn list_root(place: &Place) -> Result<Vec<String>, Error> {
    place
        .disk
        .list(&place.root)
        .map_err(|error| match error.kind() {
            DiskKind::NotFound => Error::NoLog {
                path: place.root.clone(),
            },
            DiskKind::Io if place.disk.open(&place.root, OpenMode::Read).is_ok() => {
                Error::not_a_log(&place.root, "it is not a directory")
            }
            _ => error.into(),
        })
}

/// Creates a directory with its parents, each durable before the next, or takes back one that a crash left aside.
/// Returns whether it was made, and so is known to be durable.
pub(crate) fn create_directories(place: &Place, path: &Path) -> Result<bool, Error> {
    if !place.disk.exists(path)? && renew::take_back(place, path)? {
        return Ok(false);
    }
    let mut missing = Vec::new();
    let mut ancestor = path;
    while !ancestor.as_os_str().is_empty() && !place.disk.exists(ancestor)? {
        let Some(parent) = ancestor.parent() else {
            break;
        };
        missing.push((ancestor, parent));
        ancestor = parent;
    }
    let create = |path: &Path| {
        place
            .disk
            .create_dir_all(path)
            .map_err(|error| match error.kind() {
                DiskKind::AlreadyExists | DiskKind::Io => {
                    Error::not_a_log(path, "a file is in the way")
                }
                _ => error.into(),
            })
    };
    if missing.is_empty() {
        create(path)?;
        return Ok(false);
    }
    for (directory, parent) in missing.into_iter().rev() {
        create(directory)?;
        place.disk.sync_dir(parent)?;
    }
    Ok(true)
}

/// The directories of something new, all of them durable: `root` and the directory of its files.
pub(crate) fn new_directories(place: &Place) -> Result<(), Error> {
    let (root, inner) = (&place.root, place.segments());
    let made = Made {
        root: create_directories(place, root)?,
        segments: create_directories(place, &inner)?,
    };
    made.renew_the_others(place)?;
    place.disk.sync_dir(root)?;
    Ok(place
        .disk
        .sync_dir(root.parent().unwrap_or(Path::new("")))?)
}

/// Makes the names that lead to a new log durable: who made its directories may have been killed before they were synced.
fn sync_parents(place: &Place) -> Result<(), Error> {
    place.disk.sync_dir(&place.root)?;
    let ancestors = place.root.ancestors().skip(1);
    for (distance, ancestor) in ancestors.enumerate() {
        match place.disk.sync_dir(ancestor) {
            // A directory further up that may not be read was not made by whoever made the log.
            Err(error) if distance > 0 && error.kind() == DiskKind::Permission => break,
            synced => synced?,
        }
    }
    Ok(())
}

/// Step 1: the lock on the directory of segments, so that removing LOCK admits nobody, and on LOCK.
///
/// Beside segments, a LOCK that is missing is not made yet: the lock on their directory keeps others away, and an opening
/// that is refused leaves everything as it was.
pub(crate) fn take_locks(place: &Place) -> Result<Vec<Lock>, Error> {
    let (mut locks, segments) = (Vec::new(), place.segments());
    let mut bare = true;
    // Without the directory, the judgement of the tail says what that means.
    if place.disk.exists(&segments)? {
        locks.push(lock(place, &segments)?);
        bare = place.disk.list(&segments)?.is_empty();
    }
    if bare || place.disk.exists(&place.lock())? {
        locks.push(lock(place, &place.lock())?);
    }
    Ok(locks)
}

fn lock(place: &Place, path: &Path) -> Result<Lock, Error> {
    place.disk.lock(path).map_err(|error| match error.kind() {
        DiskKind::Locked => Error::Busy {
            path: place.root.clone(),
        },
        _ => error.into(),
    })
}

/// Who the log is, what its durable word says, and whether it is a new one.
fn identify(
    place: &Place,
    listing: &Listing,
    state: &LockState,
    options: &Options,
) -> Result<(Identity, Option<DurableWord>, bool), Error> {
    let bytes = match state {
        LockState::Valid(identity, word) => return Ok((*identity, *word, false)),
        LockState::Garbled(bytes) => bytes.as_slice(),
        LockState::Missing => &[],
    };
    if let Some(identity) = identity_of_segments(place, listing)? {
        let word = DurableWord::newest(bytes, identity.log_id.salt());
        return Ok((identity, word, false));
    }
    if let Some(pruned) = Pruned::read(place)? {
        // Its segments are gone: never make another log in its place.
        return Ok((pruned.identity, None, false));
    }
    if !options.create {
        return Err(Error::NoLog {
            path: place.root.clone(),
        });
    }
    for &start in &listing.starts {
        place.disk.remove(&place.segment(start))?;
    }
    place.disk.sync_dir(&place.segments())?;
    let identity = Identity {
        log_id: options.log_id,
        stride: options.stride,
    };
    Ok((identity, None, true))
}

/// The identity that segment headers give; `None` when all segments are zeros or there are none.
pub(crate) fn identity_of_segments(
    place: &Place,
    listing: &Listing,
) -> Result<Option<Identity>, Error> {
    let mut fault = None;
    for &start in &listing.starts {
        let file = place.disk.open(&place.segment(start), OpenMode::Read)?;
        let mut header = [0; SEGMENT_HEADER_LEN as usize];
        let read = file.read_at(&mut header, 0)?;
        match SegmentHeader::decode(&header[..read]) {
            Ok(header) => return Ok(Some(header.identity)),
            Err(_) if is_all_zero(&*file)? => {}
            Err(error) => fault = fault.or(Some((start, error))),
        }
    }
    let Some((start, error)) = fault else {
        return Ok(None);
    };
    let newer = matches!(
        error,
        FormatError::NewerVersion { .. } | FormatError::UnknownFeatures { .. }
    );
    let (kind, code) = if newer {
        (FindingKind::Unsupported, code::UNSUPPORTED)
    } else {
        (FindingKind::Corruption, code::DAMAGED)
    };
    Err(Finding {
        kind,
        code,
        offset: start,
        length: Some(SEGMENT_HEADER_LEN),
        file: segment_file_name(start),
        expected: "a segment header, since LOCK does not say which log this is".into(),
        found: error.to_string(),
    }
    .into())
}

fn is_all_zero(file: &dyn File) -> Result<bool, Error> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            return Ok(true);
        }
        if !is_zero(&buffer[..read]) {
            return Ok(false);
        }
        at += read as u64;
    }
}

/// Step 2: where the log ends, and the torn range behind it. Anything but a crash's traces is an error.
fn judge(
    walker: &mut Walker,
    segments: &Segments,
    listing: &Listing,
    identity: Identity,
    word: Option<&DurableWord>,
) -> Result<(End, Option<(Offset, u64)>), Error> {
    let stride = identity.stride;
    check_files(segments, listing)?;
    let (end, lies) = tail::find_end_from_word(walker, word)?;
    if let Some(finding) = lies {
        return Err(finding.into());
    }
    // The segment of the last group too: a walk from the durable word has not met its header.
    let p = end.position.end;
    check_headers(segments, listing, identity, p)?;
    match tail::judge(walker, listing, stride, word, &end)? {
        TailState::Clean | TailState::Unproven(_) => Ok((end, None)),
        TailState::Torn { start, length, .. } => Ok((end, Some((start, length)))),
        TailState::Damage(finding) | TailState::Gap(finding) => Err(finding.into()),
    }
}

/// All segments there, each of the right length.
pub(crate) fn check_files(segments: &Segments, listing: &Listing) -> Result<(), Error> {
    if let Some(finding) = listing.fault(segments.stride) {
        return Err(finding.into());
    }
    for &start in &listing.starts {
        if let SegmentFile::WrongLength(found) = segments.file(start)? {
            return Err(wrong_length(start, segments.stride, found).into());
        }
    }
    Ok(())
}

/// The headers of the segments before `p`'s, whose groups are not walked again.
fn check_headers(
    segments: &Segments,
    listing: &Listing,
    identity: Identity,
    p: Offset,
) -> Result<(), Error> {
    for &start in listing.starts.iter().filter(|&&start| start < p) {
        let bytes = segments.read(start, SEGMENT_HEADER_LEN as usize)?;
        let decoded = SegmentHeader::decode(&bytes);
        let (kind, code) = match &decoded {
            Err(FormatError::NewerVersion { .. } | FormatError::UnknownFeatures { .. }) => {
                (FindingKind::Unsupported, code::UNSUPPORTED)
            }
            _ => (FindingKind::Corruption, code::DAMAGED),
        };
        let found = match decoded {
            Ok(header) if header.identity == identity && header.offset == start => continue,
            Ok(header) => format!(
                "the header of segment {} of log {}",
                header.offset, header.identity.log_id
            ),
            Err(error) => error.to_string(),
        };
        return Err(Finding {
            kind,
            code,
            offset: start,
            length: Some(SEGMENT_HEADER_LEN),
            file: segment_file_name(start),
            expected: format!("the header of segment {start} of log {}", identity.log_id),
            found,
        }
        .into());
    }
    Ok(())
}

fn remove_leftovers(place: &Place, listing: &Listing) -> Result<(), Error> {
    for name in &listing.temporary {
        place.disk.remove(&place.segments().join(name))?;
    }
    if !listing.temporary.is_empty() {
        place.disk.sync_dir(&place.segments())?;
    }
    Ok(())
}

/// Step 3: a copy of the torn bytes, kept for ever.
fn save(
    place: &Place,
    segments: &Segments,
    epoch: u32,
    start: Offset,
    len: u64,
) -> Result<TailCut, Error> {
    let (disk, dir) = (&place.disk, place.recovered());
    let bytes = segments.read(start, len as usize)?;
    let sha256 = Digest::of(&bytes);
    let name = format!("{epoch}-{start}-{}.torn", hex(&sha256.0[..8]));
    let cut = TailCut {
        start,
        len,
        sha256,
        saved_as: format!("recovered/{name}"),
    };
    if !disk.exists(&dir)? {
        disk.create_dir_all(&dir)?;
    }
    disk.sync_dir(&place.root)?;
    if !disk.exists(&dir.join(&name))? {
        write_new(place, &dir, &name, &bytes)?;
    }
    disk.sync_dir(&dir)?;
    Ok(cut)
}

/// Writes a file under a temporary name, syncs it, and gives it its name.
pub(crate) fn write_new(
    place: &Place,
    dir: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<PathBuf, Error> {
    let (path, temporary) = (dir.join(name), dir.join(format!("{name}.tmp")));
    if place.disk.exists(&temporary)? {
        place.disk.remove(&temporary)?;
    }
    let file = place.disk.open(&temporary, OpenMode::CreateNew)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    place.disk.rename(&temporary, &path)?;
    Ok(path)
}

/// Step 4: what was read is made durable (after a kill it may stand in memory only), and the torn range zero.
fn settle(
    place: &Place,
    segments: &Segments,
    walker: &mut Walker,
    position: &Position,
    torn: Option<(Offset, u64)>,
) -> Result<(), Error> {
    let stride = segments.stride;
    let write = |at: Offset, bytes: &[u8], sync: bool| -> Result<(), Error> {
        let start = stride.segment_start(at);
        let file = place
            .disk
            .open(&place.segment(start), OpenMode::ReadWrite)?;
        file.write_all_at(bytes, at.0 - start.0)?;
        if sync {
            file.sync_data()?;
        }
        Ok(())
    };
    if position.end > segments.start().end {
        let first = walker
            .group_start(position.end)?
            .ok_or_else(|| Error::invalid("the last group changed while the log was opened"))?;
        let segment = stride.segment_start(first);
        let with_header = first == segment.plus(SEGMENT_HEADER_LEN);
        let start = if with_header { segment } else { first };
        let bytes = segments.read(start, (position.end.0 - start.0) as usize)?;
        let same_file = torn.is_some_and(|(torn, _)| stride.segment_start(torn) == segment);
        write(start, &bytes, !same_file)?;
    }
    if let Some((start, len)) = torn {
        write(start, &vec![0; len as usize], true)?;
    }
    place.disk.sync_dir(&place.segments())?;
    // The names of LOCK and of `segments` too, in case whoever made them was killed right after.
    place.disk.sync_dir(&place.root)?;
    Ok(())
}
