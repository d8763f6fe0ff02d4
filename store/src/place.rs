//! Where the files of a log are, and how their bytes are read.

use crate::backup::padded;
use crate::buffer::Aligned;
use crate::error::{Error, Finding, FindingKind, code};
use crate::fold::Rows;
use crate::group::Position;
use crate::pruned::Pruned;
use aos_disk::{Disk, File, Map, OpenMode};
use aos_format::offset::{Offset, Stride, parse_segment_file_name, segment_file_name};
use aos_format::segment::{Identity, LOCK_LEN};
use parking_lot::{Mutex, RwLock};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most segment files and maps held open for reading at once.
const OPEN_FILES_MAX: usize = 64;

/// The paths of one log.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root: PathBuf,
    /// Directory below the root with the segments, or with the parts of a backup.
    files: &'static str,
}

impl Place {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: &Path) -> Place {
        Place {
            disk,
            root: root.to_owned(),
            files: "segments",
        }
    }

    /// The paths of a backup, whose parts are named as segments are.
    pub(crate) fn of_backup(disk: Arc<dyn Disk>, root: &Path) -> Place {
        Place {
            files: "parts",
            ..Place::new(disk, root)
        }
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join(self.files)
    }

    pub(crate) fn segment(&self, start: Offset) -> PathBuf {
        self.segments().join(segment_file_name(start))
    }

    pub(crate) fn recovered(&self) -> PathBuf {
        self.root.join("recovered")
    }

    pub(crate) fn catalogue(&self) -> PathBuf {
        self.root.join("catalog.redb")
    }

    /// Bytes of LOCK, as many as there are up to its length; `None` when there is no such file.
    pub(crate) fn read_lock(&self) -> Result<Option<Vec<u8>>, Error> {
        let file = match self.disk.open(&self.lock(), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == aos_disk::Kind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = vec![0; LOCK_LEN as usize];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// What stands in the directory of segments; empty when there is no such directory.
    pub(crate) fn list(&self) -> Result<Listing, Error> {
        let names = match self.disk.list(&self.segments()) {
            Ok(names) => names,
            Err(error) if error.kind() == aos_disk::Kind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut listing = Listing::default();
        for name in names {
            match parse_segment_file_name(&name) {
                Some(start) => listing.starts.push(start),
                None if name.ends_with(".seg.tmp") => listing.temporary.push(name),
                None => listing.strangers.push(name),
            }
        }
        listing.starts.sort_unstable();
        Ok(listing)
    }
}

/// Names below `segments/`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Where the first one must begin: the pruned point, or 0.
    pub(crate) first: Offset,
    /// First offsets of the segments, ascending.
    pub(crate) starts: Vec<Offset>,
    /// Those below the pruned point, which a prune that was broken off left.
    pub(crate) pruned: Vec<Offset>,
    /// Leftovers of a preparation that was broken off.
    pub(crate) temporary: Vec<String>,
    /// Everything else.
    pub(crate) strangers: Vec<String>,
}

impl Listing {
    /// The first thing wrong with the names: a start that is no multiple of the stride, or a hole.
    pub(crate) fn fault(&self, stride: Stride) -> Option<Finding> {
        let mut expected = self.first;
        for &start in &self.starts {
            if !start.0.is_multiple_of(stride.bytes()) {
                return Some(Finding {
                    kind: FindingKind::Corruption,
                    code: code::DAMAGED,
                    offset: start,
                    length: None,
                    file: segment_file_name(start),
                    expected: format!("a name that is a multiple of the stride {}", stride.bytes()),
                    found: format!("{start}"),
                });
            }
            if start != expected {
                return Some(missing_segment(expected, stride));
            }
            expected = start.plus(stride.bytes());
        }
        None
    }
}

/// The finding for a segment that is not there.
pub(crate) fn missing_segment(start: Offset, stride: Stride) -> Finding {
    Finding {
        kind: FindingKind::Gap,
        code: code::GAP,
        offset: start,
        length: Some(stride.bytes()),
        file: segment_file_name(start),
        expected: "the segment".into(),
        found: "no file of that name".into(),
    }
}

/// The finding for a segment of another length.
pub(crate) fn wrong_length(start: Offset, stride: Stride, found: u64) -> Finding {
    Finding {
        kind: FindingKind::Corruption,
        code: code::DAMAGED,
        offset: start,
        length: Some(stride.bytes()),
        file: segment_file_name(start),
        expected: format!("a file of {} bytes", stride.bytes()),
        found: format!("{found} bytes"),
    }
}

/// Bytes copied or hashed at once: what a copy needs of memory.
pub(crate) const WINDOW_LEN: u64 = 1 << 20;

/// Copies the first `len` bytes.
pub(crate) fn copy_bytes(from: &dyn File, to: &dyn File, len: u64) -> Result<(), Error> {
    let mut window = vec![0; WINDOW_LEN.min(len) as usize];
    let mut at = 0;
    while at < len {
        let chunk = &mut window[..WINDOW_LEN.min(len - at) as usize];
        from.read_exact_at(chunk, at)?;
        to.write_all_at(chunk, at)?;
        at += chunk.len() as u64;
    }
    Ok(())
}

/// A new segment file with the first `len` bytes of another and zeros behind them, synced.
pub(crate) fn copy_segment(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    stride: Stride,
    len: u64,
) -> Result<(), Error> {
    let to = disk.open(to, OpenMode::CreateNew)?;
    to.set_len(stride.bytes())?;
    if len > 0 {
        copy_bytes(&*disk.open(from, OpenMode::Read)?, &*to, len)?;
    }
    Ok(to.sync_all()?)
}

/// A segment's file, as far as its name and length go.
pub(crate) enum SegmentFile {
    Present(Arc<dyn File>),
    Missing,
    WrongLength(u64),
}

/// Bytes of a log: lent from a map or copied.
pub(crate) enum Bytes {
    Owned(Aligned),
    Mapped { map: Arc<Map>, range: Range<u64> },
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.get()
    }
}

