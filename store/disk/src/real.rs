//! The machine's own file system.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::{Disk, Error, File, Kind, Lock, Map, OpenMode};

/// The file system of the machine.
///
/// System calls broken off by a signal, and short reads and writes, are taken up again inside; a sync never is.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// How often, and how far apart, [`RealDisk::lock`](Disk::lock) asks again when only somebody who asks for the lock is
/// in its way: a quarter of a second, far longer than asking takes even on a busy machine.
const LOCK_ATTEMPTS_MAX: u32 = 1000;
const LOCK_PAUSE: Duration = Duration::from_micros(250);

impl Disk for RealDisk {
    fn create_dir_all(&self, path: &Path) -> Result<(), Error> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        fs::create_dir_all(path).map_err(|e| Error::from_io("create directory", path, e))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, Error> {
        let fail = |e| Error::from_io("list", dir, e);
        let mut names = Vec::new();
        for entry in fs::read_dir(here(dir)).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            names.push(name.to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> Result<bool, Error> {
        here(path)
            .try_exists()
            .map_err(|e| Error::from_io("look for", path, e))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>, Error> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(mode.writes())
            .create_new(mode == OpenMode::CreateNew)
            .create(mode == OpenMode::CreateOrOpen)
            .truncate(false)
            .open(path)
            .map_err(|e| Error::from_io("open", path, e))?;
        let metadata = file
            .metadata()
            .map_err(|e| Error::from_io("open", path, e))?;
        if metadata.is_dir() {
            return Err(Error::new("open", path, Kind::Io, "it is a directory"));
        }
        Ok(Arc::new(RealFile {
            file: Arc::new(file),
            path: path.to_owned(),
            writes: mode.writes(),
            lent: Lent::of(&metadata),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        fs::rename(from, to).map_err(|e| Error::from_io("rename", from, e))
    }

    fn remove(&self, path: &Path) -> Result<(), Error> {
        fs::remove_file(path).map_err(|e| Error::from_io("remove", path, e))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), Error> {
        let fail = |e| Error::from_io("sync directory", dir, e);
        let flags = rustix::fs::OFlags::DIRECTORY.bits().cast_signed();
        let handle = fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(here(dir))
            .map_err(fail)?;
        sync_all_once(&handle).map_err(fail)
    }

    fn lock(&self, path: &Path) -> Result<Lock, Error> {
        let fail = |e| Error::from_io("lock", path, e);
        let opened = if path.is_dir() {
            fs::File::open(path)
        } else {
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
        };
        let file = opened.map_err(fail)?;
        // To find out, `is_locked` holds a shared lock for some microseconds, which must not make a writer believe that
        // it is too late. A shared lock of our own tells the two apart: it is refused only by an exclusive one.
        for _ in 0..LOCK_ATTEMPTS_MAX {
            if take(&file, FlockOperation::NonBlockingLockExclusive).map_err(fail)? {
                // The lock belongs to this open file and goes when it is closed.
                return Ok(Lock::new(file));
            }
            if !take(&file, FlockOperation::NonBlockingLockShared).map_err(fail)? {
                break;
            }
            take(&file, FlockOperation::Unlock).map_err(fail)?;
            std::thread::sleep(LOCK_PAUSE);
        }
        let why = "another process or handle holds the lock";
        Err(Error::new("lock", path, Kind::Locked, why))
    }

    fn is_locked(&self, path: &Path) -> Result<bool, Error> {
        let fail = |e| Error::from_io("ask for the lock of", path, e);
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(fail(e)),
        };
        let free = take(&file, FlockOperation::NonBlockingLockShared).map_err(fail)?;
        Ok(!free)
    }
}

/// The empty path names the directory we are in, as it does on the simulated disk.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

/// Whether a lock could be taken at once.
fn take(file: &fs::File, operation: FlockOperation) -> io::Result<bool> {
    match rustix::io::retry_on_intr(|| rustix::fs::flock(file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// One fsync. The standard library's own call is not used because it repeats a sync that a signal broke off.
#[cfg(not(target_vendor = "apple"))]
fn sync_all_once(file: &fs::File) -> io::Result<()> {
    rustix::fs::fsync(file).map_err(io::Error::from)
}

#[cfg(not(target_vendor = "apple"))]
fn sync_data_once(file: &fs::File) -> io::Result<()> {
    rustix::fs::fdatasync(file).map_err(io::Error::from)
}

/// On Apple systems fsync does not reach the medium; F_FULLFSYNC does.
#[cfg(target_vendor = "apple")]
fn sync_all_once(file: &fs::File) -> io::Result<()> {
    rustix::fs::fcntl_fullfsync(file).map_err(io::Error::from)
}

#[cfg(target_vendor = "apple")]
fn sync_data_once(file: &fs::File) -> io::Result<()> {
    sync_all_once(file)
}

/// Whether the file system is one that looks for data also in what it has not written out yet: others are read. That ext4,
/// XFS, Btrfs and tmpfs do was looked up in their sources; some others have called fresh data a hole.
#[cfg(target_os = "linux")]
fn tells_holes(file: &fs::File) -> bool {
    const EXT: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const TMPFS: u64 = 0x0102_1994;
    let kind = rustix::fs::fstatfs(file).map(|found| found.f_type as u64 & 0xffff_ffff);
    matches!(kind, Ok(EXT | XFS | BTRFS | TMPFS))
}

/// Reads until `buf` is full or the file ends, whatever breaks off in between; the number of bytes read.
fn fill_from(
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    buf: &mut [u8],
    at: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match read(&mut buf[done..], at + done as u64) {
            Ok(0) => break,
            Ok(size) => done += size,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[derive(Clone, Debug)]
struct RealFile {
    file: Arc<fs::File>,
    path: PathBuf,
    writes: bool,
    lent: Arc<Lent>,
}

/// How much of a file maps of this process lend as slices. As long as a handle or map of it is open, no write and no cut
/// through any handle reaches below; that is what makes [`Map::settle`] safe to call.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    /// Held shared while the file is changed, alone while the bound grows.
    bound: RwLock<u64>,
    /// The same number, for those who need not hold it.
    known: AtomicU64,
}

/// A file by device and inode, whatever names it has.
type FileId = (u64, u64);

/// The bounds of all files that this process has open.
static LENT: Mutex<BTreeMap<FileId, Weak<Lent>>> = Mutex::new(BTreeMap::new());

impl Lent {
    fn of(metadata: &fs::Metadata) -> Arc<Lent> {
        let mut all = LENT.lock();
        let id = (metadata.dev(), metadata.ino());
        if let Some(lent) = all.get(&id).and_then(Weak::upgrade) {
            return lent;
        }
        all.retain(|_, lent| lent.strong_count() > 0);
        let lent = Arc::new(Lent::default());
        all.insert(id, Arc::downgrade(&lent));
        lent
    }

    fn grow(&self, to: u64) {
        if self.known.load(Ordering::Acquire) < to {
            let mut bound = self.bound.write();
            *bound = (*bound).max(to);
            self.known.store(*bound, Ordering::Release);
        }
    }
}

impl RealFile {
    fn fail(&self, operation: &'static str) -> impl FnOnce(io::Error) -> Error + '_ {
        move |e| Error::from_io(operation, &self.path, e)
    }

    fn must_write(&self, operation: &'static str) -> Result<(), Error> {
        if self.writes {
            Ok(())
        } else {
            Err(Error::read_only(operation, &self.path))
        }
    }

    fn fill(&self, buf: &mut [u8], at: u64) -> Result<usize, Error> {
        fill_from(|buf, at| self.file.read_at(buf, at), buf, at).map_err(self.fail("read"))
    }

    /// Refuses to change bytes from `at` on that a map lends. What comes back is held while the file is changed.
    fn not_lent(
        &self,
        operation: &'static str,
        at: u64,
    ) -> Result<RwLockReadGuard<'_, u64>, Error> {
        let bound = self.lent.bound.read();
        if at < *bound {
            let why = format!(
                "bytes below {} are lent by a map, found a change at {at}",
                *bound
            );
            return Err(Error::new(operation, &self.path, Kind::Io, why));
        }
        Ok(bound)
    }

    /// Whether the file has these bytes already: writing them again, as recovery does, changes nothing that is lent.
    fn says(&self, buf: &[u8], at: u64) -> Result<bool, Error> {
        let mut there = vec![0; buf.len()];
        Ok(self.fill(&mut there, at)? == buf.len() && there == buf)
    }

    /// Offsets and lengths that the system could not express.
    fn in_bounds(&self, operation: &'static str, len: usize, at: u64) -> Result<(), Error> {
        match at.checked_add(len as u64) {
            Some(end) if i64::try_from(end).is_ok() => Ok(()),
            _ => {
                let why = format!("offset {at} is beyond what a file can have");
                Err(Error::new(operation, &self.path, Kind::Io, why))
            }
        }
    }
}

impl File for RealFile {
    fn len(&self) -> Result<u64, Error> {
        let metadata = self.file.metadata().map_err(self.fail("measure"))?;
        Ok(metadata.len())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.must_write("set the length of")?;
        self.in_bounds("set the length of", 0, len)?;
        let _unlent = self.not_lent("set the length of", len)?;
        // The standard library repeats it after a signal, which is right for a truncate.
        self.file
            .set_len(len)
            .map_err(self.fail("set the length of"))
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> Result<usize, Error> {
        self.in_bounds("read", buf.len(), at)?;
        self.fill(buf, at)
    }

    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> Result<(), Error> {
        self.in_bounds("read", buf.len(), at)?;
        let read = self.fill(buf, at)?;
        if read == buf.len() {
            return Ok(());
        }
        let end = self.len()?;
        Err(Error::short("read", &self.path, at, buf.len() as u64, end))
    }

    fn write_all_at(&self, buf: &[u8], at: u64) -> Result<(), Error> {
        self.must_write("write")?;
        self.in_bounds("write", buf.len(), at)?;
        let _unlent = match self.not_lent("write", at) {
            Err(error) if !self.says(buf, at)? => return Err(error),
            unlent => unlent,
        };
        self.file.write_all_at(buf, at).map_err(self.fail("write"))
    }

    #[cfg(target_os = "linux")]
    fn data_from(&self, from: u64) -> Result<Option<u64>, Error> {
        self.in_bounds("look for data in", 0, from)?;
        if !tells_holes(&self.file) {
            return Ok(Some(from));
        }
        Ok(
            match rustix::fs::seek(&*self.file, rustix::fs::SeekFrom::Data(from)) {
                Ok(at) => Some(at.max(from)),
                Err(Errno::NXIO) => None,
                Err(_cannot_tell) => Some(from),
            },
        )
    }

    fn sync_data(&self) -> Result<(), Error> {
        sync_data_once(&self.file).map_err(self.fail("sync"))
    }

    fn sync_all(&self) -> Result<(), Error> {
        sync_all_once(&self.file).map_err(self.fail("sync"))
    }

    fn map(&self, len: u64) -> Result<Map, Error> {
        let end = self.len()?;
        if end < len {
            return Err(Error::short("map", &self.path, 0, len, end));
        }
        let Ok(len_in_memory) = usize::try_from(len) else {
            let why = format!("{len} bytes do not fit into the address space");
            return Err(Error::new("map", &self.path, Kind::Io, why));
        };
        let raw = match len_in_memory {
            0 => None, // the system maps no empty range
            _ => Some(
                MmapOptions::new()
                    .len(len_in_memory)
                    .map_raw_read_only(&*self.file)
                    .map_err(self.fail("map"))?,
            ),
        };
        let file = self.clone();
        Ok(Map::real(len, RealMap { raw, file }))
    }
}

/// A shared, read-only map of a file, and the file for what must be copied.
#[derive(Debug)]
pub(crate) struct RealMap {
    raw: Option<MmapRaw>,
    file: RealFile,
}

impl RealMap {
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    pub(crate) fn read(&self, buf: &mut [u8], at: u64) -> Result<(), Error> {
        self.file.read_exact_at(buf, at)
    }

    /// Keeps changes through this process away from the bytes before `end`.
    pub(crate) fn settle(&self, end: u64) {
        self.file.lent.grow(end);
    }

    /// Bytes that were declared settled; `range` lies inside the map.
    pub(crate) fn settled_bytes(&self, range: Range<u64>) -> &[u8] {
        let Some(raw) = &self.raw else {
            return &[];
        };
        assert!(range.start <= range.end && range.end <= raw.len() as u64);
        let len = (range.end - range.start) as usize;
        // SAFETY: the range lies inside the mapping (asserted above), which starts on a page boundary, lives as long
        // as `self` and thus as the slice, and was inside the file when it was made. No mapping of ours is writable,
        // so the bytes can change only by a write to the file; `Map::bytes` comes here only for bytes which
        // `Map::settle` has put under the file's `Lent` bound: no handle of this process writes or cuts below it as
        // long as this map holds it, and a change that was under way has ended before the bound grew. Other processes
        // are kept away by the log's lock; one that ignores it is outside of what Rust can promise, as for any map of
        // a file. A slice is made of exactly these bytes, never of the rest of the mapping, which may well be changing.
        unsafe { std::slice::from_raw_parts(raw.as_ptr().add(range.start as usize), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::fill_from;
    use std::io;

    #[test]
    fn short_and_interrupted_reads_are_taken_up_again() {
        let bytes = b"0123456789";
        let mut calls = 0;
        let read = |buf: &mut [u8], at: u64| {
            calls += 1;
            if calls % 2 == 0 {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            let rest = &bytes[at as usize..];
            let size = rest.len().min(buf.len()).min(3);
            buf[..size].copy_from_slice(&rest[..size]);
            Ok(size)
        };
        let mut buf = [b'.'; 9];
        assert_eq!(fill_from(read, &mut buf, 2).unwrap(), 8);
        assert_eq!(&buf, b"23456789.");
    }

    #[test]
    fn a_failing_read_is_not_repeated() {
        let mut calls = 0;
        let read = |_: &mut [u8], _| {
            calls += 1;
            Err(io::Error::from(io::ErrorKind::Other))
        };
        assert!(fill_from(read, &mut [0; 4], 0).is_err());
        assert_eq!(calls, 1);
    }
}
