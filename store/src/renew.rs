//! Names that an earlier process may have failed to make durable.
//!
//! A sync of a directory that fails may drop the change of a name for good: no later sync says anything about it, as with
//! the pages of a file ("Can Applications Recover from fsync Failures?", ATC'20). The process that sees the failure stops.
//! The next one finds the name, cannot tell whether it is durable, and would build on it. So what a log comes to rest on
//! for the first time is given its name anew, by a rename to another name and back, before it is synced:
//!
//! - the directory of a log without a valid LOCK or a segment header, and `segments` in it, unless this process made them;
//! - each segment behind the end of the log to which no END frame leads. Such a segment is empty.
//!
//! All others were synced with success before anything was written behind them. A crash between the two renames leaves the
//! other name: that of a directory is taken back when the log is made, a segment without content is removed and made again.

use crate::error::Error;
use crate::place::{Listing, Place};
use aos_disk::Kind as DiskKind;
use aos_format::offset::{Offset, segment_file_name};
use std::path::{Path, PathBuf};

/// What `path` is called between the two renames; `None` for a path without a last name.
pub(crate) fn aside(path: &Path) -> Option<PathBuf> {
    let mut name = path.file_name()?.to_owned();
    name.push(".renaming");
    Some(path.with_file_name(name))
}

/// Names a directory anew. Its parent is to be synced afterwards.
///
/// A directory that this process may not rename (its parent belongs to somebody else, or it is a mount point) was not
/// made by a process like this one, and stays.
pub(crate) fn directory(place: &Place, path: &Path) -> Result<(), Error> {
    let Some(aside) = aside(path) else {
        return Ok(());
    };
    match place.disk.rename(path, &aside) {
        Err(error) if matches!(error.kind(), DiskKind::Permission | DiskKind::ReadOnly) => {
            return Ok(());
        }
        renamed => renamed?,
    }
    match place.disk.rename(&aside, path) {
        // Somebody who opens the same log found it aside and has taken it back.
        Err(error) if error.kind() == DiskKind::NotFound && place.disk.exists(path)? => Ok(()),
        renamed => Ok(renamed?),
    }
}

/// Takes back a directory that a crash left aside. Returns whether there was one.
pub(crate) fn take_back(place: &Place, path: &Path) -> Result<bool, Error> {
    match aside(path) {
        Some(aside) if place.disk.exists(&aside)? => {
            place.disk.rename(&aside, path)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Names the empty segments behind `next` anew, where the next group belongs. `segments` is to be synced afterwards.
///
/// A segment that starts at `next` is left alone unless it is the first: an END frame leads there, so its name was synced
/// before, and between the two renames it must not be missing.
pub(crate) fn spares(place: &Place, listing: &Listing, next: Offset) -> Result<(), Error> {
    let unneeded = |start: &&Offset| **start > next || **start == Offset(0) && next == Offset(0);
    for &start in listing.starts.iter().filter(unneeded) {
        let path = place.segment(start);
        let aside = place
            .segments()
            .join(format!("{}.tmp", segment_file_name(start)));
        place.disk.rename(&path, &aside)?;
        place.disk.rename(&aside, &path)?;
    }
    Ok(())
}
