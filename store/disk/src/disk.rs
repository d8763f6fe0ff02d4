//! The two traits that everything above goes through, and the lock they hand out.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::{Error, Map};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; the file must be there.
    Read,
    /// For reading and writing; the file must be there.
    ReadWrite,
    /// For reading and writing; the file must not be there and is created empty.
    CreateNew,
    /// For reading and writing; the file is created empty if it is not there, and never truncated.
    CreateOrOpen,
}

impl OpenMode {
    /// Whether a handle opened this way may change the file.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            OpenMode::Read => false,
            OpenMode::ReadWrite | OpenMode::CreateNew | OpenMode::CreateOrOpen => true,
        }
    }

    /// Whether opening this way creates a missing file.
    #[must_use]
    pub fn creates(self) -> bool {
        match self {
            OpenMode::Read | OpenMode::ReadWrite => false,
            OpenMode::CreateNew | OpenMode::CreateOrOpen => true,
        }
    }
}

/// A file system: names, and how they become durable.
///
/// A change of names (create, rename, remove) is visible at once and durable only after [`Disk::sync_dir`] of the
/// directory that holds the name (of both directories, for a rename between two). Syncing a file does not make its
/// name durable.
///
/// Every error says the operation, the path and a [`Kind`](crate::Kind).
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a directory and its missing parents. Fine if it is there already.
    ///
    /// The new names are durable after `sync_dir` of each parent that received one.
    ///
    /// # Errors
    /// `AlreadyExists` or `Io` if a file is in the way.
    fn create_dir_all(&self, path: &Path) -> Result<(), Error>;

    /// The names in a directory, sorted by their bytes; files and directories alike, without a path.
    ///
    /// A name that is not UTF-8 is given with replacement characters, so that it is at least seen.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory.
    fn list(&self, dir: &Path) -> Result<Vec<String>, Error>;

    /// Whether a file or a directory is there.
    ///
    /// # Errors
    /// When it cannot be told, which is not the same as "no".
    fn exists(&self, path: &Path) -> Result<bool, Error>;

    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` with [`OpenMode::CreateNew`]; `Io` for a directory.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>, Error>;

    /// Gives a file or directory another name, atomically replacing a file that has it.
    ///
    /// After a power cut either the old name or the new one is there, never neither and never both.
    ///
    /// # Errors
    /// `NotFound` if `from` or the directory of `to` is missing.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error>;

    /// Takes the name of a file away. Open handles and maps of it stay usable.
    ///
    /// # Errors
    /// `NotFound`; `Io` for a directory.
    fn remove(&self, path: &Path) -> Result<(), Error>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// After an error the state of all names changed since the last sync is unknown, and a second call proves nothing.
    fn sync_dir(&self, dir: &Path) -> Result<(), Error>;

    /// Takes the exclusive lock on a file, creating it if need be and never truncating it.
    ///
    /// Never waits for another holder. The lock is advisory, excludes other processes and other handles in this
    /// process alike, and is held until the value is dropped or the process ends.
    ///
    /// # Errors
    /// `Locked` if somebody else holds it.
    fn lock(&self, path: &Path) -> Result<Lock, Error>;

    /// Whether somebody holds the lock on a file at this moment; a missing file is not locked.
    ///
    /// Only good as information: the answer may be old when it arrives.
    ///
    /// # Errors
    /// When it cannot be told.
    fn is_locked(&self, path: &Path) -> Result<bool, Error>;
}

/// An open file. Offsets and lengths are in bytes.
///
/// A write is visible to every reader at once and durable only after a sync. Handles can be shared between threads.
pub trait File: Send + Sync + fmt::Debug {
    /// The length now.
    ///
    /// # Errors
    /// When the file system does not tell.
    fn len(&self) -> Result<u64, Error>;

    /// Whether the length is zero.
    ///
    /// # Errors
    /// As [`File::len`].
    fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or extends it with a hole that reads as zeros and takes no space.
    ///
    /// Never shorten a file that somebody may have mapped.
    ///
    /// # Errors
    /// `ReadOnly` on a handle opened for reading.
    fn set_len(&self, len: u64) -> Result<(), Error>;

    /// Reads into `buf` from offset `at` and says how many bytes; fewer than asked only at the end of the file.
    ///
    /// # Errors
    /// `Io` when the medium does not give the bytes.
    fn read_at(&self, buf: &mut [u8], at: u64) -> Result<usize, Error>;

    /// Fills `buf` from offset `at`.
    ///
    /// # Errors
    /// `UnexpectedEnd` if the file ends before; `buf` is then undefined.
    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> Result<(), Error>;

    /// Writes all of `buf` at offset `at`, extending the file if need be.
    ///
    /// # Errors
    /// `Full`, `ReadOnly`, `Io`. After an error any part of `buf` may have been written.
    fn write_all_at(&self, buf: &[u8], at: u64) -> Result<(), Error>;

    /// Where the next byte stands, from `from` on, that may be another than zero: what is before it is a hole, which has no
    /// bytes and reads as zeros. `None` when nothing but a hole is left. Where it cannot be told, that is `from` itself.
    ///
    /// A hole is as sure as a read: both are what the file system has at that moment.
    ///
    /// # Errors
    /// When the file cannot be looked at.
    fn data_from(&self, from: u64) -> Result<Option<u64>, Error> {
        Ok(Some(from))
    }

    /// Makes everything written so far durable, a changed length included.
    ///
    /// # Errors
    /// After an error nothing is known about the bytes written since the last sync, and a later sync that succeeds
    /// does not prove that they are durable: stop, reopen and read.
    fn sync_data(&self) -> Result<(), Error>;

    /// As [`File::sync_data`], with the metadata that is of no use for reading (times).
    ///
    /// # Errors
    /// As [`File::sync_data`].
    fn sync_all(&self) -> Result<(), Error>;

    /// A read-only view of the first `len` bytes, which follows later writes.
    ///
    /// # Errors
    /// `UnexpectedEnd` if the file is shorter.
    fn map(&self, len: u64) -> Result<Map, Error>;
}

/// An exclusive lock on a file, given back when dropped.
#[must_use = "the lock is given back when this is dropped"]
pub struct Lock(Box<dyn Send + Sync>);

impl Lock {
    /// A lock that is released by dropping `holder`. For implementations of [`Disk`].
    pub fn new(holder: impl Send + Sync + 'static) -> Self {
        Lock(Box::new(holder))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _held_by = &self.0;
        f.write_str("Lock")
    }
}