impl Bytes {
    pub(crate) fn get(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped { map, range } => match map.bytes(range.clone()) {
                Ok(Cow::Borrowed(bytes)) => bytes,
                // Made only of ranges that are settled, which stay so.
                _ => &[],
            },
        }
    }
}

/// The segment files of a log, opened for reading when they are needed.
///
/// With maps (the writer's own log) durable bytes are lent without a copy; without (files from elsewhere) everything is
/// copied, so that a file that shrinks gives an error.
pub(crate) struct Segments {
    pub(crate) place: Place,
    pub(crate) stride: Stride,
    files: Mutex<BTreeMap<Offset, Arc<dyn File>>>,
    maps: Option<Mutex<BTreeMap<Offset, Arc<Map>>>>,
    /// Of a backup: how many bytes of each file count. Beyond them a segment reads as zeros.
    parts: Option<BTreeMap<Offset, u64>>,
    /// What is kept of a pruned beginning. Files of segments below the pruned point are never looked at.
    pruned: RwLock<Option<Arc<Pruned>>>,
}

impl Segments {
    /// The segments of the log `identity`, and what it keeps of a pruned beginning.
    ///
    /// # Errors
    /// [`Error::Finding`] when PRUNED is damaged or of another log; [`Error::Disk`].
    pub(crate) fn open(place: Place, identity: Identity, mapped: bool) -> Result<Segments, Error> {
        let pruned = Pruned::of(&place, identity)?.map(Arc::new);
        Ok(Segments {
            maps: mapped.then(Mutex::default),
            ..Segments::bare(place, identity.stride, pruned)
        })
    }

    /// The segments, behind what is said to be kept of a pruned beginning.
    pub(crate) fn bare(place: Place, stride: Stride, pruned: Option<Arc<Pruned>>) -> Segments {
        Segments {
            place,
            stride,
            files: Mutex::default(),
            maps: None,
            parts: None,
            pruned: RwLock::new(pruned),
        }
    }

    /// The parts of a backup, read as the segments that they are the beginnings of.
    pub(crate) fn of_parts(
        place: Place,
        stride: Stride,
        parts: BTreeMap<Offset, u64>,
        pruned: Option<Arc<Pruned>>,
    ) -> Segments {
        Segments {
            parts: Some(parts),
            ..Segments::bare(place, stride, pruned)
        }
    }

    /// What is kept of a pruned beginning.
    pub(crate) fn pruned(&self) -> Option<Arc<Pruned>> {
        self.pruned.read().clone()
    }

    /// Where a walk over the whole log begins.
    pub(crate) fn start(&self) -> Position {
        self.pruned().map_or(Position::START, |base| base.position)
    }

    /// What a fold of the whole log begins with.
    pub(crate) fn rows(&self) -> Rows {
        self.pruned()
            .map_or_else(Rows::default, |base| base.rows.clone())
    }

    /// Where a walk begins that enters at the segment `start`, or at the pruned point where that lies behind.
    pub(crate) fn position(&self, start: Offset) -> Position {
        match self.pruned() {
            Some(base) if start <= base.end() => base.position,
            _ => Position::segment(start),
        }
    }

