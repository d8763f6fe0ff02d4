//! What can go wrong with a file, and what the caller can do about it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What kind of failure it is: the part a caller decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no such file or directory.
    NotFound,
    /// Something with that name is there already.
    AlreadyExists,
    /// Somebody else holds the lock.
    Locked,
    /// The process may not do this.
    Permission,
    /// No space, or no quota, is left.
    Full,
    /// The file ends before the bytes that were asked for.
    UnexpectedEnd,
    /// The handle or the file system is read-only.
    ReadOnly,
    /// A signal broke off an operation that must not be retried blindly (a sync).
    Interrupted,
    /// The medium or the file system failed, or the request made no sense to it.
    Io,
    /// The simulated machine has lost power; only a simulated disk says this.
    Crashed,
}

impl Kind {
    /// The stable code of this kind, `AOS-Dnnn`; a page of that name explains it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Kind::NotFound => "AOS-D001",
            Kind::AlreadyExists => "AOS-D002",
            Kind::Locked => "AOS-D003",
            Kind::Permission => "AOS-D004",
            Kind::Full => "AOS-D005",
            Kind::UnexpectedEnd => "AOS-D006",
            Kind::ReadOnly => "AOS-D007",
            Kind::Interrupted => "AOS-D008",
            Kind::Io => "AOS-D009",
            Kind::Crashed => "AOS-D010",
        }
    }

    /// Every kind, in the order of their codes.
    pub const ALL: [Kind; 10] = [
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::Locked,
        Kind::Permission,
        Kind::Full,
        Kind::UnexpectedEnd,
        Kind::ReadOnly,
        Kind::Interrupted,
        Kind::Io,
        Kind::Crashed,
    ];

    fn of(error: &io::Error) -> Kind {
        match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
            // A mount point cannot be renamed or removed by anybody.
            io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy => Kind::Permission,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
            io::ErrorKind::UnexpectedEof => Kind::UnexpectedEnd,
            io::ErrorKind::ReadOnlyFilesystem => Kind::ReadOnly,
            io::ErrorKind::Interrupted => Kind::Interrupted,
            _ => Kind::Io,
        }
    }

    fn as_io(self) -> io::ErrorKind {
        match self {
            Kind::NotFound => io::ErrorKind::NotFound,
            Kind::AlreadyExists => io::ErrorKind::AlreadyExists,
            Kind::Locked => io::ErrorKind::WouldBlock,
            Kind::Permission => io::ErrorKind::PermissionDenied,
            Kind::Full => io::ErrorKind::StorageFull,
            Kind::UnexpectedEnd => io::ErrorKind::UnexpectedEof,
            Kind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            Kind::Interrupted | Kind::Io | Kind::Crashed => io::ErrorKind::Other,
        }
    }
}

/// A failed operation on a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {cause}", path = Shown(path))]
pub struct Error {
    operation: &'static str,
    path: PathBuf,
    kind: Kind,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Os(io::Error),
    Said(Cow<'static, str>),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Os(error) => write!(f, "{error}"),
            Cause::Said(text) => f.write_str(text),
        }
    }
}

struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.as_os_str().is_empty() {
            f.write_str(".")
        } else {
            write!(f, "{}", self.0.display())
        }
    }
}

impl Error {
    /// An error found by this crate or by another implementation of [`Disk`](crate::Disk), not by the system.
    ///
    /// `operation` is a verb ("open", "write"), `why` says what was expected and found.
    pub fn new(
        operation: &'static str,
        path: &Path,
        kind: Kind,
        why: impl Into<Cow<'static, str>>,
    ) -> Self {
        Error {
            operation,
            path: path.to_owned(),
            kind,
            cause: Cause::Said(why.into()),
        }
    }

    /// An error of the operating system; the kind follows from it.
    #[must_use]
    pub fn from_io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Error {
            operation,
            path: path.to_owned(),
            kind: Kind::of(&source),
            cause: Cause::Os(source),
        }
    }

    /// The bytes from `at` on were asked for, but the file ends at `end`.
    pub(crate) fn short(
        operation: &'static str,
        path: &Path,
        at: u64,
        wanted: u64,
        end: u64,
    ) -> Self {
        let why = format!("expected {wanted} bytes at offset {at}, found the end at {end}");
        Error::new(operation, path, Kind::UnexpectedEnd, why)
    }

    pub(crate) fn read_only(operation: &'static str, path: &Path) -> Self {
        Error::new(
            operation,
            path,
            Kind::ReadOnly,
            "the file was opened for reading",
        )
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The stable code, `AOS-Dnnn`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// The operation that failed, a verb.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The file or directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error of the operating system, if it was one.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Os(error) => Some(error),
            Cause::Said(_) => None,
        }
    }
}

/// For libraries that speak `io::Error`; the [`Error`] stays inside and can be had back with `downcast`.
///
/// `Interrupted` becomes `Other`, because callers of `io::Error` retry on `Interrupted`, which must not happen to a
/// sync.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind.as_io(), error)
    }
}
