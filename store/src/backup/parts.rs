//! The parts of a backup: beginnings of segments, read back and checked.

use crate::backup::fault::BackupFault;
use crate::backup::manifest::{Manifest, Part};
use crate::error::Error;
use crate::group::{Position, Step};
use crate::place::{Place, Segments, WINDOW_LEN};
use crate::pruned::{PRUNED, Pruned, read_bytes};
use crate::walk::Walker;
use aos_disk::{Error as DiskError, File, Kind as DiskKind, Map, OpenMode};
use aos_format::digest::{Digest, Hasher};
use aos_format::offset::{Offset, segment_file_name};
use std::path::Path;
use std::sync::Arc;

/// A file whose first `counts` bytes count, read as one of `len` bytes: zeros stand for the rest.
#[derive(Debug)]
struct Padded {
    file: Arc<dyn File>,
    counts: u64,
    len: u64,
}

/// The part in `file` read as a segment of `len` bytes.
pub(crate) fn padded(file: Arc<dyn File>, counts: u64, len: u64) -> Arc<dyn File> {
    Arc::new(Padded { file, counts, len })
}

impl Padded {
    fn refuse<T>(&self, operation: &'static str) -> Result<T, DiskError> {
        let why = "parts of a backup are only read here";
        Err(DiskError::new(
            operation,
            Path::new("part"),
            DiskKind::ReadOnly,
            why,
        ))
    }
}

impl File for Padded {
    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.len)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> Result<usize, DiskError> {
        let wanted = (buf.len() as u64).min(self.len.saturating_sub(at)) as usize;
        let counts = self.counts.saturating_sub(at).min(wanted as u64) as usize;
        let (real, zeros) = buf[..wanted].split_at_mut(counts);
        if !real.is_empty() {
            self.file.read_exact_at(real, at)?;
        }
        zeros.fill(0);
        Ok(wanted)
    }

    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> Result<(), DiskError> {
        if self.read_at(buf, at)? == buf.len() {
            return Ok(());
        }
        let why = "the range ends beyond the segment";
        Err(DiskError::new(
            "read",
            Path::new("part"),
            DiskKind::UnexpectedEnd,
            why,
        ))
    }

    fn set_len(&self, _len: u64) -> Result<(), DiskError> {
        self.refuse("set the length of")
    }

    fn write_all_at(&self, _buf: &[u8], _at: u64) -> Result<(), DiskError> {
        self.refuse("write")
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.refuse("sync")
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        self.refuse("sync")
    }

    fn map(&self, _len: u64) -> Result<Map, DiskError> {
        self.refuse("map")
    }
}

/// Name of a part in messages.
fn file_name(start: Offset) -> String {
    format!("parts/{}", segment_file_name(start))
}

pub(crate) fn damaged(
    place: &Place,
    start: Offset,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Error {
    BackupFault::Damaged {
        path: place.root.clone(),
        file: file_name(start),
        expected: expected.into(),
        found: found.into(),
    }
    .into()
}

/// Opens the part at `start`, which must have at least `len` bytes.
pub(crate) fn open(place: &Place, start: Offset, len: u64) -> Result<Arc<dyn File>, Error> {
    let file = match place.disk.open(&place.segment(start), OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == DiskKind::NotFound => {
            return Err(damaged(place, start, "the part", "no file of that name"));
        }
        Err(error) => return Err(error.into()),
    };
    let found = file.len()?;
    if found < len {
        let found = format!("{found} bytes");
        return Err(damaged(place, start, format!("{len} bytes"), found));
    }
    Ok(file)
}

/// Hashes the first `len` bytes of the part at `start`.
pub(crate) fn hash(place: &Place, start: Offset, len: u64) -> Result<Hasher, Error> {
    let file = open(place, start, len)?;
    let mut hasher = Hasher::default();
    let mut window = vec![0; WINDOW_LEN.min(len) as usize];
    let mut at = 0;
    while at < len {
        let bytes = &mut window[..WINDOW_LEN.min(len - at) as usize];
        file.read_exact_at(bytes, at)?;
        hasher.update(bytes);
        at += bytes.len() as u64;
    }
    Ok(hasher)
}

/// Reads a part again and compares its digest.
pub(crate) fn check(place: &Place, start: Offset, part: &Part) -> Result<(), Error> {
    let found = hash(place, start, part.len)?.finish();
    same(place, start, part.sha256, found)
}

pub(crate) fn same(
    place: &Place,
    start: Offset,
    expected: Digest,
    found: Digest,
) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    let said = |digest: Digest| format!("SHA-256 {}", digest.hex());
    Err(damaged(place, start, said(expected), said(found)))
}

/// A walker over the groups in the parts of a backup.
pub(crate) fn walker(place: &Place, manifest: &Manifest) -> Result<Walker, Error> {
    let stride = manifest.identity.stride;
    let pruned = pruned(place, manifest)?.map(|(pruned, _)| Arc::new(pruned));
    let segments = Segments::of_parts(place.clone(), stride, manifest.lengths(), pruned);
    Ok(Walker::new(Arc::new(segments), manifest.identity))
}

/// What the backup has of a log's pruned beginning, and the bytes of it.
pub(crate) fn pruned(
    place: &Place,
    manifest: &Manifest,
) -> Result<Option<(Pruned, Vec<u8>)>, Error> {
    let Some(part) = &manifest.pruned else {
        return Ok(None);
    };
    let damaged = |found: String| BackupFault::Damaged {
        path: place.root.clone(),
        file: PRUNED.into(),
        expected: format!("{} bytes with SHA-256 {}", part.len, part.sha256.hex()),
        found,
    };
    let bytes = read_bytes(place)?.ok_or_else(|| damaged("no file of that name".into()))?;
    let found = Digest::of(&bytes);
    if bytes.len() as u64 != part.len || found != part.sha256 {
        let found = format!("{} bytes with SHA-256 {}", bytes.len(), found.hex());
        return Err(damaged(found).into());
    }
    let pruned = Pruned::decode(&bytes).map_err(|fault| damaged(fault.finding().to_string()))?;
    if pruned.identity != manifest.identity || pruned.end() != part.end {
        return Err(damaged(format!("one that ends at {}", pruned.end())).into());
    }
    Ok(Some((pruned, bytes)))
}

/// Walks from `position` over valid groups as long as they end at or below `limit`.
pub(crate) fn walk(
    walker: &mut Walker,
    mut position: Position,
    limit: Offset,
) -> Result<(Position, Option<String>), Error> {
    while position.end < limit {
        match walker.next_group(&position)? {
            Step::Group(group) if group.end > limit => break,
            Step::Group(group) => position = group.position(),
            Step::Stop(stop) => {
                let finding = stop.finding(walker.identity().stride);
                return Ok((position, Some(finding.to_string())));
            }
        }
    }
    Ok((position, None))
}

/// Checks the groups in the parts up to the manifest's end, from `position` on.
pub(crate) fn check_groups(
    place: &Place,
    manifest: &Manifest,
    position: Position,
) -> Result<Position, Error> {
    let mut walker = walker(place, manifest)?;
    let (end, why) = walk(&mut walker, position, manifest.end)?;
    let expected = (
        manifest.end,
        manifest.group,
        manifest.epoch,
        manifest.commit_crc,
    );
    if why.is_none() && (end.end, end.group, end.epoch, end.commit_crc) == expected {
        return Ok(end);
    }
    let at = manifest.identity.stride.segment_start(end.end);
    let expected = format!("groups up to number {} at {}", manifest.group, manifest.end);
    let found = why.unwrap_or_else(|| format!("group {} at {}", end.group, end.end));
    Err(damaged(place, at, expected, found))
}