    /// What stands in the directory of segments, without those that are pruned.
    pub(crate) fn list(&self) -> Result<Listing, Error> {
        let mut listing = self.place.list()?;
        if let Some(base) = self.pruned() {
            listing.first = base.end();
            let split = listing.starts.partition_point(|at| *at < listing.first);
            let rest = listing.starts.split_off(split);
            listing.pruned = std::mem::replace(&mut listing.starts, rest);
        }
        Ok(listing)
    }

    /// Refuses what lies below the pruned point.
    fn admit(&self, at: Offset) -> Result<(), Error> {
        match self.pruned() {
            Some(base) if at < base.end() => Err(base.refuse(at)),
            _ => Ok(()),
        }
    }

    /// Looks whether the log was pruned since it was opened, as far as `at`.
    fn look_again(&self, at: Offset) -> Result<(), Error> {
        if self.parts.is_none()
            && let Some(base) = Pruned::read(&self.place)?
            && at < base.end()
        {
            *self.pruned.write() = Some(Arc::new(base));
            return self.admit(at);
        }
        Ok(())
    }

    /// The file of the segment that starts at `start`.
    pub(crate) fn file(&self, start: Offset) -> Result<SegmentFile, Error> {
        self.admit(start)?;
        if let Some(file) = self.files.lock().get(&start) {
            return Ok(SegmentFile::Present(file.clone()));
        }
        let file = match self
            .place
            .disk
            .open(&self.place.segment(start), OpenMode::Read)
        {
            Ok(file) => file,
            Err(error) if error.kind() == aos_disk::Kind::NotFound => {
                self.look_again(start)?;
                return Ok(SegmentFile::Missing);
            }
            Err(error) => return Err(error.into()),
        };
        let file = match &self.parts {
            Some(parts) => {
                let counts = parts.get(&start).copied().unwrap_or(0);
                padded(file, counts, self.stride.bytes())
            }
            None => file,
        };
        let len = file.len()?;
        if len != self.stride.bytes() {
            return Ok(SegmentFile::WrongLength(len));
        }
        let mut files = self.files.lock();
        while files.len() >= OPEN_FILES_MAX {
            files.pop_first();
        }
        files.insert(start, file.clone());
        Ok(SegmentFile::Present(file))
    }

    fn present(&self, start: Offset) -> Result<Arc<dyn File>, Error> {
        match self.file(start)? {
            SegmentFile::Present(file) => Ok(file),
            SegmentFile::Missing => Err(missing_segment(start, self.stride).into()),
            SegmentFile::WrongLength(found) => Err(wrong_length(start, self.stride, found).into()),
        }
    }

    /// A copy of `len` bytes from `at` on, all of one segment.
    pub(crate) fn read(&self, at: Offset, len: usize) -> Result<Aligned, Error> {
        let mut bytes = Aligned::zeroed(len);
        self.fill(at, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `bytes` with those from `at` on, all of one segment.
    pub(crate) fn fill(&self, at: Offset, bytes: &mut [u8]) -> Result<(), Error> {
        let start = self.stride.segment_start(at);
        match self.present(start) {
            Ok(file) => Ok(file.read_exact_at(bytes, at.0 - start.0)?),
            Err(error @ Error::Pruned { .. }) => match self.pruned() {
                Some(base) => base.fill(at, bytes),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// `len` bytes from `at` on, which end at or below `durable` and lie in one segment: lent where that is possible.
    pub(crate) fn durable_bytes(
        &self,
        at: Offset,
        len: usize,
        durable: Offset,
    ) -> Result<Bytes, Error> {
        let Some(maps) = self.maps.as_ref().filter(|_| self.admit(at).is_ok()) else {
            return Ok(Bytes::Owned(self.read(at, len)?));
        };
        let start = self.stride.segment_start(at);
        let map = self.map(maps, start)?;
        map.settle(durable.0 - start.0);
        let range = at.0 - start.0..at.0 - start.0 + len as u64;
        Ok(match map.bytes(range.clone())? {
            Cow::Borrowed(_) => Bytes::Mapped {
                map: map.clone(),
                range,
            },
            Cow::Owned(bytes) => Bytes::Owned(Aligned::copy_of(&bytes)),
        })
    }

    fn map(
        &self,
        maps: &Mutex<BTreeMap<Offset, Arc<Map>>>,
        start: Offset,
    ) -> Result<Arc<Map>, Error> {
        let mut maps = maps.lock();
        if let Some(map) = maps.get(&start) {
            return Ok(map.clone());
        }
        let map = Arc::new(self.present(start)?.map(self.stride.bytes())?);
        while maps.len() >= OPEN_FILES_MAX {
            maps.pop_first();
        }
        maps.insert(start, map.clone());
        Ok(map)
    }
}
