//! redb's storage, over `aos-disk`: so that the catalogue too can be crashed on a simulated disk.

use aos_disk::{Error as DiskError, File, Kind};
use parking_lot::Mutex;
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A file as redb's storage. The log's writer lock keeps others away, so there is no lock of its own.
pub(crate) struct FileBackend(pub(crate) Arc<dyn File>);

impl fmt::Debug for FileBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileBackend")
    }
}

fn to_io(error: DiskError) -> io::Error {
    let kind = match error.kind() {
        Kind::Full => io::ErrorKind::StorageFull,
        Kind::UnexpectedEnd => io::ErrorKind::UnexpectedEof,
        Kind::Permission => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl StorageBackend for FileBackend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len().map_err(to_io)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_exact_at(out, offset).map_err(to_io)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len).map_err(to_io)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data().map_err(to_io)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_all_at(data, offset).map_err(to_io)
    }
}

/// Bytes kept together by an [`Overlay`].
const PAGE: u64 = 4096;

/// A file that is never written: what redb changes is kept in memory, in pages. What is read stays on the disk, so that a
/// catalogue of any size can be looked at.
pub(crate) struct Overlay {
    file: Arc<dyn File>,
    changed: Mutex<Changed>,
}

struct Changed {
    /// Length as redb set it.
    len: u64,
    /// Bytes from here on are no longer the file's.
    file_len: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    pub(crate) fn new(file: Arc<dyn File>) -> Result<Overlay, DiskError> {
        let len = file.len()?;
        let changed = Mutex::new(Changed {
            len,
            file_len: len,
            pages: BTreeMap::new(),
        });
        Ok(Overlay { file, changed })
    }

    /// Fills `out` with what the file has at `offset`, and zeros.
    fn of_file(&self, file_len: u64, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let there = (out.len() as u64).min(file_len.saturating_sub(offset)) as usize;
        out[there..].fill(0);
        self.file
            .read_exact_at(&mut out[..there], offset)
            .map_err(to_io)
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overlay")
    }
}

/// The pieces of a range by page: page, place in it, place in the range, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let inside = (at % PAGE) as usize;
        let size = (PAGE as usize - inside).min(len - done);
        let piece = (at / PAGE, inside, done, size);
        done += size;
        (size > 0).then_some(piece)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.changed.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let changed = self.changed.lock();
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > changed.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, inside, at, size) in pieces(offset, out.len()) {
            let part = &mut out[at..at + size];
            match changed.pages.get(&page) {
                Some(bytes) => part.copy_from_slice(&bytes[inside..inside + size]),
                None => self.of_file(changed.file_len, page * PAGE + inside as u64, part)?,
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut changed = self.changed.lock();
        if len < changed.len {
            let cut = changed.pages.split_off(&(len / PAGE));
            let last = cut
                .into_iter()
                .next()
                .filter(|(page, _)| *page == len / PAGE);
            if let Some((page, mut bytes)) = last {
                bytes[(len % PAGE) as usize..].fill(0);
                changed.pages.insert(page, bytes);
            }
            changed.file_len = changed.file_len.min(len);
        }
        changed.len = len;
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut changed = self.changed.lock();
        let file_len = changed.file_len;
        for (page, inside, at, size) in pieces(offset, data.len()) {
            let mut bytes = match changed.pages.remove(&page) {
                Some(bytes) => bytes,
                None => {
                    let mut bytes = vec![0; PAGE as usize].into_boxed_slice();
                    self.of_file(file_len, page * PAGE, &mut bytes)?;
                    bytes
                }
            };
            bytes[inside..inside + size].copy_from_slice(&data[at..at + size]);
            changed.pages.insert(page, bytes);
        }
        changed.len = changed.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aos_disk::sim::SimDisk;
    use aos_disk::{Disk, OpenMode};
    use std::path::Path;

    #[test]
    fn an_overlay_reads_as_a_vector_that_was_written_and_leaves_the_file_alone() {
        let disk = SimDisk::new();
        let path = Path::new("a");
        let original: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        disk.poke(path, &original).unwrap();
        let overlay = Overlay::new(disk.open(path, OpenMode::Read).unwrap()).unwrap();
        let mut expected = original.clone();
        let mut seed = 1u64;
        let mut below = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % bound
        };
        for round in 0..2000 {
            let len = expected.len() as u64;
            let at = below(len);
            match below(4) {
                0 => {
                    let data = vec![round as u8; below(9000) as usize];
                    let end = at as usize + data.len();
                    expected.resize(expected.len().max(end), 0);
                    expected[at as usize..end].copy_from_slice(&data);
                    overlay.write(at, &data).unwrap();
                }
                1 => {
                    let to = 1 + below(40_000);
                    expected.resize(to as usize, 0);
                    overlay.set_len(to).unwrap();
                }
                _ => {
                    let mut out = vec![9; below(len - at + 1) as usize];
                    overlay.read(at, &mut out).unwrap();
                    let end = at as usize + out.len();
                    assert!(out == expected[at as usize..end], "round {round}");
                }
            }
            assert_eq!(overlay.len().unwrap(), expected.len() as u64);
        }
        assert!(overlay.read(expected.len() as u64, &mut [0]).is_err());
        assert_eq!(disk.peek(path).unwrap(), original);
    }
}
